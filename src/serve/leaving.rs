//! How a session leaves: last words, a reset that is passed on, the close and what is told of it.

use super::farewell::Farewell;
use super::parting::Parting;
use super::tools::{Fate, Tools};
use super::tunnel::Tunnel;
use crate::logic::ending::{Cause, Ending, Side};
use crate::logic::policy::Refusal;
use crate::logic::reason::Reason;
use crate::logic::session::Input;
use crate::net::kernel::Kernel;
use crate::observe::events::{Ended, Event, rule, status};
use crate::observe::histograms::Measure;
use crate::observe::messages::{message, phrase};
use crate::proto::reply;

/// The id of events that tell of a refusal by the operator's rules.
const RULES_ID: u16 = 105;

impl<K: Kernel> Tunnel<K> {
    /// Closes what is open and tells of the end. Nothing of the session is left but its slot.
    pub fn close(&mut self, ending: Ending, tools: &mut Tools<K>) {
        self.stop_waiting_for_name(tools);
        self.stop_dialling(tools);
        self.up.carrier.release(&mut tools.pools);
        self.down.carrier.release(&mut tools.pools);
        let resets = matches!(
            ending.cause,
            Cause::Reset
                | Cause::Idle
                | Cause::HalfClosed
                | Cause::TooOld
                | Cause::Cut
                | Cause::Stopping
                | Cause::Panicked
        );
        for stream in [self.client.take(), self.remote.take()].into_iter().flatten() {
            if resets {
                tools.kernel.reset(stream);
            } else {
                tools.kernel.close(stream);
            }
        }
        tools.counters.connection_closed(self.client_address.ip());
        if std::mem::take(&mut self.is_placed) {
            tools.counters.give_place_back();
        }
        if self.head_was_whole {
            // A client that leaves while its name is looked up was not refused.
            self.tell_report(tools);
            tools.counters.tunnel_closed();
            tools.time(Measure::Session, self.began);
            if self.up.flow.bytes() > 0 {
                tools.gauges.histograms.record(Measure::Upload, self.up.flow.bytes());
            }
            let ended = Ended {
                ending,
                bytes_up: self.up.flow.bytes(),
                bytes_down: self.down.flow.bytes(),
                duration: tools.kernel.now().saturating_duration_since(self.began),
            };
            self.tell_event(Reason::SessionEnded, tools, |event| event.ended(ended));
        }
    }

    /// The session's code panicked: what it held is dropped unseen, the rest of the gateway goes on.
    pub fn close_after_panic(&mut self, panic: &str, tools: &mut Tools<K>) {
        let ending =
            Ending { stage: self.session.stage(), side: Side::Gateway, cause: Cause::Panicked };
        self.tell_event(Reason::SessionPanicked, tools, |event| event.detail(panic));
        self.up.carrier.destroy(&mut tools.pools);
        self.down.carrier.destroy(&mut tools.pools);
        self.close(ending, tools);
    }

    pub(super) fn refuse_with(&mut self, refusal: &Refusal, tools: &mut Tools<K>) -> Fate {
        // A CONNECT that is refused for its host has not been told of yet.
        if self.session.target().is_some() && !self.head_was_whole {
            self.head_was_whole = true;
            tools.counters.tunnel_opened();
            self.tell_event(Reason::ConnectReceived, tools, |event| event);
        }
        let reason = refusal.reason;
        if Reason::OF_HOSTS.contains(&reason) {
            self.count_target(reason, false, tools);
        }
        if rule(reason).id == RULES_ID || reason == Reason::Draining {
            // Something else has refused what the list of hosts would only have reported.
            if let Some(listed) = self.session.take_reported() {
                self.count_target(listed, false, tools);
            }
        } else {
            self.tell_report(tools);
        }
        let in_tunnel = self.session.is_watching();
        let mut event = self.describe(Event::new(reason, tools.kernel.wall()));
        if let Some(detail) = &refusal.detail {
            event = event.detail(detail.clone());
        }
        if !in_tunnel {
            event = event.status(status(reason));
        }
        let words = if in_tunnel {
            // What was let through, or is left of the 200, goes first: an alert in the middle of a record
            // would be no alert.
            let held = self.down.carrier.held();
            let own = self.down.flow.own_held().min(held.len());
            let passed = if self.down.flow.is_waiting() { &held[..own] } else { held };
            let mut words = passed.to_vec();
            words.extend(self.session.alert(reason).into_iter().flatten());
            words
        } else {
            reply::refusal(&reply::Refusal {
                status: status(reason),
                phrase: phrase(reason),
                reason: reason.as_str(),
                event: rule(reason).id,
                session: &self.id,
                text: &message(&event),
            })
        };
        tools.tell(reason, |_| event);
        self.stop_waiting_for_name(tools);
        self.stop_dialling(tools);
        self.session.forget_handshake();
        if let Some(remote) = self.remote.take() {
            tools.kernel.close(remote);
        }
        self.up.abandon(&mut tools.pools);
        self.down.abandon(&mut tools.pools);
        self.farewell = Some(Box::new(Farewell::new(words)));
        self.say_farewell(tools)
    }

    pub(super) fn say_farewell(&mut self, tools: &mut Tools<K>) -> Fate {
        let (Some(farewell), Some(client)) = (&mut self.farewell, &mut self.client) else {
            return self.tell(Input::RefusalRead, tools);
        };
        if farewell.proceed(&mut tools.kernel, client) {
            return self.tell(Input::RefusalRead, tools);
        }
        Fate::Rest
    }

    /// A reset is passed on only after the bytes that came before it.
    pub(super) fn over(&mut self, ending: Ending, tools: &mut Tools<K>) -> Fate {
        if ending.cause != Cause::Reset {
            return Fate::Over(ending);
        }
        let gone = match ending.side {
            Side::Client => self.client.take(),
            Side::Remote => self.remote.take(),
            Side::Gateway => None,
        };
        if let Some(stream) = gone {
            tools.kernel.close(stream);
        }
        self.up.abandon(&mut tools.pools);
        self.down.abandon(&mut tools.pools);
        self.parting = Some(Box::new(Parting::new(ending, tools.kernel.now())));
        self.part(tools)
    }

    pub(super) fn part(&mut self, tools: &mut Tools<K>) -> Fate {
        let Some(parting) = &mut self.parting else { return Fate::Rest };
        let left = self.client.as_ref().or(self.remote.as_ref());
        // The send queue of a socket that was reset itself keeps its length for ever.
        let unsent = left.is_some_and(|stream| {
            tools.kernel.unsent_bytes(stream) > 0
                && tools.kernel.is_connected(stream).is_ok_and(|connected| connected)
        });
        if unsent && parting.wait(tools.kernel.now()) {
            return Fate::Rest;
        }
        Fate::Over(parting.ending())
    }
}
