//! Counters, exact and shared by all workers.
//!
//! Each is one atomic. Only the distinct clients need a map; it is sharded, so that two workers
//! seldom meet at one lock, and it is touched at accept and close only.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;

use crate::logic::reason::Reason;

use super::events::{refuses, rule};
use super::refused::RefusedTargets;

const SHARDS: usize = 32;
const REASONS: usize = Reason::ALL.len();

/// All counters of one gateway.
pub struct Counters {
    active: AtomicUsize,
    /// Those of the active ones that have a place under `limits.sessions`.
    placed: AtomicUsize,
    tunnels: AtomicUsize,
    connected: AtomicUsize,
    sessions_total: AtomicU64,
    errors: AtomicU64,
    rejections: AtomicU64,
    reasons: [AtomicU64; REASONS],
    /// In the order of [`Reason::OF_HOSTS`].
    reported: [AtomicU64; Reason::OF_HOSTS.len()],
    bytes_up: AtomicU64,
    bytes_down: AtomicU64,
    events_lost: AtomicU64,
    clients: [Mutex<HashMap<IpAddr, usize>>; SHARDS],
    hasher: RandomState,
    refused_targets: RefusedTargets,
}

/// The counters at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Active Client Connection: open client TCP connections, refused ones included until closed.
    pub active: usize,
    /// Connected Client: distinct client addresses among them.
    pub connected: usize,
    /// Client connections ever accepted.
    pub sessions_total: u64,
    /// Error Count.
    pub errors: u64,
    /// Rejection Count: sessions refused by TLS validation.
    pub rejections: u64,
    /// Refusals by reason: every reason that refuses, also where it is 0.
    pub refusals: Vec<(Reason, u64)>,
    /// What `allow.mode = "report"` did not refuse, by reason. Part of no other number.
    pub reported: Vec<(Reason, u64)>,
    /// Bytes from clients to remotes.
    pub bytes_up: u64,
    /// Bytes from remotes to clients.
    pub bytes_down: u64,
    /// Events that no outlet could take.
    pub events_lost: u64,
}

impl Counters {
    /// All at zero.
    pub fn new() -> Counters {
        Counters {
            active: AtomicUsize::new(0),
            placed: AtomicUsize::new(0),
            tunnels: AtomicUsize::new(0),
            connected: AtomicUsize::new(0),
            sessions_total: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            rejections: AtomicU64::new(0),
            reasons: [const { AtomicU64::new(0) }; REASONS],
            reported: [const { AtomicU64::new(0) }; Reason::OF_HOSTS.len()],
            bytes_up: AtomicU64::new(0),
            bytes_down: AtomicU64::new(0),
            events_lost: AtomicU64::new(0),
            clients: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            refused_targets: RefusedTargets::default(),
        }
    }

    /// Counts an accepted connection of `client` and judges it by `limits.sessions` and
    /// `limits.sessions_per_client` (0 = off). It is counted either way: a connection over a limit
    /// is open until [`Counters::connection_closed`], which every call here must be followed by.
    ///
    /// # Errors
    /// [`Reason::TooManySessions`] or [`Reason::TooManySessionsOfClient`].
    pub fn connection_opened(
        &self,
        client: IpAddr,
        sessions: usize,
        sessions_per_client: usize,
    ) -> Result<(), Reason> {
        self.active.fetch_add(1, Relaxed);
        self.sessions_total.fetch_add(1, Relaxed);
        let of_client = self.add_client(client);
        judge_client(of_client, sessions_per_client)?;
        // Who is only told that there is no place takes none.
        let placed = self.placed.fetch_add(1, Relaxed) + 1;
        if sessions > 0 && placed > sessions {
            self.give_place_back();
            return Err(Reason::TooManySessions);
        }
        Ok(())
    }

    /// A connection that [`Counters::connection_opened`] admitted is over.
    pub fn give_place_back(&self) {
        self.placed.fetch_sub(1, Relaxed);
    }

    /// Counts the close of a connection that [`Counters::connection_opened`] counted. One that it
    /// did not count changes nothing, so that no gauge ever wraps.
    pub fn connection_closed(&self, client: IpAddr) {
        if self.remove_client(client) {
            self.active.fetch_sub(1, Relaxed);
        }
    }

    /// Moves an open connection from the load balancer `from` to the client `to` that its PROXY header
    /// names, and judges it by `limits.sessions_per_client` (0 = off). It is moved either way, and
    /// [`Counters::connection_closed`] is due for `to`.
    ///
    /// # Errors
    /// [`Reason::TooManySessionsOfClient`].
    pub fn connection_moved(
        &self,
        from: IpAddr,
        to: IpAddr,
        sessions_per_client: usize,
    ) -> Result<(), Reason> {
        // In this order a balancer that names itself never shows as gone.
        let of_client = self.add_client(to);
        self.remove_client(from);
        // Where both are one address, it was counted twice for a moment.
        let of_client = of_client - usize::from(from.to_canonical() == to.to_canonical());
        judge_client(of_client, sessions_per_client)
    }

