//! The admin listener and the commands that ask it.

use std::collections::HashMap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::admin::Admin;
use crate::support::deadline::{PATIENCE, Stopwatch, until};
use crate::support::events::Events;
use crate::support::folder::Folder;
use crate::support::gateway::{self, Gateway, KINDS, SPLICE, Setup};
use crate::support::port::reserved;
use crate::support::reply::Reply;
use crate::support::server::Server;
use crate::support::tunnel::Tunnel;

#[test]
fn a_gateway_tells_that_it_is_well_and_what_it_does_not_know() {
    for kind in KINDS {
        let gateway = Setup::new(kind).admin().start();
        let admin = Admin::of(&gateway);
        for (request, status, body) in [
            ("GET /healthz", 200, "ok\n"),
            ("GET /readyz", 200, "ready\n"),
            ("GET /metrics", 200, "sluice_sessions_total 0\n"),
            ("GET /report?format=json", 200, "\"setup\":"),
            ("GET /", 404, "/healthz"),
            ("POST /healthz", 405, "takes GET"),
            ("GET /reload", 405, "takes POST"),
        ] {
            let reply = admin.ask(request);
            assert_eq!(reply.status, status, "{kind}: {request}: {reply:?}");
            assert!(reply.body.contains(body), "{kind}: {request}: {reply:?}");
            assert_eq!(reply.header("Connection"), "close", "{request}");
            assert_eq!(reply.header("Content-Length"), reply.body.len().to_string(), "{request}");
            assert_eq!(reply.header("Allow").is_empty(), status != 405, "{request}");
        }
        let told = gateway.stop();
        assert!(!told.iter().any(|event| event.has("client")), "requests here are no sessions");
    }
}

#[test]
fn a_slow_client_holds_nobody_up_and_is_let_go() {
    let gateway = Setup::new(SPLICE).admin().start();
    let admin = Admin::of(&gateway);
    // Each is let go five seconds after it came, and is told so.
    let watch = Stopwatch::start();
    let mut stuck: Vec<_> = (0..40).map(|_| admin.connect()).collect();
    for client in &mut stuck {
        // Those that had to make room are closed already.
        let _ = client.stream.write_all(b"GET /healthz HT");
    }
    assert_eq!(admin.ask("GET /healthz").status, 200);
    assert!(watch.elapsed() < Duration::from_millis(4_500), "{:?}", watch.elapsed());
    let reply = Reply::read(stuck.last_mut().unwrap());
    assert_eq!(reply.status, 408);
    let waited = watch.elapsed();
    assert!(waited > Duration::from_secs(3) && waited < Duration::from_secs(19), "{waited:?}");
    let mut large = admin.connect();
    let _ = large.stream.write_all(&[b'a'; 10_000]);
    assert!(matches!(Reply::read(&mut large).status, 400 | 431));
    gateway.stop();
}

/// Plays a known set of sessions: `tunnels` that end in order, `forbidden` ones, and one to nobody.
fn play(gateway: &Gateway, server: &Server, tunnels: usize, forbidden: usize, nobody: &str) {
    for number in 0..tunnels {
        let mut tunnel = match number {
            0 => {
                let mut tunnel = Tunnel::open_to(gateway, server, &server.named());
                let hello = crate::support::tls::hello(Some("localhost"));
                tunnel.client.send(&hello);
                tunnel.server.expect(&hello);
                tunnel.server.send(&crate::support::tls::answer());
                tunnel
            }
            _ => Tunnel::verified(gateway, server),
        };
        let bytes = vec![7; 30_000 + number];
        tunnel.client.send(&bytes);
        tunnel.server.expect(&bytes);
        tunnel.client.fin();
        tunnel.server.expect_end();
        tunnel.server.send(&bytes[..100]);
        tunnel.server.fin();
        tunnel.client.read_to_end();
    }
    for _ in 0..forbidden {
        assert_eq!(Reply::read(&mut gateway.ask("forbidden.example:443")).status, 403);
    }
    assert_eq!(Reply::read(&mut gateway.ask(nobody)).status, 502);
}

