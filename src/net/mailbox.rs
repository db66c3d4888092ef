//! Mail from other threads to one worker.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use mio::Waker;
use mio::net::TcpStream;
use parking_lot::Mutex;

use super::kernel::{LookupError, Mail};
use super::resolver::Waiter;
use super::slots::Token;

/// The letter box of one worker. Bounded by what is sent: one answer for each question asked, one
/// connection for each accepted, one stop.
#[derive(Debug)]
pub struct Mailbox {
    letters: Mutex<Letters>,
    waker: Waker,
}

#[derive(Debug, Default)]
struct Letters {
    waiting: Vec<Mail<TcpStream>>,
    /// The worker has been woken for them. A wake that failed must not be the last one.
    told: bool,
}

impl Mailbox {
    /// A letter box whose worker is woken by `waker`.
    pub fn new(waker: Waker) -> Mailbox {
        Mailbox { letters: Mutex::default(), waker }
    }

    /// Sends one letter.
    pub fn send(&self, letter: Mail<TcpStream>) {
        let mut letters = self.letters.lock();
        letters.waiting.push(letter);
        // The letters before it may have woken the worker already.
        if !letters.told {
            letters.told = self.waker.wake().is_ok();
        }
    }

    /// A connection taken by an acceptor.
    pub fn hand_over(&self, stream: TcpStream, client: SocketAddr) {
        self.send(Mail::Accepted(stream, client));
    }

    /// Takes all letters.
    pub fn take(&self, into: &mut Vec<Mail<TcpStream>>) {
        let mut letters = self.letters.lock();
        into.append(&mut letters.waiting);
        letters.told = false;
    }

    /// Wakes the worker for a turn with nothing to read: whether it turns is all that is asked.
    pub fn knock(&self) {
        // It fails where the worker's poll is gone, and then nobody reads the mail either.
        let _ = self.waker.wake();
    }
}

impl Waiter for Mailbox {
    fn answer(&self, token: Token, answer: Result<Arc<[IpAddr]>, LookupError>) {
        self.send(Mail::Resolved(token, answer));
    }
}
