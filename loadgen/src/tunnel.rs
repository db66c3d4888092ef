//! One tunnel from dialling to the last answer, as a state machine over anything that reads and writes.
//! It has no clock: who owns it keeps the deadlines.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;

use crate::exchange::Exchange;
use crate::failure::{Cause, Failure, Stage};
use crate::http::{self, Parsed};
use crate::payload::Block;
use crate::secure::client::{ClientSide, Offer};
use crate::secure::records::Framing;

/// How many bytes one tunnel may move in a turn, each way, so that a long upload does not starve the
/// others, nor what it sends what it gets.
const TURN_BYTES: usize = 128 << 10;

/// A stream that may still be connecting.
pub trait Dialled: Read + Write {
    /// `Ok(true)` once connected, `Ok(false)` while on the way.
    fn dialled(&self) -> io::Result<bool>;

    /// Says that nothing more will be written.
    fn shut_write(&self) -> io::Result<()>;
}

impl Dialled for mio::net::TcpStream {
    fn dialled(&self) -> io::Result<bool> {
        if let Some(why) = self.take_error()? {
            return Err(why);
        }
        match self.peer_addr() {
            Ok(_) => Ok(true),
            Err(why) if why.kind() == ErrorKind::NotConnected => Ok(false),
            Err(why) => Err(why),
        }
    }

