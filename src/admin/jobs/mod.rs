//! The commands `sherd admin heal`, `scrub` and `layout`: jobs of all hosts, or of one, and waiting for them. The exit
//! code is 1 if a selected host does not answer. An order that a host did not take is not waited for.

mod layout;
mod waits;

pub use layout::run as layout;

use super::client::{Client, with_host};
use super::show::{drive_list, duration, safety, size, table};
use super::{AdminFailure, tell};
use crate::api::admin::{
    ChooseScrub, HealCounts, HealStatus, HostAnswer, Ordered, ScrubCounts, ScrubJson, ScrubOfHost, ScrubStatus,
    StartHeal,
};
use crate::config::{JobQuestion, Waiting};
use crate::types::UnixMs;
use std::fmt::Write as _;
use std::io::Write;

/// Shows a job, or orders it. With `waiting` a job is shown as it is when the waiting ends.
pub fn run(
    client: &Client,
    asked: &JobQuestion,
    json: bool,
    waiting: Option<Waiting>,
    out: &mut impl Write,
) -> Result<u8, AdminFailure> {
    match asked {
        JobQuestion::HealStatus { host } => {
            let waited = waiting.map(|waiting| waits::heal(client, host.as_deref(), waiting, out)).transpose()?;
            let status: HealStatus = client.get(&with_host("/heal", host.as_deref()))?;
            tell(&status, json, heal_status, out)?;
            let is_silent = || u8::from(any_silent(status.hosts.iter().map(|host| &host.host)));
            Ok(waited.unwrap_or_else(is_silent))
        }
        JobQuestion::HealStart { host } => {
            let ordered: Ordered = client.post("/heal", &StartHeal { host: host.clone() })?;
            tell(&ordered, json, |ordered| words_of(ordered, "comparing with the metadata"), out)?;
            match waiting.filter(|_| !is_refused(&ordered)) {
                Some(waiting) => waits::heal(client, host.as_deref(), waiting, out),
                None => Ok(u8::from(is_refused(&ordered))),
            }
        }
        JobQuestion::ScrubStatus { host } => {
            let path = with_host("/scrub", host.as_deref());
            let wait = |waiting| waits::Passes::under_way(&client.get(&path)?).wait(client, waiting, out);
            let waited = waiting.map(wait).transpose()?;
            let status: ScrubStatus = client.get(&path)?;
            let now = client.ambient.clock.unix_ms();
            tell(&status, json, |status| scrub_status(status, now), out)?;
            let is_silent = || u8::from(any_silent(status.hosts.iter().map(|host| &host.host)));
            Ok(waited.unwrap_or_else(is_silent))
        }
        JobQuestion::ScrubStart { node, host } => {
            let before: Option<ScrubStatus> = waiting.map(|_| client.get("/scrub")).transpose()?;
            let ordered: Ordered = client.post("/scrub", &ChooseScrub { node: *node, host: host.clone() })?;
            tell(&ordered, json, |ordered| words_of(ordered, "verifying every chunk of"), out)?;
            match waiting.zip(before).filter(|_| !is_refused(&ordered)) {
                Some((waiting, before)) => waits::Passes::ordered(&before, &ordered.nodes).wait(client, waiting, out),
                None => Ok(u8::from(is_refused(&ordered))),
            }
        }
        JobQuestion::ScrubStop { node, host } => {
            let ordered: Ordered = client.post("/scrub/stop", &ChooseScrub { node: *node, host: host.clone() })?;
            tell(&ordered, json, |ordered| words_of(ordered, "ending the passes over"), out)?;
            Ok(u8::from(is_refused(&ordered)))
        }
    }
}

/// Returns true if a host did not take the order.
fn is_refused(ordered: &Ordered) -> bool {
    any_silent(ordered.hosts.iter().map(|host| &host.host))
}

fn any_silent<'a>(mut hosts: impl Iterator<Item = &'a HostAnswer>) -> bool {
    hosts.any(|host| host.why.is_some())
}

fn words_of(ordered: &Ordered, doing: &str) -> String {
    let mut text = match ordered.nodes.as_slice() {
        [] => format!("{doing}: no drive\n"),
        nodes => format!("{doing}: {}\n", drive_list(nodes)),
    };
    for host in ordered.hosts.iter().map(|row| &row.host) {
        if let Some(why) = &host.why {
            let _ = writeln!(text, "host {} did not do it: {why}", host.name);
        }
    }
    text
}

