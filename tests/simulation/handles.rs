//! What the gateway holds of the fake kernel, and one operation on it.

use std::io::{self, ErrorKind};
use std::rc::Rc;

use crate::kernel::{FakeKernel, Shared};
use crate::link::{LinkId, Who};
use crate::world::World;

/// The gateway's end of a link. Dropping it closes it, as with a real socket.
pub struct Socket {
    world: Shared,
    pub link: LinkId,
}

/// The listener; dropping it closes it, and resets whoever waits there.
pub struct Door(Shared);

/// A pipe; dropping it closes it.
pub struct FakePipe {
    world: Shared,
    pub index: usize,
}

impl Socket {
    pub fn new(world: &Shared, link: LinkId) -> Socket {
        Socket { world: Rc::clone(world), link }
    }
}

impl Door {
    pub fn new(world: &Shared) -> Door {
        world.borrow_mut().listens = true;
        Door(Rc::clone(world))
    }
}

impl FakePipe {
    pub fn new(world: &Shared, index: usize) -> FakePipe {
        FakePipe { world: Rc::clone(world), index }
    }
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "socket of link {}", self.link)
    }
}

impl std::fmt::Debug for FakePipe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "pipe {}", self.index)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.world.borrow_mut().gateway_closes(self.link);
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.0.borrow_mut().gateway_unlistens();
    }
}

impl Drop for FakePipe {
    fn drop(&mut self) {
        let mut world = self.world.borrow_mut();
        world.pipes[self.index] = None;
        world.descriptors -= 2;
    }
}

impl FakeKernel {
    /// One operation on one stream, with what happens beside it, its trace, and what Windows makes of
    /// "would block".
    pub fn operate(
        &mut self,
        what: &str,
        link: LinkId,
        operation: impl FnOnce(&mut World, LinkId) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let world = &mut *self.0.borrow_mut();
        world.jostle();
        let scarce = what != "shut" && world.chance.once_in(world.options.scarce_once_in);
        let outcome = match scarce {
            true => Err(ErrorKind::OutOfMemory.into()),
            false => operation(world, link),
        };
        let now_us = world.now_us;
        world.trace.note(now_us, || match &outcome {
            Ok(moved) => format!("  {what} link {link} -> {moved}"),
            Err(error) => format!("  {what} link {link} -> {:?}", error.kind()),
        });
        match &outcome {
            Ok(_) => world.changes += 1,
            Err(error) if error.kind() == ErrorKind::OutOfMemory => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let watch = &mut world.links[link].end(Who::Gateway).watch;
                watch.read_armed = true;
                watch.write_armed = true;
            }
            Err(_) => {
                world.changes += 1;
                world.links[link].end(Who::Gateway).break_seen = true;
            }
        }
        outcome
    }

    pub fn may_panic(&self, link: LinkId) {
        let hit = {
            let mut world = self.0.borrow_mut();
            let hit = world.panic_at == Some(link);
            if hit {
                world.panic_at = None;
            }
            hit
        };
        assert!(!hit, "a planted panic");
    }
}
