//! The gateway's side of both kernels, through the trait by which the gateway itself knows them.

use std::time::Duration;

use sluice::net::kernel::{Kernel, Ready};
use sluice::net::slots::Token;

use super::operation::{Op, Outcome, pattern};

/// A kernel with connected streams and with pipes.
pub struct Bench<K: Kernel> {
    pub kernel: K,
    pub streams: Vec<Option<K::Stream>>,
    pub pipes: Vec<K::Pipe>,
    /// Bytes written so far, by link.
    pub written: Vec<usize>,
}

pub fn token(link: usize) -> Token {
    // The first generation of slot `link`.
    Token((link as u64) << 4)
}

impl<K: Kernel> Bench<K> {
    pub fn new(kernel: K, streams: Vec<K::Stream>, pipes: Vec<K::Pipe>) -> Bench<K> {
        let written = vec![0; streams.len()];
        let streams = streams.into_iter().map(Some).collect();
        Bench { kernel, streams, pipes, written }
    }

    /// Does an operation of the gateway; `len_bytes` takes the place of the operation's own length.
    pub fn perform(&mut self, op: Op, len_bytes: Option<usize>) -> Outcome {
        let kernel = &mut self.kernel;
        let link = match op {
            Op::Write(link, _) | Op::Read(link, _) | Op::Shut(link) | Op::Close(link) => link,
            Op::Reset(link) | Op::IsConnected(link) | Op::TakeError(link) => link,
            Op::Fill(_, link, _) | Op::Pour(_, link, _) => link,
            Op::ReadPipe(pipe, len) => {
                let mut bytes = vec![0; len_bytes.unwrap_or(len)];
                let read = kernel.read_pipe(&mut self.pipes[pipe], &mut bytes);
                return Outcome::of_read(read, &bytes);
            }
            _ => return Outcome::Skipped,
        };
        let Some(stream) = &mut self.streams[link] else { return Outcome::Skipped };
        match op {
            Op::Write(_, len) => {
                let bytes = pattern(link, true, self.written[link], len_bytes.unwrap_or(len));
                let written = kernel.write(stream, &bytes);
                self.written[link] += written.as_ref().copied().unwrap_or(0);
                Outcome::of_move(written)
            }
            Op::Read(_, len) => {
                let mut bytes = vec![0; len_bytes.unwrap_or(len)];
                let read = kernel.read(stream, &mut bytes);
                Outcome::of_read(read, &bytes)
            }
            Op::Shut(_) => Outcome::of_step(kernel.shut_write(stream)),
            Op::IsConnected(_) => match kernel.is_connected(stream) {
                Ok(connected) => Outcome::Is(connected),
                Err(error) => Outcome::of_error(&error),
            },
            Op::TakeError(_) => match kernel.take_error(stream) {
                None => Outcome::Done,
                Some(error) => Outcome::of_error(&error),
            },
            Op::Fill(pipe, _, len) => {
                let len = len_bytes.unwrap_or(len);
                Outcome::of_move(kernel.fill_pipe(&mut self.pipes[pipe], stream, len))
            }
            Op::Pour(pipe, _, len) => {
                let len = len_bytes.unwrap_or(len);
                Outcome::of_move(kernel.pour_pipe(&mut self.pipes[pipe], stream, len))
            }
            Op::Close(_) | Op::Reset(_) => {
                if let Some(stream) = self.streams[link].take() {
                    match op {
                        Op::Close(_) => kernel.close(stream),
                        _ => kernel.reset(stream),
                    }
                }
                Outcome::Done
            }
            _ => Outcome::Skipped,
        }
    }

    /// What is told within `sleep`.
    pub fn poll(&mut self, sleep: Duration) -> Vec<Ready> {
        let mut ready = Vec::new();
        self.kernel.poll(Some(sleep), &mut ready).unwrap();
        ready
    }

    pub fn unsent_bytes(&mut self, link: usize) -> Option<usize> {
        self.streams[link].as_ref().map(|stream| self.kernel.unsent_bytes(stream))
    }
}
