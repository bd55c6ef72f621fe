//! Tests of the order in which requests are polled on one worker, with a clock that the tests advance.

use super::Turns;
use crate::actors::frontend::Holder;
use crate::ambient::Clock;
use crate::api::sharing::{BodyRoom, Seat, SlowLanes};
use crate::types::UnixMs;
use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::{LocalSet, spawn_local, yield_now};
use tokio::time::{Instant, advance};

/// A clock of the runtime's paused time and of the processor time that the tests add.
#[derive(Debug)]
struct Counted {
    computed_us: AtomicU64,
    start: Instant,
}

impl Clock for Counted {
    fn unix_ms(&self) -> UnixMs {
        UnixMs(0)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.computed_us.load(Ordering::Relaxed)) + self.start.elapsed()
    }
}

impl Counted {
    fn pass(&self, time: Duration) {
        self.computed_us.fetch_add(u64::try_from(time.as_micros()).expect("a short time"), Ordering::Relaxed);
    }
}

/// The scheduler under test, and the names of the requests in the order in which they were polled.
struct World {
    clock: Arc<Counted>,
    turns: Arc<Turns>,
    room: Arc<BodyRoom>,
    polled: RefCell<Vec<&'static str>>,
}

impl World {
    fn new() -> Rc<Self> {
        let clock = Arc::new(Counted { computed_us: AtomicU64::new(0), start: Instant::now() });
        let lanes = SlowLanes::start(1).expect("a thread");
        let turns = Turns::new(Arc::clone(&clock) as Arc<dyn Clock>, lanes);
        Rc::new(Self { clock, turns, room: BodyRoom::new(1 << 20), polled: RefCell::default() })
    }

    fn seat(&self) -> Arc<Seat> {
        self.room.seat(Some([10, 0, 0, 1].into()))
    }

    /// Runs a request with this many polls of this length. With an account, its signature is verified in the first
    /// poll.
    async fn ask(self: Rc<Self>, name: &'static str, account: Option<&'static str>, polls: usize, poll: Duration) {
        let seat = self.seat();
        let work = async {
            for _ in 0..polls {
                self.clock.pass(poll);
                self.polled.borrow_mut().push(name);
                if let Some(account) = account {
                    seat.of_account(account, account).await;
                }
                yield_now().await;
            }
        };
        // The key is named like its account.
        self.turns.in_turn(&seat, account, pin!(work)).await;
    }

    /// Runs a request that names an account's key but whose signature is never verified.
    async fn forge(self: Rc<Self>, key: &'static str, polls: usize) {
        let seat = self.seat();
        let work = async {
            for _ in 0..polls {
                self.clock.pass(LONG);
                self.polled.borrow_mut().push("forged");
                yield_now().await;
            }
        };
        self.turns.in_turn(&seat, Some(key), pin!(work)).await;
    }

    fn polls_of(&self, name: &str) -> usize {
        self.polled.borrow().iter().filter(|polled| **polled == name).count()
    }
}

const LONG: Duration = Duration::from_millis(15);
const SHORT: Duration = Duration::from_micros(100);

/// Runs a test on one thread, as on a worker, in paused time.
fn on_a_worker(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    LocalSet::new().block_on(&runtime.expect("a runtime"), test);
}

#[test]
fn a_light_request_waits_for_one_poll_of_a_busy_account_at_a_time() {
    on_a_worker(async {
        let world = World::new();
        let load: Vec<_> =
            (0..32).map(|_| spawn_local(Rc::clone(&world).ask("busy", Some("busy"), 20, LONG))).collect();
        while world.polls_of("busy") < 40 {
            advance(SHORT).await;
        }
        let before = world.polls_of("busy");
        Rc::clone(&world).ask("light", Some("light"), 10, SHORT).await;
        let meanwhile = world.polls_of("busy") - before;
        assert!((1..=24).contains(&meanwhile), "{meanwhile} polls of the busy account during 10 of the light one");
        for request in load {
            request.await.expect("every request comes to its end");
        }
        assert_eq!(world.polls_of("busy"), 32 * 20);
    });
}

