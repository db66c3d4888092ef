//! Bytes through an open tunnel: all of them, in order, both ways, and at the reader's pace.

use std::time::Duration;

use crate::support::deadline::Stopwatch;
use crate::support::gateway::{CARRIERS, KINDS, Setup};
use crate::support::pattern::Pattern;
use crate::support::peer::{Peer, Step};
use crate::support::server::Server;
use crate::support::tunnel::Tunnel;

/// Many small segments into a slow reader fill a pipe by its slots long before its bytes: what looks
/// like an empty source then is a full pipe, and taking one for the other stalls for ever.
#[test]
fn many_small_segments_into_a_slow_reader_all_arrive_without_a_pause() {
    let pattern = Pattern::from(1);
    for kind in CARRIERS {
        let server = Server::start();
        let gateway = Setup::new(kind).reach(&server).start();
        for (segments, len) in [(200, 100), (2_000, 1), (500, 1_000)] {
            let Tunnel { mut client, mut server } = Tunnel::verified(&gateway, &server);
            let total = segments * len;
            let sending = std::thread::spawn(move || {
                pattern.write(&mut client.stream, 0, total, len as usize).unwrap();
                client
            });
            let mut buffer = [0; 700];
            let (mut at, mut longest) = (0, Duration::ZERO);
            while at < total {
                std::thread::sleep(Duration::from_micros(200));
                let watch = Stopwatch::start();
                at += pattern.read(&mut server.stream, at, &mut buffer).unwrap() as u64;
                longest = longest.max(watch.elapsed());
            }
            // A stall would last until the idle limit; the scheduler of a busy machine stays below.
            assert!(longest < Duration::from_secs(9), "{kind}, {segments} x {len}: {longest:?}");
            drop(sending.join().unwrap());
        }
        gateway.stop();
    }
}

/// The client's last bytes are followed by its end, the answer comes after both.
#[test]
fn a_client_that_has_sent_all_still_gets_the_whole_answer() {
    let (up, down) = (Pattern::from(2), Pattern::from(3));
    for kind in KINDS {
        let server = Server::start();
        let gateway = Setup::new(kind).reach(&server).start();
        for (request, answer) in [(100, 1 << 20), (1 << 20, 100), (0, 1 << 20), (1 << 20, 0)] {
            let mut tunnel = Tunnel::verified(&gateway, &server);
            let session = gateway.session_of(&tunnel.client);
            let mut server = tunnel.server;
            let serving = std::thread::spawn(move || {
                assert_eq!(up.read_to_end(&mut server.stream).unwrap(), request);
                down.write(&mut server.stream, 0, answer, 1 << 16).unwrap();
            });
            up.write(&mut tunnel.client.stream, 0, request, 1 << 16).unwrap();
            tunnel.client.fin();
            assert_eq!(down.read_to_end(&mut tunnel.client.stream).unwrap(), answer, "{kind}");
            serving.join().unwrap();
            let ended = gateway.end_of(&session);
            assert_eq!(ended.text("ending"), "tunnel.remote.finished", "{kind}");
            let hellos = hello_bytes();
            let bytes = (ended.number("bytes_up"), ended.number("bytes_down"));
            assert_eq!(bytes, (hellos.0 + request, hellos.1 + answer), "{kind}");
        }
        gateway.stop();
    }
}

fn hello_bytes() -> (u64, u64) {
    use crate::support::tls::{answer, hello};
    (hello(None).len() as u64, answer().len() as u64)
}

#[test]
fn a_server_that_has_sent_all_still_gets_what_the_client_sends() {
    let (up, down) = (Pattern::from(4), Pattern::from(5));
    for kind in KINDS {
        let server = Server::start();
        let gateway = Setup::new(kind).reach(&server).start();
        for (answer, request) in [(0, 1 << 20), (1 << 20, 100), (100, 1 << 20)] {
            let mut tunnel = Tunnel::verified(&gateway, &server);
            let session = gateway.session_of(&tunnel.client);
            let mut client = tunnel.client;
            let calling = std::thread::spawn(move || {
                assert_eq!(down.read_to_end(&mut client.stream).unwrap(), answer);
                up.write(&mut client.stream, 0, request, 1 << 16).unwrap();
            });
            down.write(&mut tunnel.server.stream, 0, answer, 1 << 16).unwrap();
            tunnel.server.fin();
            assert_eq!(up.read_to_end(&mut tunnel.server.stream).unwrap(), request, "{kind}");
            calling.join().unwrap();
            assert_eq!(gateway.end_of(&session).text("ending"), "tunnel.client.finished", "{kind}");
        }
        gateway.stop();
    }
}

