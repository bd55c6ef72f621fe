//! `AppendQueue`: the appends of a `WalWriter` that wait to be written, and the assignment of their records to batches.

use super::state::QueuedBytes;
use crate::storage::wal::progress::{Ack, Waiter};
use crate::storage::wal::{BatchPlan, CheckedRecord, Location, NewRecord, WalError};
use crate::types::Lsn;
use std::collections::VecDeque;
use tokio::sync::oneshot;

/// The channel for the answer to a request. The answer is dropped if the caller has stopped waiting.
pub(super) type Reply<T> = oneshot::Sender<Result<T, WalError>>;

/// The behaviour of an append while no segment can be made: the drive has no space, or the host lacks resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// The append is refused.
    Bounded,
    /// The append waits until there is one.
    Endless,
}

/// An append of which some records have no location yet.
struct Pending {
    records: VecDeque<CheckedRecord>,
    placed: Vec<Location>,
    ack: Ack,
    patience: Patience,
    reply: Reply<Vec<Location>>,
    _queued: QueuedBytes,
}

impl Pending {
    /// Refuses the append. If some of its records are placed, they may be written all the same, so it is not said that
    /// nothing was appended.
    fn refuse(self, refusal: &WalError) {
        let refusal = if refusal.is_shortage() && !self.placed.is_empty() { &WalError::TimedOut } else { refusal };
        drop(self.reply.send(Err(refusal.clone())));
    }
}

/// An append of which all records have a location, or a request to sync what is written.
pub(super) struct Placed {
    locations: Vec<Location>,
    reply: Reply<Vec<Location>>,
}

impl Placed {
    /// Makes a request to sync, which has no records.
    pub(super) fn without_records(reply: Reply<Vec<Location>>) -> Self {
        Self { locations: Vec::new(), reply }
    }

    pub(super) fn answer(self) {
        drop(self.reply.send(Ok(self.locations)));
    }

    pub(super) fn refuse(self, refusal: WalError) {
        drop(self.reply.send(Err(refusal)));
    }
}

#[derive(Default)]
pub(super) struct AppendQueue {
    appends: VecDeque<Pending>,
}

impl AppendQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.appends.is_empty()
    }

    pub(super) fn push(
        &mut self,
        records: VecDeque<CheckedRecord>,
        ack: Ack,
        patience: Patience,
        queued: QueuedBytes,
        reply: Reply<Vec<Location>>,
    ) {
        let placed = Vec::with_capacity(records.len());
        self.appends.push_back(Pending { records, placed, ack, patience, reply, _queued: queued });
    }

    /// Moves records into the batch, in order, until it is full. Returns the appends whose records are all placed.
    pub(super) fn fill(&mut self, plan: &mut BatchPlan) -> Vec<Waiter<Placed>> {
        let mut waiters = Vec::new();
        while let Some(pending) = self.appends.front_mut() {
            while let Some(location) = pending.records.front().and_then(|record| plan.push(record)) {
                pending.placed.push(location);
                pending.records.pop_front();
            }
            if !pending.records.is_empty() {
                break;
            }
            if let Some(Pending { placed, ack, reply, .. }) = self.appends.pop_front()
                && let Some(last) = placed.last()
            {
                // The position just behind the record's first byte lies inside this batch, so it is covered with the
                // batch.
                let through = Lsn(last.lsn.0 + 1);
                waiters.push(Waiter { through, ack, token: Placed { locations: placed, reply } });
            }
        }
        waiters
    }

    /// Refuses the appends of which `refuses` rejects a record, unless some of their records are placed already.
    pub(super) fn refuse_unplaced(&mut self, refusal: &WalError, refuses: impl Fn(&NewRecord) -> bool) {
        let wanted = |pending: &Pending| {
            !pending.placed.is_empty() || !pending.records.iter().any(|record| refuses(record.record()))
        };
        for pending in std::mem::take(&mut self.appends) {
            if wanted(&pending) {
                self.appends.push_back(pending);
            } else {
                drop(pending.reply.send(Err(refusal.clone())));
            }
        }
    }

    /// Refuses all appends that are not patient; the others keep their order.
    pub(super) fn refuse_impatient(&mut self, refusal: &WalError) {
        for pending in std::mem::take(&mut self.appends) {
            match pending.patience {
                Patience::Endless => self.appends.push_back(pending),
                Patience::Bounded => pending.refuse(refusal),
            }
        }
    }

    /// Refuses all appends.
    pub(super) fn refuse(&mut self, refusal: &WalError) {
        self.appends.drain(..).for_each(|pending| pending.refuse(refusal));
    }
}