fn heal_status(status: &HealStatus) -> String {
    let (sum, mut text) = (&status.sum, String::new());
    for (count, what) in [
        (status.missing_shards, "missing shards"),
        (status.under_replicated_objects, "under-replicated objects"),
        (sum.corrupt_chunks, "corrupt chunks"),
        (sum.orphaned_shards, "orphaned shards"),
        (status.garbage_blobs, "blobs to reclaim"),
    ] {
        let _ = writeln!(text, "{count} {what}");
    }
    let _ = writeln!(
        text,
        "{} shards to repair ({} at most): {} under way, {} put off, {} a second, {}",
        sum.to_repair_shards,
        size(sum.to_repair_bytes),
        sum.repairing,
        sum.put_off,
        size(sum.bytes_per_second),
        time_left(sum.eta_seconds),
    );
    let (shards, bytes) = (sum.repaired_shards, size(sum.repaired_bytes));
    let _ = writeln!(text, "since the hosts started: {shards} shards repaired, {bytes}");
    if sum.comparisons_due.is_empty() {
        text.push_str("every drive was compared with the metadata\n");
    } else {
        let _ = writeln!(text, "still to be compared with the metadata: {}", drive_list(&sum.comparisons_due));
    }
    let rows = status.hosts.iter().map(|row| heal_row(&row.host, row.counts.as_ref()));
    let head = ["HOST", "CORRUPT", "ORPHANED", "TO REPAIR", "UNDER WAY", "PUT OFF", "REPAIRED", "LEFT", "TO COMPARE"];
    text.push('\n');
    text.push_str(&table(head, rows));
    text.push('\n');
    text.push_str(&safety(&status.safety));
    text
}

fn heal_row(host: &HostAnswer, counts: Option<&HealCounts>) -> [String; 9] {
    let name = host.name.clone();
    let Some(counts) = counts else {
        let empty = String::new;
        return [name, silence(host), empty(), empty(), empty(), empty(), empty(), empty(), empty()];
    };
    [
        name,
        counts.corrupt_chunks.to_string(),
        counts.orphaned_shards.to_string(),
        counts.to_repair_shards.to_string(),
        counts.repairing.to_string(),
        counts.put_off.to_string(),
        counts.repaired_shards.to_string(),
        time_left(counts.eta_seconds),
        counts.comparisons_due.len().to_string(),
    ]
}

fn time_left(eta_seconds: Option<u64>) -> String {
    match eta_seconds {
        None => "time left not known".to_owned(),
        Some(0) => "done".to_owned(),
        Some(seconds) => format!("{} left", duration(seconds)),
    }
}

fn silence(host: &HostAnswer) -> String {
    format!("does not answer: {}", host.why.as_deref().unwrap_or("it did not say why"))
}

fn scrub_status(status: &ScrubStatus, now: UnixMs) -> String {
    let total = ["all".to_owned()].into_iter().chain(scrub_counts(&status.sum));
    let rows = status.hosts.iter().map(scrub_row);
    let hosts = table(["HOST", "DRIVES", "UNDER WAY", "WANTED", "DONE", "LEFT", "CORRUPT"], rows.chain([seven(total)]));
    let of_host = |row: &ScrubOfHost| {
        let name = row.host.name.clone();
        row.drives.iter().map(move |drive| drive_row(&name, drive, now)).collect::<Vec<_>>()
    };
    let drives = table(["DRIVE", "HOST", "STATE", "CORRUPT", "LAST", "NEXT"], status.hosts.iter().flat_map(of_host));
    format!("{hosts}\n{drives}")
}

fn scrub_row(row: &ScrubOfHost) -> [String; 7] {
    let name = [row.host.name.clone()].into_iter();
    match &row.counts {
        Some(counts) => seven(name.chain(scrub_counts(counts))),
        None => seven(name.chain([silence(&row.host)])),
    }
}

/// Fills a row of seven cells; cells that are not given stay empty.
fn seven(cells: impl Iterator<Item = String>) -> [String; 7] {
    let mut row: [String; 7] = Default::default();
    row.iter_mut().zip(cells).for_each(|(to, cell)| *to = cell);
    row
}

fn scrub_counts(counts: &ScrubCounts) -> [String; 6] {
    let (done, left) = match counts.under_way {
        0 => (String::new(), String::new()),
        _ => (permille(counts.done_permille), counts.eta_seconds.map(duration).unwrap_or_default()),
    };
    let [drives, under_way, wanted] = [counts.drives_count, counts.under_way, counts.wanted].map(|n| n.to_string());
    [drives, under_way, wanted, done, left, counts.corrupt.to_string()]
}

