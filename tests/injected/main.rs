//! Faults of the system under the real program, while it works: calls that fail (strace tampers with
//! them), descriptors that run out, an ordinary user's small pipes, a full disk, a process that is
//! halted for a while. And what its work costs in calls when nothing is wrong.
//!
//! In all of them steady tunnels carry bytes both ways, every one of which is compared, and newcomers
//! arrive all the time. What the fault does not touch loses nothing; when it ends, service is as before;
//! and the log stays short.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../support/mod.rs"]
mod support;

mod calls;
mod cost;
mod descriptors;
mod echo;
mod full_disk;
mod halted;
mod newcomers;
mod ordinary_user;
mod scene;
mod steady;
mod strace;
mod wakes;
