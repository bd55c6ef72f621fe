//! The command `sherd admin rate-limit`: lists and sets limits on the rates of requests and bytes of accounts and
//! buckets.

use super::client::Client;
use super::show::{size, table};
use super::{AdminFailure, tell};
use crate::api::admin::{RateLimitsJson, SetRateLimits};
use crate::config::{Limit, RateLimitQuestion};
use std::io::Write;

pub fn run(client: &Client, asked: &RateLimitQuestion, json: bool, out: &mut impl Write) -> Result<(), AdminFailure> {
    match asked.clone() {
        RateLimitQuestion::List => {
            let all: Vec<RateLimitsJson> = client.get("/rate-limits")?;
            tell(&all, json, |all| listed(all), out)
        }
        RateLimitQuestion::Set { account, bucket, requests, received, sent, active } => {
            let asked = SetRateLimits {
                account,
                bucket,
                requests_per_second: requests.map(limit),
                received_bytes_per_second: received.map(limit),
                sent_bytes_per_second: sent.map(limit),
                requests_active_max: active.map(limit),
            };
            let set: RateLimitsJson = client.post("/rate-limits", &asked)?;
            tell(&set, json, |set| listed(std::slice::from_ref(set)), out)
        }
    }
}

fn limit(limit: Limit) -> Option<u64> {
    match limit {
        Limit::None => None,
        Limit::At(most) => Some(most),
    }
}

fn listed(all: &[RateLimitsJson]) -> String {
    let none = || "-".to_owned();
    let number = |limit: Option<u64>| limit.map_or_else(none, |limit| limit.to_string());
    let bytes = |limit: Option<u64>| limit.map_or_else(none, size);
    let rows = all.iter().map(|limits| {
        let (kind, name) = match (&limits.account, &limits.bucket) {
            (Some(account), _) => ("account", account.clone()),
            (None, bucket) => ("bucket", bucket.clone().unwrap_or_default()),
        };
        let (received, sent) = (bytes(limits.received_bytes_per_second), bytes(limits.sent_bytes_per_second));
        let (requests, active) = (number(limits.requests_per_second), number(limits.requests_active_max));
        [kind.to_owned(), name, requests, received, sent, active]
    });
    table(["KIND", "NAME", "REQUESTS/S", "RECEIVED/S", "SENT/S", "UNDER WAY"], rows)
}

#[cfg(test)]
mod tests {
    use super::listed;
    use crate::api::admin::RateLimitsJson;

    #[test]
    fn limits_are_listed_by_account_and_bucket() {
        let account = RateLimitsJson {
            account: Some("111122223333".to_owned()),
            requests_per_second: Some(100),
            sent_bytes_per_second: Some(10 << 20),
            ..RateLimitsJson::default()
        };
        let bucket = Some("logs".to_owned());
        let of_bucket = RateLimitsJson { bucket, requests_active_max: Some(8), ..RateLimitsJson::default() };
        let text = "\
KIND     NAME          REQUESTS/S  RECEIVED/S  SENT/S    UNDER WAY
account  111122223333  100         -           10.0 MiB  -
bucket   logs          -           -           -         8
";
        assert_eq!(listed(&[account, of_bucket]), text);
    }
}
