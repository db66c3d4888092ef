//! The narrow door to the world: sockets, pipes, poll, clocks and names.
//!
//! Worker, tunnel and carrier are generic over [`Kernel`]. The real one ([`super::sockets`]) costs
//! nothing; a fake one drives the same code in tests without a socket.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::slots::Token;

/// Sockets, pipes, poll, clocks and names.
///
/// Streams never block: an operation that cannot go on answers `WouldBlock`, and only that clears the
/// readiness an event has told. `OutOfMemory` says that the system lacks memory for it now, and that
/// nothing has broken. `Interrupted` is never answered.
pub trait Kernel {
    /// A bound socket that accepts.
    type Listener;
    /// A connected or connecting TCP socket.
    type Stream: fmt::Debug;
    /// A pipe inside the kernel.
    type Pipe: fmt::Debug;

    /// Monotonic time as of the last return from [`Kernel::poll`].
    fn now(&self) -> Instant;

    /// Monotonic time at this moment, for what is timed within a turn; [`Kernel::now`] is cheaper.
    fn clock(&self) -> Instant;

    /// Calendar time, for events.
    fn wall(&self) -> SystemTime;

    /// Sleeps until something is ready, mail has come, or `sleep` is over; `None` sleeps for ever.
    /// What is ready is appended. Spurious readiness is allowed, a lost one is not.
    ///
    /// # Errors
    /// Those that leave no poll to go on with.
    fn poll(&mut self, sleep: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()>;

    /// Whether the last poll told of all that was ready; where it did not, the next one goes on.
    fn told_all(&self) -> bool {
        true
    }

    /// Appends the mail that has come.
    fn mail(&mut self, into: &mut Vec<Mail<Self::Stream>>);

    /// Takes a bound listener under this poll, as the `index`th.
    ///
    /// # Errors
    /// Where the poll takes no more.
    fn listen(&mut self, bound: TcpListener, index: usize) -> io::Result<Self::Listener>;

    /// Sets the idle time before TCP probes a silent peer, for sockets from now on.
    fn set_keepalive(&mut self, idle: Option<Duration>);

    /// Takes one connection.
    ///
    /// # Errors
    /// `WouldBlock` when there is none; see `sys::is_of_one_connection`, `sys::is_out_of_descriptors`.
    fn accept(&mut self, listener: &mut Self::Listener) -> io::Result<(Self::Stream, SocketAddr)>;

    /// Begins to connect, from the given source address if there is one.
    ///
    /// # Errors
    /// Those of socket, bind and connect that are known at once.
    fn dial(&mut self, to: SocketAddr, from: Option<IpAddr>) -> io::Result<Self::Stream>;

    /// Asks for readable and writable events of `stream`, edge-triggered, until it is closed.
    ///
    /// # Errors
    /// Where the kernel takes no more.
    fn register(&mut self, stream: &mut Self::Stream, token: Token) -> io::Result<()>;

    /// Whether a dialled stream is connected by now. An event alone proves nothing.
    ///
    /// # Errors
    /// Why it never will be.
    fn is_connected(&mut self, stream: &Self::Stream) -> io::Result<bool>;

    /// Reads; 0 is the end of the stream.
    ///
    /// # Errors
    /// `WouldBlock`, or what broke the connection.
    fn read(&mut self, stream: &mut Self::Stream, into: &mut [u8]) -> io::Result<usize>;

    /// Whether a read that fills less than its buffer proves the stream dry, so that the next bytes
    /// come with an event: true of epoll (epoll(7), question 9), not of mio on Windows.
    fn short_read_is_dry(&self) -> bool {
        false
    }

    /// Whether the system spreads over time what is written at once.
    fn is_paced(&self, _stream: &Self::Stream) -> bool {
        false
    }

    /// Writes.
    ///
    /// # Errors
    /// `WouldBlock`, or what broke the connection.
    fn write(&mut self, stream: &mut Self::Stream, bytes: &[u8]) -> io::Result<usize>;

    /// Sends the end of the stream after what was written.
    ///
    /// # Errors
    /// What broke the connection.
    fn shut_write(&mut self, stream: &mut Self::Stream) -> io::Result<()>;

    /// The error that waits at the stream, which is thereby taken from it.
    fn take_error(&mut self, stream: &Self::Stream) -> Option<io::Error>;

    /// Bytes written that the peer has not acknowledged.
    fn unsent_bytes(&mut self, stream: &Self::Stream) -> usize;

    /// Closes; what was written is still delivered.
    fn close(&mut self, stream: Self::Stream);

    /// Closes with a reset.
    fn reset(&mut self, stream: Self::Stream);

    /// Opens a pipe, a large one where `large` is asked for and the system grants it.
    ///
    /// # Errors
    /// Where none is to be had.
    fn open_pipe(&mut self, large: bool) -> io::Result<Self::Pipe>;

    /// Moves up to `len_bytes` (never 0) from `source` into the pipe; 0 is the end of the stream.
    ///
    /// # Errors
    /// `WouldBlock`, what broke the connection, or `Unsupported` where pipes do not work here.
    fn fill_pipe(
        &mut self,
        pipe: &mut Self::Pipe,
        source: &mut Self::Stream,
        len_bytes: usize,
    ) -> io::Result<usize>;

    /// Moves up to `len_bytes` (never 0) from the pipe to `sink`.
    ///
    /// # Errors
    /// As [`Kernel::fill_pipe`].
    fn pour_pipe(
        &mut self,
        pipe: &mut Self::Pipe,
        sink: &mut Self::Stream,
        len_bytes: usize,
    ) -> io::Result<usize>;

    /// Takes bytes out of the pipe by copying.
    ///
    /// # Errors
    /// `WouldBlock` where it is empty.
    fn read_pipe(&mut self, pipe: &mut Self::Pipe, into: &mut [u8]) -> io::Result<usize>;

    /// The addresses of `name`. After [`Lookup::Pending`] the answer comes as mail to `token`.
    fn look_up(&mut self, name: &str, token: Token) -> Lookup;

    /// The last known addresses of `name`, however old, for when no answer comes in time.
    fn recall(&mut self, name: &str) -> Option<Arc<[IpAddr]>>;

    /// `token` does not wait for `name` any more.
    fn forget(&mut self, name: &str, token: Token);

    /// Whether `address` is one of this machine.
    fn is_own_address(&mut self, address: IpAddr) -> bool;
}

/// What an event says about one token. Each field is a hint to try, not a promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Whom it is about.
    pub token: Token,
    /// Bytes, an end or an error may be read.
    pub readable: bool,
    /// Bytes may be written, or a dial has an outcome.
    pub writable: bool,
    /// The peer has sent its end, or the connection has broken.
    pub ended: bool,
    /// The connection may have broken.
    pub broken: bool,
}

/// What other threads send to a worker.
#[derive(Debug)]
pub enum Mail<S> {
    /// A connection that an acceptor took.
    Accepted(S, SocketAddr),
    /// The addresses of a name, or why there are none.
    Resolved(Token, Result<Arc<[IpAddr]>, LookupError>),
    /// Orders wait in the worker's tray.
    Orders,
    /// End all sessions and stop.
    Stop,
}

/// The answer to a question for a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// Known, or known not to be.
    Known(Result<Arc<[IpAddr]>, LookupError>),
    /// Being asked.
    Pending,
    /// Too many names are being asked.
    Busy,
}

/// Why a name has no addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookupError {
    /// The resolver's own words.
    pub text: Arc<str>,
    /// Whether the resolver could not tell, as opposed to: there is no such name.
    pub temporary: bool,
}
