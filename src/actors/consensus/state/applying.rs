//! Applies entries of the log to the tables, and translates failures.

use crate::storage::kv::{KvError, KvRead};
use crate::storage::meta::codec::decode_entry;
use crate::storage::meta::command::{Change, Reply};
use crate::storage::meta::{ApplyEntry, MetaTables};
use crate::storage::raft_log::{AppliedAt, LogEntry, Payload, Point, TablesAt};
use std::sync::Arc;

/// The section of the runbook on entries that cannot be applied.
const INAPPLICABLE: &str = "docs/how-to/runbook.md, \"An entry of the metadata log cannot be applied\"";

/// The reason for which entries were not applied.
pub enum ApplyError {
    /// The tables failed and have to be rebuilt. `of_store`: true if the store beneath them or its drive failed, or the
    /// host lacked resources; false if an entry cannot be applied to the rows that are there.
    Tables { error: KvError, of_store: bool },
    /// This program cannot decode an entry, or the entry does not follow the applied ones. Going on would make this
    /// replica differ from the others.
    Entry(String),
}

/// The result of applying entries.
pub struct Done {
    pub applied: AppliedAt,
    /// The position and chain after each entry.
    pub points: Vec<Point>,
    pub replies: Vec<Vec<Reply>>,
    /// The last entry that asked for a digest of the tables, and a view of the tables after it.
    pub digest_of: Option<(Point, Arc<dyn KvRead>)>,
}

/// Applies the entries in one commit. An entry that asks for a digest ends a commit, since the digest is of the tables
/// after that entry. Blocking.
pub fn apply(tables: &MetaTables, mut at: TablesAt, entries: &[LogEntry]) -> Result<Done, ApplyError> {
    let (mut batch, mut points) = (Vec::with_capacity(entries.len()), Vec::with_capacity(entries.len()));
    let (mut replies, mut digest_of) = (Vec::with_capacity(entries.len()), None);
    let failed = |error: KvError| {
        let of_store = error.lacks_resources || tables.failure().is_of_store();
        ApplyError::Tables { error, of_store }
    };
    for entry in entries {
        let commands = match &entry.payload {
            Payload::Commands(bytes) => {
                decode_entry(bytes).map_err(|error| ApplyError::Entry(format!("entry {}: {error}", entry.at.index)))?
            }
            Payload::Blank | Payload::Members(_) => Vec::new(),
        };
        at.applied.follow(entry).map_err(|error| ApplyError::Entry(error.to_string()))?;
        points.extend(at.applied.point());
        let wants_digest = commands.iter().any(|command| command.change == Change::ComputeDigest);
        batch.push(ApplyEntry { index: entry.at.index, commands });
        if wants_digest {
            let applied = tables.apply(std::mem::take(&mut batch), at.encode().into());
            replies.append(&mut applied.map_err(failed)?);
            digest_of = at.applied.point().map(|point| (point, tables.kv().snapshot()));
        }
    }
    if !batch.is_empty() {
        replies.append(&mut tables.apply(batch, at.encode().into()).map_err(failed)?);
    }
    Ok(Done { applied: at.applied, points, replies, digest_of })
}

/// Returns the message for an entry that cannot be applied, not even to tables that were rebuilt for it.
pub fn inapplicable(index: u64, error: &KvError) -> String {
    format!(
        "the entries of the metadata log from {index} on cannot be applied, not even to rebuilt tables ({error}): the program has a defect, on this host or on all; nothing is lost; report it, and start the host with a version in which it is fixed: {INAPPLICABLE}"
    )
}

