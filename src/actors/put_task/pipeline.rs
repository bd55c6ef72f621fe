//! The pipeline of one body. Its stages overlap: while one group of stripes is filled, another is hashed and encoded,
//! and others are appended to the nodes. At most `PUT_APPENDS_IN_FLIGHT` groups are encoded or appended, so memory does
//! not depend on the body's size.

use super::append::{append_all, calls};
use super::group::{EncodedGroup, Encoding, Group};
use super::intake::Intake;
use super::observe;
use super::sealed::{Feed, Seal, SealedIntake};
use super::shard_outcomes::{ShardFailure, ShardOutcomes};
use crate::actors::frontend::Permit;
use crate::actors::request::{ActiveWrite, RequestContext, StoreError, offload};
use crate::defects::{Defect, has};
use crate::limits::PUT_APPENDS_IN_FLIGHT;
use crate::net::PeerError;
use crate::storage::checksum::{BodyDigests, BodyHasher};
use crate::storage::erasure::Codec;
use crate::storage::meta::record::BlobRef;
use crate::storage::ring::Placement;
use crate::traces::Span;
use crate::types::{BlobId, ChunkIndex, Epoch, Geometry, NodeId, ShardId, ShardNumber};
use bytes::Bytes;
use futures::StreamExt;
use futures::future::{BoxFuture, OptionFuture, join_all};
use futures::stream::FuturesUnordered;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// The time that a node has to drop the shards of a failed write.
const DROP_WAIT_MAX: Duration = Duration::from_secs(30);

/// A body whose shards are durable on a quorum.
pub(super) struct StoredBlob {
    pub(super) blob: BlobRef,
    pub(super) missing: Vec<ShardNumber>,
    /// The epoch of the layout that the shards were placed by.
    pub(super) layout: Epoch,
    pub(super) written: WrittenShards,
    pub(super) digests: BodyDigests,
}

/// Stores a body as the shards of a blob. A sealed blob has more bytes than the body.
pub(super) async fn store(
    context: &Arc<RequestContext>,
    permit: Arc<Permit>,
    intake: Intake,
    hasher: BodyHasher,
    seal: Option<Seal>,
) -> Result<StoredBlob, StoreError> {
    let write = context.begin_write().await?;
    let blob = write.blob();
    let placement = context.place(blob)?;
    let codec =
        context.codecs.codec(placement.geometry).map_err(|error| StoreError::Internal { why: error.to_string() })?;
    let outcomes = ShardOutcomes::new(&placement);
    outcomes.check()?;
    let written = WrittenShards::new(context, write, &placement);
    let layout = seal.as_ref().map(Seal::layout);
    let (feed, hasher) = match seal {
        None => (Feed::Plain(intake), Some(hasher)),
        Some(seal) => (Feed::Sealed(Box::new(SealedIntake::new(context, intake, hasher, seal.run(blob)))), None),
    };
    let pipeline = Pipeline {
        context,
        blob,
        codec,
        outcomes,
        permit,
        filling: Group::new(ChunkIndex(0), placement.geometry),
        geometry: placement.geometry,
        hasher,
        encoding: None,
        appending: FuturesUnordered::new(),
        spent: Spent::default(),
        hashing: None,
        appends: None,
    };
    let (digests, missing) = pipeline.run(feed).await?;
    let size_bytes = layout.map_or(digests.size_bytes, |layout| layout.sealed_bytes(digests.size_bytes));
    let blob = BlobRef { id: blob, size_bytes, geometry: placement.geometry, placement: placement.nodes };
    Ok(StoredBlob { blob, missing, layout: placement.layout, written, digests })
}

/// The time spent in each stage. Stages overlap, so the sum may exceed the duration of the request.
#[derive(Default)]
struct Spent {
    receive: Duration,
    hash_encode: Duration,
    append: Duration,
}

type Encoded = Result<(Option<BodyHasher>, EncodedGroup), StoreError>;
type Appended = (Vec<(usize, ShardFailure)>, Duration);

