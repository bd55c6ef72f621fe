//! Tests of multipart uploads: creation, parts, completion, abort.

use super::{Machine, put, shards_of};
use crate::limits::DROPPED_ROWS_AT_ONCE;
use crate::storage::meta::command::{
    Change, CompleteUpload, ETagCondition, PutObject, Refusal, Reply, WriteConditions,
};
use crate::storage::meta::record::{
    Body, Checksum, ChecksumAlgorithm, ChecksumKind, DefaultRetention, ETag, Manifest, ObjectLock, ObjectVersion,
    PartRow, QuotaChange, Retention, RetentionMode, RetentionPeriod, Traits, Versioning,
};
use crate::storage::meta::samples::{BUCKET, MIB, complete, create_upload, md5_of, part, put_blob, put_part};
use crate::types::{ManifestId, ShardNumber, UnixMs, UploadId};
use bytes::Bytes;
use md5::{Digest, Md5};

fn begin(machine: &mut Machine, key: &str, upload: u128) {
    assert_eq!(machine.apply(Change::CreateUpload(Box::new(create_upload(key, upload)))), Reply::Done);
}

fn add(machine: &mut Machine, key: &str, upload: u128, row: &PartRow) -> Reply {
    machine.apply(Change::PutPart(Box::new(put_part(key, upload, row.clone()))))
}

fn finish(machine: &mut Machine, change: CompleteUpload) -> Reply {
    machine.apply(Change::CompleteUpload(Box::new(change)))
}

fn finished(machine: &mut Machine, change: CompleteUpload) -> Manifest {
    match finish(machine, change) {
        Reply::ObjectPut { object } => object.manifest,
        other => panic!("not completed: {other:?}"),
    }
}

fn three_parts(machine: &mut Machine, key: &str, upload: u128) -> [PartRow; 3] {
    begin(machine, key, upload);
    let parts = [part(2, 20, 5 * MIB), part(5, 21, 6 * MIB), part(9, 22, 3)];
    for row in &parts {
        assert!(matches!(add(machine, key, upload, row), Reply::PartPut { .. }));
    }
    parts
}

#[test]
fn the_etag_is_the_md5_of_the_parts_md5s_with_their_count_m3() {
    let mut machine = Machine::with_bucket();
    let parts = three_parts(&mut machine, "key", 9);
    let manifest = finished(&mut machine, complete("key", 9, 100, &parts));
    let md5 = parts.iter().fold(Md5::new(), |md5, part| md5.chain_update(part.md5)).finalize();
    assert_eq!(manifest.etag, ETag { md5: md5.into(), parts: Some(3) });
    assert_eq!((manifest.size_bytes, manifest.body.clone()), (11 * MIB + 3, Body::Parts { count: 3 }));
    let standing = machine.view().object(BUCKET, "key").expect("reads").expect("exists").manifest;
    assert_eq!(standing, manifest);
    let page = machine
        .view()
        .list_objects(BUCKET, &crate::storage::meta::listing::ListQuery { limit: 9, ..Default::default() });
    let listed = page.expect("lists").entries.remove(0);
    assert!(
        matches!(listed, crate::storage::meta::listing::Listed::Item { record, .. } if record.manifest.etag == manifest.etag)
    );
}

#[test]
fn parts_of_unfinished_uploads_count_for_the_quota_of_the_bucket() {
    let mut machine = Machine::with_bucket();
    let quota = QuotaChange { bytes_max: Some(Some(12 * MIB)), objects_max: None };
    machine.apply(Change::SetBucket { bucket: BUCKET, versioning: None, lock: None, quota });
    let parts_bytes = |machine: &Machine| machine.view().usage(BUCKET).expect("reads").parts_bytes;
    let parts = three_parts(&mut machine, "key", 9);
    assert_eq!(parts_bytes(&machine), 11 * MIB + 3);
    begin(&mut machine, "other", 10);
    let more =
        |machine: &mut Machine, row: PartRow| machine.refusal(Change::PutPart(Box::new(put_part("other", 10, row))));
    assert_eq!(more(&mut machine, part(1, 30, MIB)), Refusal::QuotaExceeded);
    assert_eq!(machine.refusal(put(put_blob("object", 31))), Refusal::QuotaExceeded);
    // A part that replaces another one counts for the difference, and a completion for nothing.
    assert!(matches!(add(&mut machine, "other", 10, &part(1, 32, MIB - 3)), Reply::PartPut { .. }));
    assert!(matches!(add(&mut machine, "other", 10, &part(1, 33, MIB - 4)), Reply::PartPut { .. }));
    finished(&mut machine, complete("key", 9, 100, &parts));
    assert_eq!((parts_bytes(&machine), machine.view().usage(BUCKET).expect("reads").bytes), (MIB - 4, 11 * MIB + 3));
    machine.apply(Change::AbortUpload { bucket: BUCKET, key: "other".to_owned(), upload: UploadId(10) });
    assert_eq!(parts_bytes(&machine), 0);
    machine.view().check_invariants();
}

