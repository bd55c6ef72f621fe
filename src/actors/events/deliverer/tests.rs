//! Tests of `Delivery` over a queue in memory.

use super::{Delivered, Delivery, DeliveryContext, DeliveryOptions, deliveries};
use crate::actors::events::queue::{EventQueue, EventSink, Target, Targets};
use crate::actors::events::record::EventSource;
use crate::actors::events::tests::{Listener, MemoryQueue, SetClock, ambient, row};
use crate::actors::events::window::REFUSALS_MAX;
use crate::actors::upkeep::Chore;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

struct World {
    queue: Arc<MemoryQueue>,
    listeners: Vec<Arc<Listener>>,
    clock: Arc<SetClock>,
    deliveries: Vec<Delivery>,
}

fn world(names: &[&str], queue_limit: u64) -> World {
    let (clock, ambient) = ambient();
    let queue = Arc::new(MemoryQueue::default());
    let listeners: Vec<Arc<Listener>> = names.iter().map(|_| Arc::default()).collect();
    let target = |listener: &Arc<Listener>| {
        let sink: Arc<dyn EventSink> = Arc::clone(listener) as Arc<dyn EventSink>;
        Target { sink, queue_limit }
    };
    let targets = Targets::new(names.iter().zip(&listeners).map(|(name, one)| ((*name).to_owned(), target(one))));
    let speaker = EventSource { region: "us-east-1".to_owned(), account: "1".to_owned() };
    let options = DeliveryOptions { page: 4, sent_at_once: 4, ..DeliveryOptions::default() };
    let context = DeliveryContext { queue: Arc::clone(&queue) as _, ambient, speaker, options };
    let deliveries = deliveries(&targets, &context);
    World { queue, listeners, clock, deliveries }
}

impl World {
    fn enqueue(&self, events: &[(u64, &str, &[&str])]) {
        let mut rows = self.queue.rows.lock().expect("no panic while it is held");
        for (at, key, targets) in events {
            rows.extend(targets.iter().map(|name| ((*name).to_owned(), row(*at, key, targets))));
        }
    }

    /// Delivers until the queue is empty.
    async fn deliver(&mut self, which: usize) {
        for _ in 0..100 {
            match self.deliveries[which].advance().await.expect("the queue answers") {
                Delivered::Nothing => return,
                Delivered::Told(_) => {}
                other => panic!("{other:?}"),
            }
        }
        panic!("the queue is never empty");
    }

    /// Delivers after the interval in which delivered events are removed from the queue.
    async fn deliver_later(&mut self, which: usize) {
        self.clock.pass(Duration::from_secs(1));
        self.deliver(which).await;
    }
}

#[tokio::test]
async fn each_webhook_gets_its_events_and_its_queue_is_emptied() {
    let mut world = world(&["A", "B"], 100);
    world.enqueue(&[(1, "k", &["A"]), (2, "l", &["A", "B"]), (3, "k", &["A"]), (4, "m", &["B"])]);
    world.deliver(0).await;
    assert_eq!(world.listeners[0].keys(), ["k", "l", "k"]);
    world.deliver_later(0).await;
    assert_eq!((world.queue.left("A"), world.queue.left("B")), (0, 2));
    world.deliver(1).await;
    assert_eq!(world.listeners[1].keys(), ["l", "m"]);
    world.deliver_later(1).await;
    assert_eq!(world.queue.left("B"), 0);
}

#[tokio::test]
async fn the_queue_of_an_unreachable_webhook_keeps_to_its_limit() {
    let mut world = world(&["A"], 1000);
    world.listeners[0].away.store(true, Ordering::SeqCst);
    let keys: Vec<String> = (0..4000).map(|number| format!("k{number}")).collect();
    let events: Vec<(u64, &str, &[&str])> =
        keys.iter().zip(1..).map(|(key, at)| (at, key.as_str(), ["A"].as_slice())).collect();
    world.enqueue(&events[..300]);
    // More events than the window holds.
    for _ in 0..100 {
        assert!(matches!(world.deliveries[0].advance().await, Ok(Delivered::Nobody { .. })));
    }
    assert_eq!(world.queue.left("A"), 300);
    world.enqueue(&events[300..]);
    world.deliveries[0].advance().await.expect("the queue answers");
    world.clock.pass(Duration::from_secs(1));
    world.deliveries[0].advance().await.expect("the queue answers");
    assert_eq!(world.queue.left("A"), 1000);
    world.listeners[0].away.store(false, Ordering::SeqCst);
    for _ in 0..4 {
        world.deliveries[0].advance().await.expect("the queue answers");
    }
    let sent = world.listeners[0].keys();
    assert!(!sent.is_empty() && sent.iter().all(|key| key.as_str() >= "k3000"), "{sent:?}");
    world.clock.pass(Duration::from_secs(1));
    world.deliveries[0].advance().await.expect("the queue answers");
    assert_eq!(world.listeners[0].keys()[sent.len()..][..2], ["k3000", "k3001"], "the oldest follow");
}

