//! `Expect: 100-continue` (RFC 9110 section 10.1.1): a client that sends this header holds its body back until it
//! receives "100 Continue". The server sends that when the handler first reads the body, so a request that is refused
//! by its head alone is refused before the client sends the body.
//!
//! actix-http calls an expect service, [`Expecting`], with the head of such a request. If the service returns a
//! request, actix-http sends "100 Continue" and calls the main service, [`Continuing`], with it; if it returns an
//! error, that is the response:
//!
//! ```text
//!  head ──► Expecting runs the handler ──► response ready: sent; the connection closes if a body was announced
//!                                     └──► body read: "100 Continue" ──► Continuing runs the handler to its end
//! ```

use super::pipelining::Framing;
use actix_http::body::{BodySize, BoxBody, MessageBody};
use actix_http::error::PayloadError;
use actix_http::{ConnectionType, Payload, Request, Response};
use actix_service::{Service, ServiceFactory, fn_factory};
use actix_web::HttpMessage;
use actix_web::dev::{AppConfig, ServiceResponse};
use bytes::Bytes;
use futures::future::{Either, LocalBoxFuture};
use futures::{FutureExt, Stream};
use std::cell::{Cell, RefCell};
use std::error::Error;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

type Answer = LocalBoxFuture<'static, Result<ServiceResponse, actix_web::Error>>;

/// A handler that waits for the body; it is an extension of the empty request that [`Expecting`] returns.
struct Begun(Answer);

/// The expect service: runs the handler of a request until it responds or reads the body.
pub struct Expecting<S> {
    app: S,
}

/// The main service: resumes the handlers that [`Expecting`] began, and runs those of all other requests.
pub struct Continuing<S> {
    app: S,
}

impl<S> Expecting<S> {
    pub fn new(app: S) -> Self {
        Self { app }
    }
}

impl<S> Continuing<S> {
    pub fn new(app: S) -> Self {
        Self { app }
    }
}

/// Returns a factory that, for each worker, builds the application and wraps it in the service that `wrap` returns.
pub fn wrapped<A, S, R, E>(
    app: A,
    wrap: impl Fn(A::Service) -> S + Copy + 'static,
) -> impl ServiceFactory<
    Request,
    Config = (),
    Response = R,
    Error = E,
    InitError = (),
    Service: Service<Request, Future: 'static> + 'static,
    Future: 'static,
>
where
    A: ServiceFactory<Request, Config = AppConfig, InitError = (), Future: 'static>,
    S: Service<Request, Response = R, Error = E, Future: 'static> + 'static,
{
    fn_factory(move || app.new_service(AppConfig::default()).map(move |app| app.map(wrap)))
}

impl<S> Service<Request> for Expecting<S>
where
    S: Service<Request, Response = ServiceResponse, Error = actix_web::Error, Future: 'static>,
{
    type Response = Request;
    type Error = Response<BoxBody>;
    type Future = LocalBoxFuture<'static, Result<Request, Response<BoxBody>>>;

    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.app.poll_ready(cx).map_err(Response::from)
    }

    fn call(&self, mut request: Request) -> Self::Future {
        Framing::note(&mut request);
        let noted = Noted::new(request.take_payload());
        *request.payload() = Payload::Stream { payload: Box::pin(noted.clone()) };
        let mut answer: Option<Answer> = Some(self.app.call(request).boxed_local());
        poll_fn(move |cx| {
            if let Some(Poll::Ready(answered)) = answer.as_mut().map(|answer| answer.poll_unpin(cx)) {
                let response = answered.map_or_else(Response::from, Response::from);
                return Poll::Ready(Err(noted.closing_if_unasked(response)));
            }
            match answer.take_if(|_| noted.asked.get()) {
                Some(answer) => Poll::Ready(Ok(told_to_go_on(answer))),
                None => Poll::Pending,
            }
        })
        .boxed_local()
    }
}

fn told_to_go_on(answer: Answer) -> Request {
    let request = Request::new();
    request.extensions_mut().insert(Begun(answer));
    request
}

impl<S> Service<Request> for Continuing<S>
where
    S: Service<Request, Response = ServiceResponse, Error = actix_web::Error>,
{
    type Response = ServiceResponse;
    type Error = actix_web::Error;
    type Future = Either<Answer, S::Future>;

    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.app.poll_ready(cx)
    }

    fn call(&self, mut request: Request) -> Self::Future {
        let begun = request.extensions_mut().remove::<Begun>();
        match begun {
            Some(Begun(answer)) => Either::Left(answer),
            None => {
                Framing::note(&mut request);
                Either::Right(self.app.call(request))
            }
        }
    }
}

