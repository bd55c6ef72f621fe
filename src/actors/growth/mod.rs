//! The growth of the store and of its buckets. Every hour the host that leads records the total size of all buckets in
//! a document of the metadata, and once a day the size of each of the largest. The history is in the metadata so that
//! it survives restarts and changes of the leader, and every host reads the same one.

mod buckets;
mod history;
mod sampler;
#[cfg(test)]
mod tests;

pub use buckets::{BucketGrowth, BucketHistory};
pub use history::{Growth, History};
pub use sampler::{GrowthHandle, Sampled, Sampler, Sampling, SamplingOptions};
