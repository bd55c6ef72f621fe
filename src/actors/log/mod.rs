//! `LogHandle`: the interface of a running log. Appends go to the `WalWriter` as messages. The handle itself reads
//! segments on the caller's thread, so that a read waits for no actor.

mod append_queue;
mod messages;
mod segment_allocator;
mod state;
mod syncer;
mod wal_writer;

use self::append_queue::Patience;
use self::messages::{AppendRecords, CloseLog, ReleaseSegment, RotateSegment, SpaceWanted, SyncWritten};
use self::segment_allocator::{Reports, SegmentAllocator};
use self::state::LogState;
use self::syncer::Syncer;
use self::wal_writer::WalWriter;
use crate::limits::{LOG_APPEND_SECONDS_MAX, LOG_QUEUED_BYTES_MAX, RECORD_BODY_BYTES_MAX};
use crate::storage::wal::progress::Ack;
use crate::storage::wal::{
    CheckedRecord, Durability, Location, NewRecord, OpenedLog, RecordKey, ScannedRecord, Segment, SegmentScan,
    WalError, check_segment, read_many, read_record, scan_segment,
};
use crate::types::{Lsn, SegmentId};
use actix::{Actor, Addr, Arbiter, ArbiterHandle, AsyncContext};
use bytes::Bytes;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

/// The threads that run the actors of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// The writer, the syncer and the allocator each have a thread.
    Own,
    /// All three run on the current arbiter, for a simulation in one thread.
    Current,
}

/// A running log of one drive. Cheap to clone, and usable from any thread; its async functions need a tokio runtime.
#[derive(Clone)]
pub struct LogHandle {
    writer: Addr<WalWriter>,
    state: Arc<LogState>,
    threads: Arc<Mutex<Vec<Arbiter>>>,
}

/// The channel for the writer's answer to an append.
type Answer = oneshot::Receiver<Result<Vec<Location>, WalError>>;

/// An append that failed.
#[derive(Debug)]
pub struct FailedAppend {
    pub error: WalError,
    /// The answer that is still to come, if there was none in time.
    pub answer: Option<LateAnswer>,
}

/// The answer to an append that was not answered in time.
#[derive(Debug)]
pub struct LateAnswer(Answer);

impl LateAnswer {
    /// Waits for the answer: until the drive answers, or the log fails or is closed.
    pub async fn locations(self) -> Result<Vec<Location>, WalError> {
        self.0.await.unwrap_or_else(|_gone| Err(closed()))
    }

    /// Returns the answer if it has come; returns it only once.
    pub fn try_locations(&mut self) -> Option<Result<Vec<Location>, WalError>> {
        match self.0.try_recv() {
            Ok(answered) => Some(answered),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Closed) => Some(Err(closed())),
        }
    }
}

/// Waits for the answer to an append, for a bounded time.
async fn answered(pending: Result<Option<Answer>, WalError>) -> Result<Vec<Location>, FailedAppend> {
    let failed = |error| FailedAppend { error, answer: None };
    let Some(mut answer) = pending.map_err(failed)? else { return Ok(Vec::new()) };
    match tokio::time::timeout(Duration::from_secs(LOG_APPEND_SECONDS_MAX), &mut answer).await {
        Ok(Ok(answered)) => answered.map_err(failed),
        Ok(Err(_gone)) => Err(failed(closed())),
        Err(_elapsed) => Err(FailedAppend { error: WalError::TimedOut, answer: Some(LateAnswer(answer)) }),
    }
}

async fn answered_in_time(answer: oneshot::Receiver<Result<(), WalError>>) -> Result<(), WalError> {
    match tokio::time::timeout(Duration::from_secs(LOG_APPEND_SECONDS_MAX), answer).await {
        Ok(Ok(answered)) => answered,
        Ok(Err(_gone)) => Err(closed()),
        Err(_elapsed) => Err(WalError::TimedOut),
    }
}

/// Counters and positions, for metrics and tests.
#[derive(Clone, Debug, Default)]
pub struct LogStatus {
    pub written: Lsn,
    pub synced: Lsn,
    pub appends: u64,
    pub writes: u64,
    pub syncs: u64,
    pub segments: Vec<SegmentId>,
    /// False if the last attempt to make a further segment found no space. The attempt is repeated until it succeeds.
    pub has_room: bool,
    pub out_of_service: Option<String>,
}