#[tokio::test]
async fn after_an_outage_the_oldest_events_go_before_fresh_ones_and_leave_the_queue() {
    let mut world = world(&["A"], 1000);
    world.listeners[0].away.store(true, Ordering::SeqCst);
    let named: Vec<String> = (0..2000).map(|number| format!("k{number}")).collect();
    let one = ["A"];
    let events: Vec<(u64, &str, &[&str])> =
        named.iter().zip(1..).map(|(key, at)| (at, key.as_str(), &one[..])).collect();
    world.enqueue(&events[..300]);
    for _ in 0..100 {
        assert!(matches!(world.deliveries[0].advance().await, Ok(Delivered::Nobody { .. })));
    }
    world.listeners[0].away.store(false, Ordering::SeqCst);
    world.deliveries[0].advance().await.expect("the queue answers");
    // As many events come as are delivered.
    for fresh in events[300..].chunks(4).take(300) {
        world.clock.pass(Duration::from_millis(100));
        world.enqueue(fresh);
        world.deliveries[0].advance().await.expect("the queue answers");
    }
    let sent = world.listeners[0].keys();
    let unsent: Vec<&String> = named[..256].iter().filter(|key| !sent.contains(key)).collect();
    assert_eq!(unsent, [""; 0], "none of the oldest still waits");
    assert!(world.queue.left("A") < 400, "{} are left", world.queue.left("A"));
}

#[tokio::test]
async fn a_webhook_that_fails_for_some_events_gets_all_others() {
    let mut world = world(&["A"], 1000);
    let fails = ["k1", "k2", "k3", "k4"].map(str::to_owned);
    world.listeners[0].unreachable_for.lock().expect("no panic while it is held").extend(fails);
    let named: Vec<String> = (1..=12).map(|number| format!("k{number}")).collect();
    let one = ["A"];
    let events: Vec<(u64, &str, &[&str])> =
        named.iter().zip(1..).map(|(key, at)| (at, key.as_str(), &one[..])).collect();
    world.enqueue(&events);
    for _ in 0..8 {
        world.deliveries[0].advance().await.expect("the queue answers");
    }
    assert_eq!(world.listeners[0].keys(), named[4..]);
    world.listeners[0].unreachable_for.lock().expect("no panic while it is held").clear();
    world.clock.pass(Duration::from_secs(1));
    world.deliver(0).await;
    assert_eq!(world.listeners[0].keys()[8..], named[..4]);
}

#[tokio::test]
async fn delivered_events_are_removed_from_the_queue_in_few_changes() {
    let mut world = world(&["A"], 10_000);
    world.clock.pass(Duration::from_millis(1));
    for at in 1..=2000 {
        world.enqueue(&[(at, &format!("k{at}"), &["A"])]);
    }
    for _ in 0..600 {
        world.deliveries[0].advance().await.expect("the queue answers");
    }
    let finishes = world.queue.finishes.load(Ordering::SeqCst);
    assert_eq!(world.listeners[0].keys().len(), 2000);
    assert!((3..=4).contains(&finishes), "{finishes} changes");
    world.deliver_later(0).await;
    assert_eq!(world.queue.left("A"), 0);
}

#[tokio::test]
async fn an_unreachable_webhook_delays_no_other_and_loses_nothing_within_its_limit() {
    let mut world = world(&["A", "B"], 100);
    world.listeners[0].away.store(true, Ordering::SeqCst);
    world.enqueue(&[(1, "k", &["A", "B"]), (2, "k", &["A", "B"])]);
    for failures in 1..4 {
        let told = world.deliveries[0].advance().await.expect("the queue answers");
        assert_eq!(told, Delivered::Nobody { failures });
    }
    world.deliver(1).await;
    assert_eq!(world.listeners[1].keys(), ["k", "k"]);
    world.deliver_later(1).await;
    assert_eq!((world.queue.left("A"), world.queue.left("B")), (2, 0));
    world.listeners[0].away.store(false, Ordering::SeqCst);
    world.deliver(0).await;
    assert_eq!(world.listeners[0].keys(), ["k", "k"]);
}

