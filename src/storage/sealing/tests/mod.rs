//! Fixtures of the tests of encryption: a deterministic source of random bytes, and key documents in a map.

mod golden;
mod keys;
mod store;
mod stream;

use super::{KMS_DEFAULT_KEY, KeyDocuments, KeyPath, NamedKey, RootKey, RootKeys, SSE_S3_KEY, Secret};
use crate::ambient::Entropy;
use crate::storage::kv::KvResult;
use crate::types::UnixMs;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// A deterministic source of random bytes (SplitMix64).
#[derive(Debug)]
struct Counted(AtomicU64);

impl Counted {
    fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }
}

impl Entropy for Counted {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let mut z = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(z ^ (z >> 31)).to_be_bytes()[..chunk.len()]);
        }
    }
}

#[derive(Debug, Default)]
struct Documents(BTreeMap<String, Bytes>);

impl Documents {
    fn keep(&mut self, key: &NamedKey) {
        self.0.insert(KeyPath::Key(key.id()).to_string(), key.encode());
    }
}

impl KeyDocuments for Documents {
    fn key_document(&self, path: &str) -> KvResult<Option<Bytes>> {
        Ok(self.0.get(path).cloned())
    }
}

fn roots(seed: u64) -> RootKeys {
    RootKeys::new(RootKey::random(&Counted::new(seed)))
}

/// The documents of the store's own keys, and of a key named `payroll`.
fn documents(roots: &RootKeys) -> Documents {
    let mut documents = Documents::default();
    for (seed, id) in [SSE_S3_KEY, KMS_DEFAULT_KEY, "payroll"].into_iter().enumerate() {
        let entropy = Counted::new(1000 + seed as u64);
        documents.keep(&NamedKey::create(id, "a key", UnixMs(1), roots, &entropy).expect("a name"));
    }
    documents
}

fn secret(byte: u8) -> Secret {
    Secret::of(&[byte; 32]).expect("32 bytes")
}

/// Test data in which no two chunks are equal.
fn pattern(bytes: usize) -> Bytes {
    (0..bytes).map(|at| (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0]).collect()
}
