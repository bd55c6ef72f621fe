//! Tests of indexes that are made anew because a block of them is damaged, on real tables.

use super::{append, chunk_of, compact, compaction, context, read, shard};
use crate::actors::drives::health::Contents;
use crate::actors::drives::test_host::{SetClock, TestHost, drive_options, flip_byte_of, set_clock};
use crate::actors::drives::{Drive, DriveOptions, open_drive};
use crate::actors::healer::{HealerHandle, Healing, HealingOptions};
use crate::actors::log::Threads;
use crate::actors::upkeep::{CompactionError, Pace, Reindexed, Reindexing, ReindexingOptions};
use crate::net::{AppendChunks, NodeService, PeerError};
use crate::storage::kv::fjall::TableMemory;
use crate::storage::shard_index::{IndexError, SegmentUse, ShardIndex};
use crate::types::{ChunkIndex, NodeId, SegmentId};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const NODE: NodeId = NodeId(0);
/// Shards with so many chunks that the rows of each fill a file of a table.
const LARGE: [u128; 3] = [1, 2, 3];
const CHUNKS: usize = 100;
const WAIT_MAX: Duration = Duration::from_secs(60);
/// An offset within the first block of a table's file, after the block's header.
const IN_FIRST_BLOCK: u64 = 40;

/// Opens a drive whose index writes the rows of each large shard out at once.
fn open(root: &Path, clock: &Arc<SetClock>) -> Drive {
    let index_memory = TableMemory { cache_bytes: 1 << 20, memtable_bytes: 4 << 10 };
    let options = DriveOptions { index_memory, ..drive_options(root, NODE, clock) };
    open_drive(&options).expect("a drive").start(Threads::Current)
}

async fn host(root: &Path, clock: &Arc<SetClock>) -> TestHost {
    TestHost::new(vec![open(root, clock)], 1, 0, clock.clone(), None).await
}

/// Closes a host and its index, so that another one can open the drive at once.
async fn close(host: TestHost) {
    let index = host.drives[0].index.clone();
    host.close().await;
    index.close().expect("nobody uses it");
}

/// Returns the files of the index's tables, without those of fjall's own.
fn table_files(root: &Path) -> Vec<PathBuf> {
    let keyspaces = root.join(NODE.to_string()).join("index").join("keyspaces");
    let keyspaces = std::fs::read_dir(keyspaces).expect("lists").flatten().map(|entry| entry.path());
    let tables = keyspaces.filter(|path| !path.ends_with("0")).map(|path| path.join("tables"));
    tables.flat_map(|dir| std::fs::read_dir(dir).into_iter().flatten().flatten()).map(|entry| entry.path()).collect()
}

fn flip_first_blocks(root: &Path) {
    for path in table_files(root) {
        let file = std::fs::File::options().read(true).write(true).open(path).expect("a file of a table");
        let mut byte = [0];
        file.read_exact_at(&mut byte, IN_FIRST_BLOCK).expect("reads");
        file.write_all_at(&[byte[0] ^ 0x10], IN_FIRST_BLOCK).expect("writes");
        file.sync_all().expect("syncs");
    }
}

async fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(WAIT_MAX, waiting).await.unwrap_or_else(|_| panic!("{what} does not happen"));
}

fn small_bodies(blob: u128) -> Vec<Bytes> {
    (0..CHUNKS).map(|number| Bytes::from(format!("chunk {number} of blob {blob}"))).collect()
}

async fn append_large(host: &TestHost, blob: u128) {
    let request =
        AppendChunks { node: NODE, shard: shard(blob), first: ChunkIndex(0), chunks: small_bodies(blob), trace: None };
    host.service.append_chunks(request).await.expect("appended");
}

fn found(index: &ShardIndex, blob: u128) -> Result<usize, IndexError> {
    let entries = index.lookup(shard(blob), ChunkIndex(0), CHUNKS as u32)?;
    Ok(entries.into_iter().flatten().count())
}

fn used(index: &ShardIndex) -> BTreeMap<SegmentId, SegmentUse> {
    let mut uses = index.uses();
    uses.retain(|_, used| *used != SegmentUse::default());
    uses
}

