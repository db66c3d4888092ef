//! How a session reaches its target: the name's addresses, a connected remote, the 200.

use std::io;

use super::dialling::Dialled;
use super::tools::{Fate, Tools};
use super::tunnel::Tunnel;
use crate::logic::ending::{Side, Stage};
use crate::logic::policy::Refusal;
use crate::logic::reason::Reason;
use crate::logic::session::Input;
use crate::logic::watch::Direction;
use crate::net::kernel::{Kernel, Lookup};
use crate::net::slots::Token;
use crate::observe::histograms::Measure;
use crate::observe::refused::Request;
use crate::proto::reply;
use crate::proto::target::Host;

impl<K: Kernel> Tunnel<K> {
    /// A well-formed CONNECT came in; `early` are the bytes that came with it.
    pub(super) fn connect_received(&mut self, early: &[u8], tools: &mut Tools<K>) {
        self.head_was_whole = true;
        tools.counters.tunnel_opened();
        self.asked_at = tools.kernel.now();
        if !early.is_empty() {
            self.up.carrier.preload(early, &mut tools.pools);
            self.up.flow.preload(early.len());
        }
        self.up.flow.wait();
        self.tell_event(Reason::ConnectReceived, tools, |event| event);
    }

    /// Tells what the list of hosts says against the target, where that is not enforced. It is true only
    /// once no rule is left that could refuse the session before it is dialled.
    pub(super) fn tell_report(&mut self, tools: &Tools<K>) {
        if let Some(reason) = self.session.take_reported() {
            tools.counters.count_reported(reason);
            self.count_target(reason, true, tools);
            tools.send(reason, |event| self.describe(event).reported());
        }
    }

    /// Keeps the target among those that the list of hosts does not admit.
    pub(super) fn count_target(&self, reason: Reason, is_reported: bool, tools: &Tools<K>) {
        if let Some(target) = self.session.target() {
            let (client, at) = (self.client_address.ip(), tools.kernel.wall());
            let request = Request { client, reason, is_reported, at };
            tools.counters.refused_targets().count(&target.to_string(), request);
        }
    }

    /// Asks for the addresses of the target's name.
    pub(super) fn resolve(&mut self, tools: &mut Tools<K>) -> Fate {
        let Some(name) = self.name() else { return Fate::Rest };
        match tools.kernel.look_up(&name, self.token) {
            Lookup::Pending => {
                self.asks_for_name = true;
                self.step_at = tools.kernel.now();
                Fate::Rest
            }
            Lookup::Known(answer) => self.resolved(self.token, answer, tools),
            Lookup::Busy => {
                let refusal = Refusal::plain(Reason::ResolverBusy);
                self.tell(Input::Resolved(Err(refusal)), tools)
            }
        }
    }

    /// Goes on with the dialling attempts.
    pub(super) fn dial(&mut self, tools: &mut Tools<K>) -> Fate {
        let Some(mut dialling) = self.dialling.take() else { return Fate::Rest };
        match dialling.advance(tools, self.token) {
            Dialled::NotYet => {
                self.remote_address = dialling.address();
                self.dialling = Some(dialling);
                Fate::Rest
            }
            Dialled::Connected(stream, address) => {
                self.remote = Some(stream);
                self.remote_address = Some(address);
                tools.time(Measure::Dial, self.step_at);
                self.tell(Input::Dialled, tools)
            }
            Dialled::Failed(refusal) => {
                self.remote_address = dialling.address();
                dialling.abandon(tools);
                if self.asking.is_some() {
                    return self.relay_proxy_not_dialled(refusal, tools);
                }
                self.tell(Input::DialFailed(refusal), tools)
            }
        }
    }

    /// The remote is connected, through a relay proxy or directly: says so, and starts both flows.
    /// `early` is what the target said before.
    pub(super) fn open(&mut self, early: &[u8], tools: &mut Tools<K>) -> Fate {
        self.relay_proxy_has_opened(tools);
        let Some(client) = &mut self.client else { return Fate::Rest };
        let written = match tools.kernel.write(client, reply::ESTABLISHED) {
            Ok(written) => written,
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory => 0,
                _ => return self.tell(Input::Broke(Side::Client), tools),
            },
        };
        let rest = &reply::ESTABLISHED[written..];
        if !(rest.is_empty() && early.is_empty()) {
            // The rest goes first in the down flow; nothing of the remote is read before it is out.
            self.down.carrier.preload(&[rest, early].concat(), &mut tools.pools);
            self.down.flow.preload_own(rest.len());
            self.down.flow.preload(early.len());
        }
        tools.time(Measure::SetUp, self.asked_at);
        self.step_at = tools.kernel.now();
        self.up.flow.release();
        // The target spoke before it can have heard anything, so it is judged first.
        let held = [(Direction::Down, early.len()), (Direction::Up, self.up.flow.held())];
        for (direction, _) in held.into_iter().filter(|(_, bytes)| *bytes > 0) {
            let fate = self.judge_held(direction, 0, tools);
            if fate != Fate::Rest || self.session.stage() == Stage::Refusing {
                return fate;
            }
        }
        self.relay(tools)
    }

    pub(super) fn stop_waiting_for_name(&mut self, tools: &mut Tools<K>) {
        if std::mem::take(&mut self.asks_for_name)
            && let Some(name) = self.name()
        {
            let lane = self.asking.as_ref().map_or(Token::CLIENT_LANE, |asking| asking.lane());
            tools.kernel.forget(&name, self.token.with_lane(lane));
        }
    }

    pub(super) fn stop_dialling(&mut self, tools: &mut Tools<K>) {
        if let Some(mut dialling) = self.dialling.take() {
            dialling.abandon(tools);
        }
    }

    /// The name that is looked up, of the relay proxy or of the target, unless that is an address.
    pub(super) fn name(&self) -> Option<Box<str>> {
        if let Some(asking) = &self.asking {
            return asking.name();
        }
        match &self.session.target()?.host {
            Host::Name(name) => Some(name.clone()),
            Host::Address(_) => None,
        }
    }
}
