//! What the gateway has done in each planned session, judged with every operation: which bytes it may
//! move, when, and how it may end.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use sluice::logic::reason::Reason;
use sluice::net::slots::Token;

use crate::actors::Player;
use crate::lab::ESTABLISHED;
use crate::link::{LinkId, State, Who};
use crate::options::PollModel;
use crate::plan::Plan;
use crate::speech::Gate;
use crate::verdicts::is_private;
use crate::world::World;

/// How long a refused client is waited for, and how much of it is read.
const REFUSED_US: u64 = 2_000_000;
const REFUSED_BYTES: u64 = 64 * 1024;

/// How long the bytes before a reset are waited for.
const PARTING_US: u64 = 10_000_000;

/// One session, as far as it has come.
pub struct Record {
    pub plan: Rc<Plan>,
    pub client_link: Option<LinkId>,
    pub attempts: Vec<LinkId>,
    /// The attempt that the tunnel goes to.
    pub remote_link: Option<LinkId>,
    /// What the client was told instead of the 200.
    pub reply: Vec<u8>,
    pub alert: Vec<u8>,
    pub opened: bool,
    /// The client has been told that it is refused.
    pub refused: bool,
    pub refused_us: u64,
    pub accepted_us: u64,
    /// By which it is judged.
    pub generation: usize,
    /// The poll in which its head was whole.
    pub whole_poll: Option<u64>,
    /// A generation has come that cuts it.
    pub must_cut: bool,
    /// It was over when the gateway was stopped.
    pub over_before_stop: bool,
    pub opened_us: Option<u64>,
    pub asked_us: Option<u64>,
    pub dialled_us: Option<u64>,
    pub moved_us: u64,
    /// Reasons of its events, in order, and its endings.
    pub told: Vec<Reason>,
    /// How often it was told that it would be refused.
    pub reported: usize,
    pub endings: Vec<String>,
}

impl Record {
    pub fn new(plan: Plan) -> Record {
        Record {
            plan: Rc::new(plan),
            client_link: None,
            attempts: Vec::new(),
            remote_link: None,
            reply: Vec::new(),
            alert: Vec::new(),
            opened: false,
            refused: false,
            refused_us: 0,
            accepted_us: 0,
            generation: 0,
            whole_poll: None,
            must_cut: false,
            over_before_stop: false,
            opened_us: None,
            asked_us: None,
            dialled_us: None,
            moved_us: 0,
            told: Vec::new(),
            reported: 0,
            endings: Vec::new(),
        }
    }
}

impl Record {
    fn refuse(&mut self, now_us: u64) {
        if !self.refused {
            self.refused = true;
            self.refused_us = now_us;
        }
    }
}

impl World {
    pub fn gateway_registered(&mut self, link: LinkId, token: Token) {
        let Some((session, is_client)) = self.roles[link] else { return };
        if is_client {
            let record = &mut self.records[session];
            record.accepted_us = self.polled_us;
            record.generation = self.in_force;
            Rc::make_mut(&mut record.plan).begin_under(&self.generations[self.in_force], session);
            return;
        }
        let client = self.records[session].client_link;
        let of_client = client.and_then(|client| self.links[client].look(Who::Gateway).watch.token);
        if of_client != Some(token.with_lane(Token::CLIENT_LANE)) {
            self.accuse(|| format!("a stranger dials for session {session}"));
        }
    }

    pub fn gateway_asked(&mut self, name: &str, _: Token) {
        let now_us = self.polled_us;
        if let Some(session) = self.records.iter().position(|record| record.plan.name == name) {
            self.records[session].asked_us = Some(now_us);
            self.judge_asking(session);
        }
    }

    pub fn gateway_dials(&mut self, to: SocketAddr, from: Option<IpAddr>) {
        let Some(session) = self.session_of(to.ip()) else { return };
        let now_us = self.polled_us;
        self.records[session].dialled_us.get_or_insert(now_us);
        let service = &self.records[session].plan.service;
        let told = service.answer.as_ref().ok().into_iter().chain(&service.stale);
        let known = told.flat_map(|addresses| addresses.iter()).any(|told| *told == to.ip());
        if !known || to.port() != self.records[session].plan.port() {
            self.accuse(|| format!("session {session} dials {to}, which nobody named"));
        }
        self.judge_asking(session);
        self.judge_dial(session, to, from);
    }

    pub fn gateway_dialled(&mut self, link: LinkId) {
        let Some(session) = self.session_of(self.links[link].address.ip()) else { return };
        self.roles[link] = Some((session, false));
        self.records[session].attempts.push(link);
        let part = Rc::new(self.records[session].plan.remote.clone());
        let actor = self.add_actor(Box::new(Player::new(session, false, link, part)));
        self.actor_of_link[link] = Some(actor);
    }

