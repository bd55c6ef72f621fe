//! The whole store but its listeners, on one simulated disk whose power is cut: at any change of the disk, in the midst of
//! formation, recovery, writes, deletes, multipart uploads, compaction, reclaiming and repair. What was not synced is
//! dropped, torn or reordered. Afterwards every acknowledged change stands, and nothing that was deleted is back.
//!
//! Deterministic: one thread, paused time, everything drawn from one seed. `SHERD_SIM_SEEDS` says how many seeds are tried,
//! `SHERD_SIM_SEED` tries that one alone.

mod ambient;
mod ledger;
mod work;
mod world;

use ambient::Simulated;
use ledger::Ledger;
use std::cell::RefCell;
use std::rc::Rc;
use world::World;

const SEEDS_DEFAULT: u64 = 150;
const ROUNDS: u64 = 3;
/// Changes of the disk from the beginning of a round to the cut, at most.
const CHANGES_MAX: u64 = 700;

/// How many changes were acknowledged, and how many rounds ended by the cut and not before it.
async fn survive(seed: u64) -> (u64, u64) {
    let ambient = Simulated::new(seed);
    let mut world = World::new(&ambient);
    let ledger = Rc::new(RefCell::new(Ledger::default()));
    let mut running = None;
    let mut cut_short = 0;
    for round in 0..ROUNDS {
        // A cut before the start is through now and then; else in the midst of work.
        let restarts = running.is_none() || ambient.below(3) == 0;
        if restarts && let Some(host) = running.take() {
            world::close(host).await;
        }
        world.disk.halt_at(world.disk.operations().changes + 1 + ambient.below(CHANGES_MAX));
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
            work::until_the_power_goes(&host, &ambient, &ledger, round).await;
        }
        cut_short += u64::from(world.disk.is_halted());
        world = world.power_cut(&ambient);
        let found = world.start().await;
        let host = found.unwrap_or_else(|why| panic!("seed {seed}, round {round}: does not start again: {why}"));
        let mut settled = ledger.borrow().clone();
        settled.settle(&host, &format!("seed {seed}, round {round}")).await;
        *ledger.borrow_mut() = settled;
        running = Some(host);
    }
    let mut host = running.expect("at least one round");
    work::heal(&mut host).await;
    work::check_redundancy(&host, &format!("seed {seed}")).await;
    ledger.borrow_mut().settle(&host, &format!("seed {seed}, healed")).await;
    world::close(host).await;
    let acknowledged = ledger.borrow().acknowledged;
    (acknowledged, cut_short)
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

/// W1, W8, W9, C1, F1.
#[test]
fn no_acknowledged_change_is_lost_to_a_power_cut() {
    let seeds = match number("SHERD_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SHERD_SIM_SEEDS").unwrap_or(SEEDS_DEFAULT),
    };
    let tried = seeds.end - seeds.start;
    let (mut acknowledged, mut cut_short) = (0, 0);
    for seed in seeds {
        let (changes, cuts) = actix::System::with_tokio_rt(|| {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            runtime.enable_all().start_paused(true).build().expect("a runtime")
        })
        .block_on(survive(seed));
        acknowledged += changes;
        cut_short += cuts;
    }
    println!("{tried} seeds, {acknowledged} acknowledged changes, {cut_short} rounds ended by a cut");
    assert!(tried < 10 || (acknowledged > tried * 20 && cut_short > tried), "the power was cut too early or too late");
}
