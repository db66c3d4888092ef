//! The gateway watched from outside while it works: processor time, memory, descriptors, pipes. To look
//! must not become a load of its own, so each look is followed by a pause of many times its cost.

use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::busy::{Busy, ThreadUse};
use crate::clock;
use crate::platform::{self, PipeNames, Pipes};

/// The least time between two looks at memory and descriptors.
const LOOK_MS: u64 = 1_000;
/// A look may cost one part in so many of the time that passes.
const PAUSE_FACTOR: u32 = 50;

/// What was seen at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot {
    at: Instant,
    cpu: Option<Duration>,
    own_cpu: Option<Duration>,
    memory: Levels,
}

#[derive(Clone, Copy, Debug, Default)]
struct Levels {
    pss_bytes: Option<u64>,
    descriptors: Option<u64>,
    pipes: Option<u64>,
    pipe_bytes: Option<u64>,
    other_descriptors: Option<u64>,
    tcp_memory_bytes: Option<u64>,
}

/// A level over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Course {
    /// At the start.
    pub start: u64,
    /// The highest that was seen.
    pub peak: u64,
    /// At the end.
    pub end: u64,
}

/// What the gateway, and this process, used between two moments.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Usage {
    /// The time between them.
    pub seconds: f64,
    /// The gateway's processor time.
    pub cpu_s: Option<f64>,
    /// This process's processor time: agents and endpoint.
    pub loadgen_cpu_s: Option<f64>,
    /// The gateway's memory (PSS).
    pub pss_bytes: Option<Course>,
    /// The gateway's descriptors.
    pub descriptors: Option<Course>,
    /// The pipes of the gateway and its children, without standard streams; each takes two descriptors.
    pub pipes: Option<Course>,
    /// What those can hold together: the kernel's memory, of which a pipe takes only what it holds.
    pub pipe_bytes: Option<Course>,
    /// The gateway's descriptors that are not of pipes: pipes are pooled, sockets come and go.
    pub other_descriptors: Option<Course>,
    /// The kernel's memory for the TCP sockets of the whole host.
    pub tcp_memory_bytes: Option<Course>,
    /// This process's threads, the busiest first.
    pub threads: Vec<ThreadUse>,
    /// The gateway's.
    pub gateway_threads: Vec<ThreadUse>,
    /// The share of the time that the host's processors were busy, whoever kept them so.
    pub host_busy: Option<f64>,
}

/// Watches one process.
pub struct Sampler {
    pid: Option<u32>,
    next_look: Instant,
    /// What was open before there was a load: nobody's that is watched.
    own_pipes: Rc<PipeNames>,
    peak: Levels,
    busy: Watch,
    trouble: Option<String>,
}

/// Who had the processors since it began.
struct Watch {
    next_look: Instant,
    own: Busy,
    gateway: Busy,
    host: Option<(Duration, Duration)>,
}

impl Sampler {
    /// Watches `pid`; without one only this process and the host are watched.
    pub fn new(pid: Option<u32>) -> Sampler {
        let now = clock::now();
        let busy = Watch::begin(pid, now);
        let mut sampler = Sampler {
            pid,
            next_look: now,
            own_pipes: Rc::new(platform::own_pipes()),
            peak: Levels::default(),
            busy,
            trouble: None,
        };
        sampler.snapshot();
        sampler
    }

    /// Looks now, at everything.
    pub fn snapshot(&mut self) -> Snapshot {
        let at = clock::now();
        let cpu = self.ask(platform::cpu_time);
        let memory = self.look(at);
        Snapshot { at, cpu, own_cpu: platform::own_cpu_time().ok(), memory }
    }

    /// Begins a new count of peaks at `snapshot`.
    pub fn restart(&mut self, snapshot: &Snapshot) {
        self.peak = snapshot.memory;
    }

    /// Begins to watch who has the processors: the load proper starts now.
    pub fn watch_threads(&mut self) {
        self.busy = Watch::begin(self.pid, clock::now());
    }

    /// How many of the gateway's descriptors are not of pipes, at `snapshot` and now.
    pub fn left_over(&self, snapshot: &Snapshot) -> Option<(u64, u64)> {
        let pid = self.pid?;
        let before = snapshot.memory.other_descriptors?;
        // The peaks count all looks, and this one is no part of the load.
        let (all, pipes) =
            (platform::descriptors(pid).ok()?, platform::pipes(pid, &self.own_pipes).ok()?);
        Some((before, all.saturating_sub(pipes.ends)))
    }

    /// Looks for new peaks, if it is time.
    pub fn tick(&mut self) {
        let now = clock::now();
        self.busy.tick(self.pid, now);
        if now >= self.next_look {
            self.look(now);
        }
    }

    /// The gateway's memory as last seen at its highest.
    pub fn peak_pss_bytes(&self) -> Option<u64> {
        self.peak.pss_bytes
    }

