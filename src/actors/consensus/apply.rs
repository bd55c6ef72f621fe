//! The actor that proposes changes to the group's log. Owns the proposals in flight, their batches and their waiters;
//! on the leader it also puts the confirmed time into the log.
//!
//! Receives `Propose`, for changes of this host and for those that other hosts forward; `FormBatches`, from itself;
//! `MoveTables`, `RenewTables`, `Stop`. Sends no messages: outcomes go to the waiters. Invariants: the number of
//! batches in flight is bounded, and every waiter is answered by its deadline. Refuses proposals when it is stopped or
//! the replica is out of service, and gives them back if another host leads. Does no input or output itself.

use super::batcher::{Batch, Batcher};
use super::clock::ClusterClock;
use super::network::Hearing;
use super::raft_types::{Commands, MetaGroup, Replies};
use super::shared::{MetaError, Shared};
use super::sole_voter::confirm_sole_voter;
use super::state::{MetaRaft, SaveError, SnapshotStore, WithoutRoom};
use super::stuck_leader::StuckLeader;
use crate::ambient::Ambient;
use crate::limits::PROPOSAL_WAIT_MAX;
use crate::metrics::{
    CLOCK_AHEAD, CLOCK_AHEAD_OF_HOSTS, CLOCK_CONFIRMED, PROPOSAL_BATCH, PROPOSAL_SECONDS, PROPOSALS_FAILED, RAFT_INDEX,
    RAFT_IS_LEADER, RAFT_TERM, REPLICA_STOPPED,
};
use crate::storage::meta::codec::{encode_command, encode_entry, encode_forwarded};
use crate::storage::meta::command::{Change, Command, Origin, Reply, check_command};
use crate::types::NodeId;
use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, WrapFuture};
use bytes::Bytes;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::raft::ClientWriteResponse;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// The interval in which deadlines, metrics and the size of the log are looked at.
const TICK: Duration = Duration::from_millis(100);
/// The interval in which the confirmed time in the log is looked at.
const CLOCK_LOOK_EVERY: Duration = Duration::from_secs(1);
/// The pause before a failed snapshot is tried again.
const SNAPSHOT_PAUSE: Duration = Duration::from_secs(5);
/// The pause before a batch that was refused for lack of a leader is proposed again.
const RETRY_PAUSE: Duration = Duration::from_millis(10);

/// Proposes one change; the outcome goes to the waiter.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Propose {
    pub proposal: Proposal,
    pub waiter: Waiter,
}

/// A change that is to be proposed.
#[derive(Clone, Debug)]
pub enum Proposal {
    Own(Change),
    /// A command as its proposer encoded it. `origin` identifies it if it may have been sent to a leader before.
    Encoded {
        origin: Option<Origin>,
        command: Bytes,
    },
}

/// The task that waits for a change, and the memory that the change may hold meanwhile.
#[derive(Debug)]
pub struct Waiter {
    pub reply: oneshot::Sender<Result<Reply, Undecided>>,
    pub _permit: Option<Arc<OwnedSemaphorePermit>>,
    pub since: Duration,
}

/// The reason for which a change has no reply.
#[derive(Clone, Debug)]
pub enum Undecided {
    /// Another host leads: the command was not proposed, and is given back in its encoded form.
    NotHere(Bytes),
    Failed(MetaError),
}

/// Forms batches, after the proposals that are in the mailbox at present have been handled.
#[derive(Message)]
#[rtype(result = "()")]
struct FormBatches;

/// Moves the tables to another drive, if they are on this drive, which is lost.
#[derive(Message)]
#[rtype(result = "()")]
pub struct MoveTables(pub NodeId);

/// Rebuilds the tables, in which damage was found.
#[derive(Message)]
#[rtype(result = "()")]
pub struct RenewTables;

/// Stops the actor: further proposals are refused, and waiters get an error.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Stop;

/// The condition for writing a snapshot: the log has at least `log_bytes_min` bytes, and half as many as the last
/// snapshot. So at most about two bytes of snapshots are written for each byte of the log.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotPolicy {
    pub log_bytes_min: u64,
}

impl SnapshotPolicy {
    pub fn is_due(self, log_bytes: u64, last_snapshot_bytes: u64) -> bool {
        log_bytes >= self.log_bytes_min.max(last_snapshot_bytes / 2)
    }
}

/// The parts of a replica that the actor works with.
pub struct ApplyParts {
    pub raft: MetaRaft,
    pub shared: Arc<Shared>,
    pub snapshots: SnapshotStore,
    pub hearing: Arc<Hearing>,
    pub clock: ClusterClock,
}

