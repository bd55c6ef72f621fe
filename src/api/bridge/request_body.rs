//! The body of a request as it comes from its connection: counted, and paced. The connection's side stays on its worker, and
//! hands over a piece when the request has asked for one: the request itself may be carried out on another thread.

use super::pace::Pace;
use crate::api::call::RequestTrace;
use crate::api::rates::{Direction, Paced};
use crate::api::room::{Connection, Seat};
use actix_web::web::Payload;
use bytes::Bytes;
use futures::Stream;
use http_body::{Body, Frame, SizeHint};
use s3s::StdError;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use tokio::time::{Instant, Sleep, sleep};

/// What came: a piece, the connection's failure, or the end.
type Came = Option<Result<Bytes, String>>;

/// The place where pieces are handed over, one at a time.
#[derive(Debug, Default)]
struct HandOver {
    came: Option<Came>,
    /// The request that waits for a piece.
    asked: Option<Waker>,
    /// The worker, where it waits for the request to ask.
    worker: Option<Waker>,
}

fn locked(place: &Mutex<HandOver>) -> MutexGuard<'_, HandOver> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The connection's side of a body, which belongs to its worker.
pub struct BodySource<S = Payload> {
    payload: S,
    place: Arc<Mutex<HandOver>>,
}

impl<S, E> Connection for BodySource<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: ToString,
{
    fn hand_over(&mut self, cx: &mut Context<'_>, is_elsewhere: bool) -> bool {
        let mut place = locked(&self.place);
        if place.asked.is_none() {
            // Where the request is polled here, nobody has to wake who polls it.
            place.worker = is_elsewhere.then(|| cx.waker().clone());
            return false;
        }
        drop(place);
        let Poll::Ready(piece) = Pin::new(&mut self.payload).poll_next(cx) else { return false };
        let mut place = locked(&self.place);
        place.came = Some(piece.map(|piece| piece.map_err(|error| error.to_string())));
        if let Some(asked) = place.asked.take().filter(|_| is_elsewhere) {
            asked.wake();
        }
        true
    }
}

/// The bytes of a body, as the request asks for them.
pub struct RequestBody {
    place: Arc<Mutex<HandOver>>,
    /// The declared length.
    length: Option<u64>,
    passed_on: u64,
    ended: bool,
    pace: Pace,
    /// What waits for a limit on rates.
    paced: Paced,
    waiting: Option<Waiting>,
    seat: Arc<Seat>,
    trace: Arc<RequestTrace>,
}

struct Waiting {
    since: Instant,
    until: Pin<Box<Sleep>>,
}

