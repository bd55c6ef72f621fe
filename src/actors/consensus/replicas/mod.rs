//! Comparison of the group's replicas, and of this one with its former state: every two seconds each host sends its
//! position to every other, and gets back what the other remembers of it.
//!
//! What a host has once had on stable storage it must always have, or it would vote and answer as if it had never been. One
//! that was put back to an older state is recognised by those who remember more of it than it has: they do not let it
//! lead, and it takes no further part. Two chains that differ at one index are of replicas that have applied different
//! entries; the replica that differs from a majority of the voters takes no further part.

mod compare;
mod others;

pub use compare::{keep_comparing, serve};
pub use others::{Agreement, DurableState, Others};
