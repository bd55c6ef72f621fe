//! The ledger of states that may be found: for each key, the version that was acknowledged last, and those tried since.

use super::damage::FLUSH_DELAY;
use super::undone::Undoable;
use super::world::Host;
use bytes::Bytes;
use sherd::storage::meta::record::Version as VersionId;
use sherd::types::BlobId;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

const CONTENTS_MAX: usize = 2000;

/// A version of a key; each version has different content. `None` is an absent object.
pub type Version = Option<u64>;

/// A version in the bucket with versions, and its content; `None` is a delete marker.
pub type Row = (VersionId, Version);

#[derive(Clone, Debug, Default)]
pub struct Ledger {
    may_be: BTreeMap<String, BTreeSet<Version>>,
    /// For each version that was made by appends, the versions whose contents it consists of.
    pieces: BTreeMap<u64, Vec<u64>>,
    /// Renames of unknown outcome: source, target, and the version that is under one of them.
    renames: Vec<(String, String, u64)>,
    /// The versions of each key of the versioned bucket, oldest first.
    rows: BTreeMap<String, Vec<Row>>,
    /// The versions of each key if the change of unknown outcome was made.
    changes: BTreeMap<String, Change>,
    /// Blobs that objects have had.
    blobs: BTreeSet<BlobId>,
    pub undoable: Undoable,
    pub tally: Tally,
}

/// A change of a key in the bucket with versions.
#[derive(Clone, Copy, Debug)]
pub enum Change {
    Add(Version),
    Remove(VersionId),
}

/// The counts of events, by which a simulation in which too little happens is noticed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub acknowledged: u64,
    pub copied: u64,
    pub appended: u64,
    pub renamed: u64,
    pub versions_changed: u64,
    pub rounds_cut_short: u64,
    pub segments_released: u64,
    pub shards_reclaimed: u64,
    pub shards_repaired: u64,
    pub drives_failed: u64,
    pub bytes_rotted: u64,
    pub fenced_off: u64,
    pub read_slowly: u64,
    pub storms: u64,
    pub states_rebuilt: u64,
    pub shards_moved: u64,
    pub drives_silenced: u64,
    pub acknowledged_without_drive: u64,
    pub drives_absent: u64,
    pub cuts_relaxed: u64,
    pub changes_undone: u64,
}

impl Tally {
    pub fn add(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.copied += other.copied;
        self.appended += other.appended;
        self.renamed += other.renamed;
        self.versions_changed += other.versions_changed;
        self.rounds_cut_short += other.rounds_cut_short;
        self.segments_released += other.segments_released;
        self.shards_reclaimed += other.shards_reclaimed;
        self.shards_repaired += other.shards_repaired;
        self.drives_failed += other.drives_failed;
        self.bytes_rotted += other.bytes_rotted;
        self.fenced_off += other.fenced_off;
        self.read_slowly += other.read_slowly;
        self.storms += other.storms;
        self.states_rebuilt += other.states_rebuilt;
        self.shards_moved += other.shards_moved;
        self.drives_silenced += other.drives_silenced;
        self.acknowledged_without_drive += other.acknowledged_without_drive;
        self.drives_absent += other.drives_absent;
        self.cuts_relaxed += other.cuts_relaxed;
        self.changes_undone += other.changes_undone;
    }
}

/// Returns the content of a version that was put at once. Some contents are inline in the metadata, some are striped.
pub fn content(version: u64) -> Bytes {
    thread_local! {
        /// The contents of this thread's last seeds: they are compared far more often than written.
        static KNOWN: RefCell<BTreeMap<u64, Bytes>> = const { RefCell::new(BTreeMap::new()) };
    }
    KNOWN.with_borrow_mut(|known| {
        if known.len() > CONTENTS_MAX {
            known.clear();
        }
        known.entry(version).or_insert_with(|| make_content(version)).clone()
    })
}

fn make_content(version: u64) -> Bytes {
    let lengths = [0, 10, 3_000, 16_384, 16_385, 70_000, 250_000];
    let length = lengths[(version % lengths.len() as u64) as usize];
    (0..length).map(|at: u64| (at.wrapping_mul(31) ^ version.wrapping_mul(0x9e37_79b9) >> (at % 24)) as u8).collect()
}

impl Ledger {
    pub fn with(undoable: Undoable) -> Self {
        Self { undoable, ..Self::default() }
    }

    pub fn versions(&mut self, key: &str) -> &mut BTreeSet<Version> {
        self.may_be.entry(key.to_owned()).or_insert_with(|| BTreeSet::from([None]))
    }

    /// Returns the version under a key, if it is certain.
    pub fn certain(&mut self, key: &str) -> Option<Version> {
        let versions = self.versions(key);
        versions.first().copied().filter(|_| versions.len() == 1)
    }

    pub fn content(&self, version: u64) -> Bytes {
        match self.pieces.get(&version) {
            Some(pieces) => pieces.iter().flat_map(|&piece| content(piece)).collect(),
            None => content(version),
        }
    }

