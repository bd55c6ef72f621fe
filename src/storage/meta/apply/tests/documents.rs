//! Tests of the bounds on documents.

use super::Machine;
use crate::limits::CONFIGURATIONS_OF_A_KIND_MAX;
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
    let (found, more) = machine.view().bucket_documents(BUCKET, Inventory, "", None, 2 * most).expect("reads");
    assert_eq!((found.len(), more), (most, false));
}
