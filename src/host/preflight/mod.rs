//! The checks that run before a drive is touched: addresses, certificates, keys and files that settings name. A mistake
//! ends the start with the setting's name, and leaves no half-founded store behind.

mod answering;
mod key_sets;
mod root_keys;

pub(super) use answering::without_silent_drives;
pub(super) use root_keys::root_keys;

use super::{HostError, Surroundings, audit, background};
use crate::actors::events::Targets;
use crate::api::{AccountsFile, EndpointError, Endpoints, KeySets, ListenerTls, NamedFile, TlsFiles};
use crate::config::{self, Config};
use crate::storage::sealing::RootKeys;
use key_sets::key_sets;
use std::net::UdpSocket;
use std::sync::Arc;

pub(super) struct Checked {
    pub endpoints: Endpoints,
    /// The webhooks that bucket notifications can be sent to.
    pub targets: Targets,
    /// The key sets of identity providers.
    pub key_sets: Arc<dyn KeySets>,
    /// The accounts that the accounts file declares.
    pub accounts: Option<Arc<AccountsFile>>,
    /// The root keys of `SHERD_ROOT_KEY_FILE`.
    pub root_keys: Option<RootKeys>,
}

pub(super) fn check(config: &Config, around: &Surroundings) -> Result<Checked, HostError> {
    let root_keys = config.root_keys.as_ref().map(|file| RootKeys::parse(&file.0)).transpose()?;
    let accounts = config.identities.accounts.as_ref().map(|accounts| AccountsFile::parse(&accounts.text)).transpose();
    let accounts = accounts.map_err(|why| HostError::Accounts { why })?.map(Arc::new);
    let targets = background::targets(&config.webhooks, &around.ambient)?;
    let key_sets = key_sets(&config.identities.key_sets, &around.ambient)?;
    audit::check(&config.audit)?;
    check_cluster_listen(config)?;
    let s3 = config.roles.gateway.then_some(config.s3_listen);
    let tls = ListenerTls { s3: config.tls.clone().map(tls_files), admin: config.admin_tls.clone().map(tls_files) };
    let endpoints = Endpoints::claim(s3, config.admin_listen, tls)?;
    Ok(Checked { endpoints, targets, key_sets, accounts, root_keys })
}

fn tls_files(files: config::TlsFiles) -> TlsFiles {
    let named = |file: config::NamedFile| NamedFile { setting: file.setting, path: file.path };
    TlsFiles { cert: named(files.cert), key: named(files.key) }
}

/// Checks that `SHERD_CLUSTER_LISTEN` can be bound. The socket itself is opened later, once the drives are known to be
/// this host's.
fn check_cluster_listen(config: &Config) -> Result<(), HostError> {
    let Some(cluster) = &config.cluster else { return Ok(()) };
    let listen = |cause| EndpointError::Listen { setting: "SHERD_CLUSTER_LISTEN", address: cluster.listen, cause };
    UdpSocket::bind(cluster.listen).map(drop).map_err(listen)?;
    Ok(())
}
