//! OpenSSL on both ends, from TLS 1.0 to 1.3.

use std::path::Path;
use std::process::Command;

use super::credentials::{
    AGENT, AGENT_ECDSA, Credential, SERVER, STRANGER, STRANGER_SUBJECT, SUBJECT, WORKSPACE,
};
use super::program::{Running, program};
use super::{checking, expect_refused, expect_verified, gateway, told};
use crate::support::folder::Folder;
use crate::support::gateway::Gateway;

/// Versions as flags, and as the gateway spells them.
const UP_TO_12: [(&str, &str); 3] = [("-tls1", "1.0"), ("-tls1_1", "1.1"), ("-tls1_2", "1.2")];

/// `openssl s_server`, which sends each line back reversed.
struct Server {
    running: Running,
    port: u16,
}

impl Server {
    fn start(flags: &[&str]) -> Server {
        Server::started(command("s_server").arg("-rev").args(flags))
    }

    fn started(command: &mut Command) -> Server {
        command.args(["-accept", "127.0.0.1:0"]);
        command.arg("-cert").arg(SERVER.certificate()).arg("-key").arg(SERVER.key());
        let running = Running::start(command);
        let printed = running.expect("ACCEPT 127.0.0.1:");
        let (_, rest) = printed.split_once("ACCEPT 127.0.0.1:").unwrap();
        // The number may be on its way still.
        let port = match rest.split_once('\n') {
            Some((port, _)) => port.to_owned(),
            None => {
                let line = running.expect("\n");
                line.rsplit_once(':').unwrap().1.to_owned()
            }
        };
        Server { port: port.trim().parse().expect(&printed), running }
    }

    fn client(&self, gateway: &Gateway) -> Command {
        let mut client = command("s_client");
        client.args(["-connect", &format!("localhost:{}", self.port), "-servername", "localhost"]);
        client.args(["-proxy", &gateway.address().to_string()]);
        client.args(["-verify_return_error", "-CAfile"]).arg(SERVER.certificate());
        client
    }
}

/// Old versions sign with SHA-1, which today's OpenSSL has to be asked for.
fn command(name: &str) -> Command {
    let mut command = program("openssl");
    command.args([name, "-cipher", "DEFAULT@SECLEVEL=0"]);
    command
}

fn with(command: &mut Command, credential: Credential) -> &mut Command {
    command.arg("-cert").arg(credential.certificate()).arg("-key").arg(credential.key())
}

/// Sends a line and reads it back; gives what the client has printed.
fn talk(client: &mut Command) -> String {
    let mut running = Running::start(client);
    running.type_in("stressed\n");
    running.expect("desserts");
    running.type_in("Q\n");
    let (done, printed) = running.finish();
    assert!(done, "{printed}");
    printed
}

/// Tries the same and is refused by the alert of a certificate that is not admitted.
fn fail(client: &mut Command) {
    let mut running = Running::start(client);
    running.type_in("stressed\n");
    let (done, printed) = running.finish();
    assert!(!done && !printed.contains("desserts"), "{printed}");
    assert!(printed.contains("alert access denied"), "{printed}");
}

#[test]
fn an_agents_certificate_is_admitted_by_either_of_its_names_or_as_a_whole() {
    let reversed = SUBJECT.split(", ").collect::<Vec<_>>();
    let reversed = reversed.into_iter().rev().collect::<Vec<_>>().join(",");
    for (flag, version) in UP_TO_12 {
        let server = Server::start(&["-Verify", "1", flag]);
        for credential in [AGENT, AGENT_ECDSA] {
            for subject in [WORKSPACE, "9A8B7C6D-0000-4444-8888-BA9876543210", SUBJECT, &reversed] {
                let what = format!("{flag}, {credential:?}, {subject}");
                let gateway = checking(server.port, &["other", subject], "").start();
                talk(with(server.client(&gateway).arg(flag), credential));
                expect_verified(gateway, version, SUBJECT, &what);
                if version != "1.2" {
                    break;
                }
            }
        }
    }
}

#[test]
fn a_strangers_certificate_is_not_and_never_reaches_the_server() {
    for (flag, _) in UP_TO_12 {
        let server = Server::start(&["-Verify", "1", flag]);
        for allowed in [&[WORKSPACE][..], &["Foo", "CN=Foo\\, Inc", "Foo, Inc, Ltd", "\u{dc}ber"]] {
            let gateway = checking(server.port, allowed, "").start();
            fail(with(server.client(&gateway).arg(flag), STRANGER));
            let what = format!("{flag}, {allowed:?}");
            expect_refused(gateway, "client_certificate_not_allowed", STRANGER_SUBJECT, &what);
        }
        assert!(!server.running.shown().contains("depth=0"), "{}", server.running.shown());
        for allowed in ["Foo, Inc", "O=\u{dc}ber, CN=\"Foo, Inc\""] {
            let gateway = checking(server.port, &[allowed], "").start();
            talk(with(server.client(&gateway).arg(flag), STRANGER));
            gateway.stop();
        }
    }
}

