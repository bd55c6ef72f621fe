//! Tests of lookups and of reads after them, while objects are replaced; and of objects with parts.

use super::{Permit, World, collect, content, opened};
use crate::actors::get_task::{OpenObject, open_object, read_object, reopen};
use crate::actors::put_task::{put_object, put_part};
use crate::actors::request::test_world::{KEY, upload};
use crate::actors::request::{ByteRange, PutPartRequest, StoreError};
use crate::limits::PART_BYTES_MIN;
use crate::storage::kv::{Batch, KvRead, KvResult, PairIter, Table};
use crate::storage::meta::codec;
use crate::storage::meta::command::{Change, CompleteUpload, CompletedPart, CreateUpload, Reply, WriteConditions};
use crate::storage::meta::record::{Body, Manifest, PartRow, Pick};
use crate::storage::meta::samples;
use crate::storage::meta::tables::{PARTS, part_key};
use crate::storage::meta::view::MetaView;
use crate::types::{ManifestId, UploadId};
use bytes::Bytes;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

async fn open(world: &World) -> Option<OpenObject> {
    let opened = open_object(&world.context, world.meta.view(), world.bucket, KEY, Pick::Current).await;
    opened.expect("tables in memory").object()
}

async fn read_all(world: &World, object: OpenObject) -> Result<Bytes, StoreError> {
    let range = ByteRange { start: 0, end: object.version.manifest.size_bytes };
    collect(read_object(&world.context, Permit::unmetered(), object, range).await?).await
}

#[actix::test]
async fn an_object_of_any_size_is_opened_and_read() {
    for length in [0, 1, 5000, 16 << 10, (16 << 10) + 1, 300_000] {
        let world = World::new(2, 2);
        assert!(open(&world).await.is_none());
        let bytes = content(length);
        world.put_bytes(&bytes).await.expect("stored");
        let object = open(&world).await.expect("it stands");
        assert_eq!(object.version.manifest.size_bytes, length as u64);
        assert_eq!(read_all(&world, object).await.expect("readable"), bytes);
    }
}

#[actix::test]
async fn a_range_of_an_inline_object_is_cut_from_its_bytes() {
    let world = World::new(2, 2);
    let bytes = content(5000);
    world.put_bytes(&bytes).await.expect("stored");
    let object = open(&world).await.expect("it stands");
    let body = read_object(&world.context, Permit::unmetered(), object, ByteRange { start: 100, end: 4321 }).await;
    assert_eq!(collect(body.expect("readable")).await.expect("readable"), bytes.slice(100..4321));
}

#[actix::test]
async fn an_opened_object_keeps_its_bytes_after_being_replaced() {
    for length in [5000, 300_000] {
        let world = World::new(2, 2);
        let bytes = content(length);
        world.put_bytes(&bytes).await.expect("stored");
        let object = open(&world).await.expect("it stands");
        let mark = world.context.reads.mark();
        world.put_bytes(&content(length + 1)).await.expect("replaced");
        assert!(!world.context.reads.is_past(mark), "the old one's shards may not be reclaimed yet");
        assert_eq!(read_all(&world, object).await.expect("readable"), bytes);
        assert!(world.context.reads.is_past(mark));
    }
}

#[actix::test]
async fn reopening_a_replaced_inline_object_is_unavailable() {
    let world = World::new(2, 2);
    let old = world.put_bytes(&content(5000)).await.expect("stored");
    world.put_bytes(&content(6000)).await.expect("replaced");
    let refused = reopen(&world.context, &old.into()).await.map(|object| object.version);
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "{refused:?}");
}

/// The rows of another view with one table hidden, as seen by a reader that meets half of a change.
#[derive(Debug)]
struct Without {
    rows: MetaView,
    hidden: Table,
}

impl KvRead for Without {
    fn get(&self, table: Table, key: &[u8]) -> KvResult<Option<Bytes>> {
        if table == self.hidden { Ok(None) } else { self.rows.kv.get(table, key) }
    }

    fn range(&self, table: Table, from: Bound<&[u8]>, to: Bound<&[u8]>) -> PairIter<'_> {
        self.rows.kv.range(table, from, to)
    }
}

