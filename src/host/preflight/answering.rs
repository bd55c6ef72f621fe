//! Detection of drives that hang when the host starts. Each drive is read first on a thread of its own. A slow drive is
//! named in the log and in health; after 30 seconds the host starts as if the drive were absent. This process does not
//! touch the drive again, and the next start takes it back: its content is unknown, so it counts neither as empty nor
//! as replaced.

use crate::api::StartupProgress;
use crate::host::environment::Environment;
use crate::storage::disk::{Caching, Disk, DiskFile, OpenMode, Space};
use crate::storage::identity::{Content, DirLocks, scan};
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, sleep, sleep_until};

/// The interval at which drives that have not answered yet are named in the log and in health.
const NAMED_EVERY: Duration = Duration::from_secs(5);
/// The time after which a drive that has not answered is left out. A running host takes a drive out of service after
/// the same time.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until each data directory has answered, at most for `PATIENCE`; returns the surroundings for the rest of the
/// process, in which the directories that did not answer fail.
pub(in crate::host) async fn without_silent_drives(
    env: Environment,
    dirs: &[PathBuf],
    locks: Arc<dyn DirLocks + Send + Sync>,
    progress: &StartupProgress,
) -> Environment {
    let silent = silent_drives(&env.disk, dirs, locks, progress, (NAMED_EVERY, sleep(PATIENCE))).await;
    if silent.is_empty() {
        return env;
    }
    Environment { disk: Arc::new(WithoutDrives { disk: env.disk, silent }), ..env }
}

/// The directory of a drive, and the call that it was asked for last.
#[derive(Debug)]
struct Asked {
    dir: PathBuf,
    question: Mutex<&'static str>,
}

impl Asked {
    fn begin(&self, question: &'static str) {
        *self.question.lock().unwrap_or_else(PoisonError::into_inner) = question;
    }

    fn words(&self) -> String {
        let question = *self.question.lock().unwrap_or_else(PoisonError::into_inner);
        format!("the drive in {} has not answered yet, asked for {question}", self.dir.display())
    }
}

/// Returns the directories that have not answered in time, each with the reason why it is left out.
async fn silent_drives(
    disk: &Arc<dyn Disk>,
    dirs: &[PathBuf],
    locks: Arc<dyn DirLocks + Send + Sync>,
    progress: &StartupProgress,
    (named_every, patience): (Duration, impl Future<Output = ()>),
) -> BTreeMap<PathBuf, String> {
    let asked = |dir: &PathBuf| Arc::new(Asked { dir: dir.clone(), question: Mutex::new("a thread that asks it") });
    let mut waiting: Vec<Arc<Asked>> = dirs.iter().map(asked).collect();
    let mut answers = ask_all(disk, &locks, &waiting);
    let began = Instant::now();
    let mut named_at = began + named_every;
    tokio::pin!(patience);
    while !waiting.is_empty() {
        tokio::select! {
            biased;
            Some(dir) = answers.recv() => waiting.retain(|asked| asked.dir != dir),
            () = &mut patience => break,
            () = sleep_until(named_at) => {
                name(&waiting, began.elapsed(), progress);
                named_at += named_every;
            }
        }
    }
    waiting.iter().map(|asked| (asked.dir.clone(), left_out(asked))).collect()
}

fn ask_all(
    disk: &Arc<dyn Disk>,
    locks: &Arc<dyn DirLocks + Send + Sync>,
    waiting: &[Arc<Asked>],
) -> UnboundedReceiver<PathBuf> {
    let (sender, answers) = unbounded_channel();
    for asked in waiting {
        let (disk, locks, of_drive, answered) =
            (Arc::clone(disk), Arc::clone(locks), Arc::clone(asked), sender.clone());
        let ask = move || {
            ask(&*disk, &*locks, &of_drive);
            // The receiver is gone if the patience is over.
            let _ = answered.send(of_drive.dir.clone());
        };
        // Without a thread the drive cannot be checked: it counts as answering, and the start finds out.
        if let Err(error) = thread::Builder::new().name("ask-drive".to_owned()).spawn(ask) {
            tracing::warn!(dir = %asked.dir.display(), %error, "a thread that asks a drive cannot be started");
            let _ = sender.send(asked.dir.clone());
        }
    }
    answers
}

