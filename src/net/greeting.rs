//! The greeting with which two hosts begin a connection, and the decision whether they may communicate. Both hosts
//! apply the same rule, so both refuse the same pairs for the same reason. Pure.
//!
//! The frame of a greeting always has version 1. Later versions may append fields, which older readers ignore.

use super::frame::{FrameError, FrameKind, Head, VersionRange, WireVersion, encode};
use crate::types::{ClusterId, HostId, RecoveryEpoch};
use serde::{Deserialize, Serialize};

/// The version of the frames of greetings, which never changes.
pub(super) const GREETING_VERSION: WireVersion = WireVersion(1);
const REFUSAL_BYTES_MAX: usize = 400;

/// The content of a greeting: the identity of the host that sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Greeting {
    pub versions: VersionRange,
    /// The cluster of the host. `None` while it belongs to none; it may then only make group calls, to form or join a
    /// cluster.
    pub cluster: Option<ClusterId>,
    pub host: HostId,
    /// The host that the calling host expects at the address, if it expects a certain one.
    pub sought: Option<HostId>,
    /// The recovery epoch of the host's cluster; the default if it belongs to none.
    pub recovery: RecoveryEpoch,
}

#[derive(Serialize, Deserialize)]
struct GreetingHeader {
    oldest: u16,
    newest: u16,
    cluster: Option<ClusterId>,
    host: HostId,
    sought: Option<HostId>,
    recovery: RecoveryEpoch,
}

#[derive(Serialize, Deserialize)]
struct AnswerHeader {
    refusal: Option<String>,
    greeting: GreetingHeader,
}

/// The reason for which two hosts may not communicate. `us` is the calling host, `them` the called one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("no common wire version: host {:016x} speaks {ours}, host {:016x} speaks {theirs}", us.0, them.0)]
    Versions { us: HostId, ours: VersionRange, them: HostId, theirs: VersionRange },
    #[error("host {:016x} is of cluster {ours}, host {:016x} is of cluster {theirs}", us.0, them.0)]
    Cluster { us: HostId, ours: ClusterId, them: HostId, theirs: ClusterId },
    #[error(
        "host {:016x} is of the cluster's metadata group before sherd recover formed it anew at host {:016x}; it takes no part \
         any more: stop it, then run sherd rejoin on it to come back with its shards, or empty its directories to join anew",
        before.0, after.0
    )]
    Recovered { before: HostId, after: HostId },
    #[error(
        "sherd recover formed the metadata group anew at host {:016x} and apart from it at host {:016x}; one of them has to be \
         given up: stop it, then run sherd rejoin on it, or empty its directories", us.0, them.0
    )]
    RecoveredApart { us: HostId, them: HostId },
    #[error("host {:016x} was sought at this address, host {:016x} is there", sought.0, found.0)]
    Host { sought: HostId, found: HostId },
    #[error("both hosts call themselves {:016x}", host.0)]
    SameHost { host: HostId },
    #[error("a host calls itself {:016x}, its certificate does not", host.0)]
    Certificate { host: HostId },
}

impl Greeting {
    /// Decides whether the calling and the called host may communicate. Returns the version that they speak, or the
    /// refusal.
    pub fn judge(caller: &Self, called: &Self) -> Result<WireVersion, Refusal> {
        if caller.host == called.host {
            return Err(Refusal::SameHost { host: caller.host });
        }
        if let (Some(ours), Some(theirs)) = (caller.cluster, called.cluster)
            && ours != theirs
        {
            return Err(Refusal::Cluster { us: caller.host, ours, them: called.host, theirs });
        }
        if caller.cluster.is_some() && called.cluster.is_some() && caller.recovery != called.recovery {
            return Err(match (caller.recovery, called.recovery) {
                (ours, theirs) if ours.is_before(theirs) => {
                    Refusal::Recovered { before: caller.host, after: called.host }
                }
                (ours, theirs) if theirs.is_before(ours) => {
                    Refusal::Recovered { before: called.host, after: caller.host }
                }
                _ => Refusal::RecoveredApart { us: caller.host, them: called.host },
            });
        }
        if let Some(sought) = caller.sought.filter(|sought| *sought != called.host) {
            return Err(Refusal::Host { sought, found: called.host });
        }
        let (ours, theirs) = (caller.versions, called.versions);
        let apart = || Refusal::Versions { us: caller.host, ours, them: called.host, theirs };
        ours.common(theirs).ok_or_else(apart)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        encode_header(FrameKind::Hello, &self.header())
    }

    pub(super) fn encode_answer(&self, refusal: Option<&Refusal>) -> Vec<u8> {
        let words = |refusal: &Refusal| {
            let words = refusal.to_string();
            words[..words.floor_char_boundary(REFUSAL_BYTES_MAX)].to_owned()
        };
        encode_header(FrameKind::HelloAnswer, &AnswerHeader { refusal: refusal.map(words), greeting: self.header() })
    }

    pub(super) fn decode(head: &Head, header: &[u8]) -> Result<Self, FrameError> {
        if head.kind != FrameKind::Hello {
            return Err(FrameError::Unexpected { found: head.kind, expected: "a greeting" });
        }
        Ok(Self::of(decode_header(head, header)?))
    }

    /// Decodes the answer to a greeting: the greeting of the called host, and its refusal if it refuses.
    pub(super) fn decode_answer(head: &Head, header: &[u8]) -> Result<(Self, Option<String>), FrameError> {
        if head.kind != FrameKind::HelloAnswer {
            return Err(FrameError::Unexpected { found: head.kind, expected: "the answer to a greeting" });
        }
        let answer: AnswerHeader = decode_header(head, header)?;
        Ok((Self::of(answer.greeting), answer.refusal))
    }

    fn header(&self) -> GreetingHeader {
        let VersionRange { oldest, newest } = self.versions;
        let Self { cluster, host, sought, recovery, .. } = *self;
        GreetingHeader { oldest: oldest.0, newest: newest.0, cluster, host, sought, recovery }
    }

    fn of(header: GreetingHeader) -> Self {
        let GreetingHeader { oldest, newest, cluster, host, sought, recovery } = header;
        let versions = VersionRange { oldest: WireVersion(oldest), newest: WireVersion(newest) };
        Self { versions, cluster, host, sought, recovery }
    }
}

fn encode_header(kind: FrameKind, header: &impl Serialize) -> Vec<u8> {
    let header = postcard::to_stdvec(header).expect("a greeting is plain data");
    encode(GREETING_VERSION, kind, &header, 0)
}

fn decode_header<T: serde::de::DeserializeOwned>(head: &Head, header: &[u8]) -> Result<T, FrameError> {
    match postcard::take_from_bytes(header) {
        Ok((header, _)) => Ok(header),
        Err(_) => Err(FrameError::Header(head.kind, "it does not decode")),
    }
}
