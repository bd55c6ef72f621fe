//! MD5 of several bodies at once. A single MD5 leaves most of a processor core idle, since each step needs the result
//! of the step before. Therefore the digests of several bodies are computed side by side, each body in one lane of the
//! vector registers. The widest registers of the processor are detected at run time.

use fearless_simd::prelude::SimdBase;
use fearless_simd::{Level, Simd, dispatch, u32x8};
use md5::block_api;

#[cfg(test)]
mod tests;

const BLOCK_BYTES: usize = 64;
/// The most bodies that are hashed side by side.
pub const LANES: usize = 8;
/// The lanes in use: one in a debug build, where unoptimized vector code is many times slower than scalar code.
const LANES_USED: usize = if cfg!(debug_assertions) { 1 } else { LANES };
type Block = [u8; BLOCK_BYTES];
const INITIAL_STATE: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// The state of one MD5.
#[derive(Clone)]
pub struct Md5 {
    state: [u32; 4],
    /// The bytes of an unfinished block, `length_bytes % BLOCK_BYTES` of them.
    pending: Block,
    length_bytes: u64,
}

impl Default for Md5 {
    fn default() -> Self {
        Self { state: INITIAL_STATE, pending: [0; BLOCK_BYTES], length_bytes: 0 }
    }
}

impl Md5 {
    pub fn update(&mut self, bytes: &[u8]) {
        let (blocks, rest) = self.take_up(bytes);
        self.keep(rest);
        block_api::compress(&mut self.state, blocks);
    }

    /// Updates each digest with its own bytes, `LANES` digests at a time.
    pub fn update_each(updates: &mut [(&mut Self, &[u8])]) {
        let level = Level::new();
        for updates in updates.chunks_mut(LANES_USED) {
            update_lanes(level, updates);
        }
    }

    pub fn finish(mut self) -> [u8; 16] {
        let length_bits = self.length_bytes.wrapping_mul(8).to_le_bytes();
        let used = self.pending_bytes();
        // RFC 1321, 3.1 and 3.2: a one bit, zeros, and the length in bits, up to the end of a block.
        let padding = if used < BLOCK_BYTES - 8 { BLOCK_BYTES - 8 - used } else { 2 * BLOCK_BYTES - 8 - used };
        let mut tail = [0; 2 * BLOCK_BYTES];
        tail[0] = 0x80;
        tail[padding..padding + 8].copy_from_slice(&length_bits);
        self.update(&tail[..padding + 8]);
        let mut digest = [0; 16];
        for (bytes, word) in digest.chunks_exact_mut(4).zip(self.state) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        digest
    }

    fn pending_bytes(&self) -> usize {
        (self.length_bytes % BLOCK_BYTES as u64) as usize
    }

    /// Counts `bytes` and completes the pending block with the first of them. Returns the whole blocks that follow, and
    /// the bytes after the last whole block.
    fn take_up<'a>(&mut self, bytes: &'a [u8]) -> (&'a [Block], &'a [u8]) {
        let used = self.pending_bytes();
        let missing = if used == 0 { 0 } else { BLOCK_BYTES - used };
        self.length_bytes = self.length_bytes.wrapping_add(bytes.len() as u64);
        if bytes.len() < missing {
            self.pending[used..used + bytes.len()].copy_from_slice(bytes);
            return (&[], &[]);
        }
        let (completing, bytes) = bytes.split_at(missing);
        if missing > 0 {
            self.pending[used..].copy_from_slice(completing);
            let block = self.pending;
            block_api::compress(&mut self.state, &[block]);
        }
        bytes.as_chunks()
    }

    /// Keeps the bytes after the last whole block as the pending block.
    fn keep(&mut self, rest: &[u8]) {
        self.pending[..rest.len()].copy_from_slice(rest);
    }
}

/// Updates up to `LANES` digests. A digest with fewer bytes than others ends earlier, and its lane is then idle.
fn update_lanes(level: Level, updates: &mut [(&mut Md5, &[u8])]) {
    let mut blocks = [&[][..]; LANES];
    for ((md5, bytes), blocks) in updates.iter_mut().zip(&mut blocks) {
        let rest;
        (*blocks, rest) = md5.take_up(bytes);
        md5.keep(rest);
    }
    loop {
        let mut busy = (0..updates.len()).filter(|lane| !blocks[*lane].is_empty());
        let Some(first) = busy.next() else { return };
        if busy.next().is_none() {
            return block_api::compress(&mut updates[first].0.state, blocks[first]);
        }
        let shortest = blocks.iter().map(|blocks| blocks.len()).filter(|length| *length > 0).min().unwrap_or(0);
        compress_lanes(level, updates, &mut blocks, first, shortest);
    }
}

/// Compresses `count` blocks of each lane that has blocks left. An idle lane repeats the computation of lane `first`,
/// and its result is dropped.
fn compress_lanes(
    level: Level,
    updates: &mut [(&mut Md5, &[u8])],
    blocks: &mut [&[Block]; LANES],
    first: usize,
    count: usize,
) {
    let source = |lane: usize| if blocks[lane].is_empty() { first } else { lane };
    let data = std::array::from_fn(|lane| &blocks[source(lane)][..count]);
    let mut states: LaneStates =
        std::array::from_fn(|word| std::array::from_fn(|lane| updates[source(lane)].0.state[word]));
    dispatch!(level, simd => compress_vectors(simd, &mut states, &data, count));
    for (lane, (md5, _)) in updates.iter_mut().enumerate().filter(|(lane, _)| !blocks[*lane].is_empty()) {
        md5.state = states.map(|word| word[lane]);
    }
    for blocks in blocks.iter_mut().filter(|blocks| !blocks.is_empty()) {
        *blocks = &blocks[count..];
    }
}

