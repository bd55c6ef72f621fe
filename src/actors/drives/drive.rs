//! `Drive`: one open drive, with its log of shards and the index over that log; reads chunks through both.

use super::blocking::{Blocking, ThreadsStopped, off_thread};
use super::health::{HealthBoard, Retired};
use crate::actors::log::LogHandle;
use crate::net::{ChunkFault, PeerError};
use crate::storage::shard_index::{ChunkId, Entry, IndexError, ShardIndex};
use crate::storage::wal::{Location, RecordKey, WalError};
use crate::types::{ChunkIndex, NodeId, ShardId};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

/// Retries of a chunk that compaction moves while it is read; each retry looks up its new place.
const READ_RETRIES_MAX: usize = 4;

/// An open drive. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Drive {
    pub node: NodeId,
    pub log: LogHandle,
    pub index: ShardIndex,
    pub retired: Retired,
}

/// The drives of this host that are open. Cheap to clone; all clones are one table.
#[derive(Clone, Debug, Default)]
pub struct OpenDrives(Arc<RwLock<BTreeMap<NodeId, Drive>>>);

impl FromIterator<Drive> for OpenDrives {
    fn from_iter<I: IntoIterator<Item = Drive>>(drives: I) -> Self {
        Self(Arc::new(RwLock::new(drives.into_iter().map(|drive| (drive.node, drive)).collect())))
    }
}

impl OpenDrives {
    pub fn get(&self, node: NodeId) -> Option<Drive> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&node).cloned()
    }

    pub fn all(&self) -> Vec<Drive> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Adds a drive. It replaces a drive of the same node id.
    pub fn put(&self, drive: Drive) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(drive.node, drive);
    }

    pub fn remove(&self, node: NodeId) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(&node);
    }
}

/// The reason why a request could read nothing at all.
#[derive(Debug)]
pub(crate) enum ReadFailure {
    Index(IndexError),
    /// The log is out of service, or the host lacks resources. Says nothing of the chunks.
    Unavailable(String),
}

impl ReadFailure {
    /// Returns the failure of the whole request if the error of one chunk says nothing of that chunk.
    fn of(error: &WalError) -> Option<Self> {
        match error {
            WalError::OutOfService { why } => Some(Self::Unavailable(why.clone())),
            WalError::NoResources { .. } => Some(Self::Unavailable(error.to_string())),
            _ => None,
        }
    }
}

/// The bytes of a chunk, or the reason why they cannot be read.
pub(crate) type ChunkResult = Result<Bytes, ChunkFault>;

impl Drive {
    /// Makes the index durable and closes all files of the log. Called when the host stops: nothing else may use the
    /// drive any more.
    pub async fn close(&self, threads: &Arc<dyn Blocking>) -> Result<(), WalError> {
        let index = self.index.clone();
        match off_thread(threads, move || index.persist()).await {
            Ok(Ok(())) => {}
            // No data is lost: the next start replays more of the log.
            Ok(Err(error)) => tracing::warn!(node = %self.node, %error, "cannot sync the shard index at the stop"),
            Err(stopped) => tracing::warn!(node = %self.node, %stopped, "cannot sync the shard index at the stop"),
        }
        self.log.close().await
    }

    /// Closes the drive so that another can take its place. On success no file of the drive is open and nothing touches
    /// its directory any more. Waits for the drive without a timeout. Fails while the drive is still being read; the
    /// caller may then try again.
    pub async fn retire(&self, threads: &Arc<dyn Blocking>) -> Result<(), String> {
        self.retired.set();
        if let Err(error) = self.log.close_unbounded().await {
            // A log that has failed is closed all the same.
            tracing::debug!(node = %self.node, %error, "the log of a replaced drive has failed");
        }
        let index = self.index.clone();
        let closed = off_thread(threads, move || index.close()).await.map_err(|stopped| stopped.to_string())?;
        closed.map_err(|error| format!("its shard index: {error}"))
    }

