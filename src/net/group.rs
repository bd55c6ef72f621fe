//! Calls between the replicas of a consensus group on different hosts: bytes there, bytes back. Their meaning is the
//! group's own; a transport only has to bring a call to the host that it names, at most once, and its answer back.

use super::service::GroupCall;
use crate::types::HostId;
use bytes::Bytes;
use std::fmt::Debug;

/// The reason for which a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// The call did not arrive.
    #[error("host {} cannot be reached: {why}", host.0)]
    Unreachable { host: HostId, why: String },
    /// No answer came; whether the call arrived is not known.
    #[error("host {} did not answer: {why}", host.0)]
    NoAnswer { host: HostId, why: String },
    /// The call arrived and nothing was done: it is malformed or of an unknown version, or the host is stopping.
    #[error("the call was refused: {why}")]
    Refused { why: String },
}

/// The way to other hosts. A caller bounds its waits itself.
#[async_trait::async_trait]
pub trait GroupTransport: Send + Sync + Debug + 'static {
    async fn call(&self, host: HostId, call: GroupCall) -> Result<Bytes, GroupError>;
}

/// A host without others.
#[derive(Clone, Copy, Debug)]
pub struct NoOtherHosts;

#[async_trait::async_trait]
impl GroupTransport for NoOtherHosts {
    async fn call(&self, host: HostId, _call: GroupCall) -> Result<Bytes, GroupError> {
        Err(GroupError::Unreachable { host, why: "this host is alone".to_owned() })
    }
}
