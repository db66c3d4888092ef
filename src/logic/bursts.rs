//! What the bursts of one flow have been like, so that the next bytes are moved in the cheapest way.
//!
//! A burst is what comes between two moments at which the source is dry. Agents send much and are
//! answered with little; each direction learns by itself which of the two it carries.

use super::flow::Filled;

/// What is copied rather than spliced: one system call each way without a probe for more.
pub const LITTLE_BYTES: usize = 16 * 1024;
/// Whole segments of Ethernet with timestamps (1,448 bytes each), so many of which are one packet over
/// loopback, where this was tuned.
pub const PACKET_BYTES: usize = 40 * 1448;
/// A burst of more is longer than an upload of the documented load (200 KB), which is better moved at
/// once.
const UPLOAD_BYTES: usize = 256 * 1024;
/// Bursts for which a flow counts as bulk after one that was: while it competes with others some of its
/// bursts are short. One that has caught up is soon moved as before.
const BULK_BURSTS: u8 = 8;
/// Small bursts in a row after which another is expected. One is not enough: the end of a handshake
/// is small, and an upload follows it.
const LITTLE_BURSTS: u8 = 2;

/// How much to move at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Up to [`LITTLE_BYTES`], by read and write.
    Little,
    /// All that there is and fits, for the fewest steps.
    Whole,
    /// Up to [`PACKET_BYTES`]. A paced sink sends what goes beyond a packet from a timer's interrupt,
    /// which cost as much again as the sending (PERF.md, "What was tried").
    Packet,
}

/// The bursts of one flow so far.
#[derive(Debug)]
pub struct Bursts {
    /// Bytes since the source was last dry.
    bytes: usize,
    /// So many bursts in a row were small.
    little: u8,
    /// So many bursts ago one was longer than an upload.
    since_bulk: u8,
    /// Asked once, by the first bulk.
    is_sink_paced: Option<bool>,
}

impl Bursts {
    /// Of a flow that nothing has come through yet.
    pub fn new(expects_little: bool) -> Bursts {
        let little = if expects_little { LITTLE_BURSTS } else { 0 };
        Bursts { bytes: 0, little, since_bulk: BULK_BURSTS, is_sink_paced: None }
    }

    /// How to move what comes next. An end brings little with it: the last record of a handshake or of
    /// a connection, or nothing.
    pub fn piece(&mut self, is_end_near: bool, is_sink_paced: impl FnOnce() -> bool) -> Piece {
        let expects_little = self.little >= LITTLE_BURSTS || is_end_near;
        if expects_little && self.bytes == 0 {
            Piece::Little
        } else if self.since_bulk < BULK_BURSTS
            && *self.is_sink_paced.get_or_insert_with(is_sink_paced)
        {
            Piece::Packet
        } else {
            Piece::Whole
        }
    }

    /// Takes note of how a fill went.
    pub fn learn(&mut self, filled: Filled) {
        if let Filled::Moved(bytes) | Filled::MovedAll(bytes) = filled {
            self.bytes = self.bytes.saturating_add(bytes);
            if self.bytes > UPLOAD_BYTES {
                self.since_bulk = 0;
            }
        }
        if matches!(filled, Filled::MovedAll(_) | Filled::SourceDry) && self.bytes > 0 {
            let little = self.bytes <= LITTLE_BYTES;
            self.little = if little { self.little.saturating_add(1) } else { 0 };
            if self.bytes <= UPLOAD_BYTES {
                self.since_bulk = self.since_bulk.saturating_add(1);
            }
            self.bytes = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(bursts: &[usize]) -> Bursts {
        let mut all = Bursts::new(false);
        for bytes in bursts {
            all.learn(Filled::Moved(*bytes));
            all.learn(Filled::SourceDry);
        }
        all
    }

    #[test]
    fn little_is_expected_after_two_little_bursts_until_one_is_large() {
        for (bursts, piece) in [
            (&[][..], Piece::Whole),
            (&[900], Piece::Whole),
            (&[900, LITTLE_BYTES], Piece::Little),
            (&[900, 900, LITTLE_BYTES + 1], Piece::Whole),
            (&[900, 900, LITTLE_BYTES + 1, 900], Piece::Whole),
        ] {
            assert_eq!(after(bursts).piece(false, || true), piece, "{bursts:?}");
        }
        let mut fresh = Bursts::new(true);
        assert_eq!(fresh.piece(false, || true), Piece::Little);
    }

    #[test]
    fn a_burst_that_goes_on_is_not_little_any_more() {
        let mut bursts = Bursts::new(true);
        bursts.learn(Filled::Moved(LITTLE_BYTES));
        assert_eq!(bursts.piece(false, || true), Piece::Whole);
        bursts.learn(Filled::Moved(1));
        bursts.learn(Filled::SourceDry);
        assert_eq!(bursts.piece(false, || true), Piece::Whole);
    }

    #[test]
    fn bulk_begins_within_a_burst_and_lasts_for_some_shorter_ones() {
        let mut bursts = after(&[UPLOAD_BYTES]);
        assert_eq!(bursts.piece(false, || true), Piece::Whole);
        bursts.learn(Filled::Moved(UPLOAD_BYTES));
        assert_eq!(bursts.piece(false, || true), Piece::Whole);
        bursts.learn(Filled::Moved(1));
        assert_eq!(bursts.piece(false, || true), Piece::Packet);
        bursts.learn(Filled::SourceDry);
        for _ in 0..BULK_BURSTS {
            assert_eq!(bursts.piece(false, || true), Piece::Packet);
            bursts.learn(Filled::Moved(UPLOAD_BYTES));
            bursts.learn(Filled::SourceDry);
        }
        assert_eq!(bursts.piece(false, || true), Piece::Whole);
    }

    #[test]
    fn a_long_burst_among_shorter_ones_keeps_a_flow_bulk() {
        let mut bursts = after(&[UPLOAD_BYTES + 1]);
        for _ in 0..3 {
            for bytes in [UPLOAD_BYTES; BULK_BURSTS as usize - 1] {
                bursts.learn(Filled::Moved(bytes));
                bursts.learn(Filled::SourceDry);
                assert_eq!(bursts.piece(false, || true), Piece::Packet);
            }
            bursts.learn(Filled::Moved(UPLOAD_BYTES + 1));
            bursts.learn(Filled::SourceDry);
        }
    }

    #[test]
    fn bulk_stays_whole_for_a_sink_that_is_not_paced_which_is_asked_once() {
        let mut asked = 0;
        let mut bursts = Bursts::new(false);
        for bytes in [UPLOAD_BYTES, 1, 1] {
            bursts.learn(Filled::Moved(bytes));
            let piece = bursts.piece(false, || {
                asked += 1;
                false
            });
            assert_eq!(piece, Piece::Whole);
        }
        assert_eq!(asked, 1);
    }

    #[test]
    fn an_end_brings_little_with_it() {
        assert_eq!(after(&[200_000]).piece(true, || true), Piece::Little);
        let mut bursts = after(&[200_000]);
        bursts.learn(Filled::Moved(1));
        assert_eq!(bursts.piece(true, || true), Piece::Whole, "not in the midst of a burst");
    }

    #[test]
    fn a_source_that_is_dry_at_once_is_no_burst() {
        let mut bursts = after(&[900]);
        bursts.learn(Filled::SourceDry);
        assert_eq!(bursts.piece(false, || true), Piece::Whole);
    }
}
