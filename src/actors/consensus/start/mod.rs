//! Starts a replica: selects the copies of the log and brings them to the same end, finds the snapshot and the tables,
//! and starts openraft and the replica's tasks.

mod copies;
mod merging;
mod recovery;
mod salvage;
mod tables;

use super::apply::{ApplyParts, ConsensusApply, SnapshotPolicy};
use super::candidacy::Candidacy;
use super::clock::ClusterClock;
use super::handle::{
    GroupId, Inner, LeaseTrust, MetaHandle, answer_reads, forward_permits, keep_comparing, lead_with_tables,
    proposal_permits, shared_calls,
};
use super::mirror::{LogStore, Mirror};
use super::network::{Hearing, Link, Patience, Peers, Server, remove_left_snapshots};
use super::raft_types::{SeededRuntime, raft_id};
use super::shared::{Offload, Others, ReplicaDrive, Shared};
use super::sole_voter::confirm_sole_voter;
use super::state::{MetaRaft, SnapshotDamaged, SnapshotStore, StateHome, StateMachine};
use super::to_mirror::ToMirror;
use crate::actors::log::Threads;
use crate::ambient::Ambient;
use crate::net::GroupTransport;
use crate::storage::buffer::BufferPool;
use crate::storage::disk::host_lacks_resources;
use crate::storage::raft_log::{Ballot, ChoiceError, MirrorProgress, Position};
use crate::storage::wal::Durability;
use crate::types::{ClusterId, HostId, NodeId};
use actix::Actor;
use copies::{SelectedCopies, select_copies, settle};
use openraft::errors::{InitializeError, RaftError};
use openraft::{BasicNode, Config, Raft};
use recovery::vote_as_of_the_snapshot;
use salvage::{keep_tables, select_to_salvage};
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tables::{ChosenTables, FoundTables, choose_tables, discard, find_snapshot};
use tokio::sync::{mpsc, oneshot};

pub use recovery::{Remains, recover_frames, recover_own, survey_recovery};
pub use salvage::{Salvage, SalvageError, survey_salvage};

const HEARTBEAT_MS: u64 = 200;
const ELECTION_MS_MIN: u64 = 600;
const ELECTION_MS_MAX: u64 = 1200;
/// The time for which a follower elects no other leader after it last heard one: openraft takes the greatest election
/// timeout for it.
const LEASE: Duration = Duration::from_millis(ELECTION_MS_MAX);
/// When a leader that hears no majority is silent, and when it speaks again: every four of the greatest election
/// timeouts, for two and a half heartbeats.
const PATIENCE: Patience = Patience {
    lease: LEASE,
    probe_every: Duration::from_millis(4 * ELECTION_MS_MAX),
    probe: Duration::from_millis(5 * HEARTBEAT_MS / 2),
};
/// The margin on the lease after a restart, for clocks that run at different speeds.
const LEASE_MARGIN: Duration = Duration::from_millis(100);
/// The time within which a single host must become the leader of its group.
const LEAD_PATIENCE: Duration = Duration::from_secs(10);
const LEAD_POLL: Duration = Duration::from_millis(2);

/// How a replica without a log becomes part of a group. A replica that has a log is part of one already.
///
/// A host's id is lost with its log: a host that lost its log comes back under another id and has to be added. Safety
/// depends on this. Under its old id the host could vote twice in one term, and vote for a log that lacks what it had
/// acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forming {
    /// The host forms a group of its own.
    Alone,
    /// These hosts, with their addresses, form the group together. Each of them must be started with the same hosts;
    /// the order of the starts does not matter, and a start may be repeated. The first leader needs the votes of a
    /// majority of them, so that only one group forms.
    Founders(BTreeMap<HostId, String>),
    /// The replica waits until a member adds it to the group.
    Joining,
}

