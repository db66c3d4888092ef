//! What the gateway's calls do to the world behind the fake kernel.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};

use crate::link::{LinkId, State, Who};
use crate::options::Splicing;
use crate::world::{Act, DialPlan, World};

impl World {
    pub fn dial(&mut self, to: SocketAddr, from: Option<IpAddr>) -> io::Result<LinkId> {
        self.gateway_dials(to, from);
        self.take_descriptor(1)?;
        let planned = self.dials.iter().find(|(address, _)| *address == to.ip());
        let plan = planned.map_or(DialPlan::Silence, |(_, plan)| *plan);
        if let DialPlan::AtOnce(errno) = plan {
            self.descriptors -= 1;
            return Err(io::Error::from_raw_os_error(errno));
        }
        let link = self.new_link(to, true);
        self.dialled.push(link);
        match plan {
            DialPlan::Connect(after_us) => self.plan(after_us, Act::Outcome(link, Ok(()))),
            DialPlan::Fail(after_us, kind) => self.plan(after_us, Act::Outcome(link, Err(kind))),
            DialPlan::Silence | DialPlan::AtOnce(_) => {}
        }
        self.gateway_dialled(link);
        Ok(link)
    }

    /// The listener is closed, unless the whole gateway is.
    pub fn gateway_unlistens(&mut self) {
        self.listens = false;
        let left: Vec<LinkId> = self.backlog.drain(..).collect();
        if !left.is_empty() && !self.is_stopping && !self.lacked_descriptor {
            self.accuse(|| format!("the listener is closed before {left:?}"));
        }
        for link in left {
            self.plan_reset(link, Who::Actor);
        }
    }

    pub fn judge_splice(&mut self, len_bytes: usize) -> io::Result<()> {
        self.splice_calls += 1;
        if len_bytes == 0 {
            self.accuse(|| "a splice of length 0, which looks like an end".to_owned());
        }
        match self.options.splicing {
            Splicing::RefusedAfter(calls) if self.splice_calls > calls => {
                Err(ErrorKind::Unsupported.into())
            }
            _ => Ok(()),
        }
    }

    /// The halt planned for the next read there.
    pub fn may_halt(&mut self, link: LinkId) {
        if let Some((_, halt_us)) = self.halt_at.take_if(|(at, _)| *at == link) {
            self.now_us += halt_us;
        }
    }

    /// How much of `wanted` an operation may do this time.
    pub fn most(&mut self, wanted: usize) -> usize {
        if self.chance.once_in(self.options.short_once_in) {
            1 + self.chance.below(wanted)
        } else {
            wanted
        }
    }

    pub fn gateway_closes(&mut self, link: LinkId) {
        let end = self.links[link].end(Who::Gateway);
        if end.closed {
            return;
        }
        let (unread, open) = (end.incoming_bytes > 0, end.is_connected());
        let ends_here = open && !unread && !end.shut;
        self.gateway_leaves(link);
        let polled_us = self.polled_us;
        let end = self.links[link].end(Who::Gateway);
        end.closed = true;
        end.given_up_us = (end.state == State::Dead).then_some(polled_us);
        end.shut = true;
        self.descriptors -= 1;
        self.changes += 1;
        let now_us = self.now_us;
        self.trace.note(now_us, || {
            format!("  close link {link}{}", if unread && open { " with bytes unread" } else { "" })
        });
        match (open, unread) {
            // Bytes unread make the close a reset, which overtakes what was not sent yet.
            (true, true) => self.plan_reset(link, Who::Actor),
            (true, false) => self.plan_transit(link, Who::Gateway),
            _ => {}
        }
        if ends_here {
            self.gateway_closed_in_order(link);
        }
    }

    pub fn gateway_resets(&mut self, link: LinkId) {
        self.gateway_passes_a_reset_on(link);
        let end = self.links[link].end(Who::Gateway);
        end.closed = true;
        let open = end.is_connected();
        self.descriptors -= 1;
        self.changes += 1;
        let now_us = self.now_us;
        self.trace.note(now_us, || format!("  reset link {link}"));
        if open {
            self.plan_reset(link, Who::Actor);
        }
    }
}
