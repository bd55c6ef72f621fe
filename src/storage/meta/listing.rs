//! Listings with prefix and delimiter, in the byte order of keys. A common prefix costs one seek past all keys that it
//! stands for, so that the cost of a page depends on what it shows.

use super::codec::{self, Record};
use super::record::{ObjectVersion, UploadRow, Version, VersionRow};
use super::tables::{
    OBJECTS, UPLOADS, VERSIONS, bucket_prefix, object_key, split_upload_key, upload_key, upload_key_prefix,
    upload_prefix, version_key,
};
use crate::defects::{Defect, has};
use crate::storage::kv::{KvError, KvRead, KvResult, PairIter, Table, prefix_end};
use crate::types::{BucketId, UploadId};
use bytes::Bytes;
use std::ops::Bound;

/// The selection and start of a listing.
#[derive(Clone, Debug, Default)]
pub struct ListQuery {
    pub prefix: String,
    /// The delimiter: any non-empty string.
    pub delimiter: Option<String>,
    /// The key or common prefix after which the listing begins, in byte order. A common prefix that is not after it is
    /// skipped whole, even if it stands for later keys.
    pub after: Option<String>,
    /// The greatest number of entries, keys and common prefixes together. With 0 the page is empty and reports that
    /// nothing follows.
    pub limit: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed<T> {
    Item { key: String, record: T },
    CommonPrefix(String),
}

impl<T> Listed<T> {
    /// Returns the sort key: the object's key, or the common prefix.
    pub fn key(&self) -> &str {
        match self {
            Self::Item { key, .. } | Self::CommonPrefix(key) => key,
        }
    }
}

#[derive(Clone, Debug)]
pub struct ListPage<T> {
    pub entries: Vec<Listed<T>>,
    /// True if entries follow; then `next_after` continues (the last key, or the last common prefix, which is then
    /// skipped whole).
    pub more: bool,
    pub next_after: Option<String>,
}

/// A page of versions, in order of key and, within a key, newest first.
#[derive(Clone, Debug)]
pub struct VersionsPage<T = VersionRow> {
    pub entries: Vec<Listed<ListedVersion<T>>>,
    /// True if entries follow; then `next_after` continues, with `next_version` if the last entry is a version.
    pub more: bool,
    pub next_after: Option<String>,
    pub next_version: Option<Version>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedVersion<T = VersionRow> {
    /// The version, or what the lister keeps of it.
    pub row: T,
    /// True for the newest version of its key.
    pub latest: bool,
}

/// The layout of a table's keys for listings.
pub(super) trait Layout {
    type Row: Record;
    const TABLE: Table;
    /// Returns the prefix that the rows of all keys with this prefix share.
    fn prefix(bucket: BucketId, key_prefix: &str) -> Vec<u8>;
    /// Returns the object's key that a row's key contains.
    fn key_of(row_key: &[u8]) -> Option<String>;
}

pub(super) enum Objects {}

impl Layout for Objects {
    type Row = ObjectVersion;
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
    type Row = UploadRow;
    const TABLE: Table = UPLOADS;

    fn prefix(bucket: BucketId, key_prefix: &str) -> Vec<u8> {
        upload_prefix(bucket, key_prefix)
    }