#[actix::test]
async fn an_object_whose_inline_bytes_vanish_is_looked_up_again() {
    let world = World::new(2, 2);
    let bytes = content(5000);
    world.put_bytes(&bytes).await.expect("stored");
    let half = Without { rows: world.meta.view(), hidden: crate::storage::meta::tables::INLINE };
    let view = MetaView::new(Arc::new(half));
    let object = open_object(&world.context, view, world.bucket, KEY, Pick::Current).await;
    let object = object.expect("looked up again").object();
    assert_eq!(read_all(&world, object.expect("it stands")).await.expect("readable"), bytes);
}

async fn upload_parts(world: &World, parts: &[Bytes]) -> Manifest {
    let (id, key) = (UploadId(5), KEY.to_owned());
    let create = CreateUpload { bucket: world.bucket, id, ..samples::create_upload(KEY, 0) };
    world.meta.apply(Change::CreateUpload(Box::new(create)));
    let mut listed = Vec::new();
    for (number, part) in (1..).zip(parts) {
        let upload = upload(part, 1 << 20);
        let request = PutPartRequest { bucket: world.bucket, key: key.clone(), id, number, data_key: None, upload };
        let row = put_part(&world.context, Permit::unmetered(), request).await.expect("stored").row;
        listed.push(CompletedPart { number, md5: row.md5, checksum: None });
    }
    let complete = CompleteUpload {
        bucket: world.bucket,
        key,
        upload: id,
        manifest: ManifestId(77),
        parts: listed,
        expected_checksum: None,
        expected_size_bytes: None,
        conditions: WriteConditions::default(),
        event: None,
    };
    match world.meta.apply(Change::CompleteUpload(Box::new(complete))) {
        Reply::ObjectPut { object } => object.manifest,
        other => panic!("an object, not {other:?}"),
    }
}

/// M3: CompleteMultipartUpload answers with the ETag that a later lookup finds.
#[actix::test]
async fn m3_parts_read_back_as_one_object_with_one_etag() {
    let world = World::new(2, 2);
    let size = PART_BYTES_MIN as usize;
    let parts = [content(size + 1), content(size + 77_777), content(12_345)];
    let manifest = upload_parts(&world, &parts).await;
    let whole = Bytes::from(parts.concat());
    let object = open(&world).await.expect("it stands");
    assert_eq!((object.version.manifest.etag, object.version.manifest.etag.parts), (manifest.etag, Some(3)));
    assert_eq!(read_all(&world, object).await.expect("readable"), whole);
    let (start, end) = (size as u64 - 5, 2 * size as u64 + 77_900);
    let object = opened(&world, &manifest);
    let body = read_object(&world.context, Permit::unmetered(), object, ByteRange { start, end }).await;
    let got = collect(body.expect("readable")).await.expect("readable");
    assert_eq!(got, whole.slice(start as usize..end as usize));
}

/// F2: the copy of an object with parts is one blob without parts.
#[actix::test]
async fn f2_an_object_of_parts_is_copied_whole() {
    let world = World::new(2, 2);
    let parts = [content(PART_BYTES_MIN as usize), content(999)];
    let manifest = upload_parts(&world, &parts).await;
    let object = opened(&world, &manifest);
    let range = ByteRange { start: 0, end: manifest.size_bytes };
    let body = read_object(&world.context, Permit::unmetered(), object, range).await.expect("readable");
    let mut request = world.put_request(upload(&Bytes::new(), 1));
    request.key = "copy".to_owned();
    request.upload.body = body;
    let copy = put_object(&world.context, Permit::unmetered(), request).await.expect("copied").manifest;
    assert_eq!((copy.size_bytes, copy.etag.parts), (manifest.size_bytes, None));
    let got = read_all(&world, opened(&world, &copy)).await.expect("readable");
    assert_eq!(got, Bytes::from(parts.concat()));
}

/// Counts the rows that are looked up.
#[derive(Debug)]
struct Counting {
    rows: MetaView,
    count: Arc<AtomicUsize>,
}

impl KvRead for Counting {
    fn get(&self, table: Table, key: &[u8]) -> KvResult<Option<Bytes>> {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.rows.kv.get(table, key)
    }

    fn range(&self, table: Table, from: Bound<&[u8]>, to: Bound<&[u8]>) -> PairIter<'_> {
        let count = || self.count.fetch_add(1, Ordering::Relaxed);
        Box::new(self.rows.kv.range(table, from, to).inspect(move |_| {
            count();
        }))
    }
}

