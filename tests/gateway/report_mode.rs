//! `allow.mode = "report"`: hosts that are not listed are let through and told of, and nothing else is.

#![cfg(unix)]

use std::process::Command;

use rustix::process::Signal;

use crate::reload::{on_its_port, started};
use crate::support::admin::Admin;
use crate::support::deadline::{PATIENCE, until};
use crate::support::gateway::{Gateway, KINDS, Kind, PROGRAM, SPLICE, Setup, each};
use crate::support::handshake::{self, MISMATCH, expect_refusal};
use crate::support::port::reserved;
use crate::support::reply::{Refused, Reply};
use crate::support::server::Server;
use crate::support::tls;
use crate::support::tunnel::Tunnel;

const HOST: Refused = Refused { status: 403, event: 105, reason: "host_not_allowed" };
const ADDRESS: Refused = Refused { status: 403, event: 105, reason: "address_not_allowed" };
const CLIENT: Refused = Refused { status: 403, event: 105, reason: "client_not_allowed" };

fn reporting(kind: Kind) -> Setup {
    Setup::new(kind).set("allow.mode", "\"report\"")
}

/// The report of a session, told as what it is.
fn expect_report(gateway: &Gateway, client: &str, reason: &str) {
    let event = gateway.events().of(reason, client);
    assert_eq!((event.id(), event.text("level"), event.text("mode")), (105, "warning", "report"));
    let message = event.text("message");
    assert!(
        message.starts_with("Target host (localhost) is forbidden, but was not refused"),
        "{message}"
    );
    assert!(!event.has("status") && event.text("target").starts_with("localhost:"), "{event:?}");
}

#[test]
fn hosts_and_ports_that_are_not_listed_are_let_through_and_counted_apart() {
    each(KINDS, |kind| {
        let server = Server::start();
        for (listed, reason) in
            [("www.test.com", "host_not_allowed"), ("localhost", "port_not_allowed")]
        {
            let gateway = reporting(kind).host(listed).admin().start();
            let admin = Admin::of(&gateway);
            let shout = gateway.events().first("report_mode");
            assert_eq!((shout.id(), shout.text("level")), (100, "warning"));
            assert!(
                shout.text("message").contains("LET THROUGH and only told of: 1 are allowed"),
                "{shout:?}"
            );
            for _ in 0..2 {
                let mut tunnel = Tunnel::open_to(&gateway, &server, &server.named());
                let session = gateway.session_of(&tunnel.client);
                expect_report(&gateway, &session, reason);
                let (hello, answer) = (tls::hello(Some("localhost")), tls::answer());
                tunnel.client.send(&hello);
                tunnel.server.expect(&hello);
                tunnel.server.send(&answer);
                tunnel.client.expect(&answer);
            }
            let metrics = admin.metrics();
            assert_eq!(
                metrics[&format!("sluice_reported_total{{reason=\"{reason}\"}}")],
                2.0,
                "{kind}"
            );
            assert_eq!(metrics[&format!("sluice_refusals_total{{reason=\"{reason}\"}}")], 0.0);
            assert_eq!(metrics["sluice_allow_mode_report"], 1.0);
            assert_eq!(
                (metrics["sluice_rejections_total"], metrics["sluice_errors_total"]),
                (0.0, 0.0)
            );
            let status = admin.status();
            assert_eq!(status["configuration"]["allow_mode"], "report");
            assert_eq!(status["counters"]["reported"][reason], 2);
            let refused: serde_json::Value = serde_json::from_str(&admin.get("/refused")).unwrap();
            let target = &refused["targets"][0];
            assert_eq!((&refused["mode"], &target["reason"]), (&"report".into(), &reason.into()));
            assert_eq!(target["target"], server.named());
            assert_eq!((&target["count"], &target["reported"]), (&2.into(), &2.into()), "{target}");
            assert_eq!(target["clients"][0], "127.0.0.1");
            gateway.stop();
        }
    });
}

#[test]
fn addresses_clients_and_handshakes_are_enforced_all_the_same() {
    let server = Server::start();
    let gateway = reporting(SPLICE).addresses(&[]).start();
    for target in [server.named(), server.authority(), "169.254.169.254:80".to_owned()] {
        Reply::read(&mut gateway.ask(&target)).expect(ADDRESS, &gateway, &target);
    }
    gateway.stop();
    let gateway = reporting(SPLICE).set("allow.clients", "[\"192.0.2.0/24\"]").start();
    Reply::read(&mut gateway.ask(&server.named())).expect(
        CLIENT,
        &gateway,
        "a client that is not listed",
    );
    let events = gateway.stop();
    assert_eq!(
        events.iter().filter(|event| event.has("mode")).count(),
        0,
        "a refusal is no report"
    );
    server.expect_nobody("refused");

    let gateway = reporting(SPLICE).start();
    let rows: [(Vec<u8>, handshake::Refused); 2] = [
        (tls::hello(Some("evil.test")), MISMATCH),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), handshake::Refused(106, "not_tls", None)),
    ];
    for (bytes, refused) in rows {
        let mut tunnel = Tunnel::open_to(&gateway, &server, &server.named());
        tunnel.client.send(&bytes);
        let event =
            expect_refusal(&gateway, tunnel, b"", refused, "a bad hello to a reported host");
        assert!(!event.has("mode"), "{event:?}");
    }
    gateway.stop();
}

