//! Behind a load balancer that sends the PROXY header: its client is the client.

use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::Signal;
use sluice::proto::proxy_header::SIGNATURE;
use sluice::proto::reply::ESTABLISHED;

use super::reload::{on_its_port, started};
use crate::support::deadline::Stopwatch;
use crate::support::gateway::{Gateway, KINDS, SPLICE, Setup, connect_head, each};
use crate::support::peer::{CUTS, Peer};
use crate::support::reply::Reply;
use crate::support::server::Server;
use crate::support::tls;

const FROM: &str = "proxy_protocol.from";
const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";

fn line_of(agent: &str) -> Vec<u8> {
    let agent: SocketAddr = agent.parse().unwrap();
    format!("PROXY TCP4 {} 127.0.0.1 {} 8080\r\n", agent.ip(), agent.port()).into_bytes()
}

fn block_of(agent: &str, extensions: usize) -> Vec<u8> {
    let agent: SocketAddr = agent.parse().unwrap();
    let (family, mut addresses) = match agent {
        SocketAddr::V4(v4) => (0x11, [&v4.ip().octets()[..], &[127, 0, 0, 1]].concat()),
        SocketAddr::V6(v6) => (0x21, [v6.ip().octets(), [0; 16]].concat()),
    };
    addresses.extend(agent.port().to_be_bytes());
    addresses.extend(8080_u16.to_be_bytes());
    let len = (addresses.len() + extensions) as u16;
    [&SIGNATURE[..], &[0x21, family], &len.to_be_bytes(), &addresses, &vec![4; extensions]].concat()
}

fn refused(gateway: &Gateway, mut balancer: Peer, reason: &str) -> (String, String) {
    let reply = Reply::read(&mut balancer);
    assert_eq!(reply.header("Sluice-Reason"), reason, "{reply:?}");
    let event = gateway.events().of(reason, reply.session());
    (event.text("client").to_owned(), event.text("message").to_owned())
}

#[test]
fn a_header_names_the_client_and_what_is_glued_to_it_comes_through() {
    each(KINDS, |kind| {
        let server = Server::start();
        let gateway = Setup::new(kind).reach(&server).set(FROM, "[\"127.0.0.0/8\"]").start();
        let headers = [
            ("192.0.2.7:4711", line_of("192.0.2.7:4711")),
            ("192.0.2.8:4712", block_of("192.0.2.8:4712", 0)),
            ("[2001:db8::9]:4713", block_of("[2001:db8::9]:4713", 300)),
        ];
        for (agent, header) in headers {
            for cut in CUTS {
                let hello = tls::hello(None);
                let mut balancer = gateway.connect();
                let all = [&header[..], &connect_head(&server.authority()), &hello].concat();
                balancer.send_cut(&all, cut);
                balancer.expect(ESTABLISHED);
                let mut remote = server.accept();
                remote.expect(&hello);
                let told = gateway.events().wait(agent, |event| {
                    event.reason() == "connect_received" && event.text("client") == agent
                });
                let session = told.text("session").to_owned();
                drop((remote, balancer));
                let end = gateway.end_of(&session);
                assert_eq!(end.text("client"), agent, "{kind} {cut:?}");
            }
        }
        for event in gateway.stop() {
            let client = event.text("client");
            assert!(!client.starts_with("127."), "the balancer shows: {}", event.0);
        }
    });
}

#[test]
fn the_named_client_is_judged_and_the_balancer_must_name_one() {
    let server = Server::start();
    let gateway = Setup::new(SPLICE)
        .reach(&server)
        .set(FROM, "[\"127.0.0.1\"]")
        .set("allow.clients", "[\"192.0.2.0/24\"]")
        .start();
    let rows: [(Vec<u8>, &str, &str, &str); 6] = [
        (line_of("198.51.100.1:5"), "client_not_allowed", "198.51.100.1:5", "198.51.100.1"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "client_not_allowed", "127.0.0.1:", "127.0.0.1"),
        (Vec::new(), "malformed_head", "127.0.0.1:", "must begin with a PROXY header"),
        (b"PROXY TCP4 1.2.3 4\r\n".to_vec(), "malformed_head", "127.0.0.1:", "127.0.0.1 is wrong"),
        ([&SIGNATURE[..], &[0x21, 0x77, 0, 12]].concat(), "malformed_head", "127.0.0.1:", "family"),
        (line_of("192.0.2.1:6").repeat(2), "malformed_head", "192.0.2.1:6", "PROXY header"),
    ];
    for (header, reason, client, words) in rows {
        for cut in CUTS {
            let mut balancer = gateway.connect();
            let all = [&header[..], &connect_head(&server.authority())].concat();
            balancer.send_cut(&all, cut);
            let (told, message) = refused(&gateway, balancer, reason);
            let what = format!("{} {cut:?}: {told} {message}", header.escape_ascii());
            assert!(told.starts_with(client) && message.contains(words), "{what}");
        }
    }
    server.expect_nobody("a refused client reaches nobody");
    gateway.stop();
}

