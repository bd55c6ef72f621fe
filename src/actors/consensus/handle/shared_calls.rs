//! Calls whose answer many callers share, so that at most one is under way. A caller gets the answer of a call that
//! began after the caller came: an answer that is older may lack what was acknowledged before.

use crate::actors::consensus::shared::locked;
use std::fmt;
use std::future::Future;
use std::sync::Mutex;

/// The shared calls of one kind.
pub struct SharedCalls<T> {
    /// The number of calls that have begun.
    begun: Mutex<u64>,
    /// The number of the last call that was answered, and its answer. Locked while a call is under way.
    last: tokio::sync::Mutex<Option<(u64, T)>>,
}

impl<T> Default for SharedCalls<T> {
    fn default() -> Self {
        Self { begun: Mutex::new(0), last: tokio::sync::Mutex::new(None) }
    }
}

impl<T> fmt::Debug for SharedCalls<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedCalls").finish_non_exhaustive()
    }
}

impl<T: Clone> SharedCalls<T> {
    /// Returns the answer of the first call that begins from now on. That is `call`, unless another caller begins one
    /// before. If a caller gives its call up, the next one begins its own.
    pub async fn answer(&self, call: impl Future<Output = T>) -> T {
        let before = *locked(&self.begun);
        let mut last = self.last.lock().await;
        if let Some((number, answer)) = &*last
            && *number > before
        {
            return answer.clone();
        }
        let number = self.begin();
        let answer = call.await;
        *last = Some((number, answer.clone()));
        answer
    }

    /// Returns the number of a call that begins.
    fn begin(&self) -> u64 {
        let mut begun = locked(&self.begun);
        *begun += 1;
        *begun
    }
}

#[cfg(test)]
mod tests {
    use super::SharedCalls;
    use futures::future::join_all;
    use futures::poll;
    use std::cell::Cell;
    use tokio::sync::Semaphore;

    #[tokio::test]
    async fn callers_that_come_during_a_call_share_the_next_one() {
        let (calls, begun, answers) = (SharedCalls::default(), Cell::new(0), Semaphore::new(0));
        let call = || async {
            begun.set(begun.get() + 1);
            let number = begun.get();
            answers.acquire().await.expect("open").forget();
            number
        };
        let first = calls.answer(call());
        let later = join_all((0..20).map(|_| calls.answer(call())));
        tokio::pin!(first, later);
        assert!(poll!(&mut first).is_pending());
        assert!(poll!(&mut later).is_pending());
        answers.add_permits(2);
        assert_eq!(first.await, 1);
        assert_eq!(later.await, vec![2; 20], "a call that began after they came");
        assert_eq!(begun.get(), 2);
    }

    #[tokio::test]
    async fn callers_that_wait_for_a_call_that_is_given_up_begin_another_one() {
        let calls = SharedCalls::default();
        let mut given_up = Box::pin(calls.answer(std::future::pending::<u8>()));
        assert!(poll!(&mut given_up).is_pending());
        let waiting = calls.answer(async { 7 });
        tokio::pin!(waiting);
        assert!(poll!(&mut waiting).is_pending());
        drop(given_up);
        assert_eq!(waiting.await, 7);
    }
}
