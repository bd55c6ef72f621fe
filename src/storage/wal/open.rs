//! Opening a log: sorts the files of its directory, replays its records, and determines where appends continue.

use super::format::{BLOCK, Fault, HeaderFault, SEGMENT_HEADER_BYTES, SegmentHeader, decode_segment_header, log_tag};
use super::recovery::{CorruptSpot, Replay, Replayed};
use super::segment::{FileRole, Segment, WritableSegment, file_role};
use super::{LogOptions, ReplayRule, ScannedRecord, WalError};
use crate::limits::{LOG_BATCH_BYTES_MAX, LOG_FREE_SEGMENTS_MAX};
use crate::storage::disk::{Caching, Disk, OpenMode, create_dir_durably, host_lacks_resources, rewrite_and_sync};
use crate::types::{Lsn, SegmentId};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The least size of a file in which any batch fits.
const USABLE_BYTES_MIN: u32 = 2 * BLOCK + LOG_BATCH_BYTES_MAX as u32;

/// The position at which appends continue after a replay.
#[derive(Clone, Debug)]
pub struct Resumption {
    /// The segment to append to, and the offset of its first free block; `None` if there is no segment or the last one
    /// is sealed or full.
    pub open: Option<(WritableSegment, u32)>,
    /// The empty segments after it, ready for use.
    pub ready: Vec<WritableSegment>,
    /// The position at which the log was cut; the next append must begin with a mark that says so. `None` if a scan
    /// reaches the next append without it.
    pub cut: Option<Lsn>,
    /// The end of the log's content; all of it is synced.
    pub content_end: Lsn,
    pub next_id: SegmentId,
    /// Retired files that can become segments.
    pub free: Vec<PathBuf>,
}

/// A log that was replayed and does not take appends yet.
#[derive(Debug)]
pub struct OpenedLog {
    pub disk: Arc<dyn Disk>,
    pub options: LogOptions,
    /// The rot found from the position on at which the replay began, in order.
    pub rot: Vec<CorruptSpot>,
    /// The segments up to the last one with records, in order.
    pub segments: Vec<Arc<Segment>>,
    pub resumption: Resumption,
    pub tag: u64,
}

impl OpenedLog {
    /// Returns the end of the log's content.
    pub fn end(&self) -> Lsn {
        self.resumption.content_end
    }
}

/// Opens a log, creating its directory on demand, and visits its records from `replay_from` on. The caller must know
/// that everything below `replay_from` is durable. Every visited record is durable on return, even if it had not been
/// synced before, or if a sync of it had failed.
pub fn open_log(
    disk: Arc<dyn Disk>,
    options: LogOptions,
    replay_from: Lsn,
    visit: &mut dyn FnMut(ScannedRecord),
) -> Result<OpenedLog, WalError> {
    assert!(options.segment_bytes.is_multiple_of(BLOCK), "a segment is whole blocks");
    let created = create_dir_durably(disk.as_ref(), &options.dir);
    created.map_err(|cause| WalError::io("create directory", &options.dir, &cause))?;
    let mut found = find_files(&disk, &options)?;
    // A process that renamed a segment may have been killed before it synced the directory.
    disk.sync_dir(&options.dir).map_err(|cause| WalError::io("sync directory", &options.dir, &cause))?;
    let tag = log_tag(&options.identity);
    let mut rot = check_headers(&disk, &options, &found.segments, replay_from)?;
    let last_id = found.segments.last().map(|last| last.id()).max(found.last_set_aside);
    let next_id = last_id.map_or(SegmentId(1), |last| SegmentId(last.0 + 1));
    let mut replayed = Replay::new(&found.segments, tag, &options, replay_from).run(visit)?;
    if remove_cut_segments(disk.as_ref(), &options, &mut found.segments, &replayed)? {
        replayed = Replay::new(&found.segments, tag, &options, replay_from).run(&mut |_| ())?;
    }
    rewrite_unproven(&found.segments, &replayed, replay_from, &options)?;
    rot.extend(replayed.rot.iter().cloned());
    rot.sort_by_key(|spot| spot.at);
    let mut segments = found.segments;
    let ready = take_empty(&mut segments, replayed.clear_from.segment(), &options)?;
    let resumption = Resumption {
        open: open_segment(&segments, &replayed)?,
        ready,
        cut: was_cut(&replayed).then_some(replayed.content_end),
        content_end: replayed.content_end,
        next_id,
        free: found.free,
    };
    Ok(OpenedLog { disk, options, rot, segments, resumption, tag })
}