    /// The gateway has written the first `written` bytes of those it had.
    pub fn gateway_wrote(&mut self, link: LinkId, offered: &[u8], written: usize) {
        self.plan_transit(link, Who::Gateway);
        let Some((session, is_client)) = self.roles[link] else { return };
        self.records[session].moved_us = self.polled_us;
        let bytes = &offered[..written];
        let offset = self.links[link].look(Who::Gateway).written_bytes as usize - written;
        if is_client
            && offset == 0
            && let Err(wrong) = self.judge_opening(session, offered)
        {
            self.accuse(|| format!("session {session}: {wrong}"));
        }
        let wrong = if is_client {
            self.judge_down(session, link, offset, bytes)
        } else {
            self.judge_up(session, link, offset, bytes)
        };
        if let Err(wrong) = wrong {
            self.accuse(|| format!("session {session}: {wrong}"));
        }
    }

    /// An end may go out only behind the last byte of a source that has ended.
    pub fn gateway_shut(&mut self, link: LinkId) {
        let Some((session, is_client)) = self.roles[link] else { return };
        let now_us = self.polled_us;
        let record = &self.records[session];
        let source = if is_client { record.remote_link } else { record.client_link };
        let Some(source) = source.filter(|_| record.opened) else {
            if is_client {
                self.records[session].refuse(now_us);
            }
            return;
        };
        let source_end = self.links[source].look(Who::Gateway);
        if is_client && source_end.closed {
            self.records[session].refuse(now_us);
            return;
        }
        let ended = source_end.end_came && source_end.incoming_bytes == 0;
        if !ended || self.held_bytes(session, !is_client) != 0 {
            let to = if is_client { "client" } else { "remote" };
            self.accuse(|| format!("session {session}: an end to the {to} before its time"));
        }
    }

    /// A refused client is waited for: a close before it has said its last would reset it, and the
    /// refusal might never be read.
    pub fn gateway_leaves(&mut self, link: LinkId) {
        let Some((session, true)) = self.roles[link] else { return };
        let record = &self.records[session];
        let client = self.links[link].look(Who::Gateway);
        let is_over = client.state == State::Dead
            || (client.end_came && client.incoming_bytes == 0)
            || client.read_bytes >= REFUSED_BYTES
            || self.polled_us >= record.refused_us + REFUSED_US
            || self.is_stopping
            || self.generations[record.generation].limits().session_ms > 0;
        if record.refused && !is_over {
            self.accuse(|| format!("session {session} closes before the refused client does"));
        }
    }

    /// A reset throws away what has not left yet. Where it passes on the reset of the other side, the
    /// bytes from before that are given time.
    pub fn gateway_passes_a_reset_on(&mut self, link: LinkId) {
        let Some((session, is_client)) = self.roles[link] else { return };
        let record = &self.records[session];
        let other = if is_client { record.remote_link } else { record.client_link };
        let end = self.links[link].look(Who::Gateway);
        let given_up_us = other.and_then(|other| self.links[other].look(Who::Gateway).given_up_us);
        let too_early = given_up_us.is_some_and(|at| self.polled_us < at + PARTING_US);
        let is_told = self.options.model != PollModel::Windows;
        if is_told
            && too_early
            && end.state == State::Open
            && !end.outgoing.is_empty()
            && !self.is_stopping
        {
            let unsent = end.outgoing.len();
            self.accuse(|| format!("session {session}: a reset overtakes {unsent} bytes"));
        }
    }

    /// A close in order says "that was all". Once the handshake is through, it may not stand for less.
    pub fn gateway_closed_in_order(&mut self, link: LinkId) {
        let Some((session, _)) = self.roles[link] else { return };
        let record = &self.records[session];
        if self.is_released(session) && !record.refused {
            self.accuse(|| format!("session {session}: an end where a reset belongs"));
        }
    }

    /// Bytes of one direction that the gateway has read and not written.
    pub fn held_bytes(&self, session: usize, up: bool) -> i64 {
        let record = &self.records[session];
        let (Some(client), Some(remote)) = (record.client_link, record.remote_link) else {
            return 0;
        };
        let client = self.links[client].look(Who::Gateway);
        let remote = self.links[remote].look(Who::Gateway);
        if up {
            client.read_bytes as i64 - record.plan.head_bytes as i64 - remote.written_bytes as i64
        } else {
            let own = (client.written_bytes as i64).min(ESTABLISHED.len() as i64)
                + record.alert.len() as i64;
            remote.read_bytes as i64 - (client.written_bytes as i64 - own)
        }
    }

    /// Whether the remote's hello has gone out to the client: nothing is watched from there on.
    pub fn is_released(&self, session: usize) -> bool {
        let record = &self.records[session];
        let Some(client) = record.client_link.filter(|_| record.opened) else { return false };
        let written = self.links[client].look(Who::Gateway).written_bytes as usize;
        let released_at = record.plan.released_at;
        released_at != usize::MAX
            && record.alert.is_empty()
            && written >= ESTABLISHED.len() + released_at.max(1)
    }

