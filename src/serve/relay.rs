//! Both flows of a tunnel, as far as sockets and budget allow.

use super::tools::{Fate, Tools};
use super::tunnel::Tunnel;
use crate::logic::bursts::Bursts;
use crate::logic::ending::Side;
use crate::logic::flow::{Filled, Flow, Poured, Step};
use crate::logic::reason::Reason;
use crate::logic::session::{Action, Input};
use crate::logic::watch::Direction;
use crate::net::carrier::Carrier;
use crate::net::kernel::Kernel;
use crate::net::pools::{BUFFER_BYTES, Pools};
use crate::observe::histograms::Measure;

/// Bytes one flow may fill in a turn. A tunnel flat out yields to the others after that.
const BUDGET_BYTES: usize = 256 * 1024;
/// Record headers that may stand between the bytes of a held hello (5 bytes each, 4,096 records).
const FRAMING_BYTES: usize = 5 * 4096;

/// One direction: its state and its carrier.
#[derive(Debug)]
pub struct Line<K: Kernel> {
    pub(super) flow: Flow,
    pub(super) carrier: Carrier<K>,
    bursts: Bursts,
}

impl<K: Kernel> Line<K> {
    /// Agents send much and are answered with little, until bursts show otherwise.
    pub(super) fn new(direction: Direction) -> Line<K> {
        Line {
            flow: Flow::new(),
            carrier: Carrier::Empty,
            bursts: Bursts::new(direction == Direction::Down),
        }
    }

    /// Drops what is held: it cannot be delivered any more.
    pub(super) fn abandon(&mut self, pools: &mut Pools<K>) {
        self.flow.poured(Poured::Broke);
        self.carrier.release(pools);
    }
}

/// Why a direction stopped for now.
enum Stop {
    /// It waits, or is done.
    Still,
    /// Its budget is spent.
    Spent,
    /// The session is not in a tunnel any more.
    Left(Fate),
}

impl<K: Kernel> Tunnel<K> {
    pub(super) fn relay(&mut self, tools: &mut Tools<K>) -> Fate {
        let moved_before = (self.up.flow.bytes(), self.down.flow.bytes());
        let fate = self.run_both(tools);
        let up = self.up.flow.bytes() - moved_before.0;
        let down = self.down.flow.bytes() - moved_before.1;
        if moved_before.1 == 0 && down > 0 {
            tools.time(Measure::FirstByte, self.step_at);
        }
        if up + down > 0 {
            tools.relayed.0 += up;
            tools.relayed.1 += down;
            // The process may have been halted since the turn began, and they have moved only now.
            self.session.touch(tools.kernel.clock());
        }
        for line in [&mut self.up, &mut self.down] {
            if line.flow.held() == 0 {
                line.carrier.release(&mut tools.pools);
            }
        }
        fate
    }

    fn run_both(&mut self, tools: &mut Tools<K>) -> Fate {
        let (mut up_budget, mut down_budget) = (BUDGET_BYTES, BUDGET_BYTES);
        loop {
            let up = match self.run(Direction::Up, &mut up_budget, tools) {
                Stop::Left(fate) => return fate,
                stop => stop,
            };
            let down = match self.run(Direction::Down, &mut down_budget, tools) {
                Stop::Left(fate) => return fate,
                stop => stop,
            };
            if matches!(up, Stop::Spent) || matches!(down, Stop::Spent) {
                return Fate::Again;
            }
            // The server's hello, or a side that broke, may have set the other direction free.
            if matches!(self.up.flow.next(), Step::Rest | Step::Done) {
                return Fate::Rest;
            }
        }
    }

