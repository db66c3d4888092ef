//! What of TLS passes by in clear: record headers, hellos, alerts, and up to TLS 1.2 the messages and
//! certificates between the hellos and the change of cipher. Nothing is decrypted, nothing is kept, and
//! a length is believed only after it has been checked against what is there.

pub mod alert;
pub mod certificate;
pub mod distinguished_name;
pub mod handshake;
pub mod hello;
pub mod identity;
pub mod record;
#[doc(hidden)]
pub mod sample;
mod version;
pub mod written_name;

pub use version::{Version, is_grease};
