//! Fuzz targets for the metadata's encodings: log entries as a leader sends them, snapshots, and rows as they are on a
//! drive. The targets make checksums and lengths right first, so that the code behind those checks is reached.

use super::codec::{self, Record, decode_command, decode_entry, encode_command, encode_entry};
use super::command::{AnswerRow, Change, Command, CreateBucket};
use super::record::{
    AnswersRecord, BlobRef, BucketRow, ClockRecord, CompletedRecord, Counts, DocumentRow, EventRow, FenceRecord,
    GarbageRow, HeldRecord, HostRecord, LayoutRecord, LeftoverRow, NodeRecord, NullVersionRow, ObjectVersion, OwnerRow,
    PartRow, Pick, RecoveryRecord, RegisteredRecord, RemovedRecord, RepairRow, RolesRecord, SharedRow, UploadRow,
    Usage, VersionRow,
};
use super::snapshot::SnapshotInstaller;
use super::tables::{DroppedList, TABLES, key_of_version, shard_of_leftover_key, split_upload_key};
use super::{ApplyEntry, MetaTables};
use crate::storage::kv::memory::MemoryKv;
use crate::storage::raft_log::{AppliedAt, LogRecord};
use crate::storage::sealing::{NamedKey, Sealing};
use crate::storage::wal::RecordKind;
use crate::types::UnixMs;
use bytes::Bytes;
use std::fmt::Debug;
use std::sync::Arc;

const COMMANDS_MAX: usize = 16;
const LIST_MAX: usize = 10;

/// Decodes commands, checks that each encodes to the same value again, and applies each as an entry of its own to
/// tables with a bucket. `data` has, for each command, the length of its head in two bytes, then the head. The highest
/// bit of the length adds inline bytes.
pub fn entries(data: &[u8]) {
    let _ = decode_entry(&Bytes::copy_from_slice(data));
    let _ = decode_command(&Bytes::copy_from_slice(data));
    let tables = MetaTables::open(Arc::new(MemoryKv::new(TABLES))).expect("empty tables");
    let create = CreateBucket { name: "photos".to_owned(), ..CreateBucket::default() };
    apply(&tables, 1, vec![Command::new(UnixMs(1000), Change::CreateBucket(Box::new(create)))]);
    let mut rest = data;
    for index in 0..COMMANDS_MAX as u64 {
        let Some((length, after)) = rest.split_first_chunk::<2>() else { return };
        let length = u16::from_le_bytes(*length);
        let (head, after) = after.split_at(usize::from(length & 0x7fff).min(after.len()));
        rest = after;
        let confirmed = [0; 8];
        let mut bytes =
            [&[codec::FORMAT_VERSION, 0][..], &confirmed, &(head.len() as u32).to_le_bytes(), head].concat();
        bytes.extend_from_slice(if length & 0x8000 == 0 { &[0] } else { b"\x01inline" });
        let Ok(command) = decode_command(&bytes.into()) else { continue };
        let written = encode_command(&command);
        assert_eq!(decode_entry(&encode_entry(&[written])).ok(), Some(vec![command.clone()]));
        apply(&tables, index + 2, vec![command]);
    }
}

/// Applies commands; tables in memory do not fail.
fn apply(tables: &MetaTables, index: u64, commands: Vec<Command>) {
    let entry = ApplyEntry { index, commands };
    let replies = tables.apply([entry], Bytes::new()).expect("tables in memory");
    assert_eq!(replies.len(), 1);
}

/// Installs a snapshot and reads the resulting tables. `data` has the bodies of frames, each after its length in two
/// bytes.
pub fn snapshots(data: &[u8]) {
    let kv = Arc::new(MemoryKv::new(TABLES));
    let mut installer = SnapshotInstaller::new(Arc::<MemoryKv>::clone(&kv) as _).expect("empty tables");
    let mut as_it_is = SnapshotInstaller::new(Arc::new(MemoryKv::new(TABLES))).expect("empty tables");
    let _ = as_it_is.push(data);
    let mut rest = data;
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let (body, after) = after.split_at(usize::from(u16::from_le_bytes(*length)).min(after.len()));
        rest = after;
        let frame = [&(body.len() as u32).to_le_bytes()[..], &crc32c::crc32c(body).to_le_bytes(), body].concat();
        if installer.push(&frame).is_err() {
            return;
        }
    }
    if installer.finish().is_err() {
        return;
    }
    let Ok(tables) = MetaTables::open(kv) else { return };
    let _ = tables.applied();
    let view = tables.view();
    let _ = (view.garbage(None, LIST_MAX), view.blobs(None, LIST_MAX), view.repairs(None, LIST_MAX));
    if let Ok(Some(bucket)) = view.bucket("photos") {
        let id = bucket.bucket.id;
        let _ = (view.object(id, "key"), view.version(id, "key", Pick::Current), view.usage(id));
    }
}

/// Decodes each kind of row from the same bytes; a decoded row must encode to the same bytes.
pub fn rows(data: &[u8]) {
    kinds_of_rows(data);
    let _ = (DroppedList::from_key(data), key_of_version(data), split_upload_key(data), shard_of_leftover_key(data));
    if let Ok(at) = AppliedAt::decode(data) {
        assert_eq!(AppliedAt::decode(&at.encode()).ok(), Some(at));
    }
    if let Ok(sealing) = Sealing::decode(data) {
        assert_eq!(Sealing::decode(&sealing.encode()).ok(), Some(sealing));
    }
    if let Ok(key) = NamedKey::decode(data) {
        assert!(NamedKey::decode(&key.encode()).is_ok());
    }
    for kind in [RecordKind::RaftEntry, RecordKind::RaftState, RecordKind::Chunk] {
        if let Ok(record) = LogRecord::decode(kind, &Bytes::copy_from_slice(data)) {
            let written = record.to_wal();
            assert_eq!(LogRecord::decode(written.kind, &written.body).ok(), Some(record));
        }
    }
}

fn kinds_of_rows(data: &[u8]) {
    same_again::<AnswerRow>(data);
    same_again::<AnswersRecord>(data);
    same_again::<BlobRef>(data);
    same_again::<BucketRow>(data);
    same_again::<ClockRecord>(data);
    same_again::<CompletedRecord>(data);
    same_again::<Counts>(data);
    same_again::<DocumentRow>(data);
    same_again::<EventRow>(data);
    same_again::<GarbageRow>(data);
    same_again::<HeldRecord>(data);
    same_again::<HostRecord>(data);
    same_again::<LayoutRecord>(data);
    same_again::<LeftoverRow>(data);
    same_again::<NodeRecord>(data);
    same_again::<NullVersionRow>(data);
    same_again::<ObjectVersion>(data);
    same_again::<OwnerRow>(data);
    same_again::<PartRow>(data);
    same_again::<RepairRow>(data);
    same_again::<RolesRecord>(data);
    same_again::<RemovedRecord>(data);
    same_again::<FenceRecord>(data);
    same_again::<RecoveryRecord>(data);
    same_again::<RegisteredRecord>(data);
    same_again::<SharedRow>(data);
    same_again::<UploadRow>(data);
    same_again::<Usage>(data);
    same_again::<VersionRow>(data);
}

fn same_again<R: Record + PartialEq + Debug>(data: &[u8]) {
    if let Ok(row) = codec::decode::<R>(data) {
        assert_eq!(codec::decode::<R>(&codec::encode(&row)).ok(), Some(row));
    }
}
