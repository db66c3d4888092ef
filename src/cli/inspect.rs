//! `sluice status`, `counters`, `report` and `reload`: what a running gateway tells, for people.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::config::place::Place;
use crate::logic::policy::AllowMode;
use crate::observe::histograms::Measure;
use crate::observe::status::{
    ConfigurationStatus, CounterStatus, FeedStatus, RelayProxyStatus, Status, WorkerStatus,
};

use super::ask::{AskError, Running};
use super::hint;
use super::overridden;

pub(super) const STATUS_EXAMPLE: &str = "\
Example:
  sluice status --config ./sluice.toml";
pub(super) const RELOAD_EXAMPLE: &str = "\
Example:
  sluice reload --config ./sluice.toml";
pub(super) const COUNTERS_EXAMPLE: &str = "\
Examples:
  sluice counters --watch
  sluice counters --json";
pub(super) const REPORT_EXAMPLE: &str = "\
Examples:
  sluice report
  sluice report --format hgrm --of setup > setup.hgrm";

/// How often a watch looks.
const WATCH_EVERY: Duration = Duration::from_secs(1);
/// Back to the first place of the screen, and nothing behind it.
const CLEAR: &str = "\x1b[H\x1b[J";
const NAME_COLUMNS: usize = 34;
/// The longest reason, behind "Reported: ".
const COUNTER_COLUMNS: usize = 46;
const NUMBER_COLUMNS: usize = 16;

/// The flags of `sluice counters`.
#[derive(Args, Debug)]
pub(super) struct CountersFlags {
    /// Looks each second and shows what happens in it, until it is interrupted
    #[arg(long)]
    pub(super) watch: bool,

    /// One JSON object, for programs; with --watch one a second
    #[arg(long)]
    pub(super) json: bool,
}

/// The flags of `sluice report`.
#[derive(Args, Debug)]
pub(super) struct ReportFlags {
    /// A table, one JSON object, or percentile distributions for the plotters of HdrHistogram
    #[arg(long, value_enum, default_value = "text")]
    pub(super) format: ReportFormat,

    /// Only this one, as a plotter wants it
    #[arg(long, value_name = "MEASURE", value_parser = measure, long_help = measures())]
    pub(super) of: Option<Measure>,
}

fn measures() -> String {
    let told = |measure: Measure| format!("\n{}: {}", measure.as_str(), measure.meaning());
    let each: String = Measure::ALL.into_iter().map(told).collect();
    format!("Only this one, as a plotter wants it.\n{each}")
}

/// The form of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ReportFormat {
    Text,
    Json,
    Hgrm,
}

pub(super) fn status(file: Option<&Path>) -> ExitCode {
    let shown = Running::find(file).and_then(|running| {
        let readiness = running.ask("GET", "/readyz")?;
        Ok(status_text(&asked(&running)?, readiness.body.trim_end(), running.place()))
    });
    print(shown)
}

pub(super) fn counters(file: Option<&Path>, flags: &CountersFlags) -> ExitCode {
    let running = match Running::find(file) {
        Ok(running) => running,
        Err(error) => return error.tell(),
    };
    let mut last = None;
    loop {
        let status = match asked(&running) {
            Ok(status) => status,
            Err(error) => return error.tell(),
        };
        let text = match flags.json {
            true => json(&status.counters),
            false => counters_text(&status, last.as_ref()),
        };
        let clears = flags.watch && !flags.json && io::stdout().is_terminal();
        let separates = flags.watch && !flags.json && !clears && last.is_some();
        let before = if clears {
            CLEAR
        } else if separates {
            "\n"
        } else {
            ""
        };
        let written = write(&format!("{before}{text}"));
        if !flags.watch || written.is_err() {
            return exit_code(written);
        }
        last = Some(status);
        std::thread::sleep(WATCH_EVERY);
    }
}

pub(super) fn report(file: Option<&Path>, flags: &ReportFlags) -> ExitCode {
    let format = match flags.format {
        ReportFormat::Text => "text",
        ReportFormat::Json => "json",
        ReportFormat::Hgrm => "hgrm",
    };
    let of = flags.of.map_or(String::new(), |measure| format!("&of={}", measure.as_str()));
    print(
        Running::find(file)
            .and_then(|running| running.get(&format!("/report?format={format}{of}"))),
    )
}

