//! The automatic choice of the numbers of data and parity shards, and the write quorum.

use crate::types::Geometry;

/// Returns the automatic data and parity shards for the drives of one host: never more shards than drives.
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

/// The most shards of a blob in an automatic geometry. More shards would cost more syncs per write than they save in
/// space.
const SHARDS_CHOSEN_MAX: usize = 8;

/// Returns the automatic data and parity shards for several hosts; `drives[h]` is the number of drives of host `h`.
///
/// No drive holds two shards of a blob. No host holds more than `m`; with three hosts or more, no host holds more than
/// `m - 1`, so that new blobs are still written while one host is down. Among such geometries, the one that takes the
/// least space is chosen; in a tie, one with two parity shards rather than one, and then the one with the fewest
/// shards.
pub fn auto_geometry_of_hosts(drives: &[usize]) -> (u8, u8) {
    let drives: Vec<usize> = drives.iter().copied().filter(|drives| *drives > 0).collect();
    let [_, _, ..] = drives[..] else { return auto_geometry(drives.iter().sum()) };
    let spare = usize::from(drives.len() >= 3);
    let mut chosen: Option<(usize, usize)> = None;
    for shards in 2..=SHARDS_CHOSEN_MAX.min(drives.iter().sum()) {
        let parity = most_on_a_host(&drives, shards) + spare;
        let Some(data) = shards.checked_sub(parity).filter(|data| *data > 0) else { continue };
        // The cost in space is `shards / data`; both fractions are brought to a common denominator.
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

/// Returns the shards on the host with the most, if shards are spread as evenly as possible with at most one on each
/// drive.
fn most_on_a_host(drives: &[usize], shards: usize) -> usize {
    let fits = |most: &usize| drives.iter().map(|drives| drives.min(most)).sum::<usize>() >= shards;
    (1..=shards).find(fits).unwrap_or(shards)
}

/// Returns whether objects of this geometry stay readable after the loss of any one of `drives` drives, if shards are
/// spread evenly over them.
pub fn survives_a_drive((data, parity): (u8, u8), drives: usize) -> bool {
    let shards = usize::from(data) + usize::from(parity);
    shards.div_ceil(drives.max(1)) <= usize::from(parity)
}

/// Returns the reason if the parity of a requested geometry is pointless on `drives` drives: it has parity, but does
/// not survive the loss of one drive. A geometry without parity, or on a single drive, is not reported.
pub fn pointless_parity((data, parity): (u8, u8), drives: usize) -> Option<String> {
    if parity == 0 || drives < 2 || survives_a_drive((data, parity), drives) {
        return None;
    }
    let on_a_drive = (usize::from(data) + usize::from(parity)).div_ceil(drives);
    Some(format!(
        "{data}+{parity} on {drives} drives puts {on_a_drive} shards of an object on one drive, but at most {parity} may be \
         lost: the loss of one drive would lose objects; ask for auto, for a geometry of at most {drives} shards, or for \
         {data}+0 if the store need not survive the loss of a drive"
    ))
}

/// Returns the number of durable shards that a write needs to be acknowledged, if a node has at most `on_a_node` of
/// them: enough to read without any one node. If the parity does not allow that, one more than a read needs; without
/// parity, all.
pub fn write_quorum(geometry: Geometry, on_a_node: usize) -> usize {
    let spare = usize::from(geometry.parity);
    usize::from(geometry.data) + if on_a_node <= spare { on_a_node } else { spare.min(1) }
}
