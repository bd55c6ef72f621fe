//! Tests of the assessment: a table of cases with verdict and survivable losses, and the messages.

use super::{Facts, StopJudgement, assess, guarantee, judge_stop, reasons};
use crate::actors::drives::health::{Contents, HealthBoard, HostState, ReplicaState};
use crate::actors::healer::{QueueState, Snapshot, Tally, absent};
use crate::actors::peers::Doubts;
use crate::api::{Bounds, Safety, Verdict};
use crate::storage::meta::record::{BlobRef, Counts, Held, HeldRecord};
use crate::storage::ring::{Availability, Layout, LayoutNode, Ring};
use crate::types::{BlobId, Epoch, Geometry, HostId, NodeId, ShardNumber};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A store of `hosts` hosts with `drives` drives each, node `64 * host + drive`, and `blobs` blobs.
struct Store {
    ring: Ring,
    geometry: Geometry,
    board: HealthBoard,
    hosts: u64,
    blobs: Vec<BlobRef>,
    queued: Vec<(BlobId, ShardNumber)>,
    is_counted: bool,
    /// The number of shards that were moved since the count.
    moved: u64,
    has_counters: bool,
    /// The replica of each voter; all hosts vote.
    replicas: BTreeMap<HostId, ReplicaState>,
    full: BTreeSet<NodeId>,
    as_of: u64,
    /// The hosts that serve S3; `None` for all.
    gateways: Option<BTreeSet<HostId>>,
    earlier: Option<Arc<Tally>>,
}

impl Store {
    fn new(hosts: u64, drives: u32, data: u8, parity: u8, blobs: u128) -> Self {
        let node =
            |host: u64, drive: u32| LayoutNode { id: NodeId(host as u32 * 64 + drive), host: HostId(host), weight: 1 };
        let nodes: Vec<_> = (0..hosts).flat_map(|host| (0..drives).map(move |drive| node(host, drive))).collect();
        let ring = Ring::new(&Layout::new(Epoch(1), nodes.clone()));
        let geometry = Geometry { data, parity, chunk_size_bytes: 4096 };
        let blob = |number: u128| {
            let id = BlobId((number << 80) | (number * 0x9e37_79b9));
            let placement = ring.place(id, geometry, |_| Availability::Live).expect("all are live").nodes;
            BlobRef { id, size_bytes: 1000, geometry, placement }
        };
        let blobs = (1..=blobs).map(blob).collect();
        let board = HealthBoard::new(nodes.iter().map(|node| node.id));
        let copies = (usize::from(parity) + 1).min(drives as usize);
        let replica =
            ReplicaState { copies, copies_wanted: copies, applied: 100, is_stuck: false, out_of_service: None };
        let replicas: BTreeMap<HostId, ReplicaState> = (0..hosts).map(|host| (HostId(host), replica.clone())).collect();
        for (host, replica) in replicas.iter().skip(1) {
            let hears = replicas.keys().copied().filter(|other| other != host).collect();
            let state = HostState { answers: true, replica: replica.clone(), hears, ..HostState::default() };
            board.note_host(*host, state);
        }
        let (queued, full) = (Vec::new(), BTreeSet::new());
        Self {
            ring,
            geometry,
            board,
            hosts,
            blobs,
            queued,
            is_counted: true,
            moved: 0,
            has_counters: true,
            replicas,
            full,
            as_of: 100,
            gateways: None,
            earlier: None,
        }
    }

    /// Sets the number of copies of the metadata log that are left on each host.
    fn copies(mut self, hosts: &[u64], copies: usize) -> Self {
        for host in hosts {
            self.replicas.get_mut(&HostId(*host)).expect("a host").copies = copies;
        }
        self
    }

    fn full(self, drives: &[u32]) -> Self {
        Self { full: drives.iter().copied().map(NodeId).collect(), ..self }
    }

    fn host_is(self, host: u64, state: HostState) -> Self {
        self.board.note_host(HostId(host), state);
        self
    }

