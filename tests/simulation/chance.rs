//! Numbers drawn from a seed, or from a fuzzer's input. One seed, one run: nothing else in the
//! simulation is random.

/// A source of numbers (SplitMix64): small, fast, and the same on every platform.
#[derive(Clone, Debug)]
pub struct Chance {
    state: u64,
    /// What comes before the seed's own numbers, the next one last: 16 bits for each number, which
    /// decide any choice that is made of it.
    given: Vec<u16>,
}

impl Chance {
    pub fn new(seed: u64) -> Chance {
        let state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x51_7c_c1_b7_27_22_0a_95;
        Chance { state, given: Vec::new() }
    }

    /// The numbers of a fuzzer's input; when they are used up, those of a seed that is the same for all.
    pub fn given(input: &[u8]) -> Chance {
        let pairs = input.chunks_exact(2).rev();
        let given = pairs.map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
        Chance { given, ..Chance::new(0) }
    }

    pub fn number(&mut self) -> u64 {
        if let Some(given) = self.given.pop() {
            return u64::from(given) * 0x0001_0001_0001_0001;
        }
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to `end - 1`; 0 where `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        if end == 0 { 0 } else { (self.number() % end as u64) as usize }
    }

    /// From `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.number() % (high - low + 1)
    }

    /// A time below 2^`bits` microseconds whose magnitude is even.
    pub fn moment(&mut self, bits: usize) -> u64 {
        let ceiling = 1 << self.below(bits);
        self.between(0, ceiling)
    }

    /// True once in `times`; never for 0.
    pub fn once_in(&mut self, times: u32) -> bool {
        times > 0 && self.number().is_multiple_of(u64::from(times))
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// A size whose magnitude is even: small ones are as likely as large ones.
    pub fn size(&mut self, max: usize) -> usize {
        let bits = usize::BITS - max.leading_zeros();
        let ceiling = 1usize << self.below(bits as usize + 1);
        self.below(ceiling.min(max) + 1)
    }
}
