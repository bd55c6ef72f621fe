//! `DriveMonitor`: checks each drive of this host every second and publishes its state on the health board. A check (a
//! *look*) reads the free space and the drive's identity, notices missing directories and a failed log or index, and
//! every ten looks tries a write. Each drive has a thread of its own, so that a drive that hangs holds up no other. One
//! more thread takes drives out of service whose look does not return. Each drive that goes out of service is logged
//! and reported once.

use super::health::{HealthBoard, SpaceLevel};
use crate::actors::log::LogHandle;
use crate::ambient::Ambient;
use crate::limits::{SPACE_REFUSE_PERCENT, SPACE_WARN_PERCENT};
use crate::metrics;
use crate::storage::disk::{Caching, CallKind, Disk, OpenMode, Space, host_lacks_resources};
use crate::storage::identity::TRIAL_FILE;
use crate::storage::shard_index::ShardIndex;
use crate::storage::wal::{WalError, segment_name};
use crate::types::{Incarnation, NodeId};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

/// The interval between looks at a drive.
const PERIOD: Duration = Duration::from_secs(1);
/// The number of looks from one trial write to the next.
const LOOKS_TO_A_WRITE: u32 = 10;
/// The duration of a look after which its drive is taken out of service.
const SILENT_AFTER: Duration = Duration::from_secs(30);
const SILENT: &str = "it does not answer";
/// A longer pause between two checks for silent drives means that this process was stopped, and says nothing of the
/// drives.
const CHECK_LATE_AFTER: Duration = Duration::from_secs(10);
/// The number of looks in a row whose identity read, or trial writes in a row, that fail before the drive is lost or
/// unwritable.
const FAILURES_MAX: u32 = 3;

/// The directories of a drive that must not disappear while the host runs.
const DIRECTORIES: [&str; 2] = ["shards", "meta"];

/// Reads the incarnation of the drive in a directory.
pub type IdentityReader = Arc<dyn Fn(&dyn Disk, &Path) -> io::Result<Incarnation> + Send + Sync>;
/// Called once for each drive that goes out of service, from a thread of the monitor.
pub type OnLost = Arc<dyn Fn(NodeId, &str) + Send + Sync>;

/// A drive to watch.
#[derive(Clone, Debug)]
pub struct WatchedDrive {
    pub node: NodeId,
    pub dir: PathBuf,
    pub disk: Arc<dyn Disk>,
    pub incarnation: Incarnation,
    pub log: LogHandle,
    pub index: ShardIndex,
}

/// Removes a drive from the health board and the metrics; looks at it end.
pub fn dismiss(health: &HealthBoard, node: NodeId) {
    health.dismiss(node);
    hide(node);
}

fn hide(node: NodeId) {
    let label = node.to_string();
    for gauge in [
        &*metrics::DRIVE_UP,
        &*metrics::DRIVE_FULL,
        &*metrics::DRIVE_WRITABLE,
        &*metrics::DRIVE_FREE_BYTES,
        &*metrics::DRIVE_TOTAL_BYTES,
        &*metrics::MIRROR_FAILED,
    ] {
        // A drive that was never looked at has no series to remove.
        let _ = gauge.remove_label_values(&[&label]);
    }
}

/// The result of one look at a drive.
#[derive(Debug)]
struct Look {
    identity: io::Result<Incarnation>,
    /// A directory of the drive that existed at an earlier look and is missing now, or the file of a segment.
    gone: Option<String>,
    space: io::Result<Space>,
    /// False if the log cannot make another segment.
    has_room: bool,
    log_failed: Option<String>,
    index_failed: Option<String>,
    /// The result of a trial write; `None` if none was tried.
    written: Option<io::Result<()>>,
}

/// The actions to take after a look.
#[derive(Debug, Default, PartialEq, Eq)]
struct Verdict {
    level: Option<SpaceLevel>,
    warn: bool,
    /// The reason why the drive takes no writes although it serves reads.
    unwritable: Option<String>,
    /// The error of the last trial write.
    trial_write_failed: Option<String>,
    /// The reason to take the drive out of service.
    lost: Option<String>,
}

