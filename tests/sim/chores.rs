//! The chores of a host, run step by step in a random order, with orders of an operator in between.

use super::ambient::Simulated;
use super::ledger::Ledger;
use super::work::Round;
use super::world::{DRIVES, Host};
use sherd::actors::healer::{Healed, Healing, Scrub, Scrubbed};
use sherd::actors::mover::{Moved, Moving};
use sherd::actors::upkeep::{Compaction, Fencing, Probing, Reclaimed, Reclamation, Step};
use sherd::storage::meta::record::NodeState;
use sherd::types::NodeId;
use std::cell::RefCell;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

const COMPARISON_STEPS_MAX: usize = 60;
/// The number of steps within which the fault of a round comes.
const STEPS_TO_A_FAULT_MAX: u64 = 12;
/// The number of idle steps of the mover in a row after which moving counts as settled.
const IDLE_MOVES: usize = 100;
const WEIGHT_MAX: u64 = 3;

/// The chores, taken from the host while they are at work.
struct Chores {
    compactions: Vec<Compaction>,
    scrubs: Vec<Scrub>,
    reclamation: Option<Reclamation>,
    healing: Option<Healing>,
    fencing: Option<Fencing>,
    probing: Option<Probing>,
    moving: Option<Moving>,
}

fn take<T: Default>(of: &Mutex<T>) -> T {
    std::mem::take(&mut *of.lock().expect("one thread"))
}

fn give_back<T>(to: &Mutex<T>, chore: T) {
    *to.lock().expect("one thread") = chore;
}

impl Chores {
    fn take(host: &Host) -> Self {
        Self {
            compactions: take(&host.compactions),
            scrubs: take(&host.scrubs),
            reclamation: take(&host.reclamation),
            healing: take(&host.healing),
            fencing: take(&host.fencing),
            probing: take(&host.probing),
            moving: take(&host.moving),
        }
    }

    fn give_back(self, host: &Host) {
        give_back(&host.compactions, self.compactions);
        give_back(&host.scrubs, self.scrubs);
        give_back(&host.reclamation, self.reclamation);
        give_back(&host.healing, self.healing);
        give_back(&host.fencing, self.fencing);
        give_back(&host.probing, self.probing);
        give_back(&host.moving, self.moving);
    }
}

/// Runs random steps of the chores. A step that fails because the disk is gone is ignored.
pub async fn run(host: &Host, drawn: &Simulated, ledger: &RefCell<Ledger>, round: Round, steps: usize) {
    let mut chores = Chores::take(host);
    let strikes_at = drawn.below(STEPS_TO_A_FAULT_MAX) as usize;
    for step in 0..steps {
        for _ in 0..drawn.below(20) {
            tokio::task::yield_now().await;
        }
        if step == strikes_at {
            strike(host, drawn, ledger, round);
        }
        chores.step(host, drawn, ledger).await;
        if round.variant.moves {
            chores.move_on(host, drawn, ledger).await;
        }
        if round.variant.is_relaxed {
            tokio::time::sleep(Duration::from_millis(drawn.below(30))).await;
        }
    }
    chores.give_back(host);
}

/// Gives a drive the fault of this round, if there is one.
fn strike(host: &Host, drawn: &Simulated, ledger: &RefCell<Ledger>, round: Round) {
    let Some(fault) = round.fault else { return };
    let drive = drawn.below(DRIVES as u64) as usize;
    host.fail_drive(drive, fault);
    let mut ledger = ledger.borrow_mut();
    ledger.tally.drives_failed += 1;
    let node = NodeId(drive as u32);
    if host.is_silent(node) {
        host.silenced.set(Some((node, Instant::now())));
        ledger.tally.drives_silenced += 1;
    }
}

impl Chores {
    async fn step(&mut self, host: &Host, drawn: &Simulated, ledger: &RefCell<Ledger>) {
        let drive = drawn.below(self.compactions.len().max(1) as u64) as usize;
        // A chore of a drive that does not answer would wait for it.
        let answers = host.opened().get(drive).is_some_and(|node| !host.is_silent(*node));
        match drawn.below(9) {
            0 => fence_off(host, &mut self.fencing, &mut self.healing).await,
            _ if host.strays.get() > 0 => fence_off(host, &mut self.fencing, &mut self.healing).await,
            1 if answers => {
                let _ = self.scrubs[drive].advance().await;
            }
            2 => {
                if let Some(probing) = &mut self.probing {
                    probing.advance().await;
                }
            }
            _ => {}
        }
        match (drawn.below(3), self.compactions.get_mut(drive), &mut self.reclamation, &mut self.healing) {
            (0, Some(compaction), ..) if answers => {
                let released = matches!(compaction.advance().await, Ok(Step::Released(_)));
                ledger.borrow_mut().tally.segments_released += u64::from(released);
            }
            (1, _, Some(reclamation), _) => {
                if let Ok(Reclaimed::Page { shards } | Reclaimed::End { shards }) = reclamation.advance().await {
                    ledger.borrow_mut().tally.shards_reclaimed += shards as u64;
                }
            }
            (2, _, _, Some(healing)) => {
                if let Ok(Healed::Worked { repaired, .. }) = healing.advance().await {
                    ledger.borrow_mut().tally.shards_repaired += repaired.len() as u64;
                }
            }
            _ => {}
        }
    }

