//! One event loop: its listeners, its sessions, their deadlines.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::orders::{Order, Rules, Tray};
use super::panics;
use super::shortage::Shortage;
use super::taking::Listening;
use super::tools::{Fate, Tools};
use super::tunnel::Tunnel;
use crate::logic::policy::Policy;
use crate::logic::reason::Reason;
use crate::logic::timers::Timers;
use crate::net::kernel::{Kernel, Mail, Ready};
use crate::net::slots::{Slots, Token};
use crate::observe::histograms::Measure;

/// How long unused pipes are kept.
const PIPES_KEPT: Duration = Duration::from_secs(10);

/// Turns in a row that deadlines wait for polls to tell of everything: more than the largest number of
/// sessions takes.
const TURNS_WAITED_MAX: u32 = 256;

/// Which worker this is, for the ids of its sessions.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// When the process started, in Unix seconds.
    pub start_s: u64,
    /// Which of its workers.
    pub index: usize,
    /// Sessions that fit into the descriptors of the process; 0 = no limit.
    pub sessions_max: usize,
}

/// One event loop.
pub struct Worker<K: Kernel> {
    pub(super) tools: Tools<K>,
    pub(super) identity: Identity,
    pub(super) policy: Arc<Policy>,
    pub(super) tray: Arc<Tray>,
    /// By number; a number whose listener is closed stays empty.
    pub(super) listeners: Vec<Option<Listening<K>>>,
    pub(super) slots: Slots<Tunnel<K>>,
    pub(super) timers: Timers,
    pub(super) sessions_begun: u32,
    /// Tunnels that used up their budget.
    pub(super) again: Vec<Token>,
    pub(super) accept_again_at: Option<Instant>,
    pub(super) accept_shortage: Shortage,
    pipe_shortage: Shortage,
    pub(super) pipes_used_at: Instant,
    pub(super) ready: Vec<Ready>,
    pub(super) mail: Vec<Mail<K::Stream>>,
    pub(super) due: Vec<usize>,
    /// Turns for which deadlines have waited.
    turns_waited: u32,
    pub(super) stopping: bool,
}

impl<K: Kernel> Worker<K> {
    /// A worker without listeners: connections come by mail, or see [`Worker::listen`].
    pub fn new(
        tools: Tools<K>,
        identity: Identity,
        policy: Arc<Policy>,
        tray: Arc<Tray>,
    ) -> Worker<K> {
        let now = tools.kernel.now();
        Worker {
            tools,
            identity,
            policy,
            tray,
            listeners: Vec::new(),
            slots: Slots::default(),
            timers: Timers::new(now),
            sessions_begun: 0,
            again: Vec::new(),
            accept_again_at: None,
            accept_shortage: Shortage::default(),
            pipe_shortage: Shortage::default(),
            pipes_used_at: now,
            ready: Vec::new(),
            mail: Vec::new(),
            due: Vec::new(),
            turns_waited: 0,
            stopping: false,
        }
    }

