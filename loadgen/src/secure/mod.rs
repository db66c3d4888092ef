//! TLS on both ends of a tunnel, real or replayed, behind one shape for each end. Bytes in, bytes out:
//! nothing here knows a socket but as a `Write`, and nothing asks for the time.

pub mod client;
pub mod feed;
pub mod identity;
pub mod records;
pub mod replay;
pub mod server;
