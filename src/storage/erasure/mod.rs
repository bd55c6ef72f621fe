//! Reed–Solomon coding over GF(2^8): computes the parity of a stripe in place, and rebuilds lost chunks from any `k`
//! present ones.
//!
//! A stripe is one buffer `[k+m][chunk_bytes]`, data chunks first. A rebuild reads the present chunks in place and
//! writes only its own output, so any number of rebuilds may run at once on one `Codec`.

use crate::limits::SHARDS_MAX;
use crate::types::Geometry;
use reed_solomon_erasure::galois_8::{ReedSolomon, mul_slice, mul_slice_xor};
use std::fmt;
use std::sync::{Arc, OnceLock};

#[cfg(test)]
mod tests;

/// A rebuild goes through the chunks in pieces of this size, so that the output stays in the cache.
const REBUILD_PIECE_BYTES: usize = 32 << 10;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ErasureError {
    #[error("no code with {data} data and {parity} parity shards")]
    NoSuchCode { data: u8, parity: u8 },
    #[error("chunks do not fit the code: {why}")]
    BadShape { why: &'static str },
    /// Fewer than `k` chunks are present.
    #[error("{present} chunks are present and {needed} are needed")]
    TooFew { present: usize, needed: usize },
}

/// The Reed–Solomon code of one geometry `k+m`.
pub struct Codec {
    data: usize,
    parity: usize,
    /// `None` if `m` is 0.
    code: Option<ReedSolomon>,
}

impl fmt::Debug for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Codec({}+{})", self.data, self.parity)
    }
}

impl Codec {
    pub fn new(data: u8, parity: u8) -> Result<Self, ErasureError> {
        let refused = ErasureError::NoSuchCode { data, parity };
        if data == 0 || usize::from(data) + usize::from(parity) > SHARDS_MAX {
            return Err(refused);
        }
        let code = match parity {
            0 => None,
            _ => Some(ReedSolomon::new(data.into(), parity.into()).map_err(|_| refused)?),
        };
        Ok(Self { data: data.into(), parity: parity.into(), code })
    }

    /// Computes the parity of `stripe: [k+m][chunk_bytes]` from its data, in place.
    pub fn encode(&self, stripe: &mut [u8], chunk_bytes: usize) -> Result<(), ErasureError> {
        if chunk_bytes == 0 || stripe.len() != (self.data + self.parity) * chunk_bytes {
            return Err(ErasureError::BadShape { why: "a stripe is k+m chunks" });
        }
        let Some(code) = &self.code else { return Ok(()) };
        let (data, parity) = stripe.split_at_mut(self.data * chunk_bytes);
        let data: Vec<&[u8]> = data.chunks_exact(chunk_bytes).collect();
        let mut parity: Vec<&mut [u8]> = parity.chunks_exact_mut(chunk_bytes).collect();
        code.encode_sep(&data, &mut parity).map_err(|_| ErasureError::BadShape { why: "refused by the code" })
    }

    /// Rebuilds the chunks `wanted` (indices of data or parity) from `present: [k+m]`, of which at least `k` must be
    /// `Some`. Returns the chunks in the order of `wanted`; one that is also present is computed to the same bytes.
    pub fn rebuild(&self, present: &[Option<&[u8]>], wanted: &[usize]) -> Result<Vec<Vec<u8>>, ErasureError> {
        let chunk_bytes = self.check_present(present)?;
        if wanted.iter().any(|&shard| shard >= present.len()) {
            return Err(ErasureError::BadShape { why: "no such shard" });
        }
        let sources: Vec<(usize, &[u8])> = present
            .iter()
            .enumerate()
            .filter_map(|(shard, chunk)| chunk.map(|chunk| (shard, chunk)))
            .take(self.data)
            .collect();
        let known: Vec<usize> = sources.iter().map(|&(shard, _)| shard).collect();
        let rows = self.coefficients(&known, wanted)?;
        let mut rebuilt = vec![vec![0u8; chunk_bytes]; wanted.len()];
        for from in (0..chunk_bytes).step_by(REBUILD_PIECE_BYTES) {
            let to = (from + REBUILD_PIECE_BYTES).min(chunk_bytes);
            for (row, output) in rows.iter().zip(&mut rebuilt) {
                combine(row, &sources, &mut output[from..to], from..to);
            }
        }
        Ok(rebuilt)
    }

