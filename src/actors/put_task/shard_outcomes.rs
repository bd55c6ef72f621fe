//! The outcome of each shard of a write, and the write quorum: go on, or give up. Pure.

use crate::actors::request::StoreError;
use crate::defects::{Defect, has};
use crate::storage::ring::Placement;
use crate::types::{NodeId, ShardIndex};

/// The reason for which a shard is not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ShardFailure {
    /// Its node was out of service from the start.
    NotTried,
    OutOfSpace,
    Failed(String),
    /// Its node did not answer in time.
    Late,
}

/// The outcomes of all shards of one write; a shard that failed once stays failed, since a chunk of it is missing for
/// good.
#[derive(Debug)]
pub(super) struct ShardOutcomes {
    nodes: Vec<NodeId>,
    failures: Vec<Option<ShardFailure>>,
    quorum: usize,
}

impl ShardOutcomes {
    pub(super) fn new(placement: &Placement) -> Self {
        let failure = |shard| (shard >= placement.writable).then_some(ShardFailure::NotTried);
        Self {
            nodes: placement.nodes.clone(),
            failures: (0..placement.nodes.len()).map(failure).collect(),
            quorum: placement.quorum,
        }
    }

    pub(super) fn quorum(&self) -> usize {
        self.quorum
    }

    /// Shards of which every chunk so far was written, with their nodes.
    pub(super) fn good(&self) -> impl Iterator<Item = (usize, NodeId)> {
        self.failures
            .iter()
            .zip(&self.nodes)
            .enumerate()
            .filter_map(|(at, (failure, &node))| failure.is_none().then_some((at, node)))
    }

    /// Notes a failure; the first of a shard counts.
    pub(super) fn fail(&mut self, shard: usize, failure: ShardFailure) {
        if failure != ShardFailure::Late || !has(Defect::CountSilentShard) {
            self.failures[shard].get_or_insert(failure);
        }
    }

    /// Checks the write quorum: returns an error once it is out of reach.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let good = self.good().count();
        if good >= self.quorum {
            return Ok(());
        }
        let tried = || self.failures.iter().flatten().filter(|&failure| *failure != ShardFailure::NotTried);
        if tried().next().is_some() && tried().all(|failure| *failure == ShardFailure::OutOfSpace) {
            return Err(StoreError::OutOfSpace);
        }
        let reason = tried().find_map(|failure| match failure {
            ShardFailure::Failed(why) => Some(why.as_str()),
            _ => None,
        });
        let why = format!(
            "{good} of {} shards could be written and {} are needed: {}",
            self.nodes.len(),
            self.quorum,
            reason.unwrap_or("a drive is too slow")
        );
        Err(StoreError::Unavailable { why })
    }

    /// Shards that repair has to write.
    pub(super) fn missing(&self) -> Vec<ShardIndex> {
        let failed = self.failures.iter().enumerate().filter(|(_, failure)| failure.is_some());
        failed.map(|(shard, _)| ShardIndex(shard as u8)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{ShardFailure, ShardOutcomes};
    use crate::actors::request::StoreError;
    use crate::storage::ring::Placement;
    use crate::types::{Epoch, Geometry, NodeId, ShardIndex};

    fn outcomes(writable: usize) -> ShardOutcomes {
        let geometry = Geometry { data: 2, parity: 2, chunk_size_bytes: 64 };
        let nodes = (0..4).map(NodeId).collect();
        ShardOutcomes::new(&Placement { geometry, nodes, writable, quorum: 3, layout: Epoch(1) })
    }

    /// P7: a quorum is enough, and what is not there is named.
    #[test]
    fn p7_one_shard_short_is_a_write_and_two_are_not() {
        let mut outcomes = outcomes(4);
        outcomes.fail(1, ShardFailure::Late);
        outcomes.fail(1, ShardFailure::OutOfSpace);
        assert!(outcomes.check().is_ok());
        assert_eq!(outcomes.missing(), vec![ShardIndex(1)]);
        outcomes.fail(0, ShardFailure::Failed("sync failed".to_owned()));
        let refused = outcomes.check().expect_err("two of four are gone");
        assert!(refused.to_string().contains("sync failed"), "{refused}");
    }

    #[test]
    fn shards_on_nodes_out_of_service_count_as_missing_from_the_start() {
        let outcomes = outcomes(3);
        assert!(outcomes.check().is_ok());
        assert_eq!(outcomes.missing(), vec![ShardIndex(3)]);
        assert_eq!(outcomes.good().count(), 3);
    }

    /// F3: out of space is told apart from out of service.
    #[test]
    fn f3_drives_that_are_all_full_are_out_of_space() {
        let mut outcomes = outcomes(3);
        outcomes.fail(0, ShardFailure::OutOfSpace);
        assert!(matches!(outcomes.check(), Err(StoreError::OutOfSpace)));
        outcomes.fail(1, ShardFailure::Late);
        assert!(matches!(outcomes.check(), Err(StoreError::Unavailable { .. })));
    }
}
