//! The directories of the metadata tables on a drive: `state/<number>/`. A rebuild takes a greater number than all
//! before, so that tables which a reader still uses are never overwritten.

use crate::storage::kv::fjall::{FjallKv, TableMemory};
use crate::storage::kv::{Kv, KvResult};
use crate::storage::meta::tables::{IN_ORDER_OF_TIME, TABLES};
use crate::types::NodeId;
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

/// Creates, lists and removes the tables on a drive. `dir` is the drive's directory `state`. All methods block.
pub trait StateHome: Send + Sync + Debug + 'static {
    /// Returns the numbers of the tables on the drive; none if it has no directory of tables.
    fn list(&self, node: NodeId, dir: &Path) -> KvResult<Vec<u32>>;
    /// Opens the tables with this number; creates them if there are none.
    fn open(&self, node: NodeId, dir: &Path, number: u32) -> KvResult<Arc<dyn Kv>>;
    fn discard(&self, node: NodeId, dir: &Path, number: u32) -> KvResult<()>;
    /// Removes what a `discard` has left on the drive whose process ended meanwhile. The default is for tables that are
    /// removed at once.
    fn finish_removals(&self, _node: NodeId, _dir: &Path) -> KvResult<()> {
        Ok(())
    }
}

/// Tables as fjall databases.
#[derive(Debug)]
pub struct FjallHome {
    pub memory: TableMemory,
}

impl StateHome for FjallHome {
    fn list(&self, _node: NodeId, dir: &Path) -> KvResult<Vec<u32>> {
        FjallKv::numbered(dir)
    }

    fn open(&self, _node: NodeId, dir: &Path, number: u32) -> KvResult<Arc<dyn Kv>> {
        Ok(Arc::new(FjallKv::open_ordered(&dir.join(number.to_string()), TABLES, IN_ORDER_OF_TIME, self.memory)?))
    }

    fn discard(&self, _node: NodeId, dir: &Path, number: u32) -> KvResult<()> {
        FjallKv::remove(&dir.join(number.to_string()))
    }

    fn finish_removals(&self, _node: NodeId, dir: &Path) -> KvResult<()> {
        FjallKv::finish_removals(dir)
    }
}
