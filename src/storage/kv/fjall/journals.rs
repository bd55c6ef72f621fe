//! The journals of a database, before it is opened: there must be one, and the content of the last one is made durable.
//! fjall takes what it finds there for durable, but a process that ended, or whose sync failed, may have left content
//! that is not.

use crate::storage::buffer::BufferPool;
use crate::storage::disk::{Caching, Disk, DiskFile, OpenMode, rewrite_and_sync};
use crate::storage::kv::{KvError, KvResult};
use std::io;
use std::path::{Path, PathBuf};

const SUFFIX: &str = ".jnl";
/// The bytes read at once in the search for the end of a journal, which fjall allocates long and full of zeros.
const PIECE: usize = 1 << 20;
const ZEROS: &[u8] = &[0; PIECE];

/// Writes the last journal again and syncs it. Those before it were synced when the next one was begun.
pub(super) fn make_durable(disk: &dyn Disk, database: &Path, pool: &BufferPool) -> KvResult<()> {
    let Some(last) = last(disk, database).map_err(|error| KvError::io("open", &error))? else {
        return Err(KvError::new("open", format!("{} has no journal", database.display())));
    };
    let written = disk.open(&last, OpenMode::Write, Caching::Cached).and_then(|file| {
        let end = content_end(&*file, pool)?;
        rewrite_and_sync(&*file, 0..end, pool)
    });
    written.map_err(|error| {
        let cause = format!("{}: {error}", last.display());
        KvError { cause, ..KvError::io("open", &error) }
    })
}

fn last(disk: &dyn Disk, database: &Path) -> io::Result<Option<PathBuf>> {
    let number = |name: &String| name.strip_suffix(SUFFIX)?.parse::<u64>().ok();
    let numbers = disk.list(database)?.iter().filter_map(number).max();
    Ok(numbers.map(|number| database.join(format!("{number}{SUFFIX}"))))
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
    use super::content_end;
    use crate::storage::buffer::BufferPool;
    use crate::storage::disk::sim::SimDisk;
    use crate::storage::disk::{Caching, Disk, OpenMode};
    use std::io::IoSlice;
    use std::path::Path;

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
