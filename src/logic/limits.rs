//! Every limit of the gateway, its default and the reason for it, in one place.

use std::time::Duration;

/// The `[limits]` of the configuration. A value of 0 switches a limit off where the field says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open client connections. 100,000: far above any documented fleet, and bounded. 0 = off.
    pub sessions: usize,
    /// Open connections of one client address. Off: agents behind one NAT share an address. 0 = off.
    pub sessions_per_client: usize,
    /// Bytes of a request head. 16,384: no real client sends a tenth of it, with credentials and all.
    pub head_bytes: usize,
    /// Time for a whole head, from accept, absolute. 10 s: a head is one segment in practice.
    pub head_ms: u64,
    /// Time for a name's addresses. 5 s: the second try of a stub resolver has answered by then.
    pub resolve_ms: u64,
    /// Time for all dialling attempts together. 10 s: clients give up after 30 s or 60 s and should
    /// read our 504 rather than run into their own timeout.
    pub dial_ms: u64,
    /// Time for a relay proxy's answer, once it is connected. 10 s: it dials the target meanwhile, and
    /// clients should read our 504 rather than run into their own timeout.
    pub relay_proxy_ms: u64,
    /// Bytes of a ClientHello message. 65,536: post-quantum key shares take 2 KiB, test suites 16 KiB.
    pub hello_bytes: usize,
    /// Time for the hello after the 200, and again for the server's answer; with a list of client
    /// certificates that is all of the handshake up to the server's change of cipher. 10 s.
    pub hello_ms: u64,
    /// Time without a byte in either direction before a tunnel is reset. 600,000 (10 min): long
    /// polls and web sockets of the agents are silent for minutes. 0 = off.
    pub idle_ms: u64,
    /// Time without a byte before a tunnel whose one direction has ended is reset. 60 s. 0 = off.
    pub half_closed_ms: u64,
    /// Age at which a session is reset whatever it does. Off. 0 = off.
    pub session_ms: u64,
    /// Idle time before TCP probes a silent peer, in seconds. 60: below the timeouts of NATs. 0 = off.
    pub keepalive_s: u64,
    /// Time open tunnels get to end by themselves once the gateway drains. 30 s. 0 = none.
    pub drain_ms: u64,
    /// Time for which the health checks fail at least before the end, so that every load balancer has
    /// seen it. 0: without a balancer nobody waits.
    pub drain_notice_ms: u64,
}

impl Limits {
    /// Time without a byte before a tunnel is reset; `None` where every limit that applies is off.
    pub fn silence_allowed(&self, half_closed: bool) -> Option<Duration> {
        let idle = duration(self.idle_ms);
        if !half_closed {
            return idle;
        }
        match (duration(self.half_closed_ms), idle) {
            (Some(half_closed), Some(idle)) => Some(half_closed.min(idle)),
            (half_closed, idle) => half_closed.or(idle),
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            sessions: 100_000,
            sessions_per_client: 0,
            head_bytes: 16_384,
            head_ms: 10_000,
            resolve_ms: 5_000,
            dial_ms: 10_000,
            relay_proxy_ms: 10_000,
            hello_bytes: 65_536,
            hello_ms: 10_000,
            idle_ms: 600_000,
            half_closed_ms: 60_000,
            session_ms: 0,
            keepalive_s: 60,
            drain_ms: 30_000,
            drain_notice_ms: 0,
        }
    }
}

/// A limit in milliseconds as a duration; `None` where 0 switches it off.
pub fn duration(limit_ms: u64) -> Option<Duration> {
    (limit_ms > 0).then(|| Duration::from_millis(limit_ms))
}
