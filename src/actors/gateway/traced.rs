//! The metadata as a traced request uses it: each wait for it has a span.

use crate::actors::consensus::MetaError;
use crate::actors::request::{Metadata, RequestContext};
use crate::storage::meta::command::{Change, LogTime, Reply};
use crate::storage::meta::configuration::ConfigurationVersion;
use crate::storage::meta::view::MetaView;
use crate::traces::Spans;
use std::sync::Arc;

/// Returns the context of one request that records its spans here.
pub(super) fn traced(context: &RequestContext, spans: &Spans) -> Arc<RequestContext> {
    let metadata = TracedMetadata { inner: Arc::clone(&context.metadata), spans: spans.clone() };
    Arc::new(RequestContext { metadata: Arc::new(metadata), spans: spans.clone(), ..context.clone() })
}

#[derive(Debug)]
struct TracedMetadata {
    inner: Arc<dyn Metadata>,
    spans: Spans,
}

#[async_trait::async_trait]
impl Metadata for TracedMetadata {
    async fn propose(&self, change: Change) -> Result<Reply, MetaError> {
        let span = self.spans.begin("metadata.propose");
        let proposed = self.inner.propose(change).await;
        match &proposed {
            Ok(Reply::Refused(refusal)) => span.set("error.type", format!("{refusal:?}")),
            Ok(_) => {}
            Err(error) => span.fail(kind(error)),
        }
        proposed
    }

    fn time(&self) -> LogTime {
        self.inner.time()
    }

    async fn read(&self) -> Result<MetaView, MetaError> {
        let span = self.spans.begin("metadata.read");
        let read = self.inner.read().await;
        if let Err(error) = &read {
            span.fail(kind(error));
        }
        read
    }

    fn local(&self) -> Option<MetaView> {
        self.inner.local()
    }

    fn local_configuration(&self) -> Option<ConfigurationVersion> {
        self.inner.local_configuration()
    }

    fn is_leader(&self) -> bool {
        self.inner.is_leader()
    }

    fn lead(&self) -> Option<u64> {
        self.inner.lead()
    }
}

fn kind(error: &MetaError) -> &'static str {
    match error {
        MetaError::Unavailable { .. } => "unavailable",
        MetaError::Refused { .. } => "refused",
        MetaError::TimedOut => "timed_out",
        MetaError::TooLarge(_) => "too_large",
    }
}
