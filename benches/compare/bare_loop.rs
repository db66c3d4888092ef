//! The reference: the least that moves bytes between two sockets. One thread of epoll and splice(2), pipes
//! pooled, CONNECT read and dialled with blocking calls. No policy, no TLS check, no events, no limits, no
//! error that ends anything but its tunnel.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;

use rustix::event::epoll;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, splice};

const EVENTS: usize = 1024;
const SPLICE_BYTES: usize = 1 << 20;
const HEAD_BYTES: usize = 4096;
const LISTENER: u64 = u64::MAX;

/// Listens at `address`, and relays until it is killed.
pub fn run(address: &str) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let on = epoll::EventData::new_u64(LISTENER);
    epoll::add(&poll, &listener, on, epoll::EventFlags::IN)?;
    let mut tunnels = Tunnels::default();
    let mut events = Vec::with_capacity(EVENTS);
    loop {
        events.clear();
        match epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            match event.data.u64() {
                LISTENER => {
                    // A client that is gone already is its own concern.
                    let _ = listener.accept().and_then(|(client, _)| tunnels.open(client, &poll));
                }
                token => tunnels.ready(token, event.flags),
            }
        }
    }
}

#[derive(Default)]
struct Tunnels {
    all: Vec<Option<Tunnel>>,
    free: Vec<usize>,
    pool: Vec<Pipe>,
}

struct Tunnel {
    client: TcpStream,
    remote: TcpStream,
    up: Flow,
    down: Flow,
}

type Pipe = (OwnedFd, OwnedFd);

#[derive(Default)]
struct Flow {
    readable: bool,
    writable: bool,
    held: usize,
    pipe: Option<Pipe>,
    ended: bool,
    shut: bool,
}

impl Tunnels {
    fn open(&mut self, mut client: TcpStream, poll: &OwnedFd) -> io::Result<()> {
        let remote = TcpStream::connect(target(&mut client)?)?;
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.all.push(None);
            self.all.len() - 1
        });
        let flags = epoll::EventFlags::IN
            | epoll::EventFlags::OUT
            | epoll::EventFlags::RDHUP
            | epoll::EventFlags::ET;
        for (side, stream) in [(0, &client), (1, &remote)] {
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let token = epoll::EventData::new_u64((slot as u64) << 1 | side);
            epoll::add(poll, stream, token, flags)?;
        }
        self.all[slot] =
            Some(Tunnel { client, remote, up: Flow::default(), down: Flow::default() });
        Ok(())
    }

    fn ready(&mut self, token: u64, flags: epoll::EventFlags) {
        let slot = (token >> 1) as usize;
        let Some(tunnel) = &mut self.all[slot] else { return };
        let (from, to) = match token & 1 {
            0 => (&mut tunnel.up, &mut tunnel.down),
            _ => (&mut tunnel.down, &mut tunnel.up),
        };
        let over = epoll::EventFlags::ERR | epoll::EventFlags::HUP;
        from.readable |= flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::RDHUP | over);
        to.writable |= flags.intersects(epoll::EventFlags::OUT | over);
        let moved = tunnel
            .up
            .relay(&tunnel.client, &tunnel.remote, &mut self.pool)
            .and_then(|()| tunnel.down.relay(&tunnel.remote, &tunnel.client, &mut self.pool));
        if moved.is_err() || (tunnel.up.shut && tunnel.down.shut) {
            self.all[slot] = None;
            self.free.push(slot);
        }
    }
}

impl Flow {
    fn relay(&mut self, from: &TcpStream, to: &TcpStream, pool: &mut Vec<Pipe>) -> io::Result<()> {
        loop {
            if let Some(pipe) = self.pipe.as_ref().filter(|_| self.held > 0) {
                if !self.writable {
                    return Ok(());
                }
                match splice(&pipe.0, None, to, None, self.held, splice_flags()) {
                    Ok(moved) => self.held -= moved,
                    Err(Errno::AGAIN) => self.writable = false,
                    Err(error) => return Err(error.into()),
                }
                continue;
            }
            if self.ended || !self.readable {
                break;
            }
            let pipe = match self.pipe.take().or_else(|| pool.pop()) {
                Some(pipe) => pipe,
                None => pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?,
            };
            let moved = splice(from, None, &pipe.1, None, SPLICE_BYTES, splice_flags());
            self.pipe = Some(pipe);
            match moved {
                Ok(0) => self.ended = true,
                Ok(moved) => self.held = moved,
                Err(Errno::AGAIN) => self.readable = false,
                Err(error) => return Err(error.into()),
            }
        }
        pool.extend(self.pipe.take());
        if self.ended && !self.shut {
            self.shut = true;
            // The other side may be gone before it hears that there is no more.
            let _ = to.shutdown(Shutdown::Write);
        }
        Ok(())
    }
}

fn splice_flags() -> SpliceFlags {
    SpliceFlags::MOVE | SpliceFlags::NONBLOCK
}

/// Reads a head, blocking, and looks up the one target that this loop is for.
fn target(client: &mut TcpStream) -> io::Result<SocketAddr> {
    let bad = || io::Error::from(io::ErrorKind::InvalidData);
    let mut head = [0; HEAD_BYTES];
    let mut len = 0;
    while !head[..len].ends_with(b"\r\n\r\n") {
        match client.read(&mut head[len..])? {
            0 => return Err(bad()),
            count => len += count,
        }
    }
    let line = std::str::from_utf8(&head[..len]).map_err(|_| bad())?;
    let target = line.split(' ').nth(1).ok_or_else(bad)?.replace("localhost", "127.0.0.1");
    target.to_socket_addrs()?.next().ok_or_else(bad)
}
