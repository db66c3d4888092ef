//! Deadlines of a tunnel: for the hello and its answer, for silence, for age.

use std::time::Duration;

use crate::support::deadline::Stopwatch;
use crate::support::gateway::{CARRIERS, KINDS, Setup, each};
use crate::support::peer::Step;
use crate::support::server::Server;
use crate::support::tls;
use crate::support::tunnel::Tunnel;

const LIMIT_MS: u64 = 400;

fn expect_in_time(watch: Stopwatch, what: &str) {
    let took = watch.elapsed().as_millis();
    assert!((350..3_000).contains(&took), "{what}: {took} ms");
}

/// A hello that never comes is no refusal: nobody did anything wrong that an operator must know.
#[test]
fn a_hello_that_does_not_come_in_time_ends_the_session() {
    let hello = tls::hello(None);
    let dribble = Duration::from_millis(60);
    each(KINDS, |kind| {
        let server = Server::start();
        let gateway = Setup::new(kind).reach(&server).set("limits.hello_ms", LIMIT_MS).start();
        let begins: [&[Step<'_>]; 3] =
            [&[], &[Step::Send(&hello[..40])], &[Step::Slow(&hello[..10], dribble)]];
        for begin in begins {
            let mut tunnel = Tunnel::open(&gateway, &server);
            // What events tell, they tell a while later.
            let watch = Stopwatch::start();
            let session = gateway.session_of(&tunnel.client);
            // The last bytes of the dribble may come after the end.
            let begun = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                tunnel.client.play(begin);
            }));
            assert!(begun.is_ok() || matches!(begin, [Step::Slow(..)]));
            let (reached, _) = tunnel.server.read_to_any_end();
            assert!(reached.is_empty(), "{kind}: {} reached the target", reached.escape_ascii());
            let (told, _) = tunnel.client.read_to_any_end();
            assert!(told.is_empty(), "{kind}: {}", told.escape_ascii());
            expect_in_time(watch, &format!("{kind}, {begin:?}"));
            let ended = gateway.end_of(&session);
            assert_eq!(ended.text("ending"), "await_hello.client.hello_timeout", "{kind}");
        }
        let events = gateway.stop();
        assert!(events.iter().all(|event| matches!(event.id(), 100..=103)), "{kind}");
    });
}

#[test]
fn an_answer_that_does_not_come_in_time_ends_the_session() {
    let answer = tls::answer();
    each(KINDS, |kind| {
        let server = Server::start();
        let gateway = Setup::new(kind).reach(&server).set("limits.hello_ms", LIMIT_MS).start();
        for begun in [0, 20] {
            let mut tunnel = Tunnel::open(&gateway, &server);
            let session = gateway.session_of(&tunnel.client);
            let hello = tls::hello(None);
            tunnel.client.send(&hello);
            tunnel.server.expect(&hello);
            let watch = Stopwatch::start();
            tunnel.server.send(&answer[..begun]);
            tunnel.client.expect_end();
            expect_in_time(watch, &format!("{kind}, {begun} bytes"));
            let ended = gateway.end_of(&session);
            assert_eq!(ended.text("ending"), "await_server_hello.remote.hello_timeout", "{kind}");
        }
        gateway.stop();
    });
}

#[test]
fn a_tunnel_without_a_byte_in_either_direction_is_reset() {
    each(CARRIERS, |kind| {
        let server = Server::start();
        let gateway = Setup::new(kind).reach(&server).set("limits.idle_ms", LIMIT_MS).start();
        for up in [true, false] {
            let Tunnel { mut client, mut server } = Tunnel::verified(&gateway, &server);
            let session = gateway.session_of(&client);
            let (sender, receiver) =
                if up { (&mut client, &mut server) } else { (&mut server, &mut client) };
            // One direction that is busy keeps the other open.
            for _ in 0..8 {
                std::thread::sleep(Duration::from_millis(LIMIT_MS / 4));
                sender.send(b"tick");
                receiver.expect(b"tick");
            }
            let watch = Stopwatch::start();
            client.expect_reset();
            server.expect_reset();
            expect_in_time(watch, &format!("{kind}, up: {up}"));
            assert_eq!(gateway.end_of(&session).text("ending"), "tunnel.gateway.idle", "{kind}");
        }
        gateway.stop();
    });
}

#[test]
fn a_half_closed_tunnel_has_less_time() {
    each(CARRIERS, |kind| {
        let server = Server::start();
        let setup = Setup::new(kind).reach(&server).set("limits.half_closed_ms", LIMIT_MS);
        let gateway = setup.start();
        for client_first in [true, false] {
            let Tunnel { mut client, mut server } = Tunnel::verified(&gateway, &server);
            let session = gateway.session_of(&client);
            let (ended, open) =
                if client_first { (&mut client, &mut server) } else { (&mut server, &mut client) };
            ended.fin();
            open.expect_end();
            for _ in 0..8 {
                std::thread::sleep(Duration::from_millis(LIMIT_MS / 4));
                open.send(b"tick");
                ended.expect(b"tick");
            }
            let watch = Stopwatch::start();
            ended.expect_reset();
            expect_in_time(watch, &format!("{kind}, client first: {client_first}"));
            let ending = gateway.end_of(&session);
            assert_eq!(ending.text("ending"), "tunnel.gateway.half_closed", "{kind}");
        }
        gateway.stop();
    });
}

#[test]
fn a_session_that_is_too_old_is_reset_whatever_it_does() {
    each(CARRIERS, |kind| {
        let server = Server::start();
        let gateway = Setup::new(kind).reach(&server).set("limits.session_ms", 700).start();
        let watch = Stopwatch::start();
        let mut tunnel = Tunnel::verified(&gateway, &server);
        let session = gateway.session_of(&tunnel.client);
        let mut busy = tunnel.client.stream.try_clone().unwrap();
        let sending = std::thread::spawn(move || {
            while std::io::Write::write_all(&mut busy, b"tick").is_ok() {
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let (_, ended) = tunnel.server.read_to_any_end();
        assert!(ended.is_err(), "{kind}: not a reset");
        sending.join().unwrap();
        expect_in_time(watch, &format!("{kind}"));
        assert_eq!(gateway.end_of(&session).text("ending"), "tunnel.gateway.too_old", "{kind}");
        gateway.stop();
    });
}
