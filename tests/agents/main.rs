//! Agents as they are: what those of the field send to open a tunnel, to the letter, and a client library
//! of today uploading through the gateway.
//!
//! All of it in a network of the test's own, so that they ask for the names and the port that they ask
//! for in the field, and what admits them is the section `[azure]` alone.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../support/mod.rs"]
mod support;

mod heads;
mod ingestion;
mod programs;
mod uploads;

use support::gateway::{Kind, Setup};

/// The workspace of every agent here.
const WORKSPACE: &str = "6f1d4ca0-1a2b-4c3d-8e4f-0123456789ab";
/// Where every name leads; not special, so that nothing but the name has to be allowed.
const PUBLIC: &str = "20.50.0.1";

/// A gateway for all that the profiles stand for, and for nothing else.
fn setup(kind: Kind) -> Setup {
    Setup::new(kind)
        .addresses(&[])
        .set("azure.workspaces", format!("[{WORKSPACE:?}]"))
        .set("azure.regions", r#"["westeurope"]"#)
        .set("azure.profiles", r#"["legacy-agent", "monitor-agent", "hybrid-worker", "arc"]"#)
        .set("azure.hybrid_workers", r#"[{ location = "West Europe", registered = "cmdlet" }]"#)
}
