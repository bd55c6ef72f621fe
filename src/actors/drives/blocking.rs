//! The place of work that waits for a drive: reader threads, or inline in a simulation.

use std::fmt::Debug;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// A piece of work that may wait for a drive.
pub type Job = Box<dyn FnOnce() + Send>;

/// Runs jobs, each once; a job that is dropped instead means that the process stops.
pub trait Blocking: Send + Sync + Debug + 'static {
    fn run(&self, job: Job);
}

/// The blocking threads of a tokio runtime.
#[derive(Clone, Debug)]
pub struct ReaderThreads {
    runtime: Handle,
}

impl ReaderThreads {
    pub fn new(runtime: Handle) -> Self {
        Self { runtime }
    }
}

impl Blocking for ReaderThreads {
    fn run(&self, job: Job) {
        drop(self.runtime.spawn_blocking(job));
    }
}

/// The caller's own thread: for a simulation, where a drive answers at once.
#[derive(Clone, Copy, Debug)]
pub struct Inline;

impl Blocking for Inline {
    fn run(&self, job: Job) {
        job();
    }
}

/// The threads have stopped, because the process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("shutting down")]
pub struct ThreadsStopped;

/// Runs a job there and waits for its answer. The job runs to its end even if the caller gives up.
pub async fn off_thread<T: Send + 'static>(
    threads: &Arc<dyn Blocking>,
    job: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ThreadsStopped> {
    let (sender, answer) = oneshot::channel();
    threads.run(Box::new(move || {
        // The caller may have given up; nobody wants the answer then.
        let _ = sender.send(job());
    }));
    answer.await.map_err(|_| ThreadsStopped)
}