#[test]
fn what_an_address_rule_refuses_is_no_report_and_told_once() {
    let server = Server::start();
    let gateway = reporting(SPLICE).addresses(&[]).admin().start();
    let admin = Admin::of(&gateway);
    for target in [server.named(), server.authority()] {
        Reply::read(&mut gateway.ask(&target)).expect(ADDRESS, &gateway, &target);
    }
    let refused: serde_json::Value = serde_json::from_str(&admin.get("/refused")).unwrap();
    let targets = refused["targets"].as_array().unwrap();
    assert_eq!(targets.len(), 2, "{refused}");
    for target in targets {
        assert_eq!(target["reason"], "host_not_allowed", "{target}");
        assert_eq!((&target["count"], &target["reported"]), (&1.into(), &0.into()), "{target}");
    }
    let metrics = admin.metrics();
    assert_eq!(metrics["sluice_reported_total{reason=\"host_not_allowed\"}"], 0.0);
    assert_eq!(metrics["sluice_refusals_total{reason=\"address_not_allowed\"}"], 2.0);
    let events = gateway.stop();
    let told: Vec<&str> =
        events.iter().filter(|event| event.id() == 105).map(|event| event.reason()).collect();
    assert_eq!(told, ["address_not_allowed"; 2]);
}

#[test]
fn a_reload_switches_it_both_ways_and_cuts_what_is_not_listed() {
    let (listed, other) = (Server::start(), Server::start());
    let gateway = started(SPLICE, |kind| reporting(kind).reach(&listed));
    let mut lives = Tunnel::verified(&gateway, &listed);
    let mut cut = Tunnel::verified(&gateway, &other);
    let session = gateway.session_of(&cut.client);
    let enforced = Setup::new(SPLICE).reach(&listed).set("allow.cut_open", true);
    gateway.rewrite(&on_its_port(&gateway, enforced));
    gateway.signal(Signal::HUP);
    let told = gateway.events().first("reloaded");
    assert!(told.text("message").contains("allow.mode = \"enforce\""), "{told:?}");
    cut.client.expect_reset();
    cut.server.expect_reset();
    assert_eq!(gateway.end_of(&session).text("ending"), "tunnel.gateway.cut");
    lives.client.send(b"still here");
    lives.server.expect(b"still here");
    let refused = Refused { reason: "port_not_allowed", ..HOST };
    Reply::read(&mut gateway.ask(&other.authority())).expect(refused, &gateway, "enforced again");

    let again = reporting(SPLICE).reach(&listed).set("allow.cut_open", true);
    gateway.rewrite(&on_its_port(&gateway, again));
    gateway.signal(Signal::HUP);
    until("the second shout", PATIENCE, || {
        let shouts = gateway.events().count(|event| event.reason() == "report_mode");
        (shouts == 2).then_some(())
    });
    Tunnel::verified(&gateway, &other);
    gateway.stop();
}

#[test]
fn through_a_relay_proxy_hosts_are_only_reported_too() {
    let relay_proxy = Server::start();
    let url = format!("[\"http://{}\"]", relay_proxy.authority());
    let gateway = reporting(SPLICE).set("relay_proxy.addresses", url).start();
    let mut client = gateway.ask("far.test:443");
    let mut remote = relay_proxy.accept();
    assert!(remote.read_head().starts_with("CONNECT far.test:443 HTTP/1.1\r\n"));
    remote.send(b"HTTP/1.1 200 OK\r\n\r\n");
    client.expect(sluice::proto::reply::ESTABLISHED);
    let event = gateway.events().of("host_not_allowed", &gateway.session_of(&client));
    assert_eq!(event.text("mode"), "report");
    gateway.stop();
}

#[test]
fn more_than_the_events_tell_are_suggested_by_the_running_gateway() {
    let admin = reserved("127.0.0.1").to_string();
    let gateway = started(SPLICE, |kind| Setup::new(kind).host("fine.test").admin_at(&admin));
    // Beyond the flood limit no event names a target.
    for number in 0..40 {
        for _ in 0..=u8::from(number == 33) {
            let target = format!("t{number}.test:443");
            let status = Reply::read(&mut gateway.ask(&target)).status;
            assert_eq!(status, 403, "{target}");
        }
    }
    let suggest = || {
        let mut command = Command::new(PROGRAM);
        let output =
            command.args(["allowed-host", "suggest", "--config"]).arg(gateway.file()).output();
        let output = output.unwrap();
        let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(0), "{told}");
        told
    };
    let told = suggest();
    assert!(
        told.starts_with("Targets that are not allowed by host or port, of the running gateway"),
        "{told}"
    );
    assert!(told.contains(": 40, in 41 requests: 41 refused, 0 let through.\n"), "{told}");
    let rows: Vec<&str> = told.lines().filter(|line| line.contains(":443 ")).collect();
    assert_eq!(rows.len(), 40, "{told}");
    let first: Vec<&str> = rows[0].split_whitespace().collect();
    assert_eq!(first, ["2", "0", "t33.test:443", "127.0.0.1", "t33.test"], "{told}");
    let commands = told.lines().filter(|line| line.starts_with("  sluice allowed-host add "));
    assert_eq!(commands.count(), 2, "{told}");
    // What is listed by now needs no more.
    let mut command = Command::new(PROGRAM);
    command.args(["allowed-host", "add", "t33.test", "--config"]).arg(gateway.file());
    assert!(command.status().unwrap().success());
    assert!(suggest().contains("allowed by now, by t33.test"), "{}", suggest());
    gateway.stop();
}
