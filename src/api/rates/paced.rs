//! Pacing of a body: its bytes are delayed to a rate limit. Meanwhile no more of the body is read, so that its sender
//! is slowed down.

use super::limiter::{Admitted, Direction};
use crate::limits::RATE_PIECE_BYTES;
use bytes::Bytes;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Sleep, sleep};

/// The rate limits that apply to one request: those of its account, its bucket, or both.
#[derive(Debug)]
pub struct Rates {
    admitted: Vec<Admitted>,
    /// True if the request's body is stored as it arrives. Other bodies are collected whole within a time limit, so
    /// their bytes are counted but not delayed; later bytes are delayed instead.
    is_streamed: bool,
}

impl Rates {
    /// Gives back the tokens of bytes that were counted and will not be transferred.
    fn give_back(&self, direction: Direction, bytes: usize) {
        self.admitted.iter().for_each(|admitted| admitted.give_back(direction, bytes));
    }

    pub fn new(admitted: Vec<Admitted>, is_streamed: bool) -> Self {
        Self { admitted, is_streamed }
    }

    fn limits(&self, direction: Direction) -> bool {
        self.admitted.iter().any(|admitted| admitted.limits(direction))
    }

    /// Counts bytes against all limits; returns how long they must wait.
    fn queue(&self, direction: Direction, bytes: usize) -> Duration {
        let waits = self.admitted.iter().map(|admitted| (admitted, admitted.queue(direction, bytes)));
        let (admitted, wait) = waits.max_by_key(|(_, wait)| *wait).unzip();
        let wait = wait.filter(|_| self.is_streamed || direction == Direction::Sent).unwrap_or_default();
        if let Some(admitted) = admitted.filter(|_: &&Admitted| !wait.is_zero()) {
            admitted.delayed(direction, bytes);
        }
        wait
    }
}

/// A chunk of a body that has arrived and is passed on at the limited rate.
#[derive(Debug)]
pub struct Paced {
    direction: Direction,
    held: Bytes,
    /// A piece that is counted and waits for its time.
    waiting: Option<(Bytes, Pin<Box<Sleep>>)>,
}

impl Paced {
    pub fn new(direction: Direction) -> Self {
        Self { direction, held: Bytes::new(), waiting: None }
    }

    /// Takes the next chunk. The previous one must have been passed on completely.
    pub fn hold(&mut self, chunk: Bytes) {
        debug_assert!(self.held.is_empty() && self.waiting.is_none(), "a chunk waits already");
        self.held = chunk;
    }

    /// Abandons the body. The tokens of a waiting piece are given back.
    pub fn give_up(&mut self, rates: Option<&Rates>) {
        if let (Some((piece, _)), Some(rates)) = (self.waiting.take(), rates) {
            rates.give_back(self.direction, piece.len());
        }
    }

    /// Returns the next piece when it may be passed on; `None` if no chunk is held.
    pub fn poll_next(&mut self, rates: Option<&Rates>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            if let Some((piece, wait)) = &mut self.waiting {
                ready!(wait.as_mut().poll(cx));
                let piece = std::mem::take(piece);
                self.waiting = None;
                return Poll::Ready(Some(piece));
            }
            if self.held.is_empty() {
                return Poll::Ready(None);
            }
            let Some(rates) = rates.filter(|rates| rates.limits(self.direction)) else {
                return Poll::Ready(Some(std::mem::take(&mut self.held)));
            };
            // The chunk is passed on in pieces, so that no client waits long without a byte.
            let piece = self.held.split_to(self.held.len().min(RATE_PIECE_BYTES));
            let wait = rates.queue(self.direction, piece.len());
            if wait.is_zero() {
                return Poll::Ready(Some(piece));
            }
            self.waiting = Some((piece, Box::pin(sleep(wait))));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Direction, Paced, Rates};
    use crate::ambient::Clock;
    use crate::api::rates::{Limited, RateLimiter, RateLimits};
    use crate::limits::RATE_PIECE_BYTES;
    use crate::types::{BucketId, UnixMs};
    use bytes::Bytes;
    use futures::FutureExt;
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::time::Instant;

