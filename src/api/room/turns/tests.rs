//! The order in which requests are polled on one worker, by time that is counted.

use super::Turns;
use crate::actors::frontend::Holder;
use crate::ambient::Clock;
use crate::api::room::{BodyRoom, Seat, SlowLanes};
use crate::types::UnixMs;
use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::{LocalSet, spawn_local, yield_now};
use tokio::time::{Instant, advance};

/// Time that passes by what is computed, and while nothing is.
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

/// Turns, and the names of the requests in the order in which they were polled.
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

    /// A request that is polled so many times, each for so long; it is verified to be this account's in the first poll.
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

    /// A request that names an account's key, and is not signed with it.
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

/// Runs on one thread, as a worker does, with sleeps that end at once.
fn on_a_worker(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    LocalSet::new().block_on(&runtime.expect("a runtime"), test);
}

#[test]
fn a_request_of_an_account_that_used_little_waits_for_one_poll_of_a_busy_account_at_a_time() {
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
fn of_two_busy_accounts_the_one_with_many_requests_gets_no_more_than_the_one_with_a_single_request() {
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
fn an_account_that_is_alone_is_never_held_up() {
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
fn a_request_that_is_given_up_hands_its_turn_on() {
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
fn a_request_that_names_the_key_of_another_account_uses_none_of_its_time_and_gains_none() {
    on_a_worker(async {
        let world = World::new();
        Rc::clone(&world).ask("victim", Some("victim"), 1, SHORT).await;
        // Nothing of these is verified.
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
fn an_address_that_used_much_takes_turns_whatever_key_its_requests_name() {
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