#[test]
fn no_certificate_is_judged_by_itself() {
    for (flag, version) in UP_TO_12 {
        let asks = Server::start(&["-verify", "1", flag]);
        let asks_not = Server::start(&[flag]);
        for (server, credential, what) in [
            (&asks, None, "the client has none"),
            (&asks_not, Some(AGENT), "the server asks for none"),
        ] {
            for (unseen, passes) in [("", false), ("none = \"allow\"", true)] {
                let gateway = checking(server.port, &[WORKSPACE], unseen).start();
                let mut client = server.client(&gateway);
                client.arg(flag);
                if let Some(credential) = credential {
                    with(&mut client, credential);
                }
                let what = format!("{flag}, {what}, {unseen}");
                if passes {
                    talk(&mut client);
                    expect_verified(gateway, version, "", &what);
                } else {
                    fail(&mut client);
                    expect_refused(gateway, "client_certificate_unseen_none", "", &what);
                }
            }
        }
    }
}

/// A session that is saved by one client and resumed by the next.
struct Saved {
    folder: Folder,
}

impl Saved {
    fn new() -> Saved {
        Saved { folder: Folder::new() }
    }

    fn file(&self) -> &Path {
        self.folder.path()
    }

    fn begin(&self, client: &mut Command) {
        let printed = talk(client.arg("-sess_out").arg(self.file().join("session")));
        assert!(printed.contains("New, "), "{printed}");
    }

    fn resume<'a>(&self, client: &'a mut Command) -> &'a mut Command {
        client.arg("-sess_in").arg(self.file().join("session"))
    }
}

#[test]
fn a_session_is_resumed_where_this_gateway_saw_it_begin() {
    for (flag, version) in UP_TO_12 {
        for by_id in [false, true] {
            let means: &[&str] = if by_id { &["-no_ticket", flag] } else { &[flag] };
            let server = Server::start(&[&["-Verify", "1"], means].concat());
            let what = format!("{means:?}");
            let client = |gateway: &Gateway| {
                let mut client = server.client(gateway);
                with(client.args(means), AGENT);
                client
            };
            let saved = Saved::new();
            let gateway = checking(server.port, &[WORKSPACE], "").start();
            saved.begin(&mut client(&gateway));
            for _ in 0..2 {
                let printed = talk(saved.resume(&mut client(&gateway)));
                assert!(printed.contains("Reused, "), "{what}: {printed}");
            }
            let (told, events) = told(gateway);
            let verified: Vec<_> = told.iter().filter(|(id, _)| *id == 107).collect();
            assert_eq!((told.len(), verified.len()), (9, 3), "{what}: {told:?}");
            let subjects: Vec<&str> = events
                .iter()
                .filter(|event| event.id() == 107)
                .map(|event| event.text("subject"))
                .collect();
            assert_eq!(subjects, [SUBJECT, "", ""], "{what}: a resumed session shows none");

            let gateway = checking(server.port, &[WORKSPACE], "resumed = \"allow\"").start();
            let printed = talk(saved.resume(&mut client(&gateway)));
            assert!(printed.contains("Reused, "), "{what}: {printed}");
            expect_verified(gateway, version, "", &what);

            // The last, because a server forgets a session that broke.
            let gateway = checking(server.port, &[WORKSPACE], "").start();
            fail(saved.resume(&mut client(&gateway)));
            expect_refused(gateway, "client_certificate_unseen_resumed", "", &what);
        }
    }
}

#[test]
fn a_subject_that_is_taken_off_the_list_takes_its_sessions_with_it() {
    let server = Server::start(&["-Verify", "1", "-tls1_2"]);
    let setup = |subjects: &[&str]| checking(server.port, subjects, "");
    let gateway = setup(&[WORKSPACE]).start();
    let client = || {
        let mut client = server.client(&gateway);
        with(client.arg("-tls1_2"), AGENT);
        client
    };
    let saved = Saved::new();
    saved.begin(&mut client());
    gateway.rewrite(&setup(&["other", WORKSPACE]).listen(&gateway.address().to_string()).text());
    gateway.signal(rustix::process::Signal::HUP);
    gateway.events().first("reloaded");
    talk(saved.resume(&mut client()));
    gateway.rewrite(&setup(&["other"]).listen(&gateway.address().to_string()).text());
    gateway.signal(rustix::process::Signal::HUP);
    gateway.events().wait("the second reload", |event| {
        event.reason() == "reloaded" && event.text("message").contains("generation 3")
    });
    fail(saved.resume(&mut client()));
    let (told, events) = told(gateway);
    let reason = "client_certificate_unseen_resumed";
    assert_eq!(told.iter().filter(|(_, told)| told == reason).count(), 1, "{told:?}");
    let refused = events.iter().find(|event| event.reason() == reason).unwrap();
    assert!(refused.text("message").contains("not configured any more"), "{refused:?}");
}