/// The parts and settings with which a replica is started.
#[derive(Clone, Debug)]
pub struct ReplicaOptions {
    pub group: GroupId,
    pub cluster: ClusterId,
    pub host: HostId,
    /// The address of this host for the other hosts of the group.
    pub address: String,
    pub forming: Forming,
    /// The transport to the other hosts.
    pub transport: Arc<dyn GroupTransport>,
    pub ambient: Ambient,
    /// The drives that are present.
    pub drives: Vec<ReplicaDrive>,
    /// The number of copies of the log to keep: one more than the number of drives that may be lost.
    pub copies_wanted: usize,
    /// True if the replica starts in spite of damage that nothing repairs, because an operator decided so.
    pub salvages: bool,
    /// True if this host has never been started. Otherwise it is an error if no drive holds metadata.
    pub first_start: bool,
    pub home: Arc<dyn StateHome>,
    pub offload: Offload,
    /// The threads for the actors of each copy's log.
    pub threads: Threads,
    pub durability: Durability,
    /// The size of a segment of the log: `limits::Scale::meta_segment_bytes`, except in simulations.
    pub segment_bytes: u32,
    pub pool: BufferPool,
    pub snapshots: SnapshotPolicy,
}

/// The reason for which a replica does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("no drive is given for the metadata")]
    NoDrives,
    #[error(transparent)]
    Copies(#[from] ChoiceError),
    #[error(
        "no present drive holds any metadata (the directory meta), though this host has had some: put back a drive that \
         holds it, or that directory, or restore an exported copy (sherd recover --from); a store that is to begin empty \
         needs empty directories"
    )]
    NothingFound,
    #[error("no drive takes the metadata log: {}", reasons(.0))]
    NoDriveTakesTheLog(Vec<(NodeId, String)>),
    #[error(
        "the metadata log begins after entry {}, and no drive has a snapshot of the entries up to it; put back a drive \
         with that snapshot (meta/snapshot)", .purged.index
    )]
    SnapshotLost { purged: Position },
    #[error(
        "the metadata tables are lost, and {0}; put back a drive with a whole copy of the tables (state) or of the snapshot \
         (meta/snapshot), or restore an exported copy (sherd recover --from)"
    )]
    SnapshotDamaged(String),
    #[error(
        "the metadata log has lost acknowledged changes: it ends in {end}, with {}, and by {witness} it once held entry {} on \
         stable storage; put back a drive with a whole copy of the log, or let sherd salvage say what would be lost and go \
         on", shown(.last), .held.index
    )]
    TailLost { end: String, last: Option<Position>, held: Position, witness: String },
    #[error(
        "drive {node} holds the metadata log of host {:016x}, which is not this one; move its directory meta away", .member.0
    )]
    OfAnotherMember { node: NodeId, member: HostId },
    #[error("host {} is not one of the founders with which it should form a group", host_id(.0))]
    NotAFounder(HostId),
    #[error("no drive takes the metadata tables: {0}")]
    Tables(String),
    #[error("the metadata replica cannot be started: {0}")]
    Consensus(String),
    #[error("the metadata log cannot be read: {0}")]
    Log(#[from] io::Error),
    /// The process or its host lacks file descriptors or memory. Nothing was removed, and another start may succeed.
    #[error(
        "the host lacks file descriptors or memory to read its metadata, of which nothing is lost: {0}; raise the \
         process's limit of open files, or its memory, and start again"
    )]
    LacksResources(String),
}

impl StartError {
    /// Returns whether this host's copies of the metadata are lost or damaged for good, as far as its drives show. A
    /// host of several then rejoins as another member. False if another start, or a repair of the system, may bring
    /// them back.
    pub fn has_lost_the_log(&self) -> bool {
        match self {
            Self::NothingFound | Self::SnapshotLost { .. } | Self::SnapshotDamaged(_) | Self::TailLost { .. } => true,
            Self::Copies(error) => error.has_lost_the_log(),
            Self::NoDrives
            | Self::NoDriveTakesTheLog(_)
            | Self::OfAnotherMember { .. }
            | Self::NotAFounder(_)
            | Self::Tables(_)
            | Self::Consensus(_)
            | Self::Log(_)
            | Self::LacksResources(_) => false,
        }
    }
}

