//! Ends that never come, peers that vanish, and a stop with many tunnels open.

use std::time::Duration;

use rustix::process::Signal;
use socket2::{SockFilter, SockRef};

use crate::rest::Rest;
use crate::support::deadline::{PATIENCE, until};
use crate::support::gateway::{CARRIERS, KINDS, Setup, each};
use crate::support::pattern::Pattern;
use crate::support::peer::Peer;
use crate::support::process::{keepalive_of, raise_own_open_files};
use crate::support::server::Server;
use crate::support::tunnel::Tunnel;

const TUNNELS: usize = 40;

/// One direction has ended, and the other side neither says anything nor goes away.
#[test]
fn half_closed_for_ever_is_half_closed_for_a_while() {
    each(KINDS, |kind| {
        let server = Server::start();
        let setup = Setup::new(kind).reach(&server).set("limits.half_closed_ms", 500).admin();
        let gateway = setup.start();
        let rest = Rest::of(&gateway);
        let mut tunnels: Vec<_> =
            (0..TUNNELS).map(|_| Tunnel::verified(&gateway, &server)).collect();
        for (index, Tunnel { client, server }) in tunnels.iter_mut().enumerate() {
            let (ends, stays) = if index % 2 == 0 { (client, server) } else { (server, client) };
            ends.fin();
            stays.expect_end();
        }
        // Both ends still hold their sockets.
        let counted = rest.wait(&format!("{kind}"));
        drop(tunnels);
        let events = gateway.stop();
        let ends = events.iter().filter(|event| event.reason() == "session_ended");
        let endings: Vec<_> = ends.map(|end| end.text("ending")).collect();
        assert_eq!(endings, ["tunnel.gateway.half_closed"; TUNNELS], "{kind}");
        counted.expect_exact(&events, &format!("{kind}"));
    });
}

/// From now on nothing reaches this end, not even an acknowledgement; as where a cable is pulled.
fn vanish(peer: &Peer) {
    const RETURN: u16 = 0x06;
    let nothing = SockFilter::new(RETURN, 0, 0, 0);
    SockRef::from(&peer.stream).attach_filter(&[nothing]).unwrap();
}

#[test]
fn a_side_that_vanishes_costs_its_tunnel_and_no_descriptor() {
    each(CARRIERS, |kind| {
        let server = Server::start();
        let setup = Setup::new(kind).reach(&server).set("limits.idle_ms", 6_000).admin();
        let gateway = setup.start();
        let rest = Rest::of(&gateway);
        let mut tunnels: Vec<_> =
            (0..TUNNELS).map(|_| Tunnel::verified(&gateway, &server)).collect();
        for (index, tunnel) in tunnels.iter_mut().enumerate() {
            let Tunnel { client, server } = tunnel;
            let (gone, stays) = if index % 2 == 0 { (client, server) } else { (server, client) };
            vanish(gone);
            // Some of them while bytes are on their way to it.
            if index % 4 < 2 {
                stays.send(&[0x5a; 60_000]);
            }
        }
        let counted = rest.wait(&format!("{kind}"));
        for (index, Tunnel { client, server }) in tunnels.iter_mut().enumerate() {
            let stays = if index % 2 == 0 { server } else { client };
            stays.expect_reset();
        }
        let events = gateway.stop();
        let ends = events.iter().filter(|event| event.reason() == "session_ended");
        let endings: Vec<_> = ends.map(|end| end.text("ending")).collect();
        assert_eq!(endings, ["tunnel.gateway.idle"; TUNNELS], "{kind}");
        counted.expect_exact(&events, &format!("{kind}"));
    });
}

/// Where both sides may be silent for hours, the system asks each of them whether it is still there.
#[test]
fn both_sides_are_asked_whether_they_are_still_there() {
    each(KINDS, |kind| {
        let server = Server::start();
        let setup = Setup::new(kind).reach(&server).set("limits.keepalive_s", 30);
        let gateway = setup.start();
        let tunnel = Tunnel::verified(&gateway, &server);
        for peer in [&tunnel.client, &tunnel.server] {
            let own = peer.stream.peer_addr().unwrap();
            // Until the last bytes are acknowledged another timer shows.
            let keepalive = until("a keep-alive", PATIENCE, || keepalive_of(own, peer.address()));
            assert!(keepalive <= Duration::from_secs(30), "{kind}: {keepalive:?}");
        }
        gateway.stop();
    });
}

/// Half of the tunnels end by themselves while the gateway drains; a second signal ends the others.
#[test]
fn a_thousand_tunnels_drain_and_then_are_reset() {
    const MANY: usize = 1_000;
    raise_own_open_files();
    for kind in CARRIERS {
        let server = Server::start();
        let setup = Setup::new(kind).reach(&server).set("limits.drain_ms", 60_000);
        let gateway = setup.start();
        let mut tunnels: Vec<_> = (0..MANY).map(|_| Tunnel::verified(&gateway, &server)).collect();
        gateway.signal(Signal::TERM);
        gateway.events().first("drain_started");
        let pattern = Pattern::from(60);
        for (index, mut tunnel) in tunnels.split_off(MANY / 2).into_iter().enumerate() {
            let bytes = pattern.slice(index as u64, 2_000);
            tunnel.client.send(bytes);
            tunnel.client.fin();
            assert_eq!(tunnel.server.read_to_end(), bytes);
            tunnel.server.send(bytes);
            tunnel.server.fin();
            assert_eq!(tunnel.client.read_to_end(), bytes);
        }
        for tunnel in &mut tunnels {
            tunnel.client.send(b"still there");
            tunnel.server.expect(b"still there");
        }
        gateway.signal(Signal::TERM);
        for tunnel in &mut tunnels {
            tunnel.client.expect_reset();
            tunnel.server.expect_reset();
        }
        let events = gateway.ended();
        let ended = |ending: &str| {
            let of_ending = |event: &&_| crate::rest::ends_by(event, ending);
            events.iter().filter(of_ending).count()
        };
        let counts = (ended("tunnel.remote.finished"), ended("tunnel.gateway.stopping"));
        assert_eq!(counts, (MANY / 2, MANY / 2), "{kind}");
    }
}
