//! SIGTERM: health checks fail, new sessions are refused, open tunnels get their time.

#![cfg(unix)]

use std::time::Duration;

use rustix::process::Signal;

use crate::reload::started;
use crate::support::admin::Admin;
use crate::support::deadline::Stopwatch;
use crate::support::gateway::{Gateway, KINDS, PROGRAM, SPLICE, Setup, each};
use crate::support::port::reserved;
use crate::support::reply::Reply;
use crate::support::server::Server;
use crate::support::tunnel::Tunnel;

fn health_of(gateway: &Gateway) -> u16 {
    let mut client = gateway.connect();
    client.send(b"GET /healthz HTTP/1.1\r\n\r\n");
    Reply::read(&mut client).status
}

/// Lets the tunnel end, and with it a gateway that waits for nothing else.
fn end(mut tunnel: Tunnel) {
    tunnel.client.fin();
    tunnel.server.expect_end();
    tunnel.server.fin();
    tunnel.client.expect_end();
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
        end(tunnel);
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
    let setup = Setup::new(SPLICE).set("limits.drain_ms", 0).set("limits.drain_notice_ms", 5_000);
    let gateway = setup.start();
    let watch = Stopwatch::start();
    gateway.signal(Signal::TERM);
    gateway.events().first("drain_started");
    assert_eq!(health_of(&gateway), 503);
    gateway.ended();
    assert!(watch.elapsed() >= Duration::from_secs(5));
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

#[test]
fn a_gateway_that_is_about_to_stop_takes_no_change_and_says_so() {
    let (server, other) = (Server::start(), Server::start());
    let admin_at = reserved("127.0.0.1").to_string();
    let setup = |kind| {
        let setup = Setup::new(kind).reach(&server).set("limits.drain_ms", 60_000);
        setup.admin_at(&admin_at)
    };
    let gateway = started(SPLICE, setup);
    let admin = Admin::of(&gateway);
    let tunnel = Tunnel::verified(&gateway, &server);
    let command = |words: &[&str]| {
        let mut command = std::process::Command::new(PROGRAM);
        let ran = command.arg("--config").arg(gateway.file()).args(words).output().unwrap();
        let told = [ran.stdout, ran.stderr].concat();
        (ran.status.code(), String::from_utf8(told).unwrap())
    };
    gateway.signal(Signal::TERM);
    gateway.events().first("drain_started");

    let (code, told) = command(&["allowed-host", "add", &other.authority()]);
    let made = "is made, but the gateway that runs with it is stopping and takes no change.\n";
    assert!(code == Some(0) && told.ends_with(made), "{told}");
    gateway.signal(Signal::HUP);
    let (code, told) = command(&["reload"]);
    let still = "The configuration that was in force still is: the gateway is about to stop\n";
    assert_eq!((code, told.as_str()), (Some(1), still));
    let reply = admin.ask("POST /reload");
    assert!(reply.status == 422 && reply.body.contains("is about to stop"), "{reply:?}");
    // The signal came first, and has had no effect.
    let status = admin.status();
    assert_eq!(
        (&status["draining"], &status["configuration"]["generation"]),
        (&true.into(), &1.into())
    );
    let mut late = gateway.ask(&other.authority());
    let reply = Reply::read(&mut late);
    assert_eq!((reply.status, reply.header("Sluice-Reason")), (403, "port_not_allowed"));

    end(tunnel);
    let events = gateway.ended();
    let told = events.iter().filter(|event| event.reason() == "reloaded" || event.id() == 401);
    assert_eq!(told.count(), 0);
}