/// Decides the state of one drive from its looks. Pure.
#[derive(Debug, Default)]
struct LookHistory {
    failures: u32,
    /// The number of trial writes in a row that failed, and the reason of the last failure.
    failed_writes: u32,
    why: String,
    level: SpaceLevel,
}

impl LookHistory {
    fn judge(&mut self, expected: Incarnation, look: &Look) -> Verdict {
        let mut verdict = Verdict::default();
        if let Ok(space) = look.space {
            let level = if look.has_room { level_of(space) } else { SpaceLevel::Exhausted };
            verdict.warn = level > SpaceLevel::Ample && self.level == SpaceLevel::Ample;
            verdict.level = Some(level);
            self.level = level;
        }
        let gone = look.gone.as_ref().map(|name| format!("its {name} is gone"));
        let identity = self.judge_identity(expected, &look.identity);
        verdict.lost = look.log_failed.clone().or(identity).or(gone);
        match &look.written {
            None => {}
            Some(Err(error)) if is_full(error.kind()) || host_lacks_resources(error) => {}
            Some(Ok(())) => (self.failed_writes, self.why) = (0, String::new()),
            Some(Err(error)) => (self.failed_writes, self.why) = (self.failed_writes + 1, error.to_string()),
        }
        verdict.trial_write_failed = (self.failed_writes > 0).then(|| self.why.clone());
        let unwritten = verdict.trial_write_failed.clone().filter(|_| self.failed_writes >= FAILURES_MAX);
        verdict.unwritable = unwritten.or_else(|| look.index_failed.clone());
        verdict
    }

    fn judge_identity(&mut self, expected: Incarnation, identity: &io::Result<Incarnation>) -> Option<String> {
        match identity {
            Ok(found) if *found == expected => {
                self.failures = 0;
                None
            }
            Ok(found) => Some(format!("another drive is in its place: {found}, not {expected}")),
            // Neither a good look nor a failed one.
            Err(error) if host_lacks_resources(error) => None,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Some("its directory or identity is gone".to_owned())
            }
            Err(error) => {
                self.failures += 1;
                (self.failures >= FAILURES_MAX).then(|| format!("its identity cannot be read: {error}"))
            }
        }
    }
}

/// Returns whether the error says that the drive is full. A full drive still serves reads and deletes.
fn is_full(error: io::ErrorKind) -> bool {
    matches!(error, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn level_of(space: Space) -> SpaceLevel {
    let free_of_hundred = u128::from(space.free_bytes) * 100;
    let total = u128::from(space.total_bytes);
    if free_of_hundred < total * u128::from(SPACE_REFUSE_PERCENT) {
        SpaceLevel::Exhausted
    } else if free_of_hundred < total * u128::from(SPACE_WARN_PERCENT) {
        SpaceLevel::Low
    } else {
        SpaceLevel::Ample
    }
}

/// A drive under watch, with the state that the monitor keeps of it.
#[derive(Debug)]
pub(super) struct Watch {
    drive: WatchedDrive,
    history: Mutex<LookHistory>,
    /// The start of the look under way, by the monotonic clock; `None` between looks.
    looking_since: Mutex<Option<Duration>>,
    /// True once the drive was reported as out of service.
    is_reported: AtomicBool,
    /// False once another drive is watched in this one's place: findings about this drive are then dropped. Locked
    /// while findings are published.
    is_current: Mutex<bool>,
    /// For each of `DIRECTORIES`, whether it existed at some look.
    seen: [AtomicBool; DIRECTORIES.len()],
    looks: AtomicU32,
}

#[derive(Clone)]
struct Shared {
    identity: IdentityReader,
    health: HealthBoard,
    ambient: Ambient,
    on_lost: OnLost,
    /// The time of the last check for drives that do not answer, by the monotonic clock.
    checked: Arc<Mutex<Option<Duration>>>,
    /// True once the host stops: drives that look lost from then on are not reported.
    ended: Arc<AtomicBool>,
}

/// The monitor of the drives. `start` runs its threads; a simulation calls `look_at_all` instead.
#[derive(Clone)]
pub struct DriveMonitor {
    watches: Arc<RwLock<BTreeMap<NodeId, Arc<Watch>>>>,
    shared: Shared,
}

impl fmt::Debug for DriveMonitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DriveMonitor").field("watches", &self.watches).finish_non_exhaustive()
    }
}