    /// Turns until it is told to stop.
    ///
    /// # Errors
    /// Where the poll itself fails.
    pub fn run(mut self) -> io::Result<()> {
        let gauges = Arc::clone(&self.tools.gauges);
        let outcome = loop {
            match self.turn() {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        gauges.is_over();
        outcome
    }

    /// One pass: sleep until something happens, then serve all that did. False once it has stopped.
    ///
    /// # Errors
    /// Where the poll itself fails.
    pub fn turn(&mut self) -> io::Result<bool> {
        let sleep = self.sleep();
        let mut ready = std::mem::take(&mut self.ready);
        self.tools.kernel.poll(sleep, &mut ready)?;
        self.tools.gauges.turn_begins(self.tools.kernel.now());
        self.tools.gauges.histograms.record(Measure::Ready, ready.len() as u64);
        for ready in ready.drain(..) {
            match ready.token.as_listener() {
                Some(index) => self.listener_is_ready(index),
                None => self.with(ready.token, |tunnel, tools| tunnel.ready(ready, tools)),
            }
        }
        self.ready = ready;
        self.read_mail();
        self.serve_again();
        self.accept();
        self.expire();
        self.tidy_pipes();
        self.tools.end_turn(self.slots.len());
        Ok(!self.stopping)
    }

    /// Open sessions.
    pub fn sessions(&self) -> usize {
        self.slots.len()
    }

    /// Deadlines that are armed: one for each session, unless its limits are off.
    pub fn deadlines(&self) -> usize {
        self.timers.len()
    }

    /// Kernel, pools and voices.
    pub fn tools(&mut self) -> &mut Tools<K> {
        &mut self.tools
    }

    fn sleep(&self) -> Option<Duration> {
        if !self.again.is_empty() || (self.may_accept() && self.accept_again_at.is_none()) {
            return Some(Duration::ZERO);
        }
        let now = self.tools.kernel.now();
        let accept = self.accept_again_at.map(|at| at.saturating_duration_since(now));
        let pipes = (self.tools.pools.pipes_pooled() > 0)
            .then(|| (self.pipes_used_at + PIPES_KEPT).saturating_duration_since(now));
        [self.timers.sleep(now), accept, pipes].into_iter().flatten().min()
    }

    fn read_mail(&mut self) {
        let mut mail = std::mem::take(&mut self.mail);
        self.tools.kernel.mail(&mut mail);
        for letter in mail.drain(..) {
            match letter {
                // Nobody would end a session that begins behind the stop.
                Mail::Accepted(stream, _) if self.stopping => self.tools.kernel.close(stream),
                Mail::Accepted(stream, client) => self.begin(stream, client),
                Mail::Resolved(token, answer) => {
                    self.with(token, |tunnel, tools| tunnel.resolved(token, answer, tools));
                }
                Mail::Orders => self.obey(),
                Mail::Stop => self.stop(),
            }
        }
        self.mail = mail;
    }

    fn serve_again(&mut self) {
        for token in std::mem::take(&mut self.again) {
            self.with(token, |tunnel, tools| tunnel.drive_queued(tools));
        }
    }

    /// Gives one tunnel its turn and sees to what became of it. A token of a past session is nobody's.
    pub(super) fn with(
        &mut self,
        token: Token,
        turn: impl FnOnce(&mut Tunnel<K>, &mut Tools<K>) -> Fate,
    ) {
        let Some(tunnel) = self.slots.get_mut(token) else { return };
        let tools = &mut self.tools;
        // A tunnel that panicked is thrown away whole, and tools hold nothing of it but counts.
        let fate = catch_unwind(AssertUnwindSafe(|| turn(tunnel, tools)));
        let fate = match fate {
            Ok(fate) => fate,
            Err(payload) => {
                let panic = panics::text(payload.as_ref());
                tunnel.close_after_panic(&panic, &mut self.tools);
                self.tools.restore_scratch();
                self.drop_slot(token);
                return;
            }
        };
        match fate {
            Fate::Rest | Fate::Again => {
                match tunnel.deadline(self.tools.kernel.now()) {
                    Some(deadline) => self.timers.arm(token.slot(), deadline),
                    None => self.timers.disarm(token.slot()),
                }
                if fate == Fate::Again && tunnel.queue() {
                    self.again.push(token);
                }
            }
            Fate::Over(ending) => {
                tunnel.close(ending, &mut self.tools);
                self.drop_slot(token);
            }
        }
    }

    fn drop_slot(&mut self, token: Token) {
        self.timers.disarm(token.slot());
        self.slots.remove(token);
    }

    fn expire(&mut self) {
        // After a while without a turn many deadlines have passed, and many events are to be told: a
        // session is not late whose bytes are there.
        if !self.tools.kernel.told_all() && self.turns_waited < TURNS_WAITED_MAX {
            self.turns_waited += 1;
            return;
        }
        self.turns_waited = 0;
        let now = self.tools.kernel.now();
        let mut due = std::mem::take(&mut self.due);
        self.timers.expire(now, &mut due);
        for slot in due.drain(..) {
            if let Some(token) = self.slots.token_of(slot) {
                self.with(token, |tunnel, tools| tunnel.deadline_passed(tools));
            }
        }
        self.due = due;
    }

    /// Pipes that nobody has needed for a while cost kernel memory and descriptors for nothing.
    fn tidy_pipes(&mut self) {
        let now = self.tools.kernel.now();
        let pools = &mut self.tools.pools;
        if let Some(error) = pools.take_refused() {
            // They give one error for each shortage.
            self.pipe_shortage.is_over();
            if self.pipe_shortage.is_to_be_told(now) {
                self.tools.tell(Reason::PipesExhausted, |event| event.detail(error.to_string()));
            }
        }
        if self.tools.pools.take_gave_up() {
            self.tools.tell(Reason::LimitsKnown, |event| {
                event.detail("the system refuses splice(2), so that tunnels copy from now on")
            });
        }
        let pools = &mut self.tools.pools;
        if pools.take_used() {
            self.pipes_used_at = now;
        } else if pools.pipes_pooled() > 0
            && now.saturating_duration_since(self.pipes_used_at) >= PIPES_KEPT
        {
            pools.close_pooled_pipes();
        }
    }

    fn obey(&mut self) {
        for order in self.tray.take() {
            match order {
                Order::Rules(rules) => self.go_by(&rules),
                Order::Listen(bound, index) => match self.tools.kernel.listen(bound, index) {
                    Ok(listener) => self.listen(listener, index),
                    Err(error) => self.tools.tell(Reason::Internal, |event| {
                        event.detail(format!("a new listener cannot be polled: {error}"))
                    }),
                },
                Order::Unlisten(index) => self.unlisten(index),
                Order::Drain => self.tools.draining = true,
            }
        }
    }

    /// Goes by these rules from now on; sessions keep those they began with.
    pub fn go_by(&mut self, rules: &Rules) {
        self.policy = Arc::clone(&rules.policy);
        self.tools.set_sources(rules.sources.clone());
        self.tools.own.clone_from(&rules.own);
        self.tools.kernel.set_keepalive(rules.keepalive);
        self.tools.pools.set_pipes_max(rules.pipes_max);
        if rules.cuts_open {
            for token in self.slots.tokens() {
                self.with(token, |tunnel, tools| tunnel.cut_unless_allowed(&rules.policy, tools));
            }
        }
    }

    fn stop(&mut self) {
        for token in self.slots.tokens() {
            self.with(token, |tunnel, tools| tunnel.stop(tools));
        }
        self.stopping = true;
    }
}
