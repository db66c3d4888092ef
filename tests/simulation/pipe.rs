//! A pipe as Linux has it: limited by slots, not by bytes. Every piece that comes in takes a slot of
//! its own, however short or long it is, and keeps it until its last byte has left. One call takes at
//! most a page for each free slot, so that several calls may put more into a pipe than its size.

use std::collections::VecDeque;

#[derive(Debug)]
pub struct Pipe {
    slots_max: usize,
    page_bytes: usize,
    slots: VecDeque<Vec<u8>>,
}

impl Pipe {
    pub fn new(slots_max: usize, page_bytes: usize) -> Pipe {
        Pipe { slots_max, page_bytes, slots: VecDeque::new() }
    }

    pub fn is_full(&self) -> bool {
        self.slots.len() >= self.slots_max
    }

    /// The length of what is in each slot.
    pub fn slots(&self) -> Vec<usize> {
        self.slots.iter().map(Vec::len).collect()
    }

    pub fn held_bytes(&self) -> usize {
        self.slots.iter().map(Vec::len).sum()
    }

    /// Takes what fits of the pieces in front of `incoming`, at most `len_bytes`.
    pub fn take_in(&mut self, incoming: &mut VecDeque<Vec<u8>>, len_bytes: usize) -> usize {
        let free = self.slots_max.saturating_sub(self.slots.len());
        let len_bytes = len_bytes.min(free * self.page_bytes);
        let mut moved = 0;
        while moved < len_bytes && !self.is_full() {
            let Some(piece) = incoming.front_mut() else { break };
            let here = piece.len().min(len_bytes - moved);
            if here == piece.len() {
                self.slots.extend(incoming.pop_front());
            } else {
                let rest = piece.split_off(here);
                self.slots.push_back(std::mem::replace(piece, rest));
            }
            moved += here;
        }
        moved
    }

    /// Gives up to `most` bytes to `out`.
    pub fn give_out(&mut self, most: usize, mut out: impl FnMut(&[u8])) -> usize {
        let mut moved = 0;
        while moved < most {
            let Some(slot) = self.slots.front_mut() else { break };
            let here = slot.len().min(most - moved);
            out(&slot[..here]);
            slot.drain(..here);
            if slot.is_empty() {
                self.slots.pop_front();
            }
            moved += here;
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_with_one_byte_left_is_busy() {
        let mut pipe = Pipe::new(2, 4096);
        let mut incoming: VecDeque<Vec<u8>> = [vec![1; 100], vec![2; 100], vec![3; 100]].into();
        assert_eq!(pipe.take_in(&mut incoming, 1 << 20), 200);
        assert_eq!(pipe.give_out(99, |_| ()), 99);
        assert_eq!(pipe.take_in(&mut incoming, 1 << 20), 0);
        assert_eq!(pipe.give_out(1, |_| ()), 1);
        assert_eq!(pipe.take_in(&mut incoming, 1 << 20), 100);
        assert_eq!(pipe.held_bytes(), 200);
    }

    #[test]
    fn a_long_piece_takes_one_slot_and_one_call_a_page_for_each() {
        let mut pipe = Pipe::new(3, 10);
        let mut incoming: VecDeque<Vec<u8>> = [(0..45).collect(), vec![9; 5]].into();
        assert_eq!(pipe.take_in(&mut incoming, 100), 30);
        assert_eq!(pipe.take_in(&mut incoming, 100), 20, "two more slots of ten");
        assert_eq!(pipe.slots(), [30, 15, 5]);
        assert!(pipe.is_full());
        let mut out = Vec::new();
        assert_eq!(pipe.give_out(45, |bytes| out.extend_from_slice(bytes)), 45);
        assert_eq!(out, (0..45).collect::<Vec<u8>>());
        assert_eq!(pipe.slots(), [5]);
    }
}