/// An end behind more bytes than a pipe holds is no end before they are delivered.
#[test]
fn an_end_behind_a_full_pipe_waits_its_turn() {
    let pattern = Pattern::from(6);
    for kind in CARRIERS {
        let server = Server::start();
        let gateway = Setup::new(kind).reach(&server).start();
        let mut tunnel = Tunnel::verified(&gateway, &server);
        let sending = std::thread::spawn(move || {
            pattern.write(&mut tunnel.client.stream, 0, 8 << 20, 1 << 16).unwrap();
            tunnel.client.fin();
            tunnel.client
        });
        // The reader starts when everything between the two is full.
        std::thread::sleep(Duration::from_millis(200));
        let read = pattern.read_to_end(&mut tunnel.server.stream).unwrap();
        assert_eq!(read, 8 << 20, "{kind}");
        drop(tunnel.server);
        sending.join().unwrap().expect_end();
        gateway.stop();
    }
}

#[test]
fn both_directions_run_at_once() {
    let (up, down) = (Pattern::from(7), Pattern::from(8));
    const BYTES: u64 = 24 << 20;
    for kind in CARRIERS {
        let server = Server::start();
        let gateway = Setup::new(kind).reach(&server).start();
        let tunnel = Tunnel::verified(&gateway, &server);
        let ends = [(tunnel.client, up, down), (tunnel.server, down, up)];
        let threads = ends.map(|(peer, sent, received)| {
            let mut writer = Peer::new(peer.stream.try_clone().unwrap());
            let writing = std::thread::spawn(move || {
                sent.write(&mut writer.stream, 0, BYTES, 1 << 16).unwrap();
                writer.fin();
            });
            let mut reader = peer;
            let reading = std::thread::spawn(move || {
                assert_eq!(received.read_to_end(&mut reader.stream).unwrap(), BYTES);
            });
            [writing, reading]
        });
        threads.into_iter().flatten().for_each(|thread| thread.join().unwrap());
        gateway.stop();
    }
}

