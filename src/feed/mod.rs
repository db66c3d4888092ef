//! The downloaded list of hosts (`[allow.feed]`).
//!
//! What a list says and when it counts is decided by [`logic::feed`](crate::logic::feed), and where it is by
//! [`config::feed`](crate::config::feed); this room gets it ([`download`]), keeps the last good one ([`cache`])
//! and does both again and again on a thread of its own ([`follow`]). It puts nothing into force: it tells news,
//! and whoever is told decides. It reads no clock and knows no event.

pub mod cache;
mod download;
mod fault;
pub mod follow;
