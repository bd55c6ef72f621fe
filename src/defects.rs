//! Seeded defects: bugs that a test plants in the code, one at a time, to prove that the checks find them. Without
//! debug assertions `has` is `false` at compile time, so that a release binary contains none of them.

use std::cell::Cell;

/// A bug that can be planted. The code that gets it calls `has` in one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    // Of the logs.
    /// Appends are acknowledged once they are written, before they are synced.
    AnswerBeforeSync,
    /// A sync is acknowledged without being done.
    SkipSync,
    /// The directory is not synced after a segment's file was created in it.
    ForgetSegmentDirectory,
    /// Recovery of a Raft log loses its last entry.
    LoseLastEntry,
    /// The checksum of a record's body is not verified.
    SkipBodyChecksum,

    // Of the shard index.
    /// Recovery ignores tombstones.
    ForgetTombstones,
    /// Recovery does not replay the records after the index's watermark.
    TrustStaleIndex,

    // Of requests.
    /// A write is acknowledged though none of its shards was written.
    AcknowledgeBelowQuorum,
    /// Two blobs get the same id.
    ReuseBlobId,
    /// The proposal of a write does not name the shards that were not written, so they are never repaired.
    HideMissingShards,

    // Of chores.
    /// A segment is released with live chunks in it.
    ReleaseLiveSegment,
    /// A repair counts as done without being done.
    DropRepair,
    /// A repair rebuilds another shard than the one that is missing.
    RebuildOtherShard,
    /// Garbage is reclaimed while reads still need it.
    IgnoreReaders,
    /// Scrub does not report corrupt chunks.
    OverlookRot,

    // Of changes of the metadata.
    /// Conditions of writes are not checked.
    IgnoreConditions,
    /// An entry's commands are applied twice.
    ApplyTwice,
    /// A blob does not become garbage with its last reference.
    ForgetGarbage,
    /// The last part of a completed upload is left out.
    CompleteWithoutPart,
    /// The version that a newer one replaces is not kept.
    ForgetOldVersion,
    /// A renamed object keeps its old name, too.
    RenameKeepsSource,
    /// A page of a listing begins one key too late.
    ListingSkipsKey,
    /// A copy does not count its references to its source's bytes.
    ForgetReference,
    /// An append is written at the length that the object had when the request began, over bytes that others appended
    /// since.
    TrustStaleLength,

    // Of moves, and of drives that do not answer.
    /// A move counts as done though its copy was not written, so that the only copy is dropped.
    MoveBeforeCopy,
    /// A shard counts as synced though its drive did not answer in time.
    CountSilentShard,

    // Of several replicas.
    /// A leader answers reads without confirming with a majority that it still leads.
    ReadFromDeposedLeader,
    /// A replica that lost the end of its log votes as if it still had it.
    VoteForLostEntries,
    /// A change adopts a blob below the fence.
    AdoptFencedBlob,

    // Of snapshots of the metadata.
    /// A snapshot gets its name before it is synced.
    SkipSnapshotSync,
    /// A snapshot lacks a row.
    LoseSnapshotRow,
    /// A snapshot lacks a table.
    LoseSnapshotTable,
}

thread_local! {
    static PLANTED: Cell<Option<Defect>> = const { Cell::new(None) };
}

/// Returns true if this bug is planted in the calling thread.
#[inline]
pub fn has(defect: Defect) -> bool {
    cfg!(debug_assertions) && PLANTED.get() == Some(defect)
}

/// The guard of a planted defect, which removes it when dropped.
#[derive(Debug)]
pub struct Planted(());

/// Plants a defect in the calling thread, instead of any other.
pub fn plant(defect: Defect) -> Planted {
    PLANTED.set(Some(defect));
    Planted(())
}

impl Drop for Planted {
    fn drop(&mut self) {
        PLANTED.set(None);
    }
}

#[cfg(test)]
mod tests {
    use super::{Defect, has, plant};

    #[test]
    fn a_defect_is_planted_in_one_thread_until_its_guard_is_dropped() {
        let planted = plant(Defect::SkipSync);
        assert!(has(Defect::SkipSync) && !has(Defect::AnswerBeforeSync));
        assert!(!std::thread::spawn(|| has(Defect::SkipSync)).join().unwrap());
        drop(planted);
        assert!(!has(Defect::SkipSync));
    }
}
