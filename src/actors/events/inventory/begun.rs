//! `Begun`: the start times of the last complete reports of a bucket's inventories, so that a new leader does not
//! repeat a report too early. Each bucket with inventories has one such document of the metadata.

use crate::actors::documents::{self, DocumentError};
use crate::storage::meta::record::{DocumentKey, DocumentRow, DocumentWrite, Expect};
use crate::types::{BucketId, UnixMs};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The begin of the documents' names. The bucket's number follows instead of its name, so that a recreated bucket does
/// not count as the former one.
pub const NAMES: &str = "inventories/";

/// The start of the last complete report of each inventory of a bucket, by id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    last: BTreeMap<String, UnixMs>,
}

/// Returns the bucket of the document with this name.
pub fn bucket_of(name: &str) -> Option<BucketId> {
    name.strip_prefix(NAMES)?.parse().ok().map(BucketId)
}

impl Begun {
    pub fn key(bucket: BucketId) -> DocumentKey {
        DocumentKey::System(format!("{NAMES}{}", bucket.0))
    }

    /// Decodes the document. Empty if there is none or this release cannot decode it; then all inventories of the
    /// bucket are due.
    pub fn of(row: Option<&DocumentRow>) -> Self {
        let Some(row) = row else { return Self::default() };
        documents::decode(&row.value).unwrap_or_else(|error| {
            tracing::warn!(
                %error,
                "the record of when inventories of a bucket last ran cannot be read: all of them are due now"
            );
            Self::default()
        })
    }

    /// Returns the write of the document, which removes it if it is empty.
    pub fn write(&self, bucket: BucketId) -> Result<DocumentWrite, DocumentError> {
        let value = (!self.last.is_empty()).then(|| documents::encode(self)).transpose()?;
        Ok(DocumentWrite { key: Self::key(bucket), expect: Expect::Any, value })
    }

    pub fn last(&self, id: &str) -> Option<UnixMs> {
        self.last.get(id).copied()
    }

    pub fn note(&mut self, id: String, begun: UnixMs) {
        self.last.insert(id, begun);
    }

    /// Forgets inventories that do not exist any more. Returns whether there were any.
    pub fn keep(&mut self, there: &BTreeSet<String>) -> bool {
        let before = self.last.len();
        self.last.retain(|id, _| there.contains(id));
        self.last.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::{Begun, bucket_of};
    use crate::limits::{CONFIGURATIONS_OF_A_KIND_MAX, LARGE_DOCUMENT_BYTES_MAX};
    use crate::storage::meta::record::{DocumentKey, DocumentRow};
    use crate::types::{BucketId, UnixMs};
    use std::collections::BTreeSet;

    #[test]
    fn the_encoding_of_inventory_start_times_is_stable() {
        let mut begun = Begun::default();
        begun.note("daily".to_owned(), UnixMs(7));
        let write = begun.write(BucketId(3)).expect("text and numbers");
        assert_eq!(write.key, DocumentKey::System("inventories/3".to_owned()));
        let value = write.value.expect("it is written");
        assert_eq!(value, &b"\x01{\"last\":{\"daily\":7}}"[..]);
        assert_eq!(Begun::of(Some(&DocumentRow { revision: 1, value })), begun);
        assert_eq!(Begun::of(None), Begun::default());
        assert_eq!(Begun::default().write(BucketId(3)).expect("no text").value, None, "an empty document is removed");
    }

    #[test]
    fn a_document_of_start_times_names_its_bucket() {
        let DocumentKey::System(name) = Begun::key(BucketId(u64::MAX)) else { panic!("a document of the store") };
        assert_eq!(bucket_of(&name), Some(BucketId(u64::MAX)));
        assert_eq!((bucket_of("inventories"), bucket_of("inventories/x")), (None, None));
    }

    #[test]
    fn start_times_of_deleted_inventories_are_forgotten() {
        let mut begun = Begun::default();
        begun.note("a".to_owned(), UnixMs(7));
        begun.note("b".to_owned(), UnixMs(8));
        assert!(begun.keep(&BTreeSet::from(["b".to_owned()])));
        assert_eq!((begun.last("a"), begun.last("b")), (None, Some(UnixMs(8))));
        assert!(!begun.keep(&BTreeSet::from(["b".to_owned()])));
    }

    #[test]
    fn the_start_times_of_as_many_inventories_as_a_bucket_can_have_fit_into_its_document() {
        let mut begun = Begun::default();
        for number in 0..CONFIGURATIONS_OF_A_KIND_MAX {
            begun.note(format!("{number:064}"), UnixMs(u64::MAX));
        }
        let value = begun.write(BucketId(3)).expect("text and numbers").value.expect("it is written");
        assert!(value.len() < LARGE_DOCUMENT_BYTES_MAX / 2, "{} bytes", value.len());
    }
}
