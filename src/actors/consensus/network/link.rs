//! Calls to the group's replicas on other hosts: one message, one answer, in bounded time.

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

/// The reason for which a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    #[error(transparent)]
    Call(#[from] GroupError),
    #[error("host {:016x} has not answered within {within:?}", host.0)]
    Late { host: HostId, within: Duration },
    #[error("the answer of host {:016x} cannot be decoded: {fault}", host.0)]
    Garbled { host: HostId, fault: MessageFault },
}

impl LinkError {
    /// Returns whether the call certainly had no effect on the other host.
    pub fn has_no_effect(&self) -> bool {
        matches!(self, Self::Call(GroupError::Unreachable { .. } | GroupError::Refused { .. }))
    }

    /// Returns the reason for which the other host refused the call, if it did.
    pub fn refusal(&self) -> Option<&str> {
        match self {
            Self::Call(GroupError::Refused { why }) => Some(why),
            _ => None,
        }
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