#[test]
fn counters_are_exact_after_a_known_set_of_sessions() {
    for kind in KINDS {
        let server = Server::start();
        let nobody = reserved("127.0.0.1").to_string();
        let setup = Setup::new(kind).reach(&server).host(&nobody).admin();
        let gateway = setup.start();
        let admin = Admin::of(&gateway);
        play(&gateway, &server, 5, 3, &nobody);
        let mut held: Vec<_> = (0..2).map(|_| Tunnel::verified(&gateway, &server)).collect();
        let expected = |sessions: f64, active: f64| {
            HashMap::from([
                ("sluice_sessions_total", sessions),
                ("sluice_active_client_connections", active),
                ("sluice_connected_clients", f64::from(active > 0.0)),
                ("sluice_errors_total", 1.0),
                ("sluice_rejections_total", 0.0),
                ("sluice_refusals_total{reason=\"host_not_allowed\"}", 3.0),
                ("sluice_refusals_total{reason=\"dial_failed\"}", 1.0),
                ("sluice_refusals_total{reason=\"loop\"}", 0.0),
                ("sluice_events_lost_total", 0.0),
                ("sluice_setup_seconds_count", 7.0),
                ("sluice_setup_seconds_bucket{le=\"+Inf\"}", 7.0),
                ("sluice_dial_seconds_count", 7.0),
                ("sluice_resolve_seconds_count", 1.0),
                ("sluice_session_seconds_count", sessions - active),
                ("sluice_configuration_generation", 1.0),
                ("sluice_draining", 0.0),
            ])
        };
        let settled = |expected: HashMap<&str, f64>| {
            // A session is counted as over a moment after its client has read the end.
            let mut wrong = String::new();
            until(&format!("{kind}: the counters"), PATIENCE, || {
                let told = admin.metrics();
                let differs = expected.iter().find(|(name, value)| told.get(**name) != Some(value));
                if let Some((name, value)) = differs {
                    wrong = format!("{name}: {:?}, not {value}", told.get(*name));
                    eprintln!("{wrong}");
                }
                differs.is_none().then_some(told)
            })
        };
        settled(expected(11.0, 2.0));
        held.clear();
        let told = settled(expected(11.0, 0.0));
        assert_eq!(told["sluice_pipes_out"], 0.0, "{kind}");
        assert_eq!(told["sluice_buffers_out"], 0.0, "{kind}");
        let status = admin.status();
        assert_eq!(status["listeners"][0], gateway.address().to_string());
        assert_eq!(status["configuration"]["file"], gateway.file().to_str().unwrap());
        assert_eq!(status["counters"]["sessions"], 11);
        assert_eq!(status["workers"].as_array().map(Vec::len), Some(2));
        assert_eq!(status["limits"]["idle_ms"], 600_000);
        let relayed =
            |direction: &str| told[&format!("sluice_bytes_total{{direction={direction:?}}}")];
        let (up, down) = (relayed("up"), relayed("down"));
        let events = gateway.stop();
        let ends = events.iter().filter(|event| event.reason() == "session_ended");
        let sums = ends.fold((0, 0), |(up, down), end| {
            (up + end.number("bytes_up"), down + end.number("bytes_down"))
        });
        assert_eq!(sums, (up as u64, down as u64), "{kind}: events and counters agree");
        assert!(up > 150_000.0 && down > 500.0, "{kind}: {up} {down}");
    }
}

