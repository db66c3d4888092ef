//! Crowds: idle tunnels, heads that are never finished, more sessions than there may be, thousands of
//! connections and refusals. What is counted is exact, and what they cost goes with them.

use std::collections::HashMap;
use std::time::Duration;

use crate::rest::Rest;
use crate::support::deadline::{PATIENCE, Stopwatch, until};
use crate::support::events::Event;
use crate::support::gateway::{CARRIERS, Gateway, KINDS, SPLICE, Setup, connect_head, each};
use crate::support::process::{anonymous_bytes, raise_own_open_files};
use crate::support::random::Random;
use crate::support::reply::Reply;
use crate::support::server::Server;
use crate::support::tls;
use crate::support::tunnel::Tunnel;

/// Lanes in which a crowd comes.
const LANES: usize = 4;

#[test]
fn idle_tunnels_cost_two_sockets_and_no_turn() {
    const TUNNELS: usize = 500;
    raise_own_open_files();
    each(CARRIERS, |kind| {
        let server = Server::start();
        let gateway = Setup::new(kind).reach(&server).admin().start();
        let rest = Rest::of(&gateway);
        drop(Tunnel::verified(&gateway, &server));
        rest.wait("the first");
        let before = anonymous_bytes(gateway.pid());
        let mut tunnels: Vec<_> =
            (0..TUNNELS).map(|_| Tunnel::verified(&gateway, &server)).collect();
        rest.wait_for_sockets(2 * TUNNELS);
        // Shown at the end of a turn, which may be after the test has the last bytes.
        until("pipes and buffers are given back", PATIENCE, || {
            let told = rest.admin().metrics();
            let held = ["sluice_pipes_out", "sluice_buffers_out"].map(|name| told[name]);
            (held == [0.0; 2]).then_some(())
        });
        let each_bytes = anonymous_bytes(gateway.pid()).saturating_sub(before) / TUNNELS as u64;
        // What ten thousand may take: 64 MiB.
        println!("{kind}: {each_bytes} bytes each");
        assert!(each_bytes < 6_500, "{kind}: {each_bytes} bytes each");
        let turns = rest.turns();
        std::thread::sleep(Duration::from_millis(500));
        let turns = rest.turns() - turns;
        assert!(turns <= 4, "{kind}: {turns} turns for nothing");
        for tunnel in &mut tunnels {
            tunnel.client.send(b"wakes");
            tunnel.server.send(b"up");
        }
        for tunnel in &mut tunnels {
            tunnel.server.expect(b"wakes");
            tunnel.client.expect(b"up");
        }
        drop(tunnels);
        rest.wait(&format!("{kind}")).expect_exact(&gateway.stop(), &format!("{kind}"));
    });
}

#[test]
fn heads_that_are_never_finished_keep_nobody_out() {
    const HEADS: usize = 800;
    raise_own_open_files();
    each(KINDS, |kind| {
        let server = Server::start();
        let setup = Setup::new(kind).reach(&server).set("limits.head_ms", 2_000).admin();
        let gateway = setup.start();
        let rest = Rest::of(&gateway);
        let mut begun: Vec<_> = (0..HEADS)
            .map(|index| {
                let mut client = gateway.connect();
                client.send(&connect_head(&server.authority())[..1 + index % 30]);
                client
            })
            .collect();
        for _ in 0..20 {
            let mut agent = Tunnel::verified(&gateway, &server);
            agent.client.send(b"served");
            agent.server.expect(b"served");
        }
        for client in &mut begun {
            assert_eq!(Reply::read(client).status, 408, "{kind}");
        }
        drop(begun);
        let counted = rest.wait(&format!("{kind}"));
        assert_eq!(counted.refused("head_timeout"), HEADS as u64, "{kind}");
        let errors = counted.get("sluice_errors_total");
        assert_eq!(errors, 0, "{kind}: what clients do wrong is no error");
        counted.expect_exact(&gateway.stop(), &format!("{kind}"));
    });
}

