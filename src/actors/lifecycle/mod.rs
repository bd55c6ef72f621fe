//! Lifecycle of what buckets hold: what their rules say is due, and when (`rules`); and the worker that goes through
//! the buckets and removes it (`worker`), by what it sees of each key (`scan`), from where the last one has come to
//! (`progress`).

mod progress;
pub mod rules;
mod scan;
#[cfg(test)]
mod tests;
mod worker;

pub use worker::{Lifecycle, LifecycleContext, LifecycleOptions, Sweeping, Swept};
