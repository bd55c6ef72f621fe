//! The start of each inventory's last whole report, as the metadata keeps it, so that the next leader begins none too
//! early.

use crate::actors::documents::{self, DocumentError};
use crate::storage::meta::record::{DocumentKey, DocumentRow, DocumentWrite, Expect};
use crate::types::{BucketId, UnixMs};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

const NAME: &str = "inventories";

/// The starts, by the bucket's number and the inventory's id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    last: BTreeMap<String, UnixMs>,
}

/// Returns the name of an inventory: includes the bucket's number, since a bucket that is made again under its name is
/// another.
pub fn name_of(bucket: BucketId, id: &str) -> String {
    format!("{}/{id}", bucket.0)
}

impl Begun {
    pub fn key() -> DocumentKey {
        DocumentKey::System(NAME.to_owned())
    }

    /// Parses the document; empty if there is none, or none that this release can read: then all are due.
    pub fn of(row: Option<&DocumentRow>) -> Self {
        let Some(row) = row else { return Self::default() };
        documents::decode(&row.value).unwrap_or_else(|error| {
            tracing::warn!(%error, "the record of when inventories last ran cannot be read; all of them start again");
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

    /// Forgets those that are no more; whether there were any.
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
    fn the_stored_form_does_not_change() {
        let mut begun = Begun::default();
        begun.note(name_of(BucketId(3), "daily"), UnixMs(7));
        let value = begun.write().expect("text and numbers").value.expect("it is written");
        assert_eq!(value, &b"\x01{\"last\":{\"3/daily\":7}}"[..]);
        assert_eq!(Begun::of(Some(&DocumentRow { revision: 1, value })), begun);
        assert_eq!(Begun::of(None), Begun::default());
    }

    #[test]
    fn inventories_that_are_gone_are_forgotten() {
        let mut begun = Begun::default();
        begun.note("3/a".to_owned(), UnixMs(7));
        begun.note("3/b".to_owned(), UnixMs(8));
        assert!(begun.keep(&BTreeSet::from(["3/b".to_owned()])));
        assert_eq!((begun.last("3/a"), begun.last("3/b")), (None, Some(UnixMs(8))));
        assert!(!begun.keep(&BTreeSet::from(["3/b".to_owned()])));
    }
}
