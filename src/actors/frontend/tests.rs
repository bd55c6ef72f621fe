//! Admission as the actor grants, delays and refuses it.

use super::{
    Admission, AdmissionLimits, AdmitGet, AdmitPut, Effect, Event, Holder, Permit, Refused, S3Frontend, Ticket,
};
use crate::actors::request::StoreError;
use actix::{Actor, Addr};
use proptest::collection::vec;
use proptest::prelude::any;
use proptest::{prop_assert, proptest};
use std::collections::BTreeMap;
use std::time::Duration;

fn limits(bytes: u64, requests: usize, waiting: usize) -> AdmissionLimits {
    AdmissionLimits { bytes, requests, waiting }
}

/// Each is of a holder of its own.
fn asked(ticket: u64, bytes: u64) -> Event {
    asked_by(ticket, ticket, bytes)
}

fn asked_by(holder: u64, ticket: u64, bytes: u64) -> Event {
    Event::Asked { ticket: Ticket(ticket), bytes, holder: account(holder) }
}

fn account(number: u64) -> Holder {
    Holder::Account(number.to_string().into())
}

fn granted(ticket: u64, bytes: u64) -> Effect {
    Effect::Grant { ticket: Ticket(ticket), bytes, holder: account(ticket) }
}

#[test]
fn requests_wait_for_bytes_and_are_served_in_order() {
    let mut admission = Admission::new(limits(100, 10, 10));
    assert_eq!(admission.apply(asked(1, 60)), vec![granted(1, 60)]);
    assert_eq!(admission.apply(asked(2, 60)), vec![]);
    assert_eq!(admission.apply(asked(3, 10)), vec![], "a small one does not overtake");
    let released = admission.apply(Event::Released { bytes: 60, holder: account(1) });
    let grants = vec![granted(2, 60), granted(3, 10)];
    assert_eq!(released, grants);
}

#[test]
fn a_request_larger_than_all_memory_runs_alone() {
    let mut admission = Admission::new(limits(100, 10, 10));
    assert_eq!(admission.apply(asked(1, 1000)), vec![granted(1, 100)]);
}

#[test]
fn a_request_too_many_is_refused_at_once_and_a_queued_one_in_time() {
    let mut admission = Admission::new(limits(10, 1, 1));
    admission.apply(asked(1, 1));
    admission.apply(asked(2, 1));
    assert_eq!(admission.apply(asked(3, 1)), vec![Effect::Refuse { ticket: Ticket(3), why: Refused::QueueFull }]);
    let expired = admission.apply(Event::Expired { ticket: Ticket(2) });
    assert_eq!(expired, vec![Effect::Refuse { ticket: Ticket(2), why: Refused::WaitedTooLong }]);
    assert_eq!(admission.apply(Event::Expired { ticket: Ticket(1) }), vec![], "one who runs cannot expire");
}

#[test]
fn a_holder_that_keeps_what_it_has_leaves_a_quarter_to_others() {
    let mut admission = Admission::new(limits(800, 1000, 1000));
    let mut grants = |holder: u64, tickets: std::ops::Range<u64>| {
        tickets.filter(|ticket| !admission.apply(asked_by(holder, *ticket, 10)).is_empty()).count()
    };
    assert_eq!(grants(1, 0..100), 60, "three quarters");
    assert_eq!([grants(2, 100..200), grants(3, 200..300)], [10, 10], "an eighth each, past those that wait");
    assert_eq!(grants(4, 300..301), 0, "all of it is taken");
    let effects = admission.apply(Event::Released { bytes: 10, holder: account(2) });
    let next = Effect::Grant { ticket: Ticket(110), bytes: 10, holder: account(2) };
    assert_eq!(effects, [next], "the first in the queue that has less than its share");
}

#[test]
fn a_holder_that_fills_the_queue_leaves_a_quarter_of_it_to_others() {
    let mut admission = Admission::new(limits(10, 1, 8));
    admission.apply(asked_by(1, 0, 10));
    let waits = (1..20).filter(|ticket| admission.apply(asked_by(1, *ticket, 10)).is_empty()).count();
    assert_eq!(waits, 6);
    assert!(admission.apply(asked_by(2, 20, 10)).is_empty(), "another one has a place");
}

