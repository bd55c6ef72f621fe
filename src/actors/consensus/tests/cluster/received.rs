//! Snapshots that a leader sends one after the other.

use crate::actors::consensus::network::{
    InstallSnapshot, Installing, Kind, PieceTaken, SnapshotPiece, decode_plain, encode, encode_plain,
};
use crate::actors::consensus::tests::{Host, until};
use crate::actors::consensus::{MetaHandle, Offload, ReplicaOptions, start};
use crate::net::{GroupCall, GroupError};
use crate::storage::disk::sim::{Held, SimDisk};
use crate::storage::disk::{Disk, create_dir_durably};
use crate::storage::raft_log::Ballot;
use bytes::Bytes;
use std::path::Path;

/// The ballot of a leader of a later term than the replica's own.
const BALLOT: Ballot = Ballot { term: 1000, node: 2, committed: true };
/// The bytes of a snapshot that is damaged.
const DAMAGED: &[u8] = b"no snapshot";

async fn serve(meta: &MetaHandle, kind: Kind, body: Bytes) -> Result<Bytes, GroupError> {
    meta.serve(GroupCall { group: 0, kind: kind as u8, body }).await
}

/// Sends a snapshot whole. Returns false if it is refused.
async fn send(meta: &MetaHandle, transfer: u128) -> bool {
    let piece = SnapshotPiece { ballot: BALLOT, transfer, total_bytes: DAMAGED.len() as u64, offset: 0 };
    let Ok(answer) = serve(meta, Kind::SnapshotPiece, encode(&piece, &[DAMAGED])).await else { return false };
    assert_eq!(decode_plain(&answer), Ok(PieceTaken::Next(DAMAGED.len() as u64)));
    true
}

async fn install(meta: &MetaHandle, transfer: u128) -> Installing {
    let asked = encode_plain(&InstallSnapshot { ballot: BALLOT, transfer });
    decode_plain(&serve(meta, Kind::SnapshotInstall, asked).await.expect("answered")).expect("an answer")
}

/// Installs a snapshot, and returns how that ended.
async fn installed(meta: &MetaHandle, transfer: u128) -> Installing {
    let mut ended = install(meta, transfer).await;
    while ended == Installing::Busy {
        tokio::task::yield_now().await;
        ended = install(meta, transfer).await;
    }
    ended
}

/// Returns whether this process has a file open that is, or was, in the directory.
fn has_file_open_in(dir: &Path) -> bool {
    let open = std::fs::read_dir("/proc/self/fd").expect("the open files of the process");
    open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok()).any(|file| file.starts_with(dir))
}

#[actix::test]
async fn the_file_of_a_received_snapshot_is_closed_when_it_is_removed() {
    let mut host = Host::with_drives(1);
    let meta = host.start().await;
    let dir = host.dir(1).canonicalize().expect("the drive's directory").join("meta/incoming");
    assert!(send(&meta, 1).await);
    assert!(has_file_open_in(&dir), "further pieces are written to it");
    let ended = installed(&meta, 1).await;
    assert!(matches!(ended, Installing::Failed(_)), "{ended:?}");
    assert!(!has_file_open_in(&dir));
    meta.shutdown().await;
}

#[actix::test]
async fn a_snapshot_is_received_only_once_the_file_of_the_one_before_is_removed() {
    let disk = SimDisk::new(256 << 20);
    let host = Host { disk: disk.handle(), ..Host::with_drives(1) };
    create_dir_durably(&disk, &host.dir(1)).expect("a drive's directory");
    let meta = start(ReplicaOptions { offload: Offload::Threads, ..host.options() }).await.expect("the replica starts");
    let file = host.dir(1).join("meta/incoming/snapshot");
    let held = disk.hold(Held::Remove);
    assert!(send(&meta, 1).await);
    assert_eq!(install(&meta, 1).await, Installing::Busy);
    until("the file is being removed", || held.arrivals() == 1).await;
    assert_eq!(install(&meta, 1).await, Installing::Busy, "its file is still there");
    assert!(!send(&meta, 2).await, "its file would be removed");
    drop(held);
    let ended = installed(&meta, 1).await;
    assert!(matches!(ended, Installing::Failed(_)), "{ended:?}");
    assert!(!disk.exists(&file).expect("looked for"));
    assert!(send(&meta, 2).await);
    assert!(disk.exists(&file).expect("looked for"));
    meta.shutdown().await;
}

#[actix::test]
async fn a_snapshot_that_was_not_received_to_its_end_is_removed_at_the_next_start() {
    let disk = SimDisk::new(256 << 20);
    let mut host = Host { disk: disk.handle(), ..Host::with_drives(1) };
    create_dir_durably(&disk, &host.dir(1)).expect("a drive's directory");
    let meta = start(host.options()).await.expect("the replica starts");
    let file = host.dir(1).join("meta/incoming/snapshot");
    assert!(send(&meta, 1).await);
    meta.shutdown().await;
    assert!(disk.exists(&file).expect("looked for"), "it was not installed");
    host.started = true;
    let meta = start(host.options()).await.expect("the replica starts again");
    assert!(!disk.exists(&file).expect("looked for"));
    meta.shutdown().await;
}
