//! The Prometheus text of `GET /metrics`, version 0.0.4 of the format. Names and labels are fixed by
//! section 5 of the contract; `promtool check metrics` has no objection to them.

use std::fmt::{Display, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use super::counters::Counters;
use super::gauges::{Configuration, Gauges, Held};
use super::histograms::{Measure, Unit};
use super::status::Inside;
use crate::logic::policy::AllowMode;

/// The media type of the text.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics at this moment.
pub(super) fn text(counters: &Counters, gauges: &Gauges, inside: &dyn Inside) -> String {
    let mut page = Page(String::with_capacity(16 * 1024));
    of_sessions(&mut page, counters);
    of_process(&mut page, gauges, inside);
    of_configuration(&mut page, &gauges.configuration());
    of_relay_proxies(&mut page, gauges, inside);
    of_feed(&mut page, gauges, inside);
    of_workers(&mut page, gauges);
    for measure in Measure::ALL {
        of_measure(&mut page, measure, gauges);
    }
    page.0
}

fn of_sessions(page: &mut Page, counters: &Counters) {
    let counted = counters.snapshot();
    page.gauge(
        "sluice_active_client_connections",
        "Open client TCP connections (Active Client Connection).",
        counted.active,
    );
    page.gauge(
        "sluice_connected_clients",
        "Distinct addresses among the open client connections (Connected Client).",
        counted.connected,
    );
    page.counter(
        "sluice_errors_total",
        "Events of level error and refusals for lack of room (Error Count).",
        counted.errors,
    );
    page.counter(
        "sluice_rejections_total",
        "Sessions refused by TLS validation (Rejection Count).",
        counted.rejections,
    );
    page.counter("sluice_sessions_total", "Client connections accepted.", counted.sessions_total);
    page.about("sluice_refusals_total", "counter", "Sessions refused, by reason.");
    for (reason, count) in counted.refusals {
        page.labelled("sluice_refusals_total", "reason", reason, count);
    }
    page.about(
        "sluice_reported_total",
        "counter",
        "Sessions let through by allow.mode = report that would have been refused, by reason.",
    );
    for (reason, count) in counted.reported {
        page.labelled("sluice_reported_total", "reason", reason, count);
    }
    page.about(
        "sluice_bytes_total",
        "counter",
        "Bytes relayed: up from clients to remotes, down from remotes to clients.",
    );
    page.labelled("sluice_bytes_total", "direction", "up", counted.bytes_up);
    page.labelled("sluice_bytes_total", "direction", "down", counted.bytes_down);
    page.counter(
        "sluice_events_lost_total",
        "Events that no outlet could take.",
        counted.events_lost,
    );
}

fn of_process(page: &mut Page, gauges: &Gauges, inside: &dyn Inside) {
    page.about("sluice_build_info", "gauge", "The program that runs; always 1.");
    page.labelled("sluice_build_info", "version", env!("CARGO_PKG_VERSION"), 1);
    page.gauge(
        "process_start_time_seconds",
        "Start time of the process since the Unix epoch in seconds.",
        unix_seconds(gauges.started()),
    );
    let descriptors = inside.descriptors();
    if let Some(open) = descriptors.open {
        page.gauge("process_open_fds", "Number of open file descriptors.", open);
    }
    if let Some(limit) = descriptors.limit {
        page.gauge("process_max_fds", "Maximum number of open file descriptors.", limit);
    }
    page.gauge(
        "sluice_resolver_queue",
        "Names that wait for a thread of the resolver.",
        inside.resolver_queued(),
    );
    page.gauge(
        "sluice_draining",
        "Whether the gateway is about to stop.",
        u8::from(gauges.is_draining()),
    );
}

fn of_configuration(page: &mut Page, configuration: &Configuration) {
    page.gauge(
        "sluice_configuration_generation",
        "The configuration in force: 1 at the start, one more at each reload that changed something.",
        configuration.generation.number,
    );
    page.gauge(
        "sluice_configuration_last_good_reload_timestamp_seconds",
        "When the configuration in force was last read and found good.",
        unix_seconds(configuration.generation.loaded),
    );
    page.gauge(
        "sluice_configuration_last_reload_successful",
        "Whether the last configuration that was read is in force.",
        u8::from(configuration.refused.is_none()),
    );
    page.counter(
        "sluice_configuration_refused_total",
        "Configurations that were read and refused.",
        configuration.refused_total,
    );
    page.gauge(
        "sluice_allow_mode_report",
        "Whether hosts that are not allowed are let through (allow.mode = report).",
        u8::from(configuration.generation.allow_mode == AllowMode::Report),
    );
}

fn of_relay_proxies(page: &mut Page, gauges: &Gauges, inside: &dyn Inside) {
    let relay_proxies = gauges.relay_proxies();
    if relay_proxies.is_empty() {
        return;
    }
    let now = inside.now();
    page.about(
        "sluice_relay_proxy_up",
        "gauge",
        "Whether the relay proxy worked when it was last tried.",
    );
    for proxy in &relay_proxies {
        let up = u8::from(proxy.fares(now).lost.is_none());
        page.labelled("sluice_relay_proxy_up", "address", proxy.address(), up);
    }
    page.about(
        "sluice_relay_proxy_failures_total",
        "counter",
        "Sessions that the relay proxy failed: not reached, silent, or unavailable.",
    );
    for proxy in &relay_proxies {
        let failures = proxy.fares(now).failures;
        page.labelled("sluice_relay_proxy_failures_total", "address", proxy.address(), failures);
    }
}

fn of_feed(page: &mut Page, gauges: &Gauges, inside: &dyn Inside) {
    let Some(feed) = gauges.feed() else { return };
    page.gauge("sluice_feed_hosts", "Hosts that the feed admits.", feed.hosts);
    page.gauge(
        "sluice_feed_last_refresh_successful",
        "Whether the feed was good when it was last asked for.",
        u8::from(feed.is_refreshed),
    );
    let age = feed.age(inside.now()).map(|age| age.as_secs_f64().to_string());
    page.gauge(
        "sluice_feed_age_seconds",
        "Time since the feed's list was last known to be the newest; +Inf where there is no list.",
        age.as_deref().unwrap_or("+Inf"),
    );
}

fn of_workers(page: &mut Page, gauges: &Gauges) {
    let held: Vec<Held> = gauges.workers().iter().map(|worker| worker.held()).collect();
    let sum = |of: fn(&Held) -> usize| held.iter().map(of).sum::<usize>();
    page.gauge("sluice_workers", "Threads that relay.", held.len());
    page.gauge("sluice_pipes_out", "Pipes in use by flows.", sum(|held| held.pipes_out));
    page.gauge(
        "sluice_pipes_pooled",
        "Empty pipes kept for the next flow.",
        sum(|held| held.pipes_pooled),
    );
    page.gauge("sluice_buffers_out", "Buffers in use by flows.", sum(|held| held.buffers_out));
}

fn of_measure(page: &mut Page, measure: Measure, gauges: &Gauges) {
    // Prometheus wants base units: a microsecond is 1/1,000,000 of a second.
    let (unit, scale) = match measure.unit() {
        Unit::Microseconds => ("seconds", 1e6),
        Unit::Bytes => ("bytes", 1.0),
        Unit::Events => ("events", 1.0),
    };
    let name = format!("sluice_{}_{unit}", measure.as_str());
    let bounds = bounds(measure);
    let measured = gauges.distribution(measure);
    page.about(&name, "histogram", measure.meaning());
    for (&bound, count) in bounds.iter().zip(measured.up_to(bounds)) {
        page.line(format_args!("{name}_bucket{{le=\"{}\"}} {count}", bound as f64 / scale));
    }
    page.line(format_args!("{name}_bucket{{le=\"+Inf\"}} {}", measured.count()));
    page.line(format_args!("{name}_sum {}", measured.sum() as f64 / scale));
    page.line(format_args!("{name}_count {}", measured.count()));
}

/// The buckets that Prometheus is shown, in the unit of the measure.
const fn bounds(measure: Measure) -> &'static [u64] {
    const MS: u64 = 1_000;
    const S: u64 = 1_000 * MS;
    const MB: u64 = 1_000_000;
    match measure {
        Measure::Resolve | Measure::Dial | Measure::SetUp | Measure::FirstByte => &[
            MS / 4,
            MS,
            2_500,
            5 * MS,
            10 * MS,
            25 * MS,
            50 * MS,
            100 * MS,
            250 * MS,
            500 * MS,
            S,
            2_500 * MS,
            5 * S,
            10 * S,
            30 * S,
        ],
        Measure::Session => &[
            10 * MS,
            100 * MS,
            500 * MS,
            S,
            5 * S,
            10 * S,
            30 * S,
            60 * S,
            300 * S,
            600 * S,
            1_800 * S,
            3_600 * S,
            21_600 * S,
            86_400 * S,
        ],
        Measure::Upload => &[
            1_000,
            10_000,
            50_000,
            100_000,
            250_000,
            500_000,
            MB,
            10 * MB,
            100 * MB,
            1_000 * MB,
            10_000 * MB,
        ],
        Measure::Pour => {
            &[100, 500, 1_500, 4_096, 16_384, 32_768, 65_536, 131_072, 262_144, 1_048_576]
        }
        Measure::Turn => &[
            10,
            25,
            50,
            100,
            250,
            500,
            MS,
            2_500,
            5 * MS,
            10 * MS,
            50 * MS,
            100 * MS,
            500 * MS,
            S,
            5 * S,
        ],
        Measure::Ready => &[0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024],
    }
}

