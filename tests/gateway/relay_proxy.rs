//! Through a relay proxy: what it is asked, what its answers come to, who is tried when, and that
//! nothing of the credentials goes anywhere else.

use std::time::Duration;

use crate::support::deadline::Stopwatch;
use crate::support::gateway::{CARRIERS, Gateway, KINDS, Kind, SPLICE, Setup, connect_head};
use crate::support::peer::{CUTS, Cut, Peer, Step};
use crate::support::reply::{Refused, Reply};
use crate::support::server::Server;
use crate::support::tls;
use sluice::proto::reply::ESTABLISHED;

const TARGET: &str = "far.test:443";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";

const UNREACHABLE: Refused = refused(502, "relay_proxy_unreachable");
const REFUSED: Refused = refused(502, "relay_proxy_refused");
const CREDENTIALS: Refused = refused(502, "relay_proxy_refused_credentials");
const BAD: Refused = refused(502, "relay_proxy_bad_reply");
const TIMEOUT: Refused = refused(504, "relay_proxy_timeout");

const fn refused(status: u16, reason: &'static str) -> Refused {
    Refused { status, event: 403, reason }
}

/// A gateway that goes through these, and that resolves no target: none of them exists.
fn through(kind: Kind, relay_proxies: &[&Server]) -> Setup {
    let urls: Vec<String> =
        relay_proxies.iter().map(|server| format!("http://{}", server.authority())).collect();
    let setup = Setup::new(kind).host("far.test").host("near.test").addresses(&[]);
    setup.set("relay_proxy.addresses", format!("{urls:?}"))
}

/// The request that a relay proxy is sent, without the line of `Via`.
fn read_request(relay_proxy: &mut Peer) -> (String, String) {
    let head = relay_proxy.read_head();
    let (vias, rest): (Vec<&str>, Vec<&str>) =
        head.split_inclusive("\r\n").partition(|line| line.starts_with("Via: "));
    assert_eq!(vias.len(), 1, "{head}");
    (rest.concat(), vias[0]["Via: ".len()..].trim_end().to_owned())
}

/// The next session at a relay proxy, with its request read.
fn asked(relay_proxy: &Server) -> Peer {
    let mut peer = relay_proxy.accept();
    read_request(&mut peer);
    peer
}

fn shake_hands(client: &mut Peer, target: &mut Peer, name: &str) {
    let (hello, answer) = (tls::hello(Some(name)), tls::answer());
    client.send(&hello);
    target.expect(&hello);
    target.send(&answer);
    client.expect(&answer);
}

#[test]
fn a_tunnel_goes_through_a_relay_proxy() {
    for kind in KINDS {
        let relay_proxy = Server::start();
        let gateway = through(kind, &[&relay_proxy]).start();
        let mut client = gateway.connect();
        client.send(
            b"CONNECT FAR.test.:443 HTTP/1.0\r\nProxy-Authorization: Basic dTpw\r\nX-Secret: y\r\n\r\n",
        );
        let mut remote = relay_proxy.accept();
        let (request, via) = read_request(&mut remote);
        assert_eq!(request, "CONNECT far.test:443 HTTP/1.1\r\nHost: far.test:443\r\n\r\n");
        assert!(via.starts_with("1.1 sluice-") && via.len() == 11 + 16, "{via}");
        client.expect_silence(Duration::from_millis(50));
        remote.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.expect(ESTABLISHED);
        shake_hands(&mut client, &mut remote, "far.test");
        client.send(b"up");
        remote.expect(b"up");
        remote.send(b"down");
        client.expect(b"down");
        client.fin();
        remote.expect_end();
        drop(remote);
        client.expect_end();
        let session = gateway.session_of(&client);
        let ended = gateway.end_of(&session);
        assert_eq!(ended.text("ending"), "tunnel.remote.finished", "{kind}");
        assert_eq!(ended.text("address"), relay_proxy.authority());
        gateway.stop();
    }
}
