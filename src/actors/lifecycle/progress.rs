//! The stored position of the lifecycle sweep, a document from which the next leader continues.

use crate::actors::documents::{self, DocumentError};
use crate::storage::meta::record::{DocumentKey, DocumentRow, DocumentWrite, Expect};
use crate::types::UnixMs;
use serde::{Deserialize, Serialize};

const NAME: &str = "lifecycle";

/// The start and the position of the last sweep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    pub began: UnixMs,
    /// `None` when the sweep has ended.
    pub at: Option<Place>,
}

/// The position at which to continue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub bucket: String,
    pub phase: Phase,
    /// All keys up to and including this one are done.
    pub after: Option<String>,
}

/// The part of a bucket that is swept: first the versions, then the uploads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    #[default]
    Versions,
    Uploads,
}

impl Progress {
    pub fn key() -> DocumentKey {
        DocumentKey::System(NAME.to_owned())
    }

    /// Decodes the document. `None` if it does not exist or this release cannot decode it.
    pub fn of(row: Option<&DocumentRow>) -> Option<Self> {
        let read = documents::decode(&row?.value);
        read.inspect_err(
            |error| tracing::warn!(%error, "cannot decode the position of the lifecycle sweep; a new sweep begins"),
        )
        .ok()
    }

    pub fn write(&self) -> Result<DocumentWrite, DocumentError> {
        Ok(DocumentWrite { key: Self::key(), expect: Expect::Any, value: Some(documents::encode(self)?) })
    }
}

#[cfg(test)]
mod tests {
    use super::{Phase, Place, Progress};
    use crate::storage::meta::record::DocumentRow;
    use crate::types::UnixMs;

    #[test]
    fn the_encoding_of_the_sweep_position_does_not_change() {
        let place = Place { bucket: "b".to_owned(), phase: Phase::Uploads, after: Some("k".to_owned()) };
        let progress = Progress { began: UnixMs(7), at: Some(place) };
        let value = progress.write().expect("text and numbers").value.expect("it is written");
        let stored = b"\x01{\"began\":7,\"at\":{\"bucket\":\"b\",\"phase\":\"Uploads\",\"after\":\"k\"}}";
        assert_eq!(value, &stored[..]);
        assert_eq!(Progress::of(Some(&DocumentRow { revision: 1, value })), Some(progress));
    }

    #[test]
    fn an_undecodable_sweep_position_counts_as_absent() {
        assert_eq!(Progress::of(None), None);
        let row = DocumentRow { revision: 1, value: b"\x02{}".as_slice().into() };
        assert_eq!(Progress::of(Some(&row)), None);
    }
}
