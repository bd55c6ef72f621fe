//! The formatting of the admin API's answers as text and tables.

use crate::api::admin::{
    BucketUsageJson, CapacityJson, DriveAdded, DriveReplaced, ForecastJson, HostJson, HostRolesJson, HostStateJson,
    Info, LayoutChanged, LayoutJson, LeaderMoved, MetadataRole, MovesJson, MovesOfHost, NodeJson, QuotaJson,
};
use crate::api::{DriveHealth, HealthAnswer, Safety};
use std::collections::BTreeMap;
use std::fmt::Write;

pub fn info(info: &Info) -> String {
    let leader = info.leader.as_deref().map_or("none is known", |leader| name_of(&info.hosts, leader));
    let mut text = format!(
        "cluster    {}\nasked      {}, version {}\nleader     {leader} (term {})\nshards     {}+{}\nhealth     {}\nsurvives   {} now; the layout {} when nothing is missing\n",
        info.cluster,
        name_of(&info.hosts, &info.host),
        info.version,
        info.term,
        info.geometry.data,
        info.geometry.parity,
        info.health,
        info.safety.survives_now,
        info.guarantee.words,
    );
    let counts = &info.counts;
    let _ = writeln!(
        text,
        "holds      {} objects in {} buckets, {} uploads",
        counts.objects, counts.buckets, counts.uploads
    );
    let CapacityJson { total_bytes, free_bytes, usable_bytes } = info.capacity;
    let _ = writeln!(
        text,
        "capacity   {} of {} are free on the drives; about {} of new objects fit",
        size(free_bytes),
        size(total_bytes),
        size(usable_bytes)
    );
    let _ = writeln!(text, "full       {}", forecast(&info.forecast));
    for (host, drives) in shared_file_systems(&info.drives) {
        let _ = writeln!(
            text,
            "note       drives {drives} of host {host} are directories of one file system: what loses it loses them all"
        );
    }
    text.push('\n');
    text.push_str(&hosts(&info.hosts));
    text.push('\n');
    text.push_str(&drives(&info.drives));
    text
}

/// Describes when the store will be full.
fn forecast(forecast: &ForecastJson) -> String {
    let measured = match forecast.measured_seconds {
        seconds if seconds < 2 * 86_400 => format!("{} hours measured", seconds / 3600),
        seconds => format!("{} days measured", seconds / 86_400),
    };
    match (forecast.bytes_per_day, forecast.full_in_seconds) {
        (None, _) => format!("not known yet ({measured})"),
        (Some(per_day), Some(seconds)) => {
            let more = size(per_day.unsigned_abs());
            format!("in about {} at {more} more a day ({measured})", duration(seconds))
        }
        (Some(0), None) => format!("not at this rate: what is stored stays the same ({measured})"),
        (Some(per_day), None) => {
            let less = size(per_day.unsigned_abs());
            format!("not at this rate: {less} less a day ({measured})")
        }
    }
}

/// Returns the groups of drives that are directories of one file system, each with its host.
fn shared_file_systems(drives: &[DriveHealth]) -> Vec<(&str, String)> {
    let mut shared: BTreeMap<(&str, u64), Vec<String>> = BTreeMap::new();
    for drive in drives.iter().filter(|drive| drive.file_system != 0) {
        shared.entry((&drive.host, drive.file_system)).or_default().push(drive.node.to_string());
    }
    let several = shared.into_iter().filter(|(_, drives)| drives.len() > 1);
    several.map(|((host, _), drives)| (host, drives.join(", "))).collect()
}

fn hosts(hosts: &[HostJson]) -> String {
    let rows = hosts.iter().map(|host| {
        let address = host.address.clone().unwrap_or_default();
        let drives: Vec<String> = host.nodes.iter().map(u32::to_string).collect();
        let state = match (host.state, host.uptime_seconds) {
            (HostStateJson::Up, Some(seconds)) => format!("up for {}", duration(seconds)),
            (HostStateJson::Up, None) => "up".to_owned(),
            (HostStateJson::Stopping, _) => "stopping".to_owned(),
            (HostStateJson::Down, _) => "does not answer".to_owned(),
            (HostStateJson::Unknown, _) => "not asked yet".to_owned(),
        };
        let version = host.version.clone().unwrap_or_default();
        let (roles, metadata) = (host.roles.join(","), role(host.metadata).to_owned());
        [host.name.clone(), address, state, version, roles, metadata, drives.join(",")]
    });
    table(["HOST", "ADDRESS", "STATE", "VERSION", "ROLES", "METADATA", "DRIVES"], rows)
}

