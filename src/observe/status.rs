//! How the gateway stands, as one value: written as JSON by the admin listener, read by `sluice status`
//! and `sluice counters`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::counters::{Counters, Snapshot};
use super::gauges::{Configuration, Doing, FeedGauge, Gauges, WorkerGauges};
use super::lines::rfc_3339;
use crate::logic::limits::Limits;
use crate::logic::reason::Reason;
use crate::logic::relay_proxies::{Fares, RelayProxy};

/// What only the shell around the workers knows, and its clock.
pub trait Inside: Send + Sync {
    /// Monotonic time.
    fn now(&self) -> Instant;
    /// Wakes every worker, so that it shows whether it turns.
    fn knock(&self);
    /// Descriptors, as far as the system tells.
    fn descriptors(&self) -> Descriptors;
    /// Names that wait for a thread of the resolver.
    fn resolver_queued(&self) -> usize;
}

/// Descriptors of the process; `None` where the system does not tell, or has no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptors {
    /// Open now.
    pub open: Option<u64>,
    /// That may be open.
    pub limit: Option<u64>,
}

/// How the gateway stands. A field that another version does not tell is read as empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// The version of the program.
    pub version: String,
    /// When it started, RFC 3339.
    pub started: String,
    /// How long it runs, in seconds.
    pub uptime_s: f64,
    /// Whether it is about to stop.
    pub draining: bool,
    /// The configuration in force.
    pub configuration: ConfigurationStatus,
    /// The addresses that are bound.
    pub listeners: Vec<String>,
    /// The workers, by their index.
    pub workers: Vec<WorkerStatus>,
    /// Every limit under the name it has in the configuration.
    pub limits: BTreeMap<String, u64>,
    /// Descriptors.
    pub descriptors: Descriptors,
    /// Names that wait to be resolved.
    pub resolver_queued: usize,
    /// The relay proxies, in order of preference.
    pub relay_proxies: Vec<RelayProxyStatus>,
    /// The downloaded list of hosts, where one is configured.
    pub feed: Option<FeedStatus>,
    /// The counters.
    pub counters: CounterStatus,
}

/// The configuration in force, and the one that was refused since.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfigurationStatus {
    /// 1 at the start, one more at each reload that changed something.
    pub generation: u64,
    /// When it was last read and found good, RFC 3339.
    pub loaded: String,
    /// What brought it: the start, a signal, a changed file, a request.
    pub by: String,
    /// The keys in which it differs from the one before.
    pub changes: Vec<String>,
    /// The keys that the file has another value of than the process, which only a restart changes.
    pub needs_restart: Vec<String>,
    /// The keys of the file that do not count until another start, as this one gave them a value: by
    /// a flag of `sluice run`, or by sockets that were handed over.
    pub overrides: Vec<String>,
    /// The listening sockets were handed over at the start; `listen` is among the overrides then.
    pub inherited_sockets: bool,
    /// `enforce`, or `report` where hosts that are not allowed are let through.
    pub allow_mode: String,
    /// Its file; none where the defaults are in force.
    pub file: Option<String>,
    /// When another one was first refused since, RFC 3339.
    pub refused: Option<String>,
    /// Why the last was.
    pub refused_why: Option<String>,
    /// How many were refused since the start.
    pub refused_total: u64,
}

/// One worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerStatus {
    /// `sleeps`, `turns` or `is over`.
    pub doing: String,
    /// How long its present turn takes, in milliseconds; 0 while it sleeps.
    pub turning_ms: u64,
    /// Turns begun.
    pub turns: u64,
    /// Open sessions.
    pub sessions: usize,
    /// Pipes in use.
    pub pipes_out: usize,
    /// Pipes kept for the next flow.
    pub pipes_pooled: usize,
    /// Buffers in use.
    pub buffers_out: usize,
}

/// One relay proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RelayProxyStatus {
    /// `host:port`.
    pub address: String,
    /// It worked when it was last tried, or has not been tried yet.
    pub up: bool,
    /// Why it counts as lost.
    pub lost: Option<String>,
    /// For so long it is passed over where there is another, in milliseconds.
    pub skipped_ms: u64,
    /// Sessions that it failed since the start.
    pub failures: u64,
}

/// The downloaded list of hosts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FeedStatus {
    /// Where it is, without its query.
    pub url: String,
    /// How many hosts it admits.
    pub hosts: usize,
    /// Seconds since its list was last known to be the newest; none where there is no list yet.
    pub age_s: Option<f64>,
    /// Since when it cannot be had, RFC 3339.
    pub problem_since: Option<String>,
    /// When that was last so, RFC 3339.
    pub problem: Option<String>,
    /// What it was then.
    pub problem_why: Option<String>,
    /// Since when its list cannot be kept or recalled, RFC 3339.
    pub cache_problem_since: Option<String>,
    /// Why.
    pub cache_problem_why: Option<String>,
}

