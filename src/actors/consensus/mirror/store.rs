//! openraft's log store over the mirrored copies. Appended entries can be read from memory at once; an append is
//! answered when every live copy has it on stable storage. The store numbers the operations and hands them to the
//! mirror in order. It waits for them only where openraft requires it (votes and truncations).

use crate::actors::consensus::contradiction;
use crate::actors::consensus::raft_types::{
    Entry, LogId, MetaGroup, Vote, ballot_of, entry_of, log_entry_of, log_id_of, position_of, vote_of,
};
use crate::actors::consensus::shared::{Shared, is_damaged_entry, locked, read_entries};
use crate::actors::consensus::to_mirror::{Done, ToMirror};
use crate::limits::RAFT_READ_BYTES_MAX;
use crate::storage::raft_log::{LogEntry, LogRecord, Payload};
use crate::storage::wal::progress::Ack;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader};
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds, RangeInclusive};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// The log of one replica. Clones are handles to the same log.
#[derive(Clone, Debug)]
pub struct LogStore {
    shared: Arc<Shared>,
    mirror: mpsc::UnboundedSender<ToMirror>,
}

impl LogStore {
    pub fn new(shared: Arc<Shared>, mirror: mpsc::UnboundedSender<ToMirror>) -> Self {
        Self { shared, mirror }
    }

    fn send(&self, records: &[LogRecord], done: Done) -> io::Result<()> {
        let sequence = records.first().map_or(0, LogRecord::sequence);
        let message = ToMirror::Write {
            sequence,
            indexes: records.iter().map(LogRecord::index).collect(),
            records: records.iter().map(LogRecord::to_wal).collect(),
            ack: if records.iter().any(LogRecord::is_always_synced) { Ack::Synced } else { Ack::Written },
            done,
        };
        self.mirror.send(message).map_err(|_| io::Error::other("the metadata log is closed"))
    }

    async fn send_and_wait(&self, record: LogRecord) -> io::Result<()> {
        let (done, answer) = oneshot::channel();
        self.send(&[record], Done::Reply(done))?;
        answer.await.map_err(|_| io::Error::other("the metadata log is closed"))?
    }

    /// Returns the entries of `from..to` that the log has, from memory or from the copies.
    pub async fn read(&self, from: u64, to: u64) -> io::Result<Vec<LogEntry>> {
        read_entries(&self.shared, from, to).await
    }

    /// Reads entries for openraft, which stops for an error. If one is damaged on every copy, the replica is given up.
    async fn read_needed(&self, from: u64, to: u64) -> io::Result<Vec<Entry>> {
        let read = self.read(from, to).await.inspect_err(|error| {
            if is_damaged_entry(error) {
                self.shared.give_up(error.to_string());
            }
        });
        read?.into_iter().map(entry_of).collect()
    }
}

fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let from = match range.start_bound() {
        Bound::Included(from) => *from,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(to) => *to,
        Bound::Unbounded => u64::MAX,
    };
    (from, to)
}

impl RaftLogReader<MetaGroup> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        let (from, to) = bounds(&range);
        self.read_needed(from, to).await
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.shared.index().standing().ballot.map(vote_of))
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        let end = self.shared.index().run_end(start, end, RAFT_READ_BYTES_MAX);
        self.read_needed(start, end).await
    }

    /// Returns the id of each leader's last entry in the range, from the index in memory.
    async fn get_key_log_ids(&mut self, range: RangeInclusive<LogId>) -> Result<Vec<LogId>, io::Error> {
        let index = self.shared.index();
        let mut keys: Vec<LogId> = Vec::new();
        for at in range.start().index..=range.end().index {
            let at = index.position_of(at).ok_or_else(|| io::Error::other(format!("the log has no entry {at}")))?;
            let id = log_id_of(at);
            match keys.last_mut() {
                Some(last) if last.leader_id == id.leader_id => *last = id,
                _ => keys.push(id),
            }
        }
        Ok(keys)
    }
}

impl RaftLogStorage<MetaGroup> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<MetaGroup>, io::Error> {
        let index = self.shared.index();
        Ok(LogState {
            last_purged_log_id: index.standing().purged.map(log_id_of),
            last_log_id: index.last().map(log_id_of),
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        if vote.leader_id.node_id != self.shared.host {
            self.shared.sole_voter.note_members();
        }
        let ballot = ballot_of(vote);
        let record = self.shared.index().set_ballot(ballot);
        self.send_and_wait(record).await?;
        *locked(&self.shared.durable_ballot) = Some(ballot);
        Ok(())
    }

    /// Keeps the committed position in memory; the next entry carries it to the drives. If it is lost, Raft finds it
    /// again.
    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        self.shared.index().set_committed(committed.map(position_of));
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.shared.index().standing().committed.map(log_id_of))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<MetaGroup>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<LogEntry> = entries.into_iter().map(log_entry_of).collect();
        if entries.is_empty() {
            callback.io_completed(Ok(()));
            return Ok(());
        }
        if entries.iter().any(|entry| matches!(entry.payload, Payload::Members(_))) {
            self.shared.sole_voter.note_members();
        }
        let records = self.shared.index().append(entries);
        self.send(&records, Done::Flushed(callback))
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        let after = last_log_id.map(|id| id.index);
        contradiction::check_truncation(&self.shared, after)?;
        self.shared.sole_voter.note_members();
        let record = self.shared.index().truncate(after);
        self.send_and_wait(record).await
    }

    /// Purges entries. Does not wait until that is durable: the segments are kept until it is.
    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        let record = self.shared.index().purge(position_of(log_id));
        self.send(&[record], Done::Release)
    }
}
