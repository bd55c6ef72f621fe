//! Answers in words, for people.

use crate::api::admin::{HealStarted, HealStatus, HostShown, Info, LayoutShown, LeaderMoved, MetadataRole};
use crate::api::{DriveHealth, Told};
use std::fmt::Write;

pub fn info(info: &Info) -> String {
    let leader = info.leader.as_deref().map_or("none is known", |leader| name_of(&info.hosts, leader));
    let mut text = format!(
        "cluster    {}\nversion    {}\nhost       {}\nleader     {leader} (term {})\nshards     {}+{}\nguarantee  {}\n",
        info.cluster,
        info.version,
        name_of(&info.hosts, &info.host),
        info.term,
        info.geometry.data,
        info.geometry.parity,
        info.guarantee.words,
    );
    let counts = &info.counts;
    let _ = writeln!(
        text,
        "holds      {} objects in {} buckets, {} uploads",
        counts.objects, counts.buckets, counts.uploads
    );
    let rows = info.hosts.iter().map(|host| {
        let address = host.address.clone().unwrap_or_default();
        let nodes: Vec<String> = host.nodes.iter().map(u32::to_string).collect();
        [host.name.clone(), address, host.roles.join(","), role(host.metadata).to_owned(), nodes.join(",")]
    });
    text.push('\n');
    text.push_str(&table(["HOST", "ADDRESS", "ROLES", "METADATA", "NODES"], rows));
    text.push('\n');
    text.push_str(&drives(&info.drives));
    text
}

fn name_of<'a>(hosts: &'a [HostShown], id: &'a str) -> &'a str {
    hosts.iter().find(|host| host.id == id).map_or(id, |host| &host.name)
}

fn role(role: MetadataRole) -> &'static str {
    match role {
        MetadataRole::Leader => "leader",
        MetadataRole::Voter => "voter",
        MetadataRole::Learner => "learner",
        MetadataRole::None => "none",
    }
}

pub fn health(told: &Told) -> String {
    let mut text = format!("{}\n", told.status);
    for reason in &told.health.reasons {
        let _ = writeln!(text, "- {reason}");
    }
    for drive in &told.health.drives {
        if let Some(why) = &drive.why {
            let _ = writeln!(text, "- node {} ({}): {why}", drive.node, drive.path);
        }
    }
    text
}

pub fn drives(drives: &[DriveHealth]) -> String {
    let rows = drives.iter().map(|drive| {
        let state = if drive.in_service { "in service" } else { "out of service" };
        let why = drive.why.clone().unwrap_or_default();
        [
            drive.node.to_string(),
            state.to_owned(),
            size(drive.free_bytes),
            size(drive.total_bytes),
            drive.path.clone(),
            why,
        ]
    });
    table(["NODE", "STATE", "FREE", "SIZE", "DIRECTORY", ""], rows)
}

pub fn layout(layout: &LayoutShown) -> String {
    let rows = layout.nodes.iter().map(|node| {
        let state = match (&node.out_of_service, node.draining) {
            (Some(why), _) => why.clone(),
            (None, true) => "draining".to_owned(),
            (None, false) => "in service".to_owned(),
        };
        let (host, domain) = (node.host_name.clone(), node.domain.clone().unwrap_or_default());
        [node.node.to_string(), host, domain, node.weight.to_string(), node.shards.to_string(), state]
    });
    format!("epoch {}\n{}", layout.epoch, table(["NODE", "HOST", "DOMAIN", "WEIGHT", "SHARDS", "STATE"], rows))
}

pub fn heal_status(status: &HealStatus) -> String {
    let due = if status.comparisons_due.is_empty() {
        "every node of this host's was compared with the metadata".to_owned()
    } else {
        format!("still to be compared with the metadata: {}", nodes(&status.comparisons_due))
    };
    format!("{} shards to repair\n{} blobs to reclaim\n{due}\n", status.repairs_queued, status.garbage_blobs)
}

pub fn heal_started(started: &HealStarted) -> String {
    format!("comparing with the metadata: {}\n", nodes(&started.nodes))
}

pub fn leader_moved(moved: &LeaderMoved) -> String {
    format!("{} leads\n", moved.name)
}

fn nodes(nodes: &[u32]) -> String {
    let nodes: Vec<String> = nodes.iter().map(|node| format!("node {node}")).collect();
    nodes.join(", ")
}

/// In the largest unit of which there is at least one.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let unit = (0..UNITS.len()).rev().find(|unit| bytes >> (10 * unit) > 0).unwrap_or(0);
    if unit == 0 {
        return format!("{bytes} B");
    }
    let tenths = (u128::from(bytes) * 10) >> (10 * unit);
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// Columns as wide as they must be.
fn table<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let rows: Vec<[String; N]> = std::iter::once(head.map(str::to_owned)).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        let _ = writeln!(text, "{}", cells.join("  ").trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{size, table};

    #[test]
    fn sizes_are_read_by_people() {
        let sizes = [0, 1023, 1024, 1536, 3 << 30, u64::MAX].map(size);
        assert_eq!(sizes, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "3.0 GiB", "16383.9 PiB"]);
    }

    #[test]
    fn a_table_lines_up() {
        let rows = [["1".to_owned(), "long".to_owned()], ["22".to_owned(), "x".to_owned()]];
        assert_eq!(table(["N", "WORD"], rows.into_iter()), "N   WORD\n1   long\n22  x\n");
    }
}
