//! A way into tunnels for clients that know no proxy: each connection becomes a CONNECT.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

use sluice::proto::reply::ESTABLISHED;

use crate::support::gateway::{Gateway, connect_head};

/// Opens a port whose one connection goes to `authority` through the gateway.
pub fn open(gateway: &Gateway, authority: String) -> SocketAddr {
    open_for(gateway, authority, 1)
}

/// The same for so many connections, one after the other.
pub fn open_for(gateway: &Gateway, authority: String, connections: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port to listen on");
    let address = listener.local_addr().expect("a bound socket has an address");
    let gateway = gateway.address();
    std::thread::spawn(move || {
        for client in listener.incoming().take(connections) {
            let tunnel = client.and_then(|client| pass(client, gateway, &authority));
            // A client that is refused shows so by itself.
            drop(tunnel);
        }
    });
    address
}

fn pass(client: TcpStream, gateway: SocketAddr, authority: &str) -> io::Result<()> {
    let mut tunnel = TcpStream::connect(gateway)?;
    tunnel.write_all(&connect_head(authority))?;
    let mut reply = [0; ESTABLISHED.len()];
    tunnel.read_exact(&mut reply)?;
    let (from_client, to_tunnel) = (client.try_clone()?, tunnel.try_clone()?);
    let up = std::thread::spawn(move || carry(from_client, to_tunnel));
    carry(tunnel, client);
    // Its thread has nothing to tell but that it is over.
    let _ = up.join();
    Ok(())
}

fn carry(mut from: TcpStream, mut to: TcpStream) {
    // A reset is an end here: both programs have their say by then.
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}
