//! Faults of nodes, injected between the store and the service of its drives: refusals, late answers, lost answers.

use super::ambient::Simulated;
use sherd::actors::drives::{Blocking, Job};
use sherd::net::{AppendChunks, ChunksRead, InventoryPage, NodeService, PeerError, ReadChunks};
use sherd::storage::disk::sim::SimDisk;
use sherd::storage::disk::{CallKind, Disk};
use sherd::types::{NodeId, ShardId};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// The mean number of calls between two changes of the faulty nodes.
const CALLS_BETWEEN: u64 = 25;
const STALL_MS_MAX: u64 = 12_000;

/// The fault of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// It refuses.
    Down,
    /// It has no room.
    Full,
    /// It answers late.
    Slow,
    /// It carries out requests, but its answers are lost.
    Mute,
}

/// The faulty nodes, until the fault is over.
#[derive(Debug)]
pub struct Weather {
    drawn: Arc<Simulated>,
    /// The most nodes in trouble at once; 0 for none.
    most: Mutex<u64>,
    troubles: Mutex<BTreeMap<NodeId, Trouble>>,
    nodes: u64,
}

impl Weather {
    pub fn fair(drawn: &Arc<Simulated>, nodes: usize) -> Arc<Self> {
        Arc::new(Self {
            drawn: Arc::clone(drawn),
            most: Mutex::new(0),
            troubles: Mutex::default(),
            nodes: nodes as u64,
        })
    }

    /// Sets the most nodes that are in trouble at once; 0 ends all troubles.
    pub fn set(&self, most: u64) {
        *self.most.lock().expect("one thread") = most;
        self.troubles().clear();
    }

    fn troubles(&self) -> MutexGuard<'_, BTreeMap<NodeId, Trouble>> {
        self.troubles.lock().expect("one thread")
    }

    fn trouble_of(&self, node: NodeId) -> Option<Trouble> {
        let most = *self.most.lock().expect("one thread");
        if most == 0 {
            return None;
        }
        let mut troubles = self.troubles();
        if self.drawn.below(CALLS_BETWEEN) == 0 {
            troubles.clear();
            for _ in 0..self.drawn.below(most + 1) {
                let trouble =
                    [Trouble::Down, Trouble::Full, Trouble::Slow, Trouble::Mute][self.drawn.below(4) as usize];
                troubles.insert(NodeId(self.drawn.below(self.nodes) as u32), trouble);
            }
        }
        troubles.get(&node).copied()
    }
}

/// The reader threads of a drive. Work runs in the caller's thread, unless the drive does not answer any more: then it
/// is held for ever, as in a thread that a call blocks.
pub struct DriveThreads {
    disk: SimDisk,
    dir: PathBuf,
    held: Mutex<Vec<Job>>,
}

impl fmt::Debug for DriveThreads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DriveThreads").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl DriveThreads {
    pub fn new(disk: &SimDisk, dir: PathBuf) -> Self {
        Self { disk: disk.clone(), dir, held: Mutex::default() }
    }
}

impl Blocking for DriveThreads {
    fn run(&self, job: Job) {
        if self.disk.hangs(&self.dir, CallKind::Read) {
            self.held.lock().expect("one thread").push(job);
        } else {
            job();
        }
    }
}

/// The drives of a host, under this weather. A drive that was not opened has no service.
#[derive(Debug)]
pub struct Nodes {
    pub inner: BTreeMap<NodeId, Arc<dyn NodeService>>,
    pub weather: Arc<Weather>,
}

impl Nodes {
    fn of(&self, node: NodeId) -> Result<&Arc<dyn NodeService>, PeerError> {
        self.inner.get(&node).ok_or(PeerError::NoSuchNode(node))
    }

    /// Calls a node with its present trouble: refuses, delays the call, or loses its answer. `grows`: the call needs
    /// space.
    async fn call<T>(
        &self,
        node: NodeId,
        grows: bool,
        act: impl Future<Output = Result<T, PeerError>>,
    ) -> Result<T, PeerError> {
        match self.weather.trouble_of(node) {
            None => act.await,
            Some(Trouble::Full) if !grows => act.await,
            Some(Trouble::Full) => Err(PeerError::OutOfSpace(node)),
            Some(Trouble::Down) => Err(PeerError::Unavailable { node, why: "simulated".to_owned() }),
            Some(Trouble::Slow) => {
                tokio::time::sleep(Duration::from_millis(self.weather.drawn.below(STALL_MS_MAX))).await;
                act.await
            }
            Some(Trouble::Mute) => {
                let _lost = act.await;
                tokio::time::sleep(Duration::from_millis(STALL_MS_MAX)).await;
                Err(PeerError::TimedOut(node))
            }
        }
    }
}

#[async_trait::async_trait]
impl NodeService for Nodes {
    async fn append_chunks(&self, request: AppendChunks) -> Result<(), PeerError> {
        self.call(request.node, true, self.of(request.node)?.append_chunks(request)).await
    }

    async fn read_chunks(&self, request: ReadChunks) -> Result<ChunksRead, PeerError> {
        self.call(request.node, false, self.of(request.node)?.read_chunks(request)).await
    }

    async fn drop_shards(&self, node: NodeId, shards: Vec<ShardId>) -> Result<(), PeerError> {
        self.call(node, false, self.of(node)?.drop_shards(node, shards)).await
    }

    async fn count_chunks(&self, node: NodeId, shards: Vec<ShardId>) -> Result<Vec<u32>, PeerError> {
        self.call(node, false, self.of(node)?.count_chunks(node, shards)).await
    }

    async fn inventory(&self, node: NodeId, after: Option<ShardId>, limit: u32) -> Result<InventoryPage, PeerError> {
        self.call(node, false, self.of(node)?.inventory(node, after, limit)).await
    }
}
