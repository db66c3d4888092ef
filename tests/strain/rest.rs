//! What is left when everything is over: as many descriptors as before, gauges of 0, and counters that
//! are the number of events they stand for.

use std::collections::HashMap;

use crate::support::admin::Admin;
use crate::support::deadline::{PATIENCE, until};
use crate::support::events::Event;
use crate::support::gateway::Gateway;
use crate::support::process::count_descriptors;

/// A gateway before anybody came.
#[derive(Clone, Copy, Debug)]
pub struct Rest {
    admin: Admin,
    pid: u32,
    sockets: usize,
}

/// The counters of a gateway at rest.
#[derive(Debug)]
pub struct Counted(HashMap<String, f64>);

impl Rest {
    /// Looks at a gateway that has an admin listener and serves nobody yet.
    pub fn of(gateway: &Gateway) -> Rest {
        let admin = Admin::of(gateway);
        let pid = gateway.pid();
        Rest { admin, pid, sockets: count_descriptors(pid, "socket:") }
    }

    /// Its admin listener.
    pub fn admin(self) -> Admin {
        self.admin
    }

    /// Sockets of the gateway beyond those it had at first.
    pub fn sockets(self) -> usize {
        count_descriptors(self.pid, "socket:").saturating_sub(self.sockets)
    }

    /// A metric now.
    pub fn metric(self, name: &str) -> f64 {
        let told = self.admin.metrics();
        *told.get(name).unwrap_or_else(|| panic!("there is no metric {name}"))
    }

    /// Turns of all workers so far.
    pub fn turns(self) -> u64 {
        self.metric("sluice_loop_turn_seconds_count") as u64
    }

    /// Waits until nobody is connected and nothing is held, and gives what was counted.
    ///
    /// # Panics
    /// Where something stays.
    pub fn wait(self, what: &str) -> Counted {
        let mut left = String::new();
        let deadline = crate::support::deadline::Deadline::after(PATIENCE);
        loop {
            // Bytes are counted at the end of a turn, after the gauges of what ended in it, and the
            // sessions of a worker are shown after that: pages that are asked for later have all.
            let workers = self.admin.status()["workers"].clone();
            let workers = workers.as_array().expect("a status has its workers");
            let sessions: u64 =
                workers.iter().map(|it| it["sessions"].as_u64().expect("a number")).sum();
            let told = self.admin.metrics();
            let gauges = [
                "sluice_active_client_connections",
                "sluice_connected_clients",
                "sluice_pipes_out",
                "sluice_buffers_out",
            ];
            let held: Vec<_> = gauges.iter().filter(|&&name| told[name] != 0.0).collect();
            // The pages themselves came by sockets, which may not be closed yet.
            let sockets = self.sockets();
            if sessions == 0 && held.is_empty() && sockets == 0 {
                return Counted(told);
            }
            left.clear();
            left += &format!("{sessions} sessions, {held:?}, {sockets} sockets too many");
            assert!(!deadline.has_passed(), "{what}: at the end there are {left}");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    /// Waits until the gateway has so many sockets beyond those of the start.
    pub fn wait_for_sockets(self, count: usize) {
        until(&format!("{count} sockets"), PATIENCE, || (self.sockets() == count).then_some(()));
    }
}

impl Counted {
    /// A metric; 0 where it is not told.
    pub fn get(&self, name: &str) -> u64 {
        self.0.get(name).map_or(0, |value| *value as u64)
    }

    /// Refusals for this reason.
    pub fn refused(&self, reason: &str) -> u64 {
        self.get(&format!("sluice_refusals_total{{reason={reason:?}}}"))
    }

    /// Checks that the counters are the numbers of their events; lines that stand for several count as
    /// so many. `events` are those of a gateway that has stopped since.
    ///
    /// # Panics
    /// Where one is not.
    pub fn expect_exact(&self, events: &[Event], what: &str) {
        let sum = |fits: fn(&Event) -> bool| -> u64 {
            events.iter().filter(|it| fits(it)).map(number).sum()
        };
        let counted = (self.get("sluice_errors_total"), self.get("sluice_rejections_total"));
        assert_eq!(counted, (sum(is_error), sum(is_rejection)), "{what}: errors and rejections");
        let mut reasons: HashMap<&str, u64> = HashMap::new();
        for event in events {
            *reasons.entry(event.reason()).or_default() += number(event);
        }
        for (metric, value) in &self.0 {
            let Some(reason) = metric.strip_prefix("sluice_refusals_total{reason=\"") else {
                continue;
            };
            let reason = reason.trim_end_matches("\"}");
            let told = reasons.get(reason).copied().unwrap_or(0);
            assert_eq!(*value as u64, told, "{what}: refusals for {reason}");
        }
        assert_eq!(self.get("sluice_events_lost_total"), 0, "{what}");
        let bytes = |key: &str| -> u64 {
            let ends = events.iter().filter(|event| event.reason() == "session_ended");
            ends.map(|end| end.number(key)).sum()
        };
        for direction in ["up", "down"] {
            let relayed = self.get(&format!("sluice_bytes_total{{direction={direction:?}}}"));
            assert_eq!(relayed, bytes(&format!("bytes_{direction}")), "{what}: bytes {direction}");
        }
    }
}

/// Whether this event is the end of a session, and such a one.
pub fn ends_by(event: &Event, ending: &str) -> bool {
    event.reason() == "session_ended" && event.text("ending") == ending
}

/// For how many a line stands.
fn number(event: &Event) -> u64 {
    if event.has("count") { event.number("count") } else { 1 }
}

/// Error Count, by the table of the contract.
fn is_error(event: &Event) -> bool {
    matches!(event.id(), 400..=403)
}

/// Rejection Count, by the table of the contract.
fn is_rejection(event: &Event) -> bool {
    let reason = event.reason();
    matches!(event.id(), 106 | 402)
        || reason.starts_with("server_name_")
        || reason.starts_with("client_certificate_")
}
