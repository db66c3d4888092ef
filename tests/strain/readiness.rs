//! Many sockets that are ready at once, too few descriptors, polls that fail, times without end: the
//! loop serves everything, and turns no more often than it must.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::rest::Rest;
use crate::support::deadline::{PATIENCE, Stopwatch, until};
use crate::support::gateway::{CARRIERS, Gateway, KINDS, SPLICE, Setup, connect_head, each};
use crate::support::peer::Peer;
use crate::support::process::{is_asleep, is_stopped, is_traced, raise_own_open_files};
use crate::support::reply::Reply;
use crate::support::server::Server;
use crate::support::tunnel::Tunnel;

/// Runs `meanwhile` while the whole process is stopped, as by a hypervisor or a debugger. It has done
/// all there was to do before.
fn while_stopped(gateway: &Gateway, meanwhile: impl FnOnce()) {
    until("its rest", PATIENCE, || is_asleep(gateway.pid()).then_some(()));
    gateway.signal(Signal::STOP);
    until("the stop", PATIENCE, || is_stopped(gateway.pid()).then_some(()));
    meanwhile();
    gateway.signal(Signal::CONT);
}

/// More sockets are ready than one poll tells of, all at the same moment.
#[test]
fn all_that_is_ready_at_once_is_served_in_few_turns() {
    const TUNNELS: usize = 700;
    raise_own_open_files();
    for kind in CARRIERS {
        let server = Server::start();
        let gateway = Setup::new(kind).reach(&server).workers(1).admin().start();
        let rest = Rest::of(&gateway);
        let mut tunnels: Vec<_> =
            (0..TUNNELS).map(|_| Tunnel::verified(&gateway, &server)).collect();
        let before = rest.turns();
        while_stopped(&gateway, || {
            for (index, tunnel) in tunnels.iter_mut().enumerate() {
                tunnel.client.send(&[index as u8; 64]);
                tunnel.server.send(&[!index as u8; 64]);
            }
        });
        for (index, tunnel) in tunnels.iter_mut().enumerate() {
            tunnel.server.expect(&[index as u8; 64]);
            tunnel.client.expect(&[!index as u8; 64]);
        }
        // 1,400 sockets in polls of 1,024, and each write may come back as an edge of its own.
        let turns = rest.turns() - before;
        assert!(turns < TUNNELS as u64, "{kind}: {turns} turns for {TUNNELS} tunnels");
        drop(tunnels);
        rest.wait(&format!("{kind}")).expect_exact(&gateway.stop(), &format!("{kind}"));
    }
}

/// One edge tells of all connections that came while nobody looked.
#[test]
fn a_burst_of_connections_on_one_edge_is_accepted() {
    const CLIENTS: usize = 400;
    raise_own_open_files();
    each(KINDS, |kind| {
        let server = Server::start();
        let gateway = Setup::new(kind).reach(&server).admin().start();
        let rest = Rest::of(&gateway);
        let mut clients = Vec::new();
        while_stopped(&gateway, || {
            clients.extend((0..CLIENTS).map(|_| gateway.ask(&server.authority())));
        });
        for client in &mut clients {
            client.expect(sluice::proto::reply::ESTABLISHED);
        }
        assert_eq!(rest.metric("sluice_active_client_connections"), CLIENTS as f64, "{kind}");
        drop(clients);
        rest.wait(&format!("{kind}")).expect_exact(&gateway.stop(), &format!("{kind}"));
    });
}

