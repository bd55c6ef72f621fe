//! The command `sherd admin inventory`: lists the shards on the drives of a stopped host, and verifies each chunk. It
//! reads the logs themselves, not the index, and changes nothing. It locks each drive, by the lock file that exists, so
//! that no store can start on it meanwhile.
//!
//! It follows the rules by which the index is rebuilt from a log: the younger of two records of a chunk counts, and a
//! chunk is gone if its shard was dropped after it was written. It needs about 60 bytes of memory for each chunk of a
//! drive.

use super::AdminFailure;
use super::progress::Progress;
use super::show::size;
use crate::ambient::Ambient;
use crate::storage::buffer::BufferPool;
use crate::storage::disk::{Disk, SystemDisk};
use crate::storage::identity::{Content, HeldLock, Identity, IdentityError, LockFault, lock_for_reading, scan};
use crate::storage::wal::{BadSpots, CorruptSpot, LogOptions, RecordKind, ScannedRecord, survey_log};
use crate::types::{BlobId, Lsn, ShardId, ShardNumber};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const SHARDS_DIR: &str = "shards";
const POOL_BYTES: usize = 4 << 20;

/// The identity of a drive, and the counts of what it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct DriveFound {
    dir: String,
    cluster: String,
    host: String,
    node: u32,
    incarnation: String,
    shards: u64,
    chunks: u64,
    bytes: u64,
    /// Chunks that fail their checksum.
    corrupt_chunks: u64,
    /// Chunks whose write was interrupted by a crash or a power cut, so that they were never known to be whole.
    torn_chunks: u64,
    /// Places in the log that were intact once and are damaged now, corrupt chunks included.
    corrupt_spots: u64,
}

/// A shard on a drive: one line of the output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct ShardFound {
    blob: String,
    shard: u8,
    node: u32,
    /// The number of chunks that pass their checksum.
    chunks: u32,
    corrupt: u32,
    torn: u32,
}

/// The newest record of a chunk: its age (original position, then present position), and its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Chunk {
    age: (Lsn, Lsn),
    body: Body,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    Whole { bytes: u32 },
    Corrupt,
    Torn,
}

impl Body {
    fn bytes(self) -> u64 {
        if let Self::Whole { bytes } = self { u64::from(bytes) } else { 0 }
    }
}

#[derive(Debug, Default)]
struct Shard {
    dropped: Lsn,
    chunks: BTreeMap<u32, Chunk>,
}

/// The shards of one drive, collected from its records, which may come in any order.
#[derive(Debug, Default)]
struct Holdings {
    shards: BTreeMap<ShardId, Shard>,
}

impl Holdings {
    fn take(&mut self, record: &ScannedRecord) {
        let chunk = Chunk { age: (record.origin, record.at.lsn), body: Body::Whole { bytes: record.at.body_bytes } };
        self.apply(record.kind, record.key.id, record.key.shard, record.key.part, chunk);
    }

    fn take_lost(&mut self, spot: &CorruptSpot, body: Body) {
        let (Some(lost), at) = (&spot.record, spot.at) else { return };
        // The intact header is all that is needed of a tombstone.
        self.apply(lost.kind, lost.key.id, lost.key.shard, lost.key.part, Chunk { age: (lost.origin, at), body });
    }

    fn apply(&mut self, kind: RecordKind, blob: u128, shard: u8, part: u32, chunk: Chunk) {
        let entry = || ShardId { blob: BlobId(blob), shard: ShardNumber(shard) };
        match kind {
            RecordKind::Chunk => {
                let known = self.shards.entry(entry()).or_default().chunks.entry(part).or_insert(chunk);
                if known.age < chunk.age {
                    *known = chunk;
                }
            }
            RecordKind::Tombstone => {
                let shard = self.shards.entry(entry()).or_default();
                shard.dropped = shard.dropped.max(chunk.age.0);
            }
            RecordKind::RaftEntry | RecordKind::RaftState => {}
        }
    }

