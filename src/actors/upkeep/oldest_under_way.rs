//! Queries between hosts about their reads and writes under way. The reclaimer uses them so that it drops no shard that
//! a read of another host needs, and the fencer so that it does not fence off a write of another host.
//!
//! A host answers with the age of its oldest read, by its own clock: if that read began after the garbage was looked
//! up, no read of the host needs the garbage. It also answers with the id of its oldest write, and agrees to draw no id
//! below the floor in the query. The queries travel as group calls under a group number that no Raft group has.
//!
//! Bodies and answers begin with the version (u8), 1, except that the body of the query for the oldest read is empty.
//! Numbers are big-endian:
//!
//! | query | body | answer |
//! |---|---|---|
//! | oldest read | – | age in milliseconds (u64), all ones if no read is under way |
//! | oldest write | floor in milliseconds since 1970 (u64) | blob id (u128) |

use super::context::ClusterContext;
use crate::actors::peers::DialError;
use crate::actors::request::{ActiveReads, ActiveWrites};
use crate::limits::PROBE_WAIT_MAX;
use crate::net::{GroupCall, GroupService, Peer, PeerError};
use crate::storage::meta::record::HostRecord;
use crate::types::{BlobId, HostId, UnixMs};
use bytes::Bytes;
use futures::future::join_all;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// The group number of these queries.
pub const UNDER_WAY_GROUP: u32 = u32::MAX - 1;
const OLDEST_READ: u8 = 1;
const OLDEST_WRITE: u8 = 2;
const VERSION: u8 = 1;
const NONE: u64 = u64::MAX;

/// The group service of a host: answers these queries, and passes other calls on to `groups`.
#[derive(Clone, Debug)]
pub struct UnderWayService {
    pub reads: ActiveReads,
    pub writes: ActiveWrites,
    pub groups: Arc<dyn GroupService>,
}

#[async_trait::async_trait]
impl GroupService for UnderWayService {
    async fn group_call(&self, call: GroupCall) -> Result<Bytes, PeerError> {
        match (call.group, call.kind) {
            (UNDER_WAY_GROUP, OLDEST_READ) => Ok(encode_age(self.reads.oldest_age())),
            (UNDER_WAY_GROUP, OLDEST_WRITE) => {
                let malformed = || PeerError::Refused {
                    why: "malformed query for the oldest write: not version 1 and a floor".to_owned(),
                };
                let floor = u64::from_be_bytes(versioned(&call.body).ok_or_else(malformed)?);
                Ok(encode(self.writes.settle(UnixMs(floor)).to_be_bytes()))
            }
            (UNDER_WAY_GROUP, kind) => {
                Err(PeerError::Refused { why: format!("unknown query {kind} about reads and writes under way") })
            }
            _ => self.groups.group_call(call).await,
        }
    }
}

/// Returns the age of a host's oldest read; `None` if it has none.
pub(super) async fn oldest_read(peer: Peer) -> Result<Option<Duration>, PeerError> {
    let answer = ask(&peer, OLDEST_READ, Bytes::new()).await?;
    decode_age(&answer)
        .ok_or_else(|| PeerError::Refused { why: "malformed answer to the query for the oldest read".to_owned() })
}

/// Returns the id of a host's oldest write. The host agrees to draw no id below `floor` from now on
/// (`ActiveWrites::settle`).
pub(super) async fn oldest_write(peer: Peer, floor: UnixMs) -> Result<BlobId, PeerError> {
    let answer = ask(&peer, OLDEST_WRITE, encode(floor.0.to_be_bytes())).await?;
    let id = versioned(&answer).map(BlobId::from_be_bytes);
    id.ok_or_else(|| PeerError::Refused { why: "malformed answer to the query for the oldest write".to_owned() })
}

async fn ask(peer: &Peer, kind: u8, body: Bytes) -> Result<Bytes, PeerError> {
    peer.group_call(GroupCall { group: UNDER_WAY_GROUP, kind, body }).await
}

/// Queries all other hosts of the cluster, and remembers which do not answer.
#[derive(Debug, Default)]
pub(super) struct OtherHosts {
    /// The hosts that do not answer, with the monotonic time since when.
    silent: BTreeMap<HostId, Duration>,
}

impl OtherHosts {
    /// Queries these hosts concurrently. For a host that does not answer, returns how long it has not.
    pub(super) async fn ask<T, F: Future<Output = Result<T, PeerError>>>(
        &mut self,
        context: &ClusterContext,
        hosts: Vec<HostId>,
        ask: impl Fn(Peer) -> F,
    ) -> Vec<(HostId, Result<T, Duration>)> {
        let asked_at = context.ambient.clock.monotonic();
        // A removed host is asked no more.
        self.silent.retain(|host, _| hosts.contains(host));
        let ask = &ask;
        let asks = hosts.into_iter().map(|host| async move {
            let asking = async {
                let unreachable = |error: DialError| PeerError::Unreachable { host, why: error.why, sent: false };
                ask(context.peers.peer_for(host).await.map_err(unreachable)?).await
            };
            (host, timeout(PROBE_WAIT_MAX, asking).await.ok().and_then(Result::ok))
        });
        let mut answers = Vec::new();
        for (host, answer) in join_all(asks).await {
            let answer = match answer {
                Some(answer) => {
                    self.silent.remove(&host);
                    Ok(answer)
                }
                None => Err(asked_at.saturating_sub(*self.silent.entry(host).or_insert(asked_at))),
            };
            answers.push((host, answer));
        }
        answers
    }
}

