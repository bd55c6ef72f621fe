//! How far a sweep has come, as the metadata keeps it: whoever leads next goes on from there.

use crate::actors::documents::{self, DocumentError};
use crate::storage::meta::record::{DocumentKey, DocumentRow, DocumentWrite, Expect};
use crate::types::UnixMs;
use serde::{Deserialize, Serialize};

const NAME: &str = "lifecycle";

/// The last sweep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    pub began: UnixMs,
    /// `None` when it has come to its end.
    pub at: Option<Place>,
}

/// Where to go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub bucket: String,
    pub phase: Phase,
    /// Keys through this one are done.
    pub after: Option<String>,
}

/// A bucket's versions come first, then its uploads.
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

    /// `None` if no sweep was recorded, or its format is not one that this release can resume.
    pub fn of(row: Option<&DocumentRow>) -> Option<Self> {
        let read = documents::decode(&row?.value);
        read.inspect_err(|error| tracing::warn!(%error, "lifecycle begins anew: how far it was cannot be read")).ok()
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
    fn the_stored_form_stands() {
        let place = Place { bucket: "b".to_owned(), phase: Phase::Uploads, after: Some("k".to_owned()) };
        let progress = Progress { began: UnixMs(7), at: Some(place) };
        let value = progress.write().expect("text and numbers").value.expect("it is written");
        let stored = b"\x01{\"began\":7,\"at\":{\"bucket\":\"b\",\"phase\":\"Uploads\",\"after\":\"k\"}}";
        assert_eq!(value, &stored[..]);
        assert_eq!(Progress::of(Some(&DocumentRow { revision: 1, value })), Some(progress));
    }

    #[test]
    fn what_cannot_be_read_is_as_good_as_nothing() {
        assert_eq!(Progress::of(None), None);
        let row = DocumentRow { revision: 1, value: b"\x02{}".as_slice().into() };
        assert_eq!(Progress::of(Some(&row)), None);
    }
}