#[test]
fn tls_13_hides_certificates() {
    let server = Server::start(&["-Verify", "1"]);
    let gateway = checking(server.port, &[WORKSPACE], "").start();
    fail(with(&mut server.client(&gateway), AGENT));
    expect_refused(gateway, "client_certificate_unseen_tls13", "", "by default");
    let gateway = checking(server.port, &[WORKSPACE], "tls13 = \"allow\"").start();
    talk(with(&mut server.client(&gateway), AGENT));
    expect_verified(gateway, "1.3", "", "allowed");
    let gateway = checking(server.port, &[WORKSPACE], "").start();
    talk(with(server.client(&gateway).arg("-tls1_2"), AGENT));
    expect_verified(gateway, "1.2", SUBJECT, "a client that does without");
}

#[test]
fn a_certificate_in_a_renegotiation_is_not_seen() {
    // The way of IIS: the first handshake asks for none, a second one within it does.
    let start = || Server::started(command("s_server").args(["-tls1_2", "-client_renegotiation"]));
    // A line is typed when the one before it has done its work: it is a command only by itself.
    let ask_again = |server: &mut Server, client: &mut Running| {
        client.expect("Verify return code");
        server.running.type_in("R\n");
        server.running.expect("SSL_do_handshake -> 1");
        server.running.type_in("asked again\n");
        client.expect("asked again");
    };
    let mut server = start();
    let gateway = gateway(server.port).start();
    let mut client = server.client(&gateway);
    let mut client = Running::start(with(client.arg("-tls1_2"), AGENT));
    ask_again(&mut server, &mut client);
    client.type_in("R\n");
    client.expect("RENEGOTIATING");
    client.type_in("asked in turn\n");
    server.running.expect("asked in turn");
    client.type_in("Q\n");
    client.finish();
    expect_verified(gateway, "1.2", "", "without a list");

    let mut server = start();
    let gateway = checking(server.port, &[WORKSPACE], "").start();
    fail(with(server.client(&gateway).arg("-tls1_2"), AGENT));
    expect_refused(gateway, "client_certificate_unseen_none", "", "nothing asked at first");
    let gateway = checking(server.port, &[WORKSPACE], "none = \"allow\"").start();
    let mut client = server.client(&gateway);
    let mut client = Running::start(with(client.arg("-tls1_2"), STRANGER));
    ask_again(&mut server, &mut client);
    client.type_in("Q\n");
    client.finish();
    expect_verified(gateway, "1.2", "", "what the renegotiation shows is no matter");
}

#[test]
fn a_retry_and_all_groups_pass() {
    let server = Server::start(&["-groups", "P-384"]);
    for list in [false, true] {
        let gateway = match list {
            false => gateway(server.port).start(),
            true => checking(server.port, &[WORKSPACE], "tls13 = \"allow\"").start(),
        };
        talk(server.client(&gateway).args(["-groups", "X25519:P-384"]));
        expect_verified(gateway, "1.3", "", "a HelloRetryRequest");
    }
}

#[test]
fn early_data_passes_with_the_hello() {
    let mut server = command("s_server");
    let mut server = Server::started(server.args(["-early_data", "-tls1_3"]));
    let saved = Saved::new();
    let gateway = gateway(server.port).start();
    let mut client = server.client(&gateway);
    client.arg("-tls1_3").arg("-sess_out").arg(saved.file().join("session"));
    let mut first = Running::start(&mut client);
    // The ticket comes behind the handshake, and before this.
    server.running.type_in("greetings\n");
    first.expect("greetings");
    first.type_in("Q\n");
    first.finish();
    let early = saved.folder.write("early", "carried by the first flight\n");
    let mut client = server.client(&gateway);
    let mut second = Running::start(saved.resume(&mut client).arg("-early_data").arg(early));
    server.running.expect("carried by the first flight");
    second.expect("Early data was accepted");
    server.running.type_in("answered\n");
    second.expect("answered");
    second.type_in("Q\n");
    second.finish();
    let (told, _) = told(gateway);
    let ids: Vec<u64> = told.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, [103, 107, 100, 103, 107, 100], "{told:?}");
}

#[test]
fn every_version_passes_without_a_list() {
    for (flag, version) in UP_TO_12.into_iter().chain([("-tls1_3", "1.3")]) {
        let server = Server::start(&["-verify", "1"]);
        let saved = Saved::new();
        let gateway = gateway(server.port).start();
        saved.begin(with(server.client(&gateway).arg(flag), AGENT));
        expect_verified(gateway, version, "", flag);
        if version != "1.3" {
            let gateway = self::gateway(server.port).start();
            let printed = talk(saved.resume(with(server.client(&gateway).arg(flag), AGENT)));
            assert!(printed.contains("Reused, "), "{printed}");
            expect_verified(gateway, version, "", flag);
        }
    }
}
