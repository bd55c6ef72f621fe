//! The generated root key, for a store that was configured without one: made once at random, and kept in
//! `root_key.json` on every drive. It cannot be replaced like credentials: without it no encrypted object can be read.
//! Therefore a key that was found on any drive is never dropped, and no key is made while a damaged file may contain
//! one.

use crate::ambient::Ambient;
use crate::storage::disk::{Disk, replace_file};
use crate::storage::identity::document::{DOCUMENT_BYTES_MAX, DocumentFault, decode, encode};
use crate::storage::identity::scan::read_bounded;
use crate::storage::identity::{IdentityError, ROOT_KEY_FILE};
use crate::storage::sealing::{RootKey, RootKeys};
use crate::types::{ClusterId, UnixMs};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

const FORMAT: u32 = 1;

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u32,
    cluster: String,
    made: UnixMs,
    /// The keys in base64: the current one, then former ones.
    keys: Vec<String>,
}

/// The copy of the root keys in one directory.
enum KeptCopy {
    None,
    Kept(Document),
    /// A file that cannot be read or used, and may once have contained a key.
    Damaged(String),
}

/// Returns the root keys of the store whose usable drives are `dirs`, and generates one if there is none. Writes them
/// to every drive that lacks any of them. Fails if no drive has a copy afterwards, or if the only copies are damaged.
pub fn keep_root_keys(
    disk: &dyn Disk,
    dirs: &[PathBuf],
    cluster: ClusterId,
    ambient: &Ambient,
) -> Result<RootKeys, IdentityError> {
    let copies = read_all(disk, dirs, cluster)?;
    let chosen = match merged(&copies) {
        Some(kept) => kept,
        None => {
            refuse_damaged(dirs, &copies)?;
            make(cluster, ambient)
        }
    };
    let keys = parse(&chosen)?;
    spread(disk, dirs, &copies, &chosen)?;
    Ok(keys)
}

/// Returns the root keys kept in these directories, and writes them to every drive that lacks any of them. Makes none:
/// returns `None` if no drive has one. For a store whose current root key has another source: what the kept ones wrap
/// must outlive the drives that have them.
pub fn spread_root_keys(
    disk: &dyn Disk,
    dirs: &[PathBuf],
    cluster: ClusterId,
) -> Result<Option<RootKeys>, IdentityError> {
    let copies = read_all(disk, dirs, cluster)?;
    let Some(kept) = merged(&copies) else { return Ok(None) };
    let keys = parse(&kept)?;
    // Drives that could not be written are in the log. The keys were read, so the store can start.
    let _ = spread(disk, dirs, &copies, &kept);
    Ok(Some(keys))
}

/// Writes the document to every drive whose copy is another one. Fails if no drive has a copy afterwards.
fn spread(disk: &dyn Disk, dirs: &[PathBuf], copies: &[KeptCopy], chosen: &Document) -> Result<(), IdentityError> {
    let bytes = encode(chosen);
    let mut kept = 0;
    let mut failure = None;
    for (dir, copy) in dirs.iter().zip(copies) {
        let path = dir.join(ROOT_KEY_FILE);
        let is_same = matches!(copy, KeptCopy::Kept(document) if document == chosen);
        let written = if is_same { Ok(()) } else { replace_file(disk, &path, &bytes) };
        match written {
            Ok(()) => kept += 1,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the root key could not be written to a drive");
                failure = Some(IdentityError::Io { operation: "write", path, cause: error.to_string() });
            }
        }
    }
    match failure {
        Some(failure) if kept == 0 => Err(failure),
        _ => Ok(()),
    }
}

fn read_all(disk: &dyn Disk, dirs: &[PathBuf], cluster: ClusterId) -> Result<Vec<KeptCopy>, IdentityError> {
    dirs.iter().map(|dir| read(disk, dir, cluster)).collect()
}

/// Merges the keys of all copies; those of the youngest copy come first, so its current key is the current one.
fn merged(copies: &[KeptCopy]) -> Option<Document> {
    let mut kept: Vec<&Document> = copies
        .iter()
        .filter_map(|copy| match copy {
            KeptCopy::Kept(document) => Some(document),
            KeptCopy::None | KeptCopy::Damaged(_) => None,
        })
        .collect();
    // A tie is decided by the keys, so that the order of the directories does not matter.
    kept.sort_by(|a, b| (b.made, &b.keys).cmp(&(a.made, &a.keys)));
    let mut merged = (*kept.first()?).clone();
    for key in kept.iter().flat_map(|document| &document.keys) {
        if !merged.keys.contains(key) {
            merged.keys.push(key.clone());
        }
    }
    Some(merged)
}

fn refuse_damaged(dirs: &[PathBuf], copies: &[KeptCopy]) -> Result<(), IdentityError> {
    for (dir, copy) in dirs.iter().zip(copies) {
        if let KeptCopy::Damaged(why) = copy {
            return Err(IdentityError::RootKeyDamaged { path: dir.join(ROOT_KEY_FILE), why: why.clone() });
        }
    }
    Ok(())
}

fn read(disk: &dyn Disk, dir: &Path, cluster: ClusterId) -> Result<KeptCopy, IdentityError> {
    let path = dir.join(ROOT_KEY_FILE);
    let why = match read_bounded(disk, &path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(KeptCopy::None),
        Err(error) => error.to_string(),
        Ok(None) => format!("it is larger than {DOCUMENT_BYTES_MAX} bytes"),
        Ok(Some(bytes)) => match decode::<Document>(&bytes, FORMAT) {
            Ok(document) if document.cluster == cluster.to_string() => return Ok(KeptCopy::Kept(document)),
            Ok(_) => "it belongs to another cluster".to_owned(),
            Err(DocumentFault::Corrupt(why)) => why,
            Err(DocumentFault::LaterFormat(found)) => {
                return Err(IdentityError::LaterFormat { dir: dir.to_owned(), found, known: FORMAT });
            }
        },
    };
    tracing::warn!(path = %path.display(), why, "a copy of the root key is unusable");
    Ok(KeptCopy::Damaged(why))
}

fn parse(document: &Document) -> Result<RootKeys, IdentityError> {
    RootKeys::parse(document.keys.join("\n").as_bytes())
        .map_err(|error| IdentityError::RootKeyDamaged { path: PathBuf::from(ROOT_KEY_FILE), why: error.to_string() })
}

fn make(cluster: ClusterId, ambient: &Ambient) -> Document {
    let keys = vec![RootKey::random(ambient.entropy.as_ref()).to_file_line()];
    Document { format: FORMAT, cluster: cluster.to_string(), made: ambient.clock.unix_ms(), keys }
}
