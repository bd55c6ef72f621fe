//! The list of a database's tables, in a file beside them. If a table's directory is gone, fjall creates the table
//! anew, empty; the list distinguishes such a loss from a table that never existed. It is written when all tables are
//! durable and before the first commit, so that a database without a list was never finished and holds nothing.
//!
//! The file `tables`: magic with version (8) · crc32c of the rest, little-endian (4) · the names, a line each.

use crate::storage::disk::{Disk, read_file, replace_file};
use crate::storage::kv::{KvError, KvResult};
use std::collections::BTreeSet;
use std::io;
use std::path::Path;

const FILE: &str = "tables";
const MAGIC: &[u8; 8] = b"SHRDTBL1";
const HEAD_BYTES: usize = 12;

pub(super) type Names = BTreeSet<String>;

/// Reads the list; `None` if there is none.
pub(super) fn read(disk: &dyn Disk, database: &Path) -> KvResult<Option<Names>> {
    let file = database.join(FILE);
    let failed = |cause: String| KvError::new("read the list of tables", format!("{}: {cause}", file.display()));
    let io_failed = |error: &io::Error| KvError::io("read the list of tables", error);
    let bytes = match read_file(disk, &file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(KvError { cause: format!("{}: {error}", file.display()), ..io_failed(&error) }),
    };
    decode(&bytes).map(Some).ok_or_else(|| failed("it is damaged, or of a later version".to_owned()))
}

pub(super) fn write(disk: &dyn Disk, database: &Path, names: &Names) -> KvResult<()> {
    let written = replace_file(disk, &database.join(FILE), &encode(names));
    written.map_err(|error| KvError::io("write the list of tables", &error))
}

fn encode(names: &Names) -> Vec<u8> {
    let lines: String = names.iter().map(|name| format!("{name}\n")).collect();
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&crc32c::crc32c(lines.as_bytes()).to_le_bytes());
    bytes.extend_from_slice(lines.as_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Names> {
    let (head, lines) = bytes.split_at_checked(HEAD_BYTES)?;
    let sum = crc32c::crc32c(lines).to_le_bytes();
    let whole = head.starts_with(MAGIC) && head.ends_with(&sum);
    whole.then(|| std::str::from_utf8(lines).ok()).flatten().map(|lines| lines.lines().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::{Names, decode, encode};

    #[test]
    fn a_list_of_tables_round_trips_and_is_refused_with_a_byte_changed() {
        let names: Names = ["chunks", "places"].map(str::to_owned).into();
        let bytes = encode(&names);
        assert_eq!(decode(&bytes), Some(names));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!((at, decode(&changed)), (at, None));
            assert_eq!(decode(&bytes[..at]), None);
        }
    }
}
