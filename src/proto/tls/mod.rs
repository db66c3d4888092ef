//! What of TLS passes by in clear: record headers, hellos and alerts. Nothing is decrypted, nothing is
//! kept, and a length is believed only after it has been checked against what is there.

pub mod alert;
pub mod hello;
pub mod record;
#[doc(hidden)]
pub mod sample;
mod version;

pub use version::{Version, is_grease};
