//! The drives of one process under one lock, so that a cut hits all of them at the same instant: power, faults, delays,
//! triggers and traces.

use crate::image::{Image, Refused, Tally};
use crate::random::Random;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Operations kept for `trace`.
const TRACE_MAX: usize = 4000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Create,
    Mkdir,
    Rename,
    Remove,
    Write,
    Truncate,
    Allocate,
    Sync,
    SyncDir,
    Read,
}

impl Op {
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "create" => Self::Create,
            "mkdir" => Self::Mkdir,
            "rename" => Self::Rename,
            "remove" => Self::Remove,
            "write" => Self::Write,
            "truncate" => Self::Truncate,
            "allocate" => Self::Allocate,
            "sync" => Self::Sync,
            "syncdir" => Self::SyncDir,
            "read" => Self::Read,
            _ => return None,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    On,
    /// Everything fails, or, where it hangs, is not answered before `release`.
    Cut {
        hangs: bool,
    },
}

/// The selection of operations.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub op: Option<Op>,
    /// A part of the path.
    pub path: String,
}

impl Filter {
    fn meets(&self, op: Op, path: &str) -> bool {
        (self.op.is_some_and(|wanted| wanted == op) || (self.op.is_none() && op != Op::Read))
            && path.contains(&self.path)
    }
}

#[derive(Clone, Debug)]
pub struct Fault {
    pub filter: Filter,
    /// The number of operations that pass first.
    pub after: u64,
    pub times: u64,
    pub errno: i32,
    pub hits: u64,
}

/// Cuts the power at an operation.
#[derive(Clone, Debug)]
pub struct Trigger {
    pub filter: Filter,
    pub left: u64,
    pub drives: Vec<usize>,
    pub hangs: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Goes,
    /// The power is cut when it is done, and before it is answered.
    Last,
}

pub type Held = Box<dyn FnOnce() + Send>;

pub struct Drive {
    pub name: String,
    pub image: Image,
    pub power: Power,
    pub read_only: bool,
    pub capacity_pages: usize,
    pub faults: Vec<Fault>,
    pub sync_delay_us: (u64, u64),
    pub held: Vec<Held>,
    /// Raised by each cut: a sync that began before is not for what is there now.
    pub boots: u64,
    pub counts: BTreeMap<&'static str, u64>,
    pub trace: VecDeque<String>,
    used_pages: usize,
    used_at: Option<Instant>,
}

pub struct World {
    pub drives: Vec<Drive>,
    pub random: Random,
    pub trigger: Option<Trigger>,
    pub saved: BTreeMap<String, Image>,
    pub tracing: bool,
    began: Instant,
}

pub struct Shared {
    world: Mutex<World>,
    changed: Condvar,
}

impl Shared {
    pub fn new(names: &[String], capacity_bytes: u64) -> Self {
        let drive = |name: &String| Drive {
            name: name.clone(),
            image: Image::new(),
            power: Power::On,
            read_only: false,
            capacity_pages: (capacity_bytes / crate::image::PAGE as u64) as usize,
            faults: Vec::new(),
            sync_delay_us: (0, 0),
            held: Vec::new(),
            boots: 0,
            counts: BTreeMap::new(),
            trace: VecDeque::new(),
            used_pages: 0,
            used_at: None,
        };
        let drives = names.iter().map(drive).collect();
        let world = World {
            drives,
            random: Random::new(1),
            trigger: None,
            saved: BTreeMap::new(),
            tracing: false,
            began: Instant::now(),
        };
        Self { world: Mutex::new(world), changed: Condvar::new() }
    }

    pub fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn notify(&self) {
        self.changed.notify_all();
    }

    /// Waits until a drive has no power; returns whether it lost it in time.
    pub fn wait_cut(&self, limit: Duration) -> bool {
        let is_on = |world: &mut World| world.drives.iter().all(|drive| drive.power == Power::On);
        let world = self.lock();
        let (_world, waited) =
            self.changed.wait_timeout_while(world, limit, is_on).unwrap_or_else(PoisonError::into_inner);
        !waited.timed_out()
    }
}

