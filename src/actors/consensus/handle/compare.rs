//! Comparison of the group's replicas with each other, and of each with its own former state. Every two seconds each
//! host sends its position to every other host, which answers with its own position and with what it remembers of the
//! asking host.
//!
//! A host must keep for ever what it once had on stable storage: without an entry or a vote that it gave, it could help
//! to elect a leader that lacks acknowledged changes. Other hosts recognise a host that was put back to an older state,
//! since they remember more of it than it has; they give it no votes, and its replica stops. If the chains of two
//! replicas differ at one index, the replicas have applied different entries; a replica that differs from a majority of
//! the voters stops. Digests of the tables travel with the positions: a replica whose digest differs from the one that a
//! majority of the voters share has made other rows of the same entries, and rejoins as another member.

use super::inner::Inner;
use super::members;
use crate::actors::consensus::contradiction::RUNBOOK;
use crate::actors::consensus::network::{Compare, Compared, Kind, ReplicaState, decode_plain, encode_plain};
use crate::actors::consensus::raft_types::raft_id;
use crate::actors::consensus::shared::{DurableState, Shared, locked, lost};
use crate::defects::{Defect, has};
use crate::metrics::REPLICAS;
use crate::net::GroupError;
use crate::storage::raft_log::{Point, Position};
use crate::storage::wal::Durability;
use crate::types::HostId;
use bytes::Bytes;
use futures::future::join_all;
use std::collections::BTreeSet;
use std::sync::Weak;
use std::time::Duration;

const COMPARE_EVERY: Duration = Duration::from_secs(2);
const ASK_PATIENCE: Duration = Duration::from_secs(1);
/// The interval of the first `FIRST_ROUNDS` comparisons after a start, until each other host has answered once: a host
/// that was put back to an older state must learn of it before it votes again.
const FIRST_EVERY: Duration = Duration::from_millis(200);
const FIRST_ROUNDS: u32 = 8;

/// Returns the state of this replica.
fn replica_state(shared: &Shared) -> ReplicaState {
    let applied = shared.history().last();
    let durable = shared.index().durable();
    // The others may commit an entry, and this host may apply it, before this host has synced it.
    let entry = applied.map(|point| point.at).into_iter().chain(durable).min_by_key(|at| at.index);
    let entry = entry.filter(|_| durable.is_some() && applied.is_some());
    let digest = locked(&shared.digests).last;
    ReplicaState { had: DurableState { ballot: *locked(&shared.durable_ballot), entry }, applied, digest }
}

/// Returns whether the log or the tables hold this committed entry.
fn holds(shared: &Shared, entry: Position) -> bool {
    let known = shared.index().position_of(entry.index);
    let known = known.or_else(|| shared.history().point(entry.index).map(|point| point.at));
    // An entry up to the applied index that neither the log nor the history has is in the snapshot.
    let passed = || shared.history().last().is_some_and(|point| point.at.index >= entry.index);
    known.map_or_else(passed, |at| at == entry)
}

/// Answers another host's comparison, and remembers the state that it reports.
pub fn serve(inner: &Inner, body: &Bytes) -> Result<Bytes, GroupError> {
    let asked: Compare = decode_plain(body)?;
    let others = &inner.others;
    // A host that was removed lacks nothing that counts. It is told of its removal elsewhere.
    let remembered = others.had(asked.host).filter(|_| other_members(inner).contains(&asked.host));
    others.note_had(asked.host, asked.replica.had);
    let shared = &inner.shared;
    let point = asked.replica.applied.and_then(|applied| shared.history().point(applied.at.index));
    if let (Some(own), Some(other)) = (point, asked.replica.applied) {
        others.note_points(asked.host, own, other);
    }
    let own = replica_state(shared);
    others.note_digests(asked.host, own.digest, asked.replica.digest);
    Ok(encode_plain(&Compared { replica: own, point, remembered }))
}

/// Compares this replica with the others again and again, until the replica is dropped.
pub async fn keep_comparing(inner: Weak<Inner>) {
    let mut answered = BTreeSet::new();
    for round in 0_u32.. {
        let Some(inner) = inner.upgrade() else { return };
        let others = other_members(&inner);
        if inner.shared.fault().is_none() {
            answered.extend(compare_all(&inner, &others).await);
        }
        let is_early = round < FIRST_ROUNDS && !others.is_subset(&answered);
        let pause = if is_early { FIRST_EVERY } else { COMPARE_EVERY };
        drop(inner);
        tokio::time::sleep(pause).await;
    }
}

fn other_members(inner: &Inner) -> BTreeSet<u64> {
    let own = *inner.raft.node_id();
    members::membership(inner).addresses.into_keys().map(raft_id).filter(|host| *host != own).collect()
}

