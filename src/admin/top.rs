//! The command `sherd admin top`: the accounts and buckets with the most traffic, on all hosts or on one. The exit code
//! is 1 if a selected host does not answer.

use super::client::{Client, with_host};
use super::show::{size, table};
use super::{AdminFailure, tell};
use crate::api::admin::{HeavyJson, RankedJson, TopJson, TopOfKindJson};
use crate::config::{TopBy, TopOver, TopQuestion};
use std::fmt::Write as _;
use std::io::Write;

pub fn run(client: &Client, asked: &TopQuestion, json: bool, out: &mut impl Write) -> Result<u8, AdminFailure> {
    let top: TopJson = client.get(&with_host("/top", asked.host.as_deref()))?;
    tell(&top, json, |top| words(top, asked), out)?;
    Ok(u8::from(top.hosts.iter().any(|host| host.why.is_some())))
}

fn words(top: &TopJson, asked: &TopQuestion) -> String {
    let mut text = String::new();
    for (by, name, kind) in [(TopBy::Account, "ACCOUNT", &top.accounts), (TopBy::Bucket, "BUCKET", &top.buckets)] {
        if asked.by.is_none_or(|wanted| wanted == by) {
            text.push_str(&of_kind(name, kind, asked.over));
        }
    }
    for host in &top.hosts {
        if let Some(why) = &host.why {
            let _ = writeln!(text, "host {} does not answer: {why}", host.name);
        }
    }
    text
}

fn of_kind(name: &str, kind: &TopOfKindJson, over: TopOver) -> String {
    let (ranked, long) = match over {
        TopOver::Minute => (&kind.minute, "the last minute"),
        TopOver::FiveMinutes => (&kind.five_minutes, "the last five minutes"),
    };
    let RankedJson { by_requests, by_bytes } = ranked;
    let list = |order: &str, heavy: &[HeavyJson]| {
        let rows = heavy.iter().map(|heavy| [heavy.name.clone(), heavy.requests.to_string(), size(heavy.bytes)]);
        format!("by {order}, in {long}\n{}\n", table([name, "REQUESTS", "BYTES"], rows))
    };
    list("requests", by_requests) + &list("bytes", by_bytes)
}

#[cfg(test)]
mod tests {
    use super::words;
    use crate::api::admin::TopJson;
    use crate::config::{TopBy, TopOver, TopQuestion};

    #[test]
    fn top_shows_accounts_and_buckets_in_both_orders_and_names_a_silent_host() {
        let top: TopJson = serde_json::from_str(
            r#"{"accounts":{"minute":{"by_requests":[{"name":"1","requests":3,"bytes":2048}],"by_bytes":[]},
                "five_minutes":{"by_requests":[],"by_bytes":[]}},
                "buckets":{"minute":{"by_requests":[],"by_bytes":[]},
                "five_minutes":{"by_requests":[],"by_bytes":[{"name":"photos","requests":1,"bytes":5}]}},
                "hosts":[{"host":"2","name":"b","why":"gone"}]}"#,
        )
        .expect("an answer");
        let of = |by, over| words(&top, &TopQuestion { by, over, host: None });
        let accounts = of(Some(TopBy::Account), TopOver::Minute);
        let table = "by requests, in the last minute\nACCOUNT  REQUESTS  BYTES\n1        3         2.0 KiB\n";
        assert!(accounts.starts_with(table), "{accounts}");
        assert!(!accounts.contains("BUCKET") && accounts.ends_with("host b does not answer: gone\n"), "{accounts}");
        let both = of(None, TopOver::FiveMinutes);
        assert!(both.contains("photos") && both.contains("ACCOUNT") && !both.contains("2.0 KiB"), "{both}");
    }
}
