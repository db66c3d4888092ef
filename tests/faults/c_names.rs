//! Section C, and what of B needs a name server: what becomes of a name, by what is said of it. In a
//! network of its own, where every address is this machine and a server listens on port 443 of each.

use std::time::Duration;

use crate::bench::{Account, Played};
use crate::support::deadline::Stopwatch;
use crate::support::gateway::{CARRIERS, Gateway, Kind, Setup};
use crate::support::name_server::{Answer, NameServer};
use crate::support::namespace::within;
use crate::support::reply::{Refused, Reply};
use crate::support::server::Server;

const FAILED: Refused = Refused { status: 502, event: 403, reason: "resolve_failed" };
const TIMEOUT: Refused = Refused { status: 504, event: 403, reason: "resolve_timeout" };
const ADDRESS: Refused = Refused { status: 403, event: 105, reason: "address_not_allowed" };

const PUBLIC: &str = "93.184.216.34";
/// Less than a silent name server is waited for, so that the deadline is what ends a question.
const RESOLVE_MS: u64 = 6_000;

/// What a name must come to.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    /// A tunnel to this address.
    Reached(&'static str),
    /// A refusal whose message has these words.
    Refused(Refused, &'static str),
}

use Outcome::Reached;

const fn failed() -> Outcome {
    Outcome::Refused(FAILED, "")
}

const fn late() -> Outcome {
    Outcome::Refused(TIMEOUT, "")
}

/// Names below `fault.example`, what is said of each, and what it comes to.
fn names() -> Vec<(&'static str, Answer, Outcome)> {
    let public = || Answer::address(PUBLIC);
    let chain = |links: usize| (0..links).map(|link| format!("link{link}.fault.example")).collect();
    let after = |ms, answer| Answer::Late(Duration::from_millis(ms), Box::new(answer));
    vec![
        ("plain", public(), Reached(PUBLIC)),
        ("two", Answer::addresses(&[PUBLIC, "93.184.216.35"]), Reached(PUBLIC)),
        ("none", Answer::Addresses(Vec::new()), failed()),
        ("badly-asked", Answer::Code(1), failed()),
        ("server-fails", Answer::Code(2), failed()),
        ("not-there", Answer::Code(3), failed()),
        ("not-done", Answer::Code(4), failed()),
        ("refused", Answer::Code(5), failed()),
        ("noise", Answer::Noise, late()),
        ("silence", Answer::Silence, late()),
        ("slow", after(300, public()), Reached(PUBLIC)),
        ("too-slow", after(9_000, public()), late()),
        ("cut", Answer::Cut(Box::new(public())), Reached(PUBLIC)),
        ("cut-and-none", Answer::Cut(Box::new(Answer::Code(3))), failed()),
        ("cut-and-silent", Answer::Cut(Box::new(Answer::Silence)), late()),
        ("circle", Answer::Circle("circle2.fault.example".to_owned()), failed()),
        ("chain", Answer::Chain(chain(20), vec![PUBLIC.parse().unwrap()]), Reached(PUBLIC)),
        ("chain-to-nothing", Answer::Chain(chain(20), Vec::new()), failed()),
    ]
}

/// Addresses that no name makes reachable, and what the event calls them.
const PRIVATE: &[(&str, &str)] = &[
    ("127.0.0.1", "loopback"),
    ("127.255.0.1", "loopback"),
    ("10.0.0.1", "private"),
    ("172.16.0.1", "private"),
    ("192.168.0.1", "private"),
    ("100.64.0.1", "CGNAT"),
    ("169.254.169.254", "cloud metadata"),
    ("169.254.0.1", "link-local"),
    ("0.0.0.0", "unspecified"),
    ("224.0.0.1", "multicast"),
    ("::1", "loopback"),
    ("fd00::1", "private"),
    ("fe80::1", "link-local"),
    ("::ffff:127.0.0.1", "loopback"),
    ("64:ff9b::7f00:1", "loopback"),
    ("2002:a00:1::", "6to4"),
    ("fd00:ec2::254", "cloud metadata"),
];

fn setup(kind: Kind) -> Setup {
    let setup =
        Setup::new(kind).addresses(&[]).host("*.fault.example").host("*.fault.example:8443");
    setup.set("limits.resolve_ms", RESOLVE_MS)
}

/// Asks for all names at once, and checks what each client, the operator and the counters are told.
fn ask_all(gateway: &Gateway, server: &Server, names: &[(String, Outcome)]) -> Played {
    let mut played = Played::default();
    let clients: Vec<_> = names.iter().map(|(name, _)| gateway.ask(name)).collect();
    for ((name, outcome), mut client) in names.iter().zip(clients) {
        match outcome {
            Outcome::Refused(refused, words) => {
                let watch = Stopwatch::start();
                let event = Reply::read(&mut client).expect(*refused, gateway, name);
                assert!(event.text("message").contains(words), "{name}: {event:?}");
                assert_eq!(event.text("target"), name);
                assert!(watch.elapsed() < Duration::from_secs(18), "{name}: {:?}", watch.elapsed());
                played.add(Some((refused.event, refused.reason)));
            }
            Reached(address) => {
                client.expect(sluice::proto::reply::ESTABLISHED);
                let session = gateway.session_of(&client);
                let reached = server.accept().stream.local_addr().unwrap();
                assert_eq!(reached.to_string(), format!("{address}:443"), "{name}");
                drop(client);
                let ended = gateway.end_of(&session);
                assert_eq!(ended.text("address"), reached.to_string(), "{name}");
                played.add(None);
            }
        }
    }
    played
}

#[test]
fn every_answer_comes_to_a_tunnel_or_to_words() {
    within("c_names::every_answer_comes_to_a_tunnel_or_to_words", |inside| {
        let known: std::collections::HashMap<_, _> =
            names().into_iter().map(|(name, answer, _)| (name, answer)).collect();
        let name_server = NameServer::start(move |name, _| {
            let label = name.strip_suffix(".fault.example").unwrap_or_default();
            known.get(label).cloned().unwrap_or(Answer::Code(3))
        });
        let server = Server::start_at("0.0.0.0:443");
        for kind in CARRIERS {
            let witness = inside.witness();
            let streams = name_server.streams();
            let gateway = setup(kind).admin().start();
            let account = Account::open(&gateway);
            let names: Vec<_> = names()
                .into_iter()
                .map(|(name, _, outcome)| (format!("{name}.fault.example:443"), outcome))
                .collect();
            let reached = names.iter().filter(|(_, outcome)| matches!(outcome, Reached(_)));
            let reached = reached.count() as u64;
            let played = ask_all(&gateway, &server, &names);
            let asked_by_stream = name_server.streams() - streams;
            assert!(asked_by_stream >= 3, "answers that were cut are asked for again");
            assert_eq!(
                witness.dials() - asked_by_stream,
                reached,
                "{kind}: nobody else is dialled"
            );
            account.settle(gateway, &played);
        }
    });
}

/// B10: a name that is allowed says nothing of its address.
#[test]
fn names_of_private_addresses_are_refused_and_not_dialled() {
    within("c_names::names_of_private_addresses_are_refused_and_not_dialled", |inside| {
        let _name_server = NameServer::start(|name, _| {
            let label = name.strip_suffix(".fault.example").unwrap_or_default();
            match label {
                "mixed" => Answer::addresses(&["10.0.0.1", "169.254.169.254", PUBLIC, "127.0.0.1"]),
                "all" => Answer::addresses(&["10.0.0.1", "169.254.169.254", "::1"]),
                _ => Answer::address(PRIVATE[label.parse::<usize>().unwrap()].0),
            }
        });
        let server = Server::start_at("0.0.0.0:443");
        for kind in CARRIERS {
            let witness = inside.witness();
            let gateway = setup(kind).admin().start();
            let account = Account::open(&gateway);
            let private = PRIVATE.iter().enumerate().map(|(index, (_, words))| {
                (format!("{index}.fault.example:443"), Outcome::Refused(ADDRESS, words))
            });
            let mut names: Vec<_> = private.collect();
            names.push(("all.fault.example:443".to_owned(), Outcome::Refused(ADDRESS, " is ")));
            names.push(("mixed.fault.example:443".to_owned(), Reached(PUBLIC)));
            let played = ask_all(&gateway, &server, &names);
            assert_eq!(witness.dials(), 1, "{kind}: the public address of the mixed name");
            account.settle(gateway, &played);
        }
    });
}

/// B11: the first answer is public, every later one is not, and none may be kept. The address that was
/// judged is the one that is dialled: there is no second question between the two.
#[test]
fn the_address_that_was_judged_is_the_one_that_is_dialled() {
    within("c_names::the_address_that_was_judged_is_the_one_that_is_dialled", |inside| {
        let name_server = NameServer::start(|_, times| {
            Answer::address(if times == 1 { PUBLIC } else { "169.254.169.254" })
        });
        let server = Server::start_at("0.0.0.0:443");
        for (kind, name) in CARRIERS.into_iter().zip(["one.fault.example", "two.fault.example"]) {
            let witness = inside.witness();
            let gateway = setup(kind).start();
            drop(gateway.open(&format!("{name}:443")));
            assert_eq!(
                server.accept().stream.local_addr().unwrap().to_string(),
                "93.184.216.34:443"
            );
            assert_eq!((name_server.asked(name), witness.dials()), (1, 1), "{kind}");
            gateway.stop();
            // Somebody who does not remember the first answer is told the second, and refuses it.
            let gateway = setup(kind).start();
            Reply::read(&mut gateway.ask(&format!("{name}:443"))).expect(ADDRESS, &gateway, name);
            assert_eq!((name_server.asked(name), witness.dials()), (2, 1), "{kind}");
            gateway.stop();
        }
    });
}