    /// Lets a host no longer hear another one.
    fn deaf(self, host: u64, other: u64) -> Self {
        let mut state = self.board.current().host(HostId(host)).expect("another host").clone();
        state.hears.remove(&HostId(other));
        self.host_is(host, state)
    }

    fn uncounted(self) -> Self {
        Self { is_counted: false, ..self }
    }

    fn without(self, drives: &[u32]) -> Self {
        for &drive in drives {
            self.board.take_out(NodeId(drive), "its directory is gone");
        }
        self
    }

    fn without_host(self, host: u64) -> Self {
        let nodes: Vec<u32> = self.ring.nodes().iter().filter(|n| n.host == HostId(host)).map(|n| n.id.0).collect();
        self.board.note_host(HostId(host), HostState::default());
        self.without(&nodes)
    }

    fn with(self, drives: &[u32], contents: Contents) -> Self {
        for &drive in drives {
            self.board.update(NodeId(drive), |state| state.contents = contents);
        }
        self
    }

    /// Queues all shards on this node for repair.
    fn queued(mut self, node: u32) -> Self {
        for blob in &self.blobs {
            let shards = blob.placement.iter().zip(0u8..).filter(|(at, _)| at.0 == node);
            self.queued.extend(shards.map(|(_, shard)| (blob.id, ShardNumber(shard))));
        }
        self
    }

    fn queue(&self) -> QueueState {
        let length = self.queued.len() as u64;
        QueueState { length, added: length, moved: 0 }
    }

    fn snapshot(&self, absent: &BTreeSet<NodeId>) -> Snapshot {
        let mut held = HeldRecord::default();
        let mut tally = Tally::new(absent.clone(), self.ring.epoch(), self.queue());
        for blob in &self.blobs {
            blob.placement.iter().for_each(|node| held.nodes.entry(*node).or_insert_with(Held::default).placed += 1);
            let queued: Vec<ShardNumber> =
                self.queued.iter().filter(|(id, _)| *id == blob.id).map(|(_, shard)| *shard).collect();
            tally.count(blob, &queued, &self.ring.places());
        }
        tally.is_complete = true;
        let hosts: BTreeSet<HostId> = (0..self.hosts).map(HostId).collect();
        let gateways = self.gateways.clone().unwrap_or_else(|| hosts.clone());
        Snapshot {
            as_of: self.as_of,
            counts: self.has_counters.then(|| Counts {
                blobs: self.blobs.len() as u64,
                repairs: self.queue().length,
                repairs_ever: self.queue().added,
                moves_ever: self.moved,
                ..Counts::default()
            }),
            held,
            hosts: hosts.iter().map(|host| (*host, format!("h{}", host.0))).collect(),
            gateways,
            tally: self.is_counted.then(|| Arc::new(tally)),
            earlier: self.earlier.clone(),
            is_removed: false,
            repaired_per_1000_seconds: 0,
        }
    }

