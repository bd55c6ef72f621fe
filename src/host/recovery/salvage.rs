//! The command `sherd salvage`: cuts the metadata log of a stopped host that is alone at damage which nothing else
//! repairs. It prints first what would be lost, and changes no metadata without `--yes`.

use super::{explain, tell_kept};
use crate::actors::consensus::SalvageError;
use crate::config::Config;
use crate::host::environment::{Environment, wanted_geometry};
use crate::host::error::HostError;
use crate::host::{cluster, metadata};
use crate::output;
use crate::storage::disk::replace_file;
use crate::storage::identity::{Prepared, SystemLocks, prepare_host};
use std::path::PathBuf;

pub(in crate::host) async fn salvage(config: &Config, env: &Environment, goes_on: bool) -> Result<(), HostError> {
    if config.cluster.is_some() {
        return Err(SalvageError::NotAlone.into());
    }
    let wanted = wanted_geometry(config);
    let prepared = prepare_host(&*env.disk, &config.data, wanted, &env.ambient, &SystemLocks)?;
    if matches!(prepared, Prepared::Blank(_)) {
        return Err(SalvageError::Whole.into());
    }
    let member = cluster::alone(env, wanted, prepared)?;
    let found = metadata::survey_salvage(env, &member).await?;
    if !goes_on {
        return explain(&found.to_string());
    }
    let mut kept = Vec::new();
    let report = format!("salvage-{}.txt", env.ambient.clock.unix_ms().0);
    for dir in member.host.usable_dirs() {
        let path: PathBuf = dir.join("meta").join(&report);
        let written = replace_file(&*env.disk, &path, format!("{found}\n").as_bytes());
        written.map_err(|cause| HostError::System { doing: "write the report of the salvage", cause })?;
        kept.push(path);
    }
    output::say(&found);
    tell_kept(&kept);
    let replica = metadata::start_salvaging(env, &member).await?;
    let readable = replica.handle.read().await.map(|_| ()).map_err(metadata::MetadataError::from);
    replica.handle.shutdown().await;
    replica.arbiter.stop();
    readable?;
    output::say("the metadata is readable again; start the store");
    Ok(())
}
