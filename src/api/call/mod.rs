//! The context of an S3 request on its way to its operation. Each layer adds what it establishes to the request's
//! `Call`, which travels in the request's extensions through s3s.

mod authentication;
mod body;
mod form;
mod target;
mod trace;
mod view;

pub use authentication::{Authentication, SignatureFacts};
pub use body::{Trailers, WholeBody};
#[cfg(any(test, feature = "fuzzing"))]
pub use form::boundary_of;
pub use form::{boundary, is_form};
pub use target::{Head, Level, Target};
pub use trace::RequestTrace;
pub use view::RequestView;

use super::sharing::{BodyRoom, Seat};
use crate::actors::frontend::Holder;
use http::{Extensions, HeaderMap};
use std::net::IpAddr;
use std::sync::Arc;

/// The facts about a request that the layers before the operation have established.
#[derive(Clone, Debug)]
pub struct Call {
    pub origin: Arc<Origin>,
    pub trace: Arc<RequestTrace>,
    pub seat: Arc<Seat>,
    pub view: Arc<RequestView>,
    pub authentication: Authentication,
    /// Headers that s3s would refuse or drop. They bypass s3s, and the operation gets them from here.
    pub headers_aside: HeaderMap,
    /// Headers that replace those of the response to a read (`response-content-type` and the like).
    pub overrides: HeaderMap,
    /// The trailer of a framed body.
    pub trailers: Option<Trailers>,
    /// The whole body, if s3s parses only a part of it.
    pub whole_body: Option<WholeBody>,
    /// True if the body is the file of a browser's form, whose length is known only at its end.
    pub is_form: bool,
}

/// The client of a request, and the ids of its response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// `x-amz-request-id` of the response; `host_id` is its `x-amz-id-2`.
    pub request_id: Arc<str>,
    pub host_id: Arc<str>,
    /// The client's address without the port, if known.
    pub source_ip: Option<IpAddr>,
    pub tls: Option<TlsVersion>,
}

/// The version of TLS of a request, as conditions name it: `1.3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsVersion(pub &'static str);

impl Call {
    /// Returns whom the memory of the body is charged to: the account, or the address of an anonymous client.
    pub fn holder(&self) -> Holder {
        let account = self.seat.account().map(|(_, account)| account);
        account.or_else(|| self.seat.address()).unwrap_or(Holder::Store)
    }

    pub fn new(origin: Origin, trace: Arc<RequestTrace>, seat: Arc<Seat>) -> Self {
        Self {
            origin: Arc::new(origin),
            view: Arc::new(RequestView::recorded(trace.spans())),
            trace,
            seat,
            authentication: Authentication::default(),
            headers_aside: HeaderMap::new(),
            overrides: HeaderMap::new(),
            trailers: None,
            whole_body: None,
            is_form: false,
        }
    }

    /// Returns the call of a request that s3s passed on.
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get().cloned().unwrap_or_default()
    }
}

/// An anonymous call without an address, with a memory budget of its own.
impl Default for Call {
    fn default() -> Self {
        Self::new(Origin::default(), Arc::default(), BodyRoom::new(usize::MAX).seat(None))
    }
}