    /// Why something could not be seen, the first time.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// What was used from `start` to `end`; peaks are those since the last `restart`.
    pub fn usage(&self, start: &Snapshot, end: &Snapshot) -> Usage {
        let spent = |from: Option<Duration>, to: Option<Duration>| {
            Some(to?.saturating_sub(from?).as_secs_f64())
        };
        let (first, last, peak) = (&start.memory, &end.memory, &self.peak);
        Usage {
            seconds: end.at.saturating_duration_since(start.at).as_secs_f64(),
            cpu_s: spent(start.cpu, end.cpu),
            loadgen_cpu_s: spent(start.own_cpu, end.own_cpu),
            pss_bytes: course(first.pss_bytes, peak.pss_bytes, last.pss_bytes),
            descriptors: course(first.descriptors, peak.descriptors, last.descriptors),
            pipes: course(first.pipes, peak.pipes, last.pipes),
            pipe_bytes: course(first.pipe_bytes, peak.pipe_bytes, last.pipe_bytes),
            other_descriptors: course(
                first.other_descriptors,
                peak.other_descriptors,
                last.other_descriptors,
            ),
            tcp_memory_bytes: course(
                first.tcp_memory_bytes,
                peak.tcp_memory_bytes,
                last.tcp_memory_bytes,
            ),
            threads: self.busy.own.uses(),
            gateway_threads: self.busy.gateway.uses(),
            host_busy: self.busy.host_share(),
        }
    }

    fn look(&mut self, now: Instant) -> Levels {
        let descriptors = self.ask(platform::descriptors);
        let own_pipes = self.own_pipes.clone();
        let pipes = self.ask(|pid| platform::pipes(pid, &own_pipes));
        let other = |pipes: Pipes| Some(descriptors?.saturating_sub(pipes.ends));
        let seen = Levels {
            pss_bytes: self.ask(platform::pss_bytes),
            descriptors,
            pipes: pipes.map(|pipes| pipes.pipes),
            pipe_bytes: pipes.and_then(|pipes| pipes.bytes),
            other_descriptors: pipes.and_then(other),
            tcp_memory_bytes: platform::tcp_memory_bytes().ok(),
        };
        let peak = &mut self.peak;
        peak.pss_bytes = peak.pss_bytes.max(seen.pss_bytes);
        peak.descriptors = peak.descriptors.max(seen.descriptors);
        peak.pipes = peak.pipes.max(seen.pipes);
        peak.pipe_bytes = peak.pipe_bytes.max(seen.pipe_bytes);
        peak.other_descriptors = peak.other_descriptors.max(seen.other_descriptors);
        peak.tcp_memory_bytes = peak.tcp_memory_bytes.max(seen.tcp_memory_bytes);
        let done = clock::now();
        let pause = (done.saturating_duration_since(now) * PAUSE_FACTOR)
            .max(Duration::from_millis(LOOK_MS));
        self.next_look = done + pause;
        seen
    }

    fn ask<T>(&mut self, question: impl FnOnce(u32) -> io::Result<T>) -> Option<T> {
        let pid = self.pid?;
        match question(pid) {
            Ok(answer) => Some(answer),
            Err(why) => {
                let told = || format!("the gateway (process {pid}) cannot be watched: {why}");
                self.trouble.get_or_insert_with(told);
                None
            }
        }
    }
}

impl Watch {
    fn begin(pid: Option<u32>, now: Instant) -> Watch {
        let mut watch = Watch {
            next_look: now,
            own: Busy::default(),
            gateway: Busy::default(),
            host: platform::host_times().ok(),
        };
        watch.tick(pid, now);
        watch
    }

    fn tick(&mut self, pid: Option<u32>, now: Instant) {
        if now < self.next_look {
            return;
        }
        self.next_look = now + Duration::from_millis(LOOK_MS);
        // Where the system does not tell, nothing is claimed.
        self.own.note(now, platform::threads(std::process::id()).unwrap_or_default());
        if let Some(threads) = pid.and_then(|pid| platform::threads(pid).ok()) {
            self.gateway.note(now, threads);
        }
    }

    fn host_share(&self) -> Option<f64> {
        let ((busy, idle), (first_busy, first_idle)) = (platform::host_times().ok()?, self.host?);
        let busy = busy.saturating_sub(first_busy).as_secs_f64();
        let idle = idle.saturating_sub(first_idle).as_secs_f64();
        (busy + idle > 0.0).then(|| busy / (busy + idle))
    }
}

fn course(start: Option<u64>, peak: Option<u64>, end: Option<u64>) -> Option<Course> {
    let (start, end) = (start?, end?);
    Some(Course { start, peak: peak.unwrap_or(start).max(start).max(end), end })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_course_never_peaks_below_its_ends() {
        assert_eq!(course(Some(3), Some(2), Some(7)), Some(Course { start: 3, peak: 7, end: 7 }));
        assert_eq!(course(Some(3), None, None), None);
    }

    #[test]
    fn without_a_process_nothing_is_claimed_and_nothing_is_wrong() {
        let mut sampler = Sampler::new(None);
        let (start, end) = (sampler.snapshot(), sampler.snapshot());
        let usage = sampler.usage(&start, &end);
        assert!(usage.cpu_s.is_none() && usage.pss_bytes.is_none() && sampler.trouble().is_none());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_that_is_gone_is_told_once() {
        let sampler = Sampler::new(Some(0x7FFF_FFF0));
        assert!(sampler.trouble().is_some_and(|why| why.contains("cannot be watched")));
    }
}
