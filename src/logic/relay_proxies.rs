//! Which relay proxies a session tries, and in which order: as configured, but one that failed others
//! a moment ago comes last.
//!
//! Health is passive. Whoever cannot be reached or does not answer in time is passed over for
//! [`SKIPPED`]; after that one session at a time tries it again. A 503 sends a session on to the next
//! relay proxy, and counts against the one that said it only if another then opens the tunnel: relay
//! proxies say 503 also where the target is what cannot be reached.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::hosts::{HostVerdict, Hosts};
use super::policy::Refusal;
use super::reason::Reason;
use super::secret::Secret;
use crate::proto::target::Target;
use crate::proto::via::ViaName;

/// How long a relay proxy that failed is passed over.
pub const SKIPPED: Duration = Duration::from_secs(10);

/// How sessions get out: directly, or through one of these.
#[derive(Clone, Debug, Default)]
pub struct RelayRules {
    /// In order of preference; none = every session goes directly.
    pub proxies: Vec<Arc<RelayProxy>>,
    /// Hosts that are reached directly all the same.
    pub direct: Hosts,
    /// The value of `Proxy-Authorization`.
    pub authorization: Option<Arc<Secret>>,
    /// By which this gateway finds a request that it has sent itself.
    pub name: ViaName,
}

impl RelayRules {
    /// Whether `target` is reached through a relay proxy.
    pub fn lead_to(&self, target: &Target) -> bool {
        !self.proxies.is_empty() && !matches!(self.direct.judge(target), HostVerdict::Allowed(_))
    }
}

/// One relay proxy and how it fares, shared by all workers and kept over reloads.
#[derive(Debug)]
pub struct RelayProxy {
    address: Target,
    base: Instant,
    /// Microseconds after `base`; 0 = it is not passed over.
    skipped_until: AtomicU64,
    /// Microseconds after `base` of its last answer.
    answered: AtomicU64,
    /// A [`Failure`] as a number, or 0 while it works.
    failure: AtomicU8,
    failures: AtomicU64,
}

/// What was wrong with a relay proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Failure {
    /// Its name has no address, or no address could be connected.
    Unreachable = 1,
    /// It did not answer in time.
    Silent = 2,
    /// It said 503 where another one opened the tunnel.
    Unavailable = 3,
    /// It took the connection and closed it without an answer.
    Closed = 4,
}

/// How a relay proxy fares, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fares {
    /// Why it counts as lost; `None` while it works, or has not been needed yet.
    pub lost: Option<Failure>,
    /// For so long it is passed over.
    pub skipped: Duration,
    /// Failures since the start, one for each session that met one.
    pub failures: u64,
}

impl RelayProxy {
    /// A relay proxy that nobody has tried yet.
    pub fn new(address: Target, now: Instant) -> RelayProxy {
        RelayProxy {
            address,
            base: now,
            skipped_until: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            failure: AtomicU8::new(0),
            failures: AtomicU64::new(0),
        }
    }

    /// Where it is.
    pub fn address(&self) -> &Target {
        &self.address
    }

    /// How it fares.
    pub fn fares(&self, now: Instant) -> Fares {
        let us = self.skipped_until.load(Relaxed).saturating_sub(self.since_base(now));
        Fares {
            lost: Failure::of(self.failure.load(Relaxed)),
            skipped: Duration::from_micros(us),
            failures: self.failures.load(Relaxed),
        }
    }

    /// It failed; true where it had worked until now.
    pub fn failed(&self, failure: Failure, now: Instant) -> bool {
        self.failures.fetch_add(1, Relaxed);
        self.skipped_until.store(self.since_base(now + SKIPPED), Relaxed);
        self.failure.swap(failure as u8, Relaxed) == 0
    }

    /// It answered; true where it had failed until now.
    pub fn answered(&self, now: Instant) -> bool {
        self.answered.fetch_max(self.since_base(now), Relaxed);
        self.skipped_until.store(0, Relaxed);
        self.failure.swap(0, Relaxed) != 0
    }

    /// Whether it has answered anybody since then: where it has not, its silence is its own and not
    /// that of one target.
    pub fn has_answered_since(&self, then: Instant) -> bool {
        let answered = self.answered.load(Relaxed);
        answered > 0 && answered >= self.since_base(then)
    }

