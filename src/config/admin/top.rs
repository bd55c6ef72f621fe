//! The arguments of `sherd admin top`: the accounts and buckets with the most traffic.

use super::leaf;
use clap::{Arg, ArgMatches, Command};

/// The selection of `sherd admin top`. It limits the output for people; JSON has the whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopQuestion {
    /// What to rank; `None`: accounts and buckets.
    pub by: Option<TopBy>,
    pub over: TopOver,
    /// The host, by name or id; `None` for all.
    pub host: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopBy {
    Account,
    Bucket,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopOver {
    Minute,
    FiveMinutes,
}

pub(super) fn command() -> Command {
    let by = Arg::new("by").long("by").value_name("KIND").value_parser(["account", "bucket"]);
    let minutes = Arg::new("minutes").long("minutes").value_name("N").value_parser(["1", "5"]).default_value("1");
    let host = Arg::new("host").long("host").value_name("HOST").help("Only this host, by name or id");
    leaf("top", "The accounts and buckets with the most requests and bytes")
        .arg(by.help("Show only accounts, or only buckets"))
        .arg(minutes.help("Count the last minute, or the last five"))
        .arg(host)
}

/// Returns the question, or `None` for another command.
pub(super) fn asked(names: &[&str], last: &ArgMatches) -> Option<TopQuestion> {
    if names != ["top"] {
        return None;
    }
    let text = |name: &str| last.get_one::<String>(name).cloned();
    let by = text("by").map(|by| if by == "account" { TopBy::Account } else { TopBy::Bucket });
    let over = if text("minutes").as_deref() == Some("5") { TopOver::FiveMinutes } else { TopOver::Minute };
    Some(TopQuestion { by, over, host: text("host") })
}
