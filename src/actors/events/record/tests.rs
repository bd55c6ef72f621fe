//! Tests of event messages against those that AWS documents and sends.

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

/// The event of the S3 user guide's example, decoded from a queue row.
fn example(event: EventName) -> QueuedEvent {
    let context = EventContext {
        bucket: "amzn-s3-demo-bucket".to_owned(),
        bucket_owner: "A3NL1KOZZKExample".to_owned(),
        requester: "AIDAJDPLRKLG7UEXAMPLE".to_owned(),
        source_ip: "172.16.0.1".to_owned(),
        request_id: "C3D13FE58DE4C810".to_owned(),
        host_id: "FMyUVURIY8/IgAtTv8xRjskZQpcIZ9KG4V5Wp6S7S/JRWeUWerMUE5JgHvANOjpD".to_owned(),
    };
    let matched = Match { target: "Q".to_owned(), configuration: Some("testConfigRule".to_owned()) };
    let row = EventRow {
        seq: 0x55_AED6_DCD9_0281,
        at: UnixMs(0),
        draft: draft(event, vec![matched], context).expect("there is a target"),
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

fn message(event: &QueuedEvent, configuration: Option<&str>) -> Value {
    let to = Match { target: "Q".to_owned(), configuration: configuration.map(str::to_owned) };
    let event = QueuedEvent { to, ..event.clone() };
    serde_json::from_slice(&event.message(&speaker())).expect("JSON")
}

fn object(event: EventName) -> Value {
    message(&example(event), Some("c"))["Records"][0]["s3"]["object"].clone()
}

#[test]
fn an_event_record_equals_the_example_of_the_s3_guide() {
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
    assert_eq!(message(&example(EventName::ObjectCreatedPut), Some("testConfigRule")), expected);
}

/// Compares the object's fields with those in records of AWS, for several types of events.
#[test]
fn an_event_record_has_the_object_fields_that_aws_sends() {
    let of_nothing = "d41d8cd98f00b204e9800998ecf8427e";
    let removed = json!({"key": "HappyFace.jpg", "versionId": VERSION, "sequencer": "0055AED6DCD90281"});
    assert_eq!(object(EventName::ObjectRemovedDelete), removed);
    let marked =
        json!({"key": "HappyFace.jpg", "eTag": of_nothing, "versionId": VERSION, "sequencer": "0055AED6DCD90281"});
    assert_eq!(object(EventName::LifecycleExpirationDeleteMarkerCreated), marked);
    let tagged = json!({"key": "HappyFace.jpg", "eTag": ETAG, "versionId": VERSION});
    assert_eq!(object(EventName::ObjectTaggingPut), tagged);
    assert_eq!(object(EventName::ObjectAclPut), tagged);
    assert_eq!(message(&example(EventName::ObjectAclPut), Some("c"))["Records"][0]["eventVersion"], "2.3");
    assert_eq!(object(EventName::ObjectCreatedCompleteMultipartUpload)["size"], 1024);
}

#[test]
fn an_event_in_an_unversioned_bucket_has_no_version_id() {
    let mut event = example(EventName::ObjectCreatedCopy);
    event.version = None;
    let record = message(&event, Some("c"));
    assert!(record["Records"][0]["s3"]["object"].get("versionId").is_none());
}

#[test]
fn keys_in_event_records_are_form_encoded() {
    assert_eq!(form_encode("red flower.jpg"), "red+flower.jpg");
    assert_eq!(form_encode("a@b"), "a%40b");
    assert_eq!(form_encode("testupload/dir1/a+b~é"), "testupload/dir1/a%2Bb%7E%C3%A9");
}

#[test]
fn event_sequencers_sort_in_the_order_of_positions() {
    let sequencer = |position| QueuedEvent { position, ..example(EventName::ObjectCreatedPut) }.sequencer();
    assert!(sequencer(9) < sequencer(10) && sequencer(0xff) < sequencer(0x100));
    assert!(sequencer(u64::MAX - 1) < sequencer(u64::MAX));
}

#[test]
fn events_of_the_stores_own_changes_have_s3_as_requester() {
    let mut event = example(EventName::LifecycleExpirationDelete);
    event.at = UnixMs(1_413_215_822_089);
    event.context =
        EventContext::of_service("b".to_owned(), "owner".to_owned(), "C3D13FE58DE4C810".to_owned(), "h".to_owned());
    let record = message(&event, Some("c"))["Records"][0].clone();
    assert_eq!(record["eventTime"], "2014-10-13T15:57:02.089Z");
    assert_eq!(record["userIdentity"]["principalId"], "s3.amazonaws.com");
    assert_eq!(record["requestParameters"]["sourceIPAddress"], "s3.amazonaws.com");
}

#[test]
fn the_test_message_equals_the_example_of_the_s3_guide() {
    let host = "8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3eKxsPzbB9wrR";
    let message = test_message("bucketname", UnixMs(1_413_215_822_089), "5582815E1AEA5ADF", host);
    let expected = concat!(
        r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Time":"2014-10-13T15:57:02.089Z","Bucket":"bucketname","#,
        r#""RequestId":"5582815E1AEA5ADF","HostId":"8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3eKxsPzbB9wrR"}"#
    );
    assert_eq!(String::from_utf8(message).expect("text"), expected);
}

/// The guide's example of "Object Created", and the fields that a deletion adds.
#[test]
fn events_without_a_rule_are_sent_in_the_eventbridge_format() {
    let event = message(&example(EventName::ObjectCreatedPut), None);
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
    let gone = message(&example(EventName::LifecycleExpirationDelete), None);
    assert_eq!(gone["detail"]["reason"], "Lifecycle Expiration");
    assert_eq!(gone["detail"]["deletion-type"], "Permanently Deleted");
}

#[test]
fn events_without_target_have_no_draft_and_malformed_rows_do_not_decode() {
    let context = example(EventName::ObjectCreatedPut).context;
    assert_eq!(draft(EventName::ObjectCreatedPut, vec![], context.clone()), None);
    let matched = Match { target: "Q".to_owned(), configuration: None };
    let draft = draft(EventName::ObjectAclPut, vec![matched], context).expect("there is a target");
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

/// Tests the exact bytes of a stored event: every later version must be able to read them.
#[test]
fn the_encoding_of_a_stored_event_is_stable() {
    let matched = Match { target: "Q".to_owned(), configuration: Some("c".to_owned()) };
    let context = example(EventName::ObjectCreatedPut).context;
    let stored = draft(EventName::ObjectCreatedPut, vec![matched], context).expect("there is a target").context;
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
fn the_etag_of_a_multipart_upload_ends_with_its_part_count() {
    assert_eq!(etag_text(&ETag { md5: [0xab; 16], parts: Some(7) }), "abababababababababababababababab-7");
}
