//! `Sampler`: measures the size of the store every hour and records it in the metadata. Owns only the growth that it
//! computed last, which it shows to other parts through `GrowthHandle`.
//!
//! It is a chore (`upkeep::Background`): it receives `Wake` and `Stop`, and sends nothing. Only the host that leads
//! measures; the others read the history from their own tables. A measurement reads the usage counters of each bucket
//! and no object. The first measurement of a day (UTC) also records the sizes of the largest buckets.

use super::buckets::{BucketSample, LargestBuckets};
use super::history::{Growth, History};
use crate::actors::upkeep::{Background, Chore, ClusterContext, LastFailure, UpkeepError};
use crate::limits::GROWTH_SAMPLE_EVERY;
use crate::storage::kv::KvResult;
use crate::storage::meta::command::Change;
use crate::storage::meta::record::DocumentRow;
use crate::storage::meta::view::MetaView;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The actor that runs `Sampling` as a chore.
pub type Sampler = Background<Sampling>;

/// The number of buckets that are read at a time.
const BUCKETS_PAGE: usize = 1000;

#[derive(Clone, Copy, Debug)]
pub struct SamplingOptions {
    /// The interval between measurements.
    pub every: Duration,
    /// The interval between steps, which each read the history.
    pub idle: Duration,
    /// The interval after a step that failed.
    pub again: Duration,
}

impl Default for SamplingOptions {
    fn default() -> Self {
        Self { every: GROWTH_SAMPLE_EVERY, idle: Duration::from_secs(10), again: Duration::from_secs(1) }
    }
}

/// The outcome of a step (`Sampling::advance`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampled {
    /// No sample is due on this host.
    Nothing,
    /// A sample was taken: this number of bytes are stored.
    Measured(u64),
}

/// The growth as of this host's last step. Cheap to clone; all clones share one value.
#[derive(Clone, Debug, Default)]
pub struct GrowthHandle(Arc<Mutex<Growth>>);

impl GrowthHandle {
    pub fn growth(&self) -> Growth {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, growth: Growth) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = growth;
    }
}

#[derive(Debug)]
pub struct Sampling {
    context: ClusterContext,
    options: SamplingOptions,
    handle: GrowthHandle,
    last_failure: LastFailure,
}

impl Sampling {
    pub fn new(context: ClusterContext, options: SamplingOptions) -> (Self, GrowthHandle) {
        let handle = GrowthHandle::default();
        (Self { context, options, handle: handle.clone(), last_failure: LastFailure::default() }, handle)
    }

    /// Reads the history. If this host leads and a measurement is due, measures and adds the sample.
    pub async fn advance(&mut self) -> Result<Sampled, UpkeepError> {
        if !self.context.metadata.is_leader() {
            if let Some(view) = self.context.metadata.local() {
                self.handle.show(History::of(view.document(&History::key())?.as_ref()).growth());
            }
            return Ok(Sampled::Nothing);
        }
        let row = self.context.look_up(|view| view.document(&History::key())).await?;
        let mut history = History::of(row.as_ref());
        self.handle.show(history.growth());
        let now = self.context.ambient.clock.unix_ms();
        if history.age(now).is_some_and(|age| age < self.options.every) {
            return Ok(Sampled::Nothing);
        }
        let measured = self.context.look_up(measured).await?;
        let is_taken = self.context.look_up(move |view| BucketSample::is_taken(view, now)).await?;
        let bytes = measured.bytes;
        history.add(now, bytes);
        let of_buckets = (!is_taken).then(|| measured.largest.sample(now));
        self.keep(&history, row.as_ref(), of_buckets.as_ref()).await?;
        self.handle.show(history.growth());
        Ok(Sampled::Measured(bytes))
    }

    async fn keep(
        &self,
        history: &History,
        row: Option<&DocumentRow>,
        of_buckets: Option<&BucketSample>,
    ) -> Result<(), UpkeepError> {
        let of_store = history.write(row).expect("numbers are JSON");
        let of_buckets = of_buckets.map(|sample| sample.write().expect("numbers are JSON"));
        let writes = std::iter::once(of_store).chain(of_buckets).collect();
        // A refusal is ignored: then another leader has written its own sample, which is as good.
        self.context.metadata.propose(Change::WriteDocuments(writes)).await?;
        Ok(())
    }
}

/// The size of all buckets.
#[derive(Debug, Default)]
struct Measured {
    /// The bytes of all versions of all objects.
    bytes: u64,
    largest: LargestBuckets,
}

fn measured(view: &MetaView) -> KvResult<Measured> {
    let (mut measured, mut after) = (Measured::default(), None::<String>);
    loop {
        let (rows, more) = view.buckets("", after.as_deref(), BUCKETS_PAGE)?;
        after = rows.last().map(|row| row.bucket.name.clone());
        for row in rows {
            let usage = view.usage(row.bucket.id)?;
            measured.bytes = measured.bytes.saturating_add(usage.bytes);
            measured.largest.add(row.bucket.id, usage);
        }
        if !more {
            return Ok(measured);
        }
    }
}

impl Chore for Sampling {
    async fn step(&mut self) -> Duration {
        match self.advance().await {
            Ok(_) => {
                self.last_failure.is_over();
                self.options.idle
            }
            Err(error) => {
                if self.last_failure.is_news(&error) {
                    tracing::debug!(%error, "cannot measure the growth of the store; trying again");
                }
                self.options.again
            }
        }
    }
}
