//! What the rules make of a session: each is judged by the generation under which it began, whatever
//! comes after, but for a cut and for a drain.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sluice::logic::reason::Reason;

use crate::generations::Generation;
use crate::ledger::Record;
use crate::link::{LinkId, Who};
use crate::world::World;

impl World {
    /// The worker has taken new rules; it cuts what they do not admit next.
    pub fn gateway_goes_by(&mut self, keepalive: Option<Duration>) {
        let known = Generation::of_keepalive(keepalive).filter(|n| *n < self.generations.len());
        let Some(number) = known else { return };
        self.in_force = number;
        self.changes += 1;
        let now_us = self.now_us;
        self.trace.note(now_us, || format!("  goes by generation {number}"));
        let cuts_open = self.generations[number].rules.cuts_open;
        for session in 0..self.records.len() {
            if !self.is_under_way(session) {
                continue;
            }
            let generation = &self.generations[number];
            let head = self.records[session].plan.head;
            let objects = !generation.reports && generation.objection(session, head).is_some();
            if cuts_open && objects {
                self.records[session].must_cut = true;
            } else {
                self.met.push("a reload over an open tunnel");
            }
        }
    }

    /// It has asked for its target, is not refused, and no side of it has broken.
    fn is_under_way(&self, session: usize) -> bool {
        let record = &self.records[session];
        let is_there = |link: LinkId| !self.links[link].look(Who::Gateway).closed;
        record.whole_poll.is_some()
            && record.plan.asks_in_order()
            && !record.refused
            && record.client_link.is_some_and(is_there)
            && record.remote_link.is_none_or(is_there)
    }

    pub fn gateway_read(&mut self, link: LinkId) {
        let Some((session, true)) = self.roles[link] else { return };
        let read_bytes = self.links[link].look(Who::Gateway).read_bytes;
        let polls = self.polls;
        let record = &mut self.records[session];
        if record.plan.head_bytes > 0 && read_bytes >= record.plan.head_bytes as u64 {
            record.whole_poll.get_or_insert(polls);
        }
    }

    pub fn gateway_is_stopped(&mut self) {
        self.is_stopping = true;
        for session in 0..self.records.len() {
            let client = self.records[session].client_link;
            let is_over = client.is_some_and(|link| {
                let end = self.links[link].look(Who::Gateway);
                end.closed && end.watch.token.is_some()
            });
            self.records[session].over_before_stop = is_over;
        }
    }

    /// One more pipe is asked for than those that are open.
    pub fn judge_pipes(&mut self, open: usize) {
        let allowed = self.generations.get(self.in_force).map(|now| now.rules.pipes_max);
        if allowed.is_some_and(|most| open >= most) {
            self.accuse(|| format!("a pipe more than the rules allow: {open} are open"));
        }
    }

    /// A question for a name, or a dial, on behalf of `session`.
    pub fn judge_asking(&mut self, session: usize) {
        let record = &self.records[session];
        if self.must_drain(record) {
            self.accuse(|| format!("session {session} goes on although the gateway drains"));
        } else if record.plan.refusals[0].is_some() {
            self.accuse(|| format!("session {session} goes on although its head is refused"));
        }
    }

    /// The rules as they are now say from where it is dialled, those of the session where to.
    pub fn judge_dial(&mut self, session: usize, to: SocketAddr, from: Option<IpAddr>) {
        let sources = &self.generations[self.in_force].rules.sources;
        let is_known = from.map_or(sources.is_empty(), |from| sources.contains(&from));
        let generation = self.records[session].generation;
        if !is_known {
            self.accuse(|| format!("session {session} dials from {from:?}"));
        } else if is_private(to.ip()) && !self.generations[generation].dials_private {
            self.accuse(|| format!("session {session} dials {to} against its rules"));
        }
    }

    /// Its head came when the order to drain had been obeyed.
    pub fn must_drain(&self, record: &Record) -> bool {
        let handed = self.drain.handed;
        handed.is_some_and(|handed| record.whole_poll.is_some_and(|whole| whole > handed))
    }

    pub fn may_drain(&self, record: &Record) -> bool {
        let ordered = self.drain.ordered;
        ordered.is_some_and(|ordered| record.whole_poll.is_some_and(|whole| whole >= ordered))
    }

    /// What is told of a refusal that was left out must follow from the rules of the session, once.
    pub fn judge_reported(&mut self, session: usize, reason: Reason) -> Result<(), String> {
        let record = &mut self.records[session];
        record.reported += 1;
        if record.plan.reported != Some(reason) || record.reported > 1 {
            return Err(format!("{reason} is reported, planned {:?}", record.plan.reported));
        }
        self.met.push(match reason {
            Reason::PortNotAllowed => "a port that is only reported",
            _ => "a host that is only reported",
        });
        Ok(())
    }

    /// What a session is told must follow from the rules under which it began.
    pub fn judge_told(&self, record: &Record, reason: Reason) -> Result<(), String> {
        let generation = &self.generations[record.generation];
        let limits = generation.limits();
        let [of_head, of_hello, of_server] = record.plan.refusals;
        let follows = match reason {
            Reason::HostNotAllowed | Reason::PortNotAllowed | Reason::HeadTooLarge => {
                of_head == Some(reason)
            }
            Reason::HelloTooLarge => of_hello == Some(reason),
            Reason::TlsVersionTooLow => of_hello == Some(reason) || of_server == Some(reason),
            Reason::TlsVerified => of_hello.is_none() && of_server.is_none(),
            Reason::AddressNotAllowed => !generation.dials_private,
            Reason::TooManySessions => limits.sessions > 0,
            Reason::TooManySessionsOfClient => limits.sessions_per_client > 0,
            Reason::Draining => of_head.is_none() && self.may_drain(record),
            _ => true,
        };
        let number = record.generation;
        if follows { Ok(()) } else { Err(format!("{reason} under generation {number}")) }
    }

    /// How a session ended must have been asked for, where it is the gateway that ended it.
    pub fn judge_ending(&self, record: &Record, ending: &str) -> Result<(), String> {
        let is_cut = ending.ends_with(".gateway.cut");
        if is_cut != record.must_cut {
            return Err(format!("{ending}, cut is {}", record.must_cut));
        }
        if ending.ends_with(".stopping") && (!self.is_stopping || self.drained_quietly) {
            return Err(format!("{ending} before its time"));
        }
        Ok(())
    }

    /// Nothing that had to be cut is left behind a turn.
    pub fn check_cuts(&self) -> Result<(), String> {
        let left = |record: &Record| record.must_cut && record.endings.is_empty();
        match self.records.iter().position(left) {
            Some(session) => Err(format!("session {session} is not cut")),
            None => Ok(()),
        }
    }
}

/// The private address of a session, see `plan`.
pub fn is_private(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(v4) if v4.octets()[0] == 10)
}
