//! The key to the admin API: given, or found in the data directories of the host that made it.

use super::AdminFailure;
use crate::config::{Credentials, KeySource};
use crate::storage::buffer::BufferPool;
use crate::storage::disk::SystemDisk;
use crate::storage::identity::read_credentials;

pub fn resolve(source: &KeySource) -> Result<Credentials, AdminFailure> {
    match source {
        KeySource::Given(credentials) => Ok(credentials.clone()),
        KeySource::Kept(dirs) => {
            let kept = read_credentials(&SystemDisk::new(BufferPool::new(0)), dirs)?;
            let kept = kept.ok_or_else(|| AdminFailure::NoKeys { dirs: dirs.clone() })?;
            Ok(Credentials { access_key: kept.access_key, secret_key: kept.secret_key })
        }
    }
}
