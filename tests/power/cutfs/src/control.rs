//! Commands on the Unix socket, a line each: a verb and `name=value` words. Every answer is one line: `ok ...` or `error ...`.
//! `drives=a,b` (the last parts of the mount points) confines any of them to some drives.
//!
//! | command | |
//! |---|---|
//! | `cut [hangs=1]` | from now on every call fails with EIO, or hangs |
//! | `release` | calls that hang fail; a killed process ends only then |
//! | `on seed=N` | power on; unsynced state is kept, lost or torn as the seed has it; answers how much there was and how much is lost |
//! | `arm count=N [op=write] [path=shards/] [hangs=1] [seed=N]` | cut at the Nth such operation, before or after it; `disarm` |
//! | `wait-cut ms=N` | waits until the power is cut |
//! | `fault op=sync [path=…] [errno=5] [times=N] [after=N]`, `heal` | fails operations: create mkdir rename remove write truncate allocate sync syncdir read |
//! | `set …` | `names=posix` or `journal`, `keeps_directories=1`, `lies=1`, `readonly=1`, `capacity_mib=N`, `delay_min_us=N delay_max_us=N` (of syncs), `trace=1` |
//! | `save as=X`, `restore as=X`, `wipe` | keeps the content of a drive, takes it back, empties it |
//! | `status`, `trace lines=N`, `pending` | for people; `pending` lists changes of directories that no sync covers |
//! | `quit` | unmounts and ends |

use crate::image::{self, Image, Names};
use crate::random::Random;
use crate::world::{Fault, Filter, Op, Power, Shared, Trigger, World};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Serves one connection; returns whether it was told to quit.
pub fn serve(stream: UnixStream, shared: &Shared) -> std::io::Result<bool> {
    let mut writer = stream.try_clone()?;
    for line in BufReader::new(stream).lines() {
        let line = line?;
        if line.trim() == "quit" {
            let mut world = shared.lock();
            for drive in &mut world.drives {
                drive.held.drain(..).for_each(|refuse| refuse());
            }
            drop(world);
            writeln!(writer, "ok")?;
            return Ok(true);
        }
        let answer = match command(&line, shared) {
            Ok(told) => format!("ok {told}\n"),
            Err(why) => format!("error {why}\n"),
        };
        writer.write_all(answer.as_bytes())?;
    }
    Ok(false)
}

struct Arguments<'a>(BTreeMap<&'a str, &'a str>);

impl<'a> Arguments<'a> {
    fn text(&self, name: &str) -> &'a str {
        self.0.get(name).copied().unwrap_or("")
    }

    fn number(&self, name: &str, default: u64) -> Result<u64, String> {
        match self.0.get(name) {
            None => Ok(default),
            Some(text) => text.parse().map_err(|_| format!("{name}={text} is no number")),
        }
    }

    /// Returns all drives, or those named.
    fn drives(&self, world: &World) -> Result<Vec<usize>, String> {
        match self.0.get("drives") {
            None => Ok((0..world.drives.len()).collect()),
            Some(names) => names
                .split(',')
                .map(|name| world.drives.iter().position(|drive| drive.name == name).ok_or(format!("no drive {name}")))
                .collect(),
        }
    }

    fn filter(&self) -> Result<Filter, String> {
        let op = match self.text("op") {
            "" => None,
            text => Some(Op::parse(text).ok_or(format!("no operation {text}"))?),
        };
        Ok(Filter { op, path: self.text("path").to_owned() })
    }
}