    /// Whether a session may count on it now. Where the time of a failed one is over, one session is
    /// told so, and the others once that one has had time to find out.
    fn is_due(&self, now: Instant) -> bool {
        let until = self.skipped_until.load(Relaxed);
        if until == 0 {
            return true;
        }
        let next = self.since_base(now + SKIPPED);
        until <= self.since_base(now)
            && self.skipped_until.compare_exchange(until, next, Relaxed, Relaxed).is_ok()
    }

    fn since_base(&self, time: Instant) -> u64 {
        // 580,000 years fit; never 0, which means "never".
        time.saturating_duration_since(self.base).as_micros() as u64 + 1
    }
}

impl Failure {
    /// In a few words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Failure::Unreachable => "it cannot be reached",
            Failure::Silent => "it does not answer in time",
            Failure::Unavailable => "it says 503",
            Failure::Closed => "it closes connections without an answer",
        }
    }

    fn of(number: u8) -> Option<Failure> {
        [Failure::Unreachable, Failure::Silent, Failure::Unavailable, Failure::Closed]
            .into_iter()
            .find(|failure| *failure as u8 == number)
    }
}

/// The relay proxies that one session tries, one after the other.
#[derive(Debug)]
pub struct Candidates {
    waiting: VecDeque<Arc<RelayProxy>>,
    current: Option<Arc<RelayProxy>>,
    /// Those that said 503.
    unavailable: Vec<Arc<RelayProxy>>,
    refusals: Vec<Refusal>,
}

impl Candidates {
    /// All of `rules`, those first that are not passed over.
    pub fn new(rules: &RelayRules, now: Instant) -> Candidates {
        let (due, skipped): (Vec<_>, Vec<_>) =
            rules.proxies.iter().cloned().partition(|proxy| proxy.is_due(now));
        Candidates {
            waiting: due.into_iter().chain(skipped).collect(),
            current: None,
            unavailable: Vec::new(),
            refusals: Vec::new(),
        }
    }

    /// Goes on to the next one; none is left where this is `None`.
    pub fn advance(&mut self) -> Option<&Arc<RelayProxy>> {
        self.current = self.waiting.pop_front();
        self.current.as_ref()
    }

    /// The one that is being tried.
    pub fn current(&self) -> Option<&Arc<RelayProxy>> {
        self.current.as_ref()
    }

    /// How many may still be tried, with the present one.
    pub fn left(&self) -> u32 {
        self.waiting.len() as u32 + u32::from(self.current.is_some())
    }

    /// How many have been tried before the present one.
    pub fn tried(&self) -> usize {
        self.refusals.len()
    }

    /// The present one could not be used, for this reason.
    pub fn refused(&mut self, refusal: Refusal) {
        if refusal.reason == Reason::RelayProxyRefused {
            self.unavailable.extend(self.current.clone());
        }
        self.refusals.push(refusal);
    }

    /// Those that said 503 before the present one opened the tunnel.
    pub fn take_unavailable(&mut self) -> Vec<Arc<RelayProxy>> {
        std::mem::take(&mut self.unavailable)
    }