/// Has the running gateway read its configuration again, and tells what came of it.
pub(super) fn reload(file: Option<&Path>) -> ExitCode {
    let answer = Running::find(file).and_then(|running| running.ask("POST", "/reload"));
    match answer {
        Ok(answer) if answer.status == 200 => exit_code(write(&answer.body)),
        Ok(answer) => {
            eprintln!("The configuration that was in force still is: {}", answer.body.trim_end());
            ExitCode::FAILURE
        }
        Err(error) => error.tell(),
    }
}

fn asked(running: &Running) -> Result<Status, AskError> {
    let body = running.get("/status")?;
    serde_json::from_str(&body)
        .map_err(|error| running.is_strange(format!("its status cannot be read ({error})")))
}

fn print(text: Result<String, AskError>) -> ExitCode {
    match text {
        Ok(text) => exit_code(write(&text)),
        Err(error) => error.tell(),
    }
}

/// Writes to standard output.
pub(super) fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

pub(super) fn exit_code(written: io::Result<()>) -> ExitCode {
    match written {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Standard output cannot be written: {error}");
            ExitCode::FAILURE
        }
    }
}

fn json(counters: &CounterStatus) -> String {
    // Texts and numbers have no way to fail.
    let mut text = serde_json::to_string(counters).unwrap_or_default();
    text.push('\n');
    text
}

/// The four counters of the original under their names there, then the rest; beside each that only
/// grows, how much it grew a second since `last`.
fn counters_text(status: &Status, last: Option<&Status>) -> String {
    // Another start counts from zero again.
    let last = last.filter(|last| last.started == status.started);
    let seconds = last.map_or(0.0, |last| status.uptime_s - last.uptime_s);
    let mut table = Table::default();
    let (now, before) = (&status.counters, last.map(|last| &last.counters));
    let grew = |of: fn(&CounterStatus) -> u64| {
        before
            .filter(|_| seconds > 0.0)
            .map(|before| of(now).saturating_sub(of(before)) as f64 / seconds)
    };
    table.number("Active Client Connection", now.active_client_connections as u64, None);
    table.number("Connected Client", now.connected_clients as u64, None);
    for (name, of) in GROWING {
        table.number(name, of(now), grew(of));
    }
    let by_reason: [(&str, ByReason); 2] =
        [("Refused", |counters| &counters.refusals), ("Reported", |counters| &counters.reported)];
    for (what, of) in by_reason {
        let told = of(now).iter().filter(|(_, count)| **count > 0);
        for (index, (reason, count)) in told.enumerate() {
            let before = before.filter(|_| seconds > 0.0);
            let before = before.map(|before| of(before).get(reason).copied().unwrap_or(0));
            let rate = before.map(|before| count.saturating_sub(before) as f64 / seconds);
            if index == 0 {
                table.0.push('\n');
            }
            table.number(&format!("{what}: {reason}"), *count, rate);
        }
    }
    table.0
}

