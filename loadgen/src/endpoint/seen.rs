//! Which uploads have come already. An agent sends an upload again only until its next is due, so the
//! last few of each agent are enough to know, and memory is bounded by the number of agents.

use std::collections::HashMap;

/// How many agents are kept apart, as many as a loadgen may have; those beyond are taken on trust.
const MOST_AGENTS: usize = 1_000_000;

/// The last uploads of each agent.
#[derive(Default)]
pub struct Seen {
    agents: HashMap<u32, Window>,
}

/// The highest number seen, and which of the 64 up to it were; the lowest bit is the highest number's.
struct Window {
    highest: u32,
    seen: u64,
}

impl Seen {
    /// Notes upload `sequence` of `agent`; tells whether it has come before. One that is older than the
    /// window cannot have been sent again in time, and counts as new.
    pub fn note(&mut self, agent: u32, sequence: u32) -> bool {
        let has_room = self.agents.len() < MOST_AGENTS;
        let Some(window) = self.agents.get_mut(&agent) else {
            if has_room {
                self.agents.insert(agent, Window { highest: sequence, seen: 1 });
            }
            return false;
        };
        if sequence > window.highest {
            let ahead = sequence - window.highest;
            window.seen = window.seen.checked_shl(ahead).unwrap_or(0) | 1;
            window.highest = sequence;
            return false;
        }
        let Some(bit) = 1_u64.checked_shl(window.highest - sequence) else { return false };
        let was_seen = window.seen & bit != 0;
        window.seen |= bit;
        was_seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_twice_is_known_in_whatever_order() {
        let table: [(u32, u32, bool); 11] = [
            (1, 0, false),
            (1, 0, true),
            (2, 0, false),
            (1, 3, false),
            (1, 2, false),
            (1, 3, true),
            (1, 2, true),
            (1, 0, true),
            (1, 70, false),
            (1, 3, false),
            (1, 70, true),
        ];
        let mut seen = Seen::default();
        for (step, (agent, sequence, expected)) in table.into_iter().enumerate() {
            assert_eq!(seen.note(agent, sequence), expected, "step {step}");
        }
    }
}
