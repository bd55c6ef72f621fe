//! The checks that run before a drive is touched: addresses, certificates, keys and files that settings name. A mistake
//! ends the start with the setting's name, and leaves no half-founded store behind.

mod answering;
mod key_sets;
mod root_keys;

pub(super) use answering::without_silent_drives;
pub(super) use root_keys::root_keys;

use super::environment::Environment;
use super::error::HostError;
use super::{audit, background, traces};
use crate::actors::events::Targets;
use crate::api::{
    AccountsFile, CertificateSource, EndpointError, Endpoints, KeySets, ListenerTls, NamedFile, TlsFiles,
};
use crate::config::{self, AcmeConfig, Config};
use crate::net::AcmeClient;
use crate::storage::identity::ACME_FILE;
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
    /// The client of the ACME server that issues the S3 listener's certificate.
    pub acme: Option<(AcmeClient, AcmeConfig)>,
}

pub(super) fn check(config: &Config, env: &Environment) -> Result<Checked, HostError> {
    let parse = |file: &config::RootKeyFile| {
        RootKeys::parse(&file.content).map_err(|cause| HostError::RootKeys { path: file.path.clone(), cause })
    };
    let root_keys = config.root_keys.as_ref().map(parse).transpose()?;
    let parse = |accounts: &config::AccountsText| {
        AccountsFile::parse(&accounts.text).map_err(|why| HostError::Accounts { path: accounts.path.clone(), why })
    };
    let accounts = config.identities.accounts.as_ref().map(parse).transpose()?.map(Arc::new);
    let targets = background::targets(&config.webhooks, &env.ambient)?;
    let key_sets = key_sets(&config.identities.key_sets, &env.ambient)?;
    audit::check(&config.audit)?;
    config.traces.as_ref().map(traces::collector).transpose()?;
    check_cluster_listen(config)?;
    let s3 = config.roles.gateway.then_some(config.s3_listen);
    let acme = config.acme.as_ref().map(acme_client).transpose()?;
    let of_files = config.tls.clone().map(|files| CertificateSource::Files(tls_files(files)));
    let by_acme = acme.as_ref().map(|_| CertificateSource::Acme(tls_files(issued_files())));
    let tls = ListenerTls { s3: of_files.or(by_acme), admin: config.admin_tls.clone().map(tls_files) };
    let endpoints = Endpoints::claim(s3, config.admin_listen, tls)?;
    Ok(Checked { endpoints, targets, key_sets, accounts, root_keys, acme })
}

fn acme_client(config: &AcmeConfig) -> Result<(AcmeClient, AcmeConfig), HostError> {
    let client = AcmeClient::new(&config.directory, &config.contact, config.ca_file.as_deref());
    let client = client.map_err(|cause| {
        let setting = if cause.is_of_authorities() { "SHERD_ACME_CA_FILE" } else { "SHERD_ACME_DIRECTORY" };
        HostError::Acme { setting, cause }
    })?;
    Ok((client, config.clone()))
}

/// Returns what errors name for a certificate that was issued.
fn issued_files() -> config::TlsFiles {
    let file = config::NamedFile { setting: "SHERD_ACME_DOMAINS", path: ACME_FILE.into() };
    config::TlsFiles { cert: file.clone(), key: file }
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
