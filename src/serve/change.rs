//! Notices that the configuration file has changed, and is done changing.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// How often the file is looked at.
const PAUSE: Duration = Duration::from_millis(400);
/// How long it must be still: editors and copies write in several steps.
const STILL: Duration = Duration::from_secs(1);

/// Calls `changed` whenever `file` has changed and been still for a second, until that says false.
///
/// # Errors
/// Where there is no thread to be had.
pub fn follow(
    file: PathBuf,
    mut changed: impl FnMut() -> bool + Send + 'static,
) -> std::io::Result<()> {
    let mut change = Change::new(Look::at(&file));
    std::thread::Builder::new().name("change".to_owned()).stack_size(128 * 1024).spawn(
        move || {
            loop {
                std::thread::sleep(PAUSE);
                if change.is_complete(Look::at(&file), clock()) && !changed() {
                    return;
                }
            }
        },
    )?;
    Ok(())
}

/// What a file looks like from outside; `None` where it cannot be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look(Option<(u64, SystemTime)>);

impl Look {
    fn at(file: &Path) -> Look {
        let metadata = std::fs::metadata(file);
        Look(metadata.and_then(|found| Ok((found.len(), found.modified()?))).ok())
    }
}

/// A change under way.
#[derive(Debug)]
struct Change {
    known: Look,
    pending: Option<(Look, Instant)>,
}

impl Change {
    fn new(known: Look) -> Change {
        Change { known, pending: None }
    }

    fn is_complete(&mut self, look: Look, now: Instant) -> bool {
        if look == self.known {
            self.pending = None;
            return false;
        }
        match self.pending {
            Some((pending, since)) if pending == look => {
                if now.saturating_duration_since(since) < STILL {
                    return false;
                }
                self.known = look;
                self.pending = None;
                true
            }
            _ => {
                self.pending = Some((look, now));
                false
            }
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "a thread of its own, outside every worker's turn")]
fn clock() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(bytes: u64) -> Look {
        Look(Some((bytes, SystemTime::UNIX_EPOCH)))
    }

    #[test]
    fn a_change_counts_once_it_has_been_still_for_a_second() {
        let start = clock();
        let after = |ms| start + Duration::from_millis(ms);
        let mut change = Change::new(look(1));
        assert!(!change.is_complete(look(1), after(0)));
        assert!(!change.is_complete(look(2), after(400)));
        assert!(!change.is_complete(look(3), after(1_200)), "it goes on changing");
        assert!(!change.is_complete(look(3), after(2_000)));
        assert!(change.is_complete(look(3), after(2_300)));
        assert!(!change.is_complete(look(3), after(9_000)), "once is enough");
    }

    #[test]
    fn a_file_that_vanishes_and_comes_back_in_between_has_not_changed() {
        let start = clock();
        let after = |ms| start + Duration::from_millis(ms);
        let mut change = Change::new(look(1));
        assert!(!change.is_complete(Look(None), after(0)));
        assert!(!change.is_complete(look(1), after(500)));
        assert!(!change.is_complete(Look(None), after(1_000)));
        assert!(change.is_complete(Look(None), after(2_000)), "now it is gone");
    }
}
