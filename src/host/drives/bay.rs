//! The drives of a host at work: what is open of them, the background work on each, and the threads that watch them. Drives
//! are replaced and added while the host runs.
//!
//! Receives orders, one at a time. Refuses what a start would refuse. An attempt that fails half-way leaves what it did; the
//! next one goes on from there, as the next start would.

use super::orders::{DriveOrder, TheOrder, unavailable};
use super::{Chores, DriveChores, DriveWork, open_one, tell_of_shared_file_systems, watched};
use crate::actors::consensus::ReplicaDrive;
use crate::actors::drives::health::Contents;
use crate::actors::drives::{MonitorThreads, OpenDrives, off_thread};
use crate::actors::log::Threads;
use crate::api::admin::AdminError;
use crate::host::environment::Environment;
use crate::host::registration::Registration;
use crate::storage::identity::{Drive, DriveState, HeldLocks, WantedGeometry, keep_credentials, spread_root_keys};
use crate::types::NodeId;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// The work on the drives of a host, shared with whoever stops it.
#[derive(Clone)]
pub(in crate::host) struct DriveBay {
    pub(super) env: Environment,
    pub(super) registration: Arc<Registration>,
    pub(super) wanted: WantedGeometry,
    /// Whether the drives keep the root credentials, of which the new one then gets a copy.
    pub(super) keeps_credentials: bool,
    pub(super) work: DriveWork,
    pub open: OpenDrives,
    pub(super) chores: Arc<Mutex<BTreeMap<NodeId, DriveChores>>>,
    pub(super) monitor: Arc<Mutex<Option<MonitorThreads>>>,
    pub(super) locks: Arc<Mutex<HeldLocks>>,
    /// Former drives that are being closed.
    pub(super) retiring: Arc<Mutex<BTreeMap<NodeId, Retiring>>>,
}

/// The closing of a former drive.
pub(super) type Retiring = JoinHandle<Result<(), String>>;

/// The drives that are open, what starts the background work on them, that work, and the threads that watch them.
type AtWork = (OpenDrives, DriveWork, BTreeMap<NodeId, DriveChores>, MonitorThreads);

impl DriveBay {
    pub fn new(
        env: &Environment,
        registration: &Arc<Registration>,
        (wanted, keeps_credentials): (WantedGeometry, bool),
        (open, work, chores, monitor): AtWork,
        locks: HeldLocks,
    ) -> Self {
        Self {
            env: env.clone(),
            registration: Arc::clone(registration),
            wanted,
            keeps_credentials,
            work,
            open,
            chores: Arc::new(Mutex::new(chores)),
            monitor: Arc::new(Mutex::new(Some(monitor))),
            locks: Arc::new(Mutex::new(locks)),
            retiring: Arc::default(),
        }
    }

    /// Takes the drives' chores out of a host's: they are stopped with the bay.
    pub fn chores_of(chores: &mut Chores) -> BTreeMap<NodeId, DriveChores> {
        std::mem::take(&mut chores.drives)
    }

    /// Carries orders out until it is aborted.
    pub fn start(&self, mut orders: mpsc::Receiver<TheOrder>) -> JoinHandle<()> {
        let bay = self.clone();
        actix::spawn(async move {
            while let Some(order) = orders.recv().await {
                bay.carry_out(order).await;
            }
        })
    }

    async fn carry_out(&self, TheOrder { order, only }: TheOrder) {
        // Whoever asked may have given up; if not, the next order may follow the answer at once.
        match order {
            DriveOrder::Replace { node, reply } => {
                let outcome = self.replace(node).await;
                if let Err(error) = &outcome {
                    tracing::warn!(%node, %error, "a drive is not replaced");
                }
                drop(only);
                let _ = reply.send(outcome);
            }
            DriveOrder::Add { directory, reply } => {
                let outcome = self.add(&directory).await;
                if let Err(error) = &outcome {
                    tracing::warn!(directory, %error, "a drive is not added");
                }
                drop(only);
                let _ = reply.send(outcome);
            }
        }
    }

    /// Takes the chores of all drives.
    pub fn take_chores(&self) -> Vec<DriveChores> {
        let chores = std::mem::take(&mut *self.chores.lock().unwrap_or_else(PoisonError::into_inner));
        chores.into_values().collect()
    }

    /// Ends the threads that watch the drives.
    pub fn end_watching(&self) {
        drop(self.monitor.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Copies to the drive what each drive of the host keeps for the store. Others have it, so a failure is no refusal.
    pub(super) async fn keep_secrets(&self, drive: &Drive) {
        let health = self.registration.health.current();
        let others = self.registration.drives.kept(&health);
        let in_service = others.iter().filter(|other| other.node != drive.node && health.in_service(other.node));
        let mut dirs: Vec<PathBuf> = in_service.map(|other| other.dir.clone()).collect();
        dirs.push(drive.dir.clone());
        let (disk, ambient) = (Arc::clone(&self.env.disk), self.env.ambient.clone());
        let (cluster, credentials) = (self.registration.member.host.cluster, self.keeps_credentials);
        let work = move || {
            let kept = if credentials { keep_credentials(&*disk, &dirs, cluster, &ambient).map(drop) } else { Ok(()) };
            // Where the root key has another source, the kept ones are former ones, which are needed as well.
            let spread = spread_root_keys(&*disk, &dirs, cluster).map(drop);
            kept.and(spread)
        };
        if let Ok(Err(error)) = off_thread(&self.env.threads, work).await {
            tracing::warn!(node = %drive.node, %error, "the drive has no copy of the store's keys until the next start");
        }
    }

    /// Opens the drive and puts it into service, in the place of the former one of its number if there was one.
    pub(super) async fn put_in(&self, drive: &Drive, contents: Contents) -> Result<(), AdminError> {
        let (node, registration) = (drive.node, &self.registration);
        let drives = registration.drives.all().iter().filter(|known| known.node != node).count() + 1;
        let opened = open_one(&self.env, (&registration.member.host, drives), drive).await;
        let opened = opened.map_err(|why| unavailable(format!("the new drive cannot be opened: {why}")))?;
        let opened = opened.start(Threads::Own);
        if let Some(monitor) = &mut *self.monitor.lock().unwrap_or_else(PoisonError::into_inner) {
            monitor.forget(node);
        }
        self.chores.lock().unwrap_or_else(PoisonError::into_inner).insert(node, self.work.start(&opened));
        self.open.put(opened);
        registration.drives.put(Drive { state: DriveState::Present, ..drive.clone() });
        tell_of_shared_file_systems(&self.env, &registration.drives.kept(&registration.health.current()));
        registration.health.put_in(node, if registration.roles.storage { contents } else { Contents::Compared });
        let (disk, dir) = (Arc::clone(&self.env.disk), drive.dir.clone());
        registration.metadata.want_copies(registration.copies_wanted());
        registration.metadata.drive_back(ReplicaDrive { node, disk, dir });
        Ok(())
    }

    /// Watches the drive from now on. Not before the board has it in service: a look at it while the board still has the loss
    /// of the former one would report that anew.
    pub(super) fn watch(&self, drive: &Drive) -> Result<(), AdminError> {
        let opened = self.open.get(drive.node).ok_or_else(|| unavailable("the drive is not open"))?;
        match &mut *self.monitor.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(monitor) => monitor.replace(watched(&self.env, drive, &opened)).map_err(unavailable),
            None => Err(unavailable("this host is stopping")),
        }
    }
}
