//! Who may be reached: names, ports, addresses. A server that nobody may reach proves that what is
//! refused was not dialled.

use crate::support::gateway::{CARRIERS, KINDS, SPLICE, Setup, connect_head};
use crate::support::peer::{CUTS, Cut, Peer};
use crate::support::reply::{Refused, Reply};
use crate::support::rota::Rota;
use crate::support::server::Server;
use crate::support::tunnel::Tunnel;

const TARGET: Refused = Refused { status: 400, event: 104, reason: "malformed_target" };
const MALFORMED: Refused = Refused { status: 400, event: 104, reason: "malformed_head" };
const HOST: Refused = Refused { status: 403, event: 105, reason: "host_not_allowed" };
const PORT: Refused = Refused { status: 403, event: 105, reason: "port_not_allowed" };
const ADDRESS: Refused = Refused { status: 403, event: 105, reason: "address_not_allowed" };
const CLIENT: Refused = Refused { status: 403, event: 105, reason: "client_not_allowed" };
const LOOP: Refused = Refused { status: 403, event: 105, reason: "loop" };

/// Targets that are refused; `@` stands for the port of a server on loopback whose name is allowed.
const BAD: &[(&[u8], Refused)] = &[
    // Dots.
    (b"localhost..:@", TARGET),
    (b".localhost:@", TARGET),
    (b"local..host:@", TARGET),
    (b".:@", TARGET),
    // Brackets are for IPv6 addresses.
    (b"[localhost]:@", TARGET),
    (b"[[localhost]]:@", TARGET),
    (b"[::1]", TARGET),
    (b"::1:@", TARGET),
    (b"[::1:@", TARGET),
    (b"[127.0.0.1]:@", TARGET),
    (b"[fe80::1%25eth0]:@", TARGET),
    (b"[fe80::1%eth0]:@", TARGET),
    // Bytes that some reader would stop at, decode or drop.
    (b"evil.example\0.localhost:@", MALFORMED),
    (b"localhost\0:@", MALFORMED),
    (b"evil.example%00.localhost:@", TARGET),
    (b"localhost%2e:@", TARGET),
    (b"evil%23.localhost:@", TARGET),
    (b"localhost%0d%0a:@", TARGET),
    (b"localhost#:@", TARGET),
    (b"localhost?:@", TARGET),
    (b"local\\host:@", TARGET),
    (b"localhost,other:@", TARGET),
    (b"localhost;x:@", TARGET),
    (b"*:@", TARGET),
    // User information.
    (b"localhost@evil.example:443", TARGET),
    (b"user:pw@localhost:443", TARGET),
    (b"localhost:443@evil.example:443", TARGET),
    // Other forms of a request target.
    (b"http://localhost:443", TARGET),
    (b"https://localhost:443/", TARGET),
    (b"//localhost:443", TARGET),
    (b"/", TARGET),
    (b"*", TARGET),
    (b"localhost", TARGET),
    (b"localhost:", TARGET),
    (b":@", TARGET),
    (b"localhost:443:443", TARGET),
    // Ports: one spelling each, and no number that wraps.
    (b"localhost:0", TARGET),
    (b"localhost:65536", TARGET),
    (b"localhost:65979", TARGET),
    (b"localhost:4294967739", TARGET),
    (b"localhost:18446744073709552059", TARGET),
    (b"localhost:-1", TARGET),
    (b"localhost:+443", TARGET),
    (b"localhost: 443", MALFORMED),
    (b"localhost:443x", TARGET),
    (b"localhost:0443", TARGET),
    (b"localhost:0x1bb", TARGET),
    (b"localhost:https", TARGET),
    (b"localhost:443", PORT),
    (b"localhost:1", PORT),
    (b"localhost:65535", PORT),
    // Numbers that libc would take for an address.
    (b"127.1:@", TARGET),
    (b"0x7f.1:@", TARGET),
    (b"2130706433:@", TARGET),
    (b"017700000001:@", TARGET),
    (b"0x7f000001:@", TARGET),
    (b"0:@", TARGET),
    (b"127.0.0.1.:@", TARGET),
    (b"127.0.0.01:@", TARGET),
    (b"127.0.0.256:@", TARGET),
    (b"1.2.3.4.5:@", TARGET),
    ("\u{2460}\u{2461}\u{2466}.0.0.1:@".as_bytes(), TARGET),
    // Letters outside ASCII, and what pretends to be them.
    ("b\u{fc}cher.example:@".as_bytes(), TARGET),
    ("\u{ff4c}ocalhost:@".as_bytes(), TARGET),
    ("localhost\u{3002}:@".as_bytes(), TARGET),
    ("local\u{200b}host:@".as_bytes(), TARGET),
    (b"xn--\xff.example:@", TARGET),
    (b"xn--a-\x80.example:@", TARGET),
    (b"xn--99999999999.example:@", TARGET),
    // Names that only look like allowed ones.
    (b"evillocalhost:@", HOST),
    (b"localhost.evil.example:@", HOST),
    (b"x.localhost:@", HOST),
    (b"ods.example.com:443", HOST),
    (b"evilods.example.com:443", HOST),
    (b"a.ods.example.com.evil.example:443", HOST),
    (b".ods.example.com:443", TARGET),
    (b"a\0.ods.example.com:443", MALFORMED),
    (b"a.ods.example.com:8443", PORT),
    (b"azgnx.servicebus.example.net:443", HOST),
    (b"azgn1.x.servicebus.example.net:443", HOST),
    (b"1azgn.servicebus.example.net:443", HOST),
    // Addresses that are not in the list.
    (b"127.0.0.1:@", HOST),
    (b"127.0.0.2:@", HOST),
    (b"[::1]:@", HOST),
    (b"[::ffff:127.0.0.1]:@", HOST),
    (b"0.0.0.0:@", HOST),
    (b"[::]:@", HOST),
];