/// While it is stopped, time goes on. Bytes that came meanwhile count before the silence does; a
/// deadline that has passed for want of them is over.
#[test]
fn after_a_stop_no_tunnel_ends_whose_bytes_are_there() {
    const IDLE_MS: u64 = 6_000;
    each(KINDS, |kind| {
        let server = Server::start();
        let setup = Setup::new(kind).reach(&server).set("limits.idle_ms", IDLE_MS).admin();
        let gateway = setup.start();
        let rest = Rest::of(&gateway);
        let mut tunnels: Vec<_> = (0..40).map(|_| Tunnel::verified(&gateway, &server)).collect();
        let mut late = Vec::new();
        while_stopped(&gateway, || {
            for (index, tunnel) in tunnels.iter_mut().enumerate() {
                match index % 4 {
                    0 => tunnel.client.send(b"up"),
                    1 => tunnel.server.send(b"down"),
                    _ => {}
                }
            }
            late.extend((0..20).map(|_| gateway.ask(&server.authority())));
            std::thread::sleep(Duration::from_millis(IDLE_MS + 500));
        });
        let (mut kept, mut reset) = (Vec::new(), Vec::new());
        for (index, mut tunnel) in tunnels.into_iter().enumerate() {
            match index % 4 {
                0 => tunnel.server.expect(b"up"),
                1 => tunnel.client.expect(b"down"),
                _ => {
                    tunnel.client.expect_reset();
                    tunnel.server.expect_reset();
                    reset.push(tunnel);
                    continue;
                }
            }
            kept.push(tunnel);
        }
        for tunnel in &mut kept {
            tunnel.client.send(b"still there");
            tunnel.server.expect(b"still there");
        }
        for client in &mut late {
            client.expect(sluice::proto::reply::ESTABLISHED);
        }
        drop((kept, late));
        let counted = rest.wait(&format!("{kind}"));
        let events = gateway.stop();
        let idle = events.iter().filter(|it| crate::rest::ends_by(it, "tunnel.gateway.idle"));
        assert_eq!(idle.count(), reset.len(), "{kind}");
        counted.expect_exact(&events, &format!("{kind}"));
    });
}

/// Out of descriptors the loop looks for new ones now and then, and otherwise sleeps.
#[test]
fn without_descriptors_the_loop_neither_spins_nor_stalls() {
    const LIMIT: u32 = 64;
    each(KINDS, |kind| {
        let server = Server::start();
        let gateway = Setup::new(kind).reach(&server).open_files(LIMIT).admin().start();
        let rest = Rest::of(&gateway);
        // There will be no descriptor for another connection.
        let mut asking: Vec<Peer> = (0..2).map(|_| rest.admin().connect()).collect();
        rest.wait_for_sockets(2);
        let mut turns = || {
            let mut peer = asking.pop().unwrap();
            peer.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
            let page = Reply::read(&mut peer).body;
            let line =
                page.lines().find_map(|it| it.strip_prefix("sluice_loop_turn_seconds_count "));
            // The connection stays with the test, and its descriptor with the gateway's shortage.
            (line.unwrap().parse::<u64>().unwrap(), peer)
        };
        let mut clients: Vec<_> = (0..200).map(|_| gateway.connect()).collect();
        let mut queued = clients.split_off(190);
        queued.iter_mut().for_each(|client| client.send(&connect_head(&server.authority())));
        gateway.events().first("descriptors_exhausted");
        let watch = Stopwatch::start();
        let (before, first) = turns();
        std::thread::sleep(Duration::from_millis(500));
        let (after, second) = turns();
        // Two workers look twenty times a second each; the closed pages make room for two clients.
        let (turned, seconds) = (after - before, watch.elapsed().as_secs() + 1);
        assert!(turned < 200 * seconds, "{kind}: {turned} turns in {seconds} s");
        drop((clients, first, second));
        for client in &mut queued {
            client.expect(b"HTTP/1.1 ");
        }
        drop(queued);
        gateway.stop();
    });
}

/// A tracer that makes a system call of the gateway fail.
struct Failing(Child);

