//! The body of a request between its connection and the request's task: counted, held to a least speed of the client,
//! and held back by limits on rates. A request that runs on the connection's worker polls the connection itself. To a
//! request on another thread the worker hands over one piece at a time, when the request has asked for it.

use super::pace::Pace;
use crate::api::call::RequestTrace;
use crate::api::rates::{Direction, Paced};
use crate::api::sharing::{Connection, Seat};
use actix_web::web::Payload;
use bytes::Bytes;
use futures::Stream;
use http_body::{Body, Frame, SizeHint};
use s3s::StdError;
use send_wrapper::SendWrapper;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use tokio::time::{Instant, Sleep, sleep};

/// The outcome of a read: bytes, the connection's failure, or the end (`None`).
type Piece = Option<Result<Bytes, String>>;

/// The state that the connection's side and the request's side of a body share.
struct Place<S> {
    /// The connection's stream; only the thread of its worker uses it. `None` once the connection's side was dropped.
    payload: Option<SendWrapper<S>>,
    /// The piece that was handed over to the request on another thread, until that takes it.
    piece: Option<Piece>,
    /// The request on another thread that waits for a piece.
    reader: Option<Waker>,
    /// The worker that waits for that request to ask.
    worker: Option<Waker>,
}

impl<S, E> Place<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: ToString,
{
    fn poll_payload(&mut self, cx: &mut Context<'_>) -> Poll<Piece> {
        let Some(payload) = &mut self.payload else { return Poll::Pending };
        let piece = ready!(Pin::new(&mut **payload).poll_next(cx));
        Poll::Ready(piece.map(|piece| piece.map_err(|error| error.to_string())))
    }
}

fn locked<S>(place: &Mutex<Place<S>>) -> MutexGuard<'_, Place<S>> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The connection's side of a body, which belongs to its worker.
pub struct BodySource<S = Payload>(Arc<Mutex<Place<S>>>);

impl<S, E> Connection for BodySource<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: ToString,
{
    fn hand_over(&mut self, cx: &mut Context<'_>) -> bool {
        let mut place = locked(&self.0);
        if place.reader.is_none() {
            place.worker = Some(cx.waker().clone());
            return false;
        }
        let Poll::Ready(piece) = place.poll_payload(cx) else { return false };
        place.piece = Some(piece);
        place.reader.take().into_iter().for_each(Waker::wake);
        true
    }
}

impl<S> Drop for BodySource<S> {
    fn drop(&mut self) {
        let payload = locked(&self.0).payload.take();
        drop(payload);
    }
}

/// The request's side of a body.
pub struct RequestBody<S = Payload> {
    place: Arc<Mutex<Place<S>>>,
    /// The declared length.
    length: Option<u64>,
    passed_on: u64,
    ended: bool,
    pace: Pace,
    /// The bytes that wait for a limit on rates.
    paced: Paced,
    waiting: Option<Waiting>,
    seat: Arc<Seat>,
    trace: Arc<RequestTrace>,
}

struct Waiting {
    since: Instant,
    until: Pin<Box<Sleep>>,
}

impl<S, E> RequestBody<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: ToString,
{
    /// Creates the two sides of a body. Must be called on the connection's worker.
    pub fn of(
        payload: S,
        length: Option<u64>,
        seat: &Arc<Seat>,
        trace: &Arc<RequestTrace>,
    ) -> (BodySource<S>, RequestBody<S>) {
        let payload = Some(SendWrapper::new(payload));
        let place = Arc::new(Mutex::new(Place { payload, piece: None, reader: None, worker: None }));
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
        (BodySource(place), body)
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Piece> {
        if self.ended {
            return Poll::Ready(None);
        }
        let mut place = locked(&self.place);
        let is_here = place.payload.as_ref().is_some_and(SendWrapper::valid);
        let piece = match place.piece.take() {
            Some(piece) => piece,
            None if is_here => ready!(place.poll_payload(cx)),
            None => {
                place.reader = Some(cx.waker().clone());
                place.worker.take().into_iter().for_each(Waker::wake);
                return Poll::Pending;
            }
        };
        self.ended = piece.is_none();
        Poll::Ready(piece)
    }
}

impl<S> Drop for RequestBody<S> {
    fn drop(&mut self) {
        self.paced.give_up(self.trace.rates());
    }
}

impl<S, E> Body for RequestBody<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: ToString,
{
    type Data = Bytes;
    type Error = StdError;

