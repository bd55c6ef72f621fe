//! The replay of a log from a position: decides which records are delivered, which bad spots are reported, and where
//! the log ends. A replay writes nothing, so a second one has the same result.

use super::format::{EntryKind, Fault, RecordHeader, SEGMENT_HEADER_BYTES};
use super::lookahead::{BadSpot, Lookahead, Verdict};
use super::segment::Segment;
use super::segment_reader::{Found, SegmentReader};
use super::{Location, LogOptions, RecordKey, RecordKind, ReplayRule, ScannedRecord, WalError};
use crate::types::{Lsn, SegmentId};
use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;

const FIRST_RECORD: u32 = SEGMENT_HEADER_BYTES as u32;

/// A bad spot in a log: a position at which a record is expected and none is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorruptSpot {
    pub file: String,
    pub at: Lsn,
    pub expected: String,
    pub found: String,
    /// The lost record, if its header is valid and only its body is not.
    pub record: Option<LostRecord>,
}

/// A record whose body is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostRecord {
    pub kind: RecordKind,
    pub key: RecordKey,
    pub origin: Lsn,
}

impl CorruptSpot {
    pub(super) fn new(path: &Path, at: Lsn, fault: &Fault) -> Self {
        let (expected, found) = (fault.expected.clone(), fault.found.clone());
        Self { file: path.display().to_string(), at, expected, found, record: None }
    }
}

/// The result of a replay.
pub(super) struct Replayed {
    pub(super) rot: Vec<CorruptSpot>,
    /// The torn spots: those that are not known to have been synced. Collected only with `ReplayRule::EveryValid`.
    pub(super) torn: Vec<CorruptSpot>,
    /// The end of the log's content.
    pub(super) content_end: Lsn,
    /// True if the content ends at a torn spot.
    pub(super) is_torn: bool,
    /// The position after which nothing looks like a record: appends continue at the next block.
    pub(super) clear_from: Lsn,
    /// True if the segment of `clear_from` is sealed.
    pub(super) sealed: bool,
    /// The position below which everything was synced before.
    pub(super) proven_synced: Lsn,
}

/// The position at which the replay continues.
enum Next {
    Offset(u32),
    /// The first record of the next segment.
    Segment,
    Position(Lsn),
    End,
}

pub(super) struct Replay<'a> {
    segments: &'a [Arc<Segment>],
    options: &'a LogOptions,
    tag: u64,
    from: Lsn,
    ahead: Lookahead<'a>,
    rot: Vec<CorruptSpot>,
    torn: Vec<CorruptSpot>,
    delivering: bool,
    /// The end of the last record that was scanned.
    scanned_end: Lsn,
    /// The last segment whose seal was scanned.
    sealed: Option<SegmentId>,
}

impl<'a> Replay<'a> {
    /// `segments` are all segments of the log, in order; a new log has none.
    pub(super) fn new(segments: &'a [Arc<Segment>], tag: u64, options: &'a LogOptions, from: Lsn) -> Self {
        Self {
            segments,
            options,
            tag,
            from,
            ahead: Lookahead::new(segments, tag, options, Lsn(0)),
            rot: Vec::new(),
            torn: Vec::new(),
            delivering: true,
            scanned_end: Lsn(0),
            sealed: None,
        }
    }

    pub(super) fn run(mut self, visit: &mut dyn FnMut(ScannedRecord)) -> Result<Replayed, WalError> {
        let (mut index, mut offset) = self.start()?;
        self.scanned_end = self.segments.get(index).map_or(Lsn(0), |segment| Lsn::new(segment.id(), offset));
        while let Some(segment) = self.segments.get(index) {
            let mut reader = SegmentReader::new(Arc::clone(segment), self.tag, self.options);
            match self.scan_segment(&mut reader, offset, visit)? {
                Next::Position(at) => {
                    index = self.segments.partition_point(|segment| segment.id() < at.segment());
                    offset = at.offset();
                }
                Next::Segment | Next::Offset(_) => {
                    index += 1;
                    offset = FIRST_RECORD;
                }
                Next::End => break,
            }
        }
        let content_end = self.ahead.torn().unwrap_or(self.scanned_end);
        let clear_from = self.ahead.end().max(self.scanned_end);
        Ok(Replayed {
            rot: self.rot,
            torn: self.torn,
            content_end,
            is_torn: self.ahead.torn().is_some(),
            clear_from,
            sealed: self.sealed == Some(clear_from.segment()),
            proven_synced: self.ahead.proven_synced(),
        })
    }

