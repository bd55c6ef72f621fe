//! Judging a bad spot by what stands after it. Each record says through where the log was known to be synced when it was
//! written: a spot below that was whole once and has rotted; a spot that nobody vouches for was never acknowledged.

use super::format::{EntryKind, RecordHeader};
use super::reader::SegmentReader;
use super::segment::Segment;
use super::{LogOptions, WalError};
use crate::types::Lsn;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It was synced once.
    Rot,
    /// An earlier recovery cut the log here; it goes on at this position.
    Cut { resume: Lsn },
    /// Not known to have been synced, as nothing after it was.
    Torn,
}

/// What is known so far about the log's tail.
pub(super) struct Lookahead<'a> {
    segments: &'a [Arc<Segment>],
    tag: u64,
    options: &'a LogOptions,
    /// Everything below was synced once.
    vouched: Lsn,
    /// A cut known from a `Resume` or `Seal`: from where, and where the log goes on.
    cut: Option<(Lsn, Lsn)>,
    /// The first spot that nobody vouches for.
    torn: Option<Lsn>,
    /// End of the last whole record header met, in order of positions.
    end: Lsn,
}

impl<'a> Lookahead<'a> {
    pub(super) fn new(segments: &'a [Arc<Segment>], tag: u64, options: &'a LogOptions, start: Lsn) -> Self {
        Self { segments, tag, options, vouched: Lsn(0), cut: None, torn: None, end: start }
    }

    /// Takes notice of a whole header.
    pub(super) fn note(&mut self, header: &RecordHeader) {
        self.vouched = self.vouched.max(header.durable_through);
        self.end = self.end.max(Lsn::new(header.lsn.segment(), header.next_offset()));
        if matches!(header.kind, EntryKind::Resume | EntryKind::Seal) && header.origin < header.lsn {
            self.cut = Some((header.origin, header.lsn));
        }
    }

    /// The first torn spot, if there is one.
    pub(super) fn torn(&self) -> Option<Lsn> {
        self.torn
    }

    pub(super) fn vouched(&self) -> Lsn {
        self.vouched
    }

    /// Where nothing of the log stands any more, nor anything that could be taken for it.
    pub(super) fn end(&self) -> Lsn {
        self.end
    }

    /// Judges the spot at `spot` by the records from `after` on.
    pub(super) fn judge(&mut self, spot: Lsn, after: Lsn) -> Result<Verdict, WalError> {
        if self.torn.is_some() {
            return Ok(Verdict::Torn);
        }
        if let Some(resume) = self.known_cut(spot) {
            return Ok(Verdict::Cut { resume });
        }
        if spot < self.vouched {
            return Ok(Verdict::Rot);
        }
        let later: Vec<Arc<Segment>> =
            self.segments.iter().filter(|segment| segment.id() >= after.segment()).cloned().collect();
        for segment in later {
            let mut offset = if segment.id() == after.segment() { after.offset() } else { 0 };
            let mut reader = SegmentReader::new(segment, self.tag, self.options);
            while let Some(header) = reader.next_header(offset)? {
                self.note(&header);
                if let Some(resume) = self.known_cut(spot) {
                    return Ok(Verdict::Cut { resume });
                }
                if header.durable_through > spot {
                    return Ok(Verdict::Rot);
                }
                offset = header.next_offset();
            }
        }
        self.torn = Some(spot);
        Ok(Verdict::Torn)
    }

    fn known_cut(&self, spot: Lsn) -> Option<Lsn> {
        let (from, resume) = self.cut?;
        (from <= spot && spot < resume).then_some(resume)
    }
}
