//! A server whose queue is full: it leaves a SYN unanswered, as a black hole does. Only Linux drops it so.

#![cfg(target_os = "linux")]

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::deadline::PATIENCE;

/// An address that takes no connection until it is told to.
#[derive(Debug)]
pub struct BlackHole {
    listener: Socket,
    address: SocketAddr,
    _queued: Vec<TcpStream>,
}

impl BlackHole {
    /// Listens here and fills its queue.
    pub fn at(address: &str) -> BlackHole {
        let address: SocketAddr = address.parse().expect("an address");
        let listener = Socket::new(Domain::for_address(address), Type::STREAM, None)
            .expect("the machine has this family");
        listener.bind(&address.into()).expect("a port to listen on");
        listener.listen(0).expect("a bound socket can listen");
        let address = listener.local_addr().expect("it is bound").as_socket().expect("it is IP");
        let connect = |time| TcpStream::connect_timeout(&address, time);
        // One fits, however long it takes: a queue without it would take another.
        let mut queued = vec![connect(PATIENCE).expect("the queue takes one")];
        while let Ok(stream) = connect(Duration::from_millis(200)) {
            queued.push(stream);
        }
        BlackHole { listener, address, _queued: queued }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes those that wait, so that the next SYN is answered.
    pub fn open(&self) {
        self.listener.set_nonblocking(true).expect("a socket");
        while self.listener.accept().is_ok() {}
    }
}
