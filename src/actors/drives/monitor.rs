//! Watches the drives of this host, each from a thread of its own so that one that hangs holds up no other: how much room is
//! left, whether the directory is still the drive that it was, whether its log has failed, whether it answers at all.
//! Publishes what it finds on the health board, and says once of each drive that it is out of service.

use super::health::{HealthBoard, SpaceLevel};
use crate::actors::log::LogHandle;
use crate::ambient::Ambient;
use crate::limits::{SPACE_REFUSE_PERCENT, SPACE_WARN_PERCENT};
use crate::metrics;
use crate::storage::disk::{Disk, Space};
use crate::types::{Incarnation, NodeId};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// How often a drive is looked at.
const PERIOD: Duration = Duration::from_secs(1);
/// A drive that has not answered a look for so long is out of service.
const SILENT_AFTER: Duration = Duration::from_secs(30);
/// Looks in a row that may fail for a reason other than that the drive is gone.
const FAILURES_MAX: u32 = 3;

/// Of a drive; what is in them is never made anew while the host runs.
const DIRECTORIES: [&str; 2] = ["shards", "meta"];

/// Reads who the drive in a directory is.
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
}

/// Of a drive that is taken out of the host: it is not looked at any more, and shown nowhere.
pub fn dismiss(health: &HealthBoard, node: NodeId) {
    health.dismiss(node);
    hide(node);
}

fn hide(node: NodeId) {
    let label = node.to_string();
    for gauge in [&*metrics::DRIVE_UP, &*metrics::DRIVE_FREE_BYTES, &*metrics::DRIVE_TOTAL_BYTES] {
        // One that was never up has no room that is known.
        let _ = gauge.remove_label_values(&[&label]);
    }
}

/// What one look at a drive found.
#[derive(Debug)]
struct Look {
    identity: io::Result<Incarnation>,
    /// A directory of the drive that was there and is not any more.
    gone: Option<&'static str>,
    space: io::Result<Space>,
    log_failed: Option<String>,
}

/// What to do after a look.
#[derive(Debug, Default, PartialEq, Eq)]
struct Verdict {
    level: Option<SpaceLevel>,
    warn: bool,
    lost: Option<String>,
}

/// The decisions about one drive. Pure.
#[derive(Debug, Default)]
struct Judge {
    failures: u32,
    level: SpaceLevel,
}

impl Judge {
    fn judge(&mut self, expected: Incarnation, look: &Look) -> Verdict {
        let mut verdict = Verdict::default();
        if let Ok(space) = look.space {
            let level = level_of(space);
            verdict.warn = level > SpaceLevel::Ample && self.level == SpaceLevel::Ample;
            verdict.level = Some(level);
            self.level = level;
        }
        let gone = look.gone.map(|name| format!("its directory {name} is gone"));
        verdict.lost = look.log_failed.clone().or_else(|| self.judge_identity(expected, &look.identity)).or(gone);
        verdict
    }

