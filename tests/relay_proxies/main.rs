//! Through the relay proxies of the field: squid, tinyproxy, Apache and a second gateway, with right
//! and wrong credentials, refusals, slow answers, and restarts under load.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../support/mod.rs"]
mod support;

mod load;
mod programs;

use programs::{PASSWORD, PROGRAMS, Program, RelayProxy, USER};
use support::folder::Folder;
use support::gateway::{CARRIERS, Gateway, Kind, SPLICE, Setup};
use support::pattern::Pattern;
use support::port::reserved;
use support::reply::{Refused, Reply};
use support::server::Server;
use support::tunnel::Tunnel;

const REFUSED: Refused = refused(502, "relay_proxy_refused");
const CREDENTIALS: Refused = refused(502, "relay_proxy_refused_credentials");

const fn refused(status: u16, reason: &'static str) -> Refused {
    Refused { status, event: 403, reason }
}

/// A gateway that goes through these, in this order.
fn through(kind: Kind, relay_proxies: &[&RelayProxy], folder: &Folder, password: &str) -> Setup {
    let file = folder.write("relay-password", password);
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let urls: Vec<String> =
        relay_proxies.iter().map(|proxy| format!("http://{}", proxy.address())).collect();
    Setup::new(kind)
        .set("relay_proxy.addresses", format!("{urls:?}"))
        .set("relay_proxy.username", format!("{USER:?}"))
        .set("relay_proxy.password_file", format!("{file:?}"))
}

/// A megabyte each way through a tunnel, and both ends of it in their order.
fn exchange(gateway: &Gateway, server: &Server) {
    let mut tunnel = Tunnel::verified(gateway, server);
    let (up, down) = (Pattern::from(7), Pattern::from(11));
    let Tunnel { client, server } = &mut tunnel;
    std::thread::scope(|scope| {
        let mut sender = client.stream.try_clone().unwrap();
        scope.spawn(move || {
            up.write(&mut sender, 0, 1 << 20, 50_000).unwrap();
        });
        read_all(up, &mut server.stream);
        let mut sender = server.stream.try_clone().unwrap();
        scope.spawn(move || {
            down.write(&mut sender, 0, 1 << 20, 50_000).unwrap();
        });
        read_all(down, &mut client.stream);
    });
}

fn read_all(pattern: Pattern, stream: &mut std::net::TcpStream) {
    let mut buffer = vec![0; 64 * 1024];
    let mut at = 0;
    while at < 1 << 20 {
        let read = pattern.read(stream, at, &mut buffer).unwrap();
        assert!(read > 0, "the end after {at} bytes");
        at += read as u64;
    }
}

fn each_program(test: impl Fn(Program) + Sync) {
    std::thread::scope(|scope| {
        let test = &test;
        for thread in PROGRAMS.map(|program| scope.spawn(move || test(program))) {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
}

#[test]
fn tunnels_go_through_with_the_right_credentials_and_not_with_others() {
    each_program(|program| {
        let (server, folder) = (Server::start(), Folder::new());
        let relay_proxy = program.start(server.port());
        for kind in CARRIERS {
            let setup = through(kind, &[&relay_proxy], &folder, PASSWORD);
            let gateway = setup.reach(&server).start();
            exchange(&gateway, &server);
            exchange(&gateway, &server);
            let mut named = Tunnel::open_to(&gateway, &server, &server.named());
            named.server.fin();
            named.client.expect_end();
            drop(named);
            gateway.stop();
        }
        if !program.asks() {
            return;
        }
        let setup = through(SPLICE, &[&relay_proxy], &folder, "wrong");
        let gateway = setup.reach(&server).start();
        for _ in 0..2 {
            let what = format!("{program:?}");
            let reply = Reply::read(&mut gateway.ask(&server.authority()));
            let event = reply.expect(CREDENTIALS, &gateway, &what);
            assert!(event.text("message").contains("it answered 40"), "{what}: {event:?}");
            assert!(!event.text("message").contains("wrong"), "{what}: {event:?}");
        }
        gateway.stop();
        let urls = format!("[\"http://{}\"]", relay_proxy.address());
        let setup = Setup::new(SPLICE).reach(&server).set("relay_proxy.addresses", urls);
        let gateway = setup.start();
        let reply = Reply::read(&mut gateway.ask(&server.authority()));
        reply.expect(CREDENTIALS, &gateway, &format!("{program:?} without credentials"));
        server.expect_nobody("without the right credentials");
        gateway.stop();
    });
}

#[test]
fn refusals_of_relay_proxies_are_told() {
    each_program(|program| {
        let (other, folder) = (Server::start(), Folder::new());
        // Nobody listens there.
        let gone = reserved("127.0.0.1");
        let port = gone.port();
        let relay_proxy = program.start(port);
        let gone = gone.to_string();
        let setup = through(SPLICE, &[&relay_proxy], &folder, PASSWORD);
        let gateway = setup.host(&gone).reach(&other).start();
        let what = format!("{program:?}, port {port}");
        let reply = Reply::read(&mut gateway.ask(&other.authority()));
        let event = reply.expect(REFUSED, &gateway, &what);
        assert!(event.text("message").contains("it answered 403"), "{what}: {event:?}");
        let event = Reply::read(&mut gateway.ask(&gone)).expect(REFUSED, &gateway, &what);
        assert!(event.text("message").contains("it answered 50"), "{what}: {event:?}");
        other.expect_nobody("a refused target");
        gateway.stop();
    });
}

/// Servers whose queue is full leave a SYN unanswered, as a black hole does. Only Linux drops it so.
#[cfg(target_os = "linux")]
#[test]
fn a_slow_relay_proxy_is_not_waited_for_longer_than_the_limit() {
    use support::deadline::Stopwatch;

    const TIMEOUT: Refused = refused(504, "relay_proxy_timeout");
    each_program(|program| {
        let hole = support::black_hole::BlackHole::at("127.0.0.1:0");
        let folder = Folder::new();
        let relay_proxy = program.start(hole.address().port());
        let setup = through(SPLICE, &[&relay_proxy], &folder, PASSWORD);
        let target = hole.address().to_string();
        let gateway = setup.host(&target).set("limits.relay_proxy_ms", 700).start();
        let watch = Stopwatch::start();
        let reply = Reply::read(&mut gateway.ask(&target));
        let waited = watch.elapsed();
        reply.expect(TIMEOUT, &gateway, &format!("{program:?}"));
        // Without the limit it would be ten seconds.
        assert!((600..9_000).contains(&waited.as_millis()), "{waited:?}");
        gateway.stop();
    });
}
