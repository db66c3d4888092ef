//! What must hold before every sleep, after every turn and at the end.

use std::time::Duration;

use sluice::logic::ending::Cause;
use sluice::logic::limits::Limits;
use sluice::logic::reason::Reason;
use sluice::observe::events::{Event, refuses, rule};

use crate::lab::{ESTABLISHED, Lab};
use crate::ledger::Record;
use crate::link::{End, State, Who};
use crate::plan::{Leave, Plan};
use crate::speech::{HeadKind, HelloKind};
use crate::world::World;

/// Polls in a row that tell of something and change nothing.
const IDLE_POLLS_MAX: u64 = 64;
/// The longest that clients may wait while there is no descriptor for them.
const ACCEPT_PAUSE_MAX: Duration = Duration::from_millis(100);
/// What a session may hold in one direction: a held hello with its framing, or a pipe of the fake kernel.
const HELD_BYTES_MAX: i64 = (4_000 + 5 * 4096 + 64 * 1024) + 16 * 32_768;

/// What the worker has told and how often it turned for nothing.
#[derive(Default)]
pub struct Watcher {
    changes_seen: u64,
    performed_seen: u64,
    polled_seen_us: u64,
    idle_polls: u64,
    errors: u64,
    rejections: u64,
    events_seen: usize,
}

impl World {
    /// The worker is about to sleep and nothing waits to be told: whatever could move has been lost.
    pub fn check_asleep(&mut self, sleep: Option<Duration>) {
        // The listener has told of them once and will not again.
        if !self.backlog.is_empty() && sleep.is_none_or(|sleep| sleep > ACCEPT_PAUSE_MAX) {
            self.accuse(|| "a lost wake-up: clients that nobody accepts".to_owned());
        }
        for session in 0..self.records.len() {
            if let Some(what) = self.stuck(session) {
                self.accuse(|| format!("session {session}: a lost wake-up: {what}"));
            }
        }
    }

    fn stuck(&self, session: usize) -> Option<&'static str> {
        let record = &self.records[session];
        let client = self.links[record.client_link?].look(Who::Gateway);
        if client.closed || client.watch.token.is_none() || record.refused {
            return None;
        }
        if !record.opened {
            let begun = record.asked_us.is_some() || record.dialled_us.is_some();
            if !begun && client.is_readable() {
                return Some("a head that is not read");
            }
            let attempts = record.attempts.iter().map(|&link| self.links[link].look(Who::Gateway));
            return attempts
                .filter(|attempt| !attempt.closed)
                .any(|attempt| attempt.state != State::Connecting)
                .then_some("a dial whose outcome nobody has seen");
        }
        let remote = self.links[record.remote_link?].look(Who::Gateway);
        if remote.closed {
            return None;
        }
        let released = self.is_released(session);
        let hello = record.plan.up_gates.first().map_or(0, |gate| gate.needs) as u64;
        // A further record that has only begun keeps the hello before it back.
        let said = client.read_bytes - record.plan.head_bytes as u64;
        let hello_waits = said == hello && remote.written_bytes < hello;
        let up =
            stuck_flow(client, remote, self.held_bytes(session, true), released || hello_waits);
        up.or_else(|| stuck_flow(remote, client, self.held_bytes(session, false), released))
    }
}

fn stuck_flow(source: &End, sink: &End, held: i64, judged: bool) -> Option<&'static str> {
    if source.break_seen || sink.break_seen {
        // Found out by a read or a write; how it goes on is settled by the ledger and the deadlines.
        return None;
    }
    if source.incoming_bytes > 0 && (held == 0 || sink.is_writable()) {
        return Some("bytes that nobody reads");
    }
    if held > 0 && judged && sink.is_writable() {
        return Some("bytes that nobody writes");
    }
    if source.incoming_bytes > 0 || held > 0 {
        return None;
    }
    if source.end_came && judged && !sink.shut && sink.state == State::Open {
        return Some("an end that is not passed on");
    }
    (source.error.is_some() && !source.end_came).then_some("a reset that nobody has seen")
}

