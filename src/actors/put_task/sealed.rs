//! Sealing (encryption) of a body during a PUT. Batches of the plain body are hashed and sealed on compute threads, and
//! stripes are then filled with the sealed bytes.

use super::intake::Intake;
use crate::actors::request::{Md5Update, RequestContext, StoreError, Work, offload};
use crate::storage::checksum::{BodyDigests, BodyHasher};
use crate::storage::sealing::{CHUNK_BYTES, DataKey, Layout, RunId, RunKey, Sealer};
use crate::types::BlobId;
use bytes::{Bytes, BytesMut};
use futures::future::{BoxFuture, OptionFuture};
use std::collections::VecDeque;
use std::sync::Arc;

/// The size from which on a batch is sealed; the last piece of a batch may exceed it.
const BATCH_BYTES: usize = 2 * CHUNK_BYTES;
/// The memory of sealing: one batch being gathered, one being sealed, one sealed, and the chunk that is being filled.
const HELD_BYTES_MAX: usize = 3 * BATCH_BYTES + 2 * CHUNK_BYTES;

/// The key that a body is sealed under, and its part number.
pub(super) struct Seal {
    key: DataKey,
    part: u16,
}

impl Seal {
    /// Makes the seal of an object from a single PUT, which is sealed as part 1.
    pub(super) fn of_object(key: DataKey) -> Self {
        Self { key, part: 1 }
    }

    pub(super) fn of_part(key: DataKey, number: u16) -> Self {
        Self { key, part: number }
    }

    pub(super) fn key(&self) -> &DataKey {
        &self.key
    }

    pub(super) fn layout(&self) -> Layout {
        self.key.layout()
    }

    pub(super) fn run(&self, blob: BlobId) -> RunKey {
        self.key.run(RunId::of_blob(self.part, blob))
    }

    /// Seals a whole body that travels in the proposal.
    pub(super) fn inline(&self, mut plain: Bytes) -> Bytes {
        let mut sealer = Sealer::new(self.key.run(RunId::INLINE), Some(plain.len() as u64));
        let mut sealed = BytesMut::new();
        while let Some(chunk) = sealer.push(&mut plain) {
            sealed.extend_from_slice(&chunk);
        }
        match sealer.finish() {
            Some(last) if sealed.is_empty() => last,
            Some(last) => {
                sealed.extend_from_slice(&last);
                sealed.freeze()
            }
            None => sealed.freeze(),
        }
    }
}

/// Returns the bytes that a PUT holds at most if the body is sealed: `held`, which is called with the stored length,
/// plus the memory of sealing.
pub fn held_bytes_max(key: Option<&DataKey>, declared: Option<u64>, held: impl Fn(Option<u64>) -> u64) -> u64 {
    let Some(key) = key else { return held(declared) };
    let stored = declared.map(|declared| key.layout().sealed_bytes(declared));
    let sealing = stored.map_or(u64::MAX, |stored| stored.saturating_mul(3)).min(HELD_BYTES_MAX as u64);
    held(stored).saturating_add(sealing)
}

/// The source of the bytes that stripes are filled with.
pub(super) enum Feed {
    /// The body as the client sends it.
    Plain(Intake),
    Sealed(Box<SealedIntake>),
}

impl Feed {
    /// Returns the next bytes, which are not empty; `None` at the end. Safe to cancel: no bytes are lost.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        match self {
            Self::Plain(intake) => intake.next().await,
            Self::Sealed(sealed) => sealed.next().await,
        }
    }

    /// Returns the digests of a sealed body after its end; `None` for a plain one, which the pipeline hashes.
    pub(super) fn finish(self) -> Option<BodyDigests> {
        match self {
            Self::Plain(_) => None,
            Self::Sealed(sealed) => sealed.run.map(|run| run.hasher.finish()),
        }
    }
}

/// A sealed batch; `None` if the compute threads have stopped.
type SealedBatch = Option<(Run, Vec<Bytes>)>;

