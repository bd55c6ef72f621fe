//! `Traffic` and `Meter`: the counters of requests and bytes by account and by bucket, separate for each worker.

use super::space_saving::{Load, SpaceSaving};
use super::top::{Over, Top, TopOfKind, heaviest};
use crate::ambient::Clock;
use crate::limits::{HEAVY_NAME_BYTES_MAX, HEAVY_SLOT, HEAVY_SLOTS, TOP_NAMES_KEPT, TOP_NAMES_SHOWN};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The counts of all workers of a host. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Traffic(Arc<Workers>);

#[derive(Debug)]
struct Workers {
    clock: Arc<dyn Clock>,
    slots: Box<[Mutex<RecentPeriods>]>,
    taken: AtomicUsize,
}

/// The counters of one worker.
#[derive(Clone, Debug)]
pub struct Meter {
    traffic: Traffic,
    worker: usize,
}

/// The slots of one worker, each for `HEAVY_SLOT`. An old slot is reused.
#[derive(Debug)]
struct RecentPeriods(Vec<Slot>);

#[derive(Clone, Debug)]
struct Slot {
    /// The period that this slot counts: monotonic time divided by `HEAVY_SLOT`.
    at: u64,
    accounts: Names,
    buckets: Names,
}

/// The loads of the names with the most requests, and of those with the most bytes.
#[derive(Clone, Debug)]
struct Names {
    by_requests: SpaceSaving,
    by_bytes: SpaceSaving,
}

impl Traffic {
    /// Makes counters for this number of workers. If there are more workers, they share counters.
    pub fn new(workers: usize, clock: Arc<dyn Clock>) -> Self {
        let slots = (0..workers.max(1)).map(|_| Mutex::new(RecentPeriods::new())).collect();
        Self(Arc::new(Workers { clock, slots, taken: AtomicUsize::new(0) }))
    }

    /// Returns the meter for the next worker.
    pub fn meter(&self) -> Meter {
        let worker = self.0.taken.fetch_add(1, Ordering::Relaxed) % self.0.slots.len();
        Meter { traffic: self.clone(), worker }
    }

    /// Returns the names with the most traffic on this host.
    pub fn top(&self) -> Top {
        let now = self.0.now();
        let of_kind = |kind: fn(&Slot) -> &Names| TopOfKind {
            minute: self.heaviest(now, Over::Minute, kind),
            five_minutes: self.heaviest(now, Over::FiveMinutes, kind),
        };
        Top { accounts: of_kind(|slot| &slot.accounts), buckets: of_kind(|slot| &slot.buckets) }
    }

    fn heaviest(&self, now: u64, over: Over, kind: fn(&Slot) -> &Names) -> Vec<super::Heavy> {
        let mut loads = BTreeMap::new();
        for worker in 0..self.0.slots.len() {
            self.0.periods(worker).add_to(&mut loads, now, over, kind);
        }
        heaviest(loads, TOP_NAMES_SHOWN)
    }
}

impl Workers {
    /// Returns the number of the current slot.
    fn now(&self) -> u64 {
        self.clock.monotonic().as_secs() / HEAVY_SLOT.as_secs()
    }

    fn periods(&self, worker: usize) -> MutexGuard<'_, RecentPeriods> {
        self.slots[worker].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Meter {
    /// Counts a request that has ended. Pass no bucket if the bucket does not exist.
    pub fn count(&self, account: &str, bucket: Option<&str>, bytes: u64) {
        let workers = &self.traffic.0;
        let (now, load) = (workers.now(), Load { requests: 1, bytes });
        let mut periods = workers.periods(self.worker);
        let slot = periods.slot(now);
        slot.accounts.add(account, load);
        if let Some(bucket) = bucket {
            slot.buckets.add(bucket, load);
        }
    }
}

impl RecentPeriods {
    fn new() -> Self {
        let names =
            || Names { by_requests: SpaceSaving::new(TOP_NAMES_KEPT), by_bytes: SpaceSaving::new(TOP_NAMES_KEPT) };
        // `u64::MAX` marks a slot that was never used.
        Self(vec![Slot { at: u64::MAX, accounts: names(), buckets: names() }; HEAVY_SLOTS])
    }

    fn slot(&mut self, now: u64) -> &mut Slot {
        let at = (now % HEAVY_SLOTS as u64) as usize;
        let slot = &mut self.0[at];
        if slot.at != now {
            slot.at = now;
            slot.accounts.clear();
            slot.buckets.clear();
        }
        slot
    }

