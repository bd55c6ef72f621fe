//! The host's entry into its cluster (founding, joining, returning, rejoining), or its start alone; and the network to
//! other hosts.

use super::directories::{set_aside_of_others, take_up};
use super::environment::Environment;
use crate::actors::consensus::{Forming, MetaHandle};
use crate::actors::jobs::{JobService, LateJobs, OwnJobs};
use crate::actors::membership::{
    AddressBook, Agreement, FoundingBoard, FoundingError, FoundingOutcome, HostGroups, JoinAskOf, JoinError,
    LateNodeService, Welcomed, found, join, words,
};
use crate::actors::peers::{ConnectionPool, Dial, Peers, PipeDialer, QuicDialer};
use crate::actors::request::{ActiveReads, ActiveWrites};
use crate::actors::traces::TracedService;
use crate::actors::upkeep::UnderWayService;
use crate::api::StartupProgress;
use crate::config::{ClusterConfig, Config, EcSetting};
use crate::net::{
    GroupTransport, HostIdentity, NoOtherHosts, Peer, QuicClient, QuicOptions, QuicServer, ServedHost, StartError,
    TlsError,
};
use crate::storage::identity::{
    BlankDrives, Founder, Founding, HostDrives, IdentityError, NewHost, Prepared, WantedGeometry, keep_founding,
    new_host_id, read_founding,
};
use crate::storage::meta::record::HostRecord;
use crate::storage::sealing::{RootKey, RootKeys};
use crate::types::{HostId, NodeId, RecoveryEpoch};
use actix::Arbiter;
use hex_simd::AsciiCase;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::timeout;

#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Network(#[from] StartError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Founding(#[from] FoundingError),
    #[error(transparent)]
    Join(#[from] JoinError),
    #[error(
        "this host has agreed to found a cluster as {was}, but its settings make it {now} now; restore its former settings, or empty its directories"
    )]
    OtherFounder { was: String, now: String },
    #[error(
        "the cluster that answers (SHERD_HOSTS, SHERD_JOIN) is not that of these directories, or gives the host other node ids; give this host its own cluster's addresses"
    )]
    AnotherCluster,
    #[error("a thread that serves other hosts cannot be started")]
    Thread,
}

/// A host that has entered its cluster, or is alone: its drives, its name, and its connections to other hosts.
pub(super) struct Member {
    pub host: HostDrives,
    pub name: String,
    pub address: String,
    pub domain: Option<String>,
    /// The founders of the cluster, if this host is one of them and is not registered yet; else empty.
    pub founders: Vec<HostRecord>,
    /// The first node id of this host, if it is alone or a founder.
    pub first_node: Option<NodeId>,
    pub forming: Forming,
    /// True if the host has just rejoined under a new id, and has no metadata yet.
    pub rejoined: bool,
    pub peers: Peers,
    pub nodes: LateNodeService,
    /// Reads under way on this host, which other hosts ask for before they drop shards.
    pub reads: ActiveReads,
    /// Writes under way on this host, which other hosts ask for before they raise the fence.
    pub writes: ActiveWrites,
    pub net: Option<Net>,
    /// The ids of the root keys of `SHERD_ROOT_KEY_FILE`, the current one first, with which those of hosts that join
    /// are compared.
    pub root_keys: Vec<String>,
}

/// The network to other hosts.
pub(super) struct Net {
    pub book: AddressBook,
    pub groups: Arc<HostGroups>,
    /// The job service for other hosts.
    pub jobs: LateJobs,
    pub board: FoundingBoard,
    pub identity: Arc<HostIdentity>,
    pub server: QuicServer,
    pub client: Arc<QuicClient>,
    pub serving: Arbiter,
    /// The configured addresses of other hosts (`SHERD_HOSTS`, `SHERD_JOIN`).
    pub doors: Vec<String>,
}

/// The longest wait for the network to other hosts to end.
const STOP_PATIENCE: Duration = Duration::from_millis(2500);

impl Net {
    pub async fn stop(self) {
        self.client.stop();
        let _ = timeout(STOP_PATIENCE, self.server.stop()).await;
        self.serving.stop();
    }
}

/// The parts of a host on the network.
pub(super) struct Connected {
    peers: Peers,
    nodes: LateNodeService,
    reads: ActiveReads,
    writes: ActiveWrites,
    pub net: Net,
}

impl Member {
    pub fn transport(&self) -> Arc<dyn GroupTransport> {
        match &self.net {
            Some(_) => Arc::new(self.peers.clone()),
            None => Arc::new(NoOtherHosts),
        }
    }