    /// Makes a step of the mover, and now and then an order of an operator before it.
    async fn move_on(&mut self, host: &Host, drawn: &Simulated, ledger: &RefCell<Ledger>) {
        if drawn.below(8) == 0 {
            reorder(host, drawn).await;
        }
        let Some(moving) = &mut self.moving else { return };
        for _ in 0..drawn.below(4) {
            if let Ok(Moved::Copied { shards, .. }) = moving.advance().await {
                ledger.borrow_mut().tally.shards_moved += shards as u64;
            }
        }
        tokio::time::sleep(Duration::from_millis(drawn.below(30))).await;
    }
}

/// Drains a drive while no other is draining, restores the one that is, or changes a weight.
async fn reorder(host: &Host, drawn: &Simulated) {
    let Ok(view) = host.metadata.read().await else { return };
    let nodes = view.nodes().expect("the tables are in memory");
    let draining = nodes.iter().find(|node| node.state == NodeState::Draining).map(|node| node.id);
    let any = NodeId(drawn.below(DRIVES as u64) as u32);
    match (drawn.below(3), draining) {
        (0, _) => host.set_node(any, Some(1 + drawn.below(WEIGHT_MAX) as u32), None).await,
        (_, Some(node)) => host.set_node(node, None, Some(NodeState::Active)).await,
        (_, None) => host.set_node(any, None, Some(NodeState::Draining)).await,
    };
}

/// Makes all drives active with equal weights, and moves shards until nothing is left to be moved or dropped.
pub async fn settle_moves(host: &Host, ledger: &RefCell<Ledger>, context: &str) {
    for node in host.nodes().await {
        host.set_node(node.id, Some(1), Some(NodeState::Active)).await;
    }
    let mut moving = take(&host.moving).expect("the mover is not at work");
    let mut idle = 0;
    for _ in 0..100_000 {
        match moving.advance().await.expect("the disk is there") {
            Moved::Copied { shards, .. } => {
                ledger.borrow_mut().tally.shards_moved += shards as u64;
                idle = 0;
            }
            Moved::Dropped { shards } if shards > 0 => idle = 0,
            _ => idle += 1,
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
        let status = host.mover.status();
        let held = host.metadata.read().await.expect("the metadata is there").held().expect("the tables are in memory");
        let has_leftovers = held.nodes.values().any(|held| held.leftovers > 0);
        let is_current = status.epoch == host.cluster.ring.current().epoch();
        if is_current && status.settled && !has_leftovers && idle > IDLE_MOVES {
            return give_back(&host.moving, Some(moving));
        }
    }
    panic!("{context}: moving does not come to an end: {:?}", host.mover.status());
}

/// Raises the fence above the writes of the stray host, and compares the drives with the metadata for some steps.
async fn fence_off(host: &Host, fencing: &mut Option<Fencing>, healing: &mut Option<Healing>) {
    let (Some(fencing), Some(healing)) = (fencing, healing) else { return };
    // The second raise also covers ids of the same millisecond as the first.
    for _ in 0..2 {
        let _ = fencing.advance().await;
    }
    host.cluster.local_nodes().into_iter().for_each(|node| host.healer.reconcile(node));
    for _ in 0..COMPARISON_STEPS_MAX {
        if host.healer.reconciling().is_empty() || healing.advance().await.is_err() {
            break;
        }
    }
    host.comparisons.fetch_add(1, Ordering::Relaxed);
}

/// Scrubs every chunk of every drive once, from the beginning.
pub async fn scrub(host: &Host) {
    let mut scrubs = std::mem::take(&mut *host.scrubs.lock().expect("one thread"));
    for scrub in &mut scrubs {
        // A pass may be under way already, so two must end.
        let mut passes = 0;
        for _ in 0..100_000 {
            passes += u64::from(scrub.advance().await.expect("the disk is there") == Scrubbed::Finished);
            if passes == 2 {
                break;
            }
        }
        assert_eq!(passes, 2, "scrubbing does not come to an end");
    }
    *host.scrubs.lock().expect("one thread") = scrubs;
}

/// Heals until every node is compared with the metadata and no repair is left.
pub async fn heal(host: &Host, ledger: &RefCell<Ledger>) {
    let mut healing = host.healing.lock().expect("one thread").take().expect("the healer is not at work");
    let mut whole = false;
    for _ in 0..100_000 {
        match healing.advance().await.expect("the disk is there") {
            Healed::Nothing => {
                whole = true;
                break;
            }
            Healed::Worked { repaired, put_off, .. } => {
                assert!(put_off.is_empty(), "{put_off:?} cannot be rebuilt, though all drives are there");
                ledger.borrow_mut().tally.shards_repaired += repaired.len() as u64;
            }
            _ => {}
        }
    }
    assert!(whole, "healing does not come to an end");
    *host.healing.lock().expect("one thread") = Some(healing);
}
