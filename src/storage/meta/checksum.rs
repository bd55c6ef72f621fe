//! The checksum of a multipart object, computed from its parts' checksums: the hash of their concatenation (composite),
//! or, for CRCs, the checksum of the whole content, which follows from the parts' values and sizes alone.

use super::record::{Checksum, ChecksumAlgorithm, ChecksumKind, PartRow};
use crate::storage::checksum::checksum_of;
use bytes::Bytes;

/// Returns whether S3 allows this combination for multipart uploads.
pub(super) fn is_multipart_kind(algorithm: ChecksumAlgorithm, kind: ChecksumKind) -> bool {
    algorithm.kinds_of_parts().contains(&kind)
}

/// Returns the checksum of the whole object. `None` if a part has none of this algorithm, or if S3 does not allow the
/// algorithm with this kind.
pub(super) fn of_parts(algorithm: ChecksumAlgorithm, kind: ChecksumKind, parts: &[PartRow]) -> Option<Checksum> {
    if !is_multipart_kind(algorithm, kind) {
        return None;
    }
    let values = parts.iter().map(|part| {
        let checksum = part.checksum.as_ref().filter(|checksum| checksum.algorithm == algorithm)?;
        Some((&checksum.value, part.size_bytes))
    });
    let value = match kind {
        ChecksumKind::Composite => {
            let mut row = Vec::new();
            for value in values {
                row.extend_from_slice(value?.0);
            }
            checksum_of(algorithm, &row)
        }
        ChecksumKind::FullObject => full_object(Crc::of(algorithm)?, values)?,
    };
    Some(Checksum { algorithm, kind, value })
}

/// Combines the checksum of an object with that of bytes appended to it; each comes with the number of bytes that it
/// covers. Only a CRC of the whole content can be combined.
pub fn checksum_after_append(
    (standing, standing_bytes): (Option<&Checksum>, u64),
    (added, added_bytes): (Option<&Checksum>, u64),
) -> Option<Checksum> {
    let added = added?;
    if standing_bytes == 0 {
        return Some(added.clone());
    }
    let algorithm = added.algorithm;
    let standing = standing.filter(|found| found.kind == ChecksumKind::FullObject && found.algorithm == algorithm)?;
    let values = [Some((&standing.value, standing_bytes)), Some((&added.value, added_bytes))];
    let value = full_object(Crc::of(algorithm)?, values.into_iter())?;
    Some(Checksum { algorithm, kind: ChecksumKind::FullObject, value })
}

fn full_object<'a>(crc: Crc, values: impl Iterator<Item = Option<(&'a Bytes, u64)>>) -> Option<Bytes> {
    let mut whole = 0;
    let mut shift = (0, crc.one());
    for value in values {
        let (value, size_bytes) = value?;
        if shift.0 != size_bytes {
            shift = (size_bytes, crc.shift_by(size_bytes));
        }
        whole = crc.multiply(shift.1, whole) ^ crc.parse(value)?;
    }
    Some(Bytes::copy_from_slice(&whole.to_be_bytes()[8 - crc.bytes()..]))
}

/// A reflected CRC whose initial value and final mask are all ones. The CRC of two concatenated strings is then the CRC
/// of the first, times x to the power of the second's length in bits, plus the CRC of the second, modulo the
/// polynomial. Most parts have the same size, so that the power is computed once and each part costs one
/// multiplication.
#[derive(Clone, Copy)]
struct Crc {
    polynomial: u64,
    width: u32,
}

impl Crc {
    fn of(algorithm: ChecksumAlgorithm) -> Option<Self> {
        match algorithm {
            ChecksumAlgorithm::Crc32 => Some(Self { polynomial: 0xedb8_8320, width: 32 }),
            ChecksumAlgorithm::Crc32c => Some(Self { polynomial: 0x82f6_3b78, width: 32 }),
            ChecksumAlgorithm::Crc64Nvme => Some(Self { polynomial: 0x9a6c_9329_ac4b_c9b5, width: 64 }),
            _ => None,
        }
    }

    fn bytes(self) -> usize {
        self.width as usize / 8
    }

