//! `Blocking`: where work that blocks on a drive runs: on reader threads, or inline in a simulation.

use rustix::process::getpriority_process;
use std::fmt::Debug;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

/// A piece of work that may block on a drive.
pub type Job = Box<dyn FnOnce() + Send>;

/// Runs each job once. A job is dropped without being run only when the process stops.
pub trait Blocking: Send + Sync + Debug + 'static {
    fn run(&self, job: Job);
}

/// The blocking threads of a tokio runtime.
#[derive(Clone, Debug)]
pub struct ReaderThreads {
    runtime: Handle,
    /// The nice value of the thread that called `new`; a greater value is a lower priority.
    nice: i32,
}

impl ReaderThreads {
    pub fn new(runtime: Handle) -> Self {
        Self { runtime, nice: nice() }
    }
}

impl Blocking for ReaderThreads {
    /// Runs the job on a blocking thread. A new thread inherits the priority of the thread that starts it and keeps it
    /// for later jobs. A caller of lower priority therefore has a runtime thread start the job.
    fn run(&self, job: Job) {
        if nice() > self.nice {
            self.runtime.spawn(async move { drop(spawn_blocking(job)) });
        } else {
            drop(self.runtime.spawn_blocking(job));
        }
    }
}

/// The nice value of this thread.
fn nice() -> i32 {
    getpriority_process(None).unwrap_or_default()
}

/// Runs jobs in the caller's thread: for simulations, where drives answer at once.
#[cfg(any(test, feature = "fuzzing", debug_assertions))]
#[derive(Clone, Copy, Debug)]
pub struct Inline;

#[cfg(any(test, feature = "fuzzing", debug_assertions))]
impl Blocking for Inline {
    fn run(&self, job: Job) {
        job();
    }
}

/// The job was dropped without being run, because the process stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("shutting down")]
pub struct ThreadsStopped;

/// Runs a job on `threads` and returns its result. The job runs to its end even if the caller is cancelled.
pub async fn off_thread<T: Send + 'static>(
    threads: &Arc<dyn Blocking>,
    job: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ThreadsStopped> {
    let (sender, answer) = oneshot::channel();
    threads.run(Box::new(move || {
        // The caller may have been cancelled; then nobody wants the answer.
        let _ = sender.send(job());
    }));
    answer.await.map_err(|_| ThreadsStopped)
}

/// Runs a read on `threads` and returns its result. If the caller is cancelled before the read begins, the read is
/// skipped: reads that nobody waits for must not delay others. One that has begun runs to its end.
pub async fn read_off_thread<T: Send + 'static>(
    threads: &Arc<dyn Blocking>,
    read: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ThreadsStopped> {
    let (sender, answer) = oneshot::channel();
    threads.run(Box::new(move || {
        if !sender.is_closed() {
            // The caller may have been cancelled meanwhile; then nobody wants the answer.
            let _ = sender.send(read());
        }
    }));
    answer.await.map_err(|_| ThreadsStopped)
}

#[cfg(test)]
mod tests {
    use super::{Blocking, Job, ReaderThreads, nice, off_thread, read_off_thread};
    use futures::FutureExt;
    use rustix::process::setpriority_process;
    use std::sync::Arc;
    use std::sync::mpsc::{Sender, channel};
    use std::thread;
    use tokio::runtime::Builder;

    #[test]
    fn reader_threads_keep_their_priority_whichever_thread_starts_them() {
        let runtime = Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
        let threads = ReaderThreads::new(runtime.handle().clone());
        let expected = nice();
        let (sender, found) = channel();
        let ask = move || {
            setpriority_process(None, expected + 1).expect("a lower priority");
            threads.run(Box::new(move || sender.send(nice()).expect("the test waits")));
        };
        thread::spawn(ask).join().expect("the thread ends");
        assert_eq!(found.recv(), Ok(expected));
    }

    /// Hands jobs to the test, which runs them.
    #[derive(Debug)]
    struct Queue(Sender<Job>);

    impl Blocking for Queue {
        fn run(&self, job: Job) {
            self.0.send(job).expect("the test takes the jobs");
        }
    }

    #[test]
    fn a_read_that_is_given_up_before_it_begins_is_skipped() {
        let (sender, jobs) = channel();
        let threads: Arc<dyn Blocking> = Arc::new(Queue(sender));
        let (begun, seen) = channel();
        let job = |name: &'static str| {
            let begun = begun.clone();
            move || begun.send(name).expect("the test waits")
        };
        let mut wanted = Box::pin(read_off_thread(&threads, job("wanted")));
        let mut given_up = Box::pin(read_off_thread(&threads, job("given up")));
        let mut write = Box::pin(off_thread(&threads, job("write")));
        assert_eq!(wanted.as_mut().now_or_never(), None, "its job is queued");
        assert_eq!(given_up.as_mut().now_or_never(), None);
        assert_eq!(write.as_mut().now_or_never(), None);
        drop((given_up, write));
        for job in jobs.try_iter() {
            job();
        }
        assert_eq!(seen.try_iter().collect::<Vec<_>>(), ["wanted", "write"]);
        assert_eq!(wanted.now_or_never(), Some(Ok(())));
    }
}
