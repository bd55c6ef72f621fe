//! Numbers of data and parity shards, and the write quorum.

use crate::types::Geometry;

/// Data and parity shards for a number of drives, where nobody chose: never more shards than drives.
pub fn auto_geometry(drives: usize) -> (u8, u8) {
    match drives {
        0 | 1 => (1, 0),
        2 => (1, 1),
        3 => (2, 1),
        4 => (2, 2),
        5 => (3, 2),
        6 | 7 => (4, 2),
        _ => (6, 2),
    }
}

/// Shards of a blob, at most, where nobody chose: more would cost more syncs a write than they save in space.
const SHARDS_CHOSEN_MAX: usize = 8;

/// Data and parity shards for hosts with so many drives each, where nobody chose. No two shards of a blob are on one drive, and
/// no host holds more than `m` of them; with three hosts or more, enough are left with one host down that new blobs are
/// still written: no host holds more than `m - 1`. Of those the ones that take least space, then two parity
/// shards rather than one, then the narrowest.
pub fn auto_geometry_of_hosts(drives: &[usize]) -> (u8, u8) {
    let drives: Vec<usize> = drives.iter().copied().filter(|drives| *drives > 0).collect();
    let [_, _, ..] = drives[..] else { return auto_geometry(drives.iter().sum()) };
    let spare = usize::from(drives.len() >= 3);
    let mut chosen: Option<(usize, usize)> = None;
    for shards in 2..=SHARDS_CHOSEN_MAX.min(drives.iter().sum()) {
        let parity = most_on_a_host(&drives, shards) + spare;
        let Some(data) = shards.checked_sub(parity).filter(|data| *data > 0) else { continue };
        // Less space: `shards / data` is less than what is chosen so far.
        let better = chosen.is_none_or(|(best_data, best_parity)| {
            let (cost, best_cost) = (shards * best_data, (best_data + best_parity) * data);
            cost < best_cost || (cost == best_cost && best_parity < 2 && parity >= 2)
        });
        if better {
            chosen = Some((data, parity));
        }
    }
    let (data, parity) = chosen.unwrap_or((1, 1));
    (data as u8, parity as u8)
}

/// Shards on the host that has most of them, spread as evenly as drives allow, at most one a drive.
fn most_on_a_host(drives: &[usize], shards: usize) -> usize {
    let fits = |most: &usize| drives.iter().map(|drives| drives.min(most)).sum::<usize>() >= shards;
    (1..=shards).find(fits).unwrap_or(shards)
}

/// Returns whether objects of so many data and parity shards stay readable after the loss of any one of so many drives,
/// over which their shards are spread evenly.
pub fn survives_a_drive((data, parity): (u8, u8), drives: usize) -> bool {
    let shards = usize::from(data) + usize::from(parity);
    shards.div_ceil(drives.max(1)) <= usize::from(parity)
}

/// Returns the reason for which a requested geometry is pointless on so many drives: it has parity, and still does not
/// survive the loss of one of several drives. Without parity, and on one drive, that is expected.
pub fn pointless_parity((data, parity): (u8, u8), drives: usize) -> Option<String> {
    if parity == 0 || drives < 2 || survives_a_drive((data, parity), drives) {
        return None;
    }
    let on_a_drive = (usize::from(data) + usize::from(parity)).div_ceil(drives);
    Some(format!(
        "{data}+{parity} on {drives} drives puts {on_a_drive} shards of an object on one of them, and {parity} at most may be \
         lost: the loss of one drive would lose objects; ask for auto or for a geometry of at most {drives} shards, or for \
         {data}+0 if no drive's loss is to be survived"
    ))
}

/// Durable shards without which no write is acknowledged, where a node takes so many of them at most: enough to read without
/// any one node. Where no parity allows for that, one more than it takes to read, if there is one more.
pub fn write_quorum(geometry: Geometry, on_a_node: usize) -> usize {
    let spare = usize::from(geometry.parity);
    usize::from(geometry.data) + if on_a_node <= spare { on_a_node } else { spare.min(1) }
}
