//! Buffers and pipes that wait for a flow with bytes in flight. An idle tunnel owns none of them.
//!
//! Only what is clean is kept: a pipe with bytes left in it would give them to a stranger, so it is
//! closed instead.

use std::io;
use std::time::{Duration, Instant};

use super::kernel::Kernel;

/// Size of a buffer. Larger ones measured no gain on loopback and cost the cache.
pub const BUFFER_BYTES: usize = 64 * 1024;
/// Size of a buffer while many are out: a thousand stalled readers must not cost 64 MiB.
pub const THIN_BUFFER_BYTES: usize = 8 * 1024;
/// Buffers out at one time before new ones are thin.
const FULL_BUFFERS_MAX: usize = 64;
/// Clean buffers kept for the next flow.
const BUFFERS_KEPT_MAX: usize = 8;
/// Pipes of one worker that are asked for large: the last one back is the first one out, so that the
/// few that are used all the time are among them.
const LARGE_PIPES_MAX: usize = 16;
/// How long no pipe is asked for after the system refused one.
const PIPE_PAUSE: Duration = Duration::from_secs(1);

/// A run of bytes between read and write.
#[derive(Debug)]
pub struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// An empty buffer.
    pub fn new(capacity_bytes: usize) -> Buffer {
        Buffer { bytes: vec![0; capacity_bytes].into_boxed_slice(), start: 0, end: 0 }
    }

    /// What it holds.
    pub fn held(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Where more can be put.
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.bytes[self.end..]
    }

    /// So many bytes were put into the room.
    pub fn put(&mut self, bytes: usize) {
        self.end += bytes;
        debug_assert!(self.end <= self.bytes.len());
    }

    /// So many bytes were taken from the front.
    pub fn take(&mut self, bytes: usize) {
        self.start += bytes;
        debug_assert!(self.start <= self.end);
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Adds bytes, with more room where that is needed.
    pub fn append(&mut self, bytes: &[u8]) {
        if self.room().len() < bytes.len() {
            self.grow(self.held().len() + bytes.len());
        }
        self.room()[..bytes.len()].copy_from_slice(bytes);
        self.put(bytes.len());
    }

    /// Makes room for at least `capacity_bytes` in all.
    pub fn grow(&mut self, capacity_bytes: usize) {
        let held = self.end - self.start;
        let mut larger = vec![0; capacity_bytes.max(held)].into_boxed_slice();
        larger[..held].copy_from_slice(self.held());
        *self = Buffer { bytes: larger, start: 0, end: held };
    }

    /// Bytes it can hold.
    pub fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

/// The buffers and pipes of one worker.
#[derive(Debug)]
pub struct Pools<K: Kernel> {
    buffers: Vec<Buffer>,
    buffers_out: usize,
    pipes: Vec<K::Pipe>,
    pipes_out: usize,
    pipes_max: usize,
    splices: bool,
    /// The system has refused to splice at all.
    refuses: bool,
    /// So it has since this was last asked.
    gave_up: bool,
    no_pipe_before: Option<Instant>,
    refused: Option<io::Error>,
    used: bool,
}

impl<K: Kernel> Pools<K> {
    /// Empty pools that will hand out at most `pipes_max` pipes at a time; 0 = tunnels copy.
    pub fn new(pipes_max: usize) -> Pools<K> {
        Pools {
            buffers: Vec::new(),
            buffers_out: 0,
            pipes: Vec::new(),
            pipes_out: 0,
            pipes_max,
            splices: pipes_max > 0,
            refuses: false,
            gave_up: false,
            no_pipe_before: None,
            refused: None,
            used: false,
        }
    }

    /// A clean buffer.
    pub fn buffer(&mut self) -> Buffer {
        self.buffers_out += 1;
        if self.buffers_out > FULL_BUFFERS_MAX {
            return Buffer::new(THIN_BUFFER_BYTES);
        }
        self.buffers.pop().unwrap_or_else(|| Buffer::new(BUFFER_BYTES))
    }

    /// Takes a buffer back.
    pub fn put_buffer(&mut self, mut buffer: Buffer) {
        self.buffers_out -= 1;
        if buffer.capacity() == BUFFER_BYTES && self.buffers.len() < BUFFERS_KEPT_MAX {
            buffer.take(buffer.held().len());
            self.buffers.push(buffer);
        }
    }

    /// Drops a buffer that may hold anything.
    pub fn destroy_buffer(&mut self, buffer: Buffer) {
        self.buffers_out -= 1;
        drop(buffer);
    }

    /// Whether tunnels splice.
    pub fn splices(&self) -> bool {
        self.splices
    }

    /// A clean pipe, if splicing is on and one is to be had.
    pub fn pipe(&mut self, kernel: &mut K) -> Option<K::Pipe> {
        if !self.splices {
            return None;
        }
        self.used = true;
        if let Some(pipe) = self.pipes.pop() {
            self.pipes_out += 1;
            return Some(pipe);
        }
        if self.pipes_out >= self.pipes_max {
            return None;
        }
        let now = kernel.now();
        if self.no_pipe_before.is_some_and(|before| now < before) {
            return None;
        }
        match kernel.open_pipe(self.pipes_out < LARGE_PIPES_MAX) {
            Ok(pipe) => {
                self.no_pipe_before = None;
                self.pipes_out += 1;
                Some(pipe)
            }
            Err(error) => {
                // One report for a whole shortage: it is over when a pipe was to be had again.
                if self.no_pipe_before.is_none() {
                    self.refused = Some(error);
                }
                self.no_pipe_before = Some(now + PIPE_PAUSE);
                None
            }
        }
    }

    /// Takes an empty pipe back.
    pub fn put_pipe(&mut self, pipe: K::Pipe) {
        self.pipes_out -= 1;
        if self.splices && self.pipes_out + self.pipes.len() < self.pipes_max {
            self.pipes.push(pipe);
        }
    }

    /// Closes a pipe that may hold bytes.
    pub fn destroy_pipe(&mut self, pipe: K::Pipe) {
        self.pipes_out -= 1;
        drop(pipe);
    }

    /// Hands out at most so many pipes at a time from now on; 0 = tunnels copy. What is out stays out.
    pub fn set_pipes_max(&mut self, pipes_max: usize) {
        self.pipes_max = pipes_max;
        self.splices = pipes_max > 0 && !self.refuses;
        // A pooled pipe is handed out without a look at the number.
        let kept = if self.splices { pipes_max.saturating_sub(self.pipes_out) } else { 0 };
        self.pipes.truncate(kept);
    }

    /// Splicing does not work on this system after all: tunnels copy from now on.
    pub fn give_up_splicing(&mut self) {
        self.gave_up |= !self.refuses;
        self.refuses = true;
        self.splices = false;
        self.pipes.clear();
    }

    /// Why the system refused a pipe, once for each shortage.
    pub fn take_refused(&mut self) -> Option<io::Error> {
        self.refused.take()
    }

    /// Whether splicing was given up since the last call.
    pub fn take_gave_up(&mut self) -> bool {
        std::mem::take(&mut self.gave_up)
    }

    /// Whether a pipe was asked for since the last call.
    pub fn take_used(&mut self) -> bool {
        std::mem::take(&mut self.used)
    }

    /// Pipes in use by flows.
    pub fn pipes_out(&self) -> usize {
        self.pipes_out
    }

    /// Clean pipes kept.
    pub fn pipes_pooled(&self) -> usize {
        self.pipes.len()
    }

    /// Buffers in use by flows.
    pub fn buffers_out(&self) -> usize {
        self.buffers_out
    }

    /// Closes the pooled pipes.
    pub fn close_pooled_pipes(&mut self) {
        self.pipes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_keeps_order_over_append_take_and_growth() {
        let mut buffer = Buffer::new(4);
        buffer.append(b"abcd");
        buffer.take(2);
        buffer.append(b"efghij");
        assert_eq!(buffer.held(), b"cdefghij");
        buffer.take(8);
        assert_eq!(buffer.held(), b"");
        assert_eq!(buffer.room().len(), buffer.capacity());
    }
}
