//! The simulation: the store without its listeners, on one simulated disk whose power is cut at any change of the disk,
//! during formation, recovery, writes, deletes, multipart uploads, compaction, reclaiming and repair. A cut drops,
//! tears or reorders what was not synced. Afterwards every acknowledged change must be there, and no deleted object may
//! be back.
//!
//! In addition, each seed draws another kind of damage (`Damage`): a drive is empty when the power is back (it is
//! rebuilt before the next cut), fails or is full, a sync or a write fails, bits flip, nodes refuse or do not answer,
//! the wall clock is stepped.
//!
//! A seed is deterministic: one thread, paused time, all choices drawn from it. `SHERD_SIM_SEEDS` is the number of
//! seeds; `SHERD_SIM_SEED` runs that one alone.

#[path = "../harness/settings.rs"]
mod settings;

mod ambient;
mod chores;
mod damage;
mod defects;
mod faults;
mod ledger;
mod oracle;
mod stray;
mod undone;
mod work;
mod world;

use ambient::Simulated;
use damage::{Damage, Variant};
use ledger::{Ledger, Tally};
use settings::number;
use std::cell::RefCell;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use undone::Undoable;
use work::Round;
use world::{Host, World};

const SEEDS_DEFAULT: u64 = 60;
const THREADS_MAX: u64 = 256;
const ROUNDS: u64 = 3;
/// The most simulated time of a seed.
const PATIENCE: Duration = Duration::from_secs(6 * 3600);
/// The most simulated time of a stop in order.
const STOP_PATIENCE: Duration = Duration::from_secs(600);
/// The most changes of the disk from the beginning of a round to the cut: in a short round; in a long one, in which
/// chores make progress; and in one in which a drive that does not answer must be out of service before the cut.
const CHANGES_MAX: u64 = 700;
const CHANGES_LONG_MAX: u64 = 6000;
const CHANGES_SILENT_MAX: u64 = 3000;

/// One seed under way.
struct Seed {
    number: u64,
    drawn: Arc<Simulated>,
    variant: Variant,
    ledger: Rc<RefCell<Ledger>>,
    failing_round: u64,
}

impl Seed {
    fn context(&self, what: &str) -> String {
        let Variant { damage, moves, is_relaxed, .. } = self.variant;
        let moves = if moves { ", moves" } else { "" };
        let relaxed = if is_relaxed { ", relaxed" } else { "" };
        format!("seed {}, {damage:?}{moves}{relaxed}, {what}", self.number)
    }

    /// Works until the power is cut, or for some time if it is not; returns whether the host was stopped in order
    /// before.
    async fn work(&self, world: &World, running: Option<Host>, number: u64) -> bool {
        let drawn = &*self.drawn;
        let is_long = drawn.below(5) == 0;
        let fault = self.variant.damage.of_drive().filter(|_| number == self.failing_round);
        let is_silent = fault.is_some() && self.variant.damage.is_silent();
        let most = if is_silent {
            CHANGES_SILENT_MAX
        } else if is_long {
            CHANGES_LONG_MAX
        } else {
            CHANGES_MAX
        };
        world.disk.halt_at(world.disk.operations().changes + 1 + drawn.below(most));
        let host = match running {
            Some(host) => host,
            None => match world.start().await {
                Ok(host) => host,
                Err(why) => {
                    assert!(world.disk.is_halted(), "{}: does not start: {why}", self.context("at work"));
                    return false;
                }
            },
        };
        host.look_at_drives();
        let fails = number == self.failing_round && self.variant.damage.begin(world);
        self.ledger.borrow_mut().tally.drives_failed += u64::from(fails);
        if self.variant.steps_clock {
            drawn.step_wall_clock();
        }
        host.weather.set(self.variant.storm());
        self.ledger.borrow_mut().tally.storms += u64::from(self.variant.is_stormy());
        let round = Round { number, is_long, variant: self.variant, fault };
        work::until_the_power_goes(&host, &self.drawn, &self.ledger, round).await;
        host.weather.set(0);
        let stops = (is_silent || self.variant.is_relaxed) && drawn.below(2) == 0 && !world.disk.is_halted();
        if stops {
            let stopped = tokio::time::timeout(STOP_PATIENCE, world::close(host)).await;
            assert!(stopped.is_ok(), "{}: does not stop", self.context("stopping"));
        }
        stops && !world.disk.is_halted()
    }

    /// Checks the store against the ledger and its invariants.
    async fn check(&self, host: &Host, is_replaced: bool, context: &str) {
        let mut settled = self.ledger.borrow().clone();
        settled.settle(host, context).await;
        *self.ledger.borrow_mut() = settled.clone();
        oracle::check_metadata(host).await;
        // An abandoned move leaves a copy until the next sweep, and a lost write may have been a tombstone.
        if !self.variant.moves && !self.variant.hides_losses() {
            settled.check_orphans(host, context).await;
        }
        if !is_replaced && !self.variant.hides_losses() {
            oracle::check_named_missing(host, context).await;
        }
        if is_replaced {
            chores::heal(host, &self.ledger).await;
            oracle::check_redundancy(host, context).await;
        }
    }

