//! `Repair`: repairs one shard, a few stripes at a time. Good chunks on the shard's node are kept; the others are
//! rebuilt from the chunks of any `k` other shards and appended. Holds only these stripes in memory.

use super::queue::shard_bytes;
use crate::actors::peers::Trust;
use crate::actors::upkeep::{ClusterContext, UpkeepError};
use crate::defects::{Defect, has};
use crate::metrics;
use crate::net::{AppendChunks, ChunkFault, ReadChunks};
use crate::storage::erasure::{Codecs, ErasureError};
use crate::storage::meta::command::FinishedRepair;
use crate::storage::meta::record::{BlobRef, RepairRow};
use crate::storage::stripe::BlobLayout;
use crate::types::{ChunkIndex, Incarnation, NodeId, ShardId, ShardNumber};
use bytes::Bytes;
use futures::future::join_all;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The number of stripes that are checked in one step.
const STRIPES_MAX: u32 = 2;
/// The longest wait for the shard's own node, which is on this host.
const ASK_WAIT_MAX: Duration = Duration::from_secs(35);
/// The longest wait for another node's chunks.
const SOURCE_WAIT_MAX: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repaired {
    /// The next stripes are whole, and further stripes follow.
    Stripes,
    /// All chunks are on stable storage on the shard's node, or nothing refers to the blob any more.
    Whole,
    /// The shard was moved to another node. Its row in the queue names that node, whose host repairs it.
    Moved,
    /// Fewer than `k` good chunks of some stripe can be read now.
    TooFewSources,
}

#[derive(Debug)]
pub(super) struct Repair {
    blob: BlobRef,
    shard: ShardNumber,
    /// The node of the shard, from the row of the queue.
    node: NodeId,
    /// The incarnation of the node's drive at the first step: `None` before it, `Some(None)` if the node is not
    /// registered.
    incarnation: Option<Option<Incarnation>>,
    layout: BlobLayout,
    /// The next stripe to check.
    next: u32,
    /// The first stripe that was checked and whose chunk was reported since. The repair goes back to it at its end.
    reported: Option<u32>,
    /// The bytes that were read and written since `take_bytes`, by steps that failed as well.
    bytes: u64,
}

/// The chunks to rebuild from. `chunks[s]` has the chunks of stripe `first + s`, by shard.
struct Sources {
    first: u32,
    chunks: Vec<BTreeMap<usize, Bytes>>,
}

impl Repair {
    /// Returns the repair of a row's shard on the node that the row names.
    pub(super) fn new(row: RepairRow, node: NodeId) -> Result<Self, UpkeepError> {
        let layout = BlobLayout::new(row.blob.geometry, row.blob.size_bytes)?;
        let (blob, shard) = (row.blob, row.shard);
        Ok(Self { blob, shard, node, incarnation: None, layout, next: 0, reported: None, bytes: 0 })
    }

    /// Notes the fault of a chunk of this shard on `node`. One that is checked already is checked again.
    pub(super) fn note_fault(&mut self, node: NodeId, chunk: ChunkIndex) {
        if node == self.node && chunk.0 < self.next {
            self.reported = Some(self.reported.map_or(chunk.0, |first| first.min(chunk.0)));
        }
    }

    pub(super) fn shard(&self) -> ShardId {
        ShardId { blob: self.blob.id, shard: self.shard }
    }

    /// Returns the approximate size of the shard.
    pub(super) fn shard_bytes(&self) -> u64 {
        shard_bytes(&self.blob)
    }

    /// Returns the bytes that were read and written since the last call, whatever came of it.
    pub(super) fn take_bytes(&mut self) -> u64 {
        std::mem::take(&mut self.bytes)
    }

    /// Returns the command for the finished repair.
    pub(super) fn finished(&self) -> FinishedRepair {
        FinishedRepair { shard: self.shard(), node: self.node, incarnation: self.incarnation.flatten() }
    }

