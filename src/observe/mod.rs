//! Says what happened: events with fixed ids and reasons, texts for people, counters for machines.
//! Values come in from `logic`; nothing in here decides anything about a session, and nothing in
//! here can hold a worker up: an event is queued or counted as lost, and one thread of its own
//! renders and writes what was queued.

pub mod admin;
pub mod counters;
mod daemon;
mod escape;
pub mod events;
mod flood;
pub mod gauges;
pub mod histograms;
mod journal;
pub mod lines;
pub mod liveness;
pub mod messages;
mod metrics;
pub mod outlets;
mod queue;
pub mod refused;
mod report;
pub mod settings;
pub mod status;
mod stream;
mod syslog;
