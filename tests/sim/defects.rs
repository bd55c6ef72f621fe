//! The test of the simulation itself: it must find each seeded defect within a number of seeds.

use super::{number, run, side_by_side};
use sherd::defects::{Defect, plant};
use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

/// The defects, each with the first of the `SEEDS` seeds that are tried.
const DEFECTS: &[(Defect, u64)] = &[
    (Defect::AnswerBeforeSync, 0),
    (Defect::SkipSync, 0),
    (Defect::ForgetSegmentDirectory, 0),
    (Defect::LoseLastEntry, 1),
    (Defect::SkipBodyChecksum, 16),
    (Defect::ForgetTombstones, 43),
    (Defect::TrustStaleIndex, 0),
    (Defect::AcknowledgeBelowQuorum, 0),
    (Defect::ReuseBlobId, 0),
    (Defect::ReleaseLiveSegment, 14),
    (Defect::DropRepair, 4),
    (Defect::RebuildOtherShard, 4),
    (Defect::IgnoreConditions, 0),
    (Defect::ApplyTwice, 0),
    (Defect::ForgetGarbage, 0),
    (Defect::CompleteWithoutPart, 0),
    (Defect::ForgetOldVersion, 0),
    (Defect::RenameKeepsSource, 0),
    (Defect::ListingSkipsKey, 0),
    (Defect::HideMissingShards, 4),
    (Defect::IgnoreReaders, 1),
    (Defect::OverlookRot, 80),
    (Defect::ForgetReference, 1),
    (Defect::TrustStaleLength, 1),
    (Defect::SkipSnapshotSync, 1),
    (Defect::LoseSnapshotRow, 60),
    (Defect::LoseSnapshotTable, 0),
    (Defect::MoveBeforeCopy, 0),
    (Defect::CountSilentShard, 40),
    (Defect::AdoptFencedBlob, 100),
];
const SEEDS: u64 = 40;

/// Returns the first seed that finds the defect, and its failure message.
fn find(defect: Defect, first: u64) -> Option<(u64, String)> {
    let _planted = plant(defect);
    (first..first + SEEDS).find_map(|seed| {
        let panic = catch_unwind(AssertUnwindSafe(|| run(seed))).err()?;
        let words = panic.downcast_ref::<String>().cloned();
        Some((seed, words.or_else(|| panic.downcast_ref::<&str>().map(|&words| words.to_owned())).unwrap_or_default()))
    })
}

#[test]
fn every_seeded_defect_is_found() {
    let wanted = env::var("SHERD_SIM_DEFECT").ok();
    let is_wanted = |defect: &Defect| wanted.as_ref().is_none_or(|name| *name == format!("{defect:?}"));
    let listed: Vec<_> = DEFECTS.iter().filter(|(defect, _)| is_wanted(defect)).collect();
    assert!(!listed.is_empty(), "SHERD_SIM_DEFECT is {wanted:?}; expected one of {DEFECTS:?}");
    let missed = Mutex::new(Vec::new());
    side_by_side(0..listed.len() as u64, |at| {
        let &(defect, listed) = listed[at as usize];
        let first = number("SHERD_SIM_FIRST").unwrap_or(listed);
        let begun = std::time::Instant::now();
        let found = find(defect, first);
        println!("{defect:?} after {:?}: {found:?}", begun.elapsed());
        if found.is_none() {
            missed.lock().expect("no panic under the lock").push(defect);
        }
    });
    let missed = missed.into_inner().expect("no panic under the lock");
    assert!(missed.is_empty(), "not found within {SEEDS} seeds: {missed:?}");
}