struct Pipeline<'a> {
    context: &'a Arc<RequestContext>,
    blob: BlobId,
    codec: Arc<Codec>,
    outcomes: ShardOutcomes,
    permit: Arc<Permit>,
    filling: Group,
    geometry: Geometry,
    /// The digests so far. `None` while a group is being encoded, because groups are hashed one at a time, in order;
    /// always `None` for a sealed body, which is hashed before it is sealed.
    hasher: Option<BodyHasher>,
    encoding: Option<BoxFuture<'static, (Encoded, Duration)>>,
    appending: FuturesUnordered<BoxFuture<'static, Appended>>,
    spent: Spent,
    /// The span of hashing and encoding, from the first group to the last.
    hashing: Option<Span>,
    /// The span of the appends, and the context in which their spans are its children.
    appends: Option<(Span, Arc<RequestContext>)>,
}

impl Pipeline<'_> {
    async fn run(mut self, mut feed: Feed) -> Result<(BodyDigests, Vec<ShardNumber>), StoreError> {
        let mut pending = Bytes::new();
        let mut ended = false;
        loop {
            self.filling.fill(&mut pending, &self.context.buffers);
            let wants_encoding = self.filling.is_full() || (ended && !self.filling.is_empty());
            if wants_encoding && self.may_encode() {
                self.start_encoding();
                continue;
            }
            if ended && self.filling.is_empty() && self.encoding.is_none() && self.appending.is_empty() {
                break;
            }
            let may_receive = !ended && !self.filling.is_full();
            let waited_from = self.now();
            tokio::select! {
                biased;
                Some((failures, took)) = self.appending.next() => {
                    self.spent.append += took;
                    self.appends.iter().for_each(|(span, _)| span.ended());
                    self.absorb(failures)?;
                }
                Some((encoded, took)) = OptionFuture::from(self.encoding.as_mut()) => {
                    self.encoding = None;
                    self.spent.hash_encode += took;
                    self.hashing.iter().for_each(Span::ended);
                    let (hasher, group) = encoded?;
                    self.hasher = hasher;
                    self.start_appending(&group);
                }
                piece = feed.next(), if may_receive => {
                    match piece? {
                        Some(piece) => pending = piece,
                        None => ended = true,
                    }
                    self.spent.receive += self.now().saturating_sub(waited_from);
                }
                else => return Err(StoreError::Internal { why: "the upload of a body stalled".to_owned() }),
            }
        }
        self.observe_stages();
        let stopped = || StoreError::Internal { why: "the upload ended without the digests of its body".to_owned() };
        let digests = self.hasher.take().map(BodyHasher::finish).or_else(|| feed.finish()).ok_or_else(stopped)?;
        let missing = if has(Defect::HideMissingShards) { Vec::new() } else { self.outcomes.missing() };
        Ok((digests, missing))
    }

    fn may_encode(&self) -> bool {
        self.encoding.is_none() && self.appending.len() < PUT_APPENDS_IN_FLIGHT
    }

    /// Hands the filled group to a compute thread for hashing and encoding, and begins the next group.
    fn start_encoding(&mut self) {
        let next = Group::new(self.filling.next_first(), self.geometry);
        let group = std::mem::replace(&mut self.filling, next);
        let (codec, permit, context) = (Arc::clone(&self.codec), Arc::clone(&self.permit), Arc::clone(self.context));
        self.hashing.get_or_insert_with(|| context.spans.begin("put.hash_encode"));
        let encoding = Encoding { group, codec, hasher: self.hasher.take(), permit };
        self.encoding = Some(Box::pin(async move {
            let start = context.ambient.clock.monotonic();
            let encoded = match offload(&*context.executor, encoding).await {
                Some(encoded) => encoded.map_err(|error| StoreError::Internal { why: error.to_string() }),
                None => Err(StoreError::Unavailable { why: "the server is shutting down".to_owned() }),
            };
            (encoded, context.ambient.clock.monotonic().saturating_sub(start))
        }));
    }

    fn start_appending(&mut self, group: &EncodedGroup) {
        let calls = calls(group, self.blob, self.outcomes.good());
        let (_, context) = self.appends.get_or_insert_with(|| {
            let span = self.context.spans.begin("put.append");
            let within = self.context.within(&span);
            (span, within)
        });
        let (quorum, context) = (self.outcomes.quorum(), Arc::clone(context));
        self.appending.push(Box::pin(async move {
            let start = context.ambient.clock.monotonic();
            let failures = append_all(&context, calls, quorum).await;
            (failures, context.ambient.clock.monotonic().saturating_sub(start))
        }));
    }

    fn absorb(&mut self, failures: Vec<(usize, ShardFailure)>) -> Result<(), StoreError> {
        for (shard, failure) in failures {
            self.outcomes.fail(shard, failure);
        }
        self.outcomes.check().map_err(|error| self.unless_others_have_room(error))
    }

    /// Turns `OutOfSpace` into `Unavailable` if other drives still have space: a retry is placed on those.
    fn unless_others_have_room(&self, error: StoreError) -> StoreError {
        match (error, self.context.check_writable()) {
            (StoreError::OutOfSpace, Ok(()) | Err(StoreError::Unavailable { .. })) => {
                let why = "drives became full during this write; try again, other drives have space".to_owned();
                StoreError::Unavailable { why }
            }
            (error, _) => error,
        }
    }

    fn observe_stages(&self) {
        observe("receive", self.spent.receive);
        observe("hash_encode", self.spent.hash_encode);
        observe("append", self.spent.append);
        // Stages overlap and pause: a span lasts from its first group to its last.
        let busy_us = |busy: Duration| u64::try_from(busy.as_micros()).unwrap_or(u64::MAX);
        self.hashing.iter().for_each(|span| span.set("sherd.busy_us", busy_us(self.spent.hash_encode)));
        self.appends.iter().for_each(|(span, _)| span.set("sherd.busy_us", busy_us(self.spent.append)));
    }

    fn now(&self) -> Duration {
        self.context.ambient.clock.monotonic()
    }
}