/// Formats a table of buckets with usage, quotas and growth.
pub fn buckets(buckets: &[BucketUsageJson]) -> String {
    let of = |held: String, most: Option<String>| most.map_or(held.clone(), |most| format!("{held} of {most}"));
    let rows = buckets.iter().map(|bucket| {
        let objects = of(bucket.objects.to_string(), bucket.objects_max.map(|most| most.to_string()));
        let bytes = of(with_uploads(bucket.bytes, bucket.parts_bytes), bucket.bytes_max.map(size));
        let (name, account) = (bucket.bucket.clone(), bucket.account.clone());
        let more_objects = gained(bucket.objects_per_day, |objects| objects.to_string());
        let more_bytes = gained(bucket.bytes_per_day, size);
        [name, account, objects, bucket.versions.to_string(), bytes, more_objects, more_bytes]
    });
    table(["BUCKET", "ACCOUNT", "OBJECTS", "OTHER VERSIONS", "SIZE", "OBJECTS A DAY", "SIZE A DAY"], rows)
}

fn gained(per_day: Option<i64>, shown: impl FnOnce(u64) -> String) -> String {
    match per_day {
        None => "not known yet".to_owned(),
        Some(0) => "0".to_owned(),
        Some(more) if more > 0 => format!("+{}", shown(more.unsigned_abs())),
        Some(less) => format!("-{}", shown(less.unsigned_abs())),
    }
}

