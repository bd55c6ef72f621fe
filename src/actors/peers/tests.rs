//! Tests of the connection pool with counting dialers and over QUIC: shared dials, replacement of dead connections, and
//! closing of idle ones.

use super::connection_pool::{ConnectionPool, EvictIdle, Peers, RenewPeer};
use super::dial::{Dial, DialError, HostAddresses, QuicDialer};
use crate::actors::request::test_nodes::MemoryNodes;
use crate::ambient::{Ambient, Clock};
use crate::limits::{NET_EVICT_AFTER, NET_REDIAL_AFTER};
use crate::net::{
    GroupCall, GroupService, HostIdentity, HostService, NoGroups, NodeService, Peer, PeerError, QuicClient,
    QuicOptions, QuicServer, ServedHost, pipe,
};
use crate::types::{BlobId, ClusterId, HostId, NodeId, ShardId, ShardNumber, UnixMs};
use bytes::Bytes;
use futures::future::join_all;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::{Handle, Runtime};

const SECRET: &[u8] = b"the secret of the cluster under test";
const CLUSTER: ClusterId = ClusterId(7);
const OWN: HostId = HostId(1);
const OTHER: HostId = HostId(2);

#[derive(Debug, Default)]
struct CountingDialer {
    dials: AtomicUsize,
    refuse: AtomicBool,
}

#[async_trait::async_trait]
impl Dial for CountingDialer {
    async fn dial(&self, host: HostId) -> Result<Peer, DialError> {
        self.dials.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        match self.refuse.load(Ordering::Relaxed) {
            true => Err(DialError { host, why: "refused".to_owned() }),
            false => Ok(pipe(Arc::new(MemoryNodes::default()))),
        }
    }
}

fn ambient() -> Ambient {
    Ambient::system()
}

