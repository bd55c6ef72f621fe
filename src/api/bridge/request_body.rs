//! A request's body for s3s: counted, paced, and with its chunked framing made harmless.

use super::frames::{FrameFault, Frames};
use super::pace::Pace;
use super::payload::{PayloadHash, Sha256Mismatch};
use crate::api::request_log::RequestTrace;
use crate::api::s3::Fault;
use crate::api::wire::Trailers;
use actix_web::web::Payload;
use bytes::Bytes;
use futures::Stream;
use http_body::{Body, Frame, SizeHint};
use s3s::StdError;
use send_wrapper::SendWrapper;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::time::{Instant, Sleep, sleep};

/// actix's payload belongs to its worker; s3s asks for `Send`. The wrapper ends the process if another thread touches it,
/// so whoever is handed this body must read and drop it within the request's own future.
pub struct RequestBody {
    payload: SendWrapper<Payload>,
    frames: Option<Frames>,
    /// Reframed bytes not yet passed on.
    queue: VecDeque<Bytes>,
    /// Of the bytes as they come, where declared.
    length: Option<u64>,
    received: u64,
    pace: Pace,
    waiting: Option<Waiting>,
    trace: Arc<RequestTrace>,
    /// For what comes after the content, where its framing is taken apart here.
    trailers: Option<Trailers>,
    /// Until it was compared.
    hash: Option<PayloadHash>,
    ended: bool,
}

struct Waiting {
    since: Instant,
    until: Pin<Box<Sleep>>,
}

impl RequestBody {
    pub fn new(payload: Payload, frames: Option<Frames>, length: Option<u64>, trace: Arc<RequestTrace>) -> Self {
        Self {
            payload: SendWrapper::new(payload),
            frames,
            queue: VecDeque::new(),
            length,
            received: 0,
            pace: Pace::default(),
            waiting: None,
            trace,
            trailers: None,
            hash: None,
            ended: false,
        }
    }

    pub fn with_trailers(self, trailers: Trailers) -> Self {
        Self { trailers: Some(trailers), ..self }
    }

    pub fn with_hash(self, hash: Option<PayloadHash>) -> Self {
        Self { hash, ..self }
    }

    /// Once, when all that was declared has come. The trace tells what the hash is, and whoever reads XML what was wrong.
    fn compare(&mut self) -> Result<(), StdError> {
        let Some(Err(made)) = self.hash.take().map(PayloadHash::compare) else { return Ok(()) };
        self.trace.detailed(vec![("S3ComputedContentSHA256", made)]);
        self.trace.failed(Fault::InvalidContentSha256);
        Err(Box::new(Sha256Mismatch))
    }

    /// At the end of what the connection has.
    fn end(&mut self) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        // One that was cut off is told as such by whoever counts.
        if self.length.is_none_or(|length| length == self.received)
            && let Err(differs) = self.compare()
        {
            return Poll::Ready(Some(Err(differs)));
        }
        self.ended = true;
        let kept = self.frames.as_mut().map(|frames| frames.end(&mut self.queue)).transpose();
        match (kept, &self.trailers) {
            (Err(fault), _) => return Poll::Ready(Some(Err(Box::new(fault)))),
            (Ok(Some(kept)), Some(trailers)) => trailers.put(&kept),
            (Ok(_), _) => {}
        }
        Poll::Ready(self.queue.pop_front().map(|bytes| Ok(Frame::data(bytes))))
    }

    /// What the answer says of a fault of the framing.
    fn tell(&self, fault: FrameFault) -> StdError {
        if let FrameFault::TooSmall { next, size } = fault {
            self.trace.detailed(vec![("Chunk", next.to_string()), ("BadChunkSize", size.to_string())]);
        }
        Box::new(fault)
    }

    /// The next bytes from the connection, or the client's failure to send any.
    fn poll_payload(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, StdError>>> {
        loop {
            match Pin::new(&mut *self.payload).poll_next(cx) {
                Poll::Ready(Some(Ok(chunk))) => {
                    let waited = self.waiting.take().map(|waiting| waiting.since.elapsed()).unwrap_or_default();
                    self.pace.received(waited, chunk.len() as u64);
                    self.received += chunk.len() as u64;
                    self.trace.received(chunk.len());
                    if let Err(stalled) = self.pace.judge(std::time::Duration::ZERO) {
                        return Poll::Ready(Some(Err(Box::new(stalled))));
                    }
                    return Poll::Ready(Some(Ok(chunk)));
                }
                Poll::Ready(Some(Err(error))) => {
                    return Poll::Ready(Some(Err(format!("the connection failed: {error}").into())));
                }
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => {}
            }
            let patience = self.pace.patience();
            let waiting =
                self.waiting.get_or_insert_with(|| Waiting { since: Instant::now(), until: Box::pin(sleep(patience)) });
            ready!(waiting.until.as_mut().poll(cx));
            let waited = waiting.since.elapsed();
            self.waiting = None;
            if let Err(stalled) = self.pace.judge(waited) {
                return Poll::Ready(Some(Err(Box::new(stalled))));
            }
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let this = &mut *self;
        loop {
            if let Some(bytes) = this.queue.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if this.ended {
                return Poll::Ready(None);
            }
            let next = ready!(this.poll_payload(cx));
            match (next, &mut this.frames) {
                (Some(Ok(chunk)), Some(frames)) => {
                    if let Err(fault) = frames.push(chunk, &mut this.queue) {
                        return Poll::Ready(Some(Err(this.tell(fault))));
                    }
                }
                (None, _) => return this.end(),
                (Some(Ok(chunk)), None) => {
                    if let Some(hash) = &mut this.hash {
                        hash.update(&chunk);
                    }
                    // s3s compares with the last byte, and does not ask for the end.
                    if this.length == Some(this.received)
                        && let Err(differs) = this.compare()
                    {
                        return Poll::Ready(Some(Err(differs)));
                    }
                    return Poll::Ready(Some(Ok(Frame::data(chunk))));
                }
                (Some(Err(error)), _) => return Poll::Ready(Some(Err(error))),
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.frames, self.length) {
            (None, Some(length)) => SizeHint::with_exact(length.saturating_sub(self.received)),
            _ => SizeHint::default(),
        }
    }
}
