//! Client certificates in handshakes of TLS 1.2: which subjects are admitted, however the messages are
//! cut into records and segments, and what a refused one gets to see and lets see.

use sluice::proto::tls::Version;
use sluice::proto::tls::handshake::{
    CERTIFICATE, CERTIFICATE_REQUEST, CERTIFICATE_VERIFY, CLIENT_KEY_EXCHANGE, NEW_SESSION_TICKET,
    SERVER_HELLO_DONE, SERVER_KEY_EXCHANGE,
};
use sluice::proto::tls::record::ContentType;
use sluice::proto::tls::sample::{
    SampleAttribute, SampleHello, SampleServerHello, certificate, certificate_of, certificates,
    der, message, name, records, server_hello,
};

use crate::support::admin::Admin;
use crate::support::events::Event;
use crate::support::gateway::{Gateway, KINDS, Kind, SPLICE, Setup, each};
use crate::support::peer::{CUTS, Cut};
use crate::support::rota::Rota;
use crate::support::server::Server;
use crate::support::tls::{alert, answer_13, change_cipher_spec, hello_of, retry};
use crate::support::tunnel::Tunnel;

const CN: &[u8] = &[0x55, 4, 3];
const O: &[u8] = &[0x55, 4, 10];
const UTF8: u8 = 12;
const PRINTABLE: u8 = 19;
const BMP: u8 = 30;

fn setup(kind: Kind, server: &Server) -> Setup {
    Setup::new(kind).reach(server).set(
        "allow.client_certificates",
        r#"["Gateway", "CN=agent, O=Foo\\, Inc", "CN=a+O=b", "Z\u00fcrich"]"#,
    )
}

fn hello() -> Vec<u8> {
    hello_with(&[])
}

fn hello_with(extra: &[(u16, &[u8])]) -> Vec<u8> {
    hello_of(&SampleHello {
        versions: &[Version::TLS12],
        server_name: Some(b"localhost"),
        extra,
        ..SampleHello::default()
    })
}

fn in_records(messages: &[Vec<u8>], fragment: usize) -> Vec<u8> {
    records(ContentType::Handshake, Version::TLS12, &messages.concat(), fragment)
}

/// What a server says that asks for a certificate, each message in its own record.
fn introduction() -> Vec<u8> {
    introduction_of(&[message(CERTIFICATE_REQUEST, &[9; 80])])
}

fn introduction_of(request: &[Vec<u8>]) -> Vec<u8> {
    let own = [
        server_hello(&SampleServerHello::default()),
        message(CERTIFICATE, &certificates(&[&[7; 3_000]])),
        message(SERVER_KEY_EXCHANGE, &[8; 300]),
    ];
    let done = [message(SERVER_HELLO_DONE, &[])];
    let all = own.iter().chain(request).chain(&done);
    all.flat_map(|message| in_records(std::slice::from_ref(message), 1 << 14)).collect()
}

fn key() -> Vec<u8> {
    message(CLIENT_KEY_EXCHANGE, &[5; 66])
}

fn proof() -> Vec<u8> {
    message(CERTIFICATE_VERIFY, &[6; 260])
}

fn finished() -> Vec<u8> {
    [change_cipher_spec(), in_records(&[vec![0xee; 40]], 1 << 14)].concat()
}

/// All that a client sends after the server's introduction.
fn flight(certificate: &[u8], fragment: usize) -> Vec<u8> {
    let list = certificates(&[certificate, b"issuer"]);
    [in_records(&[message(CERTIFICATE, &list), key(), proof()], fragment), finished()].concat()
}

