//! Replaces drives of this host while it runs: gives the former drive up, makes the empty directory in its place a new
//! incarnation, and puts that into service, to be filled by the healer.
//!
//! Receives `ReplacementAsked`, one at a time. Refuses what a start would refuse, and a drive that is still there. An attempt
//! that fails half-way leaves the drive out of service; the next one goes on from there, as the next start would.

use super::{Chores, DriveChores, DriveWork, open_one, tell_of_shared_file_systems, watched};
use crate::actors::consensus::ReplicaDrive;
use crate::actors::drives::health::Contents;
use crate::actors::drives::{Drive as OpenDrive, MonitorThreads, OpenDrives, off_thread};
use crate::actors::log::Threads;
use crate::api::admin::{AdminError, DriveReplaced};
use crate::host::place::{Place, remember_unfilled};
use crate::host::{Surroundings, metadata};
use crate::storage::identity::{
    Drive, DriveState, HeldLocks, Replacement, SystemLocks, WantedGeometry, check_replacement, keep_credentials,
    keep_root_keys, replace_drive,
};
use crate::types::NodeId;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// The longest wait for the steps of the background work on the former drive.
const CHORES_PATIENCE: Duration = Duration::from_secs(10);
/// The longest wait until a former drive is closed.
const RETIRE_PATIENCE: Duration = Duration::from_secs(20);
/// The longest wait of whoever asked; the replacement goes on after it.
const ANSWER_PATIENCE: Duration = Duration::from_secs(50);

/// An order to replace a drive.
#[derive(Debug)]
pub(in crate::host) struct ReplacementAsked {
    node: NodeId,
    reply: oneshot::Sender<Result<DriveReplaced, AdminError>>,
}

/// Hands orders to the bay. Cheap to clone.
#[derive(Clone, Debug)]
pub(in crate::host) struct BayDoor(mpsc::Sender<ReplacementAsked>);

impl BayDoor {
    /// A door, and what comes through it.
    pub fn new() -> (Self, mpsc::Receiver<ReplacementAsked>) {
        let (sender, receiver) = mpsc::channel(1);
        (Self(sender), receiver)
    }

    pub async fn replace(&self, node: NodeId) -> Result<DriveReplaced, AdminError> {
        let (reply, answer) = oneshot::channel();
        let busy = "another drive of this host is being replaced; try again later";
        self.0.try_send(ReplacementAsked { node, reply }).map_err(|_| unavailable(busy))?;
        match timeout(ANSWER_PATIENCE, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(unavailable("this host is stopping")),
            Err(_) => {
                Err(unavailable("the replacement is still under way; `sherd admin drives` shows when it is done"))
            }
        }
    }
}

fn unavailable(why: impl ToString) -> AdminError {
    AdminError::Unavailable(why.to_string())
}

fn refused(why: impl ToString) -> AdminError {
    AdminError::Refused(why.to_string())
}

/// The work on the drives of a host, shared with whoever stops it.
#[derive(Clone)]
pub(in crate::host) struct DriveBay {
    around: Surroundings,
    place: Arc<Place>,
    wanted: WantedGeometry,
    /// Whether the drives keep the root credentials, and the root keys, of which the new one then gets a copy.
    keeps: (bool, bool),
    work: DriveWork,
    pub open: OpenDrives,
    chores: Arc<Mutex<BTreeMap<NodeId, DriveChores>>>,
    monitor: Arc<Mutex<Option<MonitorThreads>>>,
    locks: Arc<Mutex<HeldLocks>>,
    /// Former drives that are being closed.
    retiring: Arc<Mutex<BTreeMap<NodeId, Retiring>>>,
}

/// The closing of a former drive.
type Retiring = JoinHandle<Result<(), String>>;

/// The drives that are open, what starts the background work on them, that work, and the threads that watch them.
type AtWork = (OpenDrives, DriveWork, BTreeMap<NodeId, DriveChores>, MonitorThreads);

