//! The relay proxies of a gateway over its generations: how one fares outlives a reload that keeps it.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::Instant;

use crate::config::relay_proxy::RelayProxySettings;
use crate::logic::relay_proxies::{RelayProxy, RelayRules};
use crate::proto::via::ViaName;

/// The relay proxies in force, and the name by which this gateway finds its own requests again.
#[derive(Debug)]
pub(super) struct Roster {
    name: ViaName,
    proxies: Vec<Arc<RelayProxy>>,
}

impl Roster {
    /// Nobody yet, and a new name.
    pub(super) fn new() -> Roster {
        // Two random numbers of the system are in the state; nobody outside can tell them.
        let random = RandomState::new().build_hasher().finish();
        Roster { name: ViaName::new(random), proxies: Vec::new() }
    }

    /// The rules of another configuration.
    pub(super) fn rules(&mut self, settings: &RelayProxySettings, now: Instant) -> RelayRules {
        let known = |address| self.proxies.iter().find(|proxy| proxy.address() == address).cloned();
        let proxies = settings.addresses.iter().map(|address| {
            known(address).unwrap_or_else(|| Arc::new(RelayProxy::new(address.clone(), now)))
        });
        self.proxies = proxies.collect();
        RelayRules {
            proxies: self.proxies.clone(),
            direct: settings.direct_hosts(),
            authorization: settings.authorization.clone().map(Arc::new),
            name: self.name.clone(),
        }
    }

    /// Those in force, in order of preference.
    pub(super) fn proxies(&self) -> &[Arc<RelayProxy>] {
        &self.proxies
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test may ask the clock")]
mod tests {
    use super::*;
    use crate::logic::relay_proxies::Failure;
    use crate::proto::target::Target;

    #[test]
    fn how_a_relay_proxy_fares_outlives_a_reload_that_keeps_it() {
        let now = Instant::now();
        let settings = |addresses: &[&str]| RelayProxySettings {
            addresses: addresses
                .iter()
                .map(|text| Target::parse(text.as_bytes()).unwrap())
                .collect(),
            ..RelayProxySettings::default()
        };
        let mut roster = Roster::new();
        let first = roster.rules(&settings(&["a:1", "b:1"]), now);
        first.proxies[1].failed(Failure::Unreachable, now);
        let second = roster.rules(&settings(&["c:1", "b:1"]), now);
        let failures: Vec<u64> =
            second.proxies.iter().map(|proxy| proxy.fares(now).failures).collect();
        assert_eq!(failures, [0, 1]);
        assert_eq!(roster.proxies().len(), 2);
        assert_eq!(first.name, second.name);
        assert_ne!(roster.rules(&settings(&[]), now).name, Roster::new().name);
    }
}
