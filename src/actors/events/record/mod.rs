//! The messages about events: S3's event record (user guide, "Event message structure"), EventBridge's event, and the
//! test message for a new destination. Pure.

mod wire;

use super::names::EventName;
use super::rules::Match;
use crate::actors::documents;
use crate::storage::meta::record::{ETag, EventDraft, EventRow};
use crate::types::UnixMs;
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use time::OffsetDateTime;
use wire::{
    BridgeBucket, BridgeDetail, BridgeEvent, BridgeObject, BucketEntity, Identity, ObjectEntity, Record, Records,
    RequestParameters, ResponseElements, S3Entity, TestMessage,
};

/// The requester and source address of an event that no request caused.
const SERVICE_ITSELF: &str = "s3.amazonaws.com";
/// The entity tag of zero bytes, which AWS gives for delete markers.
const ETAG_OF_NOTHING: &str = "d41d8cd98f00b204e9800998ecf8427e";

/// The circumstances of an event, set by the proposer of the change. Stored with the event, encoded like a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventContext {
    pub bucket: String,
    /// `bucket_owner` and `requester` are canonical ids.
    pub bucket_owner: String,
    pub requester: String,
    pub source_ip: String,
    pub request_id: String,
    pub host_id: String,
}

impl EventContext {
    /// Returns the context of a change that the store makes by itself: by a bucket's lifecycle, or for a report.
    pub fn of_service(bucket: String, bucket_owner: String, request_id: String, host_id: String) -> Self {
        let service = || SERVICE_ITSELF.to_owned();
        Self { bucket, bucket_owner, requester: service(), source_ip: service(), request_id, host_id }
    }
}

/// The stored form of a draft: the context, and for each target the rule that it matched.
#[derive(Serialize, Deserialize)]
struct StoredContext {
    context: EventContext,
    matches: Vec<Match>,
}

/// Returns the draft of an event for these targets, which a change carries into the queues. `None` without a target.
pub fn draft(event: EventName, matches: Vec<Match>, context: EventContext) -> Option<EventDraft> {
    let targets: Vec<String> = matches.iter().map(|to| to.target.clone()).collect();
    let stored = StoredContext { context, matches };
    let context = documents::encode(&stored).expect("structs of text are JSON");
    (!targets.is_empty()).then(|| EventDraft { name: event.as_str().to_owned(), targets, context })
}

/// An event in the queue of one webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedEvent {
    /// The position in the queue; later events have greater ones.
    pub position: u64,
    pub event: EventName,
    pub at: UnixMs,
    pub key: String,
    /// The version id; `None` if the bucket never had versioning.
    pub version: Option<String>,
    pub size_bytes: u64,
    /// The entity tag without quotes.
    pub etag: Option<String>,
    pub context: EventContext,
    pub to: Match,
}

impl QueuedEvent {
    /// Decodes a row of the queue of `target`. `None` if the event or its context is unknown to this release, or the
    /// target is not in it.
    pub fn of(row: EventRow, target: &str) -> Option<Self> {
        let StoredContext { context, matches } = documents::decode(&row.draft.context).ok()?;
        Some(Self {
            position: row.seq,
            event: EventName::parse(&row.draft.name)?,
            at: row.at,
            key: row.key,
            version: row.version.map(|version| version.to_string()),
            size_bytes: row.size_bytes,
            etag: row.etag.as_ref().map(etag_text),
            context,
            to: matches.into_iter().find(|to| to.target == target)?,
        })
    }
}

/// Returns the entity tag as in headers, without quotes.
pub(super) fn etag_text(etag: &ETag) -> String {
    let md5 = hex_simd::encode_to_string(etag.md5, hex_simd::AsciiCase::Lower);
    etag.parts.map_or(md5.clone(), |parts| format!("{md5}-{parts}"))
}

/// The identity of the store in messages.
#[derive(Clone, Debug)]
pub struct EventSource {
    pub region: String,
    pub account: String,
}

impl QueuedEvent {
    /// Returns the message to send.
    pub fn message(&self, speaker: &EventSource) -> Vec<u8> {
        match &self.to.configuration {
            Some(configuration) => self.record(speaker, configuration),
            None => self.bridged(speaker),
        }
    }

    /// Returns the sequencer. Later positions have greater ones in the comparison that S3 prescribes: as text, after
    /// the shorter one is padded with zeros on the right.
    fn sequencer(&self) -> String {
        format!("{:016X}", self.position)
    }

    fn record(&self, speaker: &EventSource, configuration: &str) -> Vec<u8> {
        let (context, event, object) = (&self.context, self.event, RecordFields::of(self.event));
        let record = Record {
            event_version: event.record_version(),
            event_source: "aws:s3",
            aws_region: &speaker.region,
            event_time: iso_time(self.at),
            event_name: event.as_str(),
            user_identity: Identity { principal_id: &context.requester },
            request_parameters: RequestParameters { source_ip: &context.source_ip },
            response_elements: ResponseElements { request_id: &context.request_id, host_id: &context.host_id },
            s3: S3Entity {
                schema_version: "1.0",
                configuration_id: configuration,
                bucket: BucketEntity {
                    name: &context.bucket,
                    owner_identity: Identity { principal_id: &context.bucket_owner },
                    arn: format!("arn:aws:s3:::{}", context.bucket),
                },
                object: ObjectEntity {
                    key: form_encode(&self.key),
                    size: object.size.then_some(self.size_bytes),
                    etag: object.etag(self),
                    version_id: self.version.as_deref(),
                    sequencer: object.sequencer.then(|| self.sequencer()),
                },
            },
        };
        json(&Records { records: [record] })
    }