fn strict(server: &Server) -> Setup {
    Setup::new(SPLICE)
        .host(&server.named())
        .host("*.ods.example.com")
        .host("azgn*.servicebus.example.org")
        .addresses(&[])
}

fn at_port(target: &[u8], port: u16) -> Vec<u8> {
    match target.strip_suffix(b"@") {
        Some(host) => [host, port.to_string().as_bytes()].concat(),
        None => target.to_vec(),
    }
}

fn ask_cut(gateway: &crate::support::gateway::Gateway, target: &[u8], cut: Cut) -> Peer {
    let mut client = gateway.connect();
    client.send_cut(&[b"CONNECT ", target, b" HTTP/1.1\r\n\r\n"].concat(), cut);
    client
}

#[test]
fn what_is_not_the_allowed_target_is_refused_and_not_dialled() {
    let server = Server::start();
    let mut rota = Rota::new(|| strict(&server));
    let long_label = [&[b'a'; 64][..], b".example:@"].concat();
    let long_name = [&b"a.".repeat(127)[..], b"example:@"].concat();
    let long_port = [b"localhost:", &[b'4'; 200][..]].concat();
    let grown = [(&long_label[..], TARGET), (&long_name[..], TARGET), (&long_port[..], TARGET)];
    for (target, refused) in BAD.iter().copied().chain(grown) {
        let target = at_port(target, server.port());
        for cut in CUTS {
            let gateway = rota.next();
            let what = format!("{cut:?}, {}", target.escape_ascii());
            let mut client = ask_cut(gateway, &target, cut);
            let reply = Reply::read(&mut client);
            drop(client);
            let event = reply.expect(refused, gateway, &what);
            if refused.event == 105 {
                let host = event.text("target").rsplit_once(':').expect("host:port").0;
                let words = format!("Target host ({host}) is forbidden");
                assert!(event.text("message").starts_with(&words), "{what}: {event:?}");
                let ended = gateway.end_of(reply.session());
                assert_eq!(ended.text("ending"), format!("await_head.gateway.{}", refused.reason));
                assert_eq!((ended.number("bytes_up"), ended.number("bytes_down")), (0, 0));
            } else {
                assert!(!event.has("target"), "{what}: {event:?}");
            }
        }
    }
    rota.finish();
    server.expect_nobody("targets that are refused");
}

