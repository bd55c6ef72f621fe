//! The judgement of a bad spot in a log by the records after it. Each record contains the position through which the
//! log was known to be synced when the record was written. A bad spot below such a position was valid once and has
//! rotted. A bad spot that no later record proves synced was never acknowledged. Blocks that the drive cannot read may
//! be either; they count as rot.

use super::format::{EntryKind, RecordHeader};
use super::segment::Segment;
use super::segment_reader::SegmentReader;
use super::{LogOptions, ReplayRule, WalError};
use crate::types::Lsn;
use std::sync::Arc;

/// The judgement of a bad spot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The spot was synced once, or this cannot be ruled out.
    Rot,
    /// An earlier recovery cut the log here; the log continues at `resume`.
    Cut { resume: Lsn },
    /// The spot is not known to have been synced, nor is anything after it.
    Torn,
}

/// A position at which a record is expected and none is valid.
pub(super) struct BadSpot {
    pub(super) at: Lsn,
    /// The position from which on further records may follow.
    pub(super) after: Lsn,
    /// True if the drive cannot read the spot.
    pub(super) unreadable: bool,
    /// True if the rest of the block is zeros, so that nothing was written there.
    pub(super) blank: bool,
}

/// The knowledge about the log's tail, as far as it was read.
pub(super) struct Lookahead<'a> {
    segments: &'a [Arc<Segment>],
    tag: u64,
    options: &'a LogOptions,
    /// The position below which everything was synced once.
    proven_synced: Lsn,
    /// The last cut recorded by a `Resume` or `Seal`: where the log was cut, and where it continues.
    cut: Option<(Lsn, Lsn)>,
    /// The first torn spot.
    torn: Option<Lsn>,
    /// The greatest end of a record whose header is valid.
    end: Lsn,
}

impl<'a> Lookahead<'a> {
    pub(super) fn new(segments: &'a [Arc<Segment>], tag: u64, options: &'a LogOptions, start: Lsn) -> Self {
        Self { segments, tag, options, proven_synced: Lsn(0), cut: None, torn: None, end: start }
    }

    /// Evaluates a valid header.
    pub(super) fn note(&mut self, header: &RecordHeader) {
        self.proven_synced = self.proven_synced.max(header.durable_through);
        self.end = self.end.max(Lsn::new(header.lsn.segment(), header.next_offset()));
        if cuts(header) {
            self.cut = Some((header.origin, header.lsn));
        }
    }

    /// The first torn spot, if there is one.
    pub(super) fn torn(&self) -> Option<Lsn> {
        self.torn
    }

    pub(super) fn proven_synced(&self) -> Lsn {
        self.proven_synced
    }

    /// Returns the position after which nothing looks like a record of the log.
    pub(super) fn end(&self) -> Lsn {
        self.end
    }

    /// Judges a bad spot by the records after it.
    pub(super) fn judge(&mut self, bad: &BadSpot) -> Result<Verdict, WalError> {
        let (spot, after) = (bad.at, bad.after);
        if self.torn.is_some() {
            return Ok(Verdict::Torn);
        }
        if let Some(resume) = self.known_cut(spot) {
            return Ok(Verdict::Cut { resume });
        }
        let cuts_rot = self.options.replay == ReplayRule::Salvage;
        if spot < self.proven_synced && !cuts_rot {
            return Ok(Verdict::Rot);
        }
        let (mut undecided, mut is_proven) = (bad.unreadable, false);
        let later: Vec<Arc<Segment>> =
            self.segments.iter().filter(|segment| segment.id() >= after.segment()).cloned().collect();
        for segment in later {
            let mut offset = if segment.id() == after.segment() { after.offset() } else { 0 };
            let mut reader = SegmentReader::new(segment, self.tag, self.options);
            while let Some(header) = reader.next_header(offset)? {
                offset = header.next_offset();
                if is_proven {
                    // A salvage may have cut the log at a spot that was synced.
                    if cuts(&header) && header.origin <= spot {
                        return Ok(Verdict::Cut { resume: header.lsn });
                    }
                    continue;
                }
                self.note(&header);
                if let Some(resume) = self.known_cut(spot) {
                    return Ok(Verdict::Cut { resume });
                }
                if header.durable_through > spot && !cuts_rot {
                    if self.options.replay == ReplayRule::EveryValid {
                        return Ok(Verdict::Rot);
                    }
                    is_proven = true;
                }
            }
            // A record that proves the spot synced may be in a block that the drive cannot read.
            undecided |= !bad.blank && reader.has_unreadable();
        }
        if is_proven || (undecided && !cuts_rot) {
            return Ok(Verdict::Rot);
        }
        self.torn = Some(spot);
        Ok(Verdict::Torn)
    }

    fn known_cut(&self, spot: Lsn) -> Option<Lsn> {
        let (from, resume) = self.cut?;
        (from <= spot && spot < resume).then_some(resume)
    }
}

/// Returns whether the record says that recovery cut the log at the record's origin.
fn cuts(header: &RecordHeader) -> bool {
    matches!(header.kind, EntryKind::Resume | EntryKind::Seal) && header.origin < header.lsn
}
