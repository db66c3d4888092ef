//! Uploads, on time and not.

use crate::proxy::{Manners, loadgen, reasons, report};

fn arrives(tunnel: &str, tls: &str) {
    let options = format!(
        "agents --agents 20 --burst 200KB --every 1s --for 3s --tunnel {tunnel} --tls {tls}"
    );
    let output = loadgen(Manners::Honest, &options);
    let report = report(&output);
    assert_eq!(output.status.code(), Some(0), "{report:#}");
    assert_eq!(report["verdict"]["passed"], true);
    let uploads = &report["uploads"];
    for (count, expected) in
        [("planned", 60), ("arrived", 60), ("on_time", 60), ("failed", 0), ("bytes", 12_000_000)]
    {
        assert_eq!(uploads[count], expected, "{count}: {report:#}");
    }
    assert_eq!(uploads["latency_us"]["count"], 60);
    assert_eq!(report["endpoint"]["verified"], 60);
    assert_eq!(report["endpoint"]["bytes"], 12_000_000);
    assert_eq!(report["endpoint"]["failed"], 0, "{report:#}");
    let tunnels = if tunnel == "kept" { 20 } else { 60 };
    assert_eq!(report["tunnels"]["opened"], tunnels);
    assert_eq!(report["endpoint"]["connections"], tunnels);
}

#[test]
fn kept_tunnels_carry_tls_1_2() {
    arrives("kept", "1.2");
}

#[test]
fn kept_tunnels_carry_tls_1_3() {
    arrives("kept", "1.3");
}

#[test]
fn kept_tunnels_carry_replayed_tls() {
    arrives("kept", "replay");
}

#[test]
fn a_tunnel_per_upload_carries_tls_1_2() {
    arrives("per-upload", "1.2");
}

#[test]
fn a_tunnel_per_upload_carries_tls_1_3() {
    arrives("per-upload", "1.3");
}

#[test]
fn a_tunnel_per_upload_carries_replayed_tls() {
    arrives("per-upload", "replay");
}

#[test]
fn a_load_may_be_spread_over_threads() {
    let options = "agents --agents 21 --every 1s --for 2s --threads 3 --tls replay";
    let output = loadgen(Manners::Honest, options);
    let report = report(&output);
    assert_eq!(output.status.code(), Some(0), "{report:#}");
    assert_eq!(report["endpoint"]["verified"], 42);
}

#[test]
fn a_refusal_is_shown_with_its_reason() {
    for tunnel in ["kept", "per-upload"] {
        let options = format!("--agents 3 --every 1s --for 1s --tunnel {tunnel}");
        let output = loadgen(Manners::Refuses, &options);
        let report = report(&output);
        assert_eq!(output.status.code(), Some(1), "{report:#}");
        let told = reasons(&report);
        assert!(told.contains("403 Target host forbidden [host_not_allowed]"), "{told}");
        assert!(told.contains("3 upload(s) failed"), "{told}");
        let failures = if tunnel == "kept" { 6 } else { 3 };
        assert_eq!(report["failures"]["refused with 403"], failures);
    }
}

#[test]
fn a_damaged_byte_never_passes() {
    // Past the handshake, in the middle of the upload: real TLS breaks, replayed TLS is caught by the hash.
    for (tls, kind) in [("replay", "hash mismatch"), ("1.3", "TLS")] {
        let options =
            format!("--agents 2 --burst 100KB --every 1s --for 1s --tunnel per-upload --tls {tls}");
        let output = loadgen(Manners::Damages(60_000), &options);
        let report = report(&output);
        assert_eq!(output.status.code(), Some(1), "{report:#}");
        assert_eq!(report["uploads"]["arrived"], 0, "{report:#}");
        assert_eq!(report["uploads"]["failed"], 2);
        assert_eq!(report["failures"][kind], 2, "{report:#}");
        let mismatched = if tls == "replay" { 2 } else { 0 };
        assert_eq!(report["endpoint"]["mismatched"], mismatched);
    }
}

#[test]
fn a_tunnel_that_is_cut_is_a_failure_and_the_next_upload_opens_another() {
    let options = "--agents 2 --burst 100KB --every 1s --for 3s --tunnel kept --tls replay";
    let output = loadgen(Manners::Cuts(150_000), options);
    let report = report(&output);
    assert_eq!(output.status.code(), Some(1), "{report:#}");
    // Each tunnel carries one upload whole and is cut in its second; the third goes through a new one.
    assert_eq!(report["uploads"]["arrived"], 4, "{report:#}");
    assert_eq!(report["uploads"]["failed"], 2);
    assert_eq!(report["tunnels"]["opened"], 4);
}

#[test]
fn a_gateway_that_never_answers_does_not_hang_the_run() {
    let options = "--agents 2 --every 1s --for 1s --tunnel per-upload";
    let output = loadgen(Manners::Silent, options);
    let report = report(&output);
    assert_eq!(output.status.code(), Some(1), "{report:#}");
    assert_eq!(report["failures"]["timeout"], 2, "{report:#}");
    assert!(reasons(&report).contains("waiting for the answer to CONNECT"), "{report:#}");
}

#[test]
fn late_uploads_are_late_from_their_intended_time() {
    let options = "--agents 1 --every 1s --for 3s --tunnel per-upload --tls replay";
    let output = loadgen(Manners::Slow(2_500), options);
    let report = report(&output);
    assert_eq!(output.status.code(), Some(1), "{report:#}");
    let uploads = &report["uploads"];
    assert_eq!((&uploads["arrived"], &uploads["on_time"]), (&3.into(), &0.into()), "{report:#}");
    // Intended at 0, 1 and 2 s, begun at 0, 2.5 and 5 s, done at 2.5, 5 and 7.5 s.
    assert_eq!((&uploads["done_late"], &uploads["begun_late"]), (&1.into(), &2.into()));
    let slowest_us = uploads["latency_us"]["max"].as_u64().expect("a number");
    assert!((5_400_000..7_000_000).contains(&slowest_us), "{slowest_us}");
    assert!(!reasons(&report).contains("loadgen was behind"), "{report:#}");
}

#[test]
fn idle_tunnels_are_held_and_checked() {
    let output = loadgen(Manners::Honest, "idle --agents 50 --for 1s --pace 200");
    let report = report(&output);
    assert_eq!(output.status.code(), Some(0), "{report:#}");
    assert_eq!(report["tunnels"]["opened"], 50);
    assert_eq!(report["uploads"]["arrived"], 50);
    assert!(report["hold"]["seconds"].as_f64().is_some_and(|seconds| seconds >= 1.0));
    let output = loadgen(Manners::Refuses, "idle --agents 5 --for 1s");
    let report = self::report(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(reasons(&report).contains("5 tunnel(s) could not be opened"), "{report:#}");
}
