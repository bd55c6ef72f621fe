//! The command `sherd recover`: forms the metadata group anew with this stopped host as its only voter, once the
//! majority of the voters is lost for good. With `--from` it uses an exported copy of the metadata instead of the
//! host's own; a host that is alone may need that, too. It prints first what would be lost, and changes no metadata
//! without `--yes`.
//!
//! The new metadata is made in `recovering/` on each drive, under a new id of the host, and started there once. Nothing
//! has changed until the first drive has the new id. If the command is interrupted after that, the next start completes
//! it: it sets the former metadata aside, and moves the new metadata into its place.
//!
//! A log that is damaged is the exception: it is cut at the damage, and whole from then on. So the drives first record
//! that the host must come back as another member. An interrupted recovery then leaves a host that does not vote
//! without what it lost, and the record tells the next recovery of the damage.
//!
//! The cluster is then in a new recovery epoch, so that it refuses all hosts of the former group.

mod salvage;
mod words;

pub(super) use salvage::salvage;

use super::cluster::{self, Member};
use super::directories::{KEPT_BY_RECOVERY, beside, clear, set_aside_all, take_up};
use super::environment::{Environment, wanted_geometry};
use super::error::{HostError, RecoveryError};
use super::metadata::{self, MetadataError};
use super::rejoin::keep;
use crate::actors::consensus::{MetaHandle, Remains, ReplicaOptions, recover_frames, recover_own, survey_recovery};
use crate::config::Config;
use crate::limits::NODES_OF_HOST_MAX;
use crate::net::NoOtherHosts;
use crate::output;
use crate::storage::disk::replace_file;
use crate::storage::identity::{
    Drive, HostDrives, Prepared, SystemLocks, forget_records, new_host_id, prepare_host, read_rejoining,
};
use crate::storage::meta::command::{Change, Reply};
use crate::storage::meta::record::{HostRecord, RecoveryRecord};
use crate::storage::meta::snapshot::{ExportFault, ExportHead, ExportReader};
use crate::types::{BlobId, HostId, RecoveryEpoch, UnixMs};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The source of the metadata that takes the place of the host's own. `marked` is the reason for which the host must
/// come back as another member, if that was decided before.
enum Source {
    Own { remains: Remains, old: Box<ReplicaOptions>, marked: Option<String> },
    Export { path: PathBuf, head: ExportHead },
}

/// The host's identity after the recovery.
struct Next {
    host: HostId,
    epoch: RecoveryEpoch,
}

pub(super) async fn recover(
    config: &Config,
    env: &Environment,
    from: Option<&Path>,
    goes_on: bool,
) -> Result<(), HostError> {
    if config.cluster.is_none() && from.is_none() {
        return Err(RecoveryError::Alone.into());
    }
    if !config.roles.meta {
        return Err(RecoveryError::NoVoter.into());
    }
    let prepared = prepare_host(&*env.disk, &config.data, wanted_geometry(config), &env.ambient, &SystemLocks)?;
    let Prepared::Known(mut host) = prepared else { return Err(RecoveryError::NothingHere.into()) };
    take_up(&*env.disk, &mut host);
    let member = cluster::offline(env, config, host);
    // Lets the spawned actors start: an actor whose first poll is at its drop would start where no runtime is left.
    tokio::task::yield_now().await;
    let copies_wanted = match config.cluster {
        Some(_) => metadata::copies_beside_others(&member),
        None => metadata::copies_wanted(&member),
    };
    let old = ReplicaOptions { copies_wanted, ..metadata::replica_options(env, &member) };
    let source = source(env, &member, old.clone(), from).await?;
    check_name(&member, &source)?;
    let plan = words::plan(&member, &source);
    if !goes_on {
        return explain(&plan);
    }
    output::say(&plan);
    let next =
        Next { host: new_host_id(&env.ambient), epoch: last_epoch(&member, &source).next(new_host_id(&env.ambient).0) };
    clear(env, &member.host).map_err(|cause| HostError::System { doing: "make the directory recovering", cause })?;
    mark(env, &member, &source)?;
    let made = make(env, &member, source, old, &next).await;
    if let Err(error) = made {
        // The unfinished metadata is useless and takes space.
        let _ = clear(env, &member.host);
        return Err(error);
    }
    let host = enter(env, member.host, &next)?;
    tell_kept(&write_report(env, &host, &plan));
    output::say(words::done(&next.host));
    Ok(())
}

