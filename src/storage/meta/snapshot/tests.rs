//! Tests of snapshots: round trips, and what is refused.

use super::{FRAME_BODY_BYTES, FRAME_HEADER_BYTES, SnapshotError, SnapshotInstaller, SnapshotWriter};
use crate::limits::RECORD_BODY_BYTES_MAX;
use crate::storage::kv::memory::MemoryKv;
use crate::storage::kv::{Batch, Kv, KvRead, Pair};
use crate::storage::meta::apply::{ApplyEntry, MetaTables};
use crate::storage::meta::command::{Change, Command};
use crate::storage::meta::samples;
use crate::storage::meta::tables::{INLINE, OBJECTS, PARTS, SYSTEM, TABLES, object_key};
use crate::types::{BucketId, UnixMs};
use bytes::Bytes;
use std::ops::Bound;
use std::sync::Arc;

fn empty() -> Arc<MemoryKv> {
    Arc::new(MemoryKv::new(TABLES))
}

/// Tables with a bucket, an object and a last applied position.
fn filled() -> Arc<MemoryKv> {
    let kv = empty();
    let tables = MetaTables::open(kv.clone()).expect("opens");
    let create = Change::CreateBucket(Box::new(samples::create_bucket()));
    let put = Change::PutObject(Box::new(samples::put_inline("key", 5, b"bytes")));
    let commands = [create, put].map(|change| Command::new(UnixMs(1), change)).to_vec();
    tables.apply([ApplyEntry { index: 77, commands }], Bytes::from_static(b"position")).expect("applies");
    kv
}

fn frames(kv: &dyn Kv) -> Vec<Bytes> {
    SnapshotWriter::new(kv.snapshot()).collect::<Result<_, _>>().expect("reads")
}

fn rows(kv: &dyn KvRead) -> Vec<Vec<Pair>> {
    let of = |&table| kv.range(table, Bound::Unbounded, Bound::Unbounded).collect::<Result<_, _>>().expect("reads");
    TABLES.iter().map(of).collect()
}

fn install(kv: &Arc<MemoryKv>, bytes: &[u8], piece_bytes: usize) -> Result<(), SnapshotError> {
    let mut installer = SnapshotInstaller::new(kv.clone())?;
    for piece in bytes.chunks(piece_bytes) {
        installer.push(piece)?;
    }
    installer.finish()
}

#[test]
fn a_snapshot_carries_every_row_and_the_last_applied_position() {
    let kv = filled();
    let bytes = frames(&*kv).concat();
    for piece_bytes in [1, 7, 4096, bytes.len()] {
        let copy = empty();
        install(&copy, &bytes, piece_bytes).expect("installs");
        assert_eq!(rows(&*copy), rows(&*kv));
        assert_eq!(copy.unsynced_commits(), 0);
        let applied = MetaTables::open(copy).expect("opens").applied().expect("reads").expect("applied");
        assert_eq!((applied.index, &applied.position[..]), (77, &b"position"[..]));
    }
}

#[test]
fn a_snapshot_of_several_frames_restores_binary_keys_c9() {
    let kv = filled();
    let mut batch = Batch::default();
    for number in 0..300u32 {
        let name = [&[0x00, 0xff, b'/', 0x80][..], &number.to_be_bytes(), b"/..\x00\xff"].concat();
        batch.put(INLINE, name.clone(), vec![number as u8; 16 << 10]);
        batch.put(PARTS, name, Vec::new());
        batch.put(OBJECTS, object_key(BucketId(1), &format!("\0{number}\u{10ffff}/../\0")), vec![0xff; 100]);
    }
    kv.commit(batch).expect("commits");
    let frames = frames(&*kv);
    assert!(frames.len() > 5);
    for frame in &frames {
        assert!(frame.len() < FRAME_HEADER_BYTES + FRAME_BODY_BYTES + (32 << 10));
    }
    let copy = empty();
    install(&copy, &frames.concat(), 100_000).expect("installs");
    assert_eq!(rows(&*copy), rows(&*kv));
}

#[test]
fn later_changes_do_not_show_in_a_snapshot_under_way() {
    let kv = filled();
    let before = rows(&*kv);
    let mut writer = SnapshotWriter::new(kv.snapshot());
    let mut bytes = writer.next().expect("a first frame").expect("reads").to_vec();
    let mut batch = Batch::default();
    batch.put(OBJECTS, b"later".to_vec(), vec![1]);
    batch.remove(INLINE, before[3][0].0.clone());
    kv.commit(batch).expect("commits");
    writer.for_each(|frame| bytes.extend(frame.expect("reads")));
    let copy = empty();
    install(&copy, &bytes, 4096).expect("installs");
    assert_eq!(rows(&*copy), before);
}

#[test]
fn a_snapshot_of_empty_tables_is_installed() {
    let copy = empty();
    install(&copy, &frames(&*empty()).concat(), 10).expect("installs");
    assert!(rows(&*copy).iter().all(Vec::is_empty));
}

