//! Tests of `Gather`, with failures and delays in any order.

use crate::actors::get_task::gather::{Ask, Gather, Outcome};
use crate::net::ChunkFault;
use crate::storage::stripe::BlobLayout;
use crate::types::{ChunkIndex, Geometry, ShardNumber};
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::any;
use proptest::{prop_assert, prop_assert_eq, proptest};
use std::collections::BTreeSet;

const CHUNK: u32 = 64;

fn gather(data: u8, parity: u8, stripes: u32, bytes: std::ops::Range<u64>, avoided: Vec<bool>) -> Gather {
    let geometry = Geometry { data, parity, chunk_size_bytes: CHUNK };
    let size = u64::from(stripes) * u64::from(data) * u64::from(CHUNK);
    Gather::new(&BlobLayout::new(geometry, size).expect("a layout"), 0..stripes, &bytes, avoided)
}

fn good() -> Result<Bytes, ChunkFault> {
    Ok(Bytes::from_static(&[7; CHUNK as usize]))
}

fn ask(shard: u8, first: u32, count: u32) -> Ask {
    Ask { shard: ShardNumber(shard), first: ChunkIndex(first), count }
}

#[test]
fn only_wanted_chunks_are_requested_and_consecutive_ones_together() {
    let mut gather = gather(2, 2, 3, 100..380, vec![false; 4]);
    // Bytes 100..380 begin in the second chunk of stripe 0 and end in the second of stripe 2.
    assert_eq!(gather.asks(), vec![ask(1, 0, 3), ask(0, 1, 2)]);
    assert_eq!(gather.asks(), vec![]);
    assert_eq!(gather.answered(ask(1, 0, 3), vec![good(), good(), good()]), vec![]);
    assert_eq!(gather.outcome(), Outcome::Pending);
    assert_eq!(gather.answered(ask(0, 1, 2), vec![good(), good()]), vec![]);
    assert_eq!(gather.outcome(), Outcome::Complete);
}

#[test]
fn a_bad_chunk_is_replaced_by_parity_of_its_own_stripe() {
    let mut gather = gather(2, 1, 2, 0..256, vec![false; 3]);
    gather.asks();
    let faults = gather.answered(ask(0, 0, 2), vec![good(), Err(ChunkFault::Missing)]);
    assert_eq!(faults, vec![(ChunkIndex(1), ChunkFault::Missing)]);
    assert_eq!(gather.asks(), vec![ask(2, 1, 1)]);
    gather.answered(ask(1, 0, 2), vec![good(), good()]);
    gather.answered(ask(2, 1, 1), vec![good()]);
    assert_eq!(gather.outcome(), Outcome::Complete);
}

#[test]
fn a_short_or_wrongly_sized_answer_counts_as_corrupt() {
    let mut gather = gather(1, 2, 2, 0..128, vec![false; 3]);
    gather.asks();
    let odd = Ok(Bytes::from_static(b"odd"));
    let corrupt = |chunk| (ChunkIndex(chunk), ChunkFault::Corrupt);
    assert_eq!(gather.answered(ask(0, 0, 2), vec![odd]), vec![corrupt(0), corrupt(1)]);
    assert_eq!(gather.asks(), vec![ask(1, 0, 2)]);
}

#[test]
fn avoided_nodes_are_read_only_as_a_last_resort() {
    let mut gather = gather(2, 2, 1, 0..128, vec![true, false, false, true]);
    assert_eq!(gather.asks(), vec![ask(1, 0, 1), ask(2, 0, 1)]);
    gather.failed(ask(2, 0, 1));
    assert_eq!(gather.asks(), vec![ask(0, 0, 1)]);
    gather.failed(ask(0, 0, 1));
    assert_eq!(gather.asks(), vec![ask(3, 0, 1)]);
    gather.failed(ask(3, 0, 1));
    assert_eq!(gather.outcome(), Outcome::Lost(ChunkIndex(0)));
}

proptest! {
    /// Tests that whatever fails or is late, each stripe completes if and only if `k` chunks or all wanted ones are
    /// available, and that no chunk is requested twice.
    #[test]
    fn gathering_completes_if_and_only_if_enough_chunks_are_available(
        data in 1u8..5,
        parity in 0u8..4,
        bad in vec(any::<bool>(), 9),
        avoided in vec(any::<bool>(), 9),
        late in any::<bool>(),
        from in 0u64..200,
        order in vec(any::<u16>(), 40),
    ) {
        let shards = usize::from(data + parity);
        let end = u64::from(data) * u64::from(CHUNK) * 2;
        let from = from.min(end - 1);
        let mut gather = gather(data, parity, 2, from..end, avoided[..shards].to_vec());
        let mut open = gather.asks();
        let mut asked = BTreeSet::new();
        let mut fresh = open.clone();
        let mut turns = order.into_iter();
        while gather.outcome() == Outcome::Pending {
            for ask in fresh.drain(..) {
                for chunk in ask.first.0..ask.first.0 + ask.count {
                    prop_assert!(asked.insert((ask.shard, chunk)), "asked twice");
                }
            }
            prop_assert!(!open.is_empty(), "pending, and nothing is under way");
            let turn = usize::from(turns.next().unwrap_or(0));
            if late && turn % 3 == 0 {
                gather.late(open[turn % open.len()]);
            }
            let ask = open.remove(turn % open.len());
            match bad[usize::from(ask.shard.0)] {
                true => gather.failed(ask),
                false => drop(gather.answered(ask, (0..ask.count).map(|_| good()).collect())),
            }
            fresh = gather.asks();
            open.extend(fresh.iter().copied());
        }
        let good_shards = (0..shards).filter(|&shard| !bad[shard]).count();
        let first_wanted = usize::try_from(from / u64::from(CHUNK)).unwrap_or(0);
        let wanted = |stripe: usize| (0..usize::from(data)).filter(move |shard| stripe * usize::from(data) + shard >= first_wanted);
        let possible = |stripe| good_shards >= usize::from(data) || wanted(stripe).all(|shard| !bad[shard]);
        let expected = possible(0) && possible(1);
        prop_assert_eq!(gather.outcome() == Outcome::Complete, expected);
    }
}
