//! A report for people: a table and a verdict.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use crate::busy::ThreadUse;
use crate::loads::Kind;
use crate::quantity::{show_count, show_memory, show_micros, show_size};
use crate::report::{Bulk, Quantiles, Report, Sessions, Uploads};
use crate::sample::{Course, Usage};
use crate::verdict::Verdict;

const LABEL_COLUMNS: usize = 24;

/// How many threads of a process are shown, the busiest first.
const MOST_THREADS: usize = 3;

/// The table and the verdict.
pub fn text(report: &Report) -> String {
    let mut table = Table(String::new());
    settings(&mut table, report);
    table.row(
        "tunnels",
        format!(
            "{} opened, {} failed",
            show_count(report.tunnels.opened),
            show_count(report.tunnels.failed)
        ),
    );
    table.row("  set-up", quantiles(&report.tunnels.setup_us));
    if let Some(hold) = &report.hold {
        table.row("held", format!("{:.1} s", hold.seconds));
        usage(&mut table, hold);
    }
    if let Some(of) = &report.uploads {
        uploads(&mut table, report, of);
    }
    if let Some(of) = &report.sessions {
        sessions(&mut table, of, &report.usage);
    }
    if let Some(of) = &report.bulk {
        bulk(&mut table, of);
    }
    endpoint(&mut table, report);
    if report.hold.is_none() {
        usage(&mut table, &report.usage);
        cost(&mut table, report);
    }
    for (kind, count) in &report.retried {
        table.row("tried again", format!("{} x {kind}", show_count(*count)));
    }
    for (kind, count) in &report.failures {
        table.row("failed", format!("{} x {kind}", show_count(*count)));
    }
    for example in &report.examples {
        table.row("", example.clone());
    }
    // Flat out something always is; elsewhere it matters where the load was not carried.
    if report.load == Kind::Bulk || !report.verdict.passed {
        for what in &report.held_back {
            table.row("held back", what.clone());
        }
    }
    table.verdict(report)
}

/// The verdict in a line for each thing it has to say.
pub fn verdict(verdict: &Verdict, proven: &str) -> String {
    let word = if verdict.passed { "PASSED" } else { "FAILED" };
    let mut lines = verdict.reasons.clone();
    if lines.is_empty() {
        lines.push(proven.to_owned());
    }
    let late = &verdict.own_lateness;
    let endpoint = late
        .endpoint_longest_turn_us
        .map_or(String::new(), |us| format!(", of its endpoint {}", show_micros(us)));
    lines.push(format!(
        "loadgen's own lateness: p99 {}, max {}; longest turn of its agents {}{endpoint}",
        show_micros(late.p99_us),
        show_micros(late.max_us),
        show_micros(late.agents_longest_turn_us)
    ));
    format!("{word}: {}\n", lines.join("\n        "))
}

struct Table(String);

impl Table {
    fn row(&mut self, label: &str, value: String) {
        let _ = writeln!(self.0, "{label:<LABEL_COLUMNS$}{value}");
    }

    fn verdict(mut self, report: &Report) -> String {
        self.0.push('\n');
        let proven = match report.load {
            Kind::Agents => "every upload arrived on time, every byte as it was sent",
            Kind::Idle => "every tunnel opened and stayed alive",
            Kind::Churn => "every session was opened and closed on time",
            Kind::Bulk => "every byte came as it was sent, no tunnel was lost",
        };
        self.0.push_str(&verdict(&report.verdict, proven));
        self.0
    }
}

fn settings(table: &mut Table, report: &Report) {
    let settings = &report.settings;
    let carrier =
        settings.carrier.as_ref().map_or(String::new(), |name| format!(", carrier {name}"));
    let count = show_count(u64::from(settings.agents));
    let load = match report.load {
        Kind::Idle => format!("{count} idle tunnels"),
        Kind::Agents => format!(
            "{count} agents, {} every {} s for {} s, tunnel {}, {} retries",
            show_size(settings.burst_bytes.unwrap_or_default()),
            settings.every_s.unwrap_or_default(),
            settings.for_s,
            settings.tunnel,
            settings.retries
        ),
        Kind::Churn => format!(
            "{:.1} sessions/s for {} s, {count} at once",
            settings.rate_per_s.unwrap_or_default(),
            settings.for_s
        ),
        Kind::Bulk => format!(
            "{count} tunnels flat out for {} s, direction {}",
            settings.for_s,
            settings.direction.as_deref().unwrap_or_default()
        ),
    };
    table.row("load", format!("{load}, TLS {}{carrier}", settings.tls));
    table.row(
        "",
        format!("to {} through {}, on {} cores", settings.target, settings.gateway, settings.cores),
    );
}

fn uploads(table: &mut Table, report: &Report, uploads: &Uploads) {
    if report.load == Kind::Idle {
        table.row(
            "round trips",
            format!(
                "{} of {} tunnels alive",
                show_count(uploads.arrived),
                show_count(uploads.planned)
            ),
        );
    } else {
        table.row(
            "uploads",
            counts(&[
                ("planned", uploads.planned),
                ("arrived", uploads.arrived),
                ("late", uploads.begun_late + uploads.done_late),
                ("failed", uploads.failed),
            ]),
        );
        if report.settings.retries > 0 {
            table.row(
                "  attempts",
                counts(&[
                    ("tried again", uploads.retries),
                    ("arrived so", uploads.arrived_after_retries),
                ]),
            );
        }
        let rate = show_size(uploads.bytes_per_s as u64);
        table.row("  bytes", format!("{}, {rate}/s", show_size(uploads.bytes)));
    }
    table.row("  latency", quantiles(&uploads.latency_us));
}

