//! Checks before a database is opened: earlier openings have not repeatedly ended the process, and no thread of an
//! earlier opening still uses the directory.

use crate::storage::kv::{KvError, KvResult};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

pub(super) const NOTE: &str = "opening";
/// The number of times that the process may end while it opens a database, after which the database is refused. One end
/// may be a kill.
const OPENINGS_ENDED_MAX: usize = 2;
/// How often, and at which interval, it is checked whether a dropped database is closed.
const CLOSING_LOOKS_MAX: u32 = 100;
const CLOSING_POLL: Duration = Duration::from_millis(10);
/// The wait if that cannot be checked: as long as all checks together.
const CLOSING_BLIND_WAIT: Duration = Duration::from_secs(1);

/// A note in the directory, which is there while its database is being opened. fjall ends the process if certain files
/// are damaged. After a few such ends the database is refused and then made anew, so that the process does not end at
/// every start. An opening that fails without ending the process removes the note.
pub(super) struct Opening {
    note: PathBuf,
}

impl Opening {
    /// Writes the note. If it cannot be read or written (on a full drive, for example), the opening goes on, since the
    /// tables may be whole.
    pub(super) fn begin(path: &Path) -> KvResult<Self> {
        let note = path.join(NOTE);
        let ended = std::fs::read(&note).map_or(0, |marks| marks.len());
        if ended >= OPENINGS_ENDED_MAX {
            let cause = format!("the process ended {ended} times while it opened {}", path.display());
            return Err(KvError { doing: "open", cause });
        }
        if let Err(error) = std::fs::write(&note, vec![b'.'; ended + 1]) {
            tracing::warn!(%error, note = %note.display(), "cannot note that tables are being opened; they are opened all the same");
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
                tracing::warn!(%error, note = %self.note.display(), "cannot remove the note of an opening; remove the file, or these tables may be made anew although they are whole");
            }
            _ => {}
        }
    }
}

/// Waits until no journal in this directory is open in this process. A dropped database releases its lock before its
/// last thread closes the journal, and what that thread still writes would lie among the next database's records.
pub(super) fn wait_until_closed(dir: &Path) -> KvResult<()> {
    if !has_journals(dir) {
        return Ok(());
    }
    for _ in 0..CLOSING_LOOKS_MAX {
        match is_journal_open(dir) {
            Ok(false) => return Ok(()),
            Ok(true) => thread::sleep(CLOSING_POLL),
            Err(error) => {
                tracing::debug!(%error, "cannot list the open files of this process; waiting for old tables to close");
                thread::sleep(CLOSING_BLIND_WAIT);
                return Ok(());
            }
        }
    }
    Err(KvError { doing: "open", cause: format!("a journal in {} is still open in this process", dir.display()) })
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
    // A descriptor that is closed meanwhile has no link any more.
    let open = std::fs::read_dir("/proc/self/fd")?.flatten();
    Ok(open.filter_map(|entry| std::fs::read_link(entry.path()).ok()).any(is_here))
}
