//! The image of one drive: its live state, and the state that a power cut would leave. Pure: no input or output.
//!
//! Rules, the least that POSIX promises:
//! * a write, a truncation or an allocation is durable when a later sync of that file has been answered, and not before,
//!   whether it bypassed the page cache or not (the drive's own cache is volatile);
//! * a creation, a renaming or a removal is durable when a later sync of its directory has been answered.
//!
//! What is not durable at a cut: each sector of 512 bytes holds, independently, what was durable or what any write since
//! put there; a file's size is the durable one or any since; each change of a directory happened or did not. With
//! `Names::Journal`, changes of directories survive in their order only (a prefix), and any sync makes all earlier
//! ones durable, as on ext4 and XFS.

use crate::random::Random;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::sync::Arc;
use std::time::SystemTime;

pub const PAGE: usize = 4096;
const SECTOR: usize = 512;
pub const ROOT: u64 = 1;

pub type Page = Option<Arc<[u8; PAGE]>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Each change of a directory survives or not, whatever becomes of the others.
    Posix,
    /// Changes survive in order.
    Journal,
}

#[derive(Clone, Debug, Default)]
pub struct Content {
    pages: Vec<Page>,
    pub size: u64,
}

impl Content {
    fn get(&self, page: usize) -> &Page {
        self.pages.get(page).unwrap_or(&None)
    }

    fn set(&mut self, page: usize, to: Page) {
        if page >= self.pages.len() {
            self.pages.resize(page + 1, None);
        }
        self.pages[page] = to;
    }

    pub fn read(&self, offset: u64, len: usize) -> Vec<u8> {
        let end = self.size.min(offset.saturating_add(len as u64));
        let mut out = vec![0; end.saturating_sub(offset) as usize];
        let mut at = 0;
        while at < out.len() {
            let position = offset as usize + at;
            let (page, within) = (position / PAGE, position % PAGE);
            let n = (PAGE - within).min(out.len() - at);
            if let Some(bytes) = self.get(page) {
                out[at..at + n].copy_from_slice(&bytes[within..within + n]);
            }
            at += n;
        }
        out
    }

    fn allocated(&self) -> usize {
        self.pages.iter().filter(|page| page.is_some()).count()
    }
}

#[derive(Clone, Debug)]
struct Version {
    seq: u64,
    page: Page,
}

#[derive(Clone, Debug, Default)]
pub struct FileNode {
    pub live: Content,
    durable: Content,
    /// The versions of each page since it was last durable, oldest first.
    dirty: BTreeMap<usize, Vec<Version>>,
    /// Pages over which a sync failed: programs still see what they wrote, and no later sync makes it durable.
    doomed: BTreeSet<usize>,
    sizes: Vec<(u64, u64)>,
    reserved: usize,
}

impl FileNode {
    fn note(&mut self, page: usize, seq: u64, to: Page) {
        self.doomed.remove(&page);
        self.dirty.entry(page).or_default().push(Version { seq, page: to.clone() });
        self.live.set(page, to);
    }

    pub fn write(&mut self, seq: u64, offset: u64, data: &[u8]) {
        let mut at = 0;
        while at < data.len() {
            let position = offset as usize + at;
            let (page, within) = (position / PAGE, position % PAGE);
            let n = (PAGE - within).min(data.len() - at);
            let mut bytes = self.live.get(page).as_deref().copied().unwrap_or([0; PAGE]);
            bytes[within..within + n].copy_from_slice(&data[at..at + n]);
            self.note(page, seq, Some(Arc::new(bytes)));
            at += n;
        }
        self.resize(seq, self.live.size.max(offset + data.len() as u64));
    }

    fn resize(&mut self, seq: u64, size: u64) {
        if size != self.live.size {
            self.live.size = size;
            self.sizes.push((seq, size));
        }
    }

    pub fn truncate(&mut self, seq: u64, size: u64) {
        if size < self.live.size {
            let first = (size as usize).div_ceil(PAGE);
            let gone: Vec<usize> = (first..self.live.pages.len()).filter(|&p| self.live.get(p).is_some()).collect();
            for page in gone {
                self.note(page, seq, None);
            }
            let within = size as usize % PAGE;
            if within > 0
                && let Some(bytes) = self.live.get(size as usize / PAGE)
            {
                let mut bytes = **bytes;
                bytes[within..].fill(0);
                self.note(size as usize / PAGE, seq, Some(Arc::new(bytes)));
            }
            self.reserved = self.reserved.min(first);
        }
        self.resize(seq, size);
    }

