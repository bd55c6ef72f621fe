//! Configurations of buckets: event notifications (`notification`), access logs (`logging`) and inventories
//! (`inventory`); and configurations that are only stored for the tools that set them (`analytics`, `metrics`,
//! `tiering`, `simple`).

pub mod analytics;
pub mod inventory;
pub mod logging;
pub mod metrics;
mod named;
pub mod notification;
pub mod simple;
pub mod tiering;
