//! The conversion of a response from s3s's types to actix-web's, and the timeout of clients that do not read it. If a
//! client takes nothing for too long the body's stream is dropped, so a stream holds its permits and read-ahead chunks
//! for a bounded time.

mod stream;

pub use stream::Shared;

use super::references::with_references;
use super::request::values;
use crate::api::http::request_log::RequestRecord;
use crate::api::rates::{Direction, Paced};
use actix_web::HttpResponse;
use actix_web::body::{BodySize, MessageBody};
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue};
use bytes::Bytes;
use std::cell::RefCell;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use stream::ResponseStream;
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

/// The longest time for which a client may leave a chunk unread.
const READER_IDLE_MAX: Duration = Duration::from_secs(120);
/// The largest piece of a body that is handed to the connection, whose buffer takes it whole. A larger body keeps what
/// it holds until the client has read nearly all of it.
pub const SLICE_BYTES: usize = 64 << 10;

/// The response of s3s, with the state of its request, to be converted.
pub struct Answer {
    pub response: s3s::HttpResponse,
    pub is_head: bool,
    pub record: RequestRecord,
    /// The scheduler and the seat to which the polls of a streamed body are charged.
    pub shared: Shared,
}

impl Answer {
    pub fn into_response(self) -> HttpResponse<ResponseBody> {
        let (parts, body) = self.response.into_parts();
        let status = StatusCode::from_u16(parts.status.as_u16()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let declared =
            parts.headers.get(http::header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let mut response = HttpResponse::new(status);
        let bytes = parts.headers.values().map(http::HeaderValue::len).sum();
        let mut values = values(bytes, parts.headers.values().map(http::HeaderValue::as_bytes));
        response.headers_mut().reserve(parts.headers.len());
        for (name, value) in &parts.headers {
            let value = HeaderValue::from_maybe_shared(values.split_to(value.len()));
            if matches!(*name, http::header::CONTENT_LENGTH | http::header::TRANSFER_ENCODING) {
                continue;
            }
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_str().as_bytes()), value) {
                response.headers_mut().append(name, value);
            }
        }
        let is_xml = is_xml(&parts.headers);
        let bodiless = status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
        let (size, content) = match body.bytes() {
            _ if bodiless => (BodySize::None, Content::Done),
            // HEAD: the length that a GET would have, without a body.
            _ if self.is_head => (BodySize::Sized(declared.unwrap_or(0)), Content::Done),
            Some(bytes) if bytes.len() <= SLICE_BYTES => {
                let bytes = if is_xml && !parts.status.is_success() { with_references(bytes) } else { bytes };
                (BodySize::Sized(bytes.len() as u64), Content::Whole(bytes))
            }
            whole => {
                let exact = whole.map(|bytes| bytes.len() as u64).or(declared);
                let exact = exact.or_else(|| http_body::Body::size_hint(&body).exact());
                let stream = ResponseStream::new(body, self.shared);
                (exact.map_or(BodySize::Stream, BodySize::Sized), Content::Stream(Stream::new(stream)))
            }
        };
        let mut record = self.record;
        record.answered(status.as_u16());
        response.set_body(ResponseBody { size, content, paced: Paced::new(Direction::Sent), record })
    }
}

fn is_xml(headers: &http::HeaderMap) -> bool {
    headers.get(http::header::CONTENT_TYPE).is_some_and(|kind| kind == "application/xml")
}

/// Replaces control characters in the XML of a successful response by references. Objects are streams, so XML that is
/// whole in memory was written by this server. The XML of an error is written later, and is treated then.
pub fn referenced(mut response: s3s::HttpResponse) -> s3s::HttpResponse {
    let is_complete = response.status().is_success() && is_xml(response.headers());
    if let Some(bytes) = response.body().bytes().filter(|_| is_complete) {
        *response.body_mut() = s3s::Body::from(with_references(bytes));
    }
    response
}

enum Content {
    Done,
    Whole(Bytes),
    Stream(Stream),
}

/// A streamed body, and the task that gives its client up. However small the body is, the connection may not poll it
/// for long: its buffer may be full of earlier responses.
struct Stream {
    watched: Rc<RefCell<Watched>>,
    _watch: AbortOnDropHandle<()>,
}

impl Stream {
    fn new(body: ResponseStream) -> Self {
        let watched = Watched { body: Some(body), rest: Bytes::new(), reader_since: Some(Instant::now()) };
        let watched = Rc::new(RefCell::new(watched));
        let watch = AbortOnDropHandle::new(actix_web::rt::spawn(watch(Rc::downgrade(&watched))));
        Self { watched, _watch: watch }
    }
}

struct Watched {
    /// `None` once the client was given up.
    body: Option<ResponseStream>,
    /// What is left of the last chunk.
    rest: Bytes,
    /// The time since which the client has left the last chunk unread, or has not begun to read; `None` while it waits
    /// for a chunk.
    reader_since: Option<Instant>,
}