#[test]
fn sessions_beyond_the_limits_are_counted_and_disturb_nobody() {
    const BEYOND: usize = 60;
    for (limit, reason) in
        [("sessions", "too_many_sessions"), ("sessions_per_client", "too_many_sessions_of_client")]
    {
        each(KINDS, |kind| {
            let server = Server::start();
            let setup = Setup::new(kind).reach(&server).set(&format!("limits.{limit}"), 5).admin();
            let gateway = setup.start();
            let rest = Rest::of(&gateway);
            let mut open: Vec<_> = (0..5).map(|_| Tunnel::verified(&gateway, &server)).collect();
            for _ in 0..BEYOND {
                let reply = Reply::read(&mut gateway.ask(&server.authority()));
                assert_eq!((reply.status, reply.header("Sluice-Reason")), (503, reason), "{kind}");
                for tunnel in &mut open {
                    tunnel.client.send(b"undisturbed");
                    tunnel.server.expect(b"undisturbed");
                }
            }
            drop(open);
            let counted = rest.wait(&format!("{kind}"));
            assert_eq!(counted.refused(reason), BEYOND as u64, "{kind}");
            assert_eq!(counted.get("sluice_errors_total"), BEYOND as u64, "{kind}");
            counted.expect_exact(&gateway.stop(), &format!("{kind}"));
        });
    }
}

/// Thousands of sessions, gone in every way there is.
#[test]
fn after_thousands_of_connections_all_is_as_before() {
    come_and_go(2_400);
}

#[test]
#[ignore = "minutes; run by cargo test --release --test strain -- --ignored long_"]
fn long_connections_by_the_ten_thousand() {
    come_and_go(20_000);
}

fn come_and_go(connections: usize) {
    let mut random = Random::of_this_run();
    for kind in CARRIERS {
        let servers: Vec<Server> = (0..LANES).map(|_| Server::start()).collect();
        let setup = servers.iter().fold(Setup::new(kind), Setup::reach).host("127.0.0.77:9");
        let gateway = setup.admin().start();
        let rest = Rest::of(&gateway);
        std::thread::scope(|scope| {
            for server in servers {
                let mut random = Random::seeded(random.next());
                let gateway = &gateway;
                scope.spawn(move || {
                    for round in 0..connections / LANES {
                        match round % PACE {
                            0 => be_refused_and_told(gateway),
                            _ => visit(gateway, &server, &mut random),
                        }
                    }
                });
            }
        });
        // Those who left without a word may still wait to be accepted.
        until("all have been seen", PATIENCE, || {
            (rest.metric("sluice_sessions_total") == connections as f64).then_some(())
        });
        let counted = rest.wait(&format!("{kind}"));
        counted.expect_exact(&gateway.stop(), &format!("{kind}"));
    }
}

/// Comes so often before it waits until all is told: a queue of events that is full loses some.
const PACE: usize = 510;

/// One refusal whose end has been told, and so has all before it.
fn be_refused_and_told(gateway: &Gateway) {
    let reply = Reply::read(&mut gateway.ask("forbidden.example:443"));
    assert_eq!(reply.header("Sluice-Reason"), REFUSALS[0].0);
    gateway.end_of(reply.session());
}

/// One connection, and one way of leaving.
fn visit(gateway: &Gateway, server: &Server, random: &mut Random) {
    match random.below(10) {
        0 => drop(gateway.connect()),
        1 => gateway.connect().reset(),
        2 => gateway.ask("forbidden.example:443").reset(),
        3 => drop(Reply::read(&mut gateway.ask("forbidden.example:443"))),
        4 => drop(Reply::read(&mut gateway.ask("127.0.0.77:9"))),
        5 => drop(Tunnel::open(gateway, server)),
        6 => {
            let Tunnel { client, server } = Tunnel::verified(gateway, server);
            let (resets, stays) =
                if random.once_in(2) { (client, server) } else { (server, client) };
            resets.reset();
            drop(stays);
        }
        _ => {
            let Tunnel { mut client, mut server } = Tunnel::verified(gateway, server);
            client.send(b"a few bytes");
            client.fin();
            assert_eq!(server.read_to_end(), b"a few bytes");
            server.send(b"and an answer");
            server.fin();
            assert_eq!(client.read_to_end(), b"and an answer");
        }
    }
}

