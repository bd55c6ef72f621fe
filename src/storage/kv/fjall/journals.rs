//! The journals of a database, before it is opened: there must be one, and the content of the last one that has any is
//! made durable. fjall takes what it finds there for durable, but a process that ended, or whose sync failed, may have
//! left content that is not.

use crate::storage::buffer::BufferPool;
use crate::storage::disk::{Caching, Disk, DiskFile, OpenMode, rewrite_and_sync};
use crate::storage::kv::{KvError, KvResult};
use std::io;
use std::path::{Path, PathBuf};

const SUFFIX: &str = ".jnl";
/// The bytes read at once in the search for the end of a journal, which fjall allocates long and full of zeros.
const PIECE: usize = 1 << 20;
const ZEROS: &[u8] = &[0; PIECE];

/// Writes the last journal that has content again and syncs it, and empty ones behind it. Those before it were synced
/// when the next one got its first content: if fjall fails to begin a journal, it leaves an empty one, and may write to
/// the one before it.
pub(super) fn make_durable(disk: &dyn Disk, database: &Path, pool: &BufferPool) -> KvResult<()> {
    let journals = newest_first(disk, database).map_err(|error| KvError::io("open", &error))?;
    if journals.is_empty() {
        return Err(KvError::new("open", format!("{} has no journal", database.display())));
    }
    for journal in journals {
        let rewritten = rewrite(disk, &journal, pool).map_err(|error| {
            let cause = format!("{}: {error}", journal.display());
            KvError { cause, ..KvError::io("open", &error) }
        });
        if rewritten? > 0 {
            break;
        }
    }
    Ok(())
}

/// Writes a journal again and syncs it. Returns the bytes of its content.
fn rewrite(disk: &dyn Disk, journal: &Path, pool: &BufferPool) -> io::Result<u64> {
    let file = disk.open(journal, OpenMode::Write, Caching::Cached)?;
    let end = content_end(&*file, pool)?;
    rewrite_and_sync(&*file, 0..end, pool)?;
    Ok(end)
}

fn newest_first(disk: &dyn Disk, database: &Path) -> io::Result<Vec<PathBuf>> {
    let number = |name: &String| name.strip_suffix(SUFFIX)?.parse::<u64>().ok();
    let mut numbers: Vec<u64> = disk.list(database)?.iter().filter_map(number).collect();
    numbers.sort_unstable();
    Ok(numbers.into_iter().rev().map(|number| database.join(format!("{number}{SUFFIX}"))).collect())
}

/// Returns the offset from which on there are only zeros.
fn content_end(file: &dyn DiskFile, pool: &BufferPool) -> io::Result<u64> {
    let mut end = file.len()?;
    let mut buffer = pool.take(PIECE);
    while end > 0 {
        let start = (end - 1) / PIECE as u64 * PIECE as u64;
        let piece = &mut buffer[..(end - start) as usize];
        file.read_exact_at(piece, start)?;
        if *piece != ZEROS[..piece.len()] {
            let last = piece.iter().rposition(|&byte| byte != 0).unwrap_or_default();
            return Ok(start + last as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::{content_end, make_durable};
    use crate::storage::buffer::BufferPool;
    use crate::storage::disk::sim::SimDisk;
    use crate::storage::disk::{Caching, Disk, DiskFile, OpenMode, read_file};
    use std::io::IoSlice;
    use std::path::Path;
    use std::sync::Arc;

    /// fjall leaves such an empty journal if it fails to begin one, and a commit may follow in the one before it.
    #[test]
    fn content_of_a_journal_before_an_empty_one_is_made_durable() {
        let (disk, pool) = (SimDisk::new(16 << 20), BufferPool::new(0));
        let dir = Path::new("/database");
        disk.create_dir_all(dir).expect("made");
        let journal = |name: &str| -> Arc<dyn DiskFile> {
            let file = disk.open(&dir.join(name), OpenMode::CreateNew, Caching::Cached).expect("created");
            file.allocate(2 << 20).expect("allocated");
            file
        };
        let files = ["8.jnl", "9.jnl", "10.jnl"].map(journal);
        disk.sync_dir(Path::new("/")).and_then(|()| disk.sync_dir(dir)).expect("synced");
        files.iter().for_each(|file| file.sync_data().expect("synced"));
        files[1].write_all_at(&[IoSlice::new(b"commit")], 5000).expect("written");
        make_durable(&disk, dir, &pool).expect("rewritten");
        let disk = disk.power_cut_to_what_was_synced(1);
        let content = read_file(&disk, &dir.join("9.jnl")).expect("read");
        assert_eq!(&content[5000..5006], b"commit");
    }

    #[test]
    fn the_content_of_a_journal_ends_with_its_last_byte_that_is_not_zero() {
        let (disk, pool) = (SimDisk::new(16 << 20), BufferPool::new(0));
        let file = disk.open(Path::new("/1.jnl"), OpenMode::CreateNew, Caching::Cached).expect("created");
        assert_eq!(content_end(&*file, &pool).expect("read"), 0);
        file.allocate((3 << 20) + 17).expect("allocated");
        assert_eq!(content_end(&*file, &pool).expect("read"), 0);
        for at in [0, 5000, 1 << 20, (1 << 20) + 1, (3 << 20) + 16] {
            file.write_all_at(&[IoSlice::new(b"x")], at).expect("written");
            assert_eq!(content_end(&*file, &pool).expect("read"), at + 1);
        }
    }
}
