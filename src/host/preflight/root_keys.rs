//! The source of the root key: `SHERD_ROOT_KEY_FILE`; else, in a cluster, the secret that its hosts share; else a
//! random key that is kept on the drives. Keys of the later sources in this list stay former keys, so that a store can
//! change to an earlier source.

use crate::config::{ClusterConfig, Config};
use crate::host::environment::Environment;
use crate::host::error::HostError;
use crate::storage::identity::{HostDrives, keep_root_keys, spread_root_keys};
use crate::storage::sealing::{RootKey, RootKeys};

/// Returns the root keys. `given` are those of `SHERD_ROOT_KEY_FILE`. Keys that a drive keeps are copied to the others.
pub(in crate::host) fn root_keys(
    config: &Config,
    given: Option<RootKeys>,
    env: &Environment,
    host: &HostDrives,
) -> Result<RootKeys, HostError> {
    let dirs = host.usable_dirs();
    let of_cluster = |cluster: &ClusterConfig| RootKey::of_cluster(&cluster.secret, host.cluster);
    let derived = config.cluster.as_ref().map(of_cluster);
    let keys = match (given, derived) {
        (Some(given), derived) => derived.into_iter().fold(given, RootKeys::and_former),
        (None, Some(derived)) => RootKeys::new(derived),
        (None, None) => return Ok(keep_root_keys(&*env.disk, &dirs, host.cluster, &env.ambient)?),
    };
    match spread_root_keys(&*env.disk, &dirs, host.cluster)? {
        Some(kept) => Ok(kept.all().cloned().fold(keys, RootKeys::and_former)),
        None => Ok(keys),
    }
}
