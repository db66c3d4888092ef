//! Targets that clients asked for, counted.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;

use crate::observe::refused::Refused;
use crate::proto::target::Target;

/// Different targets that are kept of a file: more than any fleet has, and 30 MB at most.
const TARGETS_MAX: usize = 100_000;
/// Clients that are kept of each.
const CLIENTS_MAX: usize = 8;

/// One target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) target: Target,
    pub(super) count: u64,
    /// So many of these requests were not refused for it.
    pub(super) let_through: u64,
    pub(super) clients: Vec<IpAddr>,
    /// More than these asked for it.
    pub(super) more_clients: bool,
}

/// All of them, and what there is to say beside.
#[derive(Debug, Default)]
pub(super) struct Tally {
    targets: HashMap<Target, Asked>,
    /// Requests that name no valid target.
    invalid: u64,
    /// Requests for targets beyond those that are kept.
    beyond: u64,
    /// Requests that are only known by their number.
    nameless: u64,
}

impl Tally {
    /// What a running gateway tells.
    pub(super) fn of_gateway(refused: &Refused) -> Tally {
        let mut tally = Tally { beyond: refused.pushed_out, ..Tally::default() };
        for told in &refused.targets {
            match Target::parse(told.target.as_bytes()) {
                Ok(target) => {
                    let asked = Asked {
                        target: target.clone(),
                        count: told.count,
                        let_through: told.reported.min(told.count),
                        clients: told.clients.clone(),
                        more_clients: told.more_clients,
                    };
                    tally.targets.insert(target, asked);
                }
                Err(_) => tally.invalid += told.count,
            }
        }
        tally
    }

    /// One more request for `target`, which was let through where it `is_reported`.
    pub(super) fn add(&mut self, target: &str, client: Option<IpAddr>, is_reported: bool) {
        let Ok(target) = Target::parse(target.as_bytes()) else {
            self.invalid += 1;
            return;
        };
        if self.targets.len() >= TARGETS_MAX && !self.targets.contains_key(&target) {
            self.beyond += 1;
            return;
        }
        let asked = self.targets.entry(target.clone()).or_insert(Asked {
            target,
            count: 0,
            let_through: 0,
            clients: Vec::new(),
            more_clients: false,
        });
        asked.count += 1;
        asked.let_through += u64::from(is_reported);
        if let Some(client) = client.filter(|client| !asked.clients.contains(client)) {
            match asked.clients.len() < CLIENTS_MAX {
                true => asked.clients.push(client),
                false => asked.more_clients = true,
            }
        }
    }

    /// `count` more requests for targets that nothing is known of.
    pub(super) fn add_nameless(&mut self, count: u64) {
        self.nameless = self.nameless.saturating_add(count);
    }

    /// All targets, those asked for most first, and what is to be known beside them.
    pub(super) fn finish(self) -> (Vec<Asked>, Vec<String>) {
        let mut asked: Vec<Asked> = self.targets.into_values().collect();
        asked.sort_by_cached_key(|one| (Reverse(one.count), one.target.to_string()));
        let notes = [
            (
                self.nameless,
                "left out by the flood limit of events, so that their targets are not known; \
                             the running gateway counts them all: ask it, without --from",
            ),
            (self.beyond, "for targets that found no place in the table"),
            (self.invalid, "for what is no valid target"),
        ];
        let told = notes.into_iter().filter(|(count, _)| *count > 0);
        (asked, told.map(|(count, what)| format!("{} {what}", more(count))).collect())
    }
}

/// `count` more requests, in words.
fn more(count: u64) -> String {
    if count == 1 { "1 more request".to_owned() } else { format!("{count} more requests") }
}

impl Asked {
    /// Who asked, in a few words.
    pub(super) fn who(&self) -> String {
        let Some(first) = self.clients.first() else { return "?".to_owned() };
        match (self.clients.len() - 1, self.more_clients) {
            (0, _) => first.to_string(),
            (more, false) => format!("{first} and {more} more"),
            (more, true) => format!("{first} and over {more} more"),
        }
    }
}
