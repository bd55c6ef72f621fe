//! The checksum algorithms of S3 and their properties in its API: name, header, XML element, length of the digest, and
//! the kinds of checksum of a multipart upload.

use serde::{Deserialize, Serialize};

/// A checksum algorithm of S3. Stored rows contain the number of the variant, so a new variant goes to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ChecksumAlgorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
    Sha512,
    Md5,
    XxHash64,
    XxHash3,
    XxHash128,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChecksumKind {
    /// A checksum of the whole content.
    FullObject,
    /// A checksum of the parts' checksums. The S3 API shows it with the suffix `-N`, the number of parts.
    Composite,
}

struct Facts {
    name: &'static str,
    header: &'static str,
    digest_bytes: usize,
    of_parts: &'static [ChecksumKind],
}

const fn facts(
    name: &'static str,
    header: &'static str,
    digest_bytes: usize,
    of_parts: &'static [ChecksumKind],
) -> Facts {
    Facts { name, header, digest_bytes, of_parts }
}

const ELEMENT: &str = "Checksum";

impl ChecksumAlgorithm {
    /// All algorithms, in the order of their names.
    pub const ALL: [Self; 10] = [
        Self::Crc32,
        Self::Crc32c,
        Self::Crc64Nvme,
        Self::Md5,
        Self::Sha1,
        Self::Sha256,
        Self::Sha512,
        Self::XxHash128,
        Self::XxHash3,
        Self::XxHash64,
    ];

    const fn facts(self) -> Facts {
        use ChecksumKind::{Composite, FullObject};
        match self {
            Self::Crc32 => facts("CRC32", "x-amz-checksum-crc32", 4, &[Composite, FullObject]),
            Self::Crc32c => facts("CRC32C", "x-amz-checksum-crc32c", 4, &[Composite, FullObject]),
            Self::Crc64Nvme => facts("CRC64NVME", "x-amz-checksum-crc64nvme", 8, &[FullObject]),
            Self::Sha1 => facts("SHA1", "x-amz-checksum-sha1", 20, &[Composite]),
            Self::Sha256 => facts("SHA256", "x-amz-checksum-sha256", 32, &[Composite]),
            Self::Sha512 => facts("SHA512", "x-amz-checksum-sha512", 64, &[Composite]),
            Self::Md5 => facts("MD5", "x-amz-checksum-md5", 16, &[Composite]),
            Self::XxHash64 => facts("XXHASH64", "x-amz-checksum-xxhash64", 8, &[Composite]),
            Self::XxHash3 => facts("XXHASH3", "x-amz-checksum-xxhash3", 8, &[Composite]),
            Self::XxHash128 => facts("XXHASH128", "x-amz-checksum-xxhash128", 16, &[Composite]),
        }
    }

    /// The algorithm's name in the S3 API.
    pub const fn name(self) -> &'static str {
        self.facts().name
    }

    /// The header, or trailer field, that carries the checksum.
    pub const fn header(self) -> &'static str {
        self.facts().header
    }

    /// The XML element that carries the checksum.
    pub fn element(self) -> String {
        format!("{ELEMENT}{}", self.name())
    }

    pub const fn digest_bytes(self) -> usize {
        self.facts().digest_bytes
    }

    /// The kinds of checksum that a multipart upload can have; the first is the default.
    pub const fn kinds_of_parts(self) -> &'static [ChecksumKind] {
        self.facts().of_parts
    }

    /// Finds an algorithm by its name, in any letter case.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    pub fn of_header(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.header().eq_ignore_ascii_case(name))
    }

    pub fn of_element(name: &[u8]) -> Option<Self> {
        let name = name.strip_prefix(ELEMENT.as_bytes())?;
        Self::ALL.into_iter().find(|algorithm| algorithm.name().as_bytes() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::ChecksumAlgorithm;
    use std::collections::BTreeSet;

    #[test]
    fn the_list_of_checksum_algorithms_has_every_stored_variant() {
        let stored = |number: u8| postcard::from_bytes::<ChecksumAlgorithm>(&[number]).ok();
        let known: BTreeSet<_> = (0..=u8::MAX).filter_map(stored).collect();
        assert_eq!(known, ChecksumAlgorithm::ALL.into_iter().collect());
        assert_eq!(known.len(), ChecksumAlgorithm::ALL.len());
    }

    #[test]
    fn an_algorithm_is_found_by_its_name_header_and_element() {
        for algorithm in ChecksumAlgorithm::ALL {
            let name = algorithm.name();
            assert_eq!(ChecksumAlgorithm::of_name(&name.to_ascii_lowercase()), Some(algorithm));
            assert_eq!(algorithm.header(), format!("x-amz-checksum-{}", name.to_ascii_lowercase()));
            assert_eq!(ChecksumAlgorithm::of_header(&algorithm.header().to_ascii_uppercase()), Some(algorithm));
            assert_eq!(ChecksumAlgorithm::of_element(algorithm.element().as_bytes()), Some(algorithm));
        }
        for name in ["", "CRC7", "CRC3", "CRC32 "] {
            assert_eq!(ChecksumAlgorithm::of_name(name), None, "{name}");
            assert_eq!(ChecksumAlgorithm::of_header(&format!("x-amz-checksum-{name}")), None, "{name}");
            assert_eq!(ChecksumAlgorithm::of_element(format!("Checksum{name}").as_bytes()), None, "{name}");
        }
        assert_eq!(ChecksumAlgorithm::of_element(b"ChecksumType"), None);
        assert_eq!(ChecksumAlgorithm::of_element(b"Checksumcrc32"), None);
    }
}