    pub fn allocate(&mut self, seq: u64, end: u64, keep_size: bool) {
        self.reserved = self.reserved.max((end as usize).div_ceil(PAGE));
        if !keep_size {
            self.resize(seq, self.live.size.max(end));
        }
    }

    /// Makes durable what was written up to `seq`.
    fn sync(&mut self, seq: u64) {
        let durable = &mut self.durable;
        self.dirty.retain(|&page, versions| {
            let covered = versions.iter().take_while(|version| version.seq <= seq).count();
            if let Some(last) = versions.drain(..covered).next_back() {
                durable.set(page, last.page);
            }
            !versions.is_empty()
        });
        let covered = self.sizes.iter().take_while(|(at, _)| *at <= seq).count();
        if let Some((_, size)) = self.sizes.drain(..covered).next_back() {
            self.durable.size = size;
        }
    }

    fn fail_sync(&mut self) {
        self.doomed.extend(std::mem::take(&mut self.dirty).into_keys());
        self.sizes.clear();
    }

    pub fn pages(&self) -> usize {
        self.live.allocated().max(self.reserved)
    }

    fn cut(&mut self, random: &mut Random, tally: &mut Tally, torn: Option<&(u64, u64)>) {
        let keep = random.keep_chance();
        let mut found = std::mem::take(&mut self.durable);
        if !self.sizes.is_empty() {
            tally.sizes += 1;
            if random.chance(keep) {
                found.size = self.sizes[random.below(self.sizes.len() as u64) as usize].1;
            }
        }
        for (&page, versions) in &self.dirty {
            let before = found.get(page).as_deref().copied().unwrap_or([0; PAGE]);
            let mut bytes = before;
            for sector in 0..PAGE / SECTOR {
                let range = sector * SECTOR..(sector + 1) * SECTOR;
                let newest = versions
                    .last()
                    .and_then(|version| version.page.as_deref())
                    .map_or(&[0; SECTOR][..], |p| &p[range.clone()]);
                if newest == &before[range.clone()] && versions.len() == 1 {
                    continue;
                }
                tally.sectors += 1;
                if !random.chance(keep) {
                    tally.sectors_lost += 1;
                    continue;
                }
                let pick = if versions.len() > 1 && random.below(3) == 0 {
                    random.below(versions.len() as u64) as usize
                } else {
                    versions.len() - 1
                };
                let chosen = versions[pick]
                    .page
                    .as_deref()
                    .map_or([0; SECTOR], |p| p[range.clone()].try_into().expect("a sector"));
                let start = (page * PAGE + range.start) as u64;
                let is_torn = torn.is_some_and(|(from, to)| start < *to && *from < start + SECTOR as u64);
                let end = if is_torn && random.below(8) == 0 { random.below(SECTOR as u64) as usize } else { SECTOR };
                bytes[range.start..range.start + end].copy_from_slice(&chosen[..end]);
            }
            found.set(page, Some(Arc::new(bytes)));
        }
        // Nothing stands behind the end.
        let end = found.size as usize;
        found.pages.truncate(end.div_ceil(PAGE));
        if !end.is_multiple_of(PAGE)
            && let Some(Some(last)) = found.pages.get_mut(end / PAGE)
        {
            let mut bytes = **last;
            bytes[end % PAGE..].fill(0);
            *last = Arc::new(bytes);
        }
        tally.doomed += self.doomed.len() as u64;
        *self = Self {
            live: found.clone(),
            durable: found,
            reserved: self.reserved.min(end.div_ceil(PAGE)),
            ..Self::default()
        };
    }
}

#[derive(Clone, Debug, Default)]
pub struct DirNode {
    pub live: BTreeMap<OsString, u64>,
    durable: BTreeMap<OsString, u64>,
}

#[derive(Clone, Debug)]
pub enum Kind {
    File(Box<FileNode>),
    Dir(DirNode),
}

#[derive(Clone, Debug)]
pub struct Node {
    pub kind: Kind,
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
    pub mtime: SystemTime,
    /// The directory where it was last linked, for paths in faults and traces.
    parent: u64,
    name: OsString,
    pub lookups: u64,
}

