//! SIGTERM: health checks fail, new sessions are refused, open tunnels get their time.

#![cfg(unix)]

use std::time::Duration;

use rustix::process::Signal;

use crate::support::deadline::Stopwatch;
use crate::support::gateway::{Gateway, KINDS, SPLICE, Setup, each};
use crate::support::reply::Reply;
use crate::support::server::Server;
use crate::support::tunnel::Tunnel;

fn health_of(gateway: &Gateway) -> u16 {
    let mut client = gateway.connect();
    client.send(b"GET /healthz HTTP/1.1\r\n\r\n");
    Reply::read(&mut client).status
}

#[test]
fn a_drain_lets_open_tunnels_end_and_refuses_new_ones() {
    each(KINDS, |kind| {
        let server = Server::start();
        let setup = Setup::new(kind).reach(&server).set("limits.drain_ms", 20_000);
        let gateway = setup.start();
        let mut tunnel = Tunnel::verified(&gateway, &server);
        assert_eq!(health_of(&gateway), 200);
        gateway.signal(Signal::TERM);
        gateway.events().first("drain_started");

        assert_eq!(health_of(&gateway), 503, "{kind}");
        let mut late = gateway.ask(&server.authority());
        let reply = Reply::read(&mut late);
        assert_eq!((reply.status, reply.header("Sluice-Reason")), (503, "draining"), "{kind}");
        assert!(!reply.header("Retry-After").is_empty());

        tunnel.client.send(b"to the last byte");
        tunnel.server.expect(b"to the last byte");
        tunnel.client.fin();
        tunnel.server.expect_end();
        tunnel.server.fin();
        tunnel.client.expect_end();
        let watch = Stopwatch::start();
        let events = gateway.ended();
        assert!(watch.elapsed() < Duration::from_secs(10), "{kind}: it waited for nobody");
        let draining: Vec<_> = events.iter().filter(|event| event.reason() == "draining").collect();
        assert_eq!(draining.len(), 1);
        assert_eq!((draining[0].id(), draining[0].text("level")), (100, "warning"));
        assert_eq!(events.last().map(|event| event.id()), Some(102));
    });
}

#[test]
fn what_is_open_when_the_time_is_over_is_reset() {
    let server = Server::start();
    let gateway = Setup::new(SPLICE).reach(&server).set("limits.drain_ms", 300).start();
    let mut tunnel = Tunnel::verified(&gateway, &server);
    gateway.signal(Signal::TERM);
    tunnel.client.expect_reset();
    tunnel.server.expect_reset();
    let events = gateway.ended();
    let end = events.iter().find(|event| event.reason() == "session_ended").unwrap();
    assert_eq!(end.text("ending"), "tunnel.gateway.stopping");
}

#[test]
fn balancers_get_their_notice_even_if_nothing_is_open() {
    let setup = Setup::new(SPLICE).set("limits.drain_ms", 0).set("limits.drain_notice_ms", 700);
    let gateway = setup.start();
    let watch = Stopwatch::start();
    gateway.signal(Signal::TERM);
    gateway.events().first("drain_started");
    assert_eq!(health_of(&gateway), 503);
    gateway.ended();
    assert!(watch.elapsed() >= Duration::from_millis(700));
}

#[test]
fn a_second_signal_ends_at_once() {
    let server = Server::start();
    let gateway = Setup::new(SPLICE).reach(&server).set("limits.drain_ms", 60_000).start();
    let mut tunnel = Tunnel::verified(&gateway, &server);
    gateway.signal(Signal::TERM);
    gateway.events().first("drain_started");
    gateway.signal(Signal::TERM);
    tunnel.client.expect_reset();
    gateway.ended();
}
