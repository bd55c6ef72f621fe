//! The accounts and buckets with the most traffic in the last minutes: requests and bytes, counted on each worker by
//! itself and merged when someone asks.
//!
//! A request costs its worker one lock that nobody else holds but who asks, and four counters. Each worker keeps its counters
//! in slots of 20 seconds, and in each slot at most `HEAVY_KEPT` names of a kind (Space-Saving); so the memory is bounded,
//! whoever asks. What is heavy is never missed: a name that is not kept has less than its slot's total over `HEAVY_KEPT`. Of
//! a name that was let go and came back what it asked before is not counted: counts are lower bounds.

mod meter;
mod space_saving;
mod top;

pub use meter::{Meter, Traffic};
pub use space_saving::{Load, SpaceSaving};
pub use top::{Heavy, Over, Top, TopOfKind};