#[derive(Clone, Debug)]
enum Change {
    Insert { dir: u64, name: OsString, ino: u64 },
    Remove { dir: u64, name: OsString, ino: u64 },
    Rename { from: (u64, OsString), to: (u64, OsString), ino: u64 },
}

impl Change {
    fn touches(&self, dir: u64) -> bool {
        match self {
            Self::Insert { dir: at, .. } | Self::Remove { dir: at, .. } => *at == dir,
            Self::Rename { from, to, .. } => from.0 == dir || to.0 == dir,
        }
    }

    fn ino(&self) -> u64 {
        match self {
            Self::Insert { ino, .. } | Self::Remove { ino, .. } | Self::Rename { ino, .. } => *ino,
        }
    }
}

/// The unsynced changes that a cut found.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub sectors: u64,
    pub sectors_lost: u64,
    pub sizes: u64,
    pub names: u64,
    pub names_lost: u64,
    pub doomed: u64,
}

#[derive(Clone, Debug)]
pub struct Image {
    nodes: HashMap<u64, Node>,
    changes: Vec<(u64, Change)>,
    next_ino: u64,
    seq: u64,
    last_write: Option<(u64, u64, u64)>,
    unlinked: u32,
    pub names: Names,
    /// Answers syncs without doing them, as a drive does that ignores flushes.
    pub lies: bool,
    /// A directory that is made is durable at once.
    pub keeps_directories: bool,
}

pub type Refused = i32;

impl Image {
    pub fn new() -> Self {
        let root = Node {
            kind: Kind::Dir(DirNode::default()),
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime: SystemTime::now(),
            parent: ROOT,
            name: OsString::new(),
            lookups: 1,
        };
        Self {
            nodes: HashMap::from([(ROOT, root)]),
            changes: Vec::new(),
            next_ino: ROOT + 1,
            seq: 0,
            last_write: None,
            unlinked: 0,
            names: Names::Posix,
            lies: false,
            keeps_directories: false,
        }
    }

    /// Another image's content under this one's numbering, so that no number is used twice.
    pub fn replace(&mut self, with: &Image) {
        let (next_ino, seq) = (self.next_ino.max(with.next_ino), self.seq.max(with.seq));
        let (names, lies, keeps_directories) = (self.names, self.lies, self.keeps_directories);
        *self = Self { next_ino, seq, names, lies, keeps_directories, ..with.clone() };
    }

    pub fn seq(&self) -> u64 {
        self.seq
    }

    pub fn node(&self, ino: u64) -> Result<&Node, Refused> {
        self.nodes.get(&ino).ok_or(libc::ENOENT)
    }

    pub fn node_mut(&mut self, ino: u64) -> Result<&mut Node, Refused> {
        self.nodes.get_mut(&ino).ok_or(libc::ENOENT)
    }

    pub fn file(&self, ino: u64) -> Result<&FileNode, Refused> {
        match &self.node(ino)?.kind {
            Kind::File(file) => Ok(file),
            Kind::Dir(_) => Err(libc::EISDIR),
        }
    }

    pub fn dir(&self, ino: u64) -> Result<&DirNode, Refused> {
        match &self.node(ino)?.kind {
            Kind::Dir(dir) => Ok(dir),
            Kind::File(_) => Err(libc::ENOTDIR),
        }
    }

    /// A file to change, and the number of the change.
    pub fn change_file(&mut self, ino: u64) -> Result<(u64, &mut FileNode), Refused> {
        self.seq += 1;
        let seq = self.seq;
        let node = self.node_mut(ino)?;
        node.mtime = SystemTime::now();
        match &mut node.kind {
            Kind::File(file) => Ok((seq, file)),
            Kind::Dir(_) => Err(libc::EISDIR),
        }
    }

    pub fn write(&mut self, ino: u64, offset: u64, data: &[u8]) -> Result<(), Refused> {
        let (seq, file) = self.change_file(ino)?;
        file.write(seq, offset, data);
        self.last_write = Some((ino, offset, offset + data.len() as u64));
        Ok(())
    }

    pub fn lookup(&self, dir: u64, name: &OsStr) -> Result<u64, Refused> {
        self.dir(dir)?.live.get(name).copied().ok_or(libc::ENOENT)
    }