    fn key_of(row_key: &[u8]) -> Option<String> {
        Some(split_upload_key(row_key)?.0)
    }
}

/// Returns the lower bound of a listing of objects after this key.
pub(super) fn after_object(bucket: BucketId, after: &str) -> Bound<Vec<u8>> {
    Bound::Excluded(object_key(bucket, after))
}

/// Returns the lower bound of a listing of uploads after S3's markers. With an upload id, later uploads of the same key
/// follow; without one, only greater keys.
pub(super) fn after_upload(bucket: BucketId, after: &str, upload: Option<UploadId>) -> Bound<Vec<u8>> {
    match upload {
        Some(upload) => Bound::Excluded(upload_key(bucket, after, upload)),
        None => past(&upload_key_prefix(bucket, after)),
    }
}

/// Returns the lower bound past every row whose key has this prefix. The prefix begins with a bucket's number, which is
/// never all ones.
fn past(prefix: &[u8]) -> Bound<Vec<u8>> {
    prefix_end(prefix).map_or(Bound::Excluded(prefix.to_vec()), Bound::Included)
}

/// Returns one page, from `start` on (or from the prefix on, if that is later). Of each row it holds what `kept`
/// returns: a row may be large, and a page has many.
pub(super) fn page<L: Layout, T>(
    kv: &dyn KvRead,
    bucket: BucketId,
    query: &ListQuery,
    start: Option<Bound<Vec<u8>>>,
    mut kept: impl FnMut(L::Row) -> T,
) -> KvResult<ListPage<T>> {
    let mut page = ListPage { entries: Vec::new(), more: false, next_after: None };
    if query.limit == 0 {
        return Ok(page);
    }
    let prefix = L::prefix(bucket, &query.prefix);
    let end = prefix_end(&prefix);
    let to = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    let mut skipped = start.is_none() || !has(Defect::ListingSkipsKey);
    let mut from = later(Bound::Included(prefix), start);
    loop {
        let mut seek = None;
        for pair in kv.range(L::TABLE, from.as_ref().map(Vec::as_slice), to) {
            let (row_key, row) = pair?;
            if !std::mem::replace(&mut skipped, true) {
                continue;
            }
            let malformed = || KvError::new("read a listed key", format!("malformed: {row_key:02x?}"));
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
                None => page.entries.push(Listed::Item { key, record: kept(codec::decode(&row)?) }),
            }
        }
        match seek {
            Some(next) => from = next,
            None => return Ok(page),
        }
    }
}

/// Returns one page of versions: current objects and all others, merged by key. Of each row it holds what `kept`
/// returns.
pub(super) fn versions_page<T>(
    kv: &dyn KvRead,
    bucket: BucketId,
    query: &ListQuery,
    after_version: Option<Version>,
    mut kept: impl FnMut(VersionRow) -> T,
) -> KvResult<VersionsPage<T>> {
    let mut page = VersionsPage { entries: Vec::new(), more: false, next_after: None, next_version: None };
    if query.limit == 0 {
        return Ok(page);
    }
    let (mut merge, has_latest) = VersionsMerge::new(kv, bucket, query, after_version)?;
    // The key whose latest version was already listed: its other versions are not the latest. If the page continues
    // within a key, the latest was on an earlier page, unless what came before the marker was deleted since.
    let mut seen = query.after.clone().filter(|_| after_version.is_some() && !has_latest);
    while let Some((key, row)) = merge.next()? {
        let common = common_prefix(&key, query).map(str::to_owned);
        let hidden = common.as_ref().is_some_and(|common| query.after.as_ref().is_some_and(|after| common <= after));
        if !hidden && page.entries.len() == query.limit {
            page.more = true;
            return Ok(page);
        }
        match common {
            Some(common) => {
                merge.skip_past(&common);
                if !hidden {
                    (page.next_after, page.next_version) = (Some(common.clone()), None);
                    page.entries.push(Listed::CommonPrefix(common));
                }
            }
            None => {
                let latest = seen.as_deref() != Some(&key);
                seen = Some(key.clone());
                (page.next_after, page.next_version) = (Some(key.clone()), Some(row.version()));
                page.entries.push(Listed::Item { key, record: ListedVersion { row: kept(row), latest } });
            }
        }
    }
    (page.next_after, page.next_version) = (None, None);
    Ok(page)
}

/// The tables `objects` and `versions`, merged by key. The current object of a key comes before its other versions.
struct VersionsMerge<'a> {
    kv: &'a dyn KvRead,
    bucket: BucketId,
    objects: Cursor<'a>,
    versions: Cursor<'a>,
}

/// A position in a table, and the next row, read ahead.
struct Cursor<'a> {
    table: Table,
    end: Option<Vec<u8>>,
    rows: PairIter<'a>,
    head: Option<(String, Bytes)>,
    key_of: fn(&[u8]) -> Option<String>,
}

