//! `Gather`: decides which chunks of some stripes to read, given the answers so far. Pure: answers in, requests out.
//!
//! Only the data chunks that hold wanted bytes are requested. If one of these is bad, late, or on a node in trouble,
//! its stripe is completed from any `k` of its chunks.

use crate::net::ChunkFault;
use crate::storage::stripe::{BlobLayout, ChunkSpan};
use crate::types::{ChunkIndex, ShardNumber};
use bytes::Bytes;
use std::ops::Range;

/// A request for consecutive chunks of one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) shard: ShardNumber,
    pub(super) first: ChunkIndex,
    pub(super) count: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Cell {
    Unasked,
    Asked,
    /// The chunk was requested and is not counted on any more; its answer is still taken.
    Late,
    Have(Bytes),
    /// The chunk is missing or corrupt, or its node failed to answer.
    Bad,
}

/// The outcome of gathering so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Pending,
    Complete,
    /// Too few chunks of this stripe can be read.
    Lost(ChunkIndex),
}

/// A stripe: the spans of its wanted bytes, and the state of each chunk, `cells: [k+m]`.
#[derive(Debug)]
pub(super) struct Stripe {
    pub(super) index: ChunkIndex,
    pub(super) chunk_bytes: usize,
    pub(super) spans: Vec<ChunkSpan>,
    cells: Vec<Cell>,
}

/// The state of gathering some consecutive stripes.
#[derive(Debug)]
pub(super) struct Gather {
    data: usize,
    first: u32,
    stripes: Vec<Stripe>,
    /// `avoided[i]`: the node of shard `i` is in trouble. It is asked only if the other nodes are too few.
    avoided: Vec<bool>,
}

impl Gather {
    /// Starts gathering those of the blob's `bytes` that are in `stripes`.
    pub(super) fn new(layout: &BlobLayout, stripes: Range<u32>, bytes: &Range<u64>, avoided: Vec<bool>) -> Self {
        let shards = layout.geometry().shards();
        let stripe = |index| Stripe {
            index: ChunkIndex(index),
            chunk_bytes: layout.chunk_bytes(ChunkIndex(index)),
            spans: layout.spans(ChunkIndex(index), bytes.clone()),
            cells: vec![Cell::Unasked; shards],
        };
        let first = stripes.start;
        Self { data: usize::from(layout.geometry().data), first, stripes: stripes.map(stripe).collect(), avoided }
    }

    /// Sets the nodes to avoid.
    pub(super) fn avoid(&mut self, avoided: Vec<bool>) {
        self.avoided = avoided;
    }

    /// Returns the requests to send now. Called at the start and after each answer, failure or delay.
    pub(super) fn asks(&mut self) -> Vec<Ask> {
        let mut asks: Vec<Ask> = Vec::new();
        for stripe in &mut self.stripes {
            for shard in stripe.wants(self.data, &self.avoided) {
                stripe.cells[shard] = Cell::Asked;
                let shard = ShardNumber(shard as u8);
                let joins = |ask: &&mut Ask| ask.shard == shard && ask.first.0 + ask.count == stripe.index.0;
                match asks.iter_mut().find(joins) {
                    Some(ask) => ask.count += 1,
                    None => asks.push(Ask { shard, first: stripe.index, count: 1 }),
                }
            }
        }
        asks
    }

    /// Takes an answer. Returns the faults of its chunks, to be reported.
    pub(super) fn answered(
        &mut self,
        ask: Ask,
        chunks: Vec<Result<Bytes, ChunkFault>>,
    ) -> Vec<(ChunkIndex, ChunkFault)> {
        let mut faults = Vec::new();
        let mut chunks = chunks.into_iter();
        for index in ask.first.0..ask.first.0 + ask.count {
            // A missing part of the answer, or a chunk of a wrong length, counts as a corrupt chunk.
            let chunk = chunks.next().unwrap_or(Err(ChunkFault::Corrupt));
            let Some(stripe) = self.stripe_mut(index) else { continue };
            let Some(cell) = stripe.cells.get_mut(usize::from(ask.shard.0)) else { continue };
            *cell = match chunk {
                Ok(bytes) if bytes.len() == stripe.chunk_bytes => Cell::Have(bytes),
                other => {
                    faults.push((ChunkIndex(index), other.err().unwrap_or(ChunkFault::Corrupt)));
                    Cell::Bad
                }
            };
        }
        faults
    }

