//! Records against those that AWS documents and sends.

use super::{EventContext, EventSource, QueuedEvent, draft, etag_text, form_encode, test_message};
use crate::actors::events::names::EventName;
use crate::actors::events::rules::Match;
use crate::storage::meta::record::{ETag, EventDraft, EventRow, Version};
use crate::types::{BucketId, UnixMs};
use bytes::Bytes;
use serde_json::{Value, json};

fn speaker() -> EventSource {
    EventSource { region: "us-west-2".to_owned(), account: "123456789012".to_owned() }
}

/// The example of the guide, as it lies in a queue.
fn example(event: EventName) -> QueuedEvent {
    let context = EventContext {
        bucket: "amzn-s3-demo-bucket".to_owned(),
        bucket_owner: "A3NL1KOZZKExample".to_owned(),
        requester: "AIDAJDPLRKLG7UEXAMPLE".to_owned(),
        source_ip: "172.16.0.1".to_owned(),
        request_id: "C3D13FE58DE4C810".to_owned(),
        host_id: "FMyUVURIY8/IgAtTv8xRjskZQpcIZ9KG4V5Wp6S7S/JRWeUWerMUE5JgHvANOjpD".to_owned(),
    };
    let told = Match { target: "Q".to_owned(), configuration: Some("testConfigRule".to_owned()) };
    let row = EventRow {
        seq: 0x55_AED6_DCD9_0281,
        at: UnixMs(0),
        draft: draft(event, vec![told], context).expect("somebody is told"),
        bucket: BucketId(1),
        key: "HappyFace.jpg".to_owned(),
        version: Some(Version { seq: 7, salt: 8, null: false }),
        size_bytes: 1024,
        etag: Some(ETag { md5: [0xd4; 16], parts: None }),
    };
    QueuedEvent::of(row, "Q").expect("it reads back")
}

const VERSION: &str = "00000000000000070000000000000008";
const ETAG: &str = "d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4";

fn said(event: &QueuedEvent, configuration: Option<&str>) -> Value {
    let to = Match { target: "Q".to_owned(), configuration: configuration.map(str::to_owned) };
    let event = QueuedEvent { to, ..event.clone() };
    serde_json::from_slice(&event.message(&speaker())).expect("JSON")
}

fn object(event: EventName) -> Value {
    said(&example(event), Some("c"))["Records"][0]["s3"]["object"].clone()
}

#[test]
fn a_record_is_that_of_the_guide() {
    let expected = json!({
        "Records": [{
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": "us-west-2",
            "eventTime": "1970-01-01T00:00:00.000Z",
            "eventName": "ObjectCreated:Put",
            "userIdentity": { "principalId": "AIDAJDPLRKLG7UEXAMPLE" },
            "requestParameters": { "sourceIPAddress": "172.16.0.1" },
            "responseElements": {
                "x-amz-request-id": "C3D13FE58DE4C810",
                "x-amz-id-2": "FMyUVURIY8/IgAtTv8xRjskZQpcIZ9KG4V5Wp6S7S/JRWeUWerMUE5JgHvANOjpD"
            },
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": "testConfigRule",
                "bucket": {
                    "name": "amzn-s3-demo-bucket",
                    "ownerIdentity": { "principalId": "A3NL1KOZZKExample" },
                    "arn": "arn:aws:s3:::amzn-s3-demo-bucket"
                },
                "object": {
                    "key": "HappyFace.jpg",
                    "size": 1024,
                    "eTag": ETAG,
                    "versionId": VERSION,
                    "sequencer": "0055AED6DCD90281"
                }
            }
        }]
    });
    assert_eq!(said(&example(EventName::ObjectCreatedPut), Some("testConfigRule")), expected);
}

/// Compares with AWS's records, event by event.
#[test]
fn a_record_says_of_the_object_what_its_event_is_about() {
    let of_nothing = "d41d8cd98f00b204e9800998ecf8427e";
    let removed = json!({"key": "HappyFace.jpg", "versionId": VERSION, "sequencer": "0055AED6DCD90281"});
    assert_eq!(object(EventName::ObjectRemovedDelete), removed);
    let marked =
        json!({"key": "HappyFace.jpg", "eTag": of_nothing, "versionId": VERSION, "sequencer": "0055AED6DCD90281"});
    assert_eq!(object(EventName::LifecycleExpirationDeleteMarkerCreated), marked);
    let tagged = json!({"key": "HappyFace.jpg", "eTag": ETAG, "versionId": VERSION});
    assert_eq!(object(EventName::ObjectTaggingPut), tagged);
    assert_eq!(object(EventName::ObjectAclPut), tagged);
    assert_eq!(said(&example(EventName::ObjectAclPut), Some("c"))["Records"][0]["eventVersion"], "2.3");
    assert_eq!(object(EventName::ObjectCreatedCompleteMultipartUpload)["size"], 1024);
}

#[test]
fn a_bucket_without_versions_says_none() {
    let mut event = example(EventName::ObjectCreatedCopy);
    event.version = None;
    let record = said(&event, Some("c"));
    assert!(record["Records"][0]["s3"]["object"].get("versionId").is_none());
}

#[test]
fn keys_are_encoded_as_forms_are() {
    assert_eq!(form_encode("red flower.jpg"), "red+flower.jpg");
    assert_eq!(form_encode("a@b"), "a%40b");
    assert_eq!(form_encode("testupload/dir1/a+b~é"), "testupload/dir1/a%2Bb%7E%C3%A9");
}

