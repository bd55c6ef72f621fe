//! Simulates hosts with wrong clocks, in small steps of time.

use super::log_clock::{ClockReport, LogClock, Reading};
use crate::limits::CLOCK_SLEW_DIVISOR;
use crate::storage::meta::record::{AdvanceClock, ClockRecord, ClockSource};
use crate::types::{HostId, UnixMs};
use proptest::prelude::{ProptestConfig, any, prop_assert, proptest};
use std::collections::BTreeMap;

const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// The true time at which the simulation begins.
const START: i64 = 1_700_000_000_000;
/// The interval of reports. Real hosts report every second; here less often, so that days are simulated quickly, and
/// often enough for a report to count.
const STEP: i64 = 4 * SECOND;
/// The greatest delay of a report between hosts: one step.
const LATE: i64 = STEP;

struct Host {
    clock: LogClock,
    started: i64,
    wall_ahead: i64,
}

impl Host {
    fn reading(&self, now: i64) -> Reading {
        Reading {
            wall: UnixMs((now + self.wall_ahead) as u64),
            monotonic: std::time::Duration::from_millis((now - self.started) as u64),
        }
    }
}

/// Hosts that hear each other, and the record of their log. The first host that runs leads.
struct World {
    count: u64,
    now: i64,
    hosts: BTreeMap<u64, Host>,
    record: Option<ClockRecord>,
    settings: Vec<ClockSource>,
}

impl World {
    /// Creates hosts with right clocks that have run for 15 minutes.
    fn new(count: u64) -> Self {
        let mut world = Self::blank(count);
        (1..=count).for_each(|host| world.start(host, 0));
        world.pass(15 * MINUTE);
        world
    }

    fn blank(count: u64) -> Self {
        Self { count, now: START, hosts: BTreeMap::new(), record: None, settings: Vec::new() }
    }

    fn start(&mut self, host: u64, wall_ahead: i64) {
        let reading = Reading { wall: UnixMs((self.now + wall_ahead) as u64), monotonic: std::time::Duration::ZERO };
        let mut clock = LogClock::new(reading);
        clock.watch((1..=self.count).filter(|other| *other != host).map(HostId));
        self.hosts.insert(host, Host { clock, started: self.now, wall_ahead });
    }

    fn stop(&mut self, host: u64) {
        self.hosts.remove(&host);
    }

    fn set_wall(&mut self, host: u64, ahead: i64) {
        self.hosts.get_mut(&host).expect("it runs").wall_ahead = ahead;
    }

    fn pass(&mut self, time: i64) {
        let end = self.now + time;
        while self.now < end {
            self.now += STEP.min(end - self.now);
            self.exchange();
        }
    }

    fn exchange(&mut self) {
        let now = self.now;
        let reports: Vec<(u64, ClockReport)> = self
            .hosts
            .iter_mut()
            .map(|(id, host)| {
                let reading = host.reading(now);
                (*id, host.clock.report(reading))
            })
            .collect();
        for (id, host) in &mut self.hosts {
            let reading = host.reading(now);
            self.record.iter().for_each(|record| host.clock.learn(reading, record));
            for (other, report) in reports.iter().filter(|(other, _)| other != id) {
                host.clock.hear(reading, HostId(*other), *report);
            }
        }
        let record = self.record.clone();
        let proposed = self.hosts.values_mut().next().and_then(|host| {
            let reading = host.reading(now);
            host.clock.advance_to_propose(reading, record.as_ref())
        });
        proposed.into_iter().for_each(|advance| self.advance(advance));
    }

    fn advance(&mut self, advance: AdvanceClock) {
        if advance.by != ClockSource::Counted {
            self.settings.push(advance.by);
        }
        match &mut self.record {
            None => self.record = Some(ClockRecord::first(advance)),
            Some(record) => {
                record.advance(advance);
            }
        }
    }

    fn accept(&mut self, host: u64) {
        let to = UnixMs((self.now + self.hosts[&host].wall_ahead) as u64);
        self.advance(AdvanceClock { to, era: 0, by: ClockSource::Operator });
        self.pass(STEP);
    }

    /// Returns the lead of the leader's confirmed time over the true time.
    fn confirmed_ahead(&mut self) -> i64 {
        let now = self.now;
        let host = self.hosts.values_mut().next().expect("one runs");
        let reading = host.reading(now);
        host.clock.time(reading).confirmed.0 as i64 - now
    }

    fn agreed_wall_ahead(&mut self) -> i64 {
        let now = self.now;
        let host = self.hosts.values_mut().next().expect("one runs");
        let reading = host.reading(now);
        host.clock.time(reading).now.0 as i64 - now
    }

