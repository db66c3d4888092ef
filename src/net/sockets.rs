//! The real kernel: mio for sockets and poll, splice(2) where there is one, the system's resolver.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Poll, Waker};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use super::kernel::{Kernel, Lookup, Mail, Ready};
use super::mailbox::Mailbox;
use super::resolver::{Resolver, Waiter};
use super::sleep::Sleep;
use super::slots::{Token, mio_token};
use crate::sys::{self, SplicePipe};

/// Events taken from one poll. More wait in the kernel for the next turn.
const EVENTS_PER_TURN: usize = 1024;
/// Connections that wait to be accepted. A restart brings a whole fleet back within seconds; the
/// system caps it at net.core.somaxconn.
const BACKLOG: i32 = 4096;

/// Sockets, poll, clocks and names of one worker.
#[derive(Debug)]
pub struct SocketKernel {
    poll: Poll,
    sleep: Sleep,
    events: mio::Events,
    mailbox: Arc<Mailbox>,
    resolver: Arc<Resolver>,
    keepalive: Option<Duration>,
    /// What accepted sockets have from a listener that was bound at the start.
    inherited_keepalive: Option<Duration>,
    now: Instant,
    has_mail: bool,
    told_all: bool,
}

impl SocketKernel {
    /// A kernel with a poll of its own.
    ///
    /// # Errors
    /// Where the system has none to give.
    pub fn new(resolver: Arc<Resolver>, keepalive: Option<Duration>) -> io::Result<SocketKernel> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), mio_token(Token::MAILBOX))?;
        Ok(SocketKernel {
            sleep: Sleep::new(poll.registry()),
            poll,
            events: mio::Events::with_capacity(EVENTS_PER_TURN),
            mailbox: Arc::new(Mailbox::new(waker)),
            resolver,
            keepalive,
            inherited_keepalive: keepalive,
            now: clock(),
            has_mail: false,
            told_all: true,
        })
    }

    /// Where other threads send this worker's mail.
    pub fn mailbox(&self) -> Arc<Mailbox> {
        Arc::clone(&self.mailbox)
    }
}

impl Kernel for SocketKernel {
    type Listener = TcpListener;
    type Stream = TcpStream;
    type Pipe = SplicePipe;

    fn now(&self) -> Instant {
        self.now
    }

    fn clock(&self) -> Instant {
        clock()
    }

    #[allow(clippy::disallowed_methods, reason = "this is the clock that others are told to ask")]
    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    fn poll(&mut self, sleep: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        let timeout = self.sleep.timeout(self.now, sleep, clock);
        let mut polled = self.poll.poll(&mut self.events, timeout);
        if polled.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::Interrupted) {
            // So begins the first turn after the process was halted (signal(7)). Deadlines have passed
            // by now, and what met them in time waits to be told of.
            polled = self.poll.poll(&mut self.events, Some(Duration::ZERO));
        }
        self.now = clock();
        self.told_all = true;
        match polled {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        self.told_all = self.events.iter().count() < EVENTS_PER_TURN;
        for event in &self.events {
            let token = Token(event.token().0 as u64);
            if token == Token::MAILBOX {
                self.has_mail = true;
                continue;
            }
            if token == Token::ALARM {
                continue;
            }
            ready.push(Ready {
                token,
                readable: event.is_readable() || event.is_read_closed() || event.is_error(),
                writable: event.is_writable() || event.is_write_closed() || event.is_error(),
                ended: event.is_read_closed() || event.is_error(),
                broken: event.is_error() || event.is_write_closed(),
            });
        }
        Ok(())
    }

    fn told_all(&self) -> bool {
        self.told_all
    }

    fn mail(&mut self, into: &mut Vec<Mail<TcpStream>>) {
        if std::mem::take(&mut self.has_mail) {
            self.mailbox.take(into);
        }
    }

    fn listen(&mut self, bound: std::net::TcpListener, index: usize) -> io::Result<TcpListener> {
        let mut listener = TcpListener::from_std(bound);
        let token = mio_token(Token::listener(index));
        self.poll.registry().register(&mut listener, token, Interest::READABLE)?;
        Ok(listener)
    }

    fn set_keepalive(&mut self, idle: Option<Duration>) {
        self.keepalive = idle;
    }

