//! Tunnels that carry bytes both ways at their own pace, whatever happens: nobody waits for an answer,
//! so that there is always a next event.

use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::support::deadline::{Deadline, PATIENCE};
use crate::support::gateway::Gateway;
use crate::support::pattern::Pattern;
use crate::support::server::Server;
use crate::support::tunnel::Tunnel;

/// Between two pieces of each tunnel.
const TICK: Duration = Duration::from_millis(40);
/// What most of them send at a time; the gateway copies it.
const LITTLE_BYTES: usize = 900;
/// What some of them send at a time; the gateway splices it where it can.
const MUCH_BYTES: usize = 24 * 1024;
/// One of so many sends much.
const MUCH_ONE_IN: usize = 4;

/// Steady tunnels, as long as they run.
#[derive(Debug)]
pub struct Steady {
    stopping: Arc<AtomicBool>,
    moved: Arc<AtomicU64>,
    thread: JoinHandle<Vec<Lane>>,
}

/// One of them.
#[derive(Debug)]
pub struct Lane {
    /// By which address the gateway knows its client.
    pub address: SocketAddr,
    /// How it broke, where it did.
    pub lost: Option<String>,
    ends: [End; 2],
    /// Both ends have sent their end.
    is_over: bool,
}

/// One end: it sends a pattern and compares what comes with the other's.
#[derive(Debug)]
struct End {
    stream: TcpStream,
    sends: Pattern,
    expects: Pattern,
    piece: usize,
    /// Of the current piece.
    left: usize,
    sent: u64,
    got: u64,
    has_ended: bool,
}

impl Steady {
    /// Opens so many tunnels and keeps them busy.
    pub fn start(gateway: &Gateway, server: &Server, tunnels: usize) -> Steady {
        let mut lanes: Vec<Lane> =
            (0..tunnels).map(|number| Lane::new(gateway, server, number)).collect();
        let stopping = Arc::new(AtomicBool::new(false));
        let moved = Arc::new(AtomicU64::new(0));
        let (told, tally) = (Arc::clone(&stopping), Arc::clone(&moved));
        let thread = std::thread::spawn(move || {
            while !told.load(Ordering::Acquire) {
                lanes.iter_mut().for_each(Lane::send_a_piece);
                let got = lanes.iter().flat_map(|lane| &lane.ends).map(|end| end.got).sum();
                tally.store(got, Ordering::Release);
                std::thread::sleep(TICK);
            }
            lanes
        });
        Steady { stopping, moved, thread }
    }

    /// Bytes that have arrived so far, of all of them.
    pub fn moved(&self) -> u64 {
        self.moved.load(Ordering::Acquire)
    }

    /// Sends no more, and waits until all that was sent has arrived, and then both ends.
    ///
    /// # Panics
    /// Where other bytes came than were sent, or not all of them.
    pub fn stop(self) -> Vec<Lane> {
        self.stopping.store(true, Ordering::Release);
        let mut lanes = self.thread.join().expect("see the failure above");
        let deadline = Deadline::patience();
        let wait_for = |lanes: &mut Vec<Lane>, what: &str, is_done: fn(&Lane) -> bool| {
            while !lanes.iter().all(|lane| lane.lost.is_some() || is_done(lane)) {
                lanes.iter_mut().for_each(Lane::go_on);
                if deadline.has_passed() {
                    let stuck: Vec<_> = lanes
                        .iter()
                        .filter(|lane| lane.lost.is_none() && !is_done(lane))
                        .map(|lane| format!("{}: {}", lane.address, lane.shown()))
                        .collect();
                    panic!("{what}, after {PATIENCE:?}: {stuck:#?}");
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        wait_for(&mut lanes, "bytes that were sent have not arrived", Lane::has_all);
        lanes.iter_mut().for_each(Lane::fin);
        wait_for(&mut lanes, "an end has not arrived", Lane::has_ended);
        lanes
    }
}

impl Lane {
    fn new(gateway: &Gateway, server: &Server, number: usize) -> Lane {
        let Tunnel { client, server } = Tunnel::verified(gateway, server);
        let address = client.address();
        let (up, down) = (Pattern::from(number as u64 * 7_919), Pattern::from(1 + number as u64));
        let piece = if number.is_multiple_of(MUCH_ONE_IN) { MUCH_BYTES } else { LITTLE_BYTES };
        let end = |stream: TcpStream, sends, expects| {
            stream.set_nonblocking(true).expect("a socket");
            End { stream, sends, expects, piece, left: 0, sent: 0, got: 0, has_ended: false }
        };
        let ends = [end(client.stream, up, down), end(server.stream, down, up)];
        Lane { address, lost: None, ends, is_over: false }
    }

    fn send_a_piece(&mut self) {
        for end in &mut self.ends {
            // Whoever cannot send for a while does not send twice as much later.
            end.left = end.piece;
        }
        self.go_on();
    }

    fn go_on(&mut self) {
        if self.lost.is_some() {
            return;
        }
        for (end, name) in self.ends.iter_mut().zip(["client", "server"]) {
            if let Err(error) = end.write().and_then(|()| end.read()) {
                self.lost = Some(format!("{name}: {error}"));
                return;
            }
            if end.has_ended && !self.is_over {
                self.lost = Some(format!("{name}: an end"));
                return;
            }
        }
    }

    fn has_all(&self) -> bool {
        let [client, server] = &self.ends;
        let is_idle = client.left == 0 && server.left == 0;
        is_idle && client.got == server.sent && server.got == client.sent
    }

    fn fin(&mut self) {
        self.is_over = true;
        for end in self.ends.iter().filter(|_| self.lost.is_none()) {
            end.stream.shutdown(Shutdown::Write).expect("the connection is open");
        }
    }

    fn has_ended(&self) -> bool {
        self.ends.iter().all(|end| end.has_ended)
    }

    fn shown(&self) -> String {
        let [client, server] = &self.ends;
        format!("up {} of {}, down {} of {}", server.got, client.sent, client.got, server.sent)
    }
}

impl End {
    fn write(&mut self) -> io::Result<()> {
        while self.left > 0 {
            match self.stream.write(self.sends.slice(self.sent, self.left)) {
                Ok(written) => {
                    self.sent += written as u64;
                    self.left -= written;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn read(&mut self) -> io::Result<()> {
        let mut bytes = [0; 64 * 1024];
        while !self.has_ended {
            match self.expects.read(&mut self.stream, self.got, &mut bytes) {
                Ok(0) => self.has_ended = true,
                Ok(read) => self.got += read as u64,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
