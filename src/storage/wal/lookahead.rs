//! Judging a bad spot by what stands after it. Each record says through where the log was known to be synced when it was
//! written: a spot below that was whole once and has rotted; a spot that nothing proves synced was never acknowledged. What
//! the drive cannot read may have been either, and is never taken for the latter.

use super::format::{EntryKind, RecordHeader};
use super::segment::Segment;
use super::segment_reader::SegmentReader;
use super::{LogOptions, ReplayRule, WalError};
use crate::types::Lsn;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The spot was synced once, or that cannot be ruled out.
    Rot,
    /// An earlier recovery cut the log here; it goes on at this position.
    Cut { resume: Lsn },
    /// A record not known to have been synced, as nothing after it was.
    Torn,
}

/// A place where no whole record stands.
pub(super) struct BadSpot {
    pub(super) at: Lsn,
    /// Records may follow from here on.
    pub(super) after: Lsn,
    /// The drive cannot read it.
    pub(super) unreadable: bool,
    /// The rest of its block is zeros: nothing was ever written there.
    pub(super) blank: bool,
}

/// The state of the log's tail, as far as it was read.
pub(super) struct Lookahead<'a> {
    segments: &'a [Arc<Segment>],
    tag: u64,
    options: &'a LogOptions,
    /// Everything below was synced once.
    proven_synced: Lsn,
    /// A cut known from a `Resume` or `Seal`: from where, and where the log goes on.
    cut: Option<(Lsn, Lsn)>,
    /// The first spot that nothing proves synced.
    torn: Option<Lsn>,
    /// End of the last whole record header met, in order of positions.
    end: Lsn,
}

impl<'a> Lookahead<'a> {
    pub(super) fn new(segments: &'a [Arc<Segment>], tag: u64, options: &'a LogOptions, start: Lsn) -> Self {
        Self { segments, tag, options, proven_synced: Lsn(0), cut: None, torn: None, end: start }
    }

    /// Takes notice of a whole header.
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

    /// Returns the position after which there is nothing of the log, nor anything that could be taken for it.
    pub(super) fn end(&self) -> Lsn {
        self.end
    }

    /// Judges a spot by the records behind it.
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
                    // A salvage may have cut what was whole once.
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
            // The record that proves the spot synced may be where the drive cannot read.
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

/// Returns whether the record says that the log was cut at its origin.
fn cuts(header: &RecordHeader) -> bool {
    matches!(header.kind, EntryKind::Resume | EntryKind::Seal) && header.origin < header.lsn
}
