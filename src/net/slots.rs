//! Sessions by number, with a generation so that an event for a past one is recognised.

use slab::Slab;

/// Sockets of one session that can be told apart: the client and its dialling attempts.
pub const LANES: usize = 16;

/// Listeners of one worker that can be told apart, by their index.
pub const LISTENERS_MAX: usize = 256;

const LANE_BITS: u32 = 4;
const SLOT_BITS: u32 = 28;

/// Names a socket of a session, or one of the worker's own sources of events. The generation is part
/// of it: a token of a past session matches nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token(pub u64);

impl Token {
    /// The lane of the client's socket; the others are dialling attempts.
    pub const CLIENT_LANE: usize = 0;
    /// Mail has come.
    pub const MAILBOX: Token = Token(u64::MAX);

    /// A deadline may have passed.
    pub const ALARM: Token = Token(u64::MAX - 1 - LISTENERS_MAX as u64);

    /// The `index`th listener of a worker, of [`LISTENERS_MAX`].
    pub fn listener(index: usize) -> Token {
        debug_assert!(index < LISTENERS_MAX);
        Token(u64::MAX - 1 - index as u64)
    }

    /// The listener this token names, if it names one.
    pub fn as_listener(self) -> Option<usize> {
        let index = u64::MAX - 1 - self.0.min(u64::MAX - 1);
        (index < LISTENERS_MAX as u64 && self != Token::MAILBOX).then_some(index as usize)
    }

    /// The same session, another socket.
    pub fn with_lane(self, lane: usize) -> Token {
        debug_assert!(lane < LANES);
        Token(self.0 & !(LANES as u64 - 1) | lane as u64)
    }

    /// Which socket of the session.
    pub fn lane(self) -> usize {
        self.0 as usize % LANES
    }

    /// Which slot.
    pub fn slot(self) -> usize {
        (self.0 >> LANE_BITS) as usize & ((1 << SLOT_BITS) - 1)
    }

    fn generation(self) -> u32 {
        (self.0 >> (LANE_BITS + SLOT_BITS)) as u32
    }

    fn new(slot: usize, generation: u32) -> Token {
        Token(u64::from(generation) << (LANE_BITS + SLOT_BITS) | (slot as u64) << LANE_BITS)
    }
}

/// As the poll takes it.
pub(super) fn mio_token(token: Token) -> mio::Token {
    mio::Token(token.0 as usize)
}

/// A token has 64 bits.
const _: () = assert!(usize::BITS >= 64, "tokens need a 64-bit system");

/// Values by slot. They are boxed: the table stays small and grows without moving them.
#[derive(Debug)]
pub struct Slots<T> {
    slab: Slab<Box<T>>,
    generations: Vec<u32>,
}

impl<T> Default for Slots<T> {
    fn default() -> Slots<T> {
        Slots { slab: Slab::new(), generations: Vec::new() }
    }
}

impl<T> Slots<T> {
    /// The token that the next [`Slots::insert`] will give.
    pub fn next_token(&mut self) -> Token {
        let slot = self.slab.vacant_key();
        debug_assert!(slot < 1 << SLOT_BITS);
        if slot >= self.generations.len() {
            self.generations.resize(slot + 1, 0);
        }
        Token::new(slot, self.generations[slot])
    }

    /// Takes a value in.
    pub fn insert(&mut self, value: T) -> Token {
        let token = self.next_token();
        self.slab.insert(Box::new(value));
        token
    }

    /// The value of a living token.
    pub fn get_mut(&mut self, token: Token) -> Option<&mut T> {
        if self.generations.get(token.slot()) != Some(&token.generation()) {
            return None;
        }
        self.slab.get_mut(token.slot()).map(Box::as_mut)
    }

    /// Takes the value of a living token out; the slot's generation moves on.
    pub fn remove(&mut self, token: Token) -> Option<Box<T>> {
        self.get_mut(token)?;
        // The all-ones generation is left out: its tokens would look like those of listeners.
        let next = self.generations[token.slot()].wrapping_add(1);
        self.generations[token.slot()] = if next == u32::MAX { 0 } else { next };
        Some(self.slab.remove(token.slot()))
    }

    /// The living token of a slot.
    pub fn token_of(&self, slot: usize) -> Option<Token> {
        self.slab.contains(slot).then(|| Token::new(slot, self.generations[slot]))
    }

    /// All living tokens.
    pub fn tokens(&self) -> Vec<Token> {
        self.slab.iter().map(|(slot, _)| Token::new(slot, self.generations[slot])).collect()
    }

    /// Values inside.
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reused_slot_does_not_answer_to_its_old_token() {
        let mut slots = Slots::default();
        let old = slots.insert("old");
        assert_eq!(slots.remove(old).map(|value| *value), Some("old"));
        let new = slots.insert("new");
        assert_eq!(new.slot(), old.slot());
        assert!(slots.get_mut(old).is_none());
        assert!(slots.remove(old.with_lane(3)).is_none());
        assert_eq!(slots.get_mut(new.with_lane(3)), Some(&mut "new"));
        assert_eq!(slots.tokens(), [new]);
    }

    #[test]
    fn tokens_of_listeners_mail_and_sessions_differ() {
        let mut slots = Slots::default();
        let token = slots.insert(());
        assert_eq!(token.as_listener(), None);
        assert_eq!(Token::MAILBOX.as_listener(), None);
        assert_eq!(Token::ALARM.as_listener(), None);
        assert_eq!(Token::listener(0).as_listener(), Some(0));
        assert_eq!(Token::listener(255).as_listener(), Some(255));
        assert_eq!(token.with_lane(15).lane(), 15);
        assert_eq!(token.with_lane(15).slot(), token.slot());
    }
}
