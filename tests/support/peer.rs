//! A scripted client or server: a blocking socket with deadlines.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use super::deadline::{Deadline, PATIENCE};
use super::random::Random;

/// How bytes are cut into segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// All at once.
    Whole,
    /// One byte at a time; beyond 2 KiB in pieces that make it 2,048.
    EachByte,
    /// Pieces of random sizes, by this seed.
    Random(u64),
}

/// The three ways in which each input is sent.
pub const CUTS: [Cut; 3] = [Cut::Whole, Cut::EachByte, Cut::Random(0x51)];

/// One step of a script.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// Sends all of this.
    Send(&'a [u8]),
    /// Sends this byte by byte, with a pause after each.
    Slow(&'a [u8], Duration),
    /// Exactly these bytes come next.
    Expect(&'a [u8]),
    /// So many bytes come next.
    Skip(usize),
    /// Nothing is done for so long.
    Pause(Duration),
    /// Sends no more.
    Fin,
    /// The other side sends no more.
    ExpectEnd,
    /// The other side resets.
    ExpectReset,
    /// Resets.
    Reset,
}

static CONNECTS: AtomicU64 = AtomicU64::new(0);

/// Connects as a test does, and counts it.
///
/// # Errors
/// As connect(2), and where nobody answers.
pub fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    CONNECTS.fetch_add(1, Ordering::Relaxed);
    TcpStream::connect_timeout(&address, PATIENCE)
}

/// Connects from a port that none of the last 20,000 clients of this process has had. Sessions are known by
/// it, and Linux, left to choose, may give the same one again within a second.
fn connect_as_nobody_before(address: SocketAddr) -> io::Result<TcpStream> {
    // Below those that systems give by themselves.
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 20_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let source: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    let mut last = ErrorKind::AddrInUse.into();
    for _ in 0..COUNT {
        // Another process begins elsewhere, as connections of the last one may still be remembered.
        let turn = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(std::process::id() * 97);
        let port = u16::try_from(FIRST + turn % COUNT).expect("it is below 30,000");
        match connect_from(SocketAddr::new(source, port), address) {
            Err(error) if is_taken(&error) => last = error,
            connected => {
                CONNECTS.fetch_add(1, Ordering::Relaxed);
                return connected;
            }
        }
    }
    Err(last)
}

fn connect_from(source: SocketAddr, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&source.into())?;
    socket.connect_timeout(&address.into(), PATIENCE)?;
    Ok(socket.into())
}

/// Whether the port is somebody's, or a connection with both of these ends is still remembered.
fn is_taken(error: &io::Error) -> bool {
    // Windows keeps some ranges for itself, which it calls a lack of permission.
    use ErrorKind::{AddrInUse, AddrNotAvailable, PermissionDenied};
    matches!(error.kind(), AddrInUse | AddrNotAvailable | PermissionDenied)
}

/// How often this process has connected to anybody, so that what others do can be told from it.
pub fn own_connects() -> u64 {
    CONNECTS.load(Ordering::Relaxed)
}

/// One end of a connection.
#[derive(Debug)]
pub struct Peer {
    /// The socket.
    pub stream: TcpStream,
}

impl Peer {
    /// Takes a connected socket.
    pub fn new(stream: TcpStream) -> Peer {
        stream.set_nodelay(true).expect("a TCP socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a TCP socket");
        stream.set_write_timeout(Some(PATIENCE)).expect("a TCP socket");
        Peer { stream }
    }

    /// Connects.
    pub fn connect(address: SocketAddr) -> Peer {
        Peer::new(connect(address).expect("the other side listens"))
    }

    /// Connects from a port by which it is known.
    pub fn connect_as_nobody_before(address: SocketAddr) -> Peer {
        Peer::new(connect_as_nobody_before(address).expect("the other side listens"))
    }

    /// Plays a script.
    pub fn play(&mut self, steps: &[Step<'_>]) {
        for step in steps {
            match *step {
                Step::Send(bytes) => self.send(bytes),
                Step::Slow(bytes, pause) => {
                    for byte in bytes.chunks(1) {
                        self.send(byte);
                        std::thread::sleep(pause);
                    }
                }
                Step::Expect(bytes) => self.expect(bytes),
                Step::Skip(len) => drop(self.read_exact(len)),
                Step::Pause(pause) => std::thread::sleep(pause),
                Step::Fin => self.fin(),
                Step::ExpectEnd => self.expect_end(),
                Step::ExpectReset => self.expect_reset(),
                Step::Reset => return self.set_reset_on_close(),
            }
        }
    }

    /// Sends all of it.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the other side takes what is sent");
    }

