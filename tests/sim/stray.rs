//! A host whose proposals take long, so that its shards are on the drives for some time before any entry names them.

use super::ambient::Simulated;
use sherd::actors::consensus::{MetaError, MetaHandle};
use sherd::actors::request::Metadata;
use sherd::storage::meta::command::{Change, LogTime, Reply};
use sherd::storage::meta::view::MetaView;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The most turns that other tasks get before a change is proposed.
const TURNS_MAX: u64 = 2000;

#[derive(Debug)]
pub struct SlowMetadata {
    pub inner: MetaHandle,
    pub drawn: Arc<Simulated>,
    /// The number of times that the fence was raised and all drives were compared with the metadata.
    pub comparisons: Arc<AtomicU64>,
}

#[async_trait::async_trait]
impl Metadata for SlowMetadata {
    async fn propose(&self, change: Change) -> Result<Reply, MetaError> {
        let wanted = self.comparisons.load(Ordering::Relaxed) + self.drawn.below(3);
        for _ in 0..TURNS_MAX {
            if self.comparisons.load(Ordering::Relaxed) >= wanted {
                break;
            }
            tokio::task::yield_now().await;
        }
        self.inner.propose(change).await
    }

    fn time(&self) -> LogTime {
        Metadata::time(&self.inner)
    }

    async fn read(&self) -> Result<MetaView, MetaError> {
        self.inner.read().await
    }
}
