//! Where the work goes that a request must not do on its network thread: hashing and encoding on a fixed set of threads,
//! clean-up in tasks of its own. A simulation supplies an executor that does all of it in place.

use crate::storage::checksum::{LANES, Md5};
use futures::future::BoxFuture;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// Computing to be done for a request: an MD5 to update, and what comes after that.
pub trait Work: Send + 'static {
    type Output: Send + 'static;

    /// The MD5 to update first, if there is one. Those of several requests are computed side by side.
    fn md5_update(&mut self) -> Option<Md5Update<'_>>;

    /// Does the rest.
    fn finish(self) -> Self::Output;
}

/// An MD5, and the pieces that it is to be updated with, in order.
pub type Md5Update<'a> = (&'a mut Md5, Vec<&'a [u8]>);

/// Work whose output somebody waits for.
pub trait Job: Send {
    fn md5_update(&mut self) -> Option<Md5Update<'_>>;
    fn finish(self: Box<Self>);
}

pub trait Executor: Send + Sync + fmt::Debug + 'static {
    /// Runs a job, elsewhere or at once. Jobs of one caller may overtake each other.
    fn compute(&self, job: Box<dyn Job>);

    /// Runs a task that nobody waits for.
    fn spawn(&self, task: BoxFuture<'static, ()>);
}

/// Does the work on the executor and waits for its output; `None` where the executor has stopped.
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
        // A caller that gave up does not need the answer.
        let _ = self.answer.send(self.work.finish());
    }
}

/// Updates the MD5s of these jobs, side by side.
fn update_md5s(jobs: &mut [Box<dyn Job>]) {
    let mut updates: Vec<Md5Update<'_>> = jobs.iter_mut().filter_map(|job| job.md5_update()).collect();
    let pieces_max = updates.iter().map(|(_, pieces)| pieces.len()).max().unwrap_or(0);
    for at in 0..pieces_max {
        let with_piece = updates.iter_mut().filter_map(|(md5, pieces)| Some((&mut **md5, *pieces.get(at)?)));
        Md5::update_each(&mut with_piece.collect::<Vec<_>>());
    }
}

/// As many threads as there are cores: more would only take turns.
#[derive(Debug)]
pub struct ComputeThreads {
    queue: Arc<Queue>,
    tasks: tokio::runtime::Handle,
}

/// The jobs that wait for a thread.
struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    /// Threads that may update fewer MD5s than could be side by side. The jobs that come while they do wait for each other
    /// and take less time together; where all threads took what there is, each MD5 would be computed alone.
    unfilled_max: usize,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Box<dyn Job>>,
    /// Jobs whose MD5 is updated. They come before the others.
    hashed: VecDeque<Box<dyn Job>>,
    /// Threads that update MD5s.
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

    /// Whether there are jobs for one thread more.
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
                // Other threads help with the rest of them, and with the jobs that came meanwhile.
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
    /// The threads end when the executor is dropped, after the jobs that wait.
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

/// Computes in place and spawns on the runtime of the caller: all in one thread, in a fixed order.
#[derive(Clone, Copy, Debug, Default)]
pub struct InPlace;

impl Executor for InPlace {
    fn compute(&self, job: Box<dyn Job>) {
        let mut jobs = [job];
        update_md5s(&mut jobs);
        jobs.into_iter().for_each(Job::finish);
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(task)),
            Err(_) => tracing::warn!("a task was dropped outside a runtime"),
        }
    }
}
