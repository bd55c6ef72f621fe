//! `Pooled`: a connection as the pool hands it out. It counts the requests under way. A request that fails on the way is
//! retried once, if it is idempotent or was not sent: over another connection if this one is dead.

use super::dial::DialError;
use crate::ambient::Clock;
use crate::metrics::POOL_STREAMS;
use crate::net::{
    AppendChunks, ChunksRead, GroupCall, GroupService, HostService, InventoryPage, NodeService, Peer, PeerError,
    ReadChunks,
};
use crate::types::{HostId, NodeId, ShardId};
use actix::{Message, Recipient};
use bytes::Bytes;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// Return a connection to the host for a retry: the present one unless it is dead, as one request may fail on a sound
/// connection.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<Arc<Pooled>, DialError>")]
pub(super) struct ReplacePeer(pub(super) HostId);

/// A connection of the pool.
pub(super) struct Pooled {
    pub(super) host: HostId,
    peer: Peer,
    clock: Arc<dyn Clock>,
    pool: Recipient<ReplacePeer>,
    active: AtomicUsize,
    used_ms: AtomicU64,
}

impl fmt::Debug for Pooled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pooled").field("host", &self.host).field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl Pooled {
    pub(super) fn new(host: HostId, peer: Peer, clock: Arc<dyn Clock>, pool: Recipient<ReplacePeer>) -> Self {
        let used_ms = AtomicU64::new(now_ms(&*clock));
        Self { host, peer, clock, pool, active: AtomicUsize::new(0), used_ms }
    }

    /// Returns the time for which no request has been under way.
    pub(super) fn idle_for(&self) -> Duration {
        match self.active.load(Ordering::Acquire) {
            0 => {
                let used_ms = self.used_ms.load(Ordering::Acquire);
                Duration::from_millis(now_ms(&*self.clock).saturating_sub(used_ms))
            }
            _ => Duration::ZERO,
        }
    }

    fn begin(&self) -> UnderWay<'_> {
        if self.is_remote() {
            POOL_STREAMS.with_label_values::<&str>(&[]).inc();
        }
        self.active.fetch_add(1, Ordering::AcqRel);
        UnderWay(self)
    }

    /// Waits for the answer to a request, which counts as under way meanwhile.
    async fn counted<T>(&self, request: impl Future<Output = T>) -> T {
        let _under_way = self.begin();
        request.await
    }

    /// N5: returns the connection for a retry, if the host could not be reached and the request is idempotent
    /// (`may_repeat`) or was not sent.
    async fn again<T>(&self, result: &Result<T, PeerError>, may_repeat: bool) -> Option<Arc<Pooled>> {
        match result {
            Err(PeerError::Unreachable { sent, why, .. }) if may_repeat || !sent => {
                let host = format!("{:016x}", self.host.0);
                tracing::info!(host, why, "a request to another host failed on the way; retrying it");
                self.pool.send(ReplacePeer(self.host)).await.ok()?.ok()
            }
            _ => None,
        }
    }
}

fn now_ms(clock: &dyn Clock) -> u64 {
    u64::try_from(clock.monotonic().as_millis()).unwrap_or(u64::MAX)
}

/// A guard that counts a request as under way until it is dropped.
struct UnderWay<'a>(&'a Pooled);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.used_ms.store(now_ms(&*self.0.clock), Ordering::Release);
        self.0.active.fetch_sub(1, Ordering::AcqRel);
        if self.0.is_remote() {
            POOL_STREAMS.with_label_values::<&str>(&[]).dec();
        }
    }
}

impl HostService for Pooled {
    fn is_lost(&self) -> bool {
        self.peer.is_lost()
    }

    fn is_remote(&self) -> bool {
        self.peer.is_remote()
    }
}

#[async_trait::async_trait]
impl GroupService for Pooled {
    async fn group_call(&self, call: GroupCall) -> Result<Bytes, PeerError> {
        let first = self.counted(self.peer.group_call(call.clone())).await;
        match self.again(&first, false).await {
            Some(other) => other.counted(other.peer.group_call(call)).await,
            None => first,
        }
    }
}

/// Retries a failed request once. All requests about shards are idempotent: reads change nothing, and repeated appends
/// and drops have no further effect.
#[async_trait::async_trait]
impl NodeService for Pooled {
    async fn append_chunks(&self, request: AppendChunks) -> Result<(), PeerError> {
        let first = self.counted(self.peer.append_chunks(request.clone())).await;
        match self.again(&first, true).await {
            Some(other) => other.counted(other.peer.append_chunks(request)).await,
            None => first,
        }
    }

    async fn read_chunks(&self, request: ReadChunks) -> Result<ChunksRead, PeerError> {
        let first = self.counted(self.peer.read_chunks(request)).await;
        match self.again(&first, true).await {
            Some(other) => other.counted(other.peer.read_chunks(request)).await,
            None => first,
        }
    }

    async fn drop_shards(&self, node: NodeId, shards: Vec<ShardId>) -> Result<(), PeerError> {
        let first = self.counted(self.peer.drop_shards(node, shards.clone())).await;
        match self.again(&first, true).await {
            Some(other) => other.counted(other.peer.drop_shards(node, shards)).await,
            None => first,
        }
    }

    async fn count_chunks(&self, node: NodeId, shards: Vec<ShardId>) -> Result<Vec<u32>, PeerError> {
        let first = self.counted(self.peer.count_chunks(node, shards.clone())).await;
        match self.again(&first, true).await {
            Some(other) => other.counted(other.peer.count_chunks(node, shards)).await,
            None => first,
        }
    }

    async fn inventory(&self, node: NodeId, after: Option<ShardId>, limit: u32) -> Result<InventoryPage, PeerError> {
        let first = self.counted(self.peer.inventory(node, after, limit)).await;
        match self.again(&first, true).await {
            Some(other) => other.counted(other.peer.inventory(node, after, limit)).await,
            None => first,
        }
    }
}
