//! The composition root: makes the parts of a host from its configuration, joins them, and takes them apart in order.
//!
//! Start: what settings name, identities, metadata, drives, request path, chores, listeners. Stop: the other way round, so
//! that whoever is stopped has nobody left who asks of it.

mod acme;
mod admin;
mod audit;
mod background;
mod cluster;
mod drives;
mod metadata;
mod place;
mod preflight;
mod recovery;
mod rejoin;
mod reload;
mod requests;
mod safety;
mod salvage;
mod status;
mod stopping;

use crate::actors::consensus::{MetaHandle, SalvageError};
use crate::actors::drives::fault_channel;
use crate::actors::drives::health::HealthBoard;
use crate::actors::drives::{Blocking, FaultSink, OpenDrives, ReaderThreads, UserLoad};
use crate::actors::events::Targets;
use crate::actors::healer::ScrubOptions;
use crate::actors::jobs::{AllJobs, OwnJobs};
use crate::actors::membership::{HostWatch, RejoinAsks};
use crate::actors::traffic::Traffic;
use crate::ambient::Ambient;
use crate::api::policy::Ownership;
use crate::api::{
    self, ApiError, ApiHandle, ApiOptions, Credentials, EndpointError, KeySetFiles, StartupProgress, StartupServer,
};
use crate::config::{Config, Durability, EcSetting, ObjectOwnership, RejoinWish};
use crate::limits::{
    BODIES_BYTES_MAX, BODIES_MEMORY_PART, CHUNK_BYTES_MAX, CONNECTIONS_MAX, CONNECTIONS_MIN, FILES_PER_CONNECTION,
    Scale,
};
use crate::metrics;
use crate::net::PostSetupError;
use crate::storage::buffer::BufferPool;
use crate::storage::disk::{Disk, SystemDisk};
use crate::storage::identity::{
    HostDrives, IdentityError, Prepared, SystemLocks, WantedGeometry, keep_credentials, note_started, prepare_host,
};
use crate::storage::ring::{Layout, auto_geometry};
use crate::storage::sealing::{RootKeyError, RootKeys};
use crate::storage::wal;
use crate::types::{Epoch, Geometry};
use acme::Acme;
use admin::HostAdmin;
use audit::AuditLogs;
use background::BucketChores;
use cluster::{ClusterError, Entering, Member};
use drives::{BayDoor, ChoreHandles, DriveBay, DriveList};
use metadata::{MetadataError, Replica};
use place::Place;
use preflight::{Checked, root_keys, without_silent_drives};
use recovery::RecoveryError;
use rejoin::{OwnDrives, RejoinError};
use requests::Requests;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use safety::ReadCheck;
use status::HostStatus;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use stopping::Running;
use tokio::runtime::Handle;

/// The memory that the buffer pool keeps while nobody uses it.
const IDLE_BUFFERS_BYTES_MAX: usize = 16 << 20;
const TRIM_PERIOD: Duration = Duration::from_secs(10);
/// Threads that wait for drives.
const READER_THREADS_MAX: usize = 64;
/// Two for each segment in use, one a connection.
const OPEN_FILES_WANTED: u64 = 65_536;

