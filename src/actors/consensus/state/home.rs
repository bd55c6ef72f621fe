//! The place of the metadata tables on a drive: `state/<number>/`, the greatest number in use. A rebuild takes the next
//! one, so that tables which a reader still holds are never written over.

use crate::storage::kv::fjall::{FjallKv, TableMemory};
use crate::storage::kv::{Kv, KvResult};
use crate::storage::meta::tables::TABLES;
use crate::types::NodeId;
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

/// Makes, finds and removes tables. Its methods block.
pub trait StateHome: Send + Sync + Debug + 'static {
    /// The numbers under which there is something.
    fn list(&self, node: NodeId, dir: &Path) -> Vec<u32>;
    /// The tables under this number, made where there are none.
    fn open(&self, node: NodeId, dir: &Path, number: u32) -> KvResult<Arc<dyn Kv>>;
    fn discard(&self, node: NodeId, dir: &Path, number: u32) -> KvResult<()>;
}

/// The home of the tables on drives, by fjall.
#[derive(Debug)]
pub struct FjallHome {
    pub memory: TableMemory,
}

impl StateHome for FjallHome {
    fn list(&self, _node: NodeId, dir: &Path) -> Vec<u32> {
        FjallKv::numbered(dir)
    }

    fn open(&self, _node: NodeId, dir: &Path, number: u32) -> KvResult<Arc<dyn Kv>> {
        Ok(Arc::new(FjallKv::open(&dir.join(number.to_string()), TABLES, self.memory)?))
    }

    fn discard(&self, _node: NodeId, dir: &Path, number: u32) -> KvResult<()> {
        FjallKv::remove(&dir.join(number.to_string()))
    }
}
