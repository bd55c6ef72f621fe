//! Panics. A panic ends the process: a thread that is gone, or half a change of shared state, would go unnoticed. The
//! exception is a panic in the code of one request: it fails that request alone, so that a defect in the handling of some
//! input does not let whoever sends that input stop the store.

use std::future::poll_fn;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::process;
use std::task::Poll;

tokio::task_local! {
    /// Set while a future is polled whose panic is caught.
    static CAUGHT: ();
}

/// Runs a future. Returns `None` if it panics; what it owns is dropped then, as if it had been cancelled.
pub async fn caught<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let poll = poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| CAUGHT.sync_scope((), || future.as_mut().poll(context))));
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Some(output)),
            Err(_) => Poll::Ready(None),
        }
    });
    poll.await
}

/// Makes every panic end the process that `caught` does not catch, on whatever thread. To be called once.
pub fn end_the_process() {
    let tell = panic::take_hook();
    panic::set_hook(Box::new(move |panicked| {
        tell(panicked);
        if CAUGHT.try_get().is_err() {
            process::abort();
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::{caught, end_the_process};
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;
    use std::{env, thread};

    const CHILD: &str = "panics::tests::panics_of_a_process_of_their_own";

    #[tokio::test]
    async fn a_panic_is_caught_at_each_poll_and_other_results_are_passed_on() {
        assert_eq!(caught(async { 7 }).await, Some(7));
        let late = async {
            tokio::task::yield_now().await;
            panic!("in a test");
        };
        assert_eq!(caught(late).await, None::<()>);
    }

    #[test]
    fn a_panic_that_nothing_catches_ends_the_process() {
        let this = env::current_exe().expect("a path");
        let child = Command::new(this).args(["--exact", CHILD, "--ignored", "--nocapture"]).output().expect("it runs");
        let (text, signal) = (String::from_utf8_lossy(&child.stdout), child.status.signal());
        assert!(text.contains("caught") && !text.contains("not reached"), "{text}");
        assert_eq!(signal, Some(6), "{text}");
    }

    #[test]
    #[ignore = "it ends its process: run by the test above"]
    fn panics_of_a_process_of_their_own() {
        end_the_process();
        assert_eq!(futures::executor::block_on(caught(async { panic!("of a request") })), None::<()>);
        println!("caught");
        let _ = thread::spawn(|| panic!("of something else")).join();
        println!("not reached");
    }
}
