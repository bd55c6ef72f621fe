//! C8: what several clients do at once to few keys, under kills, pauses and partitions, is linearizable. The same recording
//! through a store that serves stale reads or loses a write is rejected.

use crate::harness::client::{Answer, Answered, Body, S3};
use crate::harness::cluster::{Cluster, Shape};
use crate::harness::content::Content;
use crate::harness::server::Server;
use crate::harness::{eventually, xml};
use crate::linear::{ABSENT, History, Operation, Outcome, Plan, Store, Value, Verdict, check, drive};
use crate::retries::was_not_sent;
use crate::trial::{SetWhenDropped, alone, fault_time, leader, pass, rounds, seed};
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const BUCKET: &str = "histories";
const CLIENTS: usize = 5;
const KEYS: usize = 4;
const STEPS_MAX: usize = 1_000_000;
/// The clients go on after the trouble until so many outcomes are known: a busy machine makes few operations meanwhile.
const KNOWN_MIN: u64 = 50;
/// Longer than a host takes to refuse, so that few outcomes are unknown for the client's impatience.
const TIMEOUT: Duration = Duration::from_secs(12);

/// The store over S3, on whichever host a client's turn is at. Nothing is tried twice.
struct OverS3 {
    hosts: Vec<S3>,
    prefix: String,
    turn: AtomicU64,
    /// The number of operations whose outcome is known.
    known: AtomicU64,
    /// The values ever sent, by ETag.
    sent: Mutex<HashMap<String, Value>>,
    /// The violations, whatever the order.
    wrong: Mutex<Vec<String>>,
}

/// Small ones ride in the metadata, large ones are cut into shards.
fn content(value: Value) -> Content {
    Content { seed: u64::from(value), lens: vec![if value.is_multiple_of(3) { 40_000 } else { 200 }] }
}

impl OverS3 {
    fn new(hosts: Vec<S3>, prefix: String) -> Self {
        let (turn, known) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { hosts, prefix, turn, known, sent: Mutex::default(), wrong: Mutex::default() }
    }

    fn key(&self, key: usize) -> String {
        format!("{}/{key}", self.prefix)
    }

    fn put(&self, s3: &S3, key: usize, value: Value, header: Option<(&str, &str)>) -> Answered {
        let content = content(value);
        self.sent.lock().expect("no one panics with it").insert(content.etag(), value);
        let headers: Vec<(&str, &str)> = header.into_iter().collect();
        s3.put_with(BUCKET, &self.key(key), &content.bytes(), &headers)
    }

    fn send(&self, s3: &S3, operation: &Operation) -> Answered {
        match *operation {
            Operation::Put { key, value } => self.put(s3, key, value, None),
            Operation::Create { key, value } => self.put(s3, key, value, Some(("if-none-match", "*"))),
            Operation::Replace { key, expected, value } => {
                self.put(s3, key, value, Some(("if-match", &content(expected).etag())))
            }
            Operation::Delete { key } => s3.delete(BUCKET, &self.key(key)),
            Operation::Get { key } => s3.get(BUCKET, &self.key(key)),
            Operation::List => {
                let query = [("list-type", "2"), ("prefix", self.prefix.as_str())];
                s3.call("GET", &format!("/{BUCKET}"), &query, &[], Body::None)
            }
        }
    }

    fn value_of(&self, etag: &str) -> Value {
        let found = self.sent.lock().expect("no one panics with it").get(etag).copied();
        found.unwrap_or_else(|| {
            self.wrong.lock().expect("no one panics with it").push(format!("{etag} was never sent"));
            ABSENT
        })
    }

    fn listed(&self, text: &str) -> Outcome {
        let mut values = vec![ABSENT; KEYS];
        for (name, etag) in xml::texts(text, "Key").iter().zip(xml::texts(text, "ETag")) {
            let key = name.rsplit_once('/').and_then(|(_, number)| number.parse::<usize>().ok());
            values[key.expect("keys are numbers")] = self.value_of(&etag);
        }
        Outcome::Listed(values)
    }

    fn outcome(&self, operation: &Operation, answer: &Answer) -> Outcome {
        match (operation, answer.status) {
            (_, 500..) => Outcome::Unknown,
            (Operation::Get { .. }, 200) => {
                let value = self.value_of(answer.header("etag"));
                if answer.body != content(value).bytes() {
                    self.wrong.lock().expect("no one panics with it").push(format!("wrong bytes of value {value}"));
                }
                Outcome::Found(value)
            }
            (Operation::Get { .. }, 404) => Outcome::Found(ABSENT),
            (Operation::List, 200) => self.listed(&answer.text()),
            (_, 200 | 204) => Outcome::Done,
            (_, 412) => Outcome::Refused,
            (Operation::Replace { .. }, 404) => Outcome::Missing,
            (_, status) => {
                let words = format!("{operation:?} was answered {status} {}", answer.text());
                self.wrong.lock().expect("no one panics with it").push(words);
                Outcome::Unknown
            }
        }
    }
}

impl Store for OverS3 {
    fn perform(&self, client: usize, operation: &Operation) -> Option<Outcome> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) + client as u64;
        let host = usize::try_from(turn % self.hosts.len() as u64).expect("hosts are few");
        let outcome = match self.send(&self.hosts[host], operation) {
            Ok(answer) => self.outcome(operation, &answer),
            Err(error) if was_not_sent(&error) => {
                // Nothing else paces the clients while a host is down.
                pass(Duration::from_millis(20));
                return None;
            }
            Err(_) => Outcome::Unknown,
        };
        if !matches!(outcome, Outcome::Unknown) {
            self.known.fetch_add(1, Ordering::Relaxed);
        }
        Some(outcome)
    }
}
fn plan(seed: u64) -> Plan {
    Plan { clients: CLIENTS, keys: KEYS, operations_max: 400, seed }
}

