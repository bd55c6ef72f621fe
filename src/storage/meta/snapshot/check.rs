//! Verification of a snapshot without installing it.

use super::{SnapshotError, SnapshotInstaller};
use crate::storage::kv::{Batch, Kv, KvRead, KvResult, PairIter, Table};
use bytes::Bytes;
use std::ops::Bound;
use std::sync::Arc;

/// Verifies a snapshot's bytes like the installer, and keeps nothing.
#[derive(Debug)]
pub struct SnapshotCheck {
    installer: SnapshotInstaller,
}

impl SnapshotCheck {
    pub fn new() -> Result<Self, SnapshotError> {
        Ok(Self { installer: SnapshotInstaller::new(Arc::new(Nowhere))? })
    }

    pub fn push(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        self.installer.push(bytes)
    }

    pub fn finish(self) -> Result<(), SnapshotError> {
        self.installer.finish()
    }
}

/// Tables that are always empty.
#[derive(Debug)]
struct Nowhere;

impl KvRead for Nowhere {
    fn get(&self, _table: Table, _key: &[u8]) -> KvResult<Option<Bytes>> {
        Ok(None)
    }

    fn range(&self, _table: Table, _from: Bound<&[u8]>, _to: Bound<&[u8]>) -> PairIter<'_> {
        Box::new(std::iter::empty())
    }
}

impl Kv for Nowhere {
    fn snapshot(&self) -> Arc<dyn KvRead> {
        Arc::new(Self)
    }

    fn commit(&self, _batch: Batch) -> KvResult<()> {
        Ok(())
    }

    fn persist(&self) -> KvResult<()> {
        Ok(())
    }

    fn disk_bytes(&self) -> u64 {
        0
    }
}