    fn run(&mut self, direction: Direction, budget: &mut usize, tools: &mut Tools<K>) -> Stop {
        loop {
            let (line, source, sink) = match direction {
                Direction::Up => (&mut self.up, &mut self.client, &mut self.remote),
                Direction::Down => (&mut self.down, &mut self.remote, &mut self.client),
            };
            let (Some(source), Some(sink)) = (source, sink) else { return Stop::Still };
            match line.flow.next() {
                Step::Rest | Step::Done => return Stop::Still,
                Step::ShutWrite => {
                    // Where the sink has broken, the other direction is the one to find out how.
                    let _ = tools.kernel.shut_write(sink);
                    line.flow.shut();
                    if self.up.flow.is_done() && self.down.flow.is_done() {
                        return Stop::Left(self.tell(Input::Delivered(from(direction)), tools));
                    }
                }
                Step::Fill if *budget == 0 => return Stop::Spent,
                Step::Fill => {
                    let fresh = line.flow.held();
                    let filled = if self.session.is_watching() {
                        let hello_bytes = self.session.policy().limits.hello_bytes;
                        let hold_bytes_max = hello_bytes + FRAMING_BYTES + BUFFER_BYTES;
                        let Tools { kernel, pools, .. } = tools;
                        line.carrier.fill_visibly(kernel, source, pools, hold_bytes_max)
                    } else {
                        let Tools { kernel, pools, .. } = tools;
                        let is_end_near = line.flow.is_end_near();
                        let piece = line.bursts.piece(is_end_near, || kernel.is_paced(sink));
                        line.carrier.fill(piece, kernel, source, pools)
                    };
                    if !self.session.is_watching() {
                        line.bursts.learn(filled);
                    }
                    line.flow.filled(filled);
                    if let Some(left) = self.after_fill(direction, filled, fresh, budget, tools) {
                        return Stop::Left(left);
                    }
                }
                Step::Pour => {
                    let poured = line.carrier.pour(&mut tools.kernel, sink, &mut tools.pools);
                    line.flow.poured(poured);
                    if let Poured::Moved(bytes) = poured
                        && (line.carrier.is_pipe() || !tools.pools.splices())
                    {
                        tools.gauges.histograms.record(Measure::Pour, bytes as u64);
                    }
                    if poured == Poured::Broke
                        && let Some(left) = self.after_broken_pour(direction, tools)
                    {
                        return Stop::Left(left);
                    }
                }
            }
        }
    }

    fn after_fill(
        &mut self,
        direction: Direction,
        filled: Filled,
        fresh: usize,
        budget: &mut usize,
        tools: &mut Tools<K>,
    ) -> Option<Fate> {
        let source = from(direction);
        match filled {
            // It took no bytes, and has no end to show for it: some of what it was to get is lost, so
            // that there is nothing to go on with.
            Filled::SourceDry if self.broken == Some(source) => {
                Some(self.tell(Input::Broke(source), tools))
            }
            Filled::SourceDry | Filled::Scarce => None,
            Filled::Moved(bytes) | Filled::MovedAll(bytes) => {
                *budget = budget.saturating_sub(bytes);
                if !self.session.is_watching() {
                    return None;
                }
                self.judged(direction, fresh, tools)
            }
            Filled::CarrierFull => Some(self.tell(Input::HoldFull, tools)),
            // A side that broke under a write may show it as a mere end here.
            Filled::Ended if self.broken == Some(source) => {
                Some(self.tell(Input::Broke(source), tools))
            }
            Filled::Ended => {
                let action = self.session.handle(Input::Ended(source), tools.kernel.now());
                if action == Action::Wait { None } else { Some(self.act(action, &[], tools)) }
            }
            Filled::Broke => Some(self.tell(Input::Broke(source), tools)),
        }
    }

    /// The sink is gone. What it sent before that is still delivered, then the session ends.
    fn after_broken_pour(&mut self, direction: Direction, tools: &mut Tools<K>) -> Option<Fate> {
        let side = to(direction);
        self.broken = Some(side);
        let (line, other) = match direction {
            Direction::Up => (&mut self.up, &mut self.down),
            Direction::Down => (&mut self.down, &mut self.up),
        };
        line.abandon(&mut tools.pools);
        if self.session.is_watching() || other.flow.has_ended() || other.flow.is_broken() {
            return Some(self.tell(Input::Broke(side), tools));
        }
        other.flow.source_ends_soon();
        None
    }

    /// Shows the held bytes to the session. `Rest` where the tunnel goes on.
    pub(super) fn judge_held(
        &mut self,
        direction: Direction,
        fresh: usize,
        tools: &mut Tools<K>,
    ) -> Fate {
        self.judged(direction, fresh, tools).unwrap_or(Fate::Rest)
    }

    fn judged(&mut self, direction: Direction, fresh: usize, tools: &mut Tools<K>) -> Option<Fate> {
        let line = match direction {
            Direction::Up => &mut self.up,
            Direction::Down => &mut self.down,
        };
        line.flow.wait();
        // What is left of our own 200 is none of the session's business.
        let held = &line.carrier.held()[line.flow.own_held()..];
        let input = Input::Held { direction, held, fresh };
        match self.session.handle(input, tools.kernel.now()) {
            Action::Hold => {}
            Action::Forward => line.flow.release(),
            Action::LetGo => {
                self.up.flow.release();
                self.down.flow.release();
                self.tell_event(Reason::TlsVerified, tools, |event| event);
                self.session.forget_handshake();
            }
            action => return Some(self.act(action, &[], tools)),
        }
        None
    }
}

/// The side a direction comes from.
fn from(direction: Direction) -> Side {
    match direction {
        Direction::Up => Side::Client,
        Direction::Down => Side::Remote,
    }
}

/// The side a direction goes to.
fn to(direction: Direction) -> Side {
    match direction {
        Direction::Up => Side::Remote,
        Direction::Down => Side::Client,
    }
}
