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
    _follower: Follower,
}

/// With what a configuration begins to follow its feed.
#[derive(Debug, Default)]
pub(super) struct Recalled {
    age: Option<Duration>,
    fault: Option<String>,
}

/// Brings into `config` the hosts that its feed had when it was last good. `old` is the configuration
/// that is in force; where it follows the same feed, its hosts are newer than any file, and there is
/// nothing to recall.
pub(super) fn recall(config: &mut Config, old: Option<&Config>) -> Option<Recalled> {
    let settings = config.feed.as_ref()?;
    let same = old.filter(|old| old.feed.as_ref().is_some_and(|feed| feed.url == settings.url));
    if let Some(old) = same {
        config.take_feed(old.feed_hosts.clone());
        return None;
    }
    let mut recalled = Recalled::default();
    match cache::recall(settings) {
        Ok(None) => {}
        Ok(Some(kept)) => {
            recalled.age = kept.written.and_then(|written| wall().duration_since(written).ok());
            config.take_feed(kept.hosts);
        }
        Err(why) => recalled.fault = Some(why),
    }
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

    /// Follows the feed of `config` from now on, and no other.
    pub(super) fn take_up(&mut self, config: &Config, recalled: Option<Recalled>) {
        let Some(settings) = &config.feed else {
            self.followed = None;
            self.gauges.show_feed(None);
            return;
        };
        if let Some(Recalled { age, fault }) = recalled {
            let url = settings.url.to_string();
            let gauge = FeedGauge::new(url, config.feed_hosts.len(), age, clock());
            self.gauges.show_feed(Some(gauge));
            if let Some(why) = fault {
                self.tell(Reason::FeedCacheFailed, &why);
            }
        }
        let is_followed = self.followed.as_ref().is_some_and(|followed| {
            followed.settings == *settings && followed.relay == config.relay_proxy
        });
        if !is_followed {
            self.followed = self.start(settings.clone(), config.relay_proxy.clone());
        }
    }

    /// Takes news of the feed of this number. True where `config` has other hosts now.
    pub(super) fn take(&mut self, number: u64, news: News, config: &mut Config) -> bool {
        let Some(settings) = &config.feed else { return false };
        if number != self.number {
            return false;
        }
        let url = settings.url.to_string();
        match news {
            News::List(hosts) => return self.take_list(&url, hosts, config),
            News::Same => self.take_same(&url, config.feed_hosts.len()),
            News::Failed(why) => {
                self.is_failing = true;
                self.gauges.note_feed_problem(wall(), &why);
                let kept = counted(config.feed_hosts.len());
                self.tell(Reason::FeedFailed, &format!("{url}: {why}; what it had stays ({kept})"));
            }
            News::NotKept(why) => {
                self.gauges.note_feed_problem(wall(), &why);
                self.tell(Reason::FeedCacheFailed, &why);
            }
        }
        false
    }

    fn take_list(&mut self, url: &str, hosts: Vec<HostPattern>, config: &mut Config) -> bool {
        let differs = changes::hosts(config.feed_hosts.iter(), hosts.iter());
        let Some(differs) = differs else {
            self.take_same(url, hosts.len());
            return false;
        };
        self.show_good(url, hosts.len());
        self.tell(Reason::FeedUpdated, &format!("{url}: {} ({differs})", counted(hosts.len())));
        config.take_feed(hosts);
        true
    }

    /// After a failure it is worth a line that all is well again.
    fn take_same(&mut self, url: &str, hosts: usize) {
        let has_failed = self.is_failing;
        self.show_good(url, hosts);
        if has_failed {
            let hosts = counted(hosts);
            self.tell(Reason::FeedUpdated, &format!("{url} can be had again: {hosts}, the same"));
        }
    }

    fn show_good(&mut self, url: &str, hosts: usize) {
        self.is_failing = false;
        let gauge = FeedGauge::new(url.to_owned(), hosts, Some(Duration::ZERO), clock());
        self.gauges.show_feed(Some(gauge));
    }

    fn start(&mut self, settings: FeedSettings, relay: RelayProxySettings) -> Option<Followed> {
        self.number += 1;
        let (number, requests) = (self.number, self.requests.clone());
        let tell = move |news| requests.send(Request::Feed(number, news)).is_ok();
        match follow(settings.clone(), relay.clone(), tell) {
            Ok(follower) => Some(Followed { settings, relay, _follower: follower }),
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
