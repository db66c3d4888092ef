//! A reset on one side is a reset on the other, after the bytes that came before it.

use std::io::ErrorKind;
use std::time::Duration;

use crate::support::deadline::Stopwatch;
use crate::support::gateway::{KINDS, Setup};
use crate::support::pattern::Pattern;
use crate::support::peer::Peer;
use crate::support::server::Server;
use crate::support::tunnel::Tunnel;

/// Who resets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Client,
    Server,
}

use Who::{Client, Server as Remote};

impl Who {
    fn of(self, tunnel: Tunnel) -> (Peer, Peer) {
        match self {
            Client => (tunnel.client, tunnel.server),
            Remote => (tunnel.server, tunnel.client),
        }
    }

    fn ending(self, stage: &str) -> String {
        let side = if self == Client { "client" } else { "remote" };
        format!("{stage}.{side}.reset")
    }
}

#[test]
fn a_reset_passes_to_the_other_side_at_once() {
    for kind in KINDS {
        let server = Server::start();
        let gateway = Setup::new(kind).reach(&server).start();
        for who in [Client, Remote] {
            let tunnel = Tunnel::verified(&gateway, &server);
            let session = gateway.session_of(&tunnel.client);
            let (resetting, mut other) = who.of(tunnel);
            let watch = Stopwatch::start();
            resetting.reset();
            other.expect_reset();
            assert!(watch.elapsed() < Duration::from_secs(9), "{kind}, {who:?}");
            assert_eq!(gateway.end_of(&session).text("ending"), who.ending("tunnel"), "{kind}");
        }
        gateway.stop();
    }
}

/// Bytes that the gateway had from the resetting side reach the other side before its reset, however
/// slowly it reads. (Bytes that the resetting side's own system had not sent are its own loss.)
#[test]
#[cfg(target_os = "linux")]
fn bytes_before_a_reset_are_delivered_to_a_slow_reader() {
    use crate::support::process::wait_until_read;
    let pattern = Pattern::from(20);
    for kind in KINDS {
        let server = Server::start();
        let gateway = Setup::new(kind).reach(&server).start();
        for who in [Client, Remote] {
            for (len, pause_us) in [(1, 0), (1_200, 50_000), (300_000, 2_000), (1_500_000, 1_000)] {
                let tunnel = Tunnel::verified(&gateway, &server);
                let session = gateway.session_of(&tunnel.client);
                let (mut resetting, other) = who.of(tunnel);
                let reading = std::thread::spawn(move || read_slowly(other, pattern, pause_us));
                pattern.write(&mut resetting.stream, 0, len, 1 << 14).unwrap();
                wait_until_read(&resetting.stream);
                resetting.reset();
                let (read, error) = reading.join().unwrap();
                assert_eq!((read, error), (len, ErrorKind::ConnectionReset), "{kind}, {who:?}");
                let ending = gateway.end_of(&session);
                assert_eq!(ending.text("ending"), who.ending("tunnel"), "{kind}");
            }
        }
        gateway.stop();
    }
}

#[cfg(target_os = "linux")]
fn read_slowly(mut peer: Peer, pattern: Pattern, pause_us: u64) -> (u64, ErrorKind) {
    let mut buffer = vec![0; 20_000];
    let mut at = 0;
    loop {
        std::thread::sleep(Duration::from_micros(pause_us));
        match pattern.read(&mut peer.stream, at, &mut buffer) {
            Ok(0) => return (at, ErrorKind::UnexpectedEof),
            Ok(read) => at += read as u64,
            Err(error) => return (at, error.kind()),
        }
    }
}

#[test]
fn a_reset_while_both_sides_send_ends_the_session_once() {
    let pattern = Pattern::from(21);
    for kind in KINDS {
        let server = Server::start();
        let gateway = Setup::new(kind).reach(&server).start();
        for who in [Client, Remote] {
            for after in [0, 100_000, 3_000_000] {
                let tunnel = Tunnel::verified(&gateway, &server);
                let session = gateway.session_of(&tunnel.client);
                let (resetting, other) = who.of(tunnel);
                let mut sender = Peer::new(other.stream.try_clone().unwrap());
                let sending = std::thread::spawn(move || {
                    // Ends by the reset.
                    pattern.write(&mut sender.stream, 0, u64::MAX, 1 << 16).unwrap_err()
                });
                let mut reader = Peer::new(resetting.stream.try_clone().unwrap());
                let mut resetting = resetting;
                pattern.write(&mut resetting.stream, 0, 10_000, 1 << 16).unwrap();
                let mut buffer = vec![0; 1 << 16];
                let mut at = 0;
                while at < after {
                    at += pattern.read(&mut reader.stream, at, &mut buffer).unwrap() as u64;
                }
                drop(reader);
                resetting.reset();
                let error = sending.join().unwrap();
                let kinds = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
                assert!(kinds.contains(&error.kind()), "{kind}, {who:?}: {error}");
                drop(other);
                let ending = gateway.end_of(&session);
                assert_eq!(ending.text("ending"), who.ending("tunnel"), "{kind}, after {after}");
            }
        }
        gateway.stop();
    }
}

/// A reset is a reset also where the other direction has ended in order before.
#[test]
fn a_reset_after_a_half_close_is_no_orderly_end() {
    for kind in KINDS {
        let server = Server::start();
        let gateway = Setup::new(kind).reach(&server).start();
        for who in [Client, Remote] {
            let tunnel = Tunnel::verified(&gateway, &server);
            let session = gateway.session_of(&tunnel.client);
            let (mut resetting, mut other) = who.of(tunnel);
            other.send(b"last words");
            other.fin();
            resetting.expect(b"last words");
            resetting.expect_end();
            resetting.reset();
            other.expect_reset();
            assert_eq!(gateway.end_of(&session).text("ending"), who.ending("tunnel"), "{kind}");
        }
        gateway.stop();
    }
}

#[test]
fn a_reset_before_the_hellos_are_through_ends_both_sides() {
    use crate::support::tls::hello;
    for kind in KINDS {
        let server = Server::start();
        let gateway = Setup::new(kind).reach(&server).start();
        for (sent, stage) in [(0, "await_hello"), (20, "await_hello"), (999, "await_server_hello")]
        {
            for who in [Client, Remote] {
                let mut tunnel = Tunnel::open(&gateway, &server);
                let session = gateway.session_of(&tunnel.client);
                let hello = hello(None);
                let sent = &hello[..hello.len().min(sent)];
                tunnel.client.send(sent);
                if sent.len() == hello.len() {
                    tunnel.server.expect(&hello);
                }
                let (resetting, mut other) = who.of(tunnel);
                resetting.reset();
                other.expect_reset();
                let ending = gateway.end_of(&session);
                assert_eq!(ending.text("ending"), who.ending(stage), "{kind}, {}", sent.len());
            }
        }
        gateway.stop();
    }
}