/// What a reader does not take stays with its sender, not in the gateway.
#[test]
#[cfg(target_os = "linux")]
fn a_reader_that_stops_stops_its_sender_and_costs_the_gateway_nothing() {
    use crate::support::process::resident_bytes;
    const TUNNELS: usize = 60;
    const QUIET: Duration = Duration::from_millis(100);
    for kind in CARRIERS {
        let server = Server::start();
        let gateway = Setup::new(kind).reach(&server).start();
        let warm = Tunnel::verified(&gateway, &server);
        let before = resident_bytes(gateway.pid());
        let mut tunnels: Vec<_> =
            (0..TUNNELS).map(|_| Tunnel::verified(&gateway, &server)).collect();
        let most = 256 << 20;
        let sent: Vec<u64> = std::thread::scope(|scope| {
            let threads: Vec<_> = tunnels
                .iter_mut()
                .enumerate()
                .map(|(index, tunnel)| {
                    let sender =
                        if index % 2 == 0 { &mut tunnel.client } else { &mut tunnel.server };
                    scope.spawn(move || sender.send_until_full(QUIET, most))
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let grown = resident_bytes(gateway.pid()).saturating_sub(before);
        // Two socket buffers and a carrier on the way, which the kernel sizes up to some MiB each.
        assert!(sent.iter().all(|sent| *sent < 64 << 20), "{kind}: {sent:?}");
        assert!(grown < 16 << 20, "{kind}: grown by {} KiB", grown >> 10);
        // They go on where they stopped.
        for (index, (tunnel, sent)) in tunnels.iter_mut().zip(&sent).enumerate() {
            let (sender, reader) = match index % 2 {
                0 => (&mut tunnel.client, &mut tunnel.server),
                _ => (&mut tunnel.server, &mut tunnel.client),
            };
            sender.fin();
            let read = std::io::copy(&mut reader.stream, &mut std::io::sink()).unwrap();
            assert_eq!(read, *sent, "{kind}");
        }
        drop((tunnels, warm));
        gateway.stop();
    }
}

/// A carrier that still holds bytes when its tunnel breaks is never given to another tunnel.
#[test]
fn bytes_of_a_broken_tunnel_never_reach_another() {
    const BYTES: u64 = 200_000;
    let pattern = Pattern::from(11);
    for kind in CARRIERS {
        let server = Server::start();
        let gateway = Setup::new(kind).reach(&server).workers(1).start();
        for round in 0..12 {
            let Tunnel { mut client, server: mut stalled } = Tunnel::verified(&gateway, &server);
            let (sender, reader) = if round % 2 == 0 {
                (&mut client, &mut stalled)
            } else {
                (&mut stalled, &mut client)
            };
            sender.send_until_full(Duration::from_millis(30), 64 << 20);
            // Whoever resets, what the gateway holds of it is dropped.
            if round % 4 < 2 {
                reader.set_reset_on_close()
            } else {
                sender.set_reset_on_close()
            }
            drop((client, stalled));
            let mut next = Tunnel::verified(&gateway, &server);
            pattern.write(&mut next.client.stream, 0, BYTES, 1 << 16).unwrap();
            next.client.fin();
            assert_eq!(pattern.read_to_end(&mut next.server.stream).unwrap(), BYTES, "{kind}");
        }
        gateway.stop();
    }
}

/// One tunnel flat out leaves the others their turn.
#[test]
fn a_busy_tunnel_does_not_starve_the_others() {
    for kind in CARRIERS {
        let server = Server::start();
        let gateway = Setup::new(kind).reach(&server).workers(1).start();
        let busy = Tunnel::verified(&gateway, &server);
        let mut quiet: Vec<_> = (0..50).map(|_| Tunnel::verified(&gateway, &server)).collect();
        let (mut sink, mut source) = (busy.server, busy.client);
        let reading = std::thread::spawn(move || {
            std::io::copy(&mut sink.stream, &mut std::io::sink()).unwrap()
        });
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let told = std::sync::Arc::clone(&stop);
        let writing = std::thread::spawn(move || {
            let pattern = Pattern::from(9);
            let mut at = 0;
            while !told.load(std::sync::atomic::Ordering::Acquire) {
                pattern.write(&mut source.stream, at, at + (1 << 18), 1 << 18).unwrap();
                at += 1 << 18;
            }
            at
        });
        let mut times = Vec::new();
        for round in 0..4 {
            for tunnel in &mut quiet {
                let watch = Stopwatch::start();
                tunnel.client.send(b"ping");
                tunnel.server.play(&[Step::Expect(b"ping"), Step::Send(b"pong")]);
                tunnel.client.expect(b"pong");
                // The first round meets cold caches and a machine that starts five other tests.
                if round > 0 {
                    times.push(watch.elapsed());
                }
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Release);
        let sent = writing.join().unwrap();
        let carried = reading.join().unwrap();
        assert_eq!(sent, carried, "{kind}");
        times.sort();
        // A machine that stands still makes a few late; one that serves the busy tunnel first, all.
        let sixth = times[times.len() - 6];
        assert!(sixth < Duration::from_millis(500), "{kind}: {times:?}");
        assert!(times.last() < Some(&Duration::from_secs(9)), "{kind}: {times:?}");
        gateway.stop();
    }
}

/// An idle tunnel owns two sockets and nothing else, however much it has carried.
#[test]
#[cfg(target_os = "linux")]
fn idle_tunnels_hold_no_pipes() {
    use crate::support::deadline::{PATIENCE, until};
    use crate::support::gateway::SPLICE;
    use crate::support::process::count_descriptors;
    let server = Server::start();
    let gateway = Setup::new(SPLICE).reach(&server).start();
    let pid = gateway.pid();
    // Its streams are pipes too, and so is what signals come by.
    let own = count_descriptors(pid, "pipe:");
    let mut tunnels: Vec<_> = (0..20).map(|_| Tunnel::verified(&gateway, &server)).collect();
    let pattern = Pattern::from(10);
    for tunnel in &mut tunnels {
        pattern.write(&mut tunnel.client.stream, 0, 50_000, 10_000).unwrap();
        assert_eq!(tunnel.server.read_exact(50_000), pattern.slice(0, 50_000));
    }
    let sockets = count_descriptors(pid, "socket:");
    assert!((40..50).contains(&sockets), "{sockets} sockets for 20 tunnels");
    // Pipes are kept for ten seconds of no use.
    assert!(count_descriptors(pid, "pipe:") > own, "splicing takes pipes");
    until("no pipe is left", PATIENCE, || (count_descriptors(pid, "pipe:") <= own).then_some(()));
    assert_eq!(count_descriptors(pid, "socket:"), sockets);
    for tunnel in &mut tunnels {
        tunnel.client.send(b"still there");
        tunnel.server.expect(b"still there");
    }
    drop(tunnels);
    gateway.stop();
}

/// A target that has shut its reading side makes the next write fail; that is no signal that kills.
#[test]
fn writing_to_a_server_that_is_gone_ends_one_session_only() {
    for kind in KINDS {
        let server = Server::start();
        let gateway = Setup::new(kind).reach(&server).start();
        let mut other = Tunnel::verified(&gateway, &server);
        for _ in 0..5 {
            let mut tunnel = Tunnel::verified(&gateway, &server);
            let session = gateway.session_of(&tunnel.client);
            drop(tunnel.server);
            tunnel.client.expect_end();
            // The first bytes make the dead server answer by a reset, later ones find it broken.
            let piece = [7; 10_000];
            while std::io::Write::write_all(&mut tunnel.client.stream, &piece).is_ok() {
                std::thread::sleep(Duration::from_millis(1));
            }
            let ended = gateway.end_of(&session);
            assert_eq!(ended.text("ending"), "tunnel.remote.reset", "{kind}");
        }
        other.client.send(b"alive");
        other.server.expect(b"alive");
        drop(other);
        gateway.stop();
    }
}
