//! Work in the background that keeps the drives in order: emptying segments that are mostly dead, and dropping the shards of
//! blobs that nothing refers to; and asking nodes in trouble whether they answer again. Each is a chore made of small steps, with a pause after each, that gives way to users.

mod background;
mod compactor;
mod context;
mod pace;
mod prober;
mod reads_elsewhere;
mod reclaimer;
#[cfg(test)]
mod tests;

pub use background::{Background, Chore, Stop, Wake};
pub use compactor::{Compaction, CompactionContext, CompactionError, CompactionOptions, Compactor, Step};
pub use context::{ClusterContext, UpkeepError, look_up};
pub use pace::Pace;
pub use prober::{Prober, Probing};
pub use reads_elsewhere::{READS_GROUP, ReadsService};
pub use reclaimer::{Reclaimed, Reclaimer, Reclamation, ReclamationOptions};
