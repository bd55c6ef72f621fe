//! Fetching the wanted bytes of a few stripes from their nodes: asks sent, answers taken, parity asked where a node fails
//! or is late, and only a stripe with a missing chunk decoded.

use super::gather::{Ask, Gather, Outcome, Stripe};
use crate::actors::gateway::StoreError;
use crate::actors::healer::ShardFault;
use crate::actors::request::RequestContext;
use crate::metrics::{CHUNK_FAULTS, STRIPES_DECODED};
use crate::net::{ChunkFault, ChunksRead, PeerError, ReadChunks};
use crate::storage::erasure::Codec;
use crate::storage::meta::record::BlobRef;
use crate::storage::stripe::BlobLayout;
use crate::types::{NodeId, ShardId};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use std::ops::Range;
use std::sync::Arc;
use tokio::time::sleep;

/// A blob made ready for reading. Shared by the fetches of one read.
#[derive(Debug)]
pub(super) struct BlobRead {
    context: Arc<RequestContext>,
    blob: BlobRef,
    pub(super) layout: BlobLayout,
    codec: Arc<Codec>,
}

impl BlobRead {
    /// Fails on a record that no writer of ours can have made.
    pub(super) fn new(context: &Arc<RequestContext>, blob: BlobRef) -> Result<Self, StoreError> {
        let malformed =
            |why: String| StoreError::Internal { why: format!("the record of blob {} is malformed: {why}", blob.id) };
        let layout = BlobLayout::new(blob.geometry, blob.size_bytes).map_err(|error| malformed(error.to_string()))?;
        let codec = context.codecs.codec(blob.geometry).map_err(|error| malformed(error.to_string()))?;
        if blob.placement.len() != blob.geometry.shards() {
            return Err(malformed(format!("{} nodes for {} shards", blob.placement.len(), blob.geometry.shards())));
        }
        Ok(Self { context: Arc::clone(context), blob, layout, codec })
    }

    /// The bytes of the blob that are in `stripes`, cut by `bytes`, in order.
    pub(super) async fn fetch(
        self: Arc<Self>,
        stripes: Range<u32>,
        bytes: Range<u64>,
    ) -> Result<Vec<Bytes>, StoreError> {
        let health = self.context.health.current();
        let avoided = self.blob.placement.iter().map(|&node| !health.in_service(node)).collect();
        let mut gather = Gather::new(&self.layout, stripes, &bytes, avoided);
        let mut calls = FuturesUnordered::new();
        calls.extend(gather.asks().into_iter().map(|ask| self.call(ask)));
        let late = sleep(self.context.times.read_hedge_after);
        let given_up = sleep(self.context.times.read_wait_max);
        tokio::pin!(late, given_up);
        let mut hedged = false;
        loop {
            match gather.outcome() {
                Outcome::Complete => break,
                Outcome::Lost(stripe) => {
                    return Err(self.unavailable(&format!("too few chunks of stripe {} are left", stripe.0)));
                }
                Outcome::Pending => {}
            }
            tokio::select! {
                biased;
                Some((ask, result)) = calls.next() => self.take(&mut gather, ask, result),
                () = &mut late, if !hedged => {
                    hedged = true;
                    gather.late();
                }
                () = &mut given_up => return Err(self.unavailable("the drives did not answer in time")),
            }
            calls.extend(gather.asks().into_iter().map(|ask| self.call(ask)));
        }
        let mut pieces = Vec::new();
        for stripe in gather.into_stripes() {
            self.assemble(&stripe, &mut pieces)?;
        }
        Ok(pieces)
    }

    async fn call(&self, ask: Ask) -> (Ask, Result<ChunksRead, PeerError>) {
        let node = self.node(ask);
        let shard = ShardId { blob: self.blob.id, shard: ask.shard };
        let request = ReadChunks { node, shard, first: ask.first, count: ask.count };
        let result = match self.context.peer(node).await {
            Ok(peer) => peer.read_chunks(request).await,
            Err(error) => Err(error),
        };
        (ask, result)
    }

    fn take(&self, gather: &mut Gather, ask: Ask, result: Result<ChunksRead, PeerError>) {
        let node = self.node(ask);
        match result {
            Ok(read) => {
                if let Some(fault) = gather.answered(ask, read.chunks) {
                    self.report(node, ask, fault);
                }
            }
            Err(error) => {
                tracing::debug!(%node, blob = %self.blob.id, shard = ask.shard.0, %error, "a node did not answer a read");
                CHUNK_FAULTS.with_label_values(&[&node.to_string(), "unanswered"]).inc();
                gather.failed(ask);
            }
        }
    }

    fn report(&self, node: NodeId, ask: Ask, fault: ChunkFault) {
        let label = match fault {
            ChunkFault::Missing => "missing",
            ChunkFault::Corrupt => "corrupt",
        };
        CHUNK_FAULTS.with_label_values(&[&node.to_string(), label]).inc();
        let shard = ShardId { blob: self.blob.id, shard: ask.shard };
        self.context.faults.report(ShardFault { node, shard, fault });
    }

    /// Cuts the wanted bytes out of a complete stripe, decoding it where a wanted chunk has not come.
    fn assemble(&self, stripe: &Stripe, pieces: &mut Vec<Bytes>) -> Result<(), StoreError> {
        let absent: Vec<usize> = stripe
            .spans
            .iter()
            .map(|span| usize::from(span.shard.0))
            .filter(|&shard| stripe.chunk(shard).is_none())
            .collect();
        let mut rebuilt = Vec::new();
        if !absent.is_empty() {
            STRIPES_DECODED.with_label_values::<&str>(&[]).inc();
            rebuilt =
                self.codec.rebuild(&stripe.present(), &absent).map_err(|error| self.unavailable(&error.to_string()))?;
        }
        let mut rebuilt = rebuilt.into_iter();
        for span in &stripe.spans {
            let chunk = match stripe.chunk(usize::from(span.shard.0)) {
                Some(chunk) => chunk.clone(),
                None => Bytes::from(rebuilt.next().ok_or_else(|| self.unavailable("a chunk was not rebuilt"))?),
            };
            if span.bytes.end > chunk.len() {
                return Err(self.unavailable("a chunk is too short"));
            }
            pieces.push(chunk.slice(span.bytes.clone()));
        }
        Ok(())
    }

    fn node(&self, ask: Ask) -> NodeId {
        self.blob.placement[usize::from(ask.shard.0)]
    }

    fn unavailable(&self, why: &str) -> StoreError {
        tracing::warn!(blob = %self.blob.id, why, "a read failed");
        StoreError::DataUnavailable { why: why.to_owned() }
    }
}
