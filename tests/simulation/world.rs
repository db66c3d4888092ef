//! What lies behind the fake kernel: links, names, mail, a clock, and an agenda of what will happen.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use sluice::net::slots::Token;
use sluice::observe::counters::Counters;
use sluice::serve::orders::Tray;

use crate::actors::Deeds;
use crate::chance::Chance;
use crate::generations::Generation;
use crate::ledger::Record;
use crate::link::{Link, LinkId, State, Who};
use crate::names::{Answer, Names};
use crate::operator::Drain;
use crate::options::{Options, PollModel};
use crate::pipe::Pipe;
use crate::trace::Trace;

pub type ActorId = usize;

/// Acts that are awaited when the gateway has stopped.
const ACTS_AFTER_MAX: usize = 1_000_000;

/// Who sits at the far ends of links.
pub trait Actor {
    /// Something may have changed, or a planned time has come.
    fn wake(&mut self, id: ActorId, world: &mut World);
}

/// Something that will happen.
#[derive(Clone, Debug)]
pub enum Act {
    /// Bytes and ends that this end of the link has sent come to the other end.
    Transit(LinkId, Who),
    /// The other end acknowledges so many bytes of this one.
    Acknowledge(LinkId, Who, usize),
    /// A reset comes to this end.
    Reset(LinkId, Who),
    /// A dial is over.
    Outcome(LinkId, Result<(), ErrorKind>),
    /// A connection comes to the listener, or by mail.
    Arrive(LinkId),
    /// The resolver knows.
    Answer(String),
    /// An actor's time has come.
    Wake(ActorId),
    /// An event that says nothing true.
    Spurious,
    /// The gateway is given the rules of this generation.
    Reload(usize),
    /// The gateway is to close its listener.
    Unlisten,
    /// The gateway is told to stop.
    Stop,
}

/// A letter in the mailbox of the worker.
#[derive(Debug)]
pub enum Letter {
    Accepted(LinkId),
    Resolved(Token, Answer),
    Orders,
    Stop,
}

/// How the next dials go, by address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialPlan {
    /// Connected after so many microseconds.
    Connect(u64),
    /// Refused after so many microseconds.
    Fail(u64, ErrorKind),
    /// No answer, ever.
    Silence,
    /// The system call itself fails.
    AtOnce(i32),
}

pub struct World {
    pub options: Options,
    pub chance: Chance,
    pub trace: Trace,
    pub now_us: u64,
    /// When the last poll returned: what the worker takes for the present.
    pub polled_us: u64,
    /// The clock stands still here.
    pub horizon_us: u64,
    /// A poll came to the horizon with nothing to tell.
    pub slept: bool,
    /// A poll would sleep for ever.
    pub exhausted: bool,
    /// Acts performed, since the beginning.
    pub performed: u64,
    pub polls: u64,
    /// The configurations of a seeded run; none where a test drives by hand.
    pub generations: Vec<Generation>,
    /// The one by which new sessions are judged.
    pub in_force: usize,
    pub tray: Arc<Tray>,
    pub counters: Arc<Counters>,
    pub drain: Drain,
    /// The drain ended because no tunnel was left.
    pub drained_quietly: bool,
    /// What the run has met beyond its events.
    pub met: Vec<&'static str>,
    /// Operations that changed something, since the beginning.
    pub changes: u64,
    pub links: Vec<Link>,
    pub actor_of_link: Vec<Option<ActorId>>,
    pub actors: Vec<Option<Box<dyn Actor>>>,
    pub backlog: VecDeque<LinkId>,
    pub backlog_told: bool,
    pub listens: bool,
    /// The last look for a client failed for want of a descriptor.
    pub lacked_descriptor: bool,
    pub letters: VecDeque<Letter>,
    pub letters_seen: usize,
    /// The last poll left nothing for the next one.
    pub told_all: bool,
    pub names: Names,
    /// The planned sessions; none where a test drives by hand.
    pub records: Vec<Record>,
    /// Which session a link belongs to, and whether it is the client's.
    pub roles: Vec<Option<(usize, bool)>>,
    pub deeds: Vec<Deeds>,
    pub dials: Vec<(IpAddr, DialPlan)>,
    pub dialled: Vec<LinkId>,
    pub pipes: Vec<Option<Pipe>>,
    pub descriptors: usize,
    pub splice_calls: u64,
    pub is_stopping: bool,
    /// A read of this link panics, once.
    pub panic_at: Option<LinkId>,
    /// The next read there comes so many microseconds later than the turn thinks.
    pub halt_at: Option<(LinkId, u64)>,
    pub tokens_given: Vec<Token>,
    /// The first broken invariant.
    pub broken: Option<String>,
    base: Instant,
    agenda: BinaryHeap<Reverse<(u64, u64, Entry)>>,
    planned: u64,
}

/// Acts have no order of their own: time and number decide.
#[derive(Debug)]
struct Entry(Act);

impl PartialEq for Entry {
    fn eq(&self, _: &Entry) -> bool {
        true
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Entry) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, _: &Entry) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

