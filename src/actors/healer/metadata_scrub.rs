//! `MetadataScrub`: periodically verifies this host's copies of the metadata log and of its snapshots, at the pace of
//! scrub, and has damage repaired. Owns the time of the next pass, by the monotonic clock. It need not survive a
//! restart, since a start reads the logs anyway.

use super::ScrubHandle;
use crate::actors::consensus::{CopyScrub, CopyScrubbed, MetaHandle};
use crate::actors::upkeep::{Background, Chore, CompactionContext, Pace};
use crate::metrics;
use std::io;
use std::time::Duration;

/// The actor that scrubs the metadata.
pub type MetadataScrubber = Background<MetadataScrub>;

#[derive(Clone, Copy, Debug)]
pub struct MetadataScrubOptions {
    /// The time from a start to the first pass.
    pub first_after: Duration,
    /// The time from the end of a pass to the beginning of the next.
    pub interval: Duration,
    /// The time to the next pass after one that found damage or failed, to check the repair.
    pub again_after: Duration,
    pub step_bytes_max: u32,
    /// The pause between steps while no pass is due.
    pub idle: Duration,
    pub pace: Pace,
}

impl MetadataScrubOptions {
    /// Returns the options for an interval between scrubs of chunks. The metadata is small, so it is verified at least
    /// once a day.
    pub fn every(interval: Duration) -> Self {
        Self {
            first_after: interval.min(Duration::from_secs(600)),
            interval: interval.min(Duration::from_secs(24 * 3600)),
            again_after: interval.min(Duration::from_secs(60)),
            step_bytes_max: 1 << 20,
            idle: Duration::from_secs(1),
            pace: Pace { idle_bytes_per_second: 50 << 20, busy_bytes_per_second: 5 << 20 },
        }
    }
}

pub struct MetadataScrub {
    meta: MetaHandle,
    context: CompactionContext,
    options: MetadataScrubOptions,
    handle: ScrubHandle,
    pass: Option<CopyScrub>,
    /// The time of the next pass, by the monotonic clock.
    due: Duration,
}

impl MetadataScrub {
    pub fn new(
        meta: MetaHandle,
        context: CompactionContext,
        options: MetadataScrubOptions,
        handle: ScrubHandle,
    ) -> Self {
        let due = context.ambient.clock.monotonic() + options.first_after;
        Self { meta, context, options, handle, pass: None, due }
    }

    /// Does the next bounded piece of work. Returns the pause before the next step.
    async fn advance(&mut self) -> io::Result<Duration> {
        let Some(pass) = &mut self.pass else {
            if self.context.ambient.clock.monotonic() < self.due && !self.handle.take_metadata_wish() {
                return Ok(self.options.idle);
            }
            self.pass = Some(CopyScrub::begin(&self.meta, self.options.step_bytes_max).await?);
            return Ok(Duration::ZERO);
        };
        match pass.advance().await? {
            CopyScrubbed::Checked { node, bytes, corrupt } => {
                let label = node.to_string();
                metrics::SCRUBBED_BYTES.with_label_values(&[&label]).inc_by(bytes);
                metrics::CHUNK_FAULTS.with_label_values(&[&label, "corrupt"]).inc_by(corrupt);
                Ok(self.options.pace.pause_after(bytes, &self.context.load))
            }
            CopyScrubbed::Finished { whole } => {
                self.pass = None;
                let pause = if whole { self.options.interval } else { self.options.again_after };
                self.due = self.context.ambient.clock.monotonic() + pause;
                Ok(self.options.idle)
            }
        }
    }
}

impl Chore for MetadataScrub {
    async fn step(&mut self) -> Duration {
        match self.advance().await {
            Ok(pause) => pause,
            Err(error) => {
                tracing::warn!(%error, "the scrub of the metadata failed; trying again");
                self.pass = None;
                self.due = self.context.ambient.clock.monotonic() + self.options.again_after;
                self.options.idle
            }
        }
    }
}
