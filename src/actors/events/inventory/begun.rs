//! `Begun`: the start times of the last complete reports of all inventories, one document of the metadata, so that a
//! new leader does not repeat a report too early.

use crate::actors::documents::{self, DocumentError};
use crate::storage::meta::record::{DocumentKey, DocumentRow, DocumentWrite, Expect};
use crate::types::{BucketId, UnixMs};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

const NAME: &str = "inventories";

/// The start of each inventory's last complete report, by `name_of`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    last: BTreeMap<String, UnixMs>,
}

/// Returns the key of an inventory in `Begun`. It has the bucket's number instead of its name, so that a recreated
/// bucket does not count as the former one.
pub fn name_of(bucket: BucketId, id: &str) -> String {
    format!("{}/{id}", bucket.0)
}

impl Begun {
    pub fn key() -> DocumentKey {
        DocumentKey::System(NAME.to_owned())
    }

    /// Decodes the document. Empty if there is none or this release cannot decode it; then all inventories are due.
    pub fn of(row: Option<&DocumentRow>) -> Self {
        let Some(row) = row else { return Self::default() };
        documents::decode(&row.value).unwrap_or_else(|error| {
            tracing::warn!(%error, "the record of when inventories last ran cannot be read: all of them are due now");
            Self::default()
        })
    }

    pub fn write(&self) -> Result<DocumentWrite, DocumentError> {
        Ok(DocumentWrite { key: Self::key(), expect: Expect::Any, value: Some(documents::encode(self)?) })
    }

    pub fn last(&self, name: &str) -> Option<UnixMs> {
        self.last.get(name).copied()
    }

    pub fn note(&mut self, name: String, begun: UnixMs) {
        self.last.insert(name, begun);
    }

    /// Forgets inventories that do not exist any more. Returns whether there were any.
    pub fn keep(&mut self, there: &BTreeSet<String>) -> bool {
        let before = self.last.len();
        self.last.retain(|name, _| there.contains(name));
        self.last.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::{Begun, name_of};
    use crate::storage::meta::record::DocumentRow;
    use crate::types::{BucketId, UnixMs};
    use std::collections::BTreeSet;

    #[test]
    fn the_encoding_of_inventory_start_times_is_stable() {
        let mut begun = Begun::default();
        begun.note(name_of(BucketId(3), "daily"), UnixMs(7));
        let value = begun.write().expect("text and numbers").value.expect("it is written");
        assert_eq!(value, &b"\x01{\"last\":{\"3/daily\":7}}"[..]);
        assert_eq!(Begun::of(Some(&DocumentRow { revision: 1, value })), begun);
        assert_eq!(Begun::of(None), Begun::default());
    }

    #[test]
    fn start_times_of_deleted_inventories_are_forgotten() {
        let mut begun = Begun::default();
        begun.note("3/a".to_owned(), UnixMs(7));
        begun.note("3/b".to_owned(), UnixMs(8));
        assert!(begun.keep(&BTreeSet::from(["3/b".to_owned()])));
        assert_eq!((begun.last("3/a"), begun.last("3/b")), (None, Some(UnixMs(8))));
        assert!(!begun.keep(&BTreeSet::from(["3/b".to_owned()])));
    }
}
