//! Seeded defects: bugs that tests plant, one at a time, to prove that they are found. `has` is `false` at compile time where
//! there are no debug assertions, so that a release binary contains none of them.

use std::cell::Cell;

/// One bug. Its place in the code asks `has` for it, in one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    // Of the logs.
    /// Appends are answered when they are written.
    AnswerBeforeSync,
    /// A sync is answered and not done.
    SkipSync,
    /// The directory is not synced after a segment was made in it.
    ForgetSegmentDirectory,
    /// Recovery of a Raft log loses its last entry.
    LoseLastEntry,
    /// The checksum of a record's body is not looked at.
    SkipBodyChecksum,

    // Of the shard index.
    /// Recovery passes over tombstones.
    ForgetTombstones,
    /// Recovery does not replay what came after the watermark.
    TrustStaleIndex,

    // Of requests.
    /// A write is acknowledged though none of its shards was written.
    AcknowledgeBelowQuorum,
    /// Two blobs get the same id.
    ReuseBlobId,
    /// Shards that were not written are not named missing.
    HideMissingShards,

    // Of chores.
    /// A segment is released with live chunks in it.
    ReleaseLiveSegment,
    /// A repair counts as done and is not.
    DropRepair,
    /// A repair rebuilds another shard than the one that is missing.
    RebuildOtherShard,
    /// Garbage is reclaimed under the reads that want it.
    IgnoreReaders,
    /// Scrub does not report what is corrupt.
    OverlookRot,

    // Of changes of the metadata.
    /// Conditions of writes are not looked at.
    IgnoreConditions,
    /// An entry's commands are applied twice.
    ApplyTwice,
    /// A blob that nothing refers to any more does not become garbage.
    ForgetGarbage,
    /// The last part of a completed upload is left out.
    CompleteWithoutPart,
    /// The version that another replaces is not kept.
    ForgetOldVersion,
    /// A renamed object keeps its old name, too.
    RenameKeepsSource,
    /// A page of a listing begins one key too late.
    ListingSkipsKey,
    /// A copy does not count its references to its source's bytes.
    ForgetReference,
    /// An append goes behind the bytes that were there when it began, though others came meanwhile.
    TrustStaleLength,

    // Of moves, and of drives that do not answer.
    /// A move counts though its copy was not written: the old one is dropped before there is another.
    MoveBeforeCopy,
    /// A shard whose drive did not answer in time counts as synced.
    CountSilentShard,

    // Of several replicas.
    /// A leader answers reads from its tables without a majority that confirms that it leads.
    ReadFromDeposedLeader,
    /// A replica that lost the end of its log takes part in elections as if it had it.
    VoteForLostEntries,
    /// A blob below the fence is adopted.
    AdoptFencedBlob,

    // Of snapshots of the metadata.
    /// A snapshot stands before it is synced.
    SkipSnapshotSync,
    /// A snapshot lacks a row.
    LoseSnapshotRow,
    /// A snapshot lacks a table.
    LoseSnapshotTable,
}

thread_local! {
    static PLANTED: Cell<Option<Defect>> = const { Cell::new(None) };
}

/// Returns whether the code of this thread is to have this bug.
#[inline]
pub fn has(defect: Defect) -> bool {
    cfg!(debug_assertions) && PLANTED.get() == Some(defect)
}

/// Removes the defect when it is dropped.
#[derive(Debug)]
pub struct Planted(());

/// Plants a defect in the code of this thread, in place of any other.
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
    fn a_defect_is_there_until_its_guard_is_dropped_and_in_its_thread_only() {
        let planted = plant(Defect::SkipSync);
        assert!(has(Defect::SkipSync) && !has(Defect::AnswerBeforeSync));
        assert!(!std::thread::spawn(|| has(Defect::SkipSync)).join().unwrap());
        drop(planted);
        assert!(!has(Defect::SkipSync));
    }
}
