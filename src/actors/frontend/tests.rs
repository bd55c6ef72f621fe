//! Tests of `S3Frontend` and of its admission control.

use super::{
    Admission, AdmissionLimits, Admissions, Admit, Effect, Event, Holder, Permit, Refused, S3Frontend, Ticket,
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

/// A request of a holder of its own.
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
fn requests_wait_for_memory_and_are_admitted_in_order() {
    let mut admission = Admission::new(limits(100, 10, 10));
    assert_eq!(admission.apply(asked(1, 60)), vec![granted(1, 60)]);
    assert_eq!(admission.apply(asked(2, 60)), vec![]);
    assert_eq!(admission.apply(asked(3, 10)), vec![], "a small request does not overtake a large one");
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
fn a_full_admission_queue_refuses_at_once_and_queued_requests_expire() {
    let mut admission = Admission::new(limits(10, 1, 1));
    admission.apply(asked(1, 1));
    admission.apply(asked(2, 1));
    assert_eq!(admission.apply(asked(3, 1)), vec![Effect::Refuse { ticket: Ticket(3), why: Refused::QueueFull }]);
    let expired = admission.apply(Event::Expired { ticket: Ticket(2) });
    assert_eq!(expired, vec![Effect::Refuse { ticket: Ticket(2), why: Refused::WaitedTooLong }]);
    assert_eq!(admission.apply(Event::Expired { ticket: Ticket(1) }), vec![], "a request that runs cannot expire");
}

#[test]
fn a_quarter_of_memory_is_kept_for_holders_with_under_an_eighth() {
    let mut admission = Admission::new(limits(800, 1000, 1000));
    let mut grants = |holder: u64, tickets: std::ops::Range<u64>| {
        tickets.filter(|ticket| !admission.apply(asked_by(holder, *ticket, 10)).is_empty()).count()
    };
    assert_eq!(grants(1, 0..100), 60, "three quarters");
    assert_eq!(
        [grants(2, 100..200), grants(3, 200..300)],
        [10, 10],
        "an eighth each, past the waiting requests of holder 1"
    );
    assert_eq!(grants(4, 300..301), 0, "all bytes are granted");
    let effects = admission.apply(Event::Released { bytes: 10, holder: account(2) });
    let next = Effect::Grant { ticket: Ticket(110), bytes: 10, holder: account(2) };
    assert_eq!(effects, [next], "the first waiting request whose holder has less than its share");
}

#[test]
fn one_holder_fills_at_most_three_quarters_of_the_admission_queue() {
    let mut admission = Admission::new(limits(10, 1, 8));
    admission.apply(asked_by(1, 0, 10));
    let waits = (1..20).filter(|ticket| admission.apply(asked_by(1, *ticket, 10)).is_empty()).count();
    assert_eq!(waits, 6);
    assert!(admission.apply(asked_by(2, 20, 10)).is_empty(), "another holder may still queue a request");
}

proptest! {
    #[test]
    fn admission_keeps_its_limits_and_answers_each_request_once(steps in vec((0u8..3, any::<u16>()), 1..200)) {
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
                prop_assert!(waiting.contains(&ticket), "each request is answered once");
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
    frontend.send(Admit { bytes, holder: Holder::Store }).await.expect("running")
}

#[actix::test]
async fn dropping_a_permit_admits_the_next_request() {
    let frontend = frontend(limits(100, 10, 10), Duration::from_secs(3600));
    let first = put(&frontend, 100).await.expect("all is free");
    let second = tokio::task::spawn_local({
        let frontend = frontend.clone();
        async move { frontend.send(Admit { bytes: 50, holder: Holder::Store }).await.expect("running") }
    });
    tokio::task::yield_now().await;
    assert!(!second.is_finished());
    drop(first);
    assert_eq!(second.await.expect("joined").expect("admitted").bytes(), 50);
}

#[actix::test]
async fn a_cancelled_caller_keeps_no_permit() {
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
    assert_eq!(put(&frontend, 100).await.expect("bytes granted to a cancelled caller are free again").bytes(), 100);
}

/// Tests that a cancelled request frees its place in the queue, so that the next request is not refused for it.
#[actix::test]
async fn a_cancelled_caller_leaves_the_admission_queue_at_once() {
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

/// Tests that small requests are admitted while large ones hold all other memory, that the reserve is bounded, and that
/// a small request that finds it used up waits like any other.
#[actix::test]
async fn small_requests_are_admitted_from_a_reserve_until_it_is_used_up() {
    const SMALL: u64 = 32 << 10;
    let admissions = Admissions::start(limits(16 * 2 * SMALL, 100, 100), Duration::from_millis(1));
    let store = Holder::Store;
    let rest = 15 * 2 * SMALL;
    let large = admissions.admit(rest, &store).await.expect("all is free");
    assert_eq!(large.bytes(), rest, "the reserve is not for large requests");
    let _first = admissions.admit(SMALL, &store).await.expect("the reserve has room");
    let second = admissions.admit(SMALL, &store).await.expect("the reserve has room for two");
    let refused = admissions.admit(SMALL, &store).await;
    assert!(matches!(refused, Err(StoreError::Busy { .. })), "it waits for the memory of large requests: {refused:?}");
    drop(second);
    admissions.admit(SMALL, &store).await.expect("the reserve has room again");
}

/// Lets all tasks of this thread run until they wait.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// F3: requests beyond the limits are refused with `Busy`, which clients retry.
#[actix::test]
async fn f3_waiting_for_admission_is_bounded_in_time_and_number() {
    let frontend = frontend(limits(10, 1, 1), Duration::from_millis(1));
    let _first = put(&frontend, 1).await.expect("all is free");
    let (waits, too_many) = futures::join!(put(&frontend, 1), put(&frontend, 1));
    for refused in [waits, too_many] {
        assert!(matches!(refused, Err(StoreError::Busy { .. })), "{refused:?}");
    }
}
