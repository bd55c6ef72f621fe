//! `Executor`: runs the work that a request must not do on its worker thread: hashing and encoding on a fixed set of
//! threads, and clean-up in background tasks. A simulation supplies an executor that does all of it in place.

use crate::storage::checksum::{LANES, Md5};
use futures::future::BoxFuture;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// A computation for a request: an MD5 to update, and then the rest.
pub trait Work: Send + 'static {
    type Output: Send + 'static;

    /// Returns the MD5 to update first, if there is one. The MD5s of several requests are computed in parallel lanes.
    fn md5_update(&mut self) -> Option<Md5Update<'_>>;

    /// Does the rest of the work, after the MD5 was updated.
    fn finish(self) -> Self::Output;
}

/// An MD5, and the pieces to update it with, in order.
pub type Md5Update<'a> = (&'a mut Md5, Vec<&'a [u8]>);

/// A `Work` with its answer channel, boxed for the queue of an executor.
pub trait Job: Send {
    fn md5_update(&mut self) -> Option<Md5Update<'_>>;
    fn finish(self: Box<Self>);
}

pub trait Executor: Send + Sync + fmt::Debug + 'static {
    /// Runs a job, on another thread or in place. The jobs of one caller may be reordered.
    fn compute(&self, job: Box<dyn Job>);

    /// Runs a background task.
    fn spawn(&self, task: BoxFuture<'static, ()>);
}

/// Runs the work on the executor and returns its output; `None` if the executor has stopped.
pub async fn offload<W: Work>(executor: &dyn Executor, work: W) -> Option<W::Output> {
    let (answer, answered) = oneshot::channel();
    executor.compute(Box::new(Answering { work, answer }));
    answered.await.ok()
}

struct Answering<W: Work> {
    work: W,
    answer: oneshot::Sender<W::Output>,
}

impl<W: Work> Job for Answering<W> {
    fn md5_update(&mut self) -> Option<Md5Update<'_>> {
        self.work.md5_update()
    }

    fn finish(self: Box<Self>) {
        // The caller may have given up.
        let _ = self.answer.send(self.work.finish());
    }
}

/// Updates the MD5s of these jobs, in parallel lanes.
fn update_md5s(jobs: &mut [Box<dyn Job>]) {
    let mut updates: Vec<Md5Update<'_>> = jobs.iter_mut().filter_map(|job| job.md5_update()).collect();
    let pieces_max = updates.iter().map(|(_, pieces)| pieces.len()).max().unwrap_or(0);
    for at in 0..pieces_max {
        let with_piece = updates.iter_mut().filter_map(|(md5, pieces)| Some((&mut **md5, *pieces.get(at)?)));
        Md5::update_each(&mut with_piece.collect::<Vec<_>>());
    }
}

/// An executor with a fixed number of threads, which run jobs from one queue.
#[derive(Debug)]
pub struct ComputeThreads {
    queue: Arc<Queue>,
    tasks: tokio::runtime::Handle,
}

/// The jobs that wait for a thread.
struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    /// The number of threads that may update fewer MD5s at once than there are lanes. Once that many threads update
    /// MD5s, further jobs wait until they fill the lanes, because they take less time together. If every thread took
    /// whatever is queued, each MD5 would be computed alone.
    unfilled_max: usize,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Box<dyn Job>>,
    /// The jobs whose MD5 was updated and whose rest is still to be done. They take precedence over `jobs`.
    hashed: VecDeque<Box<dyn Job>>,
    /// The number of threads that are updating MD5s.
    hashing: usize,
    is_closed: bool,
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.lock();
        f.debug_struct("Queue").field("waiting", &(waiting.jobs.len() + waiting.hashed.len())).finish()
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, job: Box<dyn Job>) {
        let mut waiting = self.lock();
        waiting.jobs.push_back(job);
        if self.may_hash(&waiting) {
            self.changed.notify_one();
        }
    }

    /// Returns whether one more thread should start on MD5s now: the lanes can be filled, or few threads hash.
    fn may_hash(&self, waiting: &Waiting) -> bool {
        let is_filled = waiting.jobs.len() >= LANES;
        is_filled || (!waiting.jobs.is_empty() && waiting.hashing < self.unfilled_max)
    }

    /// Runs jobs until the queue is closed and empty.
    fn run(&self) {
        let mut waiting = self.lock();
        loop {
            if let Some(job) = waiting.hashed.pop_front() {
                drop(waiting);
                job.finish();
                waiting = self.lock();
            } else if self.may_hash(&waiting) {
                waiting.hashing += 1;
                let count = waiting.jobs.len().min(LANES);
                let mut jobs: Vec<_> = waiting.jobs.drain(..count).collect();
                drop(waiting);
                update_md5s(&mut jobs);
                waiting = self.lock();
                waiting.hashing -= 1;
                // Wakes other threads for the rest of these jobs, and for those that were queued in the meantime.
                let helpers = jobs.len() - 1 + usize::from(self.may_hash(&waiting));
                (0..helpers).for_each(|_| self.changed.notify_one());
                waiting.hashed.extend(jobs);
            } else if waiting.is_closed && waiting.jobs.is_empty() {
                self.changed.notify_all();
                return;
            } else {
                waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

impl ComputeThreads {
    /// Starts the threads. They end when the executor is dropped, after the queued jobs.
    pub fn start(threads: usize, tasks: tokio::runtime::Handle) -> std::io::Result<Self> {
        let threads = threads.max(1);
        let unfilled_max = threads.div_ceil(2);
        let queue = Arc::new(Queue { waiting: Mutex::default(), changed: Condvar::new(), unfilled_max });
        for number in 0..threads {
            let queue = Arc::clone(&queue);
            std::thread::Builder::new().name(format!("compute-{number}")).spawn(move || queue.run())?;
        }
        Ok(Self { queue, tasks })
    }
}

impl Drop for ComputeThreads {
    fn drop(&mut self) {
        self.queue.lock().is_closed = true;
        self.queue.changed.notify_all();
    }
}

impl Executor for ComputeThreads {
    fn compute(&self, job: Box<dyn Job>) {
        self.queue.push(job);
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.tasks.spawn(task);
    }
}

/// An executor that computes in place and spawns on the caller's runtime: all in one thread, in a fixed order.
#[cfg(any(test, feature = "fuzzing", debug_assertions))]
#[derive(Clone, Copy, Debug, Default)]
pub struct InPlace;

#[cfg(any(test, feature = "fuzzing", debug_assertions))]
impl Executor for InPlace {
    fn compute(&self, job: Box<dyn Job>) {
        let mut jobs = [job];
        update_md5s(&mut jobs);
        jobs.into_iter().for_each(Job::finish);
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(task)),
            Err(_) => tracing::warn!("a background task was dropped, because no runtime is running"),
        }
    }
}
