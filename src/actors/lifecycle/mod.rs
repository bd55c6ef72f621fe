//! Bucket lifecycle: the rules and the decision what is due (`rules`); the worker that sweeps through the buckets and
//! removes expired versions and stale uploads (`worker`); the judgement of listed versions (`scan`); and the stored
//! position of the sweep (`progress`).

mod progress;
pub mod rules;
mod scan;
#[cfg(test)]
mod tests;
mod worker;

pub use worker::{Lifecycle, LifecycleContext, LifecycleOptions, Sweeping, Swept};
