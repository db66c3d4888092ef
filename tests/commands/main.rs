//! The commands that read, change, check and explain a configuration: the real program, each run to
//! its end, with what it prints, its exit code and the file it leaves.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../support/mod.rs"]
mod support;

mod allowed;
mod check;
mod config;
#[cfg(unix)]
mod crash;
mod explain;
mod hybrid_worker;
mod manual;
mod program;
mod relay_proxy;
#[cfg(unix)]
mod saved;
mod suggest;
#[cfg(unix)]
mod taken_up;
mod workspace;
