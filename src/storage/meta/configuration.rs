//! The version of the configuration (rows of buckets, documents of buckets and identities), which is the log entry that
//! changed it last. A value cached from the configuration stays valid while that entry stays the same.

use super::tables::{BUCKETS, DOCUMENTS, is_configuration};
use crate::storage::kv::{Batch, KvResult};
use std::sync::atomic::{AtomicU64, Ordering};

/// The mark's value while a change of the configuration is being committed.
const MOVING: u64 = u64::MAX;

/// The index of the last entry that may have changed the configuration, plus one. Two views with the same value have
/// the same configuration; the value of a later configuration is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigurationVersion(u64);

/// The present version of the configuration, in tables that a single caller changes.
///
/// The mark is `MOVING` from before a change is visible until it is visible to everybody. If the mark had the same
/// value before and after a view was taken, the view has the configuration of that version; the version of any other
/// view is unknown. Whoever was told that a change was made finds another version.
#[derive(Debug)]
pub struct ConfigurationMark(AtomicU64);

impl ConfigurationMark {
    /// Creates the mark of tables that have applied the entries up to this one.
    pub fn new(applied: Option<u64>) -> Self {
        Self(AtomicU64::new(after(applied)))
    }

    /// Commits a batch whose last entry is `index`, and changes the mark if the batch changes the configuration.
    pub fn commit(&self, batch: Batch, index: u64, commit: impl FnOnce(Batch) -> KvResult<()>) -> KvResult<()> {
        if !changes_configuration(&batch) {
            return commit(batch);
        }
        self.0.store(MOVING, Ordering::SeqCst);
        commit(batch)?;
        self.0.store(after(Some(index)), Ordering::SeqCst);
        Ok(())
    }

    /// Returns the version of the present configuration; `None` while it is being changed.
    pub fn present(&self) -> Option<ConfigurationVersion> {
        self.observe(|| ()).1
    }

    /// Takes a view. Returns it with the version of its configuration, if that is known.
    pub fn observe<T>(&self, take: impl FnOnce() -> T) -> (T, Option<ConfigurationVersion>) {
        let before = self.0.load(Ordering::SeqCst);
        let view = take();
        let stood = before != MOVING && before == self.0.load(Ordering::SeqCst);
        (view, stood.then_some(ConfigurationVersion(before)))
    }
}

fn after(applied: Option<u64>) -> u64 {
    applied.map_or(0, |index| index + 1)
}

fn changes_configuration(batch: &Batch) -> bool {
    let is_part = |key: &[u8], table| table == BUCKETS || (table == DOCUMENTS && is_configuration(key));
    batch.changes.iter().any(|change| is_part(&change.key, change.table))
}

#[cfg(test)]
mod tests {
    use super::{ConfigurationMark, ConfigurationVersion};
    use crate::storage::kv::{Batch, KvError};
    use crate::storage::meta::record::{BucketDocument, DocumentKey, IdentityKind};
    use crate::storage::meta::tables::{BUCKETS, DOCUMENTS, OBJECTS, document_key};
    use crate::types::BucketId;

    fn batch(changes: &[(crate::storage::kv::Table, Vec<u8>)]) -> Batch {
        let mut batch = Batch::default();
        changes.iter().for_each(|(table, key)| batch.put(*table, key.clone(), vec![1]));
        batch
    }

    fn of_bucket(kind: BucketDocument) -> Vec<u8> {
        document_key(&DocumentKey::Bucket(BucketId(7), kind, String::new()))
    }

    #[test]
    fn changes_of_buckets_and_their_and_identities_documents_move_the_version() {
        let moves = |changes: &[(crate::storage::kv::Table, Vec<u8>)]| {
            let mark = ConfigurationMark::new(Some(3));
            mark.commit(batch(changes), 4, |_| Ok(())).expect("it is committed");
            match mark.present() {
                Some(ConfigurationVersion(4)) => false,
                Some(ConfigurationVersion(5)) => true,
                other => panic!("{other:?}"),
            }
        };
        let user = document_key(&DocumentKey::Identity(IdentityKind::User, "a/b".to_owned()));
        let object = (OBJECTS, vec![1, 2]);
        assert!(moves(&[(BUCKETS, b"name".to_vec())]) && moves(&[object.clone(), (DOCUMENTS, user)]));
        assert!(moves(&[(DOCUMENTS, of_bucket(BucketDocument::Access))]));
        assert!(!moves(&[object]) && !moves(&[(DOCUMENTS, of_bucket(BucketDocument::Renames))]));
        assert!(!moves(&[(DOCUMENTS, document_key(&DocumentKey::System("progress".to_owned())))]));
    }

    #[test]
    fn a_view_taken_during_a_change_has_no_known_version() {
        let mark = ConfigurationMark::new(None);
        let change = || batch(&[(BUCKETS, b"name".to_vec())]);
        assert_eq!(mark.present(), Some(ConfigurationVersion(0)));
        let during = |_| {
            assert_eq!(mark.present(), None);
            Ok(())
        };
        mark.commit(change(), 0, during).expect("it is committed");
        assert_eq!(mark.present(), Some(ConfigurationVersion(1)));
        let ((), seen) = mark.observe(|| mark.commit(change(), 1, |_| Ok(())).expect("it is committed"));
        assert_eq!((seen, mark.present()), (None, Some(ConfigurationVersion(2))));
    }

    #[test]
    fn the_version_is_unknown_after_a_failed_change() {
        let mark = ConfigurationMark::new(None);
        let failed = |_| Err(KvError::new("commit", "a full drive"));
        mark.commit(batch(&[(BUCKETS, b"name".to_vec())]), 0, failed).expect_err("it failed");
        assert_eq!(mark.present(), None);
    }
}