    fn accept(&mut self, listener: &mut TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
        loop {
            match listener.accept() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                accepted => return accepted,
            }
        }
    }

    fn dial(&mut self, to: SocketAddr, from: Option<IpAddr>) -> io::Result<TcpStream> {
        let stream = match from {
            None => TcpStream::connect(to)?,
            Some(source) => connect_from(source, to)?,
        };
        // Uploads end in a short segment that must not wait for an acknowledgement. A connection that
        // takes neither option carries bytes all the same.
        let _ = stream.set_nodelay(true);
        if let Some(idle) = self.keepalive {
            let keepalive = TcpKeepalive::new().with_time(idle);
            let _ = SockRef::from(&stream).set_tcp_keepalive(&keepalive);
        }
        Ok(stream)
    }

    fn register(&mut self, stream: &mut TcpStream, token: Token) -> io::Result<()> {
        if token.lane() == Token::CLIENT_LANE && self.keepalive != self.inherited_keepalive {
            let socket = SockRef::from(&*stream);
            // macOS refuses options of a connection that its client has reset; reading tells of that.
            let _ = match self.keepalive {
                Some(idle) => socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(idle)),
                None => socket.set_keepalive(false),
            };
        }
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(stream, mio_token(token), both)
    }

    fn is_connected(&mut self, stream: &TcpStream) -> io::Result<bool> {
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        let peer = match stream.peer_addr() {
            Ok(peer) => peer,
            Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(false),
            Err(error) => return Err(error),
        };
        // Towards an ephemeral port of this machine with nobody behind it, a socket may connect to
        // itself (simultaneous open, RFC 9293 section 3.5).
        if peer.port() >= 1024 && stream.local_addr().is_ok_and(|local| local == peer) {
            // Closed in order, it would keep the port in TIME-WAIT from whom it belongs to.
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        Ok(true)
    }

    fn read(&mut self, stream: &mut TcpStream, into: &mut [u8]) -> io::Result<usize> {
        retry(|| io::Read::read(stream, into))
    }

    fn short_read_is_dry(&self) -> bool {
        sys::SHORT_READ_IS_DRY
    }

    fn is_paced(&self, stream: &TcpStream) -> bool {
        sys::is_paced(stream)
    }

    fn write(&mut self, stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
        retry(|| io::Write::write(stream, bytes))
    }

    fn shut_write(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        stream.shutdown(std::net::Shutdown::Write)
    }

    fn take_error(&mut self, stream: &TcpStream) -> Option<io::Error> {
        stream.take_error().unwrap_or_else(Some)
    }

    fn unsent_bytes(&mut self, stream: &TcpStream) -> usize {
        sys::unsent_bytes(stream)
    }

    fn close(&mut self, stream: TcpStream) {
        drop(stream);
    }

    fn reset(&mut self, stream: TcpStream) {
        sys::set_reset_on_close(&stream);
        drop(stream);
    }

    fn open_pipe(&mut self, large: bool) -> io::Result<SplicePipe> {
        SplicePipe::open(large)
    }

    fn fill_pipe(
        &mut self,
        pipe: &mut SplicePipe,
        source: &mut TcpStream,
        len_bytes: usize,
    ) -> io::Result<usize> {
        pipe.fill(source, len_bytes).map_err(tell_apart)
    }

    fn pour_pipe(
        &mut self,
        pipe: &mut SplicePipe,
        sink: &mut TcpStream,
        len_bytes: usize,
    ) -> io::Result<usize> {
        pipe.pour(sink, len_bytes).map_err(tell_apart)
    }

    fn read_pipe(&mut self, pipe: &mut SplicePipe, into: &mut [u8]) -> io::Result<usize> {
        pipe.read(into)
    }

    fn look_up(&mut self, name: &str, token: Token) -> Lookup {
        let waiter: Arc<dyn Waiter> = Arc::<Mailbox>::clone(&self.mailbox);
        self.resolver.look_up(name, self.now, &waiter, token)
    }

    fn recall(&mut self, name: &str) -> Option<Arc<[IpAddr]>> {
        self.resolver.recall(name, self.now)
    }

    fn forget(&mut self, name: &str, token: Token) {
        self.resolver.forget(name, token);
    }

    fn is_own_address(&mut self, address: IpAddr) -> bool {
        is_own_address(address)
    }
}

/// Binds a listener. With `shared`, other listeners of this process may take turns on its port; a
/// first try without sharing tells of another process that is there already.
///
/// # Errors
/// Those of bind(2): the port is taken, the address is not of this machine, no such family.
pub fn bind(
    address: SocketAddr,
    shared: bool,
    keepalive: Option<Duration>,
) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // Each family has an address of its own in `listen`.
        socket.set_only_v6(true)?;
    }
    sys::reuse_address(&socket)?;
    if shared {
        sys::share_port(&socket)?;
    }
    socket.set_nonblocking(true)?;
    // Accepted sockets inherit both, which saves four system calls a session.
    socket.set_tcp_nodelay(true)?;
    if let Some(idle) = keepalive {
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(idle))?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn connect_from(source: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    sys::bind_late(&socket)?;
    socket.bind(&SocketAddr::new(source, 0).into())?;
    match socket.connect(&to.into()) {
        Ok(()) => {}
        Err(error) if sys::is_connecting(&error) => {}
        Err(error) => return Err(error),
    }
    Ok(TcpStream::from_std(socket.into()))
}

/// Whether `address` is one of this machine: the route to an own address begins at that address.
pub fn is_own_address(address: IpAddr) -> bool {
    if address.is_loopback() || address.is_unspecified() {
        return true;
    }
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let route = UdpSocket::bind((any, 0)).and_then(|socket| {
        // No datagram is sent: connecting a UDP socket only chooses the route.
        socket.connect((address, 9))?;
        socket.local_addr()
    });
    route.is_ok_and(|local| local.ip() == address)
}

/// What went wrong with a splice, where it was not the connection that broke.
fn tell_apart(error: io::Error) -> io::Error {
    if sys::is_splice_refused(&error) { io::ErrorKind::Unsupported.into() } else { scarcity(error) }
}

fn scarcity(error: io::Error) -> io::Error {
    if sys::is_out_of_memory(&error) { io::ErrorKind::OutOfMemory.into() } else { error }
}

fn retry(mut operation: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match operation() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome.map_err(scarcity),
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "this is the clock that others are told to ask")]
fn clock() -> Instant {
    Instant::now()
}
