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
    letters: Mutex<Vec<Mail<TcpStream>>>,
    waker: Waker,
}

impl Mailbox {
    /// A letter box whose worker is woken by `waker`.
    pub fn new(waker: Waker) -> Mailbox {
        Mailbox { letters: Mutex::new(Vec::new()), waker }
    }

    /// Sends one letter.
    pub fn send(&self, letter: Mail<TcpStream>) {
        let first = {
            let mut letters = self.letters.lock();
            letters.push(letter);
            letters.len() == 1
        };
        // The letters before it have woken the worker already.
        if first {
            self.wake();
        }
    }

    /// A connection taken by an acceptor.
    pub fn hand_over(&self, stream: TcpStream, client: SocketAddr) {
        self.send(Mail::Accepted(stream, client));
    }

    /// Takes all letters.
    pub fn take(&self, into: &mut Vec<Mail<TcpStream>>) {
        into.append(&mut self.letters.lock());
    }

    /// Wakes the worker for a turn with nothing to read: whether it turns is all that is asked.
    pub fn knock(&self) {
        self.wake();
    }

    fn wake(&self) {
        // It fails where the worker's poll is gone, and then nobody reads the mail either.
        let _ = self.waker.wake();
    }
}

impl Waiter for Mailbox {
    fn answer(&self, token: Token, answer: Result<Arc<[IpAddr]>, LookupError>) {
        self.send(Mail::Resolved(token, answer));
    }
}