impl DriveBay {
    pub fn new(
        around: &Surroundings,
        place: &Arc<Place>,
        (wanted, keeps): (WantedGeometry, (bool, bool)),
        (open, work, chores, monitor): AtWork,
        locks: HeldLocks,
    ) -> Self {
        Self {
            around: around.clone(),
            place: Arc::clone(place),
            wanted,
            keeps,
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
    pub fn start(&self, mut asked: mpsc::Receiver<ReplacementAsked>) -> JoinHandle<()> {
        let bay = self.clone();
        actix::spawn(async move {
            while let Some(ReplacementAsked { node, reply }) = asked.recv().await {
                let outcome = bay.replace(node).await;
                if let Err(error) = &outcome {
                    tracing::warn!(%node, %error, "a drive is not replaced");
                }
                // Who asked may have given up.
                let _ = reply.send(outcome);
            }
        })
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

    async fn replace(&self, node: NodeId) -> Result<DriveReplaced, AdminError> {
        let former = self.acceptable(node)?;
        let asked = self.asked(&former);
        self.check(asked.clone()).await?;
        self.give_up(&former).await?;
        let drive = self.take_directory(asked).await?;
        self.keep_secrets(&drive).await;
        if self.place.roles.storage {
            // Before the metadata has the drive as the one in its place.
            remember_unfilled(&self.around, &drive).await;
            let registered =
                metadata::register_replaced(&self.around, &self.place.metadata, &self.place.member, &drive);
            // From then on writes that used the former drive count as incomplete, and no later one can have reached it.
            registered.await.map_err(unavailable)?;
        }
        self.put_in(&drive).await?;
        let (path, incarnation) = (drive.dir.display().to_string(), drive.incarnation.to_string());
        tracing::warn!(node = node.0, dir = path, "an empty drive takes the place of a lost one; it will be rebuilt");
        Ok(DriveReplaced { node: node.0, path, incarnation })
    }

    /// Returns the drive of this number, if it may be replaced as far as the host knows without looking at it.
    fn acceptable(&self, node: NodeId) -> Result<Drive, AdminError> {
        let drive = self.place.drives.get(node);
        let drive =
            drive.ok_or_else(|| refused(format!("drive {node} is not on this host; ask the host that it is on")))?;
        if self.place.health.current().is_dismissed(node) {
            return Err(refused(format!("drive {node} was removed from the store")));
        }
        if !self.place.is_registered.load(std::sync::atomic::Ordering::Acquire) {
            return Err(unavailable("this host is not registered in its cluster yet"));
        }
        Ok(drive)
    }

    fn asked(&self, former: &Drive) -> Replacement {
        let kept = self.place.drives.kept(&self.place.health.current());
        Replacement {
            dirs: kept.into_iter().map(|drive| drive.dir).collect(),
            node: former.node,
            dir: former.dir.clone(),
            former: former.incarnation,
            wanted: self.wanted,
        }
    }

    async fn check(&self, asked: Replacement) -> Result<(), AdminError> {
        let disk = Arc::clone(&self.around.disk);
        let checked = off_thread(&self.around.threads, move || check_replacement(&*disk, &asked)).await;
        checked.map_err(unavailable)?.map_err(refused)
    }

    /// Takes the former drive out of service, and closes everything that is open of it.
    async fn give_up(&self, former: &Drive) -> Result<(), AdminError> {
        let node = former.node;
        self.place.health.take_out(node, "it is being replaced");
        self.place.metadata.drive_lost(node);
        let hangs = |what: &str| {
            unavailable(format!(
                "the drive that is to be replaced still holds up {what}; try again, and restart the host if that does not help"
            ))
        };
        let chores = self.chores.lock().unwrap_or_else(PoisonError::into_inner).remove(&node);
        if let Some(chores) = chores
            && timeout(CHORES_PATIENCE, chores.stop()).await.is_err()
        {
            self.chores.lock().unwrap_or_else(PoisonError::into_inner).insert(node, chores);
            return Err(hangs("its compaction or scrub"));
        }
        if let Some(drive) = self.open.get(node) {
            self.retire(drive).await.map_err(|why| hangs(&why))?;
            self.open.remove(node);
        }
        Ok(())
    }

    /// Closes what is open of a drive. What does not come to its end in time goes on, and is waited for by the next attempt.
    async fn retire(&self, drive: OpenDrive) -> Result<(), String> {
        let (node, threads) = (drive.node, Arc::clone(&self.around.threads));
        let begun = self.retiring.lock().unwrap_or_else(PoisonError::into_inner).remove(&node);
        let mut retiring = begun.unwrap_or_else(|| actix::spawn(async move { drive.retire(&threads).await }));
        match timeout(RETIRE_PATIENCE, &mut retiring).await {
            Ok(ended) => ended.map_err(|error| error.to_string())?,
            Err(_) => {
                self.retiring.lock().unwrap_or_else(PoisonError::into_inner).insert(node, retiring);
                Err("its log or index, which does not close".to_owned())
            }
        }
    }

    async fn take_directory(&self, asked: Replacement) -> Result<Drive, AdminError> {
        let (disk, ambient, locks) =
            (Arc::clone(&self.around.disk), self.around.ambient.clone(), Arc::clone(&self.locks));
        let work = move || {
            let mut locks = locks.lock().unwrap_or_else(PoisonError::into_inner);
            replace_drive(&*disk, &asked, &ambient, &SystemLocks, &mut locks)
        };
        off_thread(&self.around.threads, work).await.map_err(unavailable)?.map_err(refused)
    }

    /// Copies to the drive what each drive of the host keeps for the store. Others have it, so a failure is no refusal.
    async fn keep_secrets(&self, drive: &Drive) {
        let health = self.place.health.current();
        let others = self.place.drives.all();
        let in_service = others.iter().filter(|other| other.node != drive.node && health.in_service(other.node));
        let mut dirs: Vec<PathBuf> = in_service.map(|other| other.dir.clone()).collect();
        dirs.push(drive.dir.clone());
        let (disk, ambient) = (Arc::clone(&self.around.disk), self.around.ambient.clone());
        let (cluster, (credentials, root_keys)) = (self.place.member.host.cluster, self.keeps);
        let work = move || {
            if credentials {
                keep_credentials(&*disk, &dirs, cluster, &ambient)?;
            }
            if root_keys {
                keep_root_keys(&*disk, &dirs, cluster, &ambient)?;
            }
            Ok::<_, crate::storage::identity::IdentityError>(())
        };
        if let Ok(Err(error)) = off_thread(&self.around.threads, work).await {
            tracing::warn!(node = %drive.node, %error, "the drive has no copy of the store's keys until the next start");
        }
    }

    /// Opens the drive and puts it into service.
    async fn put_in(&self, drive: &Drive) -> Result<(), AdminError> {
        let (node, place) = (drive.node, &self.place);
        let opened = open_one(&self.around, &place.member.host, drive).await;
        let opened = opened.map_err(|why| unavailable(format!("the new drive cannot be opened: {why}")))?;
        let opened = opened.start(Threads::Own);
        if let Some(monitor) = &mut *self.monitor.lock().unwrap_or_else(PoisonError::into_inner) {
            monitor.forget(node);
        }
        self.chores.lock().unwrap_or_else(PoisonError::into_inner).insert(node, self.work.start(&opened));
        self.open.put(opened.clone());
        place.drives.put(Drive { state: DriveState::Present, ..drive.clone() });
        tell_of_shared_file_systems(&self.around, &place.drives.all());
        let stores = place.roles.storage;
        place.health.put_in(node, if stores { Contents::Empty } else { Contents::Compared });
        let (disk, dir) = (Arc::clone(&self.around.disk), drive.dir.clone());
        place.metadata.drive_back(ReplicaDrive { node, disk, dir });
        // Only now: a look at the drive while the board still has the loss of the former one would report that anew.
        if let Some(monitor) = &mut *self.monitor.lock().unwrap_or_else(PoisonError::into_inner) {
            monitor.replace(watched(&self.around, drive, &opened)).map_err(unavailable)?;
        }
        if stores {
            place.healing.reconcile(node);
        }
        Ok(())
    }
}
