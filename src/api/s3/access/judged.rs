//! The decision on a request, kept until its operation begins: a request whose body came slowly is decided on again, so
//! that it changes nothing that came meanwhile in the place of what it may change.

use super::caller::Caller;
use super::judge::{Authority, Judge};
use super::request::Request;
use crate::actors::gateway::Gateway;
use crate::ambient::Clock;
use crate::api::call::Call;
use crate::api::policy::Asks;
use http::{HeaderMap, Uri};
use s3s::S3Result;
use std::sync::Arc;

/// The result of the access check. The default is a caller nobody knows, who was allowed nothing.
#[derive(Clone, Default)]
pub struct Access {
    pub caller: Caller,
    /// The rights on the bucket that the request is on, for operations whose bodies name what they change.
    pub authority: Option<Authority>,
    pub judged: Option<Judged>,
}

/// A question, and who asked it.
#[derive(Clone)]
pub struct Judged {
    pub operation: &'static str,
    pub bucket: Option<String>,
    pub key: Option<String>,
    pub asks: Asks,
    pub judge: Arc<Judge>,
}

impl Access {
    /// Decides anew where the view of the decision is too old. To be called when the whole request is there, before its
    /// operation looks at anything.
    pub async fn renew(
        &mut self,
        gateway: &Gateway,
        clock: &dyn Clock,
        call: &Call,
        headers: &HeaderMap,
        uri: &Uri,
    ) -> S3Result<()> {
        let Some(judged) = self.judged.as_ref().filter(|_| call.view.is_past(clock.monotonic())) else {
            return Ok(());
        };
        call.view.take();
        let judge = Arc::new(judged.judge.by(call.view.get(gateway, clock.monotonic()).await?));
        let question = Request {
            operation: judged.operation,
            bucket: judged.bucket.as_deref(),
            key: judged.key.as_deref(),
            asks: judged.asks,
        };
        if let Some(guarded) = question.check(&judge, headers, uri)? {
            self.authority = Some(Authority { judge, guarded: Arc::new(guarded) });
        }
        Ok(())
    }
}
