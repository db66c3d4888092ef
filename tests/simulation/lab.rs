//! A worker on the fake kernel, driven by hand.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use sluice::logic::hosts::{HostPattern, Hosts};
use sluice::logic::limits::Limits;
use sluice::logic::policy::{AllowMode, Policy, TlsRules};
use sluice::logic::reason::Reason;
use sluice::net::pools::Pools;
use sluice::observe::counters::Counters;
use sluice::observe::events::Event;
use sluice::observe::outlets::Events;
use sluice::proto::tls::Version;
use sluice::proto::tls::record::ContentType;
use sluice::proto::tls::sample;
use sluice::serve::orders::Rules;
use sluice::serve::tools::Tools;
use sluice::serve::worker::{Identity, Worker};

use crate::handles::Door;
use crate::kernel::{FakeKernel, Shared};
use crate::link::{LinkId, Who};
use crate::names::{Name, Service};
use crate::options::Options;
use crate::peer::Heard;
use crate::trace::Trace;
use crate::world::{Act, DialPlan, World};

pub struct Lab {
    pub worker: Worker<FakeKernel>,
    pub world: Shared,
    pub counters: Arc<Counters>,
    pub events: Vec<Event>,
    pub running: bool,
    collected: Receiver<Event>,
    clients: u8,
}

/// Where the gateway itself listens.
pub const OWN_ADDRESS: ([u8; 4], u16) = ([0, 0, 0, 0], 8080);

impl Lab {
    pub fn new(options: Options, limits: Limits) -> Lab {
        let pipes_max = options.pipes_max;
        let rules = Rules {
            policy: Arc::new(policy(limits)),
            sources: Vec::new(),
            own: vec![OWN_ADDRESS.into()],
            keepalive: None,
            pipes_max,
            cuts_open: false,
        };
        Lab::with_world(World::new(options, 1, Trace::kept()), &rules)
    }

    pub fn with_world(mut world: World, rules: &Rules) -> Lab {
        let by_mail = world.options.by_mail;
        world.names.insert("a.example.com".to_owned(), Name::new(Service::Known, &["93.184.0.1"]));
        world.dials.push(("93.184.0.1".parse().unwrap(), DialPlan::Connect(0)));
        let (counters, tray) = (Arc::clone(&world.counters), Arc::clone(&world.tray));
        let world = Rc::new(RefCell::new(world));
        let (events, collected) = Events::collecting();
        let tools = Tools::new(
            FakeKernel(Rc::clone(&world)),
            Pools::new(rules.pipes_max),
            events,
            Arc::clone(&counters),
            rules.sources.clone(),
            rules.own.clone(),
        );
        let identity = Identity { start_s: 1, index: 0, sessions_max: 0 };
        let mut worker = Worker::new(tools, identity, Arc::clone(&rules.policy), tray);
        if !by_mail {
            worker.listen(Door::new(&world), 0);
        }
        let events = Vec::new();
        Lab { worker, world, counters, events, running: true, collected, clients: 0 }
    }

    /// Turns until nothing happens any more at the present time.
    pub fn settle(&mut self) {
        self.pass_us(1);
    }

    pub fn pass_ms(&mut self, ms: u64) {
        self.pass_us(ms * 1000);
    }

    fn pass_us(&mut self, us: u64) {
        {
            let mut world = self.world.borrow_mut();
            world.horizon_us = world.now_us + us;
        }
        for _ in 0..10_000 {
            self.world.borrow_mut().slept = false;
            self.turn();
            let world = self.world.borrow();
            if !self.running || (world.slept && world.now_us >= world.horizon_us) {
                return;
            }
        }
        panic!("the worker spins:\n{}", self.trace());
    }

    fn is_seeded(&self) -> bool {
        self.world.borrow().is_seeded()
    }

    pub fn turn(&mut self) {
        self.running = self.worker.turn().unwrap();
        let broken = self.world.borrow().broken.clone();
        assert!(broken.is_none() || self.is_seeded(), "{broken:?}\n{}", self.trace());
        self.events.extend(self.collected.try_iter());
    }

    pub fn connect(&mut self) -> LinkId {
        self.clients += 1;
        let address = format!("198.51.100.{}:4{:04}", self.clients, self.clients).parse().unwrap();
        let link = self.world.borrow_mut().connect(address);
        self.settle();
        link
    }

    pub fn send(&mut self, link: LinkId, bytes: &[u8]) {
        let sent = self.world.borrow_mut().actor_writes(link, bytes);
        assert_eq!(sent, bytes.len(), "the actor's send queue is full");
        self.settle();
    }

