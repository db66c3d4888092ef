//! Request heads: what opens a tunnel, what is refused and how that reads.

use std::time::Duration;

use sluice::proto::tls::Version;
use sluice::proto::tls::record::ContentType;
use sluice::proto::tls::sample;

use crate::support::deadline::Stopwatch;
use crate::support::gateway::{CARRIERS, KINDS, Kind, SPLICE, Setup, each};
use crate::support::peer::{CUTS, Step};
use crate::support::reply::{Refused, Reply};
use crate::support::rota::Rota;
use crate::support::server::Server;
use crate::support::tls;
use crate::support::tunnel::Tunnel;

const ESTABLISHED: &[u8; 39] = b"HTTP/1.1 200 Connection established\r\n\r\n";

const MALFORMED: Refused = Refused { status: 400, event: 104, reason: "malformed_head" };
const VERSION: Refused = Refused { status: 400, event: 104, reason: "unsupported_version" };
const NOT_CONNECT: Refused = Refused { status: 405, event: 104, reason: "not_connect" };
const TOO_LARGE: Refused = Refused { status: 431, event: 104, reason: "head_too_large" };
const TIMEOUT: Refused = Refused { status: 408, event: 104, reason: "head_timeout" };
const FORBIDDEN: Refused = Refused { status: 403, event: 105, reason: "host_not_allowed" };

/// Heads that real clients send; `@` stands for the target.
const GOOD: &[&str] = &[
    "CONNECT @ HTTP/1.1\r\nHost: @\r\n\r\n",
    "CONNECT @ HTTP/1.1\r\n\r\n",
    "CONNECT @ HTTP/1.0\r\n\r\n",
    "CONNECT @ HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\
     Proxy-Connection: Keep-Alive\r\nPragma: no-cache\r\n\r\n",
    "CONNECT @ HTTP/1.1\r\nHost: other.example:443\r\nUser-Agent: x\r\n\r\n",
    "CONNECT @ HTTP/1.1\r\nHost:\r\nProxy-Authorization: Basic dXNlcjpwYXNz\r\n\r\n",
    "CONNECT @ HTTP/1.1\r\nHost: @\r\nHost: @\r\n\r\n",
    "\r\n\r\nCONNECT @ HTTP/1.1\r\nHost: @\r\n\r\n",
    "CONNECT @ HTTP/1.1\nHost: @\n\n",
    "CONNECT @ HTTP/1.1\r\nX: \u{e4}\r\n\r\n",
];

#[test]
fn real_heads_open_a_tunnel_however_they_are_cut() {
    let hello = tls::hello(None);
    each(KINDS, |kind| {
        let server = Server::start();
        let mut rota = Rota::new(|| Setup::new(kind).reach(&server));
        for head in GOOD {
            let head = head.replace('@', &server.authority());
            for (cut, glued) in CUTS.into_iter().zip([false, true].repeat(3)) {
                let gateway = rota.next();
                let what = format!("{kind}, {cut:?}, {head:?}, glued: {glued}");
                let mut client = gateway.connect();
                let early: &[u8] = if glued { &hello } else { &[] };
                client.send_cut(&[head.as_bytes(), early].concat(), cut);
                let mut server = server.accept();
                client.expect(ESTABLISHED);
                if !glued {
                    client.send_cut(&hello, cut);
                }
                let session = gateway.session_of(&client);
                server.play(&[Step::Expect(&hello), Step::Send(&tls::answer())]);
                client.expect(&tls::answer());
                client.play(&[Step::Send(b"after"), Step::Fin]);
                server.play(&[Step::Expect(b"after"), Step::ExpectEnd, Step::Fin]);
                client.expect_end();
                let verified = gateway.events().of("tls_verified", &session);
                assert_eq!((verified.id(), verified.text("tls_version")), (107, "1.2"), "{what}");
                let ended = gateway.end_of(&session);
                assert_eq!(ended.text("ending"), "tunnel.remote.finished", "{what}");
                let bytes = (ended.number("bytes_up"), ended.number("bytes_down"));
                assert_eq!(bytes, (hello.len() as u64 + 5, tls::answer().len() as u64), "{what}");
            }
        }
        rota.finish();
    });
}