/// Prints what would be done, which is the result of a command without `--yes`.
fn explain(plan: &str) -> Result<(), HostError> {
    let advice = "no metadata was changed; run it again with --yes to do this";
    output::print(&format!("{plan}\n{advice}\n")).map_err(HostError::Output)
}

fn tell_kept(reports: &[PathBuf]) {
    reports.iter().for_each(|path| output::say(format_args!("this report is kept in {}", path.display())));
}

/// Returns the later one of the recovery epochs of this host and of the exported copy.
fn last_epoch(member: &Member, source: &Source) -> RecoveryEpoch {
    let own = member.host.recovery;
    match source {
        Source::Export { head, .. } if own.is_before(head.recovery) => head.recovery,
        Source::Export { .. } | Source::Own { .. } => own,
    }
}

/// Surveys the metadata to recover from: the host's own, or the exported copy, which must be whole and of the same
/// store.
async fn source(
    env: &Environment,
    member: &Member,
    old: ReplicaOptions,
    from: Option<&Path>,
) -> Result<Source, HostError> {
    let Some(path) = from else {
        let mut remains = survey_recovery(&old).await.map_err(RecoveryError::Unusable)?;
        let kept = read_rejoining(&*env.disk, &member.host.usable_dirs(), member.host.host)?;
        let marked = kept.filter(|kept| kept.decided).map(|kept| kept.why);
        // What lacked in its copies then may not show any more.
        remains.has_all_acknowledged &= marked.is_none();
        return Ok(Source::Own { remains, old: Box::new(old), marked });
    };
    let (path, host) = (path.to_owned(), &member.host);
    let head = open(&path)?.verify().map_err(|why| RecoveryError::Export { path: path.clone(), why })?;
    let geometry = [(head.data, head.parity), (host.data, host.parity)];
    if head.cluster != host.cluster || geometry[0] != geometry[1] {
        return Err(RecoveryError::OtherStore { path, found: head.cluster, own: host.cluster, geometry }.into());
    }
    Ok(Source::Export { path, head })
}

/// Records that the host must come back as another member, if its log is damaged: making the new metadata cuts the log
/// at the damage.
fn mark(env: &Environment, member: &Member, source: &Source) -> Result<(), HostError> {
    let Source::Own { remains: Remains { damage: Some(damage), .. }, marked, .. } = source else { return Ok(()) };
    let why = match marked {
        Some(marked) if marked.contains(damage.as_str()) => marked.clone(),
        Some(marked) => format!("{damage}; before that: {marked}"),
        None => damage.clone(),
    };
    keep_on_all(env, &member.host, why)
}

/// Records on every drive that the host must come back as another member. Each copy of the log is cut, so the host could
/// vote again after it started with only a drive that lacks the record.
fn keep_on_all(env: &Environment, host: &HostDrives, why: String) -> Result<(), HostError> {
    keep(env, host, true, why)?;
    for dir in host.usable_dirs() {
        let kept = read_rejoining(&*env.disk, std::slice::from_ref(&dir), host.host)?;
        if kept.is_none_or(|kept| !kept.decided) {
            return Err(RecoveryError::Unmarked { dir }.into());
        }
    }
    Ok(())
}

/// Refuses if the host's own metadata knows it under another name than the one that it is recovered under.
fn check_name(member: &Member, source: &Source) -> Result<(), RecoveryError> {
    let Source::Own { remains, .. } = source else { return Ok(()) };
    let Some(own) = remains.hosts.iter().find(|host| host.id == member.host.host) else { return Ok(()) };
    if own.name == member.name || remains.hosts.iter().all(|host| host.name != member.name) {
        return Ok(());
    }
    let known = remains.hosts.iter().map(|host| host.name.clone()).collect::<Vec<_>>().join(", ");
    Err(RecoveryError::Unknown { name: member.name.clone(), known })
}

