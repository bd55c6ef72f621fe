//! The composition root: builds the parts of a host from its configuration, connects them, and stops them in order.
//!
//! Start: files and addresses that settings name, identities, metadata, drives, request path, chores, listeners. Stop:
//! the reverse order, so that a part is stopped after all parts that send it requests.

mod acme;
mod admin;
mod audit;
mod background;
mod cluster;
mod directories;
mod drives;
mod environment;
mod error;
mod metadata;
mod preflight;
mod recovery;
mod registration;
mod rejoin;
mod reload;
mod requests;
mod safety;
mod status;
mod stopping;
mod traces;

pub use error::HostError;

use crate::actors::consensus::MetaHandle;
use crate::actors::drives::fault_channel;
use crate::actors::drives::health::HealthBoard;
use crate::actors::drives::{DriveList, FaultSink, OpenDrives, UserLoad};
use crate::actors::events::Targets;
use crate::actors::healer::ScrubOptions;
use crate::actors::jobs::{AllJobs, OwnJobs};
use crate::actors::membership::{HostWatch, RejoinAsks};
use crate::actors::traffic::Traffic;
use crate::ambient::Ambient;
use crate::api::policy::Ownership;
use crate::api::{self, ApiHandle, ApiOptions, Credentials, KeySetFiles, Problems, StartupProgress, StartupServer};
use crate::config::{Config, ObjectOwnership, RejoinWish};
use crate::limits::{
    BODIES_BYTES_MAX, BODIES_MEMORY_PART, CHUNK_BYTES_MAX, CONNECTION_MEMORY_BYTES, CONNECTIONS_MAX, CONNECTIONS_MIN,
    FILES_PER_CONNECTION,
};
use crate::metrics;
use crate::output;
use crate::storage::buffer::BufferPool;
use crate::storage::identity::{HostDrives, Prepared, SystemLocks, keep_credentials, note_started, prepare_host};
use crate::storage::kv::{KvError, fjall};
use crate::storage::ring::Layout;
use crate::storage::sealing::RootKeys;
use crate::types::{Epoch, Geometry};
use acme::Acme;
use admin::HostAdmin;
use audit::AuditLogs;
use background::BucketChores;
use cluster::{Entering, Member, root_key_ids};
use directories::what_is_set_aside;
use drives::{BayDoor, ChoreHandles, DriveBay};
use environment::{Environment, cores, open_files_max, wanted_geometry};
use metadata::Replica;
use preflight::{Checked, root_keys, without_silent_drives};
use registration::Registration;
use rejoin::OwnDrives;
use requests::Requests;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use safety::ReadCheck;
use status::HostStatus;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use stopping::Running;

const TRIM_PERIOD: Duration = Duration::from_secs(10);
/// The most threads that wait for calls of the file system.
const READER_THREADS_MAX: usize = 64;
/// The wanted limit of open files, of which connections and the segments that stay open each have a share.
const OPEN_FILES_WANTED: u64 = 1 << 20;

/// Runs the store until it is told to stop.
pub fn run(config: Config) -> Result<(), HostError> {
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
    match block_on(actix::System::with_tokio_rt(runtime), run_in_system(config)) {
        Err(HostError::StartsAgain { why, data }) => {
            tracing::warn!("restarting this process: {why}");
            Err(rejoin::start_again(data.as_deref()))
        }
        ended => ended,
    }
}

/// Runs a command other than the store itself.
fn in_system<T>(work: impl Future<Output = T>) -> T {
    block_on(actix::System::new(), work)
}

/// Runs `work`, and leaves the system as it is then. Dropping it would wait for every thread that is in a call, and a
/// drive or name server may never answer one; and actors that have not run yet would start without a runtime.
fn block_on<T>(system: actix::SystemRunner, work: impl Future<Output = T>) -> T {
    let ended = system.block_on(work);
    std::mem::forget(system);
    ended
}

/// Checks a configuration and the files that it names, as a start does before it touches a drive; returns the text to
/// print. The store of this configuration may be running and hold its ports, so the addresses are tried with port 0.
pub fn check(mut config: Config) -> Result<String, HostError> {
    config.s3_listen.set_port(0);
    config.admin_listen.set_port(0);
    if let Some(cluster) = &mut config.cluster {
        cluster.listen.set_port(0);
    }
    let certificates = in_system(async {
        let env = Environment::of_process(&config);
        let checked = preflight::check(&config, &env)?;
        Ok::<_, HostError>(checked.endpoints.certificates(Arc::clone(&env.ambient.clock)).of_files().warnings())
    })?;
    let warnings = config.warnings.iter().chain(&certificates).map(|warning| format!("warning: {warning}\n"));
    Ok(warnings.chain(["the configuration is valid\n".to_owned()]).collect())
}

