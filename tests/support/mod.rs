//! What the tests of the running program share: starting it, playing clients and servers around it,
//! reading what it tells. Nothing in here knows a module of the gateway but the sample hellos and the
//! 39 bytes of the 200.
//!
//! Every wait has a deadline, and every process that is started is ended by its own id.

#![allow(dead_code, reason = "each test target uses its own part of this")]

pub mod admin;
pub mod black_hole;
pub mod deadline;
pub mod events;
pub mod folder;
pub mod gateway;
pub mod handshake;
pub mod name_server;
pub mod namespace;
pub mod pattern;
pub mod peer;
pub mod port;
pub mod process;
pub mod random;
pub mod reply;
pub mod rota;
pub mod server;
pub mod tls;
pub mod tunnel;