/// Gathers a plain body into batches, and returns it sealed.
pub(super) struct SealedIntake {
    context: Arc<RequestContext>,
    intake: Intake,
    /// The pieces of the next batch.
    gathered: Vec<Bytes>,
    gathered_bytes: usize,
    /// True once the plain body has ended.
    ended: bool,
    /// True once the last batch was handed to a compute thread.
    finishing: bool,
    /// `None` while a batch is being sealed: batches are sealed one at a time, in order.
    run: Option<Run>,
    sealing: Option<BoxFuture<'static, SealedBatch>>,
    ready: VecDeque<Bytes>,
}

/// The state of hashing and sealing, which is passed from one batch to the next.
struct Run {
    hasher: BodyHasher,
    sealer: Option<Sealer>,
}

/// The work of hashing and sealing a batch on a compute thread.
struct Sealing {
    run: Run,
    batch: Vec<Bytes>,
    is_last: bool,
}

impl Work for Sealing {
    type Output = (Run, Vec<Bytes>);

    fn md5_update(&mut self) -> Option<Md5Update<'_>> {
        Some((self.run.hasher.md5(), self.batch.iter().map(|piece| &piece[..]).collect()))
    }

    fn finish(self) -> Self::Output {
        let Self { mut run, batch, is_last } = self;
        let mut sealed = Vec::new();
        for mut piece in batch {
            run.hasher.update_checksums(&piece);
            if let Some(sealer) = &mut run.sealer {
                sealed.extend(std::iter::from_fn(|| sealer.push(&mut piece)));
            }
        }
        if is_last {
            sealed.extend(run.sealer.take().and_then(Sealer::finish));
        }
        (run, sealed)
    }
}

impl SealedIntake {
    pub(super) fn new(context: &Arc<RequestContext>, intake: Intake, hasher: BodyHasher, key: RunKey) -> Self {
        let sealer = Some(Sealer::new(key, intake.declared()));
        Self {
            context: Arc::clone(context),
            intake,
            gathered: Vec::new(),
            gathered_bytes: 0,
            ended: false,
            finishing: false,
            run: Some(Run { hasher, sealer }),
            sealing: None,
            ready: VecDeque::new(),
        }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        loop {
            if let Some(chunk) = self.ready.pop_front() {
                return Ok(Some(chunk));
            }
            self.start_sealing();
            let may_gather = !self.ended && self.gathered_bytes < BATCH_BYTES;
            if self.sealing.is_none() && !may_gather {
                return Ok(None);
            }
            tokio::select! {
                biased;
                Some(sealed) = OptionFuture::from(self.sealing.as_mut()) => {
                    self.sealing = None;
                    let stopping = || StoreError::Unavailable { why: "the server is shutting down".to_owned() };
                    let (run, chunks) = sealed.ok_or_else(stopping)?;
                    self.run = Some(run);
                    self.ready.extend(chunks);
                }
                piece = self.intake.next(), if may_gather => match piece? {
                    Some(piece) => {
                        self.gathered_bytes += piece.len();
                        self.gathered.push(piece);
                    }
                    None => self.ended = true,
                },
                else => return Err(StoreError::Internal { why: "the sealing of a body stalled".to_owned() }),
            }
        }
    }

    /// Hands the gathered pieces to a compute thread, if they are a full batch or the end of the body.
    fn start_sealing(&mut self) {
        let is_wanted = self.gathered_bytes >= BATCH_BYTES || (self.ended && !self.finishing);
        if !is_wanted {
            return;
        }
        let Some(run) = self.run.take() else { return };
        let batch = std::mem::take(&mut self.gathered);
        self.gathered_bytes = 0;
        self.finishing = self.ended;
        let sealing = Sealing { run, batch, is_last: self.ended };
        let context = Arc::clone(&self.context);
        self.sealing = Some(Box::pin(async move { offload(&*context.executor, sealing).await }));
    }
}