proptest! {
    #[test]
    fn whatever_comes_the_limits_hold_and_nothing_is_lost(steps in vec((0u8..3, any::<u16>()), 1..200)) {
        let mut admission = Admission::new(limits(1000, 5, 7));
        let mut running: BTreeMap<Ticket, (u64, Holder)> = BTreeMap::new();
        let mut waiting: Vec<Ticket> = Vec::new();
        for (number, (kind, value)) in steps.into_iter().enumerate() {
            let event = match kind {
                0 => {
                    waiting.push(Ticket(number as u64));
                    asked_by(u64::from(value % 3), number as u64, u64::from(value % 600))
                }
                1 => match running.pop_first() {
                    Some((_, (bytes, holder))) => Event::Released { bytes, holder },
                    None => continue,
                },
                _ => match waiting.get(usize::from(value) % waiting.len().max(1)) {
                    Some(&ticket) => Event::Expired { ticket },
                    None => continue,
                },
            };
            for effect in admission.apply(event) {
                let ticket = match effect {
                    Effect::Grant { ticket, bytes, holder } => {
                        running.insert(ticket, (bytes, holder));
                        ticket
                    }
                    Effect::Refuse { ticket, .. } => ticket,
                };
                prop_assert!(waiting.contains(&ticket), "each is answered once");
                waiting.retain(|&other| other != ticket);
            }
            prop_assert!(running.values().map(|(bytes, _)| bytes).sum::<u64>() == admission.used_bytes() && admission.used_bytes() <= 1000);
            prop_assert!(running.len() == admission.used_requests() && waiting.len() == admission.waiting());
        }
    }
}

fn frontend(limits: AdmissionLimits, wait_max: Duration) -> Addr<S3Frontend> {
    S3Frontend::new(limits, wait_max).start()
}

async fn put(frontend: &Addr<S3Frontend>, bytes: u64) -> Result<Permit, StoreError> {
    frontend.send(AdmitPut { bytes, holder: Holder::Store }).await.expect("running")
}

#[actix::test]
async fn a_dropped_permit_lets_the_next_in() {
    let frontend = frontend(limits(100, 10, 10), Duration::from_secs(3600));
    let first = put(&frontend, 100).await.expect("all is free");
    let second = tokio::task::spawn_local({
        let frontend = frontend.clone();
        async move { frontend.send(AdmitGet { bytes: 50, holder: Holder::Store }).await.expect("running") }
    });
    tokio::task::yield_now().await;
    assert!(!second.is_finished());
    drop(first);
    assert_eq!(second.await.expect("joined").expect("admitted").bytes(), 50);
}

#[actix::test]
async fn a_caller_that_gives_up_waiting_keeps_nothing() {
    let frontend = frontend(limits(100, 10, 10), Duration::from_secs(3600));
    let first = put(&frontend, 100).await.expect("all is free");
    let gives_up = tokio::task::spawn_local({
        let frontend = frontend.clone();
        async move { put(&frontend, 100).await }
    });
    tokio::task::yield_now().await;
    gives_up.abort();
    assert!(gives_up.await.is_err());
    drop(first);
    assert_eq!(put(&frontend, 100).await.expect("what was granted to nobody is free again").bytes(), 100);
}

/// Tests that a request of a client that went away gives up its place, so that it turns no other away.
#[actix::test]
async fn a_caller_that_is_gone_leaves_the_queue_at_once() {
    let frontend = frontend(limits(100, 10, 1), Duration::from_secs(3600));
    let first = put(&frontend, 100).await.expect("all is free");
    let gives_up = tokio::task::spawn_local({
        let frontend = frontend.clone();
        async move { put(&frontend, 100).await }
    });
    settle().await;
    gives_up.abort();
    assert!(gives_up.await.is_err());
    settle().await;
    let (second, ()) = futures::join!(put(&frontend, 50), async { drop(first) });
    assert_eq!(second.expect("there is a place in the queue").bytes(), 50);
}

/// Lets everything in this thread get on as far as it can.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// F3: too much is `Busy`, to be tried again.
#[actix::test]
async fn f3_waiting_is_bounded_in_time_and_number() {
    let frontend = frontend(limits(10, 1, 1), Duration::from_millis(1));
    let _first = put(&frontend, 1).await.expect("all is free");
    let (waits, too_many) = futures::join!(put(&frontend, 1), put(&frontend, 1));
    for refused in [waits, too_many] {
        assert!(matches!(refused, Err(StoreError::Busy { .. })), "{refused:?}");
    }
}
