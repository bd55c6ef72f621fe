//! The command `sherd admin metadata`: exports all metadata, verified while it arrives, and drops shards of unknown
//! blobs after a recovery.

use super::client::Client;
use super::progress::Progress;
use super::{AdminFailure, tell};
use crate::api::admin::UnknownDropped;
use crate::config::MetadataQuestion;
use crate::storage::meta::snapshot::{ExportFault, ExportHead, ExportReader};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use serde_json::json;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The mode of the exported file: only its owner may read it.
const MODE: u32 = 0o600;

const UNSURE: &str = "Nothing was changed. With --yes, shards of blobs that the metadata does not know are dropped from all drives, as\n\
on any store that was not recovered, and so are copies of shards on other drives than it says. They may belong to\n\
objects that the recovery has lost; without metadata they are useless. Keep them for as long as a lost host, or a\n\
later copy of the metadata, may still be found.\n";

pub fn run(client: &Client, asked: &MetadataQuestion, json: bool, out: &mut impl Write) -> Result<u8, AdminFailure> {
    match asked {
        MetadataQuestion::Export { file: Some(file) } => {
            let head = export_to(client, file)?;
            let summary = json!({"file": file, "cluster": head.cluster.to_string(), "exported_ms": head.exported.0,
                "entry": head.applied.at.map(|at| at.index)});
            tell(&summary, json, |_| words(&head, file), out)?;
        }
        MetadataQuestion::Export { file: None } => {
            copy(client, out)?;
        }
        MetadataQuestion::DropUnknown { sure: false } => {
            tell(&json!({"changed": false, "why": UNSURE}), json, |_| UNSURE.to_owned(), out)?;
            return Ok(1);
        }
        MetadataQuestion::DropUnknown { sure: true } => {
            let dropped: UnknownDropped = client.post("/metadata/drop-unknown", &json!({}))?;
            tell(
                &dropped,
                json,
                |_| "each drive drops them when it is compared with the metadata (sherd admin heal start)\n".to_owned(),
                out,
            )?;
        }
    }
    Ok(0)
}

fn words(head: &ExportHead, file: &Path) -> String {
    let entry = head.applied.at.map_or(0, |at| at.index);
    format!("{}: the metadata of cluster {} up to entry {entry}\n", file.display(), head.cluster)
}

/// Exports into a new file.
fn export_to(client: &Client, file: &Path) -> Result<ExportHead, AdminFailure> {
    // Looked at again once the file gets its name; here it saves a transfer in vain.
    if file.symlink_metadata().is_ok() {
        return Err(unwritable(file, ErrorKind::AlreadyExists.into()));
    }
    let draft = draft_of(file, client.ambient.random_u128());
    write_new(file, &draft, |open| {
        copy(client, open).map_err(|error| match error {
            AdminFailure::Output(cause) => unwritable(file, cause),
            error => error,
        })
    })
}

/// Returns the name of the draft of a file. Its number is drawn, so that no two exports have the same draft.
fn draft_of(file: &Path, drawn: u128) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{:016x}.draft", drawn >> 64));
    PathBuf::from(name)
}

/// Makes a file that only its owner may read, and that gets its name only once it is complete and durable. Neither the
/// file nor its draft may exist: they are not replaced, and not written to.
fn write_new<T>(
    file: &Path,
    draft: &Path,
    write: impl FnOnce(&mut File) -> Result<T, AdminFailure>,
) -> Result<T, AdminFailure> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(MODE).open(draft);
    let mut open = opened.map_err(|cause| unwritable(draft, cause))?;
    let finish = |open: &File| open.sync_all().and_then(|()| rename_new(draft, file));
    let written = write(&mut open)
        .and_then(|written| finish(&open).map(|()| written).map_err(|cause| unwritable(file, cause)))
        .inspect_err(|_| {
            let _ = fs::remove_file(draft);
        })?;
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|cause| unwritable(file, cause))?;
    Ok(written)
}

