//! Tests of runs that are sealed and opened.

use super::{Counted, pattern};
use crate::storage::sealing::{CHUNK_BYTES, DataKey, Layout, OpenError, Opener, RunId, Sealer, TAG_BYTES};
use crate::types::BlobId;
use bytes::{Bytes, BytesMut};
use proptest::prelude::{ProptestConfig, any, prop, prop_assert, prop_assert_eq, proptest};
use std::ops::Range;

const LAYOUTS: [Layout; 2] = [Layout::Single, Layout::Dual];
const RUN: RunId = RunId::INLINE;

fn data_key(layout: Layout) -> DataKey {
    DataKey::random(layout, &Counted::new(7))
}

fn pieces(bytes: &Bytes, piece_bytes: usize) -> Vec<Bytes> {
    (0..bytes.len()).step_by(piece_bytes).map(|at| bytes.slice(at..bytes.len().min(at + piece_bytes))).collect()
}

fn seal_in_pieces(key: &DataKey, run: RunId, plain: &Bytes, piece_bytes: usize, expected: Option<u64>) -> Bytes {
    let mut sealer = Sealer::new(key.run(run), expected);
    let mut sealed = BytesMut::new();
    for mut piece in pieces(plain, piece_bytes) {
        while let Some(chunk) = sealer.push(&mut piece) {
            assert_eq!(chunk.len(), key.layout().sealed_chunk_bytes(), "what comes before the end is a whole chunk");
            sealed.extend_from_slice(&chunk);
        }
        assert!(piece.is_empty());
    }
    sealed.extend_from_slice(&sealer.finish().unwrap_or_default());
    sealed.freeze()
}

fn seal(key: &DataKey, run: RunId, plain: &Bytes) -> Bytes {
    seal_in_pieces(key, run, plain, plain.len().max(1), Some(plain.len() as u64))
}

/// Opens a range; `sealed` is pushed to the opener, whatever range it asks for.
fn open_given(
    key: &DataKey,
    run: RunId,
    run_bytes: u64,
    range: Range<u64>,
    sealed: &Bytes,
    piece_bytes: usize,
) -> Result<Bytes, OpenError> {
    let mut opener = Opener::new(key.run(run), run_bytes, range);
    let mut plain = BytesMut::new();
    for mut piece in pieces(sealed, piece_bytes) {
        while let Some(chunk) = opener.push(&mut piece)? {
            assert!(!chunk.is_empty() && chunk.len() <= CHUNK_BYTES);
            plain.extend_from_slice(&chunk);
        }
        assert!(piece.is_empty());
    }
    opener.finish()?;
    Ok(plain.freeze())
}

fn open(key: &DataKey, run: RunId, run_bytes: u64, sealed: &Bytes) -> Result<Bytes, OpenError> {
    open_given(key, run, run_bytes, 0..run_bytes, sealed, CHUNK_BYTES)
}

fn open_range(key: &DataKey, run_bytes: u64, range: Range<u64>, sealed: &Bytes, piece: usize) -> Bytes {
    let wanted = Opener::new(key.run(RUN), run_bytes, range.clone()).sealed_range();
    let given = sealed.slice(wanted.start as usize..wanted.end as usize);
    open_given(key, RUN, run_bytes, range, &given, piece).expect("it is as it was sealed")
}

fn flipped(sealed: &Bytes, bit: usize) -> Bytes {
    let mut bytes = sealed.to_vec();
    bytes[bit / 8] ^= 1 << (bit % 8);
    bytes.into()
}

#[test]
fn a_sealed_run_opens_for_every_length_and_size_of_pieces() {
    let chunk = CHUNK_BYTES;
    let lengths =
        [0, 1, 15, 16, 17, chunk - 1, chunk, chunk + 1, 2 * chunk - 1, 2 * chunk, 2 * chunk + 1, 3 * chunk + 9];
    for layout in LAYOUTS {
        let key = data_key(layout);
        for length in lengths {
            let plain = pattern(length);
            let sealed = seal(&key, RUN, &plain);
            assert_eq!(sealed.len() as u64, layout.sealed_bytes(length as u64), "{length}");
            assert_eq!(layout.plain_bytes(sealed.len() as u64), Some(length as u64), "{length}");
            for (piece, expected) in
                [(4096, None), (chunk, Some(length as u64)), (chunk + 16, Some(3)), (100_001, None)]
            {
                assert_eq!(seal_in_pieces(&key, RUN, &plain, piece, expected), sealed, "{length} in pieces of {piece}");
                let opened = open_given(&key, RUN, length as u64, 0..length as u64, &sealed, piece);
                assert_eq!(opened.as_ref(), Ok(&plain), "{length} in pieces of {piece}");
            }
        }
        let short = pattern(300);
        assert_eq!(seal_in_pieces(&key, RUN, &short, 1, None), seal(&key, RUN, &short));
    }
}