#[test]
fn sequencers_grow_with_positions() {
    let sequencer = |position| QueuedEvent { position, ..example(EventName::ObjectCreatedPut) }.sequencer();
    assert!(sequencer(9) < sequencer(10) && sequencer(0xff) < sequencer(0x100));
    assert!(sequencer(u64::MAX - 1) < sequencer(u64::MAX));
}

#[test]
fn events_of_the_stores_own_changes_name_the_store() {
    let mut event = example(EventName::LifecycleExpirationDelete);
    event.at = UnixMs(1_413_215_822_089);
    event.context =
        EventContext::of_service("b".to_owned(), "owner".to_owned(), "C3D13FE58DE4C810".to_owned(), "h".to_owned());
    let record = said(&event, Some("c"))["Records"][0].clone();
    assert_eq!(record["eventTime"], "2014-10-13T15:57:02.089Z");
    assert_eq!(record["userIdentity"]["principalId"], "s3.amazonaws.com");
    assert_eq!(record["requestParameters"]["sourceIPAddress"], "s3.amazonaws.com");
}

#[test]
fn the_test_message_is_that_of_the_guide() {
    let host = "8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3eKxsPzbB9wrR";
    let message = test_message("bucketname", UnixMs(1_413_215_822_089), "5582815E1AEA5ADF", host);
    let expected = concat!(
        r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Time":"2014-10-13T15:57:02.089Z","Bucket":"bucketname","#,
        r#""RequestId":"5582815E1AEA5ADF","HostId":"8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3eKxsPzbB9wrR"}"#
    );
    assert_eq!(String::from_utf8(message).expect("text"), expected);
}

/// The guide's example of "Object Created", and what a deletion adds.
#[test]
fn the_event_bridge_gets_its_own_form() {
    let event = said(&example(EventName::ObjectCreatedPut), None);
    assert_eq!(event["detail-type"], "Object Created");
    assert_eq!(event["source"], "aws.s3");
    assert_eq!(event["time"], "1970-01-01T00:00:00Z");
    assert_eq!(event["resources"], json!(["arn:aws:s3:::amzn-s3-demo-bucket"]));
    let detail = json!({
        "version": "0",
        "bucket": { "name": "amzn-s3-demo-bucket" },
        "object": {
            "key": "HappyFace.jpg",
            "size": 1024,
            "etag": ETAG,
            "version-id": VERSION,
            "sequencer": "0055AED6DCD90281"
        },
        "request-id": "C3D13FE58DE4C810",
        "requester": "AIDAJDPLRKLG7UEXAMPLE",
        "source-ip-address": "172.16.0.1",
        "reason": "PutObject"
    });
    assert_eq!(event["detail"], detail);
    let gone = said(&example(EventName::LifecycleExpirationDelete), None);
    assert_eq!(gone["detail"]["reason"], "Lifecycle Expiration");
    assert_eq!(gone["detail"]["deletion-type"], "Permanently Deleted");
}

#[test]
fn an_event_without_a_target_has_no_draft_and_a_malformed_one_is_none() {
    let context = example(EventName::ObjectCreatedPut).context;
    assert_eq!(draft(EventName::ObjectCreatedPut, vec![], context.clone()), None);
    let told = Match { target: "Q".to_owned(), configuration: None };
    let draft = draft(EventName::ObjectAclPut, vec![told], context).expect("somebody is told");
    assert_eq!((draft.name.as_str(), draft.targets.as_slice()), ("ObjectAcl:Put", &["Q".to_owned()][..]));
    let row = |name: &str, context: &[u8]| EventRow {
        seq: 1,
        at: UnixMs(0),
        draft: EventDraft { name: name.to_owned(), targets: vec![], context: Bytes::copy_from_slice(context) },
        bucket: BucketId(1),
        key: "k".to_owned(),
        version: None,
        size_bytes: 0,
        etag: None,
    };
    assert!(QueuedEvent::of(row("ObjectAcl:Put", &draft.context), "Q").is_some());
    assert!(QueuedEvent::of(row("ObjectAcl:Put", &draft.context), "OTHER").is_none());
    assert!(QueuedEvent::of(row("Object:Sung", &draft.context), "Q").is_none());
    assert!(QueuedEvent::of(row("ObjectAcl:Put", b"\x02{}"), "Q").is_none());
}

/// Tests that stored events keep their form: every later version must read them.
#[test]
fn the_stored_form_does_not_change() {
    let told = Match { target: "Q".to_owned(), configuration: Some("c".to_owned()) };
    let context = example(EventName::ObjectCreatedPut).context;
    let stored = draft(EventName::ObjectCreatedPut, vec![told], context).expect("somebody is told").context;
    let expected = concat!(
        "\u{1}",
        r#"{"context":{"bucket":"amzn-s3-demo-bucket","bucket_owner":"A3NL1KOZZKExample","#,
        r#""requester":"AIDAJDPLRKLG7UEXAMPLE","source_ip":"172.16.0.1","request_id":"C3D13FE58DE4C810","#,
        r#""host_id":"FMyUVURIY8/IgAtTv8xRjskZQpcIZ9KG4V5Wp6S7S/JRWeUWerMUE5JgHvANOjpD"},"#,
        r#""matches":[{"target":"Q","configuration":"c"}]}"#
    );
    assert_eq!(std::str::from_utf8(&stored).expect("text"), expected);
}

#[test]
fn entity_tags_of_uploads_have_their_number_of_parts() {
    assert_eq!(etag_text(&ETag { md5: [0xab; 16], parts: Some(7) }), "abababababababababababababababab-7");
}
