//! How the gateway stands: atomics that workers and reloads write and the admin thread reads.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use super::histograms::{Distribution, Histograms, Measure};
use crate::logic::limits::Limits;
use crate::logic::policy::AllowMode;
use crate::logic::relay_proxies::RelayProxy;

/// All that one process shows of itself, but for the counters.
#[derive(Debug)]
pub struct Gauges {
    started: (Instant, SystemTime),
    workers: Vec<Arc<WorkerGauges>>,
    draining: AtomicBool,
    configuration: Mutex<Configuration>,
    relay_proxies: Mutex<Vec<Arc<RelayProxy>>>,
    feed: Mutex<Option<FeedGauge>>,
    given: Given,
}

/// What the start gave, and the file cannot change for as long as the process runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// The keys of the file that do not count.
    pub overrides: Vec<&'static str>,
    /// The listening sockets were handed over, so that `listen` is among the keys.
    pub inherited_sockets: bool,
}

/// The configuration in force, and what became of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// What is in force.
    pub generation: Generation,
    /// What was refused since: when the first was, and why the last.
    pub refused: Option<Refused>,
    /// How many were refused since the start.
    pub refused_total: u64,
}

/// One configuration that took effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    /// 1 at the start, one more at each reload that changed something.
    pub number: u64,
    /// When it was last read and found good.
    pub loaded: SystemTime,
    /// What brought it: the start, a signal, a changed file, a request.
    pub by: String,
    /// The keys in which it differs from the one before.
    pub changes: Vec<String>,
    /// The keys whose value has effect only with a restart, while the process has another.
    pub needs_restart: Vec<String>,
    /// Its file; none where the defaults are in force.
    pub file: Option<String>,
    /// The addresses that are bound.
    pub listeners: Vec<SocketAddr>,
    /// What becomes of hosts that are not allowed.
    pub allow_mode: AllowMode,
    /// The limits.
    pub limits: Limits,
}

/// A configuration, or a list, that did not take effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// When it was read.
    pub at: SystemTime,
    /// What is wrong with it.
    pub why: String,
}

/// The feed, as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedGauge {
    /// Where it is, without what may be a secret.
    pub url: String,
    /// How many hosts it admits.
    pub hosts: usize,
    /// What is wrong since it was last good.
    pub problem: Option<FeedProblem>,
    /// What is wrong with the file that it is kept in.
    pub cache_problem: Option<FeedProblem>,
    /// Whether it was good when it was last asked for; false before that.
    pub is_refreshed: bool,
    good: Option<(Duration, Instant)>,
}

/// What is wrong with the feed again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedProblem {
    /// When it began.
    pub since: SystemTime,
    /// When it was last so.
    pub at: SystemTime,
    /// What it was then.
    pub why: String,
}

impl FeedGauge {
    /// One that nobody has asked for yet, whose list had this age at `now`; `None` where there is no list.
    pub fn new(url: String, hosts: usize, age: Option<Duration>, now: Instant) -> FeedGauge {
        let good = age.map(|age| (age, now));
        FeedGauge { url, hosts, problem: None, cache_problem: None, is_refreshed: false, good }
    }

    /// How long ago its list was last known to be the newest.
    pub fn age(&self, now: Instant) -> Option<Duration> {
        self.good.map(|(age, then)| age + now.saturating_duration_since(then))
    }

    /// Its list is the newest at `now`.
    pub fn note_good(&mut self, hosts: usize, now: Instant) {
        self.hosts = hosts;
        self.good = Some((Duration::ZERO, now));
        self.problem = None;
        self.is_refreshed = true;
    }

    /// It cannot be had; the list that there is stays.
    pub fn note_problem(&mut self, at: SystemTime, why: &str) {
        self.is_refreshed = false;
        note(&mut self.problem, at, why);
    }

    /// Its list cannot be kept or recalled.
    pub fn note_cache_problem(&mut self, at: SystemTime, why: &str) {
        note(&mut self.cache_problem, at, why);
    }
}

impl Given {
    /// By flags that beat `overrides`, and by sockets where some were handed over.
    pub fn new(mut overrides: Vec<&'static str>, inherited_sockets: bool) -> Given {
        if inherited_sockets && !overrides.contains(&"listen") {
            overrides.insert(0, "listen");
        }
        Given { overrides, inherited_sockets }
    }
}

fn note(problem: &mut Option<FeedProblem>, at: SystemTime, why: &str) {
    let since = problem.as_ref().map_or(at, |problem| problem.since);
    *problem = Some(FeedProblem { since, at, why: why.to_owned() });
}

