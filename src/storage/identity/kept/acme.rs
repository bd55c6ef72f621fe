//! A host's account with an ACME server and the certificate that it issued: kept in `acme.json` on every drive, so that a start
//! needs no new order. What cannot be read is ordered anew.

use crate::storage::disk::{Disk, replace_file};
use crate::storage::identity::ACME_FILE;
use crate::storage::identity::document::{DocumentFault, decode, encode};
use crate::storage::identity::scan::read_bounded;
use crate::types::{ClusterId, UnixMs};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

const FORMAT: u32 = 1;

/// The account and its certificate. The keys are not shown by `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptAcme {
    format: u32,
    cluster: String,
    /// The time of the last change; the youngest copy counts.
    pub made: UnixMs,
    /// The URL of the server's directory.
    pub directory: String,
    /// PKCS#8, in base64.
    pub account_key: String,
    pub certificate: Option<AcmeCertificate>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcmeCertificate {
    /// The directory of the server that issued it.
    pub directory: String,
    /// The names that it was ordered for, sorted.
    pub domains: Vec<String>,
    /// PEM, the host's own certificate first.
    pub chain: String,
    /// PEM.
    pub key: String,
}

impl fmt::Debug for KeptAcme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptAcme").field("made", &self.made).field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl fmt::Debug for AcmeCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcmeCertificate").field("domains", &self.domains).finish_non_exhaustive()
    }
}

impl KeptAcme {
    pub fn new(cluster: ClusterId, directory: String, account_key: String) -> Self {
        let (format, cluster, made) = (FORMAT, cluster.to_string(), UnixMs(0));
        Self { format, cluster, made, directory, account_key, certificate: None }
    }
}

/// Returns the youngest copy in these directories. A copy that cannot be used is logged, and none is as good.
pub fn read_acme(disk: &dyn Disk, dirs: &[PathBuf], cluster: ClusterId) -> Option<KeptAcme> {
    dirs.iter().filter_map(|dir| read(disk, dir, cluster)).max_by_key(|copy| copy.made)
}

/// Writes a drive's copy where it differs; it is durable on return.
pub fn keep_acme(disk: &dyn Disk, dir: &Path, kept: &KeptAcme) -> io::Result<()> {
    let path = dir.join(ACME_FILE);
    let bytes = encode(kept);
    match read_bounded(disk, &path) {
        Ok(Some(before)) if before == bytes => Ok(()),
        _ => replace_file(disk, &path, &bytes),
    }
}

fn read(disk: &dyn Disk, dir: &Path, cluster: ClusterId) -> Option<KeptAcme> {
    let path = dir.join(ACME_FILE);
    let why = match read_bounded(disk, &path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => error.to_string(),
        Ok(None) => "it is far too large".to_owned(),
        Ok(Some(bytes)) => match decode::<KeptAcme>(&bytes, FORMAT) {
            Ok(kept) if kept.cluster == cluster.to_string() => return Some(kept),
            Ok(_) => "it is another cluster's".to_owned(),
            Err(DocumentFault::Corrupt(why)) => why,
            Err(DocumentFault::LaterFormat(found)) => format!("a later version wrote it (format {found})"),
        },
    };
    tracing::warn!(
        path = %path.display(),
        why,
        "cannot use this drive's acme.json (ACME account and certificate); another drive's copy is used, or a new certificate is ordered"
    );
    None
}

#[cfg(test)]
mod tests {
    use super::{AcmeCertificate, KeptAcme, keep_acme, read_acme};
    use crate::storage::buffer::BufferPool;
    use crate::storage::disk::SystemDisk;
    use crate::types::{ClusterId, UnixMs};
    use std::path::PathBuf;

    const CLUSTER: ClusterId = ClusterId(7);

    #[test]
    fn the_youngest_whole_copy_counts_and_no_key_is_shown() {
        let root = tempfile::tempdir().expect("a directory");
        let disk = SystemDisk::new(BufferPool::new(0));
        let dirs: Vec<PathBuf> = (1..=3).map(|number| root.path().join(format!("d{number}"))).collect();
        let made = |made: u64| {
            let mut kept = KeptAcme::new(CLUSTER, "https://acme.test".to_owned(), "secret".to_owned());
            kept.made = UnixMs(made);
            let (directory, domains) = (kept.directory.clone(), vec!["s3.test".to_owned()]);
            let (chain, key) = ("chain".to_owned(), "secret".to_owned());
            kept.certificate = Some(AcmeCertificate { directory, domains, chain, key });
            kept
        };
        for (number, dir) in dirs.iter().enumerate() {
            std::fs::create_dir(dir).expect("made");
            keep_acme(&disk, dir, &made(number as u64)).expect("kept");
        }
        assert_eq!(read_acme(&disk, &dirs, CLUSTER), Some(made(2)));
        let youngest = dirs[2].join("acme.json");
        std::fs::write(&youngest, "{}").expect("damaged");
        assert_eq!(read_acme(&disk, &dirs, CLUSTER), Some(made(1)));
        assert_eq!(read_acme(&disk, &dirs, ClusterId(8)), None, "another cluster's");
        assert!(!format!("{:?}", made(1)).contains("secret"));
    }
}
