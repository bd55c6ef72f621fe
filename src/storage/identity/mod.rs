//! The identities of a host's drives. Each drive's directory holds `identity.json`: its cluster, host and node, its
//! incarnation, the geometry, and the host's other drives. At start, `scan` reads the directories, the pure function
//! `examine` decides what to do with them, and `open_host` does it: it forms a host, finishes an interrupted formation,
//! or takes the drives into service, an empty drive in the place of a lost one.
//!
//! Invariants: nothing is written before every directory was found acceptable, and nothing is written in a directory
//! that this process has not locked. A host is never formed over a directory that holds anything. The store starts only
//! when every reachable drive's identity says that the formation is complete.

mod document;
mod examine;
mod founding;
mod kept;
mod lock;
mod open;
mod rejoining;
mod running;
mod scan;
#[cfg(test)]
mod tests;
mod unfilled;

pub use document::{Identity, Member, Stage};
pub use examine::{Claim, Host, MemberDir, Plan, Retired, drives_needed, examine};
pub use founding::{Founder, Founding, keep_founding, read_founding};
pub use kept::{
    AcmeCertificate, KeptAcme, KeptCredentials, keep_acme, keep_credentials, keep_root_keys, read_acme,
    read_credentials, spread_root_keys,
};
pub use lock::{DirLocks, HeldLock, LockFault, NoLocks, SystemLocks, lock_for_reading};
pub use open::{
    BlankDrives, Drive, DriveState, HeldLocks, HostDrives, NewHost, Prepared, new_host_id, note_started, open_host,
    prepare_host, retire_drives,
};
pub use rejoining::{Rejoining, forget_records, forget_rejoining, keep_rejoining, read_rejoining};
pub use running::{
    AddError, Addition, ReplaceError, Replacement, add_drive, check_addition, check_replacement, replace_drive,
};
pub use scan::{Content, Found, read_incarnation, scan};
pub use unfilled::{is_unfilled, note_filled, note_unfilled};

use crate::limits::DRIVE_BYTES_MIN;
use crate::types::{ClusterId, NodeId};
use std::path::PathBuf;

/// The names of this module's files in a drive's directory.
pub const IDENTITY_FILE: &str = "identity.json";
pub const CREDENTIALS_FILE: &str = "credentials.json";
pub const ROOT_KEY_FILE: &str = "root_key.json";
/// The account with an ACME server, and the certificate that it issued.
pub const ACME_FILE: &str = "acme.json";
pub const FOUNDING_FILE: &str = "founding.json";
pub const REJOIN_FILE: &str = "rejoin.json";
/// An empty file that marks a drive which replaced another and was not compared with the metadata since.
pub const UNFILLED_FILE: &str = "unfilled";
/// The directory of the metadata that a host had before it rejoined its cluster.
pub const SET_ASIDE_DIR: &str = "set-aside";
/// The directory of the metadata that `sherd recover` makes, which replaces the host's own.
pub const RECOVERING_DIR: &str = "recovering";
pub const LOCK_FILE: &str = "lock";
/// A file that is written from time to time, to test whether the drive accepts writes.
pub const TRIAL_FILE: &str = "probe";

/// The number of data and parity shards of an object, from the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WantedGeometry {
    pub data: u8,
    pub parity: u8,
    /// True if the operator chose this geometry; an existing store with another is then refused.
    pub explicit: bool,
    /// True if the host is the only one of its store, so that nothing can be read if too few of its drives are usable.
    pub alone: bool,
}

/// The reason for which the drives are not taken into service. All but `Io` are refusals, before which nothing was
/// written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    #[error(
        "{dir} (SHERD_DATA) is not empty (it holds {example:?}) and is not a drive of a store; give an empty directory, or move its content away"
    )]
    NotOurs { dir: PathBuf, example: String },
    #[error(
        "{dir} (SHERD_DATA) belongs to another cluster ({found}) than the other directories ({expected}); take it out of the list of data directories, or empty it to use it here"
    )]
    Foreign { dir: PathBuf, found: ClusterId, expected: ClusterId },
    #[error("{dir} (SHERD_DATA) belongs to another host of this cluster; start that host with it")]
    OtherHost { dir: PathBuf },
    #[error(
        "{first} and {second} (SHERD_DATA) both claim to be node {node}; one is a copy, or was replaced by the other: take one away"
    )]
    Duplicate { node: NodeId, first: PathBuf, second: PathBuf },
    #[error(
        "this host has {formed} drives, but {given} data directories are given (SHERD_DATA); give all of them, the directories of lost drives too, and empty ones for new drives only while no other is missing: {member_dirs}"
    )]
    WrongCount { formed: usize, given: usize, member_dirs: String },
    #[error(
        "this store was formed with {formed}, but SHERD_EC asks for {asked}; the geometry of a store cannot be changed"
    )]
    GeometryDiffers { formed: String, asked: String },
    #[error("SHERD_EC: {why}")]
    PointlessParity { why: String },
    #[error(
        "only {usable} of {total} drives (SHERD_DATA) can be used, and at least {needed} are needed to read anything: {details}"
    )]
    TooFew { usable: usize, total: usize, needed: usize, details: String },
    #[error(
        "{dir} (SHERD_DATA) holds a drive of a store, but {why}, and no other directory has an identity; no store is formed over it: put identity.json back (each drive has its own), or empty all directories, which gives up their content"
    )]
    Unidentified { dir: PathBuf, why: String },
    #[error("{dir} (SHERD_DATA) cannot be used to form a store: {why}")]
    Unusable { dir: PathBuf, why: String },
    #[error(
        "{dir} was written by a later version (identity format {found}, this version knows {known}); use that version"
    )]
    LaterFormat { dir: PathBuf, found: u32, known: u32 },
    #[error(
        "{dir} (SHERD_DATA) is on a drive of {mib} MiB, and a drive of a store needs {} MiB", DRIVE_BYTES_MIN >> 20
    )]
    TooSmall { dir: PathBuf, mib: u64 },
    #[error("{dir} (SHERD_DATA) is in use by another process")]
    Locked { dir: PathBuf },
    #[error(
        "{path} is damaged ({why}), and no drive has a whole copy; put the file back, or the key into a file for SHERD_ROOT_KEY_FILE: without it encrypted objects cannot be read"
    )]
    RootKeyDamaged { path: PathBuf, why: String },
    #[error(
        "{path} cannot be used ({why}), and no drive has a whole copy of the root credentials; put it back, or set SHERD_ACCESS_KEY and SHERD_SECRET_KEY, or remove the file to have other ones made"
    )]
    CredentialsDamaged { path: PathBuf, why: String },
    #[error(
        "{path} cannot be used ({why}), and no drive has a whole copy; it may say that this host must not go on: put it back, or decide it anew by sherd rejoin, with --yes to come back as another member, or with --cancel to go on, if nothing of the host's metadata was ever lost"
    )]
    RejoiningDamaged { path: PathBuf, why: String },
    #[error(
        "{path} cannot be used ({why}), and no drive has a whole copy; other hosts may rely on the id in it: put it back, or remove it if the cluster is not founded yet, goes on without this host, or has had it as a member before"
    )]
    FoundingDamaged { path: PathBuf, why: String },
    #[error("{operation} {path}: {cause}")]
    Io { operation: &'static str, path: PathBuf, cause: String },
}
