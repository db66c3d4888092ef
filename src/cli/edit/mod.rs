//! The commands that read and change the configuration file. Each makes one change, tells what it did
//! and when that takes effect, or tells why the file stays as it was.

pub(crate) mod allowed;
mod azure_list;
mod effective;
pub(crate) mod hybrid_worker;
pub(crate) mod outcome;
pub(crate) mod relay_proxy;
pub(crate) mod settings;
pub(crate) mod workspace;
