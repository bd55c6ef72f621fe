//! The configuration: settings from the environment and from flags, which win, parsed and validated once at start.
//! Nothing else in the crate reads settings.

mod acme;
mod admin;
mod arguments;
mod cluster;
mod credentials;
mod dev;
mod identities;
mod memory;
mod outgoing;
mod settings;
#[cfg(test)]
mod tests;
mod values;

pub use acme::AcmeConfig;
pub use admin::{
    AccessQuestion, AdminCommand, AdminInvocation, IdentityQuestion, JobQuestion, KeyQuestion, KeySource,
    LayoutQuestion, Limit, MetadataQuestion, Question, RateLimitQuestion, ServiceKeyAsked, Target, TopBy, TopOver,
    TopQuestion, Trust, UserOrGroup, Waiting, WhoAsked,
};
pub use arguments::{Invocation, RejoinWish, from_process, with_data};
pub use cluster::ClusterConfig;
pub use dev::DevOptions;
pub use identities::{AccountsText, Identities, KeySetSource};
pub use outgoing::{AuditConfig, AuditLog, TracesConfig, Webhook};
pub use settings::{DATA as DATA_SETTING, SETTINGS, Setting};
pub use values::{check_data_dirs, data_dir};

use crate::limits::Scale;
use crate::setting_file;
use crate::types::{LegacySignatures, Roles};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A reader of the small files that settings name, and of files in `/proc` and `/sys`. Tests supply a map.
pub trait FileReader {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
}

/// The machine's own files.
#[derive(Debug)]
pub struct SystemFiles;

impl FileReader for SystemFiles {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        setting_file::read(path)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The data directories: one a drive, in the order given; at least one.
    pub data: Vec<PathBuf>,
    pub s3_listen: SocketAddr,
    pub admin_listen: SocketAddr,
    /// The root credentials; `None`: those kept in the data directories, which the first start generates.
    pub credentials: Option<Credentials>,
    /// The content of the file of root keys; `None`: a key derived from the cluster's secret, or one kept in the data
    /// directories.
    pub root_keys: Option<RootKeyFile>,
    pub region: String,
    /// The domains of virtual-host addressing; may be empty.
    pub domains: Vec<String>,
    /// The domains below which buckets are websites; none of them is among `domains`. May be empty.
    pub website_domains: Vec<String>,
    pub sigv2: LegacySignatures,
    /// The object ownership of new buckets whose creator names none.
    pub object_ownership: ObjectOwnership,
    pub ec: EcSetting,
    pub durability: Durability,
    /// The roles of this host; a single host has all.
    pub roles: Roles,
    /// The memory that all requests together may hold.
    pub memory_max_bytes: u64,
    /// The time from the end of a drive's scrub to the begin of its next one.
    pub scrub_interval: Duration,
    /// The webhooks that bucket notifications can be sent to, sorted by name.
    pub webhooks: Vec<Webhook>,
    /// The destinations of the audit log.
    pub audit: AuditConfig,
    /// The age of the oldest unwritten line of an access log at which the lines are written.
    pub access_log_interval: Duration,
    /// The length of a day in lifecycle rules.
    pub lifecycle_day: Duration,
    pub scale: Scale,
    /// The files of the S3 listener; `None`: it speaks plain HTTP, or has a certificate by `acme`.
    pub tls: Option<TlsFiles>,
    /// How the S3 listener gets a certificate where `tls` names none.
    pub acme: Option<AcmeConfig>,
    /// The files of the admin listener; `None`: it speaks plain HTTP.
    pub admin_tls: Option<TlsFiles>,
    /// `None`: `/metrics` is open.
    pub metrics_token: Option<MetricsToken>,
    /// The collector of traces; `None`: requests are not traced.
    pub traces: Option<TracesConfig>,
    pub identities: Identities,
    /// `None`: this host alone is the store.
    pub cluster: Option<ClusterConfig>,
    pub log_filter: String,
    pub log_format: LogFormat,
    /// The warnings about allowed but unusual settings.
    pub warnings: Vec<String>,
}

/// The root credentials. Not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub access_key: String,
    pub secret_key: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

/// A file of root keys. Its content is not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct RootKeyFile {
    pub path: PathBuf,
    pub content: Vec<u8>,
}