impl World {
    pub fn new(options: Options, seed: u64, trace: Trace) -> World {
        World {
            options,
            chance: Chance::new(seed),
            trace,
            now_us: 0,
            polled_us: 0,
            horizon_us: u64::MAX,
            slept: false,
            exhausted: false,
            performed: 0,
            polls: 0,
            generations: Vec::new(),
            in_force: 0,
            tray: Arc::default(),
            counters: Arc::new(Counters::new()),
            drain: Drain::default(),
            drained_quietly: false,
            met: Vec::new(),
            changes: 0,
            links: Vec::new(),
            actor_of_link: Vec::new(),
            actors: Vec::new(),
            backlog: VecDeque::new(),
            backlog_told: false,
            listens: false,
            lacked_descriptor: false,
            letters: VecDeque::new(),
            letters_seen: 0,
            told_all: true,
            names: Names::new(),
            records: Vec::new(),
            roles: Vec::new(),
            deeds: Vec::new(),
            dials: Vec::new(),
            dialled: Vec::new(),
            pipes: Vec::new(),
            descriptors: 0,
            splice_calls: 0,
            is_stopping: false,
            panic_at: None,
            halt_at: None,
            tokens_given: Vec::new(),
            broken: None,
            base: base(),
            agenda: BinaryHeap::new(),
            planned: 0,
        }
    }

    pub fn now(&self) -> Instant {
        self.base + Duration::from_micros(self.polled_us)
    }

    /// Time within a turn.
    pub fn clock(&self) -> Instant {
        self.base + Duration::from_micros(self.now_us)
    }

    pub fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_micros(self.polled_us)
    }

    /// Whether everything was drawn, so that the invariants are looked at.
    pub fn is_seeded(&self) -> bool {
        !self.generations.is_empty()
    }

    /// Notes that an invariant is broken; the first one counts.
    pub fn accuse(&mut self, what: impl FnOnce() -> String) {
        if self.broken.is_none() {
            let what = what();
            self.trace.note(self.now_us, || format!("BROKEN {what}"));
            self.broken = Some(what);
        }
    }

    pub fn plan(&mut self, after_us: u64, act: Act) {
        self.planned += 1;
        self.agenda.push(Reverse((self.now_us + after_us, self.planned, Entry(act))));
    }

    /// When the next act is due.
    pub fn next_at(&self) -> Option<u64> {
        self.agenda.peek().map(|Reverse((at, ..))| *at)
    }

    /// Performs the next act if it is due by `until_us`.
    pub fn perform_next(&mut self, until_us: u64) -> bool {
        if self.next_at().is_none_or(|at| at > until_us) {
            return false;
        }
        let Some(Reverse((_, _, Entry(act)))) = self.agenda.pop() else { return false };
        self.performed += 1;
        self.perform(act);
        true
    }

    /// What is still on its way arrives; nobody sleeps any more.
    pub fn play_out(&mut self) {
        for _ in 0..ACTS_AFTER_MAX {
            let Some(at) = self.next_at() else { return };
            self.now_us = self.now_us.max(at);
            self.perform_next(at);
        }
    }

    /// The world goes on while a turn of the worker lasts.
    pub fn jostle(&mut self) {
        let soon = self.now_us + 300;
        if self.chance.once_in(self.options.jostle_once_in)
            && let Some(at) = self.next_at().filter(|at| *at <= soon.min(self.horizon_us))
        {
            self.now_us = self.now_us.max(at);
            self.perform_next(at);
        }
    }

    pub fn new_link(&mut self, address: SocketAddr, dialled: bool) -> LinkId {
        let piece_max = self.options.piece_bytes;
        self.links.push(Link::new(address, dialled, self.options.queues_max, piece_max));
        self.actor_of_link.push(None);
        self.roles.push(None);
        self.deeds.push(Deeds::default());
        let link = self.links.len() - 1;
        if self.options.model == PollModel::Windows {
            self.links[link].end(Who::Gateway).error_stays = true;
        }
        link
    }

    pub fn add_actor(&mut self, actor: Box<dyn Actor>) -> ActorId {
        self.actors.push(Some(actor));
        self.actors.len() - 1
    }

    /// A client's connection that will come to the gateway.
    pub fn connect(&mut self, client: SocketAddr) -> LinkId {
        let link = self.new_link(client, false);
        self.plan(0, Act::Arrive(link));
        link
    }

    pub fn latency(&mut self) -> u64 {
        let longest = self.options.latency_us;
        self.chance.between(0, longest)
    }

    pub fn plan_transit(&mut self, link: LinkId, from: Who) {
        let link_state = &mut self.links[link];
        if link_state.look(from).transit_planned || !link_state.has_transit(from) {
            return;
        }
        link_state.end(from).transit_planned = true;
        let latency = self.latency();
        self.plan(latency, Act::Transit(link, from));
    }

    pub fn plan_reset(&mut self, link: LinkId, to: Who) {
        let sender = self.links[link].end(to.other());
        sender.stuck_bytes = sender.unsent_bytes();
        sender.outgoing.clear();
        sender.state = State::Dead;
        let latency = self.latency();
        self.plan(latency, Act::Reset(link, to));
    }

    pub fn wake(&mut self, link: LinkId) {
        if let Some(actor) = self.actor_of_link[link] {
            self.plan(0, Act::Wake(actor));
        }
    }

    /// A system call that needs a descriptor.
    pub fn take_descriptor(&mut self, count: usize) -> io::Result<()> {
        if self.descriptors + count > self.options.descriptors_max {
            return Err(io::Error::from_raw_os_error(libc_emfile()));
        }
        self.descriptors += count;
        Ok(())
    }
}

/// EMFILE, which has no kind of its own in `std::io`; the number is the one `sys` looks for.
pub fn libc_emfile() -> i32 {
    if cfg!(windows) { 10024 } else { 24 }
}

/// An instant has no beginning; the run counts from whichever moment it is made in.
#[allow(clippy::disallowed_methods, reason = "only differences to it are ever seen")]
fn base() -> Instant {
    Instant::now()
}