/// Returns a host with large shards, whose rows are in files of tables of which the first blocks are damaged, and with
/// two small shards, whose rows are not.
async fn damaged_host(root: &Path) -> (TestHost, Arc<SetClock>) {
    let clock = set_clock();
    let before = host(root, &clock).await;
    for (at, blob) in LARGE.into_iter().enumerate() {
        append_large(&before, blob).await;
        // One of the chunks, and one of their places.
        wait_until("the writing of two tables", || table_files(root).len() >= 2 * (at + 1)).await;
    }
    for blob in [11, 12] {
        append(&before, NODE, blob).await;
    }
    close(before).await;
    let after = host(root, &clock).await;
    flip_first_blocks(root);
    assert_eq!(after.drives[0].index.damage(), None, "nobody has met it");
    (after, clock)
}

fn reindexing(host: &TestHost) -> Reindexing {
    reindexing_for(host, &HealerHandle::default())
}

fn reindexing_for(host: &TestHost, healer: &HealerHandle) -> Reindexing {
    Reindexing::new(host.drives[0].clone(), context(host), Arc::new(healer.clone()), ReindexingOptions::default())
}

fn why_damaged(host: &TestHost) -> Option<String> {
    host.upkeep.health.current().state(NODE).and_then(|state| state.index_damaged.clone())
}

fn contents(host: &TestHost) -> Option<Contents> {
    host.upkeep.health.current().state(NODE).map(|state| state.contents)
}

#[actix::test]
async fn a_drive_is_compared_after_its_index_was_made_anew_over_a_log_with_rot() {
    let root = tempfile::tempdir().expect("a directory");
    let (host, _) = damaged_host(root.path()).await;
    let healer = HealerHandle::default();
    let mut reindexing = reindexing_for(&host, &healer);
    assert!(found(&host.drives[0].index, 1).is_err());
    flip_byte_of(&host, root.path(), NODE, shard(12), ChunkIndex(0));
    assert!(matches!(reindexing.advance().await, Ok(Reindexed::Begun { .. })));
    let request = || healer.reconciling().get(&NODE).copied();
    let at_damage = request();
    assert!(at_damage.is_some());
    while reindexing.advance().await.expect("a step") != Reindexed::Finished {
        assert_eq!(request(), at_damage);
    }
    assert!(request() > at_damage, "a comparison that began earlier may have missed what the new index lacks");
    assert_eq!(found(&host.drives[0].index, 12).expect("looked up"), 0, "the index lacks it");
    assert_eq!((healer.status().comparing, contents(&host)), (vec![NODE], Some(Contents::Uncompared)));
    close(host).await;
}

/// Has the healer work for a while, in which it may fail for the damage.
async fn heal(healing: &mut Healing) {
    for _ in 0..100 {
        let _ = healing.advance().await;
    }
}

/// The tables of the metadata are empty, so that a comparison meets no damage in its search for missing shards.
#[actix::test]
async fn a_drive_counts_as_uncompared_from_the_moment_damage_is_known_until_it_is_compared_with_a_new_index() {
    let root = tempfile::tempdir().expect("a directory");
    let (mut host, clock) = damaged_host(root.path()).await;
    let options = HealingOptions { pace: Pace::UNLIMITED, ..HealingOptions::default() };
    let (mut healing, healer) = Healing::new(host.upkeep.clone(), host.faults.take().expect("one healer"), options);
    let mut reindexing = reindexing_for(&host, &healer);
    assert_eq!(contents(&host), Some(Contents::Compared));
    assert!(found(&host.drives[0].index, 1).is_err());
    let removed = root.path().join("0").join("index.removed");
    std::fs::write(&removed, b"not a directory").expect("written");
    assert!(reindexing.advance().await.is_err(), "it cannot be made anew");
    assert_eq!((contents(&host), healer.status().comparing), (Some(Contents::Uncompared), vec![NODE]));
    heal(&mut healing).await;
    assert_eq!(contents(&host), Some(Contents::Uncompared), "no comparison shows what can be read");
    std::fs::remove_file(&removed).expect("removed");
    clock.forward(Duration::from_secs(3600));
    while reindexing.advance().await.expect("a step") != Reindexed::Finished {}
    assert_eq!((contents(&host), why_damaged(&host)), (Some(Contents::Uncompared), None));
    heal(&mut healing).await;
    assert_eq!(contents(&host), Some(Contents::Compared));
    close(host).await;
}

