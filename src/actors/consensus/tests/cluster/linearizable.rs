//! Tests that what clients of all hosts see of a few keys is linearizable, with faults of hosts and of the network.

use super::history::{Action, Operation, is_linearizable};
use super::network::Weather;
use super::{Cluster, bucket_of, simulate, try_id_of};
use crate::actors::consensus::tests::{put, put_if_absent};
use crate::actors::consensus::{MetaError, MetaHandle};
use crate::storage::meta::command::{Refusal, Reply};
use crate::storage::meta::samples;
use crate::types::BucketId;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::sleep;

pub(super) const KEYS: [&str; 2] = ["a", "b"];
/// Few clients, so that the checker can handle the operations of one key.
pub(super) const CLIENTS_A_HOST: u64 = 2;

/// The number of choices of a client. Those below `READS` are reads.
pub(super) const CHOICES: u64 = 10;
pub(super) const READS: u64 = 4;

#[derive(Default)]
pub(super) struct Record {
    /// The operations of each key.
    pub(super) histories: [RefCell<Vec<Operation>>; KEYS.len()],
    moment: Cell<u64>,
    next_id: Cell<u64>,
    pub(super) stale_reads_every: Option<u64>,
    last_seen: [Cell<Option<u128>>; KEYS.len()],
}

impl Record {
    fn now(&self) -> u64 {
        self.moment.set(self.moment.get() + 1);
        self.moment.get()
    }

    fn id(&self) -> u128 {
        self.next_id.set(self.next_id.get() + 1);
        u128::from(self.next_id.get())
    }
}

/// Performs a client's action. Returns it, or `None` if it certainly had no effect; and whether its outcome is known.
async fn act(record: &Record, meta: &MetaHandle, bucket: BucketId, key: usize, choice: u64) -> (Option<Action>, bool) {
    let name = KEYS[key];
    let id = record.id();
    match choice {
        0..4 => match try_id_of(meta, bucket, name).await {
            Ok(found) => {
                let before = record.last_seen[key].replace(found);
                let planted = record.stale_reads_every.is_some_and(|every| id.is_multiple_of(u128::from(every)));
                (Some(Action::Get { found: if planted { before } else { found } }), true)
            }
            Err(_) => (None, true),
        },
        4..6 => match meta.propose(put(bucket, name, id, &id.to_be_bytes())).await {
            Ok(Reply::ObjectPut { .. }) => (Some(Action::Put { id }), true),
            Ok(other) => panic!("a put is never answered {other:?}"),
            Err(MetaError::Unavailable { .. } | MetaError::Refused { .. } | MetaError::TooLarge(_)) => (None, true),
            Err(MetaError::TimedOut) => (Some(Action::Put { id }), false),
        },
        6..8 => match meta.propose(put_if_absent(bucket, name, id)).await {
            Ok(Reply::ObjectPut { .. }) => (Some(Action::PutIfAbsent { id, made: Some(true) }), true),
            Ok(Reply::Refused(Refusal::PreconditionFailed)) => {
                (Some(Action::PutIfAbsent { id, made: Some(false) }), true)
            }
            Ok(other) => panic!("a conditional put is never answered {other:?}"),
            Err(MetaError::Unavailable { .. } | MetaError::Refused { .. } | MetaError::TooLarge(_)) => (None, true),
            Err(MetaError::TimedOut) => (Some(Action::PutIfAbsent { id, made: None }), false),
        },
        _ => match meta.propose(samples::delete(bucket, name)).await {
            Ok(reply) if reply == samples::deleted(true) => (Some(Action::Delete { existed: Some(true) }), true),
            Ok(reply) if reply == samples::deleted(false) => (Some(Action::Delete { existed: Some(false) }), true),
            Ok(other) => panic!("a delete is never answered {other:?}"),
            Err(MetaError::Unavailable { .. } | MetaError::Refused { .. } | MetaError::TooLarge(_)) => (None, true),
            Err(MetaError::TimedOut) => (Some(Action::Delete { existed: None }), false),
        },
    }
}

