//! The last words to a client: written, shut, and then read on until the client has read them.
//!
//! A close with unread bytes in the receive queue sends a reset, which may overtake the reply and
//! destroy it at the client. So the gateway shuts its side, reads what the client still sends, and
//! closes when the client does, has sent too much, or takes too long.

use std::io;

use crate::net::kernel::Kernel;

/// Bytes of a refused client that are read and dropped before the close.
const DRAINED_BYTES_MAX: usize = 64 * 1024;

/// Last words on their way.
#[derive(Debug)]
pub struct Farewell {
    words: Vec<u8>,
    written: usize,
    shut: bool,
    drained_bytes: usize,
    /// The client may be read, or written: set by an event, cleared by "would block". Where a platform
    /// answers each "would block" with an event, trying at every event would never come to rest.
    readable: bool,
    writable: bool,
}

impl Farewell {
    /// Last words to write.
    pub fn new(words: Vec<u8>) -> Farewell {
        Farewell {
            words,
            written: 0,
            shut: false,
            drained_bytes: 0,
            readable: true,
            writable: true,
        }
    }

    /// Takes note of an event of the client.
    pub fn ready(&mut self, readable: bool, writable: bool) {
        self.readable |= readable;
        self.writable |= writable;
    }

    /// Goes on until the client must be waited for; true when nothing is left to do but close.
    pub fn proceed<K: Kernel>(&mut self, kernel: &mut K, client: &mut K::Stream) -> bool {
        while self.written < self.words.len() {
            if !self.writable {
                return false;
            }
            match kernel.write(client, &self.words[self.written..]) {
                Ok(0) => return true,
                Ok(written) => self.written += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(_) => return true,
            }
        }
        if !self.shut {
            self.shut = true;
            if kernel.shut_write(client).is_err() {
                return true;
            }
        }
        // Not the worker's scratch: a refusal is often decided on what lies in it.
        let mut dropped = [0; 4096];
        while self.drained_bytes < DRAINED_BYTES_MAX {
            if !self.readable {
                return false;
            }
            match kernel.read(client, &mut dropped) {
                Ok(0) => return true,
                Ok(read) => self.drained_bytes += read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(_) => return true,
            }
        }
        true
    }
}
