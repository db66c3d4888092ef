//! The feed of a gateway: which one is followed, and what its news change.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use super::supervisor::{Request, clock, wall};
use crate::config::changes;
use crate::config::feed::FeedSettings;
use crate::config::relay_proxy::RelayProxySettings;
use crate::config::schema::Config;
use crate::feed::cache;
use crate::feed::follow::{Follower, News, follow};
use crate::logic::hosts::HostPattern;
use crate::logic::reason::Reason;
use crate::observe::counters::Counters;
use crate::observe::events::Event;
use crate::observe::gauges::{FeedGauge, Gauges};
use crate::observe::outlets::Events;

/// The feed that is followed, if there is one.
pub(super) struct Feeding {
    requests: Sender<Request>,
    events: Events,
    counters: Arc<Counters>,
    gauges: Arc<Gauges>,
    followed: Option<Followed>,
    /// It could not be had when it was last asked for.
    is_failing: bool,
    /// One more with each that is followed: news of one that is not any more are nobody's.
    number: u64,
}

struct Followed {
    settings: FeedSettings,
    relay: RelayProxySettings,
    follower: Follower,
}

/// With what a configuration begins to follow its feed.
#[derive(Debug, Default)]
pub(super) struct Recalled {
    age: Option<Duration>,
    fault: Option<String>,
}

/// Other hosts of the feed, in the words for the log: told once the workers have been given them, so that
/// who waits for it has to wait for no more than their next turn.
#[must_use]
pub(super) struct Updated(String);

/// Brings into `config` the hosts that its feed had when it was last good. `old` is the configuration
/// that is in force. Where it has hosts of the same place, which may have another token by now, those are
/// newer than any file, and there is nothing to recall. Where it has those of another feed, they stay
/// until the new one has a good list: an address that is mistyped takes nothing away.
pub(super) fn recall(config: &mut Config, old: Option<&Config>) -> Option<Recalled> {
    let settings = config.feed.as_ref()?;
    let old = old.filter(|old| !old.feed_hosts.is_empty());
    let old_place = old.and_then(|old| old.feed.as_ref()).map(|feed| feed.url.place());
    let hosts = old.map(|old| old.feed_hosts.clone()).unwrap_or_default();
    if old_place == Some(settings.url.place()) {
        config.take_feed(hosts);
        return None;
    }
    let mut recalled = Recalled::default();
    let hosts = match cache::recall(settings) {
        Ok(None) => hosts,
        Ok(Some(kept)) => {
            // What is said to be of tomorrow is new, whichever clock is wrong.
            let age = |written| wall().duration_since(written).unwrap_or_default();
            recalled.age = kept.written.map(age);
            kept.hosts
        }
        Err(why) => {
            recalled.fault = Some(why);
            hosts
        }
    };
    config.take_feed(hosts);
    Some(recalled)
}

impl Feeding {
    /// No feed is followed yet. News come as requests.
    pub(super) fn new(
        requests: Sender<Request>,
        events: Events,
        counters: Arc<Counters>,
        gauges: Arc<Gauges>,
    ) -> Feeding {
        Feeding { requests, events, counters, gauges, followed: None, is_failing: false, number: 0 }
    }

