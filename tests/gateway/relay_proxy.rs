//! Through a relay proxy: what it is asked, what its answers come to, who is tried when, and that
//! nothing of the credentials goes anywhere else.

use std::time::Duration;

use crate::support::deadline::Stopwatch;
use crate::support::events::Event;
use crate::support::gateway::{CARRIERS, KINDS, Kind, SPLICE, Setup, connect_head};
use crate::support::peer::{CUTS, Peer};
use crate::support::port::reserved;
use crate::support::reply::{Refused, Reply};
use crate::support::rota::Rota;
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

/// FAULTS D2, D4, D6, D7: what a relay proxy may say, and what comes of it.
#[test]
fn answers_of_relay_proxies_come_to_what_they_should() {
    let large = [b"HTTP/1.1 200 OK\r\nA: ".to_vec(), vec![b'x'; 1 << 16]].concat();
    let many = [OK[..17].to_vec(), b"A: b\r\n".repeat(65), b"\r\n".to_vec()].concat();
    let short = b"HTTP/1.1 407 Who\r\nContent-Length: 3\r\n\r\nwho".to_vec();
    let chunked = b"HTTP/1.1 407 Who\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nwho\r\n0\r\n\r\n";
    let body =
        [b"HTTP/1.1 407 Who\r\nContent-Length: 1048576\r\n\r\n".to_vec(), vec![b'.'; 1 << 20]];
    let rows: Vec<(Vec<u8>, Refused, &str)> = vec![
        (b"HTTP/1.1 2000 OK\r\n\r\n".to_vec(), BAD, "status"),
        (b"ICY 200 OK\r\n\r\n".to_vec(), BAD, "not HTTP/1"),
        (b"<html>hello</html>".to_vec(), BAD, "not HTTP/1"),
        (b"HTTP/1.1 200 OK\r\nA: b".to_vec(), BAD, "ends within"),
        (b"HTTP".to_vec(), BAD, "ends within"),
        (Vec::new(), BAD, "without an answer"),
        (b"HTTP/1.1 200 OK\r\nA: \0\r\n\r\n".to_vec(), BAD, "headers"),
        (large, BAD, "larger than 16384"),
        (many, BAD, "more than 64 headers"),
        (b"HTTP/1.1 101 Switch\r\n\r\n".to_vec(), BAD, "interim"),
        (b"HTTP/1.1 301 Moved\r\nLocation: http://x/\r\n\r\n".to_vec(), REFUSED, "301 Moved"),
        (b"HTTP/1.1 403 Not \x1b[31mhere\r\n\r\n".to_vec(), REFUSED, "403 Not \\x1b[31mhere"),
        (b"HTTP/1.1  407  Who\0?\r\n\r\n".to_vec(), CREDENTIALS, "407 Who\\x00?"),
        (b"HTTP/1.1 403 Not here\r\n\r\n<b>no</b>".to_vec(), REFUSED, "403 Not here"),
        (b"HTTP/1.1 401 Who\r\n\r\n".to_vec(), CREDENTIALS, "401 Who"),
        (b"HTTP/1.1 500 Ouch\r\n\r\n".to_vec(), REFUSED, "500 Ouch"),
        (b"HTTP/1.0 503 Busy\r\n\r\n".to_vec(), REFUSED, "503 Busy"),
        (b"HTTP/1.1 100 Go on\r\n\r\nHTTP/1.1 404 No\r\n\r\n".to_vec(), REFUSED, "404 No"),
        (short, CREDENTIALS, "407 Who"),
        (chunked.to_vec(), CREDENTIALS, "407 Who"),
        (body.concat(), CREDENTIALS, "407 Who"),
    ];
    for kind in CARRIERS {
        let relay_proxy = Server::start();
        let mut gateways = Rota::new(|| through(kind, &[&relay_proxy]));
        for (answer, refused, words) in &rows {
            for cut in CUTS {
                let gateway = gateways.next();
                let what =
                    format!("{kind}, {cut:?}: {}", answer[..answer.len().min(50)].escape_ascii());
                let mut client = gateway.connect();
                client.send(&[connect_head(TARGET), tls::hello(None)].concat());
                let mut remote = asked(&relay_proxy);
                remote.send_cut(answer, cut);
                if words.contains("ends within") || answer.is_empty() {
                    remote.fin();
                }
                let reply = Reply::read(&mut client);
                let event = reply.expect(*refused, gateway, &what);
                assert!(event.text("message").contains(words), "{what}: {event:?}");
                assert_eq!(event.text("address"), relay_proxy.authority(), "{what}");
                let ending = format!("await_relay_proxy.gateway.{}", refused.reason);
                drop(client);
                assert_eq!(gateway.end_of(reply.session()).text("ending"), ending, "{what}");
            }
        }
        gateways.finish();
    }
}

