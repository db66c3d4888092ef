//! The parts without sockets, one group for each: what they cost where a session asks for them.
//!
//!     cargo bench --bench pure -- hosts
//!
//! The watch has a bench of its own.

#![allow(clippy::disallowed_methods, reason = "a bench may ask the clock")]

mod asked;
mod hosts;
mod recorded;
mod timers;

use criterion::{criterion_group, criterion_main};

criterion_group!(
    benches,
    asked::heads,
    asked::targets,
    hosts::hosts,
    timers::timers,
    recorded::events,
    recorded::histograms
);
criterion_main!(benches);
