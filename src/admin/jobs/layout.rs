//! The command `sherd admin layout`: shows and changes the layout, and waits until shards are where they belong.

use crate::admin::client::Client;
use crate::admin::progress::{Job, Look, wait};
use crate::admin::{AdminFailure, show, tell};
use crate::api::admin::{ChangeLayout, HostAnswer, LayoutChanged, LayoutJson, NodeJson};
use crate::config::{LayoutQuestion, Waiting};
use std::io::Write;

const MOVING: Job = Job {
    name: "move",
    unit: "shards",
    count: |shards| shards.to_string(),
    afterwards: "it goes on, and `sherd admin layout show` shows it",
};
/// The move off what is to be removed: the removal itself is ordered after it.
const REMOVING: Job = Job {
    name: "removal",
    afterwards: "nothing was removed. Shards go on to be moved, as `sherd admin layout show` shows; then order the removal \
                 again",
    ..MOVING
};

pub fn run(
    client: &Client,
    asked: &LayoutQuestion,
    json: bool,
    waiting: Option<Waiting>,
    out: &mut impl Write,
) -> Result<u8, AdminFailure> {
    match asked {
        LayoutQuestion::Show => {
            let code = wait_for(client, &MOVING, waiting, out, settled)?;
            tell(&client.get::<LayoutJson>("/layout")?, json, show::layout, out)?;
            Ok(code)
        }
        LayoutQuestion::Drain { of } => {
            let drained = change(client, &ChangeLayout::Drain { of: of.clone() }, json, out)?;
            wait_for(client, &MOVING, waiting, out, |layout| emptied(layout, &drained.nodes))
        }
        LayoutQuestion::Restore { of } => {
            change(client, &ChangeLayout::Restore { of: of.clone() }, json, out)?;
            wait_for(client, &MOVING, waiting, out, settled)
        }
        LayoutQuestion::Weight { node, weight } => {
            change(client, &ChangeLayout::Weight { node: *node, weight: *weight }, json, out)?;
            wait_for(client, &MOVING, waiting, out, settled)
        }
        LayoutQuestion::Remove { of, lost } => {
            let code = wait_for(client, &REMOVING, waiting, out, |layout| may_go(layout, of, *lost))?;
            if code == 0 {
                change(client, &ChangeLayout::Remove { of: of.clone(), lost: *lost }, json, out)?;
            }
            Ok(code)
        }
    }
}

fn change(
    client: &Client,
    change: &ChangeLayout,
    json: bool,
    out: &mut impl Write,
) -> Result<LayoutChanged, AdminFailure> {
    let changed: LayoutChanged = client.post("/layout", change)?;
    tell(&changed, json, show::layout_changed, out)?;
    Ok(changed)
}

fn wait_for(
    client: &Client,
    job: &Job,
    waiting: Option<Waiting>,
    out: &mut impl Write,
    judge: impl Fn(&LayoutJson) -> Look,
) -> Result<u8, AdminFailure> {
    let Some(waiting) = waiting else { return Ok(0) };
    // The answer is shown before the waiting begins.
    out.flush()?;
    let look = || Ok(judge(&client.get::<LayoutJson>("/layout")?));
    wait(job, waiting, &*client.ambient.clock, look)
}

/// Judges whether every host has all shards that belong on it by the newest layout.
fn settled(layout: &LayoutJson) -> Look {
    if let Some(silent) = silent(layout.moves.iter().map(|row| &row.host)) {
        return silent;
    }
    let moving = &layout.moving;
    match (moving.settled && moving.epoch == layout.epoch, moving.shards_left, moving.shards_waiting) {
        (true, ..) => Look::done(),
        (false, 0, _) => Look::Left { left: 0, note: ", still comparing with the layout".to_owned() },
        (false, left, 0) => Look::Left { left, note: held_up(layout) },
        (false, left, waiting) => Look::Left { left, note: format!(", {waiting} put off") + &held_up(layout) },
    }
}

/// Returns the end of a line about shards that are left, which names the drives that they may wait for.
fn held_up(layout: &LayoutJson) -> String {
    show::held_up(&layout.nodes).map(|why| format!("; {why}")).unwrap_or_default()
}

/// Returns the first host that does not answer, if any.
pub(super) fn silent<'a>(mut hosts: impl Iterator<Item = &'a HostAnswer>) -> Option<Look> {
    hosts.find_map(|host| Some(Look::Silent(format!("host {} does not answer: {}", host.name, host.why.as_ref()?))))
}

/// Judges whether all shards were moved off these drained drives.
fn emptied(layout: &LayoutJson, nodes: &[u32]) -> Look {
    let drained: Vec<&NodeJson> = layout.nodes.iter().filter(|node| nodes.contains(&node.node)).collect();
    if let Some(node) = drained.iter().find(|node| !node.draining) {
        return Look::Failed(format!("drive {} takes shards again", node.node));
    }
    match drained.iter().map(|node| node.shards).sum() {
        0 => Look::done(),
        left => Look::Left { left, note: held_up(layout) },
    }
}