pub struct ConsensusApply {
    raft: MetaRaft,
    shared: Arc<Shared>,
    snapshots: SnapshotStore,
    hearing: Arc<Hearing>,
    policy: SnapshotPolicy,
    ambient: Ambient,
    batcher: Batcher<Waiter>,
    clock: ClusterClock,
    /// The outcome of the proposal that advances the confirmed time, if one is in flight. Its waiter is this actor.
    advancing: Option<oneshot::Receiver<Result<Reply, Undecided>>>,
    clock_is_trouble: bool,
    next_clock_look: Duration,
    stuck_leader: StuckLeader,
    forming: bool,
    snapshotting: bool,
    confirming: bool,
    stopped: bool,
}

impl ConsensusApply {
    pub fn new(parts: ApplyParts, policy: SnapshotPolicy, ambient: Ambient) -> Self {
        let ApplyParts { raft, shared, snapshots, hearing, clock } = parts;
        Self {
            raft,
            shared,
            snapshots,
            hearing,
            policy,
            ambient,
            batcher: Batcher::default(),
            clock,
            advancing: None,
            clock_is_trouble: false,
            next_clock_look: Duration::ZERO,
            stuck_leader: StuckLeader::default(),
            forming: false,
            snapshotting: false,
            confirming: false,
            stopped: false,
        }
    }

    fn form_later(&mut self, ctx: &mut Context<Self>) {
        if !self.forming {
            self.forming = true;
            ctx.notify(FormBatches);
        }
    }

    fn form_batches(&mut self, ctx: &mut Context<Self>) {
        while let Some(Batch { id, commands }) = self.batcher.next_batch() {
            PROPOSAL_BATCH.with_label_values::<&str>(&[]).observe(commands.len() as f64);
            let (raft, entry) = (self.raft.clone(), Commands(encode_entry(&commands)));
            let decided = async move { raft.client_write(entry).await };
            ctx.spawn(decided.into_actor(self).map(move |result, this, ctx| this.settle(id, result, ctx)));
        }
    }

