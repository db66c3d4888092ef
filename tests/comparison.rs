//! What `.ci/compare` makes of its runs, without one: who carries which load, what is read of a report, and
//! the tables that stand in PERF.md.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(dead_code, reason = "what starts programs is not started here")]
#![allow(clippy::disallowed_methods, reason = "what starts programs waits for them")]

#[path = "../benches/compare/contestants.rs"]
mod contestants;
#[path = "../benches/compare/loads.rs"]
mod loads;
#[path = "../benches/compare/network.rs"]
mod network;
#[path = "../benches/compare/table.rs"]
mod table;
#[path = "../benches/compare/targets.rs"]
mod targets;

use contestants::Contestant::{self, Apache, Direct};
use loads::{Load, Measured};
use serde_json::json;
use table::Table;

/// A report of `loadgen` with what tables are made of.
fn report() -> serde_json::Value {
    let usage = json!({
        "pss_bytes": { "peak": 3 << 20 },
        "tcp_memory_bytes": { "peak": 2 << 20 },
        "pipes": { "peak": 17 },
        "pipe_bytes": { "peak": 640 << 10 },
    });
    json!({
        "usage": usage,
        "hold": usage,
        "cost": { "per_gib_s": 0.5, "per_upload_us": 100.0, "per_session_us": 200.0 },
        "uploads": { "planned": 10, "on_time": 9, "latency_us": { "p99": 1500 } },
        "sessions": { "planned": 10, "done": 8, "setup_us": { "p99": 1600 } },
        "tunnels": { "failed": 3, "setup_us": { "p99": 1700 } },
        "own_lag_us": { "p99": 1000 },
    })
}

/// As a run in which nobody is named goes, with the same report for all.
fn tables() -> Vec<Table> {
    let run = |load: Load| {
        let (mut table, rounds) = (Table::new(load), load.rounds(5));
        for contestant in Contestant::ALL.into_iter().filter(|one| load.is_for(*one)) {
            for round in 0..contestant.rounds(rounds) {
                table.add(contestant, round, Measured::read(load, &report()));
            }
        }
        table
    };
    Load::ALL.map(run).into()
}

#[test]
fn all_carry_every_load_but_those_that_it_says_nothing_of_or_that_cannot() {
    let rows = [
        (Load::Kept, &[][..]),
        (Load::PerUpload, &[]),
        (Load::Bulk, &[Direct]),
        (Load::Churn, &[Direct]),
        (Load::Idle, &[Direct]),
        (Load::ManyIdle, &[Direct, Apache]),
        (Load::FewAgents, &[Direct]),
        (Load::ManyAgents, &[Direct, Apache]),
    ];
    assert_eq!(rows.map(|(load, _)| load), Load::ALL);
    for (load, left_out) in rows {
        for contestant in Contestant::ALL {
            let is_left_out = left_out.contains(&contestant);
            let names = (load.name(), contestant.name());
            assert_eq!(load.is_for(contestant), !is_left_out, "{names:?}");
        }
    }
}

#[test]
fn a_whole_run_has_a_value_for_each_target() {
    let verdicts = targets::Verdicts(&tables()).to_string();
    for target in &targets::TARGETS {
        assert!(
            verdicts.contains(&format!("| {} | ", target.what)),
            "{} in\n{verdicts}",
            target.what
        );
    }
}

#[test]
fn a_report_is_read_for_what_its_load_is_about() {
    let read = |load| Measured::read(load, &report());
    for (load, cost, p99_ms, lost) in [
        (Load::Kept, 0.5, 1.5, 1),
        (Load::PerUpload, 100.0, 1.5, 1),
        (Load::Bulk, 0.5, 1.7, 3),
        (Load::Churn, 200.0, 1.6, 2),
        (Load::ManyIdle, 3.0, 1.7, 3),
    ] {
        let measured = read(load);
        assert_eq!((measured.cost, measured.p99_ms), (Some(cost), Some(p99_ms)), "{load:?}");
        assert_eq!((measured.lost, measured.pipes), (lost, Some(17.0)), "{load:?}");
        assert_eq!((measured.tcp_mib, measured.pipe_kib), (Some(2.0), Some(640.0)), "{load:?}");
    }
    // As where a system does not tell.
    let unknown = Measured::read(Load::Kept, &json!({ "usage": { "pipe_bytes": null } }));
    assert_eq!((unknown.pipes, unknown.pipe_kib), (None, None));
}

#[test]
fn every_line_of_a_table_has_a_cell_for_each_column() {
    let mut table = Table::new(Load::Kept);
    table.add(Contestant::Sluice, 0, Measured::read(Load::Kept, &report()));
    table.skip(Contestant::Squid, "not\ninstalled | here".to_owned());
    let text = table.to_string();
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).collect();
    let [head, rest @ ..] = &lines[..] else { panic!("no table in\n{text}") };
    assert!(head.contains("| pipes | pipe KiB |") && text.contains("| 17.0 | 640 |"), "{text}");
    assert!(text.contains("| squid | not installed   here |"), "{text}");
    let columns = |line: &str| line.matches('|').count();
    assert!(rest.len() == 3 && rest.iter().all(|line| columns(line) == columns(head)), "{text}");
}
