//! The compactor's choice of the log segment to empty next, made from the live bytes of each segment. A pure function.

use crate::storage::shard_index::SegmentUse;
use crate::types::SegmentId;
use std::collections::BTreeSet;

/// The urgency of freeing space on a drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    None,
    /// Free space is below the warning watermark.
    Low,
    /// The drive refuses writes: freeing space is worth almost any copying.
    Exhausted,
}

impl Pressure {
    /// The least share of dead bytes, in percent of a segment, that makes emptying it worth the copying.
    const fn dead_percent_min(self) -> u64 {
        match self {
            Self::None => 50,
            Self::Low => 20,
            Self::Exhausted => 5,
        }
    }
}

/// The use of one segment: the input of `choose`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentLiveness {
    pub id: SegmentId,
    /// Bytes written to the segment: its size if it is full.
    pub written_bytes: u64,
    pub used: SegmentUse,
}

impl SegmentLiveness {
    fn dead_bytes(&self) -> u64 {
        self.written_bytes.saturating_sub(self.used.live_bytes)
    }

    fn is_worth_emptying(&self, pressure: Pressure) -> bool {
        let dead = self.dead_bytes();
        dead > 0 && dead * 100 >= self.written_bytes.saturating_mul(pressure.dead_percent_min())
    }
}

/// The next action of the compactor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    Nothing,
    /// Copy the live records out of this sealed segment, then recycle it.
    Empty(SegmentId),
    /// Seal the open segment, which is mostly dead, so that it can be emptied.
    SealOpen,
}

/// Chooses among the sealed segments and the open one. Segments in `held` cannot be emptied for now.
///
/// The segment with the most dead bytes goes first; in a tie, the oldest. The open segment is sealed only if no sealed
/// one is worth emptying and at least `seal_dead_bytes_min` of it are dead. Tombstones count as live, as they would be
/// copied.
pub fn choose(
    sealed: &[SegmentLiveness],
    open: Option<&SegmentLiveness>,
    pressure: Pressure,
    held: &BTreeSet<SegmentId>,
    seal_dead_bytes_min: u64,
) -> Choice {
    let worth = sealed.iter().filter(|segment| !held.contains(&segment.id) && segment.is_worth_emptying(pressure));
    if let Some(best) = worth.max_by_key(|segment| (segment.dead_bytes(), std::cmp::Reverse(segment.id))) {
        return Choice::Empty(best.id);
    }
    match open {
        Some(open) if open.dead_bytes() >= seal_dead_bytes_min.max(1) && open.is_worth_emptying(pressure) => {
            Choice::SealOpen
        }
        _ => Choice::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::{Choice, Pressure, SegmentLiveness, choose};
    use crate::storage::shard_index::SegmentUse;
    use crate::types::SegmentId;
    use std::collections::BTreeSet;

    fn segment(id: u32, written_bytes: u64, live_bytes: u64) -> SegmentLiveness {
        let used = SegmentUse { chunks: u64::from(live_bytes > 0), tombstones: 0, live_bytes };
        SegmentLiveness { id: SegmentId(id), written_bytes, used }
    }

    #[test]
    fn the_most_dead_segment_is_emptied_first_and_the_oldest_of_equals() {
        let sealed = [segment(1, 100, 45), segment(2, 100, 10), segment(3, 100, 10), segment(4, 100, 60)];
        let none = BTreeSet::new();
        assert_eq!(choose(&sealed, None, Pressure::None, &none, 1), Choice::Empty(SegmentId(2)));
        let held = BTreeSet::from([SegmentId(2), SegmentId(3)]);
        assert_eq!(choose(&sealed, None, Pressure::None, &held, 1), Choice::Empty(SegmentId(1)));
    }

    #[test]
    fn a_mostly_live_segment_is_emptied_only_when_space_is_low() {
        let sealed = [segment(1, 100, 70)];
        let none = BTreeSet::new();
        assert_eq!(choose(&sealed, None, Pressure::None, &none, 1), Choice::Nothing);
        assert_eq!(choose(&sealed, None, Pressure::Low, &none, 1), Choice::Empty(SegmentId(1)));
        assert_eq!(choose(&[segment(1, 100, 100)], None, Pressure::Exhausted, &none, 1), Choice::Nothing);
    }

    #[test]
    fn w12_a_mostly_dead_open_segment_is_sealed_when_nothing_else_is_worth_it() {
        let none = BTreeSet::new();
        let open = segment(5, 100, 10);
        assert_eq!(choose(&[], Some(&open), Pressure::None, &none, 50), Choice::SealOpen);
        assert_eq!(
            choose(&[], Some(&open), Pressure::None, &none, 91),
            Choice::Nothing,
            "too little to be worth a file"
        );
        assert_eq!(choose(&[segment(1, 100, 0)], Some(&open), Pressure::None, &none, 50), Choice::Empty(SegmentId(1)));
        assert_eq!(choose(&[], Some(&segment(5, 0, 0)), Pressure::Exhausted, &none, 0), Choice::Nothing);
    }
}