/// The running threads of the monitor. Dropping it tells the threads to end without waiting for them, since one may
/// hang in its drive.
#[derive(Debug)]
pub struct MonitorThreads {
    monitor: DriveMonitor,
    stops: BTreeMap<NodeId, mpsc::Sender<()>>,
    _stop_checking: mpsc::Sender<()>,
}

impl Drop for MonitorThreads {
    fn drop(&mut self) {
        self.monitor.shared.ended.store(true, Ordering::Relaxed);
    }
}

impl DriveMonitor {
    pub fn new(
        drives: impl IntoIterator<Item = WatchedDrive>,
        identity: IdentityReader,
        health: HealthBoard,
        ambient: Ambient,
        on_lost: OnLost,
    ) -> Self {
        let watches = drives.into_iter().map(|drive| (drive.node, Watch::new(drive))).collect();
        Self {
            watches: Arc::new(RwLock::new(watches)),
            shared: Shared { identity, health, ambient, on_lost, checked: Arc::default(), ended: Arc::default() },
        }
    }

    /// Looks at every drive in turn, in the caller's thread. Skips drives whose earlier look has not returned.
    #[cfg(any(test, feature = "fuzzing", debug_assertions))]
    pub fn look_at_all(&self) {
        let rests = |watch: &Arc<Watch>| watch.looking_since.lock().unwrap_or_else(PoisonError::into_inner).is_none();
        self.watches().into_iter().filter(rests).for_each(|watch| watch.look(&self.shared));
    }

    fn watches(&self) -> Vec<Arc<Watch>> {
        self.watches.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Watches a drive from now on. The former drive of that node is not watched any more, and a look at it that ends
    /// late has no effect.
    pub(super) fn begin_watching(&self, drive: WatchedDrive) -> Arc<Watch> {
        let watch = Watch::new(drive);
        let mut watches = self.watches.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(former) = watches.insert(watch.drive.node, Arc::clone(&watch)) {
            *former.is_current.lock().unwrap_or_else(PoisonError::into_inner) = false;
        }
        watch
    }

    /// Takes drives out of service whose look has taken longer than `SILENT_AFTER`. If this process itself was stopped
    /// for a while, the looks under way count from now.
    pub fn check_silent(&self) {
        let now = self.shared.ambient.clock.monotonic();
        let last = self.shared.checked.lock().unwrap_or_else(PoisonError::into_inner).replace(now);
        if last.is_some_and(|last| now.saturating_sub(last) > CHECK_LATE_AFTER) {
            return self.watches().into_iter().for_each(|watch| watch.begin_looking_anew(now));
        }
        for watch in self.watches() {
            let since = *watch.looking_since.lock().unwrap_or_else(PoisonError::into_inner);
            if since.is_some_and(|since| now.saturating_sub(since) >= SILENT_AFTER) {
                watch.lose(SILENT, &self.shared);
            }
        }
    }

    /// Starts a thread for each drive, and one that finds drives that hang.
    pub fn start(self) -> io::Result<MonitorThreads> {
        let mut stops = BTreeMap::new();
        for watch in self.watches() {
            stops.insert(watch.drive.node, self.look_from_now_on(watch)?);
        }
        let checking = self.clone();
        let stop_checking = every_period("drive-watch".to_owned(), move || checking.check_silent())?;
        Ok(MonitorThreads { monitor: self, stops, _stop_checking: stop_checking })
    }

    fn look_from_now_on(&self, watch: Arc<Watch>) -> io::Result<mpsc::Sender<()>> {
        let shared = self.shared.clone();
        every_period(format!("drive-{}", watch.drive.node), move || watch.look(&shared))
    }
}

impl MonitorThreads {
    /// Returns the number of threads that are running.
    pub fn count(&self) -> usize {
        self.stops.len() + 1
    }

