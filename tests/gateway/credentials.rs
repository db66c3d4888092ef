//! The credentials for a relay proxy: where they come from, where they go, and that they are nowhere
//! else.

use std::path::{Path, PathBuf};

use crate::support::admin::Admin;
use crate::support::events::{Event, Events};
use crate::support::folder::Folder;
use crate::support::gateway::{CARRIERS, Gateway, SPLICE, Setup, command, connect_head, each, run};
use crate::support::peer::Peer;
use crate::support::reply::Reply;
use crate::support::server::Server;
use crate::support::tls;
use sluice::proto::reply::ESTABLISHED;

const TARGET: &str = "far.test:443";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";
const PASSWORD: &str = "Tr0ub4dor&3\u{e9}";
/// `agent` and the password, and the password alone.
const ENCODED: &str = "YWdlbnQ6VHIwdWI0ZG9yJjPDqQ==";
const SECRETS: [&str; 3] = [PASSWORD, ENCODED, "VHIwdWI0ZG9yJjPDqQ"];

/// A password in a file of its own.
fn password_file(folder: &Folder, text: &str, mode: u32) -> PathBuf {
    let file = folder.write("relay-password", text);
    set_mode(&file, mode);
    file
}

#[cfg(unix)]
fn set_mode(file: &Path, mode: u32) {
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
    std::fs::set_permissions(file, permissions).unwrap();
}

#[cfg(not(unix))]
fn set_mode(_file: &Path, _mode: u32) {}

fn through(relay_proxy: &Server, password_file: &Path) -> Setup {
    let setup = Setup::new(SPLICE).host("far.test");
    with_credentials(setup, relay_proxy, password_file)
}

fn with_credentials(setup: Setup, relay_proxy: &Server, password_file: &Path) -> Setup {
    setup
        .set("relay_proxy.addresses", format!("[\"http://{}\"]", relay_proxy.authority()))
        .set("relay_proxy.username", "\"agent\"")
        .set("relay_proxy.password_file", format!("{password_file:?}"))
}

/// The next session at a relay proxy, and what it is sent as `Proxy-Authorization`.
fn asked(relay_proxy: &Server) -> (Peer, Option<String>) {
    let mut peer = relay_proxy.accept();
    let head = peer.read_head();
    let value = head.lines().find_map(|line| line.strip_prefix("Proxy-Authorization: "));
    assert!(head.matches("uthorization").count() <= 1, "{head}");
    let value = value.map(str::to_owned);
    (peer, value)
}

/// FAULTS D10.
#[test]
fn the_relay_proxy_gets_our_credentials_and_a_direct_target_gets_none() {
    for kind in CARRIERS {
        let (folder, relay_proxy, target) = (Folder::new(), Server::start(), Server::start());
        let file = password_file(&folder, &format!("{PASSWORD}\n"), 0o640);
        let setup = Setup::new(kind).host("far.test").reach(&target);
        let setup = setup.set("relay_proxy.direct", format!("[\"{}\"]", target.authority()));
        let gateway = with_credentials(setup, &relay_proxy, &file).start();
        let head = |authority: &str| {
            format!("CONNECT {authority} HTTP/1.1\r\nProxy-Authorization: Basic ZTpl\r\n\r\n")
        };
        let mut client = gateway.connect();
        client.send(head(TARGET).as_bytes());
        let (mut remote, value) = asked(&relay_proxy);
        assert_eq!(value, Some(format!("Basic {ENCODED}")));
        remote.send(OK);
        client.expect(ESTABLISHED);
        // The first bytes of a direct target are the client's hello.
        let hello = tls::hello(None);
        let mut client = gateway.connect();
        client.send(head(&target.authority()).as_bytes());
        client.expect(ESTABLISHED);
        client.send(&hello);
        let mut direct = target.accept();
        direct.expect(&hello);
        client.fin();
        direct.expect_end();
        relay_proxy.expect_nobody("a direct target");
        gateway.stop();
    }
}

#[test]
fn a_new_password_takes_effect_for_new_sessions() {
    let (folder, relay_proxy) = (Folder::new(), Server::start());
    let file = password_file(&folder, "old", 0o600);
    let gateway = through(&relay_proxy, &file).admin().start();
    let admin = Admin::of(&gateway);
    gateway_asks(&gateway, &relay_proxy, "Basic YWdlbnQ6b2xk");
    password_file(&folder, PASSWORD, 0o600);
    let reply = admin.ask("POST /reload");
    assert_eq!(
        (reply.status, reply.body.trim_end().ends_with(": relay_proxy.password")),
        (200, true),
        "{reply:?}"
    );
    gateway_asks(&gateway, &relay_proxy, &format!("Basic {ENCODED}"));
    gateway.stop();
}

