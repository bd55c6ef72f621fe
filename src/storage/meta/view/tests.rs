//! Tests of listings, against a model, and of lookups.

use super::MetaView;
use crate::storage::kv::memory::MemoryKv;
use crate::storage::kv::{Batch, Kv, KvRead, KvResult, PairIter, Table};
use crate::storage::meta::codec;
use crate::storage::meta::listing::{ListPage, ListQuery, Listed};
use crate::storage::meta::record::{
    BucketRecord, BucketRow, DeleteMarker, ObjectVersion, Pick, UploadRecord, UploadRow, Version, VersionRow,
};
use crate::storage::meta::samples::{self, BUCKET};
use crate::storage::meta::tables::{
    BUCKETS, GARBAGE, OBJECTS, PARTS, TABLES, UPLOAD_PARTS, UPLOADS, VERSIONS, object_key, part_key, upload_key,
    upload_part_key, version_key,
};
use crate::types::{BlobId, BucketId, ManifestId, UploadId};
use bytes::Bytes;
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

fn view(fill: impl FnOnce(&mut Batch)) -> MetaView {
    let kv = MemoryKv::new(TABLES);
    let mut batch = Batch::default();
    fill(&mut batch);
    kv.commit(batch).expect("commits");
    MetaView::new(Arc::new(kv))
}

/// Returns a view of objects with these keys, and of others in the buckets before and after.
fn objects<'a>(keys: impl IntoIterator<Item = &'a str>) -> MetaView {
    let row = codec::encode(&ObjectVersion::from(samples::full_manifest()));
    view(|batch| {
        for key in keys {
            batch.put(OBJECTS, object_key(BUCKET, key), row.clone());
        }
        batch.put(OBJECTS, object_key(BucketId(0), "zzz"), row.clone());
        batch.put(OBJECTS, object_key(BucketId(2), "a"), row);
    })
}

fn uploads<'a>(uploads: impl IntoIterator<Item = (&'a str, u128)>) -> MetaView {
    view(|batch| {
        for (key, id) in uploads {
            let record = UploadRecord { key: key.to_owned(), id: UploadId(id), ..samples::upload() };
            batch.put(
                UPLOADS,
                upload_key(BUCKET, key, UploadId(id)),
                codec::encode(&UploadRow { upload: record, ..samples::upload_row() }),
            );
        }
        let other = UploadRecord { bucket: BucketId(2), ..samples::upload() };
        batch.put(
            UPLOADS,
            upload_key(BucketId(2), &other.key, other.id),
            codec::encode(&UploadRow { upload: other, ..samples::upload_row() }),
        );
    })
}

fn query(prefix: &str, delimiter: Option<&str>, after: Option<&str>, limit: usize) -> ListQuery {
    ListQuery {
        prefix: prefix.to_owned(),
        delimiter: delimiter.map(str::to_owned),
        after: after.map(str::to_owned),
        limit,
    }
}

fn names<T>(page: &ListPage<T>) -> Vec<&str> {
    page.entries.iter().map(Listed::key).collect()
}

/// Returns the expected listing: each key, or the common prefix that stands for it, in order, once.
fn expected(
    keys: &BTreeSet<String>,
    prefix: &str,
    delimiter: Option<&str>,
    after: Option<&str>,
) -> Vec<(String, bool)> {
    let mut shown: Vec<(String, bool)> = Vec::new();
    for key in keys.iter().filter(|key| key.starts_with(prefix)) {
        let rest = &key[prefix.len()..];
        let common = delimiter.and_then(|delimiter| rest.find(delimiter).map(|at| prefix.len() + at + delimiter.len()));
        let entry = common.map_or_else(|| (key.clone(), false), |end| (key[..end].to_owned(), true));
        if after.is_none_or(|after| entry.0.as_str() > after) && shown.last() != Some(&entry) {
            shown.push(entry);
        }
    }
    shown
}

