//! The derived tables of a host (shard indexes and metadata tables), in memory.

use crate::ambient::Simulated;
use sherd::actors::consensus::StateHome;
use sherd::storage::kv::memory::MemoryKv;
use sherd::storage::kv::{Kv, KvResult};
use sherd::storage::meta::tables;
use sherd::storage::shard_index;
use sherd::types::NodeId;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// The derived tables. They outlive a process, and may be lost in any power cut.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) state: Mutex<BTreeMap<(NodeId, u32), Arc<MemoryKv>>>,
    pub(super) indices: Mutex<BTreeMap<NodeId, Arc<MemoryKv>>>,
}

impl Tables {
    pub(super) fn index(&self, node: NodeId) -> Arc<MemoryKv> {
        let mut indices = self.indices.lock().expect("one thread");
        Arc::clone(indices.entry(node).or_insert_with(|| Arc::new(MemoryKv::new(shard_index::TABLES))))
    }

    /// Returns the tables after a power cut: each in the state of some commits ago, or lost.
    pub(super) fn power_cut(&self, drawn: &Simulated) -> Self {
        let cut = |kv: &Arc<MemoryKv>| (drawn.below(6) > 0).then(|| Arc::new(kv.power_cut(drawn)));
        let state = self.state.lock().expect("one thread");
        let indices = self.indices.lock().expect("one thread");
        let state = state.iter().filter_map(|(place, kv)| Some((*place, cut(kv)?))).collect();
        let indices = indices.iter().filter_map(|(node, kv)| Some((*node, cut(kv)?))).collect();
        Self { state: Mutex::new(state), indices: Mutex::new(indices) }
    }
}

impl StateHome for Tables {
    fn list(&self, node: NodeId, _: &Path) -> KvResult<Vec<u32>> {
        let state = self.state.lock().expect("one thread");
        Ok(state.keys().filter(|(held, _)| *held == node).map(|(_, number)| *number).collect())
    }

    fn open(&self, node: NodeId, _: &Path, number: u32) -> KvResult<Arc<dyn Kv>> {
        let mut state = self.state.lock().expect("one thread");
        let kv = state.entry((node, number)).or_insert_with(|| Arc::new(MemoryKv::new(tables::TABLES)));
        Ok(Arc::clone(kv) as _)
    }

    fn discard(&self, node: NodeId, _: &Path, number: u32) -> KvResult<()> {
        self.state.lock().expect("one thread").remove(&(node, number));
        Ok(())
    }
}
