//! What must be seen of a TLS handshake before anything passes: the order of its steps, and what the
//! configuration says of them. The tables of good and bad hellos are in `tests/faults`.

use sluice::proto::tls::Version;
use sluice::proto::tls::record::ContentType;
use sluice::proto::tls::sample::{SampleHello, SampleServerHello, records};

use crate::support::gateway::{KINDS, SPLICE, Setup};
use crate::support::handshake::{MISMATCH, Refused, UNREADABLE, expect_refusal};
use crate::support::peer::{CUTS, Step};
use crate::support::rota::Rota;
use crate::support::server::Server;
use crate::support::tls::{
    alert, answer_13, answer_of, change_cipher_spec, hello, named, of_version, retry, with_name,
};
use crate::support::tunnel::Tunnel;

#[test]
fn an_alert_instead_of_an_answer_passes_to_the_client() {
    for kind in KINDS {
        let server = Server::start();
        let gateway = Setup::new(kind).reach(&server).start();
        for cut in CUTS {
            let mut tunnel = Tunnel::open(&gateway, &server);
            let session = gateway.session_of(&tunnel.client);
            let hello = hello(None);
            tunnel.client.send(&hello);
            tunnel.server.expect(&hello);
            tunnel.server.send_cut(&alert(3, 40), cut);
            tunnel.server.fin();
            tunnel.client.play(&[Step::Expect(&alert(3, 40)), Step::ExpectEnd, Step::Fin]);
            tunnel.server.expect_end();
            let ended = gateway.end_of(&session);
            assert_eq!(ended.text("ending"), "await_server_hello.client.finished", "{kind}");
        }
        let events = gateway.stop();
        let verdicts = events.iter().filter(|event| matches!(event.id(), 105..=107 | 400..));
        assert_eq!(verdicts.count(), 0, "{kind}");
    }
}

#[test]
fn after_a_retry_the_second_hello_is_judged_like_the_first() {
    let first = named(SampleHello::default());
    let second = named(SampleHello { key_share_len: 100, ..SampleHello::default() });
    for kind in KINDS {
        let server = Server::start();
        let gateway = Setup::new(kind).reach(&server).start();
        for cut in CUTS {
            let mut tunnel = Tunnel::open_to(&gateway, &server, &server.named());
            let session = gateway.session_of(&tunnel.client);
            let begin = |tunnel: &mut Tunnel| {
                tunnel.client.send_cut(&first, cut);
                tunnel.server.expect(&first);
                tunnel.server.send_cut(&[retry(), change_cipher_spec()].concat(), cut);
                tunnel.client.expect(&[retry(), change_cipher_spec()].concat());
            };
            begin(&mut tunnel);
            let told = gateway.events().count(|event| event.is("tls_verified", &session));
            assert_eq!(told, 0, "a retry settles nothing");
            let again = [change_cipher_spec(), second.clone()].concat();
            tunnel.client.send_cut(&again, cut);
            tunnel.server.expect(&again);
            tunnel.server.send_cut(&answer_13(), cut);
            tunnel.client.expect(&answer_13());
            let verified = gateway.events().of("tls_verified", &session);
            assert_eq!(verified.text("tls_version"), "1.3");

            let mut tunnel = Tunnel::open_to(&gateway, &server, &server.named());
            begin(&mut tunnel);
            tunnel.client.send_cut(&with_name(b"other.example"), cut);
            expect_refusal(&gateway, tunnel, &[], MISMATCH, &format!("{kind}, {cut:?}"));
        }
        gateway.stop();
    }
}

/// 0-RTT records follow the hello at once, before any answer.
#[test]
fn early_data_passes_behind_its_hello() {
    for kind in KINDS {
        let server = Server::start();
        let gateway = Setup::new(kind).reach(&server).start();
        let early = records(ContentType::ApplicationData, Version::TLS12, &[7; 40_000], 1 << 14);
        let sent = [named(SampleHello::default()), change_cipher_spec(), early].concat();
        for cut in CUTS {
            Tunnel::carries(&gateway, &server, &sent, cut, &format!("{kind}, {cut:?}, early data"));
        }
        gateway.stop();
    }
}

#[test]
fn a_target_by_address_needs_no_name_and_admits_no_other() {
    let server = Server::start();
    let gateway = Setup::new(SPLICE).reach(&server).start();
    for hello in [hello(None), with_name(b"127.0.0.1")] {
        let mut tunnel = Tunnel::open(&gateway, &server);
        tunnel.client.send(&hello);
        tunnel.server.expect(&hello);
    }
    for name in [&b"localhost"[..], b"127.0.0.2", b"other.example"] {
        let mut tunnel = Tunnel::open(&gateway, &server);
        tunnel.client.send(&with_name(name));
        expect_refusal(&gateway, tunnel, &[], MISMATCH, &name.escape_ascii().to_string());
    }
    gateway.stop();
}

#[test]
fn names_are_not_compared_where_that_is_switched_off() {
    let server = Server::start();
    let gateway = Setup::new(SPLICE).reach(&server).set("tls.server_name", "\"off\"").start();
    for hello in [hello(None), with_name(b"other.example")] {
        let mut tunnel = Tunnel::open_to(&gateway, &server, &server.named());
        tunnel.client.send(&hello);
        tunnel.server.expect(&hello);
    }
    let mut tunnel = Tunnel::open_to(&gateway, &server, &server.named());
    tunnel.client.send(&with_name(b"localhost\0.example"));
    expect_refusal(&gateway, tunnel, &[], UNREADABLE, "a NUL is no matter of matching");
    gateway.stop();
}

#[test]
fn min_version_holds_for_what_is_offered_and_for_what_is_chosen() {
    let versions = [Version::TLS10, Version::TLS11, Version::TLS12, Version::TLS13];
    for (least, spelled) in versions.into_iter().zip(["1.0", "1.1", "1.2", "1.3"]) {
        let server = Server::start();
        let setup = || {
            let min_version = format!("{spelled:?}");
            Setup::new(SPLICE).reach(&server).set("tls.min_version", min_version)
        };
        let mut rota = Rota::new(setup);
        for offered in versions {
            for chosen in versions.into_iter().filter(|chosen| *chosen <= offered) {
                let gateway = rota.next();
                let what = format!("least {spelled}, offered {offered}, chosen {chosen}");
                let hello = match offered {
                    Version::TLS13 => named(SampleHello::default()),
                    older => of_version(older),
                };
                let answer = match chosen {
                    Version::TLS13 => answer_13(),
                    older => answer_of(&SampleServerHello {
                        server_version: older,
                        ..SampleServerHello::default()
                    }),
                };
                let mut tunnel = Tunnel::open_to(gateway, &server, &server.named());
                let session = gateway.session_of(&tunnel.client);
                let minor = offered.min(Version::TLS12).0 as u8;
                let low = Refused(106, "tls_version_too_low", Some((minor, 70)));
                tunnel.client.send(&hello);
                if offered < least {
                    expect_refusal(gateway, tunnel, &[], low, &what);
                    continue;
                }
                tunnel.server.expect(&hello);
                tunnel.server.send(&answer);
                if chosen < least {
                    expect_refusal(gateway, tunnel, &[], low, &what);
                    continue;
                }
                tunnel.client.expect(&answer);
                let verified = gateway.events().of("tls_verified", &session);
                assert_eq!(verified.text("tls_version"), chosen.digits().unwrap(), "{what}");
            }
        }
        rota.finish();
    }
}
