//! The ingestion endpoint: TLS, HTTP/1.1 POST, every body hashed as it passes. `ingest` understands
//! requests and `seen` which came twice, and neither knows a socket; `connection` is one client; `serve` is the loop, its threads and its ports.

pub mod connection;
pub mod ingest;
pub mod seen;
pub mod serve;
