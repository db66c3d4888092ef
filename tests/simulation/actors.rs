//! The two sides of a planned session: they write and read at their own pace and leave as planned.

use std::rc::Rc;

use crate::link::{LinkId, State, Who};
use crate::peer::Heard;
use crate::plan::{Leave, Part};
use crate::world::{Act, Actor, ActorId, World};

/// What a side has done and heard so far; the ledger reads it.
#[derive(Clone, Debug, Default)]
pub struct Deeds {
    pub written: usize,
    pub heard: Vec<u8>,
    pub heard_end: bool,
    pub heard_break: bool,
    pub left: bool,
}

/// Plays one side of session `session`.
pub struct Player {
    pub session: usize,
    pub is_client: bool,
    pub link: LinkId,
    part: Rc<Part>,
    write_at_us: u64,
    read_at_us: u64,
    shut: bool,
}

impl Player {
    pub fn new(session: usize, is_client: bool, link: LinkId, part: Rc<Part>) -> Player {
        Player { session, is_client, link, part, write_at_us: 0, read_at_us: 0, shut: false }
    }

    fn read(&mut self, id: ActorId, world: &mut World) {
        let pace = self.part.pace;
        if self.deeds(world).heard.len() >= pace.deaf_after {
            return;
        }
        if world.now_us < self.read_at_us {
            return;
        }
        match world.actor_reads(self.link, pace.bite) {
            Heard::Bytes(bytes) => {
                let (now_us, link, count) = (world.now_us, self.link, bytes.len());
                world.trace.note(now_us, || format!("            actor of {link} reads {count}"));
                self.deeds(world).heard.extend_from_slice(&bytes);
                let pause = world.chance.between(0, pace.bite_pause_us);
                self.read_at_us = world.now_us + pause;
                world.plan(pause, Act::Wake(id));
            }
            Heard::End => self.deeds(world).heard_end = true,
            Heard::Broken => self.deeds(world).heard_break = true,
            Heard::Nothing => {}
        }
    }

    fn write(&mut self, id: ActorId, world: &mut World) {
        let written = self.deeds(world).written;
        let end = self.end_for_now(world);
        if written >= end || world.now_us < self.write_at_us {
            return;
        }
        let longest = self.part.pace.piece_max.min(end - written);
        let piece = 1 + world.chance.below(longest);
        let taken = world.actor_writes(self.link, &self.part.stream[written..written + piece]);
        let (now_us, link) = (world.now_us, self.link);
        world
            .trace
            .note(now_us, || format!("            actor of {link} writes {taken} of {piece}"));
        if taken > 0 {
            self.deeds(world).written += taken;
            let pause = world.chance.between(0, self.part.pace.pause_us);
            self.write_at_us = world.now_us + pause;
            world.plan(pause, Act::Wake(id));
        }
    }

    /// How far the stream may be written, for what has been heard.
    fn end_for_now(&self, world: &mut World) -> usize {
        let heard = self.deeds(world).heard.len();
        let closed = self.part.waits.iter().filter(|wait| heard < wait.needs);
        let end = closed.map(|wait| wait.from).min().unwrap_or(usize::MAX);
        end.min(self.part.stream.len())
    }

    fn leave(&mut self, world: &mut World) {
        let deeds = &world.deeds[self.link];
        let deeds = Deeds { heard: Vec::new(), ..*deeds };
        let refused = self.is_client && world.records[self.session].refused;
        let all = deeds.written == self.part.stream.len();
        if deeds.heard_break || (deeds.heard_end && (self.part.closes_on_end || refused)) {
            world.actor_closes(self.link);
            self.deeds(world).left = true;
            return;
        }
        match self.part.leave {
            Leave::Reset(at) if deeds.written >= at => {
                world.actor_resets(self.link);
                self.deeds(world).left = true;
            }
            Leave::Close if all => {
                world.actor_closes(self.link);
                self.deeds(world).left = true;
            }
            Leave::HalfClose if all => {
                if !self.shut {
                    self.shut = true;
                    world.actor_shuts(self.link);
                }
                if deeds.heard_end {
                    world.actor_closes(self.link);
                    self.deeds(world).left = true;
                }
            }
            _ => {}
        }
    }

    fn deeds<'a>(&self, world: &'a mut World) -> &'a mut Deeds {
        &mut world.deeds[self.link]
    }
}

impl Actor for Player {
    fn wake(&mut self, id: ActorId, world: &mut World) {
        let is_dialling = world.links[self.link].look(Who::Actor).state == State::Connecting;
        if is_dialling || self.deeds(world).left {
            return;
        }
        self.read(id, world);
        self.write(id, world);
        self.leave(world);
    }
}

/// A client that is still to come.
pub struct Newcomer {
    pub session: usize,
}

impl Actor for Newcomer {
    fn wake(&mut self, _: ActorId, world: &mut World) {
        let plan = Rc::clone(&world.records[self.session].plan);
        if world.records[self.session].client_link.is_some() {
            return;
        }
        let link = world.connect(plan.address);
        world.records[self.session].client_link = Some(link);
        world.roles[link] = Some((self.session, true));
        let part = Rc::new(plan.client.clone());
        let actor = world.add_actor(Box::new(Player::new(self.session, true, link, part)));
        world.actor_of_link[link] = Some(actor);
        world.plan(0, Act::Wake(actor));
    }
}
