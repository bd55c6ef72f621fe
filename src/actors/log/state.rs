//! `LogState`: the state that the actors and the handles of one log share. It has the table of segments in use
//! (published as an immutable snapshot), positions, counters, and the reason if the log is out of service. Only the
//! log's actors change it, but for the count of queued bytes.

use super::LogStatus;
use crate::limits::{LOG_FREE_SEGMENTS_MAX, SPACE_WARN_PERCENT};
use crate::metrics;
use crate::storage::disk::{CallKind, Disk, Space};
use crate::storage::wal::{LogOptions, NewRecord, OpenedLog, RecordKind, Resumption, Segment, SegmentTable, WalError};
use crate::types::{Lsn, SegmentId};
use arc_swap::ArcSwap;
use prometheus::{Histogram, IntCounter, IntGauge};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// The shortest interval between two lines of the log about a want of the host's resources.
const SHORTAGE_NAMED_EVERY: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct LogState {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) options: LogOptions,
    pub(super) tag: u64,
    pub(super) metrics: LogMetrics,
    table: ArcSwap<SegmentTable>,
    /// The released segments whose files are not retired yet.
    retiring: Mutex<BTreeSet<SegmentId>>,
    /// The id of the segment that takes appends; 0 if there is none.
    open_segment: AtomicU32,
    written: AtomicU64,
    synced: AtomicU64,
    queued_bytes: Arc<AtomicU64>,
    /// True if the free space is below the watermark at which new chunks are refused.
    space_low: AtomicBool,
    /// True if the free space is below the watermark at which retired files are removed instead of kept for reuse.
    space_short: AtomicBool,
    /// True if there was no space for the segment after the open one.
    no_reserve: AtomicBool,
    out_of_service: OnceLock<String>,
    /// The time of the last line about a want of the host's resources, by the monotonic clock.
    shortage_named: Mutex<Option<Duration>>,
    pub(super) counts: Counts,
}

/// Counters since the log was started.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) appends: AtomicU64,
    pub(super) writes: AtomicU64,
    pub(super) syncs: AtomicU64,
}

impl LogState {
    /// Makes the shared state of a log that was opened, and returns with it the position at which the writer resumes.
    pub(super) fn adopt(opened: OpenedLog) -> (Arc<Self>, Resumption) {
        let OpenedLog { disk, options, segments, resumption, tag, .. } = opened;
        let mut table = SegmentTable::new(segments);
        if let Some((open, _)) = &resumption.open {
            table = table.with(Arc::clone(open.segment()));
        }
        let open_id = resumption.open.as_ref().map_or(0, |(open, _)| open.id().0);
        let metrics = LogMetrics::resolve(&options);
        metrics.segments.set(table.len() as i64);
        metrics.segments_free.set(resumption.free.len().min(LOG_FREE_SEGMENTS_MAX) as i64);
        let state = Self {
            disk,
            options,
            tag,
            metrics,
            table: ArcSwap::from_pointee(table),
            retiring: Mutex::default(),
            open_segment: AtomicU32::new(open_id),
            written: AtomicU64::new(resumption.content_end.0),
            synced: AtomicU64::new(resumption.content_end.0),
            queued_bytes: Arc::default(),
            space_low: AtomicBool::new(false),
            space_short: AtomicBool::new(false),
            no_reserve: AtomicBool::new(false),
            out_of_service: OnceLock::new(),
            shortage_named: Mutex::default(),
            counts: Counts::default(),
        };
        (Arc::new(state), resumption)
    }

    pub(super) fn table(&self) -> Arc<SegmentTable> {
        self.table.load_full()
    }

    /// Publishes the segments in use, and the one that takes appends from now on.
    pub(super) fn publish_table(&self, table: SegmentTable, open: Option<SegmentId>) {
        self.metrics.segments.set(table.len() as i64);
        self.table.store(Arc::new(table));
        self.open_segment.store(open.map_or(0, |id| id.0), Ordering::Release);
    }

    /// Takes a segment out of the segments in use, of which `open` takes appends.
    pub(super) fn release(&self, id: SegmentId, open: Option<SegmentId>) {
        self.retiring().insert(id);
        self.publish_table(self.table().without(id), open);
    }

    pub(super) fn retiring(&self) -> MutexGuard<'_, BTreeSet<SegmentId>> {
        self.retiring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn open_segment(&self) -> Option<SegmentId> {
        match self.open_segment.load(Ordering::Acquire) {
            0 => None,
            id => Some(SegmentId(id)),
        }
    }

    pub(super) fn publish_written(&self, written: Lsn) {
        self.written.store(written.0, Ordering::Release);
    }

    pub(super) fn publish_synced(&self, synced: Lsn) {
        self.synced.store(synced.0, Ordering::Release);
    }

    pub(super) fn publish_space(&self, space: Space) {
        let refuse = self.options.space_refuse_percent;
        self.space_low.store(is_below(space, refuse), Ordering::Relaxed);
        self.space_short.store(refuse > 0 && is_below(space, SPACE_WARN_PERCENT), Ordering::Relaxed);
        self.metrics.free_bytes.set(i64::try_from(space.free_bytes).unwrap_or(i64::MAX));
        self.metrics.total_bytes.set(i64::try_from(space.total_bytes).unwrap_or(i64::MAX));
    }

    pub(super) fn set_reserve(&self, there: bool) {
        self.no_reserve.store(!there, Ordering::Relaxed);
    }

    pub(super) fn lacks_reserve(&self) -> bool {
        self.no_reserve.load(Ordering::Relaxed)
    }

    pub(super) fn is_short_of_space(&self) -> bool {
        self.space_short.load(Ordering::Relaxed)
    }