#[test]
fn an_empty_run_is_sealed_to_no_bytes() {
    for layout in LAYOUTS {
        assert_eq!(layout.sealed_bytes(0), 0);
        assert_eq!(layout.plain_bytes(0), Some(0));
        assert!(Sealer::new(data_key(layout).run(RUN), None).finish().is_none());
    }
}

#[test]
fn sealed_lengths_that_no_run_has_are_rejected() {
    let chunk = CHUNK_BYTES as u64;
    for (layout, tags) in [(Layout::Single, TAG_BYTES as u64), (Layout::Dual, 2 * TAG_BYTES as u64)] {
        for whole in [0, 1, 7] {
            for rest in 1..=tags {
                assert_eq!(layout.plain_bytes(whole * (chunk + tags) + rest), None);
            }
            assert_eq!(layout.plain_bytes(whole * (chunk + tags) + tags + 1), Some(whole * chunk + 1));
        }
    }
}

#[test]
fn every_flipped_bit_of_a_sealed_run_is_noticed() {
    for layout in LAYOUTS {
        let key = data_key(layout);
        let plain = pattern(21);
        let sealed = seal(&key, RUN, &plain);
        for bit in 0..sealed.len() * 8 {
            let changed = flipped(&sealed, bit);
            assert_eq!(open(&key, RUN, 21, &changed), Err(OpenError::Corrupt { chunk: 0 }), "bit {bit}");
        }
    }
}

#[test]
fn a_changed_chunk_is_reported_by_its_index() {
    let key = data_key(Layout::Single);
    let plain = pattern(3 * CHUNK_BYTES + 100);
    let sealed = seal(&key, RUN, &plain);
    let chunk = Layout::Single.sealed_chunk_bytes();
    for (byte, found) in [(0, 0), (chunk - 1, 0), (chunk, 1), (3 * chunk, 3), (sealed.len() - 1, 3)] {
        let changed = flipped(&sealed, byte * 8);
        assert_eq!(open(&key, RUN, plain.len() as u64, &changed), Err(OpenError::Corrupt { chunk: found }));
    }
}

#[test]
fn a_truncated_run_does_not_open() {
    for layout in LAYOUTS {
        let key = data_key(layout);
        let sealed = seal(&key, RUN, &pattern(21));
        for length in 1..sealed.len() {
            let missing_bytes = (sealed.len() - length) as u64;
            let opened = open(&key, RUN, 21, &sealed.slice(..length));
            assert_eq!(opened, Err(OpenError::Truncated { missing_bytes }));
        }
        // A cut at the end of a chunk, with a matching length: the chunk that is now the last was not sealed as the
        // last.
        let chunk = CHUNK_BYTES as u64;
        let sealed = seal(&key, RUN, &pattern(2 * CHUNK_BYTES + 5));
        for whole in 1..=2 {
            let cut = sealed.slice(..whole * layout.sealed_chunk_bytes());
            let opened = open(&key, RUN, whole as u64 * chunk, &cut);
            assert_eq!(opened, Err(OpenError::Corrupt { chunk: whole as u64 - 1 }));
        }
    }
}

#[test]
fn an_extended_run_does_not_open() {
    let key = data_key(Layout::Single);
    let plain = pattern(CHUNK_BYTES);
    let sealed = seal(&key, RUN, &plain);
    let longer = [sealed.clone(), sealed.clone()].concat().into();
    assert!(matches!(open(&key, RUN, CHUNK_BYTES as u64, &longer), Err(OpenError::Excess { .. })));
    assert_eq!(open(&key, RUN, 2 * CHUNK_BYTES as u64, &longer), Err(OpenError::Corrupt { chunk: 0 }));
}

#[test]
fn a_chunk_does_not_open_at_the_position_of_another() {
    let key = data_key(Layout::Single);
    let chunk = Layout::Single.sealed_chunk_bytes();
    let plain = pattern(3 * CHUNK_BYTES);
    let sealed = seal(&key, RUN, &plain);
    let part = |at: usize| sealed.slice(at * chunk..(at + 1) * chunk);
    for (order, found) in [([1, 0, 2], 0), ([0, 2, 1], 1), ([0, 0, 2], 1), ([0, 1, 1], 2), ([2, 1, 0], 0)] {
        let moved = order.map(part).concat().into();
        assert_eq!(open(&key, RUN, plain.len() as u64, &moved), Err(OpenError::Corrupt { chunk: found }), "{order:?}");
    }
}

#[test]
fn a_run_does_not_open_under_the_key_of_another_run() {
    let key = data_key(Layout::Single);
    let plain = pattern(1000);
    let ids = [
        RunId::INLINE,
        RunId::of_blob(1, BlobId(1)),
        RunId::of_blob(1, BlobId(2)),
        RunId::of_blob(2, BlobId(1)),
        RunId::of_blob(1, BlobId(u128::MAX)),
    ];
    let sealed = ids.map(|id| seal(&key, id, &plain));
    for (i, id) in ids.into_iter().enumerate() {
        for (j, other) in sealed.iter().enumerate() {
            let opened = open(&key, id, 1000, other);
            assert_eq!(opened.is_ok(), i == j, "{i} {j}");
            let alike = sealed[i].iter().zip(other).filter(|(a, b)| a == b).count();
            assert!(i == j || alike < 100, "{alike} of 1016 bytes are alike");
        }
    }
}