impl Drive {
    pub fn count(&mut self, what: &'static str, n: u64) {
        *self.counts.entry(what).or_default() += n;
    }

    pub fn used(&mut self) -> usize {
        // Counting walks all files; allocations in between are added.
        if self.used_at.is_none_or(|at| at.elapsed() > Duration::from_millis(100)) {
            (self.used_pages, self.used_at) = (self.image.used_pages(), Some(Instant::now()));
        }
        self.used_pages
    }

    pub fn forget_used(&mut self) {
        self.used_at = None;
    }

    /// Refuses what has no room.
    pub fn take_room(&mut self, pages: usize) -> Result<(), Refused> {
        if pages > 0 && self.used() + pages > self.capacity_pages {
            self.used_at = None;
            if self.used() + pages > self.capacity_pages {
                return Err(libc::ENOSPC);
            }
        }
        self.used_pages += pages;
        Ok(())
    }
}

impl World {
    pub fn cut(&mut self, drives: &[usize], hangs: bool) {
        for &drive in drives {
            let drive = &mut self.drives[drive];
            if drive.power == Power::On {
                drive.power = Power::Cut { hangs };
                drive.boots += 1;
            }
        }
        self.trigger = None;
    }

    /// The power is back; what was not durable is as the seed has it.
    pub fn power_on(&mut self, drives: &[usize], seed: u64) -> Vec<Tally> {
        let mut tallies = Vec::new();
        for &at in drives {
            let drive = &mut self.drives[at];
            drive.held.drain(..).for_each(|refuse| refuse());
            let tally = drive.image.cut(&mut Random::new(seed ^ (at as u64).wrapping_mul(0x517c_c1b7_2722_0a95)));
            drive.power = Power::On;
            drive.forget_used();
            tallies.push(tally);
        }
        tallies
    }

    pub fn note(&mut self, drive: usize, op: Op, path: &str, offset: u64, len: u64) {
        let at = self.began.elapsed().as_micros();
        let drive = &mut self.drives[drive];
        if drive.trace.len() == TRACE_MAX {
            drive.trace.pop_front();
        }
        drive.trace.push_back(format!("{at} {op:?} {path} {offset}+{len}"));
    }

    /// Decides the outcome of an operation that is about to be done: an error to answer with, or how it goes.
    pub fn step(
        &mut self,
        drive: usize,
        op: Op,
        path: &dyn Fn(&Image) -> String,
        offset: u64,
        len: u64,
    ) -> Result<Fate, Refused> {
        let wanted = self.tracing || self.trigger.is_some() || !self.drives[drive].faults.is_empty();
        let path = if wanted { path(&self.drives[drive].image) } else { String::new() };
        if self.tracing {
            self.note(drive, op, &path, offset, len);
        }
        let at = &mut self.drives[drive];
        if op != Op::Read && at.read_only {
            return Err(libc::EROFS);
        }
        for fault in &mut at.faults {
            if fault.filter.meets(op, &path) {
                if fault.after > 0 {
                    fault.after -= 1;
                } else if fault.hits < fault.times {
                    fault.hits += 1;
                    return Err(fault.errno);
                }
            }
        }
        let Some(trigger) = self.trigger.as_mut().filter(|t| t.drives.contains(&drive) && t.filter.meets(op, &path))
        else {
            return Ok(Fate::Goes);
        };
        if trigger.left > 1 {
            trigger.left -= 1;
            return Ok(Fate::Goes);
        }
        if self.random.chance(0.5) {
            return Ok(Fate::Last);
        }
        let (drives, hangs) = (trigger.drives.clone(), trigger.hangs);
        self.cut(&drives, hangs);
        Ok(Fate::Goes)
    }

    /// After an operation was done.
    pub fn stepped(&mut self, fate: Fate) {
        if fate == Fate::Last
            && let Some(trigger) = self.trigger.take()
        {
            self.cut(&trigger.drives, trigger.hangs);
        }
    }
}