    /// Ends the watch of a drive. After this returns, no look at the drive takes the node out of service.
    pub fn forget(&mut self, node: NodeId) {
        if let Some(watch) = self.monitor.watches.read().unwrap_or_else(PoisonError::into_inner).get(&node) {
            *watch.is_current.lock().unwrap_or_else(PoisonError::into_inner) = false;
        }
        self.stops.remove(&node);
    }

    /// Watches a drive in the place of another, whose thread ends. After this returns, no look at the former drive
    /// takes the node out of service.
    pub fn replace(&mut self, drive: WatchedDrive) -> io::Result<()> {
        let node = drive.node;
        let watch = self.monitor.begin_watching(drive);
        self.stops.insert(node, self.monitor.look_from_now_on(watch)?);
        Ok(())
    }
}

/// Starts a thread that does the work at once and then after every `PERIOD`, until the returned sender is dropped.
fn every_period(name: String, work: impl Fn() + Send + 'static) -> io::Result<mpsc::Sender<()>> {
    let (stop, stopped) = mpsc::channel();
    let run = move || {
        loop {
            work();
            if stopped.recv_timeout(PERIOD) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    };
    thread::Builder::new().name(name).spawn(run)?;
    Ok(stop)
}

impl Watch {
    fn new(drive: WatchedDrive) -> Arc<Self> {
        let (history, looking_since, is_current) = (Mutex::default(), Mutex::default(), Mutex::new(true));
        let (is_reported, seen, looks) = Default::default();
        Arc::new(Self { drive, history, looking_since, is_reported, is_current, seen, looks })
    }

    /// Looks at the drive once and publishes the findings. Blocking.
    fn look(&self, shared: &Shared) {
        let drive = &self.drive;
        if shared.health.current().is_dismissed(drive.node) {
            return;
        }
        self.set_looking(Some(shared.ambient.clock.monotonic()));
        if self.hangs(CallKind::Read) {
            return;
        }
        let identity = (shared.identity)(&*drive.disk, &drive.dir);
        if let Err(error) = &identity {
            drive.log.note_shortage(&WalError::io("read", &drive.dir, error));
        }
        // A drive that was put in this one's place is not written to.
        let is_ours = identity.as_ref().is_ok_and(|found| *found == drive.incarnation);
        let serves = shared.health.current().in_service(drive.node);
        let is_due = self.looks.fetch_add(1, Ordering::Relaxed).is_multiple_of(LOOKS_TO_A_WRITE);
        let has_failed = || self.history.lock().unwrap_or_else(PoisonError::into_inner).failed_writes > 0;
        let writes = is_ours && serves && (is_due || has_failed());
        if writes && self.hangs(CallKind::Change) {
            return;
        }
        let written = writes.then(|| self.write());
        let log = drive.log.status();
        let look = Look {
            written,
            identity,
            gone: self.directory_that_is_gone().or_else(|| is_due.then(|| self.segment_that_is_gone()).flatten()),
            space: drive.disk.space(&drive.dir),
            has_room: log.has_room,
            log_failed: log.out_of_service,
            index_failed: drive.index.failure(),
        };
        self.set_looking(None);
        if is_ours && shared.health.current().why_not(drive.node) == Some(SILENT) {
            shared.health.update(drive.node, |state| state.answers_again = true);
        }
        let verdict = self.history.lock().unwrap_or_else(PoisonError::into_inner).judge(drive.incarnation, &look);
        self.publish(&look, &verdict, shared);
    }

    /// Returns whether the drive is simulated and would not answer: then the look under way never ends.
    fn hangs(&self, call: CallKind) -> bool {
        cfg!(debug_assertions) && self.drive.disk.hangs(&self.drive.dir, call)
    }

    /// Returns a directory that was deleted while the process runs. Writes to its open files still succeed, but are
    /// lost at the next start.
    fn directory_that_is_gone(&self) -> Option<String> {
        let drive = &self.drive;
        let gone = DIRECTORIES.iter().zip(&self.seen).find_map(|(name, seen)| {
            match drive.disk.exists(&drive.dir.join(name)) {
                Ok(true) => {
                    seen.store(true, Ordering::Relaxed);
                    None
                }
                Ok(false) => seen.load(Ordering::Relaxed).then_some(*name),
                // A drive that cannot be read is noticed by its identity.
                Err(_) => None,
            }
        });
        gone.map(|name| format!("directory {name}"))
    }

    /// Returns a segment of the log of shards whose file was deleted while the process runs, which reads and writes it
    /// as long as it has it open.
    fn segment_that_is_gone(&self) -> Option<String> {
        let drive = &self.drive;
        let segments = || drive.log.segments().into_iter().map(|segment| segment.id).collect::<BTreeSet<_>>();
        let before = segments();
        let names: BTreeSet<String> = drive.disk.list(&drive.dir.join("shards")).ok()?.into_iter().collect();
        // Segments come and go meanwhile.
        let known = segments().into_iter().filter(|id| before.contains(id)).map(segment_name);
        let gone = known.into_iter().find(|name| !names.contains(name))?;
        Some(format!("file shards/{gone}"))
    }

    /// Writes and syncs the trial file: a drive may answer reads from memory while every write hangs or fails.
    fn write(&self) -> io::Result<()> {
        let (disk, path) = (&self.drive.disk, self.drive.dir.join(TRIAL_FILE));
        let file = match disk.open(&path, OpenMode::Write, Caching::Cached) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                disk.open(&path, OpenMode::CreateNew, Caching::Cached)
            }
            opened => opened,
        }?;
        file.write_all_at(&[IoSlice::new(b"probe\n")], 0)?;
        file.sync_data()
    }

