//! The transport of calls between the replicas of a consensus group on different hosts. A call and its answer are
//! opaque bytes. The transport delivers a call to the named host at most once, and returns its answer.

use super::service::{GroupCall, PeerError};
use crate::types::HostId;
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// The reason for which a call was not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// The call did not arrive at the host.
    #[error("host {} cannot be reached: {why}", host.0)]
    Unreachable { host: HostId, why: String },
    /// No answer came. It is unknown whether the call arrived.
    #[error("host {} did not answer: {why}", host.0)]
    NoAnswer { host: HostId, why: String },
    /// The call arrived and had no effect: it is malformed or has an unknown version, or the host is stopping.
    #[error("the call was refused: {why}")]
    Refused { why: String },
}

/// A transport of group calls to other hosts. It has no time limit: a caller bounds its wait itself.
#[async_trait::async_trait]
pub trait GroupTransport: Send + Sync + Debug + 'static {
    async fn call(&self, host: HostId, call: GroupCall) -> Result<Bytes, GroupError>;
}

/// The transport of a host that has no other hosts: every call fails.
#[derive(Clone, Copy, Debug)]
pub struct NoOtherHosts;

#[async_trait::async_trait]
impl GroupTransport for NoOtherHosts {
    async fn call(&self, host: HostId, _call: GroupCall) -> Result<Bytes, GroupError> {
        Err(GroupError::Unreachable { host, why: "this host is alone".to_owned() })
    }
}

/// Encodes the body of a group call or its answer, in postcard.
pub fn encode_body<T: Serialize>(message: &T) -> Bytes {
    postcard::to_stdvec(message).expect("a message is plain data").into()
}

/// Decodes the body of a group call or its answer; fails if bytes follow the message.
pub fn decode_body<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, PeerError> {
    let refused = |why: String| PeerError::Refused { why };
    match postcard::take_from_bytes(bytes) {
        Ok((message, [])) => Ok(message),
        Ok(_) => Err(refused("bytes follow the message".to_owned())),
        Err(error) => Err(refused(format!("the message does not decode: {error}"))),
    }
}