impl Watched {
    fn poll_slice(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(Some(Err(Broken("the client did not read for too long".to_owned()))));
        };
        while self.rest.is_empty() {
            match ready!(body.poll_next(cx)) {
                Some(Ok(chunk)) => self.rest = chunk,
                Some(Err(error)) => return Poll::Ready(Some(Err(Broken(error.to_string())))),
                None => return Poll::Ready(None),
            }
        }
        Poll::Ready(Some(Ok(self.rest.split_to(self.rest.len().min(SLICE_BYTES)))))
    }
}

async fn watch(stream: Weak<RefCell<Watched>>) {
    loop {
        sleep(READER_IDLE_MAX / 2).await;
        let Some(stream) = stream.upgrade() else { return };
        let mut stream = stream.borrow_mut();
        if stream.reader_since.is_some_and(|since| since.elapsed() > READER_IDLE_MAX) {
            (stream.body, stream.rest) = (None, Bytes::new());
            return;
        }
    }
}

/// The error with which a response's body ends early. actix then closes the connection, so that the client sees that
/// the body is incomplete.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Broken(String);

/// The body of a response. The request is logged and counted when the body is dropped.
pub struct ResponseBody {
    size: BodySize,
    content: Content,
    /// The bytes that wait for a limit on rates.
    paced: Paced,
    record: RequestRecord,
}

impl ResponseBody {
    fn poll_content(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        match &mut self.content {
            Content::Done => Poll::Ready(None),
            Content::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                self.content = Content::Done;
                Poll::Ready((!bytes.is_empty()).then_some(Ok(bytes)))
            }
            Content::Stream(stream) => stream.watched.borrow_mut().poll_slice(cx),
        }
    }

    fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        loop {
            if let Some(chunk) = ready!(self.paced.poll_next(self.record.trace.rates(), cx)) {
                return Poll::Ready(Some(Ok(chunk)));
            }
            match ready!(self.poll_content(cx)) {
                Some(Ok(chunk)) => self.paced.hold(chunk),
                ended => return Poll::Ready(ended),
            }
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        self.paced.give_up(self.record.trace.rates());
    }
}

impl MessageBody for ResponseBody {
    type Error = Broken;

    fn size(&self) -> BodySize {
        self.size
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        let this = &mut *self;
        let next = this.poll_due(cx);
        if let Content::Stream(stream) = &this.content {
            // While the client waits for a chunk it is not idle.
            stream.watched.borrow_mut().reader_since = next.is_ready().then(Instant::now);
        }
        match &next {
            Poll::Ready(Some(Ok(chunk))) => this.record.sent(chunk.len()),
            Poll::Ready(Some(Err(error))) => this.record.broken(error.to_string()),
            Poll::Ready(None) | Poll::Pending => {}
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer, READER_IDLE_MAX, ResponseBody, Shared};
    use crate::ambient::Ambient;
    use crate::api::http::request_log::RequestRecord;
    use crate::api::sharing::{BodyRoom, SlowLanes, Turns};
    use actix_web::body::MessageBody;
    use actix_web::http::{Method, Uri};
    use bytes::Bytes;
    use futures::{StreamExt, stream};
    use http_body::Frame;
    use http_body_util::StreamBody;
    use std::convert::Infallible;
    use std::future::poll_fn;
    use std::pin::Pin;
    use std::sync::{Arc, Weak};

    /// A response of 40 KiB in two pieces, whose stream holds a permit.
    fn small_response() -> (ResponseBody, Weak<()>) {
        let permit = Arc::new(());
        let held = Arc::downgrade(&permit);
        let pieces = stream::iter(0..2u8).map(move |number| {
            let _held = &permit;
            Ok::<_, Infallible>(Frame::data(Bytes::from(vec![number; 20 << 10])))
        });
        let body = s3s::Body::http_body_unsync(StreamBody::new(pieces));
        let turns = Turns::new(Arc::clone(&Ambient::system().clock), SlowLanes::start(1).expect("a thread"));
        let shared = Shared { turns, seat: BodyRoom::new(1 << 20).seat(Some([10, 0, 0, 1].into())) };
        let record = RequestRecord::begin("1".into(), Method::GET, Uri::from_static("/"), None);
        let mut response = s3s::HttpResponse::new(body);
        response.headers_mut().insert(http::header::CONTENT_LENGTH, (40 << 10).into());
        let answer = Answer { response, is_head: false, record, shared };
        (answer.into_response().into_body(), held)
    }

    /// A connection whose buffer is full of earlier responses does not poll a body, however small it is.
    #[actix::test]
    async fn a_small_response_that_its_client_does_not_read_is_given_up() {
        tokio::time::pause();
        for polled in [false, true] {
            let (mut body, held) = small_response();
            if polled {
                let piece = poll_fn(|cx| Pin::new(&mut body).poll_next(cx)).await.expect("more").expect("a piece");
                assert_eq!(piece.len(), 20 << 10);
            }
            assert!(held.upgrade().is_some());
            tokio::time::sleep(READER_IDLE_MAX * 2).await;
            assert!(held.upgrade().is_none(), "the stream is dropped with its permit");
            assert!(poll_fn(|cx| Pin::new(&mut body).poll_next(cx)).await.expect("more").is_err());
        }
    }
}
