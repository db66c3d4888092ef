//! The fake kernel is held against the truth: the same list of operations runs on it and on real
//! loopback sockets and pipes, and every answer must be the same.
//!
//! The real kernel goes first, because two things are its own: into how many pieces arriving bytes are
//! cut, and how much its queues take. The fake is told of both and must then be able to do exactly the
//! same. Readiness is compared as "at least": what the fake promises to tell, the real poll has told.
//! Between two operations both come to rest: what has been sent can be read.
//!
//! `SLUICE_LIST=7 cargo test --test simulation lists -- --nocapture` replays a list,
//! `SLUICE_LISTS=0..10000` runs many.

mod bench;
mod cases;
mod fake;
mod lists;
mod operation;
mod real;
mod run;
