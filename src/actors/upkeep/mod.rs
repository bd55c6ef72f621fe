//! Background upkeep of the drives: compaction of segments that are mostly dead (`Compactor`), making damaged indexes
//! anew (`Reindexer`), dropping the shards of garbage (`Reclaimer`), raising the fence, below which unknown blobs are
//! orphans (`Fencer`), and probing nodes in trouble (`Prober`). Each is a chore: a sequence of small steps with pauses,
//! which are longer while users are served.

mod background;
mod compactor;
mod context;
mod fencing;
mod oldest_under_way;
mod pace;
mod prober;
mod reclaimer;
mod reindexer;
mod ripening;
#[cfg(test)]
mod tests;

pub use background::{Background, Chore, LastFailure, LookedAt, Stop, Wake};
pub use compactor::{Compaction, CompactionContext, CompactionError, CompactionOptions, Compactor, Step};
pub use context::{ClusterContext, UpkeepError, look_up};
pub use fencing::{Fenced, Fencer, Fencing, FencingOptions};
pub use oldest_under_way::UnderWayService;
pub use pace::Pace;
pub use prober::{Prober, Probing};
pub use reclaimer::{Reclaimed, Reclaimer, Reclamation, ReclamationOptions};
pub use reindexer::{Compares, Reindexed, Reindexer, Reindexing, ReindexingOptions};
pub use ripening::Ripening;
