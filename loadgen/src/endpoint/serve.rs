//! The endpoint's ports, threads and loop.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token, Waker};
use rustls::ServerConfig;
use slab::Slab;

use super::connection::{Connection, Desk, Outcome};
use super::ingest::{Counts, Received};
use crate::clock;
use crate::payload::Block;

const EVENTS_A_TURN: usize = 1024;
const SCRATCH_BYTES: usize = 128 << 10;
/// How often stuck connections are looked for, and how soon accepting is tried again without descriptors.
const SWEEP_MS: u64 = 1_000;
const ACCEPT_AGAIN_MS: u64 = 50;
/// How often a port that is free on IPv4 but taken on IPv6 is given up for another.
const PORT_ATTEMPTS: u32 = 16;

const WAKE: Token = Token(usize::MAX);
/// Listeners have the tokens from here on; connections those below.
const FIRST_LISTENER: usize = usize::MAX / 2;

/// A running endpoint; dropping it stops it.
pub struct Endpoint {
    addresses: Vec<SocketAddr>,
    counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
    threads: Vec<(Waker, JoinHandle<io::Result<()>>)>,
}

impl Endpoint {
    /// Serves on `listeners` with `threads` threads.
    pub fn start(
        listeners: &[StdListener],
        config: &Arc<ServerConfig>,
        threads: usize,
    ) -> io::Result<Endpoint> {
        let counts = Arc::new(Counts::default());
        let stop = Arc::new(AtomicBool::new(false));
        let mut endpoint = Endpoint {
            addresses: listeners.iter().map(StdListener::local_addr).collect::<Result<_, _>>()?,
            counts: counts.clone(),
            stop: stop.clone(),
            threads: Vec::new(),
        };
        for number in 0..threads.max(1) {
            let poll = Poll::new()?;
            let waker = Waker::new(poll.registry(), WAKE)?;
            let mut serving = Serving::new(poll, listeners, config.clone(), counts.clone())?;
            let stop = stop.clone();
            let thread = std::thread::Builder::new()
                .name(format!("endpoint-{number}"))
                .spawn(move || serving.run(&stop))?;
            endpoint.threads.push((waker, thread));
        }
        Ok(endpoint)
    }

    /// Where it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What it has counted so far.
    pub fn received(&self) -> Received {
        self.counts.read()
    }

    /// Stops it; an error of its loop comes to light here.
    pub fn stop(mut self) -> io::Result<Received> {
        self.end()?;
        Ok(self.received())
    }

    fn end(&mut self) -> io::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let mut ended = Ok(());
        for (waker, thread) in self.threads.drain(..) {
            // The loop looks at the flag each second even without the wake-up.
            let _ = waker.wake();
            let joined =
                thread.join().unwrap_or_else(|_| Err(io::Error::other("the endpoint panicked")));
            ended = ended.and(joined);
        }
        ended
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        // Whoever needs to know of an error has called `stop`.
        let _ = self.end();
    }
}

/// Binds 127.0.0.1 and, where the host has it, ::1 at the same `port` (0: a free one), so that the name
/// localhost reaches the endpoint whichever address it stands for.
pub fn bind_loopback(port: u16) -> io::Result<Vec<StdListener>> {
    for _ in 0..PORT_ATTEMPTS {
        let v4 = StdListener::bind((Ipv4Addr::LOCALHOST, port))?;
        match StdListener::bind((Ipv6Addr::LOCALHOST, v4.local_addr()?.port())) {
            Ok(v6) => return Ok(vec![v4, v6]),
            Err(why) if why.kind() == ErrorKind::AddrInUse && port == 0 => {}
            Err(why) if why.kind() == ErrorKind::AddrInUse => return Err(why),
            Err(_) => return Ok(vec![v4]),
        }
    }
    Err(io::Error::new(ErrorKind::AddrInUse, "no port is free on both 127.0.0.1 and ::1"))
}

struct Serving {
    poll: Poll,
    listeners: Vec<TcpListener>,
    desk: Desk,
    connections: Slab<Connection>,
    ready: VecDeque<usize>,
    accept_again: bool,
}

