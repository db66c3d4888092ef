//! One session's sockets and what is done with them: asks [`Session`] what to do, does it, and tells
//! it how that went.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use super::asking::Asking;
use super::dialling::Dialling;
use super::farewell::Farewell;
use super::parting::Parting;
use super::relay::Line;
use super::tools::{Fate, Tools};
use crate::logic::ending::{SessionId, Side, Stage};
use crate::logic::flow::{Filled, Step};
use crate::logic::policy::{Policy, Refusal};
use crate::logic::reason::Reason;
use crate::logic::session::{Action, Input, Session};
use crate::logic::watch::Direction;
use crate::net::kernel::{Kernel, LookupError, Ready};
use crate::net::slots::Token;
use crate::observe::events::Event;
use crate::observe::histograms::Measure;
use crate::proto::reply;

/// One session with its sockets.
#[derive(Debug)]
pub struct Tunnel<K: Kernel> {
    pub(super) session: Session,
    pub(super) client: Option<K::Stream>,
    pub(super) remote: Option<K::Stream>,
    pub(super) up: Line<K>,
    pub(super) down: Line<K>,
    /// A side that broke under a write while bytes it sent before may still be read.
    pub(super) broken: Option<Side>,
    pub(super) id: SessionId,
    pub(super) token: Token,
    pub(super) client_address: SocketAddr,
    pub(super) remote_address: Option<SocketAddr>,
    pub(super) began: Instant,
    /// When its CONNECT was whole.
    pub(super) asked_at: Instant,
    /// When it began to wait for a name, or to dial.
    pub(super) step_at: Instant,
    pub(super) dialling: Option<Box<Dialling<K>>>,
    pub(super) asking: Option<Box<Asking>>,
    pub(super) farewell: Option<Box<Farewell>>,
    pub(super) parting: Option<Box<Parting>>,
    pub(super) head_was_whole: bool,
    /// It counts against `limits.sessions`.
    pub(super) is_placed: bool,
    pub(super) asks_for_name: bool,
    /// It has spent its budget and stands in the worker's queue; events only take note until then.
    is_queued: bool,
}

impl<K: Kernel> Tunnel<K> {
    /// A session whose client is registered under `token`.
    pub fn new(
        id: SessionId,
        token: Token,
        client: K::Stream,
        client_address: SocketAddr,
        policy: Arc<Policy>,
        now: Instant,
    ) -> Tunnel<K> {
        Tunnel {
            session: Session::new(policy, client_address.ip(), now),
            client: Some(client),
            remote: None,
            up: Line::new(Direction::Up),
            down: Line::new(Direction::Down),
            broken: None,
            id,
            token,
            client_address,
            remote_address: None,
            began: now,
            asked_at: now,
            step_at: now,
            dialling: None,
            asking: None,
            farewell: None,
            parting: None,
            head_was_whole: false,
            is_placed: false,
            asks_for_name: false,
            is_queued: false,
        }
    }

    /// Takes note of an event; [`Tunnel::drive`] acts on it.
    pub fn ready(&mut self, ready: Ready, tools: &mut Tools<K>) -> Fate {
        if let Some(asking) = &mut self.asking
            && ready.token.lane() != Token::CLIENT_LANE
            && ready.writable
        {
            asking.writable();
        }
        let (source, sink) = match ready.token.lane() {
            Token::CLIENT_LANE => (&mut self.up.flow, &mut self.down.flow),
            _ => (&mut self.down.flow, &mut self.up.flow),
        };
        if ready.readable {
            source.source_is_ready();
        }
        if ready.ended {
            source.source_ends_soon();
        }
        if ready.writable {
            sink.sink_is_ready();
        }
        if let Some(farewell) = &mut self.farewell
            && ready.token.lane() == Token::CLIENT_LANE
        {
            farewell.ready(ready.readable, ready.writable);
        }
        if self.is_queued {
            return Fate::Again;
        }
        // The look comes after the drive: one edge may bring the end of the head and the reset.
        match self.drive(tools) {
            Fate::Rest if ready.broken => self.look_for_reset(ready.token.lane(), tools),
            fate => fate,
        }
    }

    /// Takes a place in the worker's queue; false where it has one.
    pub fn queue(&mut self) -> bool {
        !std::mem::replace(&mut self.is_queued, true)
    }