fn gateway_asks(gateway: &Gateway, relay_proxy: &Server, expected: &str) {
    let mut client = gateway.ask(TARGET);
    let (mut remote, value) = asked(relay_proxy);
    assert_eq!(value.as_deref(), Some(expected));
    remote.send(OK);
    client.expect(ESTABLISHED);
}

#[test]
fn systemd_hands_the_password_over() {
    let (folder, relay_proxy) = (Folder::new(), Server::start());
    password_file(&folder, PASSWORD, 0o400);
    let setup = Setup::new(SPLICE).host("far.test").set("relay_proxy.username", "\"agent\"");
    let url = format!("[\"http://{}\"]", relay_proxy.authority());
    let text = setup.set("relay_proxy.addresses", url).text();
    let file = folder.write("sluice.toml", &text);
    let mut command = command(None);
    command.args(["run", "--config"]).arg(&file).env("CREDENTIALS_DIRECTORY", folder.path());
    let gateway = Gateway::started_by(command, file, folder);
    gateway_asks(&gateway, &relay_proxy, &format!("Basic {ENCODED}"));
    gateway.stop();
}

/// Only Unix tells by mode bits who can read a file.
#[cfg(unix)]
#[test]
fn a_secret_that_others_can_read_is_refused_at_the_start_and_by_a_reload() {
    let (folder, relay_proxy) = (Folder::new(), Server::start());
    let file = password_file(&folder, PASSWORD, 0o644);
    let setup = || through(&relay_proxy, &file);
    let configuration = folder.write("sluice.toml", &setup().text());
    let start = |configuration: &Path| {
        let arguments = ["run", "--log-format", "json", "--config"];
        run(&[&arguments[..], &[configuration.to_str().unwrap()]].concat())
    };
    let (code, _, events) = start(&configuration);
    let event = events.first("secret_readable");
    assert_eq!((code, event.id(), event.text("level")), (Some(2), 401, "error"));
    let message = event.text("message");
    assert!(message.contains("relay_proxy.password_file: others can read"), "{message}");
    assert!(message.starts_with(&format!("{}:", configuration.display())), "{message}");
    // The same for one in the configuration itself.
    let inside = format!("[relay_proxy]\nusername = \"agent\"\npassword = {PASSWORD:?}\n");
    let inside = folder.write("inside.toml", &inside);
    set_mode(&inside, 0o644);
    let (code, _, events) = start(&inside);
    let event = events.first("secret_readable");
    assert_eq!(code, Some(2));
    assert!(event.text("message").contains("inside.toml:3:12: relay_proxy.password"), "{event:?}");
    // What was in force stays so.
    set_mode(&file, 0o600);
    let gateway = setup().admin().start();
    let admin = Admin::of(&gateway);
    set_mode(&file, 0o604);
    let reply = admin.ask("POST /reload");
    assert_eq!(reply.status, 422);
    let event = gateway.events().first("secret_readable");
    assert!(event.text("message").contains("generation 1 stays"), "{event:?}");
    gateway_asks(&gateway, &relay_proxy, &format!("Basic {ENCODED}"));
    gateway.stop();
}