fn name_of<'a>(hosts: &'a [HostJson], id: &'a str) -> &'a str {
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

pub fn health(answer: &HealthAnswer) -> String {
    let mut text = format!("{}\n", answer.status);
    for reason in &answer.health.reasons {
        let _ = writeln!(text, "- {reason}");
    }
    for warning in &answer.warnings {
        let _ = writeln!(text, "- {warning}");
    }
    for drive in &answer.health.drives {
        if let Some(why) = &drive.why {
            let _ = writeln!(text, "- drive {} of host {} ({}): {why}", drive.node, drive.host, drive.path);
        }
    }
    // A host that is starting does not know it yet, and says so instead.
    if answer.health.guarantee.starts_with("survives") {
        let _ = writeln!(text, "the layout {} when nothing is missing", answer.health.guarantee);
    }
    text.push_str(&safety(&answer.health.safety));
    text
}

/// Formats the safety assessment: survivable losses, missing shards, work under way, and what the operator has to do.
pub fn safety(safety: &Safety) -> String {
    let mut text = format!(
        "may be lost now without losing data: {}\nmay be lost now without refusing requests: {}\n",
        safety.survives_now, safety.serves_without
    );
    if safety.missing_shards.at_most > 0 {
        let _ = writeln!(
            text,
            "missing shards: {}; objects and parts below full redundancy: {} ({} counted), with no shard to spare: {}, unreadable: {}",
            safety.missing_shards,
            safety.reduced.blobs,
            size(safety.reduced.bytes_counted),
            safety.without_spare.blobs,
            safety.unreadable.blobs,
        );
    }
    for doing in &safety.doing {
        let _ = writeln!(text, "under way: {doing}");
    }
    for to_do in &safety.to_do {
        let _ = writeln!(text, "to do: {to_do}");
    }
    text
}

pub fn drives(drives: &[DriveHealth]) -> String {
    let rows = drives.iter().map(|drive| {
        let state = if drive.in_service { "in service" } else { "out of service" };
        let why = drive.why.clone().unwrap_or_default();
        [
            drive.node.to_string(),
            drive.host.clone(),
            state.to_owned(),
            size(drive.free_bytes),
            size(drive.total_bytes),
            drive.path.clone(),
            why,
        ]
    });
    table(["DRIVE", "HOST", "STATE", "FREE", "SIZE", "DIRECTORY", ""], rows)
}

pub fn layout(layout: &LayoutJson) -> String {
    let rows = layout.nodes.iter().map(|node| {
        let state = match (&node.out_of_service, node.draining) {
            (Some(why), _) => why.clone(),
            (None, true) => "draining".to_owned(),
            (None, false) => "in service".to_owned(),
        };
        let (host, domain) = (node.host_name.clone(), node.domain.clone().unwrap_or_default());
        [node.node.to_string(), host, domain, node.weight.to_string(), node.shards.to_string(), state]
    });
    let nodes = table(["DRIVE", "HOST", "DOMAIN", "WEIGHT", "SHARDS", "STATE"], rows);
    let hosts = host_roles(&layout.hosts);
    let (moves, moving) = (moves(&layout.moves, layout.epoch), moving(&layout.moving, layout.epoch));
    let is_moved_off = |node: &NodeJson| node.draining && node.shards > 0;
    let is_left = layout.moving.shards_left > 0 || layout.nodes.iter().any(is_moved_off);
    let held_up = held_up(&layout.nodes).filter(|_| is_left).map(|why| why + "\n").unwrap_or_default();
    format!("epoch {}\n{nodes}\n{hosts}{moves}{moving}{held_up}", layout.epoch)
}

/// Returns the drives that are to take shards and are out of service, in words: nothing is moved to them. `None` if
/// there are none.
pub fn held_up(nodes: &[NodeJson]) -> Option<String> {
    let mut by_host: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    for node in nodes.iter().filter(|node| !node.draining && node.out_of_service.is_some()) {
        by_host.entry(node.host_name.as_str()).or_default().push(node.node);
    }
    let of_host = |(host, nodes): (&str, Vec<u32>)| format!("{} of host {host}", drive_list(&nodes));
    let drives: Vec<String> = by_host.into_iter().map(of_host).collect();
    (!drives.is_empty()).then(|| {
        format!(
            "what belongs on drives that are out of service waits for them: bring back {}, or drain them too",
            drives.join(", ")
        )
    })
}

/// Formats a table of the hosts' roles; empty if the answer has none.
fn host_roles(hosts: &[HostRolesJson]) -> String {
    if hosts.is_empty() {
        return String::new();
    }
    let rows = hosts.iter().map(|host| {
        let domain = host.domain.clone().unwrap_or_default();
        [host.name.clone(), domain, host.roles.join(",")]
    });
    table(["HOST", "DOMAIN", "ROLES"], rows) + "\n"
}

/// Formats a table of the hosts that shards are still to be moved to; empty if there are none.
fn moves(moves: &[MovesOfHost], epoch: u64) -> String {
    let is_settled = |moving: &MovesJson| moving.settled && moving.epoch == epoch;
    let rows: Vec<[String; 4]> = moves
        .iter()
        .filter(|row| !row.moving.as_ref().is_some_and(is_settled))
        .map(|row| match (&row.moving, &row.host.why) {
            (Some(moving), _) => {
                let (left, waiting) = (moving.shards_left.to_string(), moving.shards_waiting.to_string());
                [row.host.name.clone(), left, size(moving.bytes_left), waiting]
            }
            (None, why) => {
                let why = format!("does not answer: {}", why.as_deref().unwrap_or_default());
                [row.host.name.clone(), why, String::new(), String::new()]
            }
        })
        .collect();
    if rows.is_empty() {
        String::new()
    } else {
        table(["MOVES TO", "SHARDS", "SIZE", "WAITING"], rows.into_iter()) + "\n"
    }
}

fn moving(moving: &MovesJson, epoch: u64) -> String {
    if moving.epoch == epoch && moving.settled {
        return "nothing is left to be moved\n".to_owned();
    }
    let (left, bytes, waiting) = (moving.shards_left, size(moving.bytes_left), moving.shards_waiting);
    let known = if moving.epoch == epoch { "" } else { ", of an older layout" };
    format!("to be moved as far as is known{known}: {left} shards ({bytes}), of which {waiting} wait\n")
}

pub fn layout_changed(changed: &LayoutChanged) -> String {
    format!("epoch {}: {}\n", changed.epoch, drive_list(&changed.nodes))
}

pub fn drive_added(added: &DriveAdded) -> String {
    let DriveAdded { node, path, directories, shares_file_system_with: shared, .. } = added;
    let shared = match shared.as_slice() {
        [] => String::new(),
        shared => {
            let shared = shared.join(", ");
            format!("warning: {path} is on one file system with {shared}: what loses it loses them all\n")
        }
    };
    let all = directories.join(",");
    format!(
        "drive {node} ({path}) is in service; sherd admin layout show --wait ends when it has its share\n\
         SHERD_DATA must name {path}, too, when this host starts next: without it the host does not start. Its drives are in\n\
         {all}\n{shared}"
    )
}

pub fn drive_replaced(replaced: &DriveReplaced) -> String {
    let DriveReplaced { node, path, .. } = replaced;
    format!(
        "drive {node} ({path}) is replaced, and is being filled; sherd admin heal status --wait ends when it is whole\n"
    )
}

pub fn leader_moved(moved: &LeaderMoved) -> String {
    format!("{} leads\n", moved.name)
}

/// Formats the bytes of versions, and those of unfinished uploads if there are any.
fn with_uploads(bytes: u64, parts_bytes: u64) -> String {
    match parts_bytes {
        0 => size(bytes),
        parts_bytes => format!("{} and {} of uploads", size(bytes), size(parts_bytes)),
    }
}

pub fn quota(quota: &QuotaJson) -> String {
    let of = |most: Option<String>| most.map_or_else(|| "without limit".to_owned(), |most| format!("of {most}"));
    let bytes = format!("{} {}", with_uploads(quota.bytes, quota.parts_bytes), of(quota.bytes_max.map(size)));
    let objects = format!("{} {}", quota.objects, of(quota.objects_max.map(|most| most.to_string())));
    let (name, versions) = (&quota.bucket, quota.versions);
    format!("bucket    {name}\nbytes     {bytes}\nobjects   {objects}\nversions  {versions} besides\n")
}

pub fn drive_list(nodes: &[u32]) -> String {
    let nodes: Vec<String> = nodes.iter().map(|node| format!("drive {node}")).collect();
    nodes.join(", ")
}

/// Formats a size in the largest unit in which it is at least 1.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let unit = (0..UNITS.len()).rev().find(|unit| bytes >> (10 * unit) > 0).unwrap_or(0);
    if unit == 0 {
        return format!("{bytes} B");
    }
    let tenths = (u128::from(bytes) * 10) >> (10 * unit);
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// Formats a duration in its two largest units.
pub fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// Formats a table whose columns are as wide as their longest cell.
pub fn table<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
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
    use super::{
        BucketUsageJson, DriveHealth, ForecastJson, HealthAnswer, HostRolesJson, QuotaJson, duration, forecast,
        health as health_text, host_roles, shared_file_systems, size, table,
    };
    use crate::api::Health;

    #[test]
    fn sizes_are_shown_in_binary_units() {
        let sizes = [0, 1023, 1024, 1536, 3 << 30, u64::MAX].map(size);
        assert_eq!(sizes, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "3.0 GiB", "16383.9 PiB"]);
    }

    #[test]
    fn drives_on_one_file_system_are_named() {
        let drive = |node: u32, host: &str, file_system: u64| DriveHealth {
            node,
            host: host.to_owned(),
            path: format!("/data/{node}"),
            in_service: true,
            free_bytes: 1,
            total_bytes: 2,
            file_system,
            why: None,
        };
        let drives = [drive(0, "a", 7), drive(1, "a", 7), drive(2, "a", 8), drive(64, "b", 7), drive(65, "b", 0)];
        assert_eq!(shared_file_systems(&drives), [("a", "0, 1".to_owned())], "another host has disks of its own");
    }

    #[test]
    fn a_forecast_names_the_measured_period() {
        let of = |hours: u64, bytes_per_day, full_in_seconds| {
            let measured_seconds = hours * 3600;
            forecast(&ForecastJson { measured_seconds, stored_bytes: Some(1), bytes_per_day, full_in_seconds })
        };
        assert_eq!(of(5, None, None), "not known yet (5 hours measured)");
        let full = of(168, Some(3 << 30), Some(41 * 86_400));
        assert_eq!(full, "in about 41 d 0 h at 3.0 GiB more a day (7 days measured)");
        assert_eq!(of(30, Some(0), None), "not at this rate: what is stored stays the same (30 hours measured)");
        assert_eq!(of(72, Some(-1024), None), "not at this rate: 1.0 KiB less a day (3 days measured)");
    }

    #[test]
    fn health_names_the_losses_that_the_layout_survives_by_design() {
        let shown = |guarantee: &str| {
            let health = Health { reads: true, writes: true, guarantee: guarantee.to_owned(), ..Health::default() };
            health_text(&HealthAnswer::new(health, Vec::new()))
        };
        let alone = shown("survives no loss");
        assert!(alone.starts_with("ok\nthe layout survives no loss when nothing is missing\n"), "{alone}");
        assert!(!shown("unknown until the start is complete").contains("layout"));
    }

    #[test]
    fn durations_are_shown_in_their_two_largest_units() {
        let times = [0, 59, 60, 3599, 3600, 86_399, 90_000, 30 * 86_400].map(duration);
        let wanted = ["0 s", "59 s", "1 min 0 s", "59 min 59 s", "1 h 0 min", "23 h 59 min", "1 d 1 h", "30 d 0 h"];
        assert_eq!(times, wanted);
    }

    #[test]
    fn hosts_are_shown_with_their_roles() {
        let roles = vec!["meta".to_owned(), "storage".to_owned()];
        let (name, domain) = ("a".to_owned(), Some("left".to_owned()));
        let host = HostRolesJson { host: "1".to_owned(), name, domain, roles };
        assert_eq!(host_roles(&[host]), "HOST  DOMAIN  ROLES\na     left    meta,storage\n\n");
        assert_eq!(host_roles(&[]), "");
    }

    #[test]
    fn a_bucket_is_shown_with_its_growth_per_day() {
        let bucket = |name: &str, bytes_per_day, objects_per_day| BucketUsageJson {
            bucket: name.to_owned(),
            account: "1".to_owned(),
            objects: 3,
            versions: 0,
            bytes: 2048,
            parts_bytes: 0,
            bytes_max: Some(4096),
            objects_max: None,
            bytes_per_day,
            objects_per_day,
        };
        let text = super::buckets(&[
            bucket("new", None, None),
            bucket("grows", Some(1 << 30), Some(7)),
            bucket("shrinks", Some(-2048), Some(0)),
        ]);
        let expected = "\
BUCKET   ACCOUNT  OBJECTS  OTHER VERSIONS  SIZE                OBJECTS A DAY  SIZE A DAY
new      1        3        0               2.0 KiB of 4.0 KiB  not known yet  not known yet
grows    1        3        0               2.0 KiB of 4.0 KiB  +7             +1.0 GiB
shrinks  1        3        0               2.0 KiB of 4.0 KiB  0              -2.0 KiB
";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_quota_is_shown_with_the_present_usage() {
        let quota = QuotaJson {
            bucket: "b".to_owned(),
            bytes_max: Some(10 << 30),
            objects_max: None,
            bytes: 2 << 30,
            parts_bytes: 1 << 30,
            objects: 7,
            versions: 2,
        };
        let text = "bucket    b\nbytes     2.0 GiB and 1.0 GiB of uploads of 10.0 GiB\nobjects   7 without limit\nversions  2 besides\n";
        assert_eq!(super::quota(&quota), text);
    }

    #[test]
    fn the_columns_of_a_table_are_aligned() {
        let rows = [["1".to_owned(), "long".to_owned()], ["22".to_owned(), "x".to_owned()]];
        assert_eq!(table(["N", "WORD"], rows.into_iter()), "N   WORD\n1   long\n22  x\n");
    }
}
