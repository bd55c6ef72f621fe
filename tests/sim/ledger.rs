//! What may be found: under each key the version last acknowledged, and those that were tried since.

use super::world::Host;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// A version of a key; each has content of its own. `None` is absence.
pub type Version = Option<u64>;

#[derive(Clone, Debug, Default)]
pub struct Ledger {
    may_be: BTreeMap<String, BTreeSet<Version>>,
    pub tally: Tally,
}

/// What happened, so that a simulation in which nothing does is noticed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub acknowledged: u64,
    pub rounds_cut_short: u64,
    pub segments_released: u64,
    pub shards_reclaimed: u64,
    pub shards_repaired: u64,
}

impl Tally {
    pub fn add(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.rounds_cut_short += other.rounds_cut_short;
        self.segments_released += other.segments_released;
        self.shards_reclaimed += other.shards_reclaimed;
        self.shards_repaired += other.shards_repaired;
    }
}

/// The content of a version: some ride in the metadata, some are cut into stripes.
pub fn content(version: u64) -> Bytes {
    let lengths = [0, 10, 3_000, 16_384, 16_385, 70_000, 250_000];
    let length = lengths[(version % lengths.len() as u64) as usize];
    (0..length).map(|at: u64| (at.wrapping_mul(31) ^ version.wrapping_mul(0x9e37_79b9) >> (at % 24)) as u8).collect()
}

impl Ledger {
    pub fn versions(&mut self, key: &str) -> &mut BTreeSet<Version> {
        self.may_be.entry(key.to_owned()).or_insert_with(|| BTreeSet::from([None]))
    }

    /// The change may happen from now on.
    pub fn attempt(&mut self, key: &str, version: Version) {
        self.versions(key).insert(version);
    }

    /// The change has happened.
    pub fn acknowledge(&mut self, key: &str, version: Version) {
        self.tally.acknowledged += 1;
        *self.versions(key) = BTreeSet::from([version]);
    }

    /// The change has not happened and never will.
    pub fn refuse(&mut self, key: &str, version: Version) {
        self.versions(key).remove(&version);
    }

    /// Fails unless what is found is one of those that may be there.
    pub fn check(&self, key: &str, found: Option<&Bytes>, context: &str) -> Version {
        let none = BTreeSet::from([None]);
        let may_be = self.may_be.get(key).unwrap_or(&none);
        let is = |version: &Version| version.map(content).as_ref() == found;
        let length = found.map(Bytes::len);
        may_be.iter().copied().find(is).unwrap_or_else(|| {
            panic!("{context}: {key} is none of {may_be:?}: {length:?} bytes");
        })
    }

    /// Reads every key, compares the listing with what was read, and holds the store to what was found.
    pub async fn settle(&mut self, host: &Host, context: &str) {
        let keys: Vec<String> = self.may_be.keys().cloned().collect();
        let mut there = Vec::new();
        for key in keys {
            let found = host.get(&key).await.unwrap_or_else(|error| panic!("{context}: {key}: {error}"));
            let version = self.check(&key, found.as_ref(), context);
            *self.versions(&key) = BTreeSet::from([version]);
            if version.is_some() {
                there.push(key);
            }
        }
        assert_eq!(host.list().await, there, "{context}: the listing is of other keys than there are");
    }
}
