//! How a worker takes connections: its listeners, shortages, the limits at the door.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::tunnel::Tunnel;
use super::worker::Worker;
use crate::logic::ending::SessionId;
use crate::logic::reason::Reason;
use crate::net::kernel::Kernel;
use crate::sys;

/// Connections taken in one turn, so that a storm of them does not starve the tunnels.
const ACCEPTS_PER_TURN: usize = 256;
/// Pause after the system had no descriptor left. Edge-triggered listeners tell nothing when one is
/// free again, so a timer has to ask.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Connections in a row that may be gone when they are taken. A firewall in the kernel may refuse one
/// and leave it where it is; trying on would never come to an end.
pub(super) const GONE_IN_ROW_MAX: usize = 16;

/// A socket that listens.
pub(super) struct Listening<K: Kernel> {
    listener: K::Listener,
    /// There may be connections to take; only "would block" clears it.
    ready: bool,
}

impl<K: Kernel> Worker<K> {
    /// Takes connections from `listener`, which is registered under the number `index`.
    pub fn listen(&mut self, listener: K::Listener, index: usize) {
        if self.listeners.len() <= index {
            self.listeners.resize_with(index + 1, || None);
        }
        self.listeners[index] = Some(Listening { listener, ready: true });
    }

    /// Closes the listener of number `index`. What waits there is taken first: its clients have been
    /// told that they are connected.
    pub(super) fn unlisten(&mut self, index: usize) {
        let mut gone = 0;
        loop {
            let Some(Some(listening)) = self.listeners.get_mut(index) else { return };
            match self.tools.kernel.accept(&mut listening.listener) {
                Ok((stream, client)) => self.begin(stream, client),
                Err(error) if sys::is_of_one_connection(&error) && gone < GONE_IN_ROW_MAX => {
                    gone += 1;
                }
                Err(_) => break,
            }
        }
        self.listeners[index] = None;
    }

    /// An event of the listener of number `index`.
    pub(super) fn listener_is_ready(&mut self, index: usize) {
        if let Some(Some(listening)) = self.listeners.get_mut(index) {
            listening.ready = true;
        }
    }

    /// Whether there may be connections to take.
    pub(super) fn may_accept(&self) -> bool {
        self.listeners.iter().flatten().any(|listening| listening.ready)
    }

    /// Takes what waits at the listeners.
    pub(super) fn accept(&mut self) {
        let now = self.tools.kernel.now();
        if self.stopping || self.accept_again_at.is_some_and(|at| now < at) {
            return;
        }
        self.accept_again_at = None;
        let mut left = ACCEPTS_PER_TURN;
        let mut gone = 0;
        for index in 0..self.listeners.len() {
            while left > 0 {
                let Some(Some(listening)) = self.listeners.get_mut(index) else { break };
                if !listening.ready {
                    break;
                }
                left -= 1;
                match self.tools.kernel.accept(&mut listening.listener) {
                    Ok((stream, client)) => {
                        gone = 0;
                        self.begin(stream, client);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        listening.ready = false;
                    }
                    Err(error) if sys::is_of_one_connection(&error) && gone < GONE_IN_ROW_MAX => {
                        gone += 1;
                    }
                    Err(error) => {
                        // Pipes kept for later are worth less than the client that waits now.
                        self.tools.pools.close_pooled_pipes();
                        self.accept_again_at = Some(now + ACCEPT_PAUSE);
                        self.tell_shortage("accept", &error);
                        return;
                    }
                }
            }
        }
        if !self.may_accept() {
            self.accept_shortage.is_over();
        }
    }

    /// Begins the session of a connection that was taken.
    pub(super) fn begin(&mut self, mut stream: K::Stream, client: SocketAddr) {
        if self.stopping {
            self.tools.kernel.reset(stream);
            return;
        }
        let client = SocketAddr::new(client.ip().to_canonical(), client.port());
        let token = self.slots.next_token();
        if let Err(error) = self.tools.kernel.register(&mut stream, token) {
            self.tools.kernel.close(stream);
            self.tell_shortage("a place in the poll (fs.epoll.max_user_watches)", &error);
            return;
        }
        let limits = self.policy.limits;
        let sessions = match (limits.sessions, self.identity.sessions_max) {
            (0, fitting) => fitting,
            (limit, 0) => limit,
            (limit, fitting) => limit.min(fitting),
        };
        // All connections of a load balancer begin under its address; its clients are judged when it
        // has named them.
        let is_balancer = self.policy.is_balancer(client.ip());
        let of_client = if is_balancer { 0 } else { limits.sessions_per_client };
        let admitted = self.tools.counters.connection_opened(client.ip(), sessions, of_client);
        self.sessions_begun = self.sessions_begun.wrapping_add(1);
        let id = SessionId::new(self.identity.start_s, self.identity.index, self.sessions_begun);
        let now = self.tools.kernel.now();
        let mut tunnel = Tunnel::new(id, token, stream, client, Arc::clone(&self.policy), now);
        tunnel.is_placed = admitted.is_ok();
        if let Err(reason) = admitted {
            tunnel.session.without_place(reason, now);
        }
        let inserted = self.slots.insert(tunnel);
        debug_assert_eq!(inserted, token);
        self.with(token, |tunnel, tools| tunnel.drive(tools));
    }

    /// Once for a whole shortage.
    fn tell_shortage(&mut self, of: &str, error: &io::Error) {
        if !self.accept_shortage.is_to_be_told(self.tools.kernel.now()) {
            return;
        }
        let lacking = sys::is_out_of_descriptors(error);
        let reason = if lacking { Reason::DescriptorsExhausted } else { Reason::Internal };
        self.tools.tell(reason, |event| event.detail(format!("{of}: {error}")));
    }
}
