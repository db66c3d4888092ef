//! Section E: what must be seen of a handshake before anything passes, from either side, however it is
//! cut, and what tells of it where it does not.

use crate::answers::{self, Answer};
use crate::bench::{self, Bench, Vector};
use crate::hellos::{self, Flight};
use crate::support::gateway::{Kind, Setup};
use crate::support::handshake::expect_refusal;
use crate::support::peer::Cut;
use crate::support::server::Server;
use crate::support::tls::{NAMED, answer_13, hello};
use crate::support::tunnel::Tunnel;

fn setup(kind: Kind, server: &Server) -> Setup {
    Setup::new(kind).reach(server)
}

#[test]
fn good_hellos_pass_unchanged() {
    bench::play(&hellos::good(), setup, |bench: &Bench<'_>, flight: &Flight, cut: Cut| {
        let what = format!("{}, {cut:?}, {}", bench.kind, flight.shown());
        let Bench { gateway, server, .. } = bench;
        let mut tunnel = Tunnel::open_to(gateway, server, &server.named());
        let session = gateway.session_of(&tunnel.client);
        tunnel.client.send_cut(&flight.bytes, cut);
        let came = tunnel.server.read_exact(flight.bytes.len());
        assert!(came == flight.bytes, "{what}: other bytes arrive");
        tunnel.server.send_cut(&answer_13(), cut);
        tunnel.client.expect(&answer_13());
        let verified = gateway.events().of("tls_verified", &session);
        let told = (verified.id(), verified.text("tls_version"), verified.text("server_name"));
        assert_eq!(told, (107, "1.3", NAMED), "{what}");
        assert_eq!(verified.text("level"), "debug");
    });
}

#[test]
fn bad_hellos_are_refused_by_an_alert_and_never_reach_the_target() {
    bench::play(&hellos::bad(), setup, |bench: &Bench<'_>, flight: &Flight, cut: Cut| {
        let what = format!("{}, {cut:?}, {}", bench.kind, flight.shown());
        let Bench { gateway, server, .. } = bench;
        let refused = flight.refused.expect("it is of the table of bad hellos");
        let mut tunnel = Tunnel::open_to(gateway, server, &server.named());
        tunnel.client.send_cut(&flight.bytes, cut);
        let event = expect_refusal(gateway, tunnel, &[], refused, &what);
        assert_eq!(event.text("target"), server.named(), "{what}");
    });
}

#[test]
fn good_answers_pass_unchanged() {
    bench::play(&answers::good(), setup, |bench: &Bench<'_>, answer: &Answer, cut: Cut| {
        let what = format!("{}, {cut:?}, {}", bench.kind, answer.shown());
        let (mut tunnel, session) = begin(bench);
        let sending = {
            let mut server =
                crate::support::peer::Peer::new(tunnel.server.stream.try_clone().unwrap());
            let bytes = answer.bytes.clone();
            std::thread::spawn(move || server.send_cut(&bytes, cut))
        };
        let came = tunnel.client.read_exact(answer.bytes.len());
        assert!(came == answer.bytes, "{what}: other bytes arrive");
        sending.join().unwrap();
        let verified = bench.gateway.events().of("tls_verified", &session);
        assert_eq!((verified.id(), verified.text("tls_version")), (107, answer.version), "{what}");
    });
}

#[test]
fn bad_answers_are_refused_by_an_alert_and_never_reach_the_client() {
    bench::play(&answers::bad(), setup, |bench: &Bench<'_>, answer: &Answer, cut: Cut| {
        let what = format!("{}, {cut:?}, {}", bench.kind, answer.shown());
        let refused = answer.refused.expect("it is of the table of bad answers");
        let (mut tunnel, _) = begin(bench);
        tunnel.server.send_cut(&answer.bytes, cut);
        let may_pass = &answer.bytes[..answer.may_pass];
        expect_refusal(bench.gateway, tunnel, may_pass, refused, &what);
    });
}

/// A tunnel whose client has said hello, and its session.
fn begin(bench: &Bench<'_>) -> (Tunnel, String) {
    let mut tunnel = Tunnel::open(bench.gateway, bench.server);
    let session = bench.gateway.session_of(&tunnel.client);
    tunnel.client.send(&hello(None));
    tunnel.server.expect(&hello(None));
    (tunnel, session)
}