/// Everything that a gateway says, in whatever goes well and wrong, at the level that says most.
#[test]
fn no_output_has_the_password_in_it() {
    each(["text", "json"], |format| {
        let (folder, relay_proxy) = (Folder::new(), Server::start());
        let file = password_file(&folder, PASSWORD, 0o600);
        let setup = || {
            let setup = through(&relay_proxy, &file).format(format).level("debug").admin();
            setup.set("limits.relay_proxy_ms", 3_000)
        };
        let gateway = setup().start();
        let admin = Admin::of(&gateway);
        let mut said = Vec::new();
        let echo = format!("HTTP/1.1 403 x\r\nA: {ENCODED}\r\n\r\n{PASSWORD}");
        for answer in [
            &b"HTTP/1.1 407 Who\r\n\r\n"[..],
            b"HTTP/1.1 403 No\r\n\r\n",
            b"HTTP/1.1 503 Busy\r\n\r\n",
            b"HTTP/1.1 2000 x\r\n\r\n",
            b"ICY",
            b"",
            echo.as_bytes(),
        ] {
            let mut client = gateway.ask(TARGET);
            let (mut remote, _) = asked(&relay_proxy);
            remote.send(answer);
            let reply = Reply::read(&mut client);
            said.push(format!("{reply:?}"));
        }
        let mut client = gateway.connect();
        client.send(&[connect_head(TARGET), tls::hello(Some("far.test"))].concat());
        asked(&relay_proxy).0.send(&[OK, b"220"].concat());
        client.expect(ESTABLISHED);
        client.fin();
        let _ = client.read_to_any_end();
        for path in ["/status", "/metrics", "/report?format=text", "/report?format=json", "/readyz"]
        {
            said.push(admin.get(path));
        }
        // A reload that is refused, and one that is not.
        let wrong = setup().text().replace("\"agent\"", "\"ag:ent\"");
        gateway.rewrite(&format!("{wrong}[x]\npassword = {PASSWORD:?}\n"));
        said.push(format!("{:?}", admin.ask("POST /reload")));
        password_file(&folder, &format!("{PASSWORD}\n{PASSWORD}"), 0o600);
        gateway.rewrite(&setup().text());
        said.push(format!("{:?}", admin.ask("POST /reload")));
        password_file(&folder, &format!("new{PASSWORD}"), 0o600);
        let reply = admin.ask("POST /reload");
        assert_eq!(reply.status, 200, "{reply:?}");
        said.push(format!("{reply:?}"));
        said.push(admin.get("/status"));
        if let Ok(command_line) = std::fs::read(format!("/proc/{}/cmdline", gateway.pid())) {
            said.push(String::from_utf8_lossy(&command_line).into_owned());
        }
        let events = gateway.events().clone();
        let (status, _) = stop(gateway);
        assert!(status, "it stops in order");
        said.extend(all(&events));
        assert!(said.len() > 20, "{said:?}");
        expect_no_secret(&said);
    });
}

/// Mistakes in the configuration are told without what they may give away.
#[test]
fn no_error_of_a_configuration_has_the_password_in_it() {
    let folder = Folder::new();
    let mut said = Vec::new();
    for (number, text) in [
        format!("relay_proxy.addresses = [\"http://agent:{PASSWORD}@proxy:8080\"]"),
        format!("relay_proxy.addresses = [\"agent:{PASSWORD}@proxy:8080\"]"),
        format!("relay_proxy.addresses = \"http://agent:{PASSWORD}@proxy:8080\""),
        format!("relay_proxy.username = \"agent:{PASSWORD}\""),
        format!("relay_proxy.username = \"agent\"\nrelay_proxy.password = \"{PASSWORD}\\n\""),
        format!("relay_proxy.password = [\"{PASSWORD}\"]"),
        format!("relay_proxy.password = \"{PASSWORD}\""),
        format!("relay_proxy.password = \"{PASSWORD}"),
        format!("relay_proxy.password = {PASSWORD}"),
        format!("relay_proxy.passwort = \"{PASSWORD}\""),
        format!("password = \"{PASSWORD}\""),
        format!("relay_proxy.password = \"{PASSWORD}\"\nrelay_proxy.password = \"{PASSWORD}\""),
    ]
    .iter()
    .enumerate()
    {
        let file = folder.write(&format!("{number}.toml"), text);
        let (code, out, events) = run(&["run", "--config", file.to_str().unwrap()]);
        assert_eq!(code, Some(2), "{text}");
        said.push(out);
        let told = all(&events);
        assert!(!told.is_empty(), "{text}");
        said.extend(told);
    }
    expect_no_secret(&said);
}

fn all(events: &Events) -> Vec<String> {
    let lines = events.all().into_iter().map(|Event(value)| value.to_string());
    lines.chain(events.others()).collect()
}

fn expect_no_secret(said: &[String]) {
    for text in said {
        for secret in SECRETS {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

#[cfg(unix)]
fn stop(gateway: Gateway) -> (bool, Vec<Event>) {
    let (status, events) = gateway.stop_by(rustix::process::Signal::TERM);
    (status.success(), events)
}

#[cfg(not(unix))]
fn stop(gateway: Gateway) -> (bool, Vec<Event>) {
    (true, gateway.stop())
}
