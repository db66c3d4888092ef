//! Bytes to values and back. Nothing in here knows a socket, a clock or an event; every parser takes
//! slices, answers with a value or with an error that says what is wrong, and never panics.

#[cfg(any(test, fuzzing))]
pub mod cuts;
pub mod head;
pub mod proxy_header;
pub mod relay_reply;
pub mod relay_request;
pub mod reply;
pub mod target;
pub mod tls;
pub mod via;
