//! The runtime for openraft: tokio, with randomness from a seed, and with watch channels that wake their receivers in
//! the order in which they began to wait.
//!
//! tokio's own watch channel wakes receivers in a random order that no program can seed. Tasks that wait for one change
//! then run in another order each time, and a simulation cannot be replayed.

use openraft::OptionalSend;
use openraft::OptionalSync;
use openraft::async_runtime::watch::{RecvError, SendError};
use openraft::async_runtime::{AsyncRuntime, Watch, WatchReceiver, WatchSender};
use openraft::rt::deterministic_rng::DeterministicRng;
use openraft_rt_tokio::TokioRuntime;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// Tokio with randomness from a seed. Whatever makes openraft start tasks must run within `SeededRuntime::scope`.
pub type SeededRuntime = DeterministicRng<OrderedRuntime>;

/// Tokio with `OrderedWatch` in place of its own watch channel.
#[derive(Debug)]
pub struct OrderedRuntime(TokioRuntime);

impl AsyncRuntime for OrderedRuntime {
    type JoinError = <TokioRuntime as AsyncRuntime>::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::JoinHandle<T>;
    type Sleep = <TokioRuntime as AsyncRuntime>::Sleep;
    type Instant = <TokioRuntime as AsyncRuntime>::Instant;
    type TimeoutError = <TokioRuntime as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = <TokioRuntime as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = <TokioRuntime as AsyncRuntime>::ThreadLocalRng;
    type Mpsc = <TokioRuntime as AsyncRuntime>::Mpsc;
    type Watch = OrderedWatch;
    type Oneshot = <TokioRuntime as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        TokioRuntime::spawn(future)
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        TokioRuntime::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        TokioRuntime::sleep_until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(duration: Duration, future: F) -> Self::Timeout<R, F> {
        TokioRuntime::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(deadline: Self::Instant, future: F) -> Self::Timeout<R, F> {
        TokioRuntime::timeout_at(deadline, future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        TokioRuntime::is_panic(join_error)
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        TokioRuntime::thread_rng()
    }

    fn new(threads: usize) -> Self {
        Self(TokioRuntime::new(threads))
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.0.block_on(future)
    }
}

/// A watch channel that wakes its receivers first come, first served.
pub struct OrderedWatch;

/// The sending half; receivers are woken once more when its last clone is dropped.
pub struct OrderedSender<T>(Arc<Sending<T>>);

struct Sending<T> {
    /// Dropped first: whoever is woken by the drop finds the channel closed.
    values: Option<watch::Sender<T>>,
    changed: Arc<Notify>,
}

pub struct OrderedReceiver<T> {
    values: watch::Receiver<T>,
    changed: Arc<Notify>,
}

impl<T> Sending<T> {
    fn values(&self) -> &watch::Sender<T> {
        self.values.as_ref().expect("only a drop takes it")
    }
}

impl<T> Drop for Sending<T> {
    fn drop(&mut self) {
        self.values = None;
        self.changed.notify_waiters();
    }
}

impl<T> Clone for OrderedSender<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Clone for OrderedReceiver<T> {
    fn clone(&self) -> Self {
        Self { values: self.values.clone(), changed: Arc::clone(&self.changed) }
    }
}

impl Watch for OrderedWatch {
    type Sender<T: OptionalSend + OptionalSync> = OrderedSender<T>;
    type Receiver<T: OptionalSend + OptionalSync> = OrderedReceiver<T>;
    type Ref<'a, T: OptionalSend + 'a> = watch::Ref<'a, T>;

    fn channel<T: OptionalSend + OptionalSync>(init: T) -> (Self::Sender<T>, Self::Receiver<T>) {
        let (sender, values) = watch::channel(init);
        let changed = Arc::new(Notify::new());
        let sending = Sending { values: Some(sender), changed: Arc::clone(&changed) };
        (OrderedSender(Arc::new(sending)), OrderedReceiver { values, changed })
    }
}

impl<T: OptionalSend + OptionalSync> WatchSender<OrderedWatch, T> for OrderedSender<T> {
    fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.0.values().send(value).map_err(|refused| SendError(refused.0))?;
        self.0.changed.notify_waiters();
        Ok(())
    }

    fn send_if_modified<F>(&self, modify: F) -> bool
    where
        F: FnOnce(&mut T) -> bool,
    {
        let is_modified = self.0.values().send_if_modified(modify);
        if is_modified {
            self.0.changed.notify_waiters();
        }
        is_modified
    }

    fn borrow_watched(&self) -> watch::Ref<'_, T> {
        self.0.values().borrow()
    }

    fn subscribe(&self) -> OrderedReceiver<T> {
        OrderedReceiver { values: self.0.values().subscribe(), changed: Arc::clone(&self.0.changed) }
    }
}

impl<T: OptionalSend + OptionalSync> WatchReceiver<OrderedWatch, T> for OrderedReceiver<T> {
    async fn changed(&mut self) -> Result<(), RecvError> {
        loop {
            let notified = self.changed.notified();
            tokio::pin!(notified);
            // A value that is sent after the check below wakes this receiver.
            notified.as_mut().enable();
            match self.values.has_changed() {
                Ok(true) => {
                    self.values.mark_unchanged();
                    return Ok(());
                }
                Ok(false) => notified.await,
                // The channel is closed. Returns at once, with success if its last value was not seen yet.
                Err(_) => return self.values.changed().await.map_err(|_| RecvError(())),
            }
        }
    }

    fn borrow_watched(&self) -> watch::Ref<'_, T> {
        self.values.borrow()
    }

    fn borrow_and_update(&mut self) -> watch::Ref<'_, T> {
        self.values.borrow_and_update()
    }
}

#[cfg(test)]
mod tests {
    use super::{OrderedRuntime, OrderedWatch};
    use openraft::async_runtime::{Watch, WatchReceiver, WatchSender};
    use openraft::rt::testing::Suite;
    use std::sync::{Arc, Mutex};
    use tokio::task::yield_now;

    #[test]
    fn the_ordered_runtime_passes_openrafts_runtime_suite() {
        Suite::<OrderedRuntime>::test_all();
    }

    #[tokio::test]
    async fn receivers_are_woken_in_the_order_in_which_they_wait() {
        let (sender, receiver) = OrderedWatch::channel(0);
        let order = Arc::new(Mutex::new(Vec::new()));
        let wait = |nth: u32| {
            let (mut receiver, order) = (receiver.clone(), Arc::clone(&order));
            tokio::spawn(async move {
                receiver.changed().await.expect("the sender is there");
                order.lock().expect("no panic under the lock").push(nth);
            })
        };
        let waiting: Vec<_> = (0..64).map(wait).collect();
        // Lets each task run until it waits.
        for _ in 0..8 {
            yield_now().await;
        }
        sender.send(1).expect("there are receivers");
        for task in waiting {
            task.await.expect("it ends");
        }
        assert_eq!(*order.lock().expect("no panic under the lock"), (0..64).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_closed_channel_still_shows_its_last_value() {
        let (sender, mut receiver) = OrderedWatch::channel(0);
        sender.send(1).expect("there is a receiver");
        drop(sender);
        assert!(receiver.changed().await.is_ok());
        assert_eq!(*receiver.borrow_watched(), 1);
        assert!(receiver.changed().await.is_err());
    }

    #[tokio::test]
    async fn a_waiting_receiver_is_woken_when_the_channel_closes() {
        let (sender, mut receiver) = OrderedWatch::channel(0);
        let waiting = tokio::spawn(async move { receiver.changed().await.is_err() });
        yield_now().await;
        drop(sender);
        assert!(waiting.await.expect("it ends"));
    }
}
