//! What is uploaded: a stretch of one shared block of noise, so that no upload allocates its body, and
//! a hash that is bound to agent and sequence, so that bytes of another upload do not pass for these.

use xxhash_rust::xxh3::Xxh3;

/// The block's own length; bodies longer than it go round.
const BLOCK_BYTES: usize = 1 << 20;

/// The longest piece handed out at once: the most a TLS record carries (RFC 8446 section 5.1).
pub const PIECE_BYTES: usize = 1 << 14;

/// One mebibyte of noise, repeated by one piece at its end, so that a piece from any offset is contiguous.
pub struct Block {
    noise: Box<[u8]>,
}

impl Block {
    /// Makes the same block each time: runs stay comparable.
    pub fn new() -> Block {
        let mut noise = vec![0_u8; BLOCK_BYTES + PIECE_BYTES];
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        for word in noise[..BLOCK_BYTES].chunks_exact_mut(8) {
            word.copy_from_slice(&next_noise(&mut state).to_le_bytes());
        }
        noise.copy_within(0..PIECE_BYTES, BLOCK_BYTES);
        Block { noise: noise.into_boxed_slice() }
    }

    /// The bytes of `body` from `position` on: at most [`PIECE_BYTES`], empty at the body's end.
    pub fn piece(&self, body: &Body, position: u64) -> &[u8] {
        let left = body.bytes.saturating_sub(position);
        let length = left.min(PIECE_BYTES as u64) as usize;
        let from = ((body.offset as u64 + position) % BLOCK_BYTES as u64) as usize;
        &self.noise[from..from + length]
    }

    /// The hash an undamaged `body` has at the endpoint.
    pub fn hash(&self, body: &Body) -> u64 {
        let mut hasher = hasher(body.agent, body.sequence);
        let mut position = 0;
        while position < body.bytes {
            let piece = self.piece(body, position);
            hasher.update(piece);
            position += piece.len() as u64;
        }
        hasher.digest()
    }
}

/// Which bytes one upload carries.
#[derive(Clone, Debug)]
pub struct Body {
    /// Who uploads, from 0.
    pub agent: u32,
    /// The agent's upload, from 0.
    pub sequence: u32,
    /// The body's length in bytes.
    pub bytes: u64,
    offset: usize,
}

impl Body {
    /// The body of one upload; where in the block it begins follows from who uploads what.
    pub fn new(agent: u32, sequence: u32, bytes: u64) -> Body {
        let mut state = seed(agent, sequence);
        Body { agent, sequence, bytes, offset: (next_noise(&mut state) as usize) % BLOCK_BYTES }
    }

    /// What `agent` sends in streams, the same each time, so that its hash is found once.
    pub fn up(agent: u32, bytes: u64) -> Body {
        Body::new(agent, 0, bytes)
    }

    /// What `agent` gets in streams, the same each time.
    pub fn down(agent: u32, bytes: u64) -> Body {
        Body::new(agent, u32::MAX, bytes)
    }
}

/// The hash that both ends run over a body as it passes.
pub fn hasher(agent: u32, sequence: u32) -> Xxh3 {
    Xxh3::with_seed(seed(agent, sequence))
}

fn seed(agent: u32, sequence: u32) -> u64 {
    u64::from(agent) << 32 | u64::from(sequence)
}

/// splitmix64: short, fast, and good enough that no two bodies look alike.
fn next_noise(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(block: &Block, body: &Body) -> Vec<u8> {
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < body.bytes {
            bytes.extend_from_slice(block.piece(body, bytes.len() as u64));
        }
        bytes
    }

    #[test]
    fn a_body_is_as_long_as_asked_and_goes_round_the_block() {
        let block = Block::new();
        for bytes in [0, 1, 16_384, 16_385, 200_000, 3_000_000] {
            let body = Body::new(3, 4, bytes);
            assert_eq!(whole(&block, &body).len() as u64, bytes);
            assert!(block.piece(&body, bytes).is_empty());
        }
        let long = whole(&block, &Body::new(0, 0, 2 * BLOCK_BYTES as u64));
        assert_eq!(long[..BLOCK_BYTES], long[BLOCK_BYTES..]);
    }

    #[test]
    fn the_hash_sees_a_flipped_bit_and_a_swapped_upload() {
        let block = Block::new();
        let body = Body::new(7, 2, 200_000);
        let mut bytes = whole(&block, &body);
        let digest = |agent, sequence, bytes: &[u8]| {
            let mut hasher = hasher(agent, sequence);
            bytes.chunks(1_000).for_each(|piece| hasher.update(piece));
            hasher.digest()
        };
        assert_eq!(digest(7, 2, &bytes), block.hash(&body));
        assert_ne!(digest(7, 3, &bytes), block.hash(&body));
        bytes[150_000] ^= 1;
        assert_ne!(digest(7, 2, &bytes), block.hash(&body));
    }
}
