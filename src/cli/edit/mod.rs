//! The commands that read and change the configuration file. Each makes one change, tells what it did
//! and when that takes effect, or tells why the file stays as it was.

pub(super) mod allowed;
pub(super) mod outcome;
pub(super) mod relay_proxy;
pub(super) mod settings;