    /// Returns the segment index and offset at which to begin: those of `from` if a record begins or the log ends
    /// there, else the first record of its segment.
    fn start(&self) -> Result<(usize, u32), WalError> {
        let last = self.segments.len().saturating_sub(1);
        let index = self.segments.partition_point(|segment| segment.id() < self.from.segment()).min(last);
        let Some(segment) = self.segments.get(index) else {
            return Ok((0, FIRST_RECORD));
        };
        let offset = self.from.offset();
        if segment.id() != self.from.segment() || offset <= FIRST_RECORD || offset > segment.file_bytes() {
            return Ok((index, FIRST_RECORD));
        }
        let mut reader = SegmentReader::new(Arc::clone(segment), self.tag, self.options);
        let begins = matches!(reader.record_at(offset)?, Found::Record(..));
        let usable = begins || (offset.is_multiple_of(super::format::BLOCK) && reader.next_header(offset)?.is_none());
        Ok((index, if usable { offset } else { FIRST_RECORD }))
    }

    fn scan_segment(
        &mut self,
        reader: &mut SegmentReader,
        from: u32,
        visit: &mut dyn FnMut(ScannedRecord),
    ) -> Result<Next, WalError> {
        let mut offset = from;
        loop {
            if !reader.has_room_at(offset) {
                return Ok(Next::Segment);
            }
            let next = match reader.record_at(offset)? {
                Found::Record(header, body) => self.take(&header, body, visit),
                Found::BadBody(header, fault) => {
                    self.ahead.note(&header);
                    self.bad_spot(reader, offset, header.next_offset(), &fault, lost(&header))?
                }
                Found::Nothing(fault) => self.bad_spot(reader, offset, offset + 1, &fault, None)?,
            };
            match next {
                Next::Offset(at) => offset = at,
                elsewhere => return Ok(elsewhere),
            }
        }
    }

    fn take(&mut self, header: &RecordHeader, body: Bytes, visit: &mut dyn FnMut(ScannedRecord)) -> Next {
        self.ahead.note(header);
        let next = header.next_offset();
        self.scanned_end = Lsn::new(header.lsn.segment(), next);
        match header.kind {
            EntryKind::Seal => {
                self.sealed = Some(header.lsn.segment());
                return Next::Segment;
            }
            EntryKind::Resume | EntryKind::Synced => {}
            EntryKind::User(kind) => {
                if self.delivering && header.lsn >= self.from {
                    visit(scanned(kind, header, body));
                }
            }
        }
        Next::Offset(next)
    }

    /// Handles a bad spot at `offset`, after which records may follow from `after` on.
    fn bad_spot(
        &mut self,
        reader: &mut SegmentReader,
        offset: u32,
        after: u32,
        fault: &Fault,
        record: Option<LostRecord>,
    ) -> Result<Next, WalError> {
        let spot = BadSpot {
            at: reader.lsn(offset),
            after: reader.lsn(after),
            unreadable: fault.unreadable,
            blank: reader.is_blank(offset)?,
        };
        let verdict = self.ahead.judge(&spot)?;
        let spot = spot.at;
        match (verdict, self.options.replay) {
            (Verdict::Rot, rule) => {
                self.rot.push(CorruptSpot { record, ..CorruptSpot::new(reader.segment().path(), spot, fault) });
                self.delivering &= matches!(rule, ReplayRule::EveryValid | ReplayRule::PastRot);
            }
            (Verdict::Torn, ReplayRule::EveryValid) => {
                self.torn.push(CorruptSpot { record, ..CorruptSpot::new(reader.segment().path(), spot, fault) });
            }
            (Verdict::Cut { .. }, ReplayRule::EveryValid) => {}
            (Verdict::Torn, _) => return Ok(Next::End),
            (Verdict::Cut { resume }, _) => return Ok(Next::Position(resume)),
        }
        Ok(reader.next_header(after)?.map_or(Next::Segment, |header| Next::Offset(header.lsn.offset())))
    }
}

fn lost(header: &RecordHeader) -> Option<LostRecord> {
    let EntryKind::User(kind) = header.kind else { return None };
    Some(LostRecord { kind, key: header.key, origin: header.origin })
}

pub(super) fn scanned(kind: RecordKind, header: &RecordHeader, body: Bytes) -> ScannedRecord {
    ScannedRecord {
        kind,
        key: header.key,
        origin: header.origin,
        at: Location { lsn: header.lsn, body_bytes: header.body_bytes },
        footprint_bytes: header.next_offset() - header.lsn.offset(),
        durable_through: header.durable_through,
        body,
    }
}
