//! Section C: name servers, addresses and ports that fail while others need them. In a network of its
//! own, where every address is this machine.

use std::net::SocketAddr;
use std::time::Duration;

use crate::bench::{Account, Played};
use crate::support::black_hole::BlackHole;
use crate::support::deadline::{PATIENCE, Stopwatch, until};
use crate::support::gateway::{CARRIERS, Gateway, Kind, SPLICE, Setup, connect_head};
use crate::support::name_server::{Answer, NameServer};
use crate::support::namespace::within;
use crate::support::peer::Peer;
use crate::support::process::count_descriptors;
use crate::support::reply::{Refused, Reply};
use crate::support::server::Server;
use crate::support::tunnel::Tunnel;

const RESOLVE_TIMEOUT: Refused = Refused { status: 504, event: 403, reason: "resolve_timeout" };
const DIAL_TIMEOUT: Refused = Refused { status: 504, event: 403, reason: "dial_timeout" };
const DIAL_FAILED: Refused = Refused { status: 502, event: 403, reason: "dial_failed" };
const BUSY: Refused = Refused { status: 503, event: 400, reason: "resolver_busy" };
const NO_PORT: Refused = Refused { status: 503, event: 403, reason: "no_source_port" };

const PUBLIC: &str = "93.184.216.34";
/// Names that wait for one of the resolver's threads, and names that those threads ask for.
const QUEUED: usize = 1024;
const ASKED: usize = 8;

fn setup(kind: Kind) -> Setup {
    Setup::new(kind).addresses(&[]).host("*.fault.example")
}

/// Reads a refusal of which there are too many for each to have an event line.
fn read_refusal(client: &mut Peer, admitted: &[Refused]) -> Refused {
    let reply = Reply::read(client);
    let fits = |refused: &&Refused| {
        refused.status == reply.status && refused.reason == reply.header("Sluice-Reason")
    };
    let refused = admitted.iter().find(fits);
    *refused.unwrap_or_else(|| panic!("{reply:?} is none of {admitted:?}"))
}

/// Asks until a tunnel opens, and adds what was refused until then.
fn open_soon(gateway: &Gateway, target: &str, admitted: &[Refused], played: &mut Played) -> Peer {
    until("it is well again", PATIENCE, || {
        let mut client = gateway.ask(target);
        let mut first = [0; 12];
        client.stream.peek(&mut first).ok()?;
        if &first == b"HTTP/1.1 200" {
            client.expect(sluice::proto::reply::ESTABLISHED);
            played.add(None);
            return Some(client);
        }
        let refused = read_refusal(&mut client, admitted);
        played.add(Some((refused.event, refused.reason)));
        None
    })
}

/// C1: names that are known serve on, tunnels do not notice, askers are told at their deadline.
#[test]
fn name_servers_that_fall_silent_stop_only_those_who_need_them() {
    within("c_strain::name_servers_that_fall_silent_stop_only_those_who_need_them", |_| {
        let name_server = NameServer::start(|_, _| Answer::address(PUBLIC));
        let server = Server::start_at("0.0.0.0:443");
        for kind in CARRIERS {
            name_server.change(|_, _| Answer::address(PUBLIC));
            let gateway = setup(kind).set("limits.resolve_ms", 6_000).admin().start();
            let account = Account::open(&gateway);
            let mut played = Played::default();
            let known = "known.fault.example:443";
            let mut tunnels: Vec<_> = (0..50)
                .map(|_| Tunnel { client: gateway.open(known), server: server.accept() })
                .collect();
            for tunnel in &mut tunnels {
                let hello = crate::support::tls::hello(Some("known.fault.example"));
                tunnel.client.send(&hello);
                tunnel.server.expect(&hello);
                tunnel.server.send(&crate::support::tls::answer());
                tunnel.client.expect(&crate::support::tls::answer());
                played.add(None);
            }
            name_server.change(|_, _| Answer::Silence);
            let mut askers: Vec<_> = (0..100)
                .map(|asker| {
                    let asked = Stopwatch::start();
                    (gateway.ask(&format!("n{}.fault.example:443", asker % 20)), asked)
                })
                .collect();
            let watch = Stopwatch::start();
            for tunnel in &mut tunnels {
                tunnel.client.send(b"up");
                tunnel.server.expect(b"up");
                tunnel.server.send(b"down");
                tunnel.client.expect(b"down");
            }
            let new = Tunnel { client: gateway.open(known), server: server.accept() };
            played.add(None);
            // Nobody who needs a new name has been told anything yet.
            assert!(
                watch.elapsed() < Duration::from_millis(5_900),
                "{kind}: {:?}",
                watch.elapsed()
            );
            for (client, asked) in &mut askers {
                let refused = read_refusal(client, &[RESOLVE_TIMEOUT]);
                let took = asked.elapsed().as_millis();
                assert!((5_900..16_000).contains(&took), "{kind}: {took} ms");
                played.add(Some((refused.event, refused.reason)));
            }
            name_server.change(|_, _| Answer::address(PUBLIC));
            let admitted = [RESOLVE_TIMEOUT];
            let last = open_soon(&gateway, "new.fault.example:443", &admitted, &mut played);
            drop((tunnels, new, last, askers));
            drop(server.accept());
            account.settle(gateway, &played);
        }
    });
}

