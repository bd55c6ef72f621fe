//! Digests against published values, and in combination with each other.

use super::{BodyHasher, ChecksumAlgorithm, ChecksumHasher, checksum_of};
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::any;
use proptest::{prop_assert_eq, proptest};

fn hex(digest: impl AsRef<[u8]>) -> String {
    hex_simd::encode_to_string(digest, hex_simd::AsciiCase::Lower)
}

fn digest(algorithm: ChecksumAlgorithm, pieces: &[&[u8]]) -> String {
    let mut hasher = ChecksumHasher::new(algorithm);
    for piece in pieces {
        hasher.update(piece);
    }
    hex(hasher.finish())
}

/// The check values of the catalogue of CRC algorithms (reveng), of FIPS 180 and of RFC 1321.
#[test]
fn each_checksum_has_the_value_that_its_standard_gives() {
    use ChecksumAlgorithm::{Crc32, Crc32c, Crc64Nvme, Md5, Sha1, Sha256, Sha512};
    for (algorithm, content, expected) in [
        (Crc32, "123456789", "cbf43926"),
        (Crc32c, "123456789", "e3069283"),
        (Crc64Nvme, "123456789", "ae8b14860a799888"),
        (Sha1, "abc", "a9993e364706816aba3e25717850c26c9cd0d89d"),
        (Sha256, "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            Sha512,
            "abc",
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
             2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        ),
        (Md5, "message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
    ] {
        let content = content.as_bytes();
        assert_eq!(digest(algorithm, &[content]), expected, "{algorithm:?}");
        assert_eq!(digest(algorithm, &[&content[..2], b"", &content[2..]]), expected, "{algorithm:?} in pieces");
    }
}

/// The content of the sanity checks of xxHash (`XSUM_sanity_check`).
fn sanity_content(length: usize) -> Vec<u8> {
    const FIRST: u64 = 2_654_435_761;
    const FACTOR: u64 = 11_400_714_785_074_694_797;
    let numbers = std::iter::successors(Some(FIRST), |number| Some(number.wrapping_mul(FACTOR)));
    numbers.take(length).map(|number| number.to_be_bytes()[0]).collect()
}

/// The values of the sanity checks of xxHash 0.8 without a seed. Each length takes another branch of the algorithm.
#[test]
fn xxhash_has_the_values_of_its_own_sanity_checks() {
    use ChecksumAlgorithm::{XxHash3, XxHash64, XxHash128};
    for (algorithm, length, expected) in [
        (XxHash64, 0, "ef46db3751d8e999"),
        (XxHash64, 1, "e934a84adb052768"),
        (XxHash64, 4, "9136a0dca57457ee"),
        (XxHash64, 14, "8282dcc4994e35c8"),
        (XxHash64, 222, "b641ae8cb691c174"),
        (XxHash3, 0, "2d06800538d394c2"),
        (XxHash3, 1, "c44bdff4074eecdb"),
        (XxHash3, 6, "27b56a84cd2d7325"),
        (XxHash3, 12, "a713daf0dfbb77e7"),
        (XxHash3, 24, "a3fe70bf9d3510eb"),
        (XxHash3, 48, "397da259ecba1f11"),
        (XxHash3, 80, "bcdefbbb2c47c90a"),
        (XxHash3, 195, "cd94217ee362ec3a"),
        (XxHash3, 403, "cdeb804d65c6dea4"),
        (XxHash3, 2048, "dd59e2c3a5f038e0"),
        (XxHash3, 2367, "cb37aeb9e5d361ed"),
        (XxHash128, 0, "99aa06d3014798d86001c324468d497f"),
        (XxHash128, 1, "a6cd5e9392000f6ac44bdff4074eecdb"),
        (XxHash128, 6, "082afe0b8162d12a3e7039bdda43cfc6"),
        (XxHash128, 12, "6e3efd8fc7802b18061a192713f69ad9"),
        (XxHash128, 24, "0ce966e4678d37611e7044d28b1b901d"),
        (XxHash128, 48, "a002ac4e5478227ef942219aed80f67b"),
        (XxHash128, 81, "4952f58181ab00425e8bafb9f95fb803"),
        (XxHash128, 222, "337e09641b948717f1aebd597cec6b3a"),
        (XxHash128, 2048, "f736557fd47073a5dd59e2c3a5f038e0"),
        (XxHash128, 2240, "ccb134fbfa7ce49d6e73a90539cf2948"),
    ] {
        let content = sanity_content(length);
        let (first, second) = content.split_at(length / 3);
        assert_eq!(hex(checksum_of(algorithm, &content)), expected, "{algorithm:?} of {length} bytes");
        assert_eq!(digest(algorithm, &[first, second]), expected, "{algorithm:?} of {length} bytes in pieces");
    }
}

/// MD5 is also a checksum that a client can request; both are one computation, fed apart from the other checksums.
#[test]
fn a_requested_md5_checksum_equals_the_md5_of_the_etag() {
    use ChecksumAlgorithm::{Crc64Nvme, Md5};
    for (first, second) in [(Some(Md5), None), (Some(Md5), Some(Crc64Nvme)), (Some(Crc64Nvme), Some(Md5))] {
        let mut hasher = BodyHasher::new(first).and(second);
        hasher.md5().update(b"message digest");
        hasher.update_checksums(b"message digest");
        let digests = hasher.finish();
        assert_eq!(hex(digests.md5), "f96b697d7cb7938d525a2f31aaf161d0");
        let found: Vec<_> = digests.checksum.into_iter().chain(digests.second).collect();
        let asked = first.into_iter().chain(second);
        let expected: Vec<(_, Bytes)> =
            asked.map(|algorithm| (algorithm, checksum_of(algorithm, b"message digest"))).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn an_empty_body_has_digests_too() {
    let digests = BodyHasher::new(None).finish();
    assert_eq!(digests.size_bytes, 0);
    assert_eq!(hex(digests.md5), "d41d8cd98f00b204e9800998ecf8427e");
    assert_eq!(digest(ChecksumAlgorithm::Crc32, &[]), "00000000");
    assert_eq!(digest(ChecksumAlgorithm::Crc64Nvme, &[]), "0000000000000000");
}

proptest! {
    /// F1: hashing the pieces of a body in one pass gives the digests of the whole body.
    #[test]
    fn f1_digests_do_not_depend_on_how_the_body_is_cut(body in vec(any::<u8>(), 0..100_000), cut in any::<usize>()) {
        for algorithm in ChecksumAlgorithm::ALL {
            let at = if body.is_empty() { 0 } else { cut % body.len() };
            let mut pieces = BodyHasher::new(Some(algorithm));
            pieces.update(&body[..at]);
            pieces.update(&body[at..]);
            let mut whole = BodyHasher::new(Some(algorithm));
            whole.update(&body);
            let (pieces, whole) = (pieces.finish(), whole.finish());
            prop_assert_eq!(&pieces, &whole);
            let length = pieces.checksum.map(|(_, value)| value.len());
            prop_assert_eq!(length, Some(algorithm.digest_bytes()));
        }
    }
}
