//! The growth of the store: every hour, the leading host records the size of all buckets in a document of the metadata.
//! So the history survives restarts and changes of the lead, and every host reads the same one.

mod history;
mod sampler;
#[cfg(test)]
mod tests;

pub use history::{Growth, History};
pub use sampler::{GrowthHandle, Sampled, Sampler, Sampling, SamplingOptions};
