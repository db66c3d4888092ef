//! One direction of a tunnel: what to do next, never doing it.
//!
//! The rule that keeps splice(2) honest: *fill only an empty carrier, pour it to empty*. A pipe can be
//! full by slots far below its size in bytes, and its EAGAIN then looks like that of an empty socket;
//! with an empty pipe EAGAIN on a fill can only mean that the source is dry. The one exception is a
//! held flow, whose carrier is a buffer that grows until the watch has judged what is in it.
//!
//! Readiness is sticky: an event sets it, only the kernel's "would block" clears it. [`Step::Rest`] is
//! given only when the readiness that the flow needs is clear, or where the system lacks memory: that
//! breaks no connection (Linux tells it of splice(2), Windows of every send and receive), and as no
//! event follows, the next try is a matter of time.

/// What the shell does next for this flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Move bytes from the source into the carrier.
    Fill,
    /// Move bytes from the carrier to the sink.
    Pour,
    /// The source has ended and the carrier is empty: shut the sink for writing.
    ShutWrite,
    /// Nothing until an event.
    Rest,
    /// Nothing ever again.
    Done,
}

/// How a fill went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// So many bytes, at least one, went into the carrier.
    Moved(usize),
    /// The same, and they were all the source had: the next ones come with an event.
    MovedAll(usize),
    /// The source has no bytes now.
    SourceDry,
    /// The system lacks the memory to move any now; nothing has broken.
    Scarce,
    /// A held carrier has no room left.
    CarrierFull,
    /// The source has ended: every byte of it has been filled.
    Ended,
    /// The source broke.
    Broke,
}

/// How a pour went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poured {
    /// So many bytes, at least one, left the carrier.
    Moved(usize),
    /// The sink takes no bytes now.
    PeerFull,
    /// The system lacks the memory to move any now; nothing has broken.
    Scarce,
    /// The sink broke.
    Broke,
}

/// State of one direction. `poured + held == filled` at every moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flow {
    source_ready: bool,
    sink_ready: bool,
    /// The watch has not judged the held bytes yet: fill, but pour nothing.
    waiting: bool,
    /// An event told of an end: after the bytes there is more to find, without another event.
    end_is_near: bool,
    ended: bool,
    shut: bool,
    broken: bool,
    /// The system lacked memory at the last try. No event tells when it has some again.
    scarce: bool,
    held: usize,
    filled: u64,
    poured: u64,
    /// Bytes of the gateway itself among those filled; they are poured first.
    own: u64,
}

impl Flow {
    /// A flow whose sockets are believed ready: trying finds out at once.
    pub fn new() -> Flow {
        Flow { source_ready: true, sink_ready: true, ..Flow::default() }
    }

    /// The next step. Answer it with [`Flow::filled`], [`Flow::poured`] or [`Flow::shut`].
    pub fn next(&self) -> Step {
        if self.broken {
            return Step::Done;
        }
        if self.scarce {
            return Step::Rest;
        }
        if self.held > 0 && !self.waiting {
            return if self.sink_ready { Step::Pour } else { Step::Rest };
        }
        if !self.ended {
            return if self.source_ready { Step::Fill } else { Step::Rest };
        }
        match (self.held, self.shut) {
            (0, false) => Step::ShutWrite,
            (0, true) => Step::Done,
            _ => Step::Rest,
        }
    }

    /// Bytes that reached us before the flow began (glued to the head) are its first held bytes.
    pub fn preload(&mut self, bytes: usize) {
        self.held += bytes;
        self.filled += bytes as u64;
    }

    /// Bytes of our own that go before those of the source; they are not counted as relayed.
    pub fn preload_own(&mut self, bytes: usize) {
        self.preload(bytes);
        self.own += bytes as u64;
    }

