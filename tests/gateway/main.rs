//! The real program from outside: what clients, servers and operators get of it.
//!
//! Each input is sent whole, byte by byte and in random pieces, to gateways of every kind; reply,
//! events and what reached the target are checked together.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../support/mod.rs"]
mod support;

mod admin;
#[cfg(unix)]
mod balancer;
mod certificates;
mod credentials;
mod daemons;
mod dial;
mod drain;
mod events;
mod head;
mod health;
mod limits;
#[cfg(unix)]
mod manager;
#[cfg(target_os = "linux")]
mod mapped;
mod reach;
mod relay;
mod relay_proxy;
mod reload;
mod report_mode;
mod resets;
mod tls;
mod transfers;
mod waiting;