    /// Notes that the version `whole` is `standing` with `added` appended.
    pub fn compose(&mut self, whole: u64, standing: u64, added: u64) {
        let mut pieces = self.pieces.get(&standing).cloned().unwrap_or_else(|| vec![standing]);
        pieces.push(added);
        self.pieces.insert(whole, pieces);
    }

    /// Notes that a change may happen from now on.
    pub fn attempt(&mut self, key: &str, version: Version) {
        self.undoable.begin(key);
        self.versions(key).insert(version);
    }

    /// Notes that a change has happened.
    pub fn acknowledge(&mut self, key: &str, version: Version) {
        self.tally.acknowledged += 1;
        let mut before = std::mem::replace(self.versions(key), BTreeSet::from([version]));
        if before.len() > 1 {
            before.remove(&version);
        }
        self.undoable.note(key, before);
    }

    /// The change has not happened and never will.
    pub fn refuse(&mut self, key: &str, version: Version) {
        self.versions(key).remove(&version);
    }

    pub fn attempt_rename(&mut self, source: &str, target: &str, version: u64) {
        self.attempt(source, None);
        self.attempt(target, Some(version));
        self.renames.push((source.to_owned(), target.to_owned(), version));
    }

    pub fn acknowledge_rename(&mut self, source: &str, target: &str, version: u64) {
        self.acknowledge(source, None);
        self.acknowledge(target, Some(version));
        self.renames.pop();
    }

    /// Returns the versions of a key, oldest first.
    pub fn rows(&self, key: &str) -> &[Row] {
        self.rows.get(key).map_or(&[], Vec::as_slice)
    }

    /// Returns whether a change of the key has an unknown outcome. Another one could not be told apart from it.
    pub fn is_in_doubt(&self, key: &str) -> bool {
        self.changes.contains_key(key)
    }

    pub fn attempt_change(&mut self, key: &str, change: Change) {
        let before = self.changes.insert(key.to_owned(), change);
        assert!(before.is_none(), "{key}: {change:?} during {before:?}");
    }

    /// The change has not happened and never will.
    pub fn refuse_change(&mut self, key: &str) {
        self.changes.remove(key);
    }

    /// Notes that a change has happened; `added` is the version that it made.
    pub fn acknowledge_change(&mut self, key: &str, added: Option<VersionId>) {
        self.tally.versions_changed += 1;
        let rows = self.rows.entry(key.to_owned()).or_default();
        self.undoable.note_rows(key, rows);
        match self.changes.remove(key) {
            Some(Change::Add(content)) => rows.extend(added.map(|version| (version, content))),
            Some(Change::Remove(version)) => rows.retain(|(known, _)| *known != version),
            None => {}
        }
    }

    /// Fails unless the found content is that of a possible version; returns that version.
    pub fn check(&self, key: &str, found: Option<&Bytes>, context: &str) -> Version {
        let none = BTreeSet::from([None]);
        let may_be = self.may_be.get(key).unwrap_or(&none);
        let is = |version: &Version| version.map(|version| self.content(version)).as_ref() == found;
        let length = found.map(Bytes::len);
        may_be.iter().copied().find(is).unwrap_or_else(|| {
            panic!("{context}: {key} is none of {may_be:?}: {length:?} bytes");
        })
    }

    /// Notes that the power was cut, after a stop in order if `was_stopped`.
    pub fn note_cut(&mut self, was_stopped: bool) {
        if was_stopped {
            self.undoable.stop();
        }
        self.undoable.cut();
        self.tally.cuts_relaxed += u64::from(self.undoable.is_relaxed());
    }

