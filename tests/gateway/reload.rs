//! A new configuration takes effect as a whole, or not at all, and cuts no tunnel.

#![cfg(unix)]

use std::time::Duration;

use rustix::process::Signal;

use crate::support::admin::Admin;
use crate::support::deadline::{PATIENCE, until};
use crate::support::events::Event;
use crate::support::gateway::{Gateway, KINDS, Kind, PROGRAM, SPLICE, Setup, each};
use crate::support::peer::Peer;
use crate::support::port::reserved;
use crate::support::reply::Reply;
use crate::support::server::Server;
use crate::support::tunnel::Tunnel;

/// The port the gateway was given stays its port in every later configuration.
pub fn on_its_port(gateway: &Gateway, setup: Setup) -> String {
    setup.listen(&gateway.address().to_string()).text()
}

/// Starts a gateway on a port that its file names, as operators do.
pub fn started(kind: Kind, setup: impl Fn(Kind) -> Setup) -> Gateway {
    setup(kind).listen(&reserved("127.0.0.1").to_string()).start()
}

fn status_of(gateway: &Gateway, server: &Server) -> (u16, String) {
    let mut client = gateway.ask(&server.authority());
    let head = client.read_head();
    let reason = head.lines().find_map(|line| line.strip_prefix("Sluice-Reason: "));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, reason.unwrap_or_default().to_owned())
}

#[test]
fn a_host_off_the_list_is_refused_at_once_and_its_open_tunnel_lives_on() {
    each(KINDS, |kind| {
        let (kept, removed) = (Server::start(), Server::start());
        let both = |kind| Setup::new(kind).reach(&kept).reach(&removed);
        let gateway = started(kind, both);
        let mut tunnel = Tunnel::verified(&gateway, &removed);
        gateway.rewrite(&on_its_port(&gateway, Setup::new(kind).reach(&kept)));
        gateway.signal(Signal::HUP);
        let told = gateway.events().first("reloaded");
        assert_eq!((told.id(), told.text("level")), (100, "info"));
        assert!(told.text("message").contains("generation 2, by SIGHUP"), "{}", told.0);
        assert!(told.text("message").contains(&format!("-{}", removed.authority())), "{}", told.0);

        assert_eq!(status_of(&gateway, &removed), (403, "port_not_allowed".to_owned()), "{kind}");
        assert_eq!(status_of(&gateway, &kept).0, 200);
        tunnel.client.send(b"still here");
        tunnel.server.expect(b"still here");
        gateway.stop();
    });
}

#[test]
fn with_cut_open_its_tunnels_are_cut() {
    let (kept, removed) = (Server::start(), Server::start());
    let both = |kind| Setup::new(kind).reach(&kept).reach(&removed);
    let gateway = started(SPLICE, both);
    let mut lives = Tunnel::verified(&gateway, &kept);
    let mut cut = Tunnel::verified(&gateway, &removed);
    let session = gateway.session_of(&cut.client);
    let next = Setup::new(SPLICE).reach(&kept).set("allow.cut_open", true);
    gateway.rewrite(&on_its_port(&gateway, next));
    gateway.signal(Signal::HUP);
    cut.client.expect_reset();
    cut.server.expect_reset();
    assert_eq!(gateway.end_of(&session).text("ending"), "tunnel.gateway.cut");
    lives.client.send(b"still here");
    lives.server.expect(b"still here");
    gateway.stop();
}

#[test]
fn a_changed_file_takes_effect_by_itself() {
    let server = Server::start();
    let gateway = started(SPLICE, Setup::new);
    assert_eq!(status_of(&gateway, &server).0, 403);
    gateway.rewrite(&on_its_port(&gateway, Setup::new(SPLICE).reach(&server)));
    let told = gateway.events().first("reloaded");
    assert!(told.text("message").contains("by a changed file"), "{}", told.0);
    assert_eq!(status_of(&gateway, &server).0, 200);
    gateway.stop();
}

#[test]
fn a_bad_an_empty_and_a_vanished_file_leave_the_old_in_force() {
    let server = Server::start();
    let gateway = started(SPLICE, |kind| Setup::new(kind).reach(&server));
    // A change may be told twice, as it is also noticed without the signal.
    let expect = |words: &str| {
        let fits = |event: &Event| event.id() == 401 && event.text("message").contains(words);
        gateway.events().wait(words, fits);
    };
    gateway.rewrite("listen = [\"127.0.0.1:1\"]\nworkrs = 2\n");
    gateway.signal(Signal::HUP);
    expect("sluice.toml:2:1");
    gateway.rewrite("");
    gateway.signal(Signal::HUP);
    expect("sets nothing");
    std::fs::remove_file(gateway.file()).unwrap();
    gateway.signal(Signal::HUP);
    expect("cannot be read");
    assert_eq!(status_of(&gateway, &server).0, 200);
    assert_eq!(gateway.events().count(|event| event.reason() == "reloaded"), 0);
    gateway.stop();
}

#[test]
fn status_keeps_what_needs_a_restart_and_since_when_a_file_is_wrong() {
    let server = Server::start();
    let gateway = started(SPLICE, |kind| Setup::new(kind).workers(1).admin());
    let admin = Admin::of(&gateway);
    let reload = |text: &str| {
        gateway.rewrite(text);
        admin.ask("POST /reload");
        admin.status()["configuration"].clone()
    };
    let with = |workers| Setup::new(SPLICE).workers(workers).admin();
    let two = reload(&on_its_port(&gateway, with(2)));
    let told = serde_json::json!(["workers (1 run, 2 are wanted)"]);
    assert_eq!(two["needs_restart"], told, "{two}");
    let more = reload(&on_its_port(&gateway, with(2).reach(&server)));
    assert_eq!((&more["needs_restart"], &more["generation"]), (&told, &3.into()), "{more}");
    let one = reload(&on_its_port(&gateway, with(1).reach(&server)));
    assert_eq!(one["needs_restart"], serde_json::json!([]), "{one}");
    let first = reload("workrs = 1\n");
    let second = reload("# nothing\n");
    assert!(first["refused"].is_string() && first["refused"] == second["refused"], "{second}");
    assert!(second["refused_why"].as_str().unwrap().contains("sets nothing"), "{second}");
    gateway.stop();
}