impl Gauges {
    /// Those of a process that starts now, with these workers.
    pub fn new(
        now: Instant,
        wall: SystemTime,
        workers: Vec<Arc<WorkerGauges>>,
        given: Given,
        generation: Generation,
    ) -> Gauges {
        Gauges {
            started: (now, wall),
            workers,
            draining: AtomicBool::new(false),
            configuration: Mutex::new(Configuration {
                generation,
                refused: None,
                refused_total: 0,
            }),
            relay_proxies: Mutex::default(),
            feed: Mutex::default(),
            given,
        }
    }

    /// When the process started.
    pub fn started(&self) -> SystemTime {
        self.started.1
    }

    /// How long it runs.
    pub fn uptime(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started.0)
    }

    /// What the start gave, and the file cannot change.
    pub fn given(&self) -> &Given {
        &self.given
    }

    /// The workers, by their index.
    pub fn workers(&self) -> &[Arc<WorkerGauges>] {
        &self.workers
    }

    /// What all workers recorded of `measure`.
    pub fn distribution(&self, measure: Measure) -> Distribution {
        Distribution::merged(measure, self.workers.iter().map(|worker| &worker.histograms))
    }

    /// The gateway begins to drain: it is not ready any more.
    pub fn drain(&self) {
        self.draining.store(true, Relaxed);
    }

    /// Whether it drains.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    /// Another configuration takes effect.
    pub fn take_effect(&self, generation: Generation) {
        let mut configuration = self.configuration.lock();
        configuration.generation = generation;
        configuration.refused = None;
    }

    /// Another configuration was read and refused; the one in force stays.
    pub fn refuse(&self, at: SystemTime, why: String) {
        let mut configuration = self.configuration.lock();
        // Since when it is wrong, and what is wrong with it now.
        let at = configuration.refused.as_ref().map_or(at, |first| first.at);
        configuration.refused = Some(Refused { at, why });
        configuration.refused_total += 1;
    }

    /// These are the relay proxies from now on.
    pub fn show_relay_proxies(&self, relay_proxies: &[Arc<RelayProxy>]) {
        *self.relay_proxies.lock() = relay_proxies.to_vec();
    }

    /// The relay proxies, in order of preference.
    pub fn relay_proxies(&self) -> Vec<Arc<RelayProxy>> {
        self.relay_proxies.lock().clone()
    }

    /// This is the feed from now on.
    pub fn show_feed(&self, feed: Option<FeedGauge>) {
        *self.feed.lock() = feed;
    }

    /// Something has become known of the feed.
    pub fn note_feed(&self, note: impl FnOnce(&mut FeedGauge)) {
        self.feed.lock().as_mut().map(note);
    }

    /// The feed, where there is one.
    pub fn feed(&self) -> Option<FeedGauge> {
        self.feed.lock().clone()
    }

    /// The configuration in force.
    pub fn configuration(&self) -> Configuration {
        self.configuration.lock().clone()
    }
}

/// How one worker stands. It alone writes, once a turn; no line of the cache is another worker's too.
#[derive(Debug)]
#[repr(align(128))]
pub struct WorkerGauges {
    base: Instant,
    turns: AtomicU64,
    /// Microseconds from `base` to the begin of its turn, plus one; 0 = it sleeps.
    turning: AtomicU64,
    is_over: AtomicBool,
    sessions: AtomicUsize,
    pipes_out: AtomicUsize,
    pipes_pooled: AtomicUsize,
    buffers_out: AtomicUsize,
    /// How long things take there, and how much they move.
    pub histograms: Histograms,
}

/// What a worker holds, told at the end of a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Open sessions.
    pub sessions: usize,
    /// Pipes in use by flows.
    pub pipes_out: usize,
    /// Clean pipes kept.
    pub pipes_pooled: usize,
    /// Buffers in use by flows.
    pub buffers_out: usize,
}

/// What a worker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// It waits in its poll.
    Sleeps,
    /// It has been within one turn for so long.
    Turns(Duration),
    /// Its thread has ended.
    IsOver,
}

impl WorkerGauges {
    /// Those of a worker that begins at `now` and has not turned yet.
    pub fn new(now: Instant) -> WorkerGauges {
        WorkerGauges {
            base: now,
            turns: AtomicU64::new(0),
            turning: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            sessions: AtomicUsize::new(0),
            pipes_out: AtomicUsize::new(0),
            pipes_pooled: AtomicUsize::new(0),
            buffers_out: AtomicUsize::new(0),
            histograms: Histograms::new(),
        }
    }

