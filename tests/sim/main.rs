//! The whole store but its listeners, on one simulated disk whose power is cut: at any change of the disk, in the midst of
//! formation, recovery, writes, deletes, multipart uploads, compaction, reclaiming and repair. What was not synced is
//! dropped, torn or reordered. Afterwards every acknowledged change stands, and nothing that was deleted is back.
//!
//! Now and then a drive is empty when the power is back; it is rebuilt before the next cut.
//!
//! Deterministic: one thread, paused time, everything drawn from one seed. `SHERD_SIM_SEEDS` says how many seeds are tried,
//! `SHERD_SIM_SEED` tries that one alone.

#[path = "../harness/settings.rs"]
mod settings;

mod ambient;
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

async fn survive(seed: u64) -> Tally {
    let ambient = Simulated::new(seed);
    let mut world = World::new(&ambient);
    let ledger = Rc::new(RefCell::new(Ledger::default()));
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
            work::until_the_power_goes(&host, &ambient, &ledger, round, long).await;
        }
        ledger.borrow_mut().tally.rounds_cut_short += u64::from(world.disk.is_halted());
        world = world.power_cut(&ambient);
        // Not more at once than parity covers, and not before what was lost before is rebuilt.
        let replaced = ambient.below(4) == 0;
        if replaced {
            world.replace_drive(ambient.below(DRIVES as u64) as usize);
        }
        let found = world.start().await;
        let host = found.unwrap_or_else(|why| panic!("seed {seed}, round {round}: does not start again: {why}"));
        let mut settled = ledger.borrow().clone();
        settled.settle(&host, &format!("seed {seed}, round {round}")).await;
        *ledger.borrow_mut() = settled;
        if replaced {
            work::heal(&host, &ledger).await;
            work::check_redundancy(&host, &format!("seed {seed}, round {round}")).await;
        }
        running = Some(host);
    }
    let host = running.expect("at least one round");
    work::heal(&host, &ledger).await;
    work::check_redundancy(&host, &format!("seed {seed}")).await;
    let mut settled = ledger.borrow().clone();
    settled.settle(&host, &format!("seed {seed}, healed")).await;
    world::close(host).await;
    settled.tally
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
        let of_seed = actix::System::with_tokio_rt(|| {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            runtime.enable_all().start_paused(true).build().expect("a runtime")
        })
        .block_on(survive(seed));
        tally.add(of_seed);
    }
    println!("{tried} seeds: {tally:?}");
    let enough = tally.acknowledged > tried * 20
        && tally.rounds_cut_short > tried
        && tally.segments_released > tried / 10
        && tally.shards_reclaimed > tried
        && tally.shards_repaired > 0;
    assert!(tried < 20 || enough, "too little happened: {tally:?}");
}
