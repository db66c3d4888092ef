//! What the admin listener asks of the running process.

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::supervisor::Request;
use crate::net::mailbox::Mailbox;
use crate::net::resolver::Resolver;
use crate::observe::admin::Reload;
use crate::observe::status::{Descriptors, Inside};
use crate::sys;

/// How long a reload may take: it reads one file and binds a few sockets.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is around the workers.
pub(super) struct Shell {
    workers: Vec<Arc<Mailbox>>,
    resolver: Arc<Resolver>,
}

impl Shell {
    pub(super) fn new(workers: Vec<Arc<Mailbox>>, resolver: Arc<Resolver>) -> Shell {
        Shell { workers, resolver }
    }
}

impl Shell {
    /// Monotonic time.
    pub(super) fn clock(&self) -> Instant {
        Inside::now(self)
    }
}

/// `POST /reload`: asks the supervisor and waits for the outcome.
pub(super) struct AskSupervisor(Mutex<Sender<Request>>);

impl AskSupervisor {
    pub(super) fn new(requests: Sender<Request>) -> AskSupervisor {
        AskSupervisor(Mutex::new(requests))
    }
}

impl Reload for AskSupervisor {
    fn reload(&self) -> Result<String, String> {
        let (answer, outcome) = channel();
        let asked = self.0.lock().send(Request::Reload("POST /reload", answer));
        let outcome = asked.ok().and_then(|()| outcome.recv_timeout(PATIENCE).ok());
        match outcome {
            Some(outcome) => outcome.map_err(|problems| problems.join("\n")),
            None => Err("the gateway does not answer; it may be about to stop".to_owned()),
        }
    }
}

impl Inside for Shell {
    #[allow(
        clippy::disallowed_methods,
        reason = "the admin listener has a thread of its own, outside every worker's turn"
    )]
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn knock(&self) {
        self.workers.iter().for_each(|mailbox| mailbox.knock());
    }

    fn descriptors(&self) -> Descriptors {
        Descriptors { open: sys::open_descriptors(), limit: sys::descriptor_limit() }
    }

    fn resolver_queued(&self) -> usize {
        self.resolver.queued()
    }
}
