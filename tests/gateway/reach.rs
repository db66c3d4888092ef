//! Who may be reached: what is configured, and what decides. A server that nobody may reach proves that
//! what is refused was not dialled. The tables of targets are in `tests/faults`.

use crate::support::gateway::{CARRIERS, KINDS, SPLICE, Setup, connect_head};
use crate::support::port::reserved;
use crate::support::reply::{Refused, Reply};
use crate::support::server::Server;
use crate::support::tunnel::Tunnel;

const HOST: Refused = Refused { status: 403, event: 105, reason: "host_not_allowed" };
const PORT: Refused = Refused { status: 403, event: 105, reason: "port_not_allowed" };
const ADDRESS: Refused = Refused { status: 403, event: 105, reason: "address_not_allowed" };
const CLIENT: Refused = Refused { status: 403, event: 105, reason: "client_not_allowed" };
const LOOP: Refused = Refused { status: 403, event: 105, reason: "loop" };

#[test]
fn blocks_admit_what_lies_in_them_and_metadata_only_by_name() {
    let server = Server::start();
    let named = server.named();
    let authority = server.authority();
    let metadata = "169.254.169.254:443";
    let opened: &[(&[&str], &str)] = &[
        (&["127.0.0.0/8"], &authority),
        (&["127.0.0.1"], &authority),
        (&["127.0.0.1/32", "10.0.0.0/8"], &named),
        (&["::ffff:127.0.0.0/104"], &authority),
    ];
    for (blocks, target) in opened {
        let gateway = Setup::new(SPLICE).reach(&server).addresses(blocks).start();
        drop(gateway.open(target));
        server.accept();
        gateway.stop();
    }
    let refused: &[(&[&str], &str)] = &[
        (&["127.0.0.2", "10.0.0.0/8"], &authority),
        (&["169.254.0.0/16", "0.0.0.0/0", "::/0"], metadata),
        (&["0.0.0.0/0", "0.0.0.0"], "0.0.0.0:443"),
    ];
    for (blocks, target) in refused {
        let setup = Setup::new(SPLICE).reach(&server).host("169.254.169.254").host("0.0.0.0");
        let gateway = setup.addresses(blocks).start();
        Reply::read(&mut gateway.ask(target)).expect(ADDRESS, &gateway, target);
        gateway.stop();
    }
    server.expect_nobody("addresses that no block admits");
}

#[test]
fn clients_outside_of_the_list_are_refused_with_their_first_byte() {
    for kind in CARRIERS {
        let server = Server::start();
        let setup = Setup::new(kind).reach(&server).set("allow.clients", "[\"192.0.2.0/24\"]");
        let gateway = setup.start();
        let mut client = gateway.connect();
        client.send(b"C");
        Reply::read(&mut client).expect(CLIENT, &gateway, "a client that is not listed");
        let mut silent = gateway.connect();
        silent.fin();
        silent.expect_end();
        let events = gateway.stop();
        assert_eq!(events.iter().filter(|event| event.id() == 105).count(), 1);
        server.expect_nobody("its client is not allowed");
        let listed = "[\"127.0.0.0/8\", \"192.0.2.0/24\"]";
        let gateway = Setup::new(kind).reach(&server).set("allow.clients", listed).start();
        drop(gateway.open(&server.authority()));
        server.accept();
        gateway.stop();
    }
}

#[test]
fn the_gateway_does_not_dial_itself() {
    for kind in KINDS {
        let own = reserved("127.0.0.1");
        let targets = [own.to_string(), format!("localhost:{}", own.port())];
        let setup = Setup::new(kind).listen(&own.to_string());
        let gateway = targets.iter().fold(setup, |setup, target| setup.host(target)).start();
        for target in &targets {
            let mut client = gateway.ask(target);
            Reply::read(&mut client).expect(LOOP, &gateway, target);
        }
        gateway.stop();
    }
}

#[test]
fn a_gateway_without_hosts_opens_nothing_and_says_what_to_do() {
    let server = Server::start();
    let gateway = Setup::new(SPLICE).start();
    Reply::read(&mut gateway.ask(&server.authority())).expect(HOST, &gateway, "no hosts");
    let notice = gateway.events().first("nothing_allowed");
    assert_eq!(notice.id(), 100);
    assert!(notice.text("message").contains("[allow]"), "{notice:?}");
    gateway.stop();
    server.expect_nobody("no hosts");
}

/// The Host header names an allowed target; the request line decides alone.
#[test]
fn the_host_header_decides_nothing() {
    let (allowed, other) = (Server::start(), Server::start());
    let gateway = Setup::new(SPLICE).reach(&allowed).start();
    let head = |target: &Server, host: &Server| {
        let text = String::from_utf8(connect_head(&target.authority())).unwrap();
        text.replace(&format!("Host: {}", target.authority()), &format!("Host: {}", host.named()))
    };
    let mut client = gateway.connect();
    client.send(head(&other, &allowed).as_bytes());
    Reply::read(&mut client).expect(PORT, &gateway, "Host is allowed, the target is not");
    let mut client = gateway.connect();
    client.send(head(&allowed, &other).as_bytes());
    client.expect(sluice::proto::reply::ESTABLISHED);
    Tunnel { client, server: allowed.accept() }.shake_hands();
    gateway.stop();
    allowed.expect_nobody("one tunnel was opened");
    other.expect_nobody("it is not allowed");
}