/// Makes the calls on a drive that a start makes first. Errors are ignored: the start meets and reports them itself.
/// Blocking.
fn ask(disk: &dyn Disk, locks: &dyn DirLocks, drive: &Asked) {
    drive.begin("the names in the directory and its identity.json");
    let found = scan(disk, std::slice::from_ref(&drive.dir));
    let is_ours = found.is_ok_and(|found| found.iter().any(|found| matches!(found.content, Content::Ours(_))));
    if is_ours {
        // A frozen file system answers reads, but may block the opening of the lock file.
        drive.begin("the lock of its directory");
        drop(locks.lock(&drive.dir));
    }
}

fn name(waiting: &[Arc<Asked>], since: Duration, progress: &StartupProgress) {
    let patience = PATIENCE.as_secs();
    let drives = waiting.iter().map(|asked| {
        let words = format!("{}; after {patience} s the host starts without it", asked.words());
        tracing::warn!(dir = %asked.dir.display(), seconds = since.as_secs(), "{words}");
        words
    });
    progress.set(drives.collect());
}

fn left_out(asked: &Asked) -> String {
    let (words, patience) = (asked.words(), PATIENCE.as_secs());
    let why = format!(
        "{words}, for {patience} s: this host goes on without it. See the kernel log; once the drive answers again, or another is in its place, start the host again, which takes it back"
    );
    tracing::error!(dir = %asked.dir.display(), "{why}");
    why
}

/// A disk on which each call for a path on a silent drive fails at once.
#[derive(Debug)]
struct WithoutDrives {
    disk: Arc<dyn Disk>,
    silent: BTreeMap<PathBuf, String>,
}

impl WithoutDrives {
    fn check(&self, path: &Path) -> io::Result<()> {
        match self.silent.iter().find(|(dir, _)| path.starts_with(dir)) {
            Some((_, why)) => Err(io::Error::new(io::ErrorKind::TimedOut, why.clone())),
            None => Ok(()),
        }
    }
}

impl Disk for WithoutDrives {
    fn open(&self, path: &Path, mode: OpenMode, caching: Caching) -> io::Result<Arc<dyn DiskFile>> {
        self.check(path).and_then(|()| self.disk.open(path, mode, caching))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.check(dir).and_then(|()| self.disk.list(dir))
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.check(dir).and_then(|()| self.disk.create_dir_all(dir))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check(from).and_then(|()| self.disk.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.check(path).and_then(|()| self.disk.remove(path))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.check(path).and_then(|()| self.disk.exists(path))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.check(dir).and_then(|()| self.disk.sync_dir(dir))
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        self.check(dir).and_then(|()| self.disk.space(dir))
    }
}

#[cfg(test)]
mod tests {
    use super::{WithoutDrives, silent_drives};
    use crate::ambient::Ambient;
    use crate::api::{HealthSource, StartupProgress};
    use crate::storage::buffer::BufferPool;
    use crate::storage::disk::{Caching, Disk, DiskFile, OpenMode, Space, SystemDisk};
    use crate::storage::identity::{DriveState, HostDrives, NoLocks, WantedGeometry, open_host};
    use std::io;
    use std::path::{Path, PathBuf};
    use std::sync::{Arc, Condvar, Mutex};
    use std::time::Duration;

    const WANTED: WantedGeometry = WantedGeometry { data: 2, parity: 1, explicit: true, alone: true };
    const NAMED_EVERY: Duration = Duration::from_millis(10);

    /// A disk on which one directory does not answer.
    #[derive(Debug)]
    struct Hanging {
        disk: SystemDisk,
        dir: PathBuf,
        answers: Mutex<bool>,
        changed: Condvar,
    }

    impl Hanging {
        fn new(dir: &Path) -> Arc<Self> {
            let disk = SystemDisk::new(BufferPool::new(0));
            Arc::new(Self { disk, dir: dir.to_owned(), answers: Mutex::new(false), changed: Condvar::new() })
        }

        fn wait(&self, path: &Path) {
            let answers = self.answers.lock().expect("no panic under the lock");
            let is_held = |answers: &mut bool| !*answers && path.starts_with(&self.dir);
            drop(self.changed.wait_while(answers, is_held).expect("no panic under the lock"));
        }

        fn answer(&self) {
            *self.answers.lock().expect("no panic under the lock") = true;
            self.changed.notify_all();
        }
    }

    impl Disk for Hanging {
        fn open(&self, path: &Path, mode: OpenMode, caching: Caching) -> io::Result<Arc<dyn DiskFile>> {
            self.wait(path);
            self.disk.open(path, mode, caching)
        }

        fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
            self.wait(dir);
            self.disk.list(dir)
        }

        fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
            self.wait(dir);
            self.disk.create_dir_all(dir)
        }

        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            self.wait(from);
            self.disk.rename(from, to)
        }

        fn remove(&self, path: &Path) -> io::Result<()> {
            self.wait(path);
            self.disk.remove(path)
        }

        fn exists(&self, path: &Path) -> io::Result<bool> {
            self.wait(path);
            self.disk.exists(path)
        }

        fn sync_dir(&self, dir: &Path) -> io::Result<()> {
            self.wait(dir);
            self.disk.sync_dir(dir)
        }

        fn space(&self, dir: &Path) -> io::Result<Space> {
            self.wait(dir);
            self.disk.space(dir)
        }
    }

    fn opened(disk: &dyn Disk, dirs: &[PathBuf]) -> HostDrives {
        open_host(disk, dirs, WANTED, &Ambient::system(), &NoLocks).expect("a host's drives")
    }

    fn drives(root: &Path) -> Vec<PathBuf> {
        let dirs: Vec<PathBuf> = (1..=3).map(|number| root.join(format!("d{number}"))).collect();
        opened(&SystemDisk::new(BufferPool::new(0)), &dirs);
        dirs
    }

    /// Waits until health names the drive that hangs, and no other drive.
    async fn named(hanging: &Hanging, progress: &StartupProgress) {
        let words = format!("the drive in {} has not answered yet, asked for the names in", hanging.dir.display());
        while !matches!(progress.health().reasons.as_slice(), [only] if only.contains(&words)) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn asked(hanging: &Arc<Hanging>, dirs: &[PathBuf], progress: &StartupProgress) -> WithoutDrives {
        let disk: Arc<dyn Disk> = Arc::clone(hanging) as _;
        let pace = (NAMED_EVERY, named(hanging, progress));
        let silent = silent_drives(&disk, dirs, Arc::new(NoLocks), progress, pace).await;
        WithoutDrives { disk, silent }
    }

    #[tokio::test]
    async fn a_drive_that_hangs_at_the_start_is_left_out_until_the_next_start() {
        let root = tempfile::tempdir().expect("a directory");
        let dirs = drives(root.path());
        let (hanging, progress) = (Hanging::new(&dirs[1]), StartupProgress::new("waiting for its drives"));
        let disk = asked(&hanging, &dirs, &progress).await;
        assert_eq!(disk.silent.keys().collect::<Vec<_>>(), [&dirs[1]]);
        let host = opened(&disk, &dirs);
        let why = |host: &HostDrives| match &host.drives[1].state {
            DriveState::Lost { why } => why.clone(),
            other => panic!("it is not lost, but {other:?}"),
        };
        assert!(why(&host).contains("this host goes on without it"), "{}", why(&host));
        assert_eq!(host.usable_dirs(), [dirs[0].clone(), dirs[2].clone()]);
        let incarnation = host.drives[1].incarnation;
        hanging.answer();
        assert!(disk.list(&dirs[1]).is_err(), "it does not come back in the midst of this process");
        // The next start finds the drive with its former incarnation.
        let next = asked(&hanging, &dirs, &StartupProgress::new("again")).await;
        assert!(next.silent.is_empty());
        let host = opened(&next, &dirs);
        assert_eq!((&host.drives[1].state, host.drives[1].incarnation), (&DriveState::Present, incarnation));
    }

    #[tokio::test]
    async fn the_start_waits_no_longer_than_the_drives_take_to_answer() {
        let root = tempfile::tempdir().expect("a directory");
        let dirs = drives(root.path());
        let hanging = Hanging::new(&dirs[2]);
        hanging.answer();
        let progress = StartupProgress::new("waiting for its drives");
        assert!(asked(&hanging, &dirs, &progress).await.silent.is_empty());
        assert_eq!(progress.health().reasons, ["waiting for its drives"]);
    }

    #[tokio::test]
    async fn a_store_is_not_formed_over_a_directory_that_does_not_answer() {
        let root = tempfile::tempdir().expect("a directory");
        let dirs: Vec<PathBuf> = (1..=3).map(|number| root.path().join(format!("d{number}"))).collect();
        dirs.iter().for_each(|dir| std::fs::create_dir(dir).expect("made"));
        let hanging = Hanging::new(&dirs[0]);
        let progress = StartupProgress::new("waiting for its drives");
        let disk = asked(&hanging, &dirs, &progress).await;
        let refused = open_host(&disk, &dirs, WANTED, &Ambient::system(), &NoLocks).expect_err("it may hold anything");
        assert!(refused.to_string().contains("has not answered yet"), "{refused}");
        assert!(dirs[1..].iter().all(|dir| !dir.join("identity.json").exists()), "nothing was formed");
        hanging.answer();
    }
}
