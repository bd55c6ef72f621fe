//! `MemoryNodes`: nodes in memory for tests of the request tasks. A test can give each node a fault.

use crate::net::{AppendChunks, ChunkFault, ChunksRead, InventoryPage, NodeService, PeerError, ReadChunks};
use crate::types::{NodeId, ShardId};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The behaviour of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Behaviour {
    #[default]
    Sound,
    Down,
    Full,
    /// Answers after this time.
    Slow(Duration),
    /// Never answers.
    Silent,
    /// Carries out this number of appends, then fails.
    FailsAfter(usize),
    /// Every chunk is missing.
    Empty,
    /// Every chunk fails its checksum.
    Corrupt,
    /// Every chunk is returned without its first byte.
    Short,
}

#[derive(Debug, Default)]
struct Nodes {
    chunks: BTreeMap<(NodeId, ShardId), BTreeMap<u32, Bytes>>,
    behaviours: BTreeMap<NodeId, Behaviour>,
    appends: BTreeMap<NodeId, usize>,
    dropped: BTreeSet<ShardId>,
    read_bytes: usize,
    reads: usize,
    discard: bool,
}

/// The drives of one host, in memory.
#[derive(Debug, Default)]
pub(crate) struct MemoryNodes {
    nodes: Mutex<Nodes>,
}

impl MemoryNodes {
    /// Makes nodes that acknowledge appends and keep nothing.
    pub(crate) fn discarding() -> Self {
        Self { nodes: Mutex::new(Nodes { discard: true, ..Nodes::default() }) }
    }

    fn lock(&self) -> MutexGuard<'_, Nodes> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn behave(&self, node: NodeId, behaviour: Behaviour) {
        self.lock().behaviours.insert(node, behaviour);
    }

    pub(crate) fn held_shards(&self) -> BTreeSet<(NodeId, ShardId)> {
        self.lock().chunks.keys().copied().collect()
    }

    pub(crate) fn chunk_lengths(&self, node: NodeId, shard: ShardId) -> Vec<usize> {
        self.lock()
            .chunks
            .get(&(node, shard))
            .map(|chunks| chunks.values().map(Bytes::len).collect())
            .unwrap_or_default()
    }

    /// Returns the numbers of bytes read and of read requests since the last call.
    pub(crate) fn take_reads(&self) -> (usize, usize) {
        let mut nodes = self.lock();
        (std::mem::take(&mut nodes.read_bytes), std::mem::take(&mut nodes.reads))
    }

    pub(crate) fn remove_chunk(&self, node: NodeId, shard: ShardId, chunk: u32) {
        self.lock().chunks.get_mut(&(node, shard)).and_then(|chunks| chunks.remove(&chunk));
    }

    /// Waits or fails as the node's behaviour says; otherwise returns the behaviour.
    async fn meet(&self, node: NodeId) -> Result<Behaviour, PeerError> {
        let behaviour = self.lock().behaviours.get(&node).cloned().unwrap_or_default();
        match behaviour {
            Behaviour::Down => return Err(PeerError::Unavailable { node, why: "down".to_owned() }),
            Behaviour::Slow(delay) => tokio::time::sleep(delay).await,
            Behaviour::Silent => std::future::pending().await,
            _ => tokio::task::yield_now().await,
        }
        Ok(behaviour)
    }
}

#[async_trait::async_trait]
impl NodeService for MemoryNodes {
    async fn append_chunks(&self, request: AppendChunks) -> Result<(), PeerError> {
        let node = request.node;
        let behaviour = self.meet(node).await?;
        let mut nodes = self.lock();
        let count = nodes.appends.entry(node).or_default();
        *count += 1;
        match behaviour {
            Behaviour::Full => return Err(PeerError::OutOfSpace(node)),
            Behaviour::FailsAfter(most) if *count > most => {
                return Err(PeerError::Unavailable { node, why: "failed on the way".to_owned() });
            }
            _ => {}
        }
        if nodes.discard {
            return Ok(());
        }
        let chunks = nodes.chunks.entry((node, request.shard)).or_default();
        for (at, chunk) in request.chunks.into_iter().enumerate() {
            // Copied, as a drive does, so that the caller's buffer is released.
            let known = chunks.insert(request.first.0 + at as u32, Bytes::copy_from_slice(&chunk));
            assert!(known.is_none(), "a chunk is appended once");
        }
        Ok(())
    }

    async fn read_chunks(&self, request: ReadChunks) -> Result<ChunksRead, PeerError> {
        let behaviour = self.meet(request.node).await?;
        let mut nodes = self.lock();
        nodes.reads += 1;
        let held = nodes.chunks.get(&(request.node, request.shard)).cloned().unwrap_or_default();
        let mut chunks = Vec::new();
        for index in request.first.0..request.first.0 + request.count {
            chunks.push(match (&behaviour, held.get(&index)) {
                (Behaviour::Empty, _) | (_, None) => Err(ChunkFault::Missing),
                (Behaviour::Corrupt, _) => Err(ChunkFault::Corrupt),
                (Behaviour::Short, Some(chunk)) => Ok(chunk.slice(1..)),
                (_, Some(chunk)) => {
                    nodes.read_bytes += chunk.len();
                    Ok(chunk.clone())
                }
            });
        }
        Ok(ChunksRead { chunks })
    }

    async fn drop_shards(&self, node: NodeId, shards: Vec<ShardId>) -> Result<(), PeerError> {
        self.meet(node).await?;
        let mut nodes = self.lock();
        for shard in shards {
            nodes.chunks.remove(&(node, shard));
            nodes.dropped.insert(shard);
        }
        Ok(())
    }

    async fn count_chunks(&self, node: NodeId, shards: Vec<ShardId>) -> Result<Vec<u32>, PeerError> {
        self.meet(node).await?;
        let nodes = self.lock();
        Ok(shards.iter().map(|&shard| nodes.chunks.get(&(node, shard)).map_or(0, BTreeMap::len) as u32).collect())
    }

    async fn inventory(&self, node: NodeId, after: Option<ShardId>, limit: u32) -> Result<InventoryPage, PeerError> {
        self.meet(node).await?;
        let nodes = self.lock();
        let held =
            nodes.chunks.iter().filter(|((on, shard), _)| *on == node && after.is_none_or(|after| *shard > after));
        let mut shards: Vec<_> = held.map(|((_, shard), chunks)| (*shard, chunks.len() as u32)).collect();
        let more = shards.len() > limit as usize;
        shards.truncate(limit as usize);
        Ok(InventoryPage { shards, more })
    }
}