fn command(line: &str, shared: &Shared) -> Result<String, String> {
    let mut words = line.split_whitespace();
    let verb = words.next().unwrap_or("");
    let arguments = Arguments(words.map(|word| word.split_once('=').unwrap_or((word, "1"))).collect());
    if verb == "wait-cut" {
        return Ok(u8::from(shared.wait_cut(Duration::from_millis(arguments.number("ms", 1000)?))).to_string());
    }
    let mut world = shared.lock();
    let drives = arguments.drives(&world)?;
    match verb {
        "cut" => {
            world.cut(&drives, arguments.number("hangs", 0)? > 0);
            shared.notify();
            Ok(String::new())
        }
        "release" => {
            for drive in drives {
                world.drives[drive].held.drain(..).for_each(|refuse| refuse());
                if world.drives[drive].power != Power::On {
                    world.drives[drive].power = Power::Cut { hangs: false };
                }
            }
            Ok(String::new())
        }
        "on" => {
            let tallies = world.power_on(&drives, arguments.number("seed", 1)?);
            let sum = |of: fn(&image::Tally) -> u64| tallies.iter().map(of).sum::<u64>();
            Ok(format!(
                "sectors={} sectors_lost={} sizes={} names={} names_lost={} doomed={}",
                sum(|t| t.sectors),
                sum(|t| t.sectors_lost),
                sum(|t| t.sizes),
                sum(|t| t.names),
                sum(|t| t.names_lost),
                sum(|t| t.doomed)
            ))
        }
        "arm" => {
            let (filter, hangs) = (arguments.filter()?, arguments.number("hangs", 0)? > 0);
            world.random = Random::new(arguments.number("seed", 1)?);
            world.trigger = Some(Trigger { filter, left: arguments.number("count", 1)?.max(1), drives, hangs });
            Ok(String::new())
        }
        "disarm" => Ok(format!("left={}", world.trigger.take().map_or(0, |trigger| trigger.left))),
        "fault" => {
            let fault = Fault {
                filter: arguments.filter()?,
                after: arguments.number("after", 0)?,
                times: arguments.number("times", u64::MAX)?,
                errno: arguments.number("errno", libc::EIO as u64)? as i32,
                hits: 0,
            };
            drives.iter().for_each(|&drive| world.drives[drive].faults.push(fault.clone()));
            Ok(String::new())
        }
        "heal" => {
            let hits: u64 =
                drives.iter().flat_map(|&drive| std::mem::take(&mut world.drives[drive].faults)).map(|f| f.hits).sum();
            Ok(format!("hits={hits}"))
        }
        "set" => set(&mut world, &drives, &arguments),
        "save" => {
            let [drive] = drives[..] else { return Err("one drive at a time".to_owned()) };
            let image = world.drives[drive].image.clone();
            world.saved.insert(arguments.text("as").to_owned(), image);
            Ok(String::new())
        }
        "restore" => {
            let [drive] = drives[..] else { return Err("one drive at a time".to_owned()) };
            let image = world.saved.get(arguments.text("as")).ok_or("nothing is saved as that")?.clone();
            world.drives[drive].image.replace(&image);
            world.drives[drive].forget_used();
            Ok(String::new())
        }
        "forget" => {
            world.saved.clear();
            Ok(String::new())
        }
        "wipe" => {
            for drive in drives {
                world.drives[drive].image.replace(&Image::new());
                world.drives[drive].forget_used();
            }
            Ok(String::new())
        }
        "status" => Ok(status(&mut world, &drives)),
        "pending" => {
            let told = drives.iter().flat_map(|&drive| {
                let drive = &world.drives[drive];
                drive
                    .image
                    .unsynced_names()
                    .into_iter()
                    .map(|line| format!("{} {line}", drive.name))
                    .collect::<Vec<_>>()
            });
            Ok(told.collect::<Vec<_>>().join("|"))
        }
        "trace" => {
            let lines = arguments.number("lines", 100)? as usize;
            let told = drives.iter().flat_map(|&drive| {
                let drive = &world.drives[drive];
                let skip = drive.trace.len().saturating_sub(lines);
                drive.trace.iter().skip(skip).map(|line| format!("{} {line}", drive.name)).collect::<Vec<_>>()
            });
            Ok(told.collect::<Vec<_>>().join("|"))
        }
        _ => Err(format!("no command {verb}")),
    }
}

fn set(world: &mut World, drives: &[usize], arguments: &Arguments<'_>) -> Result<String, String> {
    for &name in arguments.0.keys() {
        let number = |default| arguments.number(name, default);
        match name {
            "drives" => {}
            "names" => {
                let names = match arguments.text("names") {
                    "posix" => Names::Posix,
                    "journal" => Names::Journal,
                    other => return Err(format!("names are posix or journal, not {other}")),
                };
                drives.iter().for_each(|&drive| world.drives[drive].image.names = names);
            }
            "trace" => world.tracing = number(0)? > 0,
            _ => {
                for &drive in drives {
                    let drive = &mut world.drives[drive];
                    match name {
                        "keeps_directories" => drive.image.keeps_directories = number(0)? > 0,
                        "lies" => drive.image.lies = number(0)? > 0,
                        "readonly" => drive.read_only = number(0)? > 0,
                        "capacity_mib" => drive.capacity_pages = (number(0)? << 20) as usize / image::PAGE,
                        "delay_min_us" => drive.sync_delay_us.0 = number(0)?,
                        "delay_max_us" => drive.sync_delay_us.1 = number(0)?,
                        _ => return Err(format!("no setting {name}")),
                    }
                }
            }
        }
    }
    Ok(String::new())
}

fn status(world: &mut World, drives: &[usize]) -> String {
    let told = drives.iter().map(|&drive| {
        let drive = &mut world.drives[drive];
        let ((pages, names), used) = (drive.image.unsynced(), drive.used());
        let counts: String = drive.counts.iter().map(|(what, n)| format!(" {what}={n}")).collect();
        let hits: u64 = drive.faults.iter().map(|fault| fault.hits).sum();
        format!(
            "{} {:?} used_mib={} unsynced_pages={pages} unsynced_names={names} held={} hits={hits}{counts}",
            drive.name,
            drive.power,
            (used * image::PAGE) >> 20,
            drive.held.len(),
        )
    });
    told.collect::<Vec<_>>().join("|")
}