type ByReason = fn(&CounterStatus) -> &BTreeMap<String, u64>;
type Growing = (&'static str, fn(&CounterStatus) -> u64);

const GROWING: [Growing; 6] = [
    ("Error Count", |counters| counters.errors),
    ("Rejection Count", |counters| counters.rejections),
    ("Sessions", |counters| counters.sessions),
    ("Bytes up", |counters| counters.bytes_up),
    ("Bytes down", |counters| counters.bytes_down),
    ("Events lost", |counters| counters.events_lost),
];

fn status_text(status: &Status, readiness: &str, place: &Place) -> String {
    let Status { configuration, counters, descriptors, .. } = status;
    let mut table = Table::default();
    table.text("Version", &status.version);
    table.text("Started", &format!("{}, {} ago", status.started, span(status.uptime_s)));
    table.text("Readiness", readiness);
    for address in &status.listeners {
        table.text("Listening on", address);
    }
    let file = configuration.file.as_deref().unwrap_or("the defaults; there is no file");
    table.text("Configuration", file);
    let ConfigurationStatus { generation, loaded, by, changes, .. } = configuration;
    table.text("Generation", &format!("{generation}, by {by}; last read {loaded}"));
    if !changes.is_empty() {
        table.text("Changed in it", &changes.join(", "));
    }
    if !configuration.needs_restart.is_empty() {
        table.text("Needs a restart", &configuration.needs_restart.join(", "));
    }
    let overridden: Vec<String> = overridden::all(configuration).collect();
    if !overridden.is_empty() {
        table.text("Overridden", &overridden.join(", "));
    }
    if let Some(refused) = &configuration.refused {
        let why = configuration.refused_why.as_deref().unwrap_or_default();
        table.text("Refused since", &format!("{refused}: {why}"));
    }
    if configuration.allow_mode == AllowMode::Report.as_str() {
        let reported: u64 = counters.reported.values().sum();
        let told = format!(
            "REPORT: hosts that are not allowed are LET THROUGH, {reported} times so far; {} lists \
             them",
            hint::command("allowed-host suggest", place)
        );
        table.text("Allow mode", &told);
    }
    let sessions = format!(
        "{} open of {} clients, {} since the start",
        counters.active_client_connections, counters.connected_clients, counters.sessions
    );
    table.text("Sessions", &sessions);
    let some = |number: Option<u64>| number.map_or("?".to_owned(), |number| number.to_string());
    if descriptors.open.is_some() || descriptors.limit.is_some() {
        let told = format!("{} open of {}", some(descriptors.open), some(descriptors.limit));
        table.text("Descriptors", &told);
    }
    table.text("Names to resolve", &status.resolver_queued.to_string());
    for proxy in &status.relay_proxies {
        let is_only = status.relay_proxies.len() == 1;
        table.text("Relay proxy", &relay_proxy_text(proxy, is_only));
    }
    if let Some(feed) = &status.feed {
        table.text("Feed", &feed_text(feed));
    }
    for (index, worker) in status.workers.iter().enumerate() {
        table.text(&format!("Worker {index}"), &worker_text(worker));
    }
    for (name, value) in &status.limits {
        table.text(&format!("Limit {name}"), &value.to_string());
    }
    table.0
}

fn relay_proxy_text(proxy: &RelayProxyStatus, is_only: bool) -> String {
    let RelayProxyStatus { address, lost, skipped_ms, failures, .. } = proxy;
    let state = match lost {
        None => "works".to_owned(),
        Some(why) if is_only => {
            format!("lost: {why}; tried by every session, as it is the only one")
        }
        Some(why) if *skipped_ms == 0 => format!("lost: {why}; the next session tries it"),
        Some(why) => format!("lost: {why}; passed over for {skipped_ms} ms"),
    };
    format!("{address}, {state}; has failed {failures} sessions")
}

fn feed_text(feed: &FeedStatus) -> String {
    let FeedStatus { url, hosts, age_s, .. } = feed;
    let age = match age_s {
        Some(age_s) => format!("{} old", span(*age_s)),
        None => "no list yet".to_owned(),
    };
    let mut told = format!("{url}, hosts: {hosts}, {age}");
    if let (Some(since), Some(at), Some(why)) =
        (&feed.problem_since, &feed.problem, &feed.problem_why)
    {
        let last = if since == at { String::new() } else { format!(", last at {at}") };
        told += &format!("\nwrong since {since}{last}: {why}");
    }
    if let (Some(since), Some(why)) = (&feed.cache_problem_since, &feed.cache_problem_why) {
        told += &format!("\nnot kept for the next start since {since}: {why}");
    }
    told
}

fn worker_text(worker: &WorkerStatus) -> String {
    let WorkerStatus { doing, turning_ms, turns, sessions, pipes_out, pipes_pooled, .. } = worker;
    let turning = match doing.as_str() {
        "turns" => format!(" for {turning_ms} ms"),
        _ => String::new(),
    };
    format!(
        "{doing}{turning}, {turns} turns, {sessions} sessions, {pipes_out} pipes in use, \
         {pipes_pooled} kept, {} buffers in use",
        worker.buffers_out
    )
}

/// Lines of a name and what belongs to it.
#[derive(Default)]
struct Table(String);

impl Table {
    fn number(&mut self, name: &str, number: u64, a_second: Option<f64>) {
        let a_second = a_second.map_or(String::new(), |rate| format!(" {rate:>12.1} /s"));
        self.0.push_str(&format!("{name:<COUNTER_COLUMNS$}{number:>NUMBER_COLUMNS$}{a_second}\n"));
    }

    /// Each line of `text` below the other. What moves the cursor has no place in a table.
    fn text(&mut self, name: &str, text: &str) {
        for (index, line) in text.lines().enumerate() {
            let name = if index == 0 { name } else { "" };
            let line: String = line.chars().filter(|c| !c.is_control()).collect();
            self.0.push_str(&format!("{name:<NAME_COLUMNS$}{line}\n"));
        }
    }
}

/// A time in days, hours, minutes and seconds.
fn span(seconds: f64) -> String {
    let seconds = seconds as u64;
    let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
    let clock = format!("{hours:02}:{:02}:{:02}", seconds / 60 % 60, seconds % 60);
    if days > 0 { format!("{days} d {clock}") } else { clock }
}

fn measure(text: &str) -> Result<Measure, String> {
    let names = Measure::ALL.map(Measure::as_str).join(", ");
    let known = Measure::ALL.into_iter().find(|measure| measure.as_str() == text);
    known.ok_or_else(|| format!("expected one of {names}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(uptime_s: f64, errors: u64, bytes_up: u64) -> Status {
        let mut status = Status { uptime_s, started: "a".to_owned(), ..Status::default() };
        status.counters.active_client_connections = 5;
        status.counters.errors = errors;
        status.counters.bytes_up = bytes_up;
        status.counters.refusals.insert("dial_failed".to_owned(), errors);
        status.counters.refusals.insert("loop".to_owned(), 0);
        status
    }

    fn rows(text: &str) -> Vec<Vec<&str>> {
        text.lines().map(|line| line.split("  ").map(str::trim).collect()).collect()
    }

    #[test]
    fn the_four_counters_come_first_under_their_original_names() {
        let text = counters_text(&status(1.0, 0, 7), None);
        let names: Vec<&str> = text.lines().take(4).map(|line| line[..25].trim()).collect();
        assert_eq!(
            names,
            ["Active Client Connection", "Connected Client", "Error Count", "Rejection Count"]
        );
        assert!(!text.contains("/s") && !text.contains("Refused"), "{text}");
        let width = text.lines().next().map(str::len);
        assert!(text.lines().all(|line| Some(line.len()) == width), "{text}");
    }

    fn usual() -> Place {
        Place { file: "sluice.toml".into(), is_named: false }
    }

    #[test]
    fn a_status_tells_how_relay_proxies_fare() {
        let works = RelayProxyStatus { address: "a:1".to_owned(), up: true, ..Default::default() };
        let lost = RelayProxyStatus {
            address: "b:2".to_owned(),
            lost: Some("it says 503".to_owned()),
            skipped_ms: 9_000,
            failures: 3,
            ..Default::default()
        };
        let due = RelayProxyStatus { skipped_ms: 0, ..lost.clone() };
        let told = |relay_proxies: Vec<RelayProxyStatus>| -> Vec<String> {
            let shown = Status { relay_proxies, ..Status::default() };
            let text = status_text(&shown, "ready", &usual());
            let lines = text.lines().filter_map(|line| line.strip_prefix("Relay proxy"));
            lines.map(|line| line.trim().to_owned()).collect()
        };
        assert_eq!(
            told(vec![works, lost.clone(), due]),
            [
                "a:1, works; has failed 0 sessions",
                "b:2, lost: it says 503; passed over for 9000 ms; has failed 3 sessions",
                "b:2, lost: it says 503; the next session tries it; has failed 3 sessions",
            ]
        );
        assert_eq!(
            told(vec![lost]),
            [
                "b:2, lost: it says 503; tried by every session, as it is the only one; has failed 3 \
              sessions"
            ]
        );
    }

    #[test]
    fn a_status_tells_since_when_a_feed_is_wrong_and_when_it_was_last() {
        let some = |text: &str| Some(text.to_owned());
        let mut feed =
            FeedStatus { url: "https://a.test/".to_owned(), hosts: 2, ..Default::default() };
        assert_eq!(feed_text(&feed), "https://a.test/, hosts: 2, no list yet");
        feed = FeedStatus {
            age_s: Some(5.0),
            problem_since: some("10:00"),
            problem: some("10:00"),
            problem_why: some("answers 404"),
            ..feed
        };
        assert!(feed_text(&feed).ends_with("\nwrong since 10:00: answers 404"));
        feed.problem = some("11:00");
        feed.cache_problem_since = some("09:00");
        feed.cache_problem_why = some("f is damaged");
        let told = "\nwrong since 10:00, last at 11:00: answers 404\
                    \nnot kept for the next start since 09:00: f is damaged";
        assert!(feed_text(&feed).ends_with(told), "{}", feed_text(&feed));
    }

    #[test]
    fn a_watch_shows_what_grew_a_second() {
        let before = status(10.0, 3, 1_000);
        let text = counters_text(&status(12.0, 4, 5_000), Some(&before));
        let row = |name: &str| {
            let row = rows(&text).into_iter().find(|row| row[0] == name);
            row.unwrap_or_else(|| panic!("{name}: {text}"))
        };
        assert_eq!(row("Bytes up").last(), Some(&"2000.0 /s"));
        assert_eq!(row("Error Count").last(), Some(&"0.5 /s"));
        assert_eq!(row("Refused: dial_failed").last(), Some(&"0.5 /s"));
        assert_eq!(row("Active Client Connection").last(), Some(&"5"));
        assert!(!text.contains("loop"), "{text}");
        let restarted = Status { started: "b".to_owned(), ..before };
        assert!(!counters_text(&status(1.0, 4, 5), Some(&restarted)).contains("/s"));
    }

    #[test]
    fn a_status_tells_what_is_wrong_line_by_line() {
        let mut shown = status(93_784.2, 0, 0);
        shown.configuration.refused = Some("2026-01-02T03:04:05.067Z".to_owned());
        shown.configuration.refused_why = Some("f:1:1: a\nf:2:2: b\x1b[2J".to_owned());
        shown.configuration.overrides = vec!["listen".to_owned(), "new.key".to_owned()];
        shown.workers = vec![WorkerStatus { doing: "turns".to_owned(), ..WorkerStatus::default() }];
        let readiness = "worker 0 has not turned for 7 s\nworker 1 is over";
        let text = status_text(&shown, readiness, &usual());
        for words in [
            "a, 1 d 02:03:04 ago",
            "  worker 0 has not turned for 7 s\n",
            "  worker 1 is over\n",
            "  2026-01-02T03:04:05.067Z: f:1:1: a\n",
            "  f:2:2: b[2J\n",
            "the defaults; there is no file",
            "  listen (by `--listen`), new.key (by a flag for it)\n",
            "turns for 0 ms, 0 turns",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
        assert!(!text.contains("Descriptors"), "{text}");
    }

    #[test]
    fn a_status_in_report_mode_shows_the_command_for_its_configuration() {
        let mut shown = status(1.0, 0, 0);
        shown.configuration.allow_mode = AllowMode::Report.as_str().to_owned();
        let named = Place { is_named: true, ..usual() };
        let suggest = "`sluice allowed-host suggest --config sluice.toml` lists them";
        assert!(status_text(&shown, "ready", &named).contains(suggest));
    }

    #[test]
    fn measures_are_named_as_in_the_report() {
        assert_eq!(measure("setup"), Ok(Measure::SetUp));
        let help = ReportFlags::augment_args(clap::Command::new("report")).render_long_help();
        let help = help.to_string();
        assert!(Measure::ALL.iter().all(|measure| help.contains(measure.as_str())), "{help}");
        assert!(measure("set-up").unwrap_err().contains("resolve, dial, setup"));
    }
}
