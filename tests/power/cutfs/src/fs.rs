//! A drive as FUSE asks for it. Every file is opened past the kernel's page cache and no attribute is cached, so that
//! nothing in the kernel outlives a cut.

use crate::image::{Image, Kind, PAGE};
use crate::world::{Drive, Fate, Op, Power, Shared, World};
use fuser::consts::FOPEN_DIRECT_IO;
use fuser::{
    FileAttr, FileType, Filesystem, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry,
    ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow,
};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::ffi::{OsStr, OsString};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

const TTL: Duration = Duration::ZERO;

/// An answer that can be an error.
trait Answer: Send + 'static {
    fn refuse(self, errno: i32);
}

macro_rules! answers {
    ($($reply:ty),*) => { $(impl Answer for $reply { fn refuse(self, errno: i32) { self.error(errno) } })* };
}
answers!(
    ReplyAttr,
    ReplyCreate,
    ReplyData,
    ReplyDirectory,
    ReplyEmpty,
    ReplyEntry,
    ReplyOpen,
    ReplyStatfs,
    ReplyWrite,
    ReplyXattr
);

struct Due {
    at: Instant,
    number: u64,
    drive: usize,
    boot: u64,
    ino: u64,
    seq: u64,
    reply: ReplyEmpty,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// Syncs that take their time.
#[derive(Default)]
pub struct Timer {
    queue: Mutex<(BinaryHeap<Reverse<Due>>, u64)>,
    changed: Condvar,
}

impl Timer {
    fn push(&self, mut due: Due) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.1 += 1;
        due.number = queue.1;
        queue.0.push(Reverse(due));
        self.changed.notify_one();
    }

    pub fn run(&self, shared: &Shared) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let now = Instant::now();
            match queue.0.peek() {
                None => queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner),
                Some(Reverse(due)) if due.at > now => {
                    let wait = due.at - now;
                    queue = self.changed.wait_timeout(queue, wait).unwrap_or_else(PoisonError::into_inner).0;
                }
                Some(_) => {
                    let due = queue.0.pop().expect("it was there").0;
                    drop(queue);
                    finish_sync(shared, due);
                    queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}

fn finish_sync(shared: &Shared, due: Due) {
    let mut world = shared.lock();
    let drive = &mut world.drives[due.drive];
    match drive.power {
        Power::Cut { hangs: true } if drive.boots == due.boot + 1 => {
            drive.held.push(Box::new(move || due.reply.error(libc::EIO)));
        }
        Power::On if drive.boots == due.boot => match drive.image.sync(due.ino, due.seq) {
            Ok(()) => {
                drop(world);
                due.reply.ok();
            }
            Err(errno) => due.reply.error(errno),
        },
        _ => due.reply.error(libc::EIO),
    }
}

pub struct CutFs {
    pub shared: Arc<Shared>,
    pub timer: Arc<Timer>,
    pub drive: usize,
    pub listings: HashMap<u64, Vec<(u64, FileType, OsString)>>,
    pub handles: u64,
}

impl CutFs {
    /// Answers with what `then` makes of the drive; without power, with an error or not at all.
    fn with<R: Answer>(&self, reply: R, then: impl FnOnce(&mut Drive, R)) {
        let mut world = self.shared.lock();
        let drive = &mut world.drives[self.drive];
        match drive.power {
            Power::On => then(drive, reply),
            Power::Cut { hangs: false } => reply.refuse(libc::EIO),
            Power::Cut { hangs: true } => drive.held.push(Box::new(move || reply.refuse(libc::EIO))),
        }
    }

    /// The same for what changes something, or can fail by a fault: `work` does it, `answer` tells of it.
    #[allow(clippy::too_many_arguments)]
    fn change<R: Answer, T>(
        &self,
        reply: R,
        op: Op,
        path: &dyn Fn(&Image) -> String,
        range: (u64, u64),
        work: impl FnOnce(&mut Drive) -> Result<T, i32>,
        answer: impl FnOnce(&mut Drive, R, T),
    ) {
        let mut world = self.shared.lock();
        if world.drives[self.drive].power == Power::On {
            match world.step(self.drive, op, path, range.0, range.1) {
                Err(errno) => return reply.refuse(errno),
                Ok(fate) => {
                    if world.drives[self.drive].power == Power::On {
                        let done = work(&mut world.drives[self.drive]);
                        world.stepped(fate);
                        if world.drives[self.drive].power == Power::On {
                            match done {
                                Ok(done) => answer(&mut world.drives[self.drive], reply, done),
                                Err(errno) => reply.refuse(errno),
                            }
                            return;
                        }
                    }
                    self.shared.notify();
                }
            }
        }
        let drive = &mut world.drives[self.drive];
        match drive.power {
            Power::Cut { hangs: true } => drive.held.push(Box::new(move || reply.refuse(libc::EIO))),
            _ => reply.refuse(libc::EIO),
        }
    }

