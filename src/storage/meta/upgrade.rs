//! Tables of an earlier layout, made into those of this one. Rows have versions of their own and are read as they are; what
//! is missing is only what was not counted then.

use super::codec;
use super::record::{ObjectVersion, Usage};
use super::tables::{OBJECTS, SYSTEM, SYSTEM_FORMAT, USAGE};
use crate::storage::kv::{Batch, Kv, KvError, KvResult};
use std::collections::BTreeMap;
use std::ops::Bound;

/// Layout 1 did not say how much is in a bucket. Done again from the start where it was cut off.
pub(super) fn from_layout_1(kv: &dyn Kv, layout: u8) -> KvResult<()> {
    let mut usages: BTreeMap<[u8; 8], Usage> = BTreeMap::new();
    for pair in kv.range(OBJECTS, Bound::Unbounded, Bound::Unbounded) {
        let (key, row) = pair?;
        let malformed = || KvError { doing: "upgrade the metadata tables", cause: format!("malformed key {key:02x?}") };
        let bucket = key.first_chunk::<8>().ok_or_else(malformed)?;
        let object: ObjectVersion = codec::decode(&row)?;
        let usage = usages.entry(*bucket).or_default();
        usage.objects += 1;
        usage.bytes += object.manifest.size_bytes;
    }
    let mut batch = Batch::default();
    for (bucket, usage) in usages {
        batch.put(USAGE, bucket.to_vec(), codec::encode(&usage));
    }
    batch.put(SYSTEM, SYSTEM_FORMAT, vec![layout]);
    kv.commit(batch)
}
