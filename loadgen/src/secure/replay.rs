//! A TLS 1.3 handshake as it looks from outside (RFC 8446 section 4), without its cryptography: each
//! flight is well-formed and as long as a real one, so that a gateway that watches it does all its work,
//! and the load spends its processor time on the gateway. The two ends know each other by the session id.

use std::io::{self, Write};

use super::records::{
    ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, Framing, HANDSHAKE, Heard, Records, plain,
    protected,
};

/// The session id of a replayed hello: how the endpoint tells it from a real one.
pub const MARKER: &[u8; 32] = b"loadgen: a replayed flight, v1.0";

/// Up to here a record that begins a ClientHello must be seen to find the session id in it.
pub const MARKER_END: usize = MARKER_START + MARKER.len();

/// Record header 5, handshake header 4, version 2, random 32, length of the session id 1.
const MARKER_START: usize = 44;

const TLS_1_0: u16 = 0x0301;
const TLS_1_2: u16 = 0x0303;
const AES_128_GCM: [u8; 2] = [0x13, 0x01];
const X25519: [u8; 2] = [0x00, 0x1D];

/// What EncryptedExtensions, a usual chain of two certificates, CertificateVerify and Finished take.
const SERVER_FLIGHT_BYTES: usize = 3_000;
/// A Finished with SHA-256: header 4, verify data 32.
const FINISHED_BYTES: usize = 36;

/// Clients pad their first hello to this length against servers that choke on others (RFC 7685).
const HELLO_BYTES: usize = 512;

/// The first flight of a client that names `server_name` (left out for an address, RFC 6066 section 3).
pub fn client_hello(server_name: Option<&str>) -> Vec<u8> {
    let mut extensions = Vec::new();
    if let Some(name) = server_name {
        let mut entry = vec![0];
        sized_16(&mut entry, name.as_bytes());
        let mut list = Vec::new();
        sized_16(&mut list, &entry);
        extension(&mut extensions, 0, &list);
    }
    extension(&mut extensions, 10, &[0, 4, X25519[0], X25519[1], 0x00, 0x17]);
    extension(&mut extensions, 13, &[0, 6, 0x04, 0x03, 0x08, 0x04, 0x04, 0x01]);
    extension(&mut extensions, 43, &[2, 0x03, 0x04]);
    extension(&mut extensions, 45, &[1, 1]);
    let mut share = X25519.to_vec();
    sized_16(&mut share, &[0x5A; 32]);
    let mut shares = Vec::new();
    sized_16(&mut shares, &share);
    extension(&mut extensions, 51, &shares);

    let mut hello = hello_start([0xC1; 32]);
    sized_16(&mut hello, &[AES_128_GCM[0], AES_128_GCM[1], 0x13, 0x02, 0x13, 0x03]);
    hello.extend_from_slice(&[1, 0]);
    let padding = HELLO_BYTES.saturating_sub(4 + hello.len() + 2 + extensions.len() + 4);
    extension(&mut extensions, 21, &vec![0; padding]);
    sized_16(&mut hello, &extensions);
    plain(HANDSHAKE, TLS_1_0, &message(1, &hello))
}

/// The server's whole flight: ServerHello, ChangeCipherSpec and the protected rest.
pub fn server_flight() -> Vec<u8> {
    let mut extensions = Vec::new();
    extension(&mut extensions, 43, &[0x03, 0x04]);
    let mut share = X25519.to_vec();
    sized_16(&mut share, &[0xA7; 32]);
    extension(&mut extensions, 51, &share);
    let mut hello = hello_start([0x5E; 32]);
    hello.extend_from_slice(&AES_128_GCM);
    hello.push(0);
    sized_16(&mut hello, &extensions);
    let mut flight = plain(HANDSHAKE, TLS_1_2, &message(2, &hello));
    flight.extend_from_slice(&plain(CHANGE_CIPHER_SPEC, TLS_1_2, &[1]));
    flight.extend_from_slice(&protected(HANDSHAKE, &[0xE7; SERVER_FLIGHT_BYTES]));
    flight
}

fn client_finished() -> Vec<u8> {
    let mut flight = plain(CHANGE_CIPHER_SPEC, TLS_1_2, &[1]);
    flight.extend_from_slice(&protected(HANDSHAKE, &[0xF1; FINISHED_BYTES]));
    flight
}

fn hello_start(random: [u8; 32]) -> Vec<u8> {
    let mut hello = TLS_1_2.to_be_bytes().to_vec();
    hello.extend_from_slice(&random);
    hello.push(MARKER.len() as u8);
    hello.extend_from_slice(MARKER);
    hello
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32).to_be_bytes();
    let mut message = vec![kind, length[1], length[2], length[3]];
    message.extend_from_slice(body);
    message
}

