//! Uploads that are tried again.

use serde_json::Value;

use crate::proxy::{Manners, loadgen, reasons, report};

fn run(manners: Manners, options: &str) -> (Option<i32>, Value) {
    let options = format!("agents --tls replay --burst 100KB {options}");
    let output = loadgen(manners, &options);
    (output.status.code(), report(&output))
}

#[test]
fn a_gateway_that_was_busy_is_asked_again_when_it_said() {
    let options = "--agents 2 --every 3s --for 3s --tunnel per-upload";
    let (code, report) = run(Manners::BusyAtFirst(2), options);
    assert_eq!((code, &report["uploads"]["failed"]), (Some(1), &2.into()), "{report:#}");
    let (code, report) = run(Manners::BusyAtFirst(2), &format!("{options} --retries 2"));
    assert_eq!(code, Some(0), "{report:#}");
    let uploads = &report["uploads"];
    for (count, expected) in [("arrived", 2), ("on_time", 2), ("failed", 0), ("retries", 2)] {
        assert_eq!(uploads[count], expected, "{count}: {report:#}");
    }
    assert_eq!(report["retried"]["refused with 503"], 2);
    let slowest_us = uploads["latency_us"]["max"].as_u64().expect("a number");
    assert!((1_000_000..3_000_000).contains(&slowest_us), "Retry-After: 1, and {slowest_us} us");
}

#[test]
fn a_connection_that_is_dropped_is_opened_again() {
    for tunnel in ["kept", "per-upload"] {
        let options = format!("--agents 2 --every 2s --for 2s --retries 1 --tunnel {tunnel}");
        let (code, report) = run(Manners::DropsFirst(1), &options);
        assert_eq!(code, Some(0), "{report:#}");
        assert_eq!(report["uploads"]["on_time"], 2);
        // A kept tunnel is dropped before the first upload, which then opens another.
        let (ahead, retries) = if tunnel == "kept" { (1, 0) } else { (0, 1) };
        assert_eq!(report["tunnels"]["failed"], ahead, "{report:#}");
        assert_eq!(report["uploads"]["arrived_after_retries"], retries);
    }
}

#[test]
fn a_gateway_that_hangs_is_given_up_in_time_for_another_attempt() {
    let options = "--agents 1 --every 3s --for 3s --retries 2 --tunnel per-upload";
    let (code, report) = run(Manners::HangsFirst(1), options);
    assert_eq!(code, Some(0), "{report:#}");
    assert_eq!(
        (&report["retried"]["timeout"], &report["uploads"]["on_time"]),
        (&1.into(), &1.into())
    );
}

#[test]
fn an_upload_that_came_twice_is_no_failure() {
    for tunnel in ["kept", "per-upload"] {
        let options = format!("--agents 2 --every 2s --for 4s --retries 1 --tunnel {tunnel}");
        let (code, report) = run(Manners::LosesFirstAnswers(1), &options);
        assert_eq!(code, Some(0), "{report:#}");
        assert_eq!(report["uploads"]["arrived"], 4);
        assert_eq!(report["endpoint"]["verified"], 5, "{report:#}");
        assert_eq!(report["endpoint"]["duplicates"], 1);
    }
    let options = "--agents 1 --every 1s --for 1s --tunnel per-upload";
    let (code, report) = run(Manners::LosesFirstAnswers(1), options);
    assert_eq!(code, Some(1), "{report:#}");
    assert_eq!(reasons(&report).matches("upload(s)").count(), 1, "failed, and no more: {report:#}");
}

#[test]
fn a_kept_tunnel_that_is_cut_is_replaced() {
    let options = "--agents 2 --every 1s --for 3s --retries 2";
    let (code, report) = run(Manners::Cuts(150_000), options);
    assert_eq!(code, Some(0), "{report:#}");
    // Each tunnel carries one upload whole and is cut in its second, which then goes through another.
    assert_eq!(
        (&report["uploads"]["on_time"], &report["uploads"]["retries"]),
        (&6.into(), &4.into())
    );
}

#[test]
fn a_judgement_is_not_asked_for_twice() {
    let options = "--agents 2 --every 1s --for 1s --retries 5 --tunnel per-upload";
    let (code, report) = run(Manners::Refuses, options);
    assert_eq!(code, Some(1));
    let uploads = &report["uploads"];
    assert_eq!((&uploads["retries"], &uploads["failed"]), (&0.into(), &2.into()), "{report:#}");
}

#[test]
fn attempts_end_when_the_next_upload_is_due() {
    let options = "--agents 1 --every 2500ms --for 5s --retries 100 --tunnel per-upload";
    let (code, report) = run(Manners::BusyAtFirst(usize::MAX), options);
    assert_eq!(code, Some(1));
    let uploads = &report["uploads"];
    // At 0, 1 and 2 s, and the same for the second upload.
    assert_eq!((&uploads["retries"], &uploads["failed"]), (&4.into(), &2.into()), "{report:#}");
}
