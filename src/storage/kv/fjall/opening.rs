//! Checks before a database is opened: that its files do not end the process, and that no thread of an earlier opening
//! still uses the directory.

use crate::storage::kv::{KvError, KvResult};
use crate::types::OPEN_TABLES_COMMAND;
use rustix::process::Signal;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

pub(super) const NOTE: &str = "opening";
/// The number of times that the process may end while it opens a database, after which the next opening is tried in
/// another process first.
const OPENINGS_ENDED_MAX: usize = 2;
const THIS_PROGRAM: &str = "/proc/self/exe";
/// The exit code after a panic in the main thread, in builds in which a panic does not abort.
const PANICKED: i32 = 101;
/// How often, and at which interval, it is checked whether a dropped database is closed.
const CLOSING_LOOKS_MAX: u32 = 100;
const CLOSING_POLL: Duration = Duration::from_millis(10);
/// The wait if that cannot be checked: as long as all checks together.
const CLOSING_BLIND_WAIT: Duration = Duration::from_secs(1);

/// A note in the directory, which is there while its database is being opened. fjall ends the process if certain files
/// are damaged. After a few ends the database is opened in another process first, and refused if that one ends by
/// itself: so that damage does not end this process at every start, and that a kill or a power cut is never taken for
/// damage. An opening that fails without ending the process removes the note.
pub(super) struct Opening {
    note: PathBuf,
}

impl Opening {
    /// Writes the note. If it cannot be read or written (on a full drive, for example), the opening goes on, since the
    /// tables may be whole.
    pub(super) fn begin(path: &Path) -> KvResult<Self> {
        Self::begin_if(path, ended_by_itself)
    }

    /// The same with the trial in another process, which returns how that one ended, if it did so by itself.
    fn begin_if(path: &Path, try_elsewhere: impl FnOnce(&Path) -> Option<ExitStatus>) -> KvResult<Self> {
        let note = path.join(NOTE);
        let ended = std::fs::read(&note).map_or(0, |marks| marks.len());
        if ended >= OPENINGS_ENDED_MAX
            && let Some(how) = try_elsewhere(path)
        {
            let path = path.display();
            let cause =
                format!("the process ended {ended} times while it opened {path}, and another one did so, too: {how}");
            return Err(KvError::new("open", cause));
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
                tracing::warn!(%error, note = %self.note.display(), "cannot remove the note of an opening; remove the file, or the next openings are tried in another process first");
            }
            _ => {}
        }
    }
}

/// Opens the database in another process. Returns how that one ended, if the opening ended it. `None` if it opened the
/// database, reported an error, was killed, or could not be started.
fn ended_by_itself(path: &Path) -> Option<ExitStatus> {
    tracing::warn!(path = %path.display(), "the opening of tables did not end several times; it is tried in another process first");
    let mut command = Command::new(THIS_PROGRAM);
    command.arg(OPEN_TABLES_COMMAND).arg(path).stdin(Stdio::null()).stdout(Stdio::null());
    match command.status() {
        Ok(status) => Some(status).filter(is_by_itself),
        Err(error) => {
            tracing::warn!(%error, "cannot start another process; the tables are opened all the same");
            None
        }
    }
}

fn is_by_itself(status: &ExitStatus) -> bool {
    let faults = [Signal::ABORT, Signal::BUS, Signal::FPE, Signal::ILL, Signal::SEGV];
    let ended_by = |signal: i32| faults.iter().any(|fault| fault.as_raw() == signal);
    status.signal().is_some_and(ended_by) || status.code() == Some(PANICKED)
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
    Err(KvError::new("open", format!("a journal in {} is still open in this process", dir.display())))
}

fn is_journal(path: &Path) -> bool {
    path.extension().is_some_and(|kind| kind == "jnl")
}

/// Returns whether the directory has journals, or cannot be listed and so may have some.
fn has_journals(dir: &Path) -> bool {
    match std::fs::read_dir(dir) {
        Ok(mut found) => found.any(|entry| entry.map_or(true, |entry| is_journal(&entry.path()))),
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

fn is_journal_open(dir: &Path) -> io::Result<bool> {
    let dir = dir.canonicalize()?;
    let is_here = |file: PathBuf| is_journal(&file) && file.parent() == Some(&dir);
    // A descriptor that is closed meanwhile has no link any more.
    let open = std::fs::read_dir("/proc/self/fd")?.flatten();
    Ok(open.filter_map(|entry| std::fs::read_link(entry.path()).ok()).any(is_here))
}

#[cfg(test)]
mod tests {
    use super::{NOTE, Opening, has_journals, is_by_itself};
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    #[test]
    fn a_database_is_refused_only_if_its_opening_ends_another_process_too() {
        let directory = tempfile::tempdir().expect("a directory");
        let note = directory.path().join(NOTE);
        let aborted = || Some(ExitStatus::from_raw(6));
        for (marks, tried, refused) in
            [("", false, false), (".", false, false), ("..", true, false), ("..", true, true)]
        {
            std::fs::write(&note, marks).expect("writes");
            let mut was_tried = false;
            let opening = Opening::begin_if(directory.path(), |_| {
                was_tried = true;
                aborted().filter(|_| refused)
            });
            assert_eq!((was_tried, opening.is_err()), (tried, refused), "{marks:?}");
            let left = marks.len() + usize::from(!refused);
            assert_eq!(std::fs::read(&note).expect("reads").len(), left, "{marks:?}");
            if let Err(error) = &opening {
                assert!(error.cause.contains("ended 2 times"), "{error}");
            }
        }
    }

    #[test]
    fn a_directory_that_cannot_be_listed_may_have_journals() {
        let directory = tempfile::tempdir().expect("a directory");
        assert!(!has_journals(directory.path()) && !has_journals(&directory.path().join("absent")));
        let journal = directory.path().join("0.jnl");
        std::fs::write(&journal, b"").expect("writes");
        assert!(has_journals(directory.path()));
        assert!(has_journals(&journal), "a file cannot be listed");
    }

    #[test]
    fn a_killed_process_did_not_end_by_itself() {
        let ends =
            [(0, false), (1 << 8, false), (101 << 8, true), (2, false), (9, false), (15, false), (6, true), (11, true)];
        for (raw, by_itself) in ends {
            assert_eq!(is_by_itself(&ExitStatus::from_raw(raw)), by_itself, "{raw}");
        }
    }
}
