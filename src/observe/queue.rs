//! The bounded queue between the workers and the outlet's thread.
//!
//! A push never waits. It wakes the thread only when the queue was empty, and the thread lingers
//! before it takes what has come, so that a busy worker pays for a wake-up a few times a second at
//! most, and not once an event.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use parking_lot::{Condvar, Mutex};

use super::counters::Counters;
use super::events::{Event, Level};
use super::outlets::Sink;

/// Memory that queued events may take. 4 MiB: some 15,000 of them, seconds of a stalled disk.
/// Twice this is the worst case, while the thread writes one fill and workers queue the next.
const QUEUE_BYTES: usize = 4 << 20;
/// How long the thread lets events gather. 50 ms: no one reading a log sees it, and with a tunnel for
/// each upload the thread and its wake-ups took a tenth of the gateway's time at 20 ms.
const LINGER: Duration = Duration::from_millis(50);
/// A vector that a burst has grown beyond this is given back.
const KEPT_EVENTS: usize = 1_024;

pub(super) struct Queue {
    /// The lowest level that is wanted, as its number.
    level: AtomicU8,
    counters: Arc<Counters>,
    state: Mutex<State>,
    pushed: Condvar,
    stopping: Condvar,
    finished: Condvar,
}

struct State {
    events: Vec<Event>,
    events_bytes: usize,
    reopen: Option<SystemTime>,
    redirect: Option<(Box<dyn Sink>, Level)>,
    stage: Stage,
}

enum Stage {
    Open,
    Stopping(Option<Box<Event>>),
    Finished,
}

/// What [`Queue::take`] came back with, apart from the events.
#[derive(Default)]
pub(super) struct Taken {
    /// All the patience has passed, and there was nothing.
    pub(super) is_timeout: bool,
    /// The outlet is to be opened again before the events are written; when that was asked for.
    pub(super) reopen: Option<SystemTime>,
    /// Everything goes to this sink from now on, from this level on.
    pub(super) redirect: Option<(Box<dyn Sink>, Level)>,
    /// Nothing comes any more; this is the last event.
    pub(super) last: Option<Box<Event>>,
}

impl Queue {
    pub(super) fn new(level: Level, counters: Arc<Counters>) -> Queue {
        Queue {
            level: AtomicU8::new(level as u8),
            counters,
            state: Mutex::new(State {
                events: Vec::new(),
                events_bytes: 0,
                reopen: None,
                redirect: None,
                stage: Stage::Open,
            }),
            pushed: Condvar::new(),
            stopping: Condvar::new(),
            finished: Condvar::new(),
        }
    }

    pub(super) fn wants(&self, level: Level) -> bool {
        level as u8 >= self.level.load(Relaxed)
    }

    /// Queues `event`, or counts it as lost where there is no room. What comes after the stop is
    /// dropped: the last event is the last.
    pub(super) fn push(&self, event: Event) {
        let event_bytes = event.size_bytes();
        let mut state = self.state.lock();
        if !matches!(state.stage, Stage::Open) {
            return;
        }
        if state.events_bytes + event_bytes > QUEUE_BYTES {
            drop(state);
            self.counters.lose_events(1);
            return;
        }
        let was_empty = state.events.is_empty();
        state.events_bytes += event_bytes;
        state.events.push(event);
        drop(state);
        if was_empty {
            self.pushed.notify_one();
        }
    }

    /// Waits for events, at most `patience`, and swaps them into `batch`, which must be empty.
    pub(super) fn take(&self, batch: &mut Vec<Event>, patience: Option<Duration>) -> Taken {
        debug_assert!(batch.is_empty());
        batch.shrink_to(KEPT_EVENTS);
        let mut state = self.state.lock();
        let mut taken = Taken::default();
        if state.is_quiet() {
            match patience {
                Some(patience) => {
                    taken.is_timeout = self.pushed.wait_for(&mut state, patience).timed_out();
                }
                None => self.pushed.wait(&mut state),
            }
        }
        if !state.events.is_empty() && matches!(state.stage, Stage::Open) {
            self.stopping.wait_for(&mut state, LINGER);
        }
        taken.is_timeout &= state.is_quiet();
        taken.reopen = state.reopen.take();
        taken.redirect = state.redirect.take();
        std::mem::swap(&mut state.events, batch);
        state.events_bytes = 0;
        if let Stage::Stopping(last) = &mut state.stage {
            taken.last = last.take();
        }
        taken
    }