/// Renames a file, unless there is one of the new name.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Not every file system can do it (NFS); a link does not replace a file either.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => match fs::hard_link(from, to) {
            Ok(()) => {
                // The file has its name; another one beside it does no harm.
                let _ = fs::remove_file(from);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(error),
            // Nor are there links everywhere (object stores mounted as file systems).
            Err(_) if fs::symlink_metadata(to).is_err_and(|error| error.kind() == ErrorKind::NotFound) => {
                fs::rename(from, to)
            }
            Err(error) => Err(error),
        },
        renamed => Ok(renamed?),
    }
}

fn unwritable(path: &Path, cause: io::Error) -> AdminFailure {
    let cause = match cause.kind() {
        ErrorKind::AlreadyExists => io::Error::new(cause.kind(), "it exists already; name another file"),
        _ => cause,
    };
    AdminFailure::Unwritable { path: path.to_owned(), cause }
}

fn copy(client: &Client, out: &mut impl Write) -> Result<ExportHead, AdminFailure> {
    let broken = |fault: ExportFault| client.broken(&io::Error::other(fault));
    let mut progress = Progress::new("bytes");
    let reader = ExportReader::open(BufReader::new(client.stream("/metadata/export")?)).map_err(broken)?;
    let mut failed = None;
    let copied = reader.copy(|piece| {
        progress.advance(piece.len() as u64, None);
        out.write_all(piece).map_err(|error| {
            let kind = error.kind();
            failed = Some(error);
            kind.into()
        })
    });
    progress.finish();
    match failed {
        Some(error) => Err(error.into()),
        None => copied.map_err(broken),
    }
}

#[cfg(test)]
mod tests {
    use super::{draft_of, unwritable, write_new};
    use std::fs;
    use std::io::{ErrorKind, Write};
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).expect("a directory");
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn an_exported_file_is_for_its_owner_alone_and_replaces_no_other_one() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let file = root.path().join("copy");
        let write = |number: u128, text: &str| {
            write_new(&file, &draft_of(&file, number << 64), |open| Ok(open.write_all(text.as_bytes())?))
        };
        write(1, "first").expect("it is new");
        assert_eq!(fs::metadata(&file).expect("it is there").permissions().mode() & 0o777, 0o600);
        let refused = write(2, "second").expect_err("it exists").to_string();
        assert!(refused.ends_with("cannot be written: it exists already; name another file"), "{refused}");
        assert_eq!(fs::read_to_string(&file).expect("it is there"), "first");
        assert_eq!(names(root.path()), ["copy"], "no draft is left");
    }

    #[test]
    fn exports_to_one_name_at_once_do_not_write_to_the_same_file() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let file = root.path().join("copy");
        let refused = write_new(&file, &draft_of(&file, 1 << 64), |open| {
            open.write_all(b"first")?;
            write_new(&file, &draft_of(&file, 2 << 64), |open| Ok(open.write_all(b"second")?))
        });
        assert!(refused.is_err(), "the other one was ready before it");
        assert_eq!(fs::read_to_string(&file).expect("it is there"), "second");
        assert_eq!(names(root.path()), ["copy"]);
    }

    #[test]
    fn a_draft_that_exists_is_not_written_to_and_one_that_fails_is_removed() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let (file, of_another) = (root.path().join("copy"), root.path().join("of-another"));
        fs::write(&of_another, "kept").expect("written");
        let draft = draft_of(&file, 1 << 64);
        symlink(&of_another, &draft).expect("linked");
        write_new(&file, &draft, |open| Ok(open.write_all(b"secret")?)).expect_err("the draft exists");
        assert_eq!(fs::read_to_string(&of_another).expect("it is there"), "kept");
        fs::remove_file(&draft).expect("removed");
        let failed = write_new(&file, &draft, |_| Err::<(), _>(unwritable(&file, ErrorKind::StorageFull.into())));
        failed.expect_err("there is no room");
        assert_eq!(names(root.path()), ["of-another"]);
    }
}
