//! Tests of the bounds on documents.

use super::Machine;
use crate::limits::{CONFIGURATION_BYTES_MAX, CONFIGURATIONS_OF_A_KIND_MAX, DOCUMENTS_PAGE_BYTES};
use crate::storage::meta::command::{Change, Refusal, Reply};
use crate::storage::meta::record::{BucketDocument, DocumentKey, DocumentWrite, Expect};
use crate::storage::meta::samples::BUCKET;
use bytes::Bytes;

fn write(kind: BucketDocument, id: usize, is_there: bool) -> DocumentWrite {
    let key = DocumentKey::Bucket(BUCKET, kind, format!("id-{id}"));
    DocumentWrite { key, expect: Expect::Any, value: is_there.then(|| Bytes::from_static(b"{}")) }
}

#[test]
fn a_bucket_has_no_more_configurations_of_a_kind_than_s3_allows() {
    use BucketDocument::{Analytics, Inventory, Metrics, Renames};
    let mut machine = Machine::with_bucket();
    let most = CONFIGURATIONS_OF_A_KIND_MAX;
    let puts = |ids: std::ops::Range<usize>, kind| ids.map(|id| write(kind, id, true)).collect();
    assert_eq!(machine.apply(Change::WriteDocuments(puts(0..most - 1, Inventory))), Reply::Done);
    // Each of two concurrent changes was proposed when there was room for it, as were those of one change.
    let two = Change::WriteDocuments(puts(most - 1..most + 1, Inventory));
    assert_eq!(machine.refusal(two), Refusal::DocumentChanged);
    assert_eq!(machine.apply(Change::WriteDocuments(puts(most - 1..most, Inventory))), Reply::Done);
    let another = || Change::WriteDocuments(vec![write(Inventory, most, true)]);
    assert_eq!(machine.refusal(another()), Refusal::DocumentChanged);
    assert_eq!(machine.apply(Change::WriteDocuments(puts(5..7, Inventory))), Reply::Done, "these are replaced");
    for kind in [Analytics, Metrics] {
        assert_eq!(machine.apply(Change::WriteDocuments(puts(0..1, kind))), Reply::Done, "each kind is counted alone");
    }
    assert_eq!(machine.apply(Change::WriteDocuments(puts(0..most + 1, Renames))), Reply::Done, "it has no bound");
    assert_eq!(machine.apply(Change::WriteDocuments(vec![write(Inventory, 3, false)])), Reply::Done);
    assert_eq!(machine.apply(another()), Reply::Done);
    let view = machine.view();
    let (found, more) = view.bucket_documents(BUCKET, Inventory, "", None, 2 * most).expect("reads");
    assert_eq!((found.len(), more), (most, false));
    let count = |kind, limit| view.count_bucket_documents(BUCKET, kind, limit).expect("reads");
    assert_eq!((count(Inventory, 2 * most), count(Inventory, 7), count(Metrics, most)), (most, 7, 1));
}

#[test]
fn a_page_of_a_buckets_documents_is_bounded_in_bytes_and_goes_on_where_it_ended() {
    let mut machine = Machine::with_bucket();
    let value = Bytes::from(vec![b'x'; CONFIGURATION_BYTES_MAX]);
    let count = 3 * DOCUMENTS_PAGE_BYTES / CONFIGURATION_BYTES_MAX;
    let key = |id: usize| DocumentKey::Bucket(BUCKET, BucketDocument::Inventory, format!("id-{id:04}"));
    let written = |id| DocumentWrite { key: key(id), expect: Expect::Any, value: Some(value.clone()) };
    assert_eq!(machine.apply(Change::WriteDocuments((0..count).map(written).collect())), Reply::Done);
    let (view, mut names) = (machine.view(), Vec::<String>::new());
    loop {
        let after = names.last().map(String::as_str);
        let page = view.bucket_documents(BUCKET, BucketDocument::Inventory, "", after, usize::MAX);
        let (found, more) = page.expect("reads");
        let bytes: usize = found.iter().map(|(_, row)| row.value.len()).sum();
        assert!(bytes <= DOCUMENTS_PAGE_BYTES + CONFIGURATION_BYTES_MAX, "{bytes} bytes in a page");
        names.extend(found.into_iter().map(|(name, _)| name));
        if !more {
            break;
        }
    }
    assert_eq!(names, (0..count).map(|id| format!("id-{id:04}")).collect::<Vec<_>>());
}

#[test]
fn a_deleted_bucket_leaves_no_configurations() {
    let mut machine = Machine::with_bucket();
    let puts = (0..3).map(|id| write(BucketDocument::Inventory, id, true)).collect();
    assert_eq!(machine.apply(Change::WriteDocuments(puts)), Reply::Done);
    assert_eq!(machine.apply(Change::DeleteBucket { bucket: BUCKET }), Reply::Done);
    let found = machine.view().bucket_documents(BUCKET, BucketDocument::Inventory, "", None, 10).expect("reads");
    assert_eq!(found, (Vec::new(), false));
}