impl fmt::Debug for RootKeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RootKeyFile").field("path", &self.path).finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EcSetting {
    /// Chosen from the number of drives, when the store is formed.
    Auto,
    Fixed {
        data: u8,
        parity: u8,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// An acknowledged write is on stable storage.
    Strict,
    /// Writes are synced at this interval and on close. A power cut may lose what was acknowledged since the last sync.
    Relaxed { sync_interval: Duration },
}

/// The ownership of objects that others write, and whether ACLs count; the names are S3's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectOwnership {
    BucketOwnerEnforced,
    BucketOwnerPreferred,
    ObjectWriter,
}

/// A file, and the setting that names it. It was readable when the configuration was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFile {
    pub setting: &'static str,
    pub path: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    pub cert: NamedFile,
    pub key: NamedFile,
}

/// The bearer token that `/metrics` requires. Not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct MetricsToken(pub String);

impl fmt::Debug for MetricsToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MetricsToken").finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// The reason why the configuration is refused. Each names the variable, its value, and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("{name}: {value:?} is not allowed; expected {allowed}")]
    Invalid { name: String, value: String, allowed: String },
    #[error("{name}: its value is not text in UTF-8")]
    NotText { name: String },
    #[error("{name} is not a setting{}", .nearest.as_ref().map(|near| format!("; did you mean {near}?")).unwrap_or_default())]
    Unknown { name: String, nearest: Option<String> },
    #[error("{first} and {second} are both set; only one of them is allowed")]
    Both { first: String, second: String },
    #[error("{given} is set without {wanted}; expected both or neither")]
    Incomplete { given: String, wanted: String },
    #[error("{name}: {path:?} cannot be read: {cause}; expected a readable file")]
    Unreadable { name: String, path: String, cause: String },
    #[error(
        "the credentials of {access_key:?} are well-known defaults, and {setting} is {listen}; expected others, or {setting} on a loopback address"
    )]
    WellKnownCredentials { access_key: String, setting: &'static str, listen: SocketAddr },
}

impl Config {
    /// Returns the configuration of these variables. A later pair overrides an earlier one of the same name, and an
    /// empty value counts as none. Names that are neither Sherd's nor MinIO's are ignored.
    pub fn from_pairs<I>(pairs: I, files: &dyn FileReader) -> Result<Self, ConfigError>
    where
        I: IntoIterator<Item = (String, String)>,
    {
        let pairs = Pairs::collect(pairs)?;
        let data = pairs.value(settings::DATA, values::data_dirs)?;
        let s3_listen = pairs.value(settings::S3_LISTEN, values::listen_addr)?;
        let admin_listen = pairs.value(settings::ADMIN_LISTEN, values::listen_addr)?;
        let roles = pairs.value(settings::ROLES, values::roles)?;
        let mut listeners = vec![(settings::ADMIN_LISTEN, admin_listen)];
        if roles.gateway {
            check_apart(s3_listen, admin_listen)?;
            listeners.insert(0, (settings::S3_LISTEN, s3_listen));
        }
        let ec = pairs.value(settings::EC, values::ec)?;
        let cluster = cluster::resolve(&pairs, files)?;
        cluster::check_roles(&pairs, cluster.as_ref(), roles)?;
        let credentials = credentials::resolve(&pairs, files, &listeners)?;
        if cluster.is_some() && credentials.is_none() {
            let wanted = format!("{} and {}", settings::ACCESS_KEY, settings::SECRET_KEY);
            return Err(ConfigError::Incomplete { given: settings::CLUSTER_SECRET.to_owned(), wanted });
        }
        let mut warnings = pairs.unused_of_minio();
        warnings.extend(warn_of_no_parity(ec));
        warnings.extend(warn_of_crowding(ec, data.len()).filter(|_| cluster.is_none()));
        let scale = pairs.value(settings::SCALE, values::scale)?;
        let (audit, webhooks) = outgoing::resolve(&pairs, files)?;
        warnings.extend(warn_of_scale(scale));
        Ok(Self {
            credentials,
            root_keys: root_keys(&pairs, files)?,
            cluster,
            region: pairs.value(settings::REGION, values::region)?,
            domains: pairs.value(settings::DOMAIN, values::domains)?,
            website_domains: website_domains(&pairs)?,
            sigv2: pairs.value(settings::SIGV2, values::sigv2)?,
            object_ownership: pairs.value(settings::OBJECT_OWNERSHIP, values::object_ownership)?,
            durability: pairs.value(settings::DURABILITY, values::durability)?,
            memory_max_bytes: memory_max_bytes(&pairs, files)?,
            scrub_interval: pairs.value(settings::SCRUB_INTERVAL, values::scrub_interval)?,
            webhooks,
            audit,
            access_log_interval: pairs.value(settings::ACCESS_LOG_INTERVAL, values::access_log_interval)?,
            lifecycle_day: pairs.value(settings::LIFECYCLE_DAY, values::lifecycle_day)?,
            scale,
            tls: tls(&pairs, files, settings::TLS_CERT, settings::TLS_KEY)?,
            acme: acme::resolve(&pairs, files)?,
            admin_tls: tls(&pairs, files, settings::ADMIN_TLS_CERT, settings::ADMIN_TLS_KEY)?,
            metrics_token: metrics_token(&pairs, files)?,
            traces: outgoing::traces(&pairs, files)?,
            identities: identities::resolve(&pairs, files)?,
            log_filter: pairs.value(settings::LOG, values::log_filter)?,
            log_format: pairs.value(settings::LOG_FORMAT, values::log_format)?,
            data,
            s3_listen,
            admin_listen,
            ec,
            roles,
            warnings,
        })
    }
}