fn shown(last: &Option<Position>) -> String {
    last.map_or_else(|| "no entry".to_owned(), |last| format!("entry {}", last.index))
}

fn host_id(host: &HostId) -> String {
    format!("{:016x}", host.0)
}

fn reasons(failed: &[(NodeId, String)]) -> String {
    failed.iter().map(|(node, why)| format!("drive {node}: {why}")).collect::<Vec<_>>().join("; ")
}

/// The log store and the state machine for openraft, and what the other parts of the replica use of them.
pub(super) struct Stores {
    pub shared: Arc<Shared>,
    pub snapshots: SnapshotStore,
    pub mirror: mpsc::UnboundedSender<ToMirror>,
    pub log: LogStore,
    pub machine: StateMachine,
}

/// Starts a replica on the current actix arbiter: all its tasks run there.
pub async fn start(options: ReplicaOptions) -> Result<MetaHandle, StartError> {
    let Stores { shared, snapshots, mirror, log, machine } = open_stores(&options).await?;
    remove_left_snapshots(&shared).await;
    let ballot = shared.index().standing().ballot;
    let link = Link::new(Arc::clone(&options.transport), options.group.0);
    let hearing = Arc::new(Hearing::new(raft_id(options.host), PATIENCE, options.ambient.clone()));
    let others = Arc::new(Others::default());
    let peers = Peers {
        link: link.clone(),
        hearing: Arc::clone(&hearing),
        others: Arc::clone(&others),
        offload: options.offload,
        ambient: options.ambient.clone(),
        ends_may_be_lost: options.durability != Durability::Strict,
    };
    let raft = start_raft(&options, &shared, peers, log, machine).await?;
    let candidacy = Arc::new(Candidacy::new(raft.clone()));
    let leads_at_once = may_lead_at_once(shared.host, raft.voter_ids(), ballot);
    let silent_until = if leads_at_once { Duration::ZERO } else { keep_silent(&options, &candidacy, ballot.is_some()) };
    if leads_at_once {
        lead_alone(&raft, &shared, &candidacy).await;
    }
    let clock = ClusterClock::new(&options.ambient);
    if options.forming == Forming::Alone {
        clock.watch([]);
    }
    let ambient = options.ambient;
    let server = Server::new(
        raft.clone(),
        Arc::clone(&shared),
        ambient.clone(),
        silent_until,
        Arc::clone(&others),
        Arc::clone(&candidacy),
    );
    let parts = ApplyParts {
        raft: raft.clone(),
        shared: Arc::clone(&shared),
        snapshots: snapshots.clone(),
        hearing: Arc::clone(&hearing),
        clock: clock.clone(),
    };
    let actor = ConsensusApply::new(parts, options.snapshots, ambient.clone()).start();
    let (read_indexes, reads) = shared_calls();
    let handle = MetaHandle::new(Inner {
        group: options.group,
        actor,
        raft,
        shared,
        snapshots,
        mirror,
        permits: proposal_permits(),
        forwards: forward_permits(),
        read_indexes,
        lease_trust: Mutex::new(LeaseTrust::new(ambient.clock.asleep())),
        link,
        hearing,
        server,
        others,
        candidacy,
        known_applied: AtomicU64::new(0),
        clock,
        ambient,
    });
    tokio::spawn(lead_with_tables(Arc::downgrade(&handle.inner)));
    tokio::spawn(keep_comparing(Arc::downgrade(&handle.inner)));
    tokio::spawn(answer_reads(Arc::downgrade(&handle.inner), reads));
    Ok(handle)
}