    /// Everything that has come to the actor of `link`, and how it stands.
    pub fn hear(&mut self, link: LinkId) -> (Vec<u8>, Heard) {
        let mut bytes = Vec::new();
        loop {
            let heard = self.world.borrow_mut().actor_reads(link, 1 << 20);
            match heard {
                Heard::Bytes(more) => bytes.extend(more),
                Heard::Nothing => {
                    let before = bytes.len();
                    self.settle();
                    let more = self.world.borrow_mut().actor_reads(link, 1 << 20);
                    match more {
                        Heard::Bytes(more) => bytes.extend(more),
                        heard => return (bytes, heard),
                    }
                    assert!(bytes.len() > before);
                }
                heard => return (bytes, heard),
            }
        }
    }

    /// How `link` stands without another turn: for a worker that has stopped.
    pub fn hear_now(&mut self, link: LinkId) -> Heard {
        let mut world = self.world.borrow_mut();
        while world.perform_next(u64::MAX) {}
        world.actor_reads(link, 1 << 20)
    }

    pub fn act(&mut self, act: impl FnOnce(&mut World)) {
        act(&mut self.world.borrow_mut());
    }

    pub fn later(&mut self, after_us: u64, act: Act) {
        self.world.borrow_mut().plan(after_us, act);
    }

    pub fn dialled(&self, index: usize) -> LinkId {
        let world = self.world.borrow();
        match world.dialled.get(index) {
            Some(link) => *link,
            None => panic!("no dial {index}:\n{}", world.trace.lines().join("\n")),
        }
    }

    pub fn is_closed(&self, link: LinkId) -> bool {
        self.world.borrow().links[link].look(Who::Gateway).closed
    }

    pub fn reasons(&self) -> Vec<Reason> {
        self.events.iter().map(|event| event.reason).collect()
    }

    /// The endings told so far, as `stage.side.cause`.
    pub fn endings(&self) -> Vec<String> {
        let ended = self.events.iter().filter_map(|event| event.ended.as_ref());
        ended.map(|ended| ended.ending.to_string()).collect()
    }

    pub fn trace(&self) -> String {
        self.world.borrow().trace.lines().join("\n")
    }

    /// A tunnel to `a.example.com` with the hellos behind it; everything sent so far has been heard.
    pub fn open_tunnel(&mut self) -> (LinkId, LinkId) {
        let client = self.connect();
        let dials = self.world.borrow().dialled.len();
        self.send(client, HEAD);
        assert_eq!(self.hear(client), (ESTABLISHED.to_vec(), Heard::Nothing), "{}", self.trace());
        let remote = self.dialled(dials);
        let hello = hello();
        self.send(client, &hello);
        assert_eq!(self.hear(remote), (hello, Heard::Nothing), "{}", self.trace());
        let answer = server_hello();
        self.send(remote, &answer);
        assert_eq!(self.hear(client), (answer, Heard::Nothing), "{}", self.trace());
        (client, remote)
    }

    /// Nothing of any session is left: no descriptor, no pipe, no buffer, no deadline.
    pub fn assert_at_rest(&mut self) {
        let trace = self.trace();
        assert_eq!(self.worker.sessions(), 0, "{trace}");
        assert_eq!(self.worker.deadlines(), 0, "{trace}");
        let pools = &self.worker.tools().pools;
        assert_eq!((pools.pipes_out(), pools.buffers_out()), (0, 0), "{trace}");
        let pooled = pools.pipes_pooled();
        assert_eq!(self.world.borrow().descriptors, 2 * pooled, "{trace}");
        assert_eq!(self.counters.active(), 0, "{trace}");
        let waiting: usize =
            self.world.borrow().names.values().map(|name| name.waiting.len()).sum();
        assert_eq!(waiting, 0, "{trace}");
    }
}

pub const HEAD: &[u8] = b"CONNECT a.example.com:443 HTTP/1.1\r\nHost: a.example.com:443\r\n\r\n";
pub const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

pub fn hello() -> Vec<u8> {
    hello_for(b"a.example.com")
}

pub fn hello_for(name: &[u8]) -> Vec<u8> {
    let sample = sample::SampleHello { server_name: Some(name), ..Default::default() };
    let message = sample::client_hello(&sample);
    sample::records(ContentType::Handshake, Version::TLS10, &message, 1 << 14)
}

pub fn server_hello() -> Vec<u8> {
    let message = sample::server_hello(&sample::SampleServerHello::default());
    sample::records(ContentType::Handshake, Version::TLS12, &message, 1 << 14)
}

/// `*.example.com` on 443, TLS 1.2 and matching names.
pub fn policy(limits: Limits) -> Policy {
    Policy {
        hosts: Hosts::new([HostPattern::parse("*.example.com").unwrap()]),
        mode: AllowMode::Enforce,
        addresses: Default::default(),
        clients: Vec::new(),
        balancers: Vec::new(),
        relay: Default::default(),
        tls: TlsRules { min_version: Version::TLS12, match_server_name: true },
        certificates: None,
        limits,
    }
}