#[cfg(test)]
mod tests {
    use super::{ApplyError, apply};
    use crate::storage::kv::memory::MemoryKv;
    use crate::storage::kv::{Batch, Kv, KvError, KvRead, KvResult, PairIter, Table};
    use crate::storage::meta::codec::{encode_command, encode_entry};
    use crate::storage::meta::command::{Change, Command, CreateBucket};
    use crate::storage::meta::snapshot::TablesHasher;
    use crate::storage::meta::tables::TABLES;
    use crate::storage::meta::{MetaTables, samples};
    use crate::storage::raft_log::{LogEntry, Payload, Position, TablesAt};
    use crate::types::UnixMs;
    use bytes::Bytes;
    use std::ops::Bound;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// Tables that cannot be read for want of file descriptors while `lacks` is true.
    #[derive(Debug)]
    struct Lacking {
        kv: MemoryKv,
        lacks: AtomicBool,
    }

    impl KvRead for Lacking {
        fn get(&self, table: Table, key: &[u8]) -> KvResult<Option<Bytes>> {
            if self.lacks.load(Ordering::Relaxed) {
                return Err(KvError { lacks_resources: true, ..KvError::new("look up a key", "too many open files") });
            }
            self.kv.get(table, key)
        }

        fn range(&self, table: Table, from: Bound<&[u8]>, to: Bound<&[u8]>) -> PairIter<'_> {
            self.kv.range(table, from, to)
        }
    }

    impl Kv for Lacking {
        fn snapshot(&self) -> Arc<dyn KvRead> {
            self.kv.snapshot()
        }

        fn commit(&self, batch: Batch) -> KvResult<()> {
            self.kv.commit(batch)
        }

        fn persist(&self) -> KvResult<()> {
            self.kv.persist()
        }

        fn disk_bytes(&self) -> u64 {
            self.kv.disk_bytes()
        }
    }

    fn bucket(name: &str) -> Change {
        Change::CreateBucket(Box::new(CreateBucket { name: name.to_owned(), ..samples::create_bucket() }))
    }

    fn entries(changes: &[Change]) -> Vec<LogEntry> {
        let command = |change: &Change| encode_command(&Command::new(UnixMs(7), change.clone()));
        let entry = |(index, change)| LogEntry {
            at: Position { term: 1, node: 1, index },
            payload: Payload::Commands(encode_entry(&[command(change)])),
        };
        (0..).zip(changes).map(entry).collect()
    }

    #[test]
    fn a_want_of_descriptors_or_memory_is_not_the_fault_of_an_entry() {
        let kv = Arc::new(Lacking { kv: MemoryKv::new(TABLES), lacks: AtomicBool::new(false) });
        let tables = MetaTables::open(Arc::clone(&kv) as Arc<dyn Kv>).expect("empty tables");
        let entries = entries(&[bucket("b")]);
        kv.lacks.store(true, Ordering::Relaxed);
        let failed = apply(&tables, TablesAt::default(), &entries);
        assert!(matches!(failed, Err(ApplyError::Tables { of_store: true, .. })));
        kv.lacks.store(false, Ordering::Relaxed);
        assert!(apply(&tables, TablesAt::default(), &entries).is_ok());
    }

    #[test]
    fn a_digest_is_of_the_tables_after_the_entry_that_asks_for_it() {
        let all = entries(&[bucket("before"), Change::ComputeDigest, bucket("after")]);
        let digest_of = |entries: &[LogEntry], replies: usize| {
            let tables = MetaTables::open(Arc::new(MemoryKv::new(TABLES))).expect("empty tables");
            let done = apply(&tables, TablesAt::default(), entries).unwrap_or_else(|_| panic!("applied"));
            assert_eq!((done.replies.len(), done.points.len()), (replies, replies));
            let (point, view) = done.digest_of.expect("a digest was asked for");
            assert_eq!(point, done.points[1]);
            TablesHasher::new(view).advance(usize::MAX).expect("readable").expect("at once")
        };
        assert_eq!(digest_of(&all, 3), digest_of(&all[..2], 2));
        let other = entries(&[bucket("other"), Change::ComputeDigest]);
        assert_ne!(digest_of(&all, 3), digest_of(&other, 2));
    }
}
