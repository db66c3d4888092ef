//! What is done to sockets and pipes, and what can come of it.

use std::io::{self, ErrorKind};

use crate::chance::Chance;

/// Connections of a list, and pipes.
pub const LINKS: usize = 2;
/// The slots of each pipe.
pub const PIPES: [usize; 3] = [1, 2, 16];

/// One operation. The numbers are a link or a pipe, then bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Write(usize, usize),
    Read(usize, usize),
    Shut(usize),
    Close(usize),
    Reset(usize),
    IsConnected(usize),
    TakeError(usize),
    Unsent(usize),
    Poll,
    /// Pipe, source, bytes.
    Fill(usize, usize, usize),
    /// Pipe, sink, bytes.
    Pour(usize, usize, usize),
    ReadPipe(usize, usize),
    PeerWrite(usize, usize),
    PeerRead(usize, usize),
    PeerShut(usize),
    PeerClose(usize),
    PeerReset(usize),
    /// Writes until nothing more fits, with a peer that reads nothing.
    Stuff(usize),
    /// The peer reads all of that.
    Unstuff(usize),
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There is nothing to do it to.
    Skipped,
    Done,
    Moved(usize),
    Bytes(Vec<u8>),
    End,
    Blocked,
    Failed(ErrorKind),
    Is(bool),
}

impl Outcome {
    /// Of a move; 0 stands for the end.
    pub fn of_move(moved: io::Result<usize>) -> Outcome {
        match moved {
            Ok(0) => Outcome::End,
            Ok(moved) => Outcome::Moved(moved),
            Err(error) => Outcome::of_error(&error),
        }
    }

    pub fn of_read(read: io::Result<usize>, bytes: &[u8]) -> Outcome {
        match read {
            Ok(0) => Outcome::End,
            Ok(read) => Outcome::Bytes(bytes[..read].to_vec()),
            Err(error) => Outcome::of_error(&error),
        }
    }

    pub fn of_error(error: &io::Error) -> Outcome {
        match error.kind() {
            ErrorKind::WouldBlock => Outcome::Blocked,
            kind => Outcome::Failed(kind),
        }
    }

    pub fn of_step(step: io::Result<()>) -> Outcome {
        step.map_or_else(|error| Outcome::of_error(&error), |()| Outcome::Done)
    }
}

/// Bytes `from` to `from + len` of one direction of a link; no two places look alike.
pub fn pattern(link: usize, up: bool, from: usize, len: usize) -> Vec<u8> {
    let key = link * 2 + usize::from(up);
    (from..from + len).map(|at| ((at * 167) ^ (at >> 8) ^ (key * 61)) as u8).collect()
}

/// A list drawn from a seed.
pub fn draw(chance: &mut Chance) -> Vec<Op> {
    // Some lists leave in peace what others break early.
    let breaks_once_in = chance.pick(&[8, 30, 1_000]);
    let stuffs = chance.once_in(8);
    let count = 10 + chance.below(50);
    (0..count).map(|_| draw_one(breaks_once_in, stuffs, chance)).collect()
}

fn draw_one(breaks_once_in: u32, stuffs: bool, chance: &mut Chance) -> Op {
    let (link, pipe) = (chance.below(LINKS), chance.below(PIPES.len()));
    if chance.once_in(breaks_once_in) {
        return match chance.below(6) {
            0 => Op::Shut(link),
            1 => Op::PeerShut(link),
            2 => Op::Close(link),
            3 => Op::Reset(link),
            4 => Op::PeerClose(link),
            _ => Op::PeerReset(link),
        };
    }
    if stuffs && chance.once_in(10) {
        return if chance.once_in(2) { Op::Stuff(link) } else { Op::Unstuff(link) };
    }
    let little = 1 + chance.size(300);
    let many = 1 + chance.size(20_000);
    match chance.below(16) {
        0 => Op::Write(link, little),
        1 => Op::Read(link, many),
        2 => Op::IsConnected(link),
        3 => Op::TakeError(link),
        4 => Op::Unsent(link),
        5 | 6 => Op::Poll,
        7 | 8 => Op::Fill(pipe, link, if chance.once_in(2) { many } else { 1 << 20 }),
        9 | 10 => Op::Pour(pipe, link, many),
        11 => Op::ReadPipe(pipe, little),
        12 | 13 => Op::PeerWrite(link, if chance.once_in(2) { little } else { many }),
        14 => Op::PeerWrite(link, little),
        _ => Op::PeerRead(link, many),
    }
}