/// N2, N6: concurrent requests for a host share one dial and one connection.
#[actix::test]
async fn n2_n6_concurrent_requests_for_a_host_share_one_dial() {
    let dialer = Arc::new(CountingDialer::default());
    let peers = ConnectionPool::start_with(dialer.clone(), &ambient());
    let answers = join_all((0..20).map(|_| peers.peer_for(OTHER))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert!(peers.peer_for(OTHER).await.is_ok());
    assert_eq!(dialer.dials.load(Ordering::Relaxed), 1);
}

/// A silent host may have come back under another address.
#[actix::test]
async fn a_connection_is_renewed_only_once_another_is_there() {
    let dialer = Arc::new(CountingDialer::default());
    let peers = ConnectionPool::start_with(dialer.clone(), &ambient());
    let address = |peer: Peer| Arc::as_ptr(&peer).addr();
    let first = peers.peer_for(OTHER).await.expect("dialed");
    for (refuse, dials) in [(true, 2), (false, 3)] {
        dialer.refuse.store(refuse, Ordering::Relaxed);
        peers.renew(OTHER);
        peers.pool.send(RenewPeer(OTHER)).await.expect("running");
        // The dial waits for nothing, so it has ended by then.
        for _ in 0..20 {
            assert_eq!(peers.pool.send(EvictIdle).await.expect("running"), 0);
        }
        let present = peers.peer_for(OTHER).await.expect("connected all the time");
        assert_eq!(refuse, address(present) == address(first.clone()));
        assert_eq!(dialer.dials.load(Ordering::Relaxed), dials, "one dial at a time");
    }
}

/// One request may fail on a sound connection.
#[actix::test]
async fn a_retry_keeps_a_connection_that_is_not_lost() {
    let dialer = Arc::new(DeadFirst { dials: AtomicUsize::new(0), sent: false, lost: false });
    let peers = ConnectionPool::start_with(dialer.clone(), &ambient());
    let peer = peers.peer_for(OTHER).await.expect("dialed");
    assert!(matches!(peer.drop_shards(NodeId(0), vec![]).await, Err(PeerError::Unreachable { .. })));
    assert_eq!(dialer.dials.load(Ordering::Relaxed), 1);
}

#[actix::test]
async fn a_failed_dial_fails_all_callers_and_is_retried_in_the_background() {
    let dialer = Arc::new(CountingDialer::default());
    dialer.refuse.store(true, Ordering::Relaxed);
    let peers = ConnectionPool::start_with(dialer.clone(), &ambient());
    let answers = join_all((0..3).map(|_| peers.peer_for(OTHER))).await;
    assert!(answers.iter().all(Result::is_err));
    assert!(peers.peer_for(OTHER).await.is_err());
    assert_eq!(dialer.dials.load(Ordering::Relaxed), 1, "later requests fail without a dial");
    dialer.refuse.store(false, Ordering::Relaxed);
    let begun = Instant::now();
    while peers.peer_for(OTHER).await.is_err() {
        assert!(begun.elapsed() < NET_REDIAL_AFTER * 10, "the host is dialed again in the background");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(dialer.dials.load(Ordering::Relaxed), 2);
}

#[derive(Debug, Default)]
struct SetClock(AtomicU64);

impl Clock for SetClock {
    fn unix_ms(&self) -> UnixMs {
        UnixMs(self.0.load(Ordering::Relaxed))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// N6: a connection is closed once it was idle for `NET_EVICT_AFTER`.
#[actix::test]
async fn n6_an_idle_connection_is_closed_after_a_time() {
    let clock = Arc::new(SetClock::default());
    let ambient = Ambient { clock: clock.clone(), ..ambient() };
    let dialer = Arc::new(CountingDialer::default());
    let peers = ConnectionPool::start_with(dialer.clone(), &ambient);
    let idle_ms = NET_EVICT_AFTER.as_millis() as u64;
    let peer = peers.peer_for(OTHER).await.expect("dialed");
    clock.0.store(idle_ms - 1, Ordering::Relaxed);
    assert_eq!(peers.pool.send(EvictIdle).await.expect("running"), 0);
    // A request restarts the idle time.
    let _ = peer.count_chunks(NodeId(0), vec![]).await;
    clock.0.store(2 * idle_ms - 2, Ordering::Relaxed);
    assert_eq!(peers.pool.send(EvictIdle).await.expect("running"), 0);
    clock.0.store(2 * idle_ms, Ordering::Relaxed);
    assert_eq!(peers.pool.send(EvictIdle).await.expect("running"), 1);
    assert!(peers.peer_for(OTHER).await.is_ok());
    assert_eq!(dialer.dials.load(Ordering::Relaxed), 2);
}

/// A connection over which every request fails.
#[derive(Debug)]
struct Dead {
    sent: bool,
    lost: bool,
}

impl Dead {
    fn error(&self) -> PeerError {
        PeerError::Unreachable { host: OTHER, why: "dead".to_owned(), sent: self.sent }
    }
}

impl HostService for Dead {
    fn is_lost(&self) -> bool {
        self.lost
    }
}

#[async_trait::async_trait]
impl GroupService for Dead {
    async fn group_call(&self, _: GroupCall) -> Result<Bytes, PeerError> {
        Err(self.error())
    }
}

#[async_trait::async_trait]
impl NodeService for Dead {
    async fn append_chunks(&self, _: crate::net::AppendChunks) -> Result<(), PeerError> {
        Err(self.error())
    }

    async fn read_chunks(&self, _: crate::net::ReadChunks) -> Result<crate::net::ChunksRead, PeerError> {
        Err(self.error())
    }

    async fn drop_shards(&self, _: NodeId, _: Vec<ShardId>) -> Result<(), PeerError> {
        Err(self.error())
    }

    async fn count_chunks(&self, _: NodeId, _: Vec<ShardId>) -> Result<Vec<u32>, PeerError> {
        Err(self.error())
    }

    async fn inventory(&self, _: NodeId, _: Option<ShardId>, _: u32) -> Result<crate::net::InventoryPage, PeerError> {
        Err(self.error())
    }
}

/// A dialer that returns a dead connection first, and then connections that echo group messages.
#[derive(Debug)]
struct DeadFirst {
    dials: AtomicUsize,
    sent: bool,
    lost: bool,
}

#[derive(Debug)]
struct Echo;

#[async_trait::async_trait]
impl GroupService for Echo {
    async fn group_call(&self, call: GroupCall) -> Result<Bytes, PeerError> {
        Ok(call.body)
    }
}

fn host() -> Arc<ServedHost> {
    Arc::new(ServedHost { nodes: Arc::new(MemoryNodes::default()), groups: Arc::new(Echo) })
}

#[async_trait::async_trait]
impl Dial for DeadFirst {
    async fn dial(&self, _: HostId) -> Result<Peer, DialError> {
        match self.dials.fetch_add(1, Ordering::Relaxed) {
            0 => Ok(Arc::new(Dead { sent: self.sent, lost: self.lost })),
            _ => Ok(host()),
        }
    }
}

/// N5: an idempotent request over a dead connection is retried over a new one, also if it was sent.
#[actix::test]
async fn n5_idempotent_requests_are_retried_over_a_new_connection() {
    for sent in [false, true] {
        let dialer = Arc::new(DeadFirst { dials: AtomicUsize::new(0), sent, lost: true });
        let peers = ConnectionPool::start_with(dialer.clone(), &ambient());
        let peer = peers.peer_for(OTHER).await.expect("dialed");
        let answers = join_all((0..10).map(|_| peer.drop_shards(NodeId(0), vec![]))).await;
        assert!(answers.iter().all(|answer| !matches!(answer, Err(PeerError::Unreachable { .. }))), "{answers:?}");
        assert_eq!(dialer.dials.load(Ordering::Relaxed), 2, "one dial replaces it for all");
    }
}

#[actix::test]
async fn a_group_message_is_retried_only_if_it_was_not_sent() {
    for sent in [false, true] {
        let peers = ConnectionPool::start_with(
            Arc::new(DeadFirst { dials: AtomicUsize::new(0), sent, lost: true }),
            &ambient(),
        );
        let peer = peers.peer_for(OTHER).await.expect("dialed");
        let call = GroupCall { group: 1, kind: 1, body: Bytes::from_static(b"once") };
        assert_eq!(peer.group_call(call).await.is_ok(), !sent);
    }
}

#[derive(Debug)]
struct At(SocketAddr);

impl HostAddresses for At {
    fn address_of(&self, host: HostId) -> Option<String> {
        (host == OTHER).then(|| self.0.to_string())
    }
}

fn listen(address: SocketAddr, serve_on: &Handle) -> QuicServer {
    let identity = HostIdentity::new(OTHER, Some(CLUSTER), SECRET).expect("made");
    QuicServer::start(identity, QuicOptions::listening(address), host(), serve_on.clone()).expect("the port is free")
}

fn quic_peers(address: SocketAddr) -> Peers {
    let identity = HostIdentity::new(OWN, Some(CLUSTER), SECRET).expect("made");
    let client = QuicClient::start(identity, QuicOptions::listening(address)).expect("a port is free");
    let own = Arc::new(ServedHost { nodes: Arc::new(MemoryNodes::default()), groups: Arc::new(NoGroups) });
    let dialer = QuicDialer { host: OWN, own, client: Arc::new(client), addresses: Arc::new(At(address)) };
    ConnectionPool::start_with(Arc::new(dialer), &ambient())
}

fn some_shard() -> ShardId {
    ShardId { blob: BlobId(1), shard: ShardNumber(0) }
}

/// N5: over QUIC, the first request after a host's restart succeeds, also over a connection from before.
#[actix::test]
async fn n5_the_first_request_after_a_hosts_restart_succeeds() {
    let runtime = Runtime::new().expect("started");
    let server = listen(SocketAddr::from(([127, 0, 0, 1], 0)), runtime.handle());
    let address = server.local_addr();
    let peers = quic_peers(address);
    let held = peers.peer_for(OTHER).await.expect("dialed");
    let count = |peer: Peer| async move { peer.count_chunks(NodeId(0), vec![some_shard()]).await };
    assert!(count(held.clone()).await.is_ok());
    server.stop().await;
    let server = listen(address, runtime.handle());
    assert!(count(held).await.is_ok(), "a connection held from before");
    assert!(count(peers.peer_for(OTHER).await.expect("found")).await.is_ok());
    assert!(peers.peer_for(OWN).await.is_ok(), "its own drives need no network");
    assert!(peers.peer_for(HostId(99)).await.is_err_and(|error| error.why.contains("address is not known")));
    server.stop().await;
    runtime.shutdown_background();
}