#[test]
fn completion_moves_the_parts_to_their_offsets_and_ends_the_upload() {
    let mut machine = Machine::with_bucket();
    let parts = three_parts(&mut machine, "key", 9);
    let manifest = finished(&mut machine, complete("key", 9, 100, &parts));
    let rows = machine.view().parts_from(manifest.id, 0, 10).expect("reads");
    let places: Vec<_> = rows.iter().map(|row| (row.number, row.offset_bytes, row.size_bytes)).collect();
    assert_eq!(places, [(2, 0, 5 * MIB), (5, 5 * MIB, 6 * MIB), (9, 11 * MIB, 3)]);
    assert_eq!(rows[0].modified, UnixMs(1003));
    assert_eq!(machine.view().upload(BUCKET, "key", UploadId(9)).expect("reads"), None);
    assert!(machine.view().upload_parts(UploadId(9), 0, 10).expect("reads").0.is_empty());
    assert_eq!((machine.blobs(), machine.garbage()), (vec![20, 21, 22], vec![]));
}

#[test]
fn the_default_retention_is_that_of_the_bucket_when_the_version_is_made() {
    let mut machine = Machine::with_bucket();
    let parts = three_parts(&mut machine, "key", 9);
    let default = DefaultRetention { mode: RetentionMode::Compliance, period: RetentionPeriod::Days(2) };
    let lock = Some(ObjectLock { default_retention: Some(default) });
    let versioning = Some(Versioning::Enabled);
    machine.apply(Change::SetBucket { bucket: BUCKET, versioning, lock, quota: QuotaChange::default() });
    finished(&mut machine, complete("key", 9, 100, &parts));
    let own = Some(Retention { mode: RetentionMode::Governance, until: UnixMs(5) });
    let traits = Traits { retention: own, ..Traits::default() };
    machine.put(PutObject { traits, ..put_blob("own", 30) });
    machine.put(put_blob("put", 31));
    let read = |key: &str| machine.view().object(BUCKET, key).expect("reads").expect("exists");
    for key in ["key", "put"] {
        let ObjectVersion { manifest, traits, .. } = read(key);
        let until = UnixMs(manifest.modified.0 + 2 * 24 * 3600 * 1000);
        assert_eq!(traits.retention, Some(Retention { mode: RetentionMode::Compliance, until }), "{key}");
    }
    assert_eq!(read("own").traits.retention, own);
}

#[test]
fn replaced_unlisted_and_aborted_parts_become_garbage_m2() {
    let mut machine = Machine::with_bucket();
    let parts = three_parts(&mut machine, "key", 9);
    add(&mut machine, "key", 9, &part(5, 30, 7 * MIB));
    assert_eq!(machine.garbage(), [21]);
    finished(&mut machine, complete("key", 9, 100, [&parts[0], &part(9, 22, 3)]));
    assert_eq!((machine.blobs(), machine.garbage()), (vec![20, 22], vec![21, 30]));

    begin(&mut machine, "other", 10);
    add(&mut machine, "other", 10, &part(1, 40, 1));
    let abort = || Change::AbortUpload { bucket: BUCKET, key: "other".into(), upload: UploadId(10) };
    assert_eq!(machine.apply(abort()), Reply::Done);
    assert_eq!(machine.refusal(abort()), Refusal::NoSuchUpload);
    assert_eq!((machine.blobs(), machine.garbage()), (vec![20, 22], vec![21, 30, 40]));
    assert_eq!(machine.view().counts().expect("reads").uploads, 0);
}