    /// Sends all of it in pieces. The other side may close before it has all: it may have seen enough.
    pub fn send_cut(&mut self, bytes: &[u8], cut: Cut) {
        let _ = self.try_send_cut(bytes, cut);
    }

    fn try_send_cut(&mut self, bytes: &[u8], cut: Cut) -> io::Result<()> {
        match cut {
            Cut::Whole => self.stream.write_all(bytes),
            Cut::EachByte => bytes
                .chunks(bytes.len().div_ceil(2048).max(1))
                .try_for_each(|piece| self.stream.write_all(piece)),
            Cut::Random(seed) => {
                let mut random = Random::seeded(seed);
                let mut rest = bytes;
                while !rest.is_empty() {
                    let len = 1 + random.below(rest.len().min(1 + bytes.len() / 4));
                    let (piece, after) = rest.split_at(len);
                    self.stream.write_all(piece)?;
                    rest = after;
                }
                Ok(())
            }
        }
    }

    /// Sends no more.
    pub fn fin(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("the connection is open");
    }

    /// Resets the connection.
    pub fn reset(self) {
        self.set_reset_on_close();
    }

    /// Makes the drop of it a reset.
    pub fn set_reset_on_close(&self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("a TCP socket");
    }

    /// The next `len` bytes.
    pub fn read_exact(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let mut read = 0;
        while read < len {
            match self.stream.read(&mut bytes[read..]) {
                Ok(0) => panic!("the end after {read} of {len} bytes: {:x?}", &bytes[..read]),
                Ok(more) => read += more,
                Err(error) => panic!("{error} after {read} of {len} bytes"),
            }
        }
        bytes
    }

    /// A head up to its blank line, and nothing after it.
    pub fn read_head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(self.read_exact(1));
        }
        String::from_utf8(head).expect("a head is text")
    }

    /// Everything up to the orderly end.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.stream.read_to_end(&mut bytes) {
            Ok(_) => bytes,
            Err(error) => {
                panic!("{error} after {} bytes: {:?}", bytes.len(), String::from_utf8_lossy(&bytes))
            }
        }
    }

    /// Everything up to the end, and how it ended.
    pub fn read_to_any_end(&mut self) -> (Vec<u8>, io::Result<()>) {
        let mut bytes = Vec::new();
        let ended = self.stream.read_to_end(&mut bytes).map(|_| ());
        (bytes, ended)
    }

    /// Exactly these bytes come next.
    pub fn expect(&mut self, bytes: &[u8]) {
        let came = self.read_exact(bytes.len());
        assert!(came == bytes, "{:?} came, not {:?}", came.escape_ascii(), bytes.escape_ascii());
    }

    /// The other side sends no more, and sent nothing else before that.
    pub fn expect_end(&mut self) {
        let rest = self.read_to_end();
        assert!(rest.is_empty(), "{} more bytes: {:?}", rest.len(), rest.escape_ascii());
    }

    /// The other side resets, and sent nothing else before that.
    pub fn expect_reset(&mut self) {
        let (rest, ended) = self.read_to_any_end();
        assert!(rest.is_empty(), "{} more bytes: {:?}", rest.len(), rest.escape_ascii());
        match ended {
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
            other => panic!("not a reset: {other:?}"),
        }
    }

    /// Nothing comes within `time`: neither a byte nor an end.
    pub fn expect_silence(&mut self, time: Duration) {
        self.stream.set_read_timeout(Some(time)).expect("a TCP socket");
        let mut byte = [0];
        match self.stream.read(&mut byte) {
            Err(error)
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            other => panic!("not silent: {other:?} {byte:x?}"),
        }
        self.stream.set_read_timeout(Some(PATIENCE)).expect("a TCP socket");
    }

    /// Sends until nothing more is taken for `quiet`; how many bytes were.
    pub fn send_until_full(&mut self, quiet: Duration, most: u64) -> u64 {
        let piece = [0x5a; 64 * 1024];
        self.stream.set_write_timeout(Some(quiet)).expect("a TCP socket");
        let deadline = Deadline::patience();
        let mut sent = 0;
        while sent < most && !deadline.has_passed() {
            match self.stream.write(&piece) {
                Ok(written) => sent += written as u64,
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    ) =>
                {
                    break;
                }
                Err(error) => panic!("{error} after {sent} bytes"),
            }
        }
        self.stream.set_write_timeout(Some(PATIENCE)).expect("a TCP socket");
        sent
    }

    /// Our own address.
    pub fn address(&self) -> SocketAddr {
        self.stream.local_addr().expect("a connected socket has an address")
    }
}
