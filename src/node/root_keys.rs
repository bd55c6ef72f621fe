//! Where the root key comes from: a file that is named; else, in a cluster, the secret that its hosts share; else a key of
//! the store's own, kept on its drives. What an earlier choice gave stays a former key, so that it can be changed.

use super::{NodeError, Surroundings};
use crate::config::{ClusterConfig, Config};
use crate::storage::identity::{HostDrives, keep_root_keys, read_root_keys};
use crate::storage::sealing::{RootKey, RootKeys};

pub(super) fn root_keys(config: &Config, around: &Surroundings, host: &HostDrives) -> Result<RootKeys, NodeError> {
    let dirs = host.usable_dirs();
    let of_cluster = |cluster: &ClusterConfig| RootKey::of_cluster(&cluster.secret, host.cluster);
    let derived = config.cluster.as_ref().map(of_cluster);
    let keys = match (&config.root_keys, derived) {
        (Some(file), derived) => {
            let given = RootKeys::parse(&file.0)?;
            derived.into_iter().fold(given, RootKeys::and_former)
        }
        (None, Some(derived)) => RootKeys::new(derived),
        (None, None) => return Ok(keep_root_keys(&*around.disk, &dirs, host.cluster, &around.ambient)?),
    };
    match read_root_keys(&*around.disk, &dirs, host.cluster)? {
        Some(kept) => Ok(kept.all().cloned().fold(keys, RootKeys::and_former)),
        None => Ok(keys),
    }
}