fn shown<T>(entries: &[Listed<T>]) -> Vec<(String, bool)> {
    entries.iter().map(|entry| (entry.key().to_owned(), matches!(entry, Listed::CommonPrefix(_)))).collect()
}

/// Generates keys that are hard to sort, cut and seek past.
fn keys() -> impl Strategy<Value = BTreeSet<String>> {
    proptest::collection::btree_set("[a/\\x00\\x01\u{7f}\u{e9}\u{ffff}\u{10ffff}.]{1,6}", 0..40)
}

fn delimiters() -> impl Strategy<Value = Option<String>> {
    proptest::option::of("[a/\\x00\u{e9}\u{10ffff}]{1,2}")
}

fn prefixes() -> impl Strategy<Value = String> {
    "[a/\\x00\u{e9}\u{10ffff}]{0,2}"
}

proptest! {
    #[test]
    fn parts_of_an_upload_are_found_by_their_numbers(
        stored in proptest::collection::btree_set(1u16..40, 0..30),
        asked in proptest::collection::btree_set(1u16..40, 0..30),
    ) {
        let view = view(|batch| {
            for number in &stored {
                let row = samples::part(*number, 1, 1);
                batch.put(UPLOAD_PARTS, upload_part_key(UploadId(9), *number).to_vec(), codec::encode(&row));
            }
        });
        let expected: Vec<u16> = asked.intersection(&stored).copied().collect();
        let asked: Vec<u16> = asked.into_iter().collect();
        let found = view.upload_parts_numbered(UploadId(9), &asked).expect("reads");
        prop_assert_eq!(found.iter().map(|part| part.number).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn concatenated_pages_of_objects_are_the_whole_listing(
        keys in keys(), prefix in prefixes(), delimiter in delimiters(), after in proptest::option::of(prefixes()), limit in 1usize..9,
    ) {
        let view = objects(keys.iter().map(String::as_str));
        let expected = expected(&keys, &prefix, delimiter.as_deref(), after.as_deref());
        let mut found = Vec::new();
        let mut next = query(&prefix, delimiter.as_deref(), after.as_deref(), limit);
        loop {
            let page = view.list_objects(BUCKET, &next)?;
            prop_assert!(page.entries.len() == limit || !page.more);
            prop_assert_eq!(page.more, page.next_after.is_some());
            found.extend(shown(&page.entries));
            prop_assert_eq!(page.more, found.len() < expected.len());
            match page.next_after {
                Some(after) => next.after = Some(after),
                None => break,
            }
        }
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn concatenated_pages_of_uploads_are_the_whole_listing(
        keys in keys(), twice in any::<u64>(), prefix in prefixes(), delimiter in delimiters(), limit in 1usize..5,
    ) {
        let mut all: Vec<(String, u128)> = Vec::new();
        for (index, key) in keys.iter().enumerate() {
            let ids = if twice >> (index % 64) & 1 == 1 { 3 } else { 1 };
            all.extend((0..ids).map(|id| (key.clone(), id)));
        }
        let view = uploads(all.iter().map(|(key, id)| (key.as_str(), *id)));
        let mut expected_uploads = Vec::new();
        for (entry, is_common) in expected(&keys, &prefix, delimiter.as_deref(), None) {
            match is_common {
                true => expected_uploads.push((entry, None)),
                false => expected_uploads.extend(all.iter().filter(|(key, _)| *key == entry).map(|(key, id)| (key.clone(), Some(*id)))),
            }
        }
        let mut found = Vec::new();
        let (mut next, mut marker) = (query(&prefix, delimiter.as_deref(), None, limit), None);
        loop {
            let page = view.list_uploads(BUCKET, &next, marker)?;
            marker = match page.entries.last() {
                Some(Listed::Item { record, .. }) => Some(record.upload.id),
                _ => None,
            };
            found.extend(page.entries.into_iter().map(|entry| match entry {
                Listed::Item { key, record } => (key, Some(record.upload.id.0)),
                Listed::CommonPrefix(common) => (common, None),
            }));
            prop_assert_eq!(page.more, found.len() < expected_uploads.len());
            match page.next_after {
                Some(after) => next.after = Some(after),
                None => break,
            }
        }
        prop_assert_eq!(found, expected_uploads);
    }

    #[test]
    fn a_part_is_found_by_any_of_its_bytes_by_its_number_and_by_any_number_before_it(sizes in proptest::collection::vec(1u64..50, 1..30), empty_last: bool, gap in 1u16..4) {
        let id = ManifestId(5);
        let mut rows = Vec::new();
        let mut offset_bytes = 0;
        for (index, &size) in sizes.iter().enumerate() {
            rows.push(crate::storage::meta::record::PartRow { offset_bytes, ..samples::part(1 + index as u16 * gap, 1, size) });
            offset_bytes += size;
        }
        if empty_last {
            let number = 1 + sizes.len() as u16 * gap;
            rows.push(crate::storage::meta::record::PartRow { offset_bytes, ..samples::part(number, 1, 0) });
        }
        let view = view(|batch| {
            for row in &rows {
                batch.put(PARTS, part_key(id, row.offset_bytes).to_vec(), codec::encode(row));
            }
            for other in [ManifestId(4), ManifestId(6)] {
                batch.put(PARTS, part_key(other, 0).to_vec(), codec::encode(&samples::part(1, 1, 1000)));
            }
        });
        for offset in 0..offset_bytes + 2 {
            let of = rows.iter().find(|row| row.offset_bytes <= offset && offset < row.offset_bytes + row.size_bytes);
            prop_assert_eq!(view.part_at(id, offset)?, of.cloned());
            let from: Vec<_> = rows.iter().filter(|row| {
                row.offset_bytes >= offset || offset < row.offset_bytes + row.size_bytes
            }).take(2).cloned().collect();
            prop_assert_eq!(view.parts_from(id, offset, 2)?, from);
        }
        for number in 0..=rows.len() as u16 * gap + 2 {
            let of = rows.iter().find(|row| row.number == number);
            prop_assert_eq!(view.part_numbered(id, offset_bytes, number)?, of.cloned());
            let later: Vec<_> = rows.iter().filter(|row| row.number > number).take(3).cloned().collect();
            prop_assert_eq!(view.parts_after(id, offset_bytes, number, 3)?, later);
        }
    }
}

#[test]
fn keys_are_listed_in_the_order_of_their_utf8_bytes_c9() {
    let keys = ["a", "a\0", "a/b", "ab", "b", "\u{e9}", "\u{ffff}", "\u{10000}"];
    let view = objects(keys);
    let page = view.list_objects(BUCKET, &query("", None, None, 100)).expect("lists");
    assert_eq!(names(&page), keys);
    assert_eq!((page.more, page.next_after), (false, None));
}

#[test]
fn a_key_and_a_common_prefix_of_the_same_name_are_both_listed() {
    let view = objects(["a", "a/", "a/b", "a/c/d", "a0"]);
    let page = view.list_objects(BUCKET, &query("", Some("/"), None, 100)).expect("lists");
    assert_eq!(shown(&page.entries), [("a".into(), false), ("a/".into(), true), ("a0".into(), false)]);
    let page = view.list_objects(BUCKET, &query("a/", Some("/"), None, 100)).expect("lists");
    assert_eq!(shown(&page.entries), [("a/".into(), false), ("a/b".into(), false), ("a/c/".into(), true)]);
}

#[test]
fn a_common_prefix_at_the_end_of_a_page_is_not_listed_again() {
    let view = objects(["a/1", "a/2", "b/1", "c"]);
    let first = view.list_objects(BUCKET, &query("", Some("/"), None, 1)).expect("lists");
    assert_eq!((names(&first), first.more, first.next_after.as_deref()), (vec!["a/"], true, Some("a/")));
    let second = view.list_objects(BUCKET, &query("", Some("/"), Some("a/"), 2)).expect("lists");
    assert_eq!((names(&second), second.more, &second.next_after), (vec!["b/", "c"], false, &None));
    let past_all = view.list_objects(BUCKET, &query("", Some("/"), Some("c"), 2)).expect("lists");
    assert_eq!((names(&past_all), past_all.more), (vec![], false));
}

#[test]
fn a_page_with_limit_0_is_empty_and_reports_no_more() {
    let view = objects(["a"]);
    let page = view.list_objects(BUCKET, &query("", None, None, 0)).expect("lists");
    assert_eq!((page.entries.len(), page.more, page.next_after), (0, false, None));
}

#[test]
fn a_key_marker_skips_all_uploads_of_its_key_unless_an_id_marker_is_given() {
    let view = uploads([("a", 1), ("a", 2), ("a", 3), ("a\0", 1), ("b", 1)]);
    let list = |after, marker| {
        let page = view.list_uploads(BUCKET, &query("", None, after, 100), marker).expect("lists");
        let entries = page.entries.into_iter().map(|entry| match entry {
            Listed::Item { key, record } => (key, record.upload.id.0),
            Listed::CommonPrefix(common) => panic!("{common}"),
        });
        entries.collect::<Vec<_>>()
    };
    let rest = vec![("a\0".to_owned(), 1), ("b".to_owned(), 1)];
    assert_eq!(list(Some("a"), None), rest);
    assert_eq!(list(Some("a"), Some(UploadId(3))), rest);
    assert_eq!(list(Some("a"), Some(UploadId(2))), [vec![("a".to_owned(), 3)], rest].concat());
    assert_eq!(list(None, Some(UploadId(9))).len(), 5);
}

#[test]
fn buckets_are_listed_by_name_with_prefix_and_pages() {
    let view = view(|batch| {
        for name in ["alpha", "beta", "beta-2", "gamma"] {
            let bucket = BucketRecord { name: name.to_owned(), ..samples::bucket() };
            batch.put(BUCKETS, name.as_bytes().to_vec(), codec::encode(&BucketRow { bucket, ..samples::bucket_row() }));
        }
    });
    let list = |prefix, after, limit| {
        let (buckets, more) = view.buckets(prefix, after, limit).expect("lists");
        (buckets.into_iter().map(|row| row.bucket.name).collect::<Vec<_>>(), more)
    };
    assert_eq!(list("", None, 9).0, ["alpha", "beta", "beta-2", "gamma"]);
    assert_eq!(list("", None, 4), (vec!["alpha".into(), "beta".into(), "beta-2".into(), "gamma".into()], false));
    assert_eq!(list("", Some("beta"), 1), (vec!["beta-2".into()], true));
    assert_eq!(list("beta", None, 9), (vec!["beta".into(), "beta-2".into()], false));
    assert_eq!(list("beta", Some("alpha"), 1), (vec!["beta".into()], true));
    assert_eq!(list("beta", Some("gamma"), 9), (vec![], false));
    assert_eq!(list("", Some(""), 9).0.len(), 4);
    assert_eq!(view.bucket("").expect("reads"), None);
}

#[test]
fn garbage_and_blobs_are_paged_in_order_of_their_ids() {
    let view = view(|batch| {
        for id in [3u128, 1, 2] {
            let row = crate::storage::meta::record::GarbageRow { blob: samples::blob(id, 1), ..samples::garbage() };
            batch.put(GARBAGE, BlobId(id).to_be_bytes().to_vec(), codec::encode(&row));
            batch.put(
                crate::storage::meta::tables::BLOBS,
                BlobId(10 + id).to_be_bytes().to_vec(),
                codec::encode(&samples::blob(10 + id, 1)),
            );
        }
    });
    let garbage = |after: Option<u128>| {
        let rows = view.garbage(after.map(BlobId), 2).expect("reads");
        rows.iter().map(|row| row.blob.id.0).collect::<Vec<_>>()
    };
    assert_eq!((garbage(None), garbage(Some(2)), garbage(Some(3))), (vec![1, 2], vec![3], vec![]));
    let (first, cursor) = view.blobs(None, 2).expect("reads");
    let (second, end) = view.blobs(cursor, 2).expect("reads");
    let ids: Vec<_> = first.iter().chain(&second).map(|blob| blob.id.0).collect();
    assert_eq!((ids, end), (vec![11, 12, 13], None));
    assert!(view.blob_is_known(BlobId(1)).expect("reads") && view.blob_is_known(BlobId(11)).expect("reads"));
    assert!(!view.blob_is_known(BlobId(4)).expect("reads"));
}

/// A store that counts the rows that a listing reads.
#[derive(Debug)]
struct CountingRead {
    inner: Arc<dyn KvRead>,
    rows: AtomicUsize,
}

impl KvRead for CountingRead {
    fn get(&self, table: Table, key: &[u8]) -> KvResult<Option<Bytes>> {
        self.inner.get(table, key)
    }

    fn range(&self, table: Table, from: Bound<&[u8]>, to: Bound<&[u8]>) -> PairIter<'_> {
        Box::new(self.inner.range(table, from, to).inspect(|_| {
            self.rows.fetch_add(1, Ordering::Relaxed);
        }))
    }
}

#[test]
fn the_cost_of_a_listing_does_not_grow_with_keys_behind_common_prefixes() {
    let keys: Vec<String> =
        (0..20).flat_map(|folder| (0..500).map(move |file| format!("{folder:02}/{file:03}"))).collect();
    let inner = objects(keys.iter().map(String::as_str)).kv;
    let counting = Arc::new(CountingRead { inner, rows: AtomicUsize::new(0) });
    let view = MetaView::new(counting.clone());
    let page: ListPage<ObjectVersion> = view.list_objects(BUCKET, &query("", Some("/"), None, 10)).expect("lists");
    assert_eq!((page.entries.len(), page.more), (10, true));
    assert_eq!(counting.rows.swap(0, Ordering::Relaxed), 11);
    view.list_objects(BUCKET, &query("", Some("/"), Some("05/"), 1000)).expect("lists");
    // One more row is read, to find the common prefix after which the page begins.
    assert_eq!(counting.rows.swap(0, Ordering::Relaxed), 15);
    view.list_objects(BUCKET, &query("07/", None, Some("07/100"), 10)).expect("lists");
    assert_eq!(counting.rows.swap(0, Ordering::Relaxed), 11);
}

#[test]
fn a_page_holds_what_its_lister_keeps_of_each_row_as_it_is_read() {
    let keys: Vec<String> = (0..20).map(|number| format!("{number:02}")).collect();
    let counting_of = |view: MetaView| Arc::new(CountingRead { inner: view.kv, rows: AtomicUsize::new(0) });
    let all = query("", None, None, 10);
    let counting = counting_of(objects(keys.iter().map(String::as_str)));
    let mut read = Vec::new();
    let page = MetaView::new(counting.clone()).list_objects_as(BUCKET, &all, |object| {
        read.push(counting.rows.load(Ordering::Relaxed));
        object.manifest.size_bytes
    });
    let entries = page.expect("lists").entries;
    let size_bytes = samples::full_manifest().size_bytes;
    assert!(entries.iter().all(|entry| matches!(entry, Listed::Item { record, .. } if *record == size_bytes)));
    assert_eq!(read, (1..=10).collect::<Vec<usize>>());

    let both: BTreeMap<String, Vec<(u64, bool)>> =
        keys.iter().map(|key| (key.clone(), vec![(1, false), (2, false)])).collect();
    let counting = counting_of(versions(&both));
    let mut read = Vec::new();
    let page = MetaView::new(counting.clone()).list_versions_as(BUCKET, &all, None, |row| {
        read.push(counting.rows.load(Ordering::Relaxed));
        row.version().seq
    });
    let seqs = page.expect("lists").entries.into_iter().map(|entry| match entry {
        Listed::Item { record, .. } => (record.row, record.latest),
        Listed::CommonPrefix(prefix) => panic!("{prefix}"),
    });
    assert_eq!(seqs.collect::<Vec<_>>(), [(2, true), (1, false)].repeat(5));
    assert!(read.iter().zip(1_usize..).all(|(read, converted)| *read <= converted + 1), "{read:?}");
}

/// Returns a view of these versions. The newest version of a key is its current object, unless it is a delete marker;
/// all others are in `versions`.
fn versions(keys: &BTreeMap<String, Vec<(u64, bool)>>) -> MetaView {
    view(|batch| {
        for (key, versions) in keys {
            for (place, &(seq, marker)) in versions.iter().rev().enumerate() {
                let version = Version { seq, salt: 7, null: false };
                let object = ObjectVersion { version, ..samples::full_manifest().into() };
                let kept = version_key(BUCKET, key, version);
                if marker {
                    let marker = DeleteMarker { version, ..samples::delete_marker() };
                    batch.put(VERSIONS, kept, codec::encode(&VersionRow::DeleteMarker(marker)));
                } else if place == 0 {
                    batch.put(OBJECTS, object_key(BUCKET, key), codec::encode(&object));
                } else {
                    batch.put(VERSIONS, kept, codec::encode(&VersionRow::Object(object)));
                }
            }
        }
        let other = ObjectVersion::from(samples::full_manifest());
        batch.put(OBJECTS, object_key(BucketId(2), "a"), codec::encode(&other));
        batch.put(
            VERSIONS,
            version_key(BucketId(0), "z", samples::version()),
            codec::encode(&VersionRow::Object(other)),
        );
    })
}

type ShownVersion = (String, Option<(u64, bool, bool)>);

/// Returns the expected listing of versions: each version, newest first, or the common prefix that stands for it.
fn expected_versions(
    keys: &BTreeMap<String, Vec<(u64, bool)>>,
    prefix: &str,
    delimiter: Option<&str>,
) -> Vec<ShownVersion> {
    let mut shown: Vec<ShownVersion> = Vec::new();
    for (key, versions) in keys.iter().filter(|(key, _)| key.starts_with(prefix)) {
        let rest = &key[prefix.len()..];
        let common = delimiter.and_then(|delimiter| rest.find(delimiter).map(|at| prefix.len() + at + delimiter.len()));
        if let Some(end) = common {
            let entry = (key[..end].to_owned(), None);
            if shown.last() != Some(&entry) {
                shown.push(entry);
            }
            continue;
        }
        for (place, &(seq, marker)) in versions.iter().rev().enumerate() {
            shown.push((key.clone(), Some((seq, marker, place == 0))));
        }
    }
    shown
}

proptest! {
    #[test]
    fn concatenated_pages_of_versions_are_the_whole_listing(
        keys in proptest::collection::btree_map(
            "[\\x00a/]{1,4}",
            proptest::collection::vec(any::<bool>(), 1..4)
                .prop_map(|markers| (1u64..).zip(markers).collect::<Vec<(u64, bool)>>()),
            0..8,
        ),
        prefix in "[a/]{0,1}", delimited: bool, limit in 1usize..5,
    ) {
        let view = versions(&keys);
        let delimiter = delimited.then_some("/");
        let mut listed: Vec<ShownVersion> = Vec::new();
        let (mut after, mut version) = (None, None);
        loop {
            let page = view.list_versions(BUCKET, &query(&prefix, delimiter, after.as_deref(), limit), version)?;
            prop_assert!(page.entries.len() <= limit && (page.entries.len() == limit || !page.more));
            listed.extend(page.entries.into_iter().map(|entry| match entry {
                Listed::CommonPrefix(prefix) => (prefix, None),
                Listed::Item { key, record } => {
                    let marker = matches!(record.row, VersionRow::DeleteMarker(_));
                    (key, Some((record.row.version().seq, marker, record.latest)))
                }
            }));
            if !page.more {
                break;
            }
            (after, version) = (page.next_after, page.next_version);
        }
        prop_assert_eq!(listed, expected_versions(&keys, &prefix, delimiter));
    }
}

proptest! {
    /// Clients that empty a bucket delete what a page lists before they ask for the next one.
    #[test]
    fn pages_of_versions_go_on_behind_a_version_that_was_deleted(
        keys in proptest::collection::btree_map(
            "[a-c]",
            proptest::collection::vec(any::<bool>(), 1..6)
                .prop_map(|markers| (1u64..).zip(markers).collect::<Vec<(u64, bool)>>()),
            0..4,
        ),
        limit in 1usize..5,
    ) {
        let mut left = keys.clone();
        let mut listed: Vec<ShownVersion> = Vec::new();
        let (mut after, mut version) = (None, None);
        loop {
            let page =
                versions(&left).list_versions(BUCKET, &query("", None, after.as_deref(), limit), version)?;
            for entry in page.entries {
                let Listed::Item { key, record } = entry else { panic!("nothing was asked for by delimiter") };
                let (seq, marker) = (record.row.version().seq, matches!(record.row, VersionRow::DeleteMarker(_)));
                let of_key = left.get_mut(&key).expect("it is there");
                of_key.retain(|(known, _)| *known != seq);
                left.retain(|_, versions| !versions.is_empty());
                listed.push((key, Some((seq, marker, record.latest))));
            }
            if !page.more {
                break;
            }
            (after, version) = (page.next_after, page.next_version);
        }
        prop_assert!(left.is_empty(), "{left:?} were not listed");
        let without_latest = |shown: Vec<ShownVersion>| {
            let seen = |(key, version): ShownVersion| (key, version.map(|(seq, marker, _)| (seq, marker)));
            shown.into_iter().map(seen).collect::<Vec<_>>()
        };
        // The first version of a key on a page is the latest by then.
        prop_assert_eq!(without_latest(listed), without_latest(expected_versions(&keys, "", None)));
    }
}

#[test]
fn a_listing_of_versions_skips_the_keys_behind_a_common_prefix() {
    let keys = (0..300).map(|file| (format!("folder/{file:03}"), vec![(1, false), (2, true)]));
    let keys: BTreeMap<_, _> = keys.chain([("z".to_owned(), vec![(3, false)])]).collect();
    let counting = Arc::new(CountingRead { inner: versions(&keys).kv, rows: AtomicUsize::new(0) });
    let view = MetaView::new(counting.clone());
    let page = view.list_versions(BUCKET, &query("", Some("/"), None, 10), None).expect("lists");
    assert_eq!((page.entries.len(), page.more), (2, false));
    assert!(counting.rows.load(Ordering::Relaxed) <= 4, "{counting:?}");
}

#[test]
fn a_lookup_finds_a_version_by_its_id_or_the_newest_without_one() {
    let keys = [("k".to_owned(), vec![(1, false), (2, true)]), ("l".to_owned(), vec![(1, true), (2, false)])].into();
    let view = versions(&keys);
    let seq = |key: &str, pick| view.version(BUCKET, key, pick).expect("reads").map(|row| row.version().seq);
    let exact = |seq| Pick::Exact { seq, salt: 7 };
    assert_eq!((seq("k", Pick::Current), seq("k", exact(1)), seq("k", exact(2))), (Some(2), Some(1), Some(2)));
    assert_eq!((seq("l", Pick::Current), seq("l", exact(1)), seq("l", exact(2))), (Some(2), Some(1), Some(2)));
    assert_eq!((seq("k", exact(3)), seq("k", Pick::Null), seq("m", Pick::Current)), (None, None, None));
    assert_eq!(seq("k", Pick::Exact { seq: 1, salt: 8 }), None, "the salt differs");
}
