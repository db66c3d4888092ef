//! What the gateway tells: form, order, and what is told of a wrong start.

use serde_json::Value;

use crate::support::deadline::{PATIENCE, Stopwatch, until};
use crate::support::events::Event;
use crate::support::folder::Folder;
use crate::support::gateway::{self, CARRIERS, KINDS, SPLICE, Setup};
use crate::support::reply::Reply;
use crate::support::server::Server;
use crate::support::tls;
use crate::support::tunnel::Tunnel;

const KEYS: [&str; 18] = [
    "time",
    "id",
    "level",
    "reason",
    "message",
    "session",
    "client",
    "target",
    "address",
    "server_name",
    "tls_version",
    "subject",
    "status",
    "ending",
    "bytes_up",
    "bytes_down",
    "duration_ms",
    "count",
];

fn expect_form(event: &Event) {
    let Value::Object(fields) = &event.0 else { panic!("not an object: {}", event.0) };
    for key in fields.keys() {
        assert!(KEYS.contains(&key.as_str()), "{key} is no key of the contract");
    }
    let time = event.text("time");
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000Z", "{time}");
    assert!((100..=107).contains(&event.id()) || (400..=403).contains(&event.id()));
    assert!(["debug", "info", "warning", "error"].contains(&event.text("level")));
    assert!(!event.reason().is_empty() && !event.text("message").is_empty());
}

#[test]
fn events_of_a_session_tell_who_where_and_how_much() {
    for kind in CARRIERS {
        let server = Server::start();
        let gateway = Setup::new(kind).reach(&server).start();
        let mut tunnel = Tunnel::open_to(&gateway, &server, &server.named());
        let client = tunnel.client.address().to_string();
        let hello = tls::hello(Some("localhost"));
        tunnel.client.send(&hello);
        tunnel.server.expect(&hello);
        tunnel.server.send(&tls::answer_13());
        tunnel.client.expect(&tls::answer_13());
        tunnel.client.send(&[1; 1000]);
        tunnel.server.read_exact(1000);
        tunnel.server.send(&[2; 5000]);
        tunnel.client.read_exact(5000);
        tunnel.client.fin();
        tunnel.server.expect_end();
        drop(tunnel);
        let events = gateway.stop();
        events.iter().for_each(expect_form);
        let of_client: Vec<_> =
            events.iter().filter(|event| event.text("client") == client).collect();
        let told: Vec<_> = of_client.iter().map(|event| (event.id(), event.reason())).collect();
        let steps = [(103, "connect_received"), (107, "tls_verified"), (100, "session_ended")];
        assert_eq!(told, steps, "{kind}");
        assert!(of_client.iter().all(|event| event.text("target") == server.named()));
        assert!(of_client.iter().all(|event| event.text("session").len() == 16));
        let ended = of_client[2];
        assert_eq!(ended.text("level"), "info");
        assert_eq!(ended.text("address"), server.authority());
        assert_eq!(ended.number("bytes_up"), hello.len() as u64 + 1000);
        assert_eq!(ended.number("bytes_down"), tls::answer_13().len() as u64 + 5000);
        assert!(ended.number("duration_ms") < 20_000);
        let verified = of_client[1];
        let facts = (verified.text("server_name"), verified.text("tls_version"));
        assert_eq!(facts, ("localhost", "1.3"), "{kind}");
    }
}

