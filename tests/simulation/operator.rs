//! What an operator does to a running gateway: gives it new rules, drains it, stops it.

use std::sync::Arc;

use sluice::serve::orders::Order;

use crate::world::{Act, Actor, ActorId, Letter, World};

/// How often a drain looks whether it is over, as the gateway's supervisor does.
const DRAIN_LOOK_US: u64 = 20_000;

/// When the worker has been told to drain, in polls.
#[derive(Clone, Copy, Debug, Default)]
pub struct Drain {
    /// The poll in which the order was put into the tray; it may be obeyed from there on.
    pub ordered: Option<u64>,
    /// The poll from whose mail the worker has obeyed it at the latest.
    pub handed: Option<u64>,
}

impl World {
    pub fn order(&mut self, order: Order) {
        self.tray.put(vec![order]);
        self.letters.push_back(Letter::Orders);
    }

    pub fn reload(&mut self, number: usize) {
        let rules = Arc::clone(&self.generations[number].rules);
        self.order(Order::Rules(rules));
    }

    pub fn begin_drain(&mut self) {
        self.drain.ordered.get_or_insert(self.polls);
        self.order(Order::Drain);
    }

    /// The worker takes its orders.
    pub fn orders_are_read(&mut self) {
        if self.drain.ordered.is_some() {
            self.drain.handed.get_or_insert(self.polls);
        }
    }
}

/// Drains and then stops, as the gateway's supervisor does: when no tunnel is left and the balancers
/// have had their notice, or when the time is over.
pub struct Drainer {
    pub notice_us: u64,
    pub longest_us: u64,
    pub since_us: Option<u64>,
}

impl Actor for Drainer {
    fn wake(&mut self, id: ActorId, world: &mut World) {
        let Some(since_us) = self.since_us else {
            self.since_us = Some(world.now_us);
            world.begin_drain();
            return world.plan(DRAIN_LOOK_US, Act::Wake(id));
        };
        let waited_us = world.now_us - since_us;
        let is_quiet = world.counters.tunnels() == 0 && waited_us >= self.notice_us;
        if is_quiet || waited_us >= self.longest_us.max(self.notice_us) {
            world.drained_quietly = is_quiet;
            world.met.push(if is_quiet { "a quiet drain" } else { "a drain that ran out" });
            world.perform(Act::Stop);
        } else {
            world.plan(DRAIN_LOOK_US, Act::Wake(id));
        }
    }
}