    /// Returns whether enough space for the metadata would stay free after another segment was made.
    pub(super) fn has_room_for_segment(&self, space: Space) -> bool {
        let left = Space { free_bytes: space.free_bytes.saturating_sub(self.options.segment_bytes.into()), ..space };
        self.options.space_refuse_percent == 0 || !is_below(left, self.options.space_refuse_percent)
    }

    /// Returns whether a record is refused for want of space: a new chunk while space is low, or if there is no space
    /// for another segment. Tombstones, relocated chunks and metadata are not refused; they use the space kept for
    /// them.
    pub(super) fn refuses_for_space(&self, record: &NewRecord) -> bool {
        let refuses = self.space_low.load(Ordering::Relaxed) || self.lacks_reserve();
        refuses && record.kind == RecordKind::Chunk && record.origin.is_none()
    }

    /// Returns whether the next change of a simulated disk would never return. The actor then handles no further
    /// message, as an actor on a real disk whose thread hangs in the call.
    pub(super) fn hangs(&self) -> bool {
        cfg!(debug_assertions) && self.disk.hangs(&self.options.dir, CallKind::Change)
    }

    /// Takes the log out of service for good. Only the first reason is kept.
    pub(super) fn take_out_of_service(&self, why: &str) {
        if self.out_of_service.set(why.to_owned()).is_ok() {
            tracing::info!(dir = %self.options.dir.display(), why, "log is out of service");
        }
    }

    pub(super) fn check_in_service(&self) -> Result<(), WalError> {
        self.out_of_service.get().map_or(Ok(()), |why| Err(WalError::OutOfService { why: why.clone() }))
    }

    /// Counts a call that failed because the host lacks resources, and names it in the log once a minute. Does nothing
    /// for other errors.
    pub(super) fn note_shortage(&self, error: &WalError) {
        if !matches!(error, WalError::NoResources { .. }) {
            return;
        }
        self.metrics.shortages.inc();
        let now = self.options.ambient.clock.monotonic();
        let mut named = self.shortage_named.lock().unwrap_or_else(PoisonError::into_inner);
        if named.is_none_or(|named| now.saturating_sub(named) >= SHORTAGE_NAMED_EVERY) {
            *named = Some(now);
            tracing::warn!(%error, dir = %self.options.dir.display(), "a call to a drive failed for want of file descriptors or memory; the drive stays in service, and further failures like it are not logged for a minute; raise the process's limit of open files, or its memory");
        }
    }

    /// Counts bytes as queued until the returned guard is dropped. `None` if more than `max` bytes would be queued.
    pub(super) fn queue(&self, bytes: u64, max: u64) -> Option<QueuedBytes> {
        let before = self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        let guard = QueuedBytes { total: Arc::clone(&self.queued_bytes), bytes };
        (before + bytes <= max).then_some(guard)
    }

    pub(super) fn status(&self) -> LogStatus {
        LogStatus {
            written: Lsn(self.written.load(Ordering::Acquire)),
            synced: Lsn(self.synced.load(Ordering::Acquire)),
            appends: self.counts.appends.load(Ordering::Relaxed),
            writes: self.counts.writes.load(Ordering::Relaxed),
            syncs: self.counts.syncs.load(Ordering::Relaxed),
            segments: self.table().ids(),
            has_room: !self.lacks_reserve(),
            out_of_service: self.out_of_service.get().cloned(),
        }
    }

    /// Adds the new open segment to the segments in use.
    pub(super) fn add_segment(&self, segment: &Arc<Segment>) {
        self.publish_table(self.table().with(Arc::clone(segment)), Some(segment.id()));
    }
}

/// A guard that counts bytes as queued until it is dropped.
#[derive(Debug)]
pub(super) struct QueuedBytes {
    total: Arc<AtomicU64>,
    bytes: u64,
}

impl Drop for QueuedBytes {
    fn drop(&mut self) {
        self.total.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The metrics of one log, with its labels applied.
#[derive(Debug)]
pub(super) struct LogMetrics {
    pub(super) appends: IntCounter,
    pub(super) appended_bytes: IntCounter,
    pub(super) writes: IntCounter,
    pub(super) syncs: IntCounter,
    pub(super) sync_seconds: Histogram,
    pub(super) sync_waiters: Histogram,
    pub(super) segments: IntGauge,
    pub(super) segments_free: IntGauge,
    shortages: IntCounter,
    free_bytes: IntGauge,
    total_bytes: IntGauge,
}

impl LogMetrics {
    fn resolve(options: &LogOptions) -> Self {
        let node = options.identity.node.to_string();
        let labels = [node.as_str(), options.identity.kind.label()];
        Self {
            appends: metrics::WAL_APPENDS.with_label_values(&labels),
            appended_bytes: metrics::WAL_APPENDED_BYTES.with_label_values(&labels),
            writes: metrics::WAL_WRITES.with_label_values(&labels),
            syncs: metrics::WAL_SYNCS.with_label_values(&labels),
            sync_seconds: metrics::WAL_SYNC_SECONDS.with_label_values(&labels),
            sync_waiters: metrics::WAL_SYNC_WAITERS.with_label_values(&labels),
            segments: metrics::WAL_SEGMENTS.with_label_values(&labels),
            segments_free: metrics::WAL_SEGMENTS_FREE.with_label_values(&labels),
            shortages: metrics::RESOURCE_SHORTAGES.with_label_values(&labels[..1]),
            free_bytes: metrics::DRIVE_FREE_BYTES.with_label_values(&labels[..1]),
            total_bytes: metrics::DRIVE_TOTAL_BYTES.with_label_values(&labels[..1]),
        }
    }
}

fn is_below(space: Space, percent: u64) -> bool {
    u128::from(space.free_bytes) * 100 < u128::from(space.total_bytes) * u128::from(percent)
}
