//! The command `sherd rejoin`: an operator decides that a stopped host rejoins its cluster as another member. It prints
//! first what that means, and records the decision for the next start only with `--yes`.

use super::keep_as_ordered;
use crate::config::{Config, RejoinWish};
use crate::host::environment::{Environment, wanted_geometry};
use crate::host::error::{HostError, RejoinError};
use crate::output;
use crate::storage::identity::{
    DriveState, HostDrives, Prepared, SystemLocks, forget_rejoining, prepare_host, read_rejoining,
};

const WHY: &str = "an operator decided it (sherd rejoin)";
const UNCHANGED: &str = "no metadata was changed; run it again with --yes to have the next start do it, or with \
    --cancel to take back what was decided";

pub(in crate::host) fn rejoin(config: &Config, env: &Environment, wish: RejoinWish) -> Result<(), HostError> {
    let Some(cluster) = &config.cluster else { return Err(RejoinError::Alone.into()) };
    let prepared = prepare_host(&*env.disk, &config.data, wanted_geometry(config), &env.ambient, &SystemLocks)?;
    let Prepared::Known(host) = prepared else { return Err(RejoinError::NothingHere.into()) };
    match wish {
        RejoinWish::Explain => {
            let kept = read_rejoining(&*env.disk, &host.usable_dirs(), host.host)?.filter(|kept| kept.decided);
            let mut lines = explained(&cluster.name, &host);
            lines.extend(kept.map(|kept| format!("this is decided already, since: {}", kept.why)));
            lines.push(UNCHANGED.to_owned());
            output::print(&(lines.join("\n") + "\n")).map_err(HostError::Output)?;
        }
        RejoinWish::Decide => {
            output::say(explained(&cluster.name, &host).join("\n"));
            keep_as_ordered(env, &host, WHY.to_owned())?;
            output::say("decided; start the host");
        }
        RejoinWish::Cancel => {
            forget_rejoining(&*env.disk, &host.usable_dirs())?;
            output::say(format_args!("the next start goes on as host {:016x}", host.host.0));
        }
    }
    Ok(())
}

/// Returns the lines that say what a rejoin means.
fn explained(name: &str, host: &HostDrives) -> Vec<String> {
    let mut lines = vec![
        format!(
            "The host {name:?} comes back to its cluster as another member, and never again as host {:016x}.",
            host.host.0
        ),
        "- It waits until a majority of the other voters decides so; without one, nothing is changed.".to_owned(),
        "- Its drives and the shards on them are kept as they are:".to_owned(),
    ];
    lines.extend(host.drives.iter().map(|drive| {
        let state = match &drive.state {
            DriveState::Lost { why } => format!("lost: {why}"),
            DriveState::Replaced => "empty: it is filled".to_owned(),
            DriveState::Present | DriveState::Returned => "kept".to_owned(),
        };
        format!("    node {} {} ({state})", drive.node, drive.dir.display())
    }));
    let of_metadata = [
        "- Its copy of the metadata is not used any more: what only this host holds of it is lost to the cluster.",
        "  It is set aside in set-aside/ on each drive, and the host gets the metadata of the others.",
    ];
    lines.extend(of_metadata.map(str::to_owned));
    lines
}