    fn sync(&self, ino: u64, op: Op, reply: ReplyEmpty) {
        let mut world: std::sync::MutexGuard<'_, World> = self.shared.lock();
        if world.drives[self.drive].power == Power::On {
            let fate = match world.step(self.drive, op, &|image| image.path(ino), 0, 0) {
                Err(errno) => {
                    if errno != libc::EROFS {
                        world.drives[self.drive].image.fail_sync(ino);
                    }
                    return reply.error(errno);
                }
                Ok(fate) => fate,
            };
            let (from, to) = world.drives[self.drive].sync_delay_us;
            let delay = from + world.random.below(to.saturating_sub(from) + 1);
            let drive = &mut world.drives[self.drive];
            if drive.power == Power::On {
                drive.count("syncs", 1);
                let seq = drive.image.seq();
                if delay == 0 || fate == Fate::Last {
                    let done = drive.image.sync(ino, seq);
                    world.stepped(fate);
                    if world.drives[self.drive].power == Power::On {
                        return match done {
                            Ok(()) => reply.ok(),
                            Err(errno) => reply.error(errno),
                        };
                    }
                } else {
                    let at = Instant::now() + Duration::from_micros(delay);
                    let boot = drive.boots;
                    self.timer.push(Due { at, number: 0, drive: self.drive, boot, ino, seq, reply });
                    return;
                }
            }
            self.shared.notify();
        }
        let drive = &mut world.drives[self.drive];
        match drive.power {
            Power::Cut { hangs: true } => drive.held.push(Box::new(move || reply.error(libc::EIO))),
            _ => reply.error(libc::EIO),
        }
    }
}

fn attributes(image: &Image, ino: u64) -> Result<FileAttr, i32> {
    let node = image.node(ino)?;
    let (kind, size, blocks, nlink) = match &node.kind {
        Kind::File(file) => (FileType::RegularFile, file.live.size, file.pages() as u64 * (PAGE as u64 / 512), 1),
        Kind::Dir(_) => (FileType::Directory, PAGE as u64, 8, 2),
    };
    let (mtime, perm) = (node.mtime, node.mode);
    Ok(FileAttr {
        ino,
        size,
        blocks,
        atime: mtime,
        mtime,
        ctime: mtime,
        crtime: mtime,
        kind,
        perm,
        nlink,
        uid: node.uid,
        gid: node.gid,
        rdev: 0,
        blksize: PAGE as u32,
        flags: 0,
    })
}

/// One more reference of the kernel's.
fn enter(image: &mut Image, ino: u64) -> Result<FileAttr, i32> {
    let found = attributes(image, ino)?;
    image.node_mut(ino)?.lookups += 1;
    Ok(found)
}

fn entry(drive: &mut Drive, reply: ReplyEntry, ino: u64) {
    match enter(&mut drive.image, ino) {
        Ok(found) => reply.entry(&TTL, &found, 0),
        Err(errno) => reply.error(errno),
    }
}

fn joined(image: &Image, dir: u64, name: &OsStr) -> String {
    format!("{}/{}", image.path(dir), name.to_string_lossy())
}

impl Filesystem for CutFs {
    fn lookup(&mut self, _: &Request<'_>, parent: u64, name: &OsStr, reply: ReplyEntry) {
        self.with(reply, |drive, reply| match drive.image.lookup(parent, name) {
            Ok(ino) => entry(drive, reply, ino),
            Err(errno) => reply.error(errno),
        });
    }

    fn forget(&mut self, _: &Request<'_>, ino: u64, lookups: u64) {
        self.shared.lock().drives[self.drive].image.forget(ino, lookups);
    }

    fn getattr(&mut self, _: &Request<'_>, ino: u64, _: Option<u64>, reply: ReplyAttr) {
        self.with(reply, |drive, reply| match attributes(&drive.image, ino) {
            Ok(found) => reply.attr(&TTL, &found),
            Err(errno) => reply.error(errno),
        });
    }

