//! The agents' loop: one poll, one heap of times, one list of those who can go on. Each agent gets a
//! bounded turn, so that no upload starves another.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token, Waker};

use crate::agent::{After, Agent, Ground};
use crate::clock;
use crate::plan::{Schedule, opening_time};

const WAKE: Token = Token(usize::MAX);
const EVENTS_A_TURN: usize = 1024;

/// The longest sleep, so that a missed wake-up can never hang a run.
const LONGEST_SLEEP_MS: u64 = 500;

/// What the run tells its engines.
#[derive(Default)]
pub struct Signal {
    go: OnceLock<Schedule>,
    stop: AtomicBool,
}

impl Signal {
    /// Begins the load; only the first call counts.
    pub fn go(&self, schedule: Schedule) {
        let _ = self.go.set(schedule);
    }

    /// Ends the run early.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Which agents an engine has: `first`, `first + step`, ... below `total`; and, where they open tunnels
/// ahead of the load, from when and how many a second all engines together.
pub struct Share {
    /// The first agent's number.
    pub first: u32,
    /// How many engines there are.
    pub step: u32,
    /// How many agents there are.
    pub total: u32,
    /// When the first tunnel is opened, and how many follow in a second.
    pub open: Option<(Instant, u32)>,
}

/// One thread's agents.
pub struct Engine {
    poll: Poll,
    ground: Ground,
    agents: Vec<Agent>,
    times: BinaryHeap<Reverse<(Instant, usize)>>,
    ready: VecDeque<usize>,
    queued: Vec<bool>,
    armed: Vec<Option<Instant>>,
    running: usize,
    signal: Arc<Signal>,
}

impl Engine {
    /// An engine, and what wakes it. `ground` is made around this engine's registry.
    pub fn new(
        share: &Share,
        signal: Arc<Signal>,
        ground: impl FnOnce(mio::Registry) -> Ground,
    ) -> io::Result<(Engine, Waker)> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKE)?;
        let ground = ground(poll.registry().try_clone()?);
        let now = clock::now();
        let numbers = (share.first..share.total).step_by(share.step.max(1) as usize);
        let agents: Vec<Agent> = numbers
            .enumerate()
            .map(|(place, number)| {
                let open_at = share.open.map(|(start, pace)| opening_time(start, number, pace));
                Agent::new(number, Token(place), open_at, now)
            })
            .collect();
        let mut engine = Engine {
            poll,
            ground,
            queued: vec![false; agents.len()],
            armed: vec![None; agents.len()],
            running: agents.len(),
            agents,
            times: BinaryHeap::new(),
            ready: VecDeque::new(),
            signal,
        };
        (0..engine.agents.len()).for_each(|place| engine.arm(place));
        Ok((engine, waker))
    }

    /// Runs until every agent has made all its uploads, the hard end has come, or it was stopped. The
    /// tunnels that are open stay so until the engine is dropped: the end is measured with them.
    pub fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_A_TURN);
        while self.running > 0 && !self.signal.stop.load(Ordering::Relaxed) {
            match self.poll.poll(&mut events, Some(self.sleep(clock::now()))) {
                Err(why) if why.kind() == io::ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            for event in events.iter().filter(|event| event.token() != WAKE) {
                let place = event.token().0;
                self.agents[place].note_ready(
                    event.is_readable() || event.is_read_closed() || event.is_error(),
                    event.is_writable() || event.is_error(),
                );
                self.enqueue(place);
            }
            let began = clock::now();
            self.check_go();
            self.fire_times();
            self.give_turns();
            let done = clock::now();
            if self.ground.schedule.is_some() {
                self.ground.tally.turned(done.saturating_duration_since(began));
            }
            if self.is_over(done) {
                self.agents.iter_mut().for_each(|agent| agent.give_up(&mut self.ground));
                break;
            }
        }
        let moved = self.agents.iter().map(Agent::moved_bytes);
        self.ground.tally.moved_bytes.extend(moved);
        Ok(())
    }

    /// What was counted.
    pub fn tally(&self) -> &crate::tally::Tally {
        &self.ground.tally
    }

    fn sleep(&self, now: Instant) -> Duration {
        if !self.ready.is_empty() {
            return Duration::ZERO;
        }
        let longest = Duration::from_millis(LONGEST_SLEEP_MS);
        match self.times.peek() {
            Some(Reverse((at, _))) => at.saturating_duration_since(now).min(longest),
            None => longest,
        }
    }

    fn check_go(&mut self) {
        if self.ground.schedule.is_some() {
            return;
        }
        let Some(schedule) = self.signal.go.get().copied() else { return };
        self.ground.schedule = Some(schedule);
        for place in 0..self.agents.len() {
            let after = self.agents[place].on_go(&mut self.ground, schedule.start);
            self.settle(place, after);
        }
    }

    fn fire_times(&mut self) {
        loop {
            let now = clock::now();
            match self.times.peek() {
                Some(Reverse((at, _))) if *at <= now => {}
                _ => return,
            }
            let Some(Reverse((at, place))) = self.times.pop() else { return };
            // An agent that has changed its mind has left the old time in the heap.
            if self.agents[place].wake_at() == Some(at) {
                self.armed[place] = None;
                let after = self.agents[place].on_time(&mut self.ground, now);
                self.settle(place, after);
            }
        }
    }

    fn give_turns(&mut self) {
        for _ in 0..self.ready.len() {
            let Some(place) = self.ready.pop_front() else { return };
            self.queued[place] = false;
            let after = self.agents[place].on_ready(&mut self.ground, clock::now());
            self.settle(place, after);
        }
    }

    fn settle(&mut self, place: usize, after: After) {
        match after {
            After::Wait => {}
            After::Again => self.enqueue(place),
            After::Done => self.running -= 1,
        }
        self.arm(place);
    }

    fn arm(&mut self, place: usize) {
        let wake_at = self.agents[place].wake_at();
        if wake_at != self.armed[place] {
            self.armed[place] = wake_at;
            self.times.extend(wake_at.map(|at| Reverse((at, place))));
        }
    }

    fn enqueue(&mut self, place: usize) {
        if !std::mem::replace(&mut self.queued[place], true) {
            self.ready.push_back(place);
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        self.ground.schedule.is_some_and(|schedule| now >= schedule.hard_end())
    }
}