    /// Returns the event in EventBridge's format (S3 user guide, "EventBridge event message structure"). The key is not
    /// encoded.
    fn bridged(&self, speaker: &EventSource) -> Vec<u8> {
        let (context, object) = (&self.context, RecordFields::of(self.event));
        let (detail_type, reason, deletion) = bridge_words(self.event);
        let event = BridgeEvent {
            version: "0",
            // The id is the same for each attempt to send the event.
            id: format!("{:08x}-0000-4000-8000-{:012x}", self.position >> 48, self.position & 0xffff_ffff_ffff),
            detail_type,
            source: "aws.s3",
            account: &speaker.account,
            time: iso_seconds(self.at),
            region: &speaker.region,
            resources: [format!("arn:aws:s3:::{}", context.bucket)],
            detail: BridgeDetail {
                version: "0",
                bucket: BridgeBucket { name: &context.bucket },
                object: BridgeObject {
                    key: &self.key,
                    size: object.size.then_some(self.size_bytes),
                    etag: object.etag(self),
                    version_id: self.version.as_deref(),
                    sequencer: object.sequencer.then(|| self.sequencer()),
                },
                request_id: &context.request_id,
                requester: &context.requester,
                source_ip: &context.source_ip,
                reason,
                deletion_type: deletion,
            },
        };
        json(&event)
    }
}

/// Returns the message that S3 sends to each destination when a configuration that names it is set.
pub fn test_message(bucket: &str, at: UnixMs, request_id: &str, host_id: &str) -> Vec<u8> {
    json(&TestMessage { service: "Amazon S3", event: "s3:TestEvent", time: iso_time(at), bucket, request_id, host_id })
}

/// The optional fields of the object that AWS sends with an event.
struct RecordFields {
    size: bool,
    etag: bool,
    /// True for the entity tag of a delete marker.
    marker: bool,
    sequencer: bool,
}

impl RecordFields {
    fn of(event: EventName) -> Self {
        let nothing = Self { size: false, etag: false, marker: false, sequencer: true };
        match event {
            EventName::ObjectRemovedDelete | EventName::LifecycleExpirationDelete => nothing,
            EventName::ObjectRemovedDeleteMarkerCreated | EventName::LifecycleExpirationDeleteMarkerCreated => {
                Self { marker: true, ..nothing }
            }
            EventName::ObjectTaggingPut | EventName::ObjectTaggingDelete | EventName::ObjectAclPut => {
                Self { etag: true, sequencer: false, ..nothing }
            }
            _ => Self { size: true, etag: true, ..nothing },
        }
    }

    fn etag<'a>(&self, event: &'a QueuedEvent) -> Option<&'a str> {
        if self.marker { Some(ETAG_OF_NOTHING) } else { event.etag.as_deref().filter(|_| self.etag) }
    }
}

/// Returns EventBridge's detail type, reason and deletion type of an event.
fn bridge_words(event: EventName) -> (&'static str, Option<&'static str>, Option<&'static str>) {
    let marker = Some("Delete Marker Created");
    let permanent = Some("Permanently Deleted");
    match event {
        EventName::ObjectCreatedPut => ("Object Created", Some("PutObject"), None),
        EventName::ObjectCreatedPost => ("Object Created", Some("POST Object"), None),
        EventName::ObjectCreatedCopy => ("Object Created", Some("CopyObject"), None),
        EventName::ObjectCreatedCompleteMultipartUpload => ("Object Created", Some("CompleteMultipartUpload"), None),
        EventName::ObjectRemovedDelete => ("Object Deleted", Some("DeleteObject"), permanent),
        EventName::ObjectRemovedDeleteMarkerCreated => ("Object Deleted", Some("DeleteObject"), marker),
        EventName::LifecycleExpirationDelete => ("Object Deleted", Some("Lifecycle Expiration"), permanent),
        EventName::LifecycleExpirationDeleteMarkerCreated => ("Object Deleted", Some("Lifecycle Expiration"), marker),
        EventName::ObjectTaggingPut => ("Object Tags Added", None, None),
        EventName::ObjectTaggingDelete => ("Object Tags Deleted", None, None),
        EventName::ObjectAclPut => ("Object ACL Updated", None, None),
        EventName::ObjectRestorePost => ("Object Restore Initiated", None, None),
        EventName::ObjectRestoreCompleted => ("Object Restore Completed", None, None),
        EventName::ObjectRestoreDelete => ("Object Restore Expired", None, None),
        EventName::LifecycleTransition => ("Object Storage Class Changed", None, None),
        EventName::IntelligentTiering => ("Object Access Tier Changed", None, None),
        // S3 sends EventBridge no other events, and this store emits no others.
        _ => ("Object Changed", None, None),
    }
}

/// Encodes a key as S3 does in records: as in HTML forms, except that slashes stay.
fn form_encode(key: &str) -> String {
    let mut encoded = String::with_capacity(key.len());
    for byte in key.bytes() {
        match byte {
            b' ' => encoded.push('+'),
            b'-' | b'_' | b'.' | b'*' | b'/' => encoded.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => encoded.push(char::from(byte)),
            // Writing to a string cannot fail.
            byte => drop(write!(encoded, "%{byte:02X}")),
        }
    }
    encoded
}

fn date_time(at: UnixMs) -> OffsetDateTime {
    let nanos = i128::from(at.0) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// Formats a time in ISO 8601, in UTC, with milliseconds.
pub(super) fn iso_time(at: UnixMs) -> String {
    let seconds = iso_seconds(at);
    format!("{}.{:03}Z", seconds.trim_end_matches('Z'), at.0 % 1000)
}

fn iso_seconds(at: UnixMs) -> String {
    let time = date_time(at);
    let (hour, minute, second) = time.to_hms();
    format!("{:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", time.year(), u8::from(time.month()), time.day())
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("structs of text and numbers are JSON")
}

#[cfg(test)]
mod tests;
