//! `HealingOptions`: the pace and the intervals of the healer.

use crate::actors::upkeep::Pace;
use std::time::Duration;

#[derive(Clone, Copy, Debug)]
pub struct HealingOptions {
    /// The pause when there is nothing to do.
    pub idle: Duration,
    /// The time for which a repair is put off that cannot be done now (its node is down or full, or the sources are too
    /// few).
    pub put_off: Duration,
    /// The longest time for which a repair is put off that fails again and again.
    pub put_off_max: Duration,
    /// The number of repairs under way at once.
    pub repairs_max: usize,
    /// The interval between comparisons of this host's nodes with the metadata.
    pub compare_every: Duration,
    /// A shard of an unknown blob above the fence is counted as an orphan if the time in the blob's id differs from now
    /// by at least this much: few PUTs take so long. Affects only the count that is shown, not which shards are
    /// dropped.
    pub orphan_counted_age: Duration,
    /// The interval after which a node with such shards is searched again.
    pub orphans_again: Duration,
    pub pace: Pace,
}

impl Default for HealingOptions {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(1),
            put_off: Duration::from_secs(10),
            put_off_max: Duration::from_secs(300),
            repairs_max: 4,
            compare_every: Duration::from_secs(6 * 3600),
            orphan_counted_age: Duration::from_secs(3600),
            orphans_again: Duration::from_secs(3600),
            pace: Pace { idle_bytes_per_second: 200 << 20, busy_bytes_per_second: 40 << 20 },
        }
    }
}