/// The result of verifying a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogCheck {
    /// The position at which to continue; `None` at the end.
    pub next: Option<Lsn>,
    pub bytes: u64,
    /// The number of positions at which a record was expected and no whole one was found.
    pub bad_spots: u64,
}

/// A segment in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    pub id: SegmentId,
    /// The size of the whole file on the drive.
    pub file_bytes: u32,
    /// True if no record is appended to it any more.
    pub sealed: bool,
}

impl OpenedLog {
    /// Starts the actors. Call it inside an actix system.
    pub fn start(self, threads: Threads) -> LogHandle {
        let mut own = Vec::new();
        let mut arbiter = || match threads {
            Threads::Own => {
                let arbiter = Arbiter::new();
                let handle: ArbiterHandle = arbiter.handle();
                own.push(arbiter);
                handle
            }
            Threads::Current => Arbiter::current(),
        };
        let (writer_arbiter, syncer_arbiter, allocator_arbiter) = (arbiter(), arbiter(), arbiter());
        let (shared, seed) = LogState::adopt(self);
        let state = Arc::clone(&shared);
        let writer = WalWriter::start_in_arbiter(&writer_arbiter, move |ctx| {
            let (address, syncer_state) = (ctx.address().recipient(), Arc::clone(&state));
            let syncer = Syncer::start_in_arbiter(&syncer_arbiter, move |_| Syncer::new(address, syncer_state));
            let address = ctx.address();
            let reports = Reports { prepared: address.clone().recipient(), freed: address.recipient() };
            let allocator_state = Arc::clone(&state);
            let free = seed.free.clone();
            let allocator = SegmentAllocator::start_in_arbiter(&allocator_arbiter, move |_| {
                SegmentAllocator::new(reports, allocator_state, free)
            });
            WalWriter::new(state, seed, syncer, allocator)
        });
        LogHandle { writer, state: shared, threads: Arc::new(Mutex::new(own)) }
    }
}

impl LogHandle {
    /// Appends records and waits until all are on stable storage, or only written if the log's durability is relaxed.
    /// Location `i` is that of record `i`. The records are queued when the future is first polled.
    pub async fn append(&self, records: Vec<NewRecord>) -> Result<Vec<Location>, WalError> {
        self.submit(records).await
    }

    /// Like `append`, but queues the records before it returns, so that the log has the records in the order of the
    /// calls.
    pub fn submit(
        &self,
        records: Vec<NewRecord>,
    ) -> impl Future<Output = Result<Vec<Location>, WalError>> + Send + use<> {
        self.enqueue(records, self.strict_ack())
    }

    /// Like `append`. An append that is not answered in time may be written later, so its answer can be waited for.
    pub async fn append_or_answer_late(&self, records: Vec<NewRecord>) -> Result<Vec<Location>, FailedAppend> {
        answered(self.try_enqueue(records, self.strict_ack(), Patience::Bounded)).await
    }

    /// Returns the size of new segments.
    pub fn segment_bytes(&self) -> u32 {
        self.state.options.segment_bytes
    }

    /// Returns the acknowledgement that an append waits for, by the log's durability.
    fn strict_ack(&self) -> Ack {
        match self.state.options.durability {
            Durability::Strict => Ack::Synced,
            Durability::Relaxed { .. } => Ack::Written,
        }
    }

    /// Like `append`, but waits for stable storage even if the log's durability is relaxed.
    pub async fn append_synced(&self, records: Vec<NewRecord>) -> Result<Vec<Location>, WalError> {
        self.enqueue(records, Ack::Synced).await
    }

    /// Waits until everything that was answered so far is on stable storage, even if the log's durability is relaxed.
    /// Starts the sync at once.
    pub async fn sync(&self) -> Result<(), WalError> {
        self.state.check_in_service()?;
        let (reply, answer) = oneshot::channel();
        self.writer.do_send(SyncWritten { reply });
        answered(Ok(Some(answer))).await.map(drop).map_err(|failed| failed.error)
    }

