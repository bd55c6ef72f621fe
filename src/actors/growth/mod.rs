//! The growth of the store and of its buckets: every hour, the leading host records the size of all buckets together in a
//! document of the metadata, and once a day that of each of the largest. So the history survives restarts and changes of the
//! lead, and every host reads the same one.

mod buckets;
mod history;
mod sampler;
#[cfg(test)]
mod tests;

pub use buckets::{BucketGrowth, BucketHistory};
pub use history::{Growth, History};
pub use sampler::{GrowthHandle, Sampled, Sampler, Sampling, SamplingOptions};
