//! Events for the daemons of a Linux: the journal and a syslog, whose sockets the test binds.

#![cfg(target_os = "linux")]

use std::os::unix::net::UnixDatagram;
use std::path::Path;

use crate::support::deadline::{PATIENCE, until};
use crate::support::folder::Folder;
use crate::support::gateway::{SPLICE, Setup};
use crate::support::reply::Reply;

fn bind(path: &Path) -> UnixDatagram {
    let socket = UnixDatagram::bind(path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// The first datagram that holds `what`.
fn expect(socket: &UnixDatagram, what: &str) -> String {
    let mut bytes = vec![0; 64 << 10];
    loop {
        let len = socket.recv(&mut bytes).unwrap_or_else(|error| panic!("no {what}: {error}"));
        let text = String::from_utf8(bytes[..len].to_vec()).unwrap();
        if text.contains(what) {
            return text;
        }
    }
}

#[test]
fn the_journal_gets_fields_also_after_its_restart() {
    let folder = Folder::new();
    let path = folder.path().join("journal");
    let journal = bind(&path);
    let outlet = format!("journal:{}", path.display());
    let gateway =
        Setup::new(SPLICE).host("other.example").format("text").events_to(&outlet).start();
    let reply = Reply::read(&mut gateway.ask("forbidden.example:443"));
    let event = expect(&journal, "host_not_allowed");
    let fields: Vec<&str> = event.lines().collect();
    let session = format!("SLUICE_SESSION={}", reply.session());
    for field in [
        "PRIORITY=4",
        "SYSLOG_FACILITY=3",
        "SYSLOG_IDENTIFIER=sluice",
        "SLUICE_ID=105",
        "SLUICE_REASON=host_not_allowed",
        "SLUICE_TARGET=forbidden.example:443",
        "SLUICE_STATUS=403",
        &session,
    ] {
        assert!(fields.contains(&field), "{field} is not in {fields:?}");
    }
    let words = "MESSAGE=105 host_not_allowed Target host (forbidden.example) is forbidden";
    assert!(fields[0].starts_with(words), "{event}");
    drop(journal);
    std::fs::remove_file(&path).unwrap();
    let journal = bind(&path);
    Reply::read(&mut gateway.ask("again.example:443"));
    expect(&journal, "SLUICE_TARGET=again.example:443");
    let (status, told) = gateway.stop_by(rustix::process::Signal::TERM);
    assert!(status.success() && told.is_empty(), "{told:?}");
    expect(&journal, "SLUICE_REASON=stopped");
}

#[test]
fn a_syslog_gets_structured_data_and_what_it_missed_is_counted() {
    let folder = Folder::new();
    let path = folder.path().join("log");
    let outlet = format!("syslog:{}", path.display());
    let gateway = Setup::new(SPLICE).host("other.example").events_to(&outlet).start();
    Reply::read(&mut gateway.ask("missed.example:443"));
    let failed = until("a line about it on stderr", PATIENCE, || gateway.events().others().pop());
    assert!(failed.contains("400 outlet_failed") && failed.contains(&outlet[7..]), "{failed}");
    let syslog = bind(&path);
    let lost = expect(&syslog, "reason=\"events_lost\"");
    assert!(lost.starts_with("<27>1 ") && lost.contains(" count=\""), "{lost}");
    Reply::read(&mut gateway.ask("forbidden.example:443"));
    let event = expect(&syslog, "host_not_allowed");
    assert!(event.starts_with("<28>1 "), "{event}");
    let header = format!(" sluice {} 105 [sluice@32473 id=\"105\" ", gateway.pid());
    assert!(event.contains(&header), "{event}");
    assert!(event.contains(" target=\"forbidden.example:443\" status=\"403\"] {"), "{event}");
    gateway.stop_by(rustix::process::Signal::TERM);
    expect(&syslog, "reason=\"stopped\"");
}
