//! The content of each data directory: whether it is a drive of a store, empty, or something else. Changes nothing.

use super::document::{DOCUMENT_BYTES_MAX, DocumentFault, FORMAT, Identity, decode, decode_identity};
use super::{
    ACME_FILE, CREDENTIALS_FILE, FOUNDING_FILE, IDENTITY_FILE, IdentityError, LOCK_FILE, RECOVERING_DIR, REJOIN_FILE,
    ROOT_KEY_FILE, SET_ASIDE_DIR, TRIAL_FILE, UNFILLED_FILE,
};
use crate::storage::disk::{Caching, Disk, OpenMode, host_lacks_resources, read_file};
use crate::types::Incarnation;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::path::{Path, PathBuf};

/// Names that an empty drive may contain: those that a file system or an interrupted formation leaves.
const NAMES_OF_BLANK: &[&str] = &["lost+found", LOCK_FILE, FOUNDING_FILE, TRIAL_FILE];
const DRAFT_SUFFIX: &str = ".draft";
/// Names by which a drive of a store is recognised if its identity is gone.
const NAMES_OF_OURS: &[&str] = &[
    "shards",
    "index",
    "index.new",
    "index.removed",
    "meta",
    "state",
    CREDENTIALS_FILE,
    ROOT_KEY_FILE,
    ACME_FILE,
    REJOIN_FILE,
    SET_ASIDE_DIR,
    RECOVERING_DIR,
    UNFILLED_FILE,
];

/// One directory and its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub dir: PathBuf,
    pub content: Content,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// The directory does not exist.
    Absent,
    /// The directory cannot be read or cannot be locked.
    Unreadable { why: String },
    /// The directory is empty: a drive before its formation, or a replacement.
    Blank,
    /// A drive of a store.
    Ours(Box<Identity>),
    /// A drive of a store whose identity is damaged or gone.
    Damaged { why: String },
    /// The directory has other content; `example` is a name in it.
    NotOurs { example: String },
}

/// Reads the directories, in their order.
pub fn scan(disk: &dyn Disk, dirs: &[PathBuf]) -> Result<Vec<Found>, IdentityError> {
    dirs.iter().map(|dir| Ok(Found { dir: dir.clone(), content: content(disk, dir)? })).collect()
}

fn content(disk: &dyn Disk, dir: &Path) -> Result<Content, IdentityError> {
    let names = match disk.list(dir) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Content::Absent),
        Err(error) => return Ok(Content::Unreadable { why: error.to_string() }),
    };
    if names.iter().any(|name| name == IDENTITY_FILE) {
        return identity(disk, dir);
    }
    let is_blank = |name: &String| NAMES_OF_BLANK.contains(&name.as_str()) || name.ends_with(DRAFT_SUFFIX);
    let mut others = names.iter().filter(|name| !is_blank(name)).peekable();
    if others.peek().is_none() {
        return Ok(Content::Blank);
    }
    match others.find(|name| !NAMES_OF_OURS.contains(&name.as_str())) {
        Some(example) => Ok(Content::NotOurs { example: example.clone() }),
        None => Ok(Content::Damaged { why: format!("{IDENTITY_FILE} is gone") }),
    }
}

fn identity(disk: &dyn Disk, dir: &Path) -> Result<Content, IdentityError> {
    let path = dir.join(IDENTITY_FILE);
    match read_bounded(disk, &path) {
        Err(error) => Ok(Content::Unreadable { why: format!("{IDENTITY_FILE}: {error}") }),
        Ok(None) => Ok(Content::Damaged { why: format!("{IDENTITY_FILE} is larger than {DOCUMENT_BYTES_MAX} bytes") }),
        Ok(Some(bytes)) => match decode_identity(&bytes) {
            Ok(identity) => Ok(Content::Ours(Box::new(identity))),
            Err(DocumentFault::Corrupt(why)) => {
                Ok(Content::Damaged { why: format!("{IDENTITY_FILE} is corrupt: {why}") })
            }
            Err(DocumentFault::LaterFormat(found)) => {
                Err(IdentityError::LaterFormat { dir: dir.to_owned(), found, known: FORMAT })
            }
        },
    }
}

/// Returns the incarnation of the drive that is in a directory now.
pub fn read_incarnation(disk: &dyn Disk, dir: &Path) -> io::Result<Incarnation> {
    let bytes = read_bounded(disk, &dir.join(IDENTITY_FILE))?.unwrap_or_default();
    match decode_identity(&bytes) {
        Ok(identity) => Ok(identity.incarnation),
        Err(fault) => Err(io::Error::new(io::ErrorKind::InvalidData, format!("{IDENTITY_FILE}: {fault:?}"))),
    }
}

/// Reads a small file; `None` if it is larger than `DOCUMENT_BYTES_MAX`.
pub fn read_bounded(disk: &dyn Disk, path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = disk.open(path, OpenMode::Read, Caching::Cached)?;
    if file.len()? > DOCUMENT_BYTES_MAX {
        return Ok(None);
    }
    read_file(disk, path).map(Some)
}

/// A drive's copy of a record that each drive of its host has. A damaged one is a file that is there and cannot be read,
/// or is not whole.
pub(super) enum RecordCopy<T> {
    None,
    Whole(T),
    Damaged { path: PathBuf, why: String },
}

/// Reads a drive's copy of a record. Fails if a later version wrote it, or if the host lacks the resources to read it,
/// which says nothing of the copy. A drive whose directory cannot be listed has none: it would be lost to a start, too.
pub(super) fn read_record<T: Serialize + DeserializeOwned>(
    disk: &dyn Disk,
    dir: &Path,
    name: &str,
    known: u32,
) -> Result<RecordCopy<T>, IdentityError> {
    let path = dir.join(name);
    let why = match read_bounded(disk, &path) {
        Ok(None) => format!("it is larger than {DOCUMENT_BYTES_MAX} bytes"),
        Ok(Some(bytes)) => match decode::<T>(&bytes, known) {
            Ok(record) => return Ok(RecordCopy::Whole(record)),
            Err(DocumentFault::Corrupt(why)) => why,
            Err(DocumentFault::LaterFormat(found)) => {
                return Err(IdentityError::LaterFormat { dir: dir.to_owned(), found, known });
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(RecordCopy::None),
        Err(error) if host_lacks_resources(&error) => return Err(not_read(path, &error)),
        Err(error) => match disk.list(dir) {
            Ok(names) if names.iter().any(|other| other == name) => error.to_string(),
            Err(lack) if host_lacks_resources(&lack) => return Err(not_read(path, &lack)),
            Ok(_) | Err(_) => {
                tracing::warn!(path = %path.display(), %error, "this drive cannot be read and counts as one without this file");
                return Ok(RecordCopy::None);
            }
        },
    };
    tracing::warn!(path = %path.display(), why, "this drive's copy of the file is damaged");
    Ok(RecordCopy::Damaged { path, why })
}

fn not_read(path: PathBuf, error: &io::Error) -> IdentityError {
    IdentityError::Io { operation: "read", path, cause: error.to_string() }
}
