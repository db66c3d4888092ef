//! One TCP connection between the gateway and an actor, with a send queue and a receive queue at each
//! end, and what the kernels make of ends, resets and closes with bytes unread.
//!
//! Measured on Linux: after a reset the bytes that came before it stay readable, the error shows once
//! (to a read, a write or SO_ERROR, whichever comes first), and then reads give 0 and writes EPIPE. A
//! reset that follows a FIN never shows to a read. The send queue length stays what it was.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use sluice::net::slots::Token;

pub type LinkId = usize;

/// Which end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Gateway,
    Actor,
}

impl Who {
    pub fn other(self) -> Who {
        match self {
            Who::Gateway => Who::Actor,
            Who::Actor => Who::Gateway,
        }
    }
}

/// What becomes of a link that the gateway dials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The handshake is under way.
    Connecting,
    /// Bytes can be moved.
    Open,
    /// The handshake failed, or a reset has come.
    Dead,
}

#[derive(Debug)]
pub struct Link {
    pub address: SocketAddr,
    pub dialled: bool,
    gateway: End,
    actor: End,
}

#[derive(Debug)]
pub struct End {
    pub state: State,
    /// Written here, not yet at the other end.
    pub outgoing: VecDeque<u8>,
    pub outgoing_max: usize,
    /// Arrived here, not yet read, in the pieces in which it came.
    pub incoming: VecDeque<Vec<u8>>,
    pub incoming_bytes: usize,
    pub incoming_max: usize,
    /// The longest piece that the network delivers.
    pub piece_max: usize,
    pub shut: bool,
    pub end_sent: bool,
    pub end_came: bool,
    pub error: Option<ErrorKind>,
    /// Whether the error shows at every call (Windows) or once (Linux).
    pub error_stays: bool,
    pub closed: bool,
    /// When it was closed because it was broken.
    pub given_up_us: Option<u64>,
    /// An operation has told of the break.
    pub break_seen: bool,
    /// Whether a transit of `outgoing` is on the agenda.
    pub transit_planned: bool,
    /// At the other end, which has not acknowledged them yet.
    pub unacknowledged_bytes: usize,
    /// What SIOCOUTQ goes on to say after a reset.
    pub stuck_bytes: usize,
    pub read_bytes: u64,
    pub written_bytes: u64,
    pub watch: Watched,
}

/// What the poll knows of the gateway's end.
#[derive(Debug, Default)]
pub struct Watched {
    pub token: Option<Token>,
    pub readable: bool,
    pub writable: bool,
    pub broken: bool,
    /// Windows: interests that the next event will use up.
    pub read_armed: bool,
    pub write_armed: bool,
    /// Linux: a write was told "would block" (SOCK_NOSPACE); without it free space is no event.
    pub starved: bool,
}

impl End {
    pub fn new(state: State, outgoing_max: usize, incoming_max: usize, piece_max: usize) -> End {
        End {
            state,
            outgoing: VecDeque::new(),
            outgoing_max,
            incoming: VecDeque::new(),
            incoming_bytes: 0,
            incoming_max,
            piece_max,
            shut: false,
            end_sent: false,
            end_came: false,
            error: None,
            error_stays: false,
            closed: false,
            given_up_us: None,
            break_seen: false,
            transit_planned: false,
            unacknowledged_bytes: 0,
            stuck_bytes: 0,
            read_bytes: 0,
            written_bytes: 0,
            watch: Watched::default(),
        }
    }

    /// Both directions are over: poll(2) calls it a hang-up, though nothing may have broken.
    pub fn is_over(&self) -> bool {
        self.state == State::Dead || (self.shut && self.end_came)
    }

    /// Neither broken nor ended in both directions: after two ends the kernel forgets whose it was.
    pub fn is_connected(&self) -> bool {
        self.state == State::Open && !(self.end_sent && self.end_came)
    }

    /// A read would not block.
    pub fn is_readable(&self) -> bool {
        self.incoming_bytes > 0
            || self.end_came
            || self.error.is_some()
            || self.state == State::Dead
    }

    /// A third of the send queue is free: the mark at which Linux tells of free space.
    pub fn is_writable(&self) -> bool {
        self.state == State::Dead
            || (self.state == State::Open && self.room() * 3 >= self.outgoing_max)
    }

