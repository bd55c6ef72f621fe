//! Where the work goes that a request must not do on its network thread: hashing and encoding on a fixed set of threads,
//! clean-up in tasks of its own. A simulation supplies an executor that does all of it in place.

use futures::future::BoxFuture;
use std::fmt::Debug;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;

/// A job that only computes.
pub type Job = Box<dyn FnOnce() + Send>;

pub trait Executor: Send + Sync + Debug + 'static {
    /// Runs a job, elsewhere or at once. Jobs of one caller may overtake each other.
    fn compute(&self, job: Job);

    /// Runs a task that nobody waits for.
    fn spawn(&self, task: BoxFuture<'static, ()>);
}

/// Runs `job` on the executor and waits for its answer; `None` where the executor has stopped.
pub async fn offload<T: Send + 'static>(
    executor: &dyn Executor,
    job: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (answer, answered) = oneshot::channel();
    executor.compute(Box::new(move || {
        // A caller that gave up does not need the answer.
        let _ = answer.send(job());
    }));
    answered.await.ok()
}

/// As many threads as there are cores: more would only take turns.
#[derive(Debug)]
pub struct ComputeThreads {
    jobs: Mutex<Sender<Job>>,
    tasks: tokio::runtime::Handle,
}

impl ComputeThreads {
    /// The threads end when the last clone of the executor is dropped.
    pub fn start(threads: usize, tasks: tokio::runtime::Handle) -> std::io::Result<Self> {
        let (jobs, queue) = channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        for number in 0..threads.max(1) {
            let queue = Arc::clone(&queue);
            std::thread::Builder::new().name(format!("compute-{number}")).spawn(move || run_jobs(&queue))?;
        }
        Ok(Self { jobs: Mutex::new(jobs), tasks })
    }
}

fn run_jobs(queue: &Mutex<Receiver<Job>>) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match next {
            Ok(job) => job(),
            Err(_) => return,
        }
    }
}

impl Executor for ComputeThreads {
    fn compute(&self, job: Job) {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if jobs.send(job).is_err() {
            tracing::error!("the compute threads are gone");
        }
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.tasks.spawn(task);
    }
}

/// Computes in place and spawns on the runtime of the caller: all in one thread, in a fixed order.
#[derive(Clone, Copy, Debug, Default)]
pub struct InPlace;

impl Executor for InPlace {
    fn compute(&self, job: Job) {
        job();
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(task)),
            Err(_) => tracing::warn!("a task was dropped outside a runtime"),
        }
    }
}
