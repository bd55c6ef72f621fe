//! The slow lanes: threads for the requests of accounts whose requests took much processor time lately. They have a
//! lower scheduling priority than the workers: the operating system preempts them when a worker has something to do,
//! and gives them all of the processor otherwise.

use crate::limits::SLOW_LANE_NICE;
use rustix::process::{getpriority_process, setpriority_process};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;

/// The slow lanes of a host. Each is one thread with its own runtime, so tasks that a request spawns stay in its lane.
/// Dropping this value stops the lanes and cancels their tasks.
pub struct SlowLanes {
    lanes: Vec<Lane>,
    _stop: DropGuard,
}

struct Lane {
    runtime: Handle,
    /// Counts the tasks under way: each holds a clone.
    under_way: Arc<()>,
}

impl fmt::Debug for SlowLanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let under_way: Vec<_> = self.lanes.iter().map(Lane::under_way).collect();
        f.debug_struct("SlowLanes").field("under_way", &under_way).finish()
    }
}

impl Lane {
    fn under_way(&self) -> usize {
        Arc::strong_count(&self.under_way) - 1
    }
}

impl SlowLanes {
    pub fn start(threads: usize) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let lane = |number: usize| -> io::Result<Lane> {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let lane = Lane { runtime: runtime.handle().clone(), under_way: Arc::default() };
            let stop = stop.clone();
            thread::Builder::new().name(format!("slow-lane-{number}")).spawn(move || run(&runtime, &stop))?;
            Ok(lane)
        };
        let lanes = (0..threads.max(1)).map(lane).collect::<io::Result<_>>()?;
        Ok(Self { lanes, _stop: stop.drop_guard() })
    }

    /// Runs a task in the lane with the fewest tasks. Dropping the handle cancels the task.
    pub fn run<F>(&self, task: F) -> AbortOnDropHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let Some(lane) = self.lanes.iter().min_by_key(|lane| lane.under_way()) else { unreachable!("there is a lane") };
        let under_way = Arc::clone(&lane.under_way);
        let task = async move {
            let _under_way = under_way;
            task.await
        };
        AbortOnDropHandle::new(lane.runtime.spawn(task))
    }
}

fn run(runtime: &Runtime, stop: &CancellationToken) {
    // On Linux the priority belongs to a thread and is inherited by the threads that it starts.
    let lowered = getpriority_process(None).and_then(|nice| setpriority_process(None, nice + SLOW_LANE_NICE));
    if let Err(error) = lowered {
        tracing::warn!(%error, "cannot lower the priority of a slow lane; it competes with the workers");
    }
    runtime.block_on(stop.cancelled());
}

#[cfg(test)]
mod tests {
    use super::SlowLanes;
    use crate::limits::SLOW_LANE_NICE;
    use rustix::process::getpriority_process;
    use std::future::pending;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn a_slow_lane_has_a_lower_priority_than_the_thread_that_started_it() {
        let nice = getpriority_process(None).expect("a priority");
        let lanes = SlowLanes::start(2).expect("threads");
        let in_lane = lanes.run(async { getpriority_process(None) }).await.expect("it ran").expect("a priority");
        assert_eq!(in_lane, (nice + SLOW_LANE_NICE).min(19));
        assert_eq!(getpriority_process(None), Ok(nice), "this thread's own stays");
    }

    #[tokio::test]
    async fn a_task_runs_in_the_emptiest_lane_until_its_handle_or_the_lanes_are_dropped() {
        let lanes = SlowLanes::start(2).expect("threads");
        let begin = || {
            let (held, is_given_back) = oneshot::channel::<()>();
            let task = lanes.run(async move {
                let _held = held;
                pending::<()>().await;
            });
            (task, is_given_back)
        };
        let ((one, one_ends), (two, two_ends)) = (begin(), begin());
        assert_eq!(format!("{lanes:?}"), "SlowLanes { under_way: [1, 1] }");
        drop(one);
        assert!(one_ends.await.is_err());
        drop(lanes);
        assert!(two_ends.await.is_err());
        assert!(two.await.is_err());
    }
}
