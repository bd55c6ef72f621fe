//! Drafts of the events of a request's changes. A draft has the webhooks of the bucket's rules that match the change,
//! and the facts of the request.

use super::documents::{self, bucket_document};
use crate::actors::events::{EventContext, EventName, NotificationRules, PendingEvent, draft};
use crate::actors::meta::{BucketDocument, BucketRow, DeleteEvents, EventDraft, MetaView};
use crate::api::call::Origin;
use crate::api::s3::Store;
use crate::api::s3::caller::ANONYMOUS;
use s3s::S3Result;

/// Returns the notification rules of a bucket.
pub fn rules_of(view: &MetaView, bucket: &BucketRow) -> S3Result<NotificationRules> {
    Ok(documents::load(view, &bucket_document(bucket, BucketDocument::Notification))?.unwrap_or_default())
}

/// Returns the event of a change that takes a while. Its webhooks are chosen when the change is proposed (`draft_now`).
/// `None` if there are no webhooks.
pub fn pending_event(store: &Store, bucket: &BucketRow, name: EventName) -> Option<PendingEvent> {
    let targets = store.targets.clone();
    (!targets.is_empty()).then(|| PendingEvent { name, context: context(store, bucket), targets })
}

/// Returns the facts of the request that its events carry.
fn context(store: &Store, bucket: &BucketRow) -> EventContext {
    let Origin { request_id, host_id, source_ip, .. } = &*store.call.origin;
    EventContext {
        bucket: bucket.bucket.name.clone(),
        bucket_owner: bucket.bucket.owner.clone(),
        requester: store.caller().account.clone().unwrap_or_else(|| ANONYMOUS.to_owned()),
        source_ip: source_ip.map(|address| address.to_string()).unwrap_or_default(),
        request_id: request_id.to_string(),
        host_id: host_id.to_string(),
    }
}

/// The notification rules of a bucket, looked up once for all changes of a request.
pub struct EventDrafts<'a> {
    store: &'a Store,
    bucket: &'a BucketRow,
    rules: NotificationRules,
}

impl<'a> EventDrafts<'a> {
    pub fn of(store: &'a Store, view: &MetaView, bucket: &'a BucketRow) -> S3Result<Self> {
        // Without webhooks, nothing is looked up.
        let rules = if store.targets.is_empty() { NotificationRules::default() } else { rules_of(view, bucket)? };
        Ok(Self { store, bucket, rules })
    }

    /// Returns the draft of the event of a change of a key; `None` if nobody is notified.
    pub fn draft(&self, event: EventName, key: &str) -> Option<EventDraft> {
        let matches = self.store.targets.known(self.rules.matching(event, key));
        if matches.is_empty() {
            return None;
        }
        draft(event, matches, context(self.store, self.bucket))
    }

    /// Returns the drafts of a deletion, one for each possible outcome: only the state machine knows whether it deletes
    /// a version or makes a delete marker.
    pub fn deletion(&self, key: &str) -> Option<DeleteEvents> {
        let deleted = self.draft(EventName::ObjectRemovedDelete, key);
        let marked = self.draft(EventName::ObjectRemovedDeleteMarkerCreated, key);
        (deleted.is_some() || marked.is_some()).then_some(DeleteEvents { deleted, marked })
    }
}
