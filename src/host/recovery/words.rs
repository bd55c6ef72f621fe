//! The printed plan of a recovery: its effects, and the changes that it may lose.

use super::Source;
use crate::actors::consensus::Remains;
use crate::host::cluster::Member;
use crate::storage::identity::DriveState;
use crate::storage::meta::snapshot::ExportHead;
use crate::types::{HostId, UnixMs};
use std::path::Path;

pub(super) fn plan(member: &Member, source: &Source) -> String {
    let mut lines = match source {
        Source::Own { remains, marked, .. } => of_own(member, remains, marked.as_deref()),
        Source::Export { path, head } => of_export(member, path, head),
    };
    lines.extend(of_drives(member));
    lines.join("\n")
}

fn of_export(member: &Member, path: &Path, head: &ExportHead) -> Vec<String> {
    let entry = head.applied.at.map_or(0, |at| at.index);
    vec![
        format!(
            "The metadata of {} becomes that of the store, with the host {:?} as the only voter:",
            path.display(),
            member.name
        ),
        format!("- kept: all changes up to entry {entry} of the log; it was exported at {}", date(head.exported)),
        "- lost: every change after that, on every host: objects, users, policies and settings that came later; what was".to_owned(),
        "  deleted since is there again, and cannot be read where its shards are gone".to_owned(),
        "- given up for good: the metadata that this host and all others have. A host that comes back is refused until it".to_owned(),
        "  rejoins (sherd rejoin), with its shards, or is empty".to_owned(),
    ]
}

fn of_own(member: &Member, remains: &Remains, marked: Option<&str>) -> Vec<String> {
    let own = member.host.host;
    let mut lines = vec![format!(
        "The metadata group is formed anew with the host {:?} as its only voter, from its own copies of the metadata:",
        member.name
    )];
    lines.extend(copies(remains));
    lines.extend(marked.map(|why| {
        format!("- it was decided that this host comes back as another member, as its copies may lack something: {why}")
    }));
    lines.extend(undecided(remains));
    lines.extend(lost(remains));
    lines.push("- given up for good, whether they are lost or not:".to_owned());
    let others = remains.hosts.iter().filter(|host| host.id != own);
    lines.extend(others.map(|host| {
        let votes = if remains.voters.contains(&host.id) { "a voter" } else { "no voter" };
        format!("    host {:?} at {} ({:016x}, {votes})", host.name, host.address, host.id.0)
    }));
    let named = |id: &&HostId| **id != own && !remains.hosts.iter().any(|host| host.id == **id);
    lines.extend(remains.voters.iter().filter(named).map(|id| format!("    host {:016x}, a voter", id.0)));
    if remains.voters.is_empty() {
        // The tables and snapshots, which name them, are lost.
        lines.push("    every other host of the cluster: what is left here does not name them".to_owned());
    }
    lines.push(
        "  One that comes back after all is refused. It comes back with its shards by sherd rejoin, or empty."
            .to_owned(),
    );
    lines
}

fn lost(remains: &Remains) -> Vec<String> {
    if remains.has_all_acknowledged {
        let lines = [
            "- lost: nothing that was acknowledged, if these are its last copies and not older ones that were put back: this host",
            "  is one of two voters, and both had to hold each change.",
        ];
        return lines.map(str::to_owned).into();
    }
    let lines = [
        "- lost: every change after that which was acknowledged without this host. If another host that is left has a",
        "  later last entry (sherd recover without --yes tells it), recover that one instead.",
    ];
    lines.map(str::to_owned).into()
}

fn of_drives(member: &Member) -> Vec<String> {
    let own = member.host.host;
    let mut lines = Vec::new();
    lines.push(format!(
        "- this host is never again host {:016x}. Its drives and their shards are kept as they are:",
        own.0
    ));
    lines.extend(member.host.drives.iter().map(|drive| {
        let state = match &drive.state {
            DriveState::Lost { why } => format!("lost: {why}"),
            DriveState::Replaced => "empty: it is filled".to_owned(),
            DriveState::Present | DriveState::Returned => "kept".to_owned(),
        };
        format!("    node {} {} ({state})", drive.node, drive.dir.display())
    }));
    lines.push(
        "- shards that the metadata does not know, or places elsewhere, are kept until they are given up".to_owned(),
    );
    lines.push("  (sherd admin metadata drop-unknown).".to_owned());
    lines.push(
        "Be certain that most of the voters are lost for good, and that no other host is recovered, too.".to_owned(),
    );
    lines
}

fn copies(remains: &Remains) -> Vec<String> {
    let mut lines = Vec::new();
    let last = remains.last.map_or("nothing".to_owned(), |last| format!("all changes up to entry {last} of the log"));
    let dated = remains.dated.map(|at| format!(", the last one of {}", date(at))).unwrap_or_default();
    lines.push(format!("- kept: {last}{dated}"));
    lines.extend(remains.damage.as_ref().map(|why| format!("- its copies are not whole: {why}")));
    lines
}

fn undecided(remains: &Remains) -> Option<String> {
    let last = remains.last?;
    let first = remains.decided.map_or(0, |decided| decided + 1);
    (first <= last).then(|| {
        format!("- entries {first} to {last} may not have been decided: they count from now on, though some may never have been acknowledged")
    })
}

/// Formats a time by RFC 3339, in UTC.
fn date(at: UnixMs) -> String {
    let parsed =
        i64::try_from(at.0 / 1000).ok().and_then(|seconds| time::OffsetDateTime::from_unix_timestamp(seconds).ok());
    let shown = parsed.and_then(|at| at.format(&time::format_description::well_known::Rfc3339).ok());
    shown.unwrap_or_else(|| format!("{} ms after 1970", at.0))
}

pub(super) fn done(host: &HostId) -> String {
    format!(
        "the metadata group is formed anew, and this is host {:016x}; start it, and let other hosts join or rejoin",
        host.0
    )
}
