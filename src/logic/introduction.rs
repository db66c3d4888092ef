//! Who the client of a session is: whoever connected, or whom a load balancer names in the PROXY
//! header before the request. From a balancer the header is required, or anybody behind it would pass
//! for the balancer; only its health check needs none.

use std::net::{IpAddr, SocketAddr};

use super::policy::{Policy, Refusal};
use super::reason::Reason;
use crate::proto::head::{HeadError, HeadReader};
use crate::proto::proxy_header::{HeaderReader, Heard};

/// How far a session knows its client.
#[derive(Debug)]
pub enum Introduction {
    /// By its own address, or by the one in the header.
    Done,
    /// A balancer connected and has not said yet for whom.
    Awaited(Box<HeaderReader>),
    /// The balancer speaks for itself, or does not say for whom.
    OfItself,
    /// The balancer sent no header, which only a health check may do.
    Missing,
}

/// What the bytes of a client are, judged before its head.
#[derive(Debug)]
pub enum Introduced {
    /// Bytes of the head.
    Head,
    /// The header goes on.
    More,
    /// The header is whole.
    Whole {
        /// The client, where the header names one.
        client: Option<SocketAddr>,
        /// Index of the first byte after the header.
        head_at: usize,
    },
    /// No header, or a wrong one.
    Refused(Refusal),
}

impl Introduction {
    /// What is needed of a connection from `address`.
    pub fn of(address: IpAddr, policy: &Policy) -> Introduction {
        if policy.is_balancer(address) {
            Introduction::Awaited(Box::default())
        } else {
            Introduction::Done
        }
    }

    /// Takes the next bytes of `address`.
    pub fn read(&mut self, bytes: &[u8], address: IpAddr) -> Introduced {
        let Introduction::Awaited(reader) = self else { return Introduced::Head };
        match reader.read(bytes) {
            Heard::More => Introduced::More,
            Heard::Whole { source, head_at } => {
                *self = if source.is_some() { Introduction::Done } else { Introduction::OfItself };
                Introduced::Whole { client: source, head_at }
            }
            // All other requests are refused with their first byte: who sends it waits for an answer.
            Heard::Absent if bytes.first() == Some(&b'G') => {
                *self = Introduction::Missing;
                Introduced::Head
            }
            Heard::Absent => Introduced::Refused(missing(address)),
            Heard::Refused(error) => {
                let text =
                    format!("the PROXY header of the load balancer {address} is wrong: {error}");
                Introduced::Refused(Refusal::because(Reason::MalformedHead, text))
            }
        }
    }

    /// Judges a client that sends no more before its `head` is whole; without a byte it may.
    pub fn judge_early_end(&self, head: &HeadReader) -> Result<(), Refusal> {
        let what = match self {
            Introduction::Awaited(reader) if !reader.is_empty() => "the PROXY header ends early",
            _ if head.is_empty() => return Ok(()),
            _ => "the head ends early",
        };
        Err(Refusal::because(Reason::MalformedHead, what))
    }

    /// Whether the balancer itself is the client. It may check our health without being named in
    /// `allow.clients`, and whether it does shows only in its request.
    pub fn is_of_balancer(&self) -> bool {
        matches!(self, Introduction::OfItself | Introduction::Missing)
    }

    /// What was wrong where a head of `address` is: the missing header, if anything else than a health
    /// check came without one.
    pub fn blame(&self, error: HeadError, address: IpAddr) -> Refusal {
        if matches!(self, Introduction::Missing) { missing(address) } else { error.into() }
    }
}

fn missing(address: IpAddr) -> Refusal {
    let text = format!(
        "proxy_protocol.from names {address}, whose connections must begin with a PROXY header"
    );
    Refusal::because(Reason::MalformedHead, text)
}