/// The reason for which the store does not run.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("SHERD_ROOT_KEY_FILE: {0}")]
    RootKeys(#[from] RootKeyError),
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    #[error(transparent)]
    Salvage(#[from] SalvageError),
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error(transparent)]
    Rejoin(#[from] RejoinError),
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    #[error("this host must come back to its cluster as another member: {why}")]
    Superseded { why: String },
    #[error("this host was given up by its cluster: {why}")]
    GivenUp { why: String },
    #[error("this host starts again: {why}")]
    StartsAgain { why: &'static str },
    #[error("SHERD_ACCOUNTS_FILE: {why}")]
    Accounts { why: String },
    #[error("SHERD_WEBHOOK_{name}: {cause}")]
    Webhook { name: String, cause: PostSetupError },
    #[error("SHERD_AUDIT_LOG: {path:?} cannot be written: {cause}")]
    AuditLog { path: PathBuf, cause: io::Error },
    #[error("{setting}: {cause}")]
    Acme { setting: &'static str, cause: PostSetupError },
    #[error("SHERD_OIDC_KEYS: {provider}: {cause}")]
    KeySet { provider: String, cause: PostSetupError },
    #[error("{doing}: {cause}")]
    System { doing: &'static str, cause: io::Error },
}

/// The surroundings that every part of a host uses.
#[derive(Clone)]
struct Surroundings {
    ambient: Ambient,
    disk: Arc<dyn Disk>,
    buffers: BufferPool,
    threads: Arc<dyn Blocking>,
    durability: wal::Durability,
    scale: Scale,
}

/// Runs the store until it is told to stop.
pub fn run(config: Config) -> Result<(), NodeError> {
    metrics::register_all();
    metrics::BUILD_INFO.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    raise_open_files_limit();
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().max_blocking_threads(READER_THREADS_MAX);
        builder.build().expect("a runtime needs a few file descriptors")
    };
    let system = actix::System::with_tokio_rt(runtime);
    let ended = system.block_on(run_in_system(config));
    // To drop it would wait for every thread that is in a call: of a name server or a drive that does not answer, for good.
    std::mem::forget(system);
    match ended {
        Err(error @ NodeError::StartsAgain { .. }) => {
            tracing::warn!("{error}");
            Err(rejoin::start_again())
        }
        ended => ended,
    }
}

/// Checks a configuration and the files that it names, as a start does before it touches a drive; returns what is worth a
/// word. The store of this configuration may be running, so ports are not tried, only addresses.
pub fn check(mut config: Config) -> Result<String, NodeError> {
    config.s3_listen.set_port(0);
    config.admin_listen.set_port(0);
    if let Some(cluster) = &mut config.cluster {
        cluster.listen.set_port(0);
    }
    actix::System::new().block_on(async { preflight::check(&config, &surroundings(&config)).map(drop) })?;
    let warnings = config.warnings.iter().map(|warning| format!("warning: {warning}\n"));
    Ok(warnings.chain(["the configuration is valid\n".to_owned()]).collect())
}

/// Decides that a stopped host comes back to its cluster as another member, or only says what that means.
pub fn rejoin(config: &Config, wish: RejoinWish) -> Result<(), NodeError> {
    actix::System::new().block_on(async { rejoin::rejoin(config, &surroundings(config), wish) })
}

/// Forms the metadata group anew with a stopped host as its only voter, or only says what would be lost.
pub fn recover(config: &Config, from: Option<&Path>, goes_on: bool) -> Result<(), NodeError> {
    actix::System::new().block_on(async { recovery::recover(config, &surroundings(config), from, goes_on).await })
}

/// Goes on from damage of the metadata, or only says what would be lost.
pub fn salvage(config: Config, goes_on: bool) -> Result<(), NodeError> {
    actix::System::new().block_on(async { salvage::salvage(&config, &surroundings(&config), goes_on).await })
}

fn surroundings(config: &Config) -> Surroundings {
    let buffers = BufferPool::new(IDLE_BUFFERS_BYTES_MAX);
    Surroundings {
        ambient: Ambient::system(),
        disk: Arc::new(SystemDisk::new(buffers.clone())),
        buffers,
        threads: Arc::new(ReaderThreads::new(Handle::current())),
        durability: durability(config.durability),
        scale: config.scale,
    }
}

async fn run_in_system(config: Config) -> Result<(), NodeError> {
    let stop = stopping::stop_signal().map_err(|cause| NodeError::System { doing: "wait for signals", cause })?;
    let hangups = reload::hangups()?;
    let around = surroundings(&config);
    tokio::pin!(stop);
    let checked = preflight::check(&config, &around)?;
    let progress = StartupProgress::new("waiting for its drives");
    let startup = StartupServer::start(
        &checked.endpoints,
        config.metrics_token.clone().map(|token| token.0),
        Arc::clone(&around.ambient.clock),
        &progress,
    )?;
    let answering = without_silent_drives(around, &config.data, Arc::new(SystemLocks), &progress);
    let around = tokio::select! {
        around = answering => around,
        () = &mut stop => return Ok(()),
    };
    let wanted = wanted_geometry(&config);
    let prepared = prepare_host(&*around.disk, &config.data, wanted, &around.ambient, &SystemLocks)?;
    progress.set(vec!["waiting to take its place in the store".to_owned()]);
    let root_keys = checked.root_keys.as_ref();
    let entering = Entering { config: &config, wanted, root_keys, progress: &progress };
    let member = tokio::select! {
        entered = enter(&around, entering, prepared) => entered?,
        () = &mut stop => return Ok(()),
    };
    warn_of_one_drive(&config, &member.host);
    progress.set(vec!["waiting for its metadata and drives".to_owned()]);
    let credentials = credentials(&config, &around, &member.host)?;
    let (member, replica) = match metadata::start(&around, &member).await {
        Ok(replica) => (member, replica),
        Err(error) if rejoin::is_mended_by(&config, &error) => {
            tokio::select! {
                started = rejoin::after_loss(&around, &config, member, &error, &progress) => started?,
                () = &mut stop => return Ok(()),
            }
        }
        Err(error) => return Err(error.into()),
    };
    let own = OwnDrives::of(&member.host);
    let mut running = start(&config, &around, (member, replica), credentials, (checked, startup)).await?;
    let trimming = tokio::spawn(trim_while_idle(around.buffers.clone(), running.load.clone()));
    let reloading = reload::start(&config, (&running.api, &running.audit), hangups);
    announce(&running.api);
    let ended = tokio::select! {
        () = &mut stop => Ok(()),
        why = running.cannot_go_on() => Err(why),
    };
    tracing::info!("stopping");
    trimming.abort();
    reloading.abort();
    running.stop(&around.threads).await;
    tracing::info!("stopped");
    match ended {
        Err(NodeError::Superseded { why }) => Err(own.decide(&around, why)),
        Err(NodeError::GivenUp { why }) => Err(own.note_given_up(&around, why)),
        ended => ended,
    }
}

/// Takes the host's place in its cluster; one that must not have it as who it was takes it as another member.
async fn enter(around: &Surroundings, entering: Entering<'_>, prepared: Prepared) -> Result<Member, NodeError> {
    match (rejoin::decided(around, entering.config, &prepared)?, prepared) {
        (Some(rejoining), Prepared::Known(host)) => {
            entering.progress.set(vec!["waiting for its cluster to take it back as another member".to_owned()]);
            cluster::come_back_as_another(around, entering.config, host, &rejoining, entering.progress).await
        }
        (_, prepared) => Ok(cluster::enter(around, entering, prepared).await?),
    }
}

async fn start(
    config: &Config,
    around: &Surroundings,
    (mut member, replica): (Member, Replica),
    credentials: Credentials,
    (checked, startup): (Checked, StartupServer),
) -> Result<Running, NodeError> {
    let system = |doing| move |cause| NodeError::System { doing, cause };
    let locks = std::mem::take(&mut member.host.locks);
    let Checked { endpoints, targets, key_sets, accounts, root_keys: given_keys, acme } = checked;
    let host = &member.host;
    let health = HealthBoard::new(host.drives.iter().map(|drive| drive.node));
    let (faults, fault_source) = fault_channel();
    let metadata = replica.handle.clone();
    note_started(&*around.disk, &host.usable_dirs())?;
    member.decide_by(&metadata);
    let opened = drives::open(around, host, &health).await;
    let parts = parts(config, &member, &metadata, &opened, (&health, &faults));
    let requests = requests::join(around, parts).map_err(system("start threads that compute"))?;
    let monitor = drives::watch(around, host, &opened, &health, &metadata);
    let scrub = ScrubOptions { interval: config.scrub_interval, ..ScrubOptions::default() };
    let (mut chores, handles, work) =
        drives::start_chores(around, &opened, &requests.cluster, faults, fault_source, scrub, &metadata);
    let buckets = BucketChores::start(config, &requests, &targets, &shown(host));
    let audit = AuditLogs::start(&config.audit, &around.ambient, &shown(host))?;
    let status = status(around, &member, &requests, &handles, &metadata);
    let (watch, reads, is_registered) = (status.watch.clone(), status.reads.clone(), Arc::clone(&status.is_registered));
    let (started, traffic, asks) = (status.started, status.traffic.clone(), status.asks.clone());
    let (door, asked) = BayDoor::new();
    let jobs = jobs(config, &member, &requests, &handles, traffic.clone());
    let admin = administration(&member.host, &requests, jobs, (status, door));
    let place = Arc::new(Place {
        around: around.clone(),
        drives: DriveList::new(member.host.drives.clone()),
        member,
        roles: config.roles,
        metadata,
        health,
        healing: handles.healing,
        ring: requests.ring,
        watch,
        reads,
        asks,
        started,
        stopping: Arc::default(),
        is_registered,
    });
    let keeping = place.take().await?;
    let roots = root_keys(config, given_keys, around, &place.member.host)?;
    let options = api_options(config, credentials, roots, &place.member.host);
    let (access_log, audits) = (Some(buckets.access_log.clone()), audit.senders.clone());
    let options = ApiOptions { accounts, targets, key_sets, access_log, audit: audits, traffic, ..options };
    let acme = acme.zip(endpoints.certificate_by_acme());
    let acme = acme.map(|(client, shown)| Acme::load(client, shown, around, &place.member.host));
    startup.stop().await;
    let api = api::serve(options, endpoints, requests.gateway.clone(), around.ambient.clone(), admin)?;
    let monitor = monitor.start().map_err(system("start threads that watch the drives"))?;
    let wanted = wanted_geometry(config);
    let keeps = (config.credentials.is_none(), config.cluster.is_none() && config.root_keys.is_none());
    let at_work = (opened, work, DriveBay::chores_of(&mut chores), monitor);
    let bay = DriveBay::new(around, &place, (wanted, keeps), at_work, locks);
    let (replacing, load) = (bay.start(asked), requests.cluster.load);
    let acme = acme.map(Acme::start);
    Ok(Running { api, acme, chores, buckets, audit, bay, replacing, replica, load, place, keeping })
}

/// Makes the dependencies of the request path.
fn parts(
    config: &Config,
    member: &Member,
    metadata: &MetaHandle,
    opened: &OpenDrives,
    (health, faults): (&HealthBoard, &FaultSink),
) -> requests::Parts {
    requests::Parts {
        metadata: Arc::new(metadata.clone()),
        host: member.host.host,
        peers: member.peers.clone(),
        nodes: member.nodes.clone(),
        reads: member.reads.clone(),
        writes: member.writes.clone(),
        layout: Layout::new(Epoch(0), []),
        geometry: geometry(&member.host),
        memory_max_bytes: config.memory_max_bytes - bodies_bytes(config.memory_max_bytes),
        drives: opened.clone(),
        health: health.clone(),
        faults: faults.clone(),
        load: UserLoad::default(),
    }
}

fn geometry(host: &HostDrives) -> Geometry {
    Geometry { data: host.data, parity: host.parity, chunk_size_bytes: CHUNK_BYTES_MAX as u32 }
}

/// Makes the host's status for health and the admin API.
fn status(
    around: &Surroundings,
    member: &Member,
    requests: &Requests,
    handles: &ChoreHandles,
    metadata: &MetaHandle,
) -> HostStatus {
    let (host, health) = (&member.host, requests.context.health.clone());
    let own = host.drives.iter().map(|drive| drive.node).collect();
    HostStatus {
        context: Arc::clone(&requests.context),
        metadata: metadata.clone(),
        dirs: host.drives.iter().map(|drive| (drive.node, drive.dir.clone())).collect(),
        set_aside: rejoin::what_is_set_aside(around, host),
        is_registered: Arc::default(),
        started: around.ambient.clock.unix_ms(),
        census: handles.census.clone(),
        growth: handles.growth.clone(),
        traffic: traffic(&around.ambient),
        moving: handles.moving.clone(),
        reads: ReadCheck::default(),
        watch: HostWatch::new(member.peers.clone(), health, metadata.clock().clone(), host.host, own),
        asks: RejoinAsks::new(Arc::clone(&around.ambient.clock)),
    }
}

/// Makes the source of the admin API's answers.
fn administration(
    host: &HostDrives,
    requests: &Requests,
    jobs: AllJobs,
    (status, door): (HostStatus, BayDoor),
) -> HostAdmin {
    let HostDrives { cluster, recovery, host, .. } = *host;
    HostAdmin { status, cluster, recovery, host, context: requests.cluster.clone(), jobs, door }
}

/// The jobs of this host, which other hosts are told of from now on, and the way to those of the others.
fn jobs(config: &Config, member: &Member, requests: &Requests, handles: &ChoreHandles, traffic: Traffic) -> AllJobs {
    let own = OwnJobs {
        nodes: member.host.drives.iter().map(|drive| drive.node).collect(),
        stores: config.roles.storage,
        health: requests.context.health.clone(),
        healing: handles.healing.clone(),
        scrub: handles.scrub.clone(),
        moving: handles.moving.clone(),
        traffic,
    };
    member.answer_by(&own);
    AllJobs { host: member.host.host, own, others: member.transport() }
}

/// Makes the traffic counters, two a worker: one application serves requests that expect `100 Continue`, and one the
/// others.
fn traffic(ambient: &Ambient) -> Traffic {
    Traffic::new(2 * cores(), Arc::clone(&ambient.clock))
}

/// Returns the name of this host in answers.
fn shown(host: &HostDrives) -> String {
    format!("{:016x}", host.host.0)
}

/// Prints the address of each listener for the starter of the process, a program too; `-` for an absent one.
fn announce(api: &ApiHandle) {
    let s3 = api.s3_address.map_or_else(|| "-".to_owned(), |address| address.to_string());
    println!("listening s3={s3} admin={}", api.admin_address);
}

/// Gives pooled buffers back while nobody uses them: what recovery or a burst needed, an idle store need not hold.
async fn trim_while_idle(buffers: BufferPool, load: UserLoad) {
    loop {
        if !load.is_busy() {
            buffers.trim();
        }
        tokio::time::sleep(TRIM_PERIOD).await;
    }
}

fn api_options(config: &Config, credentials: Credentials, roots: RootKeys, host: &HostDrives) -> ApiOptions {
    ApiOptions {
        metrics_token: config.metrics_token.clone().map(|token| token.0),
        region: config.region.clone(),
        domains: config.domains.clone(),
        website_domains: config.website_domains.clone(),
        targets: Targets::default(),
        credentials,
        roots: Arc::new(roots),
        accounts: None,
        key_sets: Arc::new(KeySetFiles::default()),
        sigv2: config.sigv2,
        new_bucket_ownership: new_bucket_ownership(config.object_ownership),
        workers: cores(),
        connections_max: connections_max(),
        bodies_bytes_max: usize::try_from(bodies_bytes(config.memory_max_bytes)).unwrap_or(usize::MAX),
        access_log: None,
        traffic: traffic(&Ambient::system()),
        audit: Vec::new(),
        host_id: shown(host),
    }
}

/// Drives keep a descriptor for each of their segments: they have most of what there are.
fn connections_max() -> usize {
    let files = getrlimit(Resource::Nofile).current.and_then(|files| usize::try_from(files).ok());
    (files.unwrap_or(usize::MAX) / FILES_PER_CONNECTION).clamp(CONNECTIONS_MIN, CONNECTIONS_MAX)
}

/// Returns the share of the requests' memory that is for bodies read whole.
fn bodies_bytes(memory_max_bytes: u64) -> u64 {
    (memory_max_bytes / BODIES_MEMORY_PART).min(BODIES_BYTES_MAX)
}

fn new_bucket_ownership(setting: ObjectOwnership) -> Ownership {
    match setting {
        ObjectOwnership::BucketOwnerEnforced => Ownership::BucketOwnerEnforced,
        ObjectOwnership::BucketOwnerPreferred => Ownership::BucketOwnerPreferred,
        ObjectOwnership::ObjectWriter => Ownership::ObjectWriter,
    }
}

fn durability(setting: Durability) -> wal::Durability {
    match setting {
        Durability::Strict => wal::Durability::Strict,
        Durability::Relaxed { sync_interval } => wal::Durability::Relaxed { flush_delay_max: sync_interval },
    }
}

fn wanted_geometry(config: &Config) -> WantedGeometry {
    let (data, parity, explicit) = match config.ec {
        EcSetting::Fixed { data, parity } => (data, parity, true),
        EcSetting::Auto => {
            let (data, parity) = auto_geometry(config.data.len());
            (data, parity, false)
        }
    };
    WantedGeometry { data, parity, explicit, alone: config.cluster.is_none() }
}

/// Warns of a single drive: fine for a first try, and easily forgotten.
fn warn_of_one_drive(config: &Config, host: &HostDrives) {
    if let (None, [_]) = (&config.cluster, host.drives.as_slice()) {
        let (data, parity) = (host.data, host.parity);
        tracing::warn!("this store is {data}+{parity} on one drive: the loss of that drive is the loss of all objects");
    }
}

/// Returns the configured root credentials, or those kept on the drives; new ones are shown on the terminal of the
/// process.
fn credentials(config: &Config, around: &Surroundings, host: &HostDrives) -> Result<Credentials, NodeError> {
    if let Some(given) = &config.credentials {
        return Ok(Credentials { access_key: given.access_key.clone(), secret_key: given.secret_key.clone() });
    }
    let dirs: Vec<PathBuf> = host.usable_dirs();
    let kept = keep_credentials(&*around.disk, &dirs, host.cluster, &around.ambient)?;
    if kept.fresh {
        println!("This store is new; its root credentials, which `sherd credentials` shows again:");
        println!("  aws configure set aws_access_key_id {}", kept.access_key);
        println!("  aws configure set aws_secret_access_key {}", kept.secret_key);
    }
    Ok(Credentials { access_key: kept.access_key, secret_key: kept.secret_key })
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Raises the limit of open files as far as the system allows.
fn raise_open_files_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.map_or(OPEN_FILES_WANTED, |maximum| maximum.min(OPEN_FILES_WANTED));
    if current.is_some_and(|current| current < wanted)
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum })
    {
        tracing::warn!(%error, wanted, "the limit of open files could not be raised");
    }
}