    /// The clock of the tokio runtime, which is paused in tests.
    #[derive(Debug)]
    struct Runtime(Instant);

    impl Clock for Runtime {
        fn unix_ms(&self) -> UnixMs {
            UnixMs(0)
        }

        fn monotonic(&self) -> Duration {
            self.0.elapsed()
        }
    }

    fn rates(is_streamed: bool) -> Rates {
        let limiter = RateLimiter::new(Arc::new(Runtime(Instant::now())));
        let bytes = Some(RATE_PIECE_BYTES as u64);
        let limits =
            RateLimits { received_bytes_per_second: bytes, sent_bytes_per_second: bytes, ..RateLimits::default() };
        let of_account = limiter.admit(Limited::Account("1".into()), RateLimits::default(), 1).expect("no limit");
        let of_bucket = limiter.admit(Limited::Bucket(BucketId(1)), limits, 1).expect("no limit of requests");
        Rates::new(vec![of_account, of_bucket], is_streamed)
    }

    async fn next(paced: &mut Paced, rates: Option<&Rates>) -> Option<Bytes> {
        poll_fn(|cx| paced.poll_next(rates, cx)).await
    }

    fn chunk() -> Bytes {
        (0..=255u8).cycle().take(3 * RATE_PIECE_BYTES + 9).collect::<Vec<_>>().into()
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_passed_on_completely_and_at_the_limited_rate() {
        let (rates, began) = (rates(true), Instant::now());
        let mut paced = Paced::new(Direction::Received);
        paced.hold(chunk());
        let (mut came, mut times) = (Vec::new(), Vec::new());
        while let Some(piece) = next(&mut paced, Some(&rates)).await {
            assert!(piece.len() <= RATE_PIECE_BYTES);
            came.extend_from_slice(&piece);
            times.push(began.elapsed().as_millis());
        }
        assert_eq!((came, times), (chunk().to_vec(), vec![0, 1000, 2000, 2001]));
    }

    #[tokio::test(start_paused = true)]
    async fn an_abandoned_body_gives_back_its_tokens() {
        let rates = rates(true);
        for _ in 0..100 {
            let mut paced = Paced::new(Direction::Received);
            paced.hold(chunk().slice(..RATE_PIECE_BYTES));
            while next(&mut paced, Some(&rates)).now_or_never().flatten().is_some() {}
            paced.give_up(Some(&rates));
        }
        assert!(rates.queue(Direction::Received, 1) <= Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_without_a_limit_is_not_delayed() {
        let mut paced = Paced::new(Direction::Sent);
        assert_eq!(next(&mut paced, None).now_or_never(), Some(None));
        paced.hold(chunk());
        assert_eq!(next(&mut paced, None).now_or_never(), Some(Some(chunk())));
        let unlimited = Rates::new(Vec::new(), true);
        paced.hold(chunk());
        assert_eq!(next(&mut paced, Some(&unlimited)).now_or_never(), Some(Some(chunk())));
    }

    #[tokio::test(start_paused = true)]
    async fn a_collected_body_is_counted_and_not_delayed() {
        let rates = rates(false);
        let mut body = Paced::new(Direction::Received);
        body.hold(chunk());
        for _ in 0..4 {
            assert!(next(&mut body, Some(&rates)).now_or_never().flatten().is_some());
        }
        assert!(rates.queue(Direction::Received, 1).is_zero(), "nor does more of it");
        assert!(rates.admitted[1].queue(Direction::Received, 1) > Duration::from_secs(2), "it was counted");
        rates.queue(Direction::Sent, RATE_PIECE_BYTES);
        assert_eq!(rates.queue(Direction::Sent, RATE_PIECE_BYTES), Duration::from_secs(1), "answers wait");
    }
}
