//! One agent: which upload is next, whether its tunnel stands, and until when it waits for what. It
//! acts when its time has come (`on_time`) and when its tunnel can move (`on_ready`).

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::exchange::{Exchange, Hashes, Job};
use crate::failure::{Cause, Failure, Stage};
use crate::payload::Body;
use crate::plan::{Beat, Schedule};
use crate::retry::Patience;
use crate::tally::Tally;
use crate::tunnel::{Desk, Tunnel, Turn};

/// How long the gateway may take to accept, and the target to shake hands, and both to close.
const DIAL_MS: u64 = 10_000;
/// How long the gateway may take to answer CONNECT: it resolves and dials in that time.
const REPLY_MS: u64 = 20_000;
const HANDSHAKE_MS: u64 = 10_000;
const CLOSE_MS: u64 = 10_000;
/// The least time an upload gets until it is answered; an interval, where that is longer.
const LEAST_ANSWER_MS: u64 = 10_000;

/// How agents use tunnels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tunnels {
    /// Opened ahead of the load and kept; opened again for the next upload when lost.
    Kept,
    /// Opened ahead of the load and kept; a lost one is a failure for good.
    Held,
    /// CONNECT, TLS, upload, answer, close: each time.
    PerUpload,
}

/// What the agents of an engine have in common, and what each turn may use.
pub struct Ground {
    /// Where the gateway listens.
    pub gateway: SocketAddr,
    /// What CONNECT and Host name.
    pub target: String,
    /// How tunnels are used.
    pub tunnels: Tunnels,
    /// What is done with them.
    pub job: Job,
    /// How a failure is taken.
    pub patience: Patience,
    /// Known once the load has begun.
    pub schedule: Option<Schedule>,
    /// The next number of this engine's share of a line, and how far it is to the one after.
    pub line: (u32, u32),
    /// What tunnels share.
    pub desk: Desk,
    /// What is counted.
    pub tally: Tally,
    /// Where sockets are registered.
    pub registry: Registry,
}

/// What the engine has to do next for an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Call `on_time` at `Agent::wake_at`, `on_ready` on events.
    Wait,
    /// Call `on_ready` again, after the others had a turn.
    Again,
    /// It is done for good.
    Done,
}

/// One agent.
pub struct Agent {
    number: u32,
    token: Token,
    sequence: u32,
    tunnel: Option<Tunnel<TcpStream>>,
    upload: Option<Timing>,
    hashes: Option<Hashes>,
    moved_bytes: u64,
    dialled_at: Instant,
    /// Since when the running deadline counts.
    waiting_since: Instant,
    /// Since when it could have begun its next upload.
    free_at: Instant,
    wake: Option<(Instant, Due)>,
    done: bool,
}

/// An upload's times; of a session, the opening is what counts.
#[derive(Clone, Copy)]
struct Timing {
    intended: Instant,
    begun: Instant,
    opened: Option<Instant>,
    attempt: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Due {
    Open,
    /// The next upload, intended at this time.
    Begin,
    TryAgain,
    Deadline,
}

impl Agent {
    /// Agent `number`; with `open_at` it opens its tunnel ahead of the load.
    pub fn new(number: u32, token: Token, open_at: Option<Instant>, now: Instant) -> Agent {
        Agent {
            number,
            token,
            sequence: 0,
            tunnel: None,
            upload: None,
            hashes: None,
            moved_bytes: 0,
            dialled_at: now,
            waiting_since: now,
            free_at: now,
            wake: open_at.map(|at| (at, Due::Open)),
            done: false,
        }
    }

    /// When `on_time` is to be called next.
    pub fn wake_at(&self) -> Option<Instant> {
        self.wake.map(|(at, _)| at)
    }

    /// How many bytes of its uploads or streams were answered for.
    pub fn moved_bytes(&self) -> u64 {
        self.moved_bytes
    }

    /// Notes what the poll has said about its tunnel.
    pub fn note_ready(&mut self, readable: bool, writable: bool) {
        if let Some(tunnel) = &mut self.tunnel {
            tunnel.note_ready(readable, writable);
        }
    }

    /// The load has begun: the schedule is known.
    pub fn on_go(&mut self, ground: &mut Ground, start: Instant) -> After {
        self.free_at = self.free_at.max(start);
        let opening = self.tunnel.as_ref().is_some_and(|tunnel| tunnel.stage() != Stage::Open);
        if opening { After::Wait } else { self.await_next(ground) }
    }