#[test]
fn the_200_is_39_bytes_and_comes_alone() {
    let server = Server::start();
    let gateway = Setup::new(SPLICE).reach(&server).start();
    let mut client = gateway.ask(&server.authority());
    client.expect(ESTABLISHED);
    client.expect_silence(Duration::from_millis(100));
    drop(client);
    gateway.stop();
}

/// Heads that are refused before anything is looked up or dialled; `@` stands for an allowed target.
fn bad() -> Vec<(Vec<u8>, Refused)> {
    let text: &[(&str, Refused)] = &[
        // Bodies that one reader would see and another not.
        ("CONNECT @ HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", MALFORMED),
        ("CONNECT @ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", MALFORMED),
        ("CONNECT @ HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n", MALFORMED),
        ("CONNECT @ HTTP/1.1\r\nTransfer-Encoding: chunked,\r\n\r\n", MALFORMED),
        ("CONNECT @ HTTP/1.1\r\nTransfer-Encoding: chunked\t\r\n\r\n", MALFORMED),
        ("CONNECT @ HTTP/1.1\r\nTransfer-Encoding: x\r\nContent-Length: 0\r\n\r\n", MALFORMED),
        ("CONNECT @ HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 1\r\n\r\n", MALFORMED),
        ("CONNECT @ HTTP/1.1\r\nContent-Length: +0\r\n\r\n", MALFORMED),
        // Two names for one request.
        ("CONNECT @ HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\n\r\n", MALFORMED),
        // Lines that two readers would split differently.
        ("CONNECT @ HTTP/1.1\r\nX: a\rb\r\n\r\n", MALFORMED),
        ("CONNECT @ HTTP/1.1\r\nX: a\r\n folded\r\n\r\n", MALFORMED),
        ("CONNECT @ HTTP/1.1\r\nX : a\r\n\r\n", MALFORMED),
        ("CONNECT @ HTTP/1.1\r\nX: a\0b\r\n\r\n", MALFORMED),
        ("CONNECT @ HTTP/1.1\r\n: a\r\n\r\n", MALFORMED),
        ("CONNECT @ HTTP/1.1\r\nno colon\r\n\r\n", MALFORMED),
        ("CONNECT  @ HTTP/1.1\r\n\r\n", MALFORMED),
        ("CONNECT @ HTTP/1.1 \r\n\r\n", MALFORMED),
        ("CONNECT @ http/1.1\r\n\r\n", MALFORMED),
        (" CONNECT @ HTTP/1.1\r\n\r\n", MALFORMED),
        ("CONNECT\t@\tHTTP/1.1\r\n\r\n", MALFORMED),
        // Other methods.
        ("GET http://169.254.169.254/ HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n", NOT_CONNECT),
        ("POST http://@/ HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", NOT_CONNECT),
        ("GET / HTTP/1.1\r\n\r\n", NOT_CONNECT),
        ("GET /healthz/ HTTP/1.1\r\n\r\n", NOT_CONNECT),
        ("HEAD /healthz HTTP/1.1\r\n\r\n", NOT_CONNECT),
        ("OPTIONS * HTTP/1.1\r\n\r\n", NOT_CONNECT),
        ("connect @ HTTP/1.1\r\n\r\n", NOT_CONNECT),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", NOT_CONNECT),
        // Other versions.
        ("CONNECT @\r\n", VERSION),
        ("GET /\r\n", VERSION),
        ("CONNECT @ HTTP/0.9\r\n\r\n", VERSION),
        ("CONNECT @ HTTP/1.2\r\n\r\n", VERSION),
        ("CONNECT @ HTTP/2.0\r\n\r\n", VERSION),
        ("CONNECT @ HTTP/2\r\n\r\n", VERSION),
        ("CONNECT @ HTTP/11.1\r\n\r\n", VERSION),
        // Other protocols.
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nCONNECT @ HTTP/1.1\r\n\r\n", MALFORMED),
        ("SSH-2.0-OpenSSH_9.6\r\n", MALFORMED),
        ("EHLO there\r\n", VERSION),
    ];
    let bytes: &[(&[u8], Refused)] = &[
        (&[5, 1, 0], MALFORMED),
        (&[4, 1, 1, 187, 127, 0, 0, 1, 0], MALFORMED),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01\0\x01\0\x02", MALFORMED),
        (&[0; 100], MALFORMED),
        (&[0xff; 100], MALFORMED),
        ("\u{e9}".as_bytes(), MALFORMED),
    ];
    let headers = "X: 0123456789\r\n".repeat(10_000);
    let grown = [
        (tls::hello(Some("localhost")), MALFORMED),
        (vec![b'A'; 64 * 1024], TOO_LARGE),
        (b"\r\n".repeat(32 * 1024), TOO_LARGE),
        ([b"CONNECT ", &[b'a'; 64 * 1024][..], b":443 HTTP/1.1\r\n\r\n"].concat(), TOO_LARGE),
        (format!("CONNECT @ HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(64 * 1024)).into(), TOO_LARGE),
        (format!("CONNECT @ HTTP/1.1\r\n{headers}\r\n").into(), TOO_LARGE),
        (format!("CONNECT @ HTTP/1.1\r\n{}\r\n", &headers[..15 * 101]).into(), TOO_LARGE),
    ];
    let text = text.iter().map(|(text, refused)| (text.as_bytes().to_vec(), *refused));
    let bytes = bytes.iter().map(|(bytes, refused)| (bytes.to_vec(), *refused));
    text.chain(bytes).chain(grown).collect()
}

#[test]
fn bad_heads_are_refused_in_words_however_they_are_cut() {
    each(KINDS, |kind| {
        refuse_all(kind);
    });
}

fn refuse_all(kind: Kind) {
    let server = Server::start();
    let authority = server.authority();
    let mut rota = Rota::new(|| Setup::new(kind).reach(&server));
    for (input, refused) in bad() {
        let input = replace_at(&input, &authority);
        for cut in CUTS {
            let gateway = rota.next();
            let shown = input[..input.len().min(100)].escape_ascii();
            let what = format!("{kind}, {cut:?}, {shown}");
            let mut client = gateway.connect();
            client.send_cut(&input, cut);
            Reply::read(&mut client).expect(refused, gateway, &what);
        }
    }
    rota.finish();
    server.expect_nobody("heads that are refused");
}

fn replace_at(input: &[u8], authority: &str) -> Vec<u8> {
    match input.iter().position(|&byte| byte == b'@') {
        Some(at) if !authority.is_empty() => {
            [&input[..at], authority.as_bytes(), &input[at + 1..]].concat()
        }
        _ => input.to_vec(),
    }
}

#[test]
fn bytes_after_a_refused_head_do_not_hide_the_refusal() {
    for kind in KINDS {
        let server = Server::start();
        let gateway = Setup::new(kind).host("allowed.example").start();
        let head = format!("CONNECT {} HTTP/1.1\r\n\r\n", server.authority());
        let after = [tls::hello(None), vec![0x5a; 1000], vec![0x5a; 48 * 1024]];
        for early in after {
            for pause_ms in [0, 50] {
                let mut client = gateway.connect();
                client.send(&[head.as_bytes(), &early].concat());
                client.play(&[Step::Pause(Duration::from_millis(pause_ms))]);
                let reply = Reply::read(&mut client);
                let what = format!("{kind}, {} bytes, {pause_ms} ms", early.len());
                reply.expect(FORBIDDEN, &gateway, &what);
                drop(client);
                let ended = gateway.end_of(reply.session());
                assert_eq!(ended.text("ending"), "await_head.gateway.host_not_allowed");
            }
        }
        gateway.stop();
        server.expect_nobody("its host is not allowed");
    }
}

/// A close with unread bytes would reset the connection, and on some systems throw the refusal away.
#[test]
fn a_refused_client_that_still_sends_is_heard_out() {
    for kind in KINDS {
        let server = Server::start();
        let gateway = Setup::new(kind).host("allowed.example").start();
        let mut client = gateway.ask(&server.authority());
        for _ in 0..20 {
            client.play(&[Step::Send(&[0x5a; 1024]), Step::Pause(Duration::from_millis(5))]);
        }
        Reply::read(&mut client).expect(FORBIDDEN, &gateway, &format!("{kind}"));
        client.send(&[0x5a; 1024]);
        gateway.stop();
    }
}

/// Early data that is there before the 200 is read no further than it can be held, and all of it
/// arrives in its order.
#[test]
fn a_mebibyte_glued_to_the_head_arrives_whole() {
    for kind in CARRIERS {
        let server = Server::start();
        let gateway = Setup::new(kind).reach(&server).start();
        let data: Vec<u8> = (0..1u32 << 18).flat_map(u32::to_be_bytes).collect();
        let early = sample::records(ContentType::ApplicationData, Version::TLS12, &data, 1 << 14);
        let hello = tls::hello(None);
        let head = format!("CONNECT {} HTTP/1.1\r\n\r\n", server.authority());
        let all = [head.as_bytes(), &hello, &early].concat();
        let mut client = gateway.connect();
        let mut sender = crate::support::peer::Peer::new(client.stream.try_clone().unwrap());
        let sending = std::thread::spawn(move || sender.send(&all));
        let mut server = server.accept();
        client.expect(ESTABLISHED);
        server.expect(&hello);
        assert!(server.read_exact(early.len()) == early, "{kind}: other bytes arrive");
        sending.join().unwrap();
        drop((client, server));
        gateway.stop();
    }
}

#[test]
fn a_head_has_one_deadline_from_accept_on() {
    each(KINDS, |kind| {
        let gateway = Setup::new(kind).host("a.example").set("limits.head_ms", 400).start();
        let slow = Duration::from_millis(60);
        let begins: [&[Step<'_>]; 3] =
            [&[], &[Step::Send(b"CONNECT a.ex")], &[Step::Slow(b"CONNECT a", slow)]];
        for begin in begins {
            let mut client = gateway.connect();
            let watch = Stopwatch::start();
            client.play(begin);
            let reply = Reply::read(&mut client);
            let took = watch.elapsed();
            assert!((350..2_000).contains(&took.as_millis()), "{kind}, {begin:?}: {took:?}");
            reply.expect(TIMEOUT, &gateway, &format!("{kind}, {begin:?}"));
        }
        gateway.stop();
    });
}

#[test]
fn a_connection_without_a_byte_is_silent() {
    for kind in KINDS {
        let gateway = Setup::new(kind).start();
        for reset in [false, true] {
            let mut client = gateway.connect();
            if reset {
                client.reset();
            } else {
                client.play(&[Step::Fin, Step::ExpectEnd]);
            }
        }
        let events = gateway.stop();
        let of_sessions = events.iter().filter(|event| event.has("client") || event.has("session"));
        assert_eq!(of_sessions.count(), 0, "{kind}");
    }
}

#[test]
fn a_head_that_ends_early_is_malformed() {
    for kind in KINDS {
        let gateway = Setup::new(kind).start();
        for head in ["C", "CONNECT a.example:443 HTTP/1.1\r\n", "\r\n"] {
            let mut client = gateway.connect();
            client.play(&[Step::Send(head.as_bytes()), Step::Fin]);
            Reply::read(&mut client).expect(MALFORMED, &gateway, head);
        }
        gateway.stop();
    }
}

#[test]
fn a_client_that_half_closes_after_its_head_still_gets_its_200() {
    for kind in KINDS {
        let server = Server::start();
        let gateway = Setup::new(kind).reach(&server).start();
        let mut client = gateway.ask(&server.authority());
        client.fin();
        client.expect(ESTABLISHED);
        client.expect_end();
        let session = gateway.session_of(&client);
        assert_eq!(gateway.end_of(&session).text("ending"), "await_hello.client.closed", "{kind}");
        server.accept().expect_end();
        gateway.stop();
    }
}

#[test]
fn credentials_of_a_client_go_nowhere() {
    let server = Server::start();
    let gateway = Setup::new(SPLICE).reach(&server).start();
    let mut client = gateway.connect();
    let head = "CONNECT @ HTTP/1.1\r\nProxy-Authorization: Basic c2VjcmV0\r\n\r\n";
    client.send(head.replace('@', &server.authority()).as_bytes());
    client.expect(ESTABLISHED);
    Tunnel { client, server: server.accept() }.shake_hands();
    let events = gateway.stop();
    assert!(events.iter().all(|event| !event.0.to_string().contains("c2VjcmV0")));
}
