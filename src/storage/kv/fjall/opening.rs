//! What is seen to before a database is opened: that the last opening of it did not end the process, and that nothing of an
//! earlier one is still at work in its directory.

use crate::storage::kv::{KvError, KvResult};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

pub(super) const NOTE: &str = "opening";
/// Ends of the process while a database was opened, after which the database is given up. One may be a kill.
const OPENINGS_ENDED_MAX: usize = 2;
/// How often, and how long apart, it is looked whether a database that was dropped is closed.
const CLOSING_LOOKS_MAX: u32 = 100;
const CLOSING_POLL: Duration = Duration::from_millis(10);
/// As long as all these take: where nothing can be seen of it.
const CLOSING_BLIND_WAIT: Duration = Duration::from_secs(1);

/// A note in the directory while its database is opened: fjall ends the process where some of its files are damaged. After
/// a few such ends the database is refused, so that it is made anew and the process does not end at every start. An opening
/// that fails and leaves the process alive is no such end.
pub(super) struct Opening {
    note: PathBuf,
}

impl Opening {
    /// A note that cannot be read or written (on a drive without a byte left) is no reason to give up tables that are whole.
    pub(super) fn begin(path: &Path) -> KvResult<Self> {
        let note = path.join(NOTE);
        let ended = std::fs::read(&note).map_or(0, |marks| marks.len());
        if ended >= OPENINGS_ENDED_MAX {
            let cause = format!("the process ended {ended} times while it opened {}", path.display());
            return Err(KvError { doing: "open", cause });
        }
        if let Err(error) = std::fs::write(&note, vec![b'.'; ended + 1]) {
            tracing::warn!(%error, note = %note.display(), "that tables are opened cannot be noted");
        }
        Ok(Self { note })
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        match std::fs::remove_file(&self.note) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, note = %self.note.display(), "a note stays; these tables may be made anew for nothing");
            }
            _ => {}
        }
    }
}

/// Waits until no journal in this directory is open in this process. A database that was dropped gives up its lock before
/// the last of its threads lets go of the journal, and what that still writes would lie in the midst of what comes next.
pub(super) fn wait_until_closed(dir: &Path) -> KvResult<()> {
    if !has_journals(dir) {
        return Ok(());
    }
    for _ in 0..CLOSING_LOOKS_MAX {
        match is_journal_open(dir) {
            Ok(false) => return Ok(()),
            Ok(true) => thread::sleep(CLOSING_POLL),
            Err(error) => {
                tracing::debug!(%error, "the files that this process has open cannot be listed");
                thread::sleep(CLOSING_BLIND_WAIT);
                return Ok(());
            }
        }
    }
    Err(KvError { doing: "open", cause: format!("{} is open in this process", dir.display()) })
}

fn is_journal(path: &Path) -> bool {
    path.extension().is_some_and(|kind| kind == "jnl")
}

fn has_journals(dir: &Path) -> bool {
    std::fs::read_dir(dir).is_ok_and(|mut found| found.any(|entry| entry.is_ok_and(|entry| is_journal(&entry.path()))))
}

fn is_journal_open(dir: &Path) -> io::Result<bool> {
    let dir = dir.canonicalize()?;
    let is_here = |file: PathBuf| is_journal(&file) && file.parent() == Some(&dir);
    // One that is closed meanwhile has no link any more.
    let open = std::fs::read_dir("/proc/self/fd")?.flatten();
    Ok(open.filter_map(|entry| std::fs::read_link(entry.path()).ok()).any(is_here))
}