impl Serving {
    fn new(
        poll: Poll,
        listeners: &[StdListener],
        config: Arc<ServerConfig>,
        counts: Arc<Counts>,
    ) -> io::Result<Serving> {
        let mut own = Vec::new();
        for (place, listener) in listeners.iter().enumerate() {
            listener.set_nonblocking(true)?;
            let mut listener = TcpListener::from_std(listener.try_clone()?);
            let token = Token(FIRST_LISTENER + place);
            poll.registry().register(&mut listener, token, Interest::READABLE)?;
            own.push(listener);
        }
        Ok(Serving {
            poll,
            listeners: own,
            desk: Desk {
                config,
                counts,
                block: Block::new(),
                scratch: vec![0; SCRATCH_BYTES].into_boxed_slice(),
            },
            connections: Slab::new(),
            ready: VecDeque::new(),
            accept_again: false,
        })
    }

    fn run(&mut self, stop: &AtomicBool) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_A_TURN);
        let mut swept_at = clock::now();
        while !stop.load(Ordering::Relaxed) {
            match self.poll.poll(&mut events, Some(self.sleep())) {
                Err(why) if why.kind() == ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            let began = clock::now();
            let mut accept = std::mem::take(&mut self.accept_again);
            for event in &events {
                match event.token() {
                    WAKE => {}
                    Token(token) if token >= FIRST_LISTENER => accept = true,
                    Token(token) => {
                        let Some(connection) = self.connections.get_mut(token) else { continue };
                        connection.note_ready(
                            event.is_readable() || event.is_read_closed() || event.is_error(),
                            event.is_writable() || event.is_error(),
                        );
                        if !connection.set_queued(true) {
                            self.ready.push_back(token);
                        }
                    }
                }
            }
            if accept {
                self.accept(began);
            }
            self.give_turns(began);
            if began.duration_since(swept_at) > Duration::from_millis(SWEEP_MS) {
                swept_at = began;
                self.connections.retain(|_, connection| !connection.is_stuck(began));
            }
            let turn_us = clock::now().duration_since(began).as_micros() as u64;
            self.desk.counts.longest_turn_us.fetch_max(turn_us, Ordering::Relaxed);
        }
        Ok(())
    }

    fn sleep(&self) -> Duration {
        if !self.ready.is_empty() {
            return Duration::ZERO;
        }
        Duration::from_millis(if self.accept_again { ACCEPT_AGAIN_MS } else { SWEEP_MS })
    }

    fn accept(&mut self, now: Instant) {
        for listener in &self.listeners {
            loop {
                match listener.accept() {
                    Ok((mut stream, _)) => {
                        let entry = self.connections.vacant_entry();
                        let token = Token(entry.key());
                        let interest = Interest::READABLE | Interest::WRITABLE;
                        // A client that is gone already shows in its first turn.
                        let _ = stream.set_nodelay(true);
                        if self.poll.registry().register(&mut stream, token, interest).is_ok() {
                            entry.insert(Connection::new(stream, now)).set_queued(true);
                            self.ready.push_back(token.0);
                            self.desk.counts.connections.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    Err(why) if why.kind() == ErrorKind::WouldBlock => break,
                    Err(why)
                        if matches!(
                            why.kind(),
                            ErrorKind::ConnectionAborted | ErrorKind::Interrupted
                        ) => {}
                    Err(_) => {
                        // Without descriptors the poll is silent until a new client comes.
                        self.accept_again = true;
                        break;
                    }
                }
            }
        }
    }

    fn give_turns(&mut self, now: Instant) {
        for _ in 0..self.ready.len() {
            let Some(token) = self.ready.pop_front() else { return };
            let Some(connection) = self.connections.get_mut(token) else { continue };
            connection.set_queued(false);
            match connection.turn(&mut self.desk, now) {
                Outcome::Waiting => {}
                Outcome::Again => {
                    connection.set_queued(true);
                    self.ready.push_back(token);
                }
                Outcome::Over => {
                    self.connections.remove(token);
                }
            }
        }
    }
}
