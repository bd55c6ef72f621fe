//! Listings with prefix and delimiter, in the byte order of keys. A common prefix costs one seek past all that it hides,
//! so that a page costs by what it shows.

use super::codec::{self, Record};
use super::record::{Manifest, UploadRecord};
use super::tables::{
    OBJECTS, UPLOADS, bucket_prefix, object_key, split_upload_key, upload_key, upload_key_prefix, upload_prefix,
};
use super::view::{ListPage, ListQuery, Listed};
use crate::storage::kv::{KvError, KvRead, KvResult, Table, prefix_end};
use crate::types::{BucketId, UploadId};
use std::ops::Bound;

/// How a table's keys hold the keys that are listed.
pub(super) trait Layout {
    type Row: Record;
    const TABLE: Table;
    /// What the rows of all keys with this prefix begin with.
    fn prefix(bucket: BucketId, key_prefix: &str) -> Vec<u8>;
    /// The listed key of a row.
    fn key_of(row_key: &[u8]) -> Option<String>;
}

pub(super) enum Objects {}

impl Layout for Objects {
    type Row = Manifest;
    const TABLE: Table = OBJECTS;

    fn prefix(bucket: BucketId, key_prefix: &str) -> Vec<u8> {
        object_key(bucket, key_prefix)
    }

    fn key_of(row_key: &[u8]) -> Option<String> {
        String::from_utf8(row_key.get(bucket_prefix(BucketId(0)).len()..)?.to_vec()).ok()
    }
}

pub(super) enum Uploads {}

impl Layout for Uploads {
    type Row = UploadRecord;
    const TABLE: Table = UPLOADS;

    fn prefix(bucket: BucketId, key_prefix: &str) -> Vec<u8> {
        upload_prefix(bucket, key_prefix)
    }

    fn key_of(row_key: &[u8]) -> Option<String> {
        Some(split_upload_key(row_key)?.0)
    }
}

/// Rows after which the listing begins: past `after`, of every kind.
pub(super) fn after_object(bucket: BucketId, after: &str) -> Bound<Vec<u8>> {
    Bound::Excluded(object_key(bucket, after))
}

/// S3's markers: with an upload, the later uploads of the same key too; without, only greater keys.
pub(super) fn after_upload(bucket: BucketId, after: &str, upload: Option<UploadId>) -> Bound<Vec<u8>> {
    match upload {
        Some(upload) => Bound::Excluded(upload_key(bucket, after, upload)),
        None => past(&upload_key_prefix(bucket, after)),
    }
}

/// Past every row that begins with this. A bucket's number begins it, and is never all ones.
fn past(prefix: &[u8]) -> Bound<Vec<u8>> {
    prefix_end(prefix).map_or(Bound::Excluded(prefix.to_vec()), Bound::Included)
}

/// One page, from `start` on (or from the prefix on, where that is later).
pub(super) fn page<L: Layout>(
    kv: &dyn KvRead,
    bucket: BucketId,
    query: &ListQuery,
    start: Option<Bound<Vec<u8>>>,
) -> KvResult<ListPage<L::Row>> {
    let mut page = ListPage { entries: Vec::new(), more: false, next_after: None };
    if query.limit == 0 {
        return Ok(page);
    }
    let prefix = L::prefix(bucket, &query.prefix);
    let end = prefix_end(&prefix);
    let to = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    let mut from = later(Bound::Included(prefix), start);
    loop {
        let mut seek = None;
        for pair in kv.range(L::TABLE, from.as_ref().map(Vec::as_slice), to) {
            let (row_key, row) = pair?;
            let malformed = || KvError { doing: "read a listed key", cause: format!("malformed: {row_key:02x?}") };
            let key = L::key_of(&row_key).ok_or_else(malformed)?;
            let common = common_prefix(&key, query);
            let hidden = common.is_some_and(|common| query.after.as_deref().is_some_and(|after| common <= after));
            if !hidden && page.entries.len() == query.limit {
                page.more = true;
                page.next_after = page.entries.last().map(|entry| entry.key().to_owned());
                return Ok(page);
            }
            match common {
                Some(common) => {
                    seek = Some(past(&L::prefix(bucket, common)));
                    if !hidden {
                        page.entries.push(Listed::CommonPrefix(common.to_owned()));
                    }
                    break;
                }
                None => page.entries.push(Listed::Item { key, record: codec::decode(&row)? }),
            }
        }
        match seek {
            Some(next) => from = next,
            None => return Ok(page),
        }
    }
}

/// The key up to and with the first delimiter after the prefix.
fn common_prefix<'a>(key: &'a str, query: &ListQuery) -> Option<&'a str> {
    let delimiter = query.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty())?;
    let rest = key.get(query.prefix.len()..)?;
    key.get(..query.prefix.len() + rest.find(delimiter)? + delimiter.len())
}

/// Of two lower bounds the one that lets less through.
fn later(a: Bound<Vec<u8>>, b: Option<Bound<Vec<u8>>>) -> Bound<Vec<u8>> {
    fn rank(bound: &Bound<Vec<u8>>) -> Option<(&[u8], bool)> {
        match bound {
            Bound::Included(key) => Some((key, false)),
            Bound::Excluded(key) => Some((key, true)),
            Bound::Unbounded => None,
        }
    }
    match b {
        Some(b) if rank(&b) > rank(&a) => b,
        _ => a,
    }
}
