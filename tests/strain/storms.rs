//! Storms of signals: reads are interrupted, and the configuration is read again and again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;

use crate::rest::Rest;
use crate::support::deadline::Stopwatch;
use crate::support::gateway::{CARRIERS, Gateway, KINDS, SPLICE, Setup, each};
use crate::support::pattern::Pattern;
use crate::support::process::{count_descriptors, resident_bytes, signal_threads};
use crate::support::server::Server;
use crate::support::tunnel::Tunnel;

/// Moves bytes both ways, in order, and checks each.
fn exchange(tunnel: Tunnel, bytes: u64) {
    let (up, down) = (Pattern::from(40), Pattern::from(41));
    let Tunnel { client, server } = tunnel;
    std::thread::scope(|scope| {
        for (peer, sent, received) in [(client, up, down), (server, down, up)] {
            let mut writer = peer.stream.try_clone().unwrap();
            scope.spawn(move || {
                sent.write(&mut writer, 0, bytes, 10_000).unwrap();
                writer.shutdown(std::net::Shutdown::Write).unwrap();
            });
            scope.spawn(move || {
                let mut reader = peer.stream;
                assert_eq!(received.read_to_end(&mut reader).unwrap(), bytes);
            });
        }
    });
}

/// Runs `work` while every thread of the gateway is sent a hangup a thousand times a second.
fn in_a_storm(gateway: &Gateway, work: impl FnOnce()) -> usize {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let storm = scope.spawn(|| {
            let mut sent = 0;
            while !over.load(Ordering::Acquire) || sent < 1_000 {
                sent += signal_threads(gateway.pid(), Signal::HUP);
                std::thread::sleep(Duration::from_micros(800));
            }
            sent
        });
        work();
        over.store(true, Ordering::Release);
        storm.join().unwrap()
    })
}

/// A signal handler may run in any thread and interrupt what that thread waits for.
#[test]
fn interrupted_calls_lose_nothing() {
    each(KINDS, |kind| {
        let server = Server::start();
        let gateway = Setup::new(kind).reach(&server).admin().start();
        let rest = Rest::of(&gateway);
        let sent = in_a_storm(&gateway, || {
            for _ in 0..6 {
                exchange(Tunnel::verified(&gateway, &server), 4 << 20);
            }
        });
        println!("{kind}: {sent} signals");
        let counted = rest.wait(&format!("{kind}"));
        assert_eq!(counted.get("sluice_sessions_total"), 6, "{kind}");
        assert_eq!(counted.get("sluice_configuration_generation"), 1, "{kind}");
        counted.expect_exact(&gateway.stop(), &format!("{kind}"));
    });
}

/// A configuration so long that it takes its time to be read.
fn long_one(setup: Setup) -> Setup {
    (0..12_000).fold(setup, |setup, number| setup.host(&format!("host-{number}.example.com")))
}

/// Hangups that come faster than the file is read become one more reading, not a queue of them: the
/// end of the gateway does not wait behind them, and its memory does not grow by them.
#[test]
fn hangups_that_come_faster_than_the_file_is_read_do_not_queue() {
    storm_of_hangups(2_000);
}

#[test]
#[ignore = "10 s of signals; run by cargo test --release --test strain -- --ignored long_"]
fn long_ten_thousand_hangups_under_load() {
    storm_of_hangups(10_000);
}

fn storm_of_hangups(hangups: usize) {
    each(CARRIERS, |kind| {
        let server = Server::start();
        let gateway = long_one(Setup::new(kind).reach(&server)).admin().start();
        let rest = Rest::of(&gateway);
        let mut tunnel = Tunnel::verified(&gateway, &server);
        rest.wait_for_sockets(2);
        let descriptors = count_descriptors(gateway.pid(), "");
        let before = resident_bytes(gateway.pid());
        for round in 0..hangups {
            gateway.signal(Signal::HUP);
            if round % 20 == 0 {
                tunnel.client.send(&[round as u8; 100]);
                tunnel.server.expect(&[round as u8; 100]);
            }
            // Ten seconds for ten thousand.
            std::thread::sleep(Duration::from_millis(1));
        }
        let grown = resident_bytes(gateway.pid()).saturating_sub(before);
        // Two configurations at a time, and what the allocator keeps of them.
        assert!(grown < 64 << 20, "{kind}: grown by {} KiB", grown >> 10);
        let more = count_descriptors(gateway.pid(), "").saturating_sub(descriptors);
        assert!(more <= 4, "{kind}: {more} descriptors more");
        tunnel.client.fin();
        tunnel.server.expect_end();
        drop(tunnel);
        // A stop that comes before the end is the ending.
        gateway.events().first("session_ended");
        let watch = Stopwatch::start();
        let events = gateway.stop();
        assert!(watch.elapsed() < Duration::from_secs(10), "{kind}: {:?}", watch.elapsed());
        let ends = events.iter().filter(|event| event.reason() == "session_ended");
        let endings: Vec<_> = ends.map(|end| end.text("ending").to_owned()).collect();
        assert_eq!(endings, ["tunnel.remote.finished"], "{kind}");
        assert!(events.iter().all(|event| event.id() < 400), "{kind}");
    });
}

/// Both ends of the order: what came first is not what must be done first.
#[test]
fn a_stop_among_hangups_is_obeyed() {
    let gateway = long_one(Setup::new(SPLICE)).start();
    for _ in 0..200 {
        gateway.signal(Signal::HUP);
    }
    gateway.signal(Signal::TERM);
    for _ in 0..200 {
        // It may be gone by now.
        gateway.try_signal(Signal::HUP);
    }
    gateway.ended();
}