#[cfg(unix)]
#[test]
fn a_run_begins_with_101_and_ends_with_102_by_either_signal() {
    for kind in KINDS {
        for signal in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
            let server = Server::start();
            let gateway = Setup::new(kind).reach(&server).start();
            let address = gateway.address().to_string();
            let Tunnel { mut client, server: mut remote } = Tunnel::verified(&gateway, &server);
            let waiting = gateway.open(&server.authority());
            let unasked = gateway.connect();
            let (status, events) = gateway.stop_by(signal);
            assert_eq!(status.code(), Some(0), "{kind}");
            client.expect_reset();
            remote.expect_reset();
            drop((waiting, unasked));
            let at = |reason: &str| {
                let of_reason = |event: &Event| event.reason() == reason;
                assert_eq!(events.iter().filter(|event| of_reason(event)).count(), 1, "{reason}");
                events.iter().position(of_reason).unwrap()
            };
            let first = events.iter().position(|event| event.has("session")).unwrap();
            assert!(at("listening") < at("started") && at("started") < first, "{kind}");
            assert_eq!(at("stopped"), events.len() - 1, "{kind}");
            let ids = (events[at("started")].id(), events[at("stopped")].id());
            assert_eq!(ids, (101, 102));
            assert_eq!(events[at("listening")].text("address"), address);
            let ended = events.iter().filter(|event| event.reason() == "session_ended");
            let mut endings: Vec<_> = ended.map(|event| event.text("ending")).collect();
            endings.sort_unstable();
            assert_eq!(endings, ["await_hello.gateway.stopping", "tunnel.gateway.stopping"]);
        }
    }
}

#[cfg(unix)]
#[test]
fn text_lines_say_the_same_for_people() {
    let server = Server::start();
    let gateway = Setup::new(SPLICE).host("other.example").format("text").start();
    let reply = Reply::read(&mut gateway.ask(&server.authority()));
    let session = reply.session().to_owned();
    let events = gateway.events().clone();
    gateway.stop_by(rustix::process::Signal::TERM);
    let lines = events.others();
    let line = lines.iter().find(|line| line.contains("host_not_allowed")).expect("a line of it");
    for part in [
        " warning 105 host_not_allowed Target host (127.0.0.1) is forbidden",
        &format!(" session={session}"),
        &format!(" target={}", server.authority()),
        " status=403",
    ] {
        assert!(line.contains(part), "{part:?} is not in {line:?}");
    }
    assert!(lines.iter().any(|line| line.contains(" info 101 started ")), "{lines:#?}");
}

#[cfg(unix)]
#[test]
fn a_file_takes_events_and_is_appended_to() {
    let folder = Folder::new();
    let file = folder.path().join("events.log");
    let server = Server::start();
    let mut lines_before = 0;
    for _ in 0..2 {
        let outlet = format!("file:{}", file.display());
        let gateway = Setup::new(SPLICE).reach(&server).events_to(&outlet).start();
        let mut tunnel =
            Tunnel { client: gateway.open(&server.authority()), server: server.accept() };
        tunnel.shake_hands();
        drop(tunnel);
        let (status, on_stderr) = gateway.stop_by(rustix::process::Signal::TERM);
        assert!(status.success() && on_stderr.is_empty(), "{on_stderr:?}");
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.ends_with('\n'));
        let events: Vec<_> =
            text.lines().map(|line| Event(serde_json::from_str(line).unwrap())).collect();
        events.iter().for_each(expect_form);
        let own = &events[lines_before..];
        let reasons: Vec<_> = own.iter().map(Event::reason).collect();
        for reason in ["started", "connect_received", "tls_verified", "session_ended"] {
            assert!(reasons.contains(&reason), "{reason} is not in {reasons:?}");
        }
        assert_eq!(reasons.last(), Some(&"stopped"));
        lines_before = events.len();
    }
}