impl Failing {
    /// Makes it so, and waits until it is.
    fn begin(gateway: &Gateway, call: &str, how: &str) -> Failing {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-q", "-o", "/dev/null", "-e", &format!("trace={call}")]);
        strace.args(["-e", &format!("inject={call}:{how}"), "-p", &gateway.pid().to_string()]);
        let child = strace.stderr(Stdio::null()).spawn();
        let failing = Failing(
            child.expect("strace is missing: install it, as with `apt-get install strace`"),
        );
        until("the tracer", PATIENCE, || is_traced(gateway.pid()).then_some(()));
        failing
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        // A tracer that is killed lets go of what it traces.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A connection that the poll does not take is closed, and nothing of it stays: not its descriptor, its
/// slot, or its number.
#[test]
fn a_socket_that_cannot_be_polled_is_given_up_whole() {
    let server = Server::start();
    let gateway = Setup::new(SPLICE).reach(&server).workers(1).admin().start();
    let rest = Rest::of(&gateway);
    let mut before = Tunnel::verified(&gateway, &server);
    rest.wait_for_sockets(2);

    // Every second call: that for the remote of each session.
    let failing = Failing::begin(&gateway, "epoll_ctl", "error=ENOSPC:when=2+2");
    // The admin listener polls as well, in a thread of its own; nobody asks it now.
    for _ in 0..5 {
        let reply = Reply::read(&mut gateway.ask(&server.authority()));
        assert!(reply.status >= 500, "the remote cannot be polled: {reply:?}");
        let (reached, _) = server.accept().read_to_any_end();
        assert_eq!(reached, b"");
    }
    drop(failing);
    let failing = Failing::begin(&gateway, "epoll_ctl", "error=ENOSPC");
    for _ in 0..5 {
        let (told, _) = gateway.connect().read_to_any_end();
        assert_eq!(told, b"", "a client that cannot be polled is closed");
    }
    drop(failing);
    rest.wait_for_sockets(2);
    assert_eq!(rest.metric("sluice_active_client_connections"), 1.0);
    before.client.send(b"still there");
    before.server.expect(b"still there");
    drop((before, Tunnel::verified(&gateway, &server)));
    let counted = rest.wait("nothing is left");
    let (status, events) = gateway.stop_by(Signal::TERM);
    assert!(status.success());
    // Five remotes, and the shortage that the clients met, once or five times.
    assert!((6..=10).contains(&counted.get("sluice_errors_total")), "{counted:?}");
    counted.expect_exact(&events, "a poll that fails");
}

/// The longest times there are, and none at all, are no reason to turn.
#[test]
fn times_without_end_neither_overflow_nor_spin() {
    const DAYS_24_MS: u64 = 24 * 24 * 3_600 * 1_000;
    let long = |setup: Setup| {
        let keys = ["head", "resolve", "dial", "hello", "idle", "half_closed", "session", "drain"];
        let set = |setup: Setup, key: &&str| setup.set(&format!("limits.{key}_ms"), DAYS_24_MS);
        keys.iter().fold(setup, set).set("limits.keepalive_s", 32_767)
    };
    let off = |setup: Setup| {
        let keys = ["idle_ms", "half_closed_ms", "session_ms", "drain_notice_ms", "keepalive_s"];
        let keys = keys.into_iter().chain(["sessions", "sessions_per_client"]);
        keys.fold(setup, |setup, key| setup.set(&format!("limits.{key}"), 0))
    };
    for limits in [long as fn(Setup) -> Setup, off] {
        each(CARRIERS, |kind| {
            let server = Server::start();
            let gateway = limits(Setup::new(kind).reach(&server).admin()).start();
            let rest = Rest::of(&gateway);
            let mut half = Tunnel::verified(&gateway, &server);
            half.client.fin();
            half.server.expect_end();
            let mut whole = Tunnel::verified(&gateway, &server);
            let silent = gateway.connect();
            rest.wait_for_sockets(5);
            let before = rest.turns();
            std::thread::sleep(Duration::from_millis(300));
            let turns = rest.turns() - before;
            assert!(turns <= 4, "{kind}: {turns} turns for nothing");
            whole.client.send(b"still there");
            whole.server.expect(b"still there");
            half.server.send(b"here too");
            half.client.expect(b"here too");
            drop((half, whole, silent));
            rest.wait(&format!("{kind}")).expect_exact(&gateway.stop(), &format!("{kind}"));
        });
    }
}