/// The counters, under the names that the metrics have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CounterStatus {
    /// Active Client Connection.
    pub active_client_connections: usize,
    /// Connected Client.
    pub connected_clients: usize,
    /// Error Count.
    pub errors: u64,
    /// Rejection Count.
    pub rejections: u64,
    /// Client connections ever accepted.
    pub sessions: u64,
    /// Bytes from clients to remotes.
    pub bytes_up: u64,
    /// Bytes from remotes to clients.
    pub bytes_down: u64,
    /// Events that no outlet could take.
    pub events_lost: u64,
    /// Refusals by reason.
    pub refusals: BTreeMap<String, u64>,
    /// What `allow.mode = "report"` did not refuse, by reason.
    pub reported: BTreeMap<String, u64>,
}

/// The status at this moment.
pub(super) fn status(counters: &Counters, gauges: &Gauges, inside: &dyn Inside) -> Status {
    let now = inside.now();
    let configuration = gauges.configuration();
    let Configuration { generation, refused, refused_total } = &configuration;
    let given = gauges.given();
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: rfc_3339(gauges.started()),
        uptime_s: gauges.uptime(now).as_millis() as f64 / 1e3,
        draining: gauges.is_draining(),
        configuration: ConfigurationStatus {
            generation: generation.number,
            loaded: rfc_3339(generation.loaded),
            by: generation.by.clone(),
            changes: generation.changes.clone(),
            needs_restart: generation.needs_restart.clone(),
            overrides: given.overrides.iter().map(|&key| key.to_owned()).collect(),
            inherited_sockets: given.inherited_sockets,
            allow_mode: generation.allow_mode.as_str().to_owned(),
            file: generation.file.clone(),
            refused: refused.as_ref().map(|refused| rfc_3339(refused.at)),
            refused_why: refused.as_ref().map(|refused| refused.why.clone()),
            refused_total: *refused_total,
        },
        listeners: generation.listeners.iter().map(ToString::to_string).collect(),
        workers: gauges.workers().iter().map(|worker| WorkerStatus::of(worker, now)).collect(),
        limits: limits(&generation.limits),
        descriptors: inside.descriptors(),
        resolver_queued: inside.resolver_queued(),
        relay_proxies: gauges
            .relay_proxies()
            .iter()
            .map(|proxy| RelayProxyStatus::of(proxy, now))
            .collect(),
        feed: gauges.feed().map(|feed| FeedStatus::of(&feed, now)),
        counters: CounterStatus::of(counters.snapshot()),
    }
}

impl FeedStatus {
    fn of(feed: &FeedGauge, now: Instant) -> FeedStatus {
        let (problem, cache) = (feed.problem.as_ref(), feed.cache_problem.as_ref());
        FeedStatus {
            url: feed.url.clone(),
            hosts: feed.hosts,
            age_s: feed.age(now).map(|age| age.as_millis() as f64 / 1e3),
            problem_since: problem.map(|problem| rfc_3339(problem.since)),
            problem: problem.map(|problem| rfc_3339(problem.at)),
            problem_why: problem.map(|problem| problem.why.clone()),
            cache_problem_since: cache.map(|problem| rfc_3339(problem.since)),
            cache_problem_why: cache.map(|problem| problem.why.clone()),
        }
    }
}

impl WorkerStatus {
    fn of(worker: &WorkerGauges, now: Instant) -> WorkerStatus {
        let (doing, turning) = match worker.doing(now) {
            Doing::Sleeps => ("sleeps", Duration::ZERO),
            Doing::Turns(turning) => ("turns", turning),
            Doing::IsOver => ("is over", Duration::ZERO),
        };
        let held = worker.held();
        WorkerStatus {
            doing: doing.to_owned(),
            turning_ms: u64::try_from(turning.as_millis()).unwrap_or(u64::MAX),
            turns: worker.turns(),
            sessions: held.sessions,
            pipes_out: held.pipes_out,
            pipes_pooled: held.pipes_pooled,
            buffers_out: held.buffers_out,
        }
    }
}

impl RelayProxyStatus {
    fn of(proxy: &RelayProxy, now: Instant) -> RelayProxyStatus {
        let Fares { lost, skipped, failures } = proxy.fares(now);
        RelayProxyStatus {
            address: proxy.address().to_string(),
            up: lost.is_none(),
            lost: lost.map(|failure| failure.as_str().to_owned()),
            skipped_ms: u64::try_from(skipped.as_millis()).unwrap_or(u64::MAX),
            failures,
        }
    }
}