    /// What SIOCOUTQ says: all that has not been acknowledged. A connection that was reset goes on to
    /// say what it said then.
    pub fn unsent_bytes(&self) -> usize {
        match self.state {
            State::Dead => self.stuck_bytes,
            _ => self.outgoing.len() + self.unacknowledged_bytes,
        }
    }

    pub fn room(&self) -> usize {
        self.outgoing_max.saturating_sub(self.outgoing.len())
    }

    /// The error that waits, taken from the socket unless the platform keeps showing it.
    pub fn take_error(&mut self) -> Option<io::Error> {
        let error = self.error?;
        if !self.error_stays {
            self.error = None;
        }
        Some(error.into())
    }

    /// Reads at most `into.len()` bytes, and at most `most`.
    pub fn read(&mut self, into: &mut [u8], most: usize) -> io::Result<usize> {
        let wanted = into.len().min(most);
        let mut read = 0;
        while read < wanted {
            let Some(piece) = self.incoming.front_mut() else { break };
            let here = piece.len().min(wanted - read);
            into[read..read + here].copy_from_slice(&piece[..here]);
            piece.drain(..here);
            if piece.is_empty() {
                self.incoming.pop_front();
            }
            read += here;
        }
        if read > 0 {
            self.incoming_bytes -= read;
            self.read_bytes += read as u64;
            return Ok(read);
        }
        self.end_of_reading()
    }

    /// What a read says when no byte is there. A FIN that came hides a later reset from reads.
    pub fn end_of_reading(&mut self) -> io::Result<usize> {
        if self.end_came && !self.error_stays {
            return Ok(0);
        }
        if let Some(error) = self.take_error() {
            return Err(error);
        }
        match self.state {
            _ if self.end_came => Ok(0),
            State::Dead => Ok(0),
            State::Connecting => Err(ErrorKind::NotConnected.into()),
            State::Open => Err(ErrorKind::WouldBlock.into()),
        }
    }

    /// What forbids a write, if anything does.
    pub fn judge_writing(&mut self) -> io::Result<()> {
        if let Some(error) = self.take_error() {
            return Err(error);
        }
        match self.state {
            State::Dead => Err(ErrorKind::BrokenPipe.into()),
            State::Connecting => Err(ErrorKind::NotConnected.into()),
            State::Open if self.shut => Err(ErrorKind::BrokenPipe.into()),
            State::Open => Ok(()),
        }
    }

    /// Writes at most `most` of `bytes`.
    pub fn write(&mut self, bytes: &[u8], most: usize) -> io::Result<usize> {
        self.judge_writing()?;
        let taken = bytes.len().min(most).min(self.room());
        if taken == 0 {
            self.watch.starved = true;
            return Err(ErrorKind::WouldBlock.into());
        }
        self.outgoing.extend(&bytes[..taken]);
        self.written_bytes += taken as u64;
        Ok(taken)
    }
}

impl Link {
    /// `queues_max` are the send and the receive queue at the gateway, then those of the actor.
    pub fn new(
        address: SocketAddr,
        dialled: bool,
        queues_max: [usize; 4],
        piece_max: usize,
    ) -> Link {
        let state = if dialled { State::Connecting } else { State::Open };
        let [own_out, own_in, out, incoming] = queues_max;
        Link {
            address,
            dialled,
            gateway: End::new(state, own_out, own_in, piece_max),
            actor: End::new(state, out, incoming, piece_max),
        }
    }

    pub fn end(&mut self, who: Who) -> &mut End {
        match who {
            Who::Gateway => &mut self.gateway,
            Who::Actor => &mut self.actor,
        }
    }

    pub fn look(&self, who: Who) -> &End {
        match who {
            Who::Gateway => &self.gateway,
            Who::Actor => &self.actor,
        }
    }

    pub fn both(&mut self, from: Who) -> (&mut End, &mut End) {
        match from {
            Who::Gateway => (&mut self.gateway, &mut self.actor),
            Who::Actor => (&mut self.actor, &mut self.gateway),
        }
    }

    /// Whether `from` has bytes or an end that could go to the other side now.
    pub fn has_transit(&self, from: Who) -> bool {
        let (sender, receiver) = (self.look(from), self.look(from.other()));
        if sender.state != State::Open {
            return false;
        }
        let room = receiver.closed || receiver.incoming_bytes < receiver.incoming_max;
        let end = sender.outgoing.is_empty() && sender.shut && !sender.end_sent;
        (!sender.outgoing.is_empty() && room) || end
    }
}