/// A client that draws its actions from the first `choices`.
pub(super) fn client(
    cluster: &Cluster,
    meta: MetaHandle,
    bucket: BucketId,
    record: &Rc<Record>,
    choices: u64,
) -> JoinHandle<()> {
    let (record, network) = (Rc::clone(record), cluster.network.clone());
    tokio::task::spawn_local(async move {
        loop {
            let key = network.draw(KEYS.len() as u64) as usize;
            let begin = record.now();
            // If the client is aborted here, the outcome stays unknown.
            let place = record.histories[key].borrow().len();
            let choice = network.draw(choices);
            record.histories[key].borrow_mut().push(Operation { action: pending(choice, &record), begin, end: None });
            let (action, known) = act(&record, &meta, bucket, key, choice).await;
            let end = known.then(|| record.now());
            record.histories[key].borrow_mut()[place] = match action {
                Some(action) => Operation { action, begin, end },
                None => Operation { action: nothing(), begin, end: None },
            };
            sleep(Duration::from_millis(network.draw(200))).await;
        }
    })
}

/// Returns the placeholder of an operation under way. Its id is the one that `act` will draw.
fn pending(choice: u64, record: &Record) -> Action {
    let id = u128::from(record.next_id.get() + 1);
    match choice {
        0..4 => nothing(),
        4..6 => Action::Put { id },
        6..8 => Action::PutIfAbsent { id, made: None },
        _ => Action::Delete { existed: None },
    }
}

/// Returns an action that the checker ignores: a read, whose outcome must be unknown.
fn nothing() -> Action {
    Action::Get { found: Some(u128::MAX) }
}

async fn disturb(cluster: &mut Cluster) {
    let ids = cluster.ids();
    let victim = ids[cluster.draw(ids.len() as u64) as usize];
    match cluster.draw(6) {
        0 => cluster.network.cut_off(&[victim], &ids),
        1 => {
            let other = ids[cluster.draw(ids.len() as u64) as usize];
            cluster.network.cut_one_way(victim, other);
        }
        2 => {
            cluster.kill(victim);
            sleep(Duration::from_millis(cluster.draw(3000))).await;
            cluster.start(victim).await;
        }
        3 => {
            let leader = cluster.leader_now().unwrap_or(victim);
            cluster.network.cut_off(&[leader], &ids);
        }
        4 => {
            let _ = cluster.at(ids[0]).transfer_leadership(victim).await;
        }
        _ => drop(cluster.at(victim).snapshot_now().await),
    }
    sleep(Duration::from_millis(cluster.draw(6000))).await;
    cluster.network.heal();
    sleep(Duration::from_millis(cluster.draw(4000))).await;
}

async fn observe(seed: u64, stale_reads_every: Option<u64>) -> Vec<(String, bool, usize)> {
    let mut cluster = Cluster::of(3, seed);
    cluster.snapshot_log_bytes_min = 64 << 10;
    for id in cluster.ids() {
        cluster.start(id).await;
    }
    let bucket = bucket_of(&cluster).await;
    let record = Rc::new(Record { stale_reads_every, ..Record::default() });
    cluster.network.set_weather(Weather::FOUL);
    for _ in 0..5 {
        let running = cluster.running();
        let clients: Vec<_> = running
            .into_iter()
            .flat_map(|(_, meta)| (0..CLIENTS_A_HOST).map(move |_| meta.clone()))
            .map(|meta| client(&cluster, meta, bucket, &record, CHOICES))
            .collect();
        disturb(&mut cluster).await;
        // The clients of a killed host have lost it, so all clients are started anew.
        clients.iter().for_each(JoinHandle::abort);
    }
    cluster.network.set_weather(Weather::FAIR);
    cluster.end().await;
    verdicts(&record)
}

/// Returns for each key whether its history is linearizable, and how many operations have a known outcome.
pub(super) fn verdicts(record: &Record) -> Vec<(String, bool, usize)> {
    let histories = KEYS.iter().zip(&record.histories);
    histories
        .map(|(key, history)| {
            let history = history.borrow();
            let known = history.iter().filter(|operation| operation.end.is_some()).count();
            ((*key).to_owned(), is_linearizable(&history), known)
        })
        .collect()
}

#[test]
fn histories_are_linearizable_under_kills_partitions_and_losses_c8() {
    for seed in 0..10 {
        simulate(async move {
            for (key, passes, known) in observe(seed, None).await {
                assert!(known > 50, "seed {seed}: only {known} operations on {key} came to an end");
                assert!(passes, "seed {seed}: the history of {key} is not linearizable");
            }
        });
    }
}

#[test]
fn the_history_checker_finds_planted_stale_reads() {
    simulate(async {
        let found = observe(1, Some(7)).await;
        assert!(found.iter().any(|(_, passes, _)| !passes), "{found:?}");
    });
}
