//! The log entry that the configuration (rows of buckets, documents of buckets and identities) is as of. A cached value
//! made of these stays valid while that entry stays the same.

use super::tables::{BUCKETS, DOCUMENTS, is_configuration};
use crate::storage::kv::{Batch, KvResult};
use std::sync::atomic::{AtomicU64, Ordering};

/// The value while a change of the configuration is being committed.
const MOVING: u64 = u64::MAX;

/// The last entry that may have changed the configuration (plus one). Where two views have the same, all that they have of
/// the configuration is the same; a later one has the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigurationAt(u64);

/// The configuration's entry in tables that one caller changes.
///
/// It is `MOVING` from before a change can be seen until nobody can miss it any more. A view that was taken while it stood
/// at one entry is of that entry; of any other view it is not known. Who was answered that a change was made finds it moved.
#[derive(Debug)]
pub struct ConfigurationMark(AtomicU64);

impl ConfigurationMark {
    /// Returns the position of tables that have applied this entry.
    pub fn new(applied: Option<u64>) -> Self {
        Self(AtomicU64::new(after(applied)))
    }

    /// Commits a batch that ends with this entry.
    pub fn commit(&self, batch: Batch, index: u64, commit: impl FnOnce(Batch) -> KvResult<()>) -> KvResult<()> {
        if !changes_configuration(&batch) {
            return commit(batch);
        }
        self.0.store(MOVING, Ordering::SeqCst);
        commit(batch)?;
        self.0.store(after(Some(index)), Ordering::SeqCst);
        Ok(())
    }

    /// The entry that the present configuration is as of; `None` while it is being changed.
    pub fn present(&self) -> Option<ConfigurationAt> {
        self.observe(|| ()).1
    }

    /// Takes a view; the entry that its configuration is as of, where that is known.
    pub fn observe<T>(&self, take: impl FnOnce() -> T) -> (T, Option<ConfigurationAt>) {
        let before = self.0.load(Ordering::SeqCst);
        let view = take();
        let stood = before != MOVING && before == self.0.load(Ordering::SeqCst);
        (view, stood.then_some(ConfigurationAt(before)))
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
    use super::{ConfigurationAt, ConfigurationMark};
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
    fn changes_of_buckets_and_of_the_documents_of_buckets_and_identities_move_it() {
        let moves = |changes: &[(crate::storage::kv::Table, Vec<u8>)]| {
            let mark = ConfigurationMark::new(Some(3));
            mark.commit(batch(changes), 4, |_| Ok(())).expect("it is committed");
            match mark.present() {
                Some(ConfigurationAt(4)) => false,
                Some(ConfigurationAt(5)) => true,
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
    fn a_view_that_was_taken_during_a_change_is_of_no_entry() {
        let mark = ConfigurationMark::new(None);
        let change = || batch(&[(BUCKETS, b"name".to_vec())]);
        assert_eq!(mark.present(), Some(ConfigurationAt(0)));
        let during = |_| {
            assert_eq!(mark.present(), None);
            Ok(())
        };
        mark.commit(change(), 0, during).expect("it is committed");
        assert_eq!(mark.present(), Some(ConfigurationAt(1)));
        let ((), seen) = mark.observe(|| mark.commit(change(), 1, |_| Ok(())).expect("it is committed"));
        assert_eq!((seen, mark.present()), (None, Some(ConfigurationAt(2))));
    }

    #[test]
    fn a_change_that_failed_may_yet_be_there() {
        let mark = ConfigurationMark::new(None);
        let failed = |_| Err(KvError { doing: "commit", cause: "a full drive".to_owned() });
        mark.commit(batch(&[(BUCKETS, b"name".to_vec())]), 0, failed).expect_err("it failed");
        assert_eq!(mark.present(), None);
    }
}
