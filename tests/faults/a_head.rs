//! Section A: what opens a tunnel, what is refused and how that reads, however it is cut.

use sluice::proto::reply::ESTABLISHED;

use crate::bench::{self, Bench, Vector};
use crate::heads::{self, Head};
use crate::support::gateway::{Setup, connect_head};
use crate::support::peer::{Cut, Step};
use crate::support::reply::{Refused, Reply};
use crate::support::server::Server;
use crate::support::tls;

/// Each with the hello glued to it, and with the hello after the 200.
#[test]
fn real_heads_open_a_tunnel() {
    for glued in [false, true] {
        bench::play(
            &heads::good(),
            |kind, server| Setup::new(kind).reach(server),
            |bench, head, cut| open(bench, head, cut, glued),
        );
    }
}

fn open(bench: &Bench<'_>, head: &Head, cut: Cut, glued: bool) {
    let Bench { gateway, server, kind } = bench;
    let what = format!("{kind}, {cut:?}, glued: {glued}, {head:?}");
    let hello = tls::hello(None);
    let early: &[u8] = if glued { &hello } else { &[] };
    let mut client = gateway.connect();
    client.send_cut(&[&head.to(&server.authority()), early].concat(), cut);
    let mut server = server.accept();
    client.expect(ESTABLISHED);
    if !glued {
        client.send_cut(&hello, cut);
    }
    let session = gateway.session_of(&client);
    server.play(&[Step::Expect(&hello), Step::Send(&tls::answer())]);
    client.expect(&tls::answer());
    client.play(&[Step::Send(b"after"), Step::Fin]);
    server.play(&[Step::Expect(b"after"), Step::ExpectEnd, Step::Fin]);
    client.expect_end();
    let verified = gateway.events().of("tls_verified", &session);
    assert_eq!((verified.id(), verified.text("tls_version")), (107, "1.2"), "{what}");
    let ended = gateway.end_of(&session);
    assert_eq!(ended.text("ending"), "tunnel.remote.finished", "{what}");
    let bytes = (ended.number("bytes_up"), ended.number("bytes_down"));
    assert_eq!(bytes, (hello.len() as u64 + 5, tls::answer().len() as u64), "{what}");
}

#[test]
fn bad_heads_are_refused_in_words() {
    bench::play(
        &heads::bad(),
        |kind, server| Setup::new(kind).reach(server),
        |bench, head, cut| {
            let refused = head.refused.expect("it is of the table of bad heads");
            let mut client = bench.gateway.connect();
            client.send_cut(&head.to(&bench.server.authority()), cut);
            let what = format!("{}, {cut:?}, {}", bench.kind, head.shown());
            Reply::read(&mut client).expect(refused, bench.gateway, &what);
        },
    );
}

/// Bytes behind the head of a target that is refused.
#[derive(Debug)]
struct Early {
    /// Whether the target is refused by its server, not by the list.
    dialled: bool,
    bytes: Vec<u8>,
}

impl Early {
    fn refused(&self) -> Refused {
        match self.dialled {
            true => Refused { status: 502, event: 403, reason: "dial_failed" },
            false => Refused { status: 403, event: 105, reason: "host_not_allowed" },
        }
    }
}

impl Vector for Early {
    fn refused(&self) -> Option<(u64, &'static str)> {
        let refused = self.refused();
        Some((refused.event, refused.reason))
    }

    fn shown(&self) -> String {
        format!("A2: {} bytes, dialled: {}", self.bytes.len(), self.dialled)
    }
}

/// Nobody listens there: no other test uses the host part.
const NOBODY: &str = "127.0.0.79:1";

/// The refusal is read in full, and what was not asked for goes nowhere.
#[test]
fn bytes_behind_a_refused_head_do_not_hide_the_refusal() {
    let early =
        [tls::hello(None), tls::hello(Some("a.example")), vec![0x5a; 1000], vec![0x5a; 40_000]];
    let vectors: Vec<_> = early
        .iter()
        .flat_map(|bytes| [false, true].map(|dialled| Early { dialled, bytes: bytes.clone() }))
        .collect();
    let setup = |kind, _: &Server| Setup::new(kind).host(NOBODY);
    bench::play(&vectors, setup, |bench, early, cut| {
        let what = format!("{}, {cut:?}, {}", bench.kind, early.shown());
        let target = if early.dialled { NOBODY.to_owned() } else { bench.server.authority() };
        let mut client = bench.gateway.connect();
        client.send_cut(&[connect_head(&target), early.bytes.clone()].concat(), cut);
        let reply = Reply::read(&mut client);
        drop(client);
        let event = reply.expect(early.refused(), bench.gateway, &what);
        assert_eq!(event.text("target"), target, "{what}");
        let stage = if early.dialled { "await_dial" } else { "await_head" };
        let ended = bench.gateway.end_of(reply.session());
        assert_eq!(
            ended.text("ending"),
            format!("{stage}.gateway.{}", early.refused().reason),
            "{what}"
        );
        assert_eq!(ended.number("bytes_up"), 0, "{what}");
    });
}

/// A head is searched for its end once, however small its pieces are, and no more of it is kept than
/// the limit.
#[test]
#[cfg(target_os = "linux")]
fn large_heads_cost_little_time_and_no_memory() {
    use std::time::Duration;

    use crate::support::gateway::SPLICE;
    use crate::support::process::{anonymous_bytes, processor_time};

    const MIB: u64 = 1024 * 1024;
    let gateway = Setup::new(SPLICE).workers(1).start();
    let large: Vec<Head> = heads::bad().into_iter().filter(|head| head.row == "A9").collect();
    let play = |rounds: usize| {
        for head in large.iter().cycle().take(rounds * large.len()) {
            let mut client = gateway.connect();
            client.send_cut(&head.to("a.example:443"), Cut::EachByte);
            Reply::read(&mut client);
        }
    };
    play(1);
    let (time, memory) = (processor_time(gateway.pid()), anonymous_bytes(gateway.pid()));
    play(10);
    let used = processor_time(gateway.pid()) - time;
    let grown = anonymous_bytes(gateway.pid()).saturating_sub(memory);
    let heads = 10 * large.len() as u32;
    // An ordinary build for tests takes about 1 ms for each, in up to 2,048 pieces.
    assert!(used < heads * Duration::from_millis(20), "{used:?} of processor time for {heads}");
    assert!(grown < 2 * MIB, "{grown} bytes more after {heads} large heads");
    gateway.stop();
}
