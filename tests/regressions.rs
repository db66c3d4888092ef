//! Bugs that the program has had: one test for each, named for it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/mod.rs"]
mod support;

use std::time::Duration;

use support::deadline::Stopwatch;
use support::gateway::{CARRIERS, SPLICE, Setup, connect_head};
use support::server::Server;
use support::tls::alert;
use support::tunnel::Tunnel;

/// A first record against the rules was not counted as a record, so that its sender was taken for
/// somebody who does not speak TLS, and got a bare close.
#[test]
fn a_first_record_against_the_rules_is_answered_by_its_alert() {
    let server = Server::start();
    let gateway = Setup::new(SPLICE).reach(&server).start();
    for record in [&[22, 3, 1, 0, 0][..], &[22, 3, 1, 0x48, 1]] {
        let mut tunnel = Tunnel::open(&gateway, &server);
        tunnel.client.send(record);
        assert_eq!(tunnel.client.read_to_end(), alert(3, 50), "{record:x?}");
    }
    gateway.stop();
}

/// The address was printed before the gateway told that it is up, so that whoever waited for the print
/// was in the events before event 101.
#[test]
fn the_start_is_told_before_the_address_is_printed() {
    for _ in 0..5 {
        let gateway = Setup::new(SPLICE).start();
        gateway.connect().send(&connect_head("a.example:443"));
        let events = gateway.stop();
        let started = events.iter().position(|event| event.id() == 101).unwrap();
        let first = events.iter().position(|event| event.has("client"));
        assert!(first.is_none_or(|first| started < first), "{events:?}");
    }
}

/// After a reset the bytes on their way to the other side were waited for even when that side had
/// reset, too: what is unsent stays unsent then, and the session lasted ten seconds more.
#[test]
fn nobody_waits_for_bytes_on_their_way_to_a_side_that_has_reset() {
    for kind in CARRIERS {
        let server = Server::start();
        let gateway = Setup::new(kind).reach(&server).start();
        for client_first in [true, false] {
            let Tunnel { mut client, mut server } = Tunnel::verified(&gateway, &server);
            let session = gateway.session_of(&client);
            let (first, second) = if client_first {
                client.send_until_full(Duration::from_millis(50), 64 << 20);
                (client, server)
            } else {
                server.send_until_full(Duration::from_millis(50), 64 << 20);
                (server, client)
            };
            first.reset();
            // The gateway sees the first reset, and waits for the other side to read.
            std::thread::sleep(Duration::from_millis(50));
            let watch = Stopwatch::start();
            second.reset();
            let ending = gateway.end_of(&session);
            // Without the reset of the second it would be ten.
            assert!(watch.elapsed() < Duration::from_secs(8), "{kind}: {:?}", watch.elapsed());
            let ending = ending.text("ending");
            assert!(ending.ends_with(".reset"), "{kind}, client first: {client_first}: {ending}");
        }
        gateway.stop();
    }
}

/// A head and a reset that the poll told of together: the reset was forgotten, and the dial went on.
#[test]
#[cfg(target_os = "linux")]
fn a_reset_right_behind_the_head_cancels_the_dial() {
    use support::black_hole::BlackHole;
    for kind in CARRIERS {
        let hole = BlackHole::at("127.0.0.1:0");
        let target = hole.address().to_string();
        let gateway = Setup::new(kind).host(&target).start();
        for _ in 0..20 {
            let client = gateway.ask(&target);
            let address = client.address().to_string();
            client.reset();
            // The dial would go on for ten.
            let ended = gateway.events().wait_for(Duration::from_secs(8), &|event| {
                event.reason() == "session_ended" && event.text("client") == address
            });
            if let Some(ended) = ended {
                assert_eq!(ended.text("ending"), "await_dial.client.reset", "{kind}");
            } else {
                // The reset came before the head was read, which leaves no head.
                let told = gateway.events().count(|event| event.text("client") == address);
                assert_eq!(told, 0, "{kind}");
            }
        }
        gateway.stop();
    }
}

/// A side that had sent its end was not read any more, so that its reset went unnoticed while the other
/// side was silent: both descriptors stayed until `limits.half_closed_ms`.
#[test]
fn a_reset_after_an_end_is_noticed_at_once() {
    for kind in CARRIERS {
        let server = Server::start();
        let gateway = Setup::new(kind).reach(&server).start();
        for client_ends in [true, false] {
            let Tunnel { client, server } = Tunnel::verified(&gateway, &server);
            let session = gateway.session_of(&client);
            let (mut ends, mut stays, side) =
                if client_ends { (client, server, "client") } else { (server, client, "remote") };
            ends.fin();
            stays.expect_end();
            ends.reset();
            let ending = gateway.end_of(&session).text("ending").to_owned();
            assert_eq!(ending, format!("tunnel.{side}.reset"), "{kind}");
        }
        gateway.stop();
    }
}

/// A message repeats a value of the file as it is written there, and a string can hold a line end or an
/// escape sequence: one problem became two lines, and the second could say anything. Found by fuzzing.
#[test]
fn what_a_problem_repeats_of_the_file_stays_on_its_line() {
    let text = br#"carrier = "a\n/etc/passwd:1:1: all is well\u001b[2J""#;
    let problems = sluice::config::load::parse(text, std::path::Path::new("f.toml")).unwrap_err();
    let told = problems[0].to_string();
    assert!(!told.chars().any(char::is_control), "{told:?}");
}
