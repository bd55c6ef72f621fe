//! Opening of a drive: first its index, then the log, which is replayed from the index's watermark. An index that
//! cannot be opened or read is deleted and rebuilt from the log; a log that cannot be opened is an error. An index that
//! fails later, while it is in use, is reopened; one in which damage is met is made anew by the `Reindexer`. Want of
//! file descriptors or memory says nothing of an index: the opening fails, and nothing is deleted.

use super::Drive;
use super::health::Retired;
use crate::actors::log::Threads;
use crate::storage::disk::Disk;
use crate::storage::kv::Kv;
use crate::storage::kv::fjall::{Damage, FjallKv, FjallOpener, TableMemory};
use crate::storage::kv::reviving::{Opens, RevivingKv};
use crate::storage::shard_index::{COMMITS, IndexError, IndexResult, LogExtent, ShardIndex, TABLES, recover};
use crate::storage::wal::{LogOptions, OpenedLog, open_log};
use crate::types::NodeId;
use std::path::PathBuf;
use std::sync::Arc;

/// Options for opening a drive.
#[derive(Clone, Debug)]
pub struct DriveOptions {
    pub node: NodeId,
    pub disk: Arc<dyn Disk>,
    /// The options of the log of shards.
    pub log: LogOptions,
    /// The directory of the index. Its tables (fjall) access their files there directly, not through `disk`.
    pub index_dir: PathBuf,
    pub index_memory: TableMemory,
}

/// A drive whose log is not running yet.
#[derive(Debug)]
pub struct OpenedDrive {
    pub node: NodeId,
    pub log: OpenedLog,
    pub index: ShardIndex,
}

impl OpenedDrive {
    /// Starts the log's actors. Call it inside an actix system.
    pub fn start(self, threads: Threads) -> Drive {
        Drive { node: self.node, log: self.log.start(threads), index: self.index, retired: Retired::default() }
    }
}

/// Opens a drive. Blocking; takes long if the index has to be rebuilt.
pub fn open_drive(options: &DriveOptions) -> IndexResult<OpenedDrive> {
    match open_with_index(options) {
        Err(IndexError::Kv(error)) if !error.lacks_resources => {
            tracing::warn!(node = %options.node, %error, "cannot open the shard index; rebuilding it from the log");
            FjallKv::remove(&options.index_dir)?;
            open_with_index(options)
        }
        opened => opened,
    }
}

fn open_with_index(options: &DriveOptions) -> IndexResult<OpenedDrive> {
    let (path, memory) = (options.index_dir.clone(), options.index_memory);
    let opener = FjallOpener { path, tables: TABLES, memory, damage: Damage::default() };
    if let Err(error) = opener.discard_successor() {
        tracing::warn!(node = %options.node, %error, "cannot remove the shard index that was being made anew");
    }
    let clock = Arc::clone(&options.log.ambient.clock);
    let kv = Arc::new(RevivingKv::open(Box::new(opener), COMMITS, clock)?);
    let opened = open_over(options.node, &options.disk, &options.log, Arc::clone(&kv) as _)?;
    kv.arm();
    Ok(opened)
}

/// Like `open_drive`, over index tables that are open already.
pub fn open_over(
    node: NodeId,
    disk: &Arc<dyn Disk>,
    options: &LogOptions,
    kv: Arc<dyn Kv>,
) -> IndexResult<OpenedDrive> {
    let (index, log) = recover(kv, |from, visit| {
        let log = open_log(Arc::clone(disk), options.clone(), from, visit)?;
        let segments = log.segments.iter().map(|segment| segment.id()).collect();
        let extent = LogExtent { segments, end: log.end() };
        Ok((log, extent))
    })?;
    for spot in &log.rot {
        let (file, at, expected, found) = (&spot.file, spot.at, &spot.expected, &spot.found);
        tracing::error!(
            %node, file, %at, expected, found,
            "the log is corrupt at this position; its lost chunks have to be repaired from other drives"
        );
    }
    Ok(OpenedDrive { node, log, index })
}