    /// Like `submit`, but without a time limit, for records that cannot be written elsewhere: waits for a drive that
    /// stalls and for space on a full one, and keeps the order. Refused only if the log fails or is closed. Waits for
    /// stable storage if `ack` is `Synced` or the log's durability is strict.
    pub fn submit_unbounded(
        &self,
        records: Vec<NewRecord>,
        ack: Ack,
    ) -> impl Future<Output = Result<Vec<Location>, WalError>> + Send + use<> {
        let ack = if ack == Ack::Synced { ack } else { self.strict_ack() };
        let pending = self.try_enqueue(records, ack, Patience::Endless);
        async move {
            match pending? {
                None => Ok(Vec::new()),
                Some(answer) => answer.await.unwrap_or_else(|_gone| Err(closed())),
            }
        }
    }

    /// Appends records; the future waits only until they are written. The next sync, which follows soon, makes them
    /// durable. The records are queued before this returns, and are written even if the future is dropped.
    pub fn submit_relaxed(
        &self,
        records: Vec<NewRecord>,
    ) -> impl Future<Output = Result<Vec<Location>, WalError>> + Send + use<> {
        self.enqueue(records, Ack::Written)
    }

    fn enqueue(
        &self,
        records: Vec<NewRecord>,
        ack: Ack,
    ) -> impl Future<Output = Result<Vec<Location>, WalError>> + Send + use<> {
        let pending = self.try_enqueue(records, ack, Patience::Bounded);
        async move { answered(pending).await.map_err(|failed| failed.error) }
    }

    fn try_enqueue(&self, records: Vec<NewRecord>, ack: Ack, patience: Patience) -> Result<Option<Answer>, WalError> {
        self.state.check_in_service()?;
        if records.is_empty() {
            return Ok(None);
        }
        if records.iter().any(|record| self.state.refuses_for_space(record)) {
            self.writer.do_send(SpaceWanted);
            return Err(WalError::OutOfSpace);
        }
        if let Some(record) = records.iter().find(|record| record.body.len() > RECORD_BODY_BYTES_MAX) {
            return Err(WalError::TooLarge { bytes: record.body.len() });
        }
        let bytes = records.iter().map(|record| record.body.len() as u64).sum();
        let bytes_max = match patience {
            Patience::Bounded => LOG_QUEUED_BYTES_MAX,
            Patience::Endless => u64::MAX,
        };
        let queued = self.state.queue(bytes, bytes_max).ok_or(WalError::Busy)?;
        // The checksums are computed on the caller's thread, because all appends share the writer's thread.
        let records = records.into_iter().map(CheckedRecord::new).collect();
        let (reply, answer) = oneshot::channel();
        self.writer.do_send(AppendRecords { records, ack, patience, queued, reply });
        Ok(Some(answer))
    }

    /// Reads a record and verifies its position, key and both checksums. Blocking: run on a reader thread.
    pub fn read(&self, key: RecordKey, at: Location) -> Result<Bytes, WalError> {
        let read = read_record(self.segment(at.lsn)?.as_ref(), &self.state.options, key, at);
        read.inspect_err(|error| self.state.note_shortage(error))
    }

    /// As `read` for many records, with result `i` for request `i`. Reads records that lie close together in one call.
    /// Blocking.
    pub fn read_many(&self, wanted: &[(RecordKey, Location)]) -> Vec<Result<Bytes, WalError>> {
        let read = read_many(&self.state.table(), &self.state.options, wanted);
        read.iter().filter_map(|read| read.as_ref().err()).for_each(|error| self.state.note_shortage(error));
        read
    }

    /// Visits every valid record of a sealed segment in order. Skips bad spots and counts them. Blocking.
    pub fn scan_segment(&self, id: SegmentId, visit: &mut dyn FnMut(ScannedRecord)) -> Result<SegmentScan, WalError> {
        if self.state.open_segment() == Some(id) {
            return Err(WalError::SegmentOpen { segment: id });
        }
        let scanned = scan_segment(&self.segment(Lsn::new(id, 0))?, &self.state.options, visit);
        scanned.inspect_err(|error| self.state.note_shortage(error))
    }

    /// Verifies about `bytes_max` bytes of records between `from` and `until`, below which everything must be synced.
    /// Blocking.
    pub fn check(&self, from: Lsn, until: Lsn, bytes_max: u32) -> Result<LogCheck, WalError> {
        let table = self.state.table();
        let Some(segment) = table.iter().find(|segment| segment.id() >= from.segment()) else {
            return Ok(LogCheck::default());
        };
        let id = segment.id();
        if id > until.segment() {
            return Ok(LogCheck::default());
        }
        let start = if id == from.segment() { from.offset() } else { 0 };
        let end = if id == until.segment() { until.offset() } else { u32::MAX };
        let checked = check_segment(segment, &self.state.options, start, end, bytes_max);
        let found = checked.inspect_err(|error| self.state.note_shortage(error))?;
        let behind = (id < until.segment()).then(|| Lsn::new(SegmentId(id.0 + 1), 0));
        let next = found.next.map(|offset| Lsn::new(id, offset)).or(behind);
        Ok(LogCheck { next, bytes: found.bytes, bad_spots: found.bad_spots })
    }

