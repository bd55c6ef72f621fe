//! Rejoining: a host returns to its cluster as another member, with the shards that its drives hold.
//!
//! A member of the metadata group that lost its log, or the end of it, must never vote again under its id. So the host
//! draws a new id and asks the cluster to replace the old one (`come_back_as_another`). Once the cluster has
//! decided that, the host writes the new id to its drives, sets its metadata aside and starts without any: the leader
//! sends all of it.
//!
//! A host rejoins by itself if its copies of the metadata log are lost or damaged for good, or if another host has
//! shown that this one lost entries that it once had. If it differs from the others in another way, it may be the last
//! holder of acknowledged entries, and an operator decides (`sherd rejoin`). Nothing is changed before a majority
//! without this host has decided it.

mod coming_back;
mod command;

pub(super) use coming_back::come_back_as_another;
pub(super) use command::rejoin;

use super::cluster::Member;
use super::environment::Environment;
use super::error::HostError;
use super::metadata::{self, MetadataError, Replica};
use crate::api::StartupProgress;
use crate::config::{Config, DATA_SETTING, with_data};
use crate::storage::identity::{
    Drive, DriveState, HostDrives, IdentityError, Prepared, Rejoining, keep_rejoining, new_host_id, read_rejoining,
};
use crate::types::HostId;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

/// The running program's image, even if its file was replaced.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// Returns the rejoin that was decided before this start, if any. A host that its cluster has given up is refused until
/// an operator decides a rejoin: with others that were given up it could elect a leader, and lose what that
/// acknowledges. So is one that must rejoin and is started alone, without the settings of its cluster.
pub(super) fn decided(env: &Environment, is_alone: bool, prepared: &Prepared) -> Result<Option<Rejoining>, HostError> {
    let Prepared::Known(host) = prepared else { return Ok(None) };
    match read_rejoining(&*env.disk, &host.usable_dirs(), host.host) {
        // A host without a cluster never made it.
        Err(IdentityError::RejoiningDamaged { .. }) if is_alone => Ok(None),
        Err(error) => Err(error.into()),
        Ok(Some(kept)) if kept.decided && is_alone => Err(HostError::RejoinsAlone { why: kept.why }),
        Ok(Some(kept)) if kept.decided => Ok(Some(kept)),
        Ok(Some(kept)) if kept.given_up => Err(HostError::GivenUp { why: kept.why }),
        Ok(_) => Ok(None),
    }
}

/// Returns true if a host of a cluster rejoins by itself after this error of its start.
pub(super) fn is_mended_by(config: &Config, error: &MetadataError) -> bool {
    config.cluster.is_some() && matches!(error, MetadataError::Start(error) if error.has_lost_the_log())
}

/// Rejoins as another member after the metadata did not start. Waits until the other hosts have decided it.
pub(super) async fn after_loss(
    env: &Environment,
    config: &Config,
    member: Member,
    error: &MetadataError,
    progress: &StartupProgress,
) -> Result<(Member, Replica), HostError> {
    progress.set(vec![format!("waiting for its cluster to take it back as another member: {error}")]);
    let rejoining = keep(env, &member.host, false, error.to_string())?;
    let host = member.off_the_network().await;
    let member = come_back_as_another(env, config, host, &rejoining, progress).await?;
    let replica = metadata::start(env, &member).await?;
    Ok((member, replica))
}

/// Records that a host is to rejoin. An id that was drawn before is kept, since the cluster may know the host by it
/// already; but not the id in the record of a host that was given up, which was never sent and is in copies of its
/// directories, too.
pub(super) fn keep(
    env: &Environment,
    host: &HostDrives,
    decided: bool,
    why: String,
) -> Result<Rejoining, IdentityError> {
    let wanted = OwnDrives::of(host.host, &host.drives);
    let kept = read_rejoining(&*env.disk, &wanted.dirs, wanted.host)?;
    keep_over(env, &wanted, kept, decided, why)
}

/// Records that an operator has a host rejoin. If the present record cannot be used, another one takes its place.
fn keep_as_ordered(env: &Environment, host: &HostDrives, why: String) -> Result<Rejoining, IdentityError> {
    let wanted = OwnDrives::of(host.host, &host.drives);
    let kept = match read_rejoining(&*env.disk, &wanted.dirs, wanted.host) {
        Err(error @ IdentityError::RejoiningDamaged { .. }) => {
            tracing::warn!(%error, "another record takes the place of this one");
            None
        }
        read => read?,
    };
    keep_over(env, &wanted, kept, true, why)
}