/// FAULTS D4: nothing but the status of a 2xx matters.
#[test]
fn every_2xx_opens_the_tunnel_whatever_it_says_of_a_body() {
    let rows: [&[u8]; 5] = [
        b"HTTP/1.0 200 Connection established\r\n\r\n",
        b"HTTP/1.1 200\r\nContent-Length: 123\r\n\r\n",
        b"HTTP/1.1 204 x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 299 x\nX : y\n z\n\n",
        b"HTTP/1.1 100 Go on\r\n\r\nHTTP/1.1 102 x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    ];
    for kind in CARRIERS {
        let relay_proxy = Server::start();
        let gateway = through(kind, &[&relay_proxy]).start();
        for answer in rows {
            for cut in CUTS {
                let (hello, server_hello) = (tls::hello(Some("far.test")), tls::answer());
                let mut client = gateway.connect();
                // A hello that is there already is the first thing the target hears.
                client.send(&[connect_head(TARGET), hello.clone()].concat());
                let mut remote = asked(&relay_proxy);
                remote.send_cut(answer, cut);
                client.expect(ESTABLISHED);
                remote.expect(&hello);
                remote.send(&server_hello);
                client.expect(&server_hello);
            }
        }
        gateway.stop();
    }
}

/// FAULTS D1: what follows the answer is of the target. It has not heard the client's hello by then,
/// so it cannot be a TLS server; but not one byte of it may be lost before it is judged.
#[test]
fn bytes_glued_to_the_answer_are_judged_wherever_they_are_cut() {
    const ENDINGS: [&str; 3] = [
        "await_hello.gateway.server_spoke_first",
        "await_server_hello.gateway.not_tls",
        "await_hello.client.closed",
    ];
    let glued = [OK, b"220 hello"].concat();
    for kind in CARRIERS {
        let relay_proxy = Server::start();
        let gateway = through(kind, &[&relay_proxy]).start();
        for cut in 0..=glued.len() {
            for early in [Vec::new(), tls::hello(Some("far.test"))] {
                let mut client = gateway.connect();
                client.send(&[connect_head(TARGET), early].concat());
                let mut remote = asked(&relay_proxy);
                let session = gateway.session_of(&client);
                let (first, second) = glued.split_at(cut);
                remote.send(first);
                remote.send(second);
                client.expect(ESTABLISHED);
                client.fin();
                let (rest, _) = client.read_to_any_end();
                assert!(!rest.windows(3).any(|bytes| bytes == b"220"), "{kind}, {cut}");
                let ended = gateway.end_of(&session);
                // Between the two, the hello may have gone out before the rest came in, or the
                // client's end have come before it.
                let endings = if cut == OK.len() { &ENDINGS[..] } else { &ENDINGS[..1] };
                assert!(endings.contains(&ended.text("ending")), "{kind}, {cut}: {ended:?}");
            }
        }
        gateway.stop();
    }
}

/// FAULTS D6: a body without an end is not read to it.
#[test]
fn an_endless_body_is_left() {
    let relay_proxy = Server::start();
    let gateway = through(SPLICE, &[&relay_proxy]).start();
    let mut client = gateway.ask(TARGET);
    let mut remote = asked(&relay_proxy);
    remote.send(b"HTTP/1.1 407 Who\r\n\r\n");
    let sender = std::thread::spawn(move || {
        let piece = [b'.'; 1 << 16];
        let watch = Stopwatch::start();
        while std::io::Write::write_all(&mut remote.stream, &piece).is_ok() {
            assert!(watch.elapsed() < Duration::from_secs(10), "it is still read");
        }
    });
    Reply::read(&mut client).expect(CREDENTIALS, &gateway, "endless");
    sender.join().unwrap();
    gateway.stop();
}

/// FAULTS D8.
#[test]
fn a_relay_proxy_that_does_not_answer_in_time_is_told() {
    for kind in CARRIERS {
        let relay_proxy = Server::start();
        let gateway =
            through(kind, &[&relay_proxy]).set("limits.relay_proxy_ms", 500).admin().start();
        for answer in [&b""[..], b"HTTP/1.1 200 OK\r\nA: bbbbbbbbbbbb"] {
            let watch = Stopwatch::start();
            let mut client = gateway.ask(TARGET);
            let mut remote = asked(&relay_proxy);
            for byte in answer.chunks(1) {
                // On a loaded machine the time may be over before the last of them.
                let _ = std::io::Write::write_all(&mut remote.stream, byte);
                std::thread::sleep(Duration::from_millis(10));
            }
            let reply = Reply::read(&mut client);
            assert!((400..9_000).contains(&watch.elapsed().as_millis()), "{:?}", watch.elapsed());
            let event = reply.expect(TIMEOUT, &gateway, &format!("{kind}"));
            assert!(event.text("message").contains("limits.relay_proxy_ms"), "{event:?}");
            drop(client);
            let ended = gateway.end_of(reply.session());
            assert_eq!(ended.text("ending"), "await_relay_proxy.gateway.relay_proxy_timeout");
            // An end, or a reset where bytes were left unread.
            let (rest, _) = remote.read_to_any_end();
            assert!(rest.is_empty(), "{kind}");
        }
        gateway.stop();
    }
}

#[test]
fn a_client_that_goes_takes_its_question_with_it() {
    for kind in KINDS {
        let relay_proxy = Server::start();
        let gateway = through(kind, &[&relay_proxy]).start();
        let client = gateway.ask(TARGET);
        let mut remote = asked(&relay_proxy);
        let session = gateway.session_of(&client);
        client.reset();
        let ended = gateway.end_of(&session);
        assert_eq!(ended.text("ending"), "await_relay_proxy.client.reset", "{kind}");
        let _ = remote.read_to_any_end();
        // Who only sends no more may still read.
        let mut client = gateway.ask(TARGET);
        client.fin();
        let mut remote = asked(&relay_proxy);
        remote.send(b"HTTP/1.1 403 No\r\n\r\n");
        Reply::read(&mut client).expect(REFUSED, &gateway, "half-closed");
        gateway.stop();
    }
}

#[test]
fn the_name_of_a_relay_proxy_is_resolved_and_that_of_a_target_is_not() {
    let relay_proxy = Server::start();
    let url = format!("[\"http://localhost:{}\"]", relay_proxy.port());
    let setup = Setup::new(SPLICE).host("far.invalid").host("10.1.2.3").addresses(&[]);
    let gateway = setup.set("relay_proxy.addresses", url).start();
    for _ in 0..2 {
        let mut client = gateway.ask("far.invalid:443");
        let mut remote = asked(&relay_proxy);
        remote.send(OK);
        client.expect(ESTABLISHED);
    }
    // An address is judged here: the relay proxy may be allowed more than the gateway is.
    let forbidden = Refused { status: 403, event: 105, reason: "address_not_allowed" };
    Reply::read(&mut gateway.ask("10.1.2.3:443")).expect(forbidden, &gateway, "private");
    let host = Refused { status: 403, event: 105, reason: "host_not_allowed" };
    Reply::read(&mut gateway.ask("other.invalid:443")).expect(host, &gateway, "another");
    relay_proxy.expect_nobody("a refused target");
    gateway.stop();
}

#[test]
fn the_name_of_a_relay_proxy_that_does_not_exist_is_told() {
    let setup = Setup::new(SPLICE).host("far.test").set("limits.dial_ms", 50_000);
    let setup = setup.set("relay_proxy.addresses", "[\"http://nx.invalid:8080\"]");
    let gateway = setup.set("limits.resolve_ms", 50_000).start();
    let event = Reply::read(&mut gateway.ask(TARGET)).expect(UNREACHABLE, &gateway, "nx.invalid");
    assert!(event.text("message").contains("nx.invalid:8080: "), "{event:?}");
    assert_eq!(event.text("target"), TARGET);
    gateway.stop();
}

/// FAULTS D11.
#[test]
fn a_relay_proxy_that_is_down_is_told_at_once_and_its_return_is_noticed_at_once() {
    let address = reserved("127.0.0.79").to_string();
    let setup = Setup::new(SPLICE).host("far.test").addresses(&[]).admin();
    let setup = setup.set("relay_proxy.addresses", format!("[\"http://{address}\"]"));
    let gateway = setup.start();
    let admin = crate::support::admin::Admin::of(&gateway);
    let up = format!("sluice_relay_proxy_up{{address=\"{address}\"}}");
    assert!((admin.metrics()[&up] - 1.0).abs() < 0.1, "not needed yet");
    let watch = Stopwatch::start();
    for _ in 0..30 {
        let reply = Reply::read(&mut gateway.ask(TARGET));
        assert_eq!((reply.status, reply.header("Sluice-Reason")), (502, UNREACHABLE.reason));
    }
    assert!(watch.elapsed() < Duration::from_secs(5), "{:?}", watch.elapsed());
    assert!(admin.metrics()[&up] < 0.1);
    let status = admin.status();
    let shown = &status["relay_proxies"][0];
    assert_eq!((&shown["address"], &shown["up"]), (&address.as_str().into(), &false.into()));
    assert_eq!(shown["lost"], "it cannot be reached");
    assert_eq!(shown["failures"], 30);
    let relay_proxy = Server::start_at(&address);
    let mut client = gateway.ask(TARGET);
    asked(&relay_proxy).send(OK);
    client.expect(ESTABLISHED);
    assert!((admin.metrics()[&up] - 1.0).abs() < 0.1, "it is back");
    let events = gateway.stop();
    let told = |reason: &str| events.iter().filter(|event| event.reason() == reason).count();
    assert_eq!((told("relay_proxy_lost"), told("relay_proxy_reached")), (1, 1));
    let lost = events.iter().find(|event| event.reason() == "relay_proxy_lost").unwrap();
    assert_eq!((lost.id(), lost.text("level")), (100, "warning"));
    assert!(lost.text("message").contains(&address), "{lost:?}");
}

#[test]
fn who_cannot_be_reached_is_passed_over_for_a_while() {
    for kind in CARRIERS {
        let (first, second) = (Server::start(), Server::start());
        let gateway = through(kind, &[&first, &second]).start();
        // It takes the connection and closes it, as one does that is just starting or stopping.
        let mut client = gateway.ask(TARGET);
        drop(asked(&first));
        asked(&second).send(OK);
        client.expect(ESTABLISHED);
        // Now the second comes first, and the first is asked only where the second fails, too.
        let mut client = gateway.ask(TARGET);
        let remote = asked(&second);
        first.expect_nobody("passed over");
        drop(remote);
        asked(&first).send(OK);
        client.expect(ESTABLISHED);
        let lost = gateway.events().first("relay_proxy_lost");
        let words = format!("{}: it closes connections without an answer", first.authority());
        assert!(lost.text("message").ends_with(&words), "{lost:?}");
        gateway.stop();
    }
}

#[test]
fn a_503_goes_on_to_the_next_and_counts_where_that_one_opens() {
    const BUSY: &[u8] = b"HTTP/1.1 503 Busy\r\n\r\n";
    for kind in CARRIERS {
        let (first, second) = (Server::start(), Server::start());
        let gateway = through(kind, &[&first, &second]).start();
        // All say so: it is the target that they cannot reach, and nobody is passed over for it.
        for _ in 0..2 {
            let mut client = gateway.ask(TARGET);
            asked(&first).send(BUSY);
            asked(&second).send(BUSY);
            let event = Reply::read(&mut client).expect(REFUSED, &gateway, "all are busy");
            let message = event.text("message");
            let both = [&first, &second].map(|server| format!("{}: it", server.authority()));
            assert!(both.iter().all(|words| message.contains(words)), "{message}");
        }
        for _ in 0..2 {
            let mut client = gateway.ask(TARGET);
            if gateway.events().count(|event| event.reason() == "relay_proxy_lost") == 0 {
                asked(&first).send(BUSY);
            }
            let mut remote = asked(&second);
            remote.send(OK);
            client.expect(ESTABLISHED);
            shake_hands(&mut client, &mut remote, "far.test");
            let lost = gateway.events().first("relay_proxy_lost");
            assert!(lost.text("message").contains(&first.authority()), "{lost:?}");
        }
        first.expect_nobody("passed over");
        gateway.stop();
    }
}

/// FAULTS D6, D7: these are answers. Another relay proxy is not asked, nor the same one again.
#[test]
fn a_refusal_is_not_tried_again() {
    let (first, second) = (Server::start(), Server::start());
    let gateway = through(SPLICE, &[&first, &second]).start();
    for (status, refused) in [(403, REFUSED), (407, CREDENTIALS), (302, REFUSED), (500, REFUSED)] {
        for _ in 0..2 {
            let mut client = gateway.ask(TARGET);
            asked(&first).send(format!("HTTP/1.1 {status} No\r\n\r\n").as_bytes());
            Reply::read(&mut client).expect(refused, &gateway, &status.to_string());
            first.expect_nobody("once is enough");
        }
    }
    second.expect_nobody("an answer is an answer");
    gateway.stop();
}

/// Servers whose queue is full leave a SYN unanswered, as a black hole does. Only Linux drops it so.
#[cfg(target_os = "linux")]
#[test]
fn a_relay_proxy_that_swallows_packets_leaves_time_for_the_next() {
    let hole = crate::support::black_hole::BlackHole::at("127.0.0.1:0");
    let relay_proxy = Server::start();
    let urls = format!("[\"http://{}\", \"http://{}\"]", hole.address(), relay_proxy.authority());
    let setup = Setup::new(SPLICE).host("far.test").set("relay_proxy.addresses", urls);
    let gateway = setup.set("limits.dial_ms", 10_000).start();
    // The first has half of the time, and once it is known to be silent, none.
    for waits_ms in [4_900..18_000, 0..4_900] {
        let watch = Stopwatch::start();
        let mut client = gateway.ask(TARGET);
        asked(&relay_proxy).send(OK);
        client.expect(ESTABLISHED);
        assert!(waits_ms.contains(&watch.elapsed().as_millis()), "{:?}", watch.elapsed());
    }
    gateway.stop();
    let urls = format!("[\"http://{}\"]", hole.address());
    let setup = Setup::new(SPLICE).host("far.test").set("relay_proxy.addresses", urls);
    let gateway = setup.set("limits.dial_ms", 500).start();
    let event = Reply::read(&mut gateway.ask(TARGET)).expect(UNREACHABLE, &gateway, "black hole");
    assert!(event.text("message").contains("not connected in time"), "{event:?}");
    gateway.stop();
}

/// FAULTS B17.
#[test]
fn requests_that_come_back_are_refused() {
    let loops = Refused { status: 403, event: 105, reason: "loop" };
    // By its name, which is not looked into before it is dialled.
    let own = reserved("127.0.0.1");
    let setup = Setup::new(SPLICE).host("far.test").listen(&own.to_string());
    let url = format!("[\"http://localhost:{}\"]", own.port());
    let gateway = setup.set("relay_proxy.addresses", url).start();
    let event = Reply::read(&mut gateway.ask(TARGET)).expect(loops, &gateway, "itself");
    assert!(event.text("message").starts_with("Target host (far.test) is forbidden"), "{event:?}");
    gateway.stop();
    // Two at each other: what the first has sent comes back to it and is known.
    let setup = |own: &str, other: &str| {
        let setup = Setup::new(SPLICE).host("far.test").listen(own);
        setup.set("relay_proxy.addresses", format!("[\"http://{other}\"]")).start()
    };
    let [here, there] = [(); 2].map(|()| reserved("127.0.0.79").to_string());
    let (first, second) = (setup(&here, &there), setup(&there, &here));
    for _ in 0..5 {
        let reply = Reply::read(&mut first.ask(TARGET));
        let event = reply.expect(REFUSED, &first, "two at each other");
        assert!(event.text("message").contains("it answered 502"), "{event:?}");
    }
    let of_loop = first.events().first("loop");
    assert!(of_loop.text("message").contains("passed this gateway before"), "{of_loop:?}");
    let received = |events: &[Event]| {
        events.iter().filter(|event| event.reason() == "connect_received").count()
    };
    assert_eq!((received(&first.stop()), received(&second.stop())), (10, 5));
    // What others have sent round too often is refused as well, and a short way is carried on.
    let relay_proxy = Server::start();
    let gateway = through(SPLICE, &[&relay_proxy]).start();
    let head = |via: &str| format!("CONNECT {TARGET} HTTP/1.1\r\n{via}\r\n").into_bytes();
    let mut client = gateway.connect();
    client.send(&head("Via: 1.1 a\r\nvia: 1.0 b (c)\r\n"));
    let (_, via) = read_request(&mut relay_proxy.accept());
    assert!(via.starts_with("1.1 a, 1.0 b (c), 1.1 sluice-"), "{via}");
    for via in ["Via: x\r\n".repeat(17), format!("Via: {}\r\n", "x".repeat(1_025))] {
        let mut client = gateway.connect();
        client.send(&head(&via));
        Reply::read(&mut client).expect(loops, &gateway, "too long a way");
    }
    relay_proxy.expect_nobody("a loop");
    gateway.stop();
}

#[test]
fn a_relay_proxy_that_is_the_gateway_itself_is_no_configuration() {
    let folder = crate::support::folder::Folder::new();
    for (listen, url) in [
        ("127.0.0.77:4711", "http://127.0.0.77:4711"),
        ("0.0.0.0:4711", "http://127.0.0.1:4711"),
        ("[::]:4711", "http://[::1]:4711/"),
    ] {
        let text = format!(
            "listen = [\"{listen}\"]\nrelay_proxy.addresses = [\"{url}\"]\nevents.format = \"json\"\n"
        );
        let file = folder.write("loop.toml", &text);
        let (code, _, events) = crate::support::gateway::run(&[
            "run",
            "--log-format",
            "json",
            "--config",
            file.to_str().unwrap(),
        ]);
        let event = events.first("configuration_invalid");
        assert_eq!((code, event.id()), (Some(2), 401), "{listen}");
        assert!(event.text("message").contains("is this gateway itself"), "{event:?}");
    }
}

#[test]
fn a_reload_sends_new_sessions_another_way_and_leaves_the_old() {
    let (first, second) = (Server::start(), Server::start());
    let setup = |server: &Server| through(SPLICE, &[server]).listen("127.0.0.1:0");
    let gateway = setup(&first).start();
    let mut client = gateway.ask(TARGET);
    let mut remote = asked(&first);
    remote.send(OK);
    client.expect(ESTABLISHED);
    shake_hands(&mut client, &mut remote, "far.test");
    let mut waiting = gateway.ask(TARGET);
    let mut answering = asked(&first);
    gateway.rewrite(&setup(&second).text());
    let reloaded = gateway.events().first("reloaded");
    assert!(reloaded.text("message").contains("relay_proxy.addresses"), "{reloaded:?}");
    let mut newer = gateway.ask(TARGET);
    asked(&second).send(OK);
    newer.expect(ESTABLISHED);
    answering.send(OK);
    waiting.expect(ESTABLISHED);
    remote.send(b"still");
    client.expect(b"still");
    first.expect_nobody("the new way");
    gateway.stop();
}
