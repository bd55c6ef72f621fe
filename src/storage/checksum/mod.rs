//! The digests computed over the body of an upload, in one pass as its bytes arrive: always the MD5, and one or two
//! checksums where the request needs them.

use bytes::Bytes;
use crc_fast::CrcAlgorithm;
use sha1::{Digest, Sha1};
use sha2::{Sha256, Sha512};
use std::fmt;
use xxhash_rust::xxh3::Xxh3Default;
use xxhash_rust::xxh64::Xxh64;

mod algorithm;
mod md5;
#[cfg(test)]
mod tests;

pub use algorithm::{ChecksumAlgorithm, ChecksumKind};
pub use md5::{LANES, Md5};

/// The digests of a body are updated in turns, a piece of this size each, so that the second finds the bytes in the
/// cache.
const PIECE_BYTES: usize = 16 << 10;

/// The state of a checksum of one algorithm.
pub struct ChecksumHasher {
    state: State,
}

/// The large states are boxed: a PUT's hasher travels between threads with each group of stripes.
enum State {
    Crc32(Box<crc_fast::Digest>),
    Crc32c(u32),
    Crc64Nvme(Box<crc_fast::Digest>),
    Sha1(Box<Sha1>),
    Sha256(Box<Sha256>),
    Sha512(Box<Sha512>),
    Md5(Box<Md5>),
    XxHash64(Box<Xxh64>),
    XxHash3(Box<Xxh3Default>),
    XxHash128(Box<Xxh3Default>),
}

impl ChecksumHasher {
    pub fn new(algorithm: ChecksumAlgorithm) -> Self {
        let state = match algorithm {
            ChecksumAlgorithm::Crc32 => State::Crc32(Box::new(crc_fast::Digest::new(CrcAlgorithm::Crc32IsoHdlc))),
            ChecksumAlgorithm::Crc32c => State::Crc32c(0),
            ChecksumAlgorithm::Crc64Nvme => State::Crc64Nvme(Box::new(crc_fast::Digest::new(CrcAlgorithm::Crc64Nvme))),
            ChecksumAlgorithm::Sha1 => State::Sha1(Box::default()),
            ChecksumAlgorithm::Sha256 => State::Sha256(Box::default()),
            ChecksumAlgorithm::Sha512 => State::Sha512(Box::default()),
            ChecksumAlgorithm::Md5 => State::Md5(Box::default()),
            ChecksumAlgorithm::XxHash64 => State::XxHash64(Box::default()),
            ChecksumAlgorithm::XxHash3 => State::XxHash3(Box::default()),
            ChecksumAlgorithm::XxHash128 => State::XxHash128(Box::default()),
        };
        Self { state }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Crc32(digest) | State::Crc64Nvme(digest) => digest.update(bytes),
            State::Crc32c(crc) => *crc = crc32c::crc32c_append(*crc, bytes),
            State::Sha1(digest) => digest.update(bytes),
            State::Sha256(digest) => digest.update(bytes),
            State::Sha512(digest) => digest.update(bytes),
            State::Md5(digest) => digest.update(bytes),
            State::XxHash64(digest) => digest.update(bytes),
            State::XxHash3(digest) | State::XxHash128(digest) => digest.update(bytes),
        }
    }

    /// Returns the raw digest; numbers (CRC, xxHash) are big-endian.
    pub fn finish(self) -> Bytes {
        match self.state {
            // `finalize` returns 64 bits; a 32-bit CRC is in the low half.
            State::Crc32(digest) => Bytes::copy_from_slice(&digest.finalize().to_be_bytes()[4..]),
            State::Crc32c(crc) => Bytes::copy_from_slice(&crc.to_be_bytes()),
            State::Crc64Nvme(digest) => Bytes::copy_from_slice(&digest.finalize().to_be_bytes()),
            State::Sha1(digest) => Bytes::copy_from_slice(&digest.finalize()),
            State::Sha256(digest) => Bytes::copy_from_slice(&digest.finalize()),
            State::Sha512(digest) => Bytes::copy_from_slice(&digest.finalize()),
            State::Md5(digest) => Bytes::copy_from_slice(&digest.finish()),
            State::XxHash64(digest) => Bytes::copy_from_slice(&digest.digest().to_be_bytes()),
            State::XxHash3(digest) => Bytes::copy_from_slice(&digest.digest().to_be_bytes()),
            State::XxHash128(digest) => Bytes::copy_from_slice(&digest.digest128().to_be_bytes()),
        }
    }
}

/// Returns the checksum of `bytes`.
pub fn checksum_of(algorithm: ChecksumAlgorithm, bytes: &[u8]) -> Bytes {
    let mut hasher = ChecksumHasher::new(algorithm);
    hasher.update(bytes);
    hasher.finish()
}

/// A requested checksum and its hasher. MD5 has no hasher here, as the body's MD5 is computed in any case.
type Requested = (ChecksumAlgorithm, Option<ChecksumHasher>);

fn requested(algorithm: ChecksumAlgorithm) -> Requested {
    let is_other = algorithm != ChecksumAlgorithm::Md5;
    (algorithm, is_other.then(|| ChecksumHasher::new(algorithm)))
}

/// The hashers of one body: MD5, and up to two checksums.
pub struct BodyHasher {
    md5: Md5,
    checksum: Option<Requested>,
    second: Option<Requested>,
    size_bytes: u64,
}

/// The results of a `BodyHasher`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyDigests {
    pub size_bytes: u64,
    pub md5: [u8; 16],
    pub checksum: Option<(ChecksumAlgorithm, Bytes)>,
    pub second: Option<(ChecksumAlgorithm, Bytes)>,
}

impl fmt::Debug for BodyHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let checksum = self.checksum.as_ref().map(|(algorithm, _)| algorithm);
        f.debug_struct("BodyHasher").field("checksum", &checksum).field("size_bytes", &self.size_bytes).finish()
    }
}

impl BodyHasher {
    pub fn new(checksum: Option<ChecksumAlgorithm>) -> Self {
        Self { md5: Md5::default(), checksum: checksum.map(requested), second: None, size_bytes: 0 }
    }

    /// Adds a second checksum.
    pub fn and(self, second: Option<ChecksumAlgorithm>) -> Self {
        Self { second: second.map(requested), ..self }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(PIECE_BYTES) {
            self.md5.update(piece);
            self.update_checksums(piece);
        }
    }

    /// The MD5, for a caller that updates it apart from the checksums, which it updates by `update_checksums`.
    pub fn md5(&mut self) -> &mut Md5 {
        &mut self.md5
    }

    /// Updates the checksums and the size, but not the MD5.
    pub fn update_checksums(&mut self, bytes: &[u8]) {
        self.size_bytes += bytes.len() as u64;
        for piece in bytes.chunks(PIECE_BYTES) {
            let requested = self.checksum.iter_mut().chain(&mut self.second);
            requested.filter_map(|(_, hasher)| hasher.as_mut()).for_each(|hasher| hasher.update(piece));
        }
    }

    pub fn finish(self) -> BodyDigests {
        let md5 = self.md5.finish();
        let finished = |(algorithm, hasher): Requested| {
            (algorithm, hasher.map_or_else(|| Bytes::copy_from_slice(&md5), ChecksumHasher::finish))
        };
        BodyDigests {
            size_bytes: self.size_bytes,
            md5,
            checksum: self.checksum.map(finished),
            second: self.second.map(finished),
        }
    }
}