impl Watcher {
    pub fn after_turn(&mut self, lab: &mut Lab) -> Result<(), String> {
        self.read_events(lab)?;
        self.check_spin(&lab.world.borrow())?;
        let sessions = lab.worker.sessions();
        let (active, deadlines) = (lab.counters.active(), lab.worker.deadlines());
        if active != sessions || deadlines != sessions {
            return Err(format!("{sessions} sessions, {active} active, {deadlines} deadlines"));
        }
        let counted = lab.counters.snapshot();
        if (counted.errors, counted.rejections) != (self.errors, self.rejections) {
            return Err(format!("the counters say {counted:?}"));
        }
        if counted.connected > active {
            return Err(format!("{} clients with {active} connections", counted.connected));
        }
        let (pipes_out, pooled, buffers_out) = {
            let pools = &lab.worker.tools().pools;
            (pools.pipes_out(), pools.pipes_pooled(), pools.buffers_out())
        };
        let world = &*lab.world.borrow();
        world.check_cuts()?;
        let open = world.pipes.iter().flatten().count();
        let holding = world.pipes.iter().flatten().filter(|pipe| pipe.held_bytes() > 0).count();
        let allowed = world.generations[world.in_force].rules.pipes_max;
        let kept_too_many = pooled > 0 && open > allowed;
        if holding != pipes_out || open != pipes_out + pooled || kept_too_many {
            return Err(format!("{open} pipes, {holding} hold, {pipes_out} out, {pooled} pooled"));
        }
        if buffers_out > 2 * sessions {
            return Err(format!("{buffers_out} buffers for {sessions} sessions"));
        }
        let clients = world.links.iter().filter(|link| {
            let end = link.look(Who::Gateway);
            !link.dialled && end.watch.token.is_some() && !end.closed
        });
        // A client that was reset is closed while its remote gets the last bytes.
        if clients.count() > sessions {
            return Err("a client's socket without a session".to_owned());
        }
        (0..world.records.len()).try_for_each(|session| check_session(world, session))
    }

    fn read_events(&mut self, lab: &Lab) -> Result<(), String> {
        let world = &mut *lab.world.borrow_mut();
        for event in &lab.events[self.events_seen..] {
            let rule = rule(event.reason);
            self.errors += u64::from(rule.counts_error);
            self.rejections += u64::from(rule.counts_rejection);
            let (now_us, reason) = (world.now_us, event.reason);
            let ending = event.ended.as_ref().map(|ended| ended.ending.to_string());
            world.trace.note(now_us, || {
                format!("event {} {reason} {ending:?} {:?}", rule.id, event.detail)
            });
            if matches!(reason, Reason::SessionPanicked | Reason::Internal) {
                return Err(format!("{reason}: {:?}", event.detail));
            }
            let of = event.client.map(|client| client.port().wrapping_sub(40_000));
            let Some(record) = of.and_then(|of| world.records.get(usize::from(of))) else {
                continue;
            };
            let of = usize::from(of.unwrap_or_default());
            if event.is_reported {
                let judged = world.judge_reported(of, reason);
                judged.map_err(|wrong| format!("session {of}: {wrong}"))?;
                continue;
            }
            let limits = world.generations[record.generation].limits();
            judge_deadline(record, event, limits, world.polled_us)?;
            let judged = world.judge_told(record, reason);
            let judged =
                judged.and(ending.iter().try_for_each(|it| world.judge_ending(record, it)));
            judged.map_err(|wrong| format!("session {of}: {wrong}"))?;
            let record = &mut world.records[of];
            record.told.push(reason);
            record.endings.extend(ending);
            let told = record.told.clone();
            judge_events(&told).map_err(|wrong| format!("session {of}: {wrong}: {told:?}"))?;
        }
        self.events_seen = lab.events.len();
        Ok(())
    }

    fn check_spin(&mut self, world: &World) -> Result<(), String> {
        // A timer that comes every few milliseconds is no spin.
        let stands_still = world.polled_us < self.polled_seen_us + 1_000
            && (world.changes, world.performed) == (self.changes_seen, self.performed_seen);
        self.idle_polls = if stands_still { self.idle_polls + 1 } else { 0 };
        self.changes_seen = world.changes;
        self.performed_seen = world.performed;
        self.polled_seen_us = world.polled_us;
        if self.idle_polls > IDLE_POLLS_MAX {
            return Err(format!("{IDLE_POLLS_MAX} turns without a change: the worker spins"));
        }
        Ok(())
    }
}