#[test]
fn a_taken_admin_port_is_told_and_exits_with_2() {
    let first = Setup::new(SPLICE).admin().start();
    let address = Admin::of(&first).0.to_string();
    let text = Setup::new(SPLICE).admin_at(&address).text();
    let file = first.folder().write("second.toml", &text);
    let (code, out, told) = gateway::run(&["run", "--config", file.to_str().unwrap()]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    let event = told.first("configuration_invalid");
    assert_eq!((event.id(), event.text("level")), (401, "error"));
    let message = event.text("message");
    assert!(message.contains(&address) && message.contains("admin.listen"), "{message}");
    assert_eq!(Admin::of(&Setup::new(SPLICE).admin().start()).ask("GET /healthz").status, 200);
    first.stop();
}

/// A worker is halted as by a debugger while it sleeps: it neither turns nor is within a turn.
#[cfg(target_os = "linux")]
#[test]
fn a_worker_that_hangs_shows_in_readyz_and_nowhere_else() {
    use crate::support::process::halt_thread;
    let gateway = Setup::new(SPLICE).admin().start();
    let admin = Admin::of(&gateway);
    // Whoever asks knocks at the workers, so that nothing has been unanswered for longer than this.
    let watch = Stopwatch::start();
    assert_eq!(admin.get("/readyz"), "ready\n");
    let halted = halt_thread(gateway.pid(), "worker-1");
    let reply = until("the hang shows", PATIENCE, || {
        let reply = admin.ask("GET /readyz");
        (reply.status != 200).then_some(reply)
    });
    assert!(watch.elapsed() > Duration::from_secs(4), "{:?}", watch.elapsed());
    assert_eq!(reply.status, 503);
    let told = reply.body.strip_prefix("worker 1 has not turned for ");
    let seconds = told.and_then(|told| told.split_once(" s")?.0.parse::<u64>().ok());
    assert!(seconds.is_some_and(|seconds| (5..20).contains(&seconds)), "{reply:?}");
    assert_eq!(admin.ask("GET /healthz").status, 200);
    assert!(admin.metrics().contains_key("sluice_sessions_total"));
    drop(halted);
    until("it turns again", PATIENCE, || (admin.ask("GET /readyz").status == 200).then_some(()));
    gateway.stop();
}

/// Idle workers sleep for hours; seldom asked, they are as ready as ever.
#[test]
fn idle_workers_are_ready_however_long_they_sleep() {
    let gateway = Setup::new(SPLICE).admin().start();
    let admin = Admin::of(&gateway);
    assert_eq!(admin.get("/readyz"), "ready\n");
    std::thread::sleep(Duration::from_millis(5_500));
    assert_eq!(admin.get("/readyz"), "ready\n");
    gateway.stop();
}

#[cfg(unix)]
#[test]
fn a_draining_gateway_is_alive_and_not_ready() {
    use rustix::process::Signal;
    let gateway = Setup::new(SPLICE).admin().set("limits.drain_notice_ms", 60_000).start();
    let admin = Admin::of(&gateway);
    gateway.signal(Signal::TERM);
    gateway.events().first("drain_started");
    let reply = admin.ask("GET /readyz");
    assert_eq!((reply.status, reply.body.as_str()), (503, "draining\n"));
    assert_eq!(admin.ask("GET /healthz").status, 200);
    assert_eq!(admin.metrics()["sluice_draining"], 1.0);
    assert_eq!(admin.status()["draining"], true);
    // A second signal ends it at once.
    gateway.stop();
}

#[test]
fn promtool_has_no_objection_to_the_metrics() {
    let server = Server::start();
    let gateway = Setup::new(SPLICE).reach(&server).admin().start();
    let admin = Admin::of(&gateway);
    drop(Tunnel::verified(&gateway, &server));
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is missing: install it, as with `apt-get install prometheus`");
    let page = admin.get("/metrics");
    promtool.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let told = promtool.wait_with_output().unwrap();
    let objections = [told.stdout, told.stderr].concat();
    let objections = String::from_utf8_lossy(&objections);
    assert!(told.status.success() && objections.trim().is_empty(), "{objections}\n{page}");
    gateway.stop();
}

#[test]
fn the_commands_show_what_the_gateway_tells() {
    let server = Server::start();
    let gateway = Setup::new(SPLICE).reach(&server).admin().start();
    let admin = Admin::of(&gateway);
    let tunnel = Tunnel::verified(&gateway, &server);
    assert_eq!(Reply::read(&mut gateway.ask("forbidden.example:443")).status, 403);
    let address = admin.0.to_string();
    let file = gateway.folder().write("ask.toml", &format!("admin.listen = {address:?}\n"));
    let file = file.to_str().unwrap();
    let shown = |arguments: &[&str]| {
        let (code, out, told) = gateway::run(&[arguments, &["--config", file]].concat());
        assert_eq!((code, told.others()), (Some(0), Vec::new()), "{arguments:?}");
        out
    };
    let counters = until("the refused session is over", PATIENCE, || {
        let counters = shown(&["counters"]);
        counters.lines().any(|line| words(line) == "Active Client Connection 1").then_some(counters)
    });
    for line in ["Connected Client 1", "Error Count 0", "Rejection Count 0", "Sessions 2"] {
        assert!(counters.lines().any(|told| words(told) == line), "{line}: {counters}");
    }
    assert!(counters.contains("Refused: host_not_allowed"), "{counters}");
    let json: serde_json::Value = serde_json::from_str(&shown(&["counters", "--json"])).unwrap();
    assert_eq!(json["active_client_connections"], 1);
    assert_eq!(json["refusals"]["host_not_allowed"], 1);
    let status = shown(&["status"]);
    for line in [
        &format!("Listening on {}", gateway.address()),
        "Readiness ready",
        "Limit head_ms 10000",
        &format!("Configuration {}", gateway.file().display()),
    ] {
        assert!(status.lines().any(|told| words(told) == line), "{line}: {status}");
    }
    let report = shown(&["report"]);
    assert!(report.lines().any(|line| words(line).starts_with("setup 1 ")), "{report}");
    let setup = shown(&["report", "--format", "hgrm", "--of", "setup"]);
    assert!(setup.contains("#[setup in ms]") && !setup.contains("dial"), "{setup}");
    let json: serde_json::Value =
        serde_json::from_str(&shown(&["report", "--format", "json"])).unwrap();
    assert_eq!(json["setup"]["count"], 1);
    drop(tunnel);
    gateway.stop();
}

fn words(line: &str) -> String {
    line.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_watch_goes_on_until_the_gateway_is_gone() {
    // Nobody else is to answer there once the gateway is gone.
    let address = reserved("127.0.0.1").to_string();
    let gateway = Setup::new(SPLICE).admin_at(&address).start();
    let file = gateway.folder().write("ask.toml", &format!("admin.listen = {address:?}\n"));
    let mut command = gateway::command(None);
    command.args(["counters", "--watch", "--config"]).arg(&file);
    let mut child = command.spawn().unwrap();
    let looks = Events::read_from(child.stdout.take().unwrap());
    until("two looks", PATIENCE, || {
        let lines = looks.others();
        let looks = lines.iter().filter(|line| line.contains("Active Client Connection"));
        (looks.count() >= 2).then_some(())
    });
    until("a rate", PATIENCE, || {
        looks.others().iter().any(|line| words(line) == "Sessions 0 0.0 /s").then_some(())
    });
    gateway.stop();
    let status = gateway::wait(&mut child);
    let told = child.wait_with_output().unwrap();
    assert_eq!(status.code(), Some(1));
    assert!(String::from_utf8_lossy(&told.stderr).contains("No gateway answers at"));
}

#[test]
fn without_a_gateway_the_commands_say_what_to_do() {
    let folder = Folder::new();
    let free = reserved("127.0.0.1");
    for (text, code, words) in [
        (format!("admin.listen = \"{free}\""), 1, "Check that it runs"),
        ("admin.listen = \"\"".to_owned(), 1, "The admin listener is off"),
        ("admin.listen = 9180".to_owned(), 2, "admin.listen must be a string"),
    ] {
        let file = folder.write("ask.toml", &text);
        for command in [&["status"][..], &["counters"], &["counters", "--watch"], &["report"]] {
            let arguments = [command, &["--config", file.to_str().unwrap()]].concat();
            let (exit, out, told) = gateway::run(&arguments);
            assert_eq!((exit, out.as_str()), (Some(code), ""), "{text}: {command:?}");
            let told = told.others().join("\n");
            assert!(told.contains(words), "{text}: {command:?}: {told}");
        }
    }
}

/// Health checks, metrics and histograms cost memory once, not for each session.
#[cfg(target_os = "linux")]
#[test]
fn the_admin_listener_takes_less_than_a_mebibyte() {
    use crate::support::process::anonymous_bytes;
    let plain = Setup::new(SPLICE).start();
    let with_admin = Setup::new(SPLICE).admin().start();
    let admin = Admin::of(&with_admin);
    for _ in 0..20 {
        for path in ["/metrics", "/status", "/report", "/readyz"] {
            admin.get(path);
        }
    }
    let (less, more) = (anonymous_bytes(plain.pid()), anonymous_bytes(with_admin.pid()));
    assert!(more < less + (1 << 20), "{less} bytes without, {more} with");
    plain.stop();
    with_admin.stop();
}
