//! The ways in which one input is cut: nothing that reads from a connection may care.

use std::iter::from_fn;

/// How an input is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Not at all.
    Whole,
    /// Behind each byte.
    Single,
    /// In pieces whose sizes this number and the bytes themselves decide.
    Drawn(u8),
}

impl Cut {
    /// Every way, with `choice` for what is drawn.
    pub fn ways(choice: u8) -> [Cut; 3] {
        [Cut::Whole, Cut::Single, Cut::Drawn(choice)]
    }

    /// The size of the next piece of `rest`, at least 1 and, but for an empty rest, never beyond it.
    pub fn size(self, rest: &[u8]) -> usize {
        let wanted = match (self, rest) {
            (Cut::Whole, _) => rest.len(),
            (Cut::Single, _) | (_, []) => 1,
            // Sizes of every magnitude up to some hundred bytes: boundaries are at small ones.
            (Cut::Drawn(choice), [first, ..]) => {
                let drawn = first.wrapping_mul(31).wrapping_add(choice);
                1 + (usize::from(drawn) >> (drawn & 7)) * usize::from(1 + (choice & 3))
            }
        };
        wanted.clamp(1, rest.len().max(1))
    }

    /// The pieces of `bytes`.
    pub fn pieces(self, bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
        let mut rest = bytes;
        from_fn(move || {
            let (piece, behind) = rest.split_at_checked(self.size(rest))?;
            rest = behind;
            Some(piece)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_make_up_the_whole_and_none_is_empty() {
        let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(3_000).collect();
        for choice in 0..=u8::MAX {
            for cut in Cut::ways(choice) {
                let pieces: Vec<&[u8]> = cut.pieces(&bytes).collect();
                assert_eq!(pieces.concat(), bytes);
                assert!(pieces.iter().all(|piece| !piece.is_empty()));
            }
        }
        assert_eq!(Cut::Whole.pieces(&bytes).count(), 1);
        assert_eq!(Cut::Single.pieces(&bytes).count(), bytes.len());
        assert_eq!(Cut::Whole.pieces(&[]).count(), 0);
    }
}