    /// Sets the start of the look under way, if there is one, to `now`.
    fn begin_looking_anew(&self, now: Duration) {
        if let Some(since) = &mut *self.looking_since.lock().unwrap_or_else(PoisonError::into_inner) {
            *since = now;
        }
    }

    fn set_looking(&self, since: Option<Duration>) {
        *self.looking_since.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    fn publish(&self, look: &Look, verdict: &Verdict, shared: &Shared) {
        let is_current = self.is_current.lock().unwrap_or_else(PoisonError::into_inner);
        if !*is_current {
            return;
        }
        let node = self.drive.node;
        let label = node.to_string();
        if let Ok(space) = look.space {
            let gauge = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
            metrics::DRIVE_FREE_BYTES.with_label_values(&[&label]).set(gauge(space.free_bytes));
            metrics::DRIVE_TOTAL_BYTES.with_label_values(&[&label]).set(gauge(space.total_bytes));
            shared.health.update(node, |state| {
                let level = verdict.level.unwrap_or(state.level);
                // Published in steps of 1 %, so that subscribers of the board are not woken by every write.
                let moved =
                    state.space.is_none_or(|old| old.free_bytes.abs_diff(space.free_bytes) > space.total_bytes / 100);
                if moved || state.level != level {
                    state.space = Some(space);
                }
                state.level = level;
            });
            if verdict.warn {
                tracing::warn!(%node, dir = %self.drive.dir.display(), free_bytes = space.free_bytes, total_bytes = space.total_bytes, "drive is short of space");
            }
        }
        if let Some(level) = verdict.level {
            metrics::DRIVE_FULL.with_label_values(&[&label]).set(i64::from(level == SpaceLevel::Exhausted));
        }
        metrics::DRIVE_WRITABLE.with_label_values(&[&label]).set(i64::from(verdict.unwritable.is_none()));
        shared.health.update(node, |state| state.trial_write_failed.clone_from(&verdict.trial_write_failed));
        let news = shared.health.update(node, |state| state.unwritable.clone_from(&verdict.unwritable));
        if let Some(why) = verdict.unwritable.as_ref().filter(|_| news) {
            tracing::error!(%node, dir = %self.drive.dir.display(), why, "drive takes no writes; it serves reads only");
        }
        if let Some(why) = &verdict.lost {
            shared.health.take_out(node, why);
        }
        // Other parts take drives out of service too, for instance after a failed append.
        if let Some(why) = shared.health.current().why_not(node) {
            self.lose_now(why, shared);
        }
        let up = shared.health.current().in_service(node);
        metrics::DRIVE_UP.with_label_values(&[&label]).set(i64::from(up));
        // The node may have been dismissed during this look.
        if shared.health.current().is_dismissed(node) {
            hide(node);
        }
    }

    fn lose(&self, why: &str, shared: &Shared) {
        let is_current = self.is_current.lock().unwrap_or_else(PoisonError::into_inner);
        if *is_current {
            self.lose_now(why, shared);
        }
    }

    fn lose_now(&self, why: &str, shared: &Shared) {
        if shared.ended.load(Ordering::Relaxed) {
            return;
        }
        shared.health.take_out(self.drive.node, why);
        if shared.health.current().is_dismissed(self.drive.node) || self.is_reported.swap(true, Ordering::Relaxed) {
            return;
        }
        metrics::DRIVE_UP.with_label_values(&[&self.drive.node.to_string()]).set(0);
        tracing::error!(node = %self.drive.node, dir = %self.drive.dir.display(), why, "drive is out of service");
        (shared.on_lost)(self.drive.node, why);
    }
}

#[cfg(test)]
mod tests {
    use super::{FAILURES_MAX, Look, LookHistory, dismiss};
    use crate::actors::drives::health::{HealthBoard, SpaceLevel};
    use crate::metrics;
    use crate::storage::disk::Space;
    use crate::types::{Incarnation, NodeId};
    use rustix::io::Errno;
    use std::io;