#[test]
fn a_part_that_is_malformed_or_has_no_upload_is_refused_and_its_blob_garbage() {
    let mut machine = Machine::with_bucket();
    assert_eq!(add(&mut machine, "key", 9, &part(1, 20, 1)), Reply::Refused(Refusal::NoSuchUpload));
    begin(&mut machine, "key", 9);
    assert_eq!(add(&mut machine, "another key", 9, &part(1, 21, 1)), Reply::Refused(Refusal::NoSuchUpload));
    assert_eq!(add(&mut machine, "key", 9, &part(0, 22, 1)), Reply::Refused(Refusal::InvalidRequest));
    assert_eq!(add(&mut machine, "key", 9, &part(10_001, 23, 1)), Reply::Refused(Refusal::InvalidRequest));
    assert_eq!(add(&mut machine, "key", 9, &part(1, 24, (5 << 30) + 1)), Reply::Refused(Refusal::EntityTooLarge));
    let bytes_without_a_blob = PartRow { blob: None, ..part(1, 25, 1) };
    assert_eq!(add(&mut machine, "key", 9, &bytes_without_a_blob), Reply::Refused(Refusal::InvalidRequest));
    assert_eq!((machine.blobs(), machine.garbage()), (vec![], vec![20, 21, 22, 23, 24]));
}

#[test]
fn the_same_part_applied_twice_is_one_part() {
    let mut machine = Machine::with_bucket();
    begin(&mut machine, "key", 9);
    let first = add(&mut machine, "key", 9, &part(1, 20, 1));
    assert_eq!(add(&mut machine, "key", 9, &part(1, 20, 1)), first);
    assert_eq!((machine.blobs(), machine.garbage()), (vec![20], vec![]));
}

#[test]
fn missing_shards_of_a_part_are_queued_for_repair() {
    let mut machine = Machine::with_bucket();
    begin(&mut machine, "key", 9);
    let mut change = put_part("key", 9, part(1, 20, 1));
    change.missing = vec![ShardNumber(3)];
    machine.apply(Change::PutPart(Box::new(change)));
    assert_eq!(machine.repairs(), [(20, 3)]);
    machine.apply(Change::AbortUpload { bucket: BUCKET, key: "key".into(), upload: UploadId(9) });
    assert_eq!(machine.repairs(), []);
}

#[test]
fn a_refused_completion_leaves_the_upload_unchanged() {
    let mut machine = Machine::with_bucket();
    let [a, b, c] = three_parts(&mut machine, "key", 9);
    add(&mut machine, "key", 9, &part(3, 25, MIB));
    let before = (machine.blobs(), machine.garbage(), machine.view().counts().expect("reads"));
    let list = |parts: &[&PartRow]| complete("key", 9, 100, parts.iter().copied());
    let mut other_md5 = list(&[&a, &b]);
    other_md5.parts[1].md5 = md5_of(1);
    let mut other_checksum = list(&[&a, &b]);
    let value = Bytes::from_static(&[1, 2, 3, 4]);
    let checksum = Checksum { algorithm: ChecksumAlgorithm::Crc32, kind: ChecksumKind::FullObject, value };
    other_checksum.parts[0].checksum = Some(checksum.clone());
    let sized = CompleteUpload { expected_size_bytes: Some(1), ..list(&[&a, &b, &c]) };
    let summed = CompleteUpload { expected_checksum: Some(checksum), ..list(&[&a, &b, &c]) };
    let only_if = WriteConditions { if_match: Some(ETagCondition::Any), if_none_match: None };
    let conditional = CompleteUpload { conditions: only_if, ..list(&[&a, &b, &c]) };
    let too_many: Vec<PartRow> = (0..10_001).map(|number| PartRow { number, ..a.clone() }).collect();
    for (change, refusal) in [
        (list(&[]), Refusal::InvalidRequest),
        (complete("key", 9, 100, &too_many), Refusal::InvalidRequest),
        (list(&[&b, &a]), Refusal::InvalidPartOrder),
        (list(&[&a, &a]), Refusal::InvalidPartOrder),
        (list(&[&a, &part(4, 24, 1)]), Refusal::InvalidPart),
        (other_md5, Refusal::InvalidPart),
        (other_checksum, Refusal::InvalidPart),
        (list(&[&a, &part(3, 25, MIB), &b]), Refusal::EntityTooSmall),
        (sized, Refusal::SizeMismatch),
        (summed, Refusal::InvalidPart),
        (conditional, Refusal::NoSuchKey),
        (complete("key", 8, 100, [&a]), Refusal::NoSuchUpload),
    ] {
        assert_eq!(finish(&mut machine, change), Reply::Refused(refusal));
    }
    assert_eq!((machine.blobs(), machine.garbage(), machine.view().counts().expect("reads")), before);
    finished(&mut machine, list(&[&a, &b, &c]));
}

