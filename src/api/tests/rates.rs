//! Limits on rates at the listener, as an administrator sets them.

use super::permissions::Client;
use super::{administer, ask, connect, s3_of, start};
use crate::actors::request::test_world::World;
use crate::api::ApiHandle;
use crate::limits::RATE_BYTES_MIN;
use bytes::Bytes;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;

/// Requests within which one is refused: each would have to take a second otherwise.
const REQUESTS_MAX: usize = 100;

/// Sets limits; returns the status, and the answer.
async fn limit(api: &ApiHandle, limits: Value) -> (u16, Value) {
    let mut stream = connect(api.admin_address).await;
    let request =
        administer("POST", api.admin_address, "/admin/v1/rate-limits", limits.to_string().as_bytes(), "sherd-admin");
    let answer = ask(&mut stream, &request).await;
    (answer.status, serde_json::from_slice(&answer.body).expect("JSON"))
}

/// Returns whether any of so many requests is refused.
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
async fn requests_beyond_a_limit_of_a_bucket_are_refused_until_it_is_taken_away() {
    let world = World::new(1, 0);
    let api = start(&world);
    let root = Client::root(&api);
    assert!(!is_refused(&root, "/bucket").await, "there is no limit");
    let (status, set) = limit(&api, json!({"bucket": "bucket", "requests_per_second": 1})).await;
    assert_eq!((status, &set["requests_per_second"], &set["account"]), (200, &json!(1), &Value::Null), "{set}");
    assert!(is_refused(&root, "/bucket").await);
    // Nobody else uses the limits of a bucket up, and no other bucket is concerned.
    let stranger = Client::nobody(&api);
    for _ in 0..REQUESTS_MAX {
        assert_eq!(stranger.status("HEAD", "/bucket", &[], b"").await, 403);
    }
    assert!(!is_refused(&root, "/absent").await);
    assert_eq!(limit(&api, json!({"bucket": "bucket", "requests_per_second": null})).await.0, 200);
    assert!(!is_refused(&root, "/bucket").await, "it is gone at once");
    api.stop().await;
}

#[actix::test]
async fn an_account_is_limited_whatever_it_asks_and_its_requests_under_way_are_counted() {
    let world = World::new(1, 0);
    let api = start(&world);
    let (root, account) = (Client::root(&api), crate::api::ROOT_ACCOUNT);
    assert_eq!(limit(&api, json!({"account": account, "requests_per_second": 1})).await.0, 200);
    assert!(is_refused(&root, "/absent").await && !is_refused(&Client::nobody(&api), "/bucket").await);
    let under_way = json!({"account": account, "requests_per_second": null, "requests_active_max": 1});
    assert_eq!(limit(&api, under_way).await.0, 200);
    // One whose body does not come is under way.
    let mut open = connect(s3_of(&api)).await;
    open.write_all(&root.head("PUT", "/bucket/k", &[], 10)).await.expect("sent");
    assert!(is_refused(&root, "/bucket").await);
    // The body of this one does not come either.
    let refused = ask(&mut connect(s3_of(&api)).await, &root.head("PUT", "/bucket/other", &[], 1 << 30)).await;
    let text = String::from_utf8(refused.body).expect("text");
    assert!(text.contains("<Code>SlowDown</Code><Message>The account or the bucket is over a limit of its requests or bytes: try again later, with fewer requests at a time.</Message>"), "{text}");
    assert_eq!(refused.status, 503);
    assert_eq!(ask(&mut open, b"0123456789").await.status, 200);
    assert!(!is_refused(&root, "/bucket").await, "none is under way any more");
    api.stop().await;
}

#[actix::test]
async fn bytes_beyond_a_limit_wait_and_come_whole() {
    let world = World::new(1, 0);
    let api = start(&world);
    let root = Client::root(&api);
    let body: Bytes = (0..=255u8).cycle().take(5 * RATE_BYTES_MIN as usize / 2).collect::<Vec<_>>().into();
    // Of two and a half seconds' bytes a second's worth goes at once.
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
async fn limits_that_make_no_sense_are_refused() {
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
