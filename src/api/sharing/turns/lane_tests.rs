//! Tests of which requests run in the slow lanes. The lanes are real threads; the tests advance the clock.

use super::{Connection, Turns};
use crate::ambient::Clock;
use crate::api::sharing::{BodyRoom, Seat, SlowLanes};
use crate::limits::{TURN_POLL_LONG, TURN_READING_AGE, TURN_REQUEST_FREE, TURN_SLOW_FREE, TURN_SLOW_HALF_LIFE};
use crate::types::UnixMs;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::task::Context;
use std::thread;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::yield_now;

/// The longest wait for another thread.
const PATIENCE: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_millis(15);
const WORKER: &str = "worker";
const LANE: &str = "slow-lane-0";

/// A clock of the processor time and the waiting time that the tests add.
#[derive(Debug, Default)]
struct Counted {
    computed_us: AtomicU64,
    waited_us: AtomicU64,
    /// The number of readings of the processor time.
    reads: AtomicU64,
}

impl Clock for Counted {
    fn unix_ms(&self) -> UnixMs {
        UnixMs(0)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.computed_us.load(Ordering::Relaxed) + self.waited_us.load(Ordering::Relaxed))
    }

    fn processor(&self) -> Duration {
        self.reads.fetch_add(1, Ordering::Relaxed);
        Duration::from_micros(self.computed_us.load(Ordering::Relaxed))
    }
}

/// A connection that brings no bytes.
struct Silent;

impl Connection for Silent {
    fn hand_over(&mut self, _: &mut Context<'_>) -> bool {
        false
    }
}

struct World {
    clock: Arc<Counted>,
    turns: Arc<Turns>,
    room: Arc<BodyRoom>,
}

impl World {
    fn new() -> Self {
        let clock = Arc::<Counted>::default();
        let turns = Turns::new(Arc::clone(&clock) as Arc<dyn Clock>, SlowLanes::start(1).expect("a thread"));
        Self { clock, turns, room: BodyRoom::new(1 << 20) }
    }

    fn pass(&self, time: Duration) {
        pass(&self.clock, time);
    }

    fn seat(&self) -> Arc<Seat> {
        self.room.seat(Some([10, 0, 0, 1].into()))
    }

    /// Runs a request of one poll that computes and waits for these times. Returns the name of the thread that polled
    /// it.
    async fn waits(&self, key: &'static str, computes: Duration, waits: Duration) -> String {
        let (clock, seat) = (Arc::clone(&self.clock), self.seat());
        let signer = Arc::clone(&seat);
        let work = async move {
            signer.of_account(key, key).await;
            pass(&clock, computes);
            add(&clock.waited_us, waits);
            thread::current().name().unwrap_or_default().to_owned()
        };
        self.turns.share(&seat, Some(key), Silent, Box::pin(work)).await.expect("it is carried out")
    }

    /// Runs a request with polls of these lengths. Returns the name of the thread of each poll.
    async fn polls(&self, key: &'static str, account: &'static str, polls: &[Duration]) -> Vec<String> {
        let (clock, seat, polls) = (Arc::clone(&self.clock), self.seat(), polls.to_vec());
        let signer = Arc::clone(&seat);
        let work = async move {
            let mut threads = Vec::new();
            for poll in polls {
                threads.push(thread::current().name().unwrap_or_default().to_owned());
                pass(&clock, poll);
                signer.of_account(key, account).await;
                yield_now().await;
            }
            threads
        };
        self.turns.share(&seat, Some(key), Silent, Box::pin(work)).await.expect("it is carried out")
    }
}

fn pass(clock: &Counted, time: Duration) {
    add(&clock.computed_us, time);
}

fn add(counter: &AtomicU64, time: Duration) {
    counter.fetch_add(u64::try_from(time.as_micros()).expect("a short time"), Ordering::Relaxed);
}

/// Runs a test on one thread, as on a worker.
fn on_a_worker(test: impl Future<Output = ()> + Send + 'static) {
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(test);
    };
    thread::Builder::new().name(WORKER.to_owned()).spawn(run).expect("a thread").join().expect("the test passed");
}

#[test]
fn after_a_long_poll_the_requests_of_the_account_run_in_a_slow_lane() {
    on_a_worker(async {
        let world = World::new();
        assert_eq!(world.polls("key", "slow", &[LONG; 3]).await, [WORKER, LANE, LANE]);
        assert_eq!(world.polls("key", "slow", &[Duration::ZERO; 2]).await, [LANE, LANE]);
        assert_eq!(world.polls("other", "other", &[Duration::ZERO; 2]).await, [WORKER, WORKER]);
        assert_eq!(world.polls("key", "slow", &[Duration::ZERO; 2]).await, [LANE, LANE]);
    });
}

#[test]
fn a_request_of_many_short_polls_moves_to_a_slow_lane() {
    on_a_worker(async {
        let world = World::new();
        let short = TURN_POLL_LONG / 4;
        let threads = world.polls("key", "slow", &[short; 40]).await;
        let on_worker = threads.iter().filter(|thread| *thread == WORKER).count();
        let free = (TURN_REQUEST_FREE + TURN_SLOW_FREE).div_duration_f64(short);
        assert!((free..free + 2.0).contains(&(on_worker as f64)), "{on_worker} polls on the worker");
    });
}

