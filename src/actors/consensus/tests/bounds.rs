//! Changes of sizes around every bound: each is made or refused for its size, and a change that was made is there after
//! a snapshot and a restart.

use super::{Host, create_bucket, put_ok};
use crate::actors::consensus::{MetaError, MetaHandle, ReplicaOptions, start};
use crate::limits::{
    COMMAND_BYTES_MAX, DOCUMENT_BYTES_MAX, GROUP_CALL_BYTES_MAX, LARGE_DOCUMENT_BYTES_MAX, META_SEGMENT_BYTES,
    RAFT_BATCH_BYTES_MAX, RECORD_BODY_BYTES_MAX,
};
use crate::storage::meta::command::{Change, DeleteConditions, DeleteVersion, Reply};
use crate::storage::meta::record::{BucketDocument, DocumentKey, DocumentWrite, Expect, Pick};
use crate::types::BucketId;
use bytes::Bytes;

/// Distances from a bound, in bytes, that are tested.
const AROUND: [isize; 7] = [-4096, -64, -1, 0, 1, 64, 4096];

fn around(bound: usize) -> impl Iterator<Item = usize> {
    AROUND.into_iter().filter_map(move |by| bound.checked_add_signed(by))
}

fn document(bucket: BucketId, name: String, bytes: usize) -> DocumentWrite {
    let key = DocumentKey::Bucket(bucket, BucketDocument::Cors, name);
    DocumentWrite { key, expect: Expect::Any, value: Some(vec![b'"'; bytes].into()) }
}

/// Returns many small deletes of missing keys, in one command of about `bytes` bytes.
fn deletes(bucket: BucketId, bytes: usize) -> Change {
    const KEY_BYTES: usize = 1000;
    let delete = |key_bytes: usize| DeleteVersion {
        key: "k".repeat(key_bytes),
        pick: Pick::Current,
        conditions: DeleteConditions::default(),
        owner: String::new(),
        salt: 0,
        bypass_governance: false,
        event: None,
    };
    let some = (0..bytes / KEY_BYTES).map(|_| delete(KEY_BYTES - 13)).chain([delete(bytes % KEY_BYTES + 1)]);
    Change::DeleteVersions { bucket, deletes: some.collect() }
}

/// Starts the replica with segments of the size that hosts have.
async fn start_with_large_segments(host: &Host) -> MetaHandle {
    let options = ReplicaOptions { segment_bytes: META_SEGMENT_BYTES, ..host.options() };
    start(options).await.expect("the replica starts")
}

/// Returns whether the change was made; it is too large otherwise.
async fn is_made(meta: &MetaHandle, change: Change) -> bool {
    match meta.propose(change).await {
        Ok(Reply::Done | Reply::VersionsDeleted(_)) => true,
        Err(MetaError::TooLarge(_)) => false,
        other => panic!("a change is made or too large, not {other:?}"),
    }
}

#[actix::test]
async fn a_change_of_any_size_is_refused_or_survives_a_snapshot_and_a_restart() {
    let mut host = Host::with_drives(2);
    let meta = start_with_large_segments(&host).await;
    host.started = true;
    let bucket = create_bucket(&meta, "b").await;
    let mut kept = Vec::new();
    for bound in [DOCUMENT_BYTES_MAX, LARGE_DOCUMENT_BYTES_MAX, RAFT_BATCH_BYTES_MAX, COMMAND_BYTES_MAX] {
        for bytes in around(bound) {
            let made = is_made(&meta, Change::WriteDocuments(vec![document(bucket, bytes.to_string(), bytes)])).await;
            assert_eq!(made, bytes <= LARGE_DOCUMENT_BYTES_MAX, "a document of {bytes} bytes");
            kept.extend(made.then_some(bytes));
        }
    }
    for bound in [COMMAND_BYTES_MAX, GROUP_CALL_BYTES_MAX, RECORD_BODY_BYTES_MAX, 2 * RECORD_BODY_BYTES_MAX] {
        for bytes in around(bound) {
            let made = is_made(&meta, deletes(bucket, bytes)).await;
            assert!(!made || bytes < 2 * COMMAND_BYTES_MAX, "a change of about {bytes} bytes");
        }
    }
    let several = |count: usize| (0..count).map(|at| document(bucket, format!("of-{at}"), 1 << 20)).collect();
    assert!(is_made(&meta, Change::WriteDocuments(several(3))).await);
    assert!(!is_made(&meta, Change::WriteDocuments(several(4))).await, "together the documents are too large");
    meta.snapshot_now().await;
    assert!(meta.status().snapshot_index > 0);
    put_ok(&meta, bucket, "key", 1).await;
    meta.shutdown().await;
    drop(meta);
    let meta = start_with_large_segments(&host).await;
    let view = meta.read().await.expect("metadata is readable");
    for bytes in kept {
        let key = DocumentKey::Bucket(bucket, BucketDocument::Cors, bytes.to_string());
        let row = view.document(&key).expect("the tables are readable").expect("the document was kept");
        assert_eq!(row.value, Bytes::from(vec![b'"'; bytes]));
    }
    meta.shutdown().await;
}