    /// Returns the length of the present chunks. Fails if they are fewer than `k` or differ in length.
    fn check_present(&self, present: &[Option<&[u8]>]) -> Result<usize, ErasureError> {
        if present.len() != self.data + self.parity {
            return Err(ErasureError::BadShape { why: "a stripe is k+m chunks" });
        }
        let mut lengths = present.iter().flatten().map(|chunk| chunk.len());
        let count = present.iter().flatten().count();
        if count < self.data {
            return Err(ErasureError::TooFew { present: count, needed: self.data });
        }
        let first = lengths.next().unwrap_or(0);
        if first == 0 || lengths.any(|length| length != first) {
            return Err(ErasureError::BadShape { why: "chunks of a stripe have one length" });
        }
        Ok(first)
    }

    /// Returns, for each wanted shard, its coefficients as a linear combination of the `k` known shards. They are found
    /// by a rebuild of `k`-byte shards in which the `i`-th known shard is the `i`-th unit vector.
    fn coefficients(&self, known: &[usize], wanted: &[usize]) -> Result<Vec<Vec<u8>>, ErasureError> {
        let unit = |at: usize| (0..self.data).map(|byte| u8::from(byte == at)).collect::<Vec<u8>>();
        let mut shards: Vec<Option<Vec<u8>>> = vec![None; self.data + self.parity];
        for (at, &shard) in known.iter().enumerate() {
            shards[shard] = Some(unit(at));
        }
        if let Some(code) = &self.code {
            code.reconstruct(&mut shards).map_err(|_| ErasureError::BadShape { why: "refused by the code" })?;
        }
        let row = |&shard: &usize| {
            shards[shard].clone().ok_or(ErasureError::TooFew { present: known.len(), needed: self.data })
        };
        wanted.iter().map(row).collect()
    }
}

/// `output = Σ row[i] · sources[i][range]`.
fn combine(row: &[u8], sources: &[(usize, &[u8])], output: &mut [u8], range: std::ops::Range<usize>) {
    let mut blank = true;
    for (&factor, (_, chunk)) in row.iter().zip(sources) {
        if factor == 0 {
            continue;
        }
        let input = &chunk[range.clone()];
        match blank {
            true => mul_slice(factor, input, output),
            false => mul_slice_xor(factor, input, output),
        }
        blank = false;
    }
}

/// A cache of codes: each `Codec` is made on its first use, once. Clones share it.
#[derive(Clone)]
pub struct Codecs {
    made: Arc<[OnceLock<Arc<Codec>>]>,
}

impl fmt::Debug for Codecs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.made.iter().filter_map(OnceLock::get)).finish()
    }
}

impl Default for Codecs {
    fn default() -> Self {
        Self { made: (0..SHARDS_MAX * SHARDS_MAX).map(|_| OnceLock::new()).collect() }
    }
}

impl Codecs {
    pub fn codec(&self, geometry: Geometry) -> Result<Arc<Codec>, ErasureError> {
        let Geometry { data, parity, .. } = geometry;
        let refused = ErasureError::NoSuchCode { data, parity };
        if data == 0 || geometry.shards() > SHARDS_MAX {
            return Err(refused);
        }
        let slot = self.made.get((usize::from(data) - 1) * SHARDS_MAX + usize::from(parity)).ok_or(refused)?;
        if let Some(codec) = slot.get() {
            return Ok(Arc::clone(codec));
        }
        let codec = Arc::new(Codec::new(data, parity)?);
        Ok(Arc::clone(slot.get_or_init(|| codec)))
    }
}
