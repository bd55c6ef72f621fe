//! Serves the calls of other hosts to this host's groups, before and after it belongs to a cluster: calls to the
//! metadata replica, and the messages about membership. Calls to a part that does not exist yet are refused.

use super::founding::FoundingBoard;
use super::host_watch::StatusSource;
use super::joining::WelcomeDesk;
use super::messages::{
    FoundingAsk, JoinAsk, JoinAskWithRoles, Kind, MEMBERSHIP_GROUP, RejoinAsk, RemovalAsk, StatusAsk,
};
use crate::actors::consensus::MetaHandle;
use crate::net::{
    AppendChunks, ChunksRead, GroupCall, GroupError, GroupService, InventoryPage, NodeService, PeerError, ReadChunks,
    decode_body, encode_body,
};
use crate::types::{HostId, NodeId, Roles, ShardId};
use bytes::Bytes;
use std::sync::{Arc, OnceLock};

/// The parts of this host that answer group calls. Each is set once, when it exists.
#[derive(Debug)]
pub struct HostGroups {
    founding: FoundingBoard,
    consensus: OnceLock<MetaHandle>,
    desk: OnceLock<WelcomeDesk>,
    status: OnceLock<StatusSource>,
}

impl HostGroups {
    pub fn new(founding: FoundingBoard) -> Self {
        Self { founding, consensus: OnceLock::new(), desk: OnceLock::new(), status: OnceLock::new() }
    }

    /// Sets the replica that answers the calls of the consensus from now on. Only the first one counts.
    pub fn decide_by(&self, consensus: MetaHandle) {
        let _ = self.consensus.set(consensus);
    }

    /// Sets the desk that takes hosts into the cluster from now on. Only the first one counts.
    pub fn welcome_by(&self, desk: WelcomeDesk) {
        let _ = self.desk.set(desk);
    }

    /// Sets the source of this host's state for other hosts from now on. Only the first one counts.
    pub fn status_by(&self, status: StatusSource) {
        let _ = self.status.set(status);
    }

    async fn membership_call(&self, call: GroupCall) -> Result<Bytes, PeerError> {
        let Some(kind) = Kind::from_byte(call.kind) else {
            return Err(refused(format!(
                "call kind {} about the membership is not known; does the caller run another version?",
                call.kind
            )));
        };
        match kind {
            Kind::Founding => {
                let FoundingAsk { .. } = decode_body(&call.body)?;
                Ok(encode_body(&self.founding.answer()))
            }
            Kind::Join => {
                let ask: JoinAsk = decode_body(&call.body)?;
                self.take_in(ask, Roles::ALL, None).await
            }
            Kind::JoinWithRoles => {
                let JoinAskWithRoles { ask, roles } = decode_body(&call.body)?;
                self.take_in(ask, roles, None).await
            }
            Kind::Rejoin => {
                let RejoinAsk { ask, roles, was } = decode_body(&call.body)?;
                self.take_in(ask, roles, Some(was)).await
            }
            Kind::Removal => {
                let RemovalAsk { host, name } = decode_body(&call.body)?;
                let desk = self.desk.get().ok_or_else(starting)?;
                Ok(encode_body(&desk.removal(host, &name).map_err(refused)?))
            }
            Kind::Status => {
                let StatusAsk {} = decode_body(&call.body)?;
                let status = self.status.get().ok_or_else(starting)?;
                let replica = self.consensus.get().map(|metadata| metadata.replica(&status.health.current()));
                let replica = replica.unwrap_or_default();
                Ok(encode_body(&status.answer(replica)))
            }
        }
    }

    /// Answers a host that asks to join. `was`: the former ids of a host that rejoins.
    async fn take_in(&self, ask: JoinAsk, roles: Roles, was: Option<Vec<HostId>>) -> Result<Bytes, PeerError> {
        let desk = self.desk.get().ok_or_else(starting)?;
        Ok(encode_body(&desk.receive(ask, roles, was).await))
    }
}

fn refused(why: impl ToString) -> PeerError {
    PeerError::Refused { why: why.to_string() }
}

fn starting() -> PeerError {
    refused("this host is starting")
}

#[async_trait::async_trait]
impl GroupService for HostGroups {
    async fn group_call(&self, call: GroupCall) -> Result<Bytes, PeerError> {
        if call.group == MEMBERSHIP_GROUP {
            return self.membership_call(call).await;
        }
        let consensus = self.consensus.get().ok_or_else(starting)?;
        match consensus.serve(call).await {
            Ok(answer) => Ok(answer),
            Err(GroupError::Refused { why }) => Err(refused(why)),
            Err(error) => Err(refused(error)),
        }
    }
}

/// Serves the calls of other hosts to this host's drives. Refuses them until the drives are open.
#[derive(Clone, Debug, Default)]
pub struct LateNodeService {
    nodes: Arc<OnceLock<Arc<dyn NodeService>>>,
}

impl LateNodeService {
    /// Sets the open drives, which are served from now on. Only the first call counts.
    pub fn serve(&self, nodes: Arc<dyn NodeService>) {
        let _ = self.nodes.set(nodes);
    }

    fn nodes(&self, node: NodeId) -> Result<&Arc<dyn NodeService>, PeerError> {
        self.nodes.get().ok_or_else(|| PeerError::Unavailable { node, why: "its host is starting".to_owned() })
    }
}

#[async_trait::async_trait]
impl NodeService for LateNodeService {
    async fn append_chunks(&self, request: AppendChunks) -> Result<(), PeerError> {
        self.nodes(request.node)?.append_chunks(request).await
    }

    async fn read_chunks(&self, request: ReadChunks) -> Result<ChunksRead, PeerError> {
        self.nodes(request.node)?.read_chunks(request).await
    }

    async fn drop_shards(&self, node: NodeId, shards: Vec<ShardId>) -> Result<(), PeerError> {
        self.nodes(node)?.drop_shards(node, shards).await
    }

    async fn count_chunks(&self, node: NodeId, shards: Vec<ShardId>) -> Result<Vec<u32>, PeerError> {
        self.nodes(node)?.count_chunks(node, shards).await
    }

    async fn inventory(&self, node: NodeId, after: Option<ShardId>, limit: u32) -> Result<InventoryPage, PeerError> {
        self.nodes(node)?.inventory(node, after, limit).await
    }
}
