//! What holds the bytes of one flow between read and write: nothing, a buffer, or a pipe.
//!
//! Every way a move can go is a variant of [`Filled`] or [`Poured`]; in particular the two meanings of
//! EAGAIN are told apart, because a pipe is only ever filled when it is empty.

use std::io;

use super::kernel::Kernel;
use super::pools::{Buffer, Pools};
use crate::logic::bursts::{LITTLE_BYTES, PACKET_BYTES, Piece};
use crate::logic::flow::{Filled, Poured};

/// Upper bound of one splice: more than any pipe takes, so that the pipe decides.
const SPLICE_BYTES: usize = 1 << 20;

/// The carrier of one flow.
#[derive(Debug)]
pub enum Carrier<K: Kernel> {
    /// Nothing is held.
    Empty,
    /// Bytes in a buffer.
    Copy(Buffer),
    /// Bytes in a pipe, so many of them.
    Splice(K::Pipe, usize),
}

impl<K: Kernel> Carrier<K> {
    /// Puts bytes that were read elsewhere into an empty carrier.
    pub fn preload(&mut self, bytes: &[u8], pools: &mut Pools<K>) {
        debug_assert!(matches!(self, Carrier::Empty));
        let mut buffer = pools.buffer();
        buffer.append(bytes);
        *self = Carrier::Copy(buffer);
    }

    /// Whether it moves bytes inside the kernel.
    pub fn is_pipe(&self) -> bool {
        matches!(self, Carrier::Splice(..))
    }

    /// The held bytes, where they can be seen.
    pub fn held(&self) -> &[u8] {
        match self {
            Carrier::Copy(buffer) => buffer.held(),
            Carrier::Empty | Carrier::Splice(..) => &[],
        }
    }

    /// Fills by copying, on top of what is held: for bytes that a watch has to see. A held buffer may
    /// grow to `hold_bytes_max`.
    pub fn fill_visibly(
        &mut self,
        kernel: &mut K,
        source: &mut K::Stream,
        pools: &mut Pools<K>,
        hold_bytes_max: usize,
    ) -> Filled {
        if matches!(self, Carrier::Empty) {
            *self = Carrier::Copy(pools.buffer());
        }
        let Carrier::Copy(buffer) = self else {
            debug_assert!(false, "a watched flow never splices");
            return Filled::CarrierFull;
        };
        if buffer.room().is_empty() {
            if buffer.held().len() >= hold_bytes_max {
                return Filled::CarrierFull;
            }
            buffer.grow((buffer.capacity() * 2).min(hold_bytes_max));
        }
        fill_room(buffer, usize::MAX, kernel, source)
    }

    /// Fills an empty carrier in the way that is cheapest for such a piece.
    pub fn fill(
        &mut self,
        piece: Piece,
        kernel: &mut K,
        source: &mut K::Stream,
        pools: &mut Pools<K>,
    ) -> Filled {
        match piece {
            Piece::Little => self.fill_little(kernel, source, pools),
            Piece::Whole => self.fill_much(SPLICE_BYTES, kernel, source, pools),
            Piece::Packet => self.fill_much(PACKET_BYTES, kernel, source, pools),
        }
    }