    fn judge_identity(&mut self, expected: Incarnation, identity: &io::Result<Incarnation>) -> Option<String> {
        match identity {
            Ok(found) if *found == expected => {
                self.failures = 0;
                None
            }
            Ok(found) => Some(format!("another drive is in its place: {found}, not {expected}")),
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

/// A drive with what the monitor knows of it.
#[derive(Debug)]
struct Watch {
    drive: WatchedDrive,
    judge: Mutex<Judge>,
    /// When the look under way began.
    looking_since: Mutex<Option<Duration>>,
    told: AtomicBool,
    /// Which of `DIRECTORIES` were there at some look.
    seen: [AtomicBool; DIRECTORIES.len()],
}

#[derive(Clone)]
struct Shared {
    identity: IdentityReader,
    health: HealthBoard,
    ambient: Ambient,
    on_lost: OnLost,
    /// Whether the host stops: what a look under way finds is told to nobody.
    ended: Arc<AtomicBool>,
}

/// The monitor before its threads run; a simulation calls `look_at_all` instead.
#[derive(Clone)]
pub struct DriveMonitor {
    watches: Vec<Arc<Watch>>,
    shared: Shared,
}

impl fmt::Debug for DriveMonitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DriveMonitor").field("watches", &self.watches).finish_non_exhaustive()
    }
}

/// The running threads; dropping it tells them to end. One that hangs in its drive is not waited for.
#[derive(Debug)]
pub struct MonitorThreads {
    stops: Vec<mpsc::Sender<()>>,
    ended: Arc<AtomicBool>,
}

impl Drop for MonitorThreads {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
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
        let watch = |drive| {
            let (judge, looking_since) = (Mutex::default(), Mutex::default());
            Arc::new(Watch { drive, judge, looking_since, told: AtomicBool::new(false), seen: Default::default() })
        };
        let watches = drives.into_iter().map(watch).collect();
        Self { watches, shared: Shared { identity, health, ambient, on_lost, ended: Arc::default() } }
    }

    /// Looks at every drive, one after the other, in the caller's thread.
    pub fn look_at_all(&self) {
        self.watches.iter().for_each(|watch| watch.look(&self.shared));
    }

    /// Takes drives out of service that have not answered for too long.
    pub fn check_silent(&self) {
        let now = self.shared.ambient.clock.monotonic();
        for watch in &self.watches {
            let since = *watch.looking_since.lock().unwrap_or_else(PoisonError::into_inner);
            if since.is_some_and(|since| now.saturating_sub(since) >= SILENT_AFTER) {
                watch.lose("it does not answer", &self.shared);
            }
        }
    }

    /// Starts a thread for each drive and one that finds those that hang.
    pub fn start(self) -> io::Result<MonitorThreads> {
        let ended = Arc::clone(&self.shared.ended);
        let mut stops = Vec::new();
        for watch in &self.watches {
            let (watch, shared) = (Arc::clone(watch), self.shared.clone());
            stops.push(every_period(format!("drive-{}", watch.drive.node), move || watch.look(&shared))?);
        }
        stops.push(every_period("drive-watch".to_owned(), move || self.check_silent())?);
        Ok(MonitorThreads { stops, ended })
    }
}

impl MonitorThreads {
    /// How many threads were started.
    pub fn count(&self) -> usize {
        self.stops.len()
    }
}