#[test]
fn another_data_key_opens_nothing() {
    let sealed = seal(&data_key(Layout::Single), RUN, &pattern(100));
    let other = DataKey::random(Layout::Single, &Counted::new(8));
    assert_eq!(open(&other, RUN, 100, &sealed), Err(OpenError::Corrupt { chunk: 0 }));
}

#[test]
fn both_layers_of_a_dual_run_are_needed_to_open_it() {
    let dual = data_key(Layout::Dual);
    let sealed = seal(&dual, RUN, &pattern(100));
    let mut inner_only = dual.clone();
    inner_only.second = None;
    assert!(open(&inner_only, RUN, 100, &sealed.slice(..116)).is_err());
    let mut other_inner = dual.clone();
    other_inner.first = super::secret(1);
    assert_eq!(open(&other_inner, RUN, 100, &sealed), Err(OpenError::Corrupt { chunk: 0 }));
    let mut other_outer = dual;
    other_outer.second = Some(super::secret(1));
    assert_eq!(open(&other_outer, RUN, 100, &sealed), Err(OpenError::Corrupt { chunk: 0 }));
}

#[test]
fn a_range_needs_only_the_chunks_that_hold_it() {
    let (chunk, sealed) = (CHUNK_BYTES as u64, Layout::Single.sealed_chunk_bytes() as u64);
    let run = 3 * chunk + 10;
    let asked = |range: Range<u64>| Layout::Single.span(run, range).sealed;
    assert_eq!(asked(0..1), 0..sealed);
    assert_eq!(asked(chunk - 1..chunk), 0..sealed);
    assert_eq!(asked(chunk - 1..chunk + 1), 0..2 * sealed);
    assert_eq!(asked(chunk..chunk + 1), sealed..2 * sealed);
    assert_eq!(asked(3 * chunk..run), 3 * sealed..3 * sealed + 26);
    assert_eq!(asked(3 * chunk..u64::MAX), 3 * sealed..3 * sealed + 26);
    assert_eq!(asked(chunk + 5..chunk + 5), sealed..sealed);
    assert_eq!(asked(u64::MAX - 1..u64::MAX), 3 * sealed..3 * sealed);
    assert_eq!(Layout::Single.span(0, 0..10).sealed, 0..0);
}

#[test]
fn an_empty_range_needs_no_bytes() {
    let opener = Opener::new(data_key(Layout::Single).run(RUN), 100, 40..40);
    assert!(opener.sealed_range().is_empty());
    assert_eq!(opener.finish(), Ok(()));
}

/// A run that is known to be short allocates less than a chunk.
#[test]
fn a_small_run_takes_little_memory() {
    let sealed = {
        let mut sealer = Sealer::new(data_key(Layout::Single).run(RUN), Some(10));
        assert!(sealer.push(&mut pattern(10)).is_none());
        sealer.finish().expect("bytes")
    };
    let capacity = sealed.try_into_mut().expect("nobody else has it").capacity();
    assert!(capacity < 256, "{capacity}");
}

#[test]
fn an_etag_depends_on_the_content_and_the_data_key() {
    let key = data_key(Layout::Single);
    assert_eq!(key.entity_tag([1; 16]), key.entity_tag([1; 16]));
    assert_ne!(key.entity_tag([1; 16]), key.entity_tag([2; 16]));
    assert_ne!(key.entity_tag([1; 16]), DataKey::random(Layout::Single, &Counted::new(8)).entity_tag([1; 16]));
    assert_ne!(key.entity_tag([1; 16]), [1; 16]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn an_opened_range_equals_the_slice_of_the_content(
        length in 1usize..3 * CHUNK_BYTES + 100,
        a in any::<prop::sample::Index>(),
        b in any::<prop::sample::Index>(),
        piece in 1000usize..150_000,
        dual in any::<bool>(),
    ) {
        let layout = if dual { Layout::Dual } else { Layout::Single };
        let key = data_key(layout);
        let plain = pattern(length);
        let sealed = seal(&key, RUN, &plain);
        let (a, b) = (a.index(length + 1), b.index(length + 1));
        let (start, end) = (a.min(b), a.max(b));
        let opened = open_range(&key, length as u64, start as u64..end as u64, &sealed, piece);
        prop_assert_eq!(opened, plain.slice(start..end));
    }

    #[test]
    fn plain_and_sealed_lengths_determine_each_other(plain in 0u64..1 << 50) {
        for layout in LAYOUTS {
            let sealed = layout.sealed_bytes(plain);
            prop_assert_eq!(layout.plain_bytes(sealed), Some(plain));
            prop_assert!(plain == 0 || sealed > plain);
        }
    }
}