    fn troubles(&mut self, host: u64) -> String {
        let now = self.now;
        let host = self.hosts.get_mut(&host).expect("it runs");
        let reading = host.reading(now);
        host.clock.status(reading).troubles().join("; ")
    }

    /// Checks that the confirmed time differs from the true time by no more than it may gain in the time `within`.
    fn assert_right(&mut self, within: i64) {
        let ahead = self.confirmed_ahead();
        assert!(ahead.abs() <= LATE + within / i64::from(CLOCK_SLEW_DIVISOR), "{} s ahead", ahead / 1000);
    }
}

#[test]
fn hosts_whose_clocks_agree_confirm_the_time_and_report_no_trouble() {
    for count in [1, 2, 3, 5] {
        let mut world = World::new(count);
        world.set_wall(1, 300);
        world.pass(HOUR);
        world.assert_right(0);
        assert!(world.agreed_wall_ahead().abs() <= LATE);
        assert_eq!((world.troubles(1), &world.settings[..]), (String::new(), &[ClockSource::Hosts][..]));
        let recorded = world.record.as_ref().expect("a time is confirmed").confirmed.0 as i64;
        assert!(world.now - recorded <= 10 * MINUTE + STEP, "the log has a recent time for a host that restarts");
    }
}

#[test]
fn a_wall_clock_that_jumps_moves_the_confirmed_time_an_hour_a_day() {
    let mut world = World::new(1);
    world.set_wall(1, 60 * DAY);
    world.pass(STEP);
    assert!(world.troubles(1).contains("60 days ahead of the confirmed time"), "{}", world.troubles(1));
    world.assert_right(STEP);
    world.pass(DAY);
    world.assert_right(DAY + STEP);
    assert!(world.confirmed_ahead() > 50 * MINUTE, "the confirmed time approaches the wall clock");
    world.set_wall(1, 0);
    world.pass(26 * HOUR);
    world.assert_right(0);
    assert_eq!(world.troubles(1), "");
}

#[test]
fn dates_follow_a_wall_clock_that_was_set_after_ten_minutes() {
    let mut world = World::new(1);
    world.set_wall(1, 60 * DAY);
    world.pass(9 * MINUTE);
    assert!(world.agreed_wall_ahead() < MINUTE, "the agreed wall time does not follow within ten minutes");
    world.set_wall(1, 0);
    world.pass(STEP);
    assert!(world.agreed_wall_ahead().abs() < MINUTE, "the clock is right again");
    world.set_wall(1, 60 * DAY);
    world.pass(11 * MINUTE);
    assert!(world.agreed_wall_ahead() > 59 * DAY);
    world.set_wall(1, 0);
    world.pass(11 * MINUTE);
    assert!(world.agreed_wall_ahead() < MINUTE, "the agreed wall time goes back with the clock");
    // The date never goes back behind the confirmed time.
    world.set_wall(1, -300 * DAY);
    world.pass(HOUR);
    assert!(world.agreed_wall_ahead() >= world.confirmed_ahead());
    world.assert_right(2 * HOUR);
}

#[test]
fn a_single_host_restarted_with_a_wrong_clock_continues_from_the_logged_time() {
    for ahead in [60 * DAY, -60 * DAY, 2 * HOUR] {
        let mut world = World::new(1);
        world.stop(1);
        world.now += MINUTE;
        world.start(1, ahead);
        world.pass(HOUR);
        assert!(world.confirmed_ahead() <= HOUR / 24, "{ahead}: {}", world.confirmed_ahead());
        assert!(world.confirmed_ahead() >= -15 * MINUTE, "{ahead}: {}", world.confirmed_ahead());
        assert!(world.troubles(1).contains("the confirmed time"), "{ahead}");
    }
}

#[test]
fn repeated_crashes_with_a_wrong_clock_do_not_speed_up_the_confirmed_time() {
    let mut world = World::new(1);
    for _ in 0..1000 {
        world.stop(1);
        world.start(1, 60 * DAY);
        world.pass(STEP);
    }
    assert!(world.confirmed_ahead() <= LATE + 1000 * STEP / 24, "{}", world.confirmed_ahead());
}