/// C2: the queue is bounded, what does not fit is told to come again, and what is known is served.
#[test]
fn more_slow_names_than_fit_are_told_to_come_again() {
    within("c_strain::more_slow_names_than_fit_are_told_to_come_again", |_| {
        const NAMES: usize = QUEUED + ASKED + 200;
        let silent_but_known = |name: &str, _| match name {
            "known.fault.example" => Answer::address(PUBLIC),
            _ => Answer::Silence,
        };
        let name_server = NameServer::start(silent_but_known);
        let server = Server::start_at("0.0.0.0:443");
        let gateway = setup(SPLICE).set("limits.resolve_ms", 6_000).admin().start();
        let account = Account::open(&gateway);
        let mut played = Played::default();
        let mut tunnels = vec![gateway.open("known.fault.example:443")];
        let queue = || account.admin().metrics()["sluice_resolver_queue"];
        let ask = |name: usize| gateway.ask(&format!("n{name}.fault.example:443"));
        // Each thread has taken its name, and waits for it longer than it takes the others to come.
        let mut askers: Vec<_> = (0..ASKED).map(ask).collect();
        until("every thread waits", PATIENCE, || {
            let asked = |name| name_server.asked(&format!("n{name}.fault.example")) > 0;
            ((0..ASKED).all(asked) && queue() == 0.0).then_some(())
        });
        askers.extend((ASKED..NAMES).map(ask));
        let queued = queue();
        assert!(queued <= QUEUED as f64, "{queued}");
        tunnels.push(gateway.open("known.fault.example:443"));
        let mut busy = 0;
        for client in &mut askers {
            let refused = read_refusal(client, &[RESOLVE_TIMEOUT, BUSY]);
            busy += usize::from(refused.reason == BUSY.reason);
            played.add(Some((refused.event, refused.reason)));
        }
        assert_eq!(busy, NAMES - QUEUED - ASKED, "of {NAMES} so many are turned away");
        name_server.change(|_, _| Answer::address(PUBLIC));
        let admitted = [RESOLVE_TIMEOUT, BUSY];
        tunnels.push(open_soon(&gateway, "new.fault.example:443", &admitted, &mut played));
        for _ in 0..2 {
            played.add(None);
        }
        drop((tunnels, askers));
        (0..3).for_each(|_| drop(server.accept()));
        account.settle(gateway, &played);
    });
}

/// C3: of a thousand addresses, as many are tried as there may be, and all of them at once in time.
#[test]
fn a_thousand_addresses_cost_a_few_dials() {
    within("c_strain::a_thousand_addresses_cost_a_few_dials", |inside| {
        let thousand = || {
            let addresses = (0..1000u16).map(|number| {
                let [high, low] = number.to_be_bytes();
                std::net::IpAddr::from([93, 184, high, low])
            });
            Answer::Addresses(addresses.collect())
        };
        let name_server = NameServer::start(move |_, _| thousand());
        let hole = BlackHole::at("0.0.0.0:8443");
        for kind in CARRIERS {
            let ports = ["*.fault.example:8443", "*.fault.example:9443"];
            let setup = ports.iter().fold(setup(kind), |setup, port| setup.host(port));
            // The dials begin within two seconds, and the limit would be ten if it were not for this one.
            let gateway = setup.set("limits.dial_ms", 6_000).admin().start();
            let account = Account::open(&gateway);
            let mut played = Played::default();
            // Nobody listens at one port, nobody answers at the other.
            for (port, refused) in [(9443, DIAL_FAILED), (hole.address().port(), DIAL_TIMEOUT)] {
                let (witness, streams) = (inside.witness(), name_server.streams());
                let watch = Stopwatch::start();
                let mut client = gateway.ask(&format!("{port}.fault.example:{port}"));
                let event = Reply::read(&mut client).expect(refused, &gateway, "a thousand");
                assert!(event.text("message").len() < 2_000, "{event:?}");
                assert!(
                    watch.elapsed() < Duration::from_millis(9_900),
                    "{kind}: {:?}",
                    watch.elapsed()
                );
                let asked_by_stream = name_server.streams() - streams;
                assert_eq!(witness.dials() - asked_by_stream, 8, "{kind}: {refused:?}");
                played.add(Some((refused.event, refused.reason)));
            }
            account.settle(gateway, &played);
        }
    });
}

