//! What a session waits for with a deadline, and what becomes of it when that passes: before anything is
//! judged late, one more look is taken at what has come.

use std::time::{Duration, Instant};

use super::tools::{Fate, Tools};
use super::tunnel::Tunnel;
use crate::logic::ending::Stage;
use crate::logic::session::Input;
use crate::net::kernel::Kernel;

/// Pause after the system lacked memory for a read or a write. No event tells when it has some again.
const SCARCE_PAUSE: Duration = Duration::from_millis(20);

impl<K: Kernel> Tunnel<K> {
    /// When [`Tunnel::deadline_passed`] is due, as seen at `now`.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        if let Some(parting) = &self.parting {
            return Some(parting.again_at());
        }
        let attempt = self.dialling.as_ref().and_then(|dialling| dialling.next_at());
        let is_scarce = self.up.flow.is_scarce() || self.down.flow.is_scarce();
        let again = is_scarce.then(|| now + SCARCE_PAUSE);
        let relay_proxy = self.relay_proxy_until();
        [self.session.deadline(), attempt, relay_proxy, again].into_iter().flatten().min()
    }

    /// The deadline of [`Tunnel::deadline`] has come.
    pub fn deadline_passed(&mut self, tools: &mut Tools<K>) -> Fate {
        if self.parting.is_some() {
            return self.part(tools);
        }
        if self.up.flow.try_again() | self.down.flow.try_again() {
            let fate = self.drive(tools);
            if fate != Fate::Rest {
                return fate;
            }
        }
        let now = tools.kernel.now();
        if self.session.stage() == Stage::AwaitAddress
            && self.session.deadline().is_some_and(|deadline| now >= deadline)
        {
            // The resolver is silent. What it said before is better than nothing.
            let known = self.name().and_then(|name| tools.kernel.recall(&name));
            if let Some(addresses) = known {
                self.stop_waiting_for_name(tools);
                return self.tell(Input::Resolved(Ok(&addresses)), tools);
            }
        }
        if self.relay_proxy_until().is_some_and(|until| now >= until) {
            return self.relay_proxy_is_late(tools);
        }
        let stage = self.session.stage();
        let looked = match stage {
            Stage::AwaitAddress | Stage::Refusing => Fate::Rest,
            Stage::AwaitDial => self.dial(tools),
            _ => self.look_once_more(tools),
        };
        let has_moved_on = stage == Stage::AwaitDial && self.session.stage() != stage;
        if matches!(looked, Fate::Over(_)) || self.parting.is_some() || has_moved_on {
            return looked;
        }
        match self.tell(Input::Deadline, tools) {
            Fate::Rest => looked,
            ended => ended,
        }
    }

    /// Bytes may be there that no event has told of yet: behind more events than one poll gives, or
    /// after a pause of the whole process. They count before the deadline does.
    fn look_once_more(&mut self, tools: &mut Tools<K>) -> Fate {
        for flow in [&mut self.up.flow, &mut self.down.flow] {
            flow.source_is_ready();
            flow.sink_is_ready();
        }
        self.drive(tools)
    }
}