    /// Adds the loads of the current slot, and of the earlier ones within the window.
    fn add_to(&self, loads: &mut BTreeMap<String, Load>, now: u64, over: Over, kind: fn(&Slot) -> &Names) {
        let before = match over {
            Over::Minute => 60 / HEAVY_SLOT.as_secs(),
            Over::FiveMinutes => 300 / HEAVY_SLOT.as_secs(),
        };
        let is_in_window = |slot: &&Slot| slot.at <= now && now - slot.at <= before;
        for slot in self.0.iter().filter(is_in_window) {
            for (name, load) in kind(slot).loads() {
                loads.entry(name.to_owned()).or_default().add(load);
            }
        }
    }
}

impl Names {
    fn add(&mut self, name: &str, load: Load) {
        let name = &name[..name.floor_char_boundary(HEAVY_NAME_BYTES_MAX)];
        self.by_requests.add(name, 1, load);
        self.by_bytes.add(name, load.bytes, load);
    }

    fn clear(&mut self) {
        self.by_requests.clear();
        self.by_bytes.clear();
    }

    /// Returns a lower bound of each name's load: the greater one of both lists, since one may have kept the name for
    /// longer.
    fn loads(&self) -> BTreeMap<&str, Load> {
        let mut loads: BTreeMap<&str, Load> = self.by_requests.loads().collect();
        for (name, load) in self.by_bytes.loads() {
            let known = loads.entry(name).or_default();
            *known = Load { requests: known.requests.max(load.requests), bytes: known.bytes.max(load.bytes) };
        }
        loads
    }
}

#[cfg(test)]
mod tests {
    use super::super::Heavy;
    use super::{Load, TOP_NAMES_KEPT, Traffic};
    use crate::ambient::Clock;
    use crate::limits::TOP_NAMES_SHOWN;
    use crate::types::UnixMs;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    #[derive(Debug, Default)]
    struct Hand(AtomicU64);

    impl Clock for Hand {
        fn unix_ms(&self) -> UnixMs {
            UnixMs(0)
        }

        fn monotonic(&self) -> Duration {
            Duration::from_secs(self.0.load(Ordering::Relaxed))
        }
    }

    fn heavy(name: &str, requests: u64, bytes: u64) -> Heavy {
        Heavy { name: name.to_owned(), load: Load { requests, bytes } }
    }

    #[test]
    fn counts_of_all_workers_are_merged() {
        let traffic = Traffic::new(2, Arc::new(Hand::default()));
        let meters = [traffic.meter(), traffic.meter(), traffic.meter()];
        for meter in &meters {
            meter.count("1", Some("photos"), 10);
        }
        meters[1].count("2", None, 0);
        let top = traffic.top();
        assert_eq!(top.accounts.minute, [heavy("1", 3, 30), heavy("2", 1, 0)]);
        assert_eq!(top.buckets.minute, [heavy("photos", 3, 30)]);
        assert_eq!(top.buckets.five_minutes, top.buckets.minute);
    }

    #[test]
    fn load_leaves_the_minute_window_and_then_the_five_minute_window() {
        let clock = Arc::new(Hand::default());
        let traffic = Traffic::new(1, clock.clone());
        let meter = traffic.meter();
        let at = |seconds: u64| {
            clock.0.store(seconds, Ordering::Relaxed);
            let top = traffic.top().buckets;
            (top.minute.len(), top.five_minutes.len())
        };
        meter.count("1", Some("b"), 1);
        assert_eq!([at(0), at(60), at(79)], [(1, 1); 3], "slots are whole periods of 20 seconds");
        assert_eq!([at(80), at(300), at(319)], [(0, 1); 3]);
        assert_eq!([at(320), at(10_240)], [(0, 0); 2]);
        meter.count("1", Some("c"), 1);
        assert_eq!(traffic.top().buckets.minute, [heavy("c", 1, 1)], "the old slot was reused");
    }

    #[test]
    fn the_heaviest_names_are_found_among_many_in_bounded_memory() {
        let traffic = Traffic::new(1, Arc::new(Hand::default()));
        let meter = traffic.meter();
        for round in 0..5000 {
            meter.count("1", Some("often"), 1);
            meter.count("1", Some(&format!("other-{round}")), 2);
        }
        meter.count("1", Some("much"), 1 << 40);
        let long = "x".repeat(5000);
        meter.count("1", Some(&long), 1 << 41);
        let buckets = traffic.top().buckets.minute;
        assert_eq!(buckets[0], heavy("often", 5000, 5000));
        assert!(buckets.contains(&heavy("much", 1, 1 << 40)), "{buckets:?}");
        assert!(buckets.iter().all(|heavy| heavy.name.len() <= 64) && buckets.len() <= 2 * TOP_NAMES_SHOWN);
        let kept =
            |worker: usize| traffic.0.periods(worker).0.iter().map(|slot| slot.buckets.loads().len()).sum::<usize>();
        assert!(kept(0) <= 2 * TOP_NAMES_KEPT, "{}", kept(0));
    }
}
