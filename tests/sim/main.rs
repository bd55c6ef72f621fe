//! The whole store but its listeners, on one simulated disk whose power is cut: at any change of the disk, in the midst of
//! formation, recovery, writes, deletes, multipart uploads, compaction, reclaiming and repair. What was not synced is
//! dropped, torn or reordered. Afterwards every acknowledged change stands, and nothing that was deleted is back.
//!
//! Besides, in some seeds a drive is empty when the power is back (it is rebuilt before the next cut), a sync or a write fails,
//! a bit flips, or the wall clock is stepped (`Damage`).
//!
//! Deterministic: one thread, paused time, everything drawn from one seed. `SHERD_SIM_SEEDS` says how many seeds are tried,
//! `SHERD_SIM_SEED` tries that one alone.

#[path = "../harness/settings.rs"]
mod settings;

mod ambient;
mod defects;
mod ledger;
mod work;
mod world;

use ambient::Simulated;
use ledger::{Ledger, Tally};
use settings::number;
use std::cell::RefCell;
use std::rc::Rc;
use world::{DRIVES, World};

const SEEDS_DEFAULT: u64 = 60;
const ROUNDS: u64 = 3;
/// Changes of the disk from the beginning of a round to the cut, at most; in a long round, in which chores get far.
const CHANGES_MAX: u64 = 700;
const CHANGES_LONG_MAX: u64 = 6000;

/// What goes wrong besides the power, in one run of a seed: not more at once than parity covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    None,
    /// A drive is empty when the power is back, now and then; it is rebuilt before the next cut.
    ReplacedDrives,
    /// In one of the rounds a sync fails, and with it the log that asked for it.
    FailedSync,
    FailedWrite,
    /// A bit of a segment of shards flips while the power is off, once.
    Rot,
}

impl Damage {
    fn draw(ambient: &Simulated) -> Self {
        match ambient.below(8) {
            0..4 => Self::ReplacedDrives,
            4 => Self::FailedSync,
            5 => Self::FailedWrite,
            6 => Self::Rot,
            _ => Self::None,
        }
    }

    /// Makes calls of the disk fail in the round that comes; whether it does.
    fn begin(self, world: &World) -> bool {
        match self {
            Self::FailedSync => world.disk.fail_next_syncs(1),
            Self::FailedWrite => world.disk.fail_next_writes(1),
            _ => return false,
        }
        true
    }

    /// While the power is off; whether a drive has been replaced.
    fn strike(self, world: &World, ambient: &Simulated, tally: &mut Tally) -> bool {
        let drive = ambient.below(DRIVES as u64) as usize;
        match self {
            Self::ReplacedDrives if ambient.below(2) == 0 => {
                world.replace_drive(drive);
                return true;
            }
            Self::Rot if tally.bytes_rotted == 0 => tally.bytes_rotted += u64::from(world.rot(drive, ambient)),
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
            let fails = round == failing_round && damage.begin(&world);
            ledger.borrow_mut().tally.drives_failed += u64::from(fails);
            if steps_clock {
                ambient.step_wall_clock();
            }
            work::until_the_power_goes(&host, &ambient, &ledger, round, long).await;
        }
        ledger.borrow_mut().tally.rounds_cut_short += u64::from(world.disk.is_halted());
        world = world.power_cut(&ambient);
        let replaced = damage.strike(&world, &ambient, &mut ledger.borrow_mut().tally);
        let context = format!("seed {seed}, {damage:?}, round {round}");
        let host = world.start().await.unwrap_or_else(|why| panic!("{context}: does not start again: {why}"));
        let mut settled = ledger.borrow().clone();
        settled.settle(&host, &context).await;
        *ledger.borrow_mut() = settled;
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
    work::heal(&host, &ledger).await;
    settled.settle(&host, &context).await;
    // A rotten chunk that nobody has read is found by scrubbing only.
    if damage != Damage::Rot {
        work::check_redundancy(&host, &context).await;
    }
    settled.check_orphans(&host, &context).await;
    world::close(host).await;
    ledger.borrow().tally
}

/// One seed, in a runtime of its own.
fn run(seed: u64) -> Tally {
    actix::System::with_tokio_rt(|| {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().start_paused(true).build().expect("a runtime")
    })
    .block_on(survive(seed))
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
        && tally.drives_failed.min(tally.bytes_rotted) > 0;
    assert!(tried < 20 || enough, "too little happened: {tally:?}");
}
