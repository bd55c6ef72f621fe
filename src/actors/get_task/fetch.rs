//! Fetches the wanted bytes of a few stripes from their nodes. Sends the requests that `gather` decides on, takes the
//! answers, reads parity in the place of chunks that fail or are late, and decodes only stripes that lack a wanted
//! chunk.

use super::gather::{Ask, Gather, Outcome, Stripe};
use super::places::{Placement, Places};
use crate::actors::drives::ShardFault;
use crate::actors::peers::Trust;
use crate::actors::request::{RequestContext, StoreError};
use crate::metrics::{CHUNK_FAULTS, HEDGED_READS, STRIPES_DECODED};
use crate::net::{ChunkFault, ChunksRead, PeerError, ReadChunks};
use crate::storage::erasure::Codec;
use crate::storage::meta::record::BlobRef;
use crate::storage::meta::view::MetaView;
use crate::storage::stripe::BlobLayout;
use crate::types::{ChunkIndex, NodeId, ShardId};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The number of attempts to read the same stripes, each after another placement was looked up, before they are given
/// up.
const MOVES_FOLLOWED_MAX: usize = 4;

/// A request under way.
#[derive(Debug)]
struct Wait {
    ask: Ask,
    began: Instant,
    /// The time from which the request counts as late; `None` once it was noted as late.
    late: Option<Instant>,
    /// The time at which the request counts as failed, if that is before the whole read is given up.
    give_up: Option<Instant>,
}

/// The requests under way.
#[derive(Debug, Default)]
struct UnderWay {
    waits: Vec<Wait>,
    /// The common deadline of all requests to nodes that are gone; set with the first such request.
    gone_until: Option<Instant>,
}

impl UnderWay {
    fn end(&mut self, ask: Ask) -> Option<Instant> {
        let at = self.waits.iter().position(|wait| wait.ask == ask)?;
        Some(self.waits.swap_remove(at).began)
    }

    fn next_due(&self) -> Option<Instant> {
        self.waits.iter().flat_map(|wait| [wait.late, wait.give_up]).flatten().min()
    }

    /// Returns the requests that were late and have not been answered.
    fn left(&self) -> impl Iterator<Item = &Wait> {
        self.waits.iter().filter(|wait| wait.late.is_none())
    }
}

/// A blob that is being read. Shared by the fetches of one read.
#[derive(Debug)]
pub(super) struct BlobRead {
    context: Arc<RequestContext>,
    places: Places,
    blob: BlobRef,
    pub(super) layout: BlobLayout,
    codec: Arc<Codec>,
}

/// One attempt to fetch a few stripes of a blob, from one placement of its shards.
#[derive(Clone, Copy, Debug)]
struct Fetch<'a> {
    read: &'a BlobRead,
    context: &'a RequestContext,
    placement: &'a Placement,
}

impl BlobRead {
    /// Prepares a blob for reading. `view` is of the time `as_of`, by the monotonic clock. Fails if the blob's record
    /// is malformed or its placement is gone.
    pub(super) fn new(
        context: &Arc<RequestContext>,
        view: &MetaView,
        as_of: Duration,
        blob: BlobRef,
    ) -> Result<Self, StoreError> {
        let malformed =
            |why: String| StoreError::Internal { why: format!("the record of blob {} is malformed: {why}", blob.id) };
        let layout = BlobLayout::new(blob.geometry, blob.size_bytes).map_err(|error| malformed(error.to_string()))?;
        let codec = context.codecs.codec(blob.geometry).map_err(|error| malformed(error.to_string()))?;
        let gone = || StoreError::Unavailable { why: "the object was replaced while it was read".to_owned() };
        let places = Places::new(context, view, as_of, blob.id)?.ok_or_else(gone)?;
        if places.len() != blob.geometry.shards() {
            return Err(malformed(format!("{} nodes for {} shards", places.len(), blob.geometry.shards())));
        }
        Ok(Self { context: Arc::clone(context), places, blob, layout, codec })
    }

    /// Returns the bytes of the blob that are both in `stripes` and in the range `bytes`, in order. A client may stall
    /// for so long that shards are moved and their old copies dropped. Therefore a failed fetch is repeated if the
    /// placement has changed.
    pub(super) async fn fetch(
        self: Arc<Self>,
        stripes: Range<u32>,
        bytes: Range<u64>,
    ) -> Result<Vec<Bytes>, StoreError> {
        let mut placement = self.places.current().await;
        for _ in 0..MOVES_FOLLOWED_MAX {
            match self.fetch_from(&placement, stripes.clone(), bytes.clone()).await {
                Err(StoreError::DataUnavailable { why }) => match self.places.other_than(&placement).await {
                    Some(other) => placement = other,
                    None => return Err(StoreError::DataUnavailable { why }),
                },
                fetched => return fetched,
            }
        }
        Err(self.unavailable("the shards of the blob move too often to be read; try again later"))
    }

    async fn fetch_from(
        &self,
        placement: &Placement,
        stripes: Range<u32>,
        bytes: Range<u64>,
    ) -> Result<Vec<Bytes>, StoreError> {
        let fetch = Fetch { read: self, context: &self.context, placement };
        let mut gather = Gather::new(&self.layout, stripes, &bytes, fetch.avoided());
        fetch.gather(&mut gather, &mut UnderWay::default()).await?;
        let mut pieces = Vec::new();
        for stripe in gather.into_stripes() {
            self.assemble(&stripe, &mut pieces)?;
        }
        Ok(pieces)
    }

    /// Cuts the wanted bytes out of a complete stripe. Decodes the stripe if a wanted chunk is missing.
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