fn extension(to: &mut Vec<u8>, number: u16, body: &[u8]) {
    to.extend_from_slice(&number.to_be_bytes());
    sized_16(to, body);
}

fn sized_16(to: &mut Vec<u8>, body: &[u8]) {
    to.extend_from_slice(&(body.len() as u16).to_be_bytes());
    to.extend_from_slice(body);
}

/// Whether the first bytes of a connection begin a replayed hello; `None` until enough have come.
pub fn is_replay(first: &[u8]) -> Option<bool> {
    if first.first().is_some_and(|kind| *kind != HANDSHAKE) {
        return Some(false);
    }
    Some(first.get(MARKER_START..MARKER_END)? == MARKER)
}

/// One end of a replayed session.
pub struct Replay {
    records: Records,
    stage: Stage,
    out: Vec<u8>,
    written: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    ClientAwaitsFlight,
    ServerAwaitsHello,
    ServerAwaitsFinished,
    Ready,
    Closed,
}

impl Replay {
    /// The client's end; its hello is ready to be flushed.
    pub fn client(hello: &[u8]) -> Replay {
        Replay::new(Stage::ClientAwaitsFlight, hello.to_vec())
    }

    /// The endpoint's end.
    pub fn server() -> Replay {
        Replay::new(Stage::ServerAwaitsHello, Vec::new())
    }

    fn new(stage: Stage, out: Vec<u8>) -> Replay {
        Replay { records: Records::default(), stage, out, written: 0 }
    }

    /// Whether requests and replies may pass.
    pub fn is_ready(&self) -> bool {
        self.stage == Stage::Ready
    }

    /// Takes all of `wire`; what is application data goes to `sink` piece by piece. `Ok(false)` once
    /// the peer has said that it closes. Errors where the peer sends an alert or no TLS.
    pub fn receive(
        &mut self,
        mut wire: &[u8],
        sink: &mut dyn FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<bool, String> {
        loop {
            let short;
            let (kind, bytes, last) = match self.records.next(&mut wire)? {
                Heard::Nothing => return Ok(self.stage != Stage::Closed),
                Heard::Piece { kind, bytes, last } => (kind, bytes, last),
                Heard::Short { kind, bytes } => {
                    short = bytes;
                    (kind, &short[..], true)
                }
            };
            match (self.stage, kind) {
                (_, ALERT) if last => match bytes {
                    [1, 0] => self.stage = Stage::Closed,
                    _ => return Err(alert_text(bytes)),
                },
                (Stage::Ready, APPLICATION_DATA) => sink(bytes)?,
                (Stage::ClientAwaitsFlight, APPLICATION_DATA) if last => {
                    self.stage = Stage::Ready;
                    self.out.extend_from_slice(&client_finished());
                }
                (Stage::ServerAwaitsHello, HANDSHAKE) if last => {
                    self.stage = Stage::ServerAwaitsFinished;
                    self.out.extend_from_slice(&server_flight());
                }
                (Stage::ServerAwaitsFinished, APPLICATION_DATA) if last => {
                    self.stage = Stage::Ready
                }
                (Stage::Ready, HANDSHAKE) => return Err("a handshake message after the end".into()),
                _ => {}
            }
        }
    }

    /// Queues `plaintext`, which is short, as one record.
    pub fn queue(&mut self, plaintext: &[u8]) {
        self.out.extend_from_slice(&protected(APPLICATION_DATA, plaintext));
    }

    /// Queues the record that says that nothing more will come.
    pub fn queue_close(&mut self) {
        self.out.extend_from_slice(&protected(ALERT, &[1, 0]));
    }

    /// Whether something waits to be flushed.
    pub fn wants_write(&self) -> bool {
        self.written < self.out.len()
    }

    /// Writes what is queued; `WouldBlock` leaves the rest for later.
    pub fn flush(&mut self, stream: &mut impl Write) -> io::Result<()> {
        while self.written < self.out.len() {
            match stream.write(&self.out[self.written..])? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => self.written += count,
            }
        }
        // A kept tunnel holds no buffer between its uploads.
        self.out = Vec::new();
        self.written = 0;
        Ok(())
    }

