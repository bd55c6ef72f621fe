//! `LocalNode`: serves requests for the nodes of this host, from other hosts and, through the in-process pipe, from
//! this one. An append goes through the node's log, and is published in the index once it is synced. A read looks up
//! the index and then the log on reader threads, without an actor; one that its caller gives up before a thread is free
//! is skipped.
//!
//! Refuses requests for nodes of other hosts and for nodes out of service, appends to a full drive, and requests that
//! exceed the bounds of `limits`. Refuses drops on a drive whose trial writes fail: a tombstone that cannot be written
//! would take the drive out of service, which still serves reads. Reads never write anything.

use super::blocking::{ThreadsStopped, off_thread, read_off_thread};
use super::context::NodeContext;
use super::drive::{Drive, OpenDrives, ReadFailure, chunk_key, index_error, stopped_error, tombstone_key};
use super::publishing::{LatePublications, append_and_publish};
use crate::actors::drives::ShardFault;
use crate::limits::{CHUNK_BYTES_MAX, CHUNKS_READ_MAX, DROP_LOOK_WAIT_MAX, SHARDS_DROPPED_MAX};
use crate::metrics;
use crate::net::{AppendChunks, ChunkFault, ChunksRead, InventoryPage, NodeService, PeerError, ReadChunks};
use crate::storage::shard_index::{ChunkId, IndexError, IndexResult, ShardIndex};
use crate::storage::wal::{Location, NewRecord, RecordKind};
use crate::types::{ChunkIndex, NodeId, ShardId};
use bytes::Bytes;
use tokio::time::timeout;

/// Serves the drives of this host.
#[derive(Debug)]
pub struct LocalNode {
    drives: OpenDrives,
    context: NodeContext,
    late: LatePublications,
}

impl LocalNode {
    pub fn new(drives: OpenDrives, context: NodeContext) -> Self {
        Self { drives, context, late: LatePublications::default() }
    }

    /// Returns the drive of a node of this host that is in service.
    fn serving(&self, node: NodeId) -> Result<Drive, PeerError> {
        // Read before the table of drives: a node is put into service only after its drive is in the table.
        let health = self.context.health.current();
        let why = health.why_not(node);
        match (self.drives.get(node), why) {
            (_, Some(why)) => Err(PeerError::Unavailable { node, why: why.to_owned() }),
            (Some(drive), None) => Ok(drive),
            (None, None) => Err(PeerError::NoSuchNode(node)),
        }
    }

    /// Runs a query of the drive's index on a reader thread.
    async fn ask_index<T: Send + 'static>(
        &self,
        node: NodeId,
        ask: impl FnOnce(&ShardIndex) -> Result<T, IndexError> + Send + 'static,
    ) -> Result<T, PeerError> {
        let index = self.serving(node)?.index;
        let answer = read_off_thread(&self.context.threads, move || ask(&index)).await;
        answer.map_err(|stopped| stopped_error(node, stopped))?.map_err(|error| index_error(node, &error))
    }
}

#[async_trait::async_trait]
impl NodeService for LocalNode {
    async fn append_chunks(&self, request: AppendChunks) -> Result<(), PeerError> {
        let _busy = self.context.load.enter();
        let node = request.node;
        let drive = self.serving(node)?;
        if !self.context.health.current().accepts_writes(node) {
            return Err(PeerError::OutOfSpace(node));
        }
        let (ids, records) = chunk_records(request).ok_or_else(|| malformed(node))?;
        let (context, late) = (self.context.clone(), self.late.clone());
        let work = append_and_publish(drive, context, late, records, move |index, ticket, places| {
            let chunks: Vec<(ChunkId, Location)> = ids.iter().copied().zip(places.iter().copied()).collect();
            index.publish_chunks(ticket, &chunks)
        });
        // In a task of its own: a cancelled caller must not leave synced records unpublished.
        tokio::spawn(work).await.unwrap_or_else(|_| Err(stopped_error(node, ThreadsStopped)))
    }

    async fn read_chunks(&self, request: ReadChunks) -> Result<ChunksRead, PeerError> {
        let _busy = self.context.load.enter();
        let ReadChunks { node, shard, first, count, trace: _ } = request;
        let drive = self.serving(node)?;
        if count > CHUNKS_READ_MAX || first.0.checked_add(count).is_none() {
            return Err(malformed(node));
        }
        let read = read_off_thread(&self.context.threads, move || drive.read_chunks(shard, first, count)).await;
        match read.map_err(|stopped| stopped_error(node, stopped))? {
            Ok(chunks) => {
                self.count_faults(node, shard, first, &chunks);
                Ok(ChunksRead { chunks })
            }
            Err(ReadFailure::Index(error)) => Err(index_error(node, &error)),
            Err(ReadFailure::Unavailable(why)) => Err(PeerError::Unavailable { node, why }),
        }
    }