fn sessions(table: &mut Table, sessions: &Sessions, usage: &Usage) {
    table.row(
        "sessions",
        counts(&[
            ("planned", sessions.planned),
            ("done", sessions.done),
            ("late", sessions.begun_late),
            ("failed", sessions.failed),
        ]),
    );
    table.row("  rate reached", format!("{:.1}/s", sessions.reached_per_s));
    table.row("  from intended time", quantiles(&sessions.setup_us));
    if let (Some(open), Some(memory)) = (&usage.other_descriptors, &usage.pss_bytes) {
        let back = match open.end.checked_sub(open.start) {
            None | Some(0) => "yes, every descriptor but those of pooled pipes".to_owned(),
            Some(more) => format!("no, {} descriptors more than before", show_count(more)),
        };
        let grown = show_memory(memory.end.saturating_sub(memory.start));
        table.row("  back to the start", format!("{back}; {grown} more memory"));
    }
}

fn bulk(table: &mut Table, bulk: &Bulk) {
    let gigabytes = bulk.bytes_per_s / 1e9;
    let bytes = show_size(bulk.bytes);
    table.row("bytes", format!("{bytes} in {:.2} s, {gigabytes:.3} GB/s", bulk.seconds));
    let spread = &bulk.per_tunnel;
    let of = |value: u64| format!("{} ({:.2})", show_size(value), share(value, spread.median));
    table.row(
        "  each tunnel",
        format!(
            "min {}, median {}, max {}",
            of(spread.min),
            show_size(spread.median),
            of(spread.max)
        ),
    );
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn endpoint(table: &mut Table, report: &Report) {
    let Some(endpoint) = &report.endpoint else { return };
    let shown = match report.load {
        Kind::Churn => counts(&[("connections", endpoint.connections)]),
        _ => counts(&[
            ("received", endpoint.received),
            ("verified", endpoint.verified),
            ("twice", endpoint.duplicates),
            ("with other bytes", endpoint.mismatched),
        ]),
    };
    table.row("endpoint", shown);
}

fn counts(counts: &[(&str, u64)]) -> String {
    let shown: Vec<String> =
        counts.iter().map(|(label, count)| format!("{} {label}", show_count(*count))).collect();
    shown.join(", ")
}

fn usage(table: &mut Table, usage: &Usage) {
    let spent = |seconds: f64| {
        format!("{seconds:.2} s = {:.1} % of a core", 100.0 * seconds / usage.seconds.max(0.001))
    };
    match usage.cpu_s {
        Some(seconds) => table.row("gateway CPU", spent(seconds)),
        None => {
            table.row("gateway CPU", "not known (--gateway-pid tells which process)".to_owned())
        }
    }
    if let Some(course) = &usage.pss_bytes {
        table.row("gateway memory (PSS)", levels(course, show_memory));
    }
    if let Some(course) = &usage.descriptors {
        table.row("gateway descriptors", levels(course, show_count));
    }
    if let Some(course) = &usage.pipes {
        table.row("gateway pipes held", levels(course, show_count));
    }
    if let Some(course) = &usage.pipe_bytes {
        table.row("  what they can hold", levels(course, show_memory));
    }
    if let Some(course) = &usage.tcp_memory_bytes {
        table.row("kernel TCP memory, host", levels(course, show_memory));
    }
    if let Some(seconds) = usage.loadgen_cpu_s {
        table.row("loadgen CPU", spent(seconds));
    }
    for (label, threads) in
        [("  loadgen's threads", &usage.threads), ("  gateway's threads", &usage.gateway_threads)]
    {
        if !threads.is_empty() {
            table.row(label, shares(threads));
        }
    }
    if let Some(share) = usage.host_busy {
        table.row("machine busy", format!("{:.0} % of all its processors", 100.0 * share));
    }
}

fn shares(threads: &[ThreadUse]) -> String {
    let shown: Vec<String> = threads
        .iter()
        .take(MOST_THREADS)
        .map(|thread| {
            let (share, peak) = (100.0 * thread.share, 100.0 * thread.peak);
            format!("{} {share:.0} % (peak {peak:.0} %)", thread.name)
        })
        .collect();
    shown.join(", ")
}

fn cost(table: &mut Table, report: &Report) {
    let cost = &report.cost;
    let shown: Vec<String> = [
        cost.per_upload_us.map(|micros| format!("upload {micros:.0} µs")),
        cost.per_session_us.map(|micros| format!("session {micros:.0} µs")),
        cost.per_gib_s.map(|seconds| format!("GiB {seconds:.2} s")),
    ]
    .into_iter()
    .flatten()
    .collect();
    if !shown.is_empty() {
        table.row("gateway CPU per", shown.join(", "));
    }
    if let (Some(gateway), Some(own)) = (report.usage.cpu_s, report.usage.loadgen_cpu_s) {
        table.row("gateway / loadgen CPU", format!("{:.2}", gateway / own.max(0.001)));
    }
}

fn quantiles(quantiles: &Quantiles) -> String {
    if quantiles.count == 0 {
        return "none".to_owned();
    }
    [
        ("p50", quantiles.p50),
        ("p90", quantiles.p90),
        ("p99", quantiles.p99),
        ("p99.9", quantiles.p999),
        ("max", quantiles.max),
    ]
    .map(|(name, micros)| format!("{name} {}", show_micros(micros)))
    .join(", ")
}

fn levels(course: &Course, show: impl Fn(u64) -> String) -> String {
    format!("start {}, peak {}, end {}", show(course.start), show(course.peak), show(course.end))
}

/// Prints to standard output; a reader that went away is no reason to panic.
pub fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
