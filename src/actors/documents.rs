//! The encoding of documents in the metadata: a byte of format version, then JSON. The owner of a document defines its
//! JSON.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The format version of every document that is written, and the only one that can be read.
const FORMAT_VERSION: u8 = 1;

/// The reason why a document cannot be decoded or encoded.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    #[error("a document is empty: its format version is missing")]
    Empty,
    #[error("a document has format version {found}; this release reads only version {FORMAT_VERSION}")]
    UnknownVersion { found: u8 },
    #[error("a document of format version {FORMAT_VERSION} cannot be read: {cause}")]
    Malformed { cause: serde_json::Error },
    #[error("a document cannot be written: {cause}")]
    Unwritable { cause: serde_json::Error },
}

pub fn encode(value: &impl Serialize) -> Result<Bytes, DocumentError> {
    let mut bytes = vec![FORMAT_VERSION];
    serde_json::to_writer(&mut bytes, value).map_err(|cause| DocumentError::Unwritable { cause })?;
    Ok(bytes.into())
}

pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DocumentError> {
    match bytes.split_first() {
        Some((&FORMAT_VERSION, json)) => {
            serde_json::from_slice(json).map_err(|cause| DocumentError::Malformed { cause })
        }
        Some((&found, _)) => Err(DocumentError::UnknownVersion { found }),
        None => Err(DocumentError::Empty),
    }
}

#[cfg(test)]
mod tests {
    use super::{DocumentError, decode, encode};
    use std::collections::BTreeMap;

    #[test]
    fn a_document_reads_back_as_it_was_written() {
        let written = BTreeMap::from([("a".to_owned(), 1u64), ("é\u{1}".to_owned(), u64::MAX)]);
        let bytes = encode(&written).expect("a map of text can be written");
        assert_eq!(bytes.first(), Some(&1));
        assert_eq!(decode::<BTreeMap<String, u64>>(&bytes).expect("it reads back"), written);
    }

    #[test]
    fn an_unknown_format_version_is_reported_as_such() {
        assert!(matches!(decode::<u64>(b"\x027"), Err(DocumentError::UnknownVersion { found: 2 })));
        assert!(matches!(decode::<u64>(b"7"), Err(DocumentError::UnknownVersion { found: b'7' })));
    }

    #[test]
    fn a_cut_or_malformed_document_is_an_error() {
        assert!(matches!(decode::<u64>(b""), Err(DocumentError::Empty)));
        assert!(matches!(decode::<u64>(b"\x01"), Err(DocumentError::Malformed { .. })));
        assert!(matches!(decode::<u64>(b"\x01\"text\""), Err(DocumentError::Malformed { .. })));
        assert!(matches!(decode::<u64>(b"\x017 8"), Err(DocumentError::Malformed { .. })));
    }

    #[test]
    fn encoding_a_value_that_json_cannot_represent_is_an_error() {
        let keys_that_are_no_text = BTreeMap::from([((1, 2), 3)]);
        assert!(matches!(encode(&keys_that_are_no_text), Err(DocumentError::Unwritable { .. })));
    }
}
