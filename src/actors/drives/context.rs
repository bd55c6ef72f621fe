//! The context in which the nodes of a host serve requests.

use super::blocking::Blocking;
use super::faults::FaultSink;
use super::health::HealthBoard;
use super::load::UserLoad;
use std::sync::Arc;

/// The parts of a host that its nodes need besides their drives.
#[derive(Clone, Debug)]
pub struct NodeContext {
    pub threads: Arc<dyn Blocking>,
    pub health: HealthBoard,
    pub faults: FaultSink,
    pub load: UserLoad,
}
