//! What is asked for, and what is told: options, reports, exit codes.

use std::net::{TcpListener, TcpStream};
use std::process::Command;

use serde_json::Value;

use crate::proxy::{Manners, proxy, report, undisturbed};

#[test]
fn the_report_is_written_and_the_table_is_readable() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = undisturbed(|| {
        let gateway = proxy(Manners::Honest).to_string();
        Command::new(env!("CARGO_BIN_EXE_loadgen"))
            .args("--agents 5 --every 1s --for 1s --tls replay --report".split(' '))
            .arg(folder.path().join("new"))
            .args(["--gateway", &gateway, "--gateway-pid", &std::process::id().to_string()])
            .output()
            .expect("loadgen runs")
    });
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
    let loadgen = env!("CARGO_BIN_EXE_loadgen");
    let run = |mut command: Command, options: &str| {
        let output =
            command.args(options.split_whitespace()).output().expect("loadgen runs, or a shell");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = other.local_addr().expect("an address").to_string();
    for (options, code, told) in [
        ("--agents none", 2, "invalid value 'none'"),
        ("--every 6", 2, "no unit of time"),
        ("--gateway 127.0.0.1", 2, "HOST:PORT"),
        ("--gateway 127.0.0.1:1 --target example.com:443", 2, "--ca FILE"),
        ("--gateway 127.0.0.1:1 --target example.com --tls replay", 2, "not HOST:PORT"),
        ("--gateway 127.0.0.1:1 --target a:1 --ca /nonexistent", 2, "/nonexistent"),
        ("churn --rate 5/h", 2, "not a rate"),
        ("bulk --tunnels 0", 2, "0 is not in"),
        ("capacity --for 1", 2, "no unit of time"),
        (&format!("endpoint --listen {taken}"), 1, &taken),
    ] {
        let (got, stderr) = run(Command::new(loadgen), options);
        assert_eq!(got, Some(code), "{options}: {stderr}");
        assert!(stderr.contains(told), "{options}: {stderr}");
    }
    if cfg!(unix) {
        // How many descriptors a machine grants is its own affair.
        let mut shell = Command::new("sh");
        shell.args(["-c", r#"ulimit -n 1024 && exec "$0" "$@""#, loadgen]);
        let (got, stderr) = run(shell, "--agents 1024 --gateway 127.0.0.1:1");
        assert_eq!(got, Some(2), "{stderr}");
        assert!(stderr.contains("descriptors"), "{stderr}");
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
    // The accepted end of a connection keeps its port when the listener goes: nobody else gets it, neither to listen
    // nor to ask from, as one that asks its own port meets itself.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let gone = listener.local_addr().expect("an address");
    let near = TcpStream::connect(gone).expect("a connection");
    let far = listener.accept().expect("a connection");
    drop(listener);
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(["--agents", "2", "--every", "1s", "--for", "1s", "--json"])
        .args(["--gateway", &gone.to_string()])
        .output()
        .expect("loadgen runs");
    let report = report(&output);
    assert_eq!(output.status.code(), Some(1), "{report:#}");
    assert_eq!(report["failures"]["gateway not reached"], 4, "{report:#}");
    drop((near, far));
}