pub(super) async fn open_stores(options: &ReplicaOptions) -> Result<Stores, StartError> {
    let (selected, found_tables) = match options.salvages {
        true => select_to_salvage(options).await?,
        false => {
            let (selected, tables) = open_beside(options, select_copies(options).await?).await?;
            (selected.check_tail(options, &tables).await?, tables)
        }
    };
    let shared = settle(options, selected).await?;
    let (mirror, inbox) = mpsc::unbounded_channel();
    let snapshots = SnapshotStore::new(Arc::clone(&shared), mirror.clone());
    // Until the snapshot is found, no drive is filled.
    let progress = MirrorProgress::new(shared.drives().set.clone(), shared.index().sequence());
    tokio::spawn(Mirror::new(Arc::clone(&shared), snapshots.clone(), inbox, progress).run());
    match find_state(options, &shared, &snapshots, &mirror, found_tables).await {
        Ok((log, machine)) => Ok(Stores { shared, snapshots, mirror, log, machine }),
        Err(error) => {
            let (done, is_done) = oneshot::channel();
            let _ = mirror.send(ToMirror::Close(done));
            let _ = is_done.await;
            Err(error)
        }
    }
}

/// Opens the tables beside these copies, which are closed if that fails.
async fn open_beside(
    options: &ReplicaOptions,
    selected: SelectedCopies,
) -> Result<(SelectedCopies, FoundTables), StartError> {
    match FoundTables::open(options) {
        Ok(tables) => Ok((selected, tables)),
        Err(error) => {
            selected.close().await;
            Err(error)
        }
    }
}

/// Finds the snapshot and the tables, and has the mirror make the copies that are wanted.
async fn find_state(
    options: &ReplicaOptions,
    shared: &Arc<Shared>,
    snapshots: &SnapshotStore,
    mirror: &mpsc::UnboundedSender<ToMirror>,
    found_tables: FoundTables,
) -> Result<(LogStore, StateMachine), StartError> {
    if options.salvages {
        keep_tables(shared, snapshots, &found_tables).await?;
    }
    find_snapshot(shared, snapshots).await?;
    let chosen = choose_tables(options, shared, found_tables).await?;
    let ChosenTables { place, number_max, tables, at, rejected } = chosen;
    let home = Arc::clone(&options.home);
    let mut machine = StateMachine::new(Arc::clone(shared), snapshots.clone(), home, place, number_max, tables, at);
    machine.restore().await.map_err(why_not_restored)?;
    // Not before: if no tables are complete, a later start may still be able to use these.
    rejected.iter().for_each(|place| discard(options, place));
    let _ = mirror.send(ToMirror::WantCopies(options.copies_wanted));
    let mut log = LogStore::new(Arc::clone(shared), mirror.clone());
    vote_as_of_the_snapshot(shared, snapshots, &mut log).await?;
    Ok((log, machine))
}

fn why_not_restored(error: io::Error) -> StartError {
    match error.get_ref().and_then(|cause| cause.downcast_ref::<SnapshotDamaged>()) {
        Some(damaged) => StartError::SnapshotDamaged(damaged.to_string()),
        None if host_lacks_resources(&error) => StartError::LacksResources(error.to_string()),
        None => StartError::Tables(error.to_string()),
    }
}

