//! Tests of the events of bodies that arrive slowly: the rules that a bucket has when a change is proposed decide who
//! is notified of it.

use super::{Permit, World, content, put_object};
use crate::actors::documents;
use crate::actors::events::{
    EVENT_BRIDGE, EventContext, EventName, EventSink, Message, NotificationRules, PendingEvent, SinkFault, Target,
    Targets,
};
use crate::actors::get_task::open_object;
use crate::actors::put_task::{AppendObjectRequest, PutObjectRequest, append_object};
use crate::actors::request::test_world::{KEY, Tables};
use crate::actors::request::{BodyChecks, StoreError, Upload};
use crate::storage::meta::command::{Change, Reply};
use crate::storage::meta::record::{BucketDocument, DocumentKey, DocumentWrite, EventDraft, Expect, Pick};
use crate::types::BucketId;
use bytes::Bytes;
use futures::{StreamExt, stream};
use std::sync::Arc;

/// A webhook that accepts everything.
#[derive(Debug)]
struct Silent;

#[async_trait::async_trait]
impl EventSink for Silent {
    async fn send(&self, _: &Message) -> Result<(), SinkFault> {
        Ok(())
    }
}

/// Sets whether all events of the bucket go to the webhook `EVENT_BRIDGE`; none go to another.
fn set_rules(meta: &Tables, bucket: BucketId, event_bridge: bool) {
    let key = DocumentKey::Bucket(bucket, BucketDocument::Notification, String::new());
    let value = documents::encode(&NotificationRules { rules: Vec::new(), event_bridge }).expect("rules");
    let write = DocumentWrite { key, expect: Expect::Any, value: Some(value) };
    let reply = meta.apply(Change::WriteDocuments(vec![write]));
    assert!(matches!(reply, Reply::Done), "{reply:?}");
}

fn pending() -> PendingEvent {
    let context = EventContext::of_service("bucket".to_owned(), "root".to_owned(), "r".to_owned(), "h".to_owned());
    let target = Target { sink: Arc::new(Silent), queue_limit: 10 };
    let targets = Targets::new([(EVENT_BRIDGE.to_owned(), target)]);
    PendingEvent { name: EventName::ObjectCreatedPut, context, targets }
}

/// Returns a body of `length` bytes. The bucket's rules are set before its last byte arrives.
fn slow_upload(world: &World, length: usize, event_bridge: bool) -> Upload {
    let (meta, bucket) = (Arc::clone(&world.meta), world.bucket);
    let last = stream::once(async move {
        set_rules(&meta, bucket, event_bridge);
        Ok::<_, StoreError>(Bytes::from_static(b"."))
    });
    let first = stream::iter([Ok::<_, StoreError>(content(length - 1))]);
    Upload { body: Box::pin(first.chain(last).fuse()), checks: BodyChecks::default(), trailer: None }
}

/// Returns the draft of the only change since the last call.
fn drafted(world: &World) -> Option<EventDraft> {
    match world.take_changes().as_slice() {
        [Change::PutObject(put)] => put.event.clone(),
        [Change::AppendObject(append)] => append.event.clone(),
        other => panic!("one entry, not {other:?}"),
    }
}

#[actix::test]
async fn rules_that_are_set_or_removed_while_a_body_arrives_decide_about_its_event() {
    for length in [100, 300_000] {
        for set in [true, false] {
            let world = World::new(2, 1);
            set_rules(&world.meta, world.bucket, !set);
            let upload = slow_upload(&world, length, set);
            let put = PutObjectRequest { event: Some(pending()), ..world.put_request(upload) };
            put_object(&world.context, Permit::unmetered(), put).await.expect("stored");
            let notified = drafted(&world).is_some_and(|draft| draft.targets == [EVENT_BRIDGE]);
            assert_eq!(notified, set, "a PUT of {length} bytes");

            set_rules(&world.meta, world.bucket, !set);
            let opened = open_object(&world.context, world.meta.view(), world.bucket, KEY, Pick::Current).await;
            let append = AppendObjectRequest {
                bucket: world.bucket,
                key: KEY.to_owned(),
                standing: opened.expect("tables in memory").object().expect("it is there"),
                event: Some(pending()),
                upload: slow_upload(&world, length, set),
            };
            append_object(&world.context, Permit::unmetered(), append).await.expect("appended");
            assert_eq!(drafted(&world).is_some(), set, "an append of {length} bytes");
        }
    }
}

#[actix::test]
async fn a_change_without_webhooks_has_no_event() {
    let world = World::new(2, 1);
    set_rules(&world.meta, world.bucket, true);
    let known_nowhere = PendingEvent { targets: Targets::default(), ..pending() };
    for event in [None, Some(known_nowhere)] {
        let put = PutObjectRequest { event, ..world.put_request(slow_upload(&world, 100, true)) };
        put_object(&world.context, Permit::unmetered(), put).await.expect("stored");
        assert_eq!(drafted(&world), None);
    }
}
