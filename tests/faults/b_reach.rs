//! Section B: who may be reached. A server that nobody may reach proves that what is refused was not
//! dialled there; in a network of its own, the kernel proves that it was dialled nowhere.

use sluice::proto::reply::ESTABLISHED;

use crate::addresses::{SPECIAL, Special};
use crate::bench::{self, Bench, Vector};
use crate::support::gateway::{Kind, Setup};
use crate::support::peer::{Cut, Peer};
use crate::support::reply::{Refused, Reply};
use crate::support::server::Server;
use crate::targets::{self, BadTarget};

const ADDRESS: Refused = Refused { status: 403, event: 105, reason: "address_not_allowed" };

fn strict(kind: Kind, server: &Server) -> Setup {
    let setup = Setup::new(kind).host(&server.named()).addresses(&[]);
    targets::PATTERNS.iter().fold(setup, |setup, pattern| setup.host(pattern))
}

fn ask_cut(bench: &Bench<'_>, target: &[u8], cut: Cut) -> Peer {
    let mut client = bench.gateway.connect();
    client.send_cut(&[b"CONNECT ", target, b" HTTP/1.1\r\n\r\n"].concat(), cut);
    client
}

#[test]
fn what_is_not_the_allowed_target_is_refused_and_nothing_is_dialled() {
    dialling_nobody(
        "b_reach::what_is_not_the_allowed_target_is_refused_and_nothing_is_dialled",
        || bench::play(&targets::bad(), strict, refuse),
    );
}

/// Plays where the kernel counts who connects and who asks for names: nobody does. Where there are no
/// namespaces, plays all the same.
fn dialling_nobody(test: &str, play: impl Fn()) {
    #[cfg(target_os = "linux")]
    if crate::support::namespace::within(test, |inside| {
        let witness = inside.witness();
        play();
        assert_eq!((witness.dials(), witness.datagrams()), (0, 0), "dials and questions");
    }) {
        return;
    }
    #[cfg(not(target_os = "linux"))]
    let _ = test;
    play();
}

fn refuse(bench: &Bench<'_>, target: &BadTarget, cut: Cut) {
    let what = format!("{}, {cut:?}, {}", bench.kind, target.shown());
    let mut client = ask_cut(bench, &target.at(bench.server.port()), cut);
    let reply = Reply::read(&mut client);
    drop(client);
    let refused = target.refused;
    let event = reply.expect(refused, bench.gateway, &what);
    if refused.event != 105 {
        assert!(!event.has("target"), "{what}: {event:?}");
        return;
    }
    let host = event.text("target").rsplit_once(':').expect("host:port").0;
    let words = format!("Target host ({host}) is forbidden");
    assert!(event.text("message").starts_with(&words), "{what}: {event:?}");
    let ended = bench.gateway.end_of(reply.session());
    assert_eq!(ended.text("ending"), format!("await_head.gateway.{}", refused.reason), "{what}");
    assert_eq!((ended.number("bytes_up"), ended.number("bytes_down")), (0, 0), "{what}");
}

/// Listed by name or number, but special-purpose: refused all the same, and the event says what and
/// where.
#[test]
fn special_addresses_are_refused_though_their_host_is_listed() {
    // The one name among them, localhost, is in a file: nothing is asked for it either.
    dialling_nobody("b_reach::special_addresses_are_refused_though_their_host_is_listed", || {
        bench::play(SPECIAL, special, refuse_address);
    });
}

fn special(kind: Kind, server: &Server) -> Setup {
    let setup = Setup::new(kind).addresses(&[]);
    let hosts = SPECIAL.iter().map(|special| special.host);
    hosts.fold(setup, |setup, host| setup.host(&format!("{host}:{}", server.port())))
}

fn refuse_address(bench: &Bench<'_>, special: &Special, cut: Cut) {
    let Special { host, kind, .. } = special;
    let what = format!("{}, {cut:?}, {}", bench.kind, special.shown());
    let target = format!("{host}:{}", bench.server.port());
    let mut client = ask_cut(bench, target.as_bytes(), cut);
    let reply = Reply::read(&mut client);
    drop(client);
    let event = reply.expect(ADDRESS, bench.gateway, &what);
    assert!(event.text("message").contains(kind), "{what}: {event:?}");
    assert!(event.text("message").starts_with("Target host ("), "{what}: {event:?}");
    let ending = bench.gateway.end_of(reply.session());
    assert!(ending.text("ending").ends_with(".gateway.address_not_allowed"), "{what}");
}

/// Spellings of the one allowed target, and what the event calls it.
struct Spelling(&'static str, &'static str);

impl Vector for Spelling {
    fn refused(&self) -> Option<(u64, &'static str)> {
        None
    }

    fn shown(&self) -> String {
        format!("B1: {}", self.0)
    }
}

const SPELLINGS: &[Spelling] = &[
    Spelling("localhost:@", "localhost"),
    Spelling("localhost.:@", "localhost"),
    Spelling("LOCALHOST:@", "localhost"),
    Spelling("LocalHost.:@", "localhost"),
    Spelling("127.0.0.1:@", "127.0.0.1"),
    Spelling("[::ffff:127.0.0.1]:@", "[::ffff:127.0.0.1]"),
    Spelling("[0:0::FFFF:7f00:1]:@", "[::ffff:127.0.0.1]"),
];

#[test]
fn other_spellings_of_an_allowed_target_reach_it() {
    let setup = |kind: Kind, server: &Server| Setup::new(kind).reach(server);
    bench::play(SPELLINGS, setup, |bench, Spelling(text, told), cut| {
        let target = targets::at_port(text.as_bytes(), bench.server.port());
        let mut client = ask_cut(bench, &target, cut);
        client.expect(ESTABLISHED);
        let session = bench.gateway.session_of(&client);
        bench.server.accept();
        drop(client);
        let ended = bench.gateway.end_of(&session);
        let (host, _) = ended.text("target").rsplit_once(':').expect("host:port");
        assert_eq!(host, *told, "{text}");
        assert!(ended.text("address").contains("127.0.0.1"), "{text}: {ended:?}");
    });
}

/// The witness sees what happens: else it would prove nothing above.
#[test]
#[cfg(target_os = "linux")]
fn the_witness_sees_each_dial_and_each_question() {
    use crate::support::gateway::SPLICE;
    use crate::support::namespace::within;

    within("b_reach::the_witness_sees_each_dial_and_each_question", |inside| {
        let server = Server::start_at("0.0.0.0:443");
        let setup = Setup::new(SPLICE).host("93.184.216.34").host("a.ods.example.com");
        let gateway = setup.addresses(&[]).start();
        let witness = inside.witness();
        let mut tunnels = Vec::new();
        for dials in 1..=3 {
            tunnels.push(gateway.open("93.184.216.34:443"));
            let peer = server.accept();
            assert_eq!(peer.stream.local_addr().unwrap().to_string(), "93.184.216.34:443");
            assert_eq!((witness.dials(), witness.datagrams()), (dials, 0));
        }
        // Nobody answers the question, and asking it is no dial.
        Reply::read(&mut gateway.ask("a.ods.example.com:443"));
        assert_eq!(witness.dials(), 3);
        assert!(witness.datagrams() >= 2, "{} questions", witness.datagrams());
        drop(tunnels);
        gateway.stop();
    });
}