#[cfg(unix)]
#[test]
fn a_rotated_file_is_opened_again_by_a_hangup_and_nothing_is_lost() {
    const ROTATIONS: usize = 5;
    let folder = Folder::new();
    let file = folder.path().join("events.log");
    let outlet = format!("file:{}", file.display());
    let gateway = Setup::new(SPLICE).host("other.example").events_to(&outlet).start();
    let mut sessions = Vec::new();
    let mut refuse = || {
        let reply = Reply::read(&mut gateway.ask("forbidden.example:443"));
        sessions.push(reply.session().to_owned());
    };
    for rotation in 0..ROTATIONS {
        refuse();
        std::fs::rename(&file, folder.path().join(format!("{rotation}.log"))).unwrap();
        refuse();
        gateway.signal(rustix::process::Signal::HUP);
        until("a new file", PATIENCE, || file.exists().then_some(()));
    }
    refuse();
    let (status, on_stderr) = gateway.stop_by(rustix::process::Signal::TERM);
    assert!(status.success() && on_stderr.is_empty(), "{on_stderr:?}");
    let mut text = String::new();
    for rotation in 0..ROTATIONS {
        let rotated = folder.path().join(format!("{rotation}.log"));
        text.push_str(&std::fs::read_to_string(rotated).unwrap());
    }
    let last = std::fs::read_to_string(&file).unwrap();
    assert!(last.contains("\"stopped\"") && !text.contains("\"stopped\""));
    text.push_str(&last);
    let events: Vec<_> =
        text.lines().map(|line| Event(serde_json::from_str(line).unwrap())).collect();
    for session in &sessions {
        let of_session = |reason| events.iter().filter(|event| event.is(reason, session)).count();
        let counts = [of_session("host_not_allowed"), of_session("session_ended")];
        assert_eq!(counts, [1, 1], "{session}");
    }
}

#[cfg(unix)]
#[test]
fn the_level_leaves_out_what_is_below_it() {
    let server = Server::start();
    let gateway = Setup::new(SPLICE).host("other.example").level("warning").start();
    Reply::read(&mut gateway.ask(&server.authority()));
    let (_, events) = gateway.stop_by(rustix::process::Signal::TERM);
    let told: Vec<_> = events.iter().map(Event::reason).collect();
    assert_eq!(told, ["host_not_allowed"]);
}

/// Beyond 20 like events a second there is one line with their number; the ends of sessions are all
/// told, and no refusal is missing from the numbers.
#[test]
fn like_events_become_one_line_with_their_number() {
    const CLIENTS: u64 = 500;
    let server = Server::start();
    let gateway = Setup::new(SPLICE).host("other.example").start();
    let stopwatch = Stopwatch::start();
    for _ in 0..CLIENTS {
        Reply::read(&mut gateway.ask(&server.authority()));
    }
    // A second begins with the first event after the one before, so that as many have begun at most.
    let seconds = stopwatch.elapsed().as_secs() + 1;
    let events = gateway.stop();
    let refusals: Vec<_> =
        events.iter().filter(|event| event.reason() == "host_not_allowed").collect();
    let (summaries, single): (Vec<_>, Vec<_>) =
        refusals.into_iter().partition(|event| event.has("count"));
    let counted: u64 = summaries.iter().map(|event| event.number("count")).sum();
    assert_eq!(single.len() as u64 + counted, CLIENTS);
    let (single, summaries) = (single.len() as u64, summaries.len() as u64);
    assert!((20..=20 * seconds).contains(&single), "{single} lines in {seconds} s");
    assert!((1..=seconds).contains(&summaries), "{summaries} summaries in {seconds} s");
    let ended = events.iter().filter(|event| event.reason() == "session_ended").count() as u64;
    assert_eq!(ended, CLIENTS);
}

#[test]
fn text_from_the_network_cannot_break_a_line() {
    let gateway = Setup::new(SPLICE).host("a.example").start();
    let mut client = gateway.connect();
    client.send(b"CONNECT a\x1b[31m\x07.example:443 HTTP/1.1\r\n\r\n");
    Reply::read(&mut client);
    let mut client = gateway.connect();
    client.send("\u{202e}\u{0}{\"id\":101}\r\n\r\n".as_bytes());
    Reply::read(&mut client);
    let others = gateway.events().clone();
    let events = gateway.stop();
    events.iter().for_each(expect_form);
    assert_eq!(others.others(), Vec::<String>::new());
    for event in events {
        let message = event.text("message").to_owned();
        assert!(!message.chars().any(char::is_control), "{message:?}");
    }
}

