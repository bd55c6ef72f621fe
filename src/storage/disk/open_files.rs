//! `OpenFiles`: a bounded set of files that stay open between uses. Those that were not used for longest are closed
//! first. A file in use stays open all the same, as its user holds it.

use super::DiskFile;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The number of files that several sets keep open together. Each set has an even share of it. Cheap to clone; all
/// clones are one budget.
#[derive(Clone, Debug)]
pub struct OpenFilesBudget(Arc<Budget>);

#[derive(Debug)]
struct Budget {
    files_max: usize,
    /// The number of sets that share the budget.
    sets: AtomicUsize,
}

impl OpenFilesBudget {
    pub fn new(files_max: usize) -> Self {
        Self(Arc::new(Budget { files_max, sets: AtomicUsize::new(0) }))
    }

    /// Makes another set. The shares of the others shrink at once; what they keep beyond that is closed with their next
    /// file.
    pub fn share(&self) -> OpenFiles {
        self.0.sets.fetch_add(1, Ordering::Relaxed);
        OpenFiles(Arc::new(Set { budget: self.clone(), kept: Mutex::default(), places: AtomicU64::new(0) }))
    }

    /// Returns the number of files that one set may keep: at least the one that was opened last.
    fn files_of_set_max(&self) -> usize {
        (self.0.files_max / self.0.sets.load(Ordering::Relaxed).max(1)).max(1)
    }
}

/// A bounded set of files that stay open. Cheap to clone; all clones are one set.
#[derive(Clone, Debug)]
pub struct OpenFiles(Arc<Set>);

#[derive(Debug)]
struct Set {
    budget: OpenFilesBudget,
    kept: Mutex<Kept>,
    /// The number of places that were made.
    places: AtomicU64,
}

impl Drop for Set {
    fn drop(&mut self) {
        self.budget.0.sets.fetch_sub(1, Ordering::Relaxed);
    }
}

impl OpenFiles {
    /// Makes a set with a budget of its own.
    pub fn new(files_max: usize) -> Self {
        OpenFilesBudget::new(files_max).share()
    }

    /// Makes the place of another file.
    pub fn place(&self) -> FilePlace {
        let number = self.0.places.fetch_add(1, Ordering::Relaxed);
        FilePlace { files: self.clone(), number }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one file in a set. The file is closed with its place, unless it is in use.
pub struct FilePlace {
    files: OpenFiles,
    number: u64,
}

impl FilePlace {
    /// Returns the file, and opens it if it is not kept. Users of other files do not wait for the opening; two users of
    /// one file may open it at once, and then share the first.
    pub fn file(&self, open: impl FnOnce() -> io::Result<Arc<dyn DiskFile>>) -> io::Result<Arc<dyn DiskFile>> {
        let kept = self.files.kept().take_up(self.number);
        if let Some(file) = kept {
            return Ok(file);
        }
        let opened = open()?;
        let files_max = self.files.0.budget.files_of_set_max();
        let (file, superfluous) = self.files.kept().add(self.number, opened, files_max);
        // Closed without the lock.
        drop(superfluous);
        Ok(file)
    }

    /// Keeps a file that is open already, in the place of the one that was kept here.
    pub fn keep(&self, file: Arc<dyn DiskFile>) {
        let files_max = self.files.0.budget.files_of_set_max();
        let mut kept = self.files.kept();
        let former = kept.remove(self.number);
        let (_, superfluous) = kept.add(self.number, file, files_max);
        drop(kept);
        drop((former, superfluous));
    }
}

impl Drop for FilePlace {
    fn drop(&mut self) {
        let former = self.files.kept().remove(self.number);
        drop(former);
    }
}

impl fmt::Debug for FilePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FilePlace").field("number", &self.number).finish_non_exhaustive()
    }
}

/// The files of a set, by the numbers of their places.
#[derive(Debug, Default)]
struct Kept {
    /// Each file with the number of its last use.
    files: HashMap<u64, (u64, Arc<dyn DiskFile>)>,
    /// The places by the number of their last use.
    by_use: BTreeMap<u64, u64>,
    uses: u64,
}

impl Kept {
    /// Returns a file that is kept, which is then the one used last.
    fn take_up(&mut self, place: u64) -> Option<Arc<dyn DiskFile>> {
        let (used, file) = self.files.get_mut(&place)?;
        let former = std::mem::replace(used, self.uses + 1);
        self.by_use.remove(&former);
        self.uses += 1;
        self.by_use.insert(self.uses, place);
        Some(Arc::clone(file))
    }

