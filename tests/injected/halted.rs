//! A gateway that is halted for a while, as by a debugger or a machine that sleeps.

use std::time::Duration;

use rustix::process::Signal;

use crate::scene::Scene;
use crate::support::deadline::{PATIENCE, until};
use crate::support::gateway::{Gateway, KINDS, SPLICE, Setup, connect_head, each};
use crate::support::process::raise_own_open_files;
use crate::support::server::Server;
use crate::support::tls;
use crate::support::tunnel::Tunnel;

/// Halts it, does `meanwhile`, and lets it go on.
fn halt(gateway: &Gateway, meanwhile: impl FnOnce()) {
    gateway.signal(Signal::STOP);
    // Threads go on until the signal has reached them.
    until("every thread is halted", PATIENCE, || is_halted(gateway.pid()).then_some(()));
    meanwhile();
    gateway.signal(Signal::CONT);
}

fn is_halted(pid: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs");
    threads.flatten().all(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('T'))
    })
}

/// It goes on where it was: nobody is late who is not, and who came meanwhile is served.
#[test]
fn a_halt_of_seconds_costs_no_tunnel_and_no_newcomer() {
    each(KINDS, |kind| {
        let busy = Scene::of(kind).begin();
        std::thread::sleep(Duration::from_millis(300));
        halt(&busy.scene.gateway, || std::thread::sleep(Duration::from_millis(2_500)));
        let after = busy.recover(&[], &format!("{kind}"));
        assert!(after.lost().is_empty(), "{kind}: {:?}", after.lost());
        assert!(after.unserved().is_empty(), "{kind}: {:?}", after.unserved());
        assert!(after.loud().is_empty(), "{kind}: {:?}", after.loud());
    });
}

/// A minute, which is longer than anybody who comes waits; the tunnels wait.
#[test]
#[ignore = "takes a minute; .ci/long runs it"]
fn long_a_halt_of_a_minute_costs_no_tunnel() {
    let busy = Scene::patient(SPLICE, 120_000).begin();
    std::thread::sleep(Duration::from_millis(300));
    halt(&busy.scene.gateway, || std::thread::sleep(Duration::from_secs(60)));
    let after = busy.recover(&[], "a minute");
    println!("{:?}, {:?}", after.unserved(), after.loud());
    assert!(after.lost().is_empty(), "{:?}", after.lost());
    assert!(after.unserved().keys().all(|met| met.starts_with("Broken")), "{:?}", after.unserved());
    assert!(after.loud().is_empty(), "{:?}", after.loud());
}

/// Deadlines pass while the gateway is halted. Whoever sent in time what they are for is not late: the
/// gateway looks at what has come before it looks at the time.
#[test]
fn who_was_in_time_while_the_gateway_was_halted_is_not_late() {
    each(KINDS, |kind| {
        let server = Server::start();
        let gateway = Setup::new(kind)
            .reach(&server)
            .set("limits.head_ms", 5_000)
            .set("limits.hello_ms", 5_000)
            .set("limits.idle_ms", 5_000)
            .start();
        let mut asking = gateway.connect();
        let mut greeting = Tunnel::open(&gateway, &server);
        let mut open = Tunnel::verified(&gateway, &server);
        let hello = tls::hello(None);
        halt(&gateway, || {
            asking.send(&connect_head(&server.authority()));
            greeting.client.send(&hello);
            open.client.send(b"in time");
            std::thread::sleep(Duration::from_millis(6_500));
        });
        asking.expect(sluice::proto::reply::ESTABLISHED);
        greeting.server.expect(&hello);
        open.server.expect(b"in time");
        gateway.stop();
    });
}

/// The same for more of them than one poll tells of.
#[test]
fn none_of_a_thousand_is_late_that_was_in_time() {
    const TUNNELS: usize = 1_200;
    /// So many of them are opened while those before them wait.
    const BATCH: usize = 200;
    const IDLE_MS: u64 = 15_000;
    const HALT: Duration = Duration::from_secs(16);
    assert!(PATIENCE > HALT, "or else the reads would give up");
    raise_own_open_files();
    let server = Server::start();
    let gateway =
        Setup::new(SPLICE).reach(&server).workers(1).set("limits.idle_ms", IDLE_MS).start();
    let mut tunnels: Vec<Tunnel> = Vec::new();
    while tunnels.len() < TUNNELS {
        tunnels.extend((0..BATCH).map(|_| Tunnel::verified(&gateway, &server)));
        for tunnel in &mut tunnels {
            tunnel.client.send(b"awake?");
            tunnel.server.expect(b"awake?");
        }
    }
    halt(&gateway, || {
        tunnels.iter_mut().for_each(|tunnel| tunnel.client.send(b"in time"));
        std::thread::sleep(HALT);
    });
    for tunnel in &mut tunnels {
        tunnel.server.expect(b"in time");
    }
    assert_eq!(gateway.events().count(|event| event.reason() == "session_ended"), 0);
    drop(tunnels);
    let events = gateway.stop();
    assert!(events.iter().all(|event| event.text("ending") != "tunnel.gateway.idle"));
}