#[test]
fn many_requests_of_a_busy_account_get_no_more_time_than_a_single_one() {
    on_a_worker(async {
        let world = World::new();
        let many: Vec<_> =
            (0..32).map(|_| spawn_local(Rc::clone(&world).ask("many", Some("many"), 20, LONG))).collect();
        while world.polls_of("many") < 40 {
            advance(SHORT).await;
        }
        let before = world.polls_of("many");
        Rc::clone(&world).ask("single", Some("single"), 30, LONG).await;
        let meanwhile = world.polls_of("many") - before;
        assert!((20..=60).contains(&meanwhile), "{meanwhile} polls of many requests during 30 of a single one");
        drop(many);
    });
}

#[test]
fn requests_of_the_only_active_account_are_polled_at_once() {
    on_a_worker(async {
        let world = World::new();
        let seat = world.seat();
        seat.of_account("key", "alone").await;
        for _ in 0..100 {
            let mut polled = 0;
            let work = std::future::poll_fn(|_| {
                world.clock.pass(LONG);
                polled += 1;
                std::task::Poll::Ready(())
            });
            let work = pin!(work);
            let mut shared = Box::pin(world.turns.in_turn(&seat, None, work));
            assert!(futures::poll!(&mut shared).is_ready(), "polled at once");
        }
    });
}

#[test]
fn a_cancelled_request_passes_its_turn_on() {
    on_a_worker(async {
        let world = World::new();
        let rest: Vec<_> = (0..4).map(|_| spawn_local(Rc::clone(&world).ask("rest", Some("busy"), 50, LONG))).collect();
        let gone: Vec<_> = (0..8).map(|_| spawn_local(Rc::clone(&world).ask("gone", Some("busy"), 50, LONG))).collect();
        let other = spawn_local(Rc::clone(&world).ask("other", Some("other"), 50, LONG));
        while world.polls_of("rest") < 8 {
            advance(SHORT).await;
        }
        for request in gone {
            request.abort();
            yield_now().await;
        }
        for request in rest.into_iter().chain([other]) {
            request.await.expect("every other request comes to its end");
        }
        let state = super::locked(&world.turns.state);
        assert!(state.workers.values().all(|worker| worker.waiting.is_empty() && worker.turn.is_none()));
        assert!(state.usage.values().all(|usage| usage.under_way == 0));
    });
}

#[test]
fn unverified_requests_are_charged_to_their_address_not_the_named_account() {
    on_a_worker(async {
        let world = World::new();
        Rc::clone(&world).ask("victim", Some("victim"), 1, SHORT).await;
        // The signatures of these requests are never verified.
        for key in ["victim", "nobodys"].repeat(10) {
            let (seat, clock) = (world.seat(), &world.clock);
            let work = async { clock.pass(LONG) };
            world.turns.in_turn(&seat, Some(key), pin!(work)).await;
        }
        let now = world.clock.monotonic();
        let state = super::locked(&world.turns.state);
        let address = world.seat().address().expect("an address");
        assert!(state.used_much(&address, now), "the address used it");
        assert!(!state.used_much(&Holder::Account("victim".into()), now), "the account did not");
    });
}

#[test]
fn unverified_requests_of_a_busy_address_take_turns_whatever_key_they_name() {
    on_a_worker(async {
        let world = World::new();
        for account in ["victim", "light"] {
            Rc::clone(&world).ask(account, Some(account), 1, SHORT).await;
        }
        let load: Vec<_> = (0..32).map(|_| spawn_local(Rc::clone(&world).forge("victim", 20))).collect();
        while world.polls_of("forged") < 40 {
            advance(SHORT).await;
        }
        let before = world.polls_of("forged");
        Rc::clone(&world).ask("light", Some("light"), 10, SHORT).await;
        let meanwhile = world.polls_of("forged") - before;
        assert!(
            (1..=24).contains(&meanwhile),
            "{meanwhile} polls of requests that nobody signed during 10 of another account's"
        );
        drop(load);
    });
}