    const ME: Incarnation = Incarnation(7);

    fn look(identity: io::Result<Incarnation>, free_bytes: u64) -> Look {
        Look {
            identity,
            gone: None,
            space: Ok(Space { free_bytes, total_bytes: 1000, file_system: 0 }),
            has_room: true,
            log_failed: None,
            index_failed: None,
            written: None,
        }
    }

    #[test]
    fn a_drive_that_fails_trial_writes_is_read_only_until_one_succeeds() {
        let mut history = LookHistory::default();
        let mut unwritable = |written: Option<io::Result<()>>| {
            let verdict = history.judge(ME, &Look { written, ..look(Ok(ME), 500) });
            assert_eq!(verdict.lost, None);
            verdict.unwritable
        };
        let refused = || Some(Err(io::ErrorKind::ReadOnlyFilesystem.into()));
        for _ in 1..FAILURES_MAX {
            assert_eq!(unwritable(refused()), None);
        }
        assert!(unwritable(refused()).is_some_and(|why| why.contains("read-only")));
        assert!(unwritable(None).is_some(), "nothing was tried");
        assert_eq!(unwritable(Some(Ok(()))), None);
        let failed = Look { index_failed: Some("poisoned".to_owned()), ..look(Ok(ME), 500) };
        assert_eq!(history.judge(ME, &failed).unwritable.as_deref(), Some("poisoned"));
    }

    #[test]
    fn the_first_trial_write_that_fails_is_noted_until_one_succeeds() {
        let mut history = LookHistory::default();
        let mut failed = |written: Option<io::Result<()>>| {
            history.judge(ME, &Look { written, ..look(Ok(ME), 500) }).trial_write_failed
        };
        let refused = |kind: io::ErrorKind| Some(Err(kind.into()));
        assert_eq!(failed(refused(io::ErrorKind::StorageFull)), None, "a full drive is emptied by upkeep");
        assert!(failed(refused(io::ErrorKind::ReadOnlyFilesystem)).is_some_and(|why| why.contains("read-only")));
        assert!(failed(None).is_some(), "nothing was tried");
        assert_eq!(failed(Some(Ok(()))), None);
        let index = Look { index_failed: Some("poisoned".to_owned()), ..look(Ok(ME), 500) };
        assert_eq!(history.judge(ME, &index).trial_write_failed, None, "its index says nothing of the log");
    }

