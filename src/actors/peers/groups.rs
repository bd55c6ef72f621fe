//! `GroupTransport` over the connection pool: sends the messages of Raft groups to other hosts.

use super::connection_pool::Peers;
use crate::net::{GroupCall, GroupError, GroupTransport, PeerError};
use crate::types::HostId;
use bytes::Bytes;

#[async_trait::async_trait]
impl GroupTransport for Peers {
    async fn call(&self, host: HostId, call: GroupCall) -> Result<Bytes, GroupError> {
        let peer = self.peer_for(host).await.map_err(|error| GroupError::Unreachable { host, why: error.why })?;
        peer.group_call(call).await.map_err(|error| match error {
            PeerError::Unreachable { why, sent: false, .. } => GroupError::Unreachable { host, why },
            PeerError::Refused { why } => GroupError::Refused { why },
            error => GroupError::NoAnswer { host, why: error.to_string() },
        })
    }
}