/// Runs `sherd rejoin`: records that a stopped host rejoins its cluster under a new id, or only prints what that means.
pub fn rejoin(config: &Config, wish: RejoinWish) -> Result<(), HostError> {
    in_system(async { rejoin::rejoin(config, &Environment::of_process(config), wish) })
}

/// Runs `sherd recover`: forms the metadata group anew with a stopped host as its only voter, or only prints what would
/// be lost.
pub fn recover(config: &Config, from: Option<&Path>, goes_on: bool) -> Result<(), HostError> {
    in_system(async { recovery::recover(config, &Environment::of_process(config), from, goes_on).await })
}

/// Opens the tables in this directory and closes them again, in a process that may end by it.
pub fn open_tables(directory: &Path) -> Result<(), KvError> {
    fjall::try_open(directory)
}

/// Runs `sherd salvage`: drops the damaged part of the metadata of a stopped host, or only prints what would be lost.
pub fn salvage(config: Config, goes_on: bool) -> Result<(), HostError> {
    in_system(async { recovery::salvage(&config, &Environment::of_process(&config), goes_on).await })
}

async fn run_in_system(config: Config) -> Result<(), HostError> {
    let stop = stopping::stop_signal().map_err(|cause| HostError::System { doing: "wait for signals", cause })?;
    let hangups = reload::hangups()?;
    let env = Environment::of_process(&config);
    tokio::pin!(stop);
    let checked = preflight::check(&config, &env)?;
    let progress = StartupProgress::new("waiting for its drives");
    let startup = StartupServer::start(
        &checked.endpoints,
        config.metrics_token.clone().map(|token| token.0),
        Arc::clone(&env.ambient.clock),
        &progress,
    )?;
    let answering = without_silent_drives(env, &config.data, Arc::new(SystemLocks), &progress);
    let env = tokio::select! {
        env = answering => env,
        () = &mut stop => return Ok(()),
    };
    let wanted = wanted_geometry(&config);
    let prepared = prepare_host(&*env.disk, &config.data, wanted, &env.ambient, &SystemLocks)?;
    progress.set(vec!["waiting to take its place in the store".to_owned()]);
    let root_keys = checked.root_keys.as_ref();
    let entering = Entering { config: &config, wanted, root_keys, progress: &progress };
    let member = tokio::select! {
        entered = enter(&env, entering, prepared) => entered?,
        () = &mut stop => return Ok(()),
    };
    warn_of_one_drive(&config, &member.host);
    progress.set(vec!["waiting for its metadata and drives".to_owned()]);
    let credentials = credentials(&config, &env, &member.host)?;
    let (member, replica) = match metadata::start(&env, &member).await {
        Ok(replica) => (member, replica),
        Err(error) if rejoin::is_mended_by(&config, &error) => {
            tokio::select! {
                started = rejoin::after_loss(&env, &config, member, &error, &progress) => started?,
                () = &mut stop => return Ok(()),
            }
        }
        Err(error) => return Err(error.into()),
    };
    let member = Member { root_keys: root_key_ids(checked.root_keys.as_ref()), ..member };
    let mut running = start(&config, &env, (member, replica), credentials, (checked, startup)).await?;
    let trimming = tokio::spawn(trim_while_idle(env.buffers.clone(), running.load.clone()));
    let reloading = reload::start(&config, (&running.api, &running.audit), hangups);
    announce(&running.api);
    let ended = tokio::select! {
        () = &mut stop => Ok(()),
        why = running.cannot_go_on() => Err(why),
    };
    let own = OwnDrives::of(running.registration.member.host.host, &running.registration.drives.all());
    let data = running.data_with_added(&config);
    tracing::info!("stopping");
    trimming.abort();
    reloading.abort();
    running.stop(&env.threads).await;
    tracing::info!("stopped");
    match ended {
        Err(HostError::Superseded { why }) => Err(own.decide(&env, why)),
        Err(HostError::GivenUp { why }) => Err(own.note_given_up(&env, why)),
        ended => ended,
    }
    .map_err(|error| match error {
        HostError::StartsAgain { why, .. } => HostError::StartsAgain { why, data },
        error => error,
    })
}