    fn setattr(
        &mut self,
        _: &Request<'_>,
        ino: u64,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<u64>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<u32>,
        reply: ReplyAttr,
    ) {
        let work = |drive: &mut Drive| {
            let node = drive.image.node_mut(ino)?;
            node.mode = mode.map_or(node.mode, |mode| mode as u16 & 0o7777);
            node.uid = uid.unwrap_or(node.uid);
            node.gid = gid.unwrap_or(node.gid);
            match mtime {
                Some(TimeOrNow::SpecificTime(time)) => node.mtime = time,
                Some(TimeOrNow::Now) => node.mtime = SystemTime::now(),
                None => {}
            }
            if let Some(size) = size {
                let (seq, file) = drive.image.change_file(ino)?;
                file.truncate(seq, size);
                drive.forget_used();
            }
            attributes(&drive.image, ino)
        };
        if size.is_none() {
            return self.with(reply, |drive, reply| match work(drive) {
                Ok(found) => reply.attr(&TTL, &found),
                Err(errno) => reply.error(errno),
            });
        }
        let path = |image: &Image| image.path(ino);
        self.change(reply, Op::Truncate, &path, (size.unwrap_or(0), 0), work, |_, reply, found| {
            reply.attr(&TTL, &found)
        });
    }

    fn mkdir(&mut self, request: &Request<'_>, parent: u64, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        let (mode, owner) = ((mode & !umask) as u16 & 0o7777, (request.uid(), request.gid()));
        let path = |image: &Image| joined(image, parent, name);
        self.change(
            reply,
            Op::Mkdir,
            &path,
            (0, 0),
            |drive| drive.image.create(parent, name, true, mode, owner),
            entry,
        );
    }

    fn unlink(&mut self, _: &Request<'_>, parent: u64, name: &OsStr, reply: ReplyEmpty) {
        let path = |image: &Image| joined(image, parent, name);
        let work = |drive: &mut Drive| {
            drive.forget_used();
            drive.image.remove(parent, name, false)
        };
        self.change(reply, Op::Remove, &path, (0, 0), work, |_, reply, ()| reply.ok());
    }

    fn rmdir(&mut self, _: &Request<'_>, parent: u64, name: &OsStr, reply: ReplyEmpty) {
        let path = |image: &Image| joined(image, parent, name);
        self.change(
            reply,
            Op::Remove,
            &path,
            (0, 0),
            |drive| drive.image.remove(parent, name, true),
            |_, reply, ()| reply.ok(),
        );
    }

    fn rename(
        &mut self,
        _: &Request<'_>,
        parent: u64,
        name: &OsStr,
        newparent: u64,
        newname: &OsStr,
        flags: u32,
        reply: ReplyEmpty,
    ) {
        if flags & !libc::RENAME_NOREPLACE != 0 {
            return reply.error(libc::EINVAL);
        }
        let path = |image: &Image| format!("{} -> {}", joined(image, parent, name), joined(image, newparent, newname));
        let work = |drive: &mut Drive| {
            drive.forget_used();
            drive.image.rename((parent, name), (newparent, newname), flags & libc::RENAME_NOREPLACE != 0)
        };
        self.change(reply, Op::Rename, &path, (0, 0), work, |_, reply, ()| reply.ok());
    }

    fn link(&mut self, _: &Request<'_>, ino: u64, newparent: u64, newname: &OsStr, reply: ReplyEntry) {
        let path = |image: &Image| joined(image, newparent, newname);
        let work = |drive: &mut Drive| drive.image.link(ino, newparent, newname).map(|()| ino);
        self.change(reply, Op::Create, &path, (0, 0), work, entry);
    }

    fn open(&mut self, _: &Request<'_>, ino: u64, _: i32, reply: ReplyOpen) {
        self.with(reply, |drive, reply| match drive.image.file(ino) {
            Ok(_) => reply.opened(0, FOPEN_DIRECT_IO),
            Err(errno) => reply.error(errno),
        });
    }

    fn read(
        &mut self,
        _: &Request<'_>,
        ino: u64,
        _: u64,
        offset: i64,
        size: u32,
        _: i32,
        _: Option<u64>,
        reply: ReplyData,
    ) {
        let (offset, len) = (offset as u64, size as usize);
        let work = |drive: &mut Drive| {
            drive.count("reads", 1);
            Ok(drive.image.file(ino)?.live.read(offset, len))
        };
        self.change(reply, Op::Read, &|image| image.path(ino), (offset, len as u64), work, |_, reply, data| {
            reply.data(&data)
        });
    }

    fn write(
        &mut self,
        _: &Request<'_>,
        ino: u64,
        _: u64,
        offset: i64,
        data: &[u8],
        _: u32,
        _: i32,
        _: Option<u64>,
        reply: ReplyWrite,
    ) {
        let (offset, len) = (offset as u64, data.len() as u64);
        let work = |drive: &mut Drive| {
            let file = drive.image.file(ino)?;
            let end = ((offset + len) as usize).div_ceil(PAGE);
            drive.take_room(end.saturating_sub(file.pages()))?;
            drive.count("writes", 1);
            drive.count("bytes", len);
            drive.image.write(ino, offset, data)
        };
        self.change(reply, Op::Write, &|image| image.path(ino), (offset, len), work, |_, reply, ()| {
            reply.written(len as u32)
        });
    }