    /// Follows the feed of `config` from now on, and no other, and has it asked for at once. Tells so, in
    /// words to add to others.
    pub(super) fn take_up(&mut self, config: &Config, recalled: Option<Recalled>) -> &'static str {
        let Some(settings) = &config.feed else {
            self.followed = None;
            self.gauges.show_feed(None);
            return "";
        };
        let followed = self.followed.as_ref();
        let same_url = followed.is_some_and(|followed| followed.settings.url == settings.url);
        if !same_url || recalled.as_ref().is_some_and(|recalled| recalled.age.is_some()) {
            self.show_new(settings, config.feed_hosts.len(), recalled);
        }
        match self.followed.as_ref() {
            Some(followed)
                if followed.settings == *settings && followed.relay == config.relay_proxy =>
            {
                followed.follower.look_again();
            }
            _ => self.followed = self.start(settings.clone(), config.relay_proxy.clone()),
        }
        "; allow.feed is asked for at once"
    }

    fn show_new(&mut self, settings: &FeedSettings, hosts: usize, recalled: Option<Recalled>) {
        let Recalled { age, fault } = recalled.unwrap_or_default();
        let now = clock();
        let old_age = || self.gauges.feed().and_then(|feed| feed.age(now));
        let age = if hosts == 0 { None } else { age.or_else(old_age) };
        let mut gauge = FeedGauge::new(settings.url.to_string(), hosts, age, now);
        if let Some(why) = fault {
            gauge.note_cache_problem(wall(), &why);
            self.tell(Reason::FeedCacheFailed, &why);
        }
        self.gauges.show_feed(Some(gauge));
    }

    /// Takes news of the feed of this number. Where `config` has other hosts now, that is to be told once
    /// they are in force.
    pub(super) fn take(&mut self, number: u64, news: News, config: &mut Config) -> Option<Updated> {
        let settings = config.feed.as_ref().filter(|_| number == self.number)?;
        let url = settings.url.to_string();
        match news {
            News::List(hosts) => return self.take_list(&url, hosts, config),
            News::Same => self.take_same(&url, config.feed_hosts.len()),
            News::Failed(why) => {
                self.is_failing = true;
                self.gauges.note_feed(|feed| feed.note_problem(wall(), &why));
                let kept = match config.feed_hosts.len() {
                    0 => "there is no list yet".to_owned(),
                    hosts => format!("what it had stays ({})", counted(hosts)),
                };
                self.tell(Reason::FeedFailed, &format!("{url}: {why}; {kept}"));
            }
            News::Kept => self.gauges.note_feed(|feed| feed.cache_problem = None),
            News::NotKept(why) => {
                self.gauges.note_feed(|feed| feed.note_cache_problem(wall(), &why));
                self.tell(Reason::FeedCacheFailed, &why);
            }
        }
        None
    }

    /// Tells that the workers have been given other hosts.
    pub(super) fn tell_updated(&self, Updated(detail): &Updated) {
        self.tell(Reason::FeedUpdated, detail);
    }

    fn take_list(
        &mut self,
        url: &str,
        hosts: Vec<HostPattern>,
        config: &mut Config,
    ) -> Option<Updated> {
        let differs = changes::hosts(config.feed_hosts.iter(), hosts.iter());
        let Some(differs) = differs else {
            self.take_same(url, hosts.len());
            return None;
        };
        self.show_good(hosts.len());
        let updated = format!("{url}: {} ({differs})", counted(hosts.len()));
        config.take_feed(hosts);
        Some(Updated(updated))
    }

    /// After a failure it is worth a line that all is well again.
    fn take_same(&mut self, url: &str, hosts: usize) {
        let has_failed = self.is_failing;
        self.show_good(hosts);
        if has_failed {
            let hosts = counted(hosts);
            self.tell(Reason::FeedUpdated, &format!("{url} can be had again: {hosts}, the same"));
        }
    }

    fn show_good(&mut self, hosts: usize) {
        self.is_failing = false;
        self.gauges.note_feed(|feed| feed.note_good(hosts, clock()));
    }

    fn start(&mut self, settings: FeedSettings, relay: RelayProxySettings) -> Option<Followed> {
        self.number += 1;
        let (number, requests) = (self.number, self.requests.clone());
        let tell = move |news| requests.send(Request::Feed(number, news)).is_ok();
        match follow(settings.clone(), relay.clone(), tell) {
            Ok(follower) => Some(Followed { settings, relay, follower }),
            Err(error) => {
                self.tell(Reason::FeedFailed, &format!("there is no thread to be had: {error}"));
                None
            }
        }
    }

    fn tell(&self, reason: Reason, detail: &str) {
        self.counters.count(reason);
        self.events.send(Event::new(reason, wall()).detail(detail));
    }
}

fn counted(hosts: usize) -> String {
    format!("{hosts} host{}", if hosts == 1 { "" } else { "s" })
}
