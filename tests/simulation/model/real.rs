//! The real kernel's bench: loopback sockets and pipes of few slots.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use sluice::net::kernel::{Kernel, Ready};
use sluice::net::resolver::Resolver;
use sluice::net::sockets::SocketKernel;
use sluice::sys::SplicePipe;
use socket2::SockRef;

use super::bench::{Bench, token};
use super::fake::{PAGE_BYTES, Seen};
use super::operation::{LINKS, Op, Outcome, PIPES, pattern};

/// How long anything may take that the fake says will happen.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often it is looked for.
const LOOK: Duration = Duration::from_micros(200);
/// A queue that is full stays full for so long; an acknowledgement may be delayed by 40 ms.
const STILL: Duration = Duration::from_millis(50);
/// A small send queue, which the system raises to its smallest.
const SEND_QUEUE_BYTES: usize = 4096;
/// One that holds whatever a list sends.
const LARGE_SEND_QUEUE_BYTES: usize = 200_000;

pub struct Real {
    pub bench: Bench<SocketKernel>,
    pub peers: Vec<Option<TcpStream>>,
    /// The ends of the pipes once more.
    ends: Vec<(OwnedFd, OwnedFd)>,
    peer_written: Vec<usize>,
}

impl Real {
    pub fn new() -> Real {
        let mut kernel = SocketKernel::new(Resolver::of_system(), None).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (mut streams, mut peers) = (Vec::new(), Vec::new());
        for link in 0..LINKS {
            let mut stream = kernel.dial(address, None).unwrap();
            let (peer, _) = listener.accept().unwrap();
            peer.set_nonblocking(true).unwrap();
            peer.set_nodelay(true).unwrap();
            kernel.register(&mut stream, token(link)).unwrap();
            wait(|| kernel.is_connected(&stream).unwrap());
            streams.push(stream);
            peers.push(Some(peer));
        }
        let (mut pipes, mut ends) = (Vec::new(), Vec::new());
        for slots in PIPES {
            let (reader, writer) = pipe_of(slots);
            ends.push((reader.try_clone().unwrap(), writer.try_clone().unwrap()));
            pipes.push(SplicePipe::of_ends(reader, writer));
        }
        let bench = Bench::new(kernel, streams, pipes);
        Real { bench, peers, ends, peer_written: vec![0; LINKS] }
    }

    pub fn perform_peer(&mut self, op: Op) -> Outcome {
        let link = match op {
            Op::PeerWrite(link, _) | Op::PeerRead(link, _) | Op::PeerShut(link) => link,
            Op::PeerClose(link) | Op::PeerReset(link) => link,
            _ => return Outcome::Skipped,
        };
        let Some(peer) = &mut self.peers[link] else { return Outcome::Skipped };
        match op {
            Op::PeerWrite(_, len) => {
                let bytes = pattern(link, false, self.peer_written[link], len);
                let written = peer.write(&bytes);
                self.peer_written[link] += written.as_ref().copied().unwrap_or(0);
                return Outcome::of_move(written);
            }
            Op::PeerRead(_, len) => {
                let mut bytes = vec![0; len];
                let read = peer.read(&mut bytes);
                return Outcome::of_read(read, &bytes);
            }
            // A connection that is gone cannot be shut; the peer does not mind.
            Op::PeerShut(_) => drop(peer.shutdown(Shutdown::Write)),
            Op::PeerReset(_) => {
                SockRef::from(&*peer).set_linger(Some(Duration::ZERO)).unwrap();
                self.peers[link] = None;
            }
            _ => self.peers[link] = None,
        }
        Outcome::Done
    }

    /// Writes until nothing fits, and still does not. Says how much it was, and how much of it has not
    /// come to the peer.
    pub fn stuff(&mut self, link: usize) -> (usize, usize) {
        self.size_send_queue(link, SEND_QUEUE_BYTES);
        let mut all = 0;
        loop {
            match self.bench.perform(Op::Write(link, 10_000), None) {
                Outcome::Moved(moved) => all += moved,
                _ => {
                    std::thread::sleep(STILL);
                    match self.bench.perform(Op::Write(link, 1), None) {
                        Outcome::Moved(moved) => all += moved,
                        _ => return (all, self.bench.unsent_bytes(link).unwrap_or(0)),
                    }
                }
            }
        }
    }

    fn size_send_queue(&self, link: usize, bytes: usize) {
        if let Some(stream) = &self.bench.streams[link] {
            SockRef::from(stream).set_send_buffer_size(bytes).unwrap();
        }
    }

    /// Reads `len` bytes, as they come.
    pub fn unstuff(&mut self, link: usize, len: usize) -> Vec<u8> {
        self.size_send_queue(link, LARGE_SEND_QUEUE_BYTES);
        let mut all = Vec::new();
        let Some(peer) = &mut self.peers[link] else { return all };
        let mut bytes = vec![0; 1 << 16];
        wait(|| {
            while let Ok(read @ 1..) = peer.read(&mut bytes) {
                all.extend_from_slice(&bytes[..read]);
            }
            all.len() >= len
        });
        all
    }