#[test]
fn a_single_host_that_was_off_lags_until_an_operator_confirms_its_clock() {
    let mut world = World::new(1);
    world.stop(1);
    world.now += 3 * DAY;
    world.start(1, 0);
    world.pass(STEP);
    assert!(world.agreed_wall_ahead().abs() <= LATE, "dates are right at once");
    assert!(world.confirmed_ahead() < -2 * DAY && world.troubles(1).contains("sherd admin clock accept"));
    world.pass(DAY);
    let gained = world.confirmed_ahead() + 3 * DAY;
    assert!((30 * MINUTE..=HOUR + LATE).contains(&gained), "{gained}");
    world.accept(1);
    world.assert_right(0);
    assert_eq!((world.troubles(1), world.settings.last()), (String::new(), Some(&ClockSource::Operator)));
}

#[test]
fn hosts_that_were_all_off_set_the_confirmed_time_if_most_agree() {
    for clocks in [vec![0, 0], vec![0, 0, 0], vec![0, 60 * DAY, 0], vec![60 * DAY, 0, 0], vec![-400 * DAY, 100, 0]] {
        let count = clocks.len() as u64;
        let mut world = World::new(count);
        (1..=count).for_each(|host| world.stop(host));
        world.now += 3 * DAY;
        for (host, ahead) in (1..).zip(&clocks) {
            world.start(host, *ahead);
        }
        world.pass(5 * MINUTE);
        assert!(world.confirmed_ahead() < -2 * DAY, "{clocks:?}: a host that has counted may yet be heard");
        world.pass(6 * MINUTE);
        world.assert_right(STEP);
        assert_eq!(world.settings, [ClockSource::Hosts; 2], "{clocks:?}");
    }
}

/// A host that is cut off or frozen may have counted the time: only an operator may set the time without it.
#[test]
fn hosts_do_not_set_the_confirmed_time_while_another_is_silent() {
    let mut world = World::new(3);
    world.stop(3);
    for host in 1..=2 {
        world.stop(host);
        world.start(host, 60 * DAY);
    }
    world.pass(2 * HOUR);
    world.assert_right(2 * HOUR);
    assert!(world.troubles(1).contains("sherd admin clock accept"), "{}", world.troubles(1));
    world.start(3, 60 * DAY);
    world.pass(11 * MINUTE);
    assert!(world.confirmed_ahead() > 59 * DAY, "all hosts were off, and all agree");
}

#[test]
fn hosts_that_were_all_off_and_disagree_do_not_set_the_confirmed_time() {
    for clocks in [vec![0, 60 * DAY], vec![0, DAY, 60 * DAY], vec![0, 0, 60 * DAY, 60 * DAY]] {
        let count = clocks.len() as u64;
        let mut world = World::new(count);
        (1..=count).for_each(|host| world.stop(host));
        world.now += 3 * DAY;
        for (host, ahead) in (1..).zip(&clocks) {
            world.start(host, *ahead);
        }
        world.pass(HOUR);
        assert!(world.confirmed_ahead() < -2 * DAY && !world.troubles(1).is_empty(), "{clocks:?}");
    }
}

#[test]
fn a_leader_with_a_wrong_clock_among_three_moves_no_time_and_is_reported() {
    let mut world = World::new(3);
    // Host 1 leads, as the first that runs.
    world.stop(1);
    world.pass(MINUTE);
    world.start(1, 60 * DAY);
    world.pass(2 * HOUR);
    world.assert_right(0);
    assert!(world.agreed_wall_ahead().abs() <= LATE, "the median of three");
    assert!(world.troubles(1).contains("this host's clock is 60 days ahead of the median of the hosts' clocks"));
    assert!(world.troubles(2).contains("the clock of host 0000000000000001 is 60 days ahead"), "{}", world.troubles(2));
}

#[test]
fn hosts_restarted_one_by_one_with_wrong_clocks_keep_the_confirmed_time() {
    let mut world = World::new(3);
    for host in 1..=3 {
        world.stop(host);
        world.pass(MINUTE);
        world.start(host, 60 * DAY);
        world.pass(30 * MINUTE);
    }
    world.assert_right(2 * HOUR);
}

#[test]
fn two_restarted_hosts_with_wrong_clocks_do_not_outvote_one_that_ran() {
    let mut world = World::new(3);
    for host in 2..=3 {
        world.stop(host);
        world.start(host, 60 * DAY);
    }
    world.pass(HOUR);
    world.assert_right(HOUR);
    world.stop(1);
    world.pass(HOUR);
    world.assert_right(2 * HOUR);
}

