//! Identities over documents in memory: what is decided, what is refused, and that what is counted stays counted right.

pub(crate) mod memory;

mod accounts;
mod costs;
mod counts;
mod holders;
mod keys;
mod resolving;
mod sessions;
mod users;
