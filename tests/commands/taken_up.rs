//! A change by a command reaches the gateway that runs with the file.

use crate::support::gateway::{Gateway, SPLICE, Setup};
use crate::support::server::Server;

use super::program::{command, run};

/// A port that is free now; `check` refuses files with port 0, and so do the commands.
fn free_address() -> String {
    let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    probe.local_addr().unwrap().to_string()
}

fn status(gateway: &Gateway, server: &Server) -> String {
    let head = gateway.ask(&server.authority()).read_head();
    head.split(' ').nth(1).unwrap().to_owned()
}

#[test]
fn a_host_is_allowed_by_a_command_and_forbidden_by_another() {
    let server = Server::start();
    let setup = Setup::new(SPLICE).listen(&free_address()).admin_at(&free_address());
    let gateway = setup.start();
    let folder = gateway.folder().path();
    assert_eq!(status(&gateway, &server), "403");
    let host = server.authority();

    run(command(gateway.file()).args(["allowed-host", "add", &host]), "").expect(
        "add",
        0,
        &["takes effect within 3 s"],
        folder,
    );
    let told = gateway.events().first("reloaded");
    assert!(told.text("message").contains(&format!("+{host}")), "{}", told.0);
    assert_eq!(status(&gateway, &server), "200");

    run(command(gateway.file()).args(["allowed-host", "remove", &host]), "").expect(
        "remove",
        0,
        &["off the list"],
        folder,
    );
    run(command(gateway.file()).arg("reload"), "").expect("reload", 0, &["allow.hosts"], folder);
    assert_eq!(status(&gateway, &server), "403");
    gateway.stop();
}