    fn judge_up(
        &self,
        session: usize,
        link: LinkId,
        offset: usize,
        bytes: &[u8],
    ) -> Result<(), String> {
        let record = &self.records[session];
        let plan = &record.plan;
        if record.remote_link != Some(link) || !record.opened {
            return Err("a byte of the client before the 200".to_owned());
        }
        let end = offset + bytes.len();
        let stream = &plan.client.stream[plan.head_bytes..];
        if stream.get(offset..end) != Some(bytes) {
            return Err(format!("wrong bytes to the remote at {offset}"));
        }
        let client = record.client_link.map(|client| self.links[client].look(Who::Gateway));
        let read = client.map_or(0, |client| client.read_bytes as usize) - plan.head_bytes;
        judge_gates(&plan.up_gates, end, read, "to the remote")
    }

    fn judge_down(
        &mut self,
        session: usize,
        link: LinkId,
        offset: usize,
        bytes: &[u8],
    ) -> Result<(), String> {
        let now_us = self.polled_us;
        let plan = Rc::clone(&self.records[session].plan);
        let read_of_client = self.links[link].look(Who::Gateway).read_bytes as usize;
        let record = &mut self.records[session];
        if !record.opened {
            record.reply.extend_from_slice(bytes);
            record.refuse(now_us);
            return Ok(());
        }
        let own = ESTABLISHED.len().saturating_sub(offset).min(bytes.len());
        if bytes[..own] != ESTABLISHED[offset.min(ESTABLISHED.len())..][..own] {
            return Err(format!("the 200 is cut short at {offset}"));
        }
        let bytes = &bytes[own..];
        if bytes.is_empty() {
            return Ok(());
        }
        let at = offset + own - ESTABLISHED.len();
        let end = at + bytes.len();
        let remote = record.remote_link.map(|remote| self.links[remote].look(Who::Gateway));
        // The gateway speaks for itself once it has let the remote go.
        if remote.is_none_or(|remote| remote.closed) {
            record.alert.extend_from_slice(bytes);
            record.refuse(now_us);
            let shape = [21, 3, record.alert.get(2).copied().unwrap_or(3), 0, 2, 2];
            let known = record.alert.len().min(shape.len());
            if record.alert.len() > 7 || record.alert[..known] != shape[..known] {
                return Err(format!("no alert to the client at {at}"));
            }
            return Ok(());
        }
        if plan.remote.stream.get(at..end) != Some(bytes) {
            return Err(format!("wrong bytes to the client at {at}"));
        }
        let read = remote.map_or(0, |remote| remote.read_bytes as usize);
        let hello = plan.up_gates.first().map_or(0, |gate| gate.needs);
        if read_of_client - plan.head_bytes < hello {
            return Err("a byte of the remote before the client's hello".to_owned());
        }
        judge_gates(&plan.down_gates, end, read, "to the client")
    }

    /// The first bytes to a client: the 200 needs a remote that is there, and all others gone.
    fn judge_opening(&mut self, session: usize, bytes: &[u8]) -> Result<(), String> {
        let record = &self.records[session];
        if !bytes.starts_with(ESTABLISHED) {
            return Ok(());
        }
        let open: Vec<LinkId> = record
            .attempts
            .iter()
            .copied()
            .filter(|&link| !self.links[link].look(Who::Gateway).closed)
            .collect();
        let [remote] = open[..] else {
            return Err(format!("a 200 with {} attempts open", open.len()));
        };
        if self.links[remote].look(Who::Gateway).state == State::Connecting {
            return Err("a 200 before the remote is connected".to_owned());
        }
        let record = &mut self.records[session];
        record.opened = true;
        record.opened_us = Some(self.polled_us);
        record.remote_link = Some(remote);
        if record.plan.refusals[0].is_some() {
            return Err("a 200 for a head that must be refused".to_owned());
        }
        Ok(())
    }

    fn session_of(&self, address: IpAddr) -> Option<usize> {
        let IpAddr::V4(v4) = address else { return None };
        let session = usize::from(v4.octets()[2]);
        let is_planned = v4.octets()[0] == 93 || is_private(address);
        (is_planned && session < self.records.len()).then_some(session)
    }
}

fn judge_gates(gates: &[Gate], end: usize, read: usize, to: &str) -> Result<(), String> {
    if end > read {
        return Err(format!("{end} bytes {to}, of {read} that were read"));
    }
    match gates.iter().find(|gate| end > gate.from && read < gate.needs) {
        Some(gate) => Err(format!("byte {} {to} before it may be judged ({read} read)", gate.from)),
        None => Ok(()),
    }
}
