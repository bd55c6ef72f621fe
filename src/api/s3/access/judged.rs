//! A request that was judged, until its operation begins: one whose body came slowly is judged again, so that it does
//! nothing to what came meanwhile in the place of what it may change.

use super::judge::{Authority, Judge};
use super::moment;
use super::request::Request;
use crate::actors::gateway::Gateway;
use crate::ambient::Clock;
use crate::api::policy::Asks;
use s3s::{S3Request, S3Result};
use std::sync::Arc;

/// What was asked.
#[derive(Clone)]
pub struct Judged {
    pub operation: &'static str,
    pub bucket: Option<String>,
    pub key: Option<String>,
    pub asks: Asks,
    pub judge: Arc<Judge>,
}

/// To be called when the whole request is there, before its operation looks at anything.
pub async fn of_now<T>(gateway: &Gateway, clock: &dyn Clock, request: &mut S3Request<T>) -> S3Result<()> {
    if !moment::is_past(clock.monotonic()) {
        return Ok(());
    }
    let Some(judged) = request.extensions.get::<Judged>().cloned() else { return Ok(()) };
    moment::forget();
    let judge = Arc::new(judged.judge.by(moment::judged(gateway, clock.monotonic()).await?));
    let question = Request {
        operation: judged.operation,
        bucket: judged.bucket.as_deref(),
        key: judged.key.as_deref(),
        asks: judged.asks,
    };
    if let Some(guarded) = question.check(&judge, &request.headers, &request.uri)? {
        request.extensions.insert(Authority { judge, guarded: Arc::new(guarded) });
    }
    Ok(())
}