/// Does the work at once and then every period, until the sender is dropped.
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
    /// Blocking.
    fn look(&self, shared: &Shared) {
        let drive = &self.drive;
        if shared.health.current().is_dismissed(drive.node) {
            return;
        }
        self.set_looking(Some(shared.ambient.clock.monotonic()));
        let look = Look {
            identity: (shared.identity)(&*drive.disk, &drive.dir),
            gone: self.directory_that_is_gone(),
            space: drive.disk.space(&drive.dir),
            log_failed: drive.log.status().out_of_service,
        };
        self.set_looking(None);
        let verdict = self.judge.lock().unwrap_or_else(PoisonError::into_inner).judge(drive.incarnation, &look);
        self.publish(&look, &verdict, shared);
    }

    /// What is deleted under a running process goes on to be written, and is not there at the next start.
    fn directory_that_is_gone(&self) -> Option<&'static str> {
        let drive = &self.drive;
        DIRECTORIES.iter().zip(&self.seen).find_map(|(name, seen)| match drive.disk.exists(&drive.dir.join(name)) {
            Ok(true) => {
                seen.store(true, Ordering::Relaxed);
                None
            }
            Ok(false) => seen.load(Ordering::Relaxed).then_some(*name),
            // Whether the drive can be read is asked elsewhere.
            Err(_) => None,
        })
    }

    fn set_looking(&self, since: Option<Duration>) {
        *self.looking_since.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    fn publish(&self, look: &Look, verdict: &Verdict, shared: &Shared) {
        let node = self.drive.node;
        let label = node.to_string();
        if let Ok(space) = look.space {
            let gauge = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
            metrics::DRIVE_FREE_BYTES.with_label_values(&[&label]).set(gauge(space.free_bytes));
            metrics::DRIVE_TOTAL_BYTES.with_label_values(&[&label]).set(gauge(space.total_bytes));
            shared.health.update(node, |state| {
                let level = verdict.level.unwrap_or(state.level);
                // Coarse, so that readers of the board are not woken by every byte.
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
        if let Some(why) = &verdict.lost {
            shared.health.take_out(node, why);
        }
        // Others take drives out of service too, on a failed append for one.
        if let Some(why) = shared.health.current().why_not(node) {
            self.lose(why, shared);
        }
        let up = shared.health.current().in_service(node);
        metrics::DRIVE_UP.with_label_values(&[&label]).set(i64::from(up));
        // It may have been dismissed during this look.
        if shared.health.current().is_dismissed(node) {
            hide(node);
        }
    }

    fn lose(&self, why: &str, shared: &Shared) {
        if shared.ended.load(Ordering::Relaxed) {
            return;
        }
        shared.health.take_out(self.drive.node, why);
        if shared.health.current().is_dismissed(self.drive.node) || self.told.swap(true, Ordering::Relaxed) {
            return;
        }
        metrics::DRIVE_UP.with_label_values(&[&self.drive.node.to_string()]).set(0);
        tracing::error!(node = %self.drive.node, dir = %self.drive.dir.display(), why, "drive is out of service");
        (shared.on_lost)(self.drive.node, why);
    }
}

#[cfg(test)]
mod tests {
    use super::{FAILURES_MAX, Judge, Look};
    use crate::actors::drives::health::SpaceLevel;
    use crate::storage::disk::Space;
    use crate::types::Incarnation;
    use std::io;

    const ME: Incarnation = Incarnation(7);

    fn look(identity: io::Result<Incarnation>, free_bytes: u64) -> Look {
        Look {
            identity,
            gone: None,
            space: Ok(Space { free_bytes, total_bytes: 1000, file_system: 0 }),
            log_failed: None,
        }
    }

    #[test]
    fn it_warns_once_below_fifteen_percent_and_refuses_below_five() {
        let mut judge = Judge::default();
        let levels: Vec<_> = [200, 149, 120, 49, 51, 150]
            .map(|free| judge.judge(ME, &look(Ok(ME), free)))
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
    fn a_drive_that_is_gone_or_another_is_lost_at_once() {
        let gone = Judge::default().judge(ME, &look(Err(io::ErrorKind::NotFound.into()), 500));
        assert!(gone.lost.is_some_and(|why| why.contains("gone")));
        let swapped = Judge::default().judge(ME, &look(Ok(Incarnation(8)), 500));
        assert!(swapped.lost.is_some_and(|why| why.contains("another drive")));
    }

    #[test]
    fn a_drive_that_fails_to_answer_is_given_some_tries() {
        let mut judge = Judge::default();
        for _ in 1..FAILURES_MAX {
            assert_eq!(judge.judge(ME, &look(Err(io::Error::other("io")), 500)).lost, None);
        }
        assert_eq!(judge.judge(ME, &look(Ok(ME), 500)).lost, None, "a good look starts the count anew");
        for _ in 1..FAILURES_MAX {
            assert_eq!(judge.judge(ME, &look(Err(io::Error::other("io")), 500)).lost, None);
        }
        assert!(judge.judge(ME, &look(Err(io::Error::other("io")), 500)).lost.is_some());
    }

    #[test]
    fn w11_a_failed_log_takes_its_drive_out() {
        let failed = Look { log_failed: Some("sync failed".to_owned()), ..look(Ok(ME), 500) };
        assert_eq!(Judge::default().judge(ME, &failed).lost.as_deref(), Some("sync failed"));
    }
}