    /// Notes that a request failed as a whole.
    pub(super) fn failed(&mut self, ask: Ask) {
        for index in ask.first.0..ask.first.0 + ask.count {
            if let Some(cell) = self.stripe_mut(index).and_then(|stripe| stripe.cells.get_mut(usize::from(ask.shard.0)))
            {
                *cell = Cell::Bad;
            }
        }
    }

    /// Marks a request as late: its answer is still taken, but no longer counted on.
    pub(super) fn late(&mut self, ask: Ask) {
        for index in ask.first.0..ask.first.0 + ask.count {
            if let Some(cell) = self.stripe_mut(index).and_then(|stripe| stripe.cells.get_mut(usize::from(ask.shard.0)))
                && *cell == Cell::Asked
            {
                *cell = Cell::Late;
            }
        }
    }

    pub(super) fn outcome(&self) -> Outcome {
        let mut outcome = Outcome::Complete;
        for stripe in &self.stripes {
            if stripe.is_complete(self.data) {
                continue;
            }
            if !stripe.is_possible(self.data) {
                return Outcome::Lost(stripe.index);
            }
            outcome = Outcome::Pending;
        }
        outcome
    }

    /// Returns the stripes. They are complete if `outcome` was `Complete`.
    pub(super) fn into_stripes(self) -> Vec<Stripe> {
        self.stripes
    }

    fn stripe_mut(&mut self, index: u32) -> Option<&mut Stripe> {
        self.stripes.get_mut(usize::try_from(index.checked_sub(self.first)?).ok()?)
    }
}

impl Stripe {
    /// Returns the chunks that have arrived: `present[i]` is chunk `i`.
    pub(super) fn present(&self) -> Vec<Option<&[u8]>> {
        self.cells.iter().map(|cell| if let Cell::Have(bytes) = cell { Some(bytes.as_ref()) } else { None }).collect()
    }

    pub(super) fn chunk(&self, shard: usize) -> Option<&Bytes> {
        match self.cells.get(shard) {
            Some(Cell::Have(bytes)) => Some(bytes),
            _ => None,
        }
    }

    fn wanted(&self) -> impl Iterator<Item = usize> {
        self.spans.iter().map(|span| usize::from(span.shard.0))
    }

    fn count(&self, which: impl Fn(&Cell) -> bool) -> usize {
        self.cells.iter().filter(|cell| which(cell)).count()
    }

    fn is_complete(&self, data: usize) -> bool {
        let have = |cell: &Cell| matches!(cell, Cell::Have(_));
        self.wanted().all(|shard| have(&self.cells[shard])) || self.count(have) >= data
    }

    /// Returns whether the stripe can still be completed with the answers that may come.
    fn is_possible(&self, data: usize) -> bool {
        let hope = |cell: &Cell| !matches!(cell, Cell::Bad);
        self.wanted().all(|shard| hope(&self.cells[shard])) || self.count(hope) >= data
    }

    /// Returns the shards to read now.
    fn wants(&self, data: usize, avoided: &[bool]) -> Vec<usize> {
        if self.is_complete(data) {
            return Vec::new();
        }
        let is_avoided = |shard: usize| avoided.get(shard).copied().unwrap_or(false);
        let direct = |shard: usize| match self.cells[shard] {
            Cell::Have(_) | Cell::Asked => true,
            Cell::Unasked => !is_avoided(shard),
            Cell::Late | Cell::Bad => false,
        };
        let unasked = |shard: &usize| self.cells[*shard] == Cell::Unasked;
        if self.wanted().all(direct) {
            return self.wanted().filter(unasked).collect();
        }
        let counted_on = self.count(|cell| matches!(cell, Cell::Have(_) | Cell::Asked));
        let (usable, last): (Vec<usize>, Vec<usize>) =
            (0..self.cells.len()).filter(unasked).partition(|&shard| !is_avoided(shard));
        usable.into_iter().chain(last).take(data.saturating_sub(counted_on)).collect()
    }
}
