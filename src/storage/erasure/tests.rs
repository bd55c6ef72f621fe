//! Erasure codes: every loss that parity covers is rebuilt, byte for byte.

use super::{Codec, Codecs, ErasureError};
use crate::types::Geometry;
use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop};
use proptest::sample::subsequence;
use proptest::test_runner::TestCaseError;
use proptest::{prop_assert_eq, proptest};
use std::sync::Arc;

fn stripe(codec: &Codec, data: &[u8], shards: usize, chunk_bytes: usize) -> Vec<u8> {
    let mut stripe = vec![0xa5; shards * chunk_bytes];
    stripe[..data.len()].copy_from_slice(data);
    codec.encode(&mut stripe, chunk_bytes).expect("the shape is right");
    stripe
}

/// `(k, m, data, indices of the present shards)`; at least `k` shards are present.
fn cases() -> impl Strategy<Value = (u8, u8, Vec<u8>, Vec<usize>)> {
    (1u8..=8, 0u8..=4, 1usize..200).prop_flat_map(|(data, parity, chunk_bytes)| {
        let shards = usize::from(data + parity);
        (
            proptest::strategy::Just(data),
            proptest::strategy::Just(parity),
            vec(any::<u8>(), usize::from(data) * chunk_bytes),
            subsequence((0..shards).collect::<Vec<_>>(), usize::from(data)..=shards),
        )
    })
}

fn check(data: u8, parity: u8, bytes: &[u8], present: &[usize]) -> Result<(), TestCaseError> {
    let codec = Codec::new(data, parity).expect("a code");
    let shards = usize::from(data + parity);
    let chunk_bytes = bytes.len() / usize::from(data);
    let whole = stripe(&codec, bytes, shards, chunk_bytes);
    let chunks: Vec<&[u8]> = whole.chunks_exact(chunk_bytes).collect();
    let given: Vec<Option<&[u8]>> =
        (0..shards).map(|shard| present.contains(&shard).then_some(chunks[shard])).collect();
    let wanted: Vec<usize> = (0..shards).collect();
    let rebuilt = codec.rebuild(&given, &wanted).expect("k are present");
    for (shard, chunk) in rebuilt.iter().enumerate() {
        prop_assert_eq!(chunk.as_slice(), chunks[shard], "shard {} of {}+{}", shard, data, parity);
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_k_shards_rebuild_all((data, parity, bytes, present) in cases()) {
        check(data, parity, &bytes, &present)?;
    }

    #[test]
    fn encoding_leaves_the_data_chunks_unchanged(bytes in vec(any::<u8>(), 4 * 64), parity in 0u8..4) {
        let codec = Codec::new(4, parity).expect("a code");
        let whole = stripe(&codec, &bytes, 4 + usize::from(parity), 64);
        prop_assert_eq!(&whole[..bytes.len()], bytes.as_slice());
    }

    #[test]
    fn a_stripe_of_the_wrong_length_is_refused(extra in prop::bool::ANY) {
        let codec = Codec::new(2, 1).expect("a code");
        let mut short = vec![0; if extra { 193 } else { 191 }];
        proptest::prop_assert!(codec.encode(&mut short, 64).is_err());
    }
}

#[test]
fn a_code_of_1_1_is_a_mirror_and_one_without_parity_stores_only_data() {
    let mirror = Codec::new(1, 1).expect("1+1");
    let whole = stripe(&mirror, b"same", 2, 4);
    assert_eq!(&whole[4..], b"same");
    let bare = Codec::new(3, 0).expect("3+0");
    assert_eq!(stripe(&bare, b"abcdef", 3, 2), b"abcdef");
    let given = [Some(b"ab".as_slice()), None, Some(b"ef".as_slice())];
    assert_eq!(bare.rebuild(&given, &[1]), Err(ErasureError::TooFew { present: 2, needed: 3 }));
}

#[test]
fn codes_outside_the_limits_are_refused() {
    assert!(Codec::new(0, 2).is_err());
    assert!(Codec::new(30, 3).is_err());
    let codecs = Codecs::default();
    assert!(codecs.codec(Geometry { data: 255, parity: 255, chunk_size_bytes: 64 }).is_err());
    assert!(codecs.codec(Geometry { data: 0, parity: 0, chunk_size_bytes: 64 }).is_err());
}

#[test]
fn a_code_is_made_once_for_each_geometry() {
    let codecs = Codecs::default();
    let geometry = Geometry { data: 4, parity: 2, chunk_size_bytes: 64 };
    let first = codecs.codec(geometry).expect("a code");
    let second = codecs.codec(Geometry { chunk_size_bytes: 128, ..geometry }).expect("a code");
    assert!(Arc::ptr_eq(&first, &second));
}

/// P6: concurrent rebuilds, each with other chunks lost, do not disturb each other.
#[test]
fn p6_rebuilds_run_side_by_side_with_different_losses() {
    let codec = Codec::new(4, 2).expect("a code");
    let chunk_bytes = 80_000;
    let bytes: Vec<u8> = (0..4 * chunk_bytes).map(|at| (at * 31 % 251) as u8).collect();
    let whole = stripe(&codec, &bytes, 6, chunk_bytes);
    let chunks: Vec<&[u8]> = whole.chunks_exact(chunk_bytes).collect();
    std::thread::scope(|scope| {
        for lost in [[0, 1], [0, 5], [2, 3], [1, 4]] {
            let (codec, chunks) = (&codec, &chunks);
            scope.spawn(move || {
                for _ in 0..20 {
                    let given: Vec<_> = (0..6).map(|shard| (!lost.contains(&shard)).then_some(chunks[shard])).collect();
                    let rebuilt = codec.rebuild(&given, &lost).expect("four are present");
                    assert!(rebuilt[0] == chunks[lost[0]] && rebuilt[1] == chunks[lost[1]]);
                }
            });
        }
    });
}