/// A deadline may not come before its time.
fn judge_deadline(
    record: &Record,
    event: &Event,
    limits: &Limits,
    now_us: u64,
) -> Result<(), String> {
    let cause = event.ended.as_ref().map(|ended| ended.ending.cause);
    let (since_us, limit_ms) = match (event.reason, cause) {
        (Reason::HeadTimeout, _) => (Some(record.accepted_us), limits.head_ms),
        (Reason::ResolveTimeout, _) => (record.asked_us, limits.resolve_ms),
        (Reason::DialTimeout, _) => (record.dialled_us, limits.dial_ms),
        (_, Some(Cause::HelloTimeout)) => (record.opened_us, limits.hello_ms),
        (_, Some(Cause::Idle)) => (Some(record.moved_us), limits.idle_ms),
        (_, Some(Cause::HalfClosed)) => {
            (Some(record.moved_us), limits.half_closed_ms.min(limits.idle_ms))
        }
        (_, Some(Cause::TooOld)) => (Some(record.accepted_us), limits.session_ms),
        _ => return Ok(()),
    };
    let Some(since_us) = since_us else {
        return Err(format!("{} {cause:?} before its stage", event.reason));
    };
    if now_us < since_us + limit_ms * 1000 {
        return Err(format!(
            "{} {cause:?} after {} us of {limit_ms} ms",
            event.reason,
            now_us - since_us
        ));
    }
    Ok(())
}

fn judge_events(told: &[Reason]) -> Result<(), &'static str> {
    let count = |reason: Reason| told.iter().filter(|told| **told == reason).count();
    let refusals = told.iter().filter(|told| refuses(**told)).count();
    if count(Reason::ConnectReceived) > 1 || count(Reason::SessionEnded) > 1 || refusals > 1 {
        return Err("told twice");
    }
    if count(Reason::TlsVerified) > 0 && refusals > 0 {
        return Err("verified and refused");
    }
    if count(Reason::SessionEnded) > count(Reason::ConnectReceived) {
        return Err("ended without a beginning");
    }
    match told.iter().position(|told| *told == Reason::SessionEnded) {
        Some(at) if at + 1 < told.len() => Err("told of after its end"),
        _ => Ok(()),
    }
}

fn check_session(world: &World, session: usize) -> Result<(), String> {
    let record = &world.records[session];
    let Some(link) = record.client_link else { return Ok(()) };
    let client = world.links[link].look(Who::Gateway);
    let waits = world.names.get(&record.plan.name).is_some_and(|name| !name.waiting.is_empty());
    if client.closed && waits {
        return Err(format!("session {session} is over and still asks for its name"));
    }
    if client.closed {
        return Ok(());
    }
    if !record.opened
        && client.read_bytes > (record.plan.head_bytes + 16 * 1024) as u64
        && !record.refused
    {
        return Err(format!("session {session} reads on before there is a tunnel"));
    }
    for up in [true, false] {
        let held = world.held_bytes(session, up);
        if held > HELD_BYTES_MAX || (held < 0 && record.opened) {
            return Err(format!("session {session} holds {held} bytes"));
        }
    }
    Ok(())
}

