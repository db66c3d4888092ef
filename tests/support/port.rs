//! A port that nobody else is given.

use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// A port of this address where nobody listens. On Linux it stays bound until the test's process ends:
/// none of those who bind any port is given it, whoever connects to it is refused, and who names it
/// with SO_REUSEADDR, as every listener of the tests and of the gateway does, can listen there.
///
/// # Panics
/// Where `ip` is no address of this machine.
pub fn reserved(ip: &str) -> SocketAddr {
    let ip: IpAddr = ip.parse().expect("an address");
    let any = SocketAddr::new(ip, 0);
    let socket = Socket::new(Domain::for_address(any), Type::STREAM, None).expect("a TCP socket");
    // On Windows it would let others listen where somebody does already.
    #[cfg(unix)]
    socket.set_reuse_address(true).expect("a socket");
    socket.bind(&any.into()).expect("an address of this machine");
    let address = socket.local_addr().expect("it is bound").as_socket().expect("it is IP");
    // Other systems let nobody listen there while it is bound.
    if cfg!(target_os = "linux") {
        std::mem::forget(socket);
    }
    address
}