#[test]
fn a_completion_beyond_the_largest_object_size_is_refused() {
    let mut machine = Machine::with_bucket();
    begin(&mut machine, "key", 9);
    let parts: Vec<_> = (1..=1025).map(|number| part(number, 1000 + u128::from(number), 5 << 30)).collect();
    for row in &parts {
        assert!(matches!(add(&mut machine, "key", 9, row), Reply::PartPut { .. }));
    }
    assert_eq!(finish(&mut machine, complete("key", 9, 100, &parts)), Reply::Refused(Refusal::EntityTooLarge));
    assert_eq!(finished(&mut machine, complete("key", 9, 100, &parts[..1024])).size_bytes, 5 << 40);
}

#[test]
fn a_repeated_completion_gets_the_same_answer_while_the_object_is_current() {
    let mut machine = Machine::with_bucket();
    let parts = three_parts(&mut machine, "key", 9);
    let first = finish(&mut machine, complete("key", 9, 100, &parts));
    assert_eq!(finish(&mut machine, complete("key", 9, 101, &parts)), first);
    let other_list = complete("key", 9, 101, &parts[..2]);
    assert_eq!(finish(&mut machine, other_list), Reply::Refused(Refusal::NoSuchUpload));
    assert_eq!((machine.blobs(), machine.garbage()), (vec![20, 21, 22], vec![]));
    machine.put(put_blob("key", 50));
    assert_eq!(finish(&mut machine, complete("key", 9, 101, &parts)), Reply::Refused(Refusal::NoSuchUpload));
    assert_eq!((machine.blobs(), machine.garbage()), (vec![50], vec![20, 21, 22]));
}

#[test]
fn an_upload_of_one_empty_part_becomes_an_empty_object() {
    let mut machine = Machine::with_bucket();
    begin(&mut machine, "key", 9);
    add(&mut machine, "key", 9, &part(1, 20, 0));
    let manifest = finished(&mut machine, complete("key", 9, 100, &[part(1, 20, 0)]));
    assert_eq!((manifest.size_bytes, manifest.body.clone()), (0, Body::Parts { count: 1 }));
    assert_eq!(machine.view().part_at(manifest.id, 0).expect("reads"), None);
    assert_eq!(machine.view().part_numbered(manifest.id, 0, 1).expect("reads").map(|row| row.number), Some(1));
}

#[test]
fn a_completion_combines_the_checksums_of_the_parts() {
    let content: Vec<u8> = (0..=255).cycle().take(11 * MIB as usize).collect();
    let halves = content.split_at(5 * MIB as usize);
    let crc = |bytes: &[u8]| {
        Bytes::copy_from_slice(&crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, bytes).to_be_bytes())
    };
    let of = |bytes: &[u8]| Checksum {
        algorithm: ChecksumAlgorithm::Crc64Nvme,
        kind: ChecksumKind::FullObject,
        value: crc(bytes),
    };
    let mut machine = Machine::with_bucket();
    let mut create = create_upload("key", 9);
    create.checksum = Some((ChecksumAlgorithm::Crc64Nvme, ChecksumKind::FullObject));
    machine.apply(Change::CreateUpload(Box::new(create.clone())));
    let parts = [(1, 20, halves.0), (2, 21, halves.1)]
        .map(|(number, id, bytes)| PartRow { checksum: Some(of(bytes)), ..part(number, id, bytes.len() as u64) });
    for row in &parts {
        add(&mut machine, "key", 9, row);
    }
    let wrong = CompleteUpload { expected_checksum: Some(of(b"other")), ..complete("key", 9, 100, &parts) };
    assert_eq!(finish(&mut machine, wrong), Reply::Refused(Refusal::ChecksumMismatch));
    let of_another_kind = Checksum { kind: ChecksumKind::Composite, ..of(&content) };
    let other_kind = CompleteUpload { expected_checksum: Some(of_another_kind), ..complete("key", 9, 100, &parts) };
    assert_eq!(finish(&mut machine, other_kind), Reply::Refused(Refusal::InvalidRequest));
    let right = CompleteUpload { expected_checksum: Some(of(&content)), ..complete("key", 9, 100, &parts) };
    assert_eq!(finished(&mut machine, right).checksum, Some(of(&content)));

    create.checksum = Some((ChecksumAlgorithm::Sha256, ChecksumKind::FullObject));
    assert_eq!(machine.refusal(Change::CreateUpload(Box::new(create))), Refusal::InvalidRequest);
}