/// Everything is over: nothing may be left, and the tame sessions must have gone as planned.
pub fn at_the_end(lab: &mut Lab, harsh: bool) -> Result<(), String> {
    let (sessions, deadlines) = (lab.worker.sessions(), lab.worker.deadlines());
    let pools = &lab.worker.tools().pools;
    let out = (pools.pipes_out(), pools.buffers_out());
    let pooled = pools.pipes_pooled();
    lab.world.borrow_mut().play_out();
    let world = &*lab.world.borrow();
    let descriptors = world.descriptors;
    if sessions != 0 || deadlines != 0 || out != (0, 0) || descriptors != 2 * pooled {
        return Err(format!(
            "at the end {sessions} sessions, {deadlines} deadlines, {out:?} pipes and buffers out, \
             {descriptors} descriptors"
        ));
    }
    for (number, record) in world.records.iter().enumerate() {
        let count = |reason: Reason| record.told.iter().filter(|told| **told == reason).count();
        if count(Reason::ConnectReceived) != count(Reason::SessionEnded) {
            return Err(format!("session {number} has no end: {:?}", record.told));
        }
        let has_place =
            count(Reason::TooManySessions) + count(Reason::TooManySessionsOfClient) == 0;
        // What another rule has refused before it was dialled was not let through.
        let is_refused = count(Reason::AddressNotAllowed) + count(Reason::Draining) > 0;
        let is_reported = record.plan.reported.is_some() && count(Reason::ConnectReceived) == 1;
        if (record.reported == 1) != (is_reported && has_place && !is_refused) {
            return Err(format!("session {number} is reported {} times", record.reported));
        }
        let client = record.client_link.map(|link| world.links[link].look(Who::Gateway));
        let came = world.listens
            || world.options.by_mail
            || client.is_some_and(|client| client.watch.token.is_some());
        let came_to_its_end = (came && !world.is_stopping) || record.over_before_stop;
        if record.plan.tame && !harsh && came_to_its_end && !record.must_cut {
            judge_tame(world, number).map_err(|wrong| {
                format!("session {number} should have gone well: {wrong}: {:?}", record.told)
            })?;
        }
    }
    Ok(())
}

fn judge_tame(world: &World, number: usize) -> Result<(), String> {
    let record = &world.records[number];
    let plan: &Plan = &record.plan;
    let Some(client) = record.client_link.map(|link| &world.deeds[link]) else {
        return Err("it never came".to_owned());
    };
    let refusals: Vec<Reason> = record.told.iter().copied().filter(|told| refuses(*told)).collect();
    let mut outcome = plan.outcome();
    if plan.asks_in_order() {
        let drained = refusals == [Reason::Draining] && world.may_drain(record);
        outcome =
            if drained || world.must_drain(record) { Some(Reason::Draining) } else { outcome };
    }
    if refusals != outcome.into_iter().collect::<Vec<_>>() {
        return Err(format!("refused for {refusals:?}, planned {outcome:?}"));
    }
    debug_assert_eq!(plan.client.leave, Leave::HalfClose);
    if plan.head == HeadKind::Health {
        let says = |status: &[u8]| client.heard.starts_with(status);
        let well = says(b"HTTP/1.1 200 OK\r\n") && !world.must_drain(record);
        let drains = says(b"HTTP/1.1 503 ") && world.may_drain(record);
        let is_well = (well || drains) && client.heard_end;
        return if is_well && record.told.is_empty() { Ok(()) } else { Err("unwell".to_owned()) };
    }
    let Some(reason) = outcome else {
        let remote = record.remote_link.map(|link| &world.deeds[link]).ok_or("no remote")?;
        if !record.endings.iter().all(|ending| ending.ends_with(".finished")) {
            return Err(format!("ended as {:?}", record.endings));
        }
        let to_client = [ESTABLISHED, &plan.remote.stream].concat();
        if client.heard != to_client || remote.heard != plan.client.stream[plan.head_bytes..] {
            return Err("bytes are missing".to_owned());
        }
        return match client.heard_end && remote.heard_end {
            true => Ok(()),
            false => Err("an end is missing".to_owned()),
        };
    };
    // More than the gateway reads of a refused client ends in a reset, which may cost it the reply.
    if plan.client.stream.len() > 60_000 {
        return Ok(());
    }
    if !client.heard_end {
        return Err("the client has not heard the end of its refusal".to_owned());
    }
    let heard = String::from_utf8_lossy(&client.heard);
    let tells = if plan.refusals[0].is_some() || reason == Reason::Draining {
        heard.contains(&format!("Sluice-Reason: {reason}\r\n")) && heard.ends_with('\n')
    } else if plan.hello == HelloKind::NotTls {
        client.heard == ESTABLISHED
    } else {
        client.heard.len() == ESTABLISHED.len() + 7 && client.heard[ESTABLISHED.len()] == 21
    };
    if tells { Ok(()) } else { Err(format!("the client has heard {heard:?}")) }
}
