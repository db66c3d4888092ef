//! How many calls of the system an upload takes.
//!
//! The count depends on how the bytes arrive, so all arrives in the same way each time: every piece is
//! one segment, and the next one is sent only when the worker sleeps again. A real upload comes in
//! fewer and larger pieces or in more and smaller ones; what is held here is the price of each.

use std::collections::BTreeMap;

use crate::strace::{Strace, workers};
use crate::support::deadline::{PATIENCE, until};
use crate::support::gateway::{Gateway, SPLICE, Setup};
use crate::support::peer::Peer;
use crate::support::server::Server;
use crate::support::tls;
use crate::support::tunnel::Tunnel;

/// Uploads that are counted.
const UPLOADS: usize = 50;
/// An upload of 200 KB is so many pieces, each a segment of the loopback interface.
const PIECES: usize = 4;
const PIECE_BYTES: usize = 50_000;
const ANSWER_BYTES: usize = 200;

/// Alarms that may go off while they are counted, which takes some seconds.
const ALARMS_MAX: usize = 5;

/// The most calls of one upload, by name.
type Price = &'static [(&'static str, usize)];

/// Four pieces up and an answer down, in a tunnel that stays.
const KEPT: Price = &[
    // One for each piece and for the answer.
    ("epoll_wait", 5),
    // A piece takes three: into the pipe, out of it, and a look for more.
    ("splice", 12),
    ("recvfrom", 1),
    ("sendto", 1),
];

/// The same, with a tunnel for it.
const FRESH: Price = &[
    // Besides those of a kept tunnel: the connection, the head, the target that is reached, two hellos
    // and the two ends, which makes 14. On a slow machine acknowledgements are delayed, by 40 ms, and
    // wake the worker alone.
    ("epoll_wait", 16),
    // The connection, and a look for more.
    ("accept4", 2),
    ("socket", 1),
    ("connect", 1),
    ("getpeername", 1),
    ("getsockname", 1),
    ("getsockopt", 1),
    // No delay for both, and probes of a silent peer.
    ("setsockopt", 3),
    // Only where checks of debugging are on: a look at each descriptor before it is closed.
    ("fcntl", 2),
    ("epoll_ctl", 2),
    // The head, two hellos and the answer with the looks around them, and the client's end.
    ("recvfrom", 9),
    // The 200, two hellos and the answer.
    ("sendto", 4),
    ("splice", 12),
    ("shutdown", 2),
    ("close", 2),
];

#[test]
fn an_upload_through_a_kept_tunnel_takes_so_many_calls() {
    let scene = Scene::new();
    let mut tunnel = scene.tunnel();
    let counted = scene.count(|| scene.upload(&mut tunnel));
    expect_at_most(KEPT, &counted);
}

#[test]
fn an_upload_through_a_tunnel_of_its_own_takes_so_many_calls() {
    let scene = Scene::new();
    let counted = scene.count(|| {
        let mut tunnel = scene.tunnel();
        scene.upload(&mut tunnel);
        scene.close(tunnel);
    });
    expect_at_most(FRESH, &counted);
}

fn expect_at_most(price: Price, counted: &BTreeMap<String, usize>) {
    // The alarm of the worker's first deadline goes off every few seconds, however many uploads there are:
    // it wakes the worker, which sets it again.
    let alarms = counted.get("timerfd_settime").copied().unwrap_or(0).min(ALARMS_MAX);
    let most = |call: &str| {
        let (_, most) = price.iter().find(|(name, _)| *name == call).unwrap_or(&("", 0));
        most * UPLOADS + if ["epoll_wait", "timerfd_settime"].contains(&call) { alarms } else { 0 }
    };
    let dearer: Vec<_> = counted.iter().filter(|(call, count)| **count > most(call)).collect();
    assert!(dearer.is_empty(), "{UPLOADS} uploads: {dearer:?} of {counted:?}");
}

/// A gateway with one worker that tells of nothing, and its target.
struct Scene {
    gateway: Gateway,
    server: Server,
    worker: String,
}

impl Scene {
    fn new() -> Scene {
        let server = Server::start();
        let gateway = Setup::new(SPLICE)
            .reach(&server)
            .workers(1)
            // To wake the thread that writes events is a call, unless it is awake.
            .level("error")
            .set("limits.idle_ms", 0)
            .start();
        let worker = workers(&gateway).remove(0);
        Scene { gateway, server, worker }
    }

    /// What the worker calls while `upload` is done so many times. The first ones fill its pools.
    fn count(&self, mut upload: impl FnMut()) -> BTreeMap<String, usize> {
        (0..3).for_each(|_| upload());
        let strace = Strace::count(&self.gateway);
        self.wait();
        (0..UPLOADS).for_each(|_| upload());
        let counted = strace.end_counted();
        // Where a machine has no epoll_wait, it has epoll_pwait.
        counted.into_iter().map(|(call, count)| (call.replace("_pwait", "_wait"), count)).collect()
    }

    fn tunnel(&self) -> Tunnel {
        let mut client = self.gateway.connect();
        self.wait();
        let authority = self.server.authority();
        client
            .send(format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n").as_bytes());
        client.expect(sluice::proto::reply::ESTABLISHED);
        let mut tunnel = Tunnel { client, server: self.server.accept() };
        let (hello, answer) = (tls::hello(None), tls::answer_13());
        self.pass(&mut tunnel.client, &mut tunnel.server, &hello);
        self.pass(&mut tunnel.server, &mut tunnel.client, &answer);
        tunnel
    }

    fn upload(&self, tunnel: &mut Tunnel) {
        for piece in 0..PIECES {
            self.pass(&mut tunnel.client, &mut tunnel.server, &[piece as u8; PIECE_BYTES]);
        }
        self.pass(&mut tunnel.server, &mut tunnel.client, &[b'a'; ANSWER_BYTES]);
    }

    fn close(&self, tunnel: Tunnel) {
        let Tunnel { mut client, mut server } = tunnel;
        self.wait();
        client.fin();
        server.expect_end();
        self.wait();
        server.fin();
        client.expect_end();
        self.wait();
    }

    fn pass(&self, from: &mut Peer, to: &mut Peer, bytes: &[u8]) {
        self.wait();
        from.send(bytes);
        to.expect(bytes);
    }

    /// Waits until the worker sleeps, which it does only where it waits for events. A thread that strace
    /// has stopped between two calls is in another state.
    fn wait(&self) {
        let file = format!("/proc/{}/task/{}/stat", self.gateway.pid(), self.worker);
        until("the worker sleeps", PATIENCE, || {
            let stat = std::fs::read_to_string(&file).expect("the worker runs");
            // The name before it is in parentheses.
            let (_, state) = stat.rsplit_once(") ")?;
            state.starts_with('S').then_some(())
        });
    }
}
