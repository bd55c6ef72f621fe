//! Linearizability of recorded histories: the recorder, the model, and the checker, which is independent of the store.

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
