//! The configurations of buckets that are kept as they were set: who is told of events (`notification`), where requests
//! are logged (`logging`), what is listed when (`inventory`); and those that are kept for tools that ask for them and
//! change nothing here (`analytics`, `metrics`, `tiering`, `simple`). What operations say of events is in `told`.

pub mod analytics;
pub mod event_drafts;
pub mod inventory;
pub mod logging;
pub mod metrics;
mod named;
pub mod notification;
pub mod simple;
pub mod tiering;
