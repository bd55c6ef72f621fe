//! Tests of limits on rates at the listener, set through the admin API.

use super::permissions::{Client, everybody_may_do_all, md5};
use super::{administer, ask, connect, plain, s3_of, start};
use crate::actors::request::test_world::World;
use crate::api::ApiHandle;
use crate::limits::RATE_BYTES_MIN;
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;

/// The number of requests among which a limit of one a second must refuse one. They take far less than a second each.
const REQUESTS_MAX: usize = 100;

/// Sets limits; returns the status and the body of the response.
async fn limit(api: &ApiHandle, limits: Value) -> (u16, Value) {
    let mut stream = connect(api.admin_address).await;
    let request =
        administer("POST", api.admin_address, "/admin/v1/rate-limits", limits.to_string().as_bytes(), "sherd-admin");
    let answer = ask(&mut stream, &request).await;
    (answer.status, serde_json::from_slice(&answer.body).expect("JSON"))
}

/// Returns whether one of `REQUESTS_MAX` requests is refused.
async fn is_refused(client: &Client<'_>, target: &str) -> bool {
    for _ in 0..REQUESTS_MAX {
        match client.status("HEAD", target, &[], b"").await {
            503 => return true,
            status => assert!(status < 500, "{status}"),
        }
    }
    false
}

#[actix::test]
async fn requests_beyond_a_buckets_limit_are_refused_until_it_is_removed() {
    let world = World::new(1, 0);
    let api = start(&world);
    let root = Client::root(&api);
    assert!(!is_refused(&root, "/bucket").await, "there is no limit");
    let (status, set) = limit(&api, json!({"bucket": "bucket", "requests_per_second": 1})).await;
    assert_eq!((status, &set["requests_per_second"], &set["account"]), (200, &json!(1), &Value::Null), "{set}");
    assert!(is_refused(&root, "/bucket").await);
    // Denied requests do not use the bucket's limit up, and other buckets are not limited.
    let stranger = Client::nobody(&api);
    for _ in 0..REQUESTS_MAX {
        assert_eq!(stranger.status("HEAD", "/bucket", &[], b"").await, 403);
    }
    assert!(!is_refused(&root, "/absent").await);
    assert_eq!(limit(&api, json!({"bucket": "bucket", "requests_per_second": null})).await.0, 200);
    assert!(!is_refused(&root, "/bucket").await, "the removal applies at once");
    api.stop().await;
}

#[actix::test]
async fn requests_that_nothing_can_allow_do_not_use_up_the_limits_of_a_bucket() {
    let world = World::new(1, 0);
    let api = start(&world);
    let (root, nothing) =
        (Client::root(&api), json!([{"Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*"}]));
    let denied = Client::user(&api, "denied", nothing).await;
    let site =
        b"<WebsiteConfiguration><IndexDocument><Suffix>index.html</Suffix></IndexDocument></WebsiteConfiguration>";
    root.done("PUT", "/bucket?website", &[("content-md5", &md5(site))], site).await;
    assert_eq!(
        limit(&api, json!({"bucket": "bucket", "requests_per_second": 1, "requests_active_max": 1})).await.0,
        200
    );
    let mut open = Vec::new();
    for target in
        ["/bucket?delete", "/bucket?tagging", "/bucket/k?tagging", "/bucket/k?retention", "/bucket/k?legal-hold"]
    {
        let method = if target.contains("delete") { "POST" } else { "PUT" };
        let mut stream = connect(s3_of(&api)).await;
        // The answer does not wait for the body.
        let head = denied.head(method, target, &[("content-md5", &md5(b"0123456789"))], 10);
        assert_eq!(ask(&mut stream, &head).await.status, 403, "{target}");
        open.push(stream);
    }
    let visited = async || {
        let asked =
            String::from_utf8(plain("GET", "/page")).expect("text").replace("Host: x", "Host: bucket.site.test");
        ask(&mut connect(s3_of(&api)).await, asked.as_bytes()).await.status
    };
    for _ in 0..REQUESTS_MAX {
        assert_eq!(visited().await, 403);
    }
    assert_eq!(root.status("HEAD", "/bucket", &[], b"").await, 200);
    for per_second in [Value::Null, json!(1)] {
        assert_eq!(limit(&api, json!({"bucket": "bucket", "requests_per_second": per_second})).await.0, 200);
        if per_second.is_null() {
            root.done("PUT", "/bucket?policy", &[], &everybody_may_do_all("bucket")).await;
        }
    }
    let mut statuses = BTreeSet::new();
    for _ in 0..REQUESTS_MAX {
        statuses.insert(visited().await);
    }
    assert!(statuses.contains(&503), "visitors who may read the bucket count: {statuses:?}");
    api.stop().await;
}

