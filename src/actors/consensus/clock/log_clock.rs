//! Keeps the two times of the metadata, the confirmed time and the agreed wall time, on one host. Pure: readings of the
//! host's clocks and reports of other hosts in, two times out.
//!
//! The *confirmed time* is a moment that has certainly passed; locks end and objects expire by it. It begins when most
//! hosts' clocks agree, or when an operator sets it. From then on each running host counts it by its monotonic clock,
//! and the log records it, so that it survives when no host runs. It approaches the hosts' wall clocks by at most an
//! hour a day, whatever they say. It is set to them at once in two cases only: by an operator, or if no host has
//! counted it without a gap and most of all hosts have run for ten minutes and agree.
//!
//! The *agreed wall time* is the median of the hosts' wall clocks, and never before the confirmed time; new things are
//! dated by it. A wall clock that is set while its host's process runs is followed ten minutes later, if it stays so.
//!
//! Invariants: within an era the confirmed time never goes back. It gains on the monotonic clock by at most one part in
//! 24, except where hosts or an operator set it as above.

use crate::limits::{
    CLOCK_GAP_REPORTED, CLOCK_RECORD_EVERY, CLOCK_REPORT_COUNTS_FOR, CLOCK_SLEW_DIVISOR, CLOCK_STEADY_AFTER,
    CLOCKS_AGREE_WITHIN,
};
use crate::storage::meta::command::LogTime;
use crate::storage::meta::record::{AdvanceClock, ClockRecord, ClockSource};
use crate::types::{HostId, UnixMs};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// A host's own clocks at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    pub wall: UnixMs,
    pub monotonic: Duration,
}

/// The report of a host's clock, sent to the others once a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockReport {
    pub wall: UnixMs,
    /// The wall clock, unless it was set less than ten minutes ago: then as if it had not been set.
    pub followed_wall: UnixMs,
    /// The confirmed time, as the host counts it.
    pub confirmed: Option<UnixMs>,
    /// The era of the confirmed time: each time that an operator sets it begins a new one.
    pub era: u64,
    /// True if the confirmed time has no gap: some host has counted it ever since it was right.
    pub gapless: bool,
    /// True if the wall clock may help to confirm a time: it was not set since the process began, ten minutes ago or
    /// more.
    pub wall_untouched: bool,
}

/// The confirmed time.
#[derive(Clone, Copy, Debug)]
struct Counted {
    /// The time since 1970. All points in time of this file that are durations count from then, except monotonic ones.
    time: Duration,
    era: u64,
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    at: Duration,
    report: ClockReport,
}

/// A change of the wall clock that is not followed yet: since when it lasts (monotonic), and by how much the clock was
/// set.
#[derive(Clone, Copy, Debug)]
struct Step {
    since: Duration,
    by_ms: i64,
}

#[derive(Debug)]
pub struct LogClock {
    began: Duration,
    /// The last reading.
    monotonic: Duration,
    wall: Duration,
    /// The wall clock, unless it was set less than ten minutes ago: then as if it had not been set.
    followed_wall: Duration,
    step: Option<Step>,
    /// True if the wall clock was ever set while the process ran.
    was_set: bool,
    confirmed: Option<Counted>,
    /// True if the confirmed time has no gap.
    gapless: bool,
    /// The confirmed time to which most hosts' clocks have set it, if they have.
    set_by_hosts: Option<Duration>,
    /// The number of hosts, including this one, once it is known.
    hosts: Option<usize>,
    others: BTreeMap<HostId, Heard>,
}

/// The state of this host's clock, for health and the admin API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClockStatus {
    pub wall: UnixMs,
    pub time: LogTime,
    /// True if there is a confirmed time.
    pub is_confirmed: bool,
    pub set_step_ms: Option<i64>,
    /// The lead of each host's wall clock over the median of the clocks of this host and of the hosts heard lately;
    /// `None` stands for this host.
    pub ahead_of_median_ms: Vec<(Option<HostId>, i64)>,
    pub running_for: Duration,
}

