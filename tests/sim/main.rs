//! The whole store but its listeners, on one simulated disk whose power is cut: at any change of the disk, in the midst of
//! formation, recovery, writes, deletes, multipart uploads, compaction, reclaiming and repair. What was not synced is
//! dropped, torn or reordered. Afterwards every acknowledged change stands, and nothing that was deleted is back.
//!
//! Besides, in each seed something else goes wrong (`Damage`): a drive is empty when the power is back (it is rebuilt before the
//! next cut), fails or is full, a sync or a write fails, bits flip, nodes refuse or do not answer, the wall clock is stepped.
//!
//! Deterministic: one thread, paused time, everything drawn from one seed. `SHERD_SIM_SEEDS` says how many seeds are tried,
//! `SHERD_SIM_SEED` tries that one alone.

#[path = "../harness/settings.rs"]
mod settings;

mod ambient;
mod defects;
mod faults;
mod ledger;
mod oracle;
mod stray;
mod work;
mod world;

use ambient::Simulated;
use ledger::{Ledger, Tally};
use settings::number;
use sherd::storage::disk::sim::DriveFault;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use world::{DRIVES, World};

const SEEDS_DEFAULT: u64 = 60;
const ROUNDS: u64 = 3;
/// The most simulated time of a seed.
const PATIENCE: Duration = Duration::from_secs(6 * 3600);
/// Changes of the disk from the beginning of a round to the cut, at most; in a long round, in which chores get far.
const CHANGES_MAX: u64 = 700;
const CHANGES_LONG_MAX: u64 = 6000;

/// The damage besides power cuts, in one run of a seed: not more at once than parity covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    None,
    /// A drive is empty when the power is back, now and then; it is rebuilt before the next cut.
    ReplacedDrives,
    /// In one of the rounds a sync fails, and with it the log that asked for it.
    FailedSync,
    FailedWrite,
    /// Bits of the shards of one drive flip while the power is off, once.
    Rot,
    /// A bit of one copy of the log of metadata, or of its snapshot, flips while the power is off, once.
    RottenCopy,
    /// In one of the rounds a drive fails as a whole, is full, or cannot be read.
    FailedDrive(DriveFault),
    /// Nodes refuse, are full, answer late, or do what they are asked for and do not say so: up to so many at once.
    Storm(u64),
}

impl Damage {
    fn draw(ambient: &Simulated) -> Self {
        match ambient.below(16) {
            0..4 => Self::ReplacedDrives,
            4 => Self::FailedSync,
            5 => Self::FailedWrite,
            6..8 => Self::Rot,
            8..10 => Self::RottenCopy,
            10 => Self::FailedDrive(DriveFault::Dead),
            11 => {
                let fault = if ambient.below(2) == 0 { DriveFault::Full } else { DriveFault::Unreadable };
                Self::FailedDrive(fault)
            }
            12..15 => Self::Storm(1 + ambient.below(2)),
            _ => Self::None,
        }
    }

    /// Makes calls of the disk fail in the round that comes; whether it does.
    fn begin(self, world: &World, ambient: &Simulated) -> bool {
        match self {
            Self::FailedSync => world.disk.fail_next_syncs(1),
            Self::FailedWrite => world.disk.fail_next_writes(1),
            Self::FailedDrive(fault) => world.fail_drive(ambient.below(DRIVES as u64) as usize, fault),
            _ => return false,
        }
        true
    }

    /// While the power is off; whether a drive has been replaced.
    fn strike(self, world: &World, ambient: &Simulated, is_its_round: bool, tally: &mut Tally) -> bool {
        let drive = ambient.below(DRIVES as u64) as usize;
        match self {
            Self::ReplacedDrives if ambient.below(2) == 0 => {
                world.replace_drive(drive);
                return true;
            }
            Self::Rot if is_its_round => tally.bytes_rotted += u64::from(world.rot(drive, ambient)),
            Self::RottenCopy if is_its_round => {
                tally.bytes_rotted += u64::from(world.rot_metadata(drive, ambient));
            }
            _ => {}
        }
        false
    }
}