    async fn drop_shards(&self, node: NodeId, shards: Vec<ShardId>) -> Result<(), PeerError> {
        let drive = self.serving(node)?;
        for some in shards.chunks(SHARDS_DROPPED_MAX) {
            let work = drop_shards(drive.clone(), self.context.clone(), self.late.clone(), some.to_vec());
            tokio::spawn(work).await.unwrap_or_else(|_| Err(stopped_error(node, ThreadsStopped)))?;
        }
        Ok(())
    }

    async fn count_chunks(&self, node: NodeId, shards: Vec<ShardId>) -> Result<Vec<u32>, PeerError> {
        self.ask_index(node, move |index| shards.iter().map(|&shard| index.count(shard)).collect()).await
    }

    async fn inventory(&self, node: NodeId, after: Option<ShardId>, limit: u32) -> Result<InventoryPage, PeerError> {
        let (shards, more) = self.ask_index(node, move |index| index.inventory(after, limit)).await?;
        Ok(InventoryPage { shards, more })
    }
}

impl LocalNode {
    fn count_faults(&self, node: NodeId, shard: ShardId, first: ChunkIndex, chunks: &[Result<Bytes, ChunkFault>]) {
        for (index, chunk) in (first.0..).zip(chunks) {
            let Err(fault) = chunk else { continue };
            // Only the caller knows whether a missing chunk is a fault, and reports it then. A corrupt one always is.
            if *fault == ChunkFault::Corrupt {
                metrics::CHUNK_FAULTS.with_label_values(&[&node.to_string(), "corrupt"]).inc();
                self.context.faults.report(ShardFault { node, shard, chunk: ChunkIndex(index), fault: *fault });
            }
        }
    }
}

/// Converts an append into log records. `None` if the request is malformed: an empty or oversized chunk, or a chunk
/// index that overflows.
fn chunk_records(request: AppendChunks) -> Option<(Vec<ChunkId>, Vec<NewRecord>)> {
    let end = u32::try_from(request.chunks.len()).ok().and_then(|count| request.first.0.checked_add(count))?;
    let fits = |body: &Bytes| !body.is_empty() && body.len() <= CHUNK_BYTES_MAX;
    if !request.chunks.iter().all(fits) {
        return None;
    }
    let record = |(chunk, body)| {
        let id = ChunkId { shard: request.shard, chunk: ChunkIndex(chunk) };
        (id, NewRecord { kind: RecordKind::Chunk, key: chunk_key(id), origin: None, body })
    };
    Some((request.first.0..end).zip(request.chunks).map(record).unzip())
}

/// Logs and publishes tombstones for these shards. Shards that the drive never had need none. If the look at the index
/// takes long, fails without tombstones: the caller may have given up and written the shards anew.
async fn drop_shards(
    drive: Drive,
    context: NodeContext,
    late: LatePublications,
    shards: Vec<ShardId>,
) -> Result<(), PeerError> {
    let node = drive.node;
    let index = drive.index.clone();
    let choose = move || -> IndexResult<Vec<ShardId>> {
        let mut chosen = Vec::with_capacity(shards.len());
        for shard in shards {
            if index.drop_matters(shard)? {
                chosen.push(shard);
            }
        }
        Ok(chosen)
    };
    let chosen = timeout(DROP_LOOK_WAIT_MAX, off_thread(&context.threads, choose)).await;
    let chosen = chosen.map_err(|_| PeerError::TimedOut(node))?;
    let shards = chosen.map_err(|stopped| stopped_error(node, stopped))?.map_err(|error| index_error(node, &error))?;
    if shards.is_empty() {
        return Ok(());
    }
    // Asked for last, since the look may have taken long.
    if let Some(error) = context.health.current().trial_write_failed(node) {
        let why = format!("nothing is dropped from it while trial writes to it fail: {error}");
        return Err(PeerError::Unavailable { node, why });
    }
    let record = |&shard: &ShardId| NewRecord {
        kind: RecordKind::Tombstone,
        key: tombstone_key(shard),
        origin: None,
        body: Bytes::new(),
    };
    let records = shards.iter().map(record).collect();
    append_and_publish(drive, context, late, records, move |index, ticket, places| {
        let drops: Vec<(ShardId, Location)> = shards.iter().copied().zip(places.iter().copied()).collect();
        index.publish_drops(ticket, &drops)
    })
    .await
}

fn malformed(node: NodeId) -> PeerError {
    PeerError::Unavailable { node, why: "the request is malformed".to_owned() }
}