    /// Leaves the network, and returns the host's drives.
    pub async fn off_the_network(self) -> HostDrives {
        if let Some(net) = self.net {
            net.stop().await;
        }
        self.host
    }

    /// Returns when another host has shown that the metadata group was formed anew without this one, with the reason.
    pub async fn given_up(&self) -> String {
        match &self.net {
            Some(net) => net.identity.given_up().await,
            None => std::future::pending().await,
        }
    }

    /// Has the metadata replica answer the Raft requests of other hosts from now on.
    pub fn decide_by(&self, metadata: &MetaHandle) {
        if let Some(net) = &self.net {
            net.book.learn(metadata.membership().addresses);
            net.groups.decide_by(metadata.clone());
        }
    }

    /// Answers other hosts' questions about jobs from now on.
    pub fn answer_by(&self, jobs: &OwnJobs) {
        if let Some(net) = &self.net {
            net.jobs.answer_by(jobs.clone());
        }
    }
}

/// The inputs of the entry into a cluster.
#[derive(Clone, Copy)]
pub(super) struct Entering<'a> {
    pub config: &'a Config,
    pub wanted: WantedGeometry,
    /// The root keys of `SHERD_ROOT_KEY_FILE`.
    pub root_keys: Option<&'a RootKeys>,
    pub progress: &'a StartupProgress,
}

impl Entering<'_> {
    /// Returns this host as a founder: what other founders compare and record. Root keys are compared by a value that
    /// reveals nothing of them.
    fn founder(&self, cluster: &ClusterConfig, host: HostId, drives: usize) -> Founder {
        let geometry = match self.config.ec {
            EcSetting::Fixed { data, parity } => Some((data, parity)),
            EcSetting::Auto => None,
        };
        Founder {
            name: cluster.name.clone(),
            host,
            address: cluster.address.clone(),
            drives: u16::try_from(drives).unwrap_or(u16::MAX),
            geometry,
            root_key: root_key_ids(self.root_keys).into_iter().next(),
        }
    }
}

/// Returns the ids of the keys of `SHERD_ROOT_KEY_FILE`, the current one first; none without that file.
pub(super) fn root_key_ids(given: Option<&RootKeys>) -> Vec<String> {
    let id = |key: &RootKey| hex_simd::encode_to_string(key.id().to_bytes(), AsciiCase::Lower);
    given.into_iter().flat_map(RootKeys::all).map(id).collect()
}

/// Takes the drives into service. If they are blank, the host first founds its cluster with the other founders, or
/// joins one.
pub(super) async fn enter(
    env: &Environment,
    entering: Entering<'_>,
    prepared: Prepared,
) -> Result<Member, ClusterError> {
    let Some(cluster) = &entering.config.cluster else { return alone(env, entering.wanted, prepared) };
    match prepared {
        Prepared::Known(host) => come_back(env, cluster, host),
        Prepared::Blank(blank) => begin(env, entering, cluster, blank).await,
    }
}

/// Makes the member of a stopped host, for commands that work offline: no network is started.
pub(super) fn offline(env: &Environment, config: &Config, host: HostDrives) -> Member {
    let member = on_its_own(env, host);
    match &config.cluster {
        Some(cluster) => Member {
            name: cluster.name.clone(),
            address: cluster.address.clone(),
            domain: cluster.domain.clone(),
            forming: Forming::Joining,
            ..member
        },
        None => member,
    }
}

/// Makes the member of a host that is the whole store, and formats its drives if they are blank.
pub(super) fn alone(env: &Environment, wanted: WantedGeometry, prepared: Prepared) -> Result<Member, ClusterError> {
    let host = match prepared {
        Prepared::Known(mut host) => {
            set_aside_of_others(env, &mut host);
            take_up(&*env.disk, &mut host);
            host
        }
        Prepared::Blank(blank) => blank.form(&*env.disk, NewHost::alone(wanted, &env.ambient), &env.ambient)?,
    };
    Ok(on_its_own(env, host))
}

fn on_its_own(env: &Environment, host: HostDrives) -> Member {
    let nodes = LateNodeService::default();
    let dialer: Arc<dyn Dial> = Arc::new(PipeDialer { host: host.host, service: Arc::new(nodes.clone()) });
    Member {
        founders: Vec::new(),
        first_node: host.drives.first().map(|drive| drive.node),
        host,
        name: HostRecord::ALONE.to_owned(),
        address: HostRecord::ALONE.to_owned(),
        domain: None,
        forming: Forming::Alone,
        rejoined: false,
        peers: ConnectionPool::start_with(dialer, &env.ambient),
        nodes,
        reads: ActiveReads::new(Arc::clone(&env.ambient.clock)),
        writes: ActiveWrites::default(),
        net: None,
        root_keys: Vec::new(),
    }
}

