//! Segment files: their names, their durable creation, and their retirement.
//!
//! A segment is created under a draft name, or from a retired file. Its header is written and synced, the file is
//! renamed to its number, and the directory is synced; only then may records be appended. A retired file is renamed,
//! and its directory synced, before its header is overwritten. So a file whose name is a number always has the header
//! of that number.

use super::format::{BLOCK, SEGMENT_HEADER_BYTES, encode_segment_header};
use super::{LogOptions, WalError};
use crate::defects::{Defect, has};
use crate::limits::LOG_ZEROS_BYTES;
use crate::storage::disk::{Caching, Disk, DiskFile, FilePlace, OpenMode};
use crate::types::SegmentId;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, IoSlice};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const SEGMENT_SUFFIX: &str = ".seg";
const DRAFT_SUFFIX: &str = ".new";
const FREE_SUFFIX: &str = ".free";
const SET_ASIDE_SUFFIX: &str = ".cut";

/// The role of a file in a log's directory, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileRole {
    Segment(SegmentId),
    /// A retired file, which can become a segment; its content is irrelevant.
    Free,
    /// An unfinished segment, left by a crash.
    Draft,
    /// A segment behind the damage at which a salvage cut the log, kept for whoever wants to look at it.
    SetAside(SegmentId),
    Foreign,
}

pub(super) fn file_role(name: &str) -> FileRole {
    let number = |suffix: &str| {
        let digits = name.strip_suffix(suffix)?;
        let well_formed = digits.len() >= 8 && digits.bytes().all(|byte| byte.is_ascii_digit());
        if well_formed { digits.parse::<u32>().ok() } else { None }
    };
    if let Some(id) = number(SEGMENT_SUFFIX) {
        FileRole::Segment(SegmentId(id))
    } else if number(FREE_SUFFIX).is_some() {
        FileRole::Free
    } else if number(DRAFT_SUFFIX).is_some() {
        FileRole::Draft
    } else if let Some(id) = number(SET_ASIDE_SUFFIX) {
        FileRole::SetAside(SegmentId(id))
    } else {
        FileRole::Foreign
    }
}

/// Returns the name of a segment's file.
pub fn segment_name(id: SegmentId) -> String {
    format!("{:08}{SEGMENT_SUFFIX}", id.0)
}

fn named(dir: &Path, id: SegmentId, suffix: &str) -> PathBuf {
    dir.join(format!("{:08}{suffix}", id.0))
}

/// A segment and the place of its file among the open files of its log. While a reference to the value exists, the file
/// is neither reused nor removed, so that it can be closed and opened again by its name.
#[derive(Debug)]
pub struct Segment {
    id: SegmentId,
    path: PathBuf,
    file_bytes: u32,
    disk: Arc<dyn Disk>,
    place: FilePlace,
}

impl Segment {
    /// Renames the segment's file, so that it is not part of the log any more. The caller syncs the directory.
    pub(super) fn set_aside(&self) -> Result<(), WalError> {
        let to = self.path.with_extension(&SET_ASIDE_SUFFIX[1..]);
        self.disk.rename(&self.path, &to).map_err(|cause| WalError::io("set aside", &self.path, &cause))
    }

    /// Removes the segment's file. The caller syncs the directory.
    pub(super) fn remove(&self) -> Result<(), WalError> {
        self.disk.remove(&self.path).map_err(|cause| WalError::io("remove", &self.path, &cause))
    }

    /// Makes the value of a segment that is in the log's directory.
    pub(super) fn found(disk: Arc<dyn Disk>, options: &LogOptions, id: SegmentId) -> Result<Self, WalError> {
        let path = named(&options.dir, id, SEGMENT_SUFFIX);
        let file =
            disk.open(&path, OpenMode::Read, Caching::Cached).map_err(|cause| WalError::io("open", &path, &cause))?;
        let len = file.len().map_err(|cause| WalError::io("stat", &path, &cause))?;
        let file_bytes = u32::try_from(len).unwrap_or(u32::MAX);
        Ok(Self { id, path, file_bytes: file_bytes - file_bytes % BLOCK, disk, place: options.open_files.place() })
    }

    pub fn id(&self) -> SegmentId {
        self.id
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The length of the file, rounded down to whole blocks.
    pub fn file_bytes(&self) -> u32 {
        self.file_bytes
    }

    /// Returns the file for reading. Opens it unless it is among the open files of the log.
    pub(super) fn readable(&self) -> Result<Arc<dyn DiskFile>, WalError> {
        self.place.file(|| self.open(OpenMode::Read)).map_err(|cause| WalError::io("open", &self.path, &cause))
    }

    fn open(&self, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(&self.path, mode, Caching::Direct)
    }
}

/// A segment with its file open for writing. The file stays open as long as a clone of this value exists, so that what
/// is written to it is also synced through it.
#[derive(Clone, Debug)]
pub struct WritableSegment {
    segment: Arc<Segment>,
    file: Arc<dyn DiskFile>,
}

impl WritableSegment {
    /// Opens the file of a segment for writing.
    pub(super) fn open(segment: &Arc<Segment>) -> Result<Self, WalError> {
        let opened = segment.open(OpenMode::Write);
        let file = opened.map_err(|cause| WalError::io("open", segment.path(), &cause))?;
        Ok(Self::new(Arc::clone(segment), file))
    }

    /// Makes the value of a segment whose file is open for writing. Readers of the segment share the file.
    fn new(segment: Arc<Segment>, file: Arc<dyn DiskFile>) -> Self {
        segment.place.keep(Arc::clone(&file));
        Self { segment, file }
    }