    pub fn path(&self, ino: u64) -> String {
        let (mut parts, mut at) = (Vec::new(), ino);
        while at != ROOT
            && let Some(node) = self.nodes.get(&at)
            && parts.len() < 16
        {
            parts.push(node.name.to_string_lossy().into_owned());
            at = node.parent;
        }
        parts.reverse();
        parts.join("/")
    }

    fn live_entries(&mut self, dir: u64) -> Result<&mut BTreeMap<OsString, u64>, Refused> {
        let node = self.node_mut(dir)?;
        node.mtime = SystemTime::now();
        match &mut node.kind {
            Kind::Dir(dir) => Ok(&mut dir.live),
            Kind::File(_) => Err(libc::ENOTDIR),
        }
    }

    fn changed(&mut self, change: Change) {
        self.seq += 1;
        self.changes.push((self.seq, change));
    }

    pub fn create(
        &mut self,
        dir: u64,
        name: &OsStr,
        is_dir: bool,
        mode: u16,
        owner: (u32, u32),
    ) -> Result<u64, Refused> {
        if self.dir(dir)?.live.contains_key(name) {
            return Err(libc::EEXIST);
        }
        let ino = self.next_ino;
        self.next_ino += 1;
        let kind = if is_dir { Kind::Dir(DirNode::default()) } else { Kind::File(Box::default()) };
        let (name, mtime) = (name.to_owned(), SystemTime::now());
        let node = Node { kind, mode, uid: owner.0, gid: owner.1, mtime, parent: dir, name: name.clone(), lookups: 0 };
        self.nodes.insert(ino, node);
        self.live_entries(dir)?.insert(name.clone(), ino);
        let change = Change::Insert { dir, name, ino };
        if is_dir && self.keeps_directories {
            self.apply_durably(&change);
        } else {
            self.changed(change);
        }
        Ok(ino)
    }

    pub fn link(&mut self, ino: u64, dir: u64, name: &OsStr) -> Result<(), Refused> {
        self.file(ino)?;
        if self.dir(dir)?.live.contains_key(name) {
            return Err(libc::EEXIST);
        }
        self.live_entries(dir)?.insert(name.to_owned(), ino);
        self.changed(Change::Insert { dir, name: name.to_owned(), ino });
        Ok(())
    }

    pub fn remove(&mut self, dir: u64, name: &OsStr, is_dir: bool) -> Result<(), Refused> {
        let ino = self.lookup(dir, name)?;
        match (&self.node(ino)?.kind, is_dir) {
            (Kind::Dir(_), false) => return Err(libc::EISDIR),
            (Kind::File(_), true) => return Err(libc::ENOTDIR),
            (Kind::Dir(inner), true) if !inner.live.is_empty() => return Err(libc::ENOTEMPTY),
            _ => {}
        }
        self.live_entries(dir)?.remove(name);
        self.changed(Change::Remove { dir, name: name.to_owned(), ino });
        self.count_unlinked();
        Ok(())
    }

    pub fn rename(&mut self, from: (u64, &OsStr), to: (u64, &OsStr), no_replace: bool) -> Result<(), Refused> {
        let ino = self.lookup(from.0, from.1)?;
        if let Ok(target) = self.lookup(to.0, to.1) {
            if no_replace {
                return Err(libc::EEXIST);
            }
            if target == ino {
                return Ok(());
            }
            match (&self.node(ino)?.kind, &self.node(target)?.kind) {
                (Kind::Dir(_), Kind::Dir(inner)) if !inner.live.is_empty() => return Err(libc::ENOTEMPTY),
                (Kind::File(_), Kind::Dir(_)) => return Err(libc::EISDIR),
                (Kind::Dir(_), Kind::File(_)) => return Err(libc::ENOTDIR),
                _ => {}
            }
            self.count_unlinked();
        }
        self.live_entries(from.0)?.remove(from.1);
        self.live_entries(to.0)?.insert(to.1.to_owned(), ino);
        let node = self.node_mut(ino)?;
        (node.parent, node.name) = (to.0, to.1.to_owned());
        self.changed(Change::Rename { from: (from.0, from.1.to_owned()), to: (to.0, to.1.to_owned()), ino });
        Ok(())
    }

    fn count_unlinked(&mut self) {
        self.unlinked += 1;
        if self.unlinked > 64 {
            self.collect();
        }
    }

