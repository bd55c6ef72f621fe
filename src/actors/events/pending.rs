//! `PendingEvent`: the event of a change that takes a while to prepare. Its webhooks are chosen just before the change
//! is proposed, by the rules that the bucket has then: a body may arrive slowly, and the rules may change meanwhile.

use super::names::EventName;
use super::queue::Targets;
use super::record::{EventContext, draft};
use super::rules::NotificationRules;
use crate::actors::documents;
use crate::actors::request::{Metadata, StoreError};
use crate::storage::meta::record::{BucketDocument, DocumentKey, EventDraft};
use crate::types::BucketId;

/// An event whose webhooks are not chosen yet.
#[derive(Clone, Debug)]
pub struct PendingEvent {
    pub name: EventName,
    pub context: EventContext,
    /// The configured webhooks.
    pub targets: Targets,
}

/// Returns the draft of an event of this key, by the current rules of the bucket; `None` if nobody is notified. Without
/// an event, nothing is looked up.
pub async fn draft_now(
    pending: Option<PendingEvent>,
    metadata: &dyn Metadata,
    bucket: BucketId,
    key: &str,
) -> Result<Option<EventDraft>, StoreError> {
    let Some(PendingEvent { name, context, targets }) = pending else { return Ok(None) };
    let document = DocumentKey::Bucket(bucket, BucketDocument::Notification, String::new());
    let Some(row) = metadata.read().await?.document(&document)? else { return Ok(None) };
    let rules = documents::decode::<NotificationRules>(&row.value)
        .map_err(|error| StoreError::Internal { why: format!("the bucket's notification rules: {error}") })?;
    Ok(draft(name, targets.known(rules.matching(name, key)), context))
}