struct FoundFiles {
    segments: Vec<Arc<Segment>>,
    last_set_aside: Option<SegmentId>,
    free: Vec<PathBuf>,
}

/// Sorts the files by role. Removes drafts, and free files that are superfluous or have the wrong size.
fn find_files(disk: &Arc<dyn Disk>, options: &LogOptions) -> Result<FoundFiles, WalError> {
    let names = disk.list(&options.dir).map_err(|cause| WalError::io("list", &options.dir, &cause))?;
    let mut found = FoundFiles { segments: Vec::new(), last_set_aside: None, free: Vec::new() };
    for name in names {
        let path = options.dir.join(&name);
        match file_role(&name) {
            FileRole::Segment(id) => found.segments.push(Arc::new(Segment::found(Arc::clone(disk), options, id)?)),
            FileRole::Free
                if found.free.len() < LOG_FREE_SEGMENTS_MAX && is_reusable(disk.as_ref(), options, &path) =>
            {
                found.free.push(path);
            }
            FileRole::Free | FileRole::Draft => {
                disk.remove(&path).map_err(|cause| WalError::io("remove", &path, &cause))?
            }
            FileRole::SetAside(id) => found.last_set_aside = found.last_set_aside.max(Some(id)),
            FileRole::Foreign => {
                tracing::warn!(path = %path.display(), "a file in the log's directory is not part of the log and is ignored")
            }
        }
    }
    found.segments.sort_by_key(|segment| segment.id());
    Ok(found)
}

fn is_reusable(disk: &dyn Disk, options: &LogOptions, path: &Path) -> bool {
    let len = disk.open(path, OpenMode::Read, Caching::Cached).and_then(|file| file.len());
    len.is_ok_and(|len| len == u64::from(options.segment_bytes))
}

/// Refuses a log of another drive or of a newer format. Returns the damaged headers, whose segments are still read.
pub(super) fn check_headers(
    disk: &Arc<dyn Disk>,
    options: &LogOptions,
    segments: &[Arc<Segment>],
    from: Lsn,
) -> Result<Vec<CorruptSpot>, WalError> {
    let mut damaged = Vec::new();
    for segment in segments.iter().filter(|segment| segment.id() >= from.segment()) {
        let mut block = options.pool.take(SEGMENT_HEADER_BYTES);
        let read = disk
            .open(segment.path(), OpenMode::Read, Caching::Direct)
            .and_then(|file| file.read_exact_at(&mut block, 0));
        let corrupt = |fault: Fault| WalError::Corrupt {
            file: segment.path().display().to_string(),
            offset: 0,
            expected: fault.expected,
            found: fault.found,
        };
        let decoded = match read {
            Ok(()) => decode_segment_header(&block),
            Err(cause) if host_lacks_resources(&cause) => return Err(WalError::io("open", segment.path(), &cause)),
            Err(cause) => Err(HeaderFault::Damaged(Fault::new("a readable segment header", cause.to_string()))),
        };
        let wanted = SegmentHeader { identity: options.identity, id: segment.id() };
        match decoded {
            Ok(header) if header == wanted => {}
            Ok(header) => {
                return Err(corrupt(Fault::new(format!("{wanted:?}"), format!("{header:?}"))));
            }
            Err(HeaderFault::Newer(fault)) => return Err(corrupt(fault)),
            Err(HeaderFault::Damaged(fault)) => {
                damaged.push(CorruptSpot::new(segment.path(), Lsn::new(segment.id(), 0), &fault))
            }
        }
    }
    Ok(damaged)
}

/// Removes the segments after the one in which the log was cut, if the log is replayed as a prefix. Their records were
/// never acknowledged and are not part of the log. They would be replayed once the segment that records the cut is
/// released.
fn remove_cut_segments(
    disk: &dyn Disk,
    options: &LogOptions,
    segments: &mut Vec<Arc<Segment>>,
    replayed: &Replayed,
) -> Result<bool, WalError> {
    let last = replayed.content_end.segment();
    if options.replay != ReplayRule::Prefix || !replayed.is_torn || last >= replayed.clear_from.segment() {
        return Ok(false);
    }
    let cut = segments.split_off(segments.partition_point(|segment| segment.id() <= last));
    for segment in cut.iter().rev() {
        tracing::info!(path = %segment.path().display(), "a segment behind the end of the log is removed");
        segment.remove()?;
    }
    disk.sync_dir(&options.dir).map_err(|cause| WalError::io("sync directory", &options.dir, &cause))?;
    Ok(!cut.is_empty())
}