    /// Counts a session whose CONNECT is whole as open, until [`Counters::tunnel_closed`].
    pub fn tunnel_opened(&self) {
        self.tunnels.fetch_add(1, Relaxed);
    }

    /// Counts the end of such a session.
    pub fn tunnel_closed(&self) {
        self.tunnels.fetch_sub(1, Relaxed);
    }

    /// Sessions whose CONNECT is whole and that are open: what a drain waits for.
    pub fn tunnels(&self) -> usize {
        self.tunnels.load(Relaxed)
    }

    /// Counts `reason` once, and Error Count and Rejection Count as its rule says.
    pub fn count(&self, reason: Reason) {
        let rule = rule(reason);
        self.reasons[reason as usize].fetch_add(1, Relaxed);
        if rule.counts_error {
            self.errors.fetch_add(1, Relaxed);
        }
        if rule.counts_rejection {
            self.rejections.fetch_add(1, Relaxed);
        }
    }

    /// Counts a refusal that was left out; other reasons than [`Reason::OF_HOSTS`] are never.
    pub fn count_reported(&self, reason: Reason) {
        let place = Reason::OF_HOSTS.iter().position(|known| *known == reason);
        if let Some(place) = place {
            self.reported[place].fetch_add(1, Relaxed);
        }
    }

    /// The targets that clients asked for and the list of hosts does not admit.
    pub fn refused_targets(&self) -> &RefusedTargets {
        &self.refused_targets
    }

    /// Counts relayed bytes.
    pub fn bytes(&self, up: u64, down: u64) {
        self.bytes_up.fetch_add(up, Relaxed);
        self.bytes_down.fetch_add(down, Relaxed);
    }

    /// Counts events that no outlet could take.
    pub fn lose_events(&self, lost: u64) {
        self.events_lost.fetch_add(lost, Relaxed);
    }

    /// Events that no outlet could take, so far.
    pub fn events_lost(&self) -> u64 {
        self.events_lost.load(Relaxed)
    }

    /// How often `reason` was counted.
    pub fn counted(&self, reason: Reason) -> u64 {
        self.reasons[reason as usize].load(Relaxed)
    }

    /// Open client connections.
    pub fn active(&self) -> usize {
        self.active.load(Relaxed)
    }

    /// All values at this moment.
    pub fn snapshot(&self) -> Snapshot {
        // Connections may close between two loads; a client without a connection must not show.
        let connected = self.connected.load(Relaxed);
        let active = self.active.load(Relaxed);
        Snapshot {
            active,
            connected: connected.min(active),
            sessions_total: self.sessions_total.load(Relaxed),
            errors: self.errors.load(Relaxed),
            rejections: self.rejections.load(Relaxed),
            refusals: Reason::ALL
                .into_iter()
                .filter(|reason| refuses(*reason))
                .map(|reason| (reason, self.counted(reason)))
                .collect(),
            reported: Reason::OF_HOSTS
                .into_iter()
                .zip(self.reported.iter().map(|count| count.load(Relaxed)))
                .collect(),
            bytes_up: self.bytes_up.load(Relaxed),
            bytes_down: self.bytes_down.load(Relaxed),
            events_lost: self.events_lost(),
        }
    }

    /// The open connections of `client`, this one included.
    fn add_client(&self, client: IpAddr) -> usize {
        let client = client.to_canonical();
        let mut clients = self.shard(client).lock();
        let of_client = clients.entry(client).or_insert(0);
        *of_client += 1;
        if *of_client == 1 {
            self.connected.fetch_add(1, Relaxed);
        }
        *of_client
    }

    /// False where no connection of `client` was counted.
    fn remove_client(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        let mut clients = self.shard(client).lock();
        let Entry::Occupied(mut of_client) = clients.entry(client) else {
            debug_assert!(false, "closed a connection of {client} that was never opened");
            return false;
        };
        if *of_client.get() > 1 {
            *of_client.get_mut() -= 1;
        } else {
            of_client.remove();
            self.connected.fetch_sub(1, Relaxed);
        }
        true
    }

    fn shard(&self, client: IpAddr) -> &Mutex<HashMap<IpAddr, usize>> {
        &self.clients[self.hasher.hash_one(client) as usize % SHARDS]
    }
}

fn judge_client(of_client: usize, sessions_per_client: usize) -> Result<(), Reason> {
    if sessions_per_client > 0 && of_client > sessions_per_client {
        return Err(Reason::TooManySessionsOfClient);
    }
    Ok(())
}

