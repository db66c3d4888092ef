//! Somebody who listens: the targets of the tests.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;

use super::deadline::PATIENCE;
use super::peer::{Peer, connect};

/// A server on a port of its own that takes every connection.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    taken: Receiver<TcpStream>,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens on 127.0.0.1.
    pub fn start() -> Server {
        Server::start_at("127.0.0.1:0")
    }

    /// Listens on this address.
    pub fn start_at(address: &str) -> Server {
        let listener = TcpListener::bind(address).expect("a port to listen on");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (sender, taken) = channel();
        let stopping = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stopping);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if told.load(Ordering::Acquire) || sender.send(stream).is_err() {
                    return;
                }
            }
        });
        Server { address, taken, stopping, thread: Some(thread) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// `127.0.0.1:PORT`.
    pub fn authority(&self) -> String {
        self.address.to_string()
    }

    /// `localhost:PORT`.
    pub fn named(&self) -> String {
        format!("localhost:{}", self.port())
    }

    /// The next connection.
    ///
    /// # Panics
    /// Where none comes.
    pub fn accept(&self) -> Peer {
        let stream = self.taken.recv_timeout(PATIENCE).expect("nobody connects to the server");
        Peer::new(stream)
    }

    /// Checks that nobody has connected since the last [`Server::accept`]. Connections are taken in
    /// their order, so one of our own is the first only if there is no other.
    ///
    /// # Panics
    /// Where somebody has.
    pub fn expect_nobody(&self, what: &str) {
        let own = connect(self.address).expect("the server listens");
        let first = self.taken.recv_timeout(PATIENCE).expect("our own connection is taken");
        let (first, own) =
            (first.peer_addr().expect("connected"), own.local_addr().expect("bound"));
        assert_eq!(first, own, "somebody connected to the server: {what}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        // The thread waits in accept; where it cannot be reached it is gone.
        if connect(self.address).is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}
