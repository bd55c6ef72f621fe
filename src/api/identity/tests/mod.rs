//! Tests of identities over documents in memory: decisions, refusals, and counts that stay exact.

pub(crate) mod memory;

mod accounts;
mod costs;
mod counts;
mod holders;
mod keys;
mod resolving;
mod sessions;
mod users;
