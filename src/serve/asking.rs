//! How a session gets its tunnel from a relay proxy: one after the other they are looked up, dialled
//! and asked, until one has answered.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::dialling::Dialling;
use super::relay::Line;
use super::tools::{Fate, Tools};
use super::tunnel::Tunnel;
use crate::logic::ending::{Side, Stage};
use crate::logic::flow::{Filled, Step};
use crate::logic::policy::Refusal;
use crate::logic::reason::Reason;
use crate::logic::relay_proxies::{Candidates, Failure, RelayProxy};
use crate::logic::secret::Secret;
use crate::logic::session::{Action, Input};
use crate::logic::watch::Direction;
use crate::net::kernel::{Kernel, Lookup, LookupError};
use crate::observe::histograms::Measure;
use crate::proto::target::Host;

/// Bytes of an answer that are read at once. Those of the field take less than 1 KiB.
const READ_BYTES: usize = 4096;

/// What a session knows of the relay proxies it tries.
#[derive(Debug)]
pub struct Asking {
    candidates: Candidates,
    /// The name of the present one must be resolved by then, if it has one.
    resolve_until: Instant,
    /// The present one must be connected by then.
    dial_until: Instant,
    /// What has not been written yet.
    request: Option<Secret>,
    written: usize,
    writable: bool,
    asked_at: Instant,
}

impl Asking {
    /// The relay proxy may be written to.
    pub fn writable(&mut self) {
        self.writable = true;
    }

    /// Marks the present question for a name, so that a late answer to an earlier one is known as such.
    pub fn lane(&self) -> usize {
        1 + self.candidates.tried()
    }

    /// The name of the present relay proxy, unless it is an address.
    pub fn name(&self) -> Option<Box<str>> {
        self.candidates.current()?.address().host.name().map(Into::into)
    }

    fn proxy(&self) -> Option<Arc<RelayProxy>> {
        self.candidates.current().map(Arc::clone)
    }
}

impl<K: Kernel> Tunnel<K> {
    /// Begins with the first relay proxy.
    pub(super) fn dial_relay_proxies(&mut self, tools: &mut Tools<K>) -> Fate {
        let now = tools.kernel.now();
        self.asking = Some(Box::new(Asking {
            candidates: Candidates::new(&self.session.policy().relay, now),
            resolve_until: now,
            dial_until: now,
            request: None,
            written: 0,
            writable: true,
            asked_at: now,
        }));
        self.dial_next_relay_proxy(tools)
    }

    /// When [`Tunnel::relay_proxy_is_late`] is worth asking.
    pub(super) fn relay_proxy_until(&self) -> Option<Instant> {
        let asking = self.asking.as_ref().filter(|_| self.session.stage() == Stage::AwaitDial)?;
        Some(if self.asks_for_name { asking.resolve_until } else { asking.dial_until })
    }

    /// Leaves a relay proxy that has had its time, so that the next one has some too.
    pub(super) fn relay_proxy_is_late(&mut self, tools: &mut Tools<K>) -> Fate {
        if !self.asks_for_name {
            // It may be connected, or gone, without an event that was seen yet.
            let fate = self.dial(tools);
            let now = tools.kernel.now();
            if fate != Fate::Rest || self.relay_proxy_until().is_none_or(|until| now < until) {
                return fate;
            }
            self.stop_dialling(tools);
            return self.relay_proxy_failed("not connected in time", tools);
        }
        // The resolver is silent. What it said before is better than nothing.
        let known = self.name().and_then(|name| tools.kernel.recall(&name));
        self.stop_waiting_for_name(tools);
        match known {
            Some(addresses) => self.dial_relay_proxy_at(&addresses, tools),
            None => self.relay_proxy_failed("the name was not resolved in time", tools),
        }
    }

    /// The answer to the question for a name that was asked with this lane.
    pub(super) fn relay_proxy_resolved(
        &mut self,
        lane: usize,
        answer: Result<Arc<[IpAddr]>, LookupError>,
        tools: &mut Tools<K>,
    ) -> Fate {
        let is_awaited = self.asking.as_ref().is_some_and(|asking| asking.lane() == lane);
        if !is_awaited || !std::mem::take(&mut self.asks_for_name) {
            return Fate::Rest;
        }
        tools.time(Measure::Resolve, self.step_at);
        match answer {
            Ok(addresses) => self.dial_relay_proxy_at(&addresses, tools),
            Err(error) => self.relay_proxy_failed(&error.text, tools),
        }
    }

