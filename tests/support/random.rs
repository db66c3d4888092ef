//! Numbers that look random and can be had again: `SLUICE_SEED=N` replays a failure.

/// A generator (SplitMix64); the same seed gives the same numbers.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The generator of this run. Its seed is printed, and so shown where a test fails. Unless
    /// `SLUICE_SEED` is set it is always the same: a gate is to fail by what has changed, not by chance.
    pub fn of_this_run() -> Random {
        let seed = match std::env::var("SLUICE_SEED") {
            Ok(text) => text.parse().expect("SLUICE_SEED is a number"),
            Err(_) => 0x51_0c_1e,
        };
        println!("SLUICE_SEED={seed}");
        Random(seed)
    }

    /// A generator of this seed.
    pub fn seeded(seed: u64) -> Random {
        Random(seed)
    }

    /// Any number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}
