//! The body of a request as it comes from its connection: counted, and paced.

use super::pace::Pace;
use crate::api::call::RequestTrace;
use crate::api::rates::{Direction, Paced};
use actix_web::web::Payload;
use bytes::Bytes;
use futures::Stream;
use http_body::{Body, Frame, SizeHint};
use s3s::StdError;
use send_wrapper::SendWrapper;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::time::{Instant, Sleep, sleep};

/// The bytes of a body. actix's payload belongs to its worker, and s3s asks for `Send`: the wrapper ends the process if
/// another thread touches it, so whoever is handed this body must read and drop it within the request's own future.
pub struct RequestBody {
    payload: SendWrapper<Payload>,
    /// The declared length.
    length: Option<u64>,
    passed_on: u64,
    pace: Pace,
    /// What waits for a limit on rates.
    paced: Paced,
    waiting: Option<Waiting>,
    trace: Arc<RequestTrace>,
}

struct Waiting {
    since: Instant,
    until: Pin<Box<Sleep>>,
}

impl RequestBody {
    pub fn new(payload: Payload, length: Option<u64>, trace: Arc<RequestTrace>) -> Self {
        let payload = SendWrapper::new(payload);
        let paced = Paced::new(Direction::Received);
        Self { payload, length, passed_on: 0, pace: Pace::default(), paced, waiting: None, trace }
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
            match Pin::new(&mut *this.payload).poll_next(cx) {
                Poll::Ready(Some(Ok(chunk))) => {
                    let waited = this.waiting.take().map(|waiting| waiting.since.elapsed()).unwrap_or_default();
                    this.pace.received(waited, chunk.len() as u64);
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
