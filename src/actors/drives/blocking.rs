//! The place of work that waits for a drive: reader threads, or inline in a simulation.

use rustix::process::getpriority_process;
use std::fmt::Debug;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

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
    /// The scheduling priority of who made this; a greater one is less.
    nice: i32,
}

impl ReaderThreads {
    pub fn new(runtime: Handle) -> Self {
        Self { runtime, nice: nice() }
    }
}

impl Blocking for ReaderThreads {
    /// A thread that has to be started for the job inherits the priority of the one that starts it, and serves all afterwards.
    fn run(&self, job: Job) {
        if nice() > self.nice {
            self.runtime.spawn(async move { drop(spawn_blocking(job)) });
        } else {
            drop(self.runtime.spawn_blocking(job));
        }
    }
}

/// The scheduling priority of this thread.
fn nice() -> i32 {
    getpriority_process(None).unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use super::{Blocking, ReaderThreads, nice};
    use rustix::process::setpriority_process;
    use std::sync::mpsc::channel;
    use std::thread;
    use tokio::runtime::Builder;

    #[test]
    fn a_reader_thread_has_the_priority_of_all_others_whoever_needed_it() {
        let runtime = Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
        let threads = ReaderThreads::new(runtime.handle().clone());
        let expected = nice();
        let (sender, found) = channel();
        let ask = move || {
            setpriority_process(None, expected + 1).expect("a lower priority");
            threads.run(Box::new(move || sender.send(nice()).expect("the test waits")));
        };
        thread::spawn(ask).join().expect("it asked");
        assert_eq!(found.recv(), Ok(expected));
    }
}
