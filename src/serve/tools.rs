//! What a tunnel needs of its worker.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use crate::logic::addresses::{canonical, reaches};
use crate::logic::ending::Ending;
use crate::logic::reason::Reason;
use crate::net::kernel::Kernel;
use crate::net::pools::Pools;
use crate::observe::counters::Counters;
use crate::observe::events::{Event, rule};
use crate::observe::gauges::{Held, WorkerGauges};
use crate::observe::histograms::Measure;
use crate::observe::outlets::Events;

/// Bytes read at once while a head is awaited, and so the most that may come glued to one.
const HEAD_READ_BYTES: usize = 16 * 1024;

/// One worker's kernel, pools and voices, lent to the tunnel whose turn it is.
pub struct Tools<K: Kernel> {
    /// Sockets, pipes, clocks and names.
    pub kernel: K,
    /// Buffers and pipes.
    pub pools: Pools<K>,
    /// Where events go.
    pub events: Events,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// How this worker stands, and how long things take there.
    pub gauges: Arc<WorkerGauges>,
    /// Bytes relayed in this turn, up and down; counted once a turn.
    pub relayed: (u64, u64),
    /// Where this gateway listens.
    pub own: Vec<SocketAddr>,
    /// The gateway is about to stop: new sessions are refused.
    pub draining: bool,
    /// For bytes that are looked at and not kept.
    pub scratch: Box<[u8]>,
    sources: Vec<IpAddr>,
    next_source: usize,
}

/// What became of a tunnel in its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It waits for an event.
    Rest,
    /// It has used up its budget and wants another turn.
    Again,
    /// It is over.
    Over(Ending),
}

impl<K: Kernel> Tools<K> {
    /// Tools around a kernel; `sources` spreads the ephemeral ports over several addresses.
    pub fn new(
        kernel: K,
        pools: Pools<K>,
        events: Events,
        counters: Arc<Counters>,
        sources: Vec<IpAddr>,
        own: Vec<SocketAddr>,
    ) -> Tools<K> {
        let gauges = Arc::new(WorkerGauges::new(kernel.now()));
        Tools {
            kernel,
            pools,
            events,
            counters,
            gauges,
            relayed: (0, 0),
            own,
            draining: false,
            scratch: vec![0; HEAD_READ_BYTES].into_boxed_slice(),
            sources,
            next_source: 0,
        }
    }

    /// Counts `reason` and, where its level is wanted, sends the event that `with` completes.
    pub fn tell(&self, reason: Reason, with: impl FnOnce(Event) -> Event) {
        self.counters.count(reason);
        self.send(reason, with);
    }

    /// As [`Tools::tell`], but for the counters.
    pub fn send(&self, reason: Reason, with: impl FnOnce(Event) -> Event) {
        if self.events.wants(rule(reason).level) {
            self.events.send(with(Event::new(reason, self.kernel.wall())));
        }
    }

    /// Whether a connection to `address` would come back to this gateway.
    pub fn is_own(&mut self, address: SocketAddr) -> bool {
        // An IPv4-mapped address arrives at the IPv4 one.
        let address = SocketAddr::new(canonical(address.ip()), address.port());
        let listens = |&own: &SocketAddr| reaches(address, own);
        self.own.iter().any(listens) && self.kernel.is_own_address(address.ip())
    }

    /// Dials from these addresses from now on.
    pub fn set_sources(&mut self, sources: Vec<IpAddr>) {
        self.sources = sources;
        self.next_source = 0;
    }

    /// The source address for the next dial to `address`, if sources are configured for its family.
    pub fn source_for(&mut self, address: IpAddr) -> Option<IpAddr> {
        let count = self.sources.len();
        let fitting = (0..count)
            .map(|ahead| (self.next_source + ahead) % count)
            .find(|&index| self.sources[index].is_ipv4() == address.is_ipv4())?;
        self.next_source = fitting + 1;
        Some(self.sources[fitting])
    }

    /// Makes the scratch whole again after a panic took it away.
    pub fn restore_scratch(&mut self) {
        if self.scratch.is_empty() {
            self.scratch = vec![0; HEAD_READ_BYTES].into_boxed_slice();
        }
    }

    /// Records how long something took that began at `since` and is over now.
    pub fn time(&self, measure: Measure, since: Instant) {
        let duration = self.kernel.now().saturating_duration_since(since);
        self.gauges.histograms.record_time(measure, duration);
    }

    /// Shows what the worker holds at the end of a turn, and how long the turn took.
    pub fn end_turn(&mut self, sessions: usize) {
        self.count_relayed();
        let held = Held {
            sessions,
            pipes_out: self.pools.pipes_out(),
            pipes_pooled: self.pools.pipes_pooled(),
            buffers_out: self.pools.buffers_out(),
        };
        self.gauges.turn_ends(self.kernel.now(), self.kernel.clock(), held);
    }

    /// Puts what was relayed in this turn into the counters.
    fn count_relayed(&mut self) {
        let (up, down) = std::mem::take(&mut self.relayed);
        if up + down > 0 {
            self.counters.bytes(up, down);
        }
    }
}
