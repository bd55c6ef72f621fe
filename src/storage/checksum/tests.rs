//! Digests against known values, and combinations of them.

use super::{BodyHasher, ChecksumHasher};
use crate::storage::meta::record::ChecksumAlgorithm;
use proptest::collection::vec;
use proptest::prelude::any;
use proptest::{prop_assert_eq, proptest};

fn digest(algorithm: ChecksumAlgorithm, pieces: &[&[u8]]) -> String {
    let mut hasher = ChecksumHasher::new(algorithm);
    for piece in pieces {
        hasher.update(piece);
    }
    hex_simd::encode_to_string(hasher.finish(), hex_simd::AsciiCase::Lower)
}

const ALGORITHMS: [ChecksumAlgorithm; 5] = [
    ChecksumAlgorithm::Crc32,
    ChecksumAlgorithm::Crc32c,
    ChecksumAlgorithm::Crc64Nvme,
    ChecksumAlgorithm::Sha1,
    ChecksumAlgorithm::Sha256,
];

/// The check values of the catalogue of CRC algorithms (reveng) and of FIPS 180 for `123456789`.
#[test]
fn each_checksum_has_the_value_that_its_standard_gives() {
    let expected = [
        "cbf43926",
        "e3069283",
        "ae8b14860a799888",
        "f7c3bc1d808e04732adf679965ccc34ca7ae3441",
        "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
    ];
    for (algorithm, expected) in ALGORITHMS.into_iter().zip(expected) {
        assert_eq!(digest(algorithm, &[b"123456789"]), expected, "{algorithm:?}");
        assert_eq!(digest(algorithm, &[b"1234", b"", b"56789"]), expected, "{algorithm:?} in pieces");
    }
}

#[test]
fn an_empty_body_has_digests_too() {
    let digests = BodyHasher::new(None).finish();
    assert_eq!(digests.size_bytes, 0);
    assert_eq!(hex_simd::encode_to_string(digests.md5, hex_simd::AsciiCase::Lower), "d41d8cd98f00b204e9800998ecf8427e");
    assert_eq!(digest(ChecksumAlgorithm::Crc32, &[]), "00000000");
    assert_eq!(digest(ChecksumAlgorithm::Crc64Nvme, &[]), "0000000000000000");
}

proptest! {
    /// F1: one pass over the pieces as they come gives the digests of the whole.
    #[test]
    fn f1_digests_do_not_depend_on_how_the_body_is_cut(body in vec(any::<u8>(), 0..100_000), cut in any::<usize>()) {
        for algorithm in ALGORITHMS {
            let at = if body.is_empty() { 0 } else { cut % body.len() };
            let mut pieces = BodyHasher::new(Some(algorithm));
            pieces.update(&body[..at]);
            pieces.update(&body[at..]);
            let mut whole = BodyHasher::new(Some(algorithm));
            whole.update(&body);
            let (pieces, whole) = (pieces.finish(), whole.finish());
            prop_assert_eq!(&pieces, &whole);
            prop_assert_eq!(pieces.checksum.map(|(_, value)| value.len()), Some(digest(algorithm, &[]).len() / 2));
        }
    }
}
