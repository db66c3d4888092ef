//! The agents' end of TLS.

use std::io::{self, Write};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use super::feed::{pull, push};
use super::records::Framing;
use super::replay::{self, Replay};

/// What every tunnel's handshake has in common.
pub enum Offer {
    /// Real TLS to this name.
    Tls {
        /// Version, trust.
        config: Arc<ClientConfig>,
        /// For SNI and the certificate.
        name: ServerName<'static>,
    },
    /// The replayed flights; holds the hello.
    Replay(Vec<u8>),
}

impl Offer {
    /// Real TLS to `host`, a name or an address literal.
    pub fn tls(config: Arc<ClientConfig>, host: &str) -> Result<Offer, String> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|why| format!("{host:?} cannot be a TLS server's name: {why}"))?;
        Ok(Offer::Tls { config, name })
    }

    /// Replayed flights to `host`; an address literal has no SNI.
    pub fn replay(host: &str) -> Offer {
        let is_address = host.parse::<std::net::IpAddr>().is_ok();
        Offer::Replay(replay::client_hello((!is_address).then_some(host)))
    }

    /// Begins one tunnel's handshake.
    pub fn begin(&self) -> Result<ClientSide, String> {
        match self {
            Offer::Replay(hello) => Ok(ClientSide::Replay(Replay::client(hello))),
            Offer::Tls { config, name } => ClientConnection::new(config.clone(), name.clone())
                .map(|connection| ClientSide::Tls(Box::new(connection)))
                .map_err(|why| why.to_string()),
        }
    }
}

/// One tunnel's session.
pub enum ClientSide {
    /// Real.
    Tls(Box<ClientConnection>),
    /// Replayed.
    Replay(Replay),
}

impl ClientSide {
    /// Whether the handshake is over.
    pub fn is_ready(&self) -> bool {
        match self {
            ClientSide::Tls(connection) => !connection.is_handshaking(),
            ClientSide::Replay(replay) => replay.is_ready(),
        }
    }

    /// Takes all of `wire`; plaintext is appended to `plain`. Errors end the tunnel.
    pub fn receive(&mut self, wire: &[u8], plain: &mut Vec<u8>) -> Result<(), String> {
        let mut sink = |bytes: &[u8]| {
            plain.extend_from_slice(bytes);
            Ok(())
        };
        match self {
            ClientSide::Tls(connection) => pull(connection, wire, &mut sink).map(drop),
            ClientSide::Replay(replay) => replay.receive(wire, &mut sink).map(drop),
        }
    }

    /// Writes what the handshake has to say; `WouldBlock` leaves the rest for later.
    pub fn flush(&mut self, stream: &mut impl Write) -> io::Result<()> {
        match self {
            ClientSide::Replay(replay) => replay.flush(stream),
            ClientSide::Tls(connection) => {
                while connection.wants_write() {
                    connection.write_tls(stream)?;
                }
                Ok(())
            }
        }
    }

    /// Sends on from `position`, about `budget_bytes` at most; `position` counts in this session's own
    /// way. `Ok(true)` once all is with the kernel, `Ok(false)` when the budget is spent first.
    pub fn send(
        &mut self,
        stream: &mut impl Write,
        request: &Framing<'_>,
        position: &mut u64,
        budget_bytes: usize,
    ) -> io::Result<bool> {
        match self {
            ClientSide::Replay(replay) => replay.send(stream, request, position, budget_bytes),
            ClientSide::Tls(connection) => {
                push(connection, stream, request, position, budget_bytes)
            }
        }
    }

    /// Says that nothing more will come, as far as the kernel takes it without waiting.
    pub fn close(&mut self, stream: &mut impl Write) {
        match self {
            ClientSide::Tls(connection) => connection.send_close_notify(),
            ClientSide::Replay(replay) => replay.queue_close(),
        }
        // A peer that does not take the last bytes is no loss: the socket closes next.
        let _ = self.flush(stream);
    }
}