    /// Returns the shards that were not dropped, in order.
    fn present(&self) -> impl Iterator<Item = (ShardId, Vec<Chunk>)> {
        self.shards.iter().filter_map(|(id, shard)| {
            let there = shard.chunks.values().filter(|chunk| chunk.age.0 >= shard.dropped);
            let chunks: Vec<Chunk> = there.copied().collect();
            (!chunks.is_empty()).then_some((*id, chunks))
        })
    }
}

/// Reads the directories; returns the exit code: 1 if a drive has corrupt places.
pub fn run(dirs: &[PathBuf], json: bool, out: &mut impl Write) -> Result<u8, AdminFailure> {
    let pool = BufferPool::new(POOL_BYTES);
    let disk: Arc<dyn Disk> = Arc::new(SystemDisk::new(pool.clone()));
    let drives = identified(&disk, dirs)?;
    let _locks = lock(&drives)?;
    let mut whole = true;
    for (dir, identity) in &drives {
        let (holdings, spots) = read(&disk, dir, identity, &pool)?;
        let found = tell(dir, identity, &holdings, &spots.rot, json, out)?;
        whole &= found.corrupt_spots == 0;
    }
    Ok(u8::from(!whole))
}

fn identified(disk: &Arc<dyn Disk>, dirs: &[PathBuf]) -> Result<Vec<(PathBuf, Identity)>, AdminFailure> {
    let drive = |found: crate::storage::identity::Found| {
        let why = match found.content {
            Content::Ours(identity) => return Ok((found.dir, *identity)),
            Content::Absent => "there is no such directory".to_owned(),
            Content::Blank => "it is empty".to_owned(),
            Content::NotOurs { example } => format!("it is not a drive of a store: it holds {example:?}"),
            Content::Unreadable { why } | Content::Damaged { why } => why,
        };
        Err(AdminFailure::Unreadable { dir: found.dir, why })
    };
    scan(&**disk, dirs)?.into_iter().map(drive).collect()
}

fn lock(drives: &[(PathBuf, Identity)]) -> Result<Vec<Option<HeldLock>>, AdminFailure> {
    let lock = |(dir, _): &(PathBuf, Identity)| {
        lock_for_reading(dir).map_err(|fault| match fault {
            LockFault::InUse => AdminFailure::Identity(IdentityError::Locked { dir: dir.clone() }),
            LockFault::Failed(error) => AdminFailure::Unreadable { dir: dir.clone(), why: error.to_string() },
        })
    };
    drives.iter().map(lock).collect()
}

fn read(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    identity: &Identity,
    pool: &BufferPool,
) -> Result<(Holdings, BadSpots), AdminFailure> {
    let shards = dir.join(SHARDS_DIR);
    let options = LogOptions::shards(shards, identity.cluster, identity.node, Ambient::system(), pool.clone());
    let (mut holdings, mut progress) = (Holdings::default(), Progress::of_silence("chunks read"));
    let surveyed = survey_log(disk, &options, &mut |record| {
        holdings.take(&record);
        progress.advance(1, None);
    });
    progress.finish();
    let spots = surveyed.map_err(|error| AdminFailure::Unreadable { dir: dir.to_owned(), why: error.to_string() })?;
    spots.rot.iter().for_each(|spot| holdings.take_lost(spot, Body::Corrupt));
    spots.torn.iter().for_each(|spot| holdings.take_lost(spot, Body::Torn));
    Ok((holdings, spots))
}

/// Prints a drive's shards and their sum.
fn tell(
    dir: &Path,
    identity: &Identity,
    holdings: &Holdings,
    rot: &[CorruptSpot],
    json: bool,
    out: &mut impl Write,
) -> Result<DriveFound, AdminFailure> {
    let mut drive = DriveFound {
        dir: dir.display().to_string(),
        cluster: identity.cluster.to_string(),
        host: format!("{:016x}", identity.host.0),
        node: identity.node.0,
        incarnation: identity.incarnation.to_string(),
        shards: 0,
        chunks: 0,
        bytes: 0,
        corrupt_chunks: 0,
        torn_chunks: 0,
        corrupt_spots: rot.len() as u64,
    };
    for (id, chunks) in holdings.present() {
        let shard = found(id, identity.node.0, &chunks);
        drive.shards += 1;
        drive.chunks += u64::from(shard.chunks);
        drive.corrupt_chunks += u64::from(shard.corrupt);
        drive.torn_chunks += u64::from(shard.torn);
        drive.bytes += chunks.iter().map(|chunk| chunk.body.bytes()).sum::<u64>();
        if json {
            line(&Line::Shard(&shard), out)?;
        }
    }
    if json {
        line(&Line::Drive(&drive), out)?;
    } else {
        words(&drive, rot, out)?;
    }
    Ok(drive)
}

