//! The thread that looks at a feed again and again, and tells what came of it.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;

use super::cache;
use super::download::{Answer, download};
use crate::config::feed::FeedSettings;
use crate::config::relay_proxy::RelayProxySettings;
use crate::logic::feed;
use crate::logic::hosts::HostPattern;

/// The pause after a first failure; it doubles with each further one, up to the usual pause.
const RETRY_MS: u64 = 10_000;
/// By so much at most a pause is shorter or longer, so that gateways that were started together do not
/// go on asking together.
const JITTER_PERCENT: u64 = 10;

/// What came of one look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A good list.
    List(Vec<HostPattern>),
    /// The server says that its list is the one that was told last.
    Same,
    /// It cannot be had, or does not count; the sentence says why.
    Failed(String),
    /// It was told, and is kept for the next start.
    Kept,
    /// It was told, but cannot be kept for the next start; the sentence says why.
    NotKept(String),
}

/// Keeps a feed followed: where this is dropped, nobody looks any more. What is under way then ends by
/// itself, within the limit of a download, and is told nobody.
#[derive(Debug)]
pub struct Follower {
    wishes: SyncSender<Wish>,
}

/// Another look, wanted now.
#[derive(Debug)]
struct Wish;

impl Follower {
    /// Ends the pause, or has another look follow the one that is under way.
    pub fn look_again(&self) {
        // Where one is wanted already, or nobody looks any more, there is nothing to add.
        let _ = self.wishes.try_send(Wish);
    }
}

/// Looks at the feed at once and from then on, until the follower is dropped or `tell` says false.
///
/// # Errors
/// Where there is no thread to be had.
pub fn follow(
    settings: FeedSettings,
    relay: RelayProxySettings,
    mut tell: impl FnMut(News) -> bool + Send + 'static,
) -> io::Result<Follower> {
    let (wishes, wanted) = sync_channel(1);
    std::thread::Builder::new().name("feed".to_owned()).spawn(move || {
        let mut look = Look { settings, relay, tag: None, wanted, is_wanted: false };
        let mut failures = 0;
        loop {
            let has_failed = !look.once(&mut tell);
            failures = if has_failed { failures + 1 } else { 0 };
            let pause = pause(look.settings.refresh_s, failures, random());
            if std::mem::take(&mut look.is_wanted) {
                continue;
            }
            match look.wanted.recv_timeout(pause) {
                Ok(Wish) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    })?;
    Ok(Follower { wishes })
}

struct Look {
    settings: FeedSettings,
    relay: RelayProxySettings,
    /// That of the list which is in force and kept.
    tag: Option<String>,
    wanted: Receiver<Wish>,
    /// Another look, which was asked for while one was under way.
    is_wanted: bool,
}

impl Look {
    /// Looks and tells; false where there was nothing good.
    fn once(&mut self, tell: &mut impl FnMut(News) -> bool) -> bool {
        // Where the kept list is gone, all of it is wanted again.
        let tag = self.tag.take().filter(|_| self.settings.cache_file.exists());
        // Nobody would notice that this thread has ended.
        let answer = catch_unwind(AssertUnwindSafe(|| {
            download(&self.settings, &self.relay, tag.as_deref())
        }));
        let answer = answer.unwrap_or_else(|_| Err("a fault in the client".to_owned()));
        let (list, new_tag) = match answer {
            Ok(Answer::List(list, new_tag)) => (list, new_tag),
            Ok(Answer::Same) => {
                self.tag = tag;
                tell(News::Same);
                return true;
            }
            Err(why) => {
                self.tag = tag;
                tell(News::Failed(why));
                return false;
            }
        };
        let hosts = match feed::read(&list) {
            Ok(hosts) => hosts,
            Err(error) => {
                self.tag = tag;
                tell(News::Failed(error.to_string()));
                return false;
            }
        };
        // Whoever follows another feed by now may keep its list in the same file.
        let is_followed = match self.wanted.try_recv() {
            Ok(Wish) => {
                self.is_wanted = true;
                true
            }
            Err(TryRecvError::Empty) => true,
            Err(TryRecvError::Disconnected) => false,
        };
        if !is_followed || !tell(News::List(hosts)) {
            return true;
        }
        match cache::keep(&self.settings, &list) {
            Ok(()) => {
                self.tag = new_tag;
                tell(News::Kept);
            }
            Err(why) => {
                tell(News::NotKept(why));
            }
        }
        true
    }
}

/// The time until the next look, after so many failures in a row.
fn pause(refresh_s: u64, failures: u32, random: u64) -> Duration {
    let usual_ms = refresh_s.saturating_mul(1_000);
    let ms = match failures {
        0 => usual_ms,
        _ => RETRY_MS.saturating_mul(1 << (failures - 1).min(20)).min(usual_ms),
    };
    let share = 100 - JITTER_PERCENT + random % (2 * JITTER_PERCENT + 1);
    Duration::from_millis(ms.saturating_mul(share) / 100)
}

fn random() -> u64 {
    // The system's random numbers are in the state, another one each time.
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_with_failures_and_are_bounded_and_spread() {
        for (refresh_s, failures, ms) in [
            (3_600, 0, 3_600_000),
            (3_600, 1, 10_000),
            (3_600, 2, 20_000),
            (3_600, 9, 2_560_000),
            (3_600, 10, 3_600_000),
            (3_600, u32::MAX, 3_600_000),
            (5, 1, 5_000),
            (604_800, 40, 604_800_000),
        ] {
            let least = Duration::from_millis(ms * 9 / 10);
            let most = Duration::from_millis(ms * 11 / 10);
            assert_eq!(pause(refresh_s, failures, 0), least);
            assert_eq!(pause(refresh_s, failures, 20), most);
            for random in [7, 10, 21, u64::MAX, super::random()] {
                assert!((least..=most).contains(&pause(refresh_s, failures, random)));
            }
        }
    }
}