    /// The poll has returned.
    pub fn turn_begins(&self, now: Instant) {
        self.turns.store(self.turns.load(Relaxed) + 1, Relaxed);
        self.turning.store(self.since_base_us(now) + 1, Relaxed);
    }

    /// All is served that there was, and the next poll follows. The turn began at `began`.
    pub fn turn_ends(&self, began: Instant, now: Instant, held: Held) {
        self.histograms.record_time(Measure::Turn, now.saturating_duration_since(began));
        self.sessions.store(held.sessions, Relaxed);
        self.pipes_out.store(held.pipes_out, Relaxed);
        self.pipes_pooled.store(held.pipes_pooled, Relaxed);
        self.buffers_out.store(held.buffers_out, Relaxed);
        self.turning.store(0, Relaxed);
    }

    /// The worker will never turn again.
    pub fn is_over(&self) {
        self.is_over.store(true, Relaxed);
    }

    /// Turns begun so far.
    pub fn turns(&self) -> u64 {
        self.turns.load(Relaxed)
    }

    /// What it does at `now`.
    pub fn doing(&self, now: Instant) -> Doing {
        if self.is_over.load(Relaxed) {
            return Doing::IsOver;
        }
        match self.turning.load(Relaxed) {
            0 => Doing::Sleeps,
            since => Doing::Turns(Duration::from_micros(
                (self.since_base_us(now) + 1).saturating_sub(since),
            )),
        }
    }

    /// What it held at the end of its last turn.
    pub fn held(&self) -> Held {
        Held {
            sessions: self.sessions.load(Relaxed),
            pipes_out: self.pipes_out.load(Relaxed),
            pipes_pooled: self.pipes_pooled.load(Relaxed),
            buffers_out: self.buffers_out.load(Relaxed),
        }
    }

    fn since_base_us(&self, now: Instant) -> u64 {
        // 580,000 years fit.
        now.saturating_duration_since(self.base).as_micros() as u64
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test may ask the clock")]
mod tests {
    use super::*;

    #[test]
    fn a_worker_shows_what_it_does_and_holds() {
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        let worker = WorkerGauges::new(start);
        assert_eq!((worker.turns(), worker.doing(after(9_000))), (0, Doing::Sleeps));
        worker.turn_begins(start);
        assert_eq!(worker.doing(start), Doing::Turns(Duration::ZERO));
        assert_eq!(worker.doing(after(7_000)), Doing::Turns(Duration::from_secs(7)));
        let held = Held { sessions: 4, pipes_out: 1, pipes_pooled: 2, buffers_out: 3 };
        worker.turn_ends(start, after(7_000), held);
        assert_eq!((worker.doing(after(9_000)), worker.held()), (Doing::Sleeps, held));
        let turns = Distribution::merged(Measure::Turn, [&worker.histograms]);
        assert_eq!((turns.count(), turns.sum()), (1, 7_000_000));
        worker.is_over();
        assert_eq!(worker.doing(after(9_000)), Doing::IsOver);
    }

    #[test]
    fn a_refused_configuration_shows_until_a_good_one_comes() {
        let wall = SystemTime::UNIX_EPOCH;
        let generation = Generation {
            number: 1,
            loaded: wall,
            by: "the start".to_owned(),
            changes: Vec::new(),
            needs_restart: Vec::new(),
            file: None,
            listeners: Vec::new(),
            allow_mode: AllowMode::Enforce,
            limits: Limits::default(),
        };
        let gauges =
            Gauges::new(Instant::now(), wall, Vec::new(), Given::default(), generation.clone());
        gauges.refuse(wall, "x".to_owned());
        gauges.refuse(wall, "y".to_owned());
        let shown = gauges.configuration();
        assert_eq!((shown.generation.number, shown.refused_total), (1, 2));
        assert_eq!(shown.refused, Some(Refused { at: wall, why: "y".to_owned() }));
        gauges.take_effect(Generation { number: 2, ..generation });
        let shown = gauges.configuration();
        assert_eq!((shown.generation.number, shown.refused, shown.refused_total), (2, None, 2));
    }

    #[test]
    fn sockets_that_were_handed_over_beat_the_file_too() {
        for (flags, inherited, overrides) in [
            (vec![], false, vec![]),
            (vec![], true, vec!["listen"]),
            (vec!["listen"], true, vec!["listen"]),
            (vec!["events.format"], true, vec!["listen", "events.format"]),
        ] {
            let given = Given::new(flags, inherited);
            assert_eq!((given.overrides, given.inherited_sockets), (overrides, inherited));
        }
    }
}