/// Each wrong configuration: its text, and where and how its problem is told.
const WRONG: &[(&str, &str)] = &[
    ("wrokers = 1\n", ":1:1: unknown key \"wrokers\"; did you mean \"workers\"?"),
    ("[allow]\nhosts = [\"*\"]\n", ":2:10: allow.hosts: \"*\": "),
    ("[allow]\nhosts = [\n  \"a.example\",\n  \"*.com\",\n]\n", ":4:3: allow.hosts: \"*.com\": "),
    ("[limits]\nhead_ms = 0\n", ":2:11: limits.head_ms must be "),
    ("listen = [\"127.0.0.1\"]\n", ":1:11: listen: "),
    ("listen = [", ":1:11: "),
    ("[events]\nto = \"paper\"\n", ":2:6: events.to: expected \"stderr\""),
];

#[test]
fn a_wrong_configuration_is_told_at_its_place_and_exits_with_2() {
    let folder = Folder::new();
    for (text, place) in WRONG {
        let file = folder.write("wrong.toml", text);
        let file = file.to_str().unwrap();
        let (code, out, told) = gateway::run(&["run", "--config", file, "--log-format", "json"]);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{text}");
        let events = told.all();
        assert_eq!(events.len(), 1, "{text}: {events:?}");
        let event = &events[0];
        let is = (event.id(), event.reason(), event.text("level"));
        assert_eq!(is, (401, "configuration_invalid", "error"), "{text}");
        let message = event.text("message");
        assert!(message.starts_with(&format!("{file}{place}")), "{text}: {message}");
        assert_eq!(told.others(), Vec::<String>::new(), "{text}");
    }
    let missing = folder.path().join("missing.toml");
    let missing = missing.to_str().unwrap();
    let (code, _, told) = gateway::run(&["run", "--config", missing, "--log-format", "json"]);
    assert_eq!((code, told.all()[0].id()), (Some(2), 401));
    assert!(told.all()[0].text("message").contains("missing.toml"));
}

#[test]
fn a_taken_port_is_told_and_exits_with_2() {
    for kind in KINDS {
        let first = Setup::new(kind).start();
        let address = first.address().to_string();
        let file = first
            .folder()
            .write("second.toml", "allow.hosts = [\"a.example\"]\nadmin.listen = \"\"\n");
        let file = file.to_str().unwrap();
        let arguments = ["run", "--config", file, "--log-format", "json", "--listen", &address];
        let (code, out, told) = gateway::run(&arguments);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{kind}");
        let event = told.first("configuration_invalid");
        assert_eq!(event.id(), 401);
        let message = event.text("message");
        assert!(message.contains(&address) && message.contains("listen"), "{message}");
        // The first one goes on.
        let mut client = first.connect();
        client.send(b"GET /healthz HTTP/1.1\r\n\r\n");
        assert_eq!(Reply::read(&mut client).status, 200, "{kind}");
        first.stop();
    }
}

#[test]
fn wrong_command_lines_exit_with_2_and_say_what_to_write() {
    for (arguments, words) in [
        (&["run", "--listen", "8080"][..], "0.0.0.0:8080"),
        (&["rnu"], "unrecognized"),
        (&["run", "--log-format", "yaml"], "json"),
    ] {
        let (code, out, told) = gateway::run(arguments);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{arguments:?}");
        let text = told.others().join("\n");
        assert!(text.contains(words), "{arguments:?}: {text}");
    }
}

/// Flags beat the file.
#[test]
fn flags_of_the_command_line_beat_the_file() {
    let folder = Folder::new();
    let file = folder.write(
        "flags.toml",
        "listen = [\"192.0.2.1:1\"]\nevents.format = \"text\"\nadmin.listen = \"\"\n",
    );
    let mut command = gateway::command(None);
    command.args(["run", "--config"]).arg(&file);
    command.args(["--listen", "127.0.0.1:0", "--log-format", "json"]);
    let gateway = gateway::Gateway::started_by(command, file, folder);
    gateway.events().first("started");
    assert!(gateway.address().ip().is_loopback());
    gateway.stop();
}