    /// Sends `message` on from `position` on the wire, about `budget_bytes` at most. `Ok(true)` once all
    /// is with the kernel, `Ok(false)` when the budget is spent first.
    pub fn send(
        &mut self,
        stream: &mut impl Write,
        message: &Framing<'_>,
        position: &mut u64,
        budget_bytes: usize,
    ) -> io::Result<bool> {
        self.flush(stream)?;
        let mut spent = 0;
        while *position < message.wire_bytes() {
            if spent >= budget_bytes {
                return Ok(false);
            }
            let count = message.write(stream, *position)?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            *position += count as u64;
            spent += count;
        }
        Ok(true)
    }
}

fn alert_text(bytes: &[u8]) -> String {
    match bytes.last() {
        Some(description) => format!("the peer sent TLS alert {description}"),
        None => "the peer sent an empty TLS alert".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A second reader, so that the hello is not judged by what built it.
    fn hello_facts(record: &[u8]) -> (String, Vec<u8>, Vec<u16>) {
        assert_eq!(record[0], HANDSHAKE);
        assert_eq!(usize::from(u16::from_be_bytes([record[3], record[4]])), record.len() - 5);
        let body = &record[9..];
        assert_eq!((record[5], record[8] as usize | (record[7] as usize) << 8), (1, body.len()));
        let mut at = 2 + 32;
        let session = body[at + 1..at + 1 + usize::from(body[at])].to_vec();
        at += 1 + session.len();
        at += 2 + usize::from(u16::from_be_bytes([body[at], body[at + 1]]));
        at += 1 + usize::from(body[at]);
        let end = at + 2 + usize::from(u16::from_be_bytes([body[at], body[at + 1]]));
        assert_eq!(end, body.len());
        at += 2;
        let (mut name, mut numbers) = (String::new(), Vec::new());
        while at < end {
            let number = u16::from_be_bytes([body[at], body[at + 1]]);
            let length = usize::from(u16::from_be_bytes([body[at + 2], body[at + 3]]));
            if number == 0 {
                name = String::from_utf8(body[at + 9..at + 4 + length].to_vec()).expect("a name");
            }
            numbers.push(number);
            at += 4 + length;
        }
        assert_eq!(at, end);
        (name, session, numbers)
    }

    #[test]
    fn the_hello_is_well_formed_and_marked() {
        let hello = client_hello(Some("localhost"));
        let (name, session, numbers) = hello_facts(&hello);
        assert_eq!(name, "localhost");
        assert_eq!(session, MARKER);
        assert_eq!(numbers, [0, 10, 13, 43, 45, 51, 21]);
        assert_eq!(hello.len(), 5 + HELLO_BYTES);
        assert_eq!(is_replay(&hello), Some(true));
        assert_eq!(is_replay(&hello[..MARKER_END - 1]), None);
        assert_eq!(is_replay(b"GET"), Some(false));
        assert!(!hello_facts(&client_hello(None)).2.contains(&0));
    }

    #[test]
    fn rustls_reads_the_hello_and_its_server_name() {
        let mut acceptor = rustls::server::Acceptor::default();
        acceptor.read_tls(&mut &client_hello(Some("logs.example.com"))[..]).expect("read");
        let accepted =
            acceptor.accept().map_err(|(why, _)| why).expect("parseable").expect("whole");
        assert_eq!(accepted.client_hello().server_name(), Some("logs.example.com"));
    }

    #[test]
    fn the_two_ends_shake_hands_and_exchange_whatever_the_cuts() {
        for step in [1, 7, 64, 10_000] {
            let mut client = Replay::client(&client_hello(Some("localhost")));
            let mut server = Replay::server();
            let mut heard = Vec::new();
            for round in 0..3 {
                if round == 2 {
                    client.queue(b"hello");
                    client.queue_close();
                }
                let mut up = Vec::new();
                client.flush(&mut up).expect("flush");
                let mut open = true;
                for cut in up.chunks(step) {
                    let mut sink = |bytes: &[u8]| {
                        heard.extend_from_slice(bytes);
                        Ok(())
                    };
                    open = server.receive(cut, &mut sink).expect("receive");
                }
                assert_eq!(open, round < 2);
                let mut down = Vec::new();
                server.flush(&mut down).expect("flush");
                for cut in down.chunks(step) {
                    client.receive(cut, &mut |_| Err("no data".to_owned())).expect("receive");
                }
            }
            assert_eq!(heard, b"hello");
        }
    }

    #[test]
    fn an_alert_in_the_clear_is_an_error_that_names_it() {
        let mut client = Replay::client(&client_hello(None));
        let alert = plain(ALERT, TLS_1_2, &[2, 112]);
        let why = client.receive(&alert, &mut |_| Ok(())).expect_err("an alert");
        assert!(why.contains("112"), "{why}");
    }
}