impl Default for Counters {
    fn default() -> Counters {
        Counters::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn clients_are_distinct_addresses_and_mapped_ones_are_ipv4() {
        let counters = Counters::new();
        for text in ["192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2", "2001:db8::1"] {
            assert_eq!(counters.connection_opened(address(text), 0, 0), Ok(()));
        }
        let open = counters.snapshot();
        assert_eq!((open.active, open.connected, open.sessions_total), (4, 3, 4));
        counters.connection_closed(address("192.0.2.1"));
        assert_eq!(counters.snapshot().connected, 3);
        counters.connection_closed(address("192.0.2.1"));
        assert_eq!(counters.snapshot().connected, 2);
        counters.connection_closed(address("192.0.2.2"));
        counters.connection_closed(address("2001:db8::1"));
        let closed = counters.snapshot();
        assert_eq!((closed.active, closed.connected, closed.sessions_total), (0, 0, 4));
    }

    #[test]
    fn limits_are_judged_and_the_refused_are_counted() {
        let counters = Counters::new();
        let (one, two) = (address("192.0.2.1"), address("192.0.2.2"));
        assert_eq!(counters.connection_opened(one, 2, 1), Ok(()));
        let refused = counters.connection_opened(one, 2, 1);
        assert_eq!(refused, Err(Reason::TooManySessionsOfClient));
        assert_eq!(counters.connection_opened(two, 2, 1), Ok(()), "the refused one takes no place");
        assert_eq!(counters.connection_opened(two, 2, 0), Err(Reason::TooManySessions));
        assert_eq!(counters.active(), 4);
        for client in [one, one, two, two] {
            counters.connection_closed(client);
        }
        assert_eq!(counters.active(), 0);
        assert_eq!(counters.connection_opened(two, 2, 1), Err(Reason::TooManySessions));
        counters.connection_closed(two);
        counters.give_place_back();
        assert_eq!(counters.connection_opened(two, 2, 1), Ok(()));
    }

    #[test]
    fn connections_move_from_a_balancer_to_whom_it_names() {
        let counters = Counters::new();
        let (balancer, agent) = (address("10.0.0.4"), address("192.0.2.1"));
        for _ in 0..3 {
            assert_eq!(counters.connection_opened(balancer, 0, 0), Ok(()));
        }
        assert_eq!(counters.connection_moved(balancer, agent, 1), Ok(()));
        assert_eq!(counters.snapshot().connected, 2);
        let refused = counters.connection_moved(balancer, agent, 1);
        assert_eq!(refused, Err(Reason::TooManySessionsOfClient));
        assert_eq!(counters.connection_moved(balancer, balancer, 1), Ok(()));
        assert_eq!(counters.snapshot().connected, 2);
        let mapped = address("::ffff:192.0.2.1");
        assert_eq!(counters.connection_moved(balancer, mapped, 3), Ok(()));
        let moved = counters.snapshot();
        assert_eq!((moved.active, moved.connected, moved.sessions_total), (3, 1, 3));
        for _ in 0..3 {
            counters.connection_closed(agent);
        }
        let closed = counters.snapshot();
        assert_eq!((closed.active, closed.connected), (0, 0));
    }

    #[test]
    fn reasons_move_the_counters_of_their_rule() {
        let counters = Counters::new();
        for reason in
            [Reason::HostNotAllowed, Reason::DialFailed, Reason::NotTls, Reason::HelloTooLarge]
        {
            counters.count(reason);
        }
        counters.count(Reason::SessionEnded);
        let snapshot = counters.snapshot();
        assert_eq!((snapshot.errors, snapshot.rejections), (2, 2));
        assert!(snapshot.refusals.contains(&(Reason::HostNotAllowed, 1)));
        assert!(snapshot.refusals.contains(&(Reason::Loop, 0)));
        assert!(!snapshot.refusals.iter().any(|(reason, _)| *reason == Reason::SessionEnded));
    }

    #[test]
    fn what_is_reported_moves_no_other_counter() {
        let counters = Counters::new();
        counters.count_reported(Reason::PortNotAllowed);
        counters.count_reported(Reason::DialFailed);
        let snapshot = counters.snapshot();
        let expected = vec![(Reason::HostNotAllowed, 0), (Reason::PortNotAllowed, 1)];
        assert_eq!(snapshot.reported, expected);
        let others = Snapshot { reported: Vec::new(), ..snapshot };
        assert_eq!(others, Snapshot { reported: Vec::new(), ..Counters::new().snapshot() });
    }

    #[test]
    fn workers_share_them_exactly() {
        let counters = Counters::new();
        std::thread::scope(|scope| {
            for worker in 0..4_u8 {
                let counters = &counters;
                scope.spawn(move || {
                    for number in 0..2_000_u32 {
                        let client = IpAddr::from([10, worker % 2, 0, (number % 7) as u8]);
                        let _ = counters.connection_opened(client, 0, 0);
                        counters.bytes(2, 1);
                        counters.count(Reason::DialFailed);
                        counters.connection_closed(client);
                    }
                });
            }
        });
        let snapshot = counters.snapshot();
        assert_eq!((snapshot.active, snapshot.connected), (0, 0));
        assert_eq!((snapshot.sessions_total, snapshot.errors), (8_000, 8_000));
        assert_eq!((snapshot.bytes_up, snapshot.bytes_down), (16_000, 8_000));
    }
}
