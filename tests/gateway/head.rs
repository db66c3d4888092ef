//! Request heads: their time, their end, and what comes behind them. The tables of good and bad heads
//! are in `tests/faults`.

use std::io::Write;
use std::time::Duration;

use sluice::proto::tls::Version;
use sluice::proto::tls::record::ContentType;
use sluice::proto::tls::sample;

use crate::support::deadline::{PATIENCE, Stopwatch, until};
use crate::support::gateway::{CARRIERS, KINDS, SPLICE, Setup, each};
use crate::support::peer::{CUTS, Peer, Step};
use crate::support::reply::{Refused, Reply};
use crate::support::server::Server;
use crate::support::tls;
use crate::support::tunnel::Tunnel;

const ESTABLISHED: &[u8; 39] = b"HTTP/1.1 200 Connection established\r\n\r\n";

const MALFORMED: Refused = Refused { status: 400, event: 104, reason: "malformed_head" };
const TIMEOUT: Refused = Refused { status: 408, event: 104, reason: "head_timeout" };
const FORBIDDEN: Refused = Refused { status: 403, event: 105, reason: "host_not_allowed" };

#[test]
fn the_200_is_39_bytes_and_comes_alone() {
    let server = Server::start();
    let gateway = Setup::new(SPLICE).reach(&server).start();
    let mut client = gateway.ask(&server.authority());
    client.expect(ESTABLISHED);
    client.expect_silence(Duration::from_millis(100));
    drop(client);
    gateway.stop();
}

/// A close with unread bytes would reset the connection, and on some systems throw the refusal away.
#[test]
fn a_refused_client_that_still_sends_is_heard_out() {
    for kind in KINDS {
        let server = Server::start();
        let gateway = Setup::new(kind).host("allowed.example").start();
        // It is heard for two seconds; what it sends later is answered by a reset, as it should be.
        let (told, sent) = until("an attempt that takes no longer", PATIENCE, || {
            let watch = Stopwatch::start();
            let mut client = gateway.ask(&server.authority());
            let sent = (0..20).try_for_each(|_| {
                std::thread::sleep(Duration::from_millis(5));
                client.stream.write_all(&[0x5a; 1024])
            });
            let (told, ended) = client.read_to_any_end();
            let sent = sent.and(ended).and_then(|()| client.stream.write_all(&[0x5a; 1024]));
            (watch.elapsed() < Duration::from_secs(2)).then_some((told, sent))
        });
        assert!(sent.is_ok(), "{kind}: {sent:?}");
        Reply::parse(&told).expect(FORBIDDEN, &gateway, &format!("{kind}"));
        gateway.stop();
    }
}

/// Early data that is there before the 200 is read no further than it can be held, and all of it
/// arrives in its order.
#[test]
fn a_mebibyte_glued_to_the_head_arrives_whole() {
    for (kind, cut) in CARRIERS.into_iter().flat_map(|kind| CUTS.map(|cut| (kind, cut))) {
        let server = Server::start();
        let gateway = Setup::new(kind).reach(&server).start();
        let data: Vec<u8> = (0..1u32 << 18).flat_map(u32::to_be_bytes).collect();
        let early = sample::records(ContentType::ApplicationData, Version::TLS12, &data, 1 << 14);
        let hello = tls::hello(None);
        let head = format!("CONNECT {} HTTP/1.1\r\n\r\n", server.authority());
        let all = [head.as_bytes(), &hello, &early].concat();
        let mut client = gateway.connect();
        let mut sender = Peer::new(client.stream.try_clone().unwrap());
        let sending = std::thread::spawn(move || sender.send_cut(&all, cut));
        let mut server = server.accept();
        client.expect(ESTABLISHED);
        server.expect(&hello);
        assert!(server.read_exact(early.len()) == early, "{kind}, {cut:?}: other bytes arrive");
        sending.join().unwrap();
        drop((client, server));
        gateway.stop();
    }
}

#[test]
fn a_head_has_one_deadline_from_accept_on() {
    // If each of its bytes gave it the time anew, it would last for longer than is admitted.
    let slow = Duration::from_millis(900);
    let begins: [&[Step<'_>]; 3] =
        [&[], &[Step::Send(b"CONNECT a.ex")], &[Step::Slow(b"CONNECT a.ex", slow)]];
    each(KINDS, |kind| {
        let gateway = Setup::new(kind).host("a.example").set("limits.head_ms", 1_000).start();
        each(begins, |begin| {
            let watch = Stopwatch::start();
            let mut client = gateway.connect();
            let mut sender = Peer::new(client.stream.try_clone().unwrap());
            let (told, took) = std::thread::scope(|scope| {
                let begun = scope.spawn(move || sender.play(begin));
                let (told, _) = client.read_to_any_end();
                let took = watch.elapsed().as_millis();
                // The last bytes of the slow one come after the end.
                assert!(begun.join().is_ok() || matches!(begin, [Step::Slow(..)]));
                (told, took)
            });
            assert!((900..9_000).contains(&took), "{kind}, {begin:?}: {took} ms");
            let reply = Reply::parse(&told);
            reply.expect(TIMEOUT, &gateway, &format!("{kind}, {begin:?}"));
        });
        gateway.stop();
    });
}

#[test]
fn a_connection_without_a_byte_is_silent() {
    for kind in KINDS {
        let gateway = Setup::new(kind).start();
        for reset in [false, true] {
            let mut client = gateway.connect();
            if reset {
                client.reset();
            } else {
                client.play(&[Step::Fin, Step::ExpectEnd]);
            }
        }
        let events = gateway.stop();
        let of_sessions = events.iter().filter(|event| event.has("client") || event.has("session"));
        assert_eq!(of_sessions.count(), 0, "{kind}");
    }
}

#[test]
fn a_head_that_ends_early_is_malformed() {
    for kind in KINDS {
        let gateway = Setup::new(kind).start();
        for head in ["C", "CONNECT a.example:443 HTTP/1.1\r\n", "\r\n"] {
            let mut client = gateway.connect();
            client.play(&[Step::Send(head.as_bytes()), Step::Fin]);
            Reply::read(&mut client).expect(MALFORMED, &gateway, head);
        }
        gateway.stop();
    }
}

#[test]
fn a_client_that_half_closes_after_its_head_still_gets_its_200() {
    for kind in KINDS {
        let server = Server::start();
        let gateway = Setup::new(kind).reach(&server).start();
        let mut client = gateway.ask(&server.authority());
        client.fin();
        client.expect(ESTABLISHED);
        client.expect_end();
        let session = gateway.session_of(&client);
        assert_eq!(gateway.end_of(&session).text("ending"), "await_hello.client.closed", "{kind}");
        server.accept().expect_end();
        gateway.stop();
    }
}

#[test]
fn credentials_of_a_client_go_nowhere() {
    let server = Server::start();
    let gateway = Setup::new(SPLICE).reach(&server).start();
    let mut client = gateway.connect();
    let head = "CONNECT @ HTTP/1.1\r\nProxy-Authorization: Basic c2VjcmV0\r\n\r\n";
    client.send(head.replace('@', &server.authority()).as_bytes());
    client.expect(ESTABLISHED);
    Tunnel { client, server: server.accept() }.shake_hands();
    let events = gateway.stop();
    assert!(events.iter().all(|event| !event.0.to_string().contains("c2VjcmV0")));
}