#[tokio::test]
async fn a_webhook_unreachable_for_too_long_misses_the_oldest_events() {
    let mut world = world(&["A"], 2);
    world.listeners[0].away.store(true, Ordering::SeqCst);
    world.enqueue(&[(1, "k1", &["A"]), (2, "k2", &["A"]), (3, "k3", &["A"]), (4, "k4", &["A"])]);
    let told = world.deliveries[0].advance().await.expect("the queue answers");
    assert_eq!(told, Delivered::Nobody { failures: 1 });
    world.listeners[0].away.store(false, Ordering::SeqCst);
    world.deliver(0).await;
    assert_eq!(world.listeners[0].keys(), ["k3", "k4"]);
}

#[tokio::test]
async fn a_refused_event_is_retried_and_dropped_after_its_last_attempt() {
    let mut world = world(&["A"], 100);
    world.listeners[0].refused.lock().expect("no panic while it is held").insert("bad".to_owned());
    world.enqueue(&[(1, "bad", &["A"]), (2, "good", &["A"])]);
    world.deliver_later(0).await;
    assert_eq!(world.listeners[0].keys(), ["good"]);
    assert_eq!(world.queue.left("A"), 2, "the queue keeps what follows the event that is refused");
    for _ in 1..REFUSALS_MAX {
        world.clock.pass(Duration::from_secs(60));
        world.deliver(0).await;
    }
    world.deliver_later(0).await;
    assert_eq!(world.queue.left("A"), 0);
    assert_eq!(world.listeners[0].keys(), ["good"]);
}

#[tokio::test]
async fn a_new_leader_resends_the_events_still_in_the_queue() {
    let mut world = world(&["A"], 100);
    world.enqueue(&[(1, "k1", &["A"]), (2, "k2", &["A"])]);
    world.deliver_later(0).await;
    world.enqueue(&[(3, "k3", &["A"])]);
    world.deliver(0).await;
    world.queue.elsewhere.store(true, Ordering::SeqCst);
    assert_eq!(world.deliveries[0].advance().await.expect("the queue answers"), Delivered::Elsewhere);
    world.queue.elsewhere.store(false, Ordering::SeqCst);
    world.deliver(0).await;
    assert_eq!(world.listeners[0].keys(), ["k1", "k2", "k3", "k3"], "sent again, since it was still in the queue");
    let heard = world.listeners[0].heard.lock().expect("no panic while it is held").clone();
    assert_eq!(heard[2].0, heard[3].0, "a message keeps its id");
}

/// The lead goes to another host and comes back between two steps, so that this host never sees itself without it.
#[tokio::test]
async fn events_that_another_leader_removed_in_between_do_not_count_against_the_queue_limit() {
    let mut world = world(&["A"], 100);
    let named: Vec<String> = (1..=120).map(|number| format!("k{number}")).collect();
    let one = ["A"];
    let events: Vec<(u64, &str, &[&str])> =
        named.iter().zip(1..).map(|(key, at)| (at, key.as_str(), &one[..])).collect();
    world.listeners[0].away.store(true, Ordering::SeqCst);
    world.enqueue(&events[..90]);
    let told = world.deliveries[0].advance().await.expect("the queue answers");
    assert_eq!(told, Delivered::Nobody { failures: 1 });
    world.queue.finish("A", 80).await.expect("removed");
    world.queue.term.fetch_add(2, Ordering::SeqCst);
    world.enqueue(&events[90..]);
    world.listeners[0].away.store(false, Ordering::SeqCst);
    world.deliver(0).await;
    assert_eq!(world.listeners[0].keys(), named[80..]);
    world.deliver_later(0).await;
    assert_eq!(world.queue.left("A"), 0);
}

#[tokio::test]
async fn webhook_retries_back_off_up_to_a_minute() {
    let mut world = world(&["A"], 100);
    world.listeners[0].away.store(true, Ordering::SeqCst);
    world.enqueue(&[(1, "k", &["A"])]);
    let mut pauses = Vec::new();
    for _ in 0..8 {
        pauses.push(world.deliveries[0].step().await.as_secs());
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
    world.listeners[0].away.store(false, Ordering::SeqCst);
    assert_eq!(world.deliveries[0].step().await, Duration::ZERO);
    assert_eq!(world.deliveries[0].step().await, Duration::from_millis(250));
}
