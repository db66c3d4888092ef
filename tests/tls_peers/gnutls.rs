//! GnuTLS on both ends.

use std::process::Command;

use super::credentials::{
    AGENT, AGENT_ECDSA, Credential, SERVER, STRANGER, STRANGER_SUBJECT, SUBJECT, WORKSPACE,
};
use super::doorway;
use super::program::{Running, program};
use super::{checking, expect_refused, expect_verified, gateway, told};
use crate::support::gateway::Gateway;
use crate::support::port::reserved;

/// Versions as priorities, and as the gateway spells them.
const VERSIONS: [(&str, &str); 4] = [
    ("VERS-TLS1.0", "1.0"),
    ("VERS-TLS1.1", "1.1"),
    ("VERS-TLS1.2", "1.2"),
    ("VERS-TLS1.3", "1.3"),
];

/// `gnutls-serv`, which sends each line back.
struct Server {
    _running: Running,
    port: u16,
}

impl Server {
    fn start(flags: &[&str]) -> Server {
        // It takes no port of the system's choice, so the choice is made here; it listens with
        // SO_REUSEADDR.
        let port = reserved("0.0.0.0").port();
        let mut command = program("gnutls-serv");
        command.args(["--echo", "--port", &port.to_string(), "--priority", ANY]).args(flags);
        command.arg("--x509certfile").arg(SERVER.certificate());
        command.arg("--x509keyfile").arg(SERVER.key());
        let running = Running::start(&mut command);
        running.expect("Echo Server listening on IPv4 0.0.0.0");
        Server { _running: running, port }
    }

    fn client(&self, gateway: &Gateway, version: &str) -> Command {
        let door = doorway::open(gateway, format!("localhost:{}", self.port));
        let mut command = program("gnutls-cli");
        command.args(["--port", &door.port().to_string(), "--sni-hostname", "localhost"]);
        command.args(["--verify-hostname", "localhost", "--x509cafile"]).arg(SERVER.certificate());
        command.args(["--priority", &format!("{ANY}:-VERS-ALL:+{version}"), "127.0.0.1"]);
        command
    }
}

/// All versions, and the signatures that the old ones need.
const ANY: &str = "NORMAL:+VERS-ALL:+SIGN-RSA-SHA1:+SIGN-ECDSA-SHA1:%VERIFY_ALLOW_SIGN_WITH_SHA1";

fn with(command: &mut Command, credential: Credential) -> &mut Command {
    command.arg("--x509certfile").arg(credential.certificate());
    command.arg("--x509keyfile").arg(credential.key())
}

fn talk(client: &mut Command) {
    let mut running = Running::start(client);
    running.expect("Handshake was completed");
    running.type_in("there and back\n");
    running.expect("there and back");
    let (done, printed) = running.finish();
    assert!(done, "{printed}");
}

fn fail(client: &mut Command) {
    let (done, printed) = Running::start(client).finish();
    assert!(!done && printed.contains("Access was denied"), "{printed}");
}

#[test]
fn every_version_passes_and_up_to_12_certificates_are_judged() {
    let server = Server::start(&["--require-client-cert"]);
    for (priority, version) in VERSIONS {
        let gateway = gateway(server.port).start();
        talk(with(&mut server.client(&gateway, priority), STRANGER));
        expect_verified(gateway, version, "", priority);
        if version == "1.3" {
            let gateway = checking(server.port, &[WORKSPACE], "").start();
            fail(with(&mut server.client(&gateway, priority), AGENT));
            expect_refused(gateway, "client_certificate_unseen_tls13", "", priority);
            continue;
        }
        for credential in [AGENT, AGENT_ECDSA] {
            let gateway = checking(server.port, &[WORKSPACE], "").start();
            talk(with(&mut server.client(&gateway, priority), credential));
            expect_verified(gateway, version, SUBJECT, &format!("{priority}, {credential:?}"));
        }
        let gateway = checking(server.port, &[WORKSPACE], "").start();
        fail(with(&mut server.client(&gateway, priority), STRANGER));
        expect_refused(gateway, "client_certificate_not_allowed", STRANGER_SUBJECT, priority);
    }
}

#[test]
fn no_certificate_is_judged_by_itself() {
    let server = Server::start(&["--disable-client-cert"]);
    let gateway = checking(server.port, &[WORKSPACE], "").start();
    fail(with(&mut server.client(&gateway, "VERS-TLS1.2"), AGENT));
    expect_refused(gateway, "client_certificate_unseen_none", "", "not asked");
    let server = Server::start(&[]);
    let gateway = checking(server.port, &[WORKSPACE], "").start();
    fail(&mut server.client(&gateway, "VERS-TLS1.2"));
    expect_refused(gateway, "client_certificate_unseen_none", "", "not given");
}

#[test]
fn a_session_is_resumed_where_this_gateway_saw_it_begin() {
    for (flags, priority) in [(&[][..], ""), (&["--noticket"], ":%NO_TICKETS")] {
        let server = Server::start(&[&["--require-client-cert"], flags].concat());
        let gateway = checking(server.port, &[WORKSPACE], "").start();
        // One doorway is for one connection, and the client makes its second one to the same port.
        let door = doorway::open_for(&gateway, format!("localhost:{}", server.port), 2);
        let mut client = program("gnutls-cli");
        client.args(["--resume", "--port", &door.port().to_string()]);
        client.args(["--sni-hostname", "localhost", "--verify-hostname", "localhost"]);
        client.arg("--x509cafile").arg(SERVER.certificate());
        client.args(["--priority", &format!("{ANY}:-VERS-ALL:+VERS-TLS1.2{priority}")]);
        let mut running = Running::start(with(&mut client, AGENT).arg("127.0.0.1"));
        running.expect("This is a resumed session");
        running.type_in("there and back\n");
        running.expect("there and back");
        running.finish();
        let (told, _) = told(gateway);
        let ids: Vec<u64> = told.iter().map(|(id, _)| *id).filter(|id| *id != 100).collect();
        assert_eq!(ids, [103, 107, 103, 107], "{flags:?}: {told:?}");
    }
}