    /// Polls until all of `wanted` has been told, or it is too late; gives what has been told.
    pub fn poll_for(&mut self, wanted: &[Ready]) -> Vec<Ready> {
        let mut told = self.bench.poll(Duration::ZERO);
        let until = clock() + PATIENCE;
        while !tell(&told, wanted) && clock() < until {
            told.extend(self.bench.poll(Duration::from_millis(10)));
        }
        told
    }

    /// Waits until both ends of `link` look as the fake's do; otherwise says how they look.
    /// A peer whose queue is full is not asked how full it is, see `counts`.
    pub fn comes_to(
        &self,
        link: usize,
        wanted: [Option<Seen>; 2],
        counts: bool,
    ) -> Result<(), String> {
        let mut seen = [None; 2];
        let same = wait(|| {
            let gateway = self.bench.streams[link].as_ref().map(see);
            let peer = self.peers[link].as_ref().map(see);
            let unread_bytes = wanted[1].map_or(0, |wanted| wanted.unread_bytes);
            let peer = if counts { peer } else { peer.map(|peer| Seen { unread_bytes, ..peer }) };
            seen = [gateway, peer];
            seen == wanted
        });
        if same { Ok(()) } else { Err(format!("link {link} looks like {seen:?}, not {wanted:?}")) }
    }

    pub fn unsent_come_to(&mut self, link: usize, wanted: Option<usize>) -> Result<(), String> {
        let mut unsent = None;
        let same = wait(|| {
            unsent = self.bench.unsent_bytes(link);
            unsent == wanted
        });
        if same { Ok(()) } else { Err(format!("{unsent:?} bytes unsent, not {wanted:?}")) }
    }

    /// The lengths of what is in each slot of a pipe, found by taking them out one by one; they are put
    /// back as they were.
    pub fn slots(&self, pipe: usize) -> Vec<usize> {
        let (reader, writer) = &self.ends[pipe];
        let (one_reader, one_writer) = pipe_of(1);
        let (kept_reader, kept_writer) = pipe_of(PIPES[pipe]);
        let mut lengths = Vec::new();
        while let Some(len) = pass(reader, &one_writer) {
            lengths.push(len);
            assert_eq!(pass(&one_reader, &kept_writer), Some(len));
        }
        for &len in &lengths {
            assert_eq!(pass(&kept_reader, &one_writer), Some(len));
            assert_eq!(pass(&one_reader, writer), Some(len));
        }
        lengths
    }
}

/// Whether `told` says at least what `wanted` does.
pub fn tell(told: &[Ready], wanted: &[Ready]) -> bool {
    let says =
        |token, of: fn(&Ready) -> bool| told.iter().any(|ready| ready.token == token && of(ready));
    wanted.iter().all(|wanted| {
        (!wanted.readable || says(wanted.token, |ready| ready.readable))
            && (!wanted.writable || says(wanted.token, |ready| ready.writable))
            && (!wanted.ended || says(wanted.token, |ready| ready.ended))
            && (!wanted.broken || says(wanted.token, |ready| ready.broken))
    })
}

fn pipe_of(slots: usize) -> (OwnedFd, OwnedFd) {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
    assert_eq!(fcntl_setpipe_size(&writer, slots * PAGE_BYTES).unwrap(), slots * PAGE_BYTES);
    (reader, writer)
}

/// Moves what fits from pipe to pipe, slot by slot.
fn pass(from: &OwnedFd, to: &OwnedFd) -> Option<usize> {
    splice(from, None, to, None, 1 << 30, SpliceFlags::NONBLOCK).ok().filter(|moved| *moved > 0)
}

fn see(socket: &impl AsFd) -> Seen {
    let socket = socket.as_fd();
    let mut asked = [PollFd::new(&socket, PollFlags::IN | PollFlags::RDHUP)];
    poll(&mut asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap();
    let told = asked[0].revents();
    let is_over = told.intersects(PollFlags::HUP | PollFlags::ERR);
    let end_came = told.contains(PollFlags::RDHUP) && !is_over;
    let unread_bytes = rustix::io::ioctl_fionread(socket).unwrap() as usize;
    Seen { unread_bytes, is_over, end_came }
}

/// Looks until it is so; false where it never is.
fn wait(mut is_so: impl FnMut() -> bool) -> bool {
    let until = clock() + PATIENCE;
    loop {
        if is_so() {
            return true;
        }
        if clock() >= until {
            return false;
        }
        std::thread::sleep(LOOK);
    }
}

#[allow(clippy::disallowed_methods, reason = "the real kernel takes real time")]
fn clock() -> Instant {
    Instant::now()
}
