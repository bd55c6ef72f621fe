//! Work in the background that keeps the drives in order: emptying segments that are mostly dead, and dropping the shards of
//! blobs that nothing refers to; fencing off writes that are over, so that what they left behind is known to be nobody's; and
//! asking nodes in trouble whether they answer again. Each is a chore made of small steps, with a pause after each, that gives way to users.

mod background;
mod compactor;
mod context;
mod fencing;
mod pace;
mod prober;
mod reclaimer;
mod ripening;
#[cfg(test)]
mod tests;
mod under_way;

pub use background::{Background, Chore, LastFailure, Stop, Wake};
pub use compactor::{Compaction, CompactionContext, CompactionError, CompactionOptions, Compactor, Step};
pub use context::{ClusterContext, UpkeepError, look_up};
pub use fencing::{Fenced, Fencer, Fencing, FencingOptions};
pub use pace::Pace;
pub use prober::{Prober, Probing};
pub use reclaimer::{Reclaimed, Reclaimer, Reclamation, ReclamationOptions};
pub use ripening::Ripening;
pub use under_way::{UNDER_WAY_GROUP, UnderWayService};