impl LogClock {
    pub fn new(reading: Reading) -> Self {
        let wall = since_1970(reading.wall);
        Self {
            began: reading.monotonic,
            monotonic: reading.monotonic,
            wall,
            followed_wall: wall,
            step: None,
            was_set: false,
            confirmed: None,
            gapless: false,
            set_by_hosts: None,
            hosts: None,
            others: BTreeMap::new(),
        }
    }

    /// Sets the other hosts.
    pub fn watch(&mut self, others: impl IntoIterator<Item = HostId>) {
        let others: Vec<HostId> = others.into_iter().collect();
        self.hosts = Some(others.len() + 1);
        self.others.retain(|host, _| others.contains(host));
    }

    /// Returns the agreed wall time and the confirmed time now.
    pub fn time(&mut self, reading: Reading) -> LogTime {
        self.pass(reading);
        let confirmed = self.confirmed.map_or(Duration::ZERO, |counted| counted.time);
        LogTime { now: unix(self.agreed_wall().max(confirmed)), confirmed: unix(confirmed) }
    }

    /// Takes over the confirmed time that the log has recorded, whether a host counted it or an operator set it.
    pub fn learn(&mut self, reading: Reading, record: &ClockRecord) {
        self.pass(reading);
        let (time, era) = (since_1970(record.confirmed), record.era);
        match &mut self.confirmed {
            Some(counted) if counted.era == era => counted.time = counted.time.max(time),
            known => {
                // A new era means that an operator has just set the time, so it has no gap. The first record that this
                // process sees may be old.
                self.gapless |= known.replace(Counted { time, era }).is_some();
            }
        }
        self.confirm_if_agreed();
    }

    /// Takes in another host's report of its clock.
    pub fn hear(&mut self, reading: Reading, host: HostId, report: ClockReport) {
        self.pass(reading);
        self.others.insert(host, Heard { at: self.monotonic, report });
        if let (Some(counted), Some(theirs)) = (&mut self.confirmed, report.confirmed)
            && counted.era == report.era
        {
            counted.time = counted.time.max(since_1970(theirs));
            self.gapless |= report.gapless;
        }
        self.confirm_if_agreed();
    }

    pub fn report(&mut self, reading: Reading) -> ClockReport {
        self.pass(reading);
        ClockReport {
            wall: unix(self.wall),
            followed_wall: unix(self.followed_wall),
            confirmed: self.confirmed.map(|counted| unix(counted.time)),
            era: self.confirmed.map_or(0, |counted| counted.era),
            gapless: self.gapless,
            wall_untouched: self.is_wall_untouched(),
        }
    }

    /// Returns the advance of the clock that the leader should propose, given the record in the log.
    pub fn advance_to_propose(&mut self, reading: Reading, record: Option<&ClockRecord>) -> Option<AdvanceClock> {
        self.pass(reading);
        let Some(record) = record else {
            let agreed = self.majority(self.walls(|_| true))?;
            return Some(AdvanceClock { to: unix(agreed), era: 0, by: ClockSource::Hosts });
        };
        let counted = self.confirmed.filter(|counted| counted.era == record.era)?;
        let recorded = since_1970(record.confirmed);
        let by = match self.set_by_hosts {
            Some(set) if recorded < set => ClockSource::Hosts,
            _ => ClockSource::Counted,
        };
        let is_due = by == ClockSource::Hosts || counted.time >= recorded + CLOCK_RECORD_EVERY;
        is_due.then_some(AdvanceClock { to: unix(counted.time), era: counted.era, by })
    }

    pub fn status(&mut self, reading: Reading) -> ClockStatus {
        let time = self.time(reading);
        let mut walls = vec![(None, self.wall)];
        walls.extend(self.fresh().map(|(host, heard)| (Some(host), self.since_then(heard, heard.report.wall))));
        let median = median(walls.iter().map(|(_, wall)| *wall).collect());
        ClockStatus {
            wall: unix(self.wall),
            time,
            is_confirmed: self.confirmed.is_some(),
            set_step_ms: self.step.map(|step| step.by_ms),
            ahead_of_median_ms: walls.into_iter().map(|(host, wall)| (host, difference_ms(wall, median))).collect(),
            running_for: self.monotonic.saturating_sub(self.began),
        }
    }