    /// No address of the present relay proxy could be connected.
    pub(super) fn relay_proxy_not_dialled(
        &mut self,
        refusal: Refusal,
        tools: &mut Tools<K>,
    ) -> Fate {
        match refusal.reason {
            Reason::Loop => self.tell(Input::DialFailed(refusal), tools),
            // Our own shortage says nothing about the relay proxy.
            Reason::NoSourcePort | Reason::DescriptorsExhausted => {
                self.leave_relay_proxy(refusal, tools)
            }
            _ => self.relay_proxy_failed(refusal.detail.as_deref().unwrap_or_default(), tools),
        }
    }

    /// The relay proxy is connected: asks it for the target.
    pub(super) fn ask_relay_proxy(&mut self, tools: &mut Tools<K>) -> Fate {
        if let Some(asking) = &mut self.asking {
            asking.request = self.session.relay_request();
            asking.written = 0;
            asking.writable = true;
            asking.asked_at = tools.kernel.now();
        }
        self.hear_relay_proxy(tools)
    }

    /// Writes what is left of the request and reads what there is of the answer.
    pub(super) fn hear_relay_proxy(&mut self, tools: &mut Tools<K>) -> Fate {
        let (Some(asking), Some(remote)) = (&mut self.asking, &mut self.remote) else {
            return Fate::Rest;
        };
        while let Some(request) = asking.request.as_ref().filter(|_| asking.writable) {
            let rest = &request.reveal().as_bytes()[asking.written..];
            let len = rest.len();
            match tools.kernel.write(remote, rest) {
                Ok(written) if written == len => asking.request = None,
                Ok(written) => asking.written += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => asking.writable = false,
                Err(_) => return self.tell(Input::Broke(Side::Remote), tools),
            }
        }
        // Not the worker's scratch, in which the client's head may still lie.
        let mut bytes = [0; READ_BYTES];
        while self.down.flow.next() == Step::Fill {
            let Some(remote) = &mut self.remote else { break };
            match tools.kernel.read(remote, &mut bytes) {
                Ok(0) => return self.tell(Input::Ended(Side::Remote), tools),
                Ok(read) => {
                    let reply = &bytes[..read];
                    let action = self.session.handle(Input::RelayReply(reply), tools.kernel.now());
                    if action != Action::Wait {
                        return self.act(action, reply, tools);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.down.flow.filled(Filled::SourceDry);
                }
                Err(_) => return self.tell(Input::Broke(Side::Remote), tools),
            }
        }
        Fate::Rest
    }

    /// The present relay proxy is not up to it: goes on to the next.
    pub(super) fn try_next_relay_proxy(&mut self, refusal: Refusal, tools: &mut Tools<K>) -> Fate {
        if let Some(asking) = &self.asking
            && refusal.reason == Reason::RelayProxyBadReply
            && let Some(proxy) = asking.proxy()
            && !proxy.has_answered_since(asking.asked_at)
        {
            tell_failed(&proxy, Failure::Closed, tools);
        }
        self.leave_relay_proxy(refusal, tools)
    }

    /// The tunnel is open: whoever turned this session away could have opened it, too.
    pub(super) fn relay_proxy_has_opened(&mut self, tools: &mut Tools<K>) {
        let Some(mut asking) = self.asking.take() else { return };
        for proxy in asking.candidates.take_unavailable() {
            tell_failed(&proxy, Failure::Unavailable, tools);
        }
        if let Some(proxy) = asking.proxy() {
            tell_answered(&proxy, tools);
        }
    }

    /// The session is refused for this reason: what that says of the present relay proxy.
    pub(super) fn relay_proxy_has_refused(&mut self, reason: Reason, tools: &mut Tools<K>) {
        // As long as it is known whose name that is.
        self.stop_waiting_for_name(tools);
        let Some(asking) = self.asking.take() else { return };
        let Some(proxy) = asking.proxy() else { return };
        match reason {
            Reason::RelayProxyRefused | Reason::RelayProxyRefusedCredentials => {
                tell_answered(&proxy, tools);
            }
            // While it answers others, it is the target that is slow.
            Reason::RelayProxyTimeout if !proxy.has_answered_since(asking.asked_at) => {
                tell_failed(&proxy, Failure::Silent, tools);
            }
            _ => {}
        }
    }

    fn dial_next_relay_proxy(&mut self, tools: &mut Tools<K>) -> Fate {
        let now = tools.kernel.now();
        let Some(asking) = &mut self.asking else { return Fate::Rest };
        let Some(proxy) = asking.candidates.advance().map(Arc::clone) else {
            let refusal = asking.candidates.refusal();
            return self.tell(Input::DialFailed(refusal), tools);
        };
        if self.session.stage() == Stage::AwaitRelayProxy {
            self.session.handle(Input::DialsNext, now);
        }
        let left = self
            .session
            .deadline()
            .map_or(Duration::ZERO, |deadline| deadline.saturating_duration_since(now));
        // All that are left have their share of the time; a name has half of it at most.
        let share = left / asking.candidates.left();
        let resolve = Duration::from_millis(self.session.policy().limits.resolve_ms);
        asking.dial_until = now + share;
        asking.resolve_until = now + resolve.min(share / 2);
        self.step_at = now;
        let lane = asking.lane();
        let name = match &proxy.address().host {
            Host::Address(address) => return self.dial_relay_proxy_at(&[*address], tools),
            Host::Name(name) => name,
        };
        match tools.kernel.look_up(name, self.token.with_lane(lane)) {
            Lookup::Pending => {
                self.asks_for_name = true;
                Fate::Rest
            }
            Lookup::Known(Ok(addresses)) => self.dial_relay_proxy_at(&addresses, tools),
            Lookup::Known(Err(error)) => self.relay_proxy_failed(&error.text, tools),
            Lookup::Busy => self.leave_relay_proxy(Refusal::plain(Reason::ResolverBusy), tools),
        }
    }

    fn dial_relay_proxy_at(&mut self, addresses: &[IpAddr], tools: &mut Tools<K>) -> Fate {
        if addresses.is_empty() {
            return self.relay_proxy_failed("the name has no address", tools);
        }
        let proxy = self.asking.as_ref().and_then(|asking| asking.proxy());
        let port = proxy.map_or(0, |proxy| proxy.address().port);
        let now = tools.kernel.now();
        self.step_at = now;
        self.dialling = Some(Box::new(Dialling::new(addresses, port, now)));
        self.dial(tools)
    }

    fn relay_proxy_failed(&mut self, why: &str, tools: &mut Tools<K>) -> Fate {
        if let Some(proxy) = self.asking.as_ref().and_then(|asking| asking.proxy()) {
            tell_failed(&proxy, Failure::Unreachable, tools);
        }
        self.leave_relay_proxy(Refusal::because(Reason::RelayProxyUnreachable, why), tools)
    }

    fn leave_relay_proxy(&mut self, refusal: Refusal, tools: &mut Tools<K>) -> Fate {
        if let Some(remote) = self.remote.take() {
            tools.kernel.close(remote);
        }
        // What the last one had readable says nothing about the next.
        self.down = Line::new(Direction::Down);
        let is_one_of_many = self.session.policy().relay.proxies.len() > 1;
        if let Some(asking) = &mut self.asking {
            let proxy = asking.proxy().filter(|_| is_one_of_many || asking.name().is_some());
            let refusal = match (proxy, &refusal.detail) {
                (Some(proxy), Some(words)) => {
                    let words = format!("{}: {words}", proxy.address());
                    Refusal::because(refusal.reason, words)
                }
                _ => refusal,
            };
            asking.candidates.refused(refusal);
        }
        self.dial_next_relay_proxy(tools)
    }
}

fn tell_failed<K: Kernel>(proxy: &RelayProxy, failure: Failure, tools: &Tools<K>) {
    if proxy.failed(failure, tools.kernel.now()) {
        let words = format!("{}: {}", proxy.address(), failure.as_str());
        tools.tell(Reason::RelayProxyLost, |event| event.detail(words));
    }
}

fn tell_answered<K: Kernel>(proxy: &RelayProxy, tools: &Tools<K>) {
    if proxy.answered(tools.kernel.now()) {
        tools.tell(Reason::RelayProxyReached, |event| event.detail(proxy.address().to_string()));
    }
}