    fn apply_durably(&mut self, change: &Change) {
        let mut entries = |dir: u64, then: &mut dyn FnMut(&mut BTreeMap<OsString, u64>)| {
            if let Some(Node { kind: Kind::Dir(dir), .. }) = self.nodes.get_mut(&dir) {
                then(&mut dir.durable);
            }
        };
        let drop_name = |name: &OsString, ino: u64, entries: &mut BTreeMap<OsString, u64>| {
            if entries.get(name) == Some(&ino) {
                entries.remove(name);
            }
        };
        match change {
            Change::Insert { dir, name, ino } => entries(*dir, &mut |names| {
                names.insert(name.clone(), *ino);
            }),
            Change::Remove { dir, name, ino } => entries(*dir, &mut |names| drop_name(name, *ino, names)),
            Change::Rename { from, to, ino } => {
                entries(from.0, &mut |names| drop_name(&from.1, *ino, names));
                entries(to.0, &mut |names| {
                    names.insert(to.1.clone(), *ino);
                });
            }
        }
    }

    /// A sync of a file or directory that began when `seq` was the last change, and ends now.
    pub fn sync(&mut self, ino: u64, seq: u64) -> Result<(), Refused> {
        if self.lies {
            return self.node(ino).map(drop);
        }
        let is_dir = match &mut self.node_mut(ino)?.kind {
            Kind::File(file) => {
                file.sync(seq);
                false
            }
            Kind::Dir(_) => true,
        };
        let journal = self.names == Names::Journal;
        if is_dir || journal {
            let (covered, left) = std::mem::take(&mut self.changes)
                .into_iter()
                .partition(|(at, change)| *at <= seq && (journal || change.touches(ino)));
            self.changes = left;
            for (_, change) in &covered as &Vec<(u64, Change)> {
                self.apply_durably(change);
            }
        }
        Ok(())
    }

    /// Fails a sync as the page cache of Linux does: pages that could not be written count as clean.
    pub fn fail_sync(&mut self, ino: u64) {
        if let Some(Node { kind: Kind::File(file), .. }) = self.nodes.get_mut(&ino) {
            file.fail_sync();
        }
    }

    /// The power is cut now: becomes what is found when it is back.
    pub fn cut(&mut self, random: &mut Random) -> Tally {
        let mut tally = Tally::default();
        let changes = std::mem::take(&mut self.changes);
        let keep = random.keep_chance();
        let prefix = random.below(changes.len() as u64 + 1) as usize;
        tally.names = changes.len() as u64;
        for (number, (_, change)) in changes.iter().enumerate() {
            let kept = match self.names {
                Names::Posix => random.chance(keep),
                Names::Journal => number < prefix,
            };
            if kept {
                self.apply_durably(change);
            } else {
                tally.names_lost += 1;
            }
        }
        let torn = self.last_write.take();
        // In the order of numbers, so that a seed gives the same image.
        let mut inos: Vec<u64> = self.nodes.keys().copied().collect();
        inos.sort_unstable();
        for ino in inos {
            match self.nodes.get_mut(&ino).map(|node| &mut node.kind) {
                Some(Kind::Dir(dir)) => dir.live = dir.durable.clone(),
                Some(Kind::File(file)) => {
                    let torn = torn.filter(|(at, ..)| *at == ino).map(|(_, from, to)| (from, to));
                    file.cut(random, &mut tally, torn.as_ref());
                }
                None => {}
            }
        }
        self.relink();
        self.collect();
        tally
    }

    fn relink(&mut self) {
        let links: Vec<(u64, u64, OsString)> = self
            .nodes
            .iter()
            .filter_map(|(&dir, node)| if let Kind::Dir(inner) = &node.kind { Some((dir, inner)) } else { None })
            .flat_map(|(dir, inner)| inner.live.iter().map(move |(name, &ino)| (ino, dir, name.clone())))
            .collect();
        for (ino, dir, name) in links {
            if let Some(node) = self.nodes.get_mut(&ino) {
                (node.parent, node.name) = (dir, name);
            }
        }
    }

