//! Linearizability of recorded histories: what is recorded, and the checker, which knows nothing of the store.

mod checker;
mod driver;
mod history;
mod model;
#[cfg(test)]
mod proof;

pub use checker::{Verdict, check};
pub use driver::{Plan, Store, drive};
pub use history::History;
pub use model::{ABSENT, Operation, Outcome, Value};
