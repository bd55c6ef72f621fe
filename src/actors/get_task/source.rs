//! `Source`: splits a range of an object version into units of stripes, in order. The object is in one blob, or in the
//! blobs of its parts, whose rows are looked up when the read begins. No view of the metadata is kept meanwhile, as the
//! tables could not be compacted while a slow client reads.

use super::fetch::BlobRead;
use super::sealed;
use crate::actors::request::{ByteRange, RequestContext, StoreError};
use crate::limits::GET_READ_STRIPES;
use crate::storage::meta::record::{BlobRef, PartRow};
use crate::storage::meta::view::MetaView;
use crate::storage::sealing::{DataKey, Layout, Opener};
use crate::types::ManifestId;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// The number of part rows in a page: a range within a few parts looks up one page.
const PARTS_PAGE: usize = 32;
/// The number of parts that are looked up before other tasks of the thread get a turn.
const PARTS_BETWEEN_YIELDS: usize = 8 * PARTS_PAGE;
/// The most memory of a part that is still to be read.
pub(super) const RUN_BYTES: usize = size_of::<(Run, Range<u64>)>();

/// Some stripes of one blob that are fetched together.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) blob: Arc<BlobRead>,
    pub(super) stripes: Range<u32>,
    /// The wanted range of the blob's bytes; the part of it outside of `stripes` belongs to other units.
    pub(super) bytes: Range<u64>,
    /// The opener for this and the following units of the blob; only in the first unit of an encrypted blob.
    pub(super) opener: Option<Opener>,
}

/// The part of an object that is in one blob.
#[derive(Debug)]
pub(super) struct Run {
    blob: BlobRef,
    /// The part number in the AEAD nonce; unused without encryption.
    part: u16,
    /// The size without encryption.
    size_bytes: u64,
}

/// Yields the units of a range, in order.
#[derive(Debug)]
pub(super) struct Source {
    context: Arc<RequestContext>,
    /// The time of the view in which the object was looked up, by the monotonic clock.
    as_of: Duration,
    /// The data key of an encrypted object.
    key: Option<DataKey>,
    /// The rest of the blob that is being split.
    current: Option<Unit>,
    /// The parts that follow, each with its wanted bytes.
    parts: VecDeque<(Run, Range<u64>)>,
}

/// The rest of a range of an object with parts.
struct Parts<'a> {
    view: &'a MetaView,
    id: ManifestId,
    page: VecDeque<PartRow>,
    /// The bytes of the object that are still wanted.
    range: ByteRange,
}

impl Source {
    pub(super) fn of_blob(
        context: &Arc<RequestContext>,
        view: &MetaView,
        (blob, size_bytes): (BlobRef, u64),
        range: ByteRange,
        key: Option<DataKey>,
    ) -> Result<Self, StoreError> {
        let mut source = Self::new(context, key);
        source.begin(view, source.as_of, Run { blob, part: 1, size_bytes }, range.start..range.end)?;
        Ok(source)
    }

    pub(super) async fn of_parts(
        context: &Arc<RequestContext>,
        view: &MetaView,
        id: ManifestId,
        range: ByteRange,
        key: Option<DataKey>,
    ) -> Result<Self, StoreError> {
        let mut source = Self::new(context, key);
        let layout = source.key.as_ref().map(DataKey::layout);
        let mut parts = Parts { view, id, page: VecDeque::new(), range };
        while let Some(next) = parts.next(layout)? {
            source.parts.push_back(next);
            // An object may have ten thousand parts.
            if source.parts.len().is_multiple_of(PARTS_BETWEEN_YIELDS) {
                tokio::task::yield_now().await;
            }
        }
        if let Some((run, bytes)) = source.parts.pop_front() {
            source.begin(view, source.as_of, run, bytes)?;
        }
        Ok(source)
    }

    fn new(context: &Arc<RequestContext>, key: Option<DataKey>) -> Self {
        let as_of = context.ambient.clock.monotonic();
        Self { context: Arc::clone(context), as_of, key, current: None, parts: VecDeque::new() }
    }

    /// Returns the next unit; `None` after the last.
    pub(super) async fn next(&mut self) -> Result<Option<Unit>, StoreError> {
        loop {
            if let Some(rest) = &mut self.current {
                let start = rest.stripes.start;
                let end = rest.stripes.end.min(start.saturating_add(GET_READ_STRIPES as u32));
                if start < end {
                    rest.stripes.start = end;
                    return Ok(Some(Unit {
                        blob: Arc::clone(&rest.blob),
                        stripes: start..end,
                        bytes: rest.bytes.clone(),
                        opener: rest.opener.take(),
                    }));
                }
                self.current = None;
            }
            if self.parts.is_empty() {
                return Ok(None);
            }
            let (view, as_of) = self.view().await?;
            let Some((run, bytes)) = self.parts.pop_front() else { return Ok(None) };
            self.begin(&view, as_of, run, bytes)?;
        }
    }

    /// Returns a view for the placement of the next blob, and a time that it is not older than. This host's own tables
    /// are at least as recent as the view in which the object was looked up.
    async fn view(&self) -> Result<(MetaView, Duration), StoreError> {
        match self.context.metadata.local() {
            Some(view) => Ok((view, self.as_of)),
            None => {
                let as_of = self.context.ambient.clock.monotonic();
                Ok((self.context.metadata.read().await?, as_of))
            }
        }
    }

    /// Starts on a run. `bytes` is the wanted range of its bytes without encryption, and `view` is of the time `as_of`.
    fn begin(&mut self, view: &MetaView, as_of: Duration, run: Run, bytes: Range<u64>) -> Result<(), StoreError> {
        let Run { blob, part, size_bytes } = run;
        let open = |key: &DataKey| sealed::opener(key, part, blob.id, size_bytes, bytes.clone());
        let opener = self.key.as_ref().map(open);
        let bytes = opener.as_ref().map_or(bytes, Opener::sealed_range);
        let blob = Arc::new(BlobRead::new(&self.context, view, as_of, blob)?);
        let stripes = blob.layout.stripes_of(bytes.clone());
        self.current = Some(Unit { blob, stripes, bytes, opener });
        Ok(())
    }
}

impl Parts<'_> {
    /// Returns the run with the next wanted bytes, and their range in it.
    fn next(&mut self, layout: Option<Layout>) -> Result<Option<(Run, Range<u64>)>, StoreError> {
        while self.range.start < self.range.end {
            if self.page.is_empty() {
                self.page = self.view.parts_from(self.id, self.range.start, PARTS_PAGE)?.into();
            }
            let Some(part) = self.page.pop_front() else { return Err(self.gone()) };
            let end = part.offset_bytes.saturating_add(part.size_bytes);
            if part.size_bytes == 0 || end <= self.range.start {
                continue;
            }
            let Some(blob) = part.blob else { return Err(self.malformed(part.number)) };
            let stored_bytes = sealed::stored_bytes(layout, part.size_bytes);
            if part.offset_bytes > self.range.start || blob.size_bytes != stored_bytes {
                return Err(self.malformed(part.number));
            }
            let bytes = self.range.start - part.offset_bytes..self.range.end.min(end) - part.offset_bytes;
            self.range.start = end.min(self.range.end);
            return Ok(Some((Run { blob, part: part.number, size_bytes: part.size_bytes }, bytes)));
        }
        Ok(None)
    }

    fn gone(&self) -> StoreError {
        StoreError::Unavailable { why: "the object was replaced while it was read".to_owned() }
    }

    fn malformed(&self, part: u16) -> StoreError {
        StoreError::Internal { why: format!("the record of part {part} of {} is malformed", self.id) }
    }
}
