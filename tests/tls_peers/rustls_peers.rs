//! rustls on both ends.
