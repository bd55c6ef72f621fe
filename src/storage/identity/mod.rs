//! Who the drives of a host are. Each drive's directory holds `identity.json`: which cluster, host and node it belongs to,
//! its incarnation, the geometry, and who the host's other drives are. At start the directories are read (`scan`), what they
//! mean together is decided by a pure function (`examine`), and what follows is done (`open_host`): a host is formed, a
//! formation that was interrupted is finished, or the drives are taken into service, a blank one in the place of a lost one.
//!
//! Invariants: nothing is written before every directory was found acceptable, and nothing in a directory that is not
//! locked by this process. A host is never formed over a directory that holds anything. The store starts only when every
//! reachable drive's identity says that the formation is complete.

mod document;
mod examine;
mod founding;
mod kept;
mod lock;
mod open;
mod rejoining;
mod replacing;
mod scan;
#[cfg(test)]
mod tests;
mod unfilled;

pub use document::{Identity, Member, Stage};
pub use examine::{Claim, Host, Plan, Retired, Seat, drives_needed, examine};
pub use founding::{Founder, Founding, forget_founding, keep_founding, read_founding};
pub use kept::{
    AcmeCertificate, KeptAcme, KeptCredentials, keep_acme, keep_credentials, keep_root_keys, read_acme,
    read_credentials, read_root_keys,
};
pub use lock::{DirLocks, HeldLock, LockFault, NoLocks, SystemLocks, lock_for_reading};
pub use open::{
    BlankDrives, Drive, DriveState, HeldLocks, HostDrives, NewHost, Prepared, new_host_id, note_started, open_host,
    prepare_host, retire_drives,
};
pub use rejoining::{Rejoining, forget_rejoining, keep_rejoining, read_rejoining};
pub use replacing::{ReplaceError, Replacement, check_replacement, replace_drive};
pub use scan::{Content, Found, read_incarnation, scan};
pub use unfilled::{is_unfilled, note_filled, note_unfilled};

use crate::limits::DRIVE_BYTES_MIN;
use crate::types::{ClusterId, NodeId};
use std::path::PathBuf;

/// The names within a drive's directory that are this module's.
pub const IDENTITY_FILE: &str = "identity.json";
pub const CREDENTIALS_FILE: &str = "credentials.json";
pub const ROOT_KEY_FILE: &str = "root_key.json";
/// The account with an ACME server, and the certificate that it issued.
pub const ACME_FILE: &str = "acme.json";
pub const FOUNDING_FILE: &str = "founding.json";
pub const REJOIN_FILE: &str = "rejoin.json";
/// Of a drive that was not compared with the metadata since it took the place of another.
pub const UNFILLED_FILE: &str = "unfilled";
/// Metadata that a host had before it rejoined its cluster.
pub const SET_ASIDE_DIR: &str = "set-aside";
/// Metadata that `sherd recover` makes; it takes the place of the host's own.
pub const RECOVERING_DIR: &str = "recovering";
pub const LOCK_FILE: &str = "lock";
/// Written now and then, to learn whether the drive takes writes.
pub const PROBE_FILE: &str = "probe";

/// Data and parity shards of an object, as the configuration has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WantedGeometry {
    pub data: u8,
    pub parity: u8,
    /// Whether someone asked for exactly this; otherwise what the store was formed with holds.
    pub explicit: bool,
    /// Whether the host's drives are all that there are, so that with too few of them nothing can be read.
    pub alone: bool,
}

/// Why the drives are not taken into service. Nothing has been written where it is a refusal.
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
        "this host has {formed} drives, but {given} data directories are given (SHERD_DATA); give all of them, the directories of lost drives too, and empty ones for new drives only while no other is missing: {seats}"
    )]
    WrongCount { formed: usize, given: usize, seats: String },
    #[error(
        "this store was formed with {formed}, but {asked} is asked for (SHERD_EC); the geometry of a store cannot be changed"
    )]
    GeometryDiffers { formed: String, asked: String },
    #[error("SHERD_EC: {why}")]
    PointlessParity { why: String },
    #[error(
        "only {usable} of {total} drives (SHERD_DATA) can be used, and at least {needed} are needed to read anything: {details}"
    )]
    TooFew { usable: usize, total: usize, needed: usize, details: String },
    #[error(
        "{dir} (SHERD_DATA) holds a drive of a store, but {why}, and no other directory says which store: none is formed over it; put identity.json back (each drive has its own), or empty all directories, which gives up what they hold"
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
    #[error("{operation} {path}: {cause}")]
    Io { operation: &'static str, path: PathBuf, cause: String },
}
