//! Reaching the remote: what the client is told where it fails, and that it is told nothing before.

use std::time::Duration;

use crate::support::deadline::Stopwatch;
use crate::support::gateway::{CARRIERS, KINDS, SPLICE, Setup, connect_head};
use crate::support::peer::Step;
use crate::support::port::reserved;
use crate::support::reply::{Refused, Reply};
use crate::support::server::Server;
use crate::support::tls;

const RESOLVE_FAILED: Refused = Refused { status: 502, event: 403, reason: "resolve_failed" };
const DIAL_FAILED: Refused = Refused { status: 502, event: 403, reason: "dial_failed" };

#[test]
fn a_target_that_refuses_is_told_by_its_address() {
    for kind in KINDS {
        let target = reserved("127.0.0.78").to_string();
        let gateway = Setup::new(kind).host(&target).start();
        // A hello that is there already is held and goes nowhere.
        for early in [Vec::new(), tls::hello(None), vec![0x5a; 40_000]] {
            let mut client = gateway.connect();
            client.send(&[connect_head(&target), early].concat());
            let reply = Reply::read(&mut client);
            drop(client);
            let event = reply.expect(DIAL_FAILED, &gateway, &format!("{kind}"));
            assert_eq!((event.text("address"), event.text("target")), (&*target, &*target));
            assert!(event.text("message").contains("refused"), "{event:?}");
            let ended = gateway.end_of(reply.session());
            assert_eq!(ended.text("ending"), "await_dial.gateway.dial_failed", "{kind}");
        }
        gateway.stop();
    }
}

#[test]
fn a_name_that_does_not_exist_is_told() {
    // A machine without any name server may take its time to find that out.
    let setup = Setup::new(SPLICE).host("nx.invalid").set("limits.resolve_ms", 50_000);
    let gateway = setup.start();
    for _ in 0..2 {
        let reply = Reply::read(&mut gateway.ask("nx.invalid:443"));
        let event = reply.expect(RESOLVE_FAILED, &gateway, "nx.invalid");
        assert_eq!(event.text("target"), "nx.invalid:443");
        let ended = gateway.end_of(reply.session());
        assert_eq!(ended.text("ending"), "await_address.gateway.resolve_failed");
    }
    gateway.stop();
}

#[test]
fn source_addresses_take_turns() {
    let server = Server::start();
    let sources = "[\"127.0.0.5\", \"127.0.0.6\"]";
    let setup = Setup::new(SPLICE).reach(&server).set("dial.source_addresses", sources);
    let gateway = setup.workers(1).start();
    let mut seen = Vec::new();
    for _ in 0..4 {
        let _client = gateway.open(&server.authority());
        seen.push(server.accept().stream.peer_addr().unwrap().ip().to_string());
    }
    seen.sort();
    assert_eq!(seen, ["127.0.0.5", "127.0.0.5", "127.0.0.6", "127.0.0.6"]);
    gateway.stop();
}

/// Servers whose queue is full leave a SYN unanswered, as a black hole does. Only Linux drops it so.
#[cfg(target_os = "linux")]
mod unanswered {
    use super::*;
    use crate::support::black_hole::BlackHole;
    use crate::support::process::count_descriptors;

    const DIAL_TIMEOUT: Refused = Refused { status: 504, event: 403, reason: "dial_timeout" };

    #[test]
    fn a_target_that_does_not_answer_is_told_in_time() {
        for kind in CARRIERS {
            let hole = BlackHole::at("127.0.0.1:0");
            let target = hole.address().to_string();
            let gateway = Setup::new(kind).host(&target).set("limits.dial_ms", 400).start();
            let watch = Stopwatch::start();
            let mut client = gateway.connect();
            client.send(&[connect_head(&target), tls::hello(None)].concat());
            let reply = Reply::read(&mut client);
            drop(client);
            assert!((350..9_000).contains(&watch.elapsed().as_millis()), "{:?}", watch.elapsed());
            let event = reply.expect(DIAL_TIMEOUT, &gateway, &format!("{kind}"));
            assert_eq!(event.text("address"), target);
            let ended = gateway.end_of(reply.session());
            assert_eq!(ended.text("ending"), "await_dial.gateway.dial_timeout");
            gateway.stop();
        }
    }

    #[test]
    fn the_200_comes_when_the_remote_is_connected_and_not_before() {
        let hole = BlackHole::at("127.0.0.1:0");
        let target = hole.address().to_string();
        let gateway = Setup::new(SPLICE).host(&target).start();
        let mut client = gateway.ask(&target);
        client.expect_silence(Duration::from_millis(400));
        hole.open();
        client.expect(sluice::proto::reply::ESTABLISHED);
        gateway.stop();
    }

    #[test]
    fn a_client_that_resets_cancels_its_dial() {
        for kind in KINDS {
            let hole = BlackHole::at("127.0.0.1:0");
            let target = hole.address().to_string();
            let gateway = Setup::new(kind).host(&target).start();
            let sockets = || count_descriptors(gateway.pid(), "socket:");
            let idle = sockets();
            // With the head, and some time after it.
            for pause_ms in [0, 100] {
                let mut client = gateway.ask(&target);
                let session = gateway.session_of(&client);
                client.play(&[Step::Pause(Duration::from_millis(pause_ms))]);
                let watch = Stopwatch::start();
                client.reset();
                let ended = gateway.end_of(&session);
                assert_eq!(ended.text("ending"), "await_dial.client.reset", "{kind}");
                assert!(watch.elapsed() < Duration::from_secs(9), "{kind}: {:?}", watch.elapsed());
                assert_eq!(sockets(), idle, "{kind}: the dial goes on");
            }
            gateway.stop();
        }
    }

    /// RFC 8305: the next address is tried soon, and the loser is closed. Where localhost has no IPv6
    /// address, there is no other to try, and it is simply quick.
    #[test]
    fn an_address_that_does_not_answer_holds_up_a_name_only_shortly() {
        // Other tests have many ports of 127.0.0.1, and hardly one of ::1.
        let server = Server::start();
        let _hole = BlackHole::at(&format!("[::1]:{}", server.port()));
        let gateway = Setup::new(SPLICE).reach(&server).start();
        let idle = count_descriptors(gateway.pid(), "socket:");
        let watch = Stopwatch::start();
        let client = gateway.open(&server.named());
        assert!(watch.elapsed() < Duration::from_secs(9), "{:?}", watch.elapsed());
        let peer = server.accept();
        assert_eq!(count_descriptors(gateway.pid(), "socket:"), idle + 2);
        drop((client, peer));
        gateway.stop();
    }
}

/// Nobody listens at the IPv6 address of the name, somebody at the other: that costs no pause.
#[test]
fn an_address_that_refuses_does_not_hold_up_a_name() {
    let server = Server::start();
    let gateway = Setup::new(SPLICE).reach(&server).start();
    let mut times = [(); 10].map(|()| {
        let watch = Stopwatch::start();
        drop(gateway.open(&server.named()));
        server.accept();
        watch.elapsed()
    });
    times.sort();
    // The pause before the next address is 250 ms, each time.
    assert!(times[times.len() / 2] < Duration::from_millis(200), "{times:?}");
    gateway.stop();
}
