//! The command `sherd rejoin`: an operator decides that a stopped host rejoins its cluster as another member. It prints
//! first what that means, and records the decision for the next start only with `--yes`.

use super::keep;
use crate::config::{Config, RejoinWish};
use crate::host::environment::{Environment, wanted_geometry};
use crate::host::error::{HostError, RejoinError};
use crate::storage::identity::{
    DriveState, HostDrives, Prepared, SystemLocks, forget_rejoining, prepare_host, read_rejoining,
};

const WHY: &str = "an operator decided it (sherd rejoin)";

pub(in crate::host) fn rejoin(config: &Config, env: &Environment, wish: RejoinWish) -> Result<(), HostError> {
    let Some(cluster) = &config.cluster else { return Err(RejoinError::Alone.into()) };
    let prepared = prepare_host(&*env.disk, &config.data, wanted_geometry(config), &env.ambient, &SystemLocks)?;
    let Prepared::Known(host) = prepared else { return Err(RejoinError::NothingHere.into()) };
    let kept = read_rejoining(&*env.disk, &host.usable_dirs(), host.host)?.filter(|kept| kept.decided);
    match wish {
        RejoinWish::Explain => {
            explain(&cluster.name, &host);
            if let Some(kept) = kept {
                println!("this is decided already, since: {}", kept.why);
            }
            println!(
                "no metadata was changed; run it again with --yes to have the next start do it, or with --cancel to take back what was decided"
            );
        }
        RejoinWish::Decide => {
            explain(&cluster.name, &host);
            keep(env, &host, true, WHY.to_owned())?;
            println!("decided; start the host");
        }
        RejoinWish::Cancel => {
            forget_rejoining(&*env.disk, &host.usable_dirs())?;
            println!("the next start goes on as host {:016x}", host.host.0);
        }
    }
    Ok(())
}

fn explain(name: &str, host: &HostDrives) {
    println!(
        "The host {name:?} comes back to its cluster as another member, and never again as host {:016x}.",
        host.host.0
    );
    println!("- It waits until a majority of the other voters decides so; without one, nothing is changed.");
    println!("- Its drives and the shards on them are kept as they are:");
    for drive in &host.drives {
        let state = match &drive.state {
            DriveState::Lost { why } => format!("lost: {why}"),
            DriveState::Replaced => "empty: it is filled".to_owned(),
            DriveState::Present | DriveState::Returned => "kept".to_owned(),
        };
        println!("    node {} {} ({state})", drive.node, drive.dir.display());
    }
    println!(
        "- Its copy of the metadata is not used any more: what only this host holds of it is lost to the cluster. It is"
    );
    println!("  set aside in set-aside/ on each drive, and the host gets the metadata of the others.");
}
