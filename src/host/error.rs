//! The reasons why a host does not start or stops by itself, and the refusals of the commands that work on a stopped
//! one.

use super::cluster::ClusterError;
use super::metadata::MetadataError;
use crate::actors::consensus::{MetaError, SalvageError, StartError};
use crate::api::{ApiError, EndpointError};
use crate::net::PostSetupError;
use crate::storage::identity::IdentityError;
use crate::storage::meta::command::Reply;
use crate::storage::meta::snapshot::ExportFault;
use crate::storage::sealing::RootKeyError;
use crate::types::ClusterId;
use std::io;
use std::path::PathBuf;

/// The reason why the store does not start, or stops by itself.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("SHERD_ROOT_KEY_FILE: {path:?} is refused: {cause}")]
    RootKeys { path: PathBuf, cause: RootKeyError },
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    #[error(transparent)]
    Salvage(#[from] SalvageError),
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error(transparent)]
    Rejoin(#[from] RejoinError),
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    #[error("this host must come back to its cluster as another member: {why}")]
    Superseded { why: String },
    #[error(
        "this host must come back to its cluster as another member ({why}): start it with the settings of the cluster, SHERD_HOSTS or SHERD_JOIN"
    )]
    RejoinsAlone { why: String },
    #[error("this host was given up by its cluster: {why}")]
    GivenUp { why: String },
    /// With these data directories, where drives were added to it while it ran.
    #[error("restarting this process: {why}")]
    StartsAgain { why: &'static str, data: Option<String> },
    #[error("SHERD_ACCOUNTS_FILE: {path:?} is refused: {why}")]
    Accounts { path: PathBuf, why: String },
    #[error("{setting}: {cause}")]
    Webhook { setting: String, cause: PostSetupError },
    #[error("SHERD_AUDIT_LOG: {path:?} cannot be written: {cause}")]
    AuditLog { path: PathBuf, cause: io::Error },
    #[error("{setting}: {cause}")]
    Acme { setting: &'static str, cause: PostSetupError },
    #[error("{setting}: {cause}")]
    Traces { setting: &'static str, cause: PostSetupError },
    #[error("SHERD_OIDC_KEYS: {provider}: {cause}")]
    KeySet { provider: String, cause: PostSetupError },
    #[error("SHERD_OIDC_KEYS: {path:?} is no key set of an identity provider: {why}")]
    KeySetFile { path: PathBuf, why: String },
    #[error("{doing}: {cause}")]
    System { doing: &'static str, cause: io::Error },
    #[error("the result could not be written: {0}")]
    Output(io::Error),
}

/// A refusal of `sherd rejoin`, or of a rejoin at a start.
#[derive(Debug, thiserror::Error)]
pub enum RejoinError {
    #[error(
        "this host is alone, and has no cluster to come back to (SHERD_HOSTS); for damaged metadata see sherd salvage"
    )]
    Alone,
    #[error("the directories are empty: start the host, which joins its cluster by itself")]
    NothingHere,
}

/// A refusal of `sherd recover`.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    #[error(
        "this host is alone (SHERD_HOSTS), and has no majority to lose; for damaged metadata see sherd salvage, for lost metadata \
         name an exported copy (--from)"
    )]
    Alone,
    #[error("{path:?} (--from): {why}")]
    Export { path: PathBuf, why: ExportFault },
    #[error("{path:?} (--from) is of cluster {found} with {} shards, and this host of cluster {own} with {}", shards(.geometry[0]), shards(.geometry[1]))]
    OtherStore { path: PathBuf, found: ClusterId, own: ClusterId, geometry: [(u8, u8); 2] },
    #[error(
        "the data directories (SHERD_DATA) are empty: sherd recover goes on from a host that was part of the store; start this \
         one once there is such a host, and it joins"
    )]
    NothingHere,
    #[error("a host that votes has the role meta (SHERD_ROLES); give it to this host, or recover another one")]
    NoVoter,
    #[error(
        "{dir:?} cannot be written, and must hold the record that this host lost what it had acknowledged; the \
         metadata was not changed: make room there, or leave the directory out of SHERD_DATA"
    )]
    Unmarked { dir: PathBuf },
    #[error(
        "what this host has of the metadata cannot be used: {0}; recover another host, or name an exported copy (--from)"
    )]
    Unusable(StartError),
    #[error(
        "the metadata has no host {name:?} (SHERD_HOST) with these drives; it has the hosts {known}; recover one of those"
    )]
    Unknown { name: String, known: String },
    #[error("the metadata formed anew does not take a change: {0:?}")]
    NotTaken(Reply),
    #[error(transparent)]
    Metadata(#[from] MetaError),
}

fn shards((data, parity): (u8, u8)) -> String {
    format!("{data}+{parity}")
}