/// The shards of a blob that the metadata does not refer to yet. When this guard is dropped, on any path of failure and
/// also when the client disconnects, the shards are dropped in the background. A shard that is missed is an orphan,
/// which the comparison with the metadata finds.
pub(super) struct WrittenShards {
    context: Arc<RequestContext>,
    /// Holds back the fence until the outcome is known.
    _write: ActiveWrite,
    /// The shards that may be on each node.
    shards: BTreeMap<NodeId, Vec<ShardId>>,
    committed: bool,
}

impl WrittenShards {
    fn new(context: &Arc<RequestContext>, write: ActiveWrite, placement: &Placement) -> Self {
        let blob = write.blob();
        let mut shards = BTreeMap::<NodeId, Vec<ShardId>>::new();
        for (shard, &node) in placement.nodes.iter().enumerate().take(placement.writable) {
            shards.entry(node).or_default().push(ShardId { blob, shard: ShardNumber(shard as u8) });
        }
        Self { context: Arc::clone(context), _write: write, shards, committed: false }
    }

    /// Keeps the shards when the guard is dropped: from now on the metadata may refer to them.
    pub(super) fn commit(&mut self) {
        self.committed = true;
    }

    /// Drops the shards: it is certain that nothing refers to them.
    pub(super) fn discard(mut self) {
        self.committed = false;
    }
}

impl Drop for WrittenShards {
    fn drop(&mut self) {
        if self.committed {
            return;
        }
        let (shards, context) = (std::mem::take(&mut self.shards), Arc::clone(&self.context));
        self.context.executor.spawn(Box::pin(async move {
            let context = &context;
            let drops = shards.into_iter().map(|(node, shards)| async move {
                let dropping = async { context.peer(node).await?.drop_shards(node, shards).await };
                let dropped = timeout(DROP_WAIT_MAX, dropping).await;
                if let Err(error) = dropped.unwrap_or(Err(PeerError::TimedOut(node))) {
                    tracing::info!(
                        %node, %error,
                        "cannot drop the shards of a failed write; the comparison with the metadata will"
                    );
                }
            });
            join_all(drops).await;
        }));
    }
}