fn found(id: ShardId, node: u32, chunks: &[Chunk]) -> ShardFound {
    let count = |is: fn(&Body) -> bool| {
        u32::try_from(chunks.iter().filter(|chunk| is(&chunk.body)).count()).unwrap_or(u32::MAX)
    };
    ShardFound {
        blob: id.blob.to_string(),
        shard: id.shard.0,
        node,
        chunks: count(|body| matches!(body, Body::Whole { .. })),
        corrupt: count(|body| matches!(body, Body::Corrupt)),
        torn: count(|body| matches!(body, Body::Torn)),
    }
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Line<'a> {
    Shard(&'a ShardFound),
    /// A drive, after its shards.
    Drive(&'a DriveFound),
}

fn line(line: &Line<'_>, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    writeln!(out)
}

fn words(drive: &DriveFound, rot: &[CorruptSpot], out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{}: node {} of host {}, cluster {}", drive.dir, drive.node, drive.host, drive.cluster)?;
    writeln!(
        out,
        "  {} shards, {} chunks, {}; {} corrupt chunks, {} torn chunks, {} corrupt places",
        drive.shards,
        drive.chunks,
        size(drive.bytes),
        drive.corrupt_chunks,
        drive.torn_chunks,
        drive.corrupt_spots
    )?;
    for spot in rot {
        writeln!(out, "  corrupt: {} at {}: expected {}, found {}", spot.file, spot.at, spot.expected, spot.found)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Body, Chunk, Holdings};
    use crate::storage::wal::RecordKind;
    use crate::types::Lsn;

    fn whole(bytes: u32) -> Body {
        Body::Whole { bytes }
    }

    fn record(holdings: &mut Holdings, kind: RecordKind, part: u32, origin: u64, at: u64, body: Body) {
        holdings.apply(kind, 1, 0, part, Chunk { age: (Lsn(origin), Lsn(at)), body });
    }

    fn chunks(holdings: &Holdings) -> Vec<Vec<Body>> {
        holdings.present().map(|(_, chunks)| chunks.iter().map(|chunk| chunk.body).collect()).collect()
    }

    #[test]
    fn the_youngest_record_of_a_chunk_counts_in_any_order() {
        for flipped in [false, true] {
            let mut holdings = Holdings::default();
            let mut records = vec![(10, 10, Body::Corrupt), (20, 20, whole(7)), (20, 30, whole(7))];
            if flipped {
                records.reverse();
            }
            for (origin, at, body) in records {
                record(&mut holdings, RecordKind::Chunk, 0, origin, at, body);
            }
            assert_eq!(chunks(&holdings), [[whole(7)]], "a corrupt chunk that was repaired");
            record(&mut holdings, RecordKind::Chunk, 0, 20, 40, Body::Corrupt);
            assert_eq!(chunks(&holdings), [[Body::Corrupt]], "a copy that rotted after it was moved");
        }
    }

    #[test]
    fn chunks_before_a_tombstone_are_gone_and_later_ones_stay() {
        let mut holdings = Holdings::default();
        record(&mut holdings, RecordKind::Chunk, 0, 10, 10, whole(1));
        record(&mut holdings, RecordKind::Tombstone, 0, 20, 20, whole(0));
        assert!(chunks(&holdings).is_empty());
        record(&mut holdings, RecordKind::Chunk, 0, 10, 30, whole(1));
        assert!(chunks(&holdings).is_empty(), "a copy of a chunk that was dropped");
        record(&mut holdings, RecordKind::Chunk, 1, 40, 40, whole(2));
        record(&mut holdings, RecordKind::Tombstone, 0, 20, 50, whole(0));
        assert_eq!(chunks(&holdings), [[whole(2)]], "a moved tombstone drops nothing that is younger than it");
    }
}