#[test]
fn the_reload_command_tells_what_came_of_it() {
    let server = Server::start();
    let admin = reserved("127.0.0.1").to_string();
    let gateway = started(SPLICE, |kind| Setup::new(kind).admin_at(&admin));
    let reload = || {
        let mut command = std::process::Command::new(PROGRAM);
        let output = command.args(["reload", "--config"]).arg(gateway.file()).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    let (code, told) = reload();
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("generation 1: nothing has changed"), "{told}");
    let next = Setup::new(SPLICE).reach(&server).admin_at(&admin);
    gateway.rewrite(&on_its_port(&gateway, next));
    let (code, told) = reload();
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("generation 2, by POST /reload: allow.hosts (+"), "{told}");
    assert_eq!(status_of(&gateway, &server).0, 200);
    let status = std::process::Command::new(PROGRAM)
        .args(["status", "--config"])
        .arg(gateway.file())
        .output()
        .unwrap();
    let status = String::from_utf8(status.stdout).unwrap();
    assert!(status.contains(", by POST /reload") && status.contains("allow.hosts (+"), "{status}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let wrong = Setup::new(SPLICE).admin_at(&admin);
    gateway.rewrite(&wrong.listen(&taken.local_addr().unwrap().to_string()).text());
    let (code, told) = reload();
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("still is") && told.contains("cannot be bound"), "{told}");
    gateway.stop();
}

#[test]
fn events_move_to_another_outlet_and_a_rotated_file_is_followed() {
    let server = Server::start();
    let gateway = started(SPLICE, |kind| Setup::new(kind).reach(&server));
    let log = gateway.folder().path().join("events.log");
    let to = format!("file:{}", log.display());
    gateway.rewrite(&on_its_port(&gateway, Setup::new(SPLICE).reach(&server).events_to(&to)));
    gateway.signal(Signal::HUP);
    let has = |file: &std::path::Path, reason: &str| {
        std::fs::read_to_string(file).is_ok_and(|text| text.contains(reason)).then_some(())
    };
    until("the reload is told in the file", PATIENCE, || has(&log, "reloaded"));
    let rotated = gateway.folder().path().join("events.log.1");
    std::fs::rename(&log, &rotated).unwrap();
    gateway.signal(Signal::HUP);
    until("the file is there again", PATIENCE, || log.exists().then_some(()));
    assert_eq!(status_of(&gateway, &server).0, 200);
    until("the session is told in the new file", PATIENCE, || has(&log, "session_ended"));
    assert!(has(&rotated, "session_ended").is_none());
    gateway.signal(Signal::TERM);
}

#[test]
fn a_listener_moves_without_losing_a_client() {
    each(KINDS, |kind| {
        let server = Server::start();
        let gateway = started(kind, |kind| Setup::new(kind).reach(&server));
        let mut tunnel = Tunnel::verified(&gateway, &server);
        let new = reserved("127.0.0.1");
        gateway.rewrite(&Setup::new(kind).reach(&server).listen(&new.to_string()).text());
        gateway.signal(Signal::HUP);
        gateway.events().first("reloaded");
        let mut client = Peer::connect(new);
        client.send(b"GET /healthz HTTP/1.1\r\n\r\n");
        assert_eq!(Reply::read(&mut client).status, 200, "{kind}");
        until("the old port is closed", PATIENCE, || {
            std::net::TcpStream::connect_timeout(&gateway.address(), Duration::from_secs(1)).err()
        });
        tunnel.client.send(b"still here");
        tunnel.server.expect(b"still here");
        gateway.stop();
    });
}

#[test]
fn a_port_that_is_taken_leaves_the_old_listener() {
    each(KINDS, |kind| {
        let server = Server::start();
        let gateway = started(kind, |kind| Setup::new(kind).reach(&server));
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        gateway.rewrite(&Setup::new(kind).listen(&address).text());
        gateway.signal(Signal::HUP);
        let told = gateway.events().first("configuration_invalid");
        assert!(told.text("message").contains(&address), "{}", told.0);
        assert_eq!(status_of(&gateway, &server).0, 200, "{kind}: nothing of the new is in force");
        gateway.stop();
    });
}

#[test]
fn storms_of_signals_drop_no_tunnel() {
    let server = Server::start();
    let gateway = started(SPLICE, |kind| Setup::new(kind).reach(&server));
    let mut tunnel = Tunnel::verified(&gateway, &server);
    for round in 0..200 {
        let next = Setup::new(SPLICE).reach(&server).set("limits.idle_ms", 600_000 + round);
        gateway.rewrite(&on_its_port(&gateway, next));
        gateway.signal(Signal::HUP);
        tunnel.client.send(&[round as u8; 100]);
        tunnel.server.expect(&[round as u8; 100]);
    }
    until("the last one is in force", PATIENCE, || {
        let last = format!("limits.idle_ms = {}", 600_199);
        gateway
            .events()
            .all()
            .iter()
            .any(|event| event.text("message").contains(&last))
            .then_some(())
    });
    gateway.stop();
}