/// C4: an address that does not answer holds up a name only shortly, and its attempt is closed.
#[test]
fn the_second_address_is_tried_beside_a_silent_first() {
    within("c_strain::the_second_address_is_tried_beside_a_silent_first", |inside| {
        let _name_server = NameServer::start(|_, _| Answer::addresses(&["93.184.216.99", PUBLIC]));
        let _hole = BlackHole::at("93.184.216.99:443");
        let server = Server::start_at("93.184.216.34:443");
        for kind in CARRIERS {
            let gateway = setup(kind).set("limits.dial_ms", 30_000).admin().start();
            let account = Account::open(&gateway);
            let idle = count_descriptors(gateway.pid(), "socket:");
            let witness = inside.witness();
            let watch = Stopwatch::start();
            let client = gateway.open("a.fault.example:443");
            let took = watch.elapsed().as_millis();
            assert!((240..15_000).contains(&took), "{kind}: {took} ms");
            assert_eq!(witness.dials(), 2, "{kind}");
            assert_eq!(count_descriptors(gateway.pid(), "socket:"), idle + 2, "{kind}: the loser");
            drop((server.accept(), client));
            let mut played = Played::default();
            played.add(None);
            account.settle(gateway, &played);
        }
    });
}

/// C5: without a source port a client is told to come again, and when one is free it is served.
#[test]
fn without_source_ports_clients_are_told_to_come_again() {
    within("c_strain::without_source_ports_clients_are_told_to_come_again", |inside| {
        // An even number: of an odd one, Linux may overlook the last that is free.
        const PORTS: u16 = 100;
        let server = Server::start_at("0.0.0.0:443");
        let target = format!("{PUBLIC}:443");
        for kind in CARRIERS {
            let gateway = setup(kind).listen("0.0.0.0:0").host(PUBLIC).workers(1).admin().start();
            let account = Account::open(&gateway);
            let mut played = Played::default();
            inside.set_ports(PORTS);
            let ask = |number: u16| {
                // Towards another address of the gateway's, clients have all ports again.
                let address = [127, 0, 0, 1 + (number / 90) as u8];
                let mut client =
                    Peer::connect(SocketAddr::from((address, gateway.address().port())));
                client.send(&connect_head(&target));
                client
            };
            let mut tunnels = Vec::new();
            for number in 0..PORTS {
                let mut client = ask(number);
                client.expect(sluice::proto::reply::ESTABLISHED);
                tunnels.push((client, server.accept()));
                played.add(None);
            }
            for number in PORTS..2 * PORTS {
                let reply = Reply::read(&mut ask(number));
                assert_eq!((reply.status, reply.header("Sluice-Reason")), (503, NO_PORT.reason));
                assert!(!reply.header("Retry-After").is_empty(), "{reply:?}");
                played.add(Some((NO_PORT.event, NO_PORT.reason)));
            }
            // A reset leaves no port behind in TIME-WAIT.
            for (_, server) in tunnels.drain(..20) {
                server.reset();
            }
            let mut more = Vec::new();
            until("ports are free again", PATIENCE, || {
                let client = ask(250);
                let mut first = [0; 12];
                client.stream.peek(&mut first).ok()?;
                let opened = &first == b"HTTP/1.1 200";
                played.add((!opened).then_some((NO_PORT.event, NO_PORT.reason)));
                opened.then(|| more.push((client, server.accept())))
            });
            // Nobody is left to be waited for in TIME-WAIT when the next gateway comes.
            for (_, server) in tunnels.drain(..).chain(more) {
                server.reset();
            }
            inside.widen_ports();
            account.settle(gateway, &played);
        }
    });
}

/// C8: where the only source port is the target's own, a dial connects to itself. That is nobody.
#[test]
fn a_dial_that_connects_to_itself_is_a_refusal() {
    within("c_strain::a_dial_that_connects_to_itself_is_a_refusal", |inside| {
        let target: SocketAddr = "127.0.0.1:40000".parse().unwrap();
        for kind in CARRIERS {
            inside.widen_ports();
            let setup = Setup::new(kind).host(&target.to_string()).listen("0.0.0.0:0");
            let gateway = setup.admin().start();
            let account = Account::open(&gateway);
            let mut played = Played::default();
            inside.set_ports(1);
            let alone = Peer::connect(target);
            assert_eq!(alone.address(), target, "the trap works");
            alone.reset();
            for host in 1..=3 {
                let gateway_at = SocketAddr::from(([127, 0, 0, host], gateway.address().port()));
                let mut client = Peer::connect(gateway_at);
                client.send(&connect_head(&target.to_string()));
                let event = Reply::read(&mut client).expect(DIAL_FAILED, &gateway, "itself");
                assert!(event.text("message").contains("refused"), "{event:?}");
                client.reset();
                played.add(Some((DIAL_FAILED.event, DIAL_FAILED.reason)));
            }
            inside.widen_ports();
            account.settle(gateway, &played);
        }
    });
}
