//! Appends one group of stripes to the nodes: all shards at the same time, with a bounded wait for slow nodes.

use super::group::EncodedGroup;
use super::shard_outcomes::ShardFailure;
use crate::actors::peers::Trust;
use crate::actors::request::RequestContext;
use crate::defects::{Defect, has};
use crate::net::{AppendChunks, PeerError};
use crate::types::{BlobId, NodeId, ShardId, ShardNumber};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::{Instant, sleep};

/// The append of one shard.
pub(super) struct ShardAppend {
    pub(super) shard: usize,
    pub(super) request: AppendChunks,
}

/// Sends all calls and waits for them for `append_wait_max` at most. Once `quorum` of them have succeeded, it waits
/// only `append_late_after` more, or `append_suspect_wait` if all remaining nodes are suspect. A node that is not
/// waited for is late; it may still carry out the append. Returns the shards that failed, and does so at once when the
/// quorum is out of reach.
pub(super) async fn append_all(
    context: &RequestContext,
    calls: Vec<ShardAppend>,
    quorum: usize,
) -> Vec<(usize, ShardFailure)> {
    if has(Defect::AcknowledgeBelowQuorum) {
        return Vec::new();
    }
    let times = context.times;
    let mut pending: Vec<(usize, NodeId)> = calls.iter().map(|call| (call.shard, call.request.node)).collect();
    let all = pending.len();
    let mut failures = Vec::new();
    let mut answers: FuturesUnordered<_> = calls
        .into_iter()
        .map(|ShardAppend { shard, request }| async move { (shard, request.node, append(context, request).await) })
        .collect();
    let given_up = sleep(times.append_wait_max);
    let late = sleep(times.append_wait_max);
    tokio::pin!(given_up, late);
    let mut quorum_since = None;
    while !pending.is_empty() {
        tokio::select! {
            biased;
            answer = answers.next() => {
                let Some((shard, node, result)) = answer else { break };
                pending.retain(|&(other, _)| other != shard);
                if let Err(error) = result {
                    tracing::warn!(shard, %error, "cannot append a shard");
                    context.note_failure(node, &error);
                    failures.push((shard, failure_of(&error)));
                }
                let written = all - pending.len() - failures.len();
                if written >= quorum {
                    let since = *quorum_since.get_or_insert_with(Instant::now);
                    let suspect = pending.iter().all(|&(_, node)| context.trust(node) != Trust::Trusted);
                    late.as_mut().reset(since + if suspect { times.append_suspect_wait } else { times.append_late_after });
                }
                if written + pending.len() < quorum {
                    return failures;
                }
            }
            () = &mut late, if quorum_since.is_some() => break,
            () = &mut given_up => break,
        }
    }
    for &(shard, node) in &pending {
        tracing::warn!(%node, shard, "a node is too slow; its shard is left to repair");
        context.note_late(node, "it was too slow to take a shard");
    }
    failures.extend(pending.into_iter().map(|(shard, _)| (shard, ShardFailure::Late)));
    failures
}

/// Appends one shard. The wait includes dialing the node's host.
async fn append(context: &RequestContext, request: AppendChunks) -> Result<(), PeerError> {
    let span = context.begin_call("NodeService/append_chunks", request.node, request.shard);
    let request = AppendChunks { trace: span.context(), ..request };
    let appended = match context.peer(request.node).await {
        Ok(peer) => peer.append_chunks(request).await,
        Err(error) => Err(error),
    };
    span.end(&appended);
    appended
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

/// Returns the calls that append a group's chunks to the shards that have not failed.
pub(super) fn calls(
    group: &EncodedGroup,
    blob: BlobId,
    good: impl Iterator<Item = (usize, NodeId)>,
) -> Vec<ShardAppend> {
    let call = |(shard, node): (usize, NodeId)| {
        let id = ShardId { blob, shard: ShardNumber(shard as u8) };
        let (first, chunks) = (group.first, group.chunks(shard));
        ShardAppend { shard, request: AppendChunks { node, shard: id, first, chunks, trace: None } }
    };
    good.map(call).collect()
}
