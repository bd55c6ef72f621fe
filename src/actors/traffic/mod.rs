//! The accounts and buckets with the most requests and bytes in the last minutes. Each worker counts separately, and
//! the counts are merged when they are queried.
//!
//! A request takes one lock of its worker, contended only by queries, and updates four counters. Each worker keeps its
//! counters in slots of 20 seconds, with at most `TOP_NAMES_KEPT` names in each list of a slot (Space-Saving), so memory is
//! bounded. No heavy name is missed: the weight of a name that is not kept is at most its slot's total divided by
//! `TOP_NAMES_KEPT`. A name that was evicted and returns is counted from its return on: counts are lower bounds.

mod meter;
mod space_saving;
mod top;

pub use meter::{Meter, Traffic};
pub use space_saving::{Load, SpaceSaving};
pub use top::{Heavy, Over, Top, TopOfKind};
