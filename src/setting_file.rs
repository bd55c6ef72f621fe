//! Reading the files that settings name: certificates, keys, secrets, lists of accounts.

use crate::limits::{SETTING_FILE_BYTES_MAX, SETTING_FILE_WAIT_MAX};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Error, ErrorKind, Read, Result};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;

/// A reader for those who look at files again and again. It reads no file anew that hangs: each such read would leave
/// another thread behind. Clones share what they know.
#[derive(Clone, Debug, Default)]
pub struct SettingFiles {
    /// The paths for which a reader was late and has not returned.
    late: Arc<Mutex<BTreeSet<PathBuf>>>,
}

impl SettingFiles {
    /// Reads a whole file. One that is longer than any of them is an error, since a device or a pipe may have no end,
    /// and so is one that does not come: a named pipe without a writer, or a mount that hangs.
    pub fn read(&self, path: &Path) -> Result<Vec<u8>> {
        if self.late().contains(path) {
            return Err(too_late());
        }
        let (sender, receiver) = mpsc::channel();
        let (files, named) = (self.clone(), path.to_owned());
        let has_ended = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&has_ended);
        // The thread of a file that does not come stays behind.
        thread::Builder::new().name("setting-file".to_owned()).spawn(move || {
            let content = read_whole(&named);
            let mut late = files.late();
            ended.store(true, Ordering::Relaxed);
            late.remove(&named);
            drop(late);
            sender.send(content)
        })?;
        if let Ok(content) = receiver.recv_timeout(SETTING_FILE_WAIT_MAX) {
            return content;
        }
        // Under the lock the thread has either ended, or will remove what is added here.
        let mut late = self.late();
        if !has_ended.load(Ordering::Relaxed) {
            late.insert(path.to_owned());
        }
        Err(too_late())
    }

    /// Reads a whole file of text.
    pub fn read_text(&self, path: &Path) -> Result<String> {
        String::from_utf8(self.read(path)?).map_err(|_| Error::new(ErrorKind::InvalidData, "it is not UTF-8"))
    }

    fn late(&self) -> MutexGuard<'_, BTreeSet<PathBuf>> {
        self.late.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn too_late() -> Error {
    let seconds = SETTING_FILE_WAIT_MAX.as_secs();
    Error::new(ErrorKind::TimedOut, format!("it was not read to its end within {seconds} seconds"))
}

/// Reads a whole file once, as `SettingFiles::read` does.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    SettingFiles::default().read(path)
}

fn read_whole(path: &Path) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(SETTING_FILE_BYTES_MAX + 1).read_to_end(&mut content)?;
    if content.len() as u64 > SETTING_FILE_BYTES_MAX {
        let allowed = format!("it is longer than {} MiB", SETTING_FILE_BYTES_MAX >> 20);
        return Err(Error::new(ErrorKind::FileTooLarge, allowed));
    }
    Ok(content)
}

/// Reads a whole file of text once.
pub fn read_text(path: &Path) -> Result<String> {
    SettingFiles::default().read_text(path)
}

#[cfg(test)]
mod tests {
    use super::{SettingFiles, read, read_text};
    use crate::limits::{SETTING_FILE_BYTES_MAX, SETTING_FILE_WAIT_MAX};
    use std::fs::File;
    use std::io::ErrorKind;
    use std::path::Path;
    use std::thread;
    use std::time::{Duration, Instant};

    #[test]
    fn a_file_of_the_longest_length_is_read_and_one_without_an_end_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let longest = dir.path().join("longest");
        File::create(&longest).and_then(|file| file.set_len(SETTING_FILE_BYTES_MAX)).expect("it is made");
        assert_eq!(read(&longest).expect("it is read").len() as u64, SETTING_FILE_BYTES_MAX);
        let refused = read(Path::new("/dev/zero")).expect_err("it has no end");
        assert_eq!(refused.kind(), ErrorKind::FileTooLarge);
        assert_eq!(refused.to_string(), "it is longer than 16 MiB");
    }

    #[test]
    fn a_named_pipe_without_a_writer_is_refused_and_has_one_reader() {
        let dir = tempfile::tempdir().expect("a directory");
        let pipe = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs");
        assert!(made.success());
        let files = SettingFiles::default();
        assert_eq!(files.read(&pipe).expect_err("nobody writes").kind(), ErrorKind::TimedOut);
        let begun = Instant::now();
        for _ in 0..100 {
            assert_eq!(files.clone().read(&pipe).expect_err("a reader waits").kind(), ErrorKind::TimedOut);
        }
        assert!(begun.elapsed() < SETTING_FILE_WAIT_MAX, "nobody waits again");
        let other = dir.path().join("other");
        std::fs::write(&other, "other").expect("it is written");
        assert_eq!(files.read_text(&other).expect("it is read"), "other");
        // A writer that goes again ends the read.
        drop(File::options().write(true).open(&pipe).expect("the reader is there"));
        let begun = Instant::now();
        while !files.late().is_empty() {
            assert!(begun.elapsed() < SETTING_FILE_WAIT_MAX, "the reader has not returned");
            thread::sleep(Duration::from_millis(1));
        }
        std::fs::remove_file(&pipe).and_then(|()| std::fs::write(&pipe, "now a file")).expect("it is written");
        assert_eq!(files.read_text(&pipe).expect("it is read"), "now a file");
    }

    #[test]
    fn text_is_utf_8() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("text");
        std::fs::write(&path, "é").expect("it is written");
        assert_eq!(read_text(&path).expect("it is read"), "é");
        std::fs::write(&path, b"\xff").expect("it is written");
        assert_eq!(read_text(&path).expect_err("no text").to_string(), "it is not UTF-8");
    }
}