fn shows(subject: &[&[SampleAttribute<'_>]]) -> Vec<u8> {
    flight(&certificate(subject), 1 << 14)
}

/// Flights that pass, and the subject that is told of each.
fn good_flights() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let gateway: &[&[SampleAttribute<'_>]] = &[&[(CN, UTF8, b"Gateway")]];
    vec![
        ("UTF-8", shows(gateway), "CN=Gateway"),
        ("one record a byte", flight(&certificate(gateway), 1), "CN=Gateway"),
        ("fifty records", flight(&certificate(gateway), 12), "CN=Gateway"),
        ("Printable", shows(&[&[(CN, PRINTABLE, b"Gateway")]]), "CN=Gateway"),
        ("BMP", shows(&[&[(CN, BMP, b"\0G\0a\0t\0e\0w\0a\0y")]]), "CN=Gateway"),
        (
            "the second of two names",
            shows(&[&[(CN, UTF8, b"x")], &[(CN, UTF8, b"GATEWAY")], &[(O, UTF8, b"MS")]]),
            "CN=x, CN=GATEWAY, O=MS",
        ),
        (
            "a whole name with a comma",
            shows(&[&[(CN, UTF8, b"agent")], &[(O, PRINTABLE, b"Foo, Inc")]]),
            "CN=agent, O=Foo\\, Inc",
        ),
        (
            "the other way round",
            shows(&[&[(O, PRINTABLE, b"Foo,  Inc ")], &[(CN, UTF8, b"Agent")]]),
            "O=Foo\\,  Inc\\ , CN=Agent",
        ),
        ("a set", shows(&[&[(O, UTF8, b"b"), (CN, UTF8, b"a")]]), "O=b+CN=a"),
        ("beyond ASCII", shows(&[&[(CN, BMP, b"\0Z\0\xfc\0r\0i\0c\0h")]]), "CN=Z\\C3\\BCrich"),
    ]
}

#[test]
fn certificates_that_are_admitted_pass_unchanged_however_they_are_cut() {
    each(KINDS, |kind| {
        let server = Server::start();
        let mut rota = Rota::new(|| setup(kind, &server));
        for (what, flight, subject) in good_flights() {
            for cut in CUTS {
                let what = format!("{kind}, {cut:?}, {what}");
                let gateway = rota.next();
                let mut tunnel = introduced(gateway, &server, cut, &introduction());
                let session = gateway.session_of(&tunnel.client);
                tunnel.client.send_cut(&flight, cut);
                assert!(tunnel.server.read_exact(flight.len()) == flight, "{what}");
                tunnel.server.send_cut(&finished(), cut);
                tunnel.client.expect(&finished());
                let verified = gateway.events().of("tls_verified", &session);
                let told = (verified.id(), verified.text("tls_version"), verified.text("subject"));
                assert_eq!(told, (107, "1.2", subject), "{what}");
                tunnel.client.send(b"any bytes");
                tunnel.server.expect(b"any bytes");
            }
        }
        rota.finish();
    });
}

/// A tunnel in which both have said hello.
fn introduced(gateway: &Gateway, server: &Server, cut: Cut, down: &[u8]) -> Tunnel {
    let mut tunnel = Tunnel::open_to(gateway, server, &server.named());
    tunnel.client.send_cut(&hello(), cut);
    tunnel.server.expect(&hello());
    tunnel.server.send_cut(down, cut);
    tunnel.client.expect(down);
    tunnel
}

const NOT_ALLOWED: Refused = (105, "client_certificate_not_allowed", 49);
const UNSEEN_NONE: Refused = (105, "client_certificate_unseen_none", 49);
const UNSEEN_RESUMED: Refused = (105, "client_certificate_unseen_resumed", 49);
const UNSEEN_13: Refused = (105, "client_certificate_unseen_tls13", 49);
const UNREADABLE: Refused = (402, "handshake_unreadable", 50);

/// How a handshake is refused: event, reason, and the description of the alert.
type Refused = (u64, &'static str, u8);

/// Flights that do not pass, and the subject that is told of each.
fn bad_flights() -> Vec<(&'static str, Vec<u8>, Refused, String)> {
    let one = |value: &[u8]| shows(&[&[(CN, UTF8, value)]]);
    let of = |encoded: &[u8]| flight(&certificate_of(encoded), 1 << 14);
    let deep = (0..10_000).fold(Vec::new(), |inside: Vec<u8>, _| {
        if inside.len() > 16_000 { inside } else { der(0x30, &inside) }
    });
    let bare = |messages: &[Vec<u8>]| [in_records(messages, 1 << 14), finished()].concat();
    let with_list = |list: &[u8]| bare(&[message(CERTIFICATE, list), key(), proof()]);
    let good = certificate(&[&[(CN, UTF8, b"Gateway")]]);
    let mut longer = certificates(&[&good]);
    longer[5] += 1;
    let mut indefinite = good.clone();
    indefinite[1] = 0x80;
    let five = [&[0x30, 0x85, 0, 0, 0, 0, 60], &good[2..]].concat();
    let shown = |text: &str| text.to_owned();
    vec![
        ("another name", one(b"Gateway2"), NOT_ALLOWED, shown("CN=Gateway2")),
        ("a part of it", one(b"Gate"), NOT_ALLOWED, shown("CN=Gate")),
        ("NUL within", one(b"Gateway\0.evil"), NOT_ALLOWED, shown("CN=Gateway\\00.evil")),
        ("NUL behind", one(b"Gateway\0"), NOT_ALLOWED, shown("CN=Gateway\\00")),
        ("the name elsewhere", shows(&[&[(O, UTF8, b"Gateway")]]), NOT_ALLOWED, shown("O=Gateway")),
        (
            "more than the whole name",
            shows(&[&[(CN, UTF8, b"agent")], &[(O, UTF8, b"Foo, Inc")], &[(O, UTF8, b"x")]]),
            NOT_ALLOWED,
            shown("CN=agent, O=Foo\\, Inc, O=x"),
        ),
        (
            "a comma that divides",
            shows(&[&[(CN, UTF8, b"agent, O=Foo\\, Inc")]]),
            NOT_ALLOWED,
            shown("CN=agent\\, O=Foo\\\\\\, Inc"),
        ),
        (
            "a set in two parts",
            shows(&[&[(CN, UTF8, b"a")], &[(O, UTF8, b"b")]]),
            NOT_ALLOWED,
            shown("CN=a, O=b"),
        ),
        ("a name of nothing", shows(&[]), NOT_ALLOWED, shown("")),
        (
            "an octet string",
            shows(&[&[(CN, 4, b"Gateway")]]),
            NOT_ALLOWED,
            shown("CN=#040747617465776179"),
        ),
        (
            "a name of 16 KiB",
            one(&[b'a'; 16_000]),
            NOT_ALLOWED,
            format!("CN={}...", "a".repeat(253)),
        ),
        ("a name of 64 KiB", one(&[b'a'; 64_000]), UNREADABLE, shown("")),
        ("an indefinite length", flight(&indefinite, 1 << 14), UNREADABLE, shown("")),
        ("a length of five bytes", flight(&five, 1 << 14), UNREADABLE, shown("")),
        ("ten thousand deep", flight(&deep, 1 << 14), UNREADABLE, shown("")),
        ("a deep subject", of(&deep[..deep.len().min(12_000)]), UNREADABLE, shown("")),
        ("a certificate longer than its list", with_list(&longer), UNREADABLE, shown("")),
        ("a list longer than its message", with_list(&[0, 0, 9, 0]), UNREADABLE, shown("")),
        ("a subject that is no name", of(&name(&[])[..1]), UNREADABLE, shown("")),
        ("UTF-8 that is none", one(b"\xff"), UNREADABLE, shown("")),
        ("an empty list", with_list(&certificates(&[])), UNSEEN_NONE, shown("")),
        ("no certificate message", bare(&[key()]), UNSEEN_NONE, shown("")),
        (
            "no proof",
            bare(&[message(CERTIFICATE, &certificates(&[&good])), key()]),
            UNREADABLE,
            shown("CN=Gateway"),
        ),
        ("a cipher changed at once", finished(), UNREADABLE, shown("")),
    ]
}

#[test]
fn others_are_refused_by_an_alert_and_nothing_of_them_reaches_the_target() {
    each(KINDS, |kind| {
        let server = Server::start();
        let mut rota = Rota::new(|| setup(kind, &server));
        for (what, flight, refused, subject) in bad_flights() {
            for cut in CUTS {
                let what = format!("{kind}, {cut:?}, {what}");
                let gateway = rota.next();
                let mut tunnel = introduced(gateway, &server, cut, &introduction());
                tunnel.client.send_cut(&flight, cut);
                // What is in order before the fault may pass; a certificate that is none may not.
                let may_pass =
                    if refused == UNREADABLE && !subject.is_empty() { &flight[..] } else { &[] };
                let event = expect_refusal(gateway, tunnel, (&[], may_pass), refused, &what);
                assert_eq!(event.text("subject"), subject, "{what}");
                if refused == NOT_ALLOWED && !subject.is_empty() {
                    let words = format!("Invalid Client certificate: {subject}");
                    assert!(event.text("message").starts_with(&words), "{what}: {event:?}");
                }
            }
        }
        rota.finish();
    });
}

/// Checks what both sides and the operator get of a refused handshake. Of `may_pass`, down and up,
/// whole records may have passed before.
fn expect_refusal(
    gateway: &Gateway,
    mut tunnel: Tunnel,
    may_pass: (&[u8], &[u8]),
    (id, reason, description): Refused,
    what: &str,
) -> Event {
    let session = gateway.session_of(&tunnel.client);
    let (read, ended) = tunnel.client.read_to_any_end();
    assert!(ended.is_ok(), "{what}: {ended:?} after {}", read.escape_ascii());
    let passed = read.strip_suffix(&alert(3, description)[..]);
    let passed = passed.unwrap_or_else(|| panic!("{what}: no alert: {}", read.escape_ascii()));
    assert!(are_whole_records(passed, may_pass.0), "{what}: {}", passed.escape_ascii());
    let (reached, _) = tunnel.server.read_to_any_end();
    assert!(are_whole_records(&reached, may_pass.1), "{what}: {}", reached.escape_ascii());
    drop(tunnel);
    let event = gateway.events().of(reason, &session);
    assert_eq!(event.id(), id, "{what}");
    let ending = gateway.end_of(&session);
    let stage = if reason == UNSEEN_13.1 { "await_server_hello" } else { "await_handshake" };
    let expected = format!("{stage}.gateway.{reason}");
    assert_eq!(ending.text("ending"), expected, "{what}");
    assert_eq!(gateway.events().count(|event| event.is("tls_verified", &session)), 0, "{what}");
    event
}

fn are_whole_records(passed: &[u8], of: &[u8]) -> bool {
    let mut at = 0;
    while at < passed.len() {
        let Some(header) = passed.get(at..at + 5) else { return false };
        at += 5 + usize::from(u16::from_be_bytes([header[3], header[4]]));
    }
    at == passed.len() && of.starts_with(passed)
}

#[test]
fn what_cannot_be_seen_is_refused_and_the_alert_can_be_read() {
    let unasked = introduction_of(&[]);
    let settled = in_records(&[server_hello(&SampleServerHello::default())], 1 << 14);
    let resumed = [settled, finished()].concat();
    each(KINDS, |kind| {
        let server = Server::start();
        for cut in CUTS {
            let gateway = setup(kind, &server).admin().start();
            for (down, refused) in
                [(&unasked, UNSEEN_NONE), (&resumed, UNSEEN_RESUMED), (&answer_13(), UNSEEN_13)]
            {
                let what = format!("{kind}, {cut:?}, {refused:?}");
                let mut tunnel = Tunnel::open_to(&gateway, &server, &server.named());
                tunnel.client.send_cut(&hello(), cut);
                tunnel.server.expect(&hello());
                tunnel.server.send_cut(down, cut);
                expect_refusal(&gateway, tunnel, (down, &[]), refused, &what);
            }
            let metrics = Admin::of(&gateway).metrics();
            assert_eq!(metrics["sluice_rejections_total"], 3.0);
            assert_eq!(metrics["sluice_errors_total"], 0.0);
            let refusals = "sluice_refusals_total{reason=\"client_certificate_unseen_none\"}";
            assert_eq!(metrics[refusals], 1.0);
            gateway.stop();
        }
    });
}

#[test]
fn what_cannot_be_seen_passes_where_each_is_allowed() {
    let server = Server::start();
    let unseen = r#"{ tls13 = "allow", resumed = "allow", none = "allow" }"#;
    let gateway = setup(SPLICE, &server).set("tls.unseen_client_certificate", unseen).start();
    let verified = |tunnel: &Tunnel, version: &str| {
        let session = gateway.session_of(&tunnel.client);
        let event = gateway.events().of("tls_verified", &session);
        assert_eq!((event.text("tls_version"), event.has("subject")), (version, false));
    };
    introduced_and(&gateway, &server, &answer_13(), |tunnel| verified(tunnel, "1.3"));
    let settled = in_records(&[server_hello(&SampleServerHello::default())], 1 << 14);
    let resumed = [settled, finished()].concat();
    introduced_and(&gateway, &server, &resumed, |tunnel| verified(tunnel, "1.2"));
    introduced_and(&gateway, &server, &introduction_of(&[]), |tunnel| {
        let up = [in_records(&[key()], 1 << 14), finished()].concat();
        tunnel.client.send(&up);
        tunnel.server.expect(&up);
        tunnel.server.send(&finished());
        tunnel.client.expect(&finished());
        verified(tunnel, "1.2");
    });
    gateway.stop();
}

fn introduced_and(gateway: &Gateway, server: &Server, down: &[u8], then: impl FnOnce(&mut Tunnel)) {
    then(&mut introduced(gateway, server, Cut::Whole, down));
}

#[test]
fn a_session_that_was_seen_to_begin_is_resumed_at_any_worker() {
    let server = Server::start();
    let gateway = setup(SPLICE, &server).workers(4).start();
    let ticket = [&[0, 0, 0, 0, 0, 6][..], b"ticket"].concat();
    let mut tunnel = introduced(&gateway, &server, Cut::Whole, &introduction());
    let flight = shows(&[&[(CN, UTF8, b"Gateway")]]);
    tunnel.client.send(&flight);
    tunnel.server.expect(&flight);
    let down = [in_records(&[message(NEW_SESSION_TICKET, &ticket)], 1 << 14), finished()].concat();
    tunnel.server.send(&down);
    tunnel.client.expect(&down);
    let settled = in_records(&[server_hello(&SampleServerHello::default())], 1 << 14);
    let resumed = [settled, finished()].concat();
    for _ in 0..8 {
        let hello = hello_with(&[(35, b"ticket")]);
        let mut tunnel = Tunnel::open_to(&gateway, &server, &server.named());
        tunnel.client.send(&hello);
        tunnel.server.expect(&hello);
        tunnel.server.send(&resumed);
        tunnel.client.expect(&resumed);
    }
    // By its address it is another target.
    let hello = hello_of(&SampleHello { versions: &[Version::TLS12], ..SampleHello::default() });
    let mut tunnel = Tunnel::open(&gateway, &server);
    tunnel.client.send(&hello);
    tunnel.server.expect(&hello);
    tunnel.server.send(&resumed);
    expect_refusal(&gateway, tunnel, (&[], &[]), UNSEEN_RESUMED, "another target");
    gateway.stop();
}

#[test]
fn a_handshake_that_stops_ends_at_its_deadline_and_names_who_was_waited_for() {
    let server = Server::start();
    let gateway = setup(SPLICE, &server).set("limits.hello_ms", 5_000).start();
    let half = introduction();
    let half = &half[..half.len() - 9];
    let whole = introduction();
    let shown = shows(&[&[(CN, UTF8, b"Gateway")]]);
    let retry = retry();
    /// What is missing, what came down and up before, who was waited for, and whether a version is known.
    type Row<'a> = (&'static str, &'a [u8], &'a [u8], &'static str, bool);
    let rows: [Row<'_>; 5] = [
        ("the server's hello", b"", b"", "await_server_hello.remote", false),
        ("the second hello", &retry, b"", "await_server_hello.client", true),
        ("the server's end", half, b"", "await_handshake.remote", true),
        ("the client's certificate", &whole, b"", "await_handshake.client", true),
        ("the server's change of cipher", &whole, &shown, "await_handshake.remote", true),
    ];
    // All of them wait at the same time, and none of what is sent waits for an event.
    let stopped = rows.map(|(what, down, up, who, is_settled)| {
        let mut tunnel = Tunnel::open_to(&gateway, &server, &server.named());
        tunnel.client.send(&hello());
        tunnel.server.expect(&hello());
        tunnel.server.send(down);
        if !up.is_empty() {
            tunnel.client.expect(down);
        }
        tunnel.client.send(up);
        (tunnel, what, who, is_settled)
    });
    for (tunnel, what, who, is_settled) in &stopped {
        let session = gateway.session_of(&tunnel.client);
        let ending = gateway.end_of(&session);
        assert_eq!(ending.text("ending"), format!("{who}.hello_timeout"), "{what}");
        // A version that is only offered is nobody's.
        assert_eq!(ending.has("tls_version"), *is_settled, "{what}");
        let verified = gateway.events().count(|event| event.is("tls_verified", &session));
        assert_eq!(verified, 0, "{what}");
    }
    gateway.stop();
}