#[actix::test]
async fn damage_is_shown_before_the_next_remake_is_due_and_while_trial_writes_fail() {
    let root = tempfile::tempdir().expect("a directory");
    let (host, _) = damaged_host(root.path()).await;
    let healer = HealerHandle::default();
    let mut reindexing = reindexing_for(&host, &healer);
    host.upkeep.health.update(NODE, |state| state.trial_write_failed = Some("read-only".to_owned()));
    assert!(found(&host.drives[0].index, 1).is_err());
    let appends = host.drives[0].log.status().appends;
    assert_eq!(reindexing.advance().await.expect("a step"), Reindexed::Nothing);
    assert!(why_damaged(&host).is_some_and(|why| why.contains("made anew later")));
    assert_eq!((contents(&host), healer.status().comparing), (Some(Contents::Uncompared), vec![NODE]));
    let request = healer.reconciling();
    assert_eq!(reindexing.advance().await.expect("a step"), Reindexed::Nothing);
    assert_eq!((healer.reconciling(), host.drives[0].log.status().appends), (request, appends), "asked for once");
    host.upkeep.health.update(NODE, |state| state.trial_write_failed = None);
    assert!(matches!(reindexing.advance().await, Ok(Reindexed::Begun { .. })));
    close(host).await;
}

#[actix::test]
async fn a_note_of_damage_that_is_gone_is_withdrawn_and_the_drive_is_compared() {
    let root = tempfile::tempdir().expect("a directory");
    let host = host(root.path(), &set_clock()).await;
    let healer = HealerHandle::default();
    let mut reindexing = reindexing_for(&host, &healer);
    host.upkeep.health.update(NODE, |state| state.index_damaged = Some("a remake failed at its end".to_owned()));
    assert_eq!(reindexing.advance().await.expect("a step"), Reindexed::Nothing);
    assert_eq!((why_damaged(&host), healer.status().comparing), (None, vec![NODE]));
    close(host).await;
}

/// Returns the seconds from a remake that fails to the next one, which fails, too.
async fn pause_after_failure(host: &TestHost, clock: &SetClock, reindexing: &mut Reindexing) -> u64 {
    const STEP: u64 = 300;
    assert!(reindexing.advance().await.is_err());
    for passed in (STEP..24 * 3600).step_by(STEP as usize) {
        clock.forward(Duration::from_secs(STEP));
        if reindexing.advance().await.is_err() {
            assert!(why_damaged(host).is_some());
            return passed;
        }
    }
    panic!("it is not tried again");
}

#[actix::test]
async fn the_pause_after_a_remake_that_failed_doubles_up_to_a_bound() {
    let root = tempfile::tempdir().expect("a directory");
    let (host, clock) = damaged_host(root.path()).await;
    let mut reindexing = reindexing(&host);
    assert!(found(&host.drives[0].index, 1).is_err());
    std::fs::write(root.path().join("0").join("index.removed"), b"not a directory").expect("written");
    let mut pauses = vec![pause_after_failure(&host, &clock, &mut reindexing).await];
    for _ in 0..2 {
        clock.forward(Duration::from_secs(24 * 3600));
        pauses.push(pause_after_failure(&host, &clock, &mut reindexing).await);
    }
    assert_eq!(pauses, [600, 2400, 9600]);
    clock.forward(Duration::from_secs(24 * 3600));
    assert_eq!(pause_after_failure(&host, &clock, &mut reindexing).await, 4 * 3600);
    close(host).await;
}

