//! What must be seen of a TLS handshake before anything passes: hellos of both sides, however they are
//! cut, and the alerts that tell a client why it is refused.

use std::time::Duration;

use sluice::proto::tls::Version;
use sluice::proto::tls::record::ContentType;
use sluice::proto::tls::sample::{
    SampleHello, SampleServerHello, client_hello, message, modern_client_hello, records,
};

use crate::support::events::Event;
use crate::support::gateway::{Gateway, KINDS, Kind, SPLICE, Setup, each};
use crate::support::peer::{CUTS, Cut, Step};
use crate::support::rota::Rota;
use crate::support::server::Server;
use crate::support::tls::{
    alert, answer, answer_13, answer_of, change_cipher_spec, hello, hello_of, retry,
};
use crate::support::tunnel::Tunnel;

/// How a handshake is refused: event, reason, and the alert as its minor version and description.
#[derive(Clone, Copy, Debug)]
struct Refused(u64, &'static str, Option<(u8, u8)>);

const NAMED: &str = "localhost";

fn named(sample: SampleHello<'_>) -> Vec<u8> {
    hello_of(&SampleHello { server_name: Some(NAMED.as_bytes()), ..sample })
}

fn of_version(version: Version) -> Vec<u8> {
    named(SampleHello { client_version: version, versions: &[], ..SampleHello::default() })
}

fn with_name(name: &[u8]) -> Vec<u8> {
    hello_of(&SampleHello { server_name: Some(name), ..SampleHello::default() })
}

/// A server_name extension with this list of names, each with its type.
fn with_names(names: &[(u8, &[u8])]) -> Vec<u8> {
    let list: Vec<u8> = names
        .iter()
        .flat_map(|(kind, name)| [&[*kind][..], &(name.len() as u16).to_be_bytes(), name].concat())
        .collect();
    let data = [&(list.len() as u16).to_be_bytes()[..], &list].concat();
    hello_of(&SampleHello { extra: &[(0, &data)], ..SampleHello::default() })
}

fn handshake(version: Version, fragment: usize, payload: &[u8]) -> Vec<u8> {
    records(ContentType::Handshake, version, payload, fragment)
}

fn padded(len: usize) -> Vec<u8> {
    let bare = client_hello(&SampleHello {
        server_name: Some(NAMED.as_bytes()),
        extra: &[(21, &[])],
        ..SampleHello::default()
    });
    let padding = vec![0; len - (bare.len() - 4)];
    let whole = client_hello(&SampleHello {
        server_name: Some(NAMED.as_bytes()),
        extra: &[(21, &padding)],
        ..SampleHello::default()
    });
    handshake(Version::TLS10, 1 << 14, &whole)
}

/// Hellos that pass to `localhost`.
fn good_hellos() -> Vec<(&'static str, Vec<u8>)> {
    let usual = client_hello(&SampleHello {
        server_name: Some(NAMED.as_bytes()),
        ..SampleHello::default()
    });
    let mut rows = vec![
        ("TLS 1.2 without extensions but the name", of_version(Version::TLS12)),
        ("post-quantum, GREASE, ECH", {
            handshake(Version::TLS10, 1 << 14, &modern_client_hello(NAMED.as_bytes()))
        }),
        ("upper case", with_name(b"LOCALHOST")),
        ("trailing dot", with_name(b"localhost.")),
        ("16 KiB", padded(16 * 1024)),
        ("64 KiB", padded(65_536)),
        ("records of one byte", handshake(Version::TLS10, 1, &usual)),
        ("cut before its last byte", handshake(Version::TLS10, usual.len() - 1, &usual)),
        ("records of 511 bytes", {
            handshake(Version::TLS10, 511, &modern_client_hello(NAMED.as_bytes()))
        }),
        ("drafts of TLS 1.3 beside it", {
            named(SampleHello {
                versions: &[Version(0x7f1c), Version::TLS13],
                ..SampleHello::default()
            })
        }),
    ];
    for version in [0x0300, 0x0301, 0x0302, 0x0303, 0x0304, 0x0399] {
        let what = "the version of the first record says nothing";
        rows.push((what, handshake(Version(version), 1 << 14, &usual)));
    }
    rows
}

#[test]
fn good_hellos_pass_unchanged_however_they_are_cut() {
    each(KINDS, |kind| {
        let server = Server::start();
        let mut rota = Rota::new(|| Setup::new(kind).reach(&server));
        for (what, hello) in good_hellos() {
            for cut in CUTS {
                pass(rota.next(), &server, &hello, cut, &format!("{kind}, {cut:?}, {what}"));
            }
        }
        rota.finish();
    });
}

fn pass(gateway: &Gateway, server: &Server, hello: &[u8], cut: Cut, what: &str) {
    let mut tunnel = Tunnel::open_to(gateway, server, &server.named());
    let session = gateway.session_of(&tunnel.client);
    tunnel.client.send_cut(hello, cut);
    assert!(tunnel.server.read_exact(hello.len()) == hello, "{what}: other bytes arrive");
    tunnel.server.send_cut(&answer_13(), cut);
    tunnel.client.expect(&answer_13());
    let verified = gateway.events().of("tls_verified", &session);
    let told = (verified.id(), verified.text("tls_version"), verified.text("server_name"));
    assert_eq!(told, (107, "1.3", NAMED), "{what}");
    assert_eq!(verified.text("level"), "debug");
}

const NOT_TLS: Refused = Refused(106, "not_tls", None);
const MISMATCH: Refused = Refused(105, "server_name_mismatch", Some((3, 112)));
const MISSING: Refused = Refused(105, "server_name_missing", Some((3, 112)));
const UNREADABLE: Refused = Refused(402, "handshake_unreadable", Some((3, 50)));
const TOO_LARGE: Refused = Refused(402, "hello_too_large", Some((3, 50)));

/// Hellos that do not pass to `localhost`.
fn bad_hellos() -> Vec<(&'static str, Vec<u8>, Refused)> {
    let ssl = |minor| Refused(106, "ssl_version", minor);
    let low = |minor| Refused(106, "tls_version_too_low", Some((minor, 70)));
    let usual = client_hello(&SampleHello::default());
    let mut trailing = usual.clone();
    trailing[3] += 1;
    trailing.push(0);
    let wrong_length = {
        let mut wrong = usual.clone();
        let at = 4 + 2 + 32 + 1 + 32;
        wrong[at] = 0xff;
        wrong
    };
    vec![
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n".to_vec(), NOT_TLS),
        ("SSH", b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(), NOT_TLS),
        ("SMTP", b"EHLO there\r\n".to_vec(), NOT_TLS),
        ("one byte", b"\0".to_vec(), NOT_TLS),
        ("DTLS", [&[0x16, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0], &[1; 50][..]].concat(), NOT_TLS),
        ("TLCP record", [&[0x16, 1, 1, 0, 80, 1][..], &[0; 79]].concat(), NOT_TLS),
        ("alert first", alert(3, 0), NOT_TLS),
        ("application data first", vec![23, 3, 3, 0, 1, 0], NOT_TLS),
        ("heartbeat first", vec![24, 3, 3, 0, 3, 1, 0, 0], NOT_TLS),
        ("TLCP hello", of_version(Version(0x0101)), Refused(106, "not_tls", Some((0, 70)))),
        ("SSL 2.0 framing", [&[0x80, 0x2e, 1, 3, 1][..], &[0; 43]].concat(), ssl(None)),
        ("SSL 2.0 framing and version", [&[0x80, 0x2e, 1, 0, 2][..], &[0; 43]].concat(), ssl(None)),
        ("SSL 2.0", of_version(Version::SSL2), ssl(Some((0, 70)))),
        ("SSL 3.0", of_version(Version::SSL3), ssl(Some((0, 70)))),
        ("TLS 1.0", of_version(Version::TLS10), low(1)),
        ("TLS 1.1", of_version(Version::TLS11), low(2)),
        (
            "TLS 1.1 at best in the extension",
            named(SampleHello {
                versions: &[Version::TLS11, Version::TLS10],
                ..SampleHello::default()
            }),
            low(2),
        ),
        (
            "too old comes before the wrong name",
            hello_of(&SampleHello {
                client_version: Version::TLS10,
                versions: &[],
                server_name: Some(b"other.example"),
                ..SampleHello::default()
            }),
            low(1),
        ),
        ("no name", hello(None), MISSING),
        ("another name", with_name(b"other.example"), MISMATCH),
        ("a longer name", with_name(b"localhost.example"), MISMATCH),
        ("a name before it", with_name(b"x.localhost"), MISMATCH),
        ("its address", with_name(b"127.0.0.1"), MISMATCH),
        ("NUL in the name", with_name(b"localhost\0.example"), UNREADABLE),
        ("NUL behind the name", with_name(b"localhost\0"), UNREADABLE),
        ("empty name", with_name(b""), UNREADABLE),
        ("a name with a space", with_name(b"local host"), UNREADABLE),
        ("a name outside ASCII", with_name("l\u{f6}calhost".as_bytes()), UNREADABLE),
        ("two names", with_names(&[(0, b"localhost"), (0, b"other.example")]), UNREADABLE),
        ("the same name twice", with_names(&[(0, b"localhost"), (0, b"localhost")]), UNREADABLE),
        ("a name of another type", with_names(&[(1, b"localhost")]), UNREADABLE),
        ("no names in the list", with_names(&[]), UNREADABLE),
        (
            "the extension twice",
            hello_of(&SampleHello {
                server_name: Some(b"localhost"),
                extra: &[(0, b"\0\x0c\0\0\x09localhost")],
                ..SampleHello::default()
            }),
            UNREADABLE,
        ),
        ("no handshake", handshake(Version::TLS10, 1 << 14, &message(0xff, &[0; 50])), UNREADABLE),
        ("a server's hello", answer(), UNREADABLE),
        ("bytes after its end", handshake(Version::TLS10, 1 << 14, &trailing), UNREADABLE),
        ("a length beyond it", handshake(Version::TLS10, 1 << 14, &wrong_length), UNREADABLE),
        ("two bytes", handshake(Version::TLS10, 1 << 14, &message(1, &[3, 3])), UNREADABLE),
        ("no bytes", handshake(Version::TLS10, 1 << 14, &message(1, &[])), UNREADABLE),
        (
            "another record within",
            [&handshake(Version::TLS10, 50, &usual)[..55], &[23, 3, 3, 0, 1, 0]].concat(),
            UNREADABLE,
        ),
        (
            "an empty record within",
            [&handshake(Version::TLS10, 50, &usual)[..55], &[22, 3, 3, 0, 0]].concat(),
            UNREADABLE,
        ),
        ("an empty record first", vec![22, 3, 1, 0, 0], UNREADABLE),
        ("ten thousand empty records", [22, 3, 1, 0, 0].repeat(10_000), UNREADABLE),
        ("a record too long", [&[22, 3, 1, 0x48, 1, 1][..], &[0; 100]].concat(), UNREADABLE),
        (
            "five thousand records",
            handshake(
                Version::TLS10,
                1,
                &client_hello(&SampleHello {
                    server_name: Some(b"localhost"),
                    key_share_len: 5_000,
                    ..SampleHello::default()
                }),
            ),
            UNREADABLE,
        ),
        ("one byte above 64 KiB", padded(65_537), TOO_LARGE),
        ("16 MiB", [&[22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff][..], &[0; 100]].concat(), TOO_LARGE),
    ]
}

#[test]
fn bad_hellos_are_refused_by_an_alert_and_never_reach_the_target() {
    each(KINDS, |kind| {
        refuse_all(kind);
    });
}

fn refuse_all(kind: Kind) {
    let server = Server::start();
    let mut rota = Rota::new(|| Setup::new(kind).reach(&server));
    for (what, hello, refused) in bad_hellos() {
        for cut in CUTS {
            let what = format!("{kind}, {cut:?}, {what}");
            let gateway = rota.next();
            let mut tunnel = Tunnel::open_to(gateway, &server, &server.named());
            tunnel.client.send_cut(&hello, cut);
            let event = expect_refusal(gateway, tunnel, &[], refused, &what);
            assert_eq!(event.text("target"), server.named(), "{what}");
        }
    }
    rota.finish();
}

/// Checks what both sides and the operator get of a refused handshake. `may_pass` may reach the client
/// before that.
fn expect_refusal(
    gateway: &Gateway,
    mut tunnel: Tunnel,
    may_pass: &[u8],
    refused: Refused,
    what: &str,
) -> Event {
    let Refused(id, reason, told) = refused;
    let alert = told.map_or(Vec::new(), |(minor, description)| alert(minor, description));
    let session = gateway.session_of(&tunnel.client);
    let (read, ended) = tunnel.client.read_to_any_end();
    assert!(ended.is_ok(), "{what}: {ended:?} after {}", read.escape_ascii());
    let words = read.strip_prefix(may_pass).unwrap_or(&read);
    assert_eq!(words.escape_ascii().to_string(), alert.escape_ascii().to_string(), "{what}");
    let (reached, _) = tunnel.server.read_to_any_end();
    assert!(reached.is_empty(), "{what}: {} reached the target", reached.escape_ascii());
    drop(tunnel);
    let event = gateway.events().of(reason, &session);
    assert_eq!(event.id(), id, "{what}");
    let level = if id == 402 { "error" } else { "warning" };
    assert_eq!((event.text("level"), event.has("status")), (level, false), "{what}: {event:?}");
    let ending = gateway.end_of(&session);
    let ending = ending.text("ending");
    assert!(ending.ends_with(&format!(".gateway.{reason}")), "{what}: {ending}");
    assert_eq!(gateway.events().count(|event| event.is("tls_verified", &session)), 0, "{what}");
    event
}

/// Answers of a server that do not pass to the client.
fn bad_answers() -> Vec<(&'static str, Vec<u8>, Refused)> {
    let chosen = |version| {
        answer_of(&SampleServerHello { server_version: version, ..SampleServerHello::default() })
    };
    let extended = |version| {
        answer_of(&SampleServerHello { version: Some(version), ..SampleServerHello::default() })
    };
    let refused = |id, reason, description| Refused(id, reason, Some((3, description)));
    let low = refused(106, "tls_version_too_low", 70);
    let handshake = |payload: &[u8]| handshake(Version::TLS12, 1 << 14, payload);
    vec![
        ("SSL 3.0", chosen(Version::SSL3), refused(106, "ssl_version", 70)),
        ("TLS 1.0", chosen(Version::TLS10), low),
        ("TLS 1.1", chosen(Version::TLS11), low),
        ("TLS 1.1 in the extension", extended(Version::TLS11), low),
        ("a version to come", extended(Version(0x0399)), UNREADABLE),
        ("HTTP", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), refused(106, "not_tls", 70)),
        ("a client's hello", hello(None), UNREADABLE),
        ("a certificate first", handshake(&message(11, &[0; 100])), UNREADABLE),
        ("application data first", vec![23, 3, 3, 0, 1, 0], refused(106, "not_tls", 70)),
        ("two retries", [retry(), retry()].concat(), UNREADABLE),
        ("too large", handshake(&[2, 1, 0, 1, 3, 3]), TOO_LARGE),
        ("two bytes", handshake(&message(2, &[3, 3])), UNREADABLE),
    ]
}