    /// Adds a file, unless its place has one already. Returns the file of the place, and those that are not kept any
    /// more.
    fn add(
        &mut self,
        place: u64,
        file: Arc<dyn DiskFile>,
        files_max: usize,
    ) -> (Arc<dyn DiskFile>, Vec<Arc<dyn DiskFile>>) {
        if let Some(kept) = self.take_up(place) {
            return (kept, vec![file]);
        }
        self.uses += 1;
        self.by_use.insert(self.uses, place);
        self.files.insert(place, (self.uses, Arc::clone(&file)));
        let mut superfluous = Vec::new();
        while self.files.len() > files_max
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            superfluous.extend(self.files.remove(&oldest).map(|(_, file)| file));
        }
        assert_eq!(self.files.len(), self.by_use.len(), "each file has one last use");
        (file, superfluous)
    }

    fn remove(&mut self, place: u64) -> Option<Arc<dyn DiskFile>> {
        let (used, file) = self.files.remove(&place)?;
        self.by_use.remove(&used);
        Some(file)
    }
}

#[cfg(test)]
mod tests {
    use super::{FilePlace, OpenFiles, OpenFilesBudget};
    use crate::storage::disk::sim::SimDisk;
    use crate::storage::disk::{Caching, Disk, DiskFile, OpenMode};
    use std::path::PathBuf;
    use std::sync::{Arc, Weak};

    /// Places in a set, each with a file on a simulated disk.
    struct Files {
        disk: SimDisk,
        places: Vec<FilePlace>,
        /// The file that each place gave last.
        given: Vec<Weak<dyn DiskFile>>,
    }

    fn path(number: usize) -> PathBuf {
        PathBuf::from(format!("/{number}"))
    }

    impl Files {
        fn new(set: &OpenFiles, count: usize) -> Self {
            let disk = SimDisk::new(1 << 20);
            let create = |number| disk.open(&path(number), OpenMode::CreateNew, Caching::Cached).expect("created");
            let given = (0..count).map(|number| Arc::downgrade(&create(number))).collect();
            Self { places: (0..count).map(|_| set.place()).collect(), given, disk }
        }

        fn used(&mut self, number: usize) -> Arc<dyn DiskFile> {
            let disk = &self.disk;
            let file = self.places[number].file(|| disk.open(&path(number), OpenMode::Read, Caching::Cached));
            let file = file.expect("opened");
            self.given[number] = Arc::downgrade(&file);
            file
        }

        /// Returns the numbers of the files that are open.
        fn open(&self) -> Vec<usize> {
            (0..self.given.len()).filter(|&number| self.given[number].strong_count() > 0).collect()
        }
    }

    #[test]
    fn of_the_files_that_are_kept_open_the_least_recently_used_are_closed_first() {
        let mut files = Files::new(&OpenFiles::new(3), 5);
        assert!(files.open().is_empty());
        [0, 1, 2].into_iter().for_each(|number| drop(files.used(number)));
        assert_eq!(files.open(), [0, 1, 2]);
        let opens = files.disk.operations().opens;
        drop(files.used(0));
        assert_eq!(files.disk.operations().opens, opens, "a file that is kept is not opened again");
        drop(files.used(3));
        assert_eq!(files.open(), [0, 2, 3]);
        drop(files.used(4));
        drop(files.used(1));
        assert_eq!(files.open(), [1, 3, 4]);
        assert_eq!(files.disk.operations().opens, opens + 3);
    }

    #[test]
    fn a_file_in_use_stays_open_beyond_the_bound() {
        let mut files = Files::new(&OpenFiles::new(1), 3);
        let used = files.used(0);
        drop(files.used(1));
        drop(files.used(2));
        assert_eq!(files.open(), [0, 2]);
        used.len().expect("it is still open");
        drop(used);
        assert_eq!(files.open(), [2]);
    }

    #[test]
    fn a_file_is_closed_with_its_place() {
        let set = OpenFiles::new(8);
        let mut files = Files::new(&set, 2);
        let used = files.used(0);
        drop(files.used(1));
        files.places.clear();
        assert_eq!(files.open(), [0]);
        drop(used);
        assert!(files.open().is_empty());
        let kept = set.kept();
        assert!(kept.files.is_empty() && kept.by_use.is_empty());
    }

    #[test]
    fn a_file_that_takes_the_place_of_another_closes_it() {
        let mut files = Files::new(&OpenFiles::new(8), 1);
        let former = Arc::downgrade(&files.used(0));
        let next = files.disk.open(&path(0), OpenMode::Write, Caching::Cached).expect("opened");
        files.places[0].keep(Arc::clone(&next));
        assert_eq!(former.strong_count(), 0);
        assert!(Arc::ptr_eq(&files.used(0), &next));
    }

    #[test]
    fn sets_of_one_budget_have_even_shares_of_it() {
        let budget = OpenFilesBudget::new(4);
        let first = budget.share();
        let mut files = Files::new(&first, 5);
        [0, 1, 2, 3].into_iter().for_each(|number| drop(files.used(number)));
        assert_eq!(files.open(), [0, 1, 2, 3]);
        let second = budget.share();
        drop(files.used(4));
        assert_eq!(files.open(), [3, 4]);
        drop(second);
        [0, 1, 2].into_iter().for_each(|number| drop(files.used(number)));
        assert_eq!(files.open(), [0, 1, 2, 4]);
    }
}
