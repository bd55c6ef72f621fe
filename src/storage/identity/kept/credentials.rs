//! Generated root credentials, for a store that was configured without any: made once at random, and kept in
//! `credentials.json` on every drive, so that they survive the loss of drives.

use crate::ambient::Ambient;
use crate::storage::disk::{Disk, replace_file};
use crate::storage::identity::document::{DOCUMENT_BYTES_MAX, DocumentFault, decode, encode};
use crate::storage::identity::scan::{Content, Found, read_bounded, scan};
use crate::storage::identity::{CREDENTIALS_FILE, IdentityError};
use crate::types::{ClusterId, UnixMs};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

const FORMAT: u32 = 1;
const ACCESS_KEY_CHARS: usize = 20;
const SECRET_KEY_CHARS: usize = 40;
const ACCESS_KEY_ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
const SECRET_KEY_ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// The generated root credentials. `Debug` does not show the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct KeptCredentials {
    pub access_key: String,
    pub secret_key: String,
    /// True if this call generated the credentials: they must be shown to the operator once.
    pub fresh: bool,
}

impl fmt::Debug for KeptCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptCredentials")
            .field("access_key", &self.access_key)
            .field("fresh", &self.fresh)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u32,
    cluster: String,
    made: UnixMs,
    access_key: String,
    secret_key: String,
}

/// The copy of the credentials in one directory.
enum KeptCopy {
    /// There is none, or one of another cluster.
    None,
    Kept(Document),
    /// A file that cannot be read or used, and may hold the credentials.
    Damaged(String),
}

impl KeptCopy {
    fn document(&self) -> Option<&Document> {
        match self {
            Self::Kept(document) => Some(document),
            Self::None | Self::Damaged(_) => None,
        }
    }
}

/// Returns the credentials of the store whose usable drives are `dirs`, and generates them if there are none. Writes
/// the youngest copy to every drive that has another or none. Fails if no drive has a copy afterwards, or if the only
/// copies are damaged.
pub fn keep_credentials(
    disk: &dyn Disk,
    dirs: &[PathBuf],
    cluster: ClusterId,
    ambient: &Ambient,
) -> Result<KeptCredentials, IdentityError> {
    let mut copies = Vec::new();
    for dir in dirs {
        copies.push(read(disk, dir, cluster)?);
    }
    let youngest = youngest(dirs, &copies)?;
    let fresh = youngest.is_none();
    let chosen = youngest.unwrap_or_else(|| make(cluster, ambient));
    let bytes = encode(&chosen);
    let mut kept = 0;
    let mut failure = None;
    for (dir, copy) in dirs.iter().zip(&copies) {
        let path = dir.join(CREDENTIALS_FILE);
        let written = if copy.document() == Some(&chosen) { Ok(()) } else { replace_file(disk, &path, &bytes) };
        match written {
            Ok(()) => kept += 1,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "credentials could not be written to a drive");
                failure = Some(IdentityError::Io { operation: "write", path, cause: error.to_string() });
            }
        }
    }
    match failure {
        Some(failure) if kept == 0 => Err(failure),
        _ => Ok(KeptCredentials { access_key: chosen.access_key, secret_key: chosen.secret_key, fresh }),
    }
}

/// Returns the youngest copy of the credentials in these directories; changes nothing. Fails if the only copies are
/// damaged.
pub fn read_credentials(disk: &dyn Disk, dirs: &[PathBuf]) -> Result<Option<KeptCredentials>, IdentityError> {
    let (mut ours, mut copies) = (Vec::new(), Vec::new());
    for Found { dir, content } in scan(disk, dirs)? {
        let Content::Ours(identity) = content else { continue };
        copies.push(read(disk, &dir, identity.cluster)?);
        ours.push(dir);
    }
    Ok(youngest(&ours, &copies)?.map(|document| KeptCredentials {
        access_key: document.access_key,
        secret_key: document.secret_key,
        fresh: false,
    }))
}

/// Returns the youngest of these copies; `None` if there are none at all. Fails if there are damaged ones only.
fn youngest(dirs: &[PathBuf], copies: &[KeptCopy]) -> Result<Option<Document>, IdentityError> {
    let youngest = copies.iter().filter_map(KeptCopy::document).max_by_key(|document| document.made);
    if youngest.is_none() {
        for (dir, copy) in dirs.iter().zip(copies) {
            if let KeptCopy::Damaged(why) = copy {
                return Err(IdentityError::CredentialsDamaged { path: dir.join(CREDENTIALS_FILE), why: why.clone() });
            }
        }
    }
    Ok(youngest.cloned())
}

/// Returns a directory's copy.
fn read(disk: &dyn Disk, dir: &Path, cluster: ClusterId) -> Result<KeptCopy, IdentityError> {
    let path = dir.join(CREDENTIALS_FILE);
    let why = match read_bounded(disk, &path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(KeptCopy::None),
        Err(error) => error.to_string(),
        Ok(None) => format!("it is larger than {DOCUMENT_BYTES_MAX} bytes"),
        Ok(Some(bytes)) => match decode::<Document>(&bytes, FORMAT) {
            Ok(document) if document.cluster == cluster.to_string() => return Ok(KeptCopy::Kept(document)),
            Ok(_) => {
                tracing::warn!(path = %path.display(), "the credentials belong to another cluster and are ignored");
                return Ok(KeptCopy::None);
            }
            Err(DocumentFault::Corrupt(why)) => why,
            Err(DocumentFault::LaterFormat(found)) => {
                return Err(IdentityError::LaterFormat { dir: dir.to_owned(), found, known: FORMAT });
            }
        },
    };
    tracing::warn!(path = %path.display(), why, "a copy of the credentials is unusable");
    Ok(KeptCopy::Damaged(why))
}

fn make(cluster: ClusterId, ambient: &Ambient) -> Document {
    Document {
        format: FORMAT,
        cluster: cluster.to_string(),
        made: ambient.clock.unix_ms(),
        access_key: random_text(ambient, ACCESS_KEY_ALPHABET, ACCESS_KEY_CHARS),
        secret_key: random_text(ambient, SECRET_KEY_ALPHABET, SECRET_KEY_CHARS),
    }
}

/// Returns a random text in which each character of the alphabet is equally likely. A random byte that would favour the
/// first characters is drawn again.
fn random_text(ambient: &Ambient, alphabet: &[u8], chars: usize) -> String {
    let fair = 256 - 256 % alphabet.len();
    let mut text = String::with_capacity(chars);
    while text.len() < chars {
        let mut byte = [0];
        ambient.entropy.fill(&mut byte);
        let drawn = usize::from(byte[0]);
        if drawn < fair {
            text.push(char::from(alphabet[drawn % alphabet.len()]));
        }
    }
    text
}