    /// The answer to [`Step::Fill`].
    pub fn filled(&mut self, filled: Filled) {
        match filled {
            Filled::Moved(bytes) | Filled::MovedAll(bytes) => {
                debug_assert!(bytes > 0, "a fill of nothing is Ended or SourceDry");
                self.held += bytes;
                self.filled += bytes as u64;
                if matches!(filled, Filled::MovedAll(_)) && !self.end_is_near {
                    self.source_ready = false;
                }
            }
            Filled::SourceDry => self.source_ready = false,
            Filled::Scarce => self.scarce = true,
            // The shell ends a session whose held carrier is full; until it has, nothing moves.
            Filled::CarrierFull => self.source_ready = false,
            Filled::Ended => self.ended = true,
            Filled::Broke => self.broken = true,
        }
    }

    /// The answer to [`Step::Pour`].
    pub fn poured(&mut self, poured: Poured) {
        match poured {
            Poured::Moved(bytes) => {
                debug_assert!(bytes <= self.held, "more poured than was held");
                self.held = self.held.saturating_sub(bytes);
                self.poured += bytes as u64;
            }
            Poured::PeerFull => self.sink_ready = false,
            Poured::Scarce => self.scarce = true,
            Poured::Broke => self.broken = true,
        }
    }

    /// The answer to [`Step::ShutWrite`].
    pub fn shut(&mut self) {
        self.shut = true;
    }

    /// Keeps what is held until [`Flow::release`]; more is filled on top of it.
    pub fn wait(&mut self) {
        self.waiting = true;
    }

    /// Whether what is held is kept; then nothing of it has reached the sink.
    pub fn is_waiting(&self) -> bool {
        self.waiting
    }

    /// Lets what is held go to the sink.
    pub fn release(&mut self) {
        self.waiting = false;
    }

    /// The source may have bytes, an end or an error.
    pub fn source_is_ready(&mut self) {
        self.source_ready = true;
        self.scarce = false;
    }

    /// Whether the system lacked memory at the last try: only time brings the next one.
    pub fn is_scarce(&self) -> bool {
        self.scarce
    }

    /// The time for the next try has come; false where none is due.
    pub fn try_again(&mut self) -> bool {
        std::mem::take(&mut self.scarce)
    }

    /// The source has ended or broken behind the bytes it still has. That comes with one edge, so
    /// from here on only "would block" proves that nothing is left.
    pub fn source_ends_soon(&mut self) {
        self.source_is_ready();
        self.end_is_near = true;
    }

    /// Whether an event has told of the source's end.
    pub fn is_end_near(&self) -> bool {
        self.end_is_near
    }

    /// The sink may take bytes.
    pub fn sink_is_ready(&mut self) {
        self.sink_ready = true;
        self.scarce = false;
    }

    /// Bytes in the carrier.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Bytes of our own among those held; they are the first.
    pub fn own_held(&self) -> usize {
        self.own.saturating_sub(self.poured) as usize
    }

    /// Bytes of the source that have reached the sink's socket.
    pub fn bytes(&self) -> u64 {
        self.poured.saturating_sub(self.own)
    }

    /// Whether the source has ended and every byte of it was delivered, or the flow broke.
    pub fn is_done(&self) -> bool {
        self.next() == Step::Done
    }

