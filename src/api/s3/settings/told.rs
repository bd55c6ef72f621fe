//! What operations say of the events that their changes are: for each change, who is to be told, and what of the
//! request.

use super::notification::rules_of;
use crate::actors::events::{EventContext, EventName, NotificationRules, draft};
use crate::actors::meta::{BucketRow, DeleteEvents, EventDraft, MetaView};
use crate::api::s3::Store;
use crate::api::s3::caller::{ANONYMOUS, Caller};
use http::Extensions;
use s3s::S3Result;

/// Where a request comes from and what it is called: left in its extensions before s3s sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// `x-amz-request-id` and `x-amz-id-2` of the answer.
    pub request_id: String,
    pub host_id: String,
    /// Without the port.
    pub source_ip: String,
}

impl Origin {
    /// Of nowhere, where nobody left it.
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_default()
    }
}

/// The version of TLS that a request came over, as conditions call it: `1.3`. Left in its extensions, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsVersion(pub &'static str);

/// Who is to be told of changes of a bucket; looked up once for all changes of a request.
pub struct Telling<'a> {
    store: &'a Store,
    bucket: &'a BucketRow,
    rules: NotificationRules,
    extensions: &'a Extensions,
}

impl<'a> Telling<'a> {
    pub fn of(store: &'a Store, view: &MetaView, bucket: &'a BucketRow, extensions: &'a Extensions) -> S3Result<Self> {
        // Where there are no webhooks, nothing is looked up.
        let rules = if store.targets.is_empty() { NotificationRules::default() } else { rules_of(view, bucket)? };
        Ok(Self { store, bucket, rules, extensions })
    }

    /// What a change of a key carries. `None` where nobody is told.
    pub fn draft(&self, event: EventName, key: &str) -> Option<EventDraft> {
        let matches = self.store.targets.known(self.rules.matching(event, key));
        if matches.is_empty() {
            return None;
        }
        let Origin { request_id, host_id, source_ip } = Origin::of(self.extensions);
        let context = EventContext {
            bucket: self.bucket.bucket.name.clone(),
            bucket_owner: self.bucket.bucket.owner.clone(),
            requester: Caller::of(self.extensions).account.unwrap_or_else(|| ANONYMOUS.to_owned()),
            source_ip,
            request_id,
            host_id,
        };
        draft(event, matches, context)
    }

    /// What a deletion carries: it is the state machine that knows whether it takes a version away or makes a delete
    /// marker.
    pub fn deletion(&self, key: &str) -> Option<DeleteEvents> {
        let deleted = self.draft(EventName::ObjectRemovedDelete, key);
        let marked = self.draft(EventName::ObjectRemovedDeleteMarkerCreated, key);
        (deleted.is_some() || marked.is_some()).then_some(DeleteEvents { deleted, marked })
    }
}