/// MD5 states of all lanes: `[word][lane]`.
type LaneStates = [[u32; LANES]; 4];

/// Compresses `blocks` blocks of each lane.
#[inline(always)]
fn compress_vectors<S: Simd>(simd: S, states: &mut LaneStates, data: &[&[Block]; LANES], blocks: usize) {
    // Code that is inlined into this closure is compiled for the processor features of `simd`.
    simd.vectorize(
        #[inline(always)]
        || {
            let mut state = states.map(
                #[inline(always)]
                |word| u32x8::from_slice(simd, &word),
            );
            for block in 0..blocks {
                let lanes = data.map(
                    #[inline(always)]
                    |blocks| &blocks[block],
                );
                let message = std::array::from_fn(
                    #[inline(always)]
                    |word| {
                        let words = lanes.map(
                            #[inline(always)]
                            |block| word_at(block, word),
                        );
                        u32x8::from_slice(simd, &words)
                    },
                );
                compress_block(&mut state, &message);
            }
            for (words, state) in states.iter_mut().zip(&state) {
                state.store_slice(words);
            }
        },
    );
}

#[inline(always)]
fn word_at(block: &Block, word: usize) -> u32 {
    let bytes = &block[4 * word..4 * word + 4];
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// Applies the compression function of RFC 1321 to one block of each lane.
#[inline(always)]
fn compress_block<S: Simd>(state: &mut [u32x8<S>; 4], message: &[u32x8<S>; 16]) {
    let before = *state;
    round::<S, 0>(state, message);
    round::<S, 1>(state, message);
    round::<S, 2>(state, message);
    round::<S, 3>(state, message);
    for (word, before) in state.iter_mut().zip(before) {
        *word += before;
    }
}

/// One of the four rounds: sixteen steps, unrolled so that every index is a constant.
#[inline(always)]
fn round<S: Simd, const ROUND: usize>(state: &mut [u32x8<S>; 4], message: &[u32x8<S>; 16]) {
    step::<S, ROUND, 0>(state, message);
    step::<S, ROUND, 1>(state, message);
    step::<S, ROUND, 2>(state, message);
    step::<S, ROUND, 3>(state, message);
    step::<S, ROUND, 4>(state, message);
    step::<S, ROUND, 5>(state, message);
    step::<S, ROUND, 6>(state, message);
    step::<S, ROUND, 7>(state, message);
    step::<S, ROUND, 8>(state, message);
    step::<S, ROUND, 9>(state, message);
    step::<S, ROUND, 10>(state, message);
    step::<S, ROUND, 11>(state, message);
    step::<S, ROUND, 12>(state, message);
    step::<S, ROUND, 13>(state, message);
    step::<S, ROUND, 14>(state, message);
    step::<S, ROUND, 15>(state, message);
}

#[inline(always)]
fn step<S: Simd, const ROUND: usize, const STEP: usize>(state: &mut [u32x8<S>; 4], message: &[u32x8<S>; 16]) {
    let (a, b, c, d) = ((64 - STEP) % 4, (65 - STEP) % 4, (66 - STEP) % 4, (67 - STEP) % 4);
    let (x, y, z) = (state[b], state[c], state[d]);
    let (mixed, word) = match ROUND {
        0 => (z ^ (x & (y ^ z)), STEP),
        1 => (y ^ (z & (x ^ y)), (5 * STEP + 1) % 16),
        2 => (x ^ y ^ z, (3 * STEP + 5) % 16),
        _ => (y ^ (x | !z), (7 * STEP) % 16),
    };
    let sum = state[a] + (message[word] + SINES[16 * ROUND + STEP]) + mixed;
    let bits = ROTATIONS[ROUND][STEP % 4];
    state[a] = x + ((sum << bits) | (sum >> (32 - bits)));
}

const ROTATIONS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];

/// The integer part of 2^32 × |sin(i + 1)|.
#[rustfmt::skip]
const SINES: [u32; 64] = [
    0xd76a_a478, 0xe8c7_b756, 0x2420_70db, 0xc1bd_ceee, 0xf57c_0faf, 0x4787_c62a, 0xa830_4613, 0xfd46_9501,
    0x6980_98d8, 0x8b44_f7af, 0xffff_5bb1, 0x895c_d7be, 0x6b90_1122, 0xfd98_7193, 0xa679_438e, 0x49b4_0821,
    0xf61e_2562, 0xc040_b340, 0x265e_5a51, 0xe9b6_c7aa, 0xd62f_105d, 0x0244_1453, 0xd8a1_e681, 0xe7d3_fbc8,
    0x21e1_cde6, 0xc337_07d6, 0xf4d5_0d87, 0x455a_14ed, 0xa9e3_e905, 0xfcef_a3f8, 0x676f_02d9, 0x8d2a_4c8a,
    0xfffa_3942, 0x8771_f681, 0x6d9d_6122, 0xfde5_380c, 0xa4be_ea44, 0x4bde_cfa9, 0xf6bb_4b60, 0xbebf_bc70,
    0x289b_7ec6, 0xeaa1_27fa, 0xd4ef_3085, 0x0488_1d05, 0xd9d4_d039, 0xe6db_99e5, 0x1fa2_7cf8, 0xc4ac_5665,
    0xf429_2244, 0x432a_ff97, 0xab94_23a7, 0xfc93_a039, 0x655b_59c3, 0x8f0c_cc92, 0xffef_f47d, 0x8584_5dd1,
    0x6fa8_7e4f, 0xfe2c_e6e0, 0xa301_4314, 0x4e08_11a1, 0xf753_7e82, 0xbd3a_f235, 0x2ad7_d2bb, 0xeb86_d391,
];
