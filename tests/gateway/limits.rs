//! More clients than there may be, and fewer descriptors than clients.

use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::support::deadline::{PATIENCE, until};
use crate::support::gateway::{Gateway, KINDS, Setup, each};
use crate::support::peer::Peer;
use crate::support::reply::{Refused, Reply};
use crate::support::server::Server;
use crate::support::tunnel::Tunnel;

const SESSIONS: Refused = Refused { status: 503, event: 400, reason: "too_many_sessions" };
const OF_CLIENT: Refused =
    Refused { status: 503, event: 400, reason: "too_many_sessions_of_client" };

/// Asks until a tunnel opens: a place is free once the gateway has seen somebody go.
fn open_soon(gateway: &Gateway, server: &Server) -> Peer {
    until("a place is free again", PATIENCE, || {
        let mut client = gateway.ask(&server.authority());
        let mut first = [0; 12];
        std::io::Read::read_exact(&mut client.stream, &mut first).ok()?;
        (&first == b"HTTP/1.1 200").then_some(client)
    })
}

#[test]
fn beyond_the_sessions_a_client_is_told_to_come_again() {
    for kind in KINDS {
        let server = Server::start();
        let gateway = Setup::new(kind).reach(&server).set("limits.sessions", 3).start();
        let mut tunnels: Vec<_> = (0..3).map(|_| Tunnel::verified(&gateway, &server)).collect();
        for _ in 0..3 {
            // Before it has sent a byte, and after its head.
            let reply = Reply::read(&mut gateway.connect());
            reply.expect(SESSIONS, &gateway, &format!("{kind}"));
            let reply = Reply::read(&mut gateway.ask(&server.authority()));
            reply.expect(SESSIONS, &gateway, &format!("{kind}"));
        }
        tunnels[0].client.send(b"not disturbed");
        tunnels[0].server.expect(b"not disturbed");
        tunnels.pop();
        open_soon(&gateway, &server);
        gateway.stop();
    }
}

#[test]
fn one_client_cannot_take_the_places_of_others() {
    for kind in KINDS {
        let server = Server::start();
        let gateway = Setup::new(kind).reach(&server).set("limits.sessions_per_client", 2).start();
        let mut tunnels: Vec<_> = (0..2).map(|_| Tunnel::verified(&gateway, &server)).collect();
        let reply = Reply::read(&mut gateway.ask(&server.authority()));
        reply.expect(OF_CLIENT, &gateway, &format!("{kind}"));
        let mut other = connect_from("127.0.0.9:0", gateway.address());
        other.send(&crate::support::gateway::connect_head(&server.authority()));
        other.expect(sluice::proto::reply::ESTABLISHED);
        tunnels.pop();
        drop(server.accept());
        open_soon(&gateway, &server);
        gateway.stop();
    }
}

fn connect_from(source: &str, to: SocketAddr) -> Peer {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&source.parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.connect(&to.into()).unwrap();
    Peer::new(socket.into())
}

/// Out of descriptors, the gateway neither spins nor sleeps through their return: edge-triggered polls
/// tell nothing of the connections that wait.
#[test]
#[cfg(target_os = "linux")]
fn without_descriptors_it_waits_and_goes_on_when_there_are_some() {
    use crate::support::deadline::Stopwatch;
    use crate::support::process::processor_time;
    each(KINDS, |kind| {
        let server = Server::start();
        let gateway = Setup::new(kind).reach(&server).open_files(64).start();
        let mut clients: Vec<_> = (0..200).map(|_| gateway.connect()).collect();
        let mut queued = clients.split_off(190);
        for client in &mut queued {
            client.send(&crate::support::gateway::connect_head(&server.authority()));
        }
        let exhausted = gateway.events().first("descriptors_exhausted");
        assert_eq!(exhausted.id(), 400);
        assert!(exhausted.text("message").contains("ulimit -n"), "{exhausted:?}");
        let before = processor_time(gateway.pid());
        std::thread::sleep(Duration::from_millis(1_500));
        let used = processor_time(gateway.pid()) - before;
        assert!(used < Duration::from_millis(500), "{kind}: {used:?} of processor time in 1.5 s");
        drop(clients);
        // Those who waited in the queue are served, and no new connection wakes the gateway for them.
        let watch = Stopwatch::start();
        for client in &mut queued {
            client.expect(b"HTTP/1.1 ");
        }
        assert!(watch.elapsed() < Duration::from_secs(9), "{kind}: {:?}", watch.elapsed());
        drop(queued);
        drop(open_soon(&gateway, &server));
        let told = gateway.stop();
        let shortages = told.iter().filter(|event| event.reason() == "descriptors_exhausted");
        assert!(shortages.count() <= 40, "{kind}: one shortage is told once, not at every try");
    });
}