    #[test]
    fn a_drive_without_room_for_a_segment_counts_as_full() {
        let full = Look { has_room: false, ..look(Ok(ME), 500) };
        assert_eq!(LookHistory::default().judge(ME, &full).level, Some(SpaceLevel::Exhausted));
    }

    #[test]
    fn the_monitor_warns_below_15_percent_free_and_refuses_below_5() {
        let mut history = LookHistory::default();
        let levels: Vec<_> = [200, 149, 120, 49, 51, 150]
            .map(|free| history.judge(ME, &look(Ok(ME), free)))
            .iter()
            .map(|verdict| (verdict.level, verdict.warn))
            .collect();
        let low = (Some(SpaceLevel::Low), false);
        let expected = [
            (Some(SpaceLevel::Ample), false),
            (Some(SpaceLevel::Low), true),
            low,
            (Some(SpaceLevel::Exhausted), false),
            low,
            (Some(SpaceLevel::Ample), false),
        ];
        assert_eq!(levels, expected);
    }

    #[test]
    fn a_missing_or_swapped_drive_is_lost_at_once() {
        let gone = LookHistory::default().judge(ME, &look(Err(io::ErrorKind::NotFound.into()), 500));
        assert!(gone.lost.is_some_and(|why| why.contains("gone")));
        let swapped = LookHistory::default().judge(ME, &look(Ok(Incarnation(8)), 500));
        assert!(swapped.lost.is_some_and(|why| why.contains("another drive")));
    }

    #[test]
    fn a_drive_is_lost_only_after_repeated_failures_to_read_its_identity() {
        let mut history = LookHistory::default();
        for _ in 1..FAILURES_MAX {
            assert_eq!(history.judge(ME, &look(Err(io::Error::other("io")), 500)).lost, None);
        }
        assert_eq!(history.judge(ME, &look(Ok(ME), 500)).lost, None, "a good look starts the count anew");
        for _ in 1..FAILURES_MAX {
            assert_eq!(history.judge(ME, &look(Err(io::Error::other("io")), 500)).lost, None);
        }
        assert!(history.judge(ME, &look(Err(io::Error::other("io")), 500)).lost.is_some());
    }

    /// No other test uses this node id: the metric is global to the process.
    #[test]
    fn a_dismissed_drive_has_no_series_of_a_failed_log_copy() {
        let node = NodeId(7_701);
        metrics::MIRROR_FAILED.with_label_values(&[&node.to_string()]).set(1);
        dismiss(&HealthBoard::new([]), node);
        assert!(metrics::MIRROR_FAILED.remove_label_values(&[&node.to_string()]).is_err(), "it was removed");
    }

    #[test]
    fn a_host_without_descriptors_or_memory_loses_no_drive_and_makes_none_read_only() {
        let mut history = LookHistory::default();
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM] {
            for _ in 0..2 * FAILURES_MAX {
                assert_eq!(history.judge(ME, &look(Err(errno.into()), 500)).lost, None, "{errno}");
            }
            for _ in 0..2 * FAILURES_MAX {
                let unwritten = Look { written: Some(Err(errno.into())), ..look(Ok(ME), 500) };
                assert_eq!(history.judge(ME, &unwritten).unwritable, None, "{errno}");
            }
        }
        for _ in 1..FAILURES_MAX {
            assert_eq!(history.judge(ME, &look(Err(Errno::IO.into()), 500)).lost, None);
            assert_eq!(history.judge(ME, &look(Err(Errno::MFILE.into()), 500)).lost, None);
        }
        let failed = history.judge(ME, &look(Err(Errno::IO.into()), 500));
        assert!(failed.lost.is_some(), "a shortage in between does not hide a failing drive");
    }

    #[test]
    fn w11_a_failed_log_takes_its_drive_out_of_service() {
        let failed = Look { log_failed: Some("sync failed".to_owned()), ..look(Ok(ME), 500) };
        assert_eq!(LookHistory::default().judge(ME, &failed).lost.as_deref(), Some("sync failed"));
    }
}