    /// Why none of them could be used: the last reason, with the words of all.
    pub fn refusal(&mut self) -> Refusal {
        let refusals = std::mem::take(&mut self.refusals);
        let reason = refusals.last().map_or(Reason::RelayProxyUnreachable, |last| last.reason);
        let words: Vec<&str> =
            refusals.iter().filter_map(|refusal| refusal.detail.as_deref()).collect();
        if words.is_empty() {
            return Refusal::plain(reason);
        }
        Refusal::because(reason, words.join("; "))
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test may ask the clock")]
mod tests {
    use super::*;
    use crate::logic::hosts::HostPattern;

    fn rules(names: &[&str], now: Instant) -> RelayRules {
        let proxy =
            |name: &&str| Arc::new(RelayProxy::new(Target::parse(name.as_bytes()).unwrap(), now));
        RelayRules { proxies: names.iter().map(proxy).collect(), ..RelayRules::default() }
    }

    fn order(rules: &RelayRules, now: Instant) -> Vec<String> {
        let mut candidates = Candidates::new(rules, now);
        let mut names = Vec::new();
        while let Some(proxy) = candidates.advance() {
            names.push(proxy.address().to_string());
        }
        names
    }

    #[test]
    fn preference_rules_and_those_that_failed_come_last_for_a_while() {
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        let rules = rules(&["a:1", "b:1", "c:1"], start);
        assert_eq!(order(&rules, start), ["a:1", "b:1", "c:1"]);
        assert!(rules.proxies[0].failed(Failure::Unreachable, start), "it is lost");
        assert!(!rules.proxies[0].failed(Failure::Silent, start), "it was lost before");
        assert_eq!(order(&rules, start), ["b:1", "c:1", "a:1"]);
        rules.proxies[1].failed(Failure::Unavailable, after(1));
        assert_eq!(order(&rules, after(9_999)), ["c:1", "a:1", "b:1"]);
        assert_eq!(order(&rules, after(10_000)), ["a:1", "c:1", "b:1"], "one session tries it");
        assert_eq!(order(&rules, after(10_000)), ["c:1", "a:1", "b:1"], "and no other");
        assert_eq!(order(&rules, after(20_000)), ["a:1", "b:1", "c:1"], "the first has vanished");
        rules.proxies[2].failed(Failure::Silent, after(20_000));
        assert_eq!(order(&rules, after(20_001)), ["a:1", "b:1", "c:1"], "all are tried anyway");
        assert!(rules.proxies[2].answered(after(20_002)), "it is back");
        assert!(!rules.proxies[2].answered(after(20_003)), "it was back before");
        assert_eq!(order(&rules, after(20_003)), ["c:1", "a:1", "b:1"]);
    }

    #[test]
    fn how_one_fares_is_shown() {
        let start = Instant::now();
        let proxy = RelayProxy::new(Target::parse(b"a:1").unwrap(), start);
        let well = Fares { lost: None, skipped: Duration::ZERO, failures: 0 };
        assert_eq!(proxy.fares(start), well);
        proxy.failed(Failure::Silent, start);
        let lost = Fares { lost: Some(Failure::Silent), skipped: SKIPPED, failures: 1 };
        assert_eq!(proxy.fares(start), lost);
        let later = start + SKIPPED;
        assert_eq!(proxy.fares(later), Fares { skipped: Duration::ZERO, ..lost });
        assert!(!proxy.has_answered_since(start));
        proxy.answered(later);
        assert_eq!(proxy.fares(later), Fares { failures: 1, ..well });
        assert!(proxy.has_answered_since(later) && proxy.has_answered_since(start));
        assert!(!proxy.has_answered_since(later + Duration::from_micros(1)));
    }

    #[test]
    fn the_last_reason_counts_and_all_words_are_kept() {
        let now = Instant::now();
        let mut candidates = Candidates::new(&rules(&["a:1", "b:1"], now), now);
        assert_eq!((candidates.left(), candidates.tried()), (2, 0));
        assert_eq!(candidates.advance().unwrap().address().to_string(), "a:1");
        candidates.refused(Refusal::because(Reason::RelayProxyRefused, "a says 503"));
        assert_eq!(candidates.advance().unwrap().address().to_string(), "b:1");
        assert_eq!((candidates.left(), candidates.tried()), (1, 1));
        candidates.refused(Refusal::because(Reason::RelayProxyUnreachable, "b is gone"));
        assert!(candidates.advance().is_none() && candidates.left() == 0);
        let unavailable: Vec<String> =
            candidates.take_unavailable().iter().map(|proxy| proxy.address().to_string()).collect();
        assert_eq!(unavailable, ["a:1"]);
        let refusal = Refusal::because(Reason::RelayProxyUnreachable, "a says 503; b is gone");
        assert_eq!(candidates.refusal(), refusal);
    }

    #[test]
    fn some_hosts_go_directly_and_all_do_without_a_relay_proxy() {
        let now = Instant::now();
        let target = |text: &str| Target::parse(text.as_bytes()).unwrap();
        let mut rules = rules(&["a:1"], now);
        rules.direct = Hosts::new(
            ["*.near.test", "10.0.0.1:8443"].map(|text| HostPattern::parse(text).unwrap()),
        );
        for (text, leads) in [
            ("far.test:443", true),
            ("near.test:443", true),
            ("x.near.test:443", false),
            ("x.near.test:8443", true),
            ("10.0.0.1:8443", false),
            ("10.0.0.2:8443", true),
        ] {
            assert_eq!(rules.lead_to(&target(text)), leads, "{text}");
        }
        rules.proxies.clear();
        assert!(!rules.lead_to(&target("far.test:443")));
    }
}