    /// Has the outlet opened again before anything more is written. Does not wait for it.
    pub(super) fn reopen(&self, now: SystemTime) {
        self.state.lock().reopen = Some(now);
        self.pushed.notify_one();
    }

    /// Has everything go to `sink` from now on, from `level` on. Does not wait for it.
    pub(super) fn redirect(&self, sink: Box<dyn Sink>, level: Level) {
        self.level.store(level as u8, Relaxed);
        self.state.lock().redirect = Some((sink, level));
        self.pushed.notify_one();
    }

    /// Makes `last` the last event and waits until it is written, at most `wait`. False when the
    /// outlet did not get there.
    pub(super) fn stop(&self, last: Event, wait: Duration) -> bool {
        let mut state = self.state.lock();
        if matches!(state.stage, Stage::Open) {
            state.stage = Stage::Stopping(Some(Box::new(last)));
            self.pushed.notify_one();
            self.stopping.notify_one();
        }
        let unfinished = |state: &mut State| !matches!(state.stage, Stage::Finished);
        !self.finished.wait_while_for(&mut state, unfinished, wait).timed_out()
    }

    /// Tells [`Queue::stop`] that everything is written.
    pub(super) fn finish(&self) {
        self.state.lock().stage = Stage::Finished;
        self.finished.notify_all();
    }
}

impl State {
    /// Whether there is nothing to be done yet.
    fn is_quiet(&self) -> bool {
        self.events.is_empty()
            && self.reopen.is_none()
            && self.redirect.is_none()
            && matches!(self.stage, Stage::Open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::reason::Reason;

    fn event(detail_bytes: usize) -> Event {
        Event::new(Reason::Internal, SystemTime::UNIX_EPOCH).detail("x".repeat(detail_bytes))
    }

    #[test]
    fn a_full_queue_loses_and_counts_and_never_waits() {
        let counters = Arc::new(Counters::new());
        let queue = Queue::new(Level::Info, Arc::clone(&counters));
        let fits = QUEUE_BYTES / event(10_000).size_bytes();
        for _ in 0..fits + 7 {
            queue.push(event(10_000));
        }
        assert_eq!(counters.events_lost(), 7);
        let mut batch = Vec::new();
        assert!(queue.take(&mut batch, None).last.is_none());
        assert_eq!(batch.len(), fits);
        queue.push(event(1));
        assert_eq!(counters.events_lost(), 7);
    }

    #[test]
    fn a_stop_comes_after_what_was_queued_and_ends_the_queue() {
        let counters = Arc::new(Counters::new());
        let queue = Queue::new(Level::Info, Arc::clone(&counters));
        queue.push(event(1));
        assert!(!queue.stop(event(2), Duration::ZERO));
        queue.push(event(3));
        let mut batch = Vec::new();
        let last = queue.take(&mut batch, None).last.expect("the last event");
        assert_eq!((batch.len(), *last), (1, event(2)));
        queue.finish();
        assert!(queue.stop(event(4), Duration::ZERO));
        assert_eq!(counters.events_lost(), 0);
    }

    #[test]
    fn taking_from_an_empty_queue_waits_no_longer_than_asked() {
        let queue = Queue::new(Level::Info, Arc::new(Counters::new()));
        let mut batch = Vec::new();
        let taken = queue.take(&mut batch, Some(Duration::from_millis(5)));
        assert!(taken.is_timeout && taken.last.is_none() && batch.is_empty());
    }

    #[test]
    fn asking_to_reopen_wakes_the_thread_and_is_no_time_that_has_passed() {
        let queue = Queue::new(Level::Info, Arc::new(Counters::new()));
        let mut batch = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(|| queue.reopen(SystemTime::UNIX_EPOCH));
            let taken = queue.take(&mut batch, Some(Duration::from_secs(60)));
            assert_eq!((taken.reopen, taken.is_timeout), (Some(SystemTime::UNIX_EPOCH), false));
        });
        assert_eq!(queue.take(&mut batch, Some(Duration::ZERO)).reopen, None);
    }
}