    /// Fails if the connection fails, or if the client sends less than the least speed.
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
                    this.trace.add_received(chunk.len());
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
    use crate::api::sharing::{BodyRoom, Connection};
    use bytes::Bytes;
    use futures::{Stream, StreamExt, stream};
    use std::future::poll_fn;
    use std::pin::Pin;
    use std::thread;
    use tokio::runtime::Builder;
    use tokio::task::yield_now;

    type Pieces = Pin<Box<dyn Stream<Item = Result<Bytes, &'static str>>>>;

    fn of(pieces: Vec<Result<Bytes, &'static str>>) -> (BodySource<Pieces>, s3s::Body) {
        // Each piece is ready one poll after it was asked for.
        let late = stream::iter(pieces).then(|piece| async {
            yield_now().await;
            piece
        });
        let seat = BodyRoom::new(1 << 20).seat(None);
        let (source, body) = RequestBody::of(Box::pin(late) as Pieces, None, &seat, &Default::default());
        (source, s3s::Body::http_body_unsync(body))
    }

    async fn read(body: &mut s3s::Body, count_max: usize) -> Result<Vec<Bytes>, String> {
        let mut read = Vec::new();
        while read.len() < count_max {
            let Some(piece) = body.next().await else { break };
            read.push(piece.map_err(|error| error.to_string())?);
        }
        Ok(read)
    }

    /// Reads the first `on_worker` pieces on the worker, and the others on another thread.
    fn read_by(pieces: Vec<Result<Bytes, &'static str>>, on_worker: usize) -> Result<Vec<Bytes>, String> {
        let runtime = || Builder::new_current_thread().enable_time().build().expect("a runtime");
        let (mut source, mut body) = of(pieces);
        let mut taken = runtime().block_on(read(&mut body, on_worker))?;
        let (done, mut is_done) = tokio::sync::oneshot::channel();
        let reader = thread::spawn(move || {
            let read = runtime().block_on(read(&mut body, usize::MAX));
            let _ = done.send(());
            read
        });
        runtime().block_on(poll_fn(|cx| {
            while source.hand_over(cx) {}
            Pin::new(&mut is_done).poll(cx).map(|_| ())
        }));
        taken.extend(reader.join().expect("it read")?);
        Ok(taken)
    }

    #[test]
    fn a_body_read_on_another_thread_is_the_same() {
        for on_worker in [0, 1, 77, 200, 1000] {
            let pieces: Vec<_> = (0..200u8).map(|number| Bytes::from(vec![number; 3])).collect();
            let read = read_by(pieces.iter().cloned().map(Ok).collect(), on_worker);
            assert_eq!(read, Ok(pieces), "{on_worker}");
            let broken = read_by(vec![Ok(Bytes::from_static(b"a")), Err("reset")], on_worker);
            assert_eq!(broken, Err("the connection failed: reset".to_owned()), "{on_worker}");
        }
    }

    #[test]
    fn a_connection_is_dropped_on_its_worker_even_if_another_thread_has_the_body() {
        let (source, body) = of(vec![Ok(Bytes::from_static(b"a"))]);
        drop(source);
        thread::spawn(move || drop(body)).join().expect("the connection was dropped on its worker");
    }

    #[test]
    fn nothing_is_read_from_a_connection_before_the_request_asks_for_it() {
        let (mut source, body) = of(vec![Ok(Bytes::from_static(b"a"))]);
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(!source.hand_over(&mut cx));
        drop(body);
    }
}