    fn shut_write(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

/// What all tunnels of an engine share.
pub struct Desk {
    /// How each handshake begins.
    pub offer: Offer,
    /// The CONNECT request, the same for all; empty where tunnels begin with the TLS handshake.
    pub connect: Vec<u8>,
    /// Where the bodies' bytes lie.
    pub block: std::sync::Arc<Block>,
    /// What a read lands in before it is understood; nothing stays here between turns.
    pub scratch: Box<[u8]>,
}

/// What came of a turn.
#[derive(Debug)]
pub enum Turn {
    /// Nothing more until the socket is ready again.
    Waiting,
    /// The budget is spent; more can be done at once.
    Again,
    /// The tunnel is open, TLS and all.
    Opened,
    /// What was asked of it was answered with success.
    Arrived,
    /// Both sides have said that they are done.
    Closed,
    /// The tunnel is of no more use.
    Failed(Failure),
}

/// One tunnel.
pub struct Tunnel<S> {
    stream: S,
    stage: Stage,
    readable: bool,
    writable: bool,
    connect_written: usize,
    secure: Option<ClientSide>,
    inbox: Vec<u8>,
    exchange: Option<Exchange>,
    over: bool,
    unwritable: Option<Failure>,
}

impl<S: Dialled> Tunnel<S> {
    /// A tunnel over a stream that is being dialled.
    pub fn new(stream: S) -> Tunnel<S> {
        Tunnel {
            stream,
            stage: Stage::Dialing,
            readable: false,
            writable: false,
            connect_written: 0,
            secure: None,
            inbox: Vec::new(),
            exchange: None,
            over: false,
            unwritable: None,
        }
    }

    /// What it waits for.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Notes what the poll has said. Readiness is sticky: only a `WouldBlock` takes it back.
    pub fn note_ready(&mut self, readable: bool, writable: bool) {
        self.readable |= readable;
        self.writable |= writable;
    }

    /// Gives it something to carry, once it is open.
    pub fn carry(&mut self, exchange: Exchange) {
        self.exchange = Some(exchange);
        if self.stage == Stage::Open {
            self.stage = Stage::Sending;
        }
    }

    /// Says goodbye; the stream closes when this is dropped.
    pub fn close(mut self) {
        if let Some(mut secure) = self.secure.take() {
            secure.close(&mut self.stream);
        }
    }

    /// Says goodbye and awaits that of the other side: `Turn::Closed`.
    pub fn finish(&mut self) {
        self.stage = Stage::Closing;
        if let Some(secure) = &mut self.secure {
            secure.close(&mut self.stream);
        }
        // A connection that is broken already says so when it is read.
        let _ = self.stream.shut_write();
        self.writable = false;
    }

    /// Moves what can be moved.
    pub fn turn(&mut self, desk: &mut Desk) -> Turn {
        match self.try_turn(desk) {
            Ok(turn) => turn,
            Err(failure) => Turn::Failed(failure),
        }
    }

    fn try_turn(&mut self, desk: &mut Desk) -> Result<Turn, Failure> {
        if self.stage == Stage::Dialing {
            // Readable without writable is how some systems tell of a refused connection.
            if !(self.writable || self.readable) || !self.check_dialled()? {
                return Ok(Turn::Waiting);
            }
            self.stage = Stage::AwaitReply;
            if desk.connect.is_empty() {
                self.begin_handshake(desk, &[])?;
            }
        }
        let (mut up_budget, mut down_budget) = (TURN_BYTES, TURN_BYTES);
        loop {
            let stage = self.stage;
            let has_more = self.writable && !self.write(desk, &mut up_budget)?;
            if self.handshake_over() {
                self.stage = if self.exchange.is_some() { Stage::Sending } else { Stage::Open };
                return Ok(Turn::Opened);
            }
            let moved = self.readable && self.read(desk, &mut down_budget)?;
            if self.understand(desk)? {
                return Ok(Turn::Arrived);
            }
            if self.over {
                return Ok(Turn::Closed);
            }
            if has_more || down_budget == 0 {
                return Ok(Turn::Again);
            }
            if !moved && stage == self.stage {
                return Ok(Turn::Waiting);
            }
        }
    }

    fn check_dialled(&mut self) -> Result<bool, Failure> {
        let dialled = self.stream.dialled().map_err(|why| Failure::io(Stage::Dialing, &why))?;
        if !dialled {
            self.writable = false;
            self.readable = false;
        }
        Ok(dialled)
    }

    /// The handshake is over only when our last flight has left, too.
    fn handshake_over(&self) -> bool {
        self.stage == Stage::Handshake
            && self.writable
            && self.secure.as_ref().is_some_and(ClientSide::is_ready)
    }

    /// Writes what the stage has to say. `Ok(false)` when it must go on in another turn at once.
    fn write(&mut self, desk: &Desk, budget: &mut usize) -> Result<bool, Failure> {
        let written = match (self.stage, &mut self.secure, &mut self.exchange) {
            (Stage::AwaitReply, ..) => {
                write_rest(&mut self.stream, &desk.connect, &mut self.connect_written)
            }
            (Stage::Sending, Some(secure), Some(exchange)) => {
                let Exchange { head, body, position, .. } = exchange;
                let message = Framing { head, body, block: &desk.block };
                let before = *position;
                let sent = secure.send(&mut self.stream, &message, position, *budget);
                *budget = budget.saturating_sub((*position - before) as usize);
                match sent {
                    Ok(true) => {
                        self.stage = Stage::AwaitAnswer;
                        Ok(())
                    }
                    Ok(false) => return Ok(false),
                    Err(why) => Err(why),
                }
            }
            (_, Some(secure), _) => secure.flush(&mut self.stream),
            _ => Ok(()),
        };
        match written {
            Ok(()) => {}
            Err(why) if why.kind() == ErrorKind::WouldBlock => self.writable = false,
            Err(why) if why.kind() == ErrorKind::Interrupted => return Ok(false),
            Err(why) => {
                // A peer that closed may have said why first; what it said is the better reason.
                self.writable = false;
                self.readable = true;
                self.unwritable = Some(Failure::io(self.stage, &why));
            }
        }
        Ok(true)
    }

    /// Reads once; `Ok(false)` when there was nothing.
    fn read(&mut self, desk: &mut Desk, budget: &mut usize) -> Result<bool, Failure> {
        let count = match self.stream.read(&mut desk.scratch) {
            Ok(0) if self.stage == Stage::Closing => {
                self.over = true;
                self.readable = false;
                return Ok(false);
            }
            Ok(0) => return Err(self.unwritable.take().unwrap_or(Failure::closed(self.stage))),
            Ok(count) => count,
            Err(why) if why.kind() == ErrorKind::Interrupted => return Ok(true),
            Err(why) if why.kind() == ErrorKind::WouldBlock => {
                self.readable = false;
                return match self.unwritable.take() {
                    Some(failure) => Err(failure),
                    None => Ok(false),
                };
            }
            Err(why) => return Err(Failure::io(self.stage, &why)),
        };
        *budget = budget.saturating_sub(count);
        match &mut self.secure {
            None => self.inbox.extend_from_slice(&desk.scratch[..count]),
            Some(secure) => {
                if let Err(why) = secure.receive(&desk.scratch[..count], &mut self.inbox) {
                    secure.close(&mut self.stream);
                    return Err(Failure::new(Cause::Tls, self.stage, why));
                }
            }
        }
        Ok(true)
    }

    /// Draws the conclusions from what has come. `Ok(true)` when the exchange is done.
    fn understand(&mut self, desk: &Desk) -> Result<bool, Failure> {
        let bad = |why| Failure::new(Cause::Reply, self.stage, why);
        match (self.stage, &mut self.exchange) {
            (Stage::AwaitReply, _) => match http::tunnel_reply(&self.inbox) {
                Parsed::Partial => {}
                Parsed::Bad(why) => return Err(bad(why)),
                Parsed::Whole(reply) if reply.status / 100 == 2 => {
                    let early = self.inbox.split_off(reply.taken);
                    self.inbox = Vec::new();
                    self.begin_handshake(desk, &early)?;
                }
                Parsed::Whole(reply) => {
                    let reason = format!("{} {}", reply.status, reply.phrase);
                    let failure = Failure::new(Cause::Refused(reply.status), self.stage, reason);
                    return Err(failure.with_retry_after(reply.retry_after_s));
                }
            },
            (Stage::Sending | Stage::AwaitAnswer, Some(exchange)) if !self.inbox.is_empty() => {
                let is_whole = exchange.take(&mut self.inbox, self.stage)?;
                if is_whole {
                    // At rest a tunnel holds neither request nor buffer.
                    self.inbox = Vec::new();
                    self.exchange = None;
                    self.stage = Stage::Open;
                }
                return Ok(is_whole);
            }
            (Stage::Open, _) if !self.inbox.is_empty() => {
                return Err(bad("the target spoke without being asked".to_owned()));
            }
            (Stage::Closing, _) => self.inbox.clear(),
            _ => {}
        }
        Ok(false)
    }

    fn begin_handshake(&mut self, desk: &Desk, early: &[u8]) -> Result<(), Failure> {
        self.stage = Stage::Handshake;
        let failed = |why| Failure::new(Cause::Tls, Stage::Handshake, why);
        let mut secure = desk.offer.begin().map_err(failed)?;
        secure.receive(early, &mut self.inbox).map_err(failed)?;
        self.secure = Some(secure);
        Ok(())
    }
}

fn write_rest(stream: &mut impl Write, bytes: &[u8], written: &mut usize) -> io::Result<()> {
    while *written < bytes.len() {
        match stream.write(&bytes[*written..]) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => *written += count,
            Err(why) => return Err(why),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::endpoint::ingest::{Counts, Ingest};
    use crate::payload::Body;
    use crate::secure::server::ServerSide;

    /// A gateway and an endpoint in memory: bytes come and go in pieces of `step`.
    struct Script {
        reply: &'static [u8],
        step: usize,
        connect: Vec<u8>,
        down: Vec<u8>,
        side: ServerSide,
        ingest: Ingest,
        counts: Counts,
        config: Arc<rustls::ServerConfig>,
        closes: bool,
    }

    const CONNECTED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

    fn script(reply: &'static [u8], step: usize) -> Script {
        let identity = crate::secure::identity::Identity::generate().expect("an identity");
        Script {
            reply,
            step,
            connect: Vec::new(),
            down: Vec::new(),
            side: ServerSide::new(),
            ingest: Ingest::default(),
            counts: Counts::default(),
            config: identity.server_config().expect("a server"),
            closes: false,
        }
    }

    impl Read for Script {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            if self.down.is_empty() {
                return if self.closes { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) };
            }
            let count = self.down.len().min(self.step).min(into.len());
            into[..count].copy_from_slice(&self.down[..count]);
            self.down.drain(..count);
            Ok(count)
        }
    }

    impl Write for Script {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.step);
            if !self.connect.ends_with(b"\r\n\r\n") {
                self.connect.extend_from_slice(&bytes[..count]);
                if self.connect.ends_with(b"\r\n\r\n") {
                    self.down.extend_from_slice(self.reply);
                }
                return Ok(count);
            }
            let (ingest, counts) = (&mut self.ingest, &self.counts);
            let mut sink = |piece: &[u8]| ingest.take(piece, counts);
            self.side.receive(&bytes[..count], &self.config, &mut sink).expect("receive");
            let replies = self.ingest.take_replies();
            if !replies.is_empty() {
                self.side.queue(&replies)?;
            }
            self.side.flush(&mut self.down)?;
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Dialled for Script {
        fn dialled(&self) -> io::Result<bool> {
            Ok(true)
        }

        fn shut_write(&self) -> io::Result<()> {
            Ok(())
        }
    }

    fn desk() -> Desk {
        Desk {
            offer: Offer::replay("localhost"),
            connect: http::connect_head("localhost:443"),
            block: Arc::new(Block::new()),
            scratch: vec![0; 4096].into_boxed_slice(),
        }
    }

    fn turns(tunnel: &mut Tunnel<Script>, desk: &mut Desk) -> Turn {
        loop {
            tunnel.note_ready(true, true);
            match tunnel.turn(desk) {
                Turn::Again => {}
                turn => return turn,
            }
        }
    }

    #[test]
    fn a_tunnel_opens_and_carries_uploads_whatever_the_cuts() {
        for step in [1, 13, 1_000, 1 << 20] {
            let mut desk = desk();
            let mut tunnel = Tunnel::new(script(CONNECTED, step));
            assert!(matches!(turns(&mut tunnel, &mut desk), Turn::Opened));
            assert_eq!(tunnel.stream.connect, desk.connect);
            for sequence in 0..2 {
                let body = Body::new(4, sequence, 40_000);
                tunnel.carry(Exchange::upload("localhost:443", &desk.block, body));
                assert!(matches!(turns(&mut tunnel, &mut desk), Turn::Arrived), "step {step}");
            }
            assert_eq!(tunnel.stream.counts.read().verified, 2);
            assert_eq!((tunnel.inbox.capacity(), tunnel.exchange.is_none()), (0, true));
        }
    }

    #[test]
    fn behind_a_plain_forwarder_a_tunnel_begins_with_the_handshake() {
        let mut desk = Desk { connect: Vec::new(), ..desk() };
        let mut forwarded = script(b"", 13);
        forwarded.connect.extend_from_slice(b"\r\n\r\n");
        let mut tunnel = Tunnel::new(forwarded);
        assert!(matches!(turns(&mut tunnel, &mut desk), Turn::Opened));
        tunnel.carry(Exchange::upload("localhost:443", &desk.block, Body::new(4, 0, 40_000)));
        assert!(matches!(turns(&mut tunnel, &mut desk), Turn::Arrived));
        assert_eq!(tunnel.stream.connect, b"\r\n\r\n", "nothing but the handshake was sent");
    }

    #[test]
    fn what_is_not_as_it_should_be_fails_with_cause_and_stage() {
        let table: [(&'static [u8], bool, Cause, Stage); 5] = [
            (b"HTTP/1.1 403 No\r\n\r\n", false, Cause::Refused(403), Stage::AwaitReply),
            (b"SSH-2.0-x\r\n", false, Cause::Reply, Stage::AwaitReply),
            (b"HTTP/1.1 2", true, Cause::Closed, Stage::AwaitReply),
            (
                b"HTTP/1.1 200 OK\r\n\r\n\x15\x03\x03\0\x02\x02\x70",
                false,
                Cause::Tls,
                Stage::Handshake,
            ),
            (b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 400", false, Cause::Tls, Stage::Handshake),
        ];
        for (reply, closes, cause, stage) in table {
            let mut tunnel = Tunnel::new(Script { closes, ..script(reply, 1 << 20) });
            let Turn::Failed(failure) = turns(&mut tunnel, &mut desk()) else {
                panic!("{reply:?}")
            };
            assert_eq!((failure.cause, failure.stage), (cause, stage), "{reply:?}");
        }
    }

    #[test]
    fn a_session_is_over_when_the_other_side_has_closed_too() {
        let mut desk = desk();
        let mut tunnel = Tunnel::new(script(CONNECTED, 1 << 20));
        assert!(matches!(turns(&mut tunnel, &mut desk), Turn::Opened));
        tunnel.finish();
        assert_eq!(tunnel.stage(), Stage::Closing);
        assert!(matches!(turns(&mut tunnel, &mut desk), Turn::Waiting));
        tunnel.stream.closes = true;
        assert!(matches!(turns(&mut tunnel, &mut desk), Turn::Closed));
    }

    #[test]
    fn a_tunnel_that_ends_at_rest_is_noticed() {
        let mut desk = desk();
        let mut tunnel = Tunnel::new(script(CONNECTED, 1 << 20));
        assert!(matches!(turns(&mut tunnel, &mut desk), Turn::Opened));
        tunnel.stream.closes = true;
        let Turn::Failed(failure) = turns(&mut tunnel, &mut desk) else { panic!("not noticed") };
        assert_eq!((failure.cause, failure.stage), (Cause::Closed, Stage::Open));
    }
}
