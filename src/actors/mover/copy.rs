//! `ShardCopy`: copies one shard to a node of this host, a window of chunks at a time. The source verifies the chunks.
//! Those that are on the target already, of an interrupted copy or of an old one, are verified too, and kept if they are
//! whole. A copy ends once all its chunks are on stable storage, even if the durability of the store is relaxed: the
//! metadata may be synced before the log of the target. Holds one window in memory.

use super::plan::Planned;
use crate::actors::upkeep::{ClusterContext, UpkeepError};
use crate::defects::{Defect, has};
use crate::limits::{CHUNKS_READ_MAX, READ_WAIT_MAX, UPKEEP_WAIT_MAX};
use crate::metrics;
use crate::net::{AppendChunks, Peer, ReadChunks};
use crate::storage::meta::command::MovedShard;
use crate::storage::stripe::BlobLayout;
use crate::types::{ChunkIndex, Incarnation, NodeId};
use bytes::Bytes;
use std::ops::Range;

/// The bytes that a step wrote to the target, and the bytes that it found there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Worked {
    pub(super) written: u64,
    pub(super) checked: u64,
}

#[derive(Debug)]
pub(super) struct ShardCopy {
    pub(super) planned: Planned,
    layout: BlobLayout,
    /// The incarnation of the target drive.
    incarnation: Incarnation,
    /// True if the target had some chunks at the start; `None` until they are counted.
    resumed: Option<bool>,
    /// The number of stripes that are done.
    next: u32,
    /// True if every chunk up to `next` is on the target.
    whole: bool,
    /// True if the copy has ended, and a whole one is on stable storage.
    done: bool,
}

impl ShardCopy {
    pub(super) fn new(planned: Planned, incarnation: Incarnation) -> Result<Self, UpkeepError> {
        let layout = BlobLayout::new(planned.blob.geometry, planned.blob.size_bytes)?;
        Ok(Self { planned, layout, incarnation, resumed: None, next: 0, whole: true, done: false })
    }