    /// Reads every key, compares the listing with the reads, and takes the found states as the only possible ones. With
    /// relaxed durability, a cut may have undone the last acknowledged changes, or taken bytes of them.
    pub async fn settle(&mut self, host: &Host, context: &str) {
        let keys: Vec<String> = self.may_be.keys().cloned().collect();
        let (mut there, mut found_states, mut unreadable) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for key in keys {
            let mut states = self.undoable.states(&key);
            states.push(self.versions(&key).clone());
            let is_in_doubt = states.len() > 1 || states[0].len() > 1;
            *self.versions(&key) = states.iter().flatten().copied().collect();
            let found = match host.get(&key).await {
                Ok(found) => found,
                Err(_) if self.undoable.is_relaxed() && is_in_doubt => {
                    unreadable.push(key);
                    continue;
                }
                Err(error) => panic!("{context}: {key}: {error}"),
            };
            let known = self.check(&key, found.as_ref(), context);
            // Several versions may have the same content; a version that no cut has undone is preferred.
            let same = |version: &&Version| version.map(|version| self.content(version)) == found;
            let of_states: Vec<Option<Version>> = states.iter().map(|state| state.iter().find(same).copied()).collect();
            let version = of_states.iter().rev().flatten().next().copied().unwrap_or(known);
            let is_undone = of_states.last().is_some_and(Option::is_none);
            self.tally.changes_undone += u64::from(is_undone);
            *self.versions(&key) = BTreeSet::from([version]);
            found_states.insert(key.clone(), of_states.iter().map(Option::is_some).collect());
            there.extend(version.map(|version| (key, version)));
        }
        self.undoable.check_order(&found_states, context);
        for (source, target, version) in std::mem::take(&mut self.renames) {
            let is_known = !unreadable.contains(&source) && !unreadable.contains(&target);
            let places = [&source, &target].into_iter().filter(|key| there.get(*key) == Some(&version)).count();
            let may_be_undone = !self.undoable.states(&source).is_empty() || !self.undoable.states(&target).is_empty();
            // Versions without content cannot be told apart.
            let is_known = is_known && !self.content(version).is_empty();
            let is_right = places == 1 || may_be_undone || !is_known;
            assert!(is_right, "{context}: {source} was renamed to {target} as {version}, and is in {places} places");
        }
        let listed: BTreeSet<String> = there.into_keys().chain(unreadable.iter().cloned()).collect();
        let listed: Vec<String> = listed.into_iter().collect();
        assert_eq!(host.list().await, listed, "{context}: the listing is of other keys than there are");
        for key in unreadable {
            self.tally.changes_undone += 1;
            host.delete(host.bucket, &key, None).await;
            *self.versions(&key) = BTreeSet::from([None]);
        }
        self.settle_versions(host, context).await;
        self.undoable.stop();
        if self.undoable.is_relaxed() {
            host.abort_uploads().await;
            // Waits until the deletes here are synced, so that the next cut cannot undo them.
            tokio::time::sleep(2 * FLUSH_DELAY).await;
        }
        self.blobs.extend(host.blobs().await.into_keys());
    }

    /// Fails if shards are left of a blob that nothing refers to and that is not garbage. One shard may be: a repair
    /// that the power cut interrupted leaves it.
    pub async fn check_orphans(&self, host: &Host, context: &str) {
        let (known, garbage) = (host.blobs().await, host.garbage().await);
        let mut orphans: BTreeMap<BlobId, usize> = BTreeMap::new();
        for shard in host.shards() {
            let blob = shard.blob;
            if self.blobs.contains(&blob) && !known.contains_key(&blob) && !garbage.contains(&blob) {
                *orphans.entry(blob).or_default() += 1;
            }
        }
        orphans.retain(|_, shards| *shards > 1);
        assert!(orphans.is_empty(), "{context}: shards of blobs that nothing refers to: {orphans:?}");
    }

    async fn settle_versions(&mut self, host: &Host, context: &str) {
        let mut found = host.list_versions(context).await;
        let changed = self.changes.keys().cloned();
        let keys: BTreeSet<String> = self.rows.keys().cloned().chain(changed).collect();
        for key in keys {
            let rows = found.remove(&key).unwrap_or_default();
            let known = self.rows.remove(&key).unwrap_or_default();
            let ids: Vec<VersionId> = rows.iter().map(|row| row.0).collect();
            let of_ids = |rows: &Vec<Row>| rows.iter().map(|row| row.0).eq(ids.iter().copied());
            let undone = self.undoable.rows(&key);
            let is_in_doubt = !undone.is_empty() || self.changes.contains_key(&key);
            let is_unchanged = of_ids(&known);
            let changed: Vec<Row> = match self.changes.remove(&key) {
                Some(Change::Add(content)) if !is_unchanged => {
                    let added = ids.last().map(|&version| (version, content));
                    known.into_iter().chain(added).collect()
                }
                Some(Change::Remove(version)) if !is_unchanged => {
                    known.into_iter().filter(|row| row.0 != version).collect()
                }
                _ => known,
            };
            // A change in doubt makes a new version: if all that is found was there before, it is of an earlier state.
            let expected = match undone.into_iter().find(|rows| of_ids(rows) && !is_unchanged) {
                Some(undone) => {
                    self.tally.changes_undone += 1;
                    undone
                }
                None => changed,
            };
            let known_ids: Vec<VersionId> = expected.iter().map(|row| row.0).collect();
            assert_eq!(ids, known_ids, "{context}: versions of {key}");
            let mut standing = Vec::new();
            for ((version, found), row) in rows.into_iter().zip(expected) {
                match found {
                    Ok(found) => {
                        let is_same = found == row.1.map(content);
                        assert!(is_same, "{context}: version {version:?} of {key}, which is {row:?}");
                        standing.push(row);
                    }
                    Err(_) if self.undoable.is_relaxed() && is_in_doubt => {
                        host.delete(host.versioned, &key, Some(version)).await;
                        self.tally.changes_undone += 1;
                    }
                    Err(error) => panic!("{context}: {version:?} of {key}: {error}"),
                }
            }
            self.rows.insert(key, standing);
        }
        assert!(found.is_empty(), "{context}: versions that nobody wrote: {found:?}");
    }
}
