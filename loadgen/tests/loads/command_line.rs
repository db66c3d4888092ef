//! What is asked for, and what is told: options, reports, exit codes.

use std::net::TcpListener;
use std::process::Command;

use serde_json::Value;

use crate::proxy::{Manners, proxy, report};

#[test]
fn the_report_is_written_and_the_table_is_readable() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = proxy(Manners::Honest).to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args("--agents 5 --every 1s --for 1s --tls replay --report".split(' '))
        .arg(folder.path().join("new"))
        .args(["--gateway", &gateway, "--gateway-pid", &std::process::id().to_string()])
        .output()
        .expect("loadgen runs");
    let table = String::from_utf8(output.stdout).expect("text");
    assert_eq!(output.status.code(), Some(0), "{table}");
    assert!(table.contains("5 planned, 5 arrived, 0 late, 0 failed"), "{table}");
    assert!(table.contains("PASSED: every upload arrived on time"), "{table}");
    if cfg!(target_os = "linux") {
        assert!(table.contains("gateway memory (PSS)"), "{table}");
        assert!(table.contains("gateway pipes held"), "{table}");
        assert!(table.contains("what they can hold"), "{table}");
    }
    let json = std::fs::read(folder.path().join("new/report.json")).expect("a report");
    let report: Value = serde_json::from_slice(&json).expect("JSON");
    assert_eq!(report["uploads"]["arrived"], 5);
    if cfg!(target_os = "linux") {
        // Its output comes to this test, which it takes for the gateway, through pipes.
        let [held, bytes] = ["pipes", "pipe_bytes"].map(|of| report["usage"][of]["peak"].as_u64());
        assert!(held >= Some(1) && bytes >= held.map(|held| held * 4096), "{held:?} {bytes:?}");
    }
    for name in ["latency.hgrm", "setup.hgrm", "lateness.hgrm"] {
        let text = std::fs::read_to_string(folder.path().join("new").join(name)).expect(name);
        assert!(
            text.contains("#[Max     =") && text.contains("Total count    =            5"),
            "{text}"
        );
    }
}

#[test]
fn usage_is_told_from_failure() {
    let run = |options: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
            .args(options.split_whitespace())
            .output()
            .expect("loadgen runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for (options, code, told) in [
        ("--agents none", 2, "invalid value 'none'"),
        ("--every 6", 2, "no unit of time"),
        ("--gateway 127.0.0.1", 2, "HOST:PORT"),
        ("--gateway 127.0.0.1:1 --target example.com:443", 2, "--ca FILE"),
        ("--gateway 127.0.0.1:1 --target example.com --tls replay", 2, "not HOST:PORT"),
        ("--gateway 127.0.0.1:1 --target a:1 --ca /nonexistent", 2, "/nonexistent"),
        ("--agents 1000000 --gateway 127.0.0.1:1", 2, "descriptors"),
        ("churn --rate 5/h", 2, "not a rate"),
        ("bulk --tunnels 0", 2, "0 is not in"),
        ("capacity --for 1", 2, "no unit of time"),
        ("endpoint --listen 192.0.2.1:0", 1, "192.0.2.1:0"),
    ] {
        let (got, stderr) = run(options);
        assert_eq!(got, Some(code), "{options}: {stderr}");
        assert!(stderr.contains(told), "{options}: {stderr}");
    }
    for command in ["agents", "idle", "churn", "bulk", "capacity", "endpoint"] {
        let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
            .args([command, "--help"])
            .output()
            .expect("loadgen runs");
        let help = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(help.contains("Example"), "{help}");
    }
}

#[test]
fn a_gateway_that_is_not_there_is_told_as_such() {
    // A port that was free a moment ago; whoever takes it meanwhile is no proxy of ours either.
    let gone = TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr()).expect("a port");
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(["--agents", "2", "--every", "1s", "--for", "1s", "--json"])
        .args(["--gateway", &gone.to_string()])
        .output()
        .expect("loadgen runs");
    let report = report(&output);
    assert_eq!(output.status.code(), Some(1), "{report:#}");
    assert_eq!(report["failures"]["gateway not reached"], 4, "{report:#}");
}
