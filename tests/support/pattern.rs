//! Bytes to send, and the check that the same bytes arrive: every byte is compared, which is more than
//! a hash says. The pattern repeats after a prime number of bytes, so that what is lost, doubled or out
//! of order by any round number is seen.

use std::io::{self, Read, Write};
use std::sync::OnceLock;

use super::random::Random;

const PERIOD_BYTES: usize = 1_048_573;
/// Contiguous bytes that can be had from any place.
const RUN_BYTES: usize = 256 * 1024;

/// An endless run of bytes from a place of the pattern on.
#[derive(Clone, Copy, Debug)]
pub struct Pattern {
    from: usize,
}

impl Pattern {
    /// The run that begins at this place.
    pub fn from(place: u64) -> Pattern {
        Pattern { from: (place % PERIOD_BYTES as u64) as usize }
    }

    /// `len` bytes of it, 256 KiB at most, from `at` on.
    pub fn slice(self, at: u64, len: usize) -> &'static [u8] {
        let begin = (self.from + (at % PERIOD_BYTES as u64) as usize) % PERIOD_BYTES;
        &whole()[begin..begin + len.min(RUN_BYTES)]
    }

    /// Writes the bytes from `at` to `end`.
    ///
    /// # Errors
    /// As the stream's.
    pub fn write(self, stream: &mut impl Write, at: u64, end: u64, piece: usize) -> io::Result<()> {
        let mut at = at;
        while at < end {
            let len = ((end - at) as usize).min(piece);
            let slice = self.slice(at, len);
            stream.write_all(slice)?;
            at += slice.len() as u64;
        }
        Ok(())
    }

    /// Reads once and compares; how many bytes came, 0 at the end.
    ///
    /// # Errors
    /// As the stream's.
    ///
    /// # Panics
    /// Where other bytes come.
    pub fn read(self, stream: &mut impl Read, at: u64, into: &mut [u8]) -> io::Result<usize> {
        let room = into.len().min(RUN_BYTES);
        let read = stream.read(&mut into[..room])?;
        if into[..read] != *self.slice(at, read) {
            let right = self.slice(at, read);
            let wrong = into.iter().zip(right).position(|(is, should)| is != should);
            panic!("byte {} is not the one that was sent", at + wrong.unwrap_or(0) as u64);
        }
        Ok(read)
    }

    /// Reads to the end and compares; how many bytes came.
    ///
    /// # Errors
    /// As the stream's.
    ///
    /// # Panics
    /// Where other bytes come.
    pub fn read_to_end(self, stream: &mut impl Read) -> io::Result<u64> {
        let mut buffer = vec![0; 128 * 1024];
        let mut at = 0;
        loop {
            match self.read(stream, at, &mut buffer)? {
                0 => return Ok(at),
                read => at += read as u64,
            }
        }
    }
}

fn whole() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| {
        let mut random = Random::seeded(7);
        let mut bytes: Vec<u8> =
            (0..PERIOD_BYTES.div_ceil(8)).flat_map(|_| random.next().to_le_bytes()).collect();
        bytes.truncate(PERIOD_BYTES);
        bytes.extend_from_within(..RUN_BYTES);
        bytes
    })
}
