//! One group's appends: all shards at once, each to its node, waited for up to a bound.

use super::group::EncodedGroup;
use super::standings::ShardFailure;
use crate::actors::request::RequestTimes;
use crate::net::{AppendChunks, Peer, PeerError};
use crate::types::{BlobId, NodeId, ShardId, ShardIndex};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::sleep;

/// One shard's append.
pub(super) struct Call {
    pub(super) shard: usize,
    pub(super) peer: Peer,
    pub(super) request: AppendChunks,
}

/// Sends every call and waits for all; once `quorum` have succeeded, for `append_late_after` more at most; and never longer
/// than `append_wait_max`. A call not waited for may still be carried out. Answers with the shards that failed; where the
/// quorum is out of reach, without waiting for the rest.
pub(super) async fn append_all(calls: Vec<Call>, quorum: usize, times: RequestTimes) -> Vec<(usize, ShardFailure)> {
    let mut pending: Vec<usize> = calls.iter().map(|call| call.shard).collect();
    let all = pending.len();
    let mut failures = Vec::new();
    let mut answers: FuturesUnordered<_> = calls
        .into_iter()
        .map(|Call { shard, peer, request }| async move { (shard, peer.append_chunks(request).await) })
        .collect();
    let given_up = sleep(times.append_wait_max);
    tokio::pin!(given_up);
    let late = sleep(times.append_wait_max);
    tokio::pin!(late);
    let mut quorum_met = false;
    while !pending.is_empty() {
        tokio::select! {
                biased;
            answer = answers.next() => {
                let Some((shard, result)) = answer else { break };
                pending.retain(|&other| other != shard);
                if let Err(error) = result {
                    tracing::warn!(shard, %error, "a shard could not be appended");
                    failures.push((shard, failure_of(&error)));
                }
                let written = all - pending.len() - failures.len();
                if written >= quorum && !quorum_met {
                    quorum_met = true;
                    late.as_mut().reset(tokio::time::Instant::now() + times.append_late_after);
                }
                if written + pending.len() < quorum {
                    return failures;
                }
            }
            () = &mut late, if quorum_met => break,
            () = &mut given_up => break,
        }
    }
    failures.extend(pending.into_iter().map(|shard| (shard, ShardFailure::Late)));
    failures
}

fn failure_of(error: &PeerError) -> ShardFailure {
    match error {
        PeerError::OutOfSpace(_) => ShardFailure::OutOfSpace,
        PeerError::TimedOut(_) => ShardFailure::Late,
        PeerError::NoSuchNode(_)
        | PeerError::Unavailable { .. }
        | PeerError::Unreachable { .. }
        | PeerError::Garbled { .. }
        | PeerError::Refused { .. } => ShardFailure::Failed(error.to_string()),
    }
}

/// The calls that append a group's shards.
pub(super) fn calls(
    group: &EncodedGroup,
    blob: BlobId,
    good: impl Iterator<Item = (usize, NodeId)>,
    peers: &[Option<Peer>],
) -> Vec<Call> {
    let call = |(shard, node): (usize, NodeId)| {
        let peer = peers.get(shard)?.clone()?;
        let id = ShardId { blob, shard: ShardIndex(shard as u8) };
        Some(Call {
            shard,
            peer,
            request: AppendChunks { node, shard: id, first: group.first, chunks: group.chunks(shard) },
        })
    };
    good.filter_map(call).collect()
}