/// The text under construction.
struct Page(String);

impl Page {
    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.about(name, "gauge", help);
        self.line(format_args!("{name} {value}"));
    }

    fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.about(name, "counter", help);
        self.line(format_args!("{name} {value}"));
    }

    fn about(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    /// One sample with one label, whose value is ours and needs no escape.
    fn labelled(&mut self, name: &str, label: &str, labelled: impl Display, value: impl Display) {
        self.line(format_args!("{name}{{{label}=\"{labelled}\"}} {value}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // A String takes everything.
        let _ = writeln!(self.0, "{line}");
    }
}

fn unix_seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as f64 / 1e3
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test may ask the clock")]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use super::super::admin::sample;
    use super::*;
    use crate::logic::reason::Reason;
    use crate::logic::relay_proxies::{Failure, RelayProxy};
    use crate::proto::target::Target;

    fn page() -> String {
        let sample = sample::panel(Instant::now());
        sample.counters.count(Reason::HostNotAllowed);
        sample.counters.count(Reason::NotTls);
        sample.counters.count_reported(Reason::PortNotAllowed);
        sample.counters.bytes(3, 4);
        let now = sample.inside.now();
        let proxies = ["a.test:1", "[::1]:2"]
            .map(|text| Arc::new(RelayProxy::new(Target::parse(text.as_bytes()).unwrap(), now)));
        proxies[1].failed(Failure::Silent, now);
        sample.gauges.show_relay_proxies(&proxies);
        let histograms = &sample.gauges.workers()[1].histograms;
        histograms.record_time(Measure::SetUp, Duration::from_millis(3));
        histograms.record_time(Measure::SetUp, Duration::from_secs(100));
        histograms.record(Measure::Upload, 200_000);
        text(&sample.counters, &sample.gauges, sample.inside.as_ref())
    }

    #[test]
    fn names_and_values_are_those_of_the_contract() {
        let page = page();
        for line in [
            "sluice_active_client_connections 0",
            "sluice_connected_clients 0",
            "sluice_errors_total 0",
            "sluice_rejections_total 1",
            "sluice_sessions_total 0",
            "sluice_refusals_total{reason=\"host_not_allowed\"} 1",
            "sluice_refusals_total{reason=\"loop\"} 0",
            "sluice_reported_total{reason=\"host_not_allowed\"} 0",
            "sluice_reported_total{reason=\"port_not_allowed\"} 1",
            "sluice_allow_mode_report 0",
            "sluice_bytes_total{direction=\"up\"} 3",
            "sluice_bytes_total{direction=\"down\"} 4",
            "sluice_events_lost_total 0",
            concat!("sluice_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
            "sluice_configuration_generation 1",
            "sluice_configuration_last_good_reload_timestamp_seconds 1000000",
            "process_start_time_seconds 1000000",
            "process_open_fds 12",
            "process_max_fds 1024",
            "sluice_resolver_queue 3",
            "sluice_relay_proxy_up{address=\"a.test:1\"} 1",
            "sluice_relay_proxy_up{address=\"[::1]:2\"} 0",
            "sluice_relay_proxy_failures_total{address=\"a.test:1\"} 0",
            "sluice_relay_proxy_failures_total{address=\"[::1]:2\"} 1",
            "sluice_pipes_out 0",
            "sluice_pipes_pooled 0",
            "sluice_setup_seconds_bucket{le=\"0.0025\"} 0",
            "sluice_setup_seconds_bucket{le=\"0.005\"} 1",
            "sluice_setup_seconds_bucket{le=\"30\"} 1",
            "sluice_setup_seconds_bucket{le=\"+Inf\"} 2",
            "sluice_setup_seconds_sum 100.003",
            "sluice_setup_seconds_count 2",
            "sluice_resolve_seconds_count 0",
            "sluice_dial_seconds_count 0",
            "sluice_session_seconds_count 0",
            "sluice_loop_turn_seconds_bucket{le=\"0.00001\"} 0",
            "sluice_first_byte_seconds_count 0",
            "sluice_upload_bytes_bucket{le=\"100000\"} 0",
            "sluice_upload_bytes_bucket{le=\"250000\"} 1",
            "sluice_upload_bytes_sum 200000",
            "sluice_pour_bytes_count 0",
            "sluice_ready_events_bucket{le=\"+Inf\"} 0",
        ] {
            assert!(page.lines().any(|told| told == line), "{line}\n{page}");
        }
    }

    #[test]
    fn each_sample_follows_its_help_and_type_and_comes_once() {
        let page = page();
        let (mut described, mut samples) = (String::new(), HashSet::new());
        for line in page.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').unwrap();
                assert!(help.ends_with('.'), "{line}");
                name.clone_into(&mut described);
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                assert_eq!(kind.split_once(' ').unwrap().0, described);
            } else {
                let (sample, value) = line.rsplit_once(' ').unwrap();
                assert!(value.parse::<f64>().is_ok(), "{line}");
                assert!(sample.starts_with(&described), "{line}");
                assert!(samples.insert(sample.to_owned()), "{line}");
            }
        }
        assert!(page.ends_with('\n') && samples.len() > 100);
    }

    #[test]
    fn bounds_ascend() {
        for measure in Measure::ALL {
            assert!(bounds(measure).is_sorted_by(|a, b| a < b), "{measure:?}");
        }
    }
}