    /// Takes in a reading of this host's clocks: counts the confirmed time on, and lets it approach the agreed wall
    /// time.
    fn pass(&mut self, reading: Reading) {
        let elapsed = reading.monotonic.saturating_sub(self.monotonic);
        self.monotonic = self.monotonic.max(reading.monotonic);
        self.wall = since_1970(reading.wall);
        self.follow_wall(elapsed);
        let agreed = self.agreed_wall();
        if let Some(counted) = &mut self.confirmed {
            let (expected, slew) = (counted.time + elapsed, elapsed / CLOCK_SLEW_DIVISOR);
            counted.time = if agreed > expected {
                expected + slew.min(agreed - expected)
            } else {
                expected - slew.min(expected - agreed)
            };
        }
        self.confirm_if_agreed();
    }

    /// Follows the wall clock. A clock that was set is followed once it has stayed so for
    /// `CLOCK_STEADY_AFTER`.
    fn follow_wall(&mut self, elapsed: Duration) {
        let expected = self.followed_wall + elapsed;
        let by_ms = difference_ms(self.wall, expected);
        if agree(self.wall, expected) {
            (self.followed_wall, self.step) = (self.wall, None);
            return;
        }
        self.was_set = true;
        let since = match self.step {
            Some(step) if step.by_ms.abs_diff(by_ms) <= CLOCKS_AGREE_WITHIN.as_millis() as u64 => step.since,
            _ => self.monotonic,
        };
        if self.monotonic - since < CLOCK_STEADY_AFTER {
            (self.followed_wall, self.step) = (expected, Some(Step { since, by_ms }));
        } else {
            (self.followed_wall, self.step) = (self.wall, None);
        }
    }

    /// Takes the confirmed time for gapless if it agrees with the wall clocks of most hosts. Else sets it to these clocks
    /// if every host is heard and most have run long enough.
    fn confirm_if_agreed(&mut self) {
        let Some(counted) = self.confirmed.filter(|_| !self.gapless) else { return };
        if self.majority(self.walls(|_| true)).is_some_and(|wall| agree(wall, counted.time)) {
            self.gapless = true;
            return;
        }
        if self.hosts == Some(1) || self.monotonic.saturating_sub(self.began) < CLOCK_STEADY_AFTER {
            return;
        }
        // A host that is not heard may have counted the time on: it decides once it is back.
        if self.hosts.is_none_or(|hosts| self.fresh().count() + 1 < hosts) {
            return;
        }
        // A host that has counted the time without a gap would have reported so by now (`gapless`).
        let witnesses = self.walls(|report| report.wall_untouched && !report.gapless);
        if let Some(wall) = self.majority(witnesses).filter(|wall| *wall > counted.time) {
            self.confirmed = Some(Counted { time: wall, ..counted });
            self.set_by_hosts = Some(wall);
            self.gapless = true;
        }
    }

    fn is_wall_untouched(&self) -> bool {
        !self.was_set && self.monotonic.saturating_sub(self.began) >= CLOCK_STEADY_AFTER
    }

    /// Returns the wall clocks that this host and those heard lately follow, of the hosts for which `counts` holds.
    fn walls(&self, counts: impl Fn(&ClockReport) -> bool) -> Vec<Duration> {
        let own = ClockReport {
            wall: unix(self.wall),
            followed_wall: unix(self.followed_wall),
            confirmed: None,
            era: 0,
            gapless: self.gapless,
            wall_untouched: self.is_wall_untouched(),
        };
        let mut walls: Vec<Duration> = counts(&own).then_some(self.followed_wall).into_iter().collect();
        let others = self.fresh().filter(|(_, heard)| counts(&heard.report));
        walls.extend(others.map(|(_, heard)| self.since_then(heard, heard.report.followed_wall)));
        walls
    }

