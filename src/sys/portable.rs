//! Systems without splice(2): every tunnel copies.

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Registry, Token};
use socket2::{SockRef, Socket};

/// Whether this platform moves bytes inside the kernel.
pub const SPLICES: bool = false;

/// Whether a read that fills less than its buffer proves the stream dry: not here, where only a
/// read that would block re-arms the events.
pub const SHORT_READ_IS_DRY: bool = false;

/// Whether several listeners of one process can share a port fairly.
pub const SHARES_PORTS: bool = false;

/// There is no such pipe here, and so no value of this type.
#[derive(Debug)]
pub struct SplicePipe(Infallible);

impl SplicePipe {
    /// Always refuses.
    ///
    /// # Errors
    /// `Unsupported`.
    pub fn open(_large: bool) -> io::Result<SplicePipe> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Cannot be reached.
    ///
    /// # Errors
    /// None.
    pub fn fill(&self, _source: &TcpStream, _len_bytes: usize) -> io::Result<usize> {
        match self.0 {}
    }

    /// Cannot be reached.
    ///
    /// # Errors
    /// None.
    pub fn pour(&self, _sink: &TcpStream, _len_bytes: usize) -> io::Result<usize> {
        match self.0 {}
    }

    /// Cannot be reached.
    ///
    /// # Errors
    /// None.
    pub fn read(&self, _into: &mut [u8]) -> io::Result<usize> {
        match self.0 {}
    }
}

/// There is no such timer here, and so no value of this type.
#[derive(Debug)]
pub struct Alarm(Infallible);

impl Alarm {
    /// Always refuses.
    ///
    /// # Errors
    /// `Unsupported`.
    pub fn new(_registry: &Registry, _token: Token) -> io::Result<Alarm> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Cannot be reached.
    ///
    /// # Errors
    /// None.
    pub fn set(&self, _after: Duration) -> io::Result<()> {
        match self.0 {}
    }
}

/// Whether splicing itself is refused here: always.
pub fn is_splice_refused(_error: &io::Error) -> bool {
    true
}

/// The scheduler takes no such hint here.
pub fn work_in_batches() {}

/// The system decides here which pages of a program stay.
pub fn let_go_of_pages() {}

/// No port is shared here; one acceptor hands sockets out.
///
/// # Errors
/// `Unsupported`.
pub fn share_port(_socket: &Socket) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Binding reserves a port here.
///
/// # Errors
/// None.
pub fn bind_late(_socket: &Socket) -> io::Result<()> {
    Ok(())
}

/// Cannot be told here.
pub fn unsent_bytes(_stream: &TcpStream) -> usize {
    0
}

/// Cannot be told here.
pub fn is_paced(_stream: &TcpStream) -> bool {
    false
}

/// Closes a stream so that its peer sees a reset (SO_LINGER of 0).
pub fn set_reset_on_close(stream: &TcpStream) {
    // A socket that is gone already needs no reset.
    let _ = SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO));
}

/// Nothing to do: no attributes that this program knows of.
///
/// # Errors
/// None.
pub fn keep_attributes(_new: &File, _old: &File) -> io::Result<()> {
    Ok(())
}
