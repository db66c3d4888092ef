//! Which threads were busy, and what that means: a load that is held back by loadgen's own threads or by
//! a full machine says little about the gateway.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::platform::Thread;
use crate::sample::Usage;

/// From this share of its time on a thread, or the machine, has nothing left to give.
const SATURATED: f64 = 0.95;

/// Looks closer together than this say nothing about how busy a thread is.
const LEAST_WINDOW_MS: u64 = 500;

/// How many threads are told of, the busiest first.
const MOST_SHOWN: usize = 8;

/// How busy a thread was.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ThreadUse {
    /// Its name.
    pub name: String,
    /// The share of the time that it had a processor, from 0 to 1.
    pub share: f64,
    /// The same in its busiest second.
    pub peak: f64,
}

/// The threads of one process over time.
#[derive(Default)]
pub struct Busy {
    threads: BTreeMap<u64, Watched>,
}

struct Watched {
    name: String,
    first: (Instant, Duration),
    last: (Instant, Duration),
    peak: f64,
}

impl Busy {
    /// What was seen at `now`. A thread that has ended meanwhile keeps what is known of it.
    pub fn note(&mut self, now: Instant, threads: Vec<Thread>) {
        for thread in threads {
            let seen = (now, thread.cpu);
            let watched = self.threads.entry(thread.id).or_insert_with(|| Watched {
                name: String::new(),
                first: seen,
                last: seen,
                peak: 0.0,
            });
            // A thread gets its name a moment after it has begun.
            watched.name = thread.name;
            let window = now.saturating_duration_since(watched.last.0);
            if window >= Duration::from_millis(LEAST_WINDOW_MS) {
                watched.peak = watched.peak.max(share(watched.last, seen));
                watched.last = seen;
            }
        }
    }

    /// The busiest threads since the first look; empty where there was but one.
    pub fn uses(&self) -> Vec<ThreadUse> {
        let mut uses: Vec<ThreadUse> = self
            .threads
            .values()
            .filter(|watched| watched.last.0 > watched.first.0)
            .map(|watched| ThreadUse {
                name: watched.name.clone(),
                share: share(watched.first, watched.last),
                peak: watched.peak,
            })
            .collect();
        uses.sort_by(|one, other| other.share.total_cmp(&one.share));
        uses.truncate(MOST_SHOWN);
        uses
    }
}

fn share(from: (Instant, Duration), to: (Instant, Duration)) -> f64 {
    let passed = to.0.saturating_duration_since(from.0).as_secs_f64();
    let spent = to.1.saturating_sub(from.1).as_secs_f64();
    if passed > 0.0 { (spent / passed).min(1.0) } else { 0.0 }
}

/// What had nothing left to give, and what to do about it.
pub fn held_back(usage: &Usage, cores: usize) -> Vec<String> {
    let percent = |share: f64| format!("{:.0} %", 100.0 * share);
    let mut told = Vec::new();
    for thread in usage.threads.iter().filter(|thread| thread.peak >= SATURATED) {
        told.push(format!(
            "loadgen's own thread {} was busy {} of its busiest second: give it more with --threads",
            thread.name,
            percent(thread.peak)
        ));
    }
    for thread in usage.gateway_threads.iter().filter(|thread| thread.peak >= SATURATED) {
        told.push(format!(
            "the gateway's thread {} was busy {} of its busiest second",
            thread.name,
            percent(thread.peak)
        ));
    }
    if let Some(share) = usage.host_busy.filter(|share| *share >= SATURATED) {
        let spent = usage.cpu_s.unwrap_or_default() + usage.loadgen_cpu_s.unwrap_or_default();
        let ours = spent / (usage.seconds * cores as f64).max(0.001);
        let whom = if usage.cpu_s.is_some() { "gateway and loadgen" } else { "loadgen" };
        told.push(format!(
            "all {cores} processors of this machine were busy {} of the time, {} of it with {whom}: \
             use a machine with more of them, or less to do",
            percent(share),
            percent((ours / share).min(1.0))
        ));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn thread(id: u64, name: &str, cpu_ms: u64) -> Thread {
        Thread { id, name: name.to_owned(), cpu: Duration::from_millis(cpu_ms) }
    }

    #[test]
    fn shares_are_means_and_peaks_of_windows() {
        let start = clock::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut busy = Busy::default();
        busy.note(at(0), vec![thread(1, "a", 100), thread(2, "b", 0)]);
        assert!(busy.uses().is_empty());
        busy.note(at(1_000), vec![thread(1, "a", 1_090), thread(2, "b", 10)]);
        busy.note(at(1_001), vec![thread(1, "a", 1_091)]);
        busy.note(at(2_000), vec![thread(1, "a", 1_100)]);
        let uses = busy.uses();
        assert_eq!(uses[0], ThreadUse { name: "a".to_owned(), share: 0.5, peak: 0.99 });
        assert_eq!((uses[1].name.as_str(), uses[1].share), ("b", 0.01));
    }

    #[test]
    fn what_is_saturated_is_told_with_what_to_do() {
        let hot = |name: &str| vec![ThreadUse { name: name.to_owned(), share: 0.9, peak: 0.97 }];
        let none = Usage::default();
        assert!(held_back(&none, 2).is_empty());
        let table = [
            (Usage { threads: hot("agents-0"), ..none.clone() }, "agents-0 was busy 97 %"),
            (Usage { gateway_threads: hot("worker"), ..none.clone() }, "gateway's thread worker"),
            (Usage { host_busy: Some(0.99), ..none.clone() }, "all 2 processors"),
        ];
        for (usage, expected) in table {
            let told = held_back(&usage, 2);
            assert!(told.len() == 1 && told[0].contains(expected), "{told:?}");
        }
    }
}
