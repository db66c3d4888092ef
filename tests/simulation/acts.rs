//! What happens beside the gateway: the network carries, resets arrive, dials end, names are answered.

use std::io::ErrorKind;

use sluice::serve::orders::Order;

use crate::link::{LinkId, State, Who};
use crate::options::PollModel;
use crate::world::{Act, ActorId, Letter, World};

impl World {
    pub fn perform(&mut self, act: Act) {
        let now_us = self.now_us;
        if !matches!(act, Act::Wake(_)) {
            self.trace.note(now_us, || format!("      {act:?}"));
        }
        match act {
            Act::Transit(link, from) => self.transit(link, from),
            Act::Acknowledge(link, of, bytes) => {
                self.links[link].end(of).unacknowledged_bytes -= bytes;
            }
            Act::Reset(link, to) => self.reset_comes(link, to),
            Act::Outcome(link, outcome) => self.dial_ends(link, outcome),
            Act::Arrive(link) if self.options.by_mail => {
                self.letters.push_back(Letter::Accepted(link))
            }
            Act::Arrive(link) if !self.listens => self.plan_reset(link, Who::Actor),
            Act::Arrive(link) => {
                self.backlog.push_back(link);
                self.backlog_told = false;
            }
            Act::Answer(name) => self.answer(&name),
            Act::Wake(actor) => self.wake_now(actor),
            Act::Spurious => self.spurious(),
            Act::Reload(number) => self.reload(number),
            Act::Unlisten => self.order(Order::Unlisten(0)),
            Act::Stop => self.letters.push_back(Letter::Stop),
        }
    }

    fn wake_now(&mut self, id: ActorId) {
        if let Some(mut actor) = self.actors[id].take() {
            actor.wake(id, self);
            self.actors[id] = Some(actor);
        }
    }

    fn transit(&mut self, link: LinkId, from: Who) {
        self.links[link].end(from).transit_planned = false;
        if !self.links[link].has_transit(from) {
            return;
        }
        let piece_max = self.links[link].look(from).piece_max;
        let (sender, receiver) = self.links[link].both(from);
        if receiver.closed || receiver.state == State::Dead {
            // What comes to a closed end is answered with a reset; the sender keeps it until then.
            let bytes_lost = !sender.outgoing.is_empty();
            // An end behind such bytes never gets there.
            sender.end_sent |= sender.shut && !bytes_lost;
            if bytes_lost && !sender.closed {
                self.plan_reset(link, from);
            }
            return;
        }
        let mut room = receiver.incoming_max - receiver.incoming_bytes.min(receiver.incoming_max);
        let mut moved = 0;
        while room > 0 && !sender.outgoing.is_empty() {
            let longest = piece_max.min(room).min(sender.outgoing.len());
            let piece =
                if self.options.uneven_pieces { 1 + self.chance.below(longest) } else { longest };
            receiver.incoming.push_back(sender.outgoing.drain(..piece).collect());
            room -= piece;
            moved += piece;
        }
        receiver.incoming_bytes += moved;
        sender.unacknowledged_bytes += moved;
        let ends_now = sender.outgoing.is_empty() && sender.shut && !sender.end_sent;
        if ends_now && (moved == 0 || !self.chance.once_in(4)) {
            sender.end_sent = true;
            receiver.end_came = true;
        }
        let delay_us = self.options.acknowledge_us;
        self.plan(delay_us, Act::Acknowledge(link, from, moved));
        self.tell(link, from.other(), true, false, false);
        if self.links[link].look(from).watch.starved && self.links[link].look(from).is_writable() {
            self.links[link].end(from).watch.starved = false;
            self.tell(link, from, false, true, false);
        }
        if from == Who::Actor {
            self.wake(link);
        }
        self.plan_transit(link, from);
    }

    fn reset_comes(&mut self, link: LinkId, to: Who) {
        let loses_unread = match to {
            Who::Gateway => self.options.model == PollModel::Windows,
            Who::Actor => self.chance.once_in(self.options.actor_loses_unread_once_in),
        };
        let end = self.links[link].end(to);
        if end.state == State::Dead {
            return;
        }
        let after_end = end.end_came && !end.error_stays;
        end.error =
            Some(if after_end { ErrorKind::BrokenPipe } else { ErrorKind::ConnectionReset });
        end.stuck_bytes = end.unsent_bytes();
        end.state = State::Dead;
        end.outgoing.clear();
        if loses_unread {
            end.incoming.clear();
            end.incoming_bytes = 0;
        }
        self.tell(link, to, true, true, true);
    }

    fn dial_ends(&mut self, link: LinkId, outcome: Result<(), ErrorKind>) {
        if self.links[link].look(Who::Gateway).closed {
            return;
        }
        match outcome {
            Ok(()) => {
                for who in [Who::Gateway, Who::Actor] {
                    self.links[link].end(who).state = State::Open;
                }
                self.tell(link, Who::Gateway, false, true, false);
                self.wake(link);
            }
            Err(kind) => {
                let end = self.links[link].end(Who::Gateway);
                end.state = State::Dead;
                end.error = Some(kind);
                self.tell(link, Who::Gateway, true, true, true);
            }
        }
    }

    /// Something has changed at one end: an edge for the gateway, a wake for an actor.
    pub fn tell(&mut self, link: LinkId, who: Who, readable: bool, writable: bool, broken: bool) {
        match who {
            Who::Gateway => {
                let watch = &mut self.links[link].end(Who::Gateway).watch;
                watch.readable |= readable;
                watch.writable |= writable;
                watch.broken |= broken;
            }
            Who::Actor => self.wake(link),
        }
    }

    fn answer(&mut self, name: &str) {
        let Some(known) = self.names.get_mut(name) else { return };
        let answer = known.answer.clone();
        let mut tokens = std::mem::take(&mut known.waiting);
        let gone = std::mem::take(&mut known.gone);
        if known.answers_the_gone {
            tokens.extend(gone);
        }
        for token in tokens {
            self.letters.push_back(Letter::Resolved(token, answer.clone()));
        }
    }

    fn spurious(&mut self) {
        if !self.links.is_empty() {
            let link = self.chance.below(self.links.len());
            let [readable, writable] = [self.chance.once_in(2), self.chance.once_in(2)];
            self.tell(link, Who::Gateway, readable, writable, false);
        }
    }
}
