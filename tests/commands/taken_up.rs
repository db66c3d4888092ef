//! A change by a command reaches the gateway that runs with the file.

use crate::support::admin::Admin;
use crate::support::events::Event;
use crate::support::folder::Folder;
use crate::support::gateway::{self, Gateway, SPLICE, Setup};
use crate::support::port::reserved;
use crate::support::server::Server;

use super::program::{Site, command, run};

/// An address to listen on; `check` refuses files with port 0, and so do the commands.
fn free_address() -> String {
    reserved("127.0.0.1").to_string()
}

fn status(gateway: &Gateway, server: &Server) -> String {
    let head = gateway.ask(&server.authority()).read_head();
    head.split(' ').nth(1).unwrap().to_owned()
}

#[test]
fn a_host_is_allowed_by_a_command_and_forbidden_by_another() {
    let server = Server::start();
    let setup = Setup::new(SPLICE).listen(&free_address()).admin_at(&free_address());
    let gateway = setup.start();
    let folder = gateway.folder().path();
    assert_eq!(status(&gateway, &server), "403");
    let host = server.authority();

    run(command(gateway.file()).args(["allowed-host", "add", &host]), "").expect(
        "add",
        0,
        &["takes effect within 3 s; `sluice reload --config /"],
        folder,
    );
    let told = gateway.events().first("reloaded");
    assert!(told.text("message").contains(&format!("+{host}")), "{}", told.0);
    assert_eq!(status(&gateway, &server), "200");

    run(command(gateway.file()).args(["allowed-host", "remove", &host]), "").expect(
        "remove",
        0,
        &["off the list"],
        folder,
    );
    let off = |event: &Event| {
        event.reason() == "reloaded" && event.text("message").contains(&format!("-{host}"))
    };
    let reload = run(command(gateway.file()).arg("reload"), "");
    reload.expect("reload", 0, &["generation 3"], folder);
    // The gateway may have looked at its file before it was told to.
    let looked = reload.out.contains("nothing has changed");
    assert!(looked || reload.out.contains(&format!("-{host}")), "{reload:?}");
    gateway.events().wait("the host is off", off);
    assert_eq!(status(&gateway, &server), "403");
    let events = gateway.stop();
    assert_eq!(events.iter().filter(|event| off(event)).count(), 1);
}

#[test]
fn what_a_flag_of_the_start_beats_is_told() {
    let setup = Setup::new(SPLICE).listen("127.0.0.1:9").admin_at(&free_address());
    let folder = Folder::new();
    let file = folder.write("sluice.toml", &setup.text());
    let mut start = gateway::command(None);
    start.args(["run", "--listen", "127.0.0.1:0", "--log-format", "json", "--config"]).arg(&file);
    let gateway = Gateway::started_by(start, file, folder);
    let folder = gateway.folder().path();
    let tell = |words: &[&str], told: &[&str]| {
        let ran = run(command(gateway.file()).args(words), "");
        ran.expect(&words.join(" "), 0, told, folder);
        ran.out
    };
    for (words, flag) in [
        (["config", "set", "listen", "127.0.0.1:10"], "--listen"),
        (["config", "set", "events.format", "text"], "--log-format"),
    ] {
        let key = words[2];
        let why = format!("is made, but the gateway that runs with it was started with `{flag}`");
        let until = format!(": `{key}` counts only after a start without.");
        assert!(!tell(&words, &[&why, &until]).contains("within 3 s"), "{key}");
    }
    // The flags win again, so that nothing of it is a change.
    tell(&["reload"], &["generation 1: nothing has changed"]);
    let addresses = format!("{}\n", gateway.address());
    let overridden = "listen (by `--listen`), events.format (by `--log-format`)\n";
    let shown = tell(&["status"], &[&addresses, overridden]);
    assert_eq!(shown.matches("Overridden").count(), 1, "{shown}");
    let status = Admin::of(&gateway).status();
    let overrides = serde_json::json!(["listen", "events.format"]);
    assert_eq!(status["configuration"]["overrides"], overrides, "{status}");
    tell(&["allowed-host", "add", "a.test.com"], &["takes effect within 3 s"]);
    gateway.stop();
}

#[test]
fn a_command_claims_no_effect_that_it_does_not_know_of() {
    let setup = Setup::new(SPLICE).listen(&free_address()).admin_at(&free_address());
    let gateway = setup.start();
    let folder = gateway.folder().path();
    let tell = |file: &std::path::Path, words: &[&str], told: &str| {
        run(command(file).args(words), "").expect(&words.join(" "), 0, &[told], folder);
    };
    tell(gateway.file(), &["config", "set", "workers", "3"], "workers need a restart");
    // Another file names the same admin listener.
    let other = folder.join("other.toml");
    std::fs::copy(gateway.file(), &other).unwrap();
    let runs_with = format!("runs with {} and takes nothing", gateway.file().display());
    let runs_with = runs_with.replace(&folder.display().to_string(), "");
    tell(&other, &["allowed-host", "add", "a.test.com"], &runs_with);
    let moved = free_address();
    let set = ["config", "set", "admin.listen", &moved];
    let ran = run(command(gateway.file()).args(set), "");
    ran.expect("admin.listen", 0, &["within 3 s", "on SIGHUP at once"], folder);
    assert!(!ran.out.contains("sluice reload"), "{ran:?}");
    gateway.stop();
    let off = Site::new("admin.listen = \"\"\n");
    off.expect("allowed-host add a.test.com", 0, &["on SIGHUP at once", "admin listener off"]);
    off.expect("config set listen 8080", 0, &["and was started without `--listen`, on SIGHUP"]);
    let site = Site::new(&format!("admin.listen = \"{}\"\n", free_address()));
    let unflagged = "is taken within 3 s by a gateway that runs with it and was started without";
    site.expect("config set listen 8080", 0, &[&format!("{unflagged} `--listen`;")]);
    site.expect("config set events.format json", 0, &[&format!("{unflagged} `--log-format`;")]);
    site.expect(
        "allowed-host add a.test.com",
        0,
        &["is taken within 3 s by a gateway that runs with it; `sluice reload --config /"],
    );
}
