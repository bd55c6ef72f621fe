//! Brings changes to the leader: proposes a change here if this host leads, else sends it to the leader. If the lead
//! moves, the change is sent again to the next leader, until it is decided or its time is over.
//!
//! A change that may have reached a leader before is sent again only with its origin
//! (`storage::meta::command::Origin`). By the origin the state machine recognises a change that was made already, and
//! repeats its first answer. So a lost answer never leads to a second effect: nothing is deleted twice, and a
//! conditional put that succeeded is not refused when it is sent again. A change that this host proposes as the leader
//! has no origin, and is not sent again once its entry is in the log. If this host does not learn its outcome in time,
//! the outcome is unknown.

use super::MetaHandle;
use super::inner::{Inner, Leader};
use crate::actors::consensus::apply::{Proposal, Propose, Undecided, Waiter};
use crate::actors::consensus::network::{Forward, ForwardOutcome, Forwarded, Kind, decode, encode, encode_plain};
use crate::actors::consensus::shared::{MetaError, unavailable};
use crate::limits::{FORWARDS_MAX, PROPOSAL_WAIT_MAX};
use crate::net::GroupError;
use crate::storage::meta::codec::{decode_command, encode_command};
use crate::storage::meta::command::{Change, Command, DeleteVersion, Origin, Refusal, Reply, check_command};
use crate::types::HostId;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

/// Bytes that proposals may hold in all.
const PROPOSALS_BYTES_MAX: u32 = 64 << 20;
/// The approximate memory of a proposal besides its inline bytes.
const PROPOSAL_BYTES: u32 = 1024;
/// The margin by which the caller waits longer than the actor, whose error says more than a timeout.
const ANSWER_GRACE: Duration = Duration::from_secs(1);
/// The longest wait for a leader's answer; then the change is sent again, to that leader or its successor.
const SEND_PATIENCE: Duration = Duration::from_secs(3);
/// The pause before a change that no leader has taken is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(10);

/// A change that is being brought to the leader.
struct ForwardedChange<'a> {
    inner: &'a Inner,
    permit: Arc<OwnedSemaphorePermit>,
    since: Duration,
    proposal: Proposal,
    /// True if a leader may have the change, so that it may still take effect.
    adrift: bool,
    /// The leader hint of a `NotLeader` reply; tried once.
    hint: Option<HostId>,
    /// The reason for which a leader did not take the change when it was sent last.
    refusal: Option<String>,
}

/// The outcome of one attempt: the final result, or whether to pause before the next attempt.
enum Attempted {
    Over(Result<Reply, MetaError>),
    Again,
    AgainAtOnce,
}

impl MetaHandle {
    /// Has the leader decide a change, wherever it is, and waits until the leader has applied it. Every read that
    /// begins afterwards, on any host, shows the change. The leader sets its time.
    pub async fn propose(&self, change: Change) -> Result<Reply, MetaError> {
        let inner = &*self.inner;
        change.check_documents()?;
        let since = inner.ambient.clock.monotonic();
        let permit = Arc::new(permit(inner, proposal_bytes(&change), PROPOSAL_WAIT_MAX).await?);
        let mut forwarded = ForwardedChange {
            inner,
            permit,
            since,
            proposal: Proposal::Own(change),
            adrift: false,
            hint: None,
            refusal: None,
        };
        loop {
            let tried = match forwarded.hint.take().map_or_else(|| inner.leader(), Leader::There) {
                Leader::Here => forwarded.try_here().await,
                Leader::There(leader) => forwarded.try_there(leader).await,
                Leader::Unknown => Attempted::Again,
            };
            match tried {
                Attempted::Over(result) => return result,
                Attempted::AgainAtOnce if forwarded.left().is_some() => {}
                Attempted::Again if forwarded.left().is_some() => tokio::time::sleep(RETRY_PAUSE).await,
                Attempted::Again | Attempted::AgainAtOnce => return Err(forwarded.out_of_time()),
            }
        }
    }
}

async fn permit(inner: &Inner, bytes: u32, patience: Duration) -> Result<OwnedSemaphorePermit, MetaError> {
    match timeout(patience, Arc::clone(&inner.permits).acquire_many_owned(bytes)).await {
        Ok(Ok(permit)) => Ok(permit),
        Ok(Err(_)) => Err(unavailable("the store is stopping")),
        Err(_) => Err(unavailable("too many changes are waiting")),
    }
}

