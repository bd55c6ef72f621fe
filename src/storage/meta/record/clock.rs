//! The confirmed time: its row, and the rules by which a command advances it.

use crate::limits::{CLOCK_ADVANCE_MAX, CLOCKS_AGREE_WITHIN};
use crate::types::UnixMs;
use serde::{Deserialize, Serialize};

/// The confirmed time: a moment that has certainly passed. It decides when a lock ends or an object expires, instead of
/// any host's clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockRecord {
    pub confirmed: UnixMs,
    /// The number of times that an operator has set the clock. Times that were counted in an earlier era are void.
    pub era: u64,
    /// The last time that the clock was set rather than counted.
    pub set: ClockSetting,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockSetting {
    pub from: UnixMs,
    pub to: UnixMs,
    pub by: ClockSource,
}

/// The source that confirms a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClockSource {
    /// The monotonic clocks of hosts, which count on from the time that was confirmed before.
    Counted,
    /// The majority of hosts, whose clocks agree: at the formation, or after a time in which no host counted.
    Hosts,
    Operator,
}

/// A change of the confirmed time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdvanceClock {
    pub to: UnixMs,
    /// The era in which `to` was counted. Ignored if an operator sets the clock, which begins the next era.
    pub era: u64,
    pub by: ClockSource,
}

impl ClockRecord {
    /// Creates the record with the first time that is confirmed.
    pub fn first(AdvanceClock { to, by, .. }: AdvanceClock) -> Self {
        Self { confirmed: to, era: 0, set: ClockSetting { from: UnixMs(0), to, by } }
    }

    /// Advances the clock to the time that a command carries, if that is at most an hour ahead; returns whether it did.
    /// A larger step requires an `AdvanceClock`, which names who confirms it.
    pub fn take(&mut self, brought: UnixMs) -> bool {
        let furthest = self.confirmed.0.saturating_add(CLOCK_ADVANCE_MAX.as_millis() as u64);
        let taken = brought > self.confirmed && brought.0 <= furthest && !self.may_be_void(brought);
        if taken {
            self.confirmed = brought;
        }
        taken
    }

    /// Returns whether a command's time may have been counted before an operator set the clock back: a command does not
    /// name the era, and its leader may not have learnt of the change yet. Such a time is about the one from which the
    /// clock was set, or later. Until the clock has come there again, only an `AdvanceClock` takes it there.
    fn may_be_void(&self, brought: UnixMs) -> bool {
        let ClockSetting { from, by, .. } = self.set;
        let late = brought.0.saturating_add(CLOCKS_AGREE_WITHIN.as_millis() as u64);
        by == ClockSource::Operator && self.confirmed < from && late >= from.0
    }

    /// Advances the clock, or sets it for an operator, who may also set it back; returns whether anything changed. A
    /// time that was counted before an operator set the clock has no effect.
    pub fn advance(&mut self, AdvanceClock { to, era, by }: AdvanceClock) -> bool {
        let set = ClockSetting { from: self.confirmed, to, by };
        if by == ClockSource::Operator {
            *self = Self { confirmed: to, era: self.era + 1, set };
            return true;
        }
        let advances = era == self.era && to > self.confirmed;
        if advances {
            self.confirmed = to;
            self.set = if by == ClockSource::Counted { self.set } else { set };
        }
        advances
    }
}
