//! Tests of buckets' settings at the listener: object lock, websites, the answers to forms, and named configurations.

use super::permissions::{Client, everybody_may_do_all, md5};
use super::{ask, connect, form, plain, s3_of, start};
use crate::actors::meta::{BucketDocument, Change, DocumentKey, DocumentWrite, Expect, Reply};
use crate::actors::request::test_world::{Decides, World};
use crate::limits::CONFIGURATIONS_OF_A_KIND_MAX;
use bytes::Bytes;
use serde_json::json;

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
    let headers = [("content-md5", md5(LOCK_WITH_RULE))];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    world.decide(Decides::IsUnavailable);
    let refused = root.ask("PUT", "/box?object-lock", &headers, LOCK_WITH_RULE).await;
    assert!(refused.status >= 500, "{}", String::from_utf8_lossy(&refused.body));
    world.decide(Decides::Applies);
    assert_eq!(root.status("GET", "/box?object-lock", &[], b"").await, 404, "a lock could not be taken back");
    root.done("PUT", "/box?object-lock", &headers, LOCK_WITH_RULE).await;
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
    let listed = root.done("GET", "/bucket?encoding-type=url", &[], b"").await;
    assert!(String::from_utf8_lossy(&listed.body).contains("<Key>a%0Db%01%3Cc%3E</Key>"));
    api.stop().await;
}

fn metrics(id: &str) -> (String, Vec<u8>) {
    let xml = format!("<MetricsConfiguration><Id>{id}</Id></MetricsConfiguration>");
    (format!("/bucket?metrics&id={id}"), xml.into_bytes())
}

#[actix::test]
async fn the_last_of_concurrent_configurations_is_refused_if_the_bucket_has_the_most_of_the_kind() {
    let world = World::new(2, 2);
    let api = start(&world);
    let root = Client::root(&api);
    let key = |id: usize| DocumentKey::Bucket(world.bucket, BucketDocument::Metrics, format!("id-{id:04}"));
    let value = Some(Bytes::from_static(b"{}"));
    let write = |id| DocumentWrite { key: key(id), expect: Expect::Any, value: value.clone() };
    world.meta.apply(Change::WriteDocuments((1..CONFIGURATIONS_OF_A_KIND_MAX).map(write).collect()));
    let (target, body) = metrics("new");
    let mut stream = connect(s3_of(&api)).await;
    let head = root.head("PUT", &target, &[("expect", "100-continue")], body.len());
    assert_eq!(ask(&mut stream, &head).await.status, 100, "the request has its view, in which there is room");
    assert_eq!(world.meta.apply(Change::WriteDocuments(vec![write(0)])), Reply::Done);
    let refused = ask(&mut stream, &body).await;
    let text = String::from_utf8_lossy(&refused.body);
    assert!(refused.status == 400 && text.contains("<Code>TooManyConfigurations</Code>"), "{text}");
    // Nothing is proposed for one that comes later, but a replacement is.
    world.decide(Decides::IsUnavailable);
    let (target, body) = metrics("another");
    let refused = root.ask("PUT", &target, &[], &body).await;
    let text = String::from_utf8_lossy(&refused.body);
    assert!(refused.status == 400 && text.contains("<Code>TooManyConfigurations</Code>"), "{text}");
    let (target, body) = metrics("id-0001");
    assert!(root.status("PUT", &target, &[], &body).await >= 500);
    world.decide(Decides::Applies);
    root.done("PUT", &target, &[], &body).await;
    api.stop().await;
}
