//! The digest of the metadata tables. Replicas that applied the same entries have the same rows, and so the same
//! digest.

use crate::storage::kv::{KvRead, KvResult};
use crate::storage::meta::tables::{SYSTEM, SYSTEM_APPLIED, TABLES};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::ops::Bound;
use std::sync::Arc;

/// The first 16 bytes of SHA-256 over all rows, in order of table and key: table u8, key length u32, value length u32
/// (both little-endian), key, value. The row with the applied position is left out, because it also records what is
/// durable on its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TablesDigest(pub u128);

/// Computes the digest of one view of the tables, a bounded piece at a time.
#[derive(Debug)]
pub struct TablesHasher {
    view: Arc<dyn KvRead>,
    /// The index in `TABLES` of the table to read next, from the row after `after`.
    table: usize,
    after: Option<Bytes>,
    hash: Sha256,
}

impl TablesHasher {
    /// Creates the hasher of a view, which must be of one moment (`Kv::snapshot`).
    pub fn new(view: Arc<dyn KvRead>) -> Self {
        Self { view, table: 0, after: None, hash: Sha256::new() }
    }

    /// Hashes at least `bytes_min` more bytes, or all that are left. Returns the digest at the end. Blocks.
    pub fn advance(&mut self, bytes_min: usize) -> KvResult<Option<TablesDigest>> {
        let mut bytes = 0;
        while let Some(&table) = TABLES.get(self.table) {
            let from = self.after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            for row in self.view.range(table, from, Bound::Unbounded) {
                let (key, value) = row?;
                if (table, &key[..]) != (SYSTEM, SYSTEM_APPLIED) {
                    hash_row(&mut self.hash, self.table, &key, &value);
                }
                bytes += key.len() + value.len();
                if bytes >= bytes_min {
                    self.after = Some(key);
                    return Ok(None);
                }
            }
            self.table += 1;
            self.after = None;
        }
        let hash: [u8; 32] = self.hash.clone().finalize().into();
        let (head, _) = hash.split_first_chunk::<16>().expect("a SHA-256 has 32 bytes");
        Ok(Some(TablesDigest(u128::from_le_bytes(*head))))
    }
}

fn hash_row(hash: &mut Sha256, table: usize, key: &[u8], value: &[u8]) {
    hash.update([u8::try_from(table).expect("there are few tables")]);
    for part in [key, value] {
        hash.update(u32::try_from(part.len()).expect("rows are bounded").to_le_bytes());
    }
    hash.update(key);
    hash.update(value);
}

#[cfg(test)]
mod tests {
    use super::{TablesDigest, TablesHasher};
    use crate::storage::kv::memory::MemoryKv;
    use crate::storage::kv::{Batch, Kv, Table};
    use crate::storage::meta::tables::{OBJECTS, PARTS, SYSTEM, SYSTEM_APPLIED, TABLES};
    use std::sync::Arc;

    fn digest(kv: &dyn Kv, step: usize) -> TablesDigest {
        let mut hasher = TablesHasher::new(kv.snapshot());
        loop {
            if let Some(digest) = hasher.advance(step).expect("readable") {
                return digest;
            }
        }
    }

    fn tables(rows: &[(Table, &'static str, &'static str)]) -> Arc<MemoryKv> {
        let kv = Arc::new(MemoryKv::new(TABLES));
        let mut batch = Batch::default();
        for (table, key, value) in rows {
            batch.put(*table, *key, *value);
        }
        kv.commit(batch).expect("in memory");
        kv
    }

    #[test]
    fn the_digest_depends_on_every_row_and_not_on_the_step_size() {
        let rows = [(OBJECTS, "a", "1"), (OBJECTS, "b", "22"), (PARTS, "a", "333")];
        let whole = digest(&*tables(&rows), usize::MAX);
        for step in 1..8 {
            assert_eq!(digest(&*tables(&rows), step), whole, "in steps of {step} bytes");
        }
        let others = [
            vec![],
            vec![rows[0], rows[1]],
            vec![rows[0], rows[1], (OBJECTS, "c", "333")],
            vec![rows[0], rows[1], (PARTS, "a", "334")],
            vec![rows[0], rows[1], (PARTS, "a3", "33")],
            vec![(OBJECTS, "a", "1"), (OBJECTS, "b", "2"), (PARTS, "a", "333")],
        ];
        for other in others {
            assert_ne!(digest(&*tables(&other), usize::MAX), whole, "{other:?}");
        }
    }

    #[test]
    fn the_digest_ignores_the_applied_position() {
        let applied = std::str::from_utf8(SYSTEM_APPLIED).expect("plain text");
        let one = tables(&[(OBJECTS, "a", "1"), (SYSTEM, applied, "host 1"), (SYSTEM, "z", "1")]);
        let two = tables(&[(OBJECTS, "a", "1"), (SYSTEM, applied, "host 2"), (SYSTEM, "z", "1")]);
        let other = tables(&[(OBJECTS, "a", "1"), (SYSTEM, applied, "host 1"), (SYSTEM, "z", "2")]);
        assert_eq!(digest(&*one, 1), digest(&*two, 3));
        assert_ne!(digest(&*one, 1), digest(&*other, 1));
    }
}