/// Six ways to be refused, thousands of times: the counters have all of them, and so have the events;
/// their lines stay few.
#[test]
fn thousands_of_refusals_are_counted_exactly_and_told_in_few_lines() {
    refuse_many(4_800);
}

#[test]
#[ignore = "minutes; run by cargo test --release --test strain -- --ignored long_"]
fn long_refusals_by_the_ten_thousand() {
    refuse_many(48_000);
}

// Each way is taken as often, also where the first is waited for.
const _: () = assert!(PACE.is_multiple_of(REFUSALS.len()));

/// A way to be refused: its reason, its event, and whether it counts as an error and as a rejection.
const REFUSALS: [(&str, u64, bool, bool); 6] = [
    ("host_not_allowed", 105, false, false),
    ("malformed_target", 104, false, false),
    ("not_connect", 104, false, false),
    ("dial_failed", 403, true, false),
    ("not_tls", 106, false, true),
    ("handshake_unreadable", 402, true, true),
];

fn refuse_many(refusals: usize) {
    let each = (refusals / LANES / REFUSALS.len() * LANES) as u64;
    let servers: Vec<Server> = (0..LANES).map(|_| Server::start()).collect();
    let setup = servers.iter().fold(Setup::new(SPLICE), Setup::reach).host("127.0.0.77:9");
    let gateway = setup.admin().start();
    let rest = Rest::of(&gateway);
    let watch = Stopwatch::start();
    std::thread::scope(|scope| {
        for server in servers {
            let gateway = &gateway;
            scope.spawn(move || {
                for round in 0..refusals / LANES {
                    match round % PACE {
                        0 => be_refused_and_told(gateway),
                        _ => be_refused(gateway, &server, REFUSALS[round % REFUSALS.len()].0),
                    }
                }
            });
        }
    });
    let counted = rest.wait("after all refusals");
    for (reason, ..) in REFUSALS {
        assert_eq!(counted.refused(reason), each, "{reason}");
    }
    let sum = |counts: fn(&(&str, u64, bool, bool)) -> bool| {
        each * REFUSALS.iter().filter(|refusal| counts(refusal)).count() as u64
    };
    assert_eq!(counted.get("sluice_errors_total"), sum(|it| it.2));
    assert_eq!(counted.get("sluice_rejections_total"), sum(|it| it.3));
    let events = gateway.stop();
    let seconds = watch.elapsed().as_secs() + 1;
    let mut lines: HashMap<&str, u64> = HashMap::new();
    for event in &events {
        *lines.entry(event.reason()).or_default() += 1;
    }
    for (reason, id, ..) in REFUSALS {
        let of_reason = |event: &&Event| event.reason() == reason;
        assert!(events.iter().filter(of_reason).all(|event| event.id() == id), "{reason}");
        assert!(lines[reason] <= 21 * seconds, "{reason}: {} lines in {seconds} s", lines[reason]);
    }
    counted.expect_exact(&events, "after all refusals");
}

fn be_refused(gateway: &Gateway, server: &Server, reason: &str) {
    let in_tunnel = |bytes: &[u8]| {
        let mut tunnel = Tunnel::open(gateway, server);
        tunnel.client.send(bytes);
        let (told, _) = tunnel.client.read_to_any_end();
        assert!(told.is_empty() || told == tls::alert(3, 50), "{reason}: {told:x?}");
    };
    let before_it = |head: &[u8]| {
        let mut client = gateway.connect();
        client.send(head);
        assert_eq!(Reply::read(&mut client).header("Sluice-Reason"), reason);
    };
    match reason {
        "host_not_allowed" => before_it(&connect_head("forbidden.example:443")),
        "malformed_target" => before_it(&connect_head("no-port.example")),
        "not_connect" => before_it(b"POST / HTTP/1.1\r\nHost: x\r\n\r\n"),
        "dial_failed" => before_it(&connect_head("127.0.0.77:9")),
        "not_tls" => in_tunnel(b"EHLO mail.example.com\r\n"),
        "handshake_unreadable" => in_tunnel(&[22, 3, 1, 0, 5, 1, 0, 0, 1, 0]),
        other => panic!("{other} is no row of the table"),
    }
}
