//! The arguments of `sherd admin rate-limit`: limits on the rates of requests and bytes.

use super::identities::account_id;
use super::{Limit, branch, bucket_name, leaf, limit_of_bytes, limit_of_objects};
use clap::{Arg, ArgGroup, ArgMatches, Command};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RateLimitQuestion {
    List,
    /// Sets the given limits of one account or one bucket; the others stay as they are.
    Set {
        account: Option<String>,
        bucket: Option<String>,
        requests: Option<Limit>,
        received: Option<Limit>,
        sent: Option<Limit>,
        active: Option<Limit>,
    },
}

pub(super) fn command() -> Command {
    let account = Arg::new("account")
        .long("account")
        .value_name("ID")
        .value_parser(account_id)
        .help("The account, by its 12 digits");
    let bucket = Arg::new("bucket").long("bucket").value_name("NAME").value_parser(bucket_name).help("The bucket");
    let limit = |name: &'static str, help: &'static str| Arg::new(name).long(name).value_name("N|none").help(help);
    let requests = limit("requests", "Requests a second; those beyond are answered SlowDown");
    let received = limit("received", "Bytes of uploads a second (KiB, MiB, GiB); those beyond wait");
    let sent = limit("sent", "Bytes of downloads a second (KiB, MiB, GiB); those beyond wait");
    let active = limit("active", "Requests under way at a time; those beyond are answered SlowDown");
    let set = leaf("set", "Set limits of an account or a bucket, for all hosts together; others stay as they are")
        .arg(account)
        .arg(bucket)
        .group(ArgGroup::new("limited").args(["account", "bucket"]).required(true))
        .arg(requests.value_parser(limit_of_objects))
        .arg(received.value_parser(limit_of_bytes))
        .arg(sent.value_parser(limit_of_bytes))
        .arg(active.value_parser(limit_of_objects));
    let limits = ["requests", "received", "sent", "active"];
    let set = set.group(ArgGroup::new("limits").args(limits).multiple(true).required(true));
    branch("rate-limit", "Limits on the requests and bytes a second of accounts and buckets")
        .subcommand(leaf("list", "All accounts and buckets with limits"))
        .subcommand(set)
}

/// Returns the question, or `None` for another command.
pub(super) fn asked(names: &[&str], last: &ArgMatches) -> Option<RateLimitQuestion> {
    let ["rate-limit", verb] = names else { return None };
    if *verb == "list" {
        return Some(RateLimitQuestion::List);
    }
    let text = |name: &str| last.get_one::<String>(name).cloned();
    let limit = |name: &str| last.get_one::<Limit>(name).copied();
    Some(RateLimitQuestion::Set {
        account: text("account"),
        bucket: text("bucket"),
        requests: limit("requests"),
        received: limit("received"),
        sent: limit("sent"),
        active: limit("active"),
    })
}