/// The body of a request, with a flag that is set when the handler first reads it.
#[derive(Clone)]
struct Noted {
    payload: Rc<RefCell<Payload>>,
    announced: bool,
    asked: Rc<Cell<bool>>,
}

impl Noted {
    fn new(payload: Payload) -> Self {
        let announced = !matches!(payload, Payload::None);
        Self { payload: Rc::new(RefCell::new(payload)), announced, asked: Rc::default() }
    }

    /// Makes the response close the connection if a body was announced and the handler did not read it. The client may
    /// send that body or leave it out, so the next bytes on the connection could be the body or another request.
    fn closing_if_unasked(&self, mut response: Response<BoxBody>) -> Response<BoxBody> {
        if !self.announced || self.asked.get() {
            return response;
        }
        response.head_mut().set_connection_type(ConnectionType::Close);
        let unread = Rc::clone(&self.payload);
        response.map_body(|_, body| BoxBody::new(Kept { body, _unread: unread }))
    }
}

impl Stream for Noted {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.asked.set(true);
        Pin::new(&mut *self.payload.borrow_mut()).poll_next(cx)
    }
}

/// The body of a response that keeps the unread body of its request alive. If a chunked request body were dropped,
/// actix-http would wait for its end instead of closing the connection.
struct Kept {
    body: BoxBody,
    _unread: Rc<RefCell<Payload>>,
}

impl MessageBody for Kept {
    type Error = Box<dyn Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::{Begun, Continuing, Expecting};
    use actix_http::body::to_bytes;
    use actix_http::{ConnectionType, Payload, Request};
    use actix_service::{Service, ServiceFactory};
    use actix_web::dev::AppConfig;
    use actix_web::test::TestRequest;
    use actix_web::web::{Bytes, post, put};
    use actix_web::{App, HttpMessage, HttpResponse};
    use futures::channel::mpsc;

    /// An application whose POST handler reads the body; its PUT handler responds without reading it.
    async fn app() -> impl Service<
        Request,
        Response = actix_web::dev::ServiceResponse,
        Error = actix_web::Error,
        Future = impl Future<Output = Result<actix_web::dev::ServiceResponse, actix_web::Error>> + 'static,
    > {
        let app = App::new()
            .route("/", post().to(|body: Bytes| async move { HttpResponse::Ok().body(body) }))
            .route("/", put().to(|| async { HttpResponse::Forbidden().body("no") }));
        let factory = actix_service::IntoServiceFactory::into_factory(app);
        factory.new_service(AppConfig::default()).await.expect("a service")
    }

    #[actix::test]
    async fn an_expecting_request_without_a_body_keeps_the_connection_open() {
        let expecting = Expecting { app: app().await };
        let mut request = TestRequest::put().to_request();
        *request.payload() = Payload::None;
        let at_once = expecting.call(request).await.expect_err("nothing to wait for");
        assert_eq!((at_once.status().as_u16(), at_once.head().connection_type()), (403, ConnectionType::KeepAlive));
    }

    #[actix::test]
    async fn a_response_before_the_body_was_read_closes_the_connection() {
        let expecting = Expecting { app: app().await };
        let request = TestRequest::put().set_payload("body").to_request();
        let early = expecting.call(request).await.expect_err("no body was asked for");
        assert_eq!((early.status().as_u16(), early.head().connection_type()), (403, ConnectionType::Close));
        assert_eq!(to_bytes(early.into_body()).await.expect("a body"), "no");
    }

    #[actix::test]
    async fn a_body_sent_without_waiting_for_100_continue_keeps_the_connection_open() {
        let expecting = Expecting { app: app().await };
        let request = TestRequest::post().set_payload("body").to_request();
        let at_once = expecting.call(request).await.expect_err("nothing to wait for");
        assert_eq!((at_once.status().as_u16(), at_once.head().connection_type()), (200, ConnectionType::KeepAlive));
    }

    #[actix::test]
    async fn a_handler_that_reads_the_body_resumes_after_100_continue() {
        let (expecting, continuing) = (Expecting { app: app().await }, Continuing { app: app().await });
        let mut request = TestRequest::post().to_request();
        let (sender, body) = mpsc::unbounded();
        *request.payload() = Payload::Stream { payload: Box::pin(body) };
        let told = expecting.call(request).await.expect("the body was asked for");
        assert!(told.extensions().contains::<Begun>());
        sender.unbounded_send(Ok(Bytes::from_static(b"body"))).expect("somebody waits");
        drop(sender);
        let answered = continuing.call(told).await.expect("an answer");
        assert_eq!(answered.status().as_u16(), 200);
        assert_eq!(to_bytes(answered.into_body()).await.expect("a body"), "body");
        let other = continuing.call(TestRequest::put().to_request()).await.expect("an answer");
        assert_eq!(other.status().as_u16(), 403);
    }
}