    /// Returns whether the copy has ended, so that the move can be proposed.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    pub(super) fn shard_bytes(&self) -> u64 {
        self.layout.shard_bytes()
    }

    pub(super) fn moved(&self) -> MovedShard {
        let Planned { from, to, .. } = self.planned;
        MovedShard { shard: self.planned.id(), from, to, incarnation: self.incarnation, whole: self.whole }
    }

    /// Copies the next window. After the last one, waits until the copy is on stable storage.
    pub(super) async fn advance(
        &mut self,
        context: &ClusterContext,
        window_bytes: usize,
    ) -> Result<Worked, UpkeepError> {
        if self.done {
            return Ok(Worked::default());
        }
        let resumed = match self.resumed {
            Some(resumed) => resumed,
            None => self.begin(context).await?,
        };
        let mut worked = Worked::default();
        if self.next < self.layout.stripes() {
            worked = self.copy_window(context, window_bytes, resumed).await?;
        }
        if self.next >= self.layout.stripes() {
            if self.whole {
                // The chunks that were found on the target may not be synced either.
                context.sync(self.planned.to).await?;
            }
            self.done = true;
        }
        Ok(worked)
    }

    async fn copy_window(
        &mut self,
        context: &ClusterContext,
        window_bytes: usize,
        resumed: bool,
    ) -> Result<Worked, UpkeepError> {
        let window = self.window(window_bytes);
        let there = match resumed {
            true => self.read(context, self.planned.to, window.clone()).await?,
            false => Vec::new(),
        };
        let missing = |stripe: u32| there.get((stripe - window.start) as usize).is_none_or(Option::is_none);
        let checked = there.iter().flatten().map(|chunk| chunk.len() as u64).sum();
        let mut written = 0;
        if window.clone().any(missing) {
            let found = self.read(context, self.planned.from, window.clone()).await?;
            let chunks = window.clone().zip(found).filter(|(stripe, _)| missing(*stripe));
            let (runs, gaps) = runs_of(chunks);
            self.whole &= !gaps;
            if !has(Defect::MoveBeforeCopy) {
                written = self.append(context, runs).await?;
            }
        }
        self.next = window.end;
        Ok(Worked { written, checked })
    }

    /// Counts the chunks on the target, and returns whether there are any. They are verified like those of the source,
    /// since any of them may be damaged. A lost shard needs no copying: it is moved as if it lacked chunks, and its
    /// repair on the target verifies those that are there, and rebuilds only the others.
    async fn begin(&mut self, context: &ClusterContext) -> Result<bool, UpkeepError> {
        let to = self.planned.to;
        let shards = vec![self.planned.id()];
        let count = |peer: Peer| async move { peer.count_chunks(to, shards).await };
        let counted = context.ask(to, UPKEEP_WAIT_MAX, count).await?;
        let there = counted.first().copied().unwrap_or(0);
        if self.planned.lost {
            self.next = self.layout.stripes();
            self.whole = false;
        }
        self.resumed = Some(there > 0);
        Ok(there > 0)
    }

    fn window(&self, window_bytes: usize) -> Range<u32> {
        let chunk_bytes = self.layout.chunk_bytes(ChunkIndex(self.next)).max(1);
        let count = (window_bytes / chunk_bytes).clamp(1, CHUNKS_READ_MAX as usize) as u32;
        self.next..self.layout.stripes().min(self.next.saturating_add(count))
    }

    /// Reads a window of chunks from a node, with `None` for each chunk that is missing, damaged or of the wrong
    /// length.
    async fn read(
        &self,
        context: &ClusterContext,
        node: NodeId,
        window: Range<u32>,
    ) -> Result<Vec<Option<Bytes>>, UpkeepError> {
        let count = window.end - window.start;
        let request =
            ReadChunks { node, shard: self.planned.id(), first: ChunkIndex(window.start), count, trace: None };
        let reading = context.ask(node, READ_WAIT_MAX, move |peer| async move { peer.read_chunks(request).await });
        let mut read = reading.await?.chunks.into_iter();
        let whole = |stripe: u32, chunk: &Bytes| chunk.len() == self.layout.chunk_bytes(ChunkIndex(stripe));
        Ok(window.map(|stripe| read.next()?.ok().filter(|chunk| whole(stripe, chunk))).collect())
    }

    async fn append(&self, context: &ClusterContext, runs: Vec<(u32, Vec<Bytes>)>) -> Result<u64, UpkeepError> {
        let node = self.planned.to;
        let mut written = 0;
        for (first, chunks) in runs {
            let bytes = chunks.iter().map(|chunk| chunk.len() as u64).sum::<u64>();
            let shard = self.planned.id();
            let request = AppendChunks { node, shard, first: ChunkIndex(first), chunks, trace: None };
            let append = |peer: Peer| async move { peer.append_chunks(request).await };
            context.ask(node, UPKEEP_WAIT_MAX, append).await?;
            metrics::MOVED_BYTES.with_label_values(&[&node.to_string()]).inc_by(bytes);
            written += bytes;
        }
        Ok(written)
    }
}

/// Groups chunks into runs of consecutive stripes, each with its first stripe. Also returns whether a chunk is missing.
fn runs_of(chunks: impl Iterator<Item = (u32, Option<Bytes>)>) -> (Vec<(u32, Vec<Bytes>)>, bool) {
    let (mut runs, mut gaps): (Vec<(u32, Vec<Bytes>)>, bool) = (Vec::new(), false);
    for (stripe, chunk) in chunks {
        let Some(chunk) = chunk else {
            gaps = true;
            continue;
        };
        match runs.last_mut() {
            Some((first, run)) if *first + run.len() as u32 == stripe => run.push(chunk),
            _ => runs.push((stripe, vec![chunk])),
        }
    }
    (runs, gaps)
}