fn keep_over(
    env: &Environment,
    wanted: &OwnDrives,
    kept: Option<Rejoining>,
    decided: bool,
    why: String,
) -> Result<Rejoining, IdentityError> {
    let drawn = kept.as_ref().filter(|kept| !kept.given_up);
    let to = drawn.map_or_else(|| new_host_id(&env.ambient), |kept| kept.to);
    let decided = decided || kept.is_some_and(|kept| kept.decided);
    let rejoining = Rejoining::new(wanted.host, to, decided, why);
    keep_rejoining(&*env.disk, &wanted.dirs, &rejoining)?;
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

    /// Records for all later starts that the cluster has given the host up. Returns the error that the process ends
    /// with.
    pub fn note_given_up(&self, env: &Environment, why: String) -> HostError {
        let to = new_host_id(&env.ambient);
        let given_up = Rejoining { given_up: true, ..Rejoining::new(self.host, to, false, why.clone()) };
        match keep_rejoining(&*env.disk, &self.dirs, &given_up) {
            Ok(()) => HostError::GivenUp { why },
            Err(error) => error.into(),
        }
    }

    /// Records that the host must rejoin as another member. Returns the error that the process ends with.
    pub fn decide(&self, env: &Environment, why: String) -> HostError {
        let kept = match read_rejoining(&*env.disk, &self.dirs, self.host) {
            Ok(kept) => kept,
            Err(error) => return error.into(),
        };
        let to = kept.map_or_else(|| new_host_id(&env.ambient), |kept| kept.to);
        tracing::error!(why, "this host comes back to its cluster as another member; its process starts again");
        match keep_rejoining(&*env.disk, &self.dirs, &Rejoining::new(self.host, to, true, why)) {
            Ok(()) => {
                HostError::StartsAgain { why: "this host comes back to its cluster as another member", data: None }
            }
            Err(error) => error.into(),
        }
    }

    /// Returns true if this host has recorded `other` as the id under which it rejoins.
    pub fn asked_to_be(&self, env: &Environment, other: HostId) -> bool {
        let kept = read_rejoining(&*env.disk, &self.dirs, self.host);
        kept.is_ok_and(|kept| kept.is_some_and(|kept| kept.to == other))
    }
}

/// Replaces the process by a new one of the same program with the same arguments and variables, except that the data
/// directories include those that were added; returns only if that fails.
pub(super) fn start_again(data: Option<&str>) -> HostError {
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
    HostError::System { doing: "start again", cause: command.args(arguments).exec() }
}

#[cfg(test)]
mod tests {
    use super::{OwnDrives, decided, keep, keep_as_ordered};
    use crate::ambient::Ambient;
    use crate::host::environment::Environment;
    use crate::host::error::HostError;
    use crate::storage::disk::sim::{DriveFault, Shortage, SimDisk};
    use crate::storage::disk::{Disk, read_file, replace_file};
    use crate::storage::identity::{HostDrives, NoLocks, Prepared, WantedGeometry, open_host, read_rejoining};
    use std::path::{Path, PathBuf};

    /// A host of two drives.
    fn formed() -> (SimDisk, Environment, HostDrives) {
        let (disk, dirs) = (SimDisk::new(1 << 30), ["/d1", "/d2"].map(PathBuf::from));
        let wanted = WantedGeometry { data: 1, parity: 1, explicit: false, alone: true };
        let host = open_host(&disk, &dirs, wanted, &Ambient::system(), &NoLocks).expect("a host");
        let env = Environment::of_test(disk.handle());
        (disk, env, host)
    }

    #[test]
    fn a_record_of_a_rejoin_that_cannot_be_read_is_not_written_over() {
        let (disk, env, host) = formed();
        let (own, path) = (OwnDrives::of(host.host, &host.drives), Path::new("/d1/rejoin.json"));
        keep(&env, &host, true, "a test".to_owned()).expect("kept");
        disk.remove(Path::new("/d2/rejoin.json")).expect("it is there");
        let refused = || {
            let before = disk.operations().changes;
            assert!(keep(&env, &host, false, "another".to_owned()).is_err());
            assert!(matches!(own.decide(&env, "another".to_owned()), HostError::Identity(_)));
            assert_eq!(disk.operations().changes, before, "nothing is written");
        };
        disk.limit_shortage(path);
        for shortage in [Shortage::Descriptors, Shortage::Memory] {
            disk.set_shortage(Some(shortage));
            refused();
            disk.set_shortage(None);
        }
        disk.make_unreadable(path, 0..1).expect("it is there");
        refused();
        replace_file(&disk, path, b"{}").expect("replaced");
        refused();
        assert_eq!(read_file(&disk, path).expect("it is there"), b"{}");
        // An operator may decide it anew.
        let ordered = keep_as_ordered(&env, &host, "another".to_owned()).expect("kept");
        let kept = read_rejoining(&disk, &host.usable_dirs(), host.host).expect("it can be read");
        assert!(ordered.decided && kept == Some(ordered));
    }

    #[test]
    fn a_host_that_must_rejoin_does_not_start_without_its_cluster() {
        let (disk, env, host) = formed();
        let kept = keep(&env, &host, true, "a test".to_owned()).expect("kept");
        let prepared = Prepared::Known(host);
        assert_eq!(decided(&env, false, &prepared).expect("it rejoins"), Some(kept));
        let refused = decided(&env, true, &prepared);
        assert!(matches!(refused, Err(HostError::RejoinsAlone { .. })), "{refused:?}");
        for dir in ["/d1", "/d2"] {
            replace_file(&disk, &Path::new(dir).join("rejoin.json"), b"{}").expect("replaced");
        }
        // No host without a cluster has made such a file.
        assert!(decided(&env, false, &prepared).is_err());
        assert_eq!(decided(&env, true, &prepared).expect("it starts"), None);
    }

    #[test]
    fn a_running_host_with_a_dead_drive_records_that_it_must_rejoin() {
        let (disk, env, host) = formed();
        disk.fail_drive(Path::new("/d1"), DriveFault::Dead);
        let ended = OwnDrives::of(host.host, &host.drives).decide(&env, "a test".to_owned());
        assert!(matches!(ended, HostError::StartsAgain { .. }), "{ended}");
        let kept = read_rejoining(&disk, &host.usable_dirs(), host.host).expect("one can be read");
        assert!(kept.is_some_and(|kept| kept.decided));
    }
}
