//! Section E: what must be seen of a handshake before anything passes, from either side, however it is
//! cut, and what tells of it where it does not.

use crate::answers::{self, Answer};
use crate::bench::{self, Bench, Vector};
use crate::hellos::{self, Flight};
use crate::support::gateway::{Kind, Setup};
use crate::support::handshake::{Refused, expect_refusal};
#[cfg(target_os = "linux")]
use crate::support::namespace::within;
use crate::support::peer::{Cut, Peer};
#[cfg(target_os = "linux")]
use crate::support::process::wait_until_read;
use crate::support::server::Server;
use crate::support::tls::hello;
use crate::support::tunnel::Tunnel;

fn setup(kind: Kind, server: &Server) -> Setup {
    Setup::new(kind).reach(server)
}

#[test]
fn good_hellos_pass_unchanged() {
    bench::play(&hellos::good(), setup, |bench: &Bench<'_>, flight: &Flight, cut: Cut| {
        let what = format!("{}, {cut:?}, {}", bench.kind, flight.shown());
        let Bench { gateway, server, .. } = bench;
        Tunnel::carries(gateway, server, &flight.bytes, cut, &what);
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
            let mut server = Peer::new(tunnel.server.stream.try_clone().unwrap());
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

/// What a server says unasked, and how much of its hello the client has sent before.
struct Unasked(&'static [u8], usize);

impl Vector for Unasked {
    fn refused(&self) -> Option<(u64, &'static str)> {
        Some((106, "server_spoke_first"))
    }

    fn shown(&self) -> String {
        format!("E20: {} after {} bytes", self.0.escape_ascii(), self.1)
    }
}

#[test]
fn a_server_that_speaks_first_is_not_heard() {
    const BANNERS: &[&[u8]] = &[
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"220 mail.example ESMTP\r\n",
        b"+OK ready\r\n",
        b"\x4a\0\0\0\x0a8.0.36\0",
        b"HTTP/1.1 408 Request Timeout\r\n\r\n",
        &[22, 3, 3, 0, 4, 2, 0, 0, 0],
        &[21, 3, 3, 0, 2, 2, 40],
        &[0],
    ];
    let vectors: Vec<_> =
        BANNERS.iter().flat_map(|banner| [0, 3, 50].map(|begun| Unasked(banner, begun))).collect();
    let play = || bench::play(&vectors, setup, refuse_unasked);
    // The system is asked there what has been read, and has only this test's connections to look through.
    #[cfg(target_os = "linux")]
    if within("e_handshake::a_server_that_speaks_first_is_not_heard", |_| play()) {
        return;
    }
    play();
}

fn refuse_unasked(bench: &Bench<'_>, vector: &Unasked, cut: Cut) {
    let Unasked(banner, begun) = *vector;
    let what = format!("{}, {cut:?}, {}", bench.kind, vector.shown());
    let mut tunnel = Tunnel::open(bench.gateway, bench.server);
    tunnel.client.send(&hello(None)[..begun]);
    // What the client has sent is to be there before the server says anything.
    #[cfg(target_os = "linux")]
    wait_until_read(&tunnel.client.stream);
    #[cfg(not(target_os = "linux"))]
    std::thread::sleep(std::time::Duration::from_millis(50));
    tunnel.server.send_cut(banner, cut);
    // Whether the client speaks TLS is known with the header of its first record.
    let alert = (begun >= 5).then_some((3, 70));
    let refused = Refused(106, "server_spoke_first", alert);
    expect_refusal(bench.gateway, tunnel, &[], refused, &what);
}

/// A tunnel whose client has said hello, and its session.
fn begin(bench: &Bench<'_>) -> (Tunnel, String) {
    let mut tunnel = Tunnel::open(bench.gateway, bench.server);
    let session = bench.gateway.session_of(&tunnel.client);
    tunnel.client.send(&hello(None));
    tunnel.server.expect(&hello(None));
    (tunnel, session)
}