#[test]
fn an_upload_without_a_checksum_gets_s3s_default_if_all_its_parts_have_it() {
    let of = |algorithm: ChecksumAlgorithm, bytes: &[u8]| {
        let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, bytes).to_be_bytes();
        Checksum { algorithm, kind: ChecksumKind::FullObject, value: Bytes::copy_from_slice(&crc) }
    };
    let content: Vec<u8> = (0..=255).cycle().take(6 * MIB as usize).collect();
    let halves = content.split_at(5 * MIB as usize);
    let whole = |last: ChecksumAlgorithm| {
        let mut machine = Machine::with_bucket();
        machine.apply(Change::CreateUpload(Box::new(create_upload("key", 9))));
        let parts = [(1, 20, halves.0, ChecksumAlgorithm::Crc64Nvme), (2, 21, halves.1, last)].map(
            |(number, id, bytes, algorithm)| PartRow {
                checksum: Some(of(algorithm, bytes)),
                ..part(number, id, bytes.len() as u64)
            },
        );
        parts.iter().for_each(|row| drop(add(&mut machine, "key", 9, row)));
        finished(&mut machine, complete("key", 9, 100, &parts)).checksum
    };
    assert_eq!(whole(ChecksumAlgorithm::Crc64Nvme), Some(of(ChecksumAlgorithm::Crc64Nvme, &content)));
    assert_eq!(whole(ChecksumAlgorithm::Sha1), None);
}

#[test]
fn the_uploads_of_a_deleted_bucket_become_garbage_with_their_parts() {
    let mut machine = Machine::with_bucket();
    let parts = DROPPED_ROWS_AT_ONCE as u16 + 10;
    for upload in 0..3 {
        begin(&mut machine, "key", upload);
        for number in 1..=parts {
            add(&mut machine, "key", upload, &part(number, (upload + 1) * 100_000 + u128::from(number), 1));
        }
    }
    assert_eq!(machine.apply(Change::DeleteBucket { bucket: BUCKET }), Reply::Done);
    assert!(machine.view().counts().expect("reads").dropped_lists > 0);
    let left = machine.blobs().len() + machine.garbage().len();
    assert_eq!(left, 3 * usize::from(parts));
    assert!(machine.garbage().len() <= DROPPED_ROWS_AT_ONCE);
    machine.apply(Change::ReclaimGarbage { gone: vec![] });
    assert_eq!((machine.blobs(), machine.garbage().len()), (vec![], 3 * usize::from(parts)));
    let counts = machine.view().counts().expect("reads");
    assert_eq!((counts.uploads, counts.dropped_lists, counts.blobs), (0, 0, 0));
}

#[test]
fn reclaiming_garbage_takes_a_long_dropped_list_apart_to_its_end_m4() {
    let mut machine = Machine::with_bucket();
    begin(&mut machine, "key", 9);
    let parts: Vec<_> = (1..=3000).map(|number| part(number, 10_000 + u128::from(number), 5 * MIB)).collect();
    for row in &parts {
        add(&mut machine, "key", 9, row);
    }
    finished(&mut machine, complete("key", 9, 100, &parts));
    machine.apply(put(put_blob("key", 50)));
    assert_eq!(machine.garbage().len(), DROPPED_ROWS_AT_ONCE);
    assert_eq!(
        machine.view().object(BUCKET, "key").expect("reads").map(|object| object.manifest.id),
        Some(ManifestId(50))
    );
    let mut reclaimed = 0;
    while let Some(&blob) = machine.garbage().first() {
        let first = machine.garbage();
        reclaimed += first.len();
        let gone = first.iter().flat_map(|&blob| shards_of(blob)).collect();
        machine.apply(Change::ReclaimGarbage { gone });
        assert!(!machine.view().blob_is_known(crate::types::BlobId(blob)).expect("reads"));
    }
    assert_eq!((reclaimed, machine.blobs()), (3000, vec![50]));
    assert!(machine.view().parts_from(ManifestId(100), 0, 10).expect("reads").is_empty());
}