/// Enters the cluster: under a new id if a rejoin is recorded for this host, else under its own.
async fn enter(env: &Environment, entering: Entering<'_>, prepared: Prepared) -> Result<Member, HostError> {
    match (rejoin::decided(env, entering.config.cluster.is_none(), &prepared)?, prepared) {
        (Some(rejoining), Prepared::Known(host)) => {
            entering.progress.set(vec!["waiting for its cluster to take it back as another member".to_owned()]);
            rejoin::come_back_as_another(env, entering.config, host, &rejoining, entering.progress).await
        }
        (_, prepared) => Ok(cluster::enter(env, entering, prepared).await?),
    }
}

async fn start(
    config: &Config,
    env: &Environment,
    (mut member, replica): (Member, Replica),
    credentials: Credentials,
    (checked, startup): (Checked, StartupServer),
) -> Result<Running, HostError> {
    let system = |doing| move |cause| HostError::System { doing, cause };
    let locks = std::mem::take(&mut member.host.locks);
    let Checked { endpoints, targets, key_sets, accounts, root_keys: given_keys, acme } = checked;
    let host = &member.host;
    let health = HealthBoard::new(host.drives.iter().map(|drive| drive.node));
    let (faults, fault_source) = fault_channel();
    let metadata = replica.handle.clone();
    note_started(&*env.disk, &host.usable_dirs())?;
    member.decide_by(&metadata);
    let opened = drives::open(env, host, &health).await;
    let parts = parts(config, &member, &metadata, &opened, (&health, &faults));
    let requests = requests::join(env, parts).map_err(system("start threads that compute"))?;
    let monitor = drives::watch(env, host, &opened, &health, &metadata);
    let scrub = ScrubOptions { interval: config.scrub_interval, ..ScrubOptions::default() };
    let (mut chores, handles, work) =
        drives::start_chores(env, &opened, &requests.cluster, faults, fault_source, scrub, &metadata);
    let buckets = BucketChores::start(config, &requests, &targets, &shown(host));
    let audit = AuditLogs::start(&config.audit, &env.ambient, &shown(host))?;
    let traces = traces::export(config, env, &shown(host))?;
    let drives = DriveList::new(member.host.drives.clone());
    let status = status(env, (&member, &drives), &requests, &handles, &metadata);
    let (watch, reads, is_registered) = (status.watch.clone(), status.reads.clone(), Arc::clone(&status.is_registered));
    let (started, traffic, asks) = (status.started, status.traffic.clone(), status.asks.clone());
    let problems = status.problems.clone();
    let (door, asked) = BayDoor::new();
    let jobs = jobs(config, (&member, &drives), &requests, &handles, traffic.clone());
    let admin = administration(&member.host, &requests, jobs, (status, door));
    let registration = Arc::new(Registration {
        env: env.clone(),
        drives,
        member,
        roles: config.roles,
        metadata,
        health,
        healing: handles.healing,
        ring: requests.ring,
        latencies: requests.context.latencies.clone(),
        watch,
        reads,
        asks,
        started,
        stopping: Arc::default(),
        is_registered,
    });
    let keeping = registration.take().await?;
    let roots = root_keys(config, given_keys, env, &registration.member.host)?;
    let options = api_options(config, credentials, (roots, problems), &registration.member.host);
    let (access_log, audits) = (Some(buckets.access_log.clone()), audit.senders.clone());
    let tracer = env.traced.as_ref().map(|traced| traced.tracer.clone());
    let options = ApiOptions { accounts, targets, key_sets, access_log, audit: audits, traffic, tracer, ..options };
    let acme = acme.zip(endpoints.certificate_by_acme());
    let acme = acme.map(|(client, shown)| Acme::load(client, shown, env, &registration.member.host));
    startup.stop().await;
    let api = api::serve(options, endpoints, requests.gateway.clone(), env.ambient.clone(), admin)?;
    let monitor = monitor.start().map_err(system("start threads that watch the drives"))?;
    let keeps_credentials = config.credentials.is_none();
    let at_work = (opened, work, DriveBay::chores_of(&mut chores), monitor);
    let bay = DriveBay::new(env, &registration, (wanted_geometry(config), keeps_credentials), at_work, locks);
    let (replacing, load) = (bay.start(asked), requests.cluster.load);
    let acme = acme.map(Acme::start);
    Ok(Running { api, acme, chores, buckets, audit, traces, bay, replacing, replica, load, registration, keeping })
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
    env: &Environment,
    (member, drives): (&Member, &DriveList),
    requests: &Requests,
    handles: &ChoreHandles,
    metadata: &MetaHandle,
) -> HostStatus {
    let (host, health, own) = (&member.host, requests.context.health.clone(), drives.clone());
    HostStatus {
        context: Arc::clone(&requests.context),
        metadata: metadata.clone(),
        own: own.clone(),
        set_aside: what_is_set_aside(env, host),
        is_registered: Arc::default(),
        started: env.ambient.clock.unix_ms(),
        census: handles.census.clone(),
        growth: handles.growth.clone(),
        traffic: traffic(&env.ambient),
        moving: handles.moving.clone(),
        reads: ReadCheck::default(),
        problems: Problems::default(),
        watch: HostWatch::new(member.peers.clone(), health, metadata.clock().clone(), host.host, own),
        asks: RejoinAsks::new(Arc::clone(&env.ambient.clock)),
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

/// Makes the access to the jobs of all hosts, and has this host answer other hosts' questions about its own jobs.
fn jobs(
    config: &Config,
    (member, drives): (&Member, &DriveList),
    requests: &Requests,
    handles: &ChoreHandles,
    traffic: Traffic,
) -> AllJobs {
    let own = OwnJobs {
        own: drives.clone(),
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

/// Makes the traffic counters, two for each worker: one of its two applications serves requests that expect
/// `100 Continue`, the other one all other requests.
fn traffic(ambient: &Ambient) -> Traffic {
    Traffic::new(2 * cores(), Arc::clone(&ambient.clock))
}

/// Returns the name of this host in answers.
fn shown(host: &HostDrives) -> String {
    format!("{:016x}", host.host.0)
}

/// Prints the address of each listener in one line that programs can parse; `-` for an absent listener.
fn announce(api: &ApiHandle) {
    let s3 = api.s3_address.map_or_else(|| "-".to_owned(), |address| address.to_string());
    output::say(format_args!("listening s3={s3} admin={}", api.admin_address));
}

/// Frees pooled buffers while no request runs: an idle store need not hold the memory that recovery or a burst took.
async fn trim_while_idle(buffers: BufferPool, load: UserLoad) {
    loop {
        if !load.is_busy() {
            buffers.trim();
        }
        tokio::time::sleep(TRIM_PERIOD).await;
    }
}

fn api_options(
    config: &Config,
    credentials: Credentials,
    (roots, problems): (RootKeys, Problems),
    host: &HostDrives,
) -> ApiOptions {
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
        connections_max: connections_max(config.memory_max_bytes),
        bodies_bytes_max: usize::try_from(bodies_bytes(config.memory_max_bytes)).unwrap_or(usize::MAX),
        access_log: None,
        traffic: traffic(&Ambient::system()),
        problems,
        audit: Vec::new(),
        tracer: None,
        host_id: shown(host),
    }
}

/// Returns the most connections that a listener accepts: a share of the limit of open files, and as many as there is
/// memory for.
fn connections_max(memory_max_bytes: u64) -> usize {
    let by_memory = usize::try_from(memory_max_bytes / CONNECTION_MEMORY_BYTES).unwrap_or(usize::MAX);
    (open_files_max() / FILES_PER_CONNECTION).min(by_memory).clamp(CONNECTIONS_MIN, CONNECTIONS_MAX)
}

/// Returns the part of `SHERD_MEMORY_MAX` that is reserved for bodies that are read whole.
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

/// Warns that the store has a single drive, which is fine for a first try and easily forgotten.
fn warn_of_one_drive(config: &Config, host: &HostDrives) {
    if let (None, [_]) = (&config.cluster, host.drives.as_slice()) {
        let (data, parity) = (host.data, host.parity);
        tracing::warn!("this store is {data}+{parity} on one drive: the loss of that drive is the loss of all objects");
    }
}

/// Returns the configured root credentials, or those kept on the drives. Prints them if they were generated just now.
fn credentials(config: &Config, env: &Environment, host: &HostDrives) -> Result<Credentials, HostError> {
    if let Some(given) = &config.credentials {
        return Ok(Credentials { access_key: given.access_key.clone(), secret_key: given.secret_key.clone() });
    }
    let dirs: Vec<PathBuf> = host.usable_dirs();
    let kept = keep_credentials(&*env.disk, &dirs, host.cluster, &env.ambient)?;
    if kept.fresh {
        output::say("This store is new; its root credentials, which `sherd credentials` shows again:");
        output::say(format_args!("  aws configure set aws_access_key_id {}", kept.access_key));
        output::say(format_args!("  aws configure set aws_secret_access_key {}", kept.secret_key));
    }
    Ok(Credentials { access_key: kept.access_key, secret_key: kept.secret_key })
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
