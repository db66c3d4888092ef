//! Deadlines of a tunnel: for the hello and its answer, for silence, for age.

use std::time::Duration;

use crate::support::deadline::Stopwatch;
use crate::support::gateway::{CARRIERS, KINDS, Setup, each};
use crate::support::peer::{Peer, Step};
use crate::support::server::Server;
use crate::support::tls;
use crate::support::tunnel::Tunnel;

/// Long enough for a machine that stands still for two seconds where the limit must not end anything.
const LIMIT_MS: u64 = 2_400;
/// Between bytes that keep a tunnel open, ten of which take longer than the limit.
const TICK: Duration = Duration::from_millis(300);

/// The limit has ended what it should, and not another one: by default they are ten seconds and more.
/// What starts the limit came after the start of `watch`.
fn expect_in_time(watch: Stopwatch, what: &str) {
    let took = watch.elapsed().as_millis();
    // A turn's bytes are as old as the turn, which may have begun before the watch.
    assert!((2_000..9_000).contains(&took), "{what}: {took} ms");
}

/// A hello that never comes is no refusal: nobody did anything wrong that an operator must know.
#[test]
fn a_hello_that_does_not_come_in_time_ends_the_session() {
    let hello = tls::hello(None);
    // If each of its bytes gave it the time anew, it would last for longer than is admitted.
    let dribble = Duration::from_millis(900);
    let begins: [&[Step<'_>]; 3] =
        [&[], &[Step::Send(&hello[..40])], &[Step::Slow(&hello[..10], dribble)]];
    each(KINDS, |kind| {
        each(begins, |begin| {
            let server = Server::start();
            let gateway = Setup::new(kind).reach(&server).set("limits.hello_ms", LIMIT_MS).start();
            let watch = Stopwatch::start();
            let mut tunnel = Tunnel::open(&gateway, &server);
            let mut sender = Peer::new(tunnel.client.stream.try_clone().unwrap());
            std::thread::scope(|scope| {
                let begun = scope.spawn(move || sender.play(begin));
                let (reached, _) = tunnel.server.read_to_any_end();
                assert!(reached.is_empty(), "{kind}: {} reached it", reached.escape_ascii());
                let (told, _) = tunnel.client.read_to_any_end();
                assert!(told.is_empty(), "{kind}: {}", told.escape_ascii());
                expect_in_time(watch, &format!("{kind}, {begin:?}"));
                // The last bytes of the dribble come after the end.
                assert!(begun.join().is_ok() || matches!(begin, [Step::Slow(..)]));
            });
            let ended = gateway.end_of(&gateway.session_of(&tunnel.client));
            assert_eq!(ended.text("ending"), "await_hello.client.hello_timeout", "{kind}");
            let events = gateway.stop();
            assert!(events.iter().all(|event| matches!(event.id(), 100..=103)), "{kind}");
        });
    });
}

#[test]
fn an_answer_that_does_not_come_in_time_ends_the_session() {
    let (hello, answer) = (tls::hello(None), tls::answer());
    each(KINDS, |kind| {
        each([0, 20], |begun| {
            let server = Server::start();
            let gateway = Setup::new(kind).reach(&server).set("limits.hello_ms", LIMIT_MS).start();
            let mut tunnel = Tunnel::open(&gateway, &server);
            let watch = Stopwatch::start();
            tunnel.client.send(&hello);
            tunnel.server.expect(&hello);
            tunnel.server.send(&answer[..begun]);
            tunnel.client.expect_end();
            expect_in_time(watch, &format!("{kind}, {begun} bytes"));
            let ended = gateway.end_of(&gateway.session_of(&tunnel.client));
            assert_eq!(ended.text("ending"), "await_server_hello.remote.hello_timeout", "{kind}");
            gateway.stop();
        });
    });
}

#[test]
fn a_tunnel_without_a_byte_in_either_direction_is_reset() {
    each(CARRIERS, |kind| {
        each([true, false], |up| {
            let server = Server::start();
            let gateway = Setup::new(kind).reach(&server).set("limits.idle_ms", LIMIT_MS).start();
            let Tunnel { mut client, mut server } = Tunnel::verified(&gateway, &server);
            let (sender, receiver) =
                if up { (&mut client, &mut server) } else { (&mut server, &mut client) };
            // One direction that is busy keeps the other open.
            let watch = tick_on(sender, receiver);
            client.expect_reset();
            server.expect_reset();
            expect_in_time(watch, &format!("{kind}, up: {up}"));
            let ended = gateway.end_of(&gateway.session_of(&client));
            assert_eq!(ended.text("ending"), "tunnel.gateway.idle", "{kind}");
            gateway.stop();
        });
    });
}

/// Sends for longer than the limit, and gives the watch of the last bytes.
fn tick_on(sender: &mut Peer, receiver: &mut Peer) -> Stopwatch {
    let ticks = [(); 10].map(|()| {
        std::thread::sleep(TICK);
        let watch = Stopwatch::start();
        sender.send(b"tick");
        receiver.expect(b"tick");
        watch
    });
    ticks[9]
}

#[test]
fn a_half_closed_tunnel_has_less_time() {
    each(CARRIERS, |kind| {
        each([true, false], |client_first| {
            let server = Server::start();
            let setup = Setup::new(kind).reach(&server).set("limits.half_closed_ms", LIMIT_MS);
            let gateway = setup.start();
            let Tunnel { mut client, mut server } = Tunnel::verified(&gateway, &server);
            let (ended, open) =
                if client_first { (&mut client, &mut server) } else { (&mut server, &mut client) };
            ended.fin();
            open.expect_end();
            let watch = tick_on(open, ended);
            ended.expect_reset();
            expect_in_time(watch, &format!("{kind}, client first: {client_first}"));
            let ending = gateway.end_of(&gateway.session_of(&client));
            assert_eq!(ending.text("ending"), "tunnel.gateway.half_closed", "{kind}");
            gateway.stop();
        });
    });
}

#[test]
fn a_session_that_is_too_old_is_reset_whatever_it_does() {
    each(CARRIERS, |kind| {
        let server = Server::start();
        let gateway = Setup::new(kind).reach(&server).set("limits.session_ms", LIMIT_MS).start();
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
