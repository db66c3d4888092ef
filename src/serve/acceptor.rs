//! Who takes connections: every worker at listeners of its own that share a port, or one thread that
//! hands them round. The first is cheaper; the second works everywhere, and with a socket that was
//! inherited.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token, Waker};
use parking_lot::Mutex;

use super::shortage::Shortage;
use super::taking::GONE_IN_ROW_MAX;
use crate::logic::reason::Reason;
use crate::net::mailbox::Mailbox;
use crate::observe::counters::Counters;
use crate::observe::events::Event;
use crate::observe::outlets::Events as Outlet;
use crate::sys;

/// Who takes connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepting {
    /// Every worker, at a listener of its own (SO_REUSEPORT).
    ByWorkers,
    /// One thread for all.
    ByOne,
}

impl Accepting {
    /// The best this platform has.
    pub fn best() -> Accepting {
        if sys::SHARES_PORTS { Accepting::ByWorkers } else { Accepting::ByOne }
    }
}

/// As for a worker: edge-triggered listeners tell nothing when a descriptor is free again.
const PAUSE: Duration = Duration::from_millis(50);
const WAKE: Token = Token(usize::MAX);

/// The one thread that takes connections for all workers.
#[derive(Debug)]
pub struct Acceptor {
    waker: Waker,
    tray: Arc<Mutex<Vec<Change>>>,
    thread: JoinHandle<()>,
}

#[derive(Debug)]
enum Change {
    Open(usize, std::net::TcpListener),
    Close(usize),
    Stop,
}

impl Acceptor {
    /// Starts without a listener; connections go to the workers in turn.
    ///
    /// # Errors
    /// Where there is no poll or no thread to be had.
    pub fn start(
        workers: Vec<Arc<Mailbox>>,
        events: Outlet,
        counters: Arc<Counters>,
    ) -> io::Result<Acceptor> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKE)?;
        let tray = Arc::new(Mutex::new(Vec::new()));
        let round = Round {
            poll,
            tray: Arc::clone(&tray),
            taking: Vec::new(),
            workers,
            next: 0,
            events,
            counters,
        };
        let thread =
            std::thread::Builder::new().name("acceptor".to_owned()).spawn(|| round.run())?;
        Ok(Acceptor { waker, tray, thread })
    }

    /// Takes connections from `listener` too.
    pub fn open(&self, number: usize, listener: std::net::TcpListener) {
        self.tell(Change::Open(number, listener));
    }

    /// Closes the listener of this number, after taking what waits there.
    pub fn close(&self, number: usize) {
        self.tell(Change::Close(number));
    }

    /// Closes all listeners.
    pub fn stop(self) {
        self.tell(Change::Stop);
        // A panicked thread has closed its listeners too.
        let _ = self.thread.join();
    }

    fn tell(&self, change: Change) {
        self.tray.lock().push(change);
        // It fails where the thread's poll is gone, and then nothing listens any more.
        let _ = self.waker.wake();
    }
}

struct Round {
    poll: Poll,
    tray: Arc<Mutex<Vec<Change>>>,
    taking: Vec<(usize, TcpListener)>,
    workers: Vec<Arc<Mailbox>>,
    next: usize,
    events: Outlet,
    counters: Arc<Counters>,
}

impl Round {
    fn run(mut self) {
        let mut ready = Events::with_capacity(64);
        let mut lacking = false;
        let mut shortage = Shortage::default();
        loop {
            let sleep = lacking.then_some(PAUSE);
            if let Err(error) = self.poll.poll(&mut ready, sleep)
                && error.kind() != io::ErrorKind::Interrupted
            {
                self.tell(Reason::Internal, "poll", &error);
                return;
            }
            if !self.obey() {
                return;
            }
            lacking = false;
            for index in 0..self.taking.len() {
                if let Err(error) = self.take_all(index) {
                    lacking = true;
                    if shortage.is_to_be_told(clock()) {
                        let out = sys::is_out_of_descriptors(&error);
                        let reason =
                            if out { Reason::DescriptorsExhausted } else { Reason::Internal };
                        self.tell(reason, "accept", &error);
                    }
                }
            }
            if !lacking {
                shortage.is_over();
            }
        }
    }

    /// False where the thread is told to stop.
    fn obey(&mut self) -> bool {
        let changes = std::mem::take(&mut *self.tray.lock());
        for change in changes {
            match change {
                Change::Open(number, listener) => {
                    let mut listener = TcpListener::from_std(listener);
                    let token = Token(number);
                    match self.poll.registry().register(&mut listener, token, Interest::READABLE) {
                        Ok(()) => self.taking.push((number, listener)),
                        Err(error) => self.tell(Reason::Internal, "a new listener", &error),
                    }
                }
                Change::Close(number) => {
                    let found = self.taking.iter().position(|(taking, _)| *taking == number);
                    if let Some(index) = found {
                        // What cannot be taken now is lost with the listener; there is no later.
                        let _ = self.take_all(index);
                        self.taking.swap_remove(index);
                    }
                }
                Change::Stop => return false,
            }
        }
        true
    }

    fn take_all(&mut self, index: usize) -> io::Result<()> {
        let mut gone = 0;
        loop {
            match self.taking[index].1.accept() {
                Ok((stream, client)) => {
                    gone = 0;
                    self.workers[self.next].hand_over(stream, client);
                    self.next = (self.next + 1) % self.workers.len();
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return Ok(()),
                    io::ErrorKind::Interrupted => {}
                    _ if sys::is_of_one_connection(&error) && gone < GONE_IN_ROW_MAX => gone += 1,
                    _ => return Err(error),
                },
            }
        }
    }

    #[allow(
        clippy::disallowed_methods,
        reason = "a thread of its own, outside every worker's turn"
    )]
    fn tell(&self, reason: Reason, what: &str, error: &io::Error) {
        self.counters.count(reason);
        let now = std::time::SystemTime::now();
        self.events.send(Event::new(reason, now).detail(format!("{what}: {error}")));
    }
}

#[allow(clippy::disallowed_methods, reason = "a thread of its own, outside every worker's turn")]
fn clock() -> Instant {
    Instant::now()
}