#[test]
fn a_snapshot_with_a_flipped_bit_is_refused_without_a_position() {
    let bytes = frames(&*filled()).concat();
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let copy = empty();
        let refused = install(&copy, &damaged, 4096);
        assert!(
            matches!(refused, Err(SnapshotError::Corrupt { .. } | SnapshotError::Truncated { .. })),
            "bit {bit}: {refused:?}"
        );
        assert!(copy.range(SYSTEM, Bound::Unbounded, Bound::Unbounded).next().is_none());
    }
}

#[test]
fn a_truncated_or_extended_snapshot_is_refused() {
    let bytes = frames(&*filled()).concat();
    for end in 0..bytes.len() {
        let copy = empty();
        assert!(matches!(install(&copy, &bytes[..end], 4096), Err(SnapshotError::Truncated { .. })), "{end} bytes");
        assert!(copy.range(SYSTEM, Bound::Unbounded, Bound::Unbounded).next().is_none());
    }
    let longer = [&bytes[..], &[0; 9]].concat();
    assert!(matches!(install(&empty(), &longer, 4096), Err(SnapshotError::Corrupt { .. })));
}

#[test]
fn missing_repeated_and_reordered_frames_are_refused() {
    let frames = frames(&*filled());
    let last = frames.len() - 1;
    for index in 0..frames.len() {
        let without: Vec<_> =
            frames.iter().enumerate().filter(|(at, _)| *at != index).map(|(_, frame)| frame.clone()).collect();
        assert!(install(&empty(), &without.concat(), 4096).is_err(), "without frame {index}");
        let mut twice = frames.clone();
        twice.insert(index, frames[index].clone());
        assert!(install(&empty(), &twice.concat(), 4096).is_err(), "frame {index} twice");
        let mut swapped = frames.clone();
        swapped.swap(index, if index == last { 0 } else { index + 1 });
        assert!(install(&empty(), &swapped.concat(), 4096).is_err(), "frame {index} swapped");
    }
}

/// Rows may be larger than the bounds of changes allow.
#[test]
fn a_snapshot_holds_rows_as_large_as_a_record_of_the_log() {
    let kv = filled();
    for bytes in [FRAME_BODY_BYTES - 20, FRAME_BODY_BYTES, 4 << 20, 5 << 20, RECORD_BODY_BYTES_MAX] {
        let mut batch = Batch::default();
        for number in 0..2u8 {
            batch.put(OBJECTS, object_key(BucketId(1), &format!("{bytes}-{number}")), vec![number; bytes]);
        }
        kv.commit(batch).expect("commits");
    }
    let copy = empty();
    install(&copy, &frames(&*kv).concat(), 1 << 20).expect("installs");
    assert_eq!(rows(&*copy), rows(&*kv));
}

#[test]
fn a_row_that_no_frame_can_hold_is_an_error() {
    let kv = filled();
    let mut batch = Batch::default();
    batch.put(OBJECTS, b"k".to_vec(), vec![0; 2 * RECORD_BODY_BYTES_MAX]);
    kv.commit(batch).expect("commits");
    let written: Result<Vec<Bytes>, _> = SnapshotWriter::new(kv.snapshot()).collect();
    assert_eq!(written.expect_err("too large").doing, "write a snapshot");
}

/// Returns a frame with a correct checksum around any body.
fn framed(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_le_bytes()[..], &crc32c::crc32c(body).to_le_bytes(), body].concat()
}

#[test]
fn an_unknown_snapshot_version_and_malformed_rows_are_refused() {
    let first = |version| framed(&[&[1], &b"SHERDMET"[..], &[version]].concat());
    assert!(matches!(install(&empty(), &first(3), 99), Err(SnapshotError::UnknownVersion { found: 3 })));
    let with = |body: &[u8]| install(&empty(), &[first(1), framed(body)].concat(), 99);
    for body in [
        &[2][..],
        &[2, 200],
        &[2, 0, 1],
        &[2, 0, 1, 0, 5, 0, 0, 0, b'k'],
        &[2, 0, 0, 0, 0, 0, 0, 0],
        &[2, 0, 1, 0, 0, 0, 0, 0, b'b', 1, 0, 0, 0, 0, 0, b'a'],
        &[3, 0],
        &[9],
    ] {
        assert!(matches!(with(body), Err(SnapshotError::Corrupt { .. })), "{body:?}");
    }
    let huge = [first(1), u32::MAX.to_le_bytes().to_vec(), vec![0; 4]].concat();
    assert!(matches!(install(&empty(), &huge, 99), Err(SnapshotError::Corrupt { .. })));
}

#[test]
fn a_snapshot_is_not_installed_over_existing_rows() {
    let kv = filled();
    assert!(matches!(SnapshotInstaller::new(kv), Err(SnapshotError::NotEmpty { .. })));
}
