//! The real program under strain: pipes that run short, peers that vanish, crowds, storms of signals,
//! damaged configurations. After each, counters are compared with the events and descriptors with what
//! there was before: nothing may be left over, and nothing may be counted twice.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../support/mod.rs"]
mod support;

mod crowds;
mod damage;
mod endings;
mod pipes;
mod readiness;
mod rest;
mod storms;
