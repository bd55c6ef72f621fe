//! Reading the files that settings name: certificates, keys, secrets, lists of accounts.

use crate::limits::{
    SETTING_FILE_AGAIN_AFTER, SETTING_FILE_AGAIN_AFTER_MAX, SETTING_FILE_BYTES_MAX, SETTING_FILE_WAIT_MAX,
};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Error, ErrorKind, Read, Result};
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// A reader for those who look at files again and again. One thread reads a file, however many ask for it; where it
/// hangs, another one is admitted from time to time, since the path may lead to a sound mount by then. Clones share
/// their threads.
#[derive(Clone, Debug, Default)]
pub struct SettingFiles {
    /// The reads of each path that was ever asked for. Settings name few.
    places: Arc<Mutex<BTreeMap<PathBuf, Arc<Place>>>>,
}

impl SettingFiles {
    /// Reads a whole file. One that is longer than any of them is an error, since a device or a pipe may have no end,
    /// and so is one that does not come: a named pipe without a writer, or a mount that hangs. The read begins after
    /// the call; concurrent calls share one.
    pub fn read(&self, path: &Path) -> Result<Vec<u8>> {
        let place = self.place(path);
        let answer = place.ask(path)?;
        answer.recv_timeout(SETTING_FILE_WAIT_MAX).unwrap_or_else(|_| Err(place.reads().too_late()))
    }

    /// Reads a whole file of text.
    pub fn read_text(&self, path: &Path) -> Result<String> {
        String::from_utf8(self.read(path)?).map_err(|_| Error::new(ErrorKind::InvalidData, "it is not UTF-8"))
    }

    fn place(&self, path: &Path) -> Arc<Place> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(places.entry(path.to_owned()).or_default())
    }
}

/// A caller that waits for the content of a file.
/// The number of threads that hang at one path beside which no other is started until one returns.
const HANGING_MAX: u32 = 8;

type Caller = Sender<Result<Vec<u8>>>;

/// A path, with the reads of it.
#[derive(Debug, Default)]
struct Place(Mutex<Reads>);

#[derive(Debug, Default)]
struct Reads {
    /// The callers whose read has not begun.
    waiting: Vec<Caller>,
    /// The number of reader threads started so far, which is the number of the newest one.
    started: u64,
    /// When the newest thread's present read began; `None` if the thread has ended.
    begun: Option<Instant>,
    /// Earlier threads that have not returned.
    hanging: u32,
}

impl Place {
    fn reads(&self) -> MutexGuard<'_, Reads> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the file read for a caller. A read that is under way may have missed the latest change of the file: the
    /// caller shares the next one. Refused at once while a read hangs, until another one is admitted beside it.
    fn ask(self: &Arc<Self>, path: &Path) -> Result<Receiver<Result<Vec<u8>>>> {
        let (caller, answer) = mpsc::channel();
        let mut reads = self.reads();
        match reads.begun.map(|begun| begun.elapsed()) {
            Some(lasts) if lasts < SETTING_FILE_WAIT_MAX => reads.waiting.push(caller),
            Some(lasts) if lasts < reads.again_after() || reads.hanging >= HANGING_MAX => return Err(still_hangs()),
            _ => {
                reads.waiting.push(caller);
                self.start(&mut reads, path)?;
            }
        }
        Ok(answer)
    }

    /// Starts a thread that reads the file for those who wait. One of a file that does not come stays behind.
    fn start(self: &Arc<Self>, reads: &mut Reads, path: &Path) -> Result<()> {
        let (place, path, number) = (Arc::clone(self), path.to_owned(), reads.started + 1);
        let callers = mem::take(&mut reads.waiting);
        let serve = move || place.serve(&path, number, callers);
        thread::Builder::new().name("setting-file".to_owned()).spawn(serve)?;
        reads.hanging += u32::from(reads.begun.is_some());
        reads.started = number;
        reads.begun = Some(Instant::now());
        Ok(())
    }

    /// Reads the file for these callers, and again while others wait. The thread with this `number` does so until
    /// another one takes its place.
    fn serve(&self, path: &Path, number: u64, mut callers: Vec<Caller>) {
        loop {
            answer(callers, read_whole(path));
            let mut reads = self.reads();
            if reads.started != number {
                reads.hanging -= 1;
                return;
            }
            if reads.waiting.is_empty() {
                reads.begun = None;
                return;
            }
            callers = mem::take(&mut reads.waiting);
            reads.begun = Some(Instant::now());
        }
    }
}

impl Reads {
    /// The time between the start of a read that hangs and the admission of another one.
    fn again_after(&self) -> Duration {
        let times = 2u32.saturating_pow(self.hanging);
        SETTING_FILE_AGAIN_AFTER.saturating_mul(times).min(SETTING_FILE_AGAIN_AFTER_MAX)
    }

    /// The error of a caller whose read did not end in time. If a read hangs, those who wait for the next one are
    /// refused as well.
    fn too_late(&mut self) -> Error {
        if self.begun.is_some_and(|begun| begun.elapsed() >= SETTING_FILE_WAIT_MAX) {
            self.waiting.clear();
        }
        if self.hanging > 0 {
            return still_hangs();
        }
        let seconds = SETTING_FILE_WAIT_MAX.as_secs();
        Error::new(ErrorKind::TimedOut, format!("it was not read to its end within {seconds} seconds"))
    }
}

/// The text is the same as long as the read hangs, so that it is logged once.
fn still_hangs() -> Error {
    let [first, last] = [SETTING_FILE_AGAIN_AFTER, SETTING_FILE_AGAIN_AFTER_MAX].map(|time| time.as_secs());
    let why = format!(
        "an earlier read of it still hangs; further ones are admitted {first} seconds after it, then ever more rarely, \
         up to {last} seconds after the last one"
    );
    Error::new(ErrorKind::TimedOut, why)
}