fn permille(done: u64) -> String {
    format!("{}.{} %", done / 10, done % 10)
}

fn drive_row(host: &str, drive: &ScrubJson, now: UnixMs) -> [String; 6] {
    let state = match drive.began {
        Some(_) => {
            let left = drive.eta_seconds.map(|eta| format!(", {} left", duration(eta))).unwrap_or_default();
            format!("{}{left}", permille(drive.done_permille))
        }
        None if drive.wanted => "begins now".to_owned(),
        None => "waits".to_owned(),
    };
    let ago = |then: u64| format!("{} ago", duration(now.0.saturating_sub(then) / 1000));
    let due = format!("in {}", duration(drive.due.saturating_sub(now.0) / 1000));
    let next = if drive.began.is_some() { String::new() } else { due };
    let last = drive.finished.map_or_else(|| "never".to_owned(), ago);
    [drive.node.to_string(), host.to_owned(), state, drive.corrupt.to_string(), last, next]
}

#[cfg(test)]
mod tests {
    use super::{any_silent, heal_status, scrub_status, words_of};
    use crate::api::admin::{HealStatus, Ordered, ScrubStatus};
    use crate::types::UnixMs;

    #[test]
    fn heal_status_has_a_row_for_each_host_even_a_silent_one() {
        let status: HealStatus = serde_json::from_str(
            r#"{"missing_shards":3,"under_replicated_objects":2,"garbage_blobs":1,
                "corrupt_chunks":0,"orphaned_shards":0,"to_repair_shards":3,"to_repair_bytes":4096,"repairing":1,
                "put_off":0,"repaired_shards":5,"repaired_bytes":1024,"bytes_per_second":0,"eta_seconds":null,
                "comparisons_due":[1],"hosts":[
                {"host":"1","name":"a","why":null,"corrupt_chunks":0,"orphaned_shards":0,"to_repair_shards":3,
                 "to_repair_bytes":4096,"repairing":1,"put_off":0,"repaired_shards":5,"repaired_bytes":1024,
                 "bytes_per_second":0,"eta_seconds":60,"comparisons_due":[1]},
                {"host":"2","name":"b","why":"gone"}]}"#,
        )
        .expect("an answer");
        let text = heal_status(&status);
        assert!(text.starts_with("3 missing shards\n"), "{text}");
        let row = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
        assert!(row("a ").contains("1 min 0 s left"), "{text}");
        assert!(row("b ").contains("does not answer: gone"), "{text}");
        assert!(text.contains("still to be compared with the metadata: drive 1\n"), "{text}");
        assert!(any_silent(status.hosts.iter().map(|host| &host.host)));
    }

    #[test]
    fn scrub_status_has_a_row_for_each_host_their_sum_and_each_drive() {
        let status: ScrubStatus = serde_json::from_str(
            r#"{"drives_count":1,"under_way":1,"wanted":0,"done_permille":255,"eta_seconds":60,"corrupt":2,"hosts":[
                {"host":"1","name":"a","why":null,"drives_count":1,"under_way":1,"wanted":0,"done_permille":255,
                 "eta_seconds":60,"corrupt":2,"drives":[{"node":7,"began":1,"wanted":false,"done_permille":255,
                 "eta_seconds":60,"corrupt":2,"finished":null,"due":9}]},
                {"host":"2","name":"b","why":"gone","drives":[]}]}"#,
        )
        .expect("an answer");
        let text = scrub_status(&status, UnixMs(5));
        let has = |what: &str| assert!(text.lines().any(|line| line.contains(what)), "{what}: {text}");
        has("b     does not answer: gone");
        has("all   1");
        has("7      a     25.5 %, 1 min 0 s left");
    }

    #[test]
    fn an_order_names_the_drives_and_the_hosts_that_did_not_take_it() {
        let ordered = |text: &str| -> Ordered { serde_json::from_str(text).expect("an answer") };
        let one = ordered(r#"{"nodes":[0,1],"hosts":[{"host":"2","name":"b","why":"gone","nodes":[]}]}"#);
        assert_eq!(words_of(&one, "verifying"), "verifying: drive 0, drive 1\nhost b did not do it: gone\n");
        assert_eq!(words_of(&ordered(r#"{"nodes":[]}"#), "ending"), "ending: no drive\n");
    }
}
