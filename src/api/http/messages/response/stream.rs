//! A response's body that is a stream. The connection's worker polls it; once the requests of its account are slow, it
//! continues in a slow lane. The processor time of the pieces is not known before they are read, so this can happen in
//! mid-stream.

use crate::api::sharing::{Seat, Turns};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use s3s::StdError;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::mpsc::{Receiver, channel};
use tokio_util::task::AbortOnDropHandle;

/// The number of polls that are not charged: most bodies are one piece and an end.
const UNCHARGED: usize = 2;

type Piece = Result<Bytes, StdError>;

/// The scheduler, and the seat of the request whose response the stream is.
#[derive(Clone)]
pub struct Shared {
    pub turns: Arc<Turns>,
    pub seat: Arc<Seat>,
}

pub struct ResponseStream {
    shared: Shared,
    polls: usize,
    place: Place,
}

enum Place {
    Here(s3s::Body),
    /// In a slow lane, which passes on one piece at a time.
    Elsewhere {
        pieces: Receiver<Piece>,
        _lane: AbortOnDropHandle<()>,
    },
}

impl ResponseStream {
    pub fn new(body: s3s::Body, shared: Shared) -> Self {
        Self { shared, polls: 0, place: Place::Here(body) }
    }

    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        let Shared { turns, seat } = &self.shared;
        self.polls += 1;
        let is_charged = self.polls > UNCHARGED;
        if let Place::Here(body) = &mut self.place
            && is_charged
            && turns.is_slow(seat)
        {
            self.place = elsewhere(&self.shared, std::mem::take(body));
        }
        match &mut self.place {
            Place::Here(body) => {
                let mut poll = || Pin::new(&mut *body).poll_next(cx);
                let next = if is_charged { turns.charged(seat, poll) } else { poll() };
                if let Poll::Ready(Some(Ok(piece))) = &next {
                    seat.passed(piece.len());
                }
                next
            }
            Place::Elsewhere { pieces, .. } => pieces.poll_recv(cx),
        }
    }
}

fn elsewhere(Shared { turns, seat }: &Shared, mut body: s3s::Body) -> Place {
    let (sender, pieces) = channel(1);
    let passed = Arc::clone(seat);
    let pump = async move {
        while let Some(piece) = body.next().await {
            passed.passed(piece.as_ref().map_or(0, Bytes::len));
            if sender.send(piece).await.is_err() {
                return;
            }
        }
    };
    Place::Elsewhere { pieces, _lane: turns.in_lane(seat, None, Box::pin(pump)) }
}

#[cfg(test)]
mod tests {
    use super::{ResponseStream, Shared};
    use crate::ambient::Clock;
    use crate::api::sharing::{BodyRoom, SlowLanes, Turns};
    use crate::types::UnixMs;
    use bytes::Bytes;
    use futures::{StreamExt, stream};
    use http_body::Frame;
    use http_body_util::StreamBody;
    use std::convert::Infallible;
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Arc, Mutex};
    use std::thread;
    use std::time::Duration;

    /// A clock that the tests advance.
    #[derive(Debug, Default)]
    struct Counted(AtomicU64);

    impl Clock for Counted {
        fn unix_ms(&self) -> UnixMs {
            UnixMs(0)
        }

        fn monotonic(&self) -> Duration {
            Duration::from_micros(self.0.load(Ordering::Relaxed))
        }
    }

    /// Reads a response of a hundred pieces that take this long each. Returns its bytes, and how many pieces a slow
    /// lane produced.
    async fn answered(piece_us: u64) -> (Vec<u8>, usize) {
        let clock = Arc::<Counted>::default();
        let turns = Turns::new(Arc::clone(&clock) as Arc<dyn Clock>, SlowLanes::start(1).expect("a thread"));
        let seat = BodyRoom::new(1 << 20).seat(Some([10, 0, 0, 1].into()));
        let threads = Arc::<Mutex<Vec<String>>>::default();
        let made_in = Arc::clone(&threads);
        let pieces = stream::iter(0..100u8).map(move |number| {
            clock.0.fetch_add(piece_us, Ordering::Relaxed);
            made_in.lock().expect("no panic").push(thread::current().name().unwrap_or_default().to_owned());
            Ok::<_, Infallible>(Frame::data(Bytes::from(vec![number])))
        });
        let body = s3s::Body::http_body_unsync(StreamBody::new(pieces));
        let mut stream = ResponseStream::new(body, Shared { turns, seat });
        let mut read = Vec::new();
        while let Some(piece) = poll_fn(|cx| stream.poll_next(cx)).await {
            read.extend(piece.expect("a piece"));
        }
        let in_lane = threads.lock().expect("no panic").iter().filter(|thread| *thread == "slow-lane-0").count();
        (read, in_lane)
    }

    #[tokio::test]
    async fn a_response_that_takes_much_processor_time_moves_to_a_slow_lane() {
        let (read, in_lane) = answered(500).await;
        assert_eq!(read, (0..100).collect::<Vec<u8>>());
        // Two polls are not charged, and the next 25 take the 12 ms that are free.
        assert_eq!(in_lane, 100 - 2 - 25);
    }

    #[tokio::test]
    async fn a_response_that_takes_little_processor_time_stays_on_the_worker() {
        assert_eq!(answered(20).await, ((0..100).collect(), 0));
    }
}