/// A history of its own keys while `trouble` is made, checked.
fn one_history(cluster: &Cluster, words: &str, seed: u64, trouble: impl FnOnce()) {
    let store = OverS3::new(cluster.clients(TIMEOUT), words.replace(' ', "-"));
    let is_over = AtomicBool::new(false);
    let history = std::thread::scope(|scope| {
        let recording = scope.spawn(|| {
            drive(&store, &plan(seed), &|| {
                is_over.load(Ordering::SeqCst) && store.known.load(Ordering::Relaxed) >= KNOWN_MIN
            })
        });
        // Set also where the trouble fails, so that the clients end.
        let ending = SetWhenDropped(&is_over);
        trouble();
        drop(ending);
        recording.join().expect("clients only record")
    });
    judge(words, &history, &store);
}

fn judge(words: &str, history: &History, store: &OverS3) {
    let wrong = store.wrong.lock().expect("no one panics with it");
    assert!(wrong.is_empty(), "{words}: {}", wrong.join("\n"));
    let verdict = check(history, KEYS, STEPS_MAX);
    let (operations, unknown) = history.counts();
    eprintln!("{words}: {operations} operations, {unknown} unknown: {}", word(&verdict));
    let known = (operations - unknown) as u64;
    assert!(known >= KNOWN_MIN, "{words}: the outcome of only {known} operations is known, of {operations}");
    assert!(matches!(verdict, Verdict::Linearizable | Verdict::LinearizableByPairs), "{words}: {verdict:?}");
}

fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Linearizable => "linearizable",
        Verdict::LinearizableByPairs => "linearizable, listings by pairs of keys",
        Verdict::Violation(_) => "NOT LINEARIZABLE",
        Verdict::Undecided => "undecided within the bound",
    }
}

#[test]
fn histories_under_kills_pauses_and_partitions_are_linearizable() {
    let _alone = alone();
    let seed = seed();
    eprintln!("to repeat: SHERD_FAULT_SEED={seed} cargo test --test cluster histories");
    let cluster = Cluster::formed(&Shape::three(1, seed));
    let s3 = cluster.client(0);
    eventually(Duration::from_secs(60), "a bucket", || (s3.create_bucket(BUCKET).ok()?.status == 200).then_some(()));
    for round in 0..rounds() {
        let seed = seed.wrapping_add(round * 1000);
        one_history(&cluster, &format!("{round} no fault"), seed, || pass(Duration::from_secs(2)));
        one_history(&cluster, &format!("{round} the leader is killed"), seed + 1, || {
            let host = leader(&cluster);
            cluster.kill(host);
            pass(Duration::from_secs(3));
            cluster.start(host);
            cluster.wait_until_ready(host);
            pass(Duration::from_secs(1));
        });
        one_history(&cluster, &format!("{round} the leader is paused"), seed + 2, || {
            let host = leader(&cluster);
            cluster.pause(host);
            pass(fault_time());
            cluster.resume(host);
            pass(Duration::from_secs(2));
        });
        one_history(&cluster, &format!("{round} the leader is cut off"), seed + 3, || {
            cluster.network.cut(leader(&cluster));
            pass(fault_time());
            cluster.network.heal();
            pass(Duration::from_secs(2));
        });
        one_history(&cluster, &format!("{round} the lead is handed over"), seed + 4, || {
            let host = leader(&cluster);
            cluster.stop(host);
            cluster.start(host);
            cluster.wait_until_ready(host);
        });
    }
}

/// A store over another that breaks a promise now and then.
struct Broken<'a> {
    inner: &'a OverS3,
    loses_writes: bool,
    /// The number of operations that the fault might break.
    count: AtomicU64,
    /// The earlier outcomes of each key.
    stale: Mutex<HashMap<usize, Outcome>>,
}

impl Store for Broken<'_> {
    fn perform(&self, client: usize, operation: &Operation) -> Option<Outcome> {
        let strikes = || self.count.fetch_add(1, Ordering::Relaxed) % 3 == 2;
        match *operation {
            Operation::Put { .. } if self.loses_writes && strikes() => return Some(Outcome::Done),
            Operation::Get { key } if !self.loses_writes => {
                let outcome = self.inner.perform(client, operation)?;
                let mut stale = self.stale.lock().expect("no one panics with it");
                let old = stale.entry(key).or_insert_with(|| outcome.clone()).clone();
                if strikes() {
                    return Some(old);
                }
                stale.insert(key, outcome.clone());
                return Some(outcome);
            }
            _ => {}
        }
        self.inner.perform(client, operation)
    }
}

#[test]
fn a_recording_through_a_broken_store_is_rejected() {
    let (_root, server) = Server::fresh();
    server.client().create_bucket(BUCKET).unwrap().expect(200);
    let honest = OverS3::new(vec![server.client()], "honest".to_owned());
    let short = Plan { operations_max: 60, ..plan(seed()) };
    judge("one host, no fault", &drive(&honest, &short, &|| false), &honest);
    for loses_writes in [true, false] {
        // One recording may happen to show nothing.
        let is_rejected = (0..10).any(|attempt| {
            let inner = OverS3::new(vec![server.client()], format!("broken-{loses_writes}-{attempt}"));
            let broken = Broken { inner: &inner, loses_writes, count: AtomicU64::new(0), stale: Mutex::default() };
            let short = Plan { seed: short.seed + attempt, ..short };
            matches!(check(&drive(&broken, &short, &|| false), KEYS, STEPS_MAX), Verdict::Violation(_))
        });
        assert!(is_rejected, "loses writes: {loses_writes}: every recording is taken for good");
    }
}
