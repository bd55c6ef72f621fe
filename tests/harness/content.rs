//! Objects' bytes remembered as a seed and lengths, so that a ledger of gigabytes is small.

use super::data;
use md5::{Digest, Md5};

/// An object's bytes, remembered as a seed and lengths: one length for a plain PUT, one for each part of a multipart
/// upload.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Content {
    pub seed: u64,
    pub lens: Vec<usize>,
}

impl Content {
    pub fn parts(&self) -> Vec<Vec<u8>> {
        self.lens.iter().enumerate().map(|(at, len)| data::bytes(self.seed.wrapping_add(at as u64), *len)).collect()
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.parts().concat()
    }

    /// Returns the ETag, with its quotes.
    pub fn etag(&self) -> String {
        let digests: Vec<[u8; 16]> = self.parts().iter().map(|part| Md5::digest(part).into()).collect();
        match digests.as_slice() {
            [one] => format!("\"{}\"", data::hex(one)),
            many => format!("\"{}-{}\"", data::hex(&Md5::digest(many.concat())), many.len()),
        }
    }
}