/// Returns to the cluster with drives that were in use before, under the host's own id.
fn come_back(env: &Environment, config: &ClusterConfig, mut host: HostDrives) -> Result<Member, ClusterError> {
    set_aside_of_others(env, &mut host);
    take_up(&*env.disk, &mut host);
    let kept = read_founding(&*env.disk, &host.usable_dirs())?;
    let agreement = kept.and_then(|kept| kept.agreed).map(Agreement);
    // A host that rejoined since the founding has another id, and is no founder any more.
    let agreement = agreement.filter(|agreement| agreement.first_node(host.host).is_some());
    let board = match &agreement {
        Some(agreement) => FoundingBoard::agreed(agreement),
        None => FoundingBoard::formed(host.cluster),
    };
    let identity = HostIdentity::of(host.host, host.cluster, host.recovery, config.secret.as_bytes())?;
    let connected = connect(env, config, &identity, board)?;
    Ok(member(config, host, agreement, connected))
}

/// Makes the member of a host on the network.
pub(super) fn member(
    config: &ClusterConfig,
    host: HostDrives,
    agreement: Option<Agreement>,
    Connected { peers, nodes, reads, writes, net }: Connected,
) -> Member {
    let forming = match &agreement {
        Some(agreement) => Forming::Founders(agreement.addresses()),
        None => Forming::Joining,
    };
    net.book.learn(agreement.iter().flat_map(|agreement| agreement.addresses()));
    Member {
        founders: agreement.as_ref().map(Agreement::records).unwrap_or_default(),
        first_node: agreement.and_then(|agreement| agreement.first_node(host.host)),
        host,
        name: config.name.clone(),
        address: config.address.clone(),
        domain: config.domain.clone(),
        forming,
        rejoined: false,
        peers,
        nodes,
        reads,
        writes,
        net: Some(net),
        root_keys: Vec::new(),
    }
}

/// Founds a cluster with the other founders, or joins one, and formats the blank drives.
async fn begin(
    env: &Environment,
    entering: Entering<'_>,
    cluster: &ClusterConfig,
    blank: BlankDrives,
) -> Result<Member, ClusterError> {
    let dirs = blank.dirs();
    let mut kept = keep_own(env, entering, cluster, &dirs)?;
    let own = kept.own.clone();
    let board = match &kept.agreed {
        Some(founders) => FoundingBoard::agreed(&Agreement(founders.clone())),
        None => FoundingBoard::gathering(own.clone(), cluster.founders.clone()),
    };
    let identity = HostIdentity::new(own.host, None, cluster.secret.as_bytes())?;
    let connected = connect(env, cluster, &identity, board)?;
    let net = &connected.net;
    tracing::info!(name = cluster.name, address = %net.server.local_addr(), "this host belongs to no cluster yet");
    let outcome = match kept.agreed.clone() {
        Some(founders) => FoundingOutcome::Agreed(Agreement(founders)),
        None if !cluster.is_founder() => FoundingOutcome::Exists,
        None => {
            let keep = |agreement: &Agreement| {
                let agreed = Founding { agreed: Some(agreement.0.clone()), ..kept.clone() };
                let written = keep_founding(&*env.disk, &dirs, &agreed);
                written.map_err(|error| FoundingError::NotKept(error.to_string()))
            };
            let tell = |waits_for| entering.progress.set(waits_for);
            found(&net.client, (&own, &cluster.founders), &net.board, keep, tell).await?
        }
    };
    let (new, agreement) = match outcome {
        FoundingOutcome::Agreed(agreement) => {
            kept.agreed = Some(agreement.0.clone());
            (founded(&own, &agreement)?, Some(agreement))
        }
        FoundingOutcome::Exists => {
            let roles = entering.config.roles;
            let ask = JoinAskOf { own: &own, domain: cluster.domain.as_deref(), roles, was: None };
            let doors = if cluster.is_founder() { other_founders(cluster) } else { cluster.doors.clone() };
            entering.progress.set(vec![format!("waiting to be taken into the cluster by {}", doors.join(", "))]);
            let welcomed = join(&net.client, &ask, &doors, |why| entering.progress.set(why)).await?;
            net.book.learn(welcomed.hosts);
            let Welcomed { cluster, recovery, first_node, data, parity, .. } = welcomed;
            (NewHost { cluster, recovery, host: own.host, first_node, data, parity }, None)
        }
    };
    let host = blank.form(&*env.disk, new, &env.ambient)?;
    identity.enter(new.cluster, new.recovery)?;
    Ok(member(cluster, host, agreement, connected))
}