    /// Checks the next stripes, and rebuilds the chunks that are missing or corrupt.
    pub(super) async fn advance(
        &mut self,
        context: &ClusterContext,
        codecs: &Arc<Codecs>,
    ) -> Result<Repaired, UpkeepError> {
        let (id, node) = (self.blob.id, self.node);
        let look_up = context.look_up(move |view| Ok((view.blob(id)?, view.node(node)?)));
        let (blob, drive) = look_up.await?;
        // The stripes checked so far count only for this drive: the change that ends the repair names its incarnation.
        self.incarnation.get_or_insert(drive.map(|drive| drive.incarnation));
        let Some(blob) = blob else {
            // The blob became garbage meanwhile. Its shards may have been dropped before chunks were appended here:
            // drop these.
            let shard = self.shard();
            context.ask(node, ASK_WAIT_MAX, |peer| async move { peer.drop_shards(node, vec![shard]).await }).await?;
            return Ok(Repaired::Whole);
        };
        if blob.placement.get(usize::from(self.shard.0)) != Some(&node) {
            return Ok(Repaired::Moved);
        }
        // The sources may have been moved as well.
        self.blob = blob;
        if self.next >= self.layout.stripes()
            && let Some(reported) = self.reported.take()
        {
            self.next = reported;
        }
        let (first, end) = (self.next, self.layout.stripes().min(self.next.saturating_add(STRIPES_MAX)));
        if first >= end || has(Defect::DropRepair) {
            // The metadata may be synced before the chunks that this repair wrote or found, if durability is relaxed.
            context.sync(node).await?;
            return Ok(Repaired::Whole);
        }
        let wanted = self.wanted(context, node, first, end).await?;
        if !wanted.is_empty() {
            let Some(sources) = self.sources(context, &wanted, first, end).await? else {
                return Ok(Repaired::TooFewSources);
            };
            let rebuilt = self.rebuild(context, codecs, sources, wanted).await?;
            let written: u64 = rebuilt.values().map(|chunk| chunk.len() as u64).sum();
            self.bytes += written;
            self.append(context, node, rebuilt).await?;
            metrics::REPAIRED_BYTES.with_label_values(&[&node.to_string()]).inc_by(written);
        }
        self.next = end;
        Ok(Repaired::Stripes)
    }

    /// Returns the stripes of which the node has no good chunk.
    async fn wanted(
        &mut self,
        context: &ClusterContext,
        node: NodeId,
        first: u32,
        end: u32,
    ) -> Result<Vec<u32>, UpkeepError> {
        let request =
            ReadChunks { node, shard: self.shard(), first: ChunkIndex(first), count: end - first, trace: None };
        let read = context.ask(node, ASK_WAIT_MAX, |peer| async move { peer.read_chunks(request).await }).await?;
        self.bytes += self.bytes_read(first, end, &read.chunks);
        let mut wanted = Vec::new();
        let mut chunks = read.chunks.into_iter();
        for stripe in first..end {
            match chunks.next() {
                Some(Ok(chunk)) if chunk.len() == self.layout.chunk_bytes(ChunkIndex(stripe)) => {}
                _ => wanted.push(stripe),
            }
        }
        Ok(wanted)
    }

    /// Returns the number of bytes that a node read for these chunks. A corrupt chunk was read, too.
    fn bytes_read(&self, first: u32, end: u32, chunks: &[Result<Bytes, ChunkFault>]) -> u64 {
        let bytes = |(stripe, chunk): (u32, &Result<Bytes, ChunkFault>)| match chunk {
            Ok(chunk) => chunk.len() as u64,
            Err(ChunkFault::Corrupt) => self.layout.chunk_bytes(ChunkIndex(stripe)) as u64,
            Err(ChunkFault::Missing) => 0,
        };
        (first..end).zip(chunks).map(bytes).sum()
    }

    /// Reads good chunks of the other shards, at least `k` for each wanted stripe; `None` if there are fewer. Chunks
    /// that are only padding count without being read, so that any stripe that can be read can also be rebuilt. Reads
    /// as many shards at once as are still needed, and further ones for those that fail. Suspect nodes are read only if
    /// others are too few, and gone nodes never.
    async fn sources(
        &mut self,
        context: &ClusterContext,
        wanted: &[u32],
        first: u32,
        end: u32,
    ) -> Result<Option<Sources>, UpkeepError> {
        let needed = usize::from(self.blob.geometry.data);
        let mut left: Vec<(usize, NodeId)> = (0..self.blob.geometry.shards())
            .filter(|&shard| shard != usize::from(self.shard.0))
            .filter_map(|shard| Some((shard, *self.blob.placement.get(shard)?)))
            .collect();
        let padding = |stripe| {
            let (layout, stripe) = (&self.layout, ChunkIndex(stripe));
            layout.padding_shards(stripe).map(|shard| (shard, vec![0; layout.chunk_bytes(stripe)].into())).collect()
        };
        let mut sources = Sources { first, chunks: (first..end).map(padding).collect() };
        loop {
            let fewest = wanted.iter().filter_map(|stripe| sources.of(*stripe)).map(BTreeMap::len).min().unwrap_or(0);
            if fewest >= needed {
                return Ok(Some(sources));
            }
            let asked = take_sources(context, &mut left, needed - fewest);
            if asked.is_empty() {
                return Ok(None);
            }
            let reads = asked.into_iter().map(|(shard, node)| self.read_source(context, shard, node, first, end));
            let answers = join_all(reads).await;
            for (shard, chunks) in answers {
                self.bytes += self.bytes_read(first, end, &chunks);
                for (stripe, chunk) in (first..end).zip(chunks) {
                    let length = self.layout.chunk_bytes(ChunkIndex(stripe));
                    if let (Some(slot), Ok(chunk)) = (sources.of_mut(stripe), chunk)
                        && chunk.len() == length
                    {
                        slot.insert(shard, chunk);
                    }
                }
            }
        }
    }

