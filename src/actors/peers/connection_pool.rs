//! `ConnectionPool` owns the connections to hosts: one each, dialed once however many ask at the same time.
//!
//! Receives `PeerFor` (asked only where the published table has no connection) and `PeerLost`. Sends nothing; publishes
//! the table that `Peers` reads. Invariants: a host is open or being dialed, never both; every waiter is answered. Refuses
//! with the dialer's error, to all who waited for that dial.

use crate::metrics::{POOL_CONNECTIONS, POOL_EVENTS, POOL_STREAMS};
use crate::net::{AppendChunks, ChunksRead, InventoryPage, NodeService, Peer, PeerError, ReadChunks, pipe};
use crate::types::{HostId, NodeId, ShardId};
use actix::{Actor, ActorFutureExt, Addr, Context, Handler, Message, ResponseFuture, WrapFuture};
use arc_swap::ArcSwap;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Makes connections.
#[async_trait::async_trait]
pub trait Dial: Send + Sync + Debug + 'static {
    async fn dial(&self, host: HostId) -> Result<Peer, DialError>;
}

#[derive(Clone, Debug, thiserror::Error)]
#[error("host {} cannot be reached: {why}", host.0)]
pub struct DialError {
    pub host: HostId,
    pub why: String,
}

/// Reaches this process's own drives, and no other host.
#[derive(Debug)]
pub struct PipeDialer {
    pub host: HostId,
    pub service: Arc<dyn NodeService>,
}

#[async_trait::async_trait]
impl Dial for PipeDialer {
    async fn dial(&self, host: HostId) -> Result<Peer, DialError> {
        match host == self.host {
            true => Ok(pipe(Arc::clone(&self.service))),
            false => Err(DialError { host, why: "no transport leads there".to_owned() }),
        }
    }
}

/// A way to the host, dialing it where there is none.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<Peer, DialError>")]
pub struct PeerFor(pub HostId);

/// The connection to this host failed; the next who asks dials.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct PeerLost(pub HostId);

type Waiter = oneshot::Sender<Result<Peer, DialError>>;
type Table = BTreeMap<HostId, Peer>;

pub struct ConnectionPool {
    dialer: Arc<dyn Dial>,
    table: Arc<ArcSwap<Table>>,
    dialing: BTreeMap<HostId, Vec<Waiter>>,
}

/// The pool as requests see it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Peers {
    table: Arc<ArcSwap<Table>>,
    pool: Addr<ConnectionPool>,
}

impl Peers {
    /// The connection to a host; waits only where it has to be dialed.
    pub async fn peer_for(&self, host: HostId) -> Result<Peer, DialError> {
        if let Some(peer) = self.table.load().get(&host) {
            POOL_EVENTS.with_label_values(&["hit"]).inc();
            return Ok(Arc::clone(peer));
        }
        POOL_EVENTS.with_label_values(&["miss"]).inc();
        let stopped = |_| DialError { host, why: "the connection pool has stopped".to_owned() };
        self.pool.send(PeerFor(host)).await.map_err(stopped)?
    }

    /// Reports that a connection failed.
    pub fn lost(&self, host: HostId) {
        self.pool.do_send(PeerLost(host));
    }
}

impl ConnectionPool {
    /// Starts the pool in the current arbiter.
    pub fn start_with(dialer: Arc<dyn Dial>) -> Peers {
        let table = Arc::new(ArcSwap::default());
        let pool = Self { dialer, table: Arc::clone(&table), dialing: BTreeMap::new() }.start();
        Peers { table, pool }
    }

    fn dialed(&mut self, host: HostId, result: Result<Peer, DialError>) {
        let waiters = self.dialing.remove(&host).unwrap_or_default();
        let result = result.map(|peer| -> Peer { Arc::new(Counted { peer }) });
        if let Ok(peer) = &result {
            self.change_table(|table| {
                table.insert(host, Arc::clone(peer));
            });
        }
        for waiter in waiters {
            // One who gave up does not need the answer.
            let _ = waiter.send(result.clone());
        }
        self.check_invariants();
    }

    fn change_table(&self, change: impl FnOnce(&mut Table)) {
        let mut table = Table::clone(&self.table.load());
        change(&mut table);
        POOL_CONNECTIONS.with_label_values::<&str>(&[]).set(table.len() as i64);
        self.table.store(Arc::new(table));
    }

    fn check_invariants(&self) {
        debug_assert!(self.dialing.keys().all(|host| !self.table.load().contains_key(host)));
    }
}

impl Actor for ConnectionPool {
    type Context = Context<Self>;
}

impl Handler<PeerFor> for ConnectionPool {
    type Result = ResponseFuture<Result<Peer, DialError>>;

