//! Detects a leader's log that contradicts the entries applied here, which cannot happen while every host keeps what it
//! has synced: one of the two was put back to an older state or has lost synced writes. Going on would make this host's
//! tables differ from the others' for good, so the replica stops, and reports the contradiction. Called before entries are
//! taken from a leader (`network::server`), before a truncation (`mirror::store`) and before a snapshot is installed
//! (`state::machine`).
//!
//! openraft takes it for granted that a follower's applied entries are the leader's, and compares only those after them.

use super::raft_types::{MetaGroup, position_of, vote_of};
use super::shared::Shared;
use crate::storage::raft_log::{AppliedAt, Position};
use openraft::entry::RaftEntry;
use openraft::raft::AppendEntriesRequest;
use std::io;

/// The section of the runbook for operators.
pub const RUNBOOK: &str = "docs/how-to/runbook.md, \"Replicas that contradict each other\"";

fn words(at: Position) -> String {
    format!("entry {} of term {} (leader {:016x})", at.index, at.term, at.node)
}

/// Refuses to drop entries that are applied, or known to be decided.
pub fn check_truncation(shared: &Shared, after: Option<u64>) -> io::Result<()> {
    let Some(settled) = shared.settled().filter(|settled| after.is_none_or(|after| after < settled.index)) else {
        return Ok(());
    };
    let keep = after.map_or("no entry".to_owned(), |after| format!("entries up to {after} only"));
    let why = format!(
        "the leader of the metadata group has {keep} in common with this host, which has applied {}; one of them was put back to an older state or lost synced writes; this host stops, so that what it holds stays: {RUNBOOK}",
        words(settled)
    );
    shared.set_fault(why.clone());
    Err(io::Error::new(io::ErrorKind::InvalidData, why))
}

/// Refuses what a leader sends where it is not what was applied here, or is known to be decided. What a former leader sends
/// is openraft's to refuse.
pub fn check_append(shared: &Shared, request: &AppendEntriesRequest<MetaGroup>) -> Result<(), String> {
    let Some(settled) = shared.settled() else { return Ok(()) };
    let index = shared.index();
    let standing = index.standing();
    if standing.ballot.is_some_and(|ballot| request.vote.leader_id < vote_of(ballot).leader_id) {
        return Ok(());
    }
    let sent = request.prev_log_id.into_iter().chain(request.entries.iter().map(RaftEntry::log_id)).map(position_of);
    for sent in sent.filter(|sent| sent.index <= settled.index) {
        let (agrees, own) = match index.position_of(sent.index) {
            Some(own) => (own == sent, own),
            // Purged: no later leader's entry can have been there.
            None => ((sent.term, sent.node) <= (settled.term, settled.node), settled),
        };
        if !agrees {
            return Err(format!(
                "host {:016x}, which leads the metadata group, has {}, where this host has applied {}; one of them was put back to an older state or lost synced writes; this host stops, so that what it holds stays: {RUNBOOK}",
                request.vote.leader_id.node_id,
                words(sent),
                words(own)
            ));
        }
    }
    Ok(())
}

/// Refuses a snapshot that would take the tables back, or make them other than they were at the same entry.
pub fn check_snapshot(shared: &Shared, applied: &AppliedAt, head: &AppliedAt) -> io::Result<()> {
    let (Some(own), Some(taken)) = (applied.at, head.at) else { return Ok(()) };
    let is_same = taken == own && applied.chain == head.chain;
    if taken.index > own.index || is_same {
        return Ok(());
    }
    let why = format!(
        "a metadata snapshot of {} is not what this host has applied up to {}; one of them is of an older state or of lost writes; this host stops, so that what it holds stays: {RUNBOOK}",
        words(taken),
        words(own)
    );
    shared.set_fault(why.clone());
    Err(io::Error::new(io::ErrorKind::InvalidData, why))
}
