//! The access decision on a request, kept until its operation is done. If the request's body arrives slowly, the
//! decision is made again with the caller's rights at that time, so that revoked rights have no effect. Conditions on
//! time and the expiry of sessions are still judged by the arrival time of the head, as in AWS.

use super::judge::{Authority, Judge};
use super::request::Request;
use super::source::Source;
use super::{Gate, Head, caller};
use crate::actors::gateway::{BodyStream, StoreError};
use crate::ambient::Clock;
use crate::api::call::Call;
use crate::api::errors::{Fault, body_refused};
use crate::api::policy::Asks;
use crate::api::s3::caller::Caller;
use crate::api::sharing::locked;
use crate::types::UnixMs;
use futures::{StreamExt, stream};
use http::{HeaderMap, Uri};
use s3s::S3Result;
use std::future::ready;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The age of a decision above which it is made again.
const AGE_MAX: Duration = Duration::from_secs(1);

/// The result of the access check. The default is an anonymous caller without any rights.
#[derive(Clone, Default)]
pub struct Access {
    pub caller: Caller,
    /// The rights on the request's bucket, for operations whose bodies name what they change.
    pub authority: Option<Authority>,
    pub judged: Option<Judged>,
    /// The encryption keys that the caller was allowed to use, by action and ARN; shared with the stream of the body.
    keys_used: Arc<Mutex<Vec<(&'static str, String)>>>,
}

/// The subject of the access check's decision: the operation and its resources, and the judge with the caller.
#[derive(Clone)]
pub struct Judged {
    pub gate: Gate,
    pub came: ArrivalTime,
    pub operation: &'static str,
    pub bucket: Option<String>,
    pub key: Option<String>,
    /// The source of a rename.
    pub source: Option<Source>,
    pub asks: Asks,
    pub judge: Arc<Judge>,
    /// The head as it was judged, for an operation that stores the body while it arrives; else `None`.
    pub head_of_stream: Option<Arc<(HeaderMap, Uri)>>,
}

/// The arrival time of a request's head, and the monotonic time of its last decision.
#[derive(Clone, Copy, Debug)]
pub struct ArrivalTime {
    pub wall: UnixMs,
    pub monotonic: Duration,
}

impl ArrivalTime {
    pub fn now(clock: &dyn Clock) -> Self {
        Self { wall: clock.unix_ms(), monotonic: clock.monotonic() }
    }
}

impl Judged {
    fn is_past(&self) -> bool {
        self.gate.iam.ambient.clock.monotonic().saturating_sub(self.came.monotonic) > AGE_MAX
    }
}

impl Access {
    pub fn new(caller: Caller, authority: Option<Authority>, judged: Judged) -> Self {
        Self { caller, authority, judged: Some(judged), keys_used: Arc::default() }
    }

    /// Checks that the caller may use an encryption key. An anonymous caller may use no named key.
    pub fn may_use_key(&self, action: &'static str, arn: &str) -> Result<(), Fault> {
        let judged = self.judged.as_ref().ok_or(Fault::AccessDenied("Access Denied"))?;
        judged.judge.of_key(action, arn)?;
        locked(&self.keys_used).push((action, arn.to_owned()));
        Ok(())
    }

    /// Decides again if the decision is too old. Must be called when the whole request has arrived and before its
    /// operation reads any metadata, so that the operation uses the view that was judged.
    pub async fn renew(&mut self, call: &Call, headers: &HeaderMap, uri: &Uri) -> S3Result<()> {
        let Some(judged) = self.judged.as_mut().filter(|judged| judged.is_past()) else { return Ok(()) };
        call.view.take();
        let source = judged.source.as_ref();
        let head = Head { operation: judged.operation, source, headers, uri };
        let known = judged.gate.identify(head, call, judged.came.wall).await?;
        let question = Request {
            operation: judged.operation,
            bucket: judged.bucket.as_deref(),
            key: judged.key.as_deref(),
            source,
            asks: judged.asks,
        };
        let guarded = question.check(&known.judge, headers, uri)?;
        self.caller = caller(&known, judged.asks.bypass);
        self.authority = guarded.map(|guarded| Authority { judge: Arc::clone(&known.judge), guarded });
        for (action, arn) in locked(&self.keys_used).iter() {
            known.judge.of_key(action, arn)?;
        }
        judged.judge = known.judge;
        judged.came.monotonic = judged.gate.iam.ambient.clock.monotonic();
        Ok(())
    }

    /// Returns a body that is stored while it arrives, with the decision renewed at its end. If the request is no
    /// longer allowed, the stream ends with an error, and nothing is kept.
    pub fn renewed_at_the_end(&self, body: BodyStream, call: &Call) -> BodyStream {
        let (mut access, call) = (self.clone(), call.clone());
        let renewed = async move {
            let head = access.judged.as_ref().and_then(|judged| judged.head_of_stream.clone());
            let (headers, uri) = &*head.unwrap_or_default();
            let renewed = access.renew(&call, headers, uri).await;
            // The operation has read its view before the body. Its next lookup must show what it has changed itself.
            call.view.take();
            renewed.err().map(|error| Err::<bytes::Bytes, StoreError>(body_refused(error)))
        };
        Box::pin(body.chain(stream::once(renewed).filter_map(ready)))
    }
}
