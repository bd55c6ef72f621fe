//! The arguments of `sherd admin layout`: the drives that data is placed on.

use super::waiting::waits;
use super::{branch, leaf, number};
use clap::{Arg, ArgAction, ArgMatches, Command};

/// A query or change of the layout. `of` is a node's number, or a host's name or id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LayoutQuestion {
    Show,
    Drain { of: String },
    Restore { of: String },
    Weight { node: u32, weight: u32 },
    Remove { of: String, lost: bool },
}

pub(super) fn command() -> Command {
    let of = || Arg::new("of").value_name("DRIVE|HOST").required(true).help("A drive's number, or a host's name or id");
    let lost = Arg::new("lost").long("lost").action(ArgAction::SetTrue);
    let lost = lost.help("The drive is lost for good: do not wait until deleted shards are dropped from it");
    let weight =
        number("weight", "WEIGHT", "The drive's share relative to the others; 0: no shards while others can take them");
    let weight = leaf("weight", "Set a drive's share")
        .arg(number("node", "DRIVE", "The drive's number").required(true))
        .arg(weight.required(true));
    let remove = leaf("remove", "Forget a drained drive, or host, that holds nothing").arg(of()).arg(lost);
    branch("layout", "The drives that data is placed on")
        .subcommand(waits(leaf("show", "Every drive of the cluster with its weight, and what is left to be moved")))
        .subcommand(waits(leaf("drain", "Move shards off a drive, or off all drives of a host").arg(of())))
        .subcommand(waits(leaf("restore", "Let a drained drive, or all drives of a host, take shards again").arg(of())))
        .subcommand(waits(weight))
        .subcommand(waits(remove))
}

/// Returns the query or change, or `None` for another command.
pub(super) fn asked(names: &[&str], last: &ArgMatches) -> Option<LayoutQuestion> {
    let of = || last.get_one::<String>("of").cloned();
    let number = |name: &str| last.get_one::<u32>(name).copied();
    Some(match names {
        ["layout", "show"] => LayoutQuestion::Show,
        ["layout", "drain"] => LayoutQuestion::Drain { of: of()? },
        ["layout", "restore"] => LayoutQuestion::Restore { of: of()? },
        ["layout", "weight"] => LayoutQuestion::Weight { node: number("node")?, weight: number("weight")? },
        ["layout", "remove"] => LayoutQuestion::Remove { of: of()?, lost: last.get_flag("lost") },
        _ => return None,
    })
}
