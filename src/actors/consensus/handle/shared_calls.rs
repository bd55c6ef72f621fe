//! Calls whose answer many callers share, made one after another by a task of their own. A caller gets the answer of a
//! call that began after the caller came: an answer that is older may lack what was acknowledged before. Callers hold
//! nothing while they wait, so that one that is not polled for long holds up no other.

use std::fmt;
use std::future::Future;
use tokio::sync::{mpsc, oneshot};

/// The most callers that share one call.
const SHARED_BY_MAX: usize = 4096;

/// The callers' side.
pub struct SharedCalls<T>(mpsc::UnboundedSender<oneshot::Sender<T>>);

/// The callers that wait for the next call.
pub struct Callers<T>(mpsc::UnboundedReceiver<oneshot::Sender<T>>);

impl<T> fmt::Debug for SharedCalls<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedCalls").finish_non_exhaustive()
    }
}

pub fn shared_calls<T>() -> (SharedCalls<T>, Callers<T>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (SharedCalls(sender), Callers(receiver))
}

impl<T> SharedCalls<T> {
    /// Returns the answer of the next call that begins; `None` if no more calls are made.
    pub async fn answer(&self) -> Option<T> {
        let (sender, answer) = oneshot::channel();
        self.0.send(sender).ok()?;
        answer.await.ok()
    }
}

impl<T: Clone> Callers<T> {
    /// Makes calls while there are callers, until one returns `None` or `SharedCalls` is dropped.
    pub async fn serve<F: Future<Output = Option<T>>>(mut self, mut call: impl FnMut() -> F) {
        let mut sharing = Vec::new();
        while self.0.recv_many(&mut sharing, SHARED_BY_MAX).await > 0 {
            sharing.retain(|caller| !caller.is_closed());
            if sharing.is_empty() {
                continue;
            }
            let Some(answer) = call().await else { return };
            for caller in sharing.drain(..) {
                // A caller may have given up meanwhile.
                let _ = caller.send(answer.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::shared_calls;
    use futures::future::join_all;
    use futures::poll;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use tokio::sync::Semaphore;

    #[tokio::test]
    async fn callers_that_come_during_a_call_share_the_next_one() {
        let (begun, answers) = (Arc::new(AtomicU64::new(0)), Arc::new(Semaphore::new(0)));
        let (calls, callers) = shared_calls();
        let (counted, awaited) = (Arc::clone(&begun), Arc::clone(&answers));
        let serving = tokio::spawn(callers.serve(move || {
            let (number, awaited) = (counted.fetch_add(1, Ordering::SeqCst) + 1, Arc::clone(&awaited));
            async move {
                awaited.acquire().await.ok()?.forget();
                Some(number)
            }
        }));
        let mut first = Box::pin(calls.answer());
        assert!(poll!(&mut first).is_pending());
        while begun.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        let mut given_up = Box::pin(calls.answer());
        assert!(poll!(&mut given_up).is_pending());
        let mut later = Box::pin(join_all((0..20).map(|_| calls.answer())));
        assert!(poll!(&mut later).is_pending());
        drop(given_up);
        answers.add_permits(2);
        assert_eq!(later.await, vec![Some(2); 20], "a call that began after they came, whoever is not polled");
        assert_eq!((first.await, begun.load(Ordering::SeqCst)), (Some(1), 2));
        drop(calls);
        serving.await.expect("it ends with its callers");
    }

    #[tokio::test]
    async fn no_caller_waits_for_calls_that_have_ended() {
        let (calls, callers) = shared_calls::<u8>();
        let serving = tokio::spawn(callers.serve(|| async { None }));
        assert_eq!(calls.answer().await, None);
        serving.await.expect("ended");
        assert_eq!(calls.answer().await, None);
    }
}
