//! The settings of a cluster: this host's name, the founders or the hosts to join, the shared secret. Without founders
//! and hosts to join, the host is alone.

use super::credentials::given;
use super::values::{Allowed, host_and_port, list, listen_addr};
use super::{ConfigError, FileReader, Pairs, settings};
use crate::types::Roles;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;

const MACHINE_NAME: &str = "/proc/sys/kernel/hostname";
const SECRET_BYTES_MIN: usize = 16;
const SECRET_BYTES_MAX: usize = 1024;
const NAME_BYTES_MAX: usize = 63;
const LABEL_BYTES_MAX: usize = 63;
const HOSTS_MAX: usize = 64;

#[derive(Clone, PartialEq, Eq)]
pub struct ClusterConfig {
    /// The name of this host.
    pub name: String,
    /// The address at which the others reach this host.
    pub address: String,
    /// The address of each founding host, by its name; this one may be among them.
    pub founders: BTreeMap<String, String>,
    /// Addresses of hosts of an existing cluster (`SHERD_JOIN`); empty on a founder.
    pub doors: Vec<String>,
    pub listen: SocketAddr,
    pub secret: String,
    pub domain: Option<String>,
}

/// The secret is not shown.
impl fmt::Debug for ClusterConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, address, founders, doors, listen, domain, secret: _ } = self;
        f.debug_struct("ClusterConfig")
            .field("name", name)
            .field("address", address)
            .field("founders", founders)
            .field("doors", doors)
            .field("listen", listen)
            .field("domain", domain)
            .finish_non_exhaustive()
    }
}

impl ClusterConfig {
    /// Returns whether this host founds the cluster with others, rather than joining an existing one.
    pub fn is_founder(&self) -> bool {
        self.doors.is_empty()
    }
}

/// `None`: this host alone is the store.
pub fn resolve(pairs: &Pairs, files: &dyn FileReader) -> Result<Option<ClusterConfig>, ConfigError> {
    let founders = pairs.value(settings::HOSTS, founders)?;
    let doors = pairs.value(settings::JOIN, doors)?;
    let secret = given(pairs, files, settings::CLUSTER_SECRET)?;
    let incomplete =
        |given: &str, wanted: &str| ConfigError::Incomplete { given: given.to_owned(), wanted: wanted.to_owned() };
    let cause = match (founders.is_empty(), doors.is_empty()) {
        (true, true) => {
            let without =
                [settings::CLUSTER_LISTEN, settings::DOMAIN_LABEL].into_iter().find(|name| pairs.get(name).is_some());
            let without = secret.map(|secret| secret.name).or_else(|| without.map(str::to_owned));
            let wanted = format!("{} or {}", settings::HOSTS, settings::JOIN);
            return without.map_or(Ok(None), |name| Err(incomplete(&name, &wanted)));
        }
        (false, _) => settings::HOSTS,
        (true, false) => settings::JOIN,
    };
    let secret = secret.ok_or_else(|| incomplete(cause, settings::CLUSTER_SECRET))?;
    if !(SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&secret.value.len()) {
        let value = format!("{} characters, not shown", secret.value.chars().count());
        let allowed = format!("{SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes, such as `openssl rand -hex 32` gives");
        return Err(ConfigError::Invalid { name: secret.name, value, allowed });
    }
    let listen = pairs.value(settings::CLUSTER_LISTEN, listen_addr)?;
    let name = host_name(pairs, files)?;
    let address = match founders.get(&name) {
        Some(address) => address.clone(),
        None if doors.is_empty() => {
            let known = founders.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            let allowed = format!("one of the names in {}: {known}", settings::HOSTS);
            return Err(ConfigError::Invalid { name: settings::HOST.to_owned(), value: name, allowed });
        }
        None if listen.ip().is_unspecified() => format!("{name}:{}", listen.port()),
        None => listen.to_string(),
    };
    let domain = pairs.value(settings::DOMAIN_LABEL, domain_label)?;
    Ok(Some(ClusterConfig { name, address, founders, doors, listen, secret: secret.value, domain }))
}

/// Checks the roles: a host that is alone needs all of them, a founder `meta` and `storage`; a host that joins may have
/// any.
pub fn check_roles(pairs: &Pairs, cluster: Option<&ClusterConfig>, roles: Roles) -> Result<(), ConfigError> {
    let allowed = match cluster {
        None if roles != Roles::ALL => format!(
            "gateway, meta and storage, since this host alone is the store (neither {} nor {} is set)",
            settings::HOSTS,
            settings::JOIN
        ),
        Some(cluster) if cluster.is_founder() && !(roles.meta && roles.storage) => {
            format!("at least meta and storage, since this host founds the cluster ({} is not set)", settings::JOIN)
        }
        _ => return Ok(()),
    };
    let value = pairs.get(settings::ROLES).unwrap_or_default().to_owned();
    Err(ConfigError::Invalid { name: settings::ROLES.to_owned(), value, allowed })
}

fn host_name(pairs: &Pairs, files: &dyn FileReader) -> Result<String, ConfigError> {
    let (value, of_machine) = match pairs.get(settings::HOST) {
        Some(name) => (name.to_owned(), false),
        None => {
            let name = files.read(Path::new(MACHINE_NAME)).unwrap_or_default();
            (String::from_utf8_lossy(&name).trim().to_owned(), true)
        }
    };
    name(&value).map_err(|allowed| {
        let allowed = if of_machine { format!("{allowed} (this is the machine's name)") } else { allowed };
        ConfigError::Invalid { name: settings::HOST.to_owned(), value, allowed }
    })
}

fn name(text: &str) -> Result<String, Allowed> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_part) {
        return Ok(text.to_owned());
    }
    Err(format!("a name of up to {NAME_BYTES_MAX} letters, digits, -, . and _"))
}

fn founders(text: &str) -> Result<BTreeMap<String, String>, Allowed> {
    let mut found = BTreeMap::new();
    for item in list(text) {
        let form = || "a list of NAME=ADDR:PORT, such as a=10.0.0.1:9100,b=10.0.0.2:9100".to_owned();
        let (host, address) = item.split_once('=').ok_or_else(form)?;
        let host = name(host)?;
        let address = host_and_port(address).map_err(|_| form())?;
        if found.values().any(|other| *other == address) {
            return Err(format!("each address once, but {address} is there twice"));
        }
        if found.insert(host.clone(), address).is_some() {
            return Err(format!("each name once, but {host} is there twice"));
        }
    }
    if found.len() > HOSTS_MAX {
        return Err(format!("at most {HOSTS_MAX} hosts"));
    }
    Ok(found)
}

fn doors(text: &str) -> Result<Vec<String>, Allowed> {
    list(text).map(host_and_port).collect()
}

fn domain_label(text: &str) -> Result<Option<String>, Allowed> {
    if text.is_empty() {
        return Ok(None);
    }
    if text.len() <= LABEL_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(Some(text.to_owned()));
    }
    Err(format!("up to {LABEL_BYTES_MAX} visible ASCII characters"))
}
