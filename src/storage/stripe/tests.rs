//! Layouts: every byte of a blob is in exactly one chunk.

use super::{BlobLayout, chunk_bytes};
use crate::limits::{BLOCK_BYTES, CHUNK_BYTES_MAX, RECORD_PACKED_BYTES_MAX};
use crate::types::{ChunkIndex, Geometry};
use proptest::{prop_assert, prop_assert_eq, proptest};

fn geometry(data: u8, parity: u8, chunk: u32) -> Geometry {
    Geometry { data, parity, chunk_size_bytes: chunk }
}

/// Returns the place of each byte of a range, worked out byte by byte: `(stripe, shard, offset in the chunk)`.
fn naive(geometry: Geometry, size: u64) -> Vec<(u32, u8, usize)> {
    let stripe_bytes = u64::from(geometry.data) * u64::from(geometry.chunk_size_bytes);
    let mut places = Vec::new();
    for at in 0..size {
        let stripe = at / stripe_bytes;
        let held = stripe_bytes.min(size - stripe * stripe_bytes) as usize;
        let chunk = chunk_bytes(geometry, held);
        let within = (at % stripe_bytes) as usize;
        places.push((stripe as u32, (within / chunk) as u8, within % chunk));
    }
    places
}

fn by_spans(layout: &BlobLayout, start: u64, end: u64) -> Vec<(u32, u8, usize)> {
    let mut places = Vec::new();
    for stripe in layout.stripes_of(start..end) {
        let spans = layout.spans(ChunkIndex(stripe), start..end);
        assert!(!spans.is_empty(), "a stripe is named only where it holds some of the range");
        for span in spans {
            assert!(!span.bytes.is_empty() && span.bytes.end <= layout.chunk_bytes(ChunkIndex(stripe)));
            places.extend(span.bytes.map(|at| (stripe, span.shard.0, at)));
        }
    }
    places
}

#[test]
fn the_spans_of_every_range_match_a_byte_by_byte_model() {
    for (data, chunk) in [(1, 100), (2, 64), (3, 70), (4, 64)] {
        let geometry = geometry(data, 1, chunk);
        for size in (0..=3 * u64::from(data) * u64::from(chunk) + 3).step_by(7) {
            let layout = BlobLayout::new(geometry, size).expect("a layout");
            let places = naive(geometry, size);
            for stripe in 0..layout.stripes() {
                let holding =
                    places.iter().filter(|place| place.0 == stripe).map(|place| usize::from(place.1) + 1).max();
                assert_eq!(layout.padding_shards(ChunkIndex(stripe)), holding.unwrap_or(0)..usize::from(data));
            }
            for start in (0..=size).step_by(13) {
                for end in [start, start + 1, start + 65, start + 300, size] {
                    let end = end.min(size);
                    let expected = places.get(start as usize..end as usize).unwrap_or_default();
                    assert_eq!(by_spans(&layout, start, end), expected, "{start}..{end} of {size} at {geometry}");
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn chunks_are_no_longer_than_the_stripe_and_alignment_need(data in 1u8..=16, held in 1usize..16 * CHUNK_BYTES_MAX) {
        let geometry = geometry(data, 2, CHUNK_BYTES_MAX as u32);
        let held = held.min(usize::from(data) * CHUNK_BYTES_MAX);
        let chunk = chunk_bytes(geometry, held);
        let least = held.div_ceil(usize::from(data));
        prop_assert!(chunk >= least && chunk <= CHUNK_BYTES_MAX);
        prop_assert!(chunk < least + BLOCK_BYTES);
        prop_assert_eq!(chunk % if least >= RECORD_PACKED_BYTES_MAX { BLOCK_BYTES } else { 64 }, 0);
    }

    #[test]
    fn stripe_sizes_sum_to_the_blob_and_shards_have_room_for_it(data in 1u8..=8, size in 0u64..1 << 40) {
        let layout = BlobLayout::new(geometry(data, 2, CHUNK_BYTES_MAX as u32), size).expect("a layout");
        let last = layout.stripes().saturating_sub(1);
        let full = u64::from(last) * layout.stripe_data_bytes();
        if size > 0 {
            prop_assert_eq!(full + layout.stripe_bytes(ChunkIndex(last)) as u64, size);
        }
        prop_assert_eq!(layout.stripe_bytes(ChunkIndex(layout.stripes())), 0);
        prop_assert!(layout.shard_bytes() * u64::from(data) >= size);
        prop_assert!(layout.shard_bytes() * u64::from(data) <= size + u64::from(data) * BLOCK_BYTES as u64);
    }
}

/// P5: reading a range touches only the chunks that hold it, not the whole object.
#[test]
fn p5_eight_mebibytes_of_600_megabytes_touch_less_than_ten_mebibytes() {
    let layout = BlobLayout::new(geometry(2, 2, CHUNK_BYTES_MAX as u32), 600_000_000).expect("a layout");
    for start in [0, 1, 123_456_789, 600_000_000 - (8 << 20)] {
        let range = start..start + (8 << 20);
        let mut touched = 0;
        for stripe in layout.stripes_of(range.clone()) {
            touched += layout.spans(ChunkIndex(stripe), range.clone()).len() * layout.chunk_bytes(ChunkIndex(stripe));
        }
        assert!(touched < 10 << 20, "{touched} bytes from {start}");
    }
}

#[test]
fn a_layout_that_no_writer_can_have_recorded_is_refused() {
    assert!(BlobLayout::new(geometry(0, 1, 64), 1).is_err());
    assert!(BlobLayout::new(geometry(2, 1, 0), 1).is_err());
    assert!(BlobLayout::new(geometry(30, 30, 64), 1).is_err());
    assert!(BlobLayout::new(geometry(1, 0, u32::MAX), 1).is_err());
    assert!(BlobLayout::new(geometry(1, 0, 1), 1 << 33).is_err());
    assert!(BlobLayout::new(geometry(8, 2, CHUNK_BYTES_MAX as u32), u64::MAX).is_err());
}