    /// Pours what is held.
    pub fn pour(&mut self, kernel: &mut K, sink: &mut K::Stream, pools: &mut Pools<K>) -> Poured {
        match self {
            Carrier::Copy(buffer) => match kernel.write(sink, buffer.held()) {
                // A write of nothing is no promise of an event, so it must not count as full.
                Ok(0) => Poured::Broke,
                Ok(moved) => {
                    buffer.take(moved);
                    Poured::Moved(moved)
                }
                Err(error) => not_poured(&error),
            },
            Carrier::Splice(pipe, held) => match kernel.pour_pipe(pipe, sink, *held) {
                Ok(0) => Poured::Broke,
                Ok(moved) => {
                    *held -= moved;
                    Poured::Moved(moved)
                }
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                    match self.fall_back(kernel, pools) {
                        Ok(()) => self.pour(kernel, sink, pools),
                        Err(_) => Poured::Broke,
                    }
                }
                Err(error) => not_poured(&error),
            },
            Carrier::Empty => Poured::Broke,
        }
    }

    /// Gives an empty carrier back to its pool; one that holds bytes is destroyed with them.
    pub fn release(&mut self, pools: &mut Pools<K>) {
        match std::mem::replace(self, Carrier::Empty) {
            Carrier::Empty => {}
            Carrier::Copy(buffer) => pools.put_buffer(buffer),
            Carrier::Splice(pipe, 0) => pools.put_pipe(pipe),
            Carrier::Splice(pipe, _) => pools.destroy_pipe(pipe),
        }
    }

    /// Destroys the carrier with whatever it holds: nothing of it is pooled.
    pub fn destroy(&mut self, pools: &mut Pools<K>) {
        match std::mem::replace(self, Carrier::Empty) {
            Carrier::Empty => {}
            Carrier::Copy(buffer) => pools.destroy_buffer(buffer),
            Carrier::Splice(pipe, _) => pools.destroy_pipe(pipe),
        }
    }

    /// Fills an empty carrier by copying a few bytes: cheaper than a pipe where no more are expected.
    fn fill_little(
        &mut self,
        kernel: &mut K,
        source: &mut K::Stream,
        pools: &mut Pools<K>,
    ) -> Filled {
        self.release(pools);
        let mut buffer = pools.buffer();
        let filled = fill_room(&mut buffer, LITTLE_BYTES, kernel, source);
        *self = Carrier::Copy(buffer);
        filled
    }

    fn fill_much(
        &mut self,
        bytes_max: usize,
        kernel: &mut K,
        source: &mut K::Stream,
        pools: &mut Pools<K>,
    ) -> Filled {
        if pools.splices() && self.held().is_empty() && !matches!(self, Carrier::Splice(..)) {
            self.release(pools);
        }
        if matches!(self, Carrier::Empty) {
            *self = match pools.pipe(kernel) {
                Some(pipe) => Carrier::Splice(pipe, 0),
                None => Carrier::Copy(pools.buffer()),
            };
        }
        match self {
            Carrier::Copy(buffer) => fill_room(buffer, bytes_max, kernel, source),
            Carrier::Splice(pipe, held) => {
                debug_assert_eq!(*held, 0, "only an empty pipe is filled");
                match kernel.fill_pipe(pipe, source, bytes_max) {
                    Ok(0) => Filled::Ended,
                    Ok(moved) => {
                        *held = moved;
                        Filled::Moved(moved)
                    }
                    Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                        self.release(pools);
                        pools.give_up_splicing();
                        self.fill_much(bytes_max, kernel, source, pools)
                    }
                    Err(error) => not_filled(&error),
                }
            }
            Carrier::Empty => Filled::SourceDry,
        }
    }

    /// Saves the bytes of a pipe that cannot be poured on this system.
    fn fall_back(&mut self, kernel: &mut K, pools: &mut Pools<K>) -> io::Result<()> {
        let Carrier::Splice(pipe, held) = self else {
            return Ok(());
        };
        let mut buffer = pools.buffer();
        if let Err(error) = empty_into(&mut buffer, kernel, pipe, *held) {
            pools.destroy_buffer(buffer);
            return Err(error);
        }
        *held = 0;
        self.release(pools);
        pools.give_up_splicing();
        *self = Carrier::Copy(buffer);
        Ok(())
    }
}

fn empty_into<K: Kernel>(
    buffer: &mut Buffer,
    kernel: &mut K,
    pipe: &mut K::Pipe,
    held_bytes: usize,
) -> io::Result<()> {
    if buffer.capacity() < held_bytes {
        buffer.grow(held_bytes);
    }
    while buffer.held().len() < held_bytes {
        match kernel.read_pipe(pipe, buffer.room())? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => buffer.put(read),
        }
    }
    Ok(())
}

fn fill_room<K: Kernel>(
    buffer: &mut Buffer,
    bytes_max: usize,
    kernel: &mut K,
    source: &mut K::Stream,
) -> Filled {
    let room = buffer.room();
    let asked = room.len().min(bytes_max);
    match kernel.read(source, &mut room[..asked]) {
        Ok(0) => Filled::Ended,
        Ok(moved) => {
            buffer.put(moved);
            if moved < asked && kernel.short_read_is_dry() {
                Filled::MovedAll(moved)
            } else {
                Filled::Moved(moved)
            }
        }
        Err(error) => not_filled(&error),
    }
}

fn not_filled(error: &io::Error) -> Filled {
    match error.kind() {
        io::ErrorKind::WouldBlock => Filled::SourceDry,
        io::ErrorKind::OutOfMemory => Filled::Scarce,
        _ => Filled::Broke,
    }
}

fn not_poured(error: &io::Error) -> Poured {
    match error.kind() {
        io::ErrorKind::WouldBlock => Poured::PeerFull,
        io::ErrorKind::OutOfMemory => Poured::Scarce,
        _ => Poured::Broke,
    }
}
