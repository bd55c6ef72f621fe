//! Detects a leader whose log contradicts the entries that this host has applied. This cannot happen while every host
//! keeps what it has synced: one of the two hosts was put back to an older state or has lost synced writes. If this
//! replica went on, its tables would differ from the others' for good, so it stops and reports the contradiction.
//!
//! openraft assumes that a follower's applied entries are the leader's, and compares only the entries after them. So
//! these checks run before entries are taken from a leader (`network::server`), before a truncation (`mirror::store`)
//! and before a snapshot is installed (`state::machine`).

use super::raft_types::{MetaGroup, position_of, vote_of};
use super::shared::Shared;
use crate::storage::raft_log::{AppliedAt, Position};
use openraft::entry::RaftEntry;
use openraft::raft::AppendEntriesRequest;
use std::io;

/// The section of the runbook that tells an operator what to do; error messages end with it.
pub const RUNBOOK: &str = "docs/how-to/runbook.md, \"Replicas that contradict each other\"";

fn described(at: Position) -> String {
    format!("entry {} of term {} (leader {:016x})", at.index, at.term, at.node)
}

/// Refuses a truncation that would drop entries which are applied, or known to be committed. `after`: the last entry
/// that the truncation keeps.
pub fn check_truncation(shared: &Shared, after: Option<u64>) -> io::Result<()> {
    let Some(settled) = shared.settled().filter(|settled| after.is_none_or(|after| after < settled.index)) else {
        return Ok(());
    };
    let keep = after.map_or("no entry".to_owned(), |after| format!("entries up to {after} only"));
    let why = format!(
        "the leader of the metadata group has {keep} in common with this host, which has applied {}; one of them was put back to an older state or lost synced writes; this host stops and keeps its data as it is: {RUNBOOK}",
        described(settled)
    );
    shared.set_fault(why.clone());
    Err(io::Error::new(io::ErrorKind::InvalidData, why))
}

/// Refuses a leader's entries that differ from entries which are applied here, or known to be committed. An append of a
/// former leader, whose vote is lower than this host's, is not checked: openraft refuses it.
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
            // The entry is purged here. Terms never fall along a log, so its term was at most that of the settled
            // entry.
            None => ((sent.term, sent.node) <= (settled.term, settled.node), settled),
        };
        if !agrees {
            return Err(format!(
                "host {:016x}, which leads the metadata group, has {}, where this host has applied {}; one of them was put back to an older state or lost synced writes; this host stops and keeps its data as it is: {RUNBOOK}",
                request.vote.leader_id.node_id,
                described(sent),
                described(own)
            ));
        }
    }
    Ok(())
}

/// Refuses a snapshot that ends before the last applied entry, or ends at it with another chain.
pub fn check_snapshot(shared: &Shared, applied: &AppliedAt, head: &AppliedAt) -> io::Result<()> {
    let (Some(own), Some(taken)) = (applied.at, head.at) else { return Ok(()) };
    let is_same = taken == own && applied.chain == head.chain;
    if taken.index > own.index || is_same {
        return Ok(());
    }
    let why = format!(
        "a metadata snapshot of {} contradicts this host, which has applied {}; one of them is of an older state or lacks synced writes; this host stops and keeps its data as it is: {RUNBOOK}",
        described(taken),
        described(own)
    );
    shared.set_fault(why.clone());
    Err(io::Error::new(io::ErrorKind::InvalidData, why))
}