    /// Heals and scrubs with all drives back, and checks that everything is whole.
    async fn end(&self, world: &World, host: Host) {
        let context = self.context("healed");
        let mut settled = self.ledger.borrow().clone();
        settled.settle(&host, &context).await;
        *self.ledger.borrow_mut() = settled;
        chores::scrub(&host).await;
        chores::heal(&host, &self.ledger).await;
        if self.variant.moves {
            chores::settle_moves(&host, &self.ledger, &context).await;
            chores::heal(&host, &self.ledger).await;
            host.check_places(&context).await;
        }
        let mut settled = self.ledger.borrow().clone();
        settled.settle(&host, &context).await;
        oracle::check_redundancy(&host, &context).await;
        if !self.variant.hides_losses() {
            settled.check_orphans(&host, &context).await;
        }
        world::close(host).await;
        rebuild_state(world, &mut settled, &context).await;
        self.ledger.borrow_mut().tally.states_rebuilt += 1;
    }
}

async fn survive(number: u64) -> Tally {
    let drawn = Simulated::new(number);
    let variant = Variant::draw(&drawn);
    let mut world = World::new(&drawn, variant);
    let undoable = if variant.is_relaxed { Undoable::relaxed(&drawn) } else { Undoable::default() };
    let ledger = Rc::new(RefCell::new(Ledger::with(undoable)));
    let failing_round = 1 + drawn.below(ROUNDS - 1);
    let seed = Seed { number, drawn: Arc::clone(&drawn), variant, ledger: Rc::clone(&ledger), failing_round };
    let mut running = None;
    for round in 0..ROUNDS {
        // Sometimes the host is restarted, so that the cut may come before the start has ended.
        let restarts = running.is_none() || drawn.below(3) == 0;
        if restarts && let Some(host) = running.take() {
            world::close(host).await;
            ledger.borrow_mut().undoable.stop();
            variant.damage.take_away(&world, &drawn, &mut ledger.borrow_mut().tally);
        }
        let was_stopped = seed.work(&world, running.take(), round).await;
        ledger.borrow_mut().note_cut(was_stopped);
        ledger.borrow_mut().tally.rounds_cut_short += u64::from(world.disk.is_halted());
        world = world.power_cut(&drawn);
        let is_its_round = round == failing_round;
        let replaced = variant.damage.strike(&world, &drawn, is_its_round, &mut ledger.borrow_mut().tally);
        let context = seed.context(&format!("round {round}"));
        let host = world.start().await.unwrap_or_else(|why| panic!("{context}: does not start again: {why}"));
        seed.check(&host, replaced, &context).await;
        running = Some(host);
    }
    let mut host = running.expect("at least one round");
    if variant.damage == Damage::AbsentDrives {
        world::close(host).await;
        world.mend_all();
        host = world.start().await.unwrap_or_else(|why| panic!("{}: {why}", seed.context("all drives are back")));
        seed.check(&host, false, &seed.context("all drives are back")).await;
    }
    seed.end(&world, host).await;
    ledger.borrow().tally
}

/// Drops the metadata tables, and checks that snapshot and log make the same rows again.
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

/// Runs one seed in a runtime of its own.
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

/// Calls `work` for each number, on several threads. After a panic the other threads finish the numbers that they have
/// begun; then it is resumed.
fn side_by_side(numbers: std::ops::Range<u64>, work: impl Fn(u64) + Sync) {
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    let threads = number("SHERD_SIM_THREADS").unwrap_or(cores).clamp(1, THREADS_MAX);
    let next = AtomicU64::new(numbers.start);
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= numbers.end {
                return;
            }
            work(number);
        }
    };
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for thread in running {
            if let Err(panic) = thread.join() {
                next.store(numbers.end, Ordering::Relaxed);
                resume_unwind(panic);
            }
        }
    });
}

/// W1, W8, W9, C1, F1.
#[test]
fn no_acknowledged_change_is_lost_to_a_power_cut() {
    let seeds = match number("SHERD_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SHERD_SIM_SEEDS").unwrap_or(SEEDS_DEFAULT),
    };
    let tried = seeds.end - seeds.start;
    let sum = Mutex::new(Tally::default());
    side_by_side(seeds, |seed| {
        let tally = run(seed);
        sum.lock().expect("no panic under the lock").add(tally);
    });
    let tally = sum.into_inner().expect("no panic under the lock");
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
        && tally.shards_moved.min(tally.drives_silenced) > 0
        && tally.drives_absent.min(tally.cuts_relaxed).min(tally.changes_undone) > 0
        && tally.states_rebuilt == tried;
    assert!(tried < 20 || enough, "too little happened: {tally:?}");
}