impl CounterStatus {
    fn of(snapshot: Snapshot) -> CounterStatus {
        let named = |counts: Vec<(Reason, u64)>| {
            counts.into_iter().map(|(reason, count)| (reason.to_string(), count)).collect()
        };
        CounterStatus {
            active_client_connections: snapshot.active,
            connected_clients: snapshot.connected,
            errors: snapshot.errors,
            rejections: snapshot.rejections,
            sessions: snapshot.sessions_total,
            bytes_up: snapshot.bytes_up,
            bytes_down: snapshot.bytes_down,
            events_lost: snapshot.events_lost,
            refusals: named(snapshot.refusals),
            reported: named(snapshot.reported),
        }
    }
}

/// Taken apart field by field, so that a new limit cannot be left out.
fn limits(limits: &Limits) -> BTreeMap<String, u64> {
    let &Limits {
        sessions,
        sessions_per_client,
        head_bytes,
        head_ms,
        resolve_ms,
        dial_ms,
        relay_proxy_ms,
        hello_bytes,
        hello_ms,
        idle_ms,
        half_closed_ms,
        session_ms,
        keepalive_s,
        drain_ms,
        drain_notice_ms,
    } = limits;
    let named = [
        ("sessions", sessions as u64),
        ("sessions_per_client", sessions_per_client as u64),
        ("head_bytes", head_bytes as u64),
        ("head_ms", head_ms),
        ("resolve_ms", resolve_ms),
        ("dial_ms", dial_ms),
        ("relay_proxy_ms", relay_proxy_ms),
        ("hello_bytes", hello_bytes as u64),
        ("hello_ms", hello_ms),
        ("idle_ms", idle_ms),
        ("half_closed_ms", half_closed_ms),
        ("session_ms", session_ms),
        ("keepalive_s", keepalive_s),
        ("drain_ms", drain_ms),
        ("drain_notice_ms", drain_notice_ms),
    ];
    named.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test may ask the clock")]
mod tests {
    use super::super::admin::sample;
    use super::*;
    use crate::logic::reason::Reason;
    use crate::logic::relay_proxies::Failure;
    use crate::proto::target::Target;

    #[test]
    fn a_status_survives_its_json_and_has_every_part() {
        let sample = sample::panel(Instant::now());
        sample.counters.count(Reason::DialFailed);
        sample.gauges.workers()[1].turn_begins(sample.inside.now());
        let now = sample.inside.now();
        let relay_proxy = RelayProxy::new(Target::parse(b"a.test:1").unwrap(), now);
        relay_proxy.failed(Failure::Unreachable, now);
        sample.gauges.show_relay_proxies(&[relay_proxy.into()]);
        let status = status(&sample.counters, &sample.gauges, sample.inside.as_ref());
        let json = serde_json::to_string(&status).unwrap();
        assert_eq!(serde_json::from_str::<Status>(&json).unwrap(), status);
        assert_eq!(status.version, env!("CARGO_PKG_VERSION"));
        assert_eq!(status.started, "1970-01-12T13:46:40.000Z");
        assert_eq!(status.listeners, ["127.0.0.1:8080"]);
        assert_eq!(status.configuration.overrides, ["events.format"]);
        assert_eq!(status.workers[0].doing, "sleeps");
        assert_eq!((status.workers[1].doing.as_str(), status.workers[1].turns), ("turns", 1));
        assert_eq!(status.limits["head_ms"], 10_000);
        let relay_proxy = RelayProxyStatus {
            address: "a.test:1".to_owned(),
            up: false,
            lost: Some("it cannot be reached".to_owned()),
            skipped_ms: 10_000,
            failures: 1,
        };
        assert_eq!(status.relay_proxies, [relay_proxy]);
        assert_eq!(status.counters.errors, 1);
        assert_eq!(status.counters.refusals["dial_failed"], 1);
        assert_eq!(status.counters.refusals["loop"], 0);
        assert_eq!(status.descriptors, Descriptors { open: Some(12), limit: Some(1024) });
    }

    #[test]
    fn every_limit_is_there() {
        let shown = format!("{:?}", Limits::default());
        assert_eq!(limits(&Limits::default()).len(), shown.matches(": ").count());
    }

    #[test]
    fn what_another_version_does_not_tell_is_empty() {
        let status: Status = serde_json::from_str(r#"{"version":"9","more":1}"#).unwrap();
        assert_eq!((status.version.as_str(), status.workers.len()), ("9", 0));
    }
}
