//! How replicas of a group reach each other. The cluster's transport plugs in here; with one voter nobody is ever asked.

use super::raft_types::{MetaGroup, Vote};
use super::state::SnapshotFile;
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse};
use openraft::type_config::alias::SnapshotOf;
use openraft::{AnyError, BasicNode, OptionalSend, RaftNetworkFactory, RaftNetworkV2};
use std::future::Future;

/// A host without peers: whoever is asked for is unreachable.
#[derive(Clone, Copy, Debug)]
pub struct NoPeers;

/// A peer that cannot be reached.
#[derive(Clone, Copy, Debug)]
pub struct NoPeer {
    target: u64,
}

impl NoPeer {
    fn unreachable(&self) -> Unreachable<MetaGroup> {
        Unreachable::new(&AnyError::error(format!("there is no way to host {}", self.target)))
    }
}

impl RaftNetworkFactory<MetaGroup> for NoPeers {
    type Network = NoPeer;

    async fn new_client(&mut self, target: u64, _node: &BasicNode) -> NoPeer {
        NoPeer { target }
    }
}

impl RaftNetworkV2<MetaGroup> for NoPeer {
    type SnapshotData = SnapshotFile;

    async fn append_entries(
        &mut self,
        _rpc: AppendEntriesRequest<MetaGroup>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<MetaGroup>, RPCError<MetaGroup>> {
        Err(RPCError::Unreachable(self.unreachable()))
    }

    async fn vote(
        &mut self,
        _rpc: VoteRequest<MetaGroup>,
        _option: RPCOption,
    ) -> Result<VoteResponse<MetaGroup>, RPCError<MetaGroup>> {
        Err(RPCError::Unreachable(self.unreachable()))
    }

    async fn full_snapshot(
        &mut self,
        _vote: Vote,
        _snapshot: SnapshotOf<MetaGroup, SnapshotFile>,
        _cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<MetaGroup>, StreamingError<MetaGroup>> {
        Err(StreamingError::Unreachable(self.unreachable()))
    }
}