    fn settle(&mut self, id: u64, result: Decided, ctx: &mut Context<Self>) {
        match result {
            Ok(response) => self.answer(id, response.data),
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_))) if !self.stopped => {
                if self.may_yet_lead() {
                    self.batcher.requeue(id);
                    ctx.run_later(RETRY_PAUSE, |this, ctx| this.form_later(ctx));
                    return;
                }
                for (command, waiter) in self.batcher.take_back(id) {
                    let _ = waiter.reply.send(Err(Undecided::NotHere(command)));
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a batch of metadata changes failed; whether it takes effect is not known");
                let waiters = self.batcher.finish(id).into_iter().flatten().collect();
                self.fail(waiters, &MetaError::TimedOut, "unknown");
            }
        }
        self.form_later(ctx);
    }

    /// Returns whether this host leads, even if it cannot propose at this moment, or will lead as the only voter.
    fn may_yet_lead(&self) -> bool {
        let own = *self.raft.node_id();
        self.raft.metrics().borrow_watched().state.is_leader() || self.raft.voter_ids().eq(std::iter::once(own))
    }

    fn answer(&mut self, id: u64, replies: Replies) {
        let waiters = self.batcher.finish(id);
        assert!(waiters.len() == replies.0.len(), "an entry answers each of its commands");
        let now = self.ambient.clock.monotonic();
        for (waiter, reply) in waiters.into_iter().zip(replies.0) {
            let Some(waiter) = waiter else { continue };
            PROPOSAL_SECONDS.with_label_values::<&str>(&[]).observe(now.saturating_sub(waiter.since).as_secs_f64());
            let _ = waiter.reply.send(Ok(reply));
        }
    }

    fn fail(&self, waiters: Vec<Waiter>, error: &MetaError, why: &str) {
        PROPOSALS_FAILED.with_label_values(&[why]).inc_by(waiters.len() as u64);
        for waiter in waiters {
            let _ = waiter.reply.send(Err(Undecided::Failed(error.clone())));
        }
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        let expired = self.batcher.expire(self.ambient.clock.monotonic());
        let undecided = MetaError::Unavailable { why: "no leader took the change in time".to_owned() };
        self.fail(expired.unproposed, &undecided, "not proposed");
        self.fail(expired.undecided, &MetaError::TimedOut, "unknown");
        self.show_metrics();
        let now = self.ambient.clock.monotonic();
        self.look_at_decisions(now);
        if now >= self.next_clock_look {
            self.next_clock_look = now + CLOCK_LOOK_EVERY;
            self.keep_time(ctx);
            self.show_clock();
        }
        self.confirm_sole_voter(ctx);
        self.snapshot_if_due(ctx);
    }

    fn look_at_decisions(&mut self, now: Duration) {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let (last, applied) = (metrics.last_log_index.unwrap_or(0), metrics.last_applied.map_or(0, |id| id.index));
        if !metrics.state.is_leader() {
            self.stuck_leader = StuckLeader::default();
        }
        let is_stuck = metrics.state.is_leader() && self.stuck_leader.is_stuck(now, last, applied);
        self.shared.is_stuck.store(is_stuck, Ordering::Relaxed);
    }

    fn show_metrics(&self) {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let leads = metrics.state.is_leader() && self.hearing.is_followed();
        RAFT_TERM.with_label_values::<&str>(&[]).set(as_gauge(metrics.current_term));
        RAFT_IS_LEADER.with_label_values::<&str>(&[]).set(i64::from(leads));
        let is_stopped = self.shared.fault().is_some() || metrics.running_state.is_err();
        REPLICA_STOPPED.with_label_values::<&str>(&[]).set(i64::from(is_stopped && !self.stopped));
        let snapshot = self.snapshots.standing().map(|snapshot| snapshot.at.index);
        for (position, index) in [
            ("last", metrics.last_log_index),
            ("committed", metrics.local_committed.map(|id| id.index)),
            ("applied", metrics.last_applied.map(|id| id.index)),
            ("snapshot", snapshot),
            ("purged", metrics.purged.map(|id| id.index)),
        ] {
            RAFT_INDEX.with_label_values(&[position]).set(as_gauge(index.unwrap_or(0)));
        }
    }

    /// Takes over the confirmed time from the tables and, on the leader, proposes to advance it when that is due.
    fn keep_time(&mut self, ctx: &mut Context<Self>) {
        let Some(tables) = self.shared.tables.load_full() else { return };
        // A failed read here starts no rebuild of the tables: the next read through the handle does.
        let Ok(record) = tables.view().clock() else { return };
        if let Some(record) = &record {
            self.clock.learn(record);
        }
        let is_under_way = |reply: &mut oneshot::Receiver<_>| matches!(reply.try_recv(), Err(TryRecvError::Empty));
        if self.stopped || !self.may_yet_lead() || self.advancing.as_mut().is_some_and(is_under_way) {
            return;
        }
        self.advancing = self.clock.advance_to_propose(record.as_ref()).map(|advance| {
            let (reply, answer) = oneshot::channel();
            let since = self.ambient.clock.monotonic();
            let command = encode_command(&Command::at(self.clock.time(), Change::AdvanceClock(advance)));
            self.batcher.propose(command, since + PROPOSAL_WAIT_MAX, Waiter { reply, _permit: None, since });
            self.form_later(ctx);
            answer
        });
    }

    fn show_clock(&mut self) {
        let status = self.clock.status();
        CLOCK_CONFIRMED.with_label_values::<&str>(&[]).set(i64::from(status.is_confirmed));
        CLOCK_AHEAD.with_label_values::<&str>(&[]).set(status.ahead_ms() / 1000);
        CLOCK_AHEAD_OF_HOSTS.with_label_values::<&str>(&[]).set(status.ahead_of_hosts_ms() / 1000);
        let troubles = status.troubles();
        match (self.clock_is_trouble, troubles.is_empty()) {
            (false, false) => troubles.iter().for_each(|trouble| tracing::warn!("{trouble}")),
            (true, true) => tracing::info!("the clocks agree again"),
            _ => {}
        }
        self.clock_is_trouble = !troubles.is_empty();
    }

    /// Confirms a sole voter once at start and after each change of membership, so that its reads need no barrier.
    fn confirm_sole_voter(&mut self, ctx: &mut Context<Self>) {
        if self.confirming || self.stopped || self.shared.sole_voter.is_confirmed() {
            return;
        }
        self.confirming = true;
        let (raft, shared) = (self.raft.clone(), Arc::clone(&self.shared));
        let confirm = async move { confirm_sole_voter(&raft, &shared).await };
        ctx.spawn(confirm.into_actor(self).map(|(), this, _| this.confirming = false));
    }

    fn snapshot_if_due(&mut self, ctx: &mut Context<Self>) {
        let log_bytes = self.shared.index().retained_bytes();
        let last_bytes = self.snapshots.standing().map_or(0, |snapshot| snapshot.bytes);
        if self.snapshotting || self.stopped {
            return;
        }
        let is_wanted = self.shared.wants_snapshot.swap(false, Ordering::Relaxed);
        if !is_wanted && !self.policy.is_due(log_bytes, last_bytes) {
            return;
        }
        self.snapshotting = true;
        let shared = Arc::clone(&self.shared);
        let make = make_snapshot(self.raft.clone(), Arc::clone(&shared), self.snapshots.clone());
        let made = async move {
            if !make.await {
                if is_wanted {
                    shared.want_snapshot();
                }
                tokio::time::sleep(SNAPSHOT_PAUSE).await;
            }
        };
        ctx.spawn(made.into_actor(self).map(|(), this, _| this.snapshotting = false));
    }
}