    fn handle(&mut self, message: PeerFor, ctx: &mut Self::Context) -> Self::Result {
        let host = message.0;
        if let Some(peer) = self.table.load().get(&host).cloned() {
            return Box::pin(async move { Ok(peer) });
        }
        let (waiter, answer) = oneshot::channel();
        let waiters = self.dialing.entry(host).or_default();
        waiters.push(waiter);
        if waiters.len() == 1 {
            POOL_EVENTS.with_label_values(&["dial"]).inc();
            let dialer = Arc::clone(&self.dialer);
            let dial = async move { dialer.dial(host).await }.into_actor(self);
            actix::AsyncContext::spawn(ctx, dial.map(move |result, pool, _| pool.dialed(host, result)));
        }
        let stopped = move |_| Err(DialError { host, why: "the connection pool has stopped".to_owned() });
        Box::pin(async move { answer.await.unwrap_or_else(stopped) })
    }
}

impl Handler<PeerLost> for ConnectionPool {
    type Result = ();

    fn handle(&mut self, message: PeerLost, _: &mut Self::Context) {
        if self.table.load().contains_key(&message.0) {
            POOL_EVENTS.with_label_values(&["eviction"]).inc();
            self.change_table(|table| {
                table.remove(&message.0);
            });
        }
        self.check_invariants();
    }
}

/// A peer whose requests under way are counted.
#[derive(Debug)]
struct Counted {
    peer: Peer,
}

/// One request under way, until dropped.
struct Stream;

impl Stream {
    fn open() -> Self {
        POOL_STREAMS.with_label_values::<&str>(&[]).inc();
        Self
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        POOL_STREAMS.with_label_values::<&str>(&[]).dec();
    }
}

#[async_trait::async_trait]
impl NodeService for Counted {
    async fn append_chunks(&self, request: AppendChunks) -> Result<(), PeerError> {
        let _stream = Stream::open();
        self.peer.append_chunks(request).await
    }

    async fn read_chunks(&self, request: ReadChunks) -> Result<ChunksRead, PeerError> {
        let _stream = Stream::open();
        self.peer.read_chunks(request).await
    }

    async fn drop_shards(&self, node: NodeId, shards: Vec<ShardId>) -> Result<(), PeerError> {
        let _stream = Stream::open();
        self.peer.drop_shards(node, shards).await
    }

    async fn count_chunks(&self, node: NodeId, shards: Vec<ShardId>) -> Result<Vec<u32>, PeerError> {
        let _stream = Stream::open();
        self.peer.count_chunks(node, shards).await
    }

    async fn inventory(&self, node: NodeId, after: Option<ShardId>, limit: u32) -> Result<InventoryPage, PeerError> {
        let _stream = Stream::open();
        self.peer.inventory(node, after, limit).await
    }
}

#[cfg(test)]
mod tests {
    use super::{ConnectionPool, Dial, DialError, PeerLost};
    use crate::actors::request::test_nodes::MemoryNodes;
    use crate::net::{Peer, pipe};
    use crate::types::HostId;
    use futures::future::join_all;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[derive(Debug, Default)]
    struct CountingDialer {
        dials: AtomicUsize,
        refuse: bool,
    }

    #[async_trait::async_trait]
    impl Dial for CountingDialer {
        async fn dial(&self, host: HostId) -> Result<Peer, DialError> {
            self.dials.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            match self.refuse {
                true => Err(DialError { host, why: "refused".to_owned() }),
                false => Ok(pipe(Arc::new(MemoryNodes::default()))),
            }
        }
    }

    #[actix::test]
    async fn many_who_ask_at_once_share_one_dial() {
        let dialer = Arc::new(CountingDialer::default());
        let peers = ConnectionPool::start_with(dialer.clone());
        let answers = join_all((0..20).map(|_| peers.peer_for(HostId(1)))).await;
        assert!(answers.iter().all(Result::is_ok));
        assert!(peers.peer_for(HostId(1)).await.is_ok());
        assert_eq!(dialer.dials.load(Ordering::Relaxed), 1);
        peers.pool.send(PeerLost(HostId(1))).await.expect("running");
        assert!(peers.peer_for(HostId(1)).await.is_ok());
        assert_eq!(dialer.dials.load(Ordering::Relaxed), 2, "a lost connection is dialed again");
    }

    #[actix::test]
    async fn a_failed_dial_is_told_to_all_and_tried_again() {
        let dialer = Arc::new(CountingDialer { refuse: true, ..CountingDialer::default() });
        let peers = ConnectionPool::start_with(dialer.clone());
        let answers = join_all((0..3).map(|_| peers.peer_for(HostId(1)))).await;
        assert!(answers.iter().all(Result::is_err));
        assert!(peers.peer_for(HostId(1)).await.is_err());
        assert_eq!(dialer.dials.load(Ordering::Relaxed), 2);
    }
}