/// Compares with each of these hosts once, and acts on the result. Returns the hosts that answered.
async fn compare_all(inner: &Inner, others: &BTreeSet<u64>) -> Vec<u64> {
    let own = replica_state(&inner.shared);
    let body = encode_plain(&Compare { host: *inner.raft.node_id(), replica: own });
    let asked: Vec<_> = others
        .iter()
        .copied()
        .map(|host| {
            let asked = inner.link.ask::<Compared>(HostId(host), Kind::Compare, body.clone(), ASK_PATIENCE);
            async move { Some((host, asked.await.ok()?)) }
        })
        .collect();
    let answers: Vec<(u64, Compared)> = join_all(asked).await.into_iter().flatten().collect();
    let mut missing = None;
    for (host, answer) in &answers {
        inner.others.note_had(*host, answer.replica.had);
        note_answer(inner, *host, own.applied, answer);
        inner.others.note_digests(*host, own.digest, answer.replica.digest);
        let gone = answer.remembered.and_then(|had| lacking(inner, had));
        missing = missing.or_else(|| gone.map(|what| (*host, what)));
    }
    inner.others.retain(others);
    act_on_comparison(inner, others, &answers, missing);
    show(inner, others);
    answers.into_iter().map(|(host, _)| host).collect()
}

/// Describes the entry or the vote that this replica once had and lacks now, if any. `had`: what another host remembers
/// of it.
fn lacking(inner: &Inner, had: DurableState) -> Option<String> {
    if has(Defect::VoteForLostEntries) {
        return None;
    }
    let ballot = inner.shared.index().standing().ballot;
    lost(had, ballot, |entry| holds(&inner.shared, entry))
}

fn note_answer(inner: &Inner, host: u64, own: Option<Point>, answer: &Compared) {
    if let (Some(own), Some(point)) = (own, answer.point) {
        inner.others.note_points(host, own, point);
    } else if let Some(applied) = answer.replica.applied
        && let Some(own) = inner.shared.history().point(applied.at.index)
    {
        inner.others.note_points(host, own, applied);
    }
}

/// Acts on the results of a comparison. `missing`: a host that remembers an entry or a vote which this replica lacks,
/// and which one. With `relaxed` durability, which may lose the end of the log, the replica takes no part in elections
/// until it has caught up, or votes only for a host that has what it lost (`Candidacy`). Otherwise the host was put back
/// to an older state or its drives lost synced writes, and the replica stops.
fn act_on_comparison(
    inner: &Inner,
    others: &BTreeSet<u64>,
    answers: &[(u64, Compared)],
    missing: Option<(u64, String)>,
) {
    if inner.shared.opener.durability != Durability::Strict {
        abstain_or_vote(inner, others, answers, missing);
    } else if let Some((host, what)) = missing {
        let why = format!(
            "host {host:016x} remembers that this host {what}, which this host no longer has: its directories were put back to an older state, or its drives lost synced writes; it takes no further part under its present id: {RUNBOOK}"
        );
        // This host has only a part of what it once had, so nothing is lost when it rejoins without its metadata.
        inner.server.be_superseded(why);
        return;
    }
    let voters: BTreeSet<u64> = members::membership(inner).voters.into_iter().map(raft_id).collect();
    if let Some(differing) = inner.others.majority_that_differs(&voters) {
        // This replica may be the last that holds acknowledged changes, so an operator decides what becomes of it.
        let why = format!(
            "the replica of this host has diverged from a majority of the voters (hosts {}); it is stopped: {RUNBOOK}",
            hosts_shown(&differing)
        );
        inner.server.leave_the_group(why);
        return;
    }
    act_on_digests(inner, &voters);
}

/// Keeps this host from leading, and from electing a host that lacks it too, while it lacks what other members remember
/// of it.
fn abstain_or_vote(inner: &Inner, others: &BTreeSet<u64>, answers: &[(u64, Compared)], missing: Option<(u64, String)>) {
    let (candidacy, now) = (&inner.candidacy, inner.ambient.clock.monotonic());
    let abstained = candidacy.abstains();
    let remembered = answers.iter().map(|(host, answer)| (*host, answer.remembered));
    candidacy.compare(now, others, remembered, |had| lacking(inner, had).is_some());
    match missing {
        Some((host, what)) if !abstained => {
            tracing::warn!(%what, "this host lost the end of its metadata log (host {host:016x} has later entries): until it has caught up it does not vote, or only for a host that has them");
        }
        _ if abstained && !candidacy.abstains() => {
            tracing::info!("this host has the end of its metadata log again, or no member remembers it: it votes");
        }
        _ => {}
    }
}

/// Has this host rejoin as another member if a majority of the voters share tables that differ from its own.
fn act_on_digests(inner: &Inner, voters: &BTreeSet<u64>) {
    let Some(own) = locked(&inner.shared.digests).last else { return };
    if let Some(others) = inner.others.majority_with_other_tables(voters, own) {
        let why = format!(
            "the metadata tables of this host were not those of hosts {} after entry {}, though all had applied the same entries: a drive, memory or the program failed; this host takes their tables: {RUNBOOK}",
            hosts_shown(&others),
            own.point.at.index
        );
        // The majority has applied every entry that this host has, so nothing is lost when it rejoins.
        inner.server.be_superseded(why);
    }
}

fn hosts_shown(hosts: &[u64]) -> String {
    hosts.iter().map(|host| format!("{host:016x}")).collect::<Vec<_>>().join(", ")
}

fn show(inner: &Inner, others: &BTreeSet<u64>) {
    let agreements = inner.others.agreements();
    let differing = agreements.values().filter(|agreement| agreement.differs()).count();
    let same = agreements.values().filter(|agreement| !agreement.differs() && agreement.same_through.is_some()).count();
    let unknown = others.len().saturating_sub(differing + same);
    for (state, count) in [("same", same), ("differing", differing), ("unknown", unknown)] {
        REPLICAS.with_label_values(&[state]).set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}
