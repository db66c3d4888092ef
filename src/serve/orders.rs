//! What the supervisor tells a worker to do, and the tray in which it waits.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::logic::policy::Policy;
use crate::net::kernel::Mail;
use crate::net::mailbox::Mailbox;

/// One thing to do.
#[derive(Debug)]
pub enum Order {
    /// Begin new sessions by these rules.
    Rules(Arc<Rules>),
    /// Take connections from this listener too, under a number that no other has.
    Listen(TcpListener, usize),
    /// Close the listener of this number, after taking what waits there.
    Unlisten(usize),
    /// Refuse new sessions; those that are open live on.
    Drain,
}

/// Everything of one generation of the configuration that a worker goes by.
#[derive(Debug)]
pub struct Rules {
    /// Decides about sessions.
    pub policy: Arc<Policy>,
    /// Addresses to dial from.
    pub sources: Vec<IpAddr>,
    /// Where this gateway listens.
    pub own: Vec<SocketAddr>,
    /// Idle time before TCP probes a silent peer.
    pub keepalive: Option<Duration>,
    /// Pipes this worker may hold; 0 = tunnels copy.
    pub pipes_max: usize,
    /// Whether open tunnels whose target is not allowed any more are cut.
    pub cuts_open: bool,
}

/// Where a worker finds its orders. Bounded by what the supervisor does: a few orders a reload.
#[derive(Debug, Default)]
pub struct Tray(Mutex<Vec<Order>>);

impl Tray {
    /// Puts orders in, in their order, and calls the worker.
    pub fn give(&self, orders: Vec<Order>, mailbox: &Mailbox) {
        self.put(orders);
        mailbox.send(Mail::Orders);
    }

    /// Puts orders in, in their order. The worker looks when [`Mail::Orders`] comes.
    pub fn put(&self, orders: Vec<Order>) {
        self.0.lock().extend(orders);
    }

    /// Takes all orders out.
    pub fn take(&self) -> Vec<Order> {
        std::mem::take(&mut *self.0.lock())
    }
}
