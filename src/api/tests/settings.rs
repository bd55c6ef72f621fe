//! Tests of buckets' settings at the listener: object lock, websites, the answers to forms, and named configurations.

use super::permissions::{Client, everybody_may_do_all, md5};
use super::{ask, connect, form, plain, s3_of, start};
use crate::actors::drives::health::SpaceLevel;
use crate::actors::meta::{BucketDocument, Change, DocumentKey, DocumentWrite, Expect};
use crate::actors::request::test_world::World;
use crate::limits::CONFIGURATIONS_OF_A_KIND_MAX;
use bytes::Bytes;
use serde_json::json;

const LOCK: &[u8] =
    b"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>";
const LOCK_WITH_RULE: &[u8] =
    b"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>\
      <Mode>GOVERNANCE</Mode><Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>";

#[actix::test]
async fn object_lock_stays_off_if_its_default_rule_cannot_be_stored() {
    let world = World::new(2, 2);
    let api = start(&world);
    let root = Client::root(&api);
    root.done("PUT", "/box", &[], b"").await;
    let enabled = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    root.done("PUT", "/box?versioning", &[("content-md5", &md5(enabled))], enabled).await;
    let fill = |level| {
        let nodes = world.context.ring.current();
        nodes.nodes().iter().for_each(|node| {
            world.context.health.update(node.id, |state| state.level = level);
        });
    };
    fill(SpaceLevel::Exhausted);
    let refused = root.ask("PUT", "/box?object-lock", &[("content-md5", &md5(LOCK_WITH_RULE))], LOCK_WITH_RULE).await;
    assert!(refused.status >= 500, "a full store keeps no rule: {}", String::from_utf8_lossy(&refused.body));
    assert_eq!(root.status("GET", "/box?object-lock", &[], b"").await, 404, "a lock could not be taken back");
    root.done("PUT", "/box?object-lock", &[("content-md5", &md5(LOCK))], LOCK).await;
    fill(SpaceLevel::Ample);
    root.done("PUT", "/box?object-lock", &[("content-md5", &md5(LOCK_WITH_RULE))], LOCK_WITH_RULE).await;
    let shown = root.done("GET", "/box?object-lock", &[], b"").await;
    assert!(String::from_utf8_lossy(&shown.body).contains("<Days>1</Days>"));
    api.stop().await;
}

#[actix::test]
async fn a_website_shows_the_absence_of_pages_that_everybody_may_list() {
    let world = World::new(2, 2);
    let api = start(&world);
    let root = Client::root(&api);
    root.done("PUT", "/bucket/docs/there.html", &[], b"x").await;
    let site =
        b"<WebsiteConfiguration><IndexDocument><Suffix>index.html</Suffix></IndexDocument></WebsiteConfiguration>";
    root.done("PUT", "/bucket?website", &[("content-md5", &md5(site))], site).await;
    let policy = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket/*"},
        {"Effect": "Allow", "Principal": "*", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::bucket",
            "Condition": {"StringLike": {"s3:prefix": "docs/*"}}},
    ]});
    root.done("PUT", "/bucket?policy", &[], policy.to_string().as_bytes()).await;
    let status = async |path: &str| {
        let asked = String::from_utf8(plain("GET", path)).expect("text").replace("Host: x", "Host: bucket.site.test");
        ask(&mut connect(s3_of(&api)).await, asked.as_bytes()).await.status
    };
    assert_eq!(status("/docs/there.html").await, 200);
    assert_eq!(status("/docs/absent.html").await, 404);
    assert_eq!(status("/other/absent.html").await, 403);
    api.stop().await;
}

#[actix::test]
async fn the_answer_to_a_form_has_the_control_characters_of_the_key_as_references() {
    let world = World::new(2, 2);
    let api = start(&world);
    let root = Client::root(&api);
    root.done("PUT", "/bucket?policy", &[], &everybody_may_do_all("bucket")).await;
    let fields = [("key", "a\rb\u{1}<c>"), ("success_action_status", "201")];
    let host = s3_of(&api).to_string();
    let posted = ask(&mut connect(s3_of(&api)).await, &form(&host, &fields, b"x")).await;
    let text = String::from_utf8(posted.body.clone()).expect("text");
    assert_eq!(posted.status, 201, "{text}");
    assert!(text.contains("<Key>a&#xD;b&#x1;&lt;c&gt;</Key>"), "{text}");
    let nobody = Client::nobody(&api);
    assert_eq!(nobody.done("GET", "/bucket/a%0Db%01%3Cc%3E", &[], b"").await.body, b"x");
    api.stop().await;
}

fn metrics(id: &str) -> (String, Vec<u8>) {
    let xml = format!("<MetricsConfiguration><Id>{id}</Id></MetricsConfiguration>");
    (format!("/bucket?metrics&id={id}"), xml.into_bytes())
}

#[actix::test]
async fn a_configuration_beyond_the_most_of_its_kind_is_refused_however_many_come_at_once() {
    let world = World::new(2, 2);
    let api = start(&world);
    let root = Client::root(&api);
    let key = |id: usize| DocumentKey::Bucket(world.bucket, BucketDocument::Metrics, format!("id-{id:04}"));
    let value = Some(Bytes::from_static(b"{}"));
    let write = |id| DocumentWrite { key: key(id), expect: Expect::Any, value: value.clone() };
    world.meta.apply(Change::WriteDocuments((0..CONFIGURATIONS_OF_A_KIND_MAX - 1).map(write).collect()));
    let statuses = futures::future::join_all((0..8).map(|number| {
        let ((target, body), root) = (metrics(&format!("new-{number}")), &root);
        async move { root.status("PUT", &target, &[], &body).await }
    }));
    let statuses = statuses.await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 400).count(), 7, "{statuses:?}");
    let (target, body) = metrics("another");
    let refused = root.ask("PUT", &target, &[], &body).await;
    assert!(String::from_utf8_lossy(&refused.body).contains("<Code>TooManyConfigurations</Code>"));
    api.stop().await;
}
