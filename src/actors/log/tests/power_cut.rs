//! Power cuts at random operations of a log, on a simulated disk that drops, tears and reorders unsynced writes.

use super::{DIR, in_system, key};
use crate::actors::log::{LogHandle, Threads};
use crate::ambient::Ambient;
use crate::storage::buffer::BufferPool;
use crate::storage::disk::sim::SimDisk;
use crate::storage::wal::{LogOptions, NewRecord, OpenedLog, RecordKind, ReplayRule, ScannedRecord, open_log};
use crate::types::{ClusterId, Lsn, NodeId};
use bytes::Bytes;
use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::rc::Rc;

const SEEDS: u64 = 200;
/// The number of successive power cuts of one log.
const CUTS: u64 = 4;

fn options(seed: u64, replay: ReplayRule) -> LogOptions {
    let shards =
        LogOptions::shards(PathBuf::from(DIR), ClusterId(7), NodeId(3), Ambient::system(), BufferPool::new(4 << 20));
    LogOptions { segment_bytes: 128 << 10, zeroed: seed.is_multiple_of(3), replay, ..shards }
}

/// The client's record of its appends: in order of submission, and which were acknowledged.
#[derive(Clone, Debug, Default)]
struct Ledger {
    submitted: Vec<u32>,
    acknowledged: BTreeSet<u32>,
}

fn record(number: u32) -> NewRecord {
    let len = match number % 7 {
        0 => 33_000 + number as usize % 9000,
        1 => 0,
        other => (number as usize * 37 % 3000) * other as usize / 3,
    };
    let mut body = vec![(number % 251) as u8; len];
    let stamp = number.to_le_bytes();
    body.iter_mut().rev().zip(stamp).for_each(|(byte, stamp)| *byte = stamp);
    NewRecord { kind: RecordKind::Chunk, key: key(number), origin: None, body: Bytes::from(body) }
}

fn replay(disk: &SimDisk, options: &LogOptions) -> (OpenedLog, Vec<ScannedRecord>) {
    let mut found = Vec::new();
    let opened = open_log(disk.handle(), options.clone(), Lsn(0), &mut |record| found.push(record)).expect("opened");
    (opened, found)
}

/// Appends with several writers until the power is cut.
async fn append_until_the_power_goes(
    log: &LogHandle,
    disk: &SimDisk,
    seed: u64,
    ledger: &Rc<RefCell<Ledger>>,
    first: u32,
) {
    let next = Rc::new(RefCell::new(first));
    let writers = (0..5).map(|writer| {
        let (next, ledger) = (Rc::clone(&next), Rc::clone(ledger));
        let mut random = StdRng::seed_from_u64(seed ^ (writer << 32));
        async move {
            while !disk.is_halted() {
                let count = random.random_range(1..4);
                let numbers: Vec<u32> = (0..count).map(|index| *next.borrow() + index).collect();
                *next.borrow_mut() += count;
                ledger.borrow_mut().submitted.extend(&numbers);
                let relaxed = random.random_bool(0.1);
                let records = numbers.iter().copied().map(record).collect();
                let appended = if relaxed { log.submit_relaxed(records).await } else { log.append(records).await };
                match appended {
                    Ok(places) => {
                        assert_eq!(places.len(), numbers.len());
                        if !relaxed {
                            ledger.borrow_mut().acknowledged.extend(numbers);
                        }
                    }
                    Err(_) => return,
                }
                if random.random_bool(0.05) {
                    log.rotate().await.ok();
                }
            }
        }
    });
    join_all(writers).await;
}

fn check(seed: u64, rule: ReplayRule, ledger: &Ledger, found: &[ScannedRecord]) {
    let numbers: Vec<u32> = found.iter().map(|record| record.key.part).collect();
    let present: BTreeSet<u32> = numbers.iter().copied().collect();
    let lost: Vec<&u32> = ledger.acknowledged.difference(&present).collect();
    assert!(lost.is_empty(), "seed {seed}: acknowledged and lost: {lost:?}");
    assert_eq!(numbers.len(), present.len(), "seed {seed}: found twice");
    for scanned in found {
        assert_eq!(scanned.body, record(scanned.key.part).body, "seed {seed}: wrong data");
    }
    if rule == ReplayRule::Prefix {
        // In order, and no gap among what was submitted since the last cut of the log.
        assert_eq!(numbers, ledger.submitted[..numbers.len()], "seed {seed}: not a prefix of what was submitted");
    }
}

fn run(seed: u64, rule: ReplayRule) {
    in_system(async move {
        let options = options(seed, rule);
        let mut random = StdRng::seed_from_u64(seed);
        let mut disk = SimDisk::new(256 << 20);
        let ledger = Rc::new(RefCell::new(Ledger::default()));
        let mut first = 0;
        for cut in 0..CUTS {
            let (opened, _) = replay(&disk, &options);
            disk.halt_at(disk.operations().changes + random.random_range(1..150));
            let log = opened.start(Threads::Current);
            append_until_the_power_goes(&log, &disk, seed * CUTS + cut, &ledger, first).await;
            first += 100_000;

            disk = disk.power_cut(seed * CUTS + cut);
            let (opened, found) = replay(&disk, &options);
            assert_eq!(opened.rot, [], "seed {seed}: a cut is not rot");
            check(seed, rule, &ledger.borrow(), &found);
            // A second recovery, after another cut, gives the same state.
            let again = disk.power_cut(seed);
            let (opened_again, found_again) = replay(&again, &options);
            assert_eq!((opened.end(), &found), (opened_again.end(), &found_again), "seed {seed}");
            disk = again;
            // A record that this recovery did not find must not appear later.
            ledger.borrow_mut().submitted = found.iter().map(|record| record.key.part).collect();
        }
    });
}

/// W9: after a power cut every acknowledged append is found, and a second recovery gives the same state.
#[test]
fn no_acknowledged_append_is_lost_by_a_power_cut() {
    (0..SEEDS).for_each(|seed| run(seed, ReplayRule::EveryValid));
}

/// In an ordered log, the recovered records are a prefix of the submitted ones.
#[test]
fn a_power_cut_leaves_a_prefix_of_an_ordered_log() {
    (0..SEEDS).for_each(|seed| run(seed, ReplayRule::Prefix));
}
