//! `ShardOutcomes`: which shards of a write have failed, and whether the write quorum can still be reached. Pure.

use crate::actors::request::StoreError;
use crate::defects::{Defect, has};
use crate::storage::ring::Placement;
use crate::types::{NodeId, ShardNumber};

/// The reason why a shard is not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ShardFailure {
    /// Its node was out of service from the start.
    NotTried,
    OutOfSpace,
    Failed(String),
    /// Its node did not answer in time.
    Late,
}

/// The outcomes of all shards of one write. A shard that failed once stays failed, because it lacks a chunk.
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

    /// Returns the shards that have not failed, with their nodes.
    pub(super) fn good(&self) -> impl Iterator<Item = (usize, NodeId)> {
        self.failures
            .iter()
            .zip(&self.nodes)
            .enumerate()
            .filter_map(|(at, (failure, &node))| failure.is_none().then_some((at, node)))
    }

    /// Records a failure. Only the first failure of a shard is kept.
    pub(super) fn fail(&mut self, shard: usize, failure: ShardFailure) {
        if failure != ShardFailure::Late || !has(Defect::CountSilentShard) {
            self.failures[shard].get_or_insert(failure);
        }
    }

    /// Returns an error once the write quorum is out of reach: `OutOfSpace` if all failures are full drives, else
    /// `Unavailable`.
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
            "only {good} of {} shards can be written and {} are needed: {}",
            self.nodes.len(),
            self.quorum,
            reason.unwrap_or("a drive is too slow")
        );
        Err(StoreError::Unavailable { why })
    }

    /// Returns the shards that failed, which must be repaired.
    pub(super) fn missing(&self) -> Vec<ShardNumber> {
        let failed = self.failures.iter().enumerate().filter(|(_, failure)| failure.is_some());
        failed.map(|(shard, _)| ShardNumber(shard as u8)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{ShardFailure, ShardOutcomes};
    use crate::actors::request::StoreError;
    use crate::storage::ring::Placement;
    use crate::types::{Epoch, Geometry, NodeId, ShardNumber};

    fn outcomes(writable: usize) -> ShardOutcomes {
        let geometry = Geometry { data: 2, parity: 2, chunk_size_bytes: 64 };
        let nodes = (0..4).map(NodeId).collect();
        ShardOutcomes::new(&Placement { geometry, nodes, writable, quorum: 3, layout: Epoch(1) })
    }

    /// P7: a quorum of shards is a successful write, and the missing ones are listed.
    #[test]
    fn p7_a_write_at_2_2_succeeds_without_one_shard_and_not_without_two() {
        let mut outcomes = outcomes(4);
        outcomes.fail(1, ShardFailure::Late);
        outcomes.fail(1, ShardFailure::OutOfSpace);
        assert!(outcomes.check().is_ok());
        assert_eq!(outcomes.missing(), vec![ShardNumber(1)]);
        outcomes.fail(0, ShardFailure::Failed("sync failed".to_owned()));
        let refused = outcomes.check().expect_err("two of four are gone");
        assert!(refused.to_string().contains("sync failed"), "{refused}");
    }

    #[test]
    fn shards_on_nodes_out_of_service_count_as_missing_from_the_start() {
        let outcomes = outcomes(3);
        assert!(outcomes.check().is_ok());
        assert_eq!(outcomes.missing(), vec![ShardNumber(3)]);
        assert_eq!(outcomes.good().count(), 3);
    }

    /// F3: full drives and unavailable drives are different errors.
    #[test]
    fn f3_only_failures_on_full_drives_are_out_of_space() {
        let mut outcomes = outcomes(3);
        outcomes.fail(0, ShardFailure::OutOfSpace);
        assert!(matches!(outcomes.check(), Err(StoreError::OutOfSpace)));
        outcomes.fail(1, ShardFailure::Late);
        assert!(matches!(outcomes.check(), Err(StoreError::Unavailable { .. })));
    }
}