    /// Reads `count` consecutive chunks of a shard. Blocking.
    pub(crate) fn read_chunks(
        &self,
        shard: ShardId,
        first: ChunkIndex,
        count: u32,
    ) -> Result<Vec<ChunkResult>, ReadFailure> {
        let entries = self.index.lookup(shard, first, count).map_err(ReadFailure::Index)?;
        let found = |(at, entry): (u32, &Option<Entry>)| {
            entry.map(|entry| (ChunkId { shard, chunk: ChunkIndex(first.0 + at) }, entry))
        };
        let wanted: Vec<(ChunkId, Entry)> = (0..).zip(&entries).filter_map(found).collect();
        let mut read = self.read_entries(&wanted)?.into_iter();
        let chunk = |entry: &Option<Entry>| entry.and_then(|_| read.next()).unwrap_or(Err(ChunkFault::Missing));
        Ok(entries.iter().map(chunk).collect())
    }

    /// Reads chunks at the places that the index had for them. A chunk that compaction has moved since is read from its
    /// new place. Blocking.
    pub(crate) fn read_entries(&self, wanted: &[(ChunkId, Entry)]) -> Result<Vec<ChunkResult>, ReadFailure> {
        let places: Vec<(RecordKey, Location)> = wanted.iter().map(|(id, entry)| (chunk_key(*id), entry.at)).collect();
        let read = self.log.read_many(&places);
        let chunk = |((id, entry), read): (&(ChunkId, Entry), Result<Bytes, WalError>)| match read {
            Ok(body) => Ok(Ok(body)),
            Err(error) => self.read_again(*id, *entry, error),
        };
        wanted.iter().zip(read).map(chunk).collect()
    }

    fn read_again(&self, id: ChunkId, mut entry: Entry, mut error: WalError) -> Result<ChunkResult, ReadFailure> {
        for _ in 0..READ_RETRIES_MAX {
            if let Some(failure) = ReadFailure::of(&error) {
                return Err(failure);
            }
            let now = self.index.lookup(id.shard, id.chunk, 1).map_err(ReadFailure::Index)?;
            match now.into_iter().next().flatten() {
                None => return Ok(Err(ChunkFault::Missing)),
                Some(same) if same == entry => break,
                Some(moved) => entry = moved,
            }
            match self.log.read(chunk_key(id), entry.at) {
                Ok(body) => return Ok(Ok(body)),
                Err(again) => error = again,
            }
        }
        if let Some(failure) = ReadFailure::of(&error) {
            return Err(failure);
        }
        let (blob, shard) = (id.shard.blob, id.shard.shard.0);
        tracing::warn!(
            node = %self.node, %blob, shard, chunk = id.chunk.0, %error,
            "cannot read a chunk; it counts as corrupt"
        );
        Ok(Err(ChunkFault::Corrupt))
    }
}

/// Returns the key of a chunk's record in the log.
pub(crate) fn chunk_key(id: ChunkId) -> RecordKey {
    RecordKey { id: id.shard.blob.0, shard: id.shard.shard.0, part: id.chunk.0 }
}

/// Returns the key of a shard's tombstone in the log.
pub(crate) fn tombstone_key(shard: ShardId) -> RecordKey {
    RecordKey { id: shard.blob.0, shard: shard.shard.0, part: 0 }
}

/// Converts an error of the log into one for the caller, and takes a failed drive out of service.
pub(crate) fn log_error(drive: &Drive, health: &HealthBoard, error: WalError) -> PeerError {
    let (node, why) = (drive.node, error.to_string());
    match error {
        WalError::OutOfSpace => PeerError::OutOfSpace(node),
        WalError::TimedOut => PeerError::TimedOut(node),
        WalError::OutOfService { .. } | WalError::Io { .. } => {
            if health.take_out_drive(node, &drive.retired, &why) {
                tracing::error!(%node, why, "drive taken out of service");
            }
            PeerError::Unavailable { node, why }
        }
        WalError::TooLarge { .. }
        | WalError::Busy
        | WalError::NoResources { .. }
        | WalError::NotFound { .. }
        | WalError::SegmentOpen { .. }
        | WalError::Corrupt { .. } => PeerError::Unavailable { node, why },
    }
}

pub(super) fn index_error(node: NodeId, error: &IndexError) -> PeerError {
    tracing::error!(%node, %error, "the shard index failed");
    PeerError::Unavailable { node, why: error.to_string() }
}

pub(super) fn stopped_error(node: NodeId, stopped: ThreadsStopped) -> PeerError {
    PeerError::Unavailable { node, why: stopped.to_string() }
}
