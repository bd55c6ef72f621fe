//! The recent renames of a bucket, for clients that repeat a rename because they missed the answer. They are a hash
//! table of fixed size among the bucket's documents. Each document holds a few entries, the newest last; an entry that
//! is added to a full document replaces the oldest.
//!
//! ```text
//! entry: the token's id u128, hash of the request u128                    (both big-endian)
//! ```

use super::command::RenameToken;
use super::record::{BucketDocument, DocumentKey};
use crate::types::BucketId;
use bytes::{BufMut, Bytes, BytesMut};

/// The greatest number of such documents of a bucket.
const PLACES: u128 = 4096;
const ENTRIES_MAX: usize = 8;
const ENTRY_BYTES: usize = 32;

/// Returns the key of the document in which a rename is remembered.
pub(super) fn place(bucket: BucketId, token: RenameToken) -> DocumentKey {
    DocumentKey::Bucket(bucket, BucketDocument::Renames, format!("{:03x}", token.id % PLACES))
}

/// Returns the hash of the request that came with the token of this id, if the document remembers it.
pub(super) fn asked(document: &[u8], id: u128) -> Option<u128> {
    let number = |bytes: &[u8]| bytes.first_chunk::<16>().map(|bytes| u128::from_be_bytes(*bytes));
    document.chunks_exact(ENTRY_BYTES).find(|entry| number(entry) == Some(id)).and_then(|entry| number(&entry[16..]))
}

/// Returns the document with one more entry, and without the oldest if it was full.
pub(super) fn remember(document: &[u8], token: RenameToken) -> Bytes {
    let forgotten = (document.len() / ENTRY_BYTES).saturating_sub(ENTRIES_MAX - 1) * ENTRY_BYTES;
    let mut entries = BytesMut::with_capacity(ENTRIES_MAX * ENTRY_BYTES);
    entries.put_slice(&document[forgotten..]);
    entries.put_u128(token.id);
    entries.put_u128(token.asked);
    entries.freeze()
}

#[cfg(test)]
mod tests {
    use super::{ENTRIES_MAX, asked, place, remember};
    use crate::storage::meta::command::RenameToken;
    use crate::types::BucketId;
    use bytes::Bytes;

    #[test]
    fn a_document_remembers_the_newest_renames_with_their_requests() {
        let mut document = Bytes::new();
        for id in 1..=20 {
            document = remember(&document, RenameToken { id, asked: id * 100 });
        }
        let known: Vec<u128> = (1..=20).filter(|id| asked(&document, *id) == Some(id * 100)).collect();
        assert_eq!(known, (21 - ENTRIES_MAX as u128..=20).collect::<Vec<_>>());
        assert_eq!((asked(&document, 21), asked(&[], 1), asked(&document[..40], 13)), (None, None, Some(1300)));
    }

    #[test]
    fn a_token_has_one_document_in_each_bucket() {
        let token = |id, asked| RenameToken { id, asked };
        assert_eq!(place(BucketId(1), token(7, 1)), place(BucketId(1), token(7, 2)));
        assert_eq!(place(BucketId(1), token(7, 1)), place(BucketId(1), token(7 + 4096, 1)));
        assert_ne!(place(BucketId(1), token(7, 1)), place(BucketId(2), token(7, 1)));
        assert_ne!(place(BucketId(1), token(7, 1)), place(BucketId(1), token(8, 1)));
    }
}
