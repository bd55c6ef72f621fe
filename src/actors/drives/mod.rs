//! The drives of this host: the service that reads and appends chunks, the monitor and the health that it publishes,
//! the user load, and the threads on which blocking work runs.

mod blocking;
mod context;
mod drive;
mod faults;
pub mod health;
mod list;
mod load;
mod local_node;
mod monitor;
mod open;
mod publishing;
#[cfg(test)]
pub(crate) mod test_host;
#[cfg(test)]
mod tests;

#[cfg(any(test, feature = "fuzzing", debug_assertions))]
pub use blocking::Inline;
pub use blocking::{Blocking, Job, ReaderThreads, ThreadsStopped, off_thread};
pub use context::NodeContext;
pub use drive::{Drive, OpenDrives};
pub(crate) use drive::{ReadFailure, chunk_key, log_error, tombstone_key};
pub use faults::{FaultSink, FaultSource, ShardFault, fault_channel};
pub use list::DriveList;
#[cfg(test)]
pub use list::drive_of_test;
pub use load::{UnderWay, UserLoad};
pub use local_node::LocalNode;
pub use monitor::{DriveMonitor, IdentityReader, MonitorThreads, OnLost, WatchedDrive, dismiss};
pub use open::{DriveOptions, OpenedDrive, open_drive, open_over};