    /// Whether the source has ended.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// The sink broke or is gone: whatever is held is lost.
    pub fn is_broken(&self) -> bool {
        self.broken
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fills_when_empty_and_pours_to_empty() {
        let mut flow = Flow::new();
        assert_eq!(flow.next(), Step::Fill);
        flow.filled(Filled::Moved(10));
        assert_eq!(flow.next(), Step::Pour);
        flow.poured(Poured::Moved(4));
        assert_eq!(flow.next(), Step::Pour, "six bytes are still held");
        flow.poured(Poured::PeerFull);
        assert_eq!(flow.next(), Step::Rest, "never a fill on top of held bytes");
        flow.sink_is_ready();
        flow.poured(Poured::Moved(6));
        assert_eq!(flow.next(), Step::Fill);
        flow.filled(Filled::SourceDry);
        assert_eq!(flow.next(), Step::Rest);
    }

    #[test]
    fn an_end_is_passed_on_after_the_last_byte() {
        let mut flow = Flow::new();
        flow.filled(Filled::Moved(3));
        flow.poured(Poured::Moved(3));
        flow.filled(Filled::Ended);
        assert_eq!(flow.next(), Step::ShutWrite);
        flow.shut();
        assert_eq!(flow.next(), Step::Done);
        assert_eq!(flow.bytes(), 3);
    }

    #[test]
    fn a_waiting_flow_fills_but_does_not_pour() {
        let mut flow = Flow::new();
        flow.preload(2);
        flow.wait();
        assert_eq!(flow.next(), Step::Fill);
        flow.filled(Filled::Moved(3));
        assert_eq!(flow.next(), Step::Fill);
        flow.release();
        assert_eq!(flow.next(), Step::Pour);
        flow.poured(Poured::Moved(5));
        assert_eq!(flow.bytes(), 5);
    }

    #[test]
    fn all_of_a_source_is_dry_unless_its_end_is_near() {
        let mut flow = Flow::new();
        flow.filled(Filled::MovedAll(3));
        flow.poured(Poured::Moved(3));
        assert_eq!(flow.next(), Step::Rest);
        flow.source_ends_soon();
        flow.filled(Filled::MovedAll(2));
        flow.poured(Poured::Moved(2));
        assert_eq!(flow.next(), Step::Fill, "the end came on the same edge as the bytes");
        flow.filled(Filled::Ended);
        assert_eq!(flow.next(), Step::ShutWrite);
    }

    #[test]
    fn what_is_scarce_is_tried_again_and_nothing_is_forgotten() {
        let mut flow = Flow::new();
        flow.filled(Filled::Scarce);
        assert_eq!((flow.next(), flow.is_scarce()), (Step::Rest, true));
        assert!(flow.try_again() && !flow.try_again());
        assert_eq!(flow.next(), Step::Fill, "the source still counts as ready");
        flow.filled(Filled::Moved(3));
        flow.poured(Poured::Scarce);
        assert_eq!((flow.next(), flow.held()), (Step::Rest, 3));
        flow.sink_is_ready();
        assert_eq!(flow.next(), Step::Pour, "an event is as good a time as any");
    }

    #[test]
    fn an_end_while_waiting_shuts_nothing() {
        let mut flow = Flow::new();
        flow.preload(2);
        flow.wait();
        flow.filled(Filled::Ended);
        assert_eq!(flow.next(), Step::Rest);
        flow.release();
        assert_eq!(flow.next(), Step::Pour);
    }

    proptest! {
        /// Whatever the kernel answers, bytes are conserved, a fill never meets held bytes unless the
        /// flow waits, and rest means that the needed readiness is clear.
        #[test]
        fn bytes_are_conserved(answers in prop::collection::vec((0u8..6, 1usize..5_000), 1..200)) {
            let mut flow = Flow::new();
            let mut in_carrier = 0usize;
            for (answer, bytes) in answers {
                match flow.next() {
                    Step::Fill => {
                        prop_assert_eq!(in_carrier, 0);
                        let filled = match answer {
                            0 => Filled::SourceDry,
                            1 => Filled::Ended,
                            2 => Filled::Scarce,
                            _ => { in_carrier += bytes; Filled::Moved(bytes) }
                        };
                        flow.filled(filled);
                    }
                    Step::Pour => {
                        prop_assert!(in_carrier > 0);
                        let poured = match answer {
                            0 | 1 => Poured::PeerFull,
                            2 => Poured::Scarce,
                            _ => { let moved = bytes.min(in_carrier); in_carrier -= moved; Poured::Moved(moved) }
                        };
                        flow.poured(poured);
                    }
                    Step::ShutWrite => { prop_assert_eq!(in_carrier, 0); flow.shut(); }
                    Step::Rest => match answer % 3 {
                        0 => flow.source_is_ready(),
                        1 => flow.sink_is_ready(),
                        _ => { flow.try_again(); }
                    },
                    Step::Done => prop_assert!(flow.has_ended()),
                }
                prop_assert_eq!(flow.held(), in_carrier);
                prop_assert_eq!(flow.filled, flow.poured + in_carrier as u64);
            }
        }
    }
}
