//! Bodies that are sealed on their way: digested as they come, sealed a batch at a time where stripes are encoded too, away
//! from the network thread. The stripes are then filled with sealed bytes.

use super::intake::Intake;
use crate::actors::request::{Md5Update, RequestContext, StoreError, Work, offload};
use crate::storage::checksum::{BodyDigests, BodyHasher};
use crate::storage::sealing::{CHUNK_BYTES, DataKey, Layout, RunId, RunKey, Sealer};
use crate::types::BlobId;
use bytes::{Bytes, BytesMut};
use futures::future::{BoxFuture, OptionFuture};
use std::collections::VecDeque;
use std::sync::Arc;

/// Bytes that are sealed at a time, but for what the last piece has beyond them.
const BATCH_BYTES: usize = 2 * CHUNK_BYTES;
/// A batch that is gathered, one that is sealed, and what has become of another; and the chunk that is being filled.
const HELD_BYTES_MAX: usize = 3 * BATCH_BYTES + 2 * CHUNK_BYTES;

/// The key that a body is sealed under, and the number of its part.
pub(super) struct Seal {
    key: DataKey,
    part: u16,
}

impl Seal {
    /// An object of one PUT is its own part 1.
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

    /// All of a body that rides in the proposal.
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

/// Returns the bytes that `held` gives for a body's stored length, with those that are held besides while it is sealed.
pub fn held_bytes_max(key: Option<&DataKey>, declared: Option<u64>, held: impl Fn(Option<u64>) -> u64) -> u64 {
    let Some(key) = key else { return held(declared) };
    let stored = declared.map(|declared| key.layout().sealed_bytes(declared));
    let sealing = stored.map_or(u64::MAX, |stored| stored.saturating_mul(3)).min(HELD_BYTES_MAX as u64);
    held(stored).saturating_add(sealing)
}

/// The source of the bytes that stripes are filled with.
pub(super) enum Feed {
    /// The body as it comes.
    Plain(Intake),
    Sealed(Box<SealedIntake>),
}

impl Feed {
    /// The next bytes, not empty; `None` at the end. Nothing is lost where it is dropped before it is done.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        match self {
            Self::Plain(intake) => intake.next().await,
            Self::Sealed(sealed) => sealed.next().await,
        }
    }

    /// Returns the digests of the body after its end, where it was digested here.
    pub(super) fn finish(self) -> Option<BodyDigests> {
        match self {
            Self::Plain(_) => None,
            Self::Sealed(sealed) => sealed.run.map(|run| run.hasher.finish()),
        }
    }
}

/// A sealed batch; nothing where the threads are gone.
type SealedBatch = Option<(Run, Vec<Bytes>)>;

/// A body of which sealed bytes come out.
pub(super) struct SealedIntake {
    context: Arc<RequestContext>,
    intake: Intake,
    /// Not sealed yet.
    gathered: Vec<Bytes>,
    gathered_bytes: usize,
    /// Nothing more is to be gathered.
    ended: bool,
    /// The last batch was handed over to be sealed.
    finishing: bool,
    /// Here while no batch is being sealed: one at a time, in order.
    run: Option<Run>,
    sealing: Option<BoxFuture<'static, SealedBatch>>,
    ready: VecDeque<Bytes>,
}

/// Digests and sealing under way, which go along from one batch to the next.
struct Run {
    hasher: BodyHasher,
    sealer: Option<Sealer>,
}

/// A batch to be digested and sealed off the network thread.
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
                else => return Err(StoreError::Internal { why: "a body came to a halt".to_owned() }),
            }
        }
    }

    /// Hands over what was gathered, if that is a batch or the last of the body.
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
