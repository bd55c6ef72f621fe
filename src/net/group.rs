//! What the replicas of a consensus group ask of each other on other hosts: bytes there, bytes back. What they mean is the
//! group's own affair; a transport only has to bring a call to the host that it names, at most once, and its answer back.

use super::service::GroupCall;
use crate::types::HostId;
use bytes::Bytes;
use std::fmt::Debug;

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// It did not get there.
    #[error("host {} cannot be reached: {why}", host.0)]
    Unreachable { host: HostId, why: String },
    /// Whether it got there is not known.
    #[error("host {} did not answer: {why}", host.0)]
    NoAnswer { host: HostId, why: String },
    /// It got there and nothing was done: the call is malformed or of an unknown version, or the host is stopping.
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
