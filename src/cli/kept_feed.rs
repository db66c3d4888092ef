//! The hosts of the feed, for commands: a gateway that runs may know newer ones, but these are what the next
//! start begins with, and all that a file can tell.

use crate::config::feed::FeedSettings;
use crate::config::schema::Config;
use crate::feed::cache;
use crate::logic::hosts::HostPattern;

/// The hosts that were kept of the feed of `config`. Where there are none is told on stderr: the gateway
/// goes on without them, and so does a command.
pub(super) fn hosts(config: &Config) -> Vec<HostPattern> {
    let Some(settings) = &config.feed else { return Vec::new() };
    match cache::recall(settings) {
        Ok(Some(kept)) => return kept.hosts,
        Ok(None) => {}
        Err(why) => eprintln!("{why}"),
    }
    eprintln!("{}.", without_list(settings));
    Vec::new()
}

/// That a running gateway may know hosts which are not known here.
pub(super) fn without_list(settings: &FeedSettings) -> String {
    format!(
        "{} holds no list of {} (allow.feed.cache_file): a running gateway may know more hosts, see \
         `sluice status`",
        settings.cache_file.display(),
        settings.url
    )
}

/// As which it is named beside its hosts.
pub(super) fn origin(config: &Config) -> Option<String> {
    config.feed.as_ref().map(|settings| format!("allow.feed: {}", settings.url))
}