    /// Forgets nodes that nothing leads to any more.
    pub fn collect(&mut self) {
        self.unlinked = 0;
        let held = self.nodes.iter().filter(|(_, node)| node.lookups > 0).map(|(&ino, _)| ino);
        let mut todo: Vec<u64> =
            held.chain([ROOT]).chain(self.changes.iter().map(|(_, change)| change.ino())).collect();
        let mut seen: HashSet<u64> = HashSet::new();
        while let Some(ino) = todo.pop() {
            if seen.insert(ino)
                && let Some(Node { kind: Kind::Dir(dir), .. }) = self.nodes.get(&ino)
            {
                todo.extend(dir.live.values().chain(dir.durable.values()));
            }
        }
        self.nodes.retain(|ino, _| seen.contains(ino));
    }

    pub fn forget(&mut self, ino: u64, lookups: u64) {
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.lookups = node.lookups.saturating_sub(lookups);
        }
    }

    /// Pages of files that have a name.
    pub fn used_pages(&self) -> usize {
        let mut counted = HashSet::new();
        let mut pages = 0;
        for node in self.nodes.values() {
            if let Kind::Dir(dir) = &node.kind {
                for ino in dir.live.values() {
                    if let Some(Node { kind: Kind::File(file), .. }) = self.nodes.get(ino)
                        && counted.insert(*ino)
                    {
                        pages += file.pages();
                    }
                }
            }
        }
        pages
    }

    /// Changes of directories that are not durable, in order, for people.
    pub fn unsynced_names(&self) -> Vec<String> {
        let at = |dir: u64, name: &OsString| format!("{}/{}", self.path(dir), name.to_string_lossy());
        let told = self.changes.iter().map(|(_, change)| match change {
            Change::Insert { dir, name, ino } => {
                let kind = if matches!(self.nodes.get(ino), Some(Node { kind: Kind::Dir(_), .. })) {
                    "directory"
                } else {
                    "file"
                };
                format!("insert {kind} {}", at(*dir, name))
            }
            Change::Remove { dir, name, .. } => format!("remove {}", at(*dir, name)),
            Change::Rename { from, to, .. } => format!("rename {} to {}", at(from.0, &from.1), at(to.0, &to.1)),
        });
        told.collect()
    }

    /// Pages and names that are not durable.
    pub fn unsynced(&self) -> (usize, usize) {
        let pages =
            self.nodes.values().map(|node| if let Kind::File(file) = &node.kind { file.dirty.len() } else { 0 }).sum();
        (pages, self.changes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::{Image, Names, PAGE, ROOT, Random, SECTOR};
    use std::ffi::OsStr;

    fn name(text: &str) -> &OsStr {
        OsStr::new(text)
    }

    fn found(image: &Image, path: &str) -> Option<Vec<u8>> {
        let mut at = ROOT;
        for part in path.split('/') {
            at = image.lookup(at, name(part)).ok()?;
        }
        let file = image.file(at).ok()?;
        Some(file.live.read(0, file.live.size as usize))
    }

    /// Over many seeds: whether it survived in all of them, and in any.
    fn fates(image: &Image, holds: impl Fn(&Image) -> bool) -> (bool, bool) {
        let all: Vec<bool> = (0..200)
            .map(|seed| {
                let mut after = image.clone();
                after.cut(&mut Random::new(seed));
                holds(&after)
            })
            .collect();
        (all.iter().all(|held| *held), all.iter().any(|held| *held))
    }

    #[test]
    fn a_synced_file_in_a_synced_directory_survives_and_nothing_else_must() {
        let mut image = Image::new();
        let file = image.create(ROOT, name("a"), false, 0o600, (0, 0)).unwrap();
        image.write(file, 0, b"one").unwrap();
        let seq = image.seq();
        image.sync(file, seq).unwrap();
        let has = |image: &Image| found(image, "a").as_deref() == Some(b"one");
        assert_eq!(fates(&image, has), (false, true), "its name is not durable");
        image.sync(ROOT, image.seq()).unwrap();
        assert_eq!(fates(&image, has), (true, true));
        image.write(file, 0, b"two").unwrap();
        assert_eq!(fates(&image, has), (false, true));
        assert_eq!(fates(&image, |image| matches!(found(image, "a").as_deref(), Some(b"one" | b"two"))), (true, true));
    }

    #[test]
    fn a_sync_covers_what_was_written_before_it_began() {
        let mut image = Image::new();
        let file = image.create(ROOT, name("a"), false, 0o600, (0, 0)).unwrap();
        image.sync(ROOT, image.seq()).unwrap();
        image.write(file, 0, &[1; PAGE]).unwrap();
        let began = image.seq();
        image.write(file, 0, &[2; PAGE]).unwrap();
        image.write(file, PAGE as u64, &[3; PAGE]).unwrap();
        image.sync(file, began).unwrap();
        let first =
            |image: &Image| found(image, "a").is_some_and(|bytes| bytes[..PAGE].iter().all(|b| [1, 2].contains(b)));
        assert_eq!(fates(&image, first), (true, true));
        assert_eq!(
            fates(&image, |image| found(image, "a").is_some_and(|bytes| bytes.len() == 2 * PAGE)),
            (false, true)
        );
    }

    #[test]
    fn sectors_survive_one_by_one_also_of_a_file_with_space_allocated() {
        let mut image = Image::new();
        let file = image.create(ROOT, name("a"), false, 0o600, (0, 0)).unwrap();
        let (seq, node) = image.change_file(file).unwrap();
        node.allocate(seq, 8 * PAGE as u64, false);
        image.sync(file, image.seq()).unwrap();
        image.sync(ROOT, image.seq()).unwrap();
        image.write(file, 0, &[7; 2 * PAGE]).unwrap();
        let mixed = |image: &Image| {
            let bytes = found(image, "a").unwrap();
            let sectors: Vec<bool> =
                bytes[..2 * PAGE].chunks(SECTOR).map(|sector| sector.iter().all(|b| *b == 7)).collect();
            bytes.len() == 8 * PAGE && sectors.contains(&true) && sectors.contains(&false)
        };
        assert_eq!(fates(&image, mixed), (false, true));
    }

    #[test]
    fn a_failed_sync_dooms_what_it_covered() {
        let mut image = Image::new();
        let file = image.create(ROOT, name("a"), false, 0o600, (0, 0)).unwrap();
        image.write(file, 0, b"one").unwrap();
        image.sync(file, image.seq()).unwrap();
        image.sync(ROOT, image.seq()).unwrap();
        image.write(file, 0, b"two").unwrap();
        image.fail_sync(file);
        assert_eq!(found(&image, "a").as_deref(), Some(&b"two"[..]));
        image.sync(file, image.seq()).unwrap();
        assert_eq!(fates(&image, |image| found(image, "a").as_deref() == Some(b"one")), (true, true));
    }

    #[test]
    fn renames_are_whole_and_a_journal_keeps_their_order() {
        let mut image = Image::new();
        for at in ["new", "old"] {
            let file = image.create(ROOT, name(at), false, 0o600, (0, 0)).unwrap();
            image.write(file, 0, at.as_bytes()).unwrap();
            image.sync(file, image.seq()).unwrap();
        }
        image.sync(ROOT, image.seq()).unwrap();
        image.rename((ROOT, name("new")), (ROOT, name("old")), false).unwrap();
        image.create(ROOT, name("later"), false, 0o600, (0, 0)).unwrap();
        let whole = |image: &Image| match (found(image, "new").as_deref(), found(image, "old").as_deref()) {
            (Some(new), Some(old)) => new == b"new" && old == b"old",
            (None, Some(old)) => old == b"new",
            _ => false,
        };
        assert_eq!(fates(&image, whole), (true, true));
        let out_of_order = |image: &Image| found(image, "later").is_some() && found(image, "new").is_some();
        assert_eq!(fates(&image, out_of_order), (false, true));
        image.names = Names::Journal;
        assert_eq!(fates(&image, out_of_order), (false, false));
    }

    #[test]
    fn a_removed_file_may_be_back_until_its_directory_is_synced() {
        let mut image = Image::new();
        let file = image.create(ROOT, name("a"), false, 0o600, (0, 0)).unwrap();
        image.write(file, 0, b"one").unwrap();
        image.sync(file, image.seq()).unwrap();
        image.sync(ROOT, image.seq()).unwrap();
        image.remove(ROOT, name("a"), false).unwrap();
        image.collect();
        assert_eq!(fates(&image, |image| found(image, "a").is_some()), (false, true));
        image.sync(ROOT, image.seq()).unwrap();
        assert_eq!(fates(&image, |image| found(image, "a").is_some()), (false, false));
    }
}