/// Returns the addresses of the other founders.
fn other_founders(cluster: &ClusterConfig) -> Vec<String> {
    let others = cluster.founders.iter().filter(|(name, _)| **name != cluster.name);
    others.map(|(_, address)| address.clone()).collect()
}

fn founded(own: &Founder, agreement: &Agreement) -> Result<NewHost, ClusterError> {
    let (data, parity) = agreement.geometry()?;
    let first_node = agreement.first_node(own.host).ok_or(FoundingError::Absent)?;
    let (cluster, recovery) = (agreement.cluster(), RecoveryEpoch::default());
    Ok(NewHost { cluster, recovery, host: own.host, first_node, data, parity })
}

/// Returns this host's record of the founding after writing it to its drives: other hosts will rely on the id in it.
fn keep_own(
    env: &Environment,
    entering: Entering<'_>,
    cluster: &ClusterConfig,
    dirs: &[PathBuf],
) -> Result<Founding, ClusterError> {
    let kept = read_founding(&*env.disk, dirs)?;
    let host = kept.as_ref().map_or_else(|| new_host_id(&env.ambient), |kept| kept.own.host);
    let own = entering.founder(cluster, host, dirs.len());
    if let Some(Founding { own: was, agreed: Some(_), .. }) = &kept
        && *was != own
    {
        return Err(ClusterError::OtherFounder { was: words(was), now: words(&own) });
    }
    let agreed = kept.and_then(|kept| kept.agreed);
    let founding = Founding { agreed, ..Founding::new(own) };
    keep_founding(&*env.disk, dirs, &founding)?;
    Ok(founding)
}

/// Starts the network to other hosts.
pub(super) fn connect(
    env: &Environment,
    config: &ClusterConfig,
    identity: &Arc<HostIdentity>,
    board: FoundingBoard,
) -> Result<Connected, ClusterError> {
    let (serving, serve_on) = serving_thread()?;
    let nodes = LateNodeService::default();
    let groups = Arc::new(HostGroups::new(board.clone()));
    let (reads, writes) = (ActiveReads::new(Arc::clone(&env.ambient.clock)), ActiveWrites::default());
    let answering =
        UnderWayService { reads: reads.clone(), writes: writes.clone(), groups: Arc::clone(&groups) as Arc<_> };
    let jobs = LateJobs::default();
    let answering = JobService { jobs: jobs.clone(), groups: Arc::new(answering) };
    let own: Peer = Arc::new(ServedHost { nodes: Arc::new(nodes.clone()), groups: Arc::new(answering) });
    let options = QuicOptions::listening(config.listen);
    let served: Peer = match &env.traced {
        Some(traced) => Arc::new(TracedService::new(Arc::clone(&own), traced.tracer.clone())),
        None => Arc::clone(&own),
    };
    let server = QuicServer::start(Arc::clone(identity), options, served, serve_on)?;
    let client = Arc::new(QuicClient::start(Arc::clone(identity), options)?);
    let book = AddressBook::default();
    let addresses = Arc::new(book.clone());
    let dialer: Arc<dyn Dial> =
        Arc::new(QuicDialer { host: identity.host(), own, client: Arc::clone(&client), addresses });
    let peers = ConnectionPool::start_with(dialer, &env.ambient);
    let identity = Arc::clone(identity);
    let net = Net { book, groups, jobs, board, identity, server, client, serving, doors: doors(config) };
    Ok(Connected { peers, nodes, reads, writes, net })
}

/// Returns the configured addresses of other hosts.
fn doors(config: &ClusterConfig) -> Vec<String> {
    let founders = config.founders.iter().filter(|(name, _)| **name != config.name).map(|(_, address)| address);
    let all: BTreeSet<&String> = founders.chain(&config.doors).filter(|door| **door != config.address).collect();
    all.into_iter().cloned().collect()
}

/// Starts the thread that serves other hosts, so that verifying their bytes does not delay this host's own requests.
fn serving_thread() -> Result<(Arbiter, Handle), ClusterError> {
    let serving = Arbiter::new();
    let (sender, receiver) = std::sync::mpsc::channel();
    serving.spawn_fn(move || {
        // The receiver waits below.
        let _ = sender.send(Handle::current());
    });
    receiver.recv().map(|handle| (serving, handle)).map_err(|_| ClusterError::Thread)
}