impl ForwardedChange<'_> {
    /// Returns the time that is left until the change's deadline, if any.
    fn left(&self) -> Option<Duration> {
        let end = self.since + PROPOSAL_WAIT_MAX;
        end.checked_sub(self.inner.ambient.clock.monotonic()).filter(|left| !left.is_zero())
    }

    fn out_of_time(&self) -> MetaError {
        match &self.refusal {
            _ if self.adrift => MetaError::TimedOut,
            Some(why) => unavailable(format!("the leader did not take the change in time: {why}")),
            None => unavailable("no leader took the change in time"),
        }
    }

    async fn try_here(&mut self) -> Attempted {
        // An encoded command is kept, as it must be the same when it is sent again. A change that is not encoded yet is
        // moved: it comes back encoded if it was not proposed.
        let proposal = match &self.proposal {
            Proposal::Encoded { .. } => self.proposal.clone(),
            Proposal::Own(_) => {
                std::mem::replace(&mut self.proposal, Proposal::Encoded { origin: None, command: Bytes::new() })
            }
        };
        let has_origin = matches!(proposal, Proposal::Encoded { origin: Some(_), .. });
        match decide_here(self.inner, proposal, Arc::clone(&self.permit), self.since).await {
            Ok(reply) => self.judge(reply),
            Err(Undecided::NotHere(command)) => {
                if let Proposal::Encoded { origin: None, command: kept } = &mut self.proposal {
                    *kept = command;
                }
                Attempted::Again
            }
            Err(Undecided::Failed(MetaError::TimedOut)) if has_origin => {
                self.adrift = true;
                Attempted::Again
            }
            Err(Undecided::Failed(MetaError::Unavailable { .. })) if self.adrift => {
                Attempted::Over(Err(MetaError::TimedOut))
            }
            Err(Undecided::Failed(error)) => Attempted::Over(Err(error)),
        }
    }

    async fn try_there(&mut self, leader: HostId) -> Attempted {
        let Some(left) = self.left() else { return Attempted::Again };
        let Ok(Ok(_turn)) = timeout(left, self.inner.forwards.acquire()).await else { return Attempted::Again };
        let (origin, command) = self.with_origin();
        if let Err(error) = check_command(&command) {
            return Attempted::Over(Err(error.into()));
        }
        let within = SEND_PATIENCE.min(self.left().unwrap_or_default());
        let body = encode(&Forward { origin }, &[&command]);
        let asked = self.inner.link.ask::<Forwarded>(leader, Kind::Forward, body, within);
        let answer = tokio::select! {
            biased;
            answer = asked => answer,
            () = self.inner.leader_is_other_than(leader) => {
                self.adrift = true;
                return Attempted::Again;
            }
        };
        match answer {
            Err(error) => {
                tracing::debug!(%error, "a change that was sent to the leader has no answer");
                self.adrift |= !error.has_no_effect();
                self.refusal = error.refusal().map(str::to_owned);
                Attempted::Again
            }
            Ok(Forwarded { applied, outcome }) => {
                self.inner.known_applied.fetch_max(applied, Ordering::Relaxed);
                self.weigh(leader, outcome)
            }
        }
    }

    fn weigh(&mut self, asked: HostId, outcome: ForwardOutcome) -> Attempted {
        match outcome {
            ForwardOutcome::Decided(reply) => self.judge(reply),
            ForwardOutcome::NotLeader(Some(other)) if other != asked.0 && HostId(other) != self.own() => {
                let hint = HostId(other);
                if self.inner.leader() != Leader::There(hint) {
                    self.hint = Some(hint);
                }
                Attempted::Again
            }
            ForwardOutcome::NotLeader(_) => Attempted::Again,
            ForwardOutcome::Refused(why) => {
                self.refusal = Some(why);
                Attempted::Again
            }
            ForwardOutcome::Unknown => {
                self.adrift = true;
                Attempted::Again
            }
        }
    }

    fn own(&self) -> HostId {
        HostId(*self.inner.raft.node_id())
    }

    /// Returns the reply as the result, unless the state machine has forgotten too much to tell whether it made the
    /// change.
    fn judge(&mut self, reply: Reply) -> Attempted {
        if reply != Reply::Refused(Refusal::Forgotten) {
            return Attempted::Over(Ok(reply));
        }
        if self.adrift {
            return Attempted::Over(Err(MetaError::TimedOut));
        }
        // The change was never made: its origin was too old from the start, as this host was far behind.
        if let Proposal::Encoded { origin, .. } = &mut self.proposal {
            *origin = None;
        }
        Attempted::AgainAtOnce
    }

    /// Returns the change's origin and its encoded command. Gives it an origin if it has none, and keeps both for later
    /// attempts.
    fn with_origin(&mut self) -> (Origin, Bytes) {
        let inner = self.inner;
        let command = match &self.proposal {
            Proposal::Own(change) => encode_command(&Command::at(inner.clock.time(), change.clone())),
            Proposal::Encoded { command, .. } => command.clone(),
        };
        let known = match &self.proposal {
            Proposal::Encoded { origin, .. } => *origin,
            Proposal::Own(_) => None,
        };
        let origin = known.unwrap_or_else(|| {
            let applied = inner.metrics().last_applied.map_or(0, |at| at.index);
            let since = applied.max(inner.known_applied.load(Ordering::Relaxed));
            Origin { since, id: inner.ambient.random_u128() }
        });
        self.proposal = Proposal::Encoded { origin: Some(origin), command: command.clone() };
        (origin, command)
    }
}

