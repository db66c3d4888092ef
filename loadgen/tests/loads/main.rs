//! The real binary against a small CONNECT proxy: what arrives is counted, what is damaged or refused
//! is told, and the exit code says which.

mod command_line;
mod flat_out;
mod proxy;
mod retries;
mod uploads;
