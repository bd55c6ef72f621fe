//! The damage that a seed draws besides power cuts, and how it is done.

use super::ambient::Simulated;
use super::ledger::Tally;
use super::world::{DRIVES, World};
use sherd::storage::disk::sim::{Chances, DriveFault};
use sherd::storage::wal::Durability;
use std::time::Duration;

/// The interval of syncs with relaxed durability: a power cut may lose what was acknowledged within it.
pub const FLUSH_DELAY: Duration = Duration::from_millis(200);

/// The damage besides power cuts, in one run of a seed: not more at once than parity covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    None,
    /// A drive is empty when the power is back, now and then; it is rebuilt before the next cut.
    ReplacedDrives,
    /// In one of the rounds a sync fails, and with it the log that asked for it.
    FailedSync,
    FailedWrite,
    /// Bits of the shards of one drive flip while the power is off, once.
    Rot,
    /// A bit of one copy of the log of metadata, or of its snapshot, flips while the power is off, once.
    RottenCopy,
    /// In one of the rounds a drive fails as a whole, is full, cannot be read, does not answer any more, or has calls
    /// that fail now and then.
    Drive(DriveFault),
    /// A drive is away at a start and back at a later one, again and again: not the same each time.
    AbsentDrives,
    /// Up to so many nodes at once refuse, are full, answer late, or carry out requests without answering.
    Storm(u64),
}

/// One seed's choices.
#[derive(Clone, Copy, Debug)]
pub struct Variant {
    pub damage: Damage,
    /// The wall clock is stepped.
    pub steps_clock: bool,
    /// Drives are drained and come back, and weights change, while shards are moved after them.
    pub moves: bool,
    /// Logs are synced every `FLUSH_DELAY`.
    pub is_relaxed: bool,
}

impl Variant {
    pub fn draw(drawn: &Simulated) -> Self {
        let (damage, steps_clock) = (Damage::draw(drawn), drawn.below(4) == 0);
        let (moves, is_relaxed) = (drawn.below(3) == 0, drawn.below(8) == 0);
        // With relaxed durability there is no other damage and no move, so that every loss is known to be that of a
        // cut.
        let damage = if is_relaxed { Damage::None } else { damage };
        Self { damage, steps_clock, moves: moves && !is_relaxed, is_relaxed }
    }

    pub fn durability(self) -> Durability {
        match self.is_relaxed {
            true => Durability::Relaxed { flush_delay_max: FLUSH_DELAY },
            false => Durability::Strict,
        }
    }

    /// Returns true if a drive may be lost at a start.
    pub fn loses_drives(self) -> bool {
        matches!(self.damage, Damage::AbsentDrives)
    }

    pub fn storm(self) -> u64 {
        if let Damage::Storm(most) = self.damage { most } else { 0 }
    }

    /// Returns true if nodes may be in trouble in every round.
    pub fn is_stormy(self) -> bool {
        self.storm() > 0
    }

    /// Returns the time before garbage is reclaimed, which is longer than a power cut can undo.
    pub fn garbage_grace(self) -> Duration {
        if self.is_relaxed { 5 * FLUSH_DELAY } else { Duration::ZERO }
    }

    /// Returns the time before the old copy of a moved shard is dropped, which is longer than a read that began before
    /// takes.
    pub fn leftover_grace(self) -> Duration {
        if self.is_stormy() { sherd::limits::LEFTOVER_GRACE } else { Duration::from_millis(50) }
    }

    /// Returns true if shards may be lost or damaged without the store knowing.
    pub fn hides_losses(self) -> bool {
        let loses_writes = matches!(self.damage, Damage::Drive(DriveFault::Flaky(chances)) if chances.writes_lost > 0);
        self.damage == Damage::Rot || self.is_relaxed || loses_writes
    }
}

impl Damage {
    fn draw(drawn: &Simulated) -> Self {
        match drawn.below(24) {
            0..4 => Self::ReplacedDrives,
            4 => Self::FailedSync,
            5 => Self::FailedWrite,
            6..8 => Self::Rot,
            8..10 => Self::RottenCopy,
            10 => Self::Drive(DriveFault::Dead),
            11 => Self::Drive(if drawn.below(2) == 0 { DriveFault::Full } else { DriveFault::Unreadable }),
            12..15 => Self::Storm(1 + drawn.below(2)),
            15..18 => Self::AbsentDrives,
            18..20 => Self::Drive(if drawn.below(2) == 0 { DriveFault::Silent } else { DriveFault::SilentChanges }),
            20..23 => Self::Drive(DriveFault::Flaky(Self::chances(drawn))),
            _ => Self::None,
        }
    }

    /// Draws a chance for each sort of fault, which may be 0.
    fn chances(drawn: &Simulated) -> Chances {
        let chance = |one_in: u64| if drawn.below(2) == 0 { 0 } else { one_in / 4 + drawn.below(one_in) };
        Chances {
            reads_failed: chance(100),
            writes_failed: chance(300),
            syncs_failed: chance(300),
            found_full: chance(60),
            writes_lost: chance(60),
            seed: drawn.next(),
        }
    }

    /// Returns the fault that a drive gets during the failing round.
    pub fn of_drive(self) -> Option<DriveFault> {
        if let Self::Drive(fault) = self { Some(fault) } else { None }
    }

    /// Returns true if the drive never answers again.
    pub fn is_silent(self) -> bool {
        matches!(self, Self::Drive(DriveFault::Silent | DriveFault::SilentChanges))
    }

    /// Makes a call of the disk fail in the coming round; returns whether this damage does so.
    pub fn begin(self, world: &World) -> bool {
        match self {
            Self::FailedSync => world.disk.fail_next_syncs(1),
            Self::FailedWrite => world.disk.fail_next_writes(1),
            _ => return false,
        }
        true
    }

    /// Does the damage that happens while the power is off; returns whether a drive has been replaced.
    pub fn strike(self, world: &World, drawn: &Simulated, is_its_round: bool, tally: &mut Tally) -> bool {
        let drive = drawn.below(DRIVES as u64) as usize;
        match self {
            Self::ReplacedDrives if drawn.below(2) == 0 => {
                world.replace_drive(drive);
                return true;
            }
            Self::Rot if is_its_round => tally.bytes_rotted += u64::from(world.rot(drive, drawn)),
            Self::RottenCopy if is_its_round => {
                tally.bytes_rotted += u64::from(world.rot_metadata(drive, drawn));
            }
            Self::AbsentDrives => self.take_away(world, drawn, tally),
            _ => {}
        }
        false
    }

    /// Between two starts, brings back the drive that was away, and may take another one away.
    pub fn take_away(self, world: &World, drawn: &Simulated, tally: &mut Tally) {
        if self != Self::AbsentDrives || !world.has_formed() {
            return;
        }
        world.mend_all();
        let absent = drawn.below(DRIVES as u64 + 1) as usize;
        if absent < DRIVES {
            world.fail_drive(absent, DriveFault::Dead);
            tally.drives_absent += 1;
        }
    }
}