    /// Reads the chunks of one source shard; none if its node fails to answer.
    async fn read_source(
        &self,
        context: &ClusterContext,
        shard: usize,
        node: NodeId,
        first: u32,
        end: u32,
    ) -> (usize, Vec<Result<Bytes, ChunkFault>>) {
        let id = ShardId { blob: self.blob.id, shard: ShardNumber(shard as u8) };
        let request = ReadChunks { node, shard: id, first: ChunkIndex(first), count: end - first, trace: None };
        let read = context.ask(node, SOURCE_WAIT_MAX, |peer| async move { peer.read_chunks(request).await }).await;
        (shard, read.map(|read| read.chunks).unwrap_or_default())
    }

    async fn rebuild(
        &self,
        context: &ClusterContext,
        codecs: &Arc<Codecs>,
        sources: Sources,
        wanted: Vec<u32>,
    ) -> Result<BTreeMap<u32, Bytes>, UpkeepError> {
        let codec = codecs.codec(self.blob.geometry)?;
        let (shards, mut target) = (self.blob.geometry.shards(), usize::from(self.shard.0));
        if has(Defect::RebuildOtherShard) {
            target = (target + 1) % shards;
        }
        let work = move || -> Result<BTreeMap<u32, Bytes>, ErasureError> {
            let mut rebuilt = BTreeMap::new();
            for stripe in wanted {
                let Some(chunks) = sources.of(stripe) else { continue };
                let present: Vec<Option<&[u8]>> =
                    (0..shards).map(|shard| chunks.get(&shard).map(|chunk| &chunk[..])).collect();
                let chunk = codec.rebuild(&present, &[target])?.into_iter().next().unwrap_or_default();
                rebuilt.insert(stripe, Bytes::from(chunk));
            }
            Ok(rebuilt)
        };
        Ok(context.off_thread(work).await??)
    }

    /// Appends the rebuilt chunks, each run of consecutive ones in one request.
    async fn append(
        &self,
        context: &ClusterContext,
        node: NodeId,
        rebuilt: BTreeMap<u32, Bytes>,
    ) -> Result<(), UpkeepError> {
        let mut runs: Vec<(u32, Vec<Bytes>)> = Vec::new();
        for (stripe, chunk) in rebuilt {
            match runs.last_mut() {
                Some((first, run)) if *first + run.len() as u32 == stripe => run.push(chunk),
                _ => runs.push((stripe, vec![chunk])),
            }
        }
        for (first, chunks) in runs {
            let request = AppendChunks { node, shard: self.shard(), first: ChunkIndex(first), chunks, trace: None };
            context.ask(node, ASK_WAIT_MAX, |peer| async move { peer.append_chunks(request).await }).await?;
        }
        Ok(())
    }
}

/// Takes the source shards to read next out of `left`, at most `count`: those on trusted nodes first, none on nodes
/// that are gone or out of service. Uses the present state of the nodes, which the last reads may have changed.
fn take_sources(context: &ClusterContext, left: &mut Vec<(usize, NodeId)>, count: usize) -> Vec<(usize, NodeId)> {
    let (health, doubts) = (context.health.current(), context.suspects.current());
    left.retain(|&(_, node)| health.in_service(node) && doubts.trust(node) != Trust::Gone);
    left.sort_by_key(|&(_, node)| !doubts.is_trusted(node));
    left.drain(..count.min(left.len())).collect()
}

impl Sources {
    fn of(&self, stripe: u32) -> Option<&BTreeMap<usize, Bytes>> {
        self.chunks.get(stripe.checked_sub(self.first)? as usize)
    }

    fn of_mut(&mut self, stripe: u32) -> Option<&mut BTreeMap<usize, Bytes>> {
        self.chunks.get_mut(stripe.checked_sub(self.first)? as usize)
    }
}