/// Returns all hosts except this one: the registered ones, with or without drives, and those in the ring.
pub(super) fn other_hosts(context: &ClusterContext, registered: &[HostRecord]) -> BTreeSet<HostId> {
    let ring = context.ring.current();
    let of_nodes = ring.nodes().iter().map(|node| node.host);
    let mut hosts: BTreeSet<HostId> = registered.iter().map(|host| host.id).chain(of_nodes).collect();
    hosts.remove(&context.host);
    hosts
}

fn encode<const BYTES: usize>(number: [u8; BYTES]) -> Bytes {
    [&[VERSION][..], &number].concat().into()
}

fn versioned<const BYTES: usize>(bytes: &[u8]) -> Option<[u8; BYTES]> {
    let (&version, number) = bytes.split_first()?;
    if version == VERSION { number.try_into().ok() } else { None }
}

fn encode_age(age: Option<Duration>) -> Bytes {
    encode(age.map_or(NONE, |age| u64::try_from(age.as_millis()).unwrap_or(NONE - 1)).to_be_bytes())
}

fn decode_age(answer: &[u8]) -> Option<Option<Duration>> {
    let age_ms = u64::from_be_bytes(versioned(answer)?);
    Some((age_ms != NONE).then(|| Duration::from_millis(age_ms)))
}

#[cfg(test)]
mod tests {
    use super::{OLDEST_WRITE, UNDER_WAY_GROUP, UnderWayService, decode_age, encode, encode_age, versioned};
    use crate::actors::request::{ActiveReads, ActiveWrites};
    use crate::ambient::Ambient;
    use crate::net::{GroupCall, GroupService, NoGroups};
    use crate::types::{BlobId, UnixMs};
    use bytes::Bytes;
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::any;
    use proptest::{prop_assert_eq, proptest};
    use std::sync::Arc;
    use std::time::Duration;

    /// The bytes of version 1.
    #[test]
    fn the_answer_about_the_oldest_read_has_the_bytes_of_version_1() {
        assert_eq!(&encode_age(Some(Duration::from_millis(0x1234)))[..], [1, 0, 0, 0, 0, 0, 0, 0x12, 0x34]);
        assert_eq!(&encode_age(None)[..], [1, 255, 255, 255, 255, 255, 255, 255, 255]);
    }

    /// The bytes of version 1, and the promise of the answer.
    #[actix::test]
    async fn a_host_answers_with_its_oldest_write_and_draws_no_id_below_the_floor() {
        let (ambient, writes) = (Ambient::system(), ActiveWrites::default());
        let reads = ActiveReads::new(Arc::clone(&ambient.clock));
        let service = UnderWayService { reads, writes: writes.clone(), groups: Arc::new(NoGroups) };
        let ask = |body: Bytes| {
            let call = GroupCall { group: UNDER_WAY_GROUP, kind: OLDEST_WRITE, body };
            let service = service.clone();
            async move { service.group_call(call).await }
        };
        let write = writes.begin(&ambient);
        let far = [1, 0, 0, 0x7f, 0, 0, 0, 0, 0];
        let answer = ask(Bytes::copy_from_slice(&far)).await.expect("answered");
        assert_eq!(answer[..], [&[1][..], &write.blob().to_be_bytes()].concat());
        drop(write);
        let answer = ask(Bytes::copy_from_slice(&far)).await.expect("answered");
        assert_eq!(answer[..], [&[1, 0x7f][..], &[0; 15]].concat());
        assert!(writes.begin(&ambient).blob() >= BlobId::first_of(UnixMs(0x7f_00_00_00_00_00)));
        assert!(ask(Bytes::new()).await.is_err());
    }

    proptest! {
        #[test]
        fn answers_round_trip_and_malformed_ones_are_refused(age_ms in option::of(0..u64::MAX - 1), id: u128, garbage in vec(any::<u8>(), 0..20)) {
            let age = age_ms.map(Duration::from_millis);
            prop_assert_eq!(decode_age(&encode_age(age)), Some(age));
            prop_assert_eq!(decode_age(&garbage).is_some(), garbage.len() == 9 && garbage[0] == 1);
            prop_assert_eq!(versioned(&encode(id.to_be_bytes())), Some(id.to_be_bytes()));
            prop_assert_eq!(versioned::<16>(&garbage).is_some(), garbage.len() == 17 && garbage[0] == 1);
        }
    }
}