/// Sets aside the segments behind the first damage of a log, at which a salvage cuts it. They would be replayed once the
/// segment that records the cut is released. `options` has `ReplayRule::Salvage`.
pub fn set_aside_after_damage(disk: &Arc<dyn Disk>, options: &LogOptions) -> Result<(), WalError> {
    let segments = find_segments(disk, options)?;
    let replayed = Replay::new(&segments, log_tag(&options.identity), options, Lsn(0)).run(&mut |_| ())?;
    let (last, clear_from) = (replayed.content_end.segment(), replayed.clear_from.segment());
    let is_behind = |segment: &&Arc<Segment>| last < segment.id() && segment.id() <= clear_from;
    let behind: Vec<_> = segments.iter().filter(is_behind).filter(|_| replayed.is_torn).collect();
    if behind.is_empty() {
        return Ok(());
    }
    for segment in behind.into_iter().rev() {
        tracing::warn!(path = %segment.path().display(), "a segment behind the damage of the log is set aside");
        segment.set_aside()?;
    }
    disk.sync_dir(&options.dir).map_err(|cause| WalError::io("sync directory", &options.dir, &cause))
}

/// Returns the segments of a log, in order; none where there is no directory.
pub(super) fn find_segments(disk: &Arc<dyn Disk>, options: &LogOptions) -> Result<Vec<Arc<Segment>>, WalError> {
    let names = match disk.list(&options.dir) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(WalError::io("list", &options.dir, &error)),
    };
    let mut segments = Vec::new();
    for name in names {
        if let FileRole::Segment(id) = file_role(&name) {
            segments.push(Arc::new(Segment::found(Arc::clone(disk), options, id)?));
        }
    }
    segments.sort_by_key(|segment| segment.id());
    Ok(segments)
}

/// Rewrites the records that no sync is known to have covered. They are part of the log from now on, so the next power
/// cut must not lose them. A sync alone would not do: if an earlier sync of these records failed, a further one skips
/// them.
fn rewrite_unproven(
    segments: &[Arc<Segment>],
    replayed: &Replayed,
    replay_from: Lsn,
    options: &LogOptions,
) -> Result<(), WalError> {
    let (from, to) = (replayed.proven_synced.max(replay_from), replayed.clear_from);
    for segment in segments.iter().filter(|segment| (from.segment()..=to.segment()).contains(&segment.id())) {
        let start = if segment.id() == from.segment() { from.offset() } else { 0 };
        let end = if segment.id() == to.segment() { to.offset() } else { segment.file_bytes() };
        if start >= end {
            continue;
        }
        let file = Arc::clone(WritableSegment::open(segment)?.file());
        let written = rewrite_and_sync(file.as_ref(), start.into()..end.into(), &options.pool);
        written.map_err(|cause| WalError::io("write and sync again", segment.path(), &cause))?;
    }
    Ok(())
}

/// Returns whether a scan would not reach the next append without a mark: because other bytes lie in between, or
/// because the last record belongs to a torn batch, so that a scan expects another record right after it.
fn was_cut(replayed: &Replayed) -> bool {
    replayed.content_end < replayed.clear_from || !replayed.content_end.offset().is_multiple_of(BLOCK)
}

/// Removes the empty segments after `last`, in which the log ends, from `segments`, and returns them opened for
/// writing. The files of those that were cut short, as a repair of the file system may leave them, are removed, and of
/// all after the first of them.
fn take_empty(
    segments: &mut Vec<Arc<Segment>>,
    last: SegmentId,
    options: &LogOptions,
) -> Result<Vec<WritableSegment>, WalError> {
    let mut empty = segments.split_off(segments.partition_point(|segment| segment.id() <= last));
    let usable = empty.iter().take_while(|segment| segment.file_bytes() >= USABLE_BYTES_MIN.min(options.segment_bytes));
    let short = empty.split_off(usable.count());
    for segment in short.iter().rev() {
        segment.remove()?;
    }
    empty.iter().map(WritableSegment::open).collect()
}

fn open_segment(segments: &[Arc<Segment>], replayed: &Replayed) -> Result<Option<(WritableSegment, u32)>, WalError> {
    let Some(last) = segments.last() else {
        return Ok(None);
    };
    let at = replayed.clear_from.offset().checked_next_multiple_of(BLOCK).unwrap_or(u32::MAX);
    if replayed.sealed || at >= last.file_bytes() {
        return Ok(None);
    }
    Ok(Some((WritableSegment::open(last)?, at)))
}

const _: () = assert!(LOG_BATCH_BYTES_MAX < u32::MAX as usize);