async fn start_raft(
    options: &ReplicaOptions,
    shared: &Shared,
    peers: Peers,
    store: LogStore,
    machine: StateMachine,
) -> Result<MetaRaft, StartError> {
    let failed = |error: String| StartError::Consensus(error);
    let config = Config {
        cluster_name: format!("meta-{}", options.group.0),
        heartbeat_interval: HEARTBEAT_MS,
        election_timeout_min: ELECTION_MS_MIN,
        election_timeout_max: ELECTION_MS_MAX,
        snapshot_policy: openraft::SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: 0,
        max_payload_entries: 64,
        // A host that was cut off asks whether it could win before it calls an election.
        enable_pre_vote: Some(true),
        // Elections are turned on later, by the `Candidacy`.
        enable_elect: false,
        // Entries are sent to followers before they are synced here. After a restart, followers may have entries that
        // this host lost, so it must not go on leading in the same term: it would put other entries at their indexes.
        enable_leader_restore: Some(false),
        // With `relaxed` durability a follower may lose the end of its log; the leader sends it again.
        allow_log_reversion: Some(options.durability != Durability::Strict),
        ..Config::default()
    };
    let config = Arc::new(config.validate().map_err(|error| failed(error.to_string()))?);
    let own = raft_id(options.host);
    let hearing = Arc::clone(&peers.hearing);
    // openraft's random choices, such as election timeouts, come from the ambient's randomness, too.
    let seed = options.ambient.random_u128() as u64;
    let started = SeededRuntime::scope(seed, Raft::new(own, config, peers, store, machine)).await;
    // If an entry could not be applied, the replica's fault says which.
    let raft: MetaRaft = started.map_err(|error| failed(shared.fault().unwrap_or_else(|| error.to_string())))?;
    hearing.follow(raft.metrics());
    let members = match &options.forming {
        Forming::Alone => BTreeMap::from([(options.host, options.address.clone())]),
        Forming::Founders(founders) if !founders.contains_key(&options.host) => {
            return Err(StartError::NotAFounder(options.host));
        }
        Forming::Founders(founders) => founders.clone(),
        Forming::Joining => return Ok(raft),
    };
    if !raft.is_initialized().await.map_err(|error| failed(error.to_string()))? {
        let members: BTreeMap<u64, BasicNode> =
            members.into_iter().map(|(host, addr)| (raft_id(host), BasicNode { addr })).collect();
        match raft.initialize(members).await {
            // Another founder was first: it has this host's vote, or has sent it entries.
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {}
            Err(error) => return Err(failed(error.to_string())),
        }
    }
    Ok(raft)
}

/// Returns whether a host with these voters and this last vote may lead at once, as no other host can: it is the only
/// voter, by its own log, and gave its last vote to no other host, which may have added voters under it since.
fn may_lead_at_once(host: u64, mut voters: impl Iterator<Item = u64>, ballot: Option<Ballot>) -> bool {
    let is_only_voter = voters.next() == Some(host) && voters.next().is_none();
    is_only_voter && ballot.is_none_or(|ballot| ballot.node == host)
}

/// Keeps a host that has voted before out of elections, until any lease that it may have granted before this start is
/// over: leases are not kept on drives. Returns the end of that time by the monotonic clock; zero for a host that never
/// voted.
fn keep_silent(options: &ReplicaOptions, candidacy: &Arc<Candidacy>, has_voted: bool) -> Duration {
    if !has_voted {
        candidacy.end_silence();
        return Duration::ZERO;
    }
    let pause = LEASE + LEASE_MARGIN;
    let candidacy = Arc::clone(candidacy);
    tokio::spawn(async move {
        tokio::time::sleep(pause).await;
        candidacy.end_silence();
    });
    options.ambient.clock.monotonic() + pause
}

/// Makes a host that is its group's only voter the leader at once.
async fn lead_alone(raft: &MetaRaft, shared: &Arc<Shared>, candidacy: &Candidacy) {
    candidacy.end_silence();
    let lead = async {
        if !raft.is_leader() {
            let _ = raft.trigger().elect(false).await;
        }
        loop {
            confirm_sole_voter(raft, shared).await;
            if shared.sole_voter.is_confirmed() {
                break;
            }
            tokio::time::sleep(LEAD_POLL).await;
        }
    };
    if tokio::time::timeout(LEAD_PATIENCE, lead).await.is_err() {
        tracing::warn!("this host does not lead its metadata group after {LEAD_PATIENCE:?}; it goes on trying");
    }
}

#[cfg(test)]
mod tests {
    use super::may_lead_at_once;
    use crate::storage::raft_log::Ballot;

    #[test]
    fn only_a_sole_voter_that_voted_for_no_other_host_leads_without_silence() {
        let of = |node| Some(Ballot { term: 3, node, committed: true });
        assert!(may_lead_at_once(1, [1].into_iter(), None));
        assert!(may_lead_at_once(1, [1].into_iter(), of(1)));
        assert!(!may_lead_at_once(1, [1].into_iter(), of(2)), "host 2 may lead, and its lease may not be over");
        assert!(!may_lead_at_once(1, [1, 2].into_iter(), of(1)));
        assert!(!may_lead_at_once(1, [2].into_iter(), None));
        assert!(!may_lead_at_once(1, std::iter::empty(), None));
    }
}
