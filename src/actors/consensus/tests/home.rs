//! Tables in memory that stay when the replica stops, and can be lost, spoilt, or made to fail.

use crate::actors::consensus::StateHome;
use crate::ambient::Entropy;
use crate::storage::kv::memory::MemoryKv;
use crate::storage::kv::{Batch, Kv, KvError, KvRead, KvResult, PairIter, Table};
use crate::storage::meta::tables::TABLES;
use crate::types::NodeId;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

#[derive(Debug, Default)]
pub struct MemoryHome {
    kept: Mutex<BTreeMap<(NodeId, u32), Arc<Failing>>>,
    full: AtomicBool,
}

impl MemoryHome {
    /// The drive is gone: its tables fail, and are not found again.
    pub fn lose(&self, node: NodeId) {
        self.kept.lock().expect("no panic under the lock").retain(|(held, _), tables| {
            if *held == node {
                tables.fails.store(true, Ordering::SeqCst);
            }
            *held != node
        });
    }

    /// All tables fail from now on.
    pub fn break_all(&self) {
        for tables in self.kept.lock().expect("no panic under the lock").values() {
            tables.fails.store(true, Ordering::SeqCst);
        }
    }

    /// Whether there is no room to make tables: what is begun of them stays.
    pub fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::SeqCst);
    }

    /// All tables are gone.
    pub fn forget_all(&self) {
        self.kept.lock().expect("no panic under the lock").clear();
    }

    pub fn nodes(&self) -> BTreeSet<NodeId> {
        self.kept.lock().expect("no panic under the lock").keys().map(|(node, _)| *node).collect()
    }

    /// The same tables, apart from these.
    pub fn copied(&self) -> Self {
        let kept = self.kept.lock().expect("no panic under the lock");
        let copied = kept.iter().map(|(place, tables)| {
            (
                *place,
                Arc::new(Failing { inner: tables.inner.power_cut_after(usize::MAX), fails: AtomicBool::new(false) }),
            )
        });
        Self { kept: Mutex::new(copied.collect()), full: AtomicBool::new(false) }
    }

    /// What is found after a power cut.
    pub fn power_cut(&self, entropy: &dyn Entropy) -> Self {
        let kept = self.kept.lock().expect("no panic under the lock");
        let cut = kept.iter().map(|(place, tables)| {
            let inner = tables.inner.power_cut(entropy);
            (*place, Arc::new(Failing { inner, fails: AtomicBool::new(false) }))
        });
        Self { kept: Mutex::new(cut.collect()), full: AtomicBool::new(false) }
    }
}

impl StateHome for MemoryHome {
    fn list(&self, node: NodeId, _dir: &Path) -> Vec<u32> {
        let kept = self.kept.lock().expect("no panic under the lock");
        kept.keys().filter(|(held, _)| *held == node).map(|(_, number)| *number).collect()
    }

    fn open(&self, node: NodeId, _dir: &Path, number: u32) -> KvResult<Arc<dyn Kv>> {
        let mut kept = self.kept.lock().expect("no panic under the lock");
        let is_refused = self.full.load(Ordering::SeqCst) && !kept.contains_key(&(node, number));
        let fresh = || Arc::new(Failing { inner: MemoryKv::new(TABLES), fails: AtomicBool::new(is_refused) });
        let tables = Arc::clone(kept.entry((node, number)).or_insert_with(fresh));
        if is_refused {
            return Err(KvError { doing: "open", cause: "there is no room".to_owned() });
        }
        Ok(tables as _)
    }

    fn discard(&self, node: NodeId, _dir: &Path, number: u32) -> KvResult<()> {
        self.kept.lock().expect("no panic under the lock").remove(&(node, number));
        Ok(())
    }
}

/// Tables that fail when told to.
#[derive(Debug)]
struct Failing {
    inner: MemoryKv,
    fails: AtomicBool,
}

impl Failing {
    fn check(&self) -> KvResult<()> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(KvError { doing: "anything", cause: "a test says so".to_owned() });
        }
        Ok(())
    }
}

impl KvRead for Failing {
    fn get(&self, table: Table, key: &[u8]) -> KvResult<Option<Bytes>> {
        self.check()?;
        self.inner.get(table, key)
    }

    fn range(&self, table: Table, from: Bound<&[u8]>, to: Bound<&[u8]>) -> PairIter<'_> {
        match self.check() {
            Ok(()) => self.inner.range(table, from, to),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    }
}

impl Kv for Failing {
    fn snapshot(&self) -> Arc<dyn KvRead> {
        self.inner.snapshot()
    }

    fn commit(&self, batch: Batch) -> KvResult<()> {
        self.check()?;
        self.inner.commit(batch)
    }

    fn persist(&self) -> KvResult<()> {
        self.check()?;
        self.inner.persist()
    }

    fn disk_bytes(&self) -> u64 {
        self.inner.disk_bytes()
    }
}
