//! Linearizable reads on any host (C8): a read shows every change that was acknowledged before it began. The leader
//! serves it under its lease. Any other host asks the leader for the index that its own tables must have reached first;
//! reads that begin while it asks share the next question. Leases are measured by the monotonic clock, and not
//! trusted after the machine was suspended.

use super::MetaHandle;
use super::inner::{Inner, Leader};
use super::shared_calls::Callers;
use crate::actors::consensus::apply::RenewTables;
use crate::actors::consensus::network::{Kind, ReadAt, ReadIndex, decode_plain, encode_plain};
use crate::actors::consensus::shared::{MetaError, locked, unavailable};
use crate::defects::{Defect, has};
use crate::limits::{META_READ_WAIT_MAX, REFUSED_WITHIN};
use crate::net::GroupError;
use crate::storage::meta::view::MetaView;
use crate::types::HostId;
use bytes::Bytes;
use openraft::async_runtime::WatchReceiver;
use openraft::raft::linearizable_read::LinearizerOption;
use std::sync::Weak;
use std::time::Duration;
use tokio::time::timeout;

/// The longest wait of a read for tables that are being rebuilt. Then it fails, as another host may have whole tables.
const TABLES_PATIENCE: Duration = Duration::from_secs(4);
const READ_RETRY_PAUSE: Duration = Duration::from_millis(5);
/// The longest wait for a majority to confirm a leader whose lease is over.
const CONFIRM_PATIENCE: Duration = Duration::from_secs(1);
/// The longest wait for the leader's answer to one question.
const ASK_PATIENCE: Duration = Duration::from_secs(2);

const _: () = assert!(META_READ_WAIT_MAX.as_millis() + TABLES_PATIENCE.as_millis() <= REFUSED_WITHIN.as_millis());

impl MetaHandle {
    /// Returns a view that shows every change acknowledged on any host before this call.
    pub async fn read(&self) -> Result<MetaView, MetaError> {
        let inner = &*self.inner;
        if !inner.shared.sole_voter.is_confirmed() {
            timeout(META_READ_WAIT_MAX, pass_barrier(inner)).await.map_err(|_| unavailable("there is no leader"))??;
        }
        if let Some(view) = sound_view(inner) {
            return Ok(view);
        }
        timeout(TABLES_PATIENCE, wait_for_tables(inner)).await.map_err(|_| unavailable("the tables are being rebuilt"))
    }
}

/// Returns a view of tables in which no damage was found. Damaged tables are rebuilt at once.
fn sound_view(inner: &Inner) -> Option<MetaView> {
    let tables = inner.shared.tables.load();
    let tables = tables.as_ref()?;
    if tables.failure().get().is_none() {
        return Some(tables.view());
    }
    if tables.failure().claim() {
        inner.actor.do_send(RenewTables);
    }
    None
}

async fn wait_for_tables(inner: &Inner) -> MetaView {
    loop {
        let changed = inner.shared.tables_changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        if let Some(view) = sound_view(inner) {
            return view;
        }
        changed.await;
    }
}

async fn pass_barrier(inner: &Inner) -> Result<(), MetaError> {
    loop {
        if let Some(why) = inner.shared.fault() {
            return Err(MetaError::Unavailable { why });
        }
        let index = match inner.leader() {
            Leader::Here => index_here(inner).await?,
            Leader::There(_) => inner.read_indexes.answer().await.flatten(),
            Leader::Unknown => None,
        };
        if let Some(index) = index {
            let wait = inner.raft.wait(None);
            return wait.applied_index_at_least(Some(index), "a read").await.map(|_| ()).map_err(unavailable);
        }
        tokio::time::sleep(READ_RETRY_PAUSE).await;
    }
}

/// Returns the index that tables must have applied to show every acknowledged change; `None` if this host does not
/// lead.
async fn index_here(inner: &Inner) -> Result<Option<u64>, MetaError> {
    if has(Defect::ReadFromDeposedLeader) {
        return Ok(inner.raft.metrics().borrow_watched().last_applied.map(|id| id.index));
    }
    let clock = &inner.ambient.clock;
    let age_max = locked(&inner.lease_trust).age_max(clock.asleep(), clock.monotonic());
    let option = LinearizerOption::new(Some(age_max), true).with_wait_timeout(CONFIRM_PATIENCE);
    match inner.raft.get_read_linearizer(option).await {
        Ok(linearizer) => Ok(Some(linearizer.read_log_id().index())),
        Err(error) if error.fatal().is_some() => Err(unavailable(error)),
        Err(_) => Ok(None),
    }
}

/// Asks the leader for read indexes, as a task of the replica: a request may be polled seldom.
pub async fn answer_reads(inner: Weak<Inner>, reads: Callers<Option<u64>>) {
    let ask = || {
        let inner = inner.upgrade();
        async move {
            let inner = inner?;
            Some(match inner.leader() {
                Leader::There(leader) => index_there(&inner, leader).await,
                Leader::Here | Leader::Unknown => None,
            })
        }
    };
    reads.serve(ask).await;
}

async fn index_there(inner: &Inner, leader: HostId) -> Option<u64> {
    let asked = inner.link.ask(leader, Kind::ReadIndex, encode_plain(&ReadIndex {}), ASK_PATIENCE);
    tokio::select! {
        biased;
        answer = asked => match answer {
            Ok(ReadAt::Index(index)) => Some(index),
            Ok(ReadAt::NotLeader(_)) => None,
            Err(error) => {
                tracing::debug!(%error, "the leader has not answered with a read index");
                None
            }
        },
        () = inner.leader_is_other_than(leader) => None,
    }
}

/// Answers another host's request for a read index.
pub async fn serve(inner: &Inner, body: &Bytes) -> Result<Bytes, GroupError> {
    let ReadIndex {} = decode_plain(body)?;
    let index = index_here(inner).await.map_err(|error| GroupError::Refused { why: error.to_string() })?;
    let answer = match index {
        Some(index) => ReadAt::Index(index),
        None => ReadAt::NotLeader(inner.metrics().current_leader),
    };
    Ok(encode_plain(&answer))
}