#[test]
fn wall_clocks_that_are_set_while_hosts_run_do_not_set_the_confirmed_time() {
    let mut world = World::new(3);
    (1..=3).for_each(|host| world.set_wall(host, 60 * DAY));
    world.pass(2 * HOUR);
    world.assert_right(2 * HOUR);
    assert!(world.troubles(2).contains("days ahead of the confirmed time"));
    // Nor do they if no host had counted the time before.
    (1..=3).for_each(|host| world.stop(host));
    world.now += DAY;
    (1..=3).for_each(|host| world.start(host, 0));
    world.pass(MINUTE);
    (1..=3).for_each(|host| world.set_wall(host, 60 * DAY));
    world.pass(HOUR);
    assert!(world.confirmed_ahead() < 0);
}

#[test]
fn a_new_store_confirms_a_time_only_if_most_hosts_agree_on_it() {
    for (clocks, agreed) in [
        (vec![0], true),
        (vec![60 * DAY, 0, 0], true),
        (vec![60 * DAY, 0], false),
        (vec![60 * DAY, 0, -60 * DAY], false),
    ] {
        let mut world = World::blank(clocks.len() as u64);
        for (host, ahead) in (1..).zip(&clocks) {
            world.start(host, *ahead);
        }
        world.pass(5 * MINUTE);
        assert_eq!(world.record.is_some(), agreed, "{clocks:?}");
        if agreed {
            world.assert_right(0);
        } else {
            assert!(world.confirmed_ahead() == -world.now && world.troubles(1).contains("no time is confirmed"));
            world.accept(2);
            world.assert_right(STEP);
        }
    }
}

#[test]
fn a_confirmed_time_that_an_operator_sets_back_stays_back() {
    let mut world = World::blank(3);
    (1..=3).for_each(|host| world.start(host, 60 * DAY));
    world.pass(HOUR);
    (1..=3).for_each(|host| world.set_wall(host, 0));
    world.pass(HOUR);
    assert!(world.confirmed_ahead() > 59 * DAY, "the confirmed time does not go back by itself");
    world.accept(2);
    world.pass(HOUR);
    world.assert_right(0);
    assert_eq!(world.troubles(1), "");
}

#[test]
fn the_clock_of_a_host_that_is_not_heard_does_not_count() {
    let mut world = World::new(3);
    (1..=3).for_each(|host| world.stop(host));
    world.now += 3 * DAY;
    world.start(1, 0);
    world.pass(HOUR);
    assert!(world.confirmed_ahead() < -2 * DAY, "one of three hosts is no majority");
    world.start(2, 0);
    world.pass(11 * MINUTE);
    assert!(world.confirmed_ahead() < -2 * DAY, "the third may have counted");
    world.start(3, 0);
    world.pass(11 * MINUTE);
    world.assert_right(STEP);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Tests a single host whose wall clock is set at random and which restarts at random.
    #[test]
    fn the_confirmed_time_gains_an_hour_a_day_at_most_and_never_goes_back(
        steps in proptest::collection::vec((0..2 * HOUR, -100 * DAY..100 * DAY, any::<bool>()), 1..40),
    ) {
        let mut world = World::new(1);
        let (began, first) = (world.now, world.confirmed_ahead());
        let mut recorded = 0;
        for (time, ahead, restarts) in steps {
            if restarts {
                world.stop(1);
                world.now += time / 2;
                world.start(1, ahead);
            } else {
                world.set_wall(1, ahead);
            }
            world.exchange();
            let before = world.confirmed_ahead() + world.now;
            world.pass(time.min(10 * MINUTE));
            let after = world.confirmed_ahead() + world.now;
            prop_assert!(after >= before);
            prop_assert!(world.confirmed_ahead() - first <= (world.now - began) / i64::from(CLOCK_SLEW_DIVISOR) + 1);
            prop_assert!(world.agreed_wall_ahead() >= world.confirmed_ahead());
            let record = world.record.as_ref().expect("confirmed").confirmed.0;
            prop_assert!(record >= recorded);
            recorded = record;
        }
    }

    /// Tests reports with random content from another host.
    #[test]
    fn no_clock_report_causes_a_panic(wall: u64, followed: u64, confirmed: Option<u64>, era in 0..2u64, gapless: bool) {
        let mut world = World::new(2);
        let reading = world.hosts[&1].reading(world.now);
        let report = ClockReport {
            wall: UnixMs(wall), followed_wall: UnixMs(followed), confirmed: confirmed.map(UnixMs), era, gapless,
            wall_untouched: gapless,
        };
        let host = world.hosts.get_mut(&1).expect("it runs");
        host.clock.hear(reading, HostId(2), report);
        let status = host.clock.status(reading);
        prop_assert!(status.troubles().len() <= 3);
        world.pass(MINUTE);
    }
}
