//! The destinations of the audit log as the configuration names them: a file, standard error, a webhook.

use super::background;
use super::error::HostError;
use crate::actors::audit::{AuditSender, AuditSink, Settled, WebhookSink};
use crate::ambient::Ambient;
use crate::config::{AuditConfig, AuditLog};
use async_trait::async_trait;
use bytes::Bytes;
use rustix::fs::{Access, AtFlags, CWD, accessat};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// The longest wait, when the host stops, for lines of the audit log to be written; later lines are lost.
const STOP_PATIENCE: Duration = Duration::from_millis(1500);

/// Refuses a path that cannot be opened. Creates no file: `sherd check` may run as another user than the store.
pub(super) fn check(config: &AuditConfig) -> Result<(), HostError> {
    let Some(AuditLog::File(path)) = &config.log else { return Ok(()) };
    let failed = |cause| HostError::AuditLog { path: path.clone(), cause };
    match path.metadata() {
        Ok(about) if about.is_file() || about.file_type().is_char_device() => {
            OpenOptions::new().append(true).open(path).map(drop).map_err(failed)
        }
        Ok(_) => Err(failed(io::Error::other("it is not a file"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let access = Access::WRITE_OK | Access::EXEC_OK;
            accessat(CWD, parent, access, AtFlags::EACCESS).map_err(|cause| failed(cause.into()))
        }
        Err(error) => Err(failed(error)),
    }
}

/// The audit log of a running host.
#[derive(Clone, Debug, Default)]
pub(super) struct AuditLogs {
    pub senders: Vec<AuditSender>,
    /// The sender of the log file, which is reopened at SIGHUP.
    file: Option<AuditSender>,
}

impl AuditLogs {
    pub fn start(config: &AuditConfig, ambient: &Ambient, host: &str) -> Result<Self, HostError> {
        let mut logs = Self::default();
        match &config.log {
            None => {}
            Some(AuditLog::Stderr) => logs.senders.push(AuditSender::start("stderr", Arc::<StderrSink>::default())),
            Some(AuditLog::File(path)) => {
                let sink = FileSink::open(path).map_err(|cause| HostError::AuditLog { path: path.clone(), cause })?;
                let sender = AuditSender::start("file", Arc::new(sink));
                logs.file = Some(sender.clone());
                logs.senders.push(sender);
            }
        }
        if let Some(webhook) = &config.webhook {
            let sink = WebhookSink::new(background::webhook(webhook, ambient)?, host.to_owned());
            logs.senders.push(AuditSender::start("webhook", Arc::new(sink)));
        }
        Ok(logs)
    }

    /// Opens the log file again, after a rotation. `None` if the configuration names no file.
    pub async fn reopen(&self) -> Option<Result<(), String>> {
        Some(self.file.as_ref()?.reopen().await)
    }

    /// Stops the audit log, once no request is left.
    pub async fn stop(&self) {
        let stops = futures::future::join_all(self.senders.iter().map(AuditSender::stop));
        if timeout(STOP_PATIENCE, stops).await.is_err() {
            tracing::warn!("lines of the audit log were not written in time and are lost");
        }
    }
}

/// Standard error, a whole line at a time.
#[derive(Debug, Default)]
struct StderrSink {
    /// True if the file may end within a line that could not be written whole.
    torn: Arc<AtomicBool>,
}

#[async_trait]
impl AuditSink for StderrSink {
    async fn write(&self, lines: &[Bytes]) -> Settled {
        let (lines, torn) = (lines.to_vec(), Arc::clone(&self.torn));
        let write = move || {
            for (written, line) in lines.iter().enumerate() {
                let end: &[u8] = if torn.load(Ordering::Relaxed) { b"\n" } else { b"" };
                if let Err(error) = io::stderr().write_all(&[end, line].concat()) {
                    torn.store(true, Ordering::Relaxed);
                    return Settled { written, refused: 0, fault: Some(error.to_string()) };
                }
                torn.store(false, Ordering::Relaxed);
            }
            Settled { written: lines.len(), ..Settled::default() }
        };
        in_thread(write).await
    }
}

/// The audit log's file. A line is reported as written once it is on stable storage.
#[derive(Debug)]
struct FileSink {
    path: PathBuf,
    open: Arc<Mutex<Open>>,
    /// The number of reopenings so far.
    reopenings: AtomicU64,
}

#[derive(Debug)]
struct Open {
    /// The number of the reopening that opened the file; 0 for the first file.
    reopening: u64,
    file: File,
    /// True if the file ends within a line that could not be written whole.
    torn: bool,
}

impl FileSink {
    fn open(path: &Path) -> io::Result<Self> {
        let open = Arc::new(Mutex::new(Open::at(path, 0)?));
        Ok(Self { path: path.to_owned(), open, reopenings: AtomicU64::new(0) })
    }
}

/// Opens the file for appending, and creates it if it does not exist. Its name is durable on return, also if it exists:
/// a process that created it may have been killed before it synced the name.
fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().append(true).create(true).open(path)?;
    if file.metadata()?.is_file() {
        sync_name(path)?;
    }
    Ok(file)
}

/// Returns whether the open file ends within a line, as a power cut or a full disk leaves it. If its end cannot be
/// read, because the store may only append to it, it counts as one that does: an empty line is better than a line lost.
fn ends_within_a_line(path: &Path, file: &File) -> bool {
    let Ok(about) = file.metadata() else { return true };
    if !about.is_file() || about.len() == 0 {
        return false;
    }
    let mut last = [0u8];
    let read = File::open(path).and_then(|file| file.read_exact_at(&mut last, about.len() - 1));
    read.is_err() || last != *b"\n"
}

fn is_same(one: &File, other: &File) -> bool {
    let id = |file: &File| file.metadata().ok().map(|about| (about.dev(), about.ino()));
    id(one).is_some() && id(one) == id(other)
}

/// Syncs the name of a file. A directory that is not known any more, that this process may not read, or whose file
/// system does not sync it, is no reason to go without the audit log.
fn sync_name(path: &Path) -> io::Result<()> {
    use io::ErrorKind::{InvalidInput, NotFound, PermissionDenied, ReadOnlyFilesystem, Unsupported};
    let of_file = |file: PathBuf| File::open(file.parent().unwrap_or(Path::new("/")));
    let synced = path.canonicalize().and_then(of_file).and_then(|dir| dir.sync_all());
    let cannot_be = [InvalidInput, NotFound, PermissionDenied, ReadOnlyFilesystem, Unsupported];
    match synced {
        Err(error) if cannot_be.contains(&error.kind()) => {
            tracing::warn!(path = %path.display(), %error, "the directory of the audit log cannot be synced: a power cut may lose a file that was just created");
            Ok(())
        }
        synced => synced,
    }
}

#[async_trait]
impl AuditSink for FileSink {
    async fn write(&self, lines: &[Bytes]) -> Settled {
        let (open, lines) = (Arc::clone(&self.open), lines.to_vec());
        in_thread(move || open.lock().unwrap_or_else(PoisonError::into_inner).append(&lines)).await
    }

    async fn reopen(&self) -> Result<(), String> {
        let (path, current) = (self.path.clone(), Arc::clone(&self.open));
        let number = self.reopenings.fetch_add(1, Ordering::Relaxed) + 1;
        let reopened = spawn_blocking(move || {
            let opened = Open::at(&path, number).map_err(|error| error.to_string())?;
            current.lock().unwrap_or_else(PoisonError::into_inner).replace(opened);
            Ok(())
        });
        reopened.await.unwrap_or_else(|error| Err(error.to_string()))
    }
}

impl Open {
    /// Opens the file for the reopening of this number.
    fn at(path: &Path, reopening: u64) -> io::Result<Self> {
        let file = open(path)?;
        let torn = ends_within_a_line(path, &file);
        Ok(Self { reopening, file, torn })
    }

    /// Takes the place of this file by one that was opened later. A reopening that a file system held up until a later
    /// one was done is outdated: its file is dropped.
    fn replace(&mut self, opened: Self) {
        if opened.reopening > self.reopening {
            // A line may have been torn since the end of the file was looked at.
            let torn = opened.torn || (self.torn && is_same(&self.file, &opened.file));
            *self = Self { torn, ..opened };
        }
    }

    fn append(&mut self, lines: &[Bytes]) -> Settled {
        let mut bytes = Vec::new();
        if self.torn {
            bytes.push(b'\n');
        }
        let begun = bytes.len();
        lines.iter().for_each(|line| bytes.extend_from_slice(line));
        let (length, appended) = write(&mut self.file, &bytes);
        self.torn = if length == 0 { self.torn } else { bytes[length - 1] != b'\n' };
        let mut end = begun;
        let is_whole = |line: &&Bytes| {
            end += line.len();
            end <= length
        };
        let written = lines.iter().take_while(is_whole).count();
        match (sync(&self.file), appended) {
            (Ok(()), Ok(())) => Settled { written, ..Settled::default() },
            (Ok(()), Err(error)) => Settled { written, refused: 0, fault: Some(error.to_string()) },
            // The lines may not be on stable storage, so they are written again: rather twice than not at all.
            (Err(error), _) => Settled { written: 0, refused: 0, fault: Some(format!("it cannot be synced: {error}")) },
        }
    }
}

/// Writes the bytes; returns how many were written, and the error that ended the write, if any.
fn write(file: &mut File, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut length = 0;
    while length < bytes.len() {
        match file.write(&bytes[length..]) {
            Ok(0) => return (length, Err(io::ErrorKind::WriteZero.into())),
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (length, Err(error)),
        }
    }
    (length, Ok(()))
}

/// Syncs the file; a terminal or another device has nothing to sync.
fn sync(file: &File) -> io::Result<()> {
    match file.sync_data() {
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        synced => synced,
    }
}

/// Runs the write in a thread of its own, so that a file system that hangs does not block the host.
async fn in_thread(write: impl FnOnce() -> Settled + Send + 'static) -> Settled {
    let failed = |error: tokio::task::JoinError| Settled { fault: Some(error.to_string()), ..Settled::default() };
    spawn_blocking(write).await.unwrap_or_else(failed)
}

#[cfg(test)]
mod tests {
    use super::{FileSink, Open, check};
    use crate::actors::audit::AuditSink;
    use crate::config::{AuditConfig, AuditLog};
    use bytes::Bytes;
    use std::fs;
    use std::path::Path;

    fn lines(texts: &[&str]) -> Vec<Bytes> {
        texts.iter().map(|text| Bytes::from(format!("{text}\n"))).collect()
    }

    #[tokio::test]
    async fn reopening_after_a_rotation_appends_to_a_new_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, moved) = (dir.path().join("audit.log"), dir.path().join("audit.log.1"));
        fs::write(&path, "before\n").expect("written");
        let sink = FileSink::open(&path).expect("it is a file");
        assert_eq!(sink.write(&lines(&["a", "b"])).await.written, 2);
        fs::rename(&path, &moved).expect("moved");
        assert_eq!(sink.write(&lines(&["c"])).await.written, 1);
        assert_eq!(sink.reopen().await, Ok(()));
        assert_eq!(sink.write(&lines(&["d"])).await.written, 1);
        let read = |path: &Path| fs::read_to_string(path).expect("it is there");
        assert_eq!((read(&moved), read(&path)), ("before\na\nb\nc\n".to_owned(), "d\n".to_owned()));
        fs::remove_file(&path).expect("removed");
        fs::create_dir(&path).expect("made");
        assert!(sink.reopen().await.is_err(), "a directory");
        assert_eq!(sink.write(&lines(&["e"])).await.written, 1, "what was open stays");
    }

    #[tokio::test]
    async fn a_reopening_that_ends_after_a_later_one_is_without_effect() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, moved) = (dir.path().join("audit.log"), dir.path().join("audit.log.1"));
        let sink = FileSink::open(&path).expect("it is a file");
        let late = Open::at(&path, 1).expect("it is a file");
        fs::rename(&path, &moved).expect("moved");
        for _ in 0..2 {
            assert_eq!(sink.reopen().await, Ok(()));
        }
        sink.open.lock().expect("no panic while it is held").replace(late);
        assert_eq!(sink.write(&lines(&["a"])).await.written, 1);
        let read = |path: &Path| fs::read_to_string(path).expect("it is there");
        assert_eq!((read(&moved), read(&path)), (String::new(), "a\n".to_owned()));
    }

    /// `/dev/full` is a file system without space.
    #[tokio::test]
    async fn lines_that_cannot_be_written_are_left_to_the_next_attempt() {
        let sink = FileSink::open(Path::new("/dev/full")).expect("Linux has it");
        let settled = sink.write(&lines(&["a", "b"])).await;
        assert_eq!((settled.written, settled.refused), (0, 0));
        assert!(settled.fault.expect("there is no room").contains("No space left"));
    }

    #[tokio::test]
    async fn the_line_after_a_torn_line_begins_on_a_new_line() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("audit.log");
        let sink = FileSink::open(&path).expect("it is a file");
        sink.write(&[Bytes::from_static(b"to")]).await;
        sink.write(&lines(&["whole"])).await;
        assert_eq!(fs::read_to_string(&path).expect("it is there"), "to\nwhole\n");
    }

    #[tokio::test]
    async fn a_line_that_was_torn_before_the_file_was_opened_stays_apart_from_the_next() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("audit.log");
        let read = || fs::read_to_string(&path).expect("it is there");
        for (before, after) in [("to", "to\na\n"), ("whole\n", "whole\na\n"), ("", "a\n")] {
            fs::write(&path, before).expect("written");
            let started = FileSink::open(&path).expect("it is a file");
            assert_eq!(started.write(&lines(&["a"])).await.written, 1);
            assert_eq!(read(), after, "after a start");
            let sink = FileSink::open(&path).expect("it is a file");
            fs::write(&path, before).expect("written");
            assert_eq!(sink.reopen().await, Ok(()));
            assert_eq!(sink.write(&lines(&["a"])).await.written, 1);
            assert_eq!(read(), after, "after a reopening");
        }
    }

    #[test]
    fn the_check_refuses_a_path_that_is_no_file_and_creates_none() {
        let dir = tempfile::tempdir().expect("a directory");
        let of = |path: &Path| check(&AuditConfig { log: Some(AuditLog::File(path.to_owned())), webhook: None });
        let path = dir.path().join("audit.log");
        of(&path).expect("it can be made");
        assert!(!path.exists());
        let refused = of(dir.path()).expect_err("a directory").to_string();
        assert!(refused.starts_with("SHERD_AUDIT_LOG: ") && refused.ends_with("it is not a file"), "{refused}");
        assert!(of(&dir.path().join("nowhere/audit.log")).is_err());
        of(Path::new("/dev/null")).expect("a device");
    }
}
