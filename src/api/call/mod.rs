//! The context of an S3 request on its way to its operation. Each fact is established once, by the layer that finds it
//! out, and kept in the request's `Call`; s3s carries that in the request's extensions.

mod authentication;
mod body;
mod target;
mod trace;
mod view;

pub use authentication::{Authentication, SignatureFacts};
pub use body::{Trailers, WholeBody};
pub use target::{Head, Level, Target};
pub use trace::RequestTrace;
pub use view::RequestView;

use super::room::{BodyRoom, Seat};
use crate::actors::frontend::Holder;
use http::{Extensions, HeaderMap};
use std::net::IpAddr;
use std::sync::Arc;

/// The facts about one request that its head and its connection tell.
#[derive(Clone, Debug)]
pub struct Call {
    pub origin: Arc<Origin>,
    pub trace: Arc<RequestTrace>,
    pub seat: Arc<Seat>,
    pub view: Arc<RequestView>,
    pub authentication: Authentication,
    /// Headers that s3s would refuse or lose; the operation gets them back.
    pub headers_aside: HeaderMap,
    /// The headers that the answer to a read is to have instead of its own.
    pub overrides: HeaderMap,
    /// The trailer of a framed body.
    pub trailers: Option<Trailers>,
    /// The whole of a body of which s3s reads a part.
    pub whole_body: Option<WholeBody>,
    /// The body is a form's file: its length is known only at its end.
    pub is_form: bool,
}

/// The source of a request, and the ids of its answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// `x-amz-request-id` and `x-amz-id-2` of the answer.
    pub request_id: Arc<str>,
    pub host_id: Arc<str>,
    /// The address without the port, if it is known.
    pub source_ip: Option<IpAddr>,
    pub tls: Option<TlsVersion>,
}

/// The version of TLS that a request came over, as conditions call it: `1.3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsVersion(pub &'static str);

impl Call {
    /// Returns whose share of the memory its bodies take: the account's, or the address's where nobody signed.
    pub fn holder(&self) -> Holder {
        let account = self.seat.account().map(|(_, account)| account);
        account.or_else(|| self.seat.address()).unwrap_or(Holder::Store)
    }

    pub fn new(origin: Origin, trace: Arc<RequestTrace>, seat: Arc<Seat>) -> Self {
        Self {
            origin: Arc::new(origin),
            trace,
            seat,
            view: Arc::default(),
            authentication: Authentication::default(),
            headers_aside: HeaderMap::new(),
            overrides: HeaderMap::new(),
            trailers: None,
            whole_body: None,
            is_form: false,
        }
    }

    /// The call of a request that s3s hands on.
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get().cloned().unwrap_or_default()
    }
}

/// An anonymous call from nowhere, with a room of its own for its body.
impl Default for Call {
    fn default() -> Self {
        Self::new(Origin::default(), Arc::default(), BodyRoom::new(usize::MAX).seat(None))
    }
}
