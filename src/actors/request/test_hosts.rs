//! `Hosts`: several hosts for tests of the request tasks and the chores, with nodes in memory. A test can kill, freeze
//! or slow down the connections to each host.

use super::test_nodes::MemoryNodes;
use crate::actors::peers::{Dial, DialError};
use crate::ambient::Clock;
use crate::net::{
    AppendChunks, ChunksRead, GroupCall, GroupService, HostService, InventoryPage, NodeService, Peer, PeerError,
    ReadChunks,
};
use crate::types::{HostId, NodeId, ShardId, UnixMs};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// A clock that follows tokio's clock, which tests pause.
#[derive(Debug)]
pub(crate) struct RuntimeClock {
    start: Instant,
}

impl Default for RuntimeClock {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for RuntimeClock {
    fn unix_ms(&self) -> UnixMs {
        UnixMs(1_700_000_000_000 + self.monotonic().as_millis() as u64)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(1000) + self.start.elapsed()
    }
}

/// The state of a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum HostState {
    #[default]
    Up,
    /// Connections are reset, and new ones are refused.
    Dead,
    /// Connections stay open, and no request is answered.
    Frozen,
    /// Every request takes this much longer.
    Slow(Duration),
}

/// A connection to a host.
#[derive(Debug)]
struct Connection {
    host: HostId,
    nodes: Arc<dyn NodeService>,
    groups: Arc<dyn GroupService>,
    state: watch::Receiver<HostState>,
}

impl Connection {
    /// Waits or fails as the host's state says.
    async fn pass(&self) -> Result<(), PeerError> {
        let mut state = self.state.clone();
        loop {
            let now = *state.borrow_and_update();
            match now {
                HostState::Up => return Ok(()),
                HostState::Slow(delay) => {
                    tokio::time::sleep(delay).await;
                    return Ok(());
                }
                HostState::Dead => {
                    let why = "the connection was reset".to_owned();
                    return Err(PeerError::Unreachable { host: self.host, why, sent: false });
                }
                HostState::Frozen => state.changed().await.expect("the hosts outlive their connections"),
            }
        }
    }
}

#[async_trait::async_trait]
impl NodeService for Connection {
    async fn append_chunks(&self, request: AppendChunks) -> Result<(), PeerError> {
        self.pass().await?;
        self.nodes.append_chunks(request).await
    }

    async fn read_chunks(&self, request: ReadChunks) -> Result<ChunksRead, PeerError> {
        self.pass().await?;
        self.nodes.read_chunks(request).await
    }

    async fn drop_shards(&self, node: NodeId, shards: Vec<ShardId>) -> Result<(), PeerError> {
        self.pass().await?;
        self.nodes.drop_shards(node, shards).await
    }

    async fn count_chunks(&self, node: NodeId, shards: Vec<ShardId>) -> Result<Vec<u32>, PeerError> {
        self.pass().await?;
        self.nodes.count_chunks(node, shards).await
    }

    async fn inventory(&self, node: NodeId, after: Option<ShardId>, limit: u32) -> Result<InventoryPage, PeerError> {
        self.pass().await?;
        self.nodes.inventory(node, after, limit).await
    }
}

#[async_trait::async_trait]
impl GroupService for Connection {
    async fn group_call(&self, call: GroupCall) -> Result<Bytes, PeerError> {
        self.pass().await?;
        self.groups.group_call(call).await
    }
}

impl HostService for Connection {
    fn is_lost(&self) -> bool {
        *self.state.borrow() == HostState::Dead
    }
}

/// The services of a host, and its state.
#[derive(Debug)]
struct TestedHost {
    nodes: Arc<dyn NodeService>,
    groups: Arc<dyn GroupService>,
    state: watch::Sender<HostState>,
}

/// Hosts by id, and a dialer that connects to them as their states allow.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    hosts: Mutex<BTreeMap<HostId, TestedHost>>,
}

impl Hosts {
    /// Makes hosts that all serve the same nodes in memory.
    pub(crate) fn in_memory(count: u64, nodes: &Arc<MemoryNodes>) -> Arc<Self> {
        let hosts = Arc::new(Self::default());
        (1..=count).for_each(|host| hosts.add(HostId(host), nodes.clone(), Arc::new(crate::net::NoGroups)));
        hosts
    }

    pub(crate) fn add(&self, host: HostId, nodes: Arc<dyn NodeService>, groups: Arc<dyn GroupService>) {
        let state = watch::Sender::new(HostState::Up);
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.insert(host, TestedHost { nodes, groups, state });
    }

    pub(crate) fn set(&self, host: HostId, state: HostState) {
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.get(&host).expect("a host").state.send_replace(state);
    }

    fn connection(&self, host: HostId) -> Option<Connection> {
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let TestedHost { nodes, groups, state } = hosts.get(&host)?;
        Some(Connection { host, nodes: nodes.clone(), groups: groups.clone(), state: state.subscribe() })
    }
}

#[async_trait::async_trait]
impl Dial for Hosts {
    async fn dial(&self, host: HostId) -> Result<Peer, DialError> {
        let refused = |why: &str| DialError { host, why: why.to_owned() };
        let connection = self.connection(host).ok_or_else(|| refused("unknown"))?;
        let state = *connection.state.borrow();
        match state {
            HostState::Dead => Err(refused("connection refused")),
            HostState::Frozen => {
                tokio::time::sleep(crate::limits::NET_HANDSHAKE_WAIT_MAX).await;
                Err(refused("it did not answer the handshake in time"))
            }
            HostState::Up | HostState::Slow(_) => Ok(Arc::new(connection)),
        }
    }
}