    /// Its time has come.
    pub fn on_time(&mut self, ground: &mut Ground, now: Instant) -> After {
        let Some((at, due)) = self.wake else { return After::Wait };
        if at > now {
            return After::Wait;
        }
        self.wake = None;
        match due {
            Due::Open => self.dial(ground, now),
            Due::Begin => self.begin(ground, at, now),
            Due::TryAgain => self.attempt(ground, now),
            Due::Deadline => {
                let stage = self.tunnel.as_ref().map_or(Stage::Dialing, Tunnel::stage);
                let waited = now.saturating_duration_since(self.waiting_since);
                let reason = format!("given up after {:.1} s", waited.as_secs_f64());
                self.fail(ground, now, &Failure::new(Cause::Timeout, stage, reason))
            }
        }
    }

    /// Its tunnel may be able to move.
    pub fn on_ready(&mut self, ground: &mut Ground, now: Instant) -> After {
        let Some(tunnel) = &mut self.tunnel else { return After::Wait };
        let before = tunnel.stage();
        match tunnel.turn(&mut ground.desk) {
            Turn::Failed(failure) => self.fail(ground, now, &failure),
            Turn::Opened => {
                ground.tally.tunnel_opened(
                    now.saturating_duration_since(self.dialled_at),
                    self.upload.is_none(),
                );
                match &mut self.upload {
                    Some(timing) if ground.job == Job::Session => {
                        timing.opened = Some(now);
                        tunnel.finish();
                    }
                    Some(_) => {}
                    None => {
                        self.free_at = now;
                        self.wake = None;
                        if ground.schedule.is_some() && self.await_next(ground) == After::Done {
                            return After::Done;
                        }
                    }
                }
                self.watch_over(before, ground, now);
                After::Again
            }
            Turn::Arrived | Turn::Closed => self.arrived(ground, now),
            turn => {
                self.watch_over(before, ground, now);
                if matches!(turn, Turn::Again) { After::Again } else { After::Wait }
            }
        }
    }

    /// The run is over: what is still on the way has failed, and what was never begun, too.
    pub fn give_up(&mut self, ground: &mut Ground) {
        let stage = self.tunnel.as_ref().map_or(Stage::Dialing, Tunnel::stage);
        let number = self.number;
        let failed = |ground: &mut Ground, reason: &str| {
            ground.tally.failed(number, &Failure::new(Cause::Timeout, stage, reason));
        };
        let never = "never begun before the run ended";
        if self.upload.take().is_some() {
            failed(ground, "not done when the run ended");
            self.sequence += 1;
        } else if matches!(self.wake, Some((_, Due::Begin))) {
            failed(ground, never);
            self.sequence += 1;
        }
        // Flat out, nothing is planned but what is on the way.
        let is_planned = !matches!(ground.job, Job::Stream { .. });
        while is_planned && !self.done && self.take_next(ground).is_some() {
            failed(ground, never);
            self.sequence += 1;
        }
    }

    /// The time of its next upload. On a line that takes a number, so it is asked once for each.
    fn take_next(&mut self, ground: &mut Ground) -> Option<Instant> {
        let schedule = ground.schedule?;
        if let Beat::Line { .. } = schedule.beat {
            self.sequence = ground.line.0;
            ground.line.0 = ground.line.0.saturating_add(ground.line.1);
        }
        schedule.intended(self.number, self.sequence, self.free_at)
    }

    /// Sets the time of the next upload. `Done` is said once only.
    fn await_next(&mut self, ground: &mut Ground) -> After {
        if self.done || ground.schedule.is_none() {
            return After::Wait;
        }
        self.wake = self.take_next(ground).map(|at| (at, Due::Begin));
        self.done = self.wake.is_none();
        if self.done { After::Done } else { After::Wait }
    }

    fn begin(&mut self, ground: &mut Ground, intended: Instant, now: Instant) -> After {
        self.upload = Some(Timing { intended, begun: now, opened: None, attempt: 0 });
        ground.tally.begun(now.saturating_duration_since(intended.max(self.free_at)));
        self.attempt(ground, now)
    }

    fn attempt(&mut self, ground: &mut Ground, now: Instant) -> After {
        if self.tunnel.is_none() {
            if ground.tunnels == Tunnels::Held {
                let failure = Failure::new(Cause::Closed, Stage::Open, "the held tunnel was gone");
                return self.fail(ground, now, &failure);
            }
            let after = self.dial(ground, now);
            if self.tunnel.is_none() {
                return after;
            }
        }
        if let Some(exchange) = self.exchange(ground)
            && let Some(tunnel) = &mut self.tunnel
        {
            let before = tunnel.stage();
            tunnel.carry(exchange);
            self.watch_over(before, ground, now);
        }
        After::Again
    }