    /// The turn it was queued for.
    pub fn drive_queued(&mut self, tools: &mut Tools<K>) -> Fate {
        self.is_queued = false;
        self.drive(tools)
    }

    /// Goes as far as sockets and budget allow.
    pub fn drive(&mut self, tools: &mut Tools<K>) -> Fate {
        if self.parting.is_some() {
            return self.part(tools);
        }
        match self.session.stage() {
            Stage::AwaitHead => self.read_head(tools),
            Stage::AwaitAddress => Fate::Rest,
            Stage::AwaitDial => self.dial(tools),
            Stage::AwaitRelayProxy => self.hear_relay_proxy(tools),
            Stage::AwaitHello | Stage::AwaitServerHello | Stage::AwaitHandshake | Stage::Tunnel => {
                self.relay(tools)
            }
            Stage::Refusing => self.say_farewell(tools),
        }
    }

    /// The answer to this session's question for a name, which was asked with `token`.
    pub fn resolved(
        &mut self,
        token: Token,
        answer: Result<Arc<[IpAddr]>, LookupError>,
        tools: &mut Tools<K>,
    ) -> Fate {
        if self.asking.is_some() {
            return self.relay_proxy_resolved(token.lane(), answer, tools);
        }
        if std::mem::take(&mut self.asks_for_name) {
            tools.time(Measure::Resolve, self.step_at);
        }
        match &answer {
            Ok(addresses) => self.tell(Input::Resolved(Ok(addresses)), tools),
            Err(error) => {
                let refusal = Refusal::because(Reason::ResolveFailed, &*error.text);
                self.tell(Input::Resolved(Err(refusal)), tools)
            }
        }
    }

    /// Open tunnels to a target that `policy` does not allow are cut.
    pub fn cut_unless_allowed(&mut self, policy: &Policy, tools: &mut Tools<K>) -> Fate {
        let allowed =
            self.session.target().is_none_or(|target| policy.judge_target(target).is_ok());
        if allowed || self.parting.is_some() { Fate::Rest } else { self.tell(Input::Cut, tools) }
    }

    /// The gateway stops.
    pub fn stop(&mut self, tools: &mut Tools<K>) -> Fate {
        if let Some(parting) = &self.parting {
            return Fate::Over(parting.ending());
        }
        self.tell(Input::Stop, tools)
    }

    /// Gives the session an input and does what it says.
    pub(super) fn tell(&mut self, input: Input<'_>, tools: &mut Tools<K>) -> Fate {
        let action = self.session.handle(input, tools.kernel.now());
        self.act(action, &[], tools)
    }

    /// Does what the session says. `given` is the slice that the input carried.
    pub(super) fn act(&mut self, action: Action, given: &[u8], tools: &mut Tools<K>) -> Fate {
        match action {
            Action::Wait | Action::Hold | Action::Forward | Action::LetGo => Fate::Rest,
            // Only a head that is read leads to it, and there it is done.
            Action::Introduce { .. } => Fate::Rest,
            Action::Resolve { early_at } => {
                self.connect_received(&given[early_at..], tools);
                self.resolve(tools)
            }
            Action::Dial { addresses, early_at } => {
                if !self.head_was_whole {
                    self.connect_received(&given[early_at..], tools);
                }
                self.tell_report(tools);
                let port = self.session.target().map_or(0, |target| target.port);
                let now = tools.kernel.now();
                self.step_at = now;
                self.dialling = Some(Box::new(Dialling::new(&addresses, port, now)));
                self.dial(tools)
            }
            Action::DialRelayProxy { early_at } => {
                self.connect_received(&given[early_at..], tools);
                self.tell_report(tools);
                self.dial_relay_proxies(tools)
            }
            Action::AskRelayProxy => self.ask_relay_proxy(tools),
            Action::TryNextRelayProxy(refusal) => self.try_next_relay_proxy(refusal, tools),
            Action::OpenTunnel { early_at } => self.open(&given[early_at..], tools),
            Action::AnswerHealth => {
                let answer = reply::health(tools.draining);
                self.farewell = Some(Box::new(Farewell::new(answer.to_vec())));
                self.say_farewell(tools)
            }
            Action::Refuse(refusal) => {
                self.relay_proxy_has_refused(refusal.reason, tools);
                self.refuse_with(&refusal, tools)
            }
            Action::End(ending) => self.over(ending, tools),
        }
    }

