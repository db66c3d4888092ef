//! The targets that clients asked for and the list of hosts does not admit: how often, and who asked. It is
//! what an operator needs to write the list, and what the flood limit of events would leave out.
//!
//! Only a refusal takes its lock, or what `allow.mode = "report"` lets through instead. What clients choose
//! must not grow without bound: a full table gives the place of its least wanted target away, so that one
//! client that invents names pushes out its own before those that many ask for.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::SystemTime;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::lines::rfc_3339;
use crate::logic::policy::AllowMode;
use crate::logic::reason::Reason;

/// Targets that are kept.
const TARGETS_MAX: usize = 1_000;
/// Clients that are named for each.
const CLIENTS_MAX: usize = 8;

/// The targets of one gateway since its start.
#[derive(Debug, Default)]
pub struct RefusedTargets(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    asked: HashMap<Box<str>, Asked>,
    /// Requests for targets that have lost their place.
    pushed_out: u64,
}

#[derive(Debug)]
struct Asked {
    reason: Reason,
    count: u64,
    reported: u64,
    clients: Vec<IpAddr>,
    more_clients: bool,
    last: SystemTime,
}

/// One request that the list of hosts does not admit.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Who asked.
    pub client: IpAddr,
    /// Why it is not admitted.
    pub reason: Reason,
    /// It was not refused for it.
    pub is_reported: bool,
    /// When.
    pub at: SystemTime,
}

/// All of them, as the admin listener tells them. A field that another version does not tell is read as
/// empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Refused {
    /// `enforce` or `report`.
    pub mode: String,
    /// Since when they are counted, RFC 3339.
    pub since: String,
    /// Those asked for most come first.
    pub targets: Vec<RefusedTarget>,
    /// Requests for targets that are not among them, because there was no place.
    pub pushed_out: u64,
}

/// One target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RefusedTarget {
    /// `host:port`.
    pub target: String,
    /// Why it is not admitted; the last reason where it has changed.
    pub reason: String,
    /// Requests for it.
    pub count: u64,
    /// How many of them were let through all the same.
    pub reported: u64,
    /// Addresses that asked for it, eight at most.
    pub clients: Vec<IpAddr>,
    /// More than these asked for it.
    pub more_clients: bool,
    /// When it was asked for last, RFC 3339.
    pub last: String,
}

impl RefusedTargets {
    /// Counts a request for `target`, a `host:port` in canonical form.
    pub fn count(&self, target: &str, request: Request) {
        let mut table = self.0.lock();
        if !table.asked.contains_key(target) {
            table.make_room();
        }
        let asked = table.asked.entry(target.into()).or_insert_with(|| Asked {
            reason: request.reason,
            count: 0,
            reported: 0,
            clients: Vec::new(),
            more_clients: false,
            last: request.at,
        });
        asked.reason = request.reason;
        asked.count += 1;
        asked.reported += u64::from(request.is_reported);
        asked.last = request.at;
        let client = request.client.to_canonical();
        if !asked.clients.contains(&client) {
            match asked.clients.len() < CLIENTS_MAX {
                true => asked.clients.push(client),
                false => asked.more_clients = true,
            }
        }
    }

    /// All that is known of a gateway that started at `since`.
    pub fn told(&self, since: SystemTime, mode: AllowMode) -> Refused {
        let table = self.0.lock();
        let told = |target: &str, asked: &Asked| RefusedTarget {
            target: target.to_owned(),
            reason: asked.reason.to_string(),
            count: asked.count,
            reported: asked.reported,
            clients: asked.clients.clone(),
            more_clients: asked.more_clients,
            last: rfc_3339(asked.last),
        };
        let mut targets: Vec<RefusedTarget> =
            table.asked.iter().map(|(target, asked)| told(target, asked)).collect();
        let pushed_out = table.pushed_out;
        // Sorting is nothing that a worker should wait for.
        drop(table);
        targets.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.target.cmp(&b.target)));
        Refused { mode: mode.as_str().to_owned(), since: rfc_3339(since), targets, pushed_out }
    }
}

impl Table {
    fn make_room(&mut self) {
        if self.asked.len() < TARGETS_MAX {
            return;
        }
        let worth = |asked: &Asked| (asked.clients.len(), asked.count, asked.last);
        let least = self.asked.iter().min_by_key(|(_, asked)| worth(asked));
        if let Some(target) = least.map(|(target, _)| target.clone()) {
            let gone = self.asked.remove(&target).map_or(0, |asked| asked.count);
            self.pushed_out += gone;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn request(client: [u8; 4], second: u64) -> Request {
        Request {
            client: client.into(),
            reason: Reason::HostNotAllowed,
            is_reported: false,
            at: SystemTime::UNIX_EPOCH + Duration::from_secs(second),
        }
    }

    fn told(targets: &RefusedTargets) -> Refused {
        targets.told(SystemTime::UNIX_EPOCH, AllowMode::Report)
    }

    #[test]
    fn each_target_has_its_count_and_its_clients() {
        let targets = RefusedTargets::default();
        for second in 0..20 {
            targets.count("b.test:443", request([10, 0, 0, second as u8 % 12], second));
        }
        let reported = Request {
            reason: Reason::PortNotAllowed,
            is_reported: true,
            client: "::ffff:10.0.0.1".parse().unwrap(),
            ..request([0; 4], 5)
        };
        targets.count("a.test:80", request([10, 0, 0, 1], 4));
        targets.count("a.test:80", reported);
        let told = told(&targets);
        assert_eq!((told.mode.as_str(), told.pushed_out), ("report", 0));
        let [b, a] = &told.targets[..] else { panic!("{told:?}") };
        assert_eq!((b.target.as_str(), b.count, b.reported), ("b.test:443", 20, 0));
        assert_eq!((b.clients.len(), b.more_clients), (8, true));
        assert_eq!(
            (b.last.as_str(), b.reason.as_str()),
            ("1970-01-01T00:00:19.000Z", "host_not_allowed")
        );
        assert_eq!((a.count, a.reported, a.reason.as_str()), (2, 1, "port_not_allowed"));
        assert_eq!((a.clients.len(), a.more_clients), (1, false), "a mapped address is IPv4");
    }

    #[test]
    fn a_client_that_invents_names_pushes_out_its_own() {
        let targets = RefusedTargets::default();
        targets.count("fleet.test:443", request([10, 0, 0, 1], 0));
        targets.count("fleet.test:443", request([10, 0, 0, 2], 0));
        for number in 0..TARGETS_MAX as u64 + 100 {
            for _ in 0..3 {
                targets.count(&format!("t{number}.test:443"), request([10, 9, 9, 9], number));
            }
        }
        let told = told(&targets);
        assert_eq!((told.targets.len(), told.pushed_out), (TARGETS_MAX, 3 * 101));
        assert!(told.targets.iter().any(|one| one.target == "fleet.test:443"));
        assert!(told.targets.iter().any(|one| one.target == "t1099.test:443"));
    }
}
