//! The hosts of the feed, for commands: a gateway that runs may know newer ones, but these are what the next
//! start begins with, and all that a file can tell.

use crate::config::schema::Config;
use crate::feed::cache;

/// Brings the list that was kept into `config`. What is wrong with it is told on stderr: the gateway goes
/// on without it, and so does a command.
pub(super) fn recall(config: &mut Config) {
    let Some(settings) = &config.feed else { return };
    match cache::recall(settings) {
        Ok(Some(kept)) => config.take_feed(kept.hosts),
        Ok(None) => eprintln!("No list of {} has been kept yet.", settings.url),
        Err(why) => eprintln!("{why}"),
    }
}

/// As which it is named beside its hosts.
pub(super) fn origin(config: &Config) -> Option<String> {
    config.feed.as_ref().map(|settings| format!("allow.feed: {}", settings.url))
}
