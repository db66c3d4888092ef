//! What an actor does at its end of a link, and what the world makes of what the gateway did at its own.

use std::io::ErrorKind;

use crate::link::{LinkId, State, Who};
use crate::world::World;

/// What an actor hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    Bytes(Vec<u8>),
    Nothing,
    End,
    Broken,
}

impl World {
    /// Writes what fits; 0 also where the connection is broken.
    pub fn actor_writes(&mut self, link: LinkId, bytes: &[u8]) -> usize {
        let end = self.links[link].end(Who::Actor);
        if end.closed || bytes.is_empty() {
            return 0;
        }
        let written = end.write(bytes, usize::MAX).unwrap_or(0);
        self.plan_transit(link, Who::Actor);
        written
    }

    pub fn actor_reads(&mut self, link: LinkId, most: usize) -> Heard {
        let end = self.links[link].end(Who::Actor);
        let mut bytes = vec![0; most.min(end.incoming_bytes.max(1))];
        let heard = match end.read(&mut bytes, most) {
            Ok(0) => Heard::End,
            Ok(read) => {
                bytes.truncate(read);
                Heard::Bytes(bytes)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Heard::Nothing,
            Err(error) if error.kind() == ErrorKind::NotConnected => Heard::Nothing,
            Err(_) => Heard::Broken,
        };
        self.plan_transit(link, Who::Gateway);
        heard
    }

    pub fn actor_shuts(&mut self, link: LinkId) {
        let end = self.links[link].end(Who::Actor);
        if end.state == State::Open && !end.closed {
            end.shut = true;
            self.plan_transit(link, Who::Actor);
        }
    }

    pub fn actor_resets(&mut self, link: LinkId) {
        let end = self.links[link].end(Who::Actor);
        if end.closed {
            return;
        }
        end.closed = true;
        if end.is_connected() {
            self.plan_reset(link, Who::Gateway);
        }
    }

    /// With bytes unread it is a reset, as everywhere.
    pub fn actor_closes(&mut self, link: LinkId) {
        let end = self.links[link].end(Who::Actor);
        if end.closed {
            return;
        }
        if end.incoming_bytes > 0 {
            return self.actor_resets(link);
        }
        end.closed = true;
        end.shut = true;
        self.plan_transit(link, Who::Actor);
    }
}
