//! The disk under the file of events is full for a while: a small one of the gateway's own, which needs
//! the right to mount.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::echo::Echo;
use crate::newcomers::Met;
use crate::newcomers::Newcomers;
use crate::steady::Steady;
use crate::support::admin::Admin;
use crate::support::deadline::{PATIENCE, until};
use crate::support::folder::Folder;
use crate::support::gateway::{Gateway, PROGRAM, SPLICE, Setup};
use crate::support::server::Server;

const DISK_KIB: u32 = 256;

/// A command that gives whatever it runs mounts of its own; `None` where nobody lets us.
fn apart() -> Option<Command> {
    for options in [&["--mount"][..], &["--mount", "--user", "--map-root-user"]] {
        let mut tried = Command::new("unshare");
        tried.args(options).args(["mount", "-t", "tmpfs", "none", "/mnt"]).stderr(Stdio::null());
        if tried.status().is_ok_and(|status| status.success()) {
            let mut command = Command::new("unshare");
            command.args(options);
            return Some(command);
        }
    }
    None
}

#[test]
fn a_full_disk_costs_lines_and_nothing_else() {
    let Some(mut unshare) = apart() else {
        println!("skipped: this user may not mount a small disk");
        return;
    };
    let (server, echo) = (Server::start(), Echo::start());
    let folder = Folder::new();
    let disk = folder.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let setup = Setup::new(SPLICE).reach(&server).host(&echo.authority()).admin();
    let setup = setup.events_to(&format!("file:{}/events.log", disk.display()));
    let file = folder.write("sluice.toml", &setup.text());
    let mount =
        format!("mount -t tmpfs -o size={DISK_KIB}k none {} && exec \"$0\" \"$@\"", disk.display());
    unshare.args(["sh", "-c", &mount, PROGRAM, "run", "--config"]).arg(&file);
    unshare.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let gateway = Gateway::started_by(unshare, file, folder);
    let admin = Admin::of(&gateway);
    // As the gateway sees it.
    let disk = PathBuf::from(format!("/proc/{}/root{}", gateway.pid(), disk.display()));
    let ballast = disk.join("ballast");
    let lost = || admin.metrics()["sluice_events_lost_total"];

    let steady = Steady::start(&gateway, &server, 24);
    let newcomers = Newcomers::come(gateway.address(), vec![echo.authority()]);
    // Writes until the disk takes no more.
    let filled = std::fs::write(&ballast, vec![0; (DISK_KIB as usize + 4) * 1024]);
    assert!(filled.is_err(), "a disk of {DISK_KIB} KiB is full");
    until("lines are lost", PATIENCE, || (lost() > 20.0).then_some(()));
    let moved = steady.moved();
    std::thread::sleep(Duration::from_millis(500));
    until("the relay goes on", PATIENCE, || (steady.moved() > moved).then_some(()));

    std::fs::remove_file(&ballast).unwrap();
    let events = || parse(&std::fs::read_to_string(disk.join("events.log")).unwrap());
    let told = || {
        let events = events();
        let told = events.iter().filter(|event| event["reason"] == "events_lost");
        told.filter_map(|event| event["count"].as_f64()).sum::<f64>()
    };
    until("the losses are told", PATIENCE, || (told() > 0.0 && told() == lost()).then_some(()));
    std::thread::sleep(Duration::from_millis(200));
    let visits = newcomers.stop();
    let unserved: Vec<_> = visits.iter().filter(|visit| visit.met != Met::Served).collect();
    assert!(unserved.is_empty(), "{unserved:?}");
    for lane in steady.stop() {
        assert_eq!(lane.lost, None);
    }
    let metrics = admin.metrics();
    let last = events();
    assert!(last.last().is_some_and(|event| event["reason"] != "events_lost"), "lines flow again");
    let lines = last.iter().filter(|event| event["reason"] == "events_lost").count();
    assert!(lines <= 4, "{lines} lines on one full disk");
    assert_eq!(metrics["sluice_sessions_total"], (visits.len() + 24) as f64);
    // On the standard error, that the outlet fails: once.
    let failures = gateway.events().others();
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert!(failures[0].contains("outlet_failed"), "{failures:?}");
    let (status, _) = gateway.stop_by(rustix::process::Signal::TERM);
    assert!(status.success(), "{status}");
}

/// All whole lines; one that the full disk cut in two may be among them once.
fn parse(text: &str) -> Vec<Value> {
    let (whole, torn): (Vec<_>, Vec<_>) =
        text.lines().map(serde_json::from_str::<Value>).partition(Result::is_ok);
    assert!(torn.len() <= 2, "{} torn lines", torn.len());
    whole.into_iter().flatten().collect()
}
