//! Rows B16 and B18: the gateway as its own target, under each of its names and behind a translator, and
//! a gateway whose list is not there.

use std::net::{Shutdown, SocketAddr, TcpStream};

use crate::bench::{Account, Played};
use crate::support::folder::Folder;
use crate::support::gateway::{self, CARRIERS, Kind, Setup};
use crate::support::port::reserved;
use crate::support::reply::{Refused, Reply};
use crate::support::server::Server;
use crate::support::tls::{NAMED, with_name};
use crate::support::tunnel::Tunnel;

const LOOP: Refused = Refused { status: 403, event: 105, reason: "loop" };

/// Asks a gateway that listens on `listen` for each of `hosts` at its own port, all of them allowed.
fn refuse_as_loop(kind: Kind, listen: &str, hosts: &[&str]) {
    let own = reserved(listen);
    let port = own.port();
    let setup = Setup::new(kind).listen(&own.to_string()).admin();
    let setup = setup.addresses(&["127.0.0.0/8", "::1"]);
    let allowed = hosts.iter().map(|host| format!("{host}:{port}"));
    let gateway = allowed.fold(setup, |setup, host| setup.host(&host)).start();
    let account = Account::open(&gateway);
    let mut played = Played::default();
    for host in hosts {
        let mut client =
            crate::support::peer::Peer::connect(SocketAddr::from(([127, 0, 0, 1], port)));
        client.send(&gateway::connect_head(&format!("{host}:{port}")));
        let what = format!("{kind}, {host} of {listen}");
        Reply::read(&mut client).expect(LOOP, &gateway, &what);
        played.add(Some((LOOP.event, LOOP.reason)));
    }
    account.settle(gateway, &played);
}

#[test]
fn the_gateway_is_no_target_of_its_own() {
    for kind in CARRIERS {
        let hosts = ["127.0.0.1", "[::ffff:127.0.0.1]", "localhost", "localhost.", "LOCALHOST"];
        refuse_as_loop(kind, "127.0.0.1", &hosts);
        let more = [&hosts[..], &["127.0.0.2", "[::ffff:127.9.9.9]"]].concat();
        refuse_as_loop(kind, "0.0.0.0", &more);
    }
}

/// Every address of the machine is the gateway, by number and by name.
#[test]
#[cfg(target_os = "linux")]
fn nor_is_it_under_another_address_of_its_machine() {
    use crate::support::name_server::{Answer, NameServer};
    use crate::support::namespace::within;

    within("b_itself::nor_is_it_under_another_address_of_its_machine", |inside| {
        let _name_server = NameServer::start(|name, _| match name {
            "own.fault.example" => Answer::address("93.184.216.34"),
            _ => Answer::addresses(&["93.184.216.35", "93.184.216.36"]),
        });
        let witness = inside.witness();
        for kind in CARRIERS {
            let hosts = ["93.184.216.34", "own.fault.example", "others.fault.example"];
            refuse_as_loop(kind, "0.0.0.0", &hosts);
        }
        assert_eq!(witness.dials(), 0);
    });
}

/// What the gateway cannot know: a translator that leads back to it. The hello of the client is no head
/// of a request, so one round is all there is.
#[test]
fn a_circle_through_a_translator_ends_with_the_first_hello() {
    for kind in CARRIERS {
        let gateway_at = reserved("127.0.0.1");
        let server = Server::start();
        let setup = Setup::new(kind).reach(&server).listen(&gateway_at.to_string()).admin();
        let gateway = setup.start();
        let account = Account::open(&gateway);
        let mut tunnel = Tunnel::open_to(&gateway, &server, &server.named());
        // The translator: what comes here goes to the gateway again.
        let back = TcpStream::connect(gateway_at).unwrap();
        let here = tunnel.server.stream.try_clone().unwrap();
        let ways = [(&here, &back), (&back, &here)].map(|(from, to)| {
            let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Write);
            })
        });
        tunnel.client.send(&with_name(NAMED.as_bytes()));
        // The second round is told that a hello is no request; the first hears that answer instead of TLS.
        let (told, _) = tunnel.client.read_to_any_end();
        assert_eq!(told, [21, 3, 3, 0, 2, 2, 70], "{kind}");
        drop(tunnel);
        drop((here, back));
        ways.into_iter().for_each(|way| way.join().unwrap());
        let mut played = Played::default();
        played.add(Some((106, "not_tls")));
        played.add(Some((104, "malformed_head")));
        account.settle(gateway, &played);
    }
}

/// Without the file that it was told to read, a gateway does not start at all.
#[test]
fn a_list_that_cannot_be_read_opens_nothing() {
    let folder = Folder::new();
    let missing = folder.path().join("missing.toml");
    let bytes = folder.path().join("bytes.toml");
    std::fs::write(&bytes, b"[allow]\nhosts = [\"a.example\xff\"]\n").unwrap();
    for file in [missing.as_path(), folder.path(), bytes.as_path()] {
        let file = file.to_str().unwrap();
        let (code, out, told) = gateway::run(&["run", "--config", file, "--log-format", "json"]);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{file}");
        let events = told.all();
        let [event] = &events[..] else { panic!("{file}: {events:?}") };
        assert_eq!((event.id(), event.reason()), (401, "configuration_invalid"), "{file}");
        assert!(event.text("message").contains(file), "{file}: {event:?}");
    }
}