    fn judge<T>(&self, judge: impl FnOnce(&Facts<'_>) -> T) -> T {
        let health = self.board.current();
        let absent = absent(self.ring.nodes().iter().map(|node| node.id), &health, &Doubts::default());
        let availability = |node: NodeId| match health.in_service(node) {
            true if self.full.contains(&node) => Availability::Full,
            true => Availability::Live,
            false => Availability::Down,
        };
        judge(&Facts {
            own: HostId(0),
            ring: &self.ring,
            geometry: self.geometry,
            health: &health,
            snapshot: self.snapshot(&absent),
            is_current: true,
            absent,
            availability: &availability,
            voters: self.replicas.clone(),
            voters_change: false,
            applied_before: 100,
            to_move: 0,
        })
    }

    fn safety(&self) -> Safety {
        self.judge(assess)
    }

    fn words(&self) -> String {
        self.judge(|facts| reasons(facts, &assess(facts)).join("; "))
    }

    fn stop(&self, host: u64) -> StopJudgement {
        self.judge(|facts| judge_stop(facts, HostId(host)))
    }
}

fn exactly(count: u64) -> Bounds {
    Bounds { at_least: count, at_most: count }
}

#[test]
fn the_verdict_and_survivable_losses_follow_from_missing_drives_and_shards() {
    let one = |drives| Store::new(1, drives, 2, 2, 60);
    let three = || Store::new(3, 2, 4, 2, 60);
    let cases = [
        ("whole", one(5), Verdict::Ok, (0, 2), (0, 2)),
        ("empty and whole", Store::new(1, 5, 2, 2, 0), Verdict::Ok, (0, 2), (0, 2)),
        ("one of five gone", one(5).without(&[0]), Verdict::Degraded, (0, 1), (0, 1)),
        ("one of five gone, not counted", one(5).without(&[0]).uncounted(), Verdict::Degraded, (0, 1), (0, 1)),
        ("two of five gone", one(5).without(&[0, 1]), Verdict::AtRisk, (0, 0), (0, 0)),
        ("two of five gone, not counted", one(5).without(&[0, 1]).uncounted(), Verdict::AtRisk, (0, 0), (0, 0)),
        ("three of five gone", one(5).without(&[0, 1, 2]), Verdict::Unavailable, (0, 0), (0, 0)),
        ("an empty one in the place of another", one(4).with(&[0], Contents::Empty), Verdict::Degraded, (0, 1), (0, 1)),
        ("two empty ones", one(4).with(&[0, 1], Contents::Empty), Verdict::AtRisk, (0, 0), (0, 0)),
        ("not compared", one(4).with(&[0], Contents::Uncompared), Verdict::Degraded, (0, 2), (0, 1)),
        ("a queue", one(4).queued(0), Verdict::Degraded, (0, 1), (0, 1)),
        ("two queues", one(4).queued(0).queued(1), Verdict::AtRisk, (0, 0), (0, 0)),
        ("no parity", Store::new(1, 2, 2, 0, 9), Verdict::Ok, (0, 0), (0, 0)),
        ("unreadable, not at risk only", one(4).queued(0).queued(1).queued(2), Verdict::Unavailable, (0, 0), (0, 0)),
        ("copies of the metadata", one(5).copies(&[0], 2), Verdict::Degraded, (0, 1), (0, 1)),
        ("one copy of the metadata", one(5).copies(&[0], 1), Verdict::AtRisk, (0, 0), (0, 0)),
        ("a full one of five", one(5).full(&[0]), Verdict::Degraded, (0, 2), (0, 1)),
        ("two full ones of five", one(5).full(&[0, 1]), Verdict::Degraded, (0, 1), (0, 0)),
        ("three hosts, two lost lose the metadata", Store::new(3, 2, 1, 2, 60), Verdict::Ok, (1, 2), (1, 2)),
        ("two hosts have no majority without one", Store::new(2, 2, 1, 1, 60), Verdict::Ok, (0, 1), (0, 1)),
        ("two hosts with a drive each", Store::new(2, 1, 1, 1, 60), Verdict::Ok, (0, 0), (0, 0)),
        ("a voter without a copy", Store::new(3, 2, 1, 2, 60).copies(&[2], 0), Verdict::Degraded, (0, 1), (0, 1)),
        ("a voter with a copy each", Store::new(3, 2, 1, 2, 60).copies(&[1, 2], 1), Verdict::Degraded, (1, 1), (1, 1)),
        ("three hosts", three(), Verdict::Ok, (1, 2), (0, 1)),
        ("a drive of three hosts", three().without(&[0]), Verdict::Degraded, (0, 1), (0, 0)),
        ("a host of three", three().without_host(1), Verdict::AtRisk, (0, 0), (0, 0)),
        ("a wiped host of three", three().with(&[64, 65], Contents::Empty), Verdict::AtRisk, (0, 0), (0, 0)),
    ];
    for (what, store, verdict, (hosts, drives), (hosts_served, drives_served)) in cases {
        let safety = store.safety();
        let worded = if store.words().is_empty() { Verdict::Ok } else { Verdict::Degraded };
        assert_eq!(safety.verdict().max(worded), verdict, "{what}: {safety:?}");
        assert_eq!((safety.survives_now.hosts, safety.survives_now.drives), (hosts, drives), "{what}");
        let served = (safety.serves_without.hosts, safety.serves_without.drives);
        assert_eq!(served, (hosts_served, drives_served), "{what}: without refusing requests");
    }
}

#[test]
fn shards_on_absent_drives_count_as_missing_at_once_and_blobs_after_the_census() {
    let store = Store::new(1, 4, 2, 2, 60).without(&[0, 1]).uncounted();
    let before = store.safety();
    assert_eq!(before.missing_shards, exactly(120), "every blob has a shard on each drive");
    assert_eq!(before.reduced.blobs, Bounds { at_least: 0, at_most: 60 });
    assert!(!before.is_counted && before.at_risk);
    let counted = Store { is_counted: true, ..store }.safety();
    assert_eq!((counted.missing_shards, counted.reduced.blobs), (exactly(120), exactly(60)));
    assert_eq!((counted.without_spare.blobs, counted.unreadable.blobs), (exactly(60), exactly(0)));
    assert_eq!((counted.reduced.bytes_counted, counted.is_counted), (60_000, true));
}

#[test]
fn a_shard_that_is_queued_and_missing_is_counted_once() {
    let store = Store::new(1, 4, 2, 2, 60).queued(0).without(&[0]);
    assert_eq!(store.safety().missing_shards, exactly(60));
    let uncounted = store.uncounted().safety().missing_shards;
    assert_eq!(uncounted, Bounds { at_least: 60, at_most: 120 }, "until it is counted it may be twice as much");
}

#[test]
fn a_tally_taken_with_other_absent_drives_is_ignored() {
    let store = Store::new(1, 4, 2, 2, 60);
    let old = store.snapshot(&BTreeSet::new());
    let store = store.without(&[0, 1]);
    let safety = store.judge(|facts| {
        let stale = Facts { absent: facts.absent.clone(), voters: facts.voters.clone(), snapshot: old, ..*facts };
        assess(&stale)
    });
    assert_eq!((safety.verdict(), safety.survives_now.drives, safety.is_counted), (Verdict::AtRisk, 0, false));
}

/// A drive was added to three, on which each object has two shards on one drive.
#[test]
fn objects_placed_by_a_former_layout_bound_what_survives() {
    let layout = |drives: u32, epoch| {
        let node = |drive| LayoutNode { id: NodeId(drive), host: HostId(0), weight: 1 };
        Ring::new(&Layout::new(epoch, (0..drives).map(node).collect::<Vec<_>>()))
    };
    let empty = Store::new(1, 4, 2, 2, 0);
    let former = Store { ring: layout(3, Epoch(1)), ..Store::new(1, 3, 2, 2, 60) };
    let earlier = former.snapshot(&BTreeSet::new()).tally;
    assert_eq!(former.safety().survives_now.drives, 1);
    let grown = Store { ring: layout(4, Epoch(2)), board: empty.board, earlier, ..former };
    let judged = |store: &Store| (store.safety().survives_now.drives, store.judge(guarantee).drives);
    assert_eq!(judged(&grown), (1, 1), "counted");
    let uncounted = grown.uncounted();
    assert_eq!(judged(&uncounted), (1, 1), "counted with the former layout");
    assert_eq!(uncounted.without(&[0]).safety().survives_now.drives, 0, "a drive is away, and nothing is counted");
}

/// Two shards were repaired since the count, and two others queued.
#[test]
fn a_count_taken_with_another_repair_queue_of_the_same_length_is_not_exact() {
    let store = Store::new(3, 2, 3, 3, 60);
    let (mut snapshot, before) = (store.snapshot(&BTreeSet::new()), store.judge(|facts| assess(facts).is_counted));
    snapshot.counts = snapshot.counts.map(|counts| Counts { repairs_ever: counts.repairs_ever + 2, ..counts });
    let after = store.judge(|facts| {
        let (absent, voters) = (facts.absent.clone(), facts.voters.clone());
        assess(&Facts { absent, voters, snapshot, ..*facts }).is_counted
    });
    assert_eq!((before, after), (true, false));
}

#[test]
fn a_count_from_before_shards_were_moved_is_not_exact_and_no_host_may_stop() {
    let store = Store::new(3, 2, 3, 3, 60);
    let before = store.safety();
    assert!(before.is_counted && store.stop(1).safe, "{:?}", store.stop(1));
    let store = Store { moved: 1, ..store };
    let after = store.safety();
    assert!(!after.is_counted);
    assert_eq!(
        (after.verdict(), after.survives_now, after.missing_shards),
        (Verdict::Ok, before.survives_now, exactly(0))
    );
    let stop = store.stop(1);
    assert!(!stop.safe && stop.why.contains("shards were moved since"), "{stop:?}");
    assert!(store.uncounted().stop(1).why.contains("still being counted"));
}

/// Each object has one shard on each of eight hosts and lacks one of them. Four hosts are drained, so that each of the
/// others gets two shards.
#[test]
fn while_shards_move_an_object_survives_what_it_does_where_it_is_and_where_it_goes() {
    let wide = Store::new(8, 1, 4, 4, 60);
    let layout = Layout::new(Epoch(2), wide.ring.nodes().to_vec());
    let ring = Ring::new(&layout.with_draining((4..8).map(|host| NodeId(host * 64))));
    let store = Store { ring, ..wide }.queued(7 * 64);
    let survives = |store: &Store| (store.safety().survives_now.hosts, store.safety().survives_now.drives);
    assert_eq!(survives(&store), (2, 2), "as for objects that lack nothing, where they go");
    let moving = Store { moved: 1, ..store };
    assert_eq!(survives(&moving), (1, 1), "on the way, two of the seven shards may be on each of three hosts");
    let earlier = moving.judge(|facts| facts.snapshot.tally.clone());
    assert_eq!(survives(&Store { earlier, ..moving }.uncounted()), (1, 1), "the last pass is as old");
}

/// The count of the repair queue is older than the comparison, which may have queued more.
#[test]
fn no_loss_is_survivable_between_a_comparison_and_the_next_count() {
    let store = Store::new(1, 4, 2, 2, 60);
    store.board.update(NodeId(1), |state| state.compared_at = 101);
    let safety = store.safety();
    assert_eq!((safety.survives_now.drives, safety.serves_without.drives, safety.at_risk), (0, 0, false));
    assert_eq!((safety.verdict(), safety.is_stale), (Verdict::Degraded, true));
    assert!(store.words().contains("is being counted"), "{}", store.words());
    let counted = Store { as_of: 101, ..store }.safety();
    assert_eq!((counted.survives_now.drives, counted.verdict()), (2, Verdict::Ok));
    let held_up = Store::new(1, 4, 2, 2, 60).judge(|facts| {
        let (absent, voters, snapshot) = (facts.absent.clone(), facts.voters.clone(), facts.snapshot.clone());
        assess(&Facts { absent, voters, snapshot, is_current: false, ..*facts })
    });
    assert_eq!((held_up.survives_now.drives, held_up.verdict()), (0, Verdict::Degraded));
}

/// A host with two drives was away while objects were written, and is back: each of these objects lacks two shards.
#[test]
fn after_drives_return_the_tally_without_them_bounds_what_survives() {
    let away = Store::new(3, 2, 3, 3, 60).without(&[0, 1]);
    let earlier = away.judge(|facts| facts.snapshot.tally.clone());
    let back = Store::new(3, 2, 3, 3, 60).queued(0).queued(1).uncounted();
    let survives = |store: &Store| store.safety().survives_now;
    assert_eq!((survives(&away).drives, survives(&away).hosts), (1, 0));
    assert_eq!((survives(&back).drives, survives(&back).hosts), (0, 0), "nothing was counted yet");
    assert!(!back.safety().at_risk, "that it is so is not known");
    let back = Store { earlier, ..back };
    assert_eq!((survives(&back).drives, survives(&back).hosts), (1, 0));
}

#[test]
fn messages_name_the_problem_and_what_the_operator_must_do() {
    let store = Store::new(3, 2, 4, 2, 60).without_host(1).without(&[0]);
    let words = store.words();
    assert!(words.contains("3 of 6 drives are out of service") && words.contains("cannot be read"), "{words}");
    let to_do = store.safety().to_do;
    assert!(to_do[0].contains("bring back drive 0 of host h0, and do not replace it"), "{to_do:?}");
    assert!(to_do[1].contains("start host h1 again, and do not replace it: objects cannot be read"), "{to_do:?}");
    let to_do = Store::new(3, 2, 2, 4, 60).without_host(1).without(&[0]).safety().to_do;
    assert!(to_do[0].contains("bring back or replace drive 0 of host h0"), "{to_do:?}");
    assert!(to_do[1].contains("start host h1 again, or replace it: it has drives 64, 65"), "{to_do:?}");
    let filling = Store::new(1, 4, 2, 2, 60).with(&[2], Contents::Empty);
    assert!(filling.words().contains("drive 2 took the place of others that held 60 shards"), "{}", filling.words());
    assert!(filling.safety().to_do.is_empty(), "it is filled by itself");
    assert_eq!(Store::new(1, 4, 2, 2, 60).words(), "");
}

/// Counts that are older than a drive's comparison lack the repairs that it queued.
#[test]
fn a_drive_counts_as_compared_once_its_queued_repairs_are_counted() {
    let store = Store::new(1, 4, 2, 2, 60);
    store.board.update(NodeId(0), |state| state.compared_at = 101);
    assert_eq!((store.safety().verdict(), store.safety().uncompared_drives), (Verdict::Degraded, vec![0]));
    assert_eq!(Store { as_of: 101, ..store }.safety().verdict(), Verdict::Ok);
}

#[test]
fn without_its_last_gateway_a_store_serves_nothing() {
    let one = Store { gateways: Some([HostId(0)].into()), ..Store::new(3, 2, 1, 2, 60) };
    let safety = one.safety();
    assert_eq!((safety.survives_now.hosts, safety.serves_without.hosts, safety.serves_without.drives), (1, 0, 2));
}

#[test]
fn a_drive_that_takes_no_writes_is_named_and_serves_reads() {
    let store = Store::new(1, 4, 2, 2, 60);
    store.board.update(NodeId(2), |state| state.unwritable = Some("read-only".to_owned()));
    assert!(store.words().contains("drive 2 takes no writes: read-only"), "{}", store.words());
    assert!(store.safety().to_do[0].contains("mend drive 2 of host h0"), "{:?}", store.safety().to_do);
    let health = store.board.current();
    assert!(health.in_service(NodeId(2)) && !health.accepts_writes(NodeId(2)) && health.accepts_writes(NodeId(1)));
}

#[test]
fn the_advice_is_not_to_replace_a_drive_that_unreadable_objects_need() {
    let to_do = Store::new(1, 4, 2, 2, 60).without(&[0, 1, 2]).safety().to_do;
    assert!(to_do[0].contains("and do not replace"), "{to_do:?}");
}

#[test]
fn while_the_leader_is_stuck_no_loss_is_survivable_and_no_host_may_stop() {
    let mut store = Store::new(3, 2, 3, 3, 60);
    store.replicas.get_mut(&HostId(1)).expect("a host").is_stuck = true;
    assert_eq!((store.safety().serves_without.drives, store.stop(2).safe), (0, false));
    assert!(store.words().contains("host h1 leads, and too few voters keep"), "{}", store.words());
    assert_eq!(store.without_host(1).judge(|facts| facts.stuck_leader()), None, "it leads no more");
}

#[test]
fn the_data_is_not_called_safe_before_all_hosts_were_asked() {
    let store = Store::new(3, 2, 1, 2, 60);
    store.board.retain_hosts(|host| host == HostId(1));
    let safety = store.safety();
    assert_eq!((safety.survives_now.drives, safety.serves_without.drives, safety.at_risk), (0, 0, false));
    let silent = "not all other hosts have reported their state yet";
    assert!(store.words().contains("not known yet") && store.words().contains(silent), "{}", store.words());
    assert!(!store.stop(1).safe && store.stop(1).why.ends_with(silent), "{:?}", store.stop(1));
    let store = Store { has_counters: false, ..Store::new(3, 2, 1, 2, 60) };
    let unread = "the metadata's counters have not been read yet";
    assert!(store.words().ends_with(unread) && !store.stop(1).safe, "{}", store.words());
    assert!(store.stop(1).why.ends_with(unread), "{:?}", store.stop(1));
}

#[test]
fn the_guarantee_of_the_layout_includes_the_metadata() {
    let words = |store: Store| store.judge(guarantee).to_string();
    assert_eq!(words(Store::new(3, 2, 1, 2, 0)), "survives 1 host or 2 drives");
    assert_eq!(words(Store::new(3, 2, 1, 2, 0).without_host(1)), "survives 1 host or 2 drives", "when it is back");
    assert_eq!(words(Store::new(2, 1, 1, 1, 0)), "survives no loss");
    assert_eq!(words(Store::new(1, 6, 3, 3, 0)), "survives 3 drives");
}

#[test]
fn a_host_may_be_stopped_only_while_the_others_do_everything_without_it() {
    // Six shards, two a host, of which one may be missing for a write.
    let roomy = || Store::new(3, 2, 3, 3, 60);
    assert!(roomy().stop(1).safe, "{:?}", roomy().stop(1));
    let reason = |store: Store, host| {
        let judged = store.stop(host);
        assert!(!judged.safe, "{judged:?}");
        judged.why
    };
    assert!(reason(Store::new(1, 4, 2, 2, 60), 0).contains("no other host is there"));
    assert!(reason(Store::new(2, 2, 2, 2, 60), 1).contains("1 of 2 voters"));
    assert!(reason(roomy().without_host(2), 1).contains("voters"));
    assert!(reason(Store::new(3, 2, 4, 2, 60), 1).contains("writes would be refused"));
    assert!(reason(roomy().copies(&[2], 0), 1).contains("1 of 3 voters"), "it keeps no log");
    assert!(roomy().copies(&[1], 0).stop(1).safe, "it takes no part as it is");
    let while_voters_change = roomy().judge(|facts| {
        let (absent, voters, snapshot) = (facts.absent.clone(), facts.voters.clone(), facts.snapshot.clone());
        judge_stop(&Facts { absent, voters, snapshot, voters_change: true, ..*facts }, HostId(1))
    });
    assert!(while_voters_change.why.contains("voters for the metadata are being changed"));
    let mut behind = roomy();
    behind.replicas.get_mut(&HostId(2)).expect("a host").applied = 99;
    assert!(behind.words().contains("host h2 is behind: it has 99 of 100 entries"), "{}", behind.words());
    assert!(reason(behind, 1).contains("1 of 3 voters"), "it does not follow");
    let stopping =
        |store: Store| HostState { stopping: true, ..store.board.current().host(HostId(2)).expect("a host").clone() };
    assert!(reason(roomy().host_is(2, stopping(roomy())), 1).contains("host h2 is stopping"));
    assert!(reason(roomy().with(&[0], Contents::Uncompared), 1).contains("compared"));
    assert!(reason(roomy().uncounted(), 1).contains("counted"));
    assert!(reason(roomy().queued(0).queued(1), 1).contains("could not be read"));
    assert!(roomy().with(&[64], Contents::Uncompared).stop(1).safe, "nobody needs its own drives meanwhile");
    for (host, other) in [(1, 2), (2, 1)] {
        let out_of_touch = format!("host h{host} does not hear host h{other}");
        assert!(reason(roomy().deaf(host, other), 0).contains(&out_of_touch), "it is the link between the others");
        assert!(roomy().deaf(host, other).stop(1).safe, "the hosts that are left hear each other");
        let words = roomy().deaf(host, other).words();
        assert!(words.contains(&out_of_touch), "{words}");
        assert_eq!(roomy().deaf(host, other).safety().serves_without.hosts, 0);
    }
    assert!(reason(roomy().deaf(2, 0), 1).contains("host h2 does not hear host h0"), "one way");
}