/// Spellings of the one allowed target.
#[test]
fn other_spellings_of_an_allowed_target_reach_it() {
    for kind in KINDS {
        let server = Server::start();
        let mut rota = Rota::new(|| Setup::new(kind).reach(&server));
        for target in ["localhost:@", "LOCALHOST:@", "LocalHost.:@", "127.0.0.1:@"] {
            let target = at_port(target.as_bytes(), server.port());
            for cut in CUTS {
                let gateway = rota.next();
                let mut client = ask_cut(gateway, &target, cut);
                client.expect(sluice::proto::reply::ESTABLISHED);
                let session = gateway.session_of(&client);
                server.accept();
                drop(client);
                let ended = gateway.end_of(&session);
                assert_eq!(ended.text("address"), server.authority());
                let told = ended.text("target").rsplit_once(':').expect("host:port").0.to_owned();
                assert!(["localhost", "127.0.0.1"].contains(&&*told), "{told}");
            }
        }
        rota.finish();
    }
}

/// Allowed by name or number, but special-purpose: refused all the same, and the event says what and
/// where.
#[test]
fn special_addresses_are_refused_though_their_host_is_allowed() {
    let server = Server::start();
    let rows: &[(&str, &str)] = &[
        ("localhost", "loopback"),
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("[::1]", "loopback"),
        ("[::ffff:127.0.0.1]", "loopback"),
        ("[::ffff:a9fe:a9fe]", "cloud metadata"),
        ("169.254.169.254", "cloud metadata"),
        ("168.63.129.16", "cloud metadata"),
        ("[64:ff9b::a9fe:a9fe]", "cloud metadata"),
        ("[64:ff9b::7f00:1]", "loopback"),
        ("[2002:7f00:1::]", "6to4"),
        ("[2001:0:102:304::80ff:fffe]", "Teredo"),
        ("[::7f00:1]", "IPv4-compatible"),
        ("[fe80::1]", "link-local"),
        ("[fd00::1]", "private"),
        ("[ff02::1]", "multicast"),
        ("[::]", "unspecified"),
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "this-network"),
        ("10.0.0.1", "private"),
        ("172.16.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.168.1.1", "private"),
        ("100.64.0.1", "CGNAT"),
        ("169.254.1.1", "link-local"),
        ("192.0.2.1", "documentation"),
        ("198.18.0.1", "benchmarking"),
        ("224.0.0.1", "multicast"),
        ("255.255.255.255", "broadcast"),
        ("240.0.0.1", "reserved"),
    ];
    let setup = || {
        let setup = Setup::new(SPLICE).addresses(&[]);
        rows.iter().fold(setup, |setup, (host, _)| setup.host(&format!("{host}:{}", server.port())))
    };
    let mut rota = Rota::new(setup);
    for (host, kind) in rows {
        let gateway = rota.next();
        let mut client = gateway.ask(&format!("{host}:{}", server.port()));
        let reply = Reply::read(&mut client);
        drop(client);
        let event = reply.expect(ADDRESS, gateway, host);
        assert!(event.text("message").contains(kind), "{host}: {event:?}");
        let words = format!("Target host ({host}) is forbidden");
        let mapped = host.contains("::ffff:") || host.contains("64:ff9b");
        assert!(mapped || event.text("message").starts_with(&words), "{host}: {event:?}");
        let ending = gateway.end_of(reply.session());
        assert!(ending.text("ending").ends_with(".gateway.address_not_allowed"), "{host}");
    }
    rota.finish();
    server.expect_nobody("special addresses");
}

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
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let own = free.local_addr().unwrap();
        drop(free);
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
