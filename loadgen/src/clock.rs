//! The one place that asks the system for the time; everything else is told it.

use std::time::Instant;

/// The monotonic clock. Only the loops (engine, endpoint, sampling, the run itself) call it.
#[allow(clippy::disallowed_methods, reason = "the single source of time of this program")]
pub fn now() -> Instant {
    Instant::now()
}