    /// Returns all segments in use, in order.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        let open = self.state.open_segment();
        let info = |segment: &Arc<Segment>| SegmentInfo {
            id: segment.id(),
            file_bytes: segment.file_bytes(),
            sealed: open != Some(segment.id()),
        };
        self.state.table().iter().map(info).collect()
    }

    /// Returns the released segments whose files are not retired yet: the next opening of the log may find them again.
    pub fn retiring(&self) -> Vec<SegmentId> {
        self.state.retiring().iter().copied().collect()
    }

    /// Seals the open segment, unless it is empty, so that it can be compacted and released.
    pub async fn rotate(&self) -> Result<(), WalError> {
        let (reply, answer) = oneshot::channel();
        self.ask(RotateSegment { reply }, answer).await
    }

    /// Takes a sealed segment out of the log for recycling; the future waits until no reader holds it and its file is
    /// retired. The release is queued before this returns, so that the log has the releases in the order of the calls.
    /// If the file cannot be retired, the log keeps it, and tries again before it retires the next one.
    pub fn release_segment(&self, id: SegmentId) -> impl Future<Output = Result<(), WalError>> + Send + use<> {
        let (reply, answer) = oneshot::channel();
        self.writer.do_send(ReleaseSegment { id, reply });
        answered_in_time(answer)
    }

    async fn ask<M>(&self, message: M, answer: oneshot::Receiver<Result<(), WalError>>) -> Result<(), WalError>
    where
        M: actix::Message + Send + 'static,
        M::Result: Send,
        WalWriter: actix::Handler<M>,
    {
        self.writer.do_send(message);
        answered_in_time(answer).await
    }

    /// Writes and syncs what was appended, stops the actors, ends their threads and closes all files. Closing a closed
    /// log does nothing.
    pub async fn close(&self) -> Result<(), WalError> {
        let (reply, answer) = oneshot::channel();
        let closing = self.ask(CloseLog { reply }, answer).await;
        self.end_threads(closing).await
    }

    /// Like `close`, but without a time limit: afterwards this log certainly touches the drive no more.
    pub async fn close_unbounded(&self) -> Result<(), WalError> {
        let (reply, answer) = oneshot::channel();
        self.writer.do_send(CloseLog { reply });
        let closing = answer.await.unwrap_or_else(|_gone| Err(closed()));
        self.end_threads(closing).await
    }

    async fn end_threads(&self, closing: Result<(), WalError>) -> Result<(), WalError> {
        let outcome = match closing {
            Err(WalError::OutOfService { why }) if why == CLOSED => Ok(()),
            other => other,
        };
        let arbiters = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for arbiter in &arbiters {
            arbiter.stop();
        }
        if !arbiters.is_empty() && outcome != Err(WalError::TimedOut) {
            // A thread that panicked has nothing left to end.
            let ended =
                tokio::task::spawn_blocking(move || arbiters.into_iter().for_each(|arbiter| drop(arbiter.join())))
                    .await;
            if let Err(error) = ended {
                tracing::error!(%error, "cannot wait for the threads of a log to end");
            }
        }
        outcome
    }

    pub fn status(&self) -> LogStatus {
        self.state.status()
    }

    /// Counts and logs a failed call to the drive, if it failed because the host lacks resources.
    pub fn note_shortage(&self, error: &WalError) {
        self.state.note_shortage(error);
    }

    fn segment(&self, at: Lsn) -> Result<Arc<Segment>, WalError> {
        self.state.table().get(at.segment()).ok_or(WalError::NotFound { at })
    }
}

/// The reason in the refusals of a closed log.
const CLOSED: &str = "closed";

fn closed() -> WalError {
    WalError::OutOfService { why: CLOSED.to_owned() }
}

impl fmt::Debug for LogHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogHandle").field("dir", &self.state.options.dir).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