    fn exchange(&mut self, ground: &Ground) -> Option<Exchange> {
        let (target, block) = (&ground.target, &ground.desk.block);
        match ground.job {
            Job::Session => None,
            Job::Upload(bytes) => {
                let body = Body::new(self.number, self.sequence, bytes);
                Some(Exchange::upload(target, block, body))
            }
            Job::Stream { up_bytes, down_bytes } => {
                let sizes = (up_bytes, down_bytes);
                Some(Exchange::stream(target, block, self.number, sizes, &mut self.hashes))
            }
        }
    }

    fn dial(&mut self, ground: &mut Ground, now: Instant) -> After {
        self.dialled_at = now;
        match connect(ground.gateway, &ground.registry, self.token) {
            Ok(stream) => {
                self.tunnel = Some(Tunnel::new(stream));
                self.arm_deadline(Stage::Dialing, ground, now);
                After::Wait
            }
            Err(why) => self.fail(ground, now, &Failure::io(Stage::Dialing, &why)),
        }
    }

    /// Arms the deadline of the stage that has been reached.
    fn watch_over(&mut self, before: Stage, ground: &Ground, now: Instant) {
        let Some(tunnel) = &self.tunnel else { return };
        match tunnel.stage() {
            // An upload's deadline covers its answer, too.
            Stage::Open | Stage::AwaitAnswer => {}
            stage if stage == before => {}
            stage => self.arm_deadline(stage, ground, now),
        }
    }

    fn arm_deadline(&mut self, stage: Stage, ground: &Ground, now: Instant) {
        self.waiting_since = now;
        self.wake = Some((now + allowance(stage, ground), Due::Deadline));
    }

    fn arrived(&mut self, ground: &mut Ground, now: Instant) -> After {
        if let (Some(timing), Some(schedule)) = (self.upload.take(), ground.schedule) {
            let done = timing.opened.unwrap_or(now);
            let latency = done.saturating_duration_since(timing.intended);
            let punctuality = schedule.judge(timing.intended, timing.begun, done);
            let bytes = ground.job.bytes();
            self.moved_bytes += bytes;
            ground.tally.arrived(bytes, latency, punctuality, timing.attempt, now);
        }
        self.sequence += 1;
        self.free_at = now;
        if ground.tunnels == Tunnels::PerUpload
            && let Some(tunnel) = self.tunnel.take()
            && ground.job != Job::Session
        {
            tunnel.close();
        }
        match self.await_next(ground) {
            After::Done => After::Done,
            // The tunnel may hold more to read, and readiness is told only once.
            _ => After::Again,
        }
    }

    fn fail(&mut self, ground: &mut Ground, now: Instant, failure: &Failure) -> After {
        let was_open = self.tunnel.take().is_some_and(|tunnel| tunnel.stage() == Stage::Open);
        self.free_at = now;
        let is_flat_out = matches!(ground.job, Job::Stream { .. });
        if let Some(timing) = self.upload.take() {
            if let Some(at) = again_at(ground, &timing, failure, now) {
                ground.tally.retried(failure);
                self.upload = Some(Timing { attempt: timing.attempt + 1, ..timing });
                self.wake = Some((at, Due::TryAgain));
                return After::Wait;
            }
            self.sequence += 1;
            ground.tally.failed(self.number, failure);
        } else {
            ground.tally.tunnel_failed(self.number, failure, !was_open);
        }
        if is_flat_out {
            // Without a pace of its own it would hammer a gateway that refuses.
            let was_done = std::mem::replace(&mut self.done, true);
            self.wake = None;
            return if was_done { After::Wait } else { After::Done };
        }
        self.await_next(ground)
    }
}

fn connect(gateway: SocketAddr, registry: &Registry, token: Token) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(gateway)?;
    // A short request must not wait for the answer to the one before.
    stream.set_nodelay(true)?;
    registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
    Ok(stream)
}

fn again_at(ground: &Ground, timing: &Timing, failure: &Failure, now: Instant) -> Option<Instant> {
    let every = ground.schedule?.interval()?;
    ground.patience.again_at(failure, timing.attempt + 1, now, timing.intended + every, every)
}

fn allowance(stage: Stage, ground: &Ground) -> Duration {
    let every = ground.schedule.and_then(|schedule| schedule.interval());
    let least = Duration::from_millis(LEAST_ANSWER_MS);
    let allowed = match stage {
        Stage::Dialing => Duration::from_millis(DIAL_MS),
        Stage::AwaitReply => Duration::from_millis(REPLY_MS),
        Stage::Handshake | Stage::Open => Duration::from_millis(HANDSHAKE_MS),
        Stage::Closing => Duration::from_millis(CLOSE_MS),
        Stage::Sending | Stage::AwaitAnswer => every.map_or(least, |every| every.max(least)),
    };
    every.map_or(allowed, |every| ground.patience.limit(allowed, every))
}
