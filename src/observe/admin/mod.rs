//! The admin listener: a small HTTP/1.1 server on one thread of its own, off the workers, that answers
//! health checks, metrics, status and reports, one request a connection. Nothing that a client does or
//! leaves undone holds up another one's answer, and every head, connection and wait is bounded.

mod connection;
mod request;
mod routes;
#[cfg(test)]
pub(crate) mod sample;
mod server;

pub use routes::{Panel, Reload};
pub use server::{Admin, start};
