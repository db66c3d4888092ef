//! Mechanisms: sockets, pipes, slots, carriers, names. One job each, no policy.

pub mod carrier;
pub mod kernel;
pub mod mailbox;
pub mod pools;
pub mod resolver;
pub mod sleep;
pub mod slots;
pub mod sockets;