    fn parse(self, value: &[u8]) -> Option<u64> {
        if value.len() != self.bytes() {
            return None;
        }
        Some(value.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    /// The polynomial 1. Bits are reflected, so that the highest bit is the coefficient of x to the power of 0.
    fn one(self) -> u64 {
        1 << (self.width - 1)
    }

    /// a · b modulo the polynomial.
    fn multiply(self, a: u64, mut b: u64) -> u64 {
        let mut product = 0;
        for bit in (0..self.width).rev() {
            if a >> bit & 1 == 1 {
                product ^= b;
            }
            b = if b & 1 == 1 { b >> 1 ^ self.polynomial } else { b >> 1 };
        }
        product
    }

    /// x to the power of 8 · `bytes`.
    fn shift_by(self, mut bytes: u64) -> u64 {
        let mut square = self.one() >> 8;
        let mut power = self.one();
        while bytes > 0 {
            if bytes & 1 == 1 {
                power = self.multiply(square, power);
            }
            square = self.multiply(square, square);
            bytes >>= 1;
        }
        power
    }
}

#[cfg(test)]
mod tests {
    use super::{Crc, checksum_after_append, is_multipart_kind, of_parts};
    use crate::storage::checksum::checksum_of as hash;
    use crate::storage::meta::record::{Checksum, ChecksumAlgorithm, ChecksumKind, PartRow};
    use crate::types::UnixMs;
    use proptest::prelude::{any, prop_assert_eq, proptest};

    fn part(algorithm: ChecksumAlgorithm, content: &[u8]) -> PartRow {
        PartRow {
            number: 1,
            offset_bytes: 0,
            size_bytes: content.len() as u64,
            md5: [0; 16],
            modified: UnixMs(0),
            checksum: Some(Checksum { algorithm, kind: ChecksumKind::FullObject, value: hash(algorithm, content) }),
            blob: None,
        }
    }

    #[test]
    fn a_composite_checksum_is_the_hash_of_the_parts_hashes() {
        let composite = |algorithm: &ChecksumAlgorithm| is_multipart_kind(*algorithm, ChecksumKind::Composite);
        assert_eq!(ChecksumAlgorithm::ALL.iter().filter(|algorithm| composite(algorithm)).count(), 9);
        for algorithm in ChecksumAlgorithm::ALL.into_iter().filter(composite) {
            let parts = [part(algorithm, b"one"), part(algorithm, b"two")];
            let row = [hash(algorithm, b"one"), hash(algorithm, b"two")].concat();
            let whole = of_parts(algorithm, ChecksumKind::Composite, &parts).map(|checksum| checksum.value);
            assert_eq!(whole, Some(hash(algorithm, &row)));
        }
    }

    #[test]
    fn only_crcs_can_be_full_object_checksums_of_parts() {
        for algorithm in ChecksumAlgorithm::ALL {
            let combines = is_multipart_kind(algorithm, ChecksumKind::FullObject);
            assert_eq!(combines, Crc::of(algorithm).is_some(), "{algorithm:?}");
        }
    }

    #[test]
    fn an_object_has_no_checksum_if_one_of_its_parts_has_none() {
        let crc = ChecksumAlgorithm::Crc32c;
        let parts = [part(crc, b"one"), part(ChecksumAlgorithm::Sha1, b"two")];
        assert_eq!(of_parts(crc, ChecksumKind::FullObject, &parts), None);
        assert_eq!(of_parts(crc, ChecksumKind::Composite, &parts), None);
        assert_eq!(of_parts(ChecksumAlgorithm::Sha1, ChecksumKind::FullObject, &parts[1..]), None);
        assert_eq!(of_parts(ChecksumAlgorithm::Crc64Nvme, ChecksumKind::Composite, &[]), None);
    }

    #[test]
    fn an_append_keeps_only_crcs_of_the_same_algorithm() {
        use ChecksumAlgorithm::{Crc32, Crc32c, Crc64Nvme, Sha256};
        let of = |algorithm, content: &[u8]| part(algorithm, content).checksum;
        let both = |standing: Option<Checksum>, added: Option<Checksum>| {
            checksum_after_append((standing.as_ref(), 3), (added.as_ref(), 4))
        };
        for algorithm in [Crc32, Crc32c, Crc64Nvme] {
            assert_eq!(both(of(algorithm, b"one"), of(algorithm, b"more")), of(algorithm, b"onemore"));
        }
        for other in ChecksumAlgorithm::ALL.into_iter().filter(|other| Crc::of(*other).is_none()) {
            assert_eq!(both(of(other, b"one"), of(other, b"more")), None, "{other:?}");
        }
        assert_eq!(both(of(Crc32, b"one"), of(Crc32c, b"more")), None);
        assert_eq!((both(None, of(Crc32, b"more")), both(of(Crc32, b"one"), None)), (None, None));
        let composite = of(Crc32, b"one").map(|found| Checksum { kind: ChecksumKind::Composite, ..found });
        assert_eq!(both(composite, of(Crc32, b"more")), None);
        let first = of(Sha256, b"more");
        assert_eq!(checksum_after_append((None, 0), (first.as_ref(), 4)), first);
    }

    proptest! {
        #[test]
        fn the_crc_of_the_whole_is_computed_from_the_parts(
            contents in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..6),
        ) {
            for algorithm in [ChecksumAlgorithm::Crc32, ChecksumAlgorithm::Crc32c, ChecksumAlgorithm::Crc64Nvme] {
                let parts: Vec<_> = contents.iter().map(|content| part(algorithm, content)).collect();
                let whole = of_parts(algorithm, ChecksumKind::FullObject, &parts).map(|checksum| checksum.value);
                prop_assert_eq!(whole, Some(hash(algorithm, &contents.concat())));
            }
        }
    }
}