#[test]
fn time_in_which_a_poll_waited_for_a_processor_is_not_charged() {
    on_a_worker(async {
        let world = World::new();
        // The largest time of its own for which the error of the readings does not make the request slow.
        let own = TURN_REQUEST_FREE - TURN_READING_AGE - Duration::from_micros(1);
        for _ in 0..100 {
            assert_eq!(world.waits("key", TURN_READING_AGE / 2, Duration::ZERO).await, WORKER);
            assert_eq!(world.waits("key", own, LONG).await, WORKER);
        }
        let long = TURN_SLOW_FREE + Duration::from_micros(1);
        assert_eq!(world.waits("key", long, LONG).await, WORKER);
        assert_eq!(world.waits("key", Duration::ZERO, Duration::ZERO).await, LANE, "its own is");
    });
}

#[test]
fn one_reading_of_the_processor_time_serves_many_short_polls() {
    on_a_worker(async {
        let world = World::new();
        let short = TURN_READING_AGE / 20;
        for _ in 0..1000 {
            assert_eq!(world.waits("key", short, Duration::ZERO).await, WORKER);
        }
        assert_eq!(world.clock.reads.load(Ordering::Relaxed), 1000 / 20 - 1);
    });
}

#[test]
fn a_slow_account_with_an_unknown_key_still_runs_in_a_slow_lane() {
    on_a_worker(async {
        let world = World::new();
        world.polls("key", "slow", &[LONG; 2]).await;
        let (clock, seat) = (Arc::clone(&world.clock), world.seat());
        let signer = Arc::clone(&seat);
        let decided = async move {
            signer.of_account("another key", "slow").await;
            pass(&clock, LONG);
            thread::current().name().map(str::to_owned)
        };
        let decided = world.turns.share(&seat, Some("another key"), Silent, Box::pin(decided)).await;
        assert_eq!(decided.flatten().as_deref(), Some(LANE));
    });
}

#[test]
fn an_account_returns_to_the_worker_once_its_slow_time_has_decayed() {
    on_a_worker(async {
        let world = World::new();
        world.polls("key", "slow", &[LONG; 2]).await;
        world.pass(TURN_SLOW_HALF_LIFE);
        assert_eq!(world.polls("key", "slow", &[Duration::ZERO]).await, [LANE], "15 of 30 ms are not forgotten");
        world.pass(8 * TURN_SLOW_HALF_LIFE);
        assert_eq!(world.polls("key", "slow", &[Duration::ZERO]).await, [WORKER]);
    });
}

#[test]
fn a_long_poll_in_a_slow_lane_does_not_delay_requests_on_the_worker() {
    on_a_worker(async {
        let world = World::new();
        world.polls("key", "slow", &[LONG; 2]).await;
        let (end, ends) = sync_channel::<()>(1);
        let seat = world.seat();
        // One poll, which ends when the other request has ended.
        let waits = Box::pin(async move { ends.recv_timeout(PATIENCE) });
        let long = world.turns.share(&seat, Some("key"), Silent, waits);
        let light = async {
            let threads = world.polls("light", "light", &[Duration::ZERO; 10]).await;
            end.send(()).expect("the long poll is under way");
            threads
        };
        let (long, light) = futures::join!(long, light);
        assert_eq!((long, light), (Some(Ok(())), vec![WORKER.to_owned(); 10]));
    });
}

#[test]
fn a_request_in_a_slow_lane_is_cancelled_when_its_client_disconnects() {
    on_a_worker(async {
        let world = World::new();
        world.polls("key", "slow", &[LONG; 2]).await;
        let (held, is_given_back) = oneshot::channel::<()>();
        let (begin, begun) = oneshot::channel();
        let seat = world.seat();
        let endless = async move {
            let _held = held;
            let _ = begin.send(());
            pending::<()>().await;
        };
        let mut shared = Box::pin(world.turns.share(&seat, Some("key"), Silent, Box::pin(endless)));
        assert!(futures::poll!(&mut shared).is_pending());
        begun.await.expect("it is carried out");
        drop(shared);
        assert!(is_given_back.await.is_err(), "what it held is dropped");
        assert_eq!(world.polls("light", "light", &[Duration::ZERO]).await, [WORKER]);
    });
}

/// A connection that hands over one piece, and records that it was asked for it.
struct OnePiece {
    was_asked: Arc<AtomicBool>,
}

impl Connection for OnePiece {
    fn hand_over(&mut self, _: &mut Context<'_>) -> bool {
        !self.was_asked.swap(true, Ordering::Relaxed)
    }
}

#[test]
fn a_connection_hands_its_body_over_only_to_a_request_in_a_slow_lane() {
    on_a_worker(async {
        let world = World::new();
        for (key, is_slow) in [("light", false), ("slow", true)] {
            if is_slow {
                world.polls(key, key, &[LONG; 2]).await;
            }
            let was_asked = Arc::<AtomicBool>::default();
            let connection = OnePiece { was_asked: Arc::clone(&was_asked) };
            let (seat, asked) = (world.seat(), Arc::clone(&was_asked));
            let work = Box::pin(async move {
                for _ in 0..3 {
                    yield_now().await;
                }
                while is_slow && !asked.load(Ordering::Relaxed) {
                    yield_now().await;
                }
            });
            world.turns.share(&seat, Some(key), connection, work).await.expect("it is carried out");
            assert_eq!(was_asked.load(Ordering::Relaxed), is_slow);
        }
    });
}
