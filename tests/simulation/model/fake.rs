//! The fake kernel's bench.

use std::cell::RefCell;
use std::rc::Rc;

use sluice::net::kernel::Kernel;

use super::bench::{Bench, token};
use super::operation::{LINKS, Op, Outcome, PIPES, pattern};
use crate::chance::Chance;
use crate::kernel::{FakeKernel, Shared};
use crate::link::{End, Who};
use crate::options::Options;
use crate::peer::Heard;
use crate::pipe::Pipe;
use crate::trace::Trace;
use crate::world::{DialPlan, World};

/// What one more page of a pipe takes in.
pub const PAGE_BYTES: usize = 4096;

pub struct Fake {
    pub bench: Bench<FakeKernel>,
    pub world: Shared,
    links: Vec<usize>,
    peer_written: Vec<usize>,
}

/// What can be seen of one end of a link when all has come to rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub unread_bytes: usize,
    /// Both directions are over, in order or not.
    pub is_over: bool,
    /// The other side's end has come; not looked at where all is over.
    pub end_came: bool,
}

impl Fake {
    pub fn new(chance: &mut Chance) -> Fake {
        let queues_max = [usize::MAX >> 8; 4];
        let options = Options {
            queues_max,
            piece_bytes: 1 << 20,
            page_bytes: PAGE_BYTES,
            uneven_pieces: chance.once_in(2),
            ..Options::default()
        };
        let mut world = World::new(options, chance.number(), Trace::kept());
        let address = "127.0.0.1:443".parse().unwrap();
        world.dials.push(("127.0.0.1".parse().unwrap(), DialPlan::Connect(0)));
        let world = Rc::new(RefCell::new(world));
        let mut kernel = FakeKernel(Rc::clone(&world));
        let streams: Vec<_> = (0..LINKS)
            .map(|link| {
                let mut stream = kernel.dial(address, None).unwrap();
                kernel.register(&mut stream, token(link)).unwrap();
                stream
            })
            .collect();
        let pipes = PIPES.iter().map(|&slots| {
            let pipe = kernel.open_pipe(false).unwrap();
            world.borrow_mut().pipes[pipe.index] = Some(Pipe::new(slots, PAGE_BYTES));
            pipe
        });
        let pipes = pipes.collect();
        let links = streams.iter().map(|stream| stream.link).collect();
        let bench = Bench::new(kernel, streams, pipes);
        let mut fake = Fake { bench, world, links, peer_written: vec![0; LINKS] };
        fake.settle();
        fake
    }

    /// Everything that is on its way arrives.
    pub fn settle(&mut self) {
        self.world.borrow_mut().play_out();
    }

    pub fn perform_peer(&mut self, op: Op) -> Outcome {
        let world = &mut *self.world.borrow_mut();
        let link = match op {
            Op::PeerWrite(link, _) | Op::PeerRead(link, _) | Op::PeerShut(link) => link,
            Op::PeerClose(link) | Op::PeerReset(link) => link,
            _ => return Outcome::Skipped,
        };
        let id = self.links[link];
        if world.links[id].look(Who::Actor).closed {
            return Outcome::Skipped;
        }
        match op {
            Op::PeerWrite(_, len) => {
                let bytes = pattern(link, false, self.peer_written[link], len);
                let written = world.links[id].end(Who::Actor).write(&bytes, usize::MAX);
                world.plan_transit(id, Who::Actor);
                self.peer_written[link] += written.as_ref().copied().unwrap_or(0);
                return Outcome::of_move(written);
            }
            Op::PeerRead(_, len) => {
                return match world.actor_reads(id, len) {
                    Heard::Bytes(bytes) => Outcome::Bytes(bytes),
                    Heard::Nothing => Outcome::Blocked,
                    Heard::End => Outcome::End,
                    Heard::Broken => Outcome::Failed(std::io::ErrorKind::ConnectionReset),
                };
            }
            Op::PeerShut(_) => world.actor_shuts(id),
            Op::PeerClose(_) => world.actor_closes(id),
            _ => world.actor_resets(id),
        }
        Outcome::Done
    }

    /// The bytes that wait at the gateway's end come in pieces of these lengths.
    pub fn cut(&mut self, link: usize, lengths: &[usize]) {
        let world = &mut *self.world.borrow_mut();
        let incoming = &mut world.links[self.links[link]].end(Who::Gateway).incoming;
        let mut bytes: Vec<u8> = incoming.drain(..).flatten().collect();
        for &length in lengths {
            let rest = bytes.split_off(length.min(bytes.len()));
            incoming.push_back(std::mem::replace(&mut bytes, rest));
        }
        if !bytes.is_empty() {
            incoming.push_back(bytes);
        }
    }

    /// The queues of both ends hold no more than they do now, of which `unsent` bytes are not there yet.
    pub fn stuff(&mut self, link: usize, bytes: usize, unsent: usize) -> Outcome {
        let id = self.links[link];
        {
            let world = &mut *self.world.borrow_mut();
            let actor = world.links[id].end(Who::Actor);
            actor.incoming_max = actor.incoming_bytes + bytes - unsent;
        }
        let outcome = self.bench.perform(Op::Write(link, bytes), None);
        self.settle();
        {
            let world = &mut *self.world.borrow_mut();
            let end = world.links[id].end(Who::Gateway);
            end.outgoing_max = end.outgoing.len();
        }
        // Finds that nothing more fits.
        let blocked = self.bench.perform(Op::Write(link, 1), None);
        if blocked == Outcome::Blocked { outcome } else { blocked }
    }

    /// A full window is probed after a while, and then takes a few bytes more. Whoever waited for room
    /// has been told of it then.
    pub fn loosen(&mut self, link: usize, bytes: usize) {
        let mut world = self.world.borrow_mut();
        let end = world.links[self.links[link]].end(Who::Gateway);
        end.outgoing_max += bytes;
        end.watch.starved = false;
    }

    pub fn unstuff(&mut self, link: usize) -> Vec<u8> {
        let id = self.links[link];
        {
            let world = &mut *self.world.borrow_mut();
            world.links[id].end(Who::Actor).incoming_max = usize::MAX >> 8;
            world.links[id].end(Who::Gateway).outgoing_max = usize::MAX >> 8;
            world.plan_transit(id, Who::Gateway);
        }
        let mut all = Vec::new();
        loop {
            self.settle();
            match self.perform_peer(Op::PeerRead(link, 1 << 20)) {
                Outcome::Bytes(bytes) => all.extend(bytes),
                _ => return all,
            }
        }
    }

    /// What both ends show, where they are open.
    pub fn look(&self, link: usize) -> [Option<Seen>; 2] {
        let world = self.world.borrow();
        let link = &world.links[self.links[link]];
        [Who::Gateway, Who::Actor].map(|who| see(link.look(who)))
    }

    pub fn is_stuffed(&self, link: usize) -> bool {
        let world = self.world.borrow();
        world.links[self.links[link]].look(Who::Actor).incoming_max < usize::MAX >> 8
    }

    pub fn slots(&self, pipe: usize) -> Vec<usize> {
        let world = self.world.borrow();
        world.pipes[self.bench.pipes[pipe].index].as_ref().map(Pipe::slots).unwrap_or_default()
    }

    pub fn trace(&self) -> String {
        self.world.borrow().trace.lines().join("\n")
    }
}

fn see(end: &End) -> Option<Seen> {
    let is_over = end.is_over();
    let end_came = end.end_came && !is_over;
    (!end.closed).then_some(Seen { unread_bytes: end.incoming_bytes, is_over, end_came })
}