#[actix::test]
async fn limits_on_the_rate_and_on_active_requests_of_an_account_hold() {
    let world = World::new(1, 0);
    let api = start(&world);
    let (root, account) = (Client::root(&api), crate::api::ROOT_ACCOUNT);
    assert_eq!(limit(&api, json!({"account": account, "requests_per_second": 1})).await.0, 200);
    assert!(is_refused(&root, "/absent").await && !is_refused(&Client::nobody(&api), "/bucket").await);
    let under_way = json!({"account": account, "requests_per_second": null, "requests_active_max": 1});
    assert_eq!(limit(&api, under_way).await.0, 200);
    // A request whose body has not arrived is under way.
    let mut open = connect(s3_of(&api)).await;
    open.write_all(&root.head("PUT", "/bucket/k", &[], 10)).await.expect("sent");
    assert!(is_refused(&root, "/bucket").await);
    // Refused before its body arrives.
    let refused = ask(&mut connect(s3_of(&api)).await, &root.head("PUT", "/bucket/other", &[], 1 << 30)).await;
    let text = String::from_utf8(refused.body).expect("text");
    assert!(text.contains("<Code>SlowDown</Code><Message>The account or the bucket is over a limit of its requests or bytes: try again later, with fewer requests at a time.</Message>"), "{text}");
    assert_eq!(refused.status, 503);
    assert_eq!(ask(&mut open, b"0123456789").await.status, 200);
    assert!(!is_refused(&root, "/bucket").await, "none is under way any more");
    api.stop().await;
}

#[actix::test]
async fn bytes_beyond_a_limit_are_delayed_and_arrive_whole() {
    let world = World::new(1, 0);
    let api = start(&world);
    let root = Client::root(&api);
    let body: Bytes = (0..=255u8).cycle().take(5 * RATE_BYTES_MIN as usize / 2).collect::<Vec<_>>().into();
    // The bytes take 2.5 s at the limit, and the bytes of the first second pass at once.
    let wait = Duration::from_millis(1500);
    let limits = json!({"bucket": "bucket", "received_bytes_per_second": RATE_BYTES_MIN, "sent_bytes_per_second": RATE_BYTES_MIN});
    assert_eq!(limit(&api, limits).await.0, 200);
    let began = Instant::now();
    assert_eq!(root.status("PUT", "/bucket/k", &[], &body).await, 200);
    assert!(began.elapsed() >= wait, "{:?}", began.elapsed());
    let began = Instant::now();
    let got = root.ask("GET", "/bucket/k", &[], b"").await;
    assert!(got.status == 200 && got.body == body && began.elapsed() >= wait, "{:?}", began.elapsed());
    api.stop().await;
}

#[actix::test]
async fn invalid_rate_limits_are_refused() {
    let world = World::new(1, 0);
    let api = start(&world);
    for (wrong, expected) in [
        (json!({"bucket": "absent", "requests_per_second": 1}), 409),
        (json!({"account": "111122223333", "requests_per_second": 1}), 409),
        (json!({"bucket": "bucket", "requests_per_second": 0}), 409),
        (json!({"bucket": "bucket", "sent_bytes_per_second": RATE_BYTES_MIN - 1}), 409),
        (json!({"requests_per_second": 1}), 400),
        (json!({"bucket": "bucket", "account": "000000000000"}), 400),
        (json!({"bucket": "bucket", "requests": 1}), 400),
    ] {
        let (status, answer) = limit(&api, wrong.clone()).await;
        assert_eq!(status, expected, "{wrong}: {answer}");
    }
    api.stop().await;
}