impl<'a> VersionsMerge<'a> {
    /// Also returns whether the page begins with the latest version of the key `query.after`. A marker is a position:
    /// the version need not be there any more.
    fn new(
        kv: &'a dyn KvRead,
        bucket: BucketId,
        query: &ListQuery,
        after_version: Option<Version>,
    ) -> KvResult<(Self, bool)> {
        let after = query.after.as_deref();
        let (mut object_start, mut has_latest) = (after.map(|after| after_object(bucket, after)), false);
        let mut version_start = after.map(|after| past(&upload_key_prefix(bucket, after)));
        if let Some((after, version)) = after.zip(after_version) {
            let marker = version_key(bucket, after, version);
            let key = object_key(bucket, after);
            let current = kv.get(OBJECTS, &key)?.map(|row| codec::decode::<ObjectVersion>(&row)).transpose()?;
            has_latest = match current {
                Some(current) => version_key(bucket, after, current.version) > marker,
                None => {
                    let first = upload_key_prefix(bucket, after);
                    let until = Bound::Included(&marker[..]);
                    kv.range(VERSIONS, Bound::Included(&first[..]), until).next().transpose()?.is_none()
                }
            };
            if has_latest {
                object_start = Some(Bound::Included(key));
            }
            version_start = Some(Bound::Excluded(marker));
        }
        let objects = Cursor::new(kv, OBJECTS, Objects::prefix(bucket, &query.prefix), object_start, Objects::key_of);
        let versions = Cursor::new(kv, VERSIONS, upload_prefix(bucket, &query.prefix), version_start, Uploads::key_of);
        Ok((Self { kv, bucket, objects, versions }, has_latest))
    }

    fn next(&mut self) -> KvResult<Option<(String, VersionRow)>> {
        let object = self.objects.peek()?.map(str::to_owned);
        let version = self.versions.peek()?;
        let object_first = match (&object, version) {
            (None, None) => return Ok(None),
            (Some(object), Some(version)) => object.as_str() <= version,
            (Some(_), None) => true,
            (None, Some(_)) => false,
        };
        let cursor = if object_first { &mut self.objects } else { &mut self.versions };
        let Some((key, row)) = cursor.head.take() else { return Ok(None) };
        let row = if object_first { VersionRow::Object(codec::decode(&row)?) } else { codec::decode(&row)? };
        Ok(Some((key, row)))
    }

    fn skip_past(&mut self, common: &str) {
        self.objects.seek(self.kv, past(&object_key(self.bucket, common)));
        self.versions.seek(self.kv, past(&upload_prefix(self.bucket, common)));
    }
}

impl<'a> Cursor<'a> {
    fn new(
        kv: &'a dyn KvRead,
        table: Table,
        prefix: Vec<u8>,
        start: Option<Bound<Vec<u8>>>,
        key_of: fn(&[u8]) -> Option<String>,
    ) -> Self {
        let end = prefix_end(&prefix);
        let mut cursor = Self { table, end, rows: Box::new(std::iter::empty()), head: None, key_of };
        cursor.seek(kv, later(Bound::Included(prefix), start));
        cursor
    }

    fn seek(&mut self, kv: &'a dyn KvRead, from: Bound<Vec<u8>>) {
        let to = self.end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        self.rows = kv.range(self.table, from.as_ref().map(Vec::as_slice), to);
        self.head = None;
    }

    fn peek(&mut self) -> KvResult<Option<&str>> {
        if self.head.is_none()
            && let Some((row_key, row)) = self.rows.next().transpose()?
        {
            let malformed = || KvError::new("read a listed key", format!("malformed: {row_key:02x?}"));
            self.head = Some(((self.key_of)(&row_key).ok_or_else(malformed)?, row));
        }
        Ok(self.head.as_ref().map(|(key, _)| key.as_str()))
    }
}

/// Returns the key up to and including the first delimiter after the prefix.
fn common_prefix<'a>(key: &'a str, query: &ListQuery) -> Option<&'a str> {
    let delimiter = query.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty())?;
    let rest = key.get(query.prefix.len()..)?;
    key.get(..query.prefix.len() + rest.find(delimiter)? + delimiter.len())
}

/// Returns the greater of two lower bounds.
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
