//! The only clock of the tests.

use std::time::{Duration, Instant};

/// How long anything may take that should take no time. Long, because a loaded machine is no failure.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A point in time after which a test has failed.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    /// So long from now.
    pub fn after(time: Duration) -> Deadline {
        Deadline(now() + time)
    }

    /// The usual deadline.
    pub fn patience() -> Deadline {
        Deadline::after(PATIENCE)
    }

    /// What is left; zero once it has passed.
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(now())
    }

    /// Whether nothing is left.
    pub fn has_passed(self) -> bool {
        self.left().is_zero()
    }
}

/// Time since it was started.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    pub fn start() -> Stopwatch {
        Stopwatch(now())
    }

    /// Since the start.
    pub fn elapsed(self) -> Duration {
        now().saturating_duration_since(self.0)
    }
}

/// Asks `question` until it is answered; for what nothing tells of, such as the files below /proc.
///
/// # Panics
/// Where there is no answer within `time`.
pub fn until<T>(what: &str, time: Duration, mut question: impl FnMut() -> Option<T>) -> T {
    let deadline = Deadline::after(time);
    loop {
        if let Some(answer) = question() {
            return answer;
        }
        assert!(!deadline.has_passed(), "not within {time:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[allow(clippy::disallowed_methods, reason = "tests wait by the real clock")]
fn now() -> Instant {
    Instant::now()
}