    /// A reset shows when a side is read, so it is looked for where nothing reads: at the client while
    /// its target is resolved and dialled, and at a side that has sent its end before.
    fn look_for_reset(&mut self, lane: usize, tools: &mut Tools<K>) -> Fate {
        let (side, stream, flow) = match lane {
            Token::CLIENT_LANE => (Side::Client, &self.client, &self.up.flow),
            _ => (Side::Remote, &self.remote, &self.down.flow),
        };
        let is_unread = match self.session.stage() {
            Stage::AwaitAddress | Stage::AwaitDial | Stage::AwaitRelayProxy => side == Side::Client,
            Stage::AwaitServerHello | Stage::AwaitHandshake | Stage::Tunnel => flow.has_ended(),
            _ => false,
        };
        let error =
            stream.as_ref().filter(|_| is_unread).and_then(|it| tools.kernel.take_error(it));
        if error.is_some() { self.tell(Input::Broke(side), tools) } else { Fate::Rest }
    }

    pub(super) fn tell_event(
        &self,
        reason: Reason,
        tools: &Tools<K>,
        with: impl FnOnce(Event) -> Event,
    ) {
        tools.tell(reason, |event| with(self.describe(event)));
    }

    fn read_head(&mut self, tools: &mut Tools<K>) -> Fate {
        while self.up.flow.next() == Step::Fill {
            let Some(client) = &mut self.client else { break };
            let now = tools.kernel.now();
            match tools.kernel.read(client, &mut tools.scratch) {
                Ok(0) => return self.tell(Input::Ended(Side::Client), tools),
                Ok(read) => {
                    if tools.draining {
                        self.session.drain();
                    }
                    let scratch = std::mem::take(&mut tools.scratch);
                    let mut head = &scratch[..read];
                    let mut action = self.session.handle(Input::Head(head), now);
                    if let Action::Introduce { client, head_at } = action {
                        head = &head[head_at..];
                        action = self.introduce(client, head, tools);
                    }
                    let waits = action == Action::Wait;
                    let fate = self.act(action, head, tools);
                    tools.scratch = scratch;
                    if !waits {
                        return fate;
                    }
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => self.up.flow.filled(Filled::SourceDry),
                    io::ErrorKind::OutOfMemory => self.up.flow.filled(Filled::Scarce),
                    _ => return self.tell(Input::Broke(Side::Client), tools),
                },
            }
        }
        Fate::Rest
    }

    /// The load balancer has told who the client is, if it has; `head` came behind that.
    fn introduce(
        &mut self,
        client: Option<SocketAddr>,
        head: &[u8],
        tools: &mut Tools<K>,
    ) -> Action {
        let now = tools.kernel.now();
        if let Some(client) = client {
            let balancer = std::mem::replace(&mut self.client_address, client);
            let of_client = self.session.policy().limits.sessions_per_client;
            let moved = tools.counters.connection_moved(balancer.ip(), client.ip(), of_client);
            if let Err(reason) = moved {
                return self.session.refuse(Refusal::plain(reason), now);
            }
        }
        if head.is_empty() { Action::Wait } else { self.session.handle(Input::Head(head), now) }
    }

    pub(super) fn describe(&self, mut event: Event) -> Event {
        event = event.session(self.id).client(self.client_address);
        if let Some(target) = self.session.target() {
            event = event.target(target.to_string());
        }
        if let Some(address) = self.remote_address {
            event = event.address(address);
        }
        if let Some(facts) = self.session.facts() {
            if let Some(name) = &facts.server_name {
                event = event.server_name(name.clone());
            }
            // What is only offered is nobody's version, unless it is why the session is refused.
            let version = match event.reason {
                Reason::TlsVersionTooLow | Reason::SslVersion => facts.version.or(facts.offered),
                _ => facts.version,
            };
            if let Some(version) = version.and_then(|version| version.digits()) {
                event = event.tls_version(version);
            }
            if let Some(subject) = &facts.subject {
                event = event.subject(subject.clone());
            }
        }
        event
    }
}