    fn flush(&mut self, _: &Request<'_>, _: u64, _: u64, _: u64, reply: ReplyEmpty) {
        self.with(reply, |_, reply| reply.ok());
    }

    fn fsync(&mut self, _: &Request<'_>, ino: u64, _: u64, _: bool, reply: ReplyEmpty) {
        self.sync(ino, Op::Sync, reply);
    }

    fn fsyncdir(&mut self, _: &Request<'_>, ino: u64, _: u64, _: bool, reply: ReplyEmpty) {
        self.sync(ino, Op::SyncDir, reply);
    }

    fn opendir(&mut self, _: &Request<'_>, ino: u64, _: i32, reply: ReplyOpen) {
        self.handles += 1;
        let handle = self.handles;
        let mut listed = Vec::new();
        self.with(reply, |drive, reply| match drive.image.dir(ino) {
            Ok(dir) => {
                let kind = |ino: u64| match drive.image.node(ino).map(|node| &node.kind) {
                    Ok(Kind::Dir(_)) => FileType::Directory,
                    _ => FileType::RegularFile,
                };
                listed.push((ino, FileType::Directory, OsString::from(".")));
                listed.push((ino, FileType::Directory, OsString::from("..")));
                listed.extend(dir.live.iter().map(|(name, &ino)| (ino, kind(ino), name.clone())));
                reply.opened(handle, 0);
            }
            Err(errno) => reply.error(errno),
        });
        self.listings.insert(handle, listed);
    }

    fn readdir(&mut self, _: &Request<'_>, _: u64, handle: u64, offset: i64, reply: ReplyDirectory) {
        let listed = self.listings.get(&handle);
        self.with(reply, |_, mut reply| {
            for (at, (ino, kind, name)) in listed.into_iter().flatten().enumerate().skip(offset as usize) {
                if reply.add(*ino, at as i64 + 1, *kind, name) {
                    break;
                }
            }
            reply.ok();
        });
    }

    fn releasedir(&mut self, _: &Request<'_>, _: u64, handle: u64, _: i32, reply: ReplyEmpty) {
        self.listings.remove(&handle);
        reply.ok();
    }

    fn statfs(&mut self, _: &Request<'_>, _: u64, reply: ReplyStatfs) {
        self.with(reply, |drive, reply| {
            let total = drive.capacity_pages as u64;
            let free = total.saturating_sub(drive.used() as u64);
            reply.statfs(total, free, free, 1 << 20, 1 << 20, PAGE as u32, 255, PAGE as u32);
        });
    }

    fn access(&mut self, _: &Request<'_>, _: u64, _: i32, reply: ReplyEmpty) {
        self.with(reply, |_, reply| reply.ok());
    }

    fn create(
        &mut self,
        request: &Request<'_>,
        parent: u64,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let (mode, owner) = ((mode & !umask) as u16 & 0o7777, (request.uid(), request.gid()));
        let path = |image: &Image| joined(image, parent, name);
        let work = |drive: &mut Drive| match drive.image.lookup(parent, name) {
            Ok(_) if flags & libc::O_EXCL != 0 => Err(libc::EEXIST),
            Ok(ino) => Ok(ino),
            Err(_) => {
                drive.take_room(1)?;
                drive.image.create(parent, name, false, mode, owner)
            }
        };
        self.change(reply, Op::Create, &path, (0, 0), work, |drive, reply, ino| match enter(&mut drive.image, ino) {
            Ok(found) => reply.created(&TTL, &found, 0, 0, FOPEN_DIRECT_IO),
            Err(errno) => reply.error(errno),
        });
    }

    fn fallocate(&mut self, _: &Request<'_>, ino: u64, _: u64, offset: i64, length: i64, mode: i32, reply: ReplyEmpty) {
        if mode & !libc::FALLOC_FL_KEEP_SIZE != 0 {
            return reply.error(libc::EOPNOTSUPP);
        }
        let (offset, length) = (offset as u64, length as u64);
        let work = |drive: &mut Drive| {
            let wanted = ((offset + length) as usize).div_ceil(PAGE);
            let missing = wanted.saturating_sub(drive.image.file(ino)?.pages());
            drive.take_room(missing)?;
            let (seq, file) = drive.image.change_file(ino)?;
            file.allocate(seq, offset + length, mode & libc::FALLOC_FL_KEEP_SIZE != 0);
            Ok(())
        };
        self.change(reply, Op::Allocate, &|image| image.path(ino), (offset, length), work, |_, reply, ()| reply.ok());
    }
}
