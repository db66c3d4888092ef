//! File to values, and nothing else: found, read, checked, and every problem told with its place.
//! A configuration is either whole and right, or not there; it never takes effect by halves.

pub mod changes;
pub mod check;
pub mod edit;
pub mod feed;
pub mod keys;
pub mod load;
pub(crate) mod networks;
pub mod place;
pub mod problem;
pub mod relay_proxy;
pub mod schema;
mod section;
pub mod workspaces;
