//! The endpoint's end of TLS: the first bytes tell whether a client is real or replayed.

use std::io::{self, Write};
use std::sync::Arc;

use rustls::{ServerConfig, ServerConnection};

use super::feed::{pull, push};
use super::records::Framing;
use super::replay::{MARKER_END, Replay, is_replay};

/// One client's session.
pub enum ServerSide {
    /// Too little has come to tell; holds what has.
    Undecided(Vec<u8>),
    /// Real.
    Tls(Box<ServerConnection>),
    /// Replayed.
    Replay(Replay),
}

impl ServerSide {
    /// A connection from which nothing has come yet.
    pub fn new() -> ServerSide {
        ServerSide::Undecided(Vec::new())
    }

    /// Whether the handshake is over.
    pub fn is_ready(&self) -> bool {
        match self {
            ServerSide::Undecided(_) => false,
            ServerSide::Tls(connection) => !connection.is_handshaking(),
            ServerSide::Replay(replay) => replay.is_ready(),
        }
    }

    /// Takes all of `wire`; plaintext goes to `sink` piece by piece, without a copy where TLS allows.
    /// `Ok(false)` once the client has said that it closes. Errors end the connection.
    pub fn receive(
        &mut self,
        wire: &[u8],
        config: &Arc<ServerConfig>,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<bool, String> {
        match self {
            ServerSide::Tls(connection) => pull(connection, wire, sink),
            ServerSide::Replay(replay) => replay.receive(wire, sink),
            ServerSide::Undecided(first) => {
                let missing = MARKER_END.saturating_sub(first.len()).min(wire.len());
                first.extend_from_slice(&wire[..missing]);
                let Some(replayed) = is_replay(first) else { return Ok(true) };
                let first = std::mem::take(first);
                *self = if replayed {
                    ServerSide::Replay(Replay::server())
                } else {
                    let connection =
                        ServerConnection::new(config.clone()).map_err(|why| why.to_string())?;
                    ServerSide::Tls(Box::new(connection))
                };
                self.receive(&first, config, sink)?;
                self.receive(&wire[missing..], config, sink)
            }
        }
    }

    /// Queues a reply, which is short.
    pub fn queue(&mut self, plaintext: &[u8]) -> io::Result<()> {
        match self {
            ServerSide::Undecided(_) => Ok(()),
            ServerSide::Tls(connection) => connection.writer().write_all(plaintext),
            ServerSide::Replay(replay) => {
                replay.queue(plaintext);
                Ok(())
            }
        }
    }

    /// Sends `message` on from `position`, about `budget_bytes` at most; `position` counts in this
    /// session's own way. `Ok(true)` once all is with the kernel, `Ok(false)` when the budget is spent first.
    pub fn send(
        &mut self,
        stream: &mut impl Write,
        message: &Framing<'_>,
        position: &mut u64,
        budget_bytes: usize,
    ) -> io::Result<bool> {
        match self {
            ServerSide::Undecided(_) => Ok(true),
            ServerSide::Tls(connection) => {
                push(connection, stream, message, position, budget_bytes)
            }
            ServerSide::Replay(replay) => replay.send(stream, message, position, budget_bytes),
        }
    }

    /// Whether something waits to be flushed.
    pub fn wants_write(&self) -> bool {
        match self {
            ServerSide::Undecided(_) => false,
            ServerSide::Tls(connection) => connection.wants_write(),
            ServerSide::Replay(replay) => replay.wants_write(),
        }
    }

    /// Writes what is queued; `WouldBlock` leaves the rest for later.
    pub fn flush(&mut self, stream: &mut impl Write) -> io::Result<()> {
        match self {
            ServerSide::Undecided(_) => Ok(()),
            ServerSide::Replay(replay) => replay.flush(stream),
            ServerSide::Tls(connection) => {
                while connection.wants_write() {
                    connection.write_tls(stream)?;
                }
                Ok(())
            }
        }
    }
}