/// The variables of Sherd and MinIO. A name of Sherd's form that is not a setting is refused.
struct Pairs {
    values: BTreeMap<String, String>,
    unused: Vec<String>,
}

impl Pairs {
    fn collect(pairs: impl IntoIterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let known: BTreeSet<String> = settings::known_names().into_iter().collect();
        let mut found = Self { values: BTreeMap::new(), unused: Vec::new() };
        for (name, value) in pairs {
            if known.contains(&name) || outgoing::is_of_webhook(&name) {
                if value.is_empty() {
                    found.values.remove(&name);
                } else {
                    found.values.insert(name, value);
                }
            } else if name.starts_with(settings::PREFIX) {
                let nearest = settings::nearest_name(&name);
                return Err(ConfigError::Unknown { name, nearest });
            } else if name.starts_with("MINIO_") {
                found.unused.push(name);
            }
        }
        Ok(found)
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// Returns the setting's value, or its default, as parsed by `rule`.
    fn value<T>(&self, name: &'static str, rule: fn(&str) -> Result<T, String>) -> Result<T, ConfigError> {
        let default = settings::setting(name).map(|setting| setting.default).unwrap_or_default();
        let text = self.get(name).unwrap_or(default);
        rule(text).map_err(|allowed| ConfigError::Invalid { name: name.to_owned(), value: text.to_owned(), allowed })
    }

    fn unused_of_minio(&self) -> Vec<String> {
        self.unused.iter().map(|name| format!("{name} is set, but Sherd does not use it")).collect()
    }
}

fn check_apart(s3: SocketAddr, admin: SocketAddr) -> Result<(), ConfigError> {
    let overlap = s3.ip() == admin.ip() || s3.ip().is_unspecified() || admin.ip().is_unspecified();
    if s3.port() == 0 || s3.port() != admin.port() || !overlap {
        return Ok(());
    }
    Err(ConfigError::Invalid {
        name: settings::ADMIN_LISTEN.to_owned(),
        value: admin.to_string(),
        allowed: format!("another port than {} of {}", s3.port(), settings::S3_LISTEN),
    })
}

/// Resolves the domains of websites. None of them may be an S3 domain, too: a request's host decides which of both it
/// is for.
fn website_domains(pairs: &Pairs) -> Result<Vec<String>, ConfigError> {
    let websites = pairs.value(settings::WEBSITE_DOMAIN, values::domains)?;
    let domains = pairs.value(settings::DOMAIN, values::domains)?;
    match websites.iter().find(|domain| domains.contains(domain)) {
        None => Ok(websites),
        Some(both) => Err(ConfigError::Invalid {
            name: settings::WEBSITE_DOMAIN.to_owned(),
            value: both.clone(),
            allowed: format!("other domains than those of {}", settings::DOMAIN),
        }),
    }
}

/// Warns of a geometry without parity, which is allowed if set explicitly.
fn warn_of_no_parity(ec: EcSetting) -> Option<String> {
    let EcSetting::Fixed { data, parity: 0 } = ec else { return None };
    Some(format!("{}={data}+0 has no parity: the loss of any drive loses objects", settings::EC))
}

/// Warns of more shards than drives, which is allowed (one drive with parity guards against bad blocks), but unusual.
/// If the loss of one of several drives would lose objects in spite of the parity, no store is formed
/// (`storage::identity`).
fn warn_of_crowding(ec: EcSetting, drives: usize) -> Option<String> {
    let EcSetting::Fixed { data, parity } = ec else { return None };
    let shards = usize::from(data) + usize::from(parity);
    (parity > 0 && shards > drives).then(|| {
        let most = shards.div_ceil(drives.max(1));
        let spared = usize::from(parity) / most;
        let refused = if spared == 0 && drives > 1 { "; no store is formed so" } else { "" };
        format!(
            "{}={data}+{parity} on {drives} directories puts up to {most} shards of an object on one drive: at most {spared} of the {drives} drives may be lost{refused}",
            settings::EC
        )
    })
}

fn warn_of_scale(scale: Scale) -> Option<String> {
    (scale != Scale::PRODUCTION).then(|| format!("{}=small is for tests; unset it in production", settings::SCALE))
}

fn memory_max_bytes(pairs: &Pairs, files: &dyn FileReader) -> Result<u64, ConfigError> {
    if pairs.get(settings::MEMORY_MAX).is_some() {
        return pairs.value(settings::MEMORY_MAX, values::memory_max);
    }
    let quarter = memory::available_bytes(files).unwrap_or_default() / 4;
    Ok(quarter.max(values::MEMORY_MAX_BYTES_MIN))
}

fn root_keys(pairs: &Pairs, files: &dyn FileReader) -> Result<Option<RootKeyFile>, ConfigError> {
    let Some(path) = pairs.get(settings::ROOT_KEY_FILE) else { return Ok(None) };
    let unreadable = |error: io::Error| ConfigError::Unreadable {
        name: settings::ROOT_KEY_FILE.to_owned(),
        path: path.to_owned(),
        cause: error.to_string(),
    };
    let content = files.read(Path::new(path)).map_err(unreadable)?;
    Ok(Some(RootKeyFile { path: path.into(), content }))
}

/// Resolves the files of TLS: both or neither.
fn tls(
    pairs: &Pairs,
    files: &dyn FileReader,
    cert: &'static str,
    key: &'static str,
) -> Result<Option<TlsFiles>, ConfigError> {
    let incomplete =
        |given: &str, wanted: &str| ConfigError::Incomplete { given: given.to_owned(), wanted: wanted.to_owned() };
    match (pairs.get(cert), pairs.get(key)) {
        (None, None) => return Ok(None),
        (Some(_), None) => return Err(incomplete(cert, key)),
        (None, Some(_)) => return Err(incomplete(key, cert)),
        (Some(_), Some(_)) => {}
    }
    let named = |setting: &'static str| {
        let path = readable(pairs, files, setting)?.unwrap_or_default();
        Ok(NamedFile { setting, path })
    };
    Ok(Some(TlsFiles { cert: named(cert)?, key: named(key)? }))
}

/// Returns the path that a setting names, after checking that the file is readable.
fn readable(pairs: &Pairs, files: &dyn FileReader, setting: &str) -> Result<Option<PathBuf>, ConfigError> {
    let Some(path) = pairs.get(setting) else { return Ok(None) };
    files.read(Path::new(path)).map_err(|error| ConfigError::Unreadable {
        name: setting.to_owned(),
        path: path.to_owned(),
        cause: error.to_string(),
    })?;
    Ok(Some(path.into()))
}

fn metrics_token(pairs: &Pairs, files: &dyn FileReader) -> Result<Option<MetricsToken>, ConfigError> {
    let Some(given) = credentials::given(pairs, files, settings::METRICS_TOKEN)? else { return Ok(None) };
    let token = values::metrics_token(&given.value).map_err(|allowed| ConfigError::Invalid {
        name: given.name,
        value: format!("{} characters, not shown", given.value.chars().count()),
        allowed,
    })?;
    Ok(Some(MetricsToken(token)))
}