    pub fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    pub fn file(&self) -> &Arc<dyn DiskFile> {
        &self.file
    }
}

impl Deref for WritableSegment {
    type Target = Arc<Segment>;

    fn deref(&self) -> &Arc<Segment> {
        &self.segment
    }
}

/// The segments in use, by number. Immutable: a change makes a new table, so that readers need no lock.
#[derive(Clone, Debug, Default)]
pub struct SegmentTable {
    segments: BTreeMap<SegmentId, Arc<Segment>>,
}

impl SegmentTable {
    pub fn new(segments: impl IntoIterator<Item = Arc<Segment>>) -> Self {
        Self { segments: segments.into_iter().map(|segment| (segment.id(), segment)).collect() }
    }

    pub fn get(&self, id: SegmentId) -> Option<Arc<Segment>> {
        self.segments.get(&id).cloned()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Segment>> {
        self.segments.values()
    }

    pub fn ids(&self) -> Vec<SegmentId> {
        self.segments.keys().copied().collect()
    }

    pub fn len(&self) -> usize {
        self.segments.len()
    }

    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    pub fn with(&self, segment: Arc<Segment>) -> Self {
        let mut changed = self.clone();
        changed.segments.insert(segment.id(), segment);
        changed
    }

    pub fn without(&self, id: SegmentId) -> Self {
        let mut changed = self.clone();
        changed.segments.remove(&id);
        changed
    }
}

/// Creates segment `id`, from the retired file `recycled` if there is one. On return the file and its name are durable.
pub fn prepare_segment(
    disk: &Arc<dyn Disk>,
    options: &LogOptions,
    id: SegmentId,
    recycled: Option<&Path>,
) -> Result<WritableSegment, WalError> {
    let path = named(&options.dir, id, SEGMENT_SUFFIX);
    let draft = recycled.map_or_else(|| named(&options.dir, id, DRAFT_SUFFIX), Path::to_owned);
    let made = fill_draft(disk.as_ref(), options, id, &draft, recycled.is_none()).and_then(|file| {
        disk.rename(&draft, &path).map_err(|cause| WalError::io("rename", &draft, &cause))?;
        if has(Defect::ForgetSegmentDirectory) {
            return Ok(file);
        }
        disk.sync_dir(&options.dir).map_err(|cause| WalError::io("sync directory", &options.dir, &cause))?;
        Ok(file)
    });
    match made {
        Ok(file) => {
            let (disk, place) = (Arc::clone(disk), options.open_files.place());
            let segment = Segment { id, path, file_bytes: options.segment_bytes, disk, place };
            Ok(WritableSegment::new(Arc::new(segment), file))
        }
        Err(error) => {
            // Best effort: a file that stays is recognised as a draft or an empty segment when the log is next opened.
            if recycled.is_none() {
                let _ = disk.remove(&draft);
            }
            // The rename may have succeeded, but the name is not durable.
            let _ = disk.remove(&path);
            Err(error)
        }
    }
}

fn fill_draft(
    disk: &dyn Disk,
    options: &LogOptions,
    id: SegmentId,
    draft: &Path,
    created: bool,
) -> Result<Arc<dyn DiskFile>, WalError> {
    let io = |operation: &'static str| move |cause: io::Error| WalError::io(operation, draft, &cause);
    let mode = if created { OpenMode::CreateNew } else { OpenMode::Write };
    let file = disk.open(draft, mode, Caching::Direct).map_err(io("open"))?;
    if created {
        file.allocate(u64::from(options.segment_bytes)).map_err(io("allocate"))?;
    }
    if created && options.zeroed {
        let zeros = options.pool.take_zeroed((options.segment_bytes as usize).min(LOG_ZEROS_BYTES));
        let mut at = 0;
        while at < options.segment_bytes as usize {
            let len = zeros.len().min(options.segment_bytes as usize - at);
            file.write_all_at(&[IoSlice::new(&zeros[..len])], at as u64).map_err(io("write"))?;
            at += len;
        }
    }
    let mut header = options.pool.take(SEGMENT_HEADER_BYTES);
    encode_segment_header(&options.identity, id, &mut header);
    file.write_all_at(&[IoSlice::new(&header)], 0).map_err(io("write"))?;
    file.sync_data().map_err(io("sync"))?;
    Ok(file)
}

/// Removes a segment from the log for good. Its file is kept for reuse, and its path returned, or removed. No other
/// reference to the segment may exist. After a failure it may be called again.
pub fn retire_segment(
    disk: &dyn Disk,
    options: &LogOptions,
    segment: &Segment,
    keep: bool,
) -> Result<Option<PathBuf>, WalError> {
    let kept =
        (keep && segment.file_bytes == options.segment_bytes).then(|| named(&options.dir, segment.id, FREE_SUFFIX));
    let (operation, outcome) = match &kept {
        Some(free) => ("rename", disk.rename(&segment.path, free)),
        None => ("remove", disk.remove(&segment.path)),
    };
    // An earlier attempt may have renamed or removed the file, and then failed to sync the directory.
    let was_gone = outcome.as_ref().is_err_and(|cause| cause.kind() == ErrorKind::NotFound);
    if let Err(cause) = outcome
        && !was_gone
    {
        return Err(WalError::io(operation, &segment.path, &cause));
    }
    let free = named(&options.dir, segment.id, FREE_SUFFIX);
    if was_gone && kept.is_none() && disk.exists(&free).unwrap_or(false) {
        disk.remove(&free).map_err(|cause| WalError::io("remove", &free, &cause))?;
    }
    disk.sync_dir(&options.dir).map_err(|cause| WalError::io("sync directory", &options.dir, &cause))?;
    Ok(kept.filter(|free| !was_gone || disk.exists(free).unwrap_or(false)))
}