fn open(path: &Path) -> Result<ExportReader<BufReader<File>>, RecoveryError> {
    let failed = |why: ExportFault| RecoveryError::Export { path: path.to_owned(), why };
    ExportReader::open(BufReader::new(File::open(path).map_err(|error| failed(error.into()))?)).map_err(failed)
}

/// Makes the new metadata in `recovering/`, and proves that it can be read and changed.
async fn make(
    env: &Environment,
    member: &Member,
    source: Source,
    old: ReplicaOptions,
    next: &Next,
) -> Result<(), HostError> {
    let drives = old.drives.iter().cloned().map(beside).collect();
    let new = ReplicaOptions { host: next.host, drives, transport: Arc::new(NoOtherHosts), first_start: true, ..old };
    let (handle, exported) = match source {
        Source::Own { remains, old, .. } => {
            let old = ReplicaOptions { salvages: remains.damage.is_some(), ..*old };
            (recover_own(old, new).await, None)
        }
        Source::Export { path, head } => {
            let reader = open(&path)?;
            (recover_frames(head.applied, reader.pieces(), new).await, Some(head.exported))
        }
    };
    let handle = handle.map_err(MetadataError::from)?;
    let changed = change(env, member, &handle, (next, exported)).await;
    handle.shutdown().await;
    changed
}

/// Registers the host under its new id in the new metadata, and records that shards of unknown blobs are kept.
async fn change(
    env: &Environment,
    member: &Member,
    metadata: &MetaHandle,
    (next, exported): (&Next, Option<UnixMs>),
) -> Result<(), HostError> {
    let view = metadata.read().await.map_err(RecoveryError::from)?;
    let was = place_of(member, view.hosts().map_err(MetadataError::from)?)?;
    let host = HostRecord {
        id: next.host,
        name: member.name.clone(),
        address: member.address.clone(),
        domain: member.domain.clone(),
        joined: UnixMs(0),
        first_node: None,
    };
    let at = env.ambient.clock.unix_ms();
    let fence = view.fence().map_err(MetadataError::from)?.next_time();
    let recovery = RecoveryRecord { epoch: next.epoch, at, host: next.host, exported, keeps_unknown: true };
    let changes = [
        Change::NoteRecovery(recovery),
        // Fences off all earlier writes: a change that was proposed before the recovery must not adopt their blobs.
        Change::RaiseFence { below: BlobId::first_of(at.max(fence).min(BlobId::TIME_MAX)) },
        Change::RejoinHost { was, host },
    ];
    for change in changes {
        match metadata.propose(change).await.map_err(RecoveryError::from)? {
            Reply::Done => {}
            other => return Err(RecoveryError::NotTaken(other).into()),
        }
    }
    Ok(())
}

/// Returns the id under which the metadata has the host of this name and with these drives; it may be a former id of
/// the host.
fn place_of(member: &Member, hosts: Vec<HostRecord>) -> Result<HostId, RecoveryError> {
    let known = || hosts.iter().map(|host| host.name.clone()).collect::<Vec<_>>().join(", ");
    let unknown = || RecoveryError::Unknown { name: member.name.clone(), known: known() };
    let own = hosts.iter().find(|host| host.name == member.name).ok_or_else(unknown)?;
    let first = own.first_node.ok_or_else(unknown)?;
    let is_of_place = |drive: &Drive| drive.node.0 / NODES_OF_HOST_MAX == first.0 / NODES_OF_HOST_MAX;
    if member.host.drives.iter().all(is_of_place) { Ok(own.id) } else { Err(unknown()) }
}