type Decided = Result<ClientWriteResponse<MetaGroup>, RaftError<MetaGroup, ClientWriteError<MetaGroup>>>;

/// Writes a snapshot of the present tables, and has openraft drop the log below it. First makes the tables durable, so
/// that a restart has little to replay. Returns whether the snapshot was written.
pub async fn make_snapshot(raft: MetaRaft, shared: Arc<Shared>, snapshots: SnapshotStore) -> bool {
    let Ok((node, (head, kv, view))) = raft
        .with_state_machine(|machine| {
            let source = (machine.node(), machine.snapshot_source());
            Box::pin(async move { source })
        })
        .await
    else {
        return false;
    };
    let tables = Arc::clone(&kv);
    let saved = match shared.unless_lost(&[node], shared.offload.run(move || kv.persist())).await {
        Ok(Ok(Ok(()))) => snapshots.save(head, view, WithoutRoom::Stay).await,
        Ok(Ok(Err(error))) => Err(SaveError::Tables(error)),
        Err(lost) => Err(SaveError::Tables(lost.into())),
        Ok(Err(error)) => Err(SaveError::Drives(error)),
    };
    let Err(error) = saved else {
        let _ = raft.trigger().snapshot().await;
        return true;
    };
    tracing::warn!(%error, "no metadata snapshot could be made; the log is kept");
    // The tables are rebuilt only if they are at fault, not if a drive takes no snapshot or the host lacks resources.
    if let SaveError::Tables(error) = error
        && !error.lacks_resources
    {
        let why = error.to_string();
        let _ = raft
            .external_state_machine_request(move |machine| Box::pin(async move { machine.renew(&tables, &why).await }))
            .await;
    }
    false
}

fn as_gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

impl Actor for ConsensusApply {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.show_metrics();
        ctx.run_interval(TICK, Self::tick);
    }
}

impl Handler<Propose> for ConsensusApply {
    type Result = ();

    fn handle(&mut self, Propose { proposal, waiter }: Propose, ctx: &mut Self::Context) {
        let refused = if self.stopped { Some("the store is stopping".to_owned()) } else { self.shared.fault() };
        if let Some(why) = refused {
            return self.fail(vec![waiter], &MetaError::Unavailable { why }, "refused");
        }
        let command = match proposal {
            Proposal::Own(change) => encode_command(&Command::at(self.clock.time(), change)),
            Proposal::Encoded { origin: None, command } => command,
            Proposal::Encoded { origin: Some(origin), command } => {
                encode_forwarded(origin, self.clock.time(), &command)
            }
        };
        if let Err(error) = check_command(&command) {
            return self.fail(vec![waiter], &error.into(), "refused");
        }
        self.batcher.propose(command, waiter.since + PROPOSAL_WAIT_MAX, waiter);
        self.form_later(ctx);
    }
}

impl Handler<FormBatches> for ConsensusApply {
    type Result = ();

    fn handle(&mut self, _: FormBatches, ctx: &mut Self::Context) {
        self.forming = false;
        self.form_batches(ctx);
    }
}

impl Handler<MoveTables> for ConsensusApply {
    type Result = ();

    fn handle(&mut self, MoveTables(node): MoveTables, ctx: &mut Self::Context) {
        let raft = self.raft.clone();
        let moved = async move {
            let _ = raft.external_state_machine_request(move |machine| Box::pin(machine.leave(node))).await;
        };
        ctx.spawn(moved.into_actor(self));
    }
}

impl Handler<RenewTables> for ConsensusApply {
    type Result = ();

    fn handle(&mut self, RenewTables: RenewTables, ctx: &mut Self::Context) {
        let raft = self.raft.clone();
        let renewed = async move {
            let _ = raft.external_state_machine_request(|machine| Box::pin(machine.renew_damaged())).await;
        };
        ctx.spawn(renewed.into_actor(self));
    }
}

impl Handler<Stop> for ConsensusApply {
    type Result = ();

    fn handle(&mut self, _: Stop, _ctx: &mut Self::Context) {
        self.stopped = true;
        let left = self.batcher.drain();
        self.fail(left.unproposed, &MetaError::Unavailable { why: "the store is stopping".to_owned() }, "refused");
        self.fail(left.undecided, &MetaError::TimedOut, "unknown");
    }
}
