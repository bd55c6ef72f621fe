//! How hosts tell each other which reads are under way, so that whoever reclaims garbage does not take a shard from under a
//! reader of another host.
//!
//! A host is asked for the age of its oldest read, by its own clock: where that read began after the garbage was looked up,
//! no read there can want it. The question travels as a group call under a number that no consensus group has.
//!
//! Answer: version 1 (u8), then the age in milliseconds (u64, big-endian), all ones where no read is under way.

use crate::actors::request::ActiveReads;
use crate::net::{GroupCall, GroupService, Peer, PeerError};
use bytes::{BufMut, Bytes, BytesMut};
use std::sync::Arc;
use std::time::Duration;

/// The number under which it is asked.
pub const READS_GROUP: u32 = u32::MAX - 1;
const OLDEST_READ: u8 = 1;
const VERSION: u8 = 1;
const NONE: u64 = u64::MAX;

/// The groups of a host, which answers besides for its reads.
#[derive(Clone, Debug)]
pub struct ReadsService {
    pub reads: ActiveReads,
    pub groups: Arc<dyn GroupService>,
}

#[async_trait::async_trait]
impl GroupService for ReadsService {
    async fn group_call(&self, call: GroupCall) -> Result<Bytes, PeerError> {
        match (call.group, call.kind) {
            (READS_GROUP, OLDEST_READ) => Ok(encode(self.reads.oldest_age())),
            (READS_GROUP, kind) => {
                Err(PeerError::Refused { why: format!("no question about reads has number {kind}") })
            }
            _ => self.groups.group_call(call).await,
        }
    }
}

/// How long ago the oldest read of a host began; `None` where it has none.
pub(super) async fn oldest_read(peer: &Peer) -> Result<Option<Duration>, PeerError> {
    let call = GroupCall { group: READS_GROUP, kind: OLDEST_READ, body: Bytes::new() };
    let answer = peer.group_call(call).await?;
    decode(&answer).ok_or_else(|| PeerError::Refused { why: "its answer about its reads cannot be read".to_owned() })
}

fn encode(age: Option<Duration>) -> Bytes {
    let age_ms = age.map_or(NONE, |age| u64::try_from(age.as_millis()).unwrap_or(NONE - 1));
    let mut answer = BytesMut::with_capacity(9);
    answer.put_u8(VERSION);
    answer.put_u64(age_ms);
    answer.freeze()
}

fn decode(answer: &[u8]) -> Option<Option<Duration>> {
    let (&version, age_ms) = answer.split_first()?;
    let age_ms = u64::from_be_bytes(age_ms.try_into().ok()?);
    (version == VERSION).then(|| (age_ms != NONE).then(|| Duration::from_millis(age_ms)))
}

#[cfg(test)]
mod tests {
    use super::{decode, encode};
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::any;
    use proptest::{prop_assert_eq, proptest};
    use std::time::Duration;

    /// Version 1, byte by byte.
    #[test]
    fn answers_are_what_version_1_says() {
        assert_eq!(&encode(Some(Duration::from_millis(0x1234)))[..], [1, 0, 0, 0, 0, 0, 0, 0x12, 0x34]);
        assert_eq!(&encode(None)[..], [1, 255, 255, 255, 255, 255, 255, 255, 255]);
    }

    proptest! {
        #[test]
        fn answers_come_back_and_garbage_is_no_answer(age_ms in option::of(0..u64::MAX - 1), garbage in vec(any::<u8>(), 0..20)) {
            let age = age_ms.map(Duration::from_millis);
            prop_assert_eq!(decode(&encode(age)), Some(age));
            prop_assert_eq!(decode(&garbage).is_some(), garbage.len() == 9 && garbage[0] == 1);
        }
    }
}