/// Gives all callers the content of a file, or the reason why it was not read. Those that gave up do not get it.
fn answer(mut callers: Vec<Caller>, content: Result<Vec<u8>>) {
    let last = callers.pop();
    for caller in callers {
        let copy = match &content {
            Ok(bytes) => Ok(bytes.clone()),
            Err(error) => Err(Error::new(error.kind(), error.to_string())),
        };
        let _ = caller.send(copy);
    }
    if let Some(last) = last {
        let _ = last.send(content);
    }
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
    use super::{Place, Reads, SettingFiles, read, read_text};
    use crate::limits::{
        SETTING_FILE_AGAIN_AFTER, SETTING_FILE_AGAIN_AFTER_MAX, SETTING_FILE_BYTES_MAX, SETTING_FILE_WAIT_MAX,
    };
    use std::fs::File;
    use std::io::ErrorKind;
    use std::path::{Path, PathBuf};
    use std::thread;
    use std::time::{Duration, Instant};

    fn pipe_in(dir: &Path) -> PathBuf {
        let pipe = dir.join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs");
        assert!(made.success());
        pipe
    }

    /// Returns the number of threads started, and of earlier ones that hang.
    fn threads_of(place: &Place) -> (u64, u32) {
        let reads = place.reads();
        (reads.started, reads.hanging)
    }

    /// Waits until the reads of a path are as wanted.
    fn wait_until(place: &Place, is_so: impl Fn(&Reads) -> bool) {
        let begun = Instant::now();
        while !is_so(&place.reads()) {
            assert!(begun.elapsed() < SETTING_FILE_WAIT_MAX, "{:?}", place.reads());
            thread::sleep(Duration::from_millis(1));
        }
    }

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
        let pipe = pipe_in(dir.path());
        let files = SettingFiles::default();
        thread::scope(|scope| {
            for _ in 0..8 {
                let read = || assert_eq!(files.read(&pipe).expect_err("nobody writes").kind(), ErrorKind::TimedOut);
                scope.spawn(read);
            }
        });
        let begun = Instant::now();
        for _ in 0..100 {
            let refused = files.clone().read(&pipe).expect_err("a reader waits");
            assert_eq!(refused.kind(), ErrorKind::TimedOut);
            assert!(refused.to_string().starts_with("an earlier read of it still hangs"), "{refused}");
        }
        assert!(begun.elapsed() < SETTING_FILE_WAIT_MAX, "nobody waits again");
        let place = files.place(&pipe);
        assert_eq!(threads_of(&place), (1, 0));
        let other = dir.path().join("other");
        std::fs::write(&other, "other").expect("it is written");
        assert_eq!(files.read_text(&other).expect("it is read"), "other");
        // A writer that goes again ends the read.
        drop(File::options().write(true).open(&pipe).expect("the reader is there"));
        wait_until(&place, |reads| reads.begun.is_none());
        std::fs::remove_file(&pipe).and_then(|()| std::fs::write(&pipe, "now a file")).expect("it is written");
        assert_eq!(files.read_text(&pipe).expect("it is read"), "now a file");
    }

    #[test]
    fn a_path_whose_reader_hangs_is_read_again_after_a_while() {
        let dir = tempfile::tempdir().expect("a directory");
        let (pipe, moved) = (pipe_in(dir.path()), dir.path().join("moved"));
        let files = SettingFiles::default();
        files.read(&pipe).expect_err("nobody writes");
        std::fs::rename(&pipe, &moved).and_then(|()| std::fs::write(&pipe, "mounted again")).expect("it is written");
        files.read(&pipe).expect_err("the reader of the pipe still waits");
        let place = files.place(&pipe);
        place.reads().begun = Some(Instant::now() - SETTING_FILE_AGAIN_AFTER);
        assert_eq!(files.read_text(&pipe).expect("it is read"), "mounted again");
        assert_eq!(threads_of(&place), (2, 1), "the first reader is still there");
        assert_eq!(place.reads().again_after(), 2 * SETTING_FILE_AGAIN_AFTER);
        assert_eq!(files.read_text(&pipe).expect("it is read"), "mounted again");
        drop(File::options().write(true).open(&moved).expect("the reader is there"));
        wait_until(&place, |reads| reads.hanging == 0);
        let many = Reads { hanging: 100, ..Reads::default() };
        assert_eq!(many.again_after(), SETTING_FILE_AGAIN_AFTER_MAX);
    }

    #[test]
    fn a_caller_gets_the_content_of_a_read_that_began_after_its_call() {
        let dir = tempfile::tempdir().expect("a directory");
        let pipe = pipe_in(dir.path());
        let files = SettingFiles::default();
        let place = files.place(&pipe);
        thread::scope(|scope| {
            let first = scope.spawn(|| files.read_text(&pipe));
            wait_until(&place, |reads| reads.begun.is_some());
            let later = [(); 2].map(|()| scope.spawn(|| files.read_text(&pipe)));
            wait_until(&place, |reads| reads.waiting.len() == 2);
            std::fs::write(&pipe, "old").expect("it is written");
            assert_eq!(first.join().expect("it ends").expect("it is read"), "old");
            std::fs::write(&pipe, "new").expect("it is written");
            for later in later {
                assert_eq!(later.join().expect("it ends").expect("it is read"), "new");
            }
        });
        wait_until(&place, |reads| reads.begun.is_none());
        assert_eq!(threads_of(&place), (1, 0));
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