/// Writes the new id to the drives, which gives the former group up, and moves the new metadata into its place.
fn enter(env: &Environment, host: HostDrives, next: &Next) -> Result<HostDrives, HostError> {
    let mut host = host.renamed(&*env.disk, next.host, next.epoch)?;
    set_aside_all(env, &mut host, KEPT_BY_RECOVERY);
    take_up(&*env.disk, &mut host);
    let (disk, dirs) = (&*env.disk, host.usable_dirs());
    // A record that stays, and is whole, is harmless: it names an id that this host does not have any more.
    if let Err(error) = forget_records(disk, &dirs) {
        tracing::warn!(%error, "the record of a founding or rejoining was not removed");
    }
    Ok(host)
}

/// Writes the report to the drives; returns where it is. The recovery has taken effect, which a drive without the
/// report does not change.
fn write_report(env: &Environment, host: &HostDrives, plan: &str) -> Vec<PathBuf> {
    let report = format!("recovery-{}.txt", env.ambient.clock.unix_ms().0);
    let mut written = Vec::new();
    for path in host.usable_dirs().iter().map(|dir| dir.join("meta").join(&report)) {
        match replace_file(&*env.disk, &path, format!("{plan}\n").as_bytes()) {
            Ok(()) => written.push(path),
            Err(error) => tracing::warn!(path = %path.display(), %error, "the report of the recovery was not written"),
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::{Next, enter, keep, keep_on_all};
    use crate::ambient::Ambient;
    use crate::host::environment::Environment;
    use crate::host::error::{HostError, RecoveryError};
    use crate::storage::disk::sim::{DriveFault, SimDisk};
    use crate::storage::disk::{Disk, create_dir_durably};
    use crate::storage::identity::{IdentityError, NoLocks, WantedGeometry, open_host};
    use crate::types::{HostId, RecoveryEpoch};
    use std::path::PathBuf;

    #[test]
    fn a_drive_that_cannot_take_the_record_of_a_damaged_log_stops_the_recovery() {
        let (disk, dirs) = (SimDisk::new(1 << 30), ["/d1", "/d2"].map(PathBuf::from));
        let wanted = WantedGeometry { data: 1, parity: 1, explicit: false, alone: true };
        let host = open_host(&disk, &dirs, wanted, &Ambient::system(), &NoLocks).expect("a host");
        let env = Environment::of_test(disk.handle());
        disk.fail_drive(&dirs[1], DriveFault::Full);
        let refused = keep_on_all(&env, &host, "a test".to_owned());
        let full = |error: &HostError| matches!(error, HostError::Recovery(RecoveryError::Unmarked { dir }) if *dir == dirs[1]);
        assert!(refused.as_ref().is_err_and(full), "{refused:?}");
        disk.mend_drive(&dirs[1]);
        keep_on_all(&env, &host, "a test".to_owned()).expect("kept on both");
    }

    #[test]
    fn a_host_whose_identities_cannot_be_read_at_its_recovery_keeps_its_metadata() {
        let (disk, dirs) = (SimDisk::new(1 << 30), ["/d1", "/d2"].map(PathBuf::from));
        let wanted = WantedGeometry { data: 1, parity: 1, explicit: false, alone: true };
        let host = open_host(&disk, &dirs, wanted, &Ambient::system(), &NoLocks).expect("a host");
        let env = Environment::of_test(disk.handle());
        keep(&env, &host, true, "a test".to_owned()).expect("kept");
        for dir in &dirs {
            create_dir_durably(&disk, &dir.join("meta")).expect("made");
            disk.make_unreadable(&dir.join("identity.json"), 0..1).expect("it is there");
        }
        let next = Next { host: HostId(77), epoch: RecoveryEpoch { number: 1, id: 7, former: [0; 8] } };
        let refused = enter(&env, host, &next).map(drop);
        assert!(matches!(refused, Err(HostError::Identity(IdentityError::Unusable { .. }))), "{refused:?}");
        for path in dirs.iter().flat_map(|dir| ["meta", "rejoin.json"].map(|name| dir.join(name))) {
            assert!(disk.exists(&path).expect("looked for"), "{}", path.display());
        }
    }
}
