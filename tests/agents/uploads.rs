//! Each agent's upload: its request in every cut, the 39 bytes, its hello, the documented 200 KB, the
//! answer, and its way to leave.

use std::net::SocketAddr;

use sluice::proto::tls::Version;
use sluice::proto::tls::sample::SampleHello;

use crate::heads::{AGENTS, Agent, CREDENTIALS, Leaves};
use crate::support::events::Event;
use crate::support::gateway::{CARRIERS, Gateway};
use crate::support::name_server::{Answer, NameServer};
use crate::support::namespace::within;
use crate::support::pattern::Pattern;
use crate::support::peer::{CUTS, Cut, Peer};
use crate::support::server::Server;
use crate::support::tls;
use crate::{PUBLIC, setup};

/// What the original answers, and all of it.
const ESTABLISHED: &[u8; 39] = b"HTTP/1.1 200 Connection established\r\n\r\n";
const UPLOAD_BYTES: usize = 200_000;
const ANSWER_BYTES: usize = 300;

/// What there is to say of a session once it is over.
struct Played {
    what: String,
    client: SocketAddr,
    target: String,
    version: &'static str,
    ending: &'static str,
    bytes: (u64, u64),
}

#[test]
fn every_agent_uploads_through_the_gateway() {
    within("uploads::every_agent_uploads_through_the_gateway", |_| {
        let _names = NameServer::start(|_, _| Answer::address(PUBLIC));
        let server = Server::start_at("0.0.0.0:443");
        for kind in CARRIERS {
            let gateway = setup(kind).start();
            let mut played = Vec::new();
            for agent in AGENTS {
                for cut in CUTS {
                    let what = format!("{kind}, {cut:?}, {}", agent.name);
                    println!("{what}");
                    played.push(play(&gateway, &server, agent, cut, what));
                }
            }
            let events = gateway.stop();
            for played in played {
                check(&events, &played);
            }
            for event in &events {
                let told = event.0.to_string();
                assert!(!told.contains(CREDENTIALS) && !told.contains("user:pass"), "{told}");
            }
        }
    });
}

fn play(gateway: &Gateway, server: &Server, agent: &Agent, cut: Cut, what: String) -> Played {
    let host = agent.host();
    let versions: &[Version] = match agent.offers_13 {
        true => &[Version::TLS13, Version::TLS12],
        false => &[],
    };
    let server_name = Some(host.as_bytes());
    let hello = tls::hello_of(&SampleHello { server_name, versions, ..SampleHello::default() });
    let (reply, version) = match agent.offers_13 {
        true => (tls::answer_13(), "1.3"),
        false => (tls::answer(), "1.2"),
    };

    let mut client = gateway.connect();
    client.send_cut(&agent.head(), cut);
    let mut remote = server.accept();
    // Whatever came behind them would stand before the server's hello.
    client.expect(ESTABLISHED);
    client.send_cut(&hello, cut);
    remote.expect(&hello);
    remote.send(&reply);
    client.expect(&reply);

    let upload = Pattern::from(7).slice(0, UPLOAD_BYTES);
    std::thread::scope(|scope| {
        scope.spawn(|| client.send_cut(upload, cut));
        remote.expect(upload);
    });
    let played = Played {
        what,
        client: client.address(),
        target: format!("{host}:443"),
        version,
        ending: leave(agent.leaves, client, remote),
        bytes: ((hello.len() + UPLOAD_BYTES) as u64, (reply.len() + ANSWER_BYTES) as u64),
    };
    server.expect_nobody(&played.what);
    played
}

/// Answers the upload and ends the tunnel; what the gateway has to say of its end.
fn leave(leaves: Leaves, mut client: Peer, mut remote: Peer) -> &'static str {
    let answer = Pattern::from(8).slice(0, ANSWER_BYTES);
    if leaves == Leaves::BeforeTheAnswer {
        client.fin();
        remote.expect_end();
    }
    remote.send(answer);
    client.expect(answer);
    match leaves {
        Leaves::AfterTheAnswer => {
            client.fin();
            remote.expect_end();
            remote.fin();
            client.expect_end();
            "tunnel.remote.finished"
        }
        Leaves::BeforeTheAnswer => {
            remote.fin();
            client.expect_end();
            "tunnel.remote.finished"
        }
        Leaves::ByReset => {
            client.reset();
            remote.expect_reset();
            "tunnel.client.reset"
        }
        Leaves::AfterTheServer => {
            remote.fin();
            client.expect_end();
            client.fin();
            remote.expect_end();
            "tunnel.client.finished"
        }
    }
}

fn check(events: &[Event], played: &Played) {
    let Played { what, client, target, version, ending, bytes } = played;
    let client = client.to_string();
    let of_client = |reason: &str| {
        let fits = |event: &&Event| event.reason() == reason && event.text("client") == client;
        let found: Vec<&Event> = events.iter().filter(fits).collect();
        assert_eq!(found.len(), 1, "{what}: {reason} of {client}: {found:?}");
        found[0]
    };
    let received = of_client("connect_received");
    assert_eq!((received.id(), received.text("target")), (103, target.as_str()), "{what}");
    let verified = of_client("tls_verified");
    assert_eq!((verified.id(), verified.text("tls_version")), (107, *version), "{what}");
    let ended = of_client("session_ended");
    assert_eq!(ended.text("ending"), *ending, "{what}");
    assert_eq!((ended.number("bytes_up"), ended.number("bytes_down")), *bytes, "{what}");
}