#[test]
fn whoever_is_no_balancer_names_nobody() {
    let server = Server::start();
    let gateway = Setup::new(SPLICE).reach(&server).set(FROM, "[\"10.0.0.0/8\"]").start();
    let mut liar = gateway.connect();
    liar.send(&[&line_of("192.0.2.7:4711")[..], &connect_head(&server.authority())].concat());
    let (told, message) = refused(&gateway, liar, "malformed_head");
    assert!(told.starts_with("127.0.0.1:") && message.contains("does not name"), "{message}");
    gateway.open(&server.authority());
    gateway.stop();
}

#[test]
fn health_checks_come_with_and_without_a_header_and_leave_no_event() {
    let setup = Setup::new(SPLICE).set(FROM, "[\"127.0.0.1\"]");
    let gateway = setup.set("allow.clients", "[\"192.0.2.0/24\"]").start();
    let local = [&SIGNATURE[..], &[0x20, 0, 0, 0]].concat();
    for header in [b"".to_vec(), local.clone(), line_of("192.0.2.1:9")] {
        for cut in CUTS {
            let mut balancer = gateway.connect();
            balancer.send_cut(&[&header[..], HEALTH].concat(), cut);
            let reply = Reply::read(&mut balancer);
            assert_eq!((reply.status, reply.body.as_str()), (200, "ok\n"), "{cut:?}");
        }
    }
    // A TCP check connects and closes, with a header of its own or without.
    for header in [b"".to_vec(), local] {
        let mut balancer = gateway.connect();
        balancer.send(&header);
        balancer.fin();
        balancer.expect_end();
    }
    let events = gateway.stop();
    let told: Vec<_> = events.iter().filter(|event| event.has("client")).collect();
    assert!(told.is_empty(), "{told:?}");
}

#[test]
fn sessions_per_client_counts_agents_and_not_their_balancer() {
    each(KINDS, |kind| {
        let server = Server::start();
        let setup = Setup::new(kind).reach(&server).set(FROM, "[\"127.0.0.1\"]");
        let gateway = setup.set("limits.sessions_per_client", 2).start();
        let mut waiting: Vec<Peer> = (0..8).map(|_| gateway.connect()).collect();
        let head = connect_head(&server.authority());
        let mut send = |agent: &str| {
            let mut balancer = waiting.pop().unwrap();
            balancer.send(&[&line_of(agent)[..], &head].concat());
            balancer
        };
        let mut open = Vec::new();
        for agent in ["192.0.2.1:1", "192.0.2.1:2", "192.0.2.2:1", "192.0.2.2:2"] {
            let mut balancer = send(agent);
            balancer.expect(ESTABLISHED);
            open.push((balancer, server.accept()));
        }
        let refused_one = send("192.0.2.1:3");
        let (client, _) = refused(&gateway, refused_one, "too_many_sessions_of_client");
        assert_eq!(client, "192.0.2.1:3", "{kind}");
        // A place of the agent is free again once one of its tunnels is gone, no sooner.
        open.remove(0);
        gateway.events().wait("the first has ended", |event| {
            event.reason() == "session_ended" && event.text("client") == "192.0.2.1:1"
        });
        send("192.0.2.1:4").expect(ESTABLISHED);
        gateway.stop();
    });
}

#[test]
fn header_and_head_have_one_deadline() {
    let setup = Setup::new(SPLICE).set(FROM, "[\"127.0.0.1\"]").set("limits.head_ms", 6_000);
    let gateway = setup.start();
    let watch = Stopwatch::start();
    let mut balancer = gateway.connect();
    std::thread::sleep(Duration::from_secs(3));
    balancer.send(&line_of("192.0.2.1:1"));
    std::thread::sleep(Duration::from_millis(150));
    balancer.send(b"CONNECT");
    let (client, _) = refused(&gateway, balancer, "head_timeout");
    assert_eq!(client, "192.0.2.1:1");
    // Begun anew with the head, it would last for nine seconds at least.
    assert!(watch.elapsed() < Duration::from_millis(8_900), "{:?}", watch.elapsed());
    gateway.stop();
}

#[test]
fn a_reload_names_balancers_and_new_connections_go_by_it() {
    let server = Server::start();
    let gateway = started(SPLICE, |kind| Setup::new(kind).reach(&server));
    gateway.open(&server.authority());
    let next = Setup::new(SPLICE).reach(&server).set(FROM, "[\"127.0.0.1\"]");
    gateway.rewrite(&on_its_port(&gateway, next));
    gateway.signal(Signal::HUP);
    let told = gateway.events().first("reloaded");
    assert!(told.text("message").contains(FROM), "{}", told.0);
    refused(&gateway, gateway.ask(&server.authority()), "malformed_head");
    let mut balancer = gateway.connect();
    balancer.send(&[&line_of("192.0.2.1:1")[..], &connect_head(&server.authority())].concat());
    balancer.expect(ESTABLISHED);
    gateway.stop();
}
