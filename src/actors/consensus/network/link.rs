//! The way from this replica to those of the same group on other hosts: a message there, a message back, in bounded time.

use super::messages::{Kind, MessageFault, decode_plain};
use crate::net::{GroupCall, GroupError, GroupTransport};
use crate::types::HostId;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

#[derive(Clone, Debug)]
pub struct Link {
    transport: Arc<dyn GroupTransport>,
    group: u32,
}

/// The reason for which there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    #[error(transparent)]
    Call(#[from] GroupError),
    #[error("no answer from host {} within {within:?}", host.0)]
    Late { host: HostId, within: Duration },
    #[error("answer of host {}: {fault}", host.0)]
    Garbled { host: HostId, fault: MessageFault },
}

impl LinkError {
    /// Returns whether the other host certainly did nothing.
    pub fn is_nothing_done(&self) -> bool {
        matches!(self, Self::Call(GroupError::Unreachable { .. } | GroupError::Refused { .. }))
    }
}

impl Link {
    pub fn new(transport: Arc<dyn GroupTransport>, group: u32) -> Self {
        Self { transport, group }
    }

    pub async fn ask<A: DeserializeOwned>(
        &self,
        host: HostId,
        kind: Kind,
        body: Bytes,
        within: Duration,
    ) -> Result<A, LinkError> {
        let call = GroupCall { group: self.group, kind: kind as u8, body };
        let answer =
            timeout(within, self.transport.call(host, call)).await.map_err(|_| LinkError::Late { host, within })??;
        decode_plain(&answer).map_err(|fault| LinkError::Garbled { host, fault })
    }
}