/// M4: a small range in the middle of 10,000 parts looks up one page of rows and reads the chunks that it needs.
#[actix::test]
async fn m4_a_range_of_ten_thousand_parts_looks_up_one_page_of_rows() {
    let world = World::new(2, 2);
    let piece = content(20_000);
    let one = world.put_bytes(&piece).await.expect("stored");
    let Body::Blob(blob) = one.body.clone() else { panic!("a blob") };
    // All parts share one blob: only their number matters.
    let row = |number: u16| PartRow {
        number,
        offset_bytes: u64::from(number - 1) * 20_000,
        size_bytes: 20_000,
        md5: [0; 16],
        modified: one.modified,
        checksum: None,
        blob: Some(blob.clone()),
    };
    let id = ManifestId(3);
    let mut rows = Batch::default();
    for number in 1..=10_000 {
        let row = row(number);
        rows.put(PARTS, part_key(id, row.offset_bytes).to_vec(), codec::encode(&row));
    }
    world.meta.commit(rows);
    let manifest = Manifest { id, size_bytes: 200_000_000, body: Body::Parts { count: 10_000 }, ..one };
    world.nodes.take_reads();
    let count = Arc::new(AtomicUsize::new(0));
    let view = MetaView::new(Arc::new(Counting { rows: world.meta.view(), count: Arc::clone(&count) }));
    let object = OpenObject { view, ..opened(&world, &manifest) };
    let (start, end) = (123_456_789, 123_456_789 + 30_000);
    let body = read_object(&world.context, Permit::unmetered(), object, ByteRange { start, end }).await;
    let got = collect(body.expect("readable")).await.expect("readable");
    let expected: Vec<u8> = (start..end).map(|at| piece[(at % 20_000) as usize]).collect();
    assert_eq!(got, expected);
    let rows = count.load(Ordering::Relaxed);
    assert!(rows <= 40, "{rows} rows were looked up");
    assert!(world.nodes.take_reads().0 <= 3 * 20_480, "chunks of three parts at most");
}

#[actix::test]
async fn parts_with_gaps_or_wrong_sizes_are_refused() {
    let world = World::new(2, 2);
    let one = world.put_bytes(&content(20_000)).await.expect("stored");
    let Body::Blob(blob) = one.body.clone() else { panic!("a blob") };
    for (offset, size, blob) in [(1u8, 20_000, Some(blob.clone())), (0, 19_999, Some(blob)), (0, 20_000, None)] {
        let id = ManifestId(offset.into());
        let row = PartRow {
            number: 1,
            offset_bytes: u64::from(offset),
            size_bytes: size,
            md5: [0; 16],
            modified: one.modified,
            checksum: None,
            blob,
        };
        let mut rows = Batch::default();
        rows.put(PARTS, part_key(id, row.offset_bytes).to_vec(), codec::encode(&row));
        world.meta.commit(rows);
        let manifest = Manifest { id, size_bytes: 20_000, body: Body::Parts { count: 1 }, ..one.clone() };
        let refused = read_all(&world, opened(&world, &manifest)).await;
        assert!(matches!(refused, Err(StoreError::Internal { .. } | StoreError::Unavailable { .. })), "{refused:?}");
    }
}

/// A view keeps the tables from being compacted, and a client may read slowly.
#[actix::test]
async fn no_view_of_the_metadata_is_held_while_a_body_is_read() {
    let world = World::new(2, 2);
    let one = world.put_bytes(&content(2_000_000)).await.expect("stored");
    let several = upload_parts(&world, &[content(PART_BYTES_MIN as usize), content(PART_BYTES_MIN as usize)]).await;
    for manifest in [one, several] {
        let kv = Arc::new(Counting { rows: world.meta.view(), count: Arc::default() });
        let held = Arc::downgrade(&kv);
        let object = OpenObject { view: MetaView::new(kv), ..opened(&world, &manifest) };
        let range = ByteRange { start: 0, end: manifest.size_bytes };
        let body = read_object(&world.context, Permit::unmetered(), object, range).await.expect("readable");
        assert!(held.upgrade().is_none(), "{:?}", manifest.body);
        assert_eq!(collect(body).await.expect("readable").len() as u64, manifest.size_bytes);
    }
}