async fn survive(seed: u64) -> Tally {
    let ambient = Simulated::new(seed);
    let mut world = World::new(&ambient);
    let ledger = Rc::new(RefCell::new(Ledger::default()));
    let (damage, steps_clock) = (Damage::draw(&ambient), ambient.below(4) == 0);
    let failing_round = 1 + ambient.below(ROUNDS - 1);
    let mut running = None;
    for round in 0..ROUNDS {
        // A cut before the start is through now and then; else in the midst of work.
        let restarts = running.is_none() || ambient.below(3) == 0;
        if restarts && let Some(host) = running.take() {
            world::close(host).await;
        }
        let long = ambient.below(5) == 0;
        let changes = ambient.below(if long { CHANGES_LONG_MAX } else { CHANGES_MAX });
        world.disk.halt_at(world.disk.operations().changes + 1 + changes);
        let host = match running.take() {
            Some(host) => Some(host),
            None => match world.start().await {
                Ok(host) => Some(host),
                Err(why) => {
                    assert!(world.disk.is_halted(), "seed {seed}, round {round}: does not start: {why}");
                    None
                }
            },
        };
        if let Some(host) = host {
            let fails = round == failing_round && damage.begin(&world, &ambient);
            ledger.borrow_mut().tally.drives_failed += u64::from(fails);
            if steps_clock {
                ambient.step_wall_clock();
            }
            let storm = if let Damage::Storm(most) = damage { most } else { 0 };
            host.weather.set(storm);
            ledger.borrow_mut().tally.storms += u64::from(storm > 0);
            work::until_the_power_goes(&host, &ambient, &ledger, round, long, storm > 0).await;
            host.weather.set(0);
        }
        ledger.borrow_mut().tally.rounds_cut_short += u64::from(world.disk.is_halted());
        world = world.power_cut(&ambient);
        let replaced = damage.strike(&world, &ambient, round == failing_round, &mut ledger.borrow_mut().tally);
        let context = format!("seed {seed}, {damage:?}, round {round}");
        let host = world.start().await.unwrap_or_else(|why| panic!("{context}: does not start again: {why}"));
        let mut settled = ledger.borrow().clone();
        settled.settle(&host, &context).await;
        *ledger.borrow_mut() = settled;
        oracle::check_metadata(&host).await;
        let known = ledger.borrow().clone();
        known.check_orphans(&host, &context).await;
        // What rots is missing before anybody knows.
        if !replaced && damage != Damage::Rot {
            oracle::check_named_missing(&host, &context).await;
        }
        if replaced {
            work::heal(&host, &ledger).await;
            work::check_redundancy(&host, &context).await;
        }
        running = Some(host);
    }
    let (host, context) = (running.expect("at least one round"), format!("seed {seed}, {damage:?}, healed"));
    let mut settled = ledger.borrow().clone();
    settled.settle(&host, &context).await;
    *ledger.borrow_mut() = settled.clone();
    work::scrub(&host).await;
    work::heal(&host, &ledger).await;
    settled.settle(&host, &context).await;
    work::check_redundancy(&host, &context).await;
    settled.check_orphans(&host, &context).await;
    world::close(host).await;
    rebuild_state(&world, &mut settled, &context).await;
    ledger.borrow_mut().tally.states_rebuilt += 1;
    ledger.borrow().tally
}

/// The tables of the metadata are lost: the snapshot and the log make the same again.
async fn rebuild_state(world: &World, settled: &mut Ledger, context: &str) {
    let before = world.state_rows();
    world.forget_state();
    let context = format!("{context}, tables lost");
    let host = world.start().await.unwrap_or_else(|why| panic!("{context}: does not start again: {why}"));
    settled.settle(&host, &context).await;
    oracle::check_metadata(&host).await;
    world::close(host).await;
    let after = world.state_rows();
    let differs = before.iter().zip(&after).find(|(before, after)| before != after);
    assert!(before.len() == after.len() && differs.is_none(), "{context}: other rows are made again: {differs:?}");
}

/// One seed, in a runtime of its own.
fn run(seed: u64) -> Tally {
    actix::System::with_tokio_rt(|| {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().start_paused(true).build().expect("a runtime")
    })
    .block_on(async {
        let survived = tokio::time::timeout(PATIENCE, survive(seed)).await;
        survived.unwrap_or_else(|_| panic!("seed {seed} does not come to an end"))
    })
}

/// W1, W8, W9, C1, F1.
#[test]
fn no_acknowledged_change_is_lost_to_a_power_cut() {
    let seeds = match number("SHERD_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SHERD_SIM_SEEDS").unwrap_or(SEEDS_DEFAULT),
    };
    let tried = seeds.end - seeds.start;
    let mut tally = Tally::default();
    for seed in seeds {
        tally.add(run(seed));
    }
    println!("{tried} seeds: {tally:?}");
    let enough = tally.acknowledged > tried * 20
        && tally.rounds_cut_short > tried
        && tally.segments_released > tried / 10
        && tally.shards_reclaimed > tried
        && tally.shards_repaired > 0
        && tally.copied.min(tally.appended).min(tally.renamed) > tried / 4
        && tally.versions_changed > tried
        && tally.drives_failed.min(tally.bytes_rotted).min(tally.storms) > 0
        && tally.fenced_off.min(tally.read_slowly) > 0
        && tally.states_rebuilt == tried;
    assert!(tried < 20 || enough, "too little happened: {tally:?}");
}