impl RequestBody {
    /// The two sides of a body.
    pub fn of<S>(
        payload: S,
        length: Option<u64>,
        seat: &Arc<Seat>,
        trace: &Arc<RequestTrace>,
    ) -> (BodySource<S>, RequestBody) {
        let place = Arc::<Mutex<HandOver>>::default();
        let body = Self {
            place: Arc::clone(&place),
            length,
            passed_on: 0,
            ended: false,
            pace: Pace::default(),
            paced: Paced::new(Direction::Received),
            waiting: None,
            seat: Arc::clone(seat),
            trace: Arc::clone(trace),
        };
        (BodySource { payload, place }, body)
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Came> {
        if self.ended {
            return Poll::Ready(None);
        }
        let mut place = locked(&self.place);
        if let Some(came) = place.came.take() {
            self.ended = came.is_none();
            return Poll::Ready(came);
        }
        place.asked = Some(cx.waker().clone());
        if let Some(worker) = place.worker.take() {
            worker.wake();
        }
        Poll::Pending
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = StdError;

    /// Ends with the connection's failure, or with that of a client which sends too little.
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let this = &mut *self;
        loop {
            if let Some(chunk) = ready!(this.paced.poll_next(this.trace.rates(), cx)) {
                this.passed_on += chunk.len() as u64;
                return Poll::Ready(Some(Ok(Frame::data(chunk))));
            }
            match this.poll_piece(cx) {
                Poll::Ready(Some(Ok(chunk))) => {
                    let waited = this.waiting.take().map(|waiting| waiting.since.elapsed()).unwrap_or_default();
                    this.pace.received(waited, chunk.len() as u64);
                    this.seat.passed(chunk.len());
                    this.trace.received(chunk.len());
                    if let Err(stalled) = this.pace.judge(std::time::Duration::ZERO) {
                        return Poll::Ready(Some(Err(Box::new(stalled))));
                    }
                    this.paced.hold(chunk);
                    continue;
                }
                Poll::Ready(Some(Err(error))) => {
                    return Poll::Ready(Some(Err(format!("the connection failed: {error}").into())));
                }
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => {}
            }
            let patience = this.pace.patience();
            let waiting =
                this.waiting.get_or_insert_with(|| Waiting { since: Instant::now(), until: Box::pin(sleep(patience)) });
            ready!(waiting.until.as_mut().poll(cx));
            let waited = waiting.since.elapsed();
            this.waiting = None;
            if let Err(stalled) = this.pace.judge(waited) {
                return Poll::Ready(Some(Err(Box::new(stalled))));
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self.length {
            Some(length) => SizeHint::with_exact(length.saturating_sub(self.passed_on)),
            None => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BodySource, RequestBody};
    use crate::api::room::{BodyRoom, Connection};
    use bytes::Bytes;
    use futures::{Stream, StreamExt, stream};
    use std::future::poll_fn;
    use std::pin::Pin;
    use std::task::Poll;
    use std::thread;
    use tokio::runtime::Builder;
    use tokio::task::yield_now;

    type Pieces = Pin<Box<dyn Stream<Item = Result<Bytes, &'static str>>>>;

    fn of(pieces: Vec<Result<Bytes, &'static str>>) -> (BodySource<Pieces>, s3s::Body) {
        // Each comes a while after it was asked for.
        let late = stream::iter(pieces).then(|piece| async {
            yield_now().await;
            piece
        });
        let seat = BodyRoom::new(1 << 20).seat(None);
        let (source, body) = RequestBody::of(Box::pin(late) as Pieces, None, &seat, &Default::default());
        (source, s3s::Body::http_body_unsync(body))
    }

    async fn read(mut body: s3s::Body) -> Result<Vec<Bytes>, String> {
        let mut read = Vec::new();
        while let Some(piece) = body.next().await {
            read.push(piece.map_err(|error| error.to_string())?);
        }
        Ok(read)
    }

    /// What a request reads whose worker hands over: in the same task, or from another thread.
    fn handed_over(pieces: Vec<Result<Bytes, &'static str>>, is_elsewhere: bool) -> Result<Vec<Bytes>, String> {
        let runtime = || Builder::new_current_thread().enable_time().build().expect("a runtime");
        let (mut source, body) = of(pieces);
        if !is_elsewhere {
            let mut reading = Box::pin(read(body));
            return runtime().block_on(poll_fn(|cx| {
                loop {
                    match reading.as_mut().poll(cx) {
                        Poll::Pending if source.hand_over(cx, false) => {}
                        polled => return polled,
                    }
                }
            }));
        }
        let (done, mut is_done) = tokio::sync::oneshot::channel();
        let reader = thread::spawn(move || {
            let read = runtime().block_on(read(body));
            let _ = done.send(());
            read
        });
        runtime().block_on(poll_fn(|cx| {
            while source.hand_over(cx, true) {}
            Pin::new(&mut is_done).poll(cx).map(|_| ())
        }));
        reader.join().expect("it read")
    }

    #[test]
    fn a_body_is_the_same_wherever_its_request_is_carried_out() {
        for is_elsewhere in [false, true] {
            let pieces: Vec<_> = (0..200u8).map(|number| Bytes::from(vec![number; 3])).collect();
            let read = handed_over(pieces.iter().cloned().map(Ok).collect(), is_elsewhere);
            assert_eq!(read, Ok(pieces), "{is_elsewhere}");
            let broken = handed_over(vec![Ok(Bytes::from_static(b"a")), Err("reset")], is_elsewhere);
            assert_eq!(broken, Err("the connection failed: reset".to_owned()), "{is_elsewhere}");
        }
    }

    #[test]
    fn nothing_is_taken_from_a_connection_before_the_request_asks_for_it() {
        let (mut source, body) = of(vec![Ok(Bytes::from_static(b"a"))]);
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        for is_elsewhere in [false, true] {
            assert!(!source.hand_over(&mut cx, is_elsewhere));
        }
        drop(body);
    }
}