    fn unavailable(&self, why: &str) -> StoreError {
        tracing::warn!(blob = %self.blob.id, why, "cannot read a blob");
        StoreError::DataUnavailable { why: why.to_owned() }
    }
}

impl Fetch<'_> {
    /// Sends requests and takes answers until all stripes are complete, or one is certain to stay incomplete.
    async fn gather(&self, gather: &mut Gather, under_way: &mut UnderWay) -> Result<(), StoreError> {
        let mut calls = FuturesUnordered::new();
        let given_up = sleep(self.context.times.read_wait_max);
        let due = sleep(self.context.times.read_wait_max);
        tokio::pin!(given_up, due);
        loop {
            for ask in gather.asks() {
                self.begin(ask, under_way);
                calls.push(self.call(ask));
            }
            match gather.outcome() {
                Outcome::Complete => break,
                Outcome::Lost(stripe) => {
                    return Err(self.read.unavailable(&format!("too few chunks of stripe {} are left", stripe.0)));
                }
                Outcome::Pending => {}
            }
            let next = under_way.next_due();
            if let Some(next) = next {
                due.as_mut().reset(next);
            }
            tokio::select! {
                biased;
                Some((ask, result)) = calls.next() => {
                    let began = under_way.end(ask);
                    self.take(gather, ask, result, began.map(|began| began.elapsed()));
                }
                () = &mut due, if next.is_some() => self.lose_patience(gather, under_way),
                () = &mut given_up => {
                    let silent = under_way.waits.iter().map(|wait| self.node(wait.ask));
                    silent.for_each(|node| self.context.note_slow(node, "a read was given up waiting for it"));
                    return Err(self.read.unavailable("the drives did not answer in time"));
                }
            }
        }
        for wait in under_way.left() {
            self.context.latencies.given_up(self.node(wait.ask), wait.began.elapsed());
        }
        Ok(())
    }

    /// Returns for each shard whether its node is in trouble.
    fn avoided(&self) -> Vec<bool> {
        self.placement.nodes.iter().map(|&node| self.context.is_avoided(node)).collect()
    }

    fn begin(&self, ask: Ask, under_way: &mut UnderWay) {
        let (node, began) = (self.node(ask), Instant::now());
        let late = Some(began + self.context.latencies.delay(node));
        let is_gone = self.context.trust(node) == Trust::Gone;
        let gone_wait = self.context.times.read_gone_wait;
        let give_up = is_gone.then(|| *under_way.gone_until.get_or_insert(began + gone_wait));
        under_way.waits.push(Wait { ask, began, late, give_up });
    }

    /// Marks overdue requests as late, so that parity is read in their place, and gives up those past their deadline.
    fn lose_patience(&self, gather: &mut Gather, under_way: &mut UnderWay) {
        let now = Instant::now();
        for wait in &mut under_way.waits {
            let node = self.node(wait.ask);
            if wait.late.take_if(|late| *late <= now).is_some() {
                gather.late(wait.ask);
                HEDGED_READS.with_label_values(&[&node.to_string()]).inc();
                if self.context.latencies.late(node, now - wait.began) {
                    self.context.note_slow(node, "reads wait for it");
                }
            }
            if wait.give_up.take_if(|give_up| *give_up <= now).is_some() {
                gather.failed(wait.ask);
            }
        }
        gather.avoid(self.avoided());
    }

    async fn call(&self, ask: Ask) -> (Ask, Result<ChunksRead, PeerError>) {
        let node = self.node(ask);
        let shard = ShardId { blob: self.read.blob.id, shard: ask.shard };
        let span = self.context.begin_call("NodeService/read_chunks", node, shard);
        let request = ReadChunks { node, shard, first: ask.first, count: ask.count, trace: span.context() };
        let result = match self.context.peer(node).await {
            Ok(peer) => peer.read_chunks(request).await,
            Err(error) => Err(error),
        };
        span.end(&result);
        (ask, result)
    }

    fn take(&self, gather: &mut Gather, ask: Ask, result: Result<ChunksRead, PeerError>, took: Option<Duration>) {
        let node = self.node(ask);
        match result {
            Ok(read) => {
                if let Some(took) = took {
                    self.context.latencies.answered(node, took);
                }
                let is_trusted = self.read.places.is_trusted(self.placement);
                let counted: Vec<bool> = read.chunks.iter().map(Result::is_err).collect();
                for (chunk, fault) in gather.answered(ask, read.chunks) {
                    // The node's host counts the faults that it answers with. A malformed answer is counted here.
                    let is_counted = counted.get((chunk.0 - ask.first.0) as usize) == Some(&true);
                    if is_trusted {
                        self.report(node, ask, chunk, fault, is_counted);
                    }
                }
            }
            Err(error) => {
                tracing::debug!(
                    %node, blob = %self.read.blob.id, shard = ask.shard.0, %error,
                    "a node failed to answer a read"
                );
                CHUNK_FAULTS.with_label_values(&[&node.to_string(), "unanswered"]).inc();
                self.context.note_failure(node, &error);
                gather.failed(ask);
            }
        }
    }

    fn report(&self, node: NodeId, ask: Ask, chunk: ChunkIndex, fault: ChunkFault, is_counted: bool) {
        if !is_counted {
            CHUNK_FAULTS.with_label_values(&[&node.to_string(), "corrupt"]).inc();
        }
        let shard = ShardId { blob: self.read.blob.id, shard: ask.shard };
        self.context.faults.report(ShardFault { node, shard, chunk, fault });
    }

    fn node(&self, ask: Ask) -> NodeId {
        self.placement.nodes[usize::from(ask.shard.0)]
    }
}