async fn decide_here(
    inner: &Inner,
    proposal: Proposal,
    permit: Arc<OwnedSemaphorePermit>,
    since: Duration,
) -> Result<Reply, Undecided> {
    let (reply, answer) = oneshot::channel();
    let waited = inner.ambient.clock.monotonic().saturating_sub(since);
    inner.actor.do_send(Propose { proposal, waiter: Waiter { reply, _permit: Some(permit), since } });
    match timeout((PROPOSAL_WAIT_MAX + ANSWER_GRACE).saturating_sub(waited), answer).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) | Err(_) => Err(Undecided::Failed(MetaError::TimedOut)),
    }
}

/// Proposes a change for another host. Decodes it first: an entry that no replica can decode would stop all of them.
pub async fn serve(inner: &Inner, body: &Bytes) -> Result<Bytes, GroupError> {
    let (Forward { origin }, command): (Forward, Bytes) = decode(body)?;
    let outcome = match decode_command(&command) {
        Err(error) => ForwardOutcome::Refused(error.to_string()),
        Ok(Command { origin: Some(_), .. }) => ForwardOutcome::Refused("the change was forwarded twice".to_owned()),
        Ok(command) if command.change.check_documents().is_err() => {
            ForwardOutcome::Refused("a document of the change is too large".to_owned())
        }
        Ok(_) if inner.leader() != Leader::Here => ForwardOutcome::NotLeader(inner.metrics().current_leader),
        Ok(_) => decide_for(inner, origin, command).await,
    };
    let applied = inner.metrics().last_applied.map_or(0, |at| at.index);
    Ok(encode_plain(&Forwarded { applied, outcome }))
}

async fn decide_for(inner: &Inner, origin: Origin, command: Bytes) -> ForwardOutcome {
    let since = inner.ambient.clock.monotonic();
    let bytes = u32::try_from(command.len()).unwrap_or(u32::MAX).saturating_add(PROPOSAL_BYTES);
    let permit = match permit(inner, bytes.min(PROPOSALS_BYTES_MAX), SEND_PATIENCE).await {
        Ok(permit) => Arc::new(permit),
        Err(error) => return ForwardOutcome::Refused(error.to_string()),
    };
    let proposal = Proposal::Encoded { origin: Some(origin), command };
    match decide_here(inner, proposal, permit, since).await {
        Ok(reply) => ForwardOutcome::Decided(reply),
        Err(Undecided::NotHere(_)) => ForwardOutcome::NotLeader(inner.metrics().current_leader),
        Err(Undecided::Failed(MetaError::TimedOut)) => ForwardOutcome::Unknown,
        Err(Undecided::Failed(error)) => ForwardOutcome::Refused(error.to_string()),
    }
}

fn proposal_bytes(change: &Change) -> u32 {
    let large = match change {
        Change::PutObject(put) => put.inline.as_ref().map_or(0, Bytes::len),
        Change::DeleteVersions { deletes, .. } => deletes.iter().map(DeleteVersion::weight_bytes).sum(),
        Change::CompleteUpload(complete) => complete.parts.len() * 64,
        Change::WriteDocuments(writes) => {
            writes.iter().map(|write| write.value.as_ref().map_or(0, Bytes::len) + 256).sum()
        }
        Change::CreateBucket(create) => create.documents.iter().map(|(_, _, value)| value.len()).sum(),
        _ => 0,
    };
    u32::try_from(large).unwrap_or(u32::MAX).saturating_add(PROPOSAL_BYTES).min(PROPOSALS_BYTES_MAX)
}

pub fn proposal_permits() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(PROPOSALS_BYTES_MAX as usize))
}

pub fn forward_permits() -> Semaphore {
    Semaphore::new(FORWARDS_MAX)
}

#[cfg(test)]
mod tests {
    use super::{PROPOSAL_BYTES, proposal_bytes};
    use crate::storage::meta::command::Change;
    use crate::storage::meta::record::{DocumentKey, DocumentWrite, Expect};
    use crate::storage::meta::samples;
    use bytes::Bytes;

    /// C2: the memory bound of changes in flight counts the bytes that they carry.
    #[test]
    fn c2_a_change_counts_at_least_its_body_towards_the_memory_bound() {
        static BODY: [u8; 16 << 10] = [7; 16 << 10];
        let put = samples::put_inline("key", 5, &BODY);
        let value = Some(Bytes::from_static(&BODY));
        let document = DocumentWrite { key: DocumentKey::System("x".to_owned()), expect: Expect::Any, value };
        for change in [Change::PutObject(Box::new(put)), Change::WriteDocuments(vec![document])] {
            assert!(proposal_bytes(&change) as usize >= BODY.len() + PROPOSAL_BYTES as usize, "{change:?}");
        }
    }
}
