//! Tables in memory that are kept when the replica stops, and that a test can lose, or make fail, hang, or return
//! garbage.

use crate::actors::consensus::StateHome;
use crate::ambient::Entropy;
use crate::storage::kv::memory::MemoryKv;
use crate::storage::kv::{Batch, Kv, KvError, KvRead, KvResult, PairIter, Table};
use crate::storage::meta::tables::{OBJECTS, TABLES};
use crate::types::NodeId;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

#[derive(Debug, Default)]
pub struct MemoryHome {
    kept: Mutex<BTreeMap<(NodeId, u32), Arc<Failing>>>,
    full: AtomicBool,
    /// The error with which the next opening fails.
    next_opening: Mutex<Option<KvError>>,
    lacking: Arc<AtomicBool>,
    hanging: Arc<Gate>,
    garbled: Garbled,
}

/// A part of keys. Reads of objects' rows whose keys contain it return bytes that do not decode.
type Garbled = Arc<Mutex<Option<&'static str>>>;

/// The drive whose commits hang, if any.
#[derive(Debug, Default)]
struct Gate {
    shut_for: Mutex<Option<NodeId>>,
    changed: Condvar,
}

impl MemoryHome {
    /// Loses a drive: its tables fail from now on, and are not listed any more.
    pub fn lose(&self, node: NodeId) {
        self.kept.lock().expect("no panic under the lock").retain(|(held, _), tables| {
            if *held == node {
                tables.fails.store(true, Ordering::SeqCst);
            }
            *held != node
        });
    }

    /// Makes all tables fail from now on.
    pub fn break_all(&self) {
        for tables in self.kept.lock().expect("no panic under the lock").values() {
            tables.fails.store(true, Ordering::SeqCst);
        }
    }

    /// Makes commits on this drive hang, each for a minute at most; `None` ends that.
    pub fn hang(&self, node: Option<NodeId>) {
        *self.hanging.shut_for.lock().expect("no panic under the lock") = node;
        self.hanging.changed.notify_all();
    }

    /// Makes reads of objects' rows whose keys contain this return bytes that do not decode, in all tables, as a defect
    /// of the program would.
    pub fn garble(&self, part_of_key: Option<&'static str>) {
        *self.garbled.lock().expect("no panic under the lock") = part_of_key;
    }

    /// Sets whether new tables cannot be created for want of space. A failed creation leaves tables behind.
    pub fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::SeqCst);
    }

    /// Makes the next opening of tables fail.
    pub fn fail_next_opening(&self, error: KvError) {
        *self.next_opening.lock().expect("no panic under the lock") = Some(error);
    }

    /// Sets whether tables cannot be opened, read or changed for want of file descriptors.
    pub fn set_lacking(&self, lacking: bool) {
        self.lacking.store(lacking, Ordering::SeqCst);
    }

    /// Removes all tables.
    pub fn forget_all(&self) {
        self.kept.lock().expect("no panic under the lock").clear();
    }

    pub fn nodes(&self) -> BTreeSet<NodeId> {
        self.kept.lock().expect("no panic under the lock").keys().map(|(node, _)| *node).collect()
    }

    /// Returns independent copies of the tables.
    pub fn copied(&self) -> Self {
        let kept = self.kept.lock().expect("no panic under the lock");
        let copied = kept.iter().map(|(place, tables)| (*place, tables.with(tables.inner.power_cut_after(usize::MAX))));
        Self { kept: Mutex::new(copied.collect()), ..Self::default() }
    }

    /// Returns the tables as a power cut would leave them.
    pub fn power_cut(&self, entropy: &dyn Entropy) -> Self {
        let kept = self.kept.lock().expect("no panic under the lock");
        let cut = kept.iter().map(|(place, tables)| (*place, tables.with(tables.inner.power_cut(entropy))));
        Self { kept: Mutex::new(cut.collect()), ..Self::default() }
    }
}

impl StateHome for MemoryHome {
    fn list(&self, node: NodeId, _dir: &Path) -> KvResult<Vec<u32>> {
        let kept = self.kept.lock().expect("no panic under the lock");
        Ok(kept.keys().filter(|(held, _)| *held == node).map(|(_, number)| *number).collect())
    }

    fn open(&self, node: NodeId, _dir: &Path, number: u32) -> KvResult<Arc<dyn Kv>> {
        if let Some(error) = self.next_opening.lock().expect("no panic under the lock").take() {
            return Err(error);
        }
        check_descriptors(&self.lacking)?;
        let mut kept = self.kept.lock().expect("no panic under the lock");
        let is_refused = self.full.load(Ordering::SeqCst) && !kept.contains_key(&(node, number));
        let fresh = || {
            let (inner, fails) = (MemoryKv::new(TABLES), AtomicBool::new(is_refused));
            let (lacking, hanging) = (Arc::clone(&self.lacking), Arc::clone(&self.hanging));
            Arc::new(Failing { inner, fails, node, lacking, hanging, garbled: Arc::clone(&self.garbled) })
        };
        let tables = Arc::clone(kept.entry((node, number)).or_insert_with(fresh));
        if is_refused {
            return Err(KvError::new("open", "there is no room"));
        }
        Ok(tables as _)
    }

    fn discard(&self, node: NodeId, _dir: &Path, number: u32) -> KvResult<()> {
        self.kept.lock().expect("no panic under the lock").remove(&(node, number));
        Ok(())
    }
}

/// Returns the error of a process without file descriptors.
pub fn lacks_descriptors() -> KvError {
    KvError { lacks_resources: true, ..KvError::new("open", "too many open files") }
}

fn check_descriptors(lacking: &AtomicBool) -> KvResult<()> {
    if lacking.load(Ordering::SeqCst) { Err(lacks_descriptors()) } else { Ok(()) }
}

/// Tables that a test can make fail, hang or return garbage.
#[derive(Debug)]
struct Failing {
    inner: MemoryKv,
    fails: AtomicBool,
    node: NodeId,
    lacking: Arc<AtomicBool>,
    hanging: Arc<Gate>,
    garbled: Garbled,
}

impl Failing {
    /// Returns working tables with other content on the same drive.
    fn with(&self, inner: MemoryKv) -> Arc<Self> {
        let (fails, node) = (AtomicBool::new(false), self.node);
        let (lacking, hanging, garbled) = (Arc::default(), Arc::default(), Arc::default());
        Arc::new(Self { inner, fails, node, lacking, hanging, garbled })
    }

    fn wait(&self) {
        let shut_for = self.hanging.shut_for.lock().expect("no panic under the lock");
        let is_shut = |shut_for: &mut Option<NodeId>| *shut_for == Some(self.node);
        let bound = Duration::from_secs(60);
        drop(self.hanging.changed.wait_timeout_while(shut_for, bound, is_shut).expect("no panic under the lock"));
    }

    fn is_garbled(&self, table: Table, key: &[u8]) -> bool {
        let part = *self.garbled.lock().expect("no panic under the lock");
        let has = |part: &str| key.windows(part.len()).any(|bytes| bytes == part.as_bytes());
        table == OBJECTS && part.is_some_and(has)
    }

    fn check(&self) -> KvResult<()> {
        check_descriptors(&self.lacking)?;
        if self.fails.load(Ordering::SeqCst) {
            return Err(KvError::new("anything", "a test says so"));
        }
        Ok(())
    }
}

impl KvRead for Failing {
    fn get(&self, table: Table, key: &[u8]) -> KvResult<Option<Bytes>> {
        self.check()?;
        if self.is_garbled(table, key) {
            return Ok(Some(Bytes::from_static(b"\xff")));
        }
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
        self.wait();
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