#[actix::test]
async fn a_damaged_index_is_made_anew_while_its_drive_serves() {
    let root = tempfile::tempdir().expect("a directory");
    let (host, clock) = damaged_host(root.path()).await;
    let mut reindexing = reindexing(&host);
    let index = host.drives[0].index.clone();
    assert_eq!(reindexing.advance().await.expect("a step"), Reindexed::Nothing);
    assert!(found(&index, 1).is_err() && index.inventory(None, 100).is_err());
    assert_eq!(read(&host, NODE, 11).await, Some(chunk_of(11)), "its row is not in a damaged block");

    assert!(matches!(reindexing.advance().await, Ok(Reindexed::Begun { segments: 1.. })));
    let health = || host.upkeep.health.current().state(NODE).and_then(|state| state.index_damaged.clone());
    assert!(health().is_some_and(|why| why.contains("being made anew")));
    append(&host, NODE, 13).await;
    host.service.drop_shards(NODE, vec![shard(11)]).await.expect("dropped");
    // While an append is under way, the drop does not ask whether the shard is there: the log has the tombstone, and
    // the damaged index does not take it.
    let other = index.begin();
    let dropped = host.service.drop_shards(NODE, vec![shard(2)]).await;
    assert!(matches!(dropped, Err(PeerError::Unavailable { .. })), "{dropped:?}");
    index.end(other);
    while reindexing.advance().await.expect("a step") != Reindexed::Finished {
        assert_eq!(read(&host, NODE, 12).await, Some(chunk_of(12)));
    }

    assert_eq!((index.damage(), health()), (None, None));
    assert!(!root.path().join("0").join("index.new").exists());
    index.check_invariants();
    let counts = |index: &ShardIndex| [1, 2, 3].map(|blob| found(index, blob).expect("looked up"));
    assert_eq!(counts(&index), [CHUNKS, 0, CHUNKS]);
    for (blob, is_there) in [(11, false), (12, true), (13, true)] {
        assert_eq!(read(&host, NODE, blob).await, is_there.then(|| chunk_of(blob)));
    }
    append(&host, NODE, 14).await;
    assert_eq!(reindexing.advance().await.expect("a step"), Reindexed::Nothing);
    // The drop that failed is published once more.
    wait_until("the end of late publications", || !index.awaits_any_of(0..index.tickets_begun())).await;
    compact(&mut compaction(&host, &host.drives[0])).await;
    let uses = used(&index);
    close(host).await;

    let index_dir = root.path().join("0").join("index");
    for is_removed in [false, true] {
        if is_removed {
            std::fs::remove_dir_all(&index_dir).expect("removed");
        }
        let host = self::host(root.path(), &clock).await;
        let index = &host.drives[0].index;
        index.check_invariants();
        assert_eq!((used(index), counts(index)), (uses.clone(), [CHUNKS, 0, CHUNKS]), "removed: {is_removed}");
        close(host).await;
    }
}

#[actix::test]
async fn an_index_that_was_being_made_anew_is_whole_after_a_restart() {
    let root = tempfile::tempdir().expect("a directory");
    let (host, clock) = damaged_host(root.path()).await;
    let mut reindexing = reindexing(&host);
    assert!(found(&host.drives[0].index, 1).is_err());
    assert!(matches!(reindexing.advance().await, Ok(Reindexed::Begun { .. })));
    let successor = root.path().join("0").join("index.new");
    assert!(successor.exists());
    close(host).await;
    let host = self::host(root.path(), &clock).await;
    assert!(!successor.exists(), "what was begun is removed");
    assert!(found(&host.drives[0].index, 1).is_err(), "the damage is still there");
    let mut reindexing = self::reindexing(&host);
    while reindexing.advance().await.expect("a step") != Reindexed::Finished {}
    for blob in LARGE {
        assert_eq!(found(&host.drives[0].index, blob).expect("looked up"), CHUNKS);
    }
    close(host).await;
}

#[actix::test]
async fn a_remake_that_fails_is_given_up_and_begun_again_later() {
    let root = tempfile::tempdir().expect("a directory");
    let (host, clock) = damaged_host(root.path()).await;
    let mut reindexing = reindexing(&host);
    assert!(found(&host.drives[0].index, 1).is_err());
    let removed = root.path().join("0").join("index.removed");
    std::fs::write(&removed, b"not a directory").expect("written");
    let failed = reindexing.advance().await;
    assert!(matches!(failed, Err(CompactionError::Index(_))), "{failed:?}");
    let why = host.upkeep.health.current().state(NODE).and_then(|state| state.index_damaged.clone());
    assert!(why.is_some_and(|why| why.contains("tried again later")));
    std::fs::remove_file(&removed).expect("removed");
    assert_eq!(reindexing.advance().await.expect("a step"), Reindexed::Nothing, "not at once");
    clock.forward(Duration::from_secs(3600));
    while reindexing.advance().await.expect("a step") != Reindexed::Finished {}
    assert_eq!(found(&host.drives[0].index, 1).expect("looked up"), CHUNKS);
    close(host).await;
}
