//! Reading the files that settings name: certificates, keys, secrets, lists of accounts.

use crate::limits::{SETTING_FILE_BYTES_MAX, SETTING_FILE_WAIT_MAX};
use std::fs::File;
use std::io::{Error, ErrorKind, Read, Result};
use std::path::Path;
use std::sync::mpsc;
use std::thread;

/// Reads a whole file. One that is longer than any of them is an error, since a device or a pipe may have no end, and so
/// is one that does not come: a named pipe without a writer, or a mount that hangs.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    let named = path.to_owned();
    // The thread of a file that does not come stays behind.
    thread::Builder::new().name("setting-file".to_owned()).spawn(move || sender.send(read_whole(&named)))?;
    let seconds = SETTING_FILE_WAIT_MAX.as_secs();
    let late = |_| Error::new(ErrorKind::TimedOut, format!("it was not read to its end within {seconds} seconds"));
    receiver.recv_timeout(SETTING_FILE_WAIT_MAX).map_err(late)?
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

/// Reads a whole file of text.
pub fn read_text(path: &Path) -> Result<String> {
    String::from_utf8(read(path)?).map_err(|_| Error::new(ErrorKind::InvalidData, "it is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::{read, read_text};
    use crate::limits::SETTING_FILE_BYTES_MAX;
    use std::fs::File;
    use std::io::ErrorKind;
    use std::path::Path;

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
    fn a_named_pipe_without_a_writer_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let pipe = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs");
        assert!(made.success());
        assert_eq!(read(&pipe).expect_err("nobody writes").kind(), ErrorKind::TimedOut);
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