    fn fresh(&self) -> impl Iterator<Item = (HostId, Heard)> + '_ {
        let is_fresh = |heard: &Heard| self.monotonic.saturating_sub(heard.at) <= CLOCK_REPORT_COUNTS_FOR;
        self.others.iter().filter(move |(_, heard)| is_fresh(heard)).map(|(host, heard)| (*host, *heard))
    }

    /// Returns what a time that was reported earlier is by now.
    fn since_then(&self, heard: Heard, time: UnixMs) -> Duration {
        since_1970(time) + self.monotonic.saturating_sub(heard.at)
    }

    /// Returns the median of the wall clocks that this host and those heard lately follow.
    fn agreed_wall(&self) -> Duration {
        median(self.walls(|_| true))
    }

    /// Returns the earliest of these times with which more than half of all hosts agree.
    fn majority(&self, mut times: Vec<Duration>) -> Option<Duration> {
        let hosts = self.hosts?;
        times.sort_unstable();
        let agreeing =
            |(at, time): (usize, &Duration)| times[at..].iter().filter(|other| agree(**other, *time)).count();
        let found = times.iter().enumerate().find(|candidate| agreeing(*candidate) * 2 > hosts)?;
        Some(*found.1)
    }
}

impl ClockStatus {
    /// Returns the lead of this host's wall clock over the confirmed time.
    pub fn ahead_ms(&self) -> i64 {
        if self.is_confirmed { difference_ms(since_1970(self.wall), since_1970(self.time.confirmed)) } else { 0 }
    }

    /// Returns the lead of this host's wall clock over the median of the hosts' wall clocks.
    pub fn ahead_of_hosts_ms(&self) -> i64 {
        self.ahead_of_median_ms.iter().find(|(host, _)| host.is_none()).map_or(0, |(_, ahead_ms)| *ahead_ms)
    }

    /// Returns the problems of the clocks, and what to do.
    pub fn troubles(&self) -> Vec<String> {
        let mut troubles = Vec::new();
        let ahead_ms = self.ahead_ms();
        if !self.is_confirmed && self.running_for >= CLOCKS_AGREE_WITHIN {
            troubles.push(
                "no time is confirmed, since most hosts' clocks do not agree or are not heard: no lock ends and nothing \
                 expires; set the clocks, or confirm this host's with sherd admin clock accept"
                    .to_owned(),
            );
        }
        if ahead_ms.unsigned_abs() > CLOCK_GAP_REPORTED.as_millis() as u64 {
            troubles.push(format!(
                "this host's clock is {} the confirmed time, which locks and lifecycle rules go by; if the clock is right, \
                 confirm it with sherd admin clock accept, else set it",
                apart(ahead_ms, "ahead of", "behind")
            ));
        }
        for (host, ahead_ms) in &self.ahead_of_median_ms {
            if ahead_ms.unsigned_abs() > CLOCKS_AGREE_WITHIN.as_millis() as u64 {
                let whose =
                    host.map_or("this host's clock".to_owned(), |host| format!("the clock of host {:016x}", host.0));
                let apart = apart(*ahead_ms, "ahead of", "behind");
                troubles.push(format!("{whose} is {apart} the median of the hosts' clocks; set it"));
            }
        }
        troubles
    }
}

/// Describes a difference, as in `3 days ahead of`.
fn apart(ms: i64, ahead: &str, behind: &str) -> String {
    let seconds = ms.unsigned_abs() / 1000;
    let (count, unit) = match seconds {
        0..120 => (seconds, "seconds"),
        120..7200 => (seconds / 60, "minutes"),
        7200..172_800 => (seconds / 3600, "hours"),
        _ => (seconds / 86_400, "days"),
    };
    format!("{count} {unit} {}", if ms < 0 { behind } else { ahead })
}

/// Returns the median; the lower one of two in the middle.
fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[(times.len() - 1) / 2]
}

fn agree(one: Duration, other: Duration) -> bool {
    one.abs_diff(other) <= CLOCKS_AGREE_WITHIN
}

fn difference_ms(one: Duration, other: Duration) -> i64 {
    let ms = i64::try_from(one.abs_diff(other).as_millis()).unwrap_or(i64::MAX);
    if one < other { -ms } else { ms }
}

fn unix(time: Duration) -> UnixMs {
    UnixMs(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

fn since_1970(time: UnixMs) -> Duration {
    Duration::from_millis(time.0)
}