/// Judges whether a removal of the drive or host can be requested: once it holds nothing, or at once if it is not
/// draining, as the request is then refused with the reason.
fn may_go(layout: &LayoutJson, of: &str, lost: bool) -> Look {
    let is_meant = |node: &&NodeJson| node.node.to_string() == of || node.host_name == of || node.host == of;
    let meant: Vec<&NodeJson> = layout.nodes.iter().filter(is_meant).collect();
    if meant.iter().any(|node| !node.draining) {
        return Look::done();
    }
    let dropped: u64 = meant.iter().map(|node| node.garbage + node.leftovers).sum();
    match (meant.iter().map(|node| node.shards).sum::<u64>(), if lost { 0 } else { dropped }) {
        (0, 0) => Look::done(),
        (held, 0) => Look::Left { left: held, note: held_up(layout) },
        (held, dropped) => Look::Left { left: held + dropped, note: format!(", of which {dropped} are to be dropped") },
    }
}

#[cfg(test)]
mod tests {
    use super::{Look, emptied, may_go, settled};
    use crate::api::admin::LayoutJson;

    fn layout(nodes: &str, moving: &str, moves: &str) -> LayoutJson {
        let text = format!(r#"{{"epoch":9,"nodes":[{nodes}],"moving":{moving},"moves":[{moves}]}}"#);
        serde_json::from_str(&text).expect("a layout")
    }

    fn node(node: u32, draining: bool, shards: u64, leftovers: u64) -> String {
        format!(
            r#"{{"node":{node},"host":"1","host_name":"a","domain":null,"weight":5,"draining":{draining},
                "out_of_service":null,"incarnation":"1","shards":{shards},"garbage":0,"leftovers":{leftovers}}}"#
        )
    }

    const SETTLED: &str =
        r#"{"epoch":9,"settled":true,"shards_left":0,"bytes_left":0,"shards_waiting":0,"shards_moved":0}"#;

    fn words(look: &Look) -> String {
        match look {
            Look::Left { left, note } => format!("{left}{note}"),
            Look::Done { note } => format!("done{note}"),
            Look::Failed(why) | Look::Silent(why) => why.clone(),
        }
    }

    #[test]
    fn moves_are_done_when_every_host_is_settled_in_the_newest_layout() {
        let of = |moving: &str, moves: &str| words(&settled(&layout("", moving, moves)));
        assert_eq!(of(SETTLED, r#"{"host":"1","name":"a","why":null}"#), "done");
        assert_eq!(of(SETTLED, r#"{"host":"1","name":"a","why":"gone"}"#), "host a does not answer: gone");
        let older = SETTLED.replace("\"epoch\":9", "\"epoch\":8");
        assert_eq!(of(&older, ""), "0, still comparing with the layout");
        let left = SETTLED.replace("true", "false").replace("\"shards_left\":0", "\"shards_left\":3");
        assert_eq!(of(&left, ""), "3");
    }

    #[test]
    fn drained_drives_are_done_when_they_hold_nothing() {
        let of = |nodes: &str| words(&emptied(&layout(nodes, SETTLED, ""), &[1]));
        assert_eq!(of(&[node(0, false, 9, 0), node(1, true, 4, 0)].join(",")), "4");
        assert_eq!(of(&node(1, true, 0, 3)), "done");
        assert_eq!(of(&node(1, false, 0, 0)), "drive 1 takes shards again");
        assert_eq!(of(&node(0, false, 9, 0)), "done", "it was removed");
    }

    #[test]
    fn drives_that_are_out_of_service_are_named_while_shards_may_wait_for_them() {
        let down = |node: u32, draining| {
            self::node(node, draining, 9, 0).replace("\"out_of_service\":null", "\"out_of_service\":\"gone\"")
        };
        let waits = "; what belongs on drives that are out of service waits for them: bring back drive 2, drive 3 of host a, \
                     or drain them too";
        let nodes =
            [node(0, false, 9, 0), node(1, true, 4, 0), down(2, false), down(3, false), down(4, true)].join(",");
        let left = SETTLED.replace("true", "false").replace("\"shards_left\":0", "\"shards_left\":3");
        let shown = layout(&nodes, &left, "");
        assert_eq!(words(&emptied(&shown, &[1])), format!("4{waits}"));
        assert_eq!(words(&settled(&shown)), format!("3{waits}"));
        assert_eq!(words(&may_go(&shown, "4", false)), format!("9{waits}"));
        assert_eq!(words(&emptied(&layout(&down(1, true), SETTLED, ""), &[1])), "9", "what is drained takes nothing");
        let text = crate::admin::show::layout(&shown);
        assert!(text.ends_with("bring back drive 2, drive 3 of host a, or drain them too\n"), "{text}");
    }

    #[test]
    fn a_removal_waits_until_the_drive_has_no_shards_and_no_garbage() {
        let of = |node: &str, of: &str, lost| words(&may_go(&layout(node, SETTLED, ""), of, lost));
        assert_eq!(of(&node(1, true, 4, 3), "1", false), "7, of which 3 are to be dropped");
        assert_eq!(of(&node(1, true, 0, 3), "a", true), "done", "what is lost is not waited for");
        assert_eq!(of(&node(1, true, 2, 3), "a", true), "2");
        assert_eq!(of(&node(1, false, 4, 0), "1", false), "done", "it is refused with the reason");
        assert_eq!(of(&node(1, true, 4, 0), "nobody", false), "done", "it is refused with the reason");
    }
}
