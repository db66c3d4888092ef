//! TLS libraries that people have on both ends of a tunnel, and client certificates between them:
//! OpenSSL, GnuTLS and rustls, through the real gateway.
//!
//! A program that is missing fails its test with what to install: a check that skips itself is none.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../support/mod.rs"]
mod support;

mod credentials;
mod doorway;
mod gnutls;
mod openssl;
mod program;
mod rustls_peers;
mod subjects;

use support::events::Event;
use support::gateway::{Gateway, SPLICE, Setup};

/// A gateway that lets tunnels to this port of localhost pass, whatever their version of TLS.
fn gateway(port: u16) -> Setup {
    Setup::new(SPLICE).host(&format!("localhost:{port}")).set("tls.min_version", "\"1.0\"")
}

/// The same, with a list of subjects and what is allowed beside it.
fn checking(port: u16, subjects: &[&str], unseen: &str) -> Setup {
    gateway(port)
        .set("allow.client_certificates", format!("{subjects:?}"))
        .set("tls.unseen_client_certificate", format!("{{ {unseen} }}"))
}

/// What a gateway has told of its sessions, as ids and reasons, in order.
fn told(gateway: Gateway) -> (Vec<(u64, String)>, Vec<Event>) {
    let events = gateway.stop();
    let of_sessions: Vec<Event> = events.into_iter().filter(|event| event.has("session")).collect();
    let told = of_sessions.iter().map(|event| (event.id(), event.reason().to_owned())).collect();
    (told, of_sessions)
}

/// The only event of this reason.
fn only<'a>(events: &'a [Event], reason: &str) -> &'a Event {
    let mut fitting = events.iter().filter(|event| event.reason() == reason);
    let event = fitting.next().unwrap_or_else(|| panic!("no {reason} in {events:?}"));
    assert!(fitting.next().is_none(), "more than one {reason}");
    event
}

/// Checks that one session passed, and what was told of it.
fn expect_verified(gateway: Gateway, version: &str, subject: &str, what: &str) {
    let (told, events) = told(gateway);
    let ids: Vec<u64> = told.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, [103, 107, 100], "{what}: {told:?}");
    let verified = only(&events, "tls_verified");
    let got = (verified.text("tls_version"), verified.text("subject"));
    assert_eq!(got, (version, subject), "{what}");
}

/// Checks that one session was refused, and how it was told.
fn expect_refused(gateway: Gateway, reason: &str, subject: &str, what: &str) {
    let (told, events) = told(gateway);
    let ids: Vec<u64> = told.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, [103, 105, 100], "{what}: {told:?}");
    let refused = only(&events, reason);
    assert_eq!(refused.text("subject"), subject, "{what}");
    let message = refused.text("message");
    let words = format!("Invalid Client certificate: {subject}");
    assert!(message.starts_with(&words), "{what}: {message}");
}