#[test]
fn bad_answers_are_refused_by_an_alert_and_never_reach_the_client() {
    each(KINDS, |kind| {
        let server = Server::start();
        let mut rota = Rota::new(|| Setup::new(kind).reach(&server));
        let hello = hello(None);
        for (what, answer, refused) in bad_answers() {
            for cut in CUTS {
                let what = format!("{kind}, {cut:?}, {what}");
                let gateway = rota.next();
                let mut tunnel = Tunnel::open(gateway, &server);
                tunnel.client.send(&hello);
                tunnel.server.expect(&hello);
                tunnel.server.send_cut(&answer, cut);
                // A retry is good in itself: it passes unless the second one comes on its heels.
                let may_pass = if what.contains("two retries") { retry() } else { Vec::new() };
                expect_refusal(gateway, tunnel, &may_pass, refused, &what);
            }
        }
        rota.finish();
    });
}

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
fn a_server_that_speaks_first_is_not_heard() {
    for kind in KINDS {
        let server = Server::start();
        let gateway = Setup::new(kind).reach(&server).start();
        let half = &hello(None)[..50];
        let rows = [
            ("SSH-2.0-OpenSSH_9.6\r\n", &half[..0], None),
            ("220 mail.example ESMTP\r\n", &half[..3], None),
            ("220 mail.example ESMTP\r\n", half, Some((3, 70))),
        ];
        for (banner, sent, told) in rows {
            let mut tunnel = Tunnel::open(&gateway, &server);
            tunnel.client.send(sent);
            // What the client sent is to be there first, and nothing shows from outside when it is.
            tunnel.client.play(&[Step::Pause(Duration::from_millis(50))]);
            tunnel.server.send(banner.as_bytes());
            let refused = Refused(106, "server_spoke_first", told);
            expect_refusal(&gateway, tunnel, &[], refused, &format!("{kind}, {banner}"));
        }
        gateway.stop();
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
            pass(&gateway, &server, &sent, cut, &format!("{kind}, {cut:?}, early data"));
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
