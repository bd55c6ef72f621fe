//! A host of several comes back to its cluster as another member, with the shards that its drives hold.
//!
//! A member of the metadata group that lost its log, or the end of it, must never vote again under its id. So the host
//! draws another id, asks the cluster to replace the one by the other (`cluster::come_back_as_another`), and only when that is
//! decided gives its drives the new id, sets the metadata of the old one aside and begins with none: the leader sends it all.
//!
//! By itself it does so where its copies of the metadata log are lost or damaged for good, and where another host showed that
//! it lost what it had. Where it differs from the others otherwise it may be the last that holds what was acknowledged, and an
//! operator decides (`sherd rejoin`). Either way nothing is changed before a majority has decided it without this host.

mod command;
mod set_aside;

pub(super) use command::rejoin;
pub(super) use set_aside::{
    KEPT_BY_RECOVERY, KEPT_BY_REJOIN, owner, set_aside, set_aside_all, set_aside_of_others, what_is_set_aside,
};

use super::cluster::{self, Member};
use super::metadata::{self, MetadataError, Replica};
use super::{NodeError, Surroundings};
use crate::api::StartupProgress;
use crate::config::{Config, DATA_SETTING, with_data};
use crate::storage::identity::{
    Drive, DriveState, HostDrives, IdentityError, Prepared, Rejoining, keep_rejoining, new_host_id, read_rejoining,
};
use crate::types::HostId;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

/// This program, though its file was replaced meanwhile.
const THIS_PROGRAM: &str = "/proc/self/exe";

#[derive(Debug, thiserror::Error)]
pub enum RejoinError {
    #[error(
        "this host is alone, and has no cluster to come back to (SHERD_HOSTS); for damaged metadata see sherd salvage"
    )]
    Alone,
    #[error("the directories are empty: start the host, which joins its cluster by itself")]
    NothingHere,
}

/// Returns the rejoining that was decided before this start, of a host that is part of a cluster. A host that was given up
/// takes no part before an operator has decided: others that were given up would elect with it, and lose what they acknowledge.
pub(super) fn decided(
    around: &Surroundings,
    config: &Config,
    prepared: &Prepared,
) -> Result<Option<Rejoining>, NodeError> {
    let (Some(_), Prepared::Known(host)) = (&config.cluster, prepared) else { return Ok(None) };
    match read_rejoining(&*around.disk, &host.usable_dirs(), host.host)? {
        Some(kept) if kept.decided => Ok(Some(kept)),
        Some(kept) if kept.given_up => Err(NodeError::GivenUp { why: kept.why }),
        _ => Ok(None),
    }
}

/// Whether a host that does not start for this reason comes back as another member.
pub(super) fn is_mended_by(config: &Config, error: &MetadataError) -> bool {
    config.cluster.is_some() && matches!(error, MetadataError::Start(error) if error.has_lost_the_log())
}

/// Comes back as another member after the metadata did not start. Waits until the other hosts have decided it.
pub(super) async fn after_loss(
    around: &Surroundings,
    config: &Config,
    member: Member,
    error: &MetadataError,
    progress: &StartupProgress,
) -> Result<(Member, Replica), NodeError> {
    progress.set(vec![format!("waiting for its cluster to take it back as another member: {error}")]);
    let rejoining = keep(around, &member.host, false, error.to_string())?;
    let host = member.off_the_network().await;
    let member = cluster::come_back_as_another(around, config, host, &rejoining, progress).await?;
    let replica = metadata::start(around, &member).await?;
    Ok((member, replica))
}

/// Keeps that a host is to rejoin: under the id that was drawn first, since the cluster may know it by that already. The id in
/// the record of a host that was given up was never sent, and copies of its directories have it too.
fn keep(around: &Surroundings, host: &HostDrives, decided: bool, why: String) -> Result<Rejoining, IdentityError> {
    let wanted = OwnDrives::of(host.host, &host.drives);
    let kept = read_rejoining(&*around.disk, &wanted.dirs, wanted.host)?;
    let drawn = kept.as_ref().filter(|kept| !kept.given_up);
    let to = drawn.map_or_else(|| new_host_id(&around.ambient), |kept| kept.to);
    let decided = decided || kept.is_some_and(|kept| kept.decided);
    let rejoining = Rejoining::new(wanted.host, to, decided, why);
    keep_rejoining(&*around.disk, &wanted.dirs, &rejoining)?;
    Ok(rejoining)
}

/// A running host's id and directories.
#[derive(Clone, Debug)]
pub(super) struct OwnDrives {
    host: HostId,
    dirs: Vec<PathBuf>,
}

impl OwnDrives {
    pub fn of(host: HostId, drives: &[Drive]) -> Self {
        let usable = drives.iter().filter(|drive| !matches!(drive.state, DriveState::Lost { .. }));
        Self { host, dirs: usable.map(|drive| drive.dir.clone()).collect() }
    }

    /// Records that the cluster goes on without the host, for all later starts. Returns the error that the process ends with.
    pub fn note_given_up(&self, around: &Surroundings, why: String) -> NodeError {
        let to = new_host_id(&around.ambient);
        let given_up = Rejoining { given_up: true, ..Rejoining::new(self.host, to, false, why.clone()) };
        match keep_rejoining(&*around.disk, &self.dirs, &given_up) {
            Ok(()) => NodeError::GivenUp { why },
            Err(error) => error.into(),
        }
    }

    /// Keeps that the host must come back as another member. What the process ends with.
    pub fn decide(&self, around: &Surroundings, why: String) -> NodeError {
        let kept = match read_rejoining(&*around.disk, &self.dirs, self.host) {
            Ok(kept) => kept,
            Err(error) => return error.into(),
        };
        let to = kept.map_or_else(|| new_host_id(&around.ambient), |kept| kept.to);
        tracing::error!(why, "this host comes back to its cluster as another member; its process starts again");
        match keep_rejoining(&*around.disk, &self.dirs, &Rejoining::new(self.host, to, true, why)) {
            Ok(()) => NodeError::StartsAgain { why: "it comes back to its cluster as another member", data: None },
            Err(error) => error.into(),
        }
    }

    /// Whether this host has asked its cluster to be taken in under this id.
    pub fn asked_to_be(&self, around: &Surroundings, other: HostId) -> bool {
        let kept = read_rejoining(&*around.disk, &self.dirs, self.host);
        kept.is_ok_and(|kept| kept.is_some_and(|kept| kept.to == other))
    }
}

/// Begins the process anew, with the same arguments and variables, but for the data directories where some were added; returns
/// only where that fails.
pub(super) fn start_again(data: Option<&str>) -> NodeError {
    let mut arguments = std::env::args_os().collect();
    let mut command = Command::new(THIS_PROGRAM);
    if let Some(data) = data {
        arguments = with_data(arguments, data);
        command.env(DATA_SETTING, data);
    }
    let mut arguments = arguments.into_iter();
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    NodeError::System { doing: "start again", cause: command.args(arguments).exec() }
}
