//! The arguments of `sherd admin heal` and `sherd admin scrub`: jobs of all hosts, or of one.

use super::waiting::waits;
use super::{branch, leaf, number};
use clap::{Arg, ArgMatches, Command};

/// A query or order about jobs. `host` is a host's name or id; `None`: all hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobQuestion {
    HealStatus {
        host: Option<String>,
    },
    HealStart {
        host: Option<String>,
    },
    ScrubStatus {
        host: Option<String>,
    },
    /// Starts the scrub of one drive of any host, or of all.
    ScrubStart {
        node: Option<u32>,
        host: Option<String>,
    },
    ScrubStop {
        node: Option<u32>,
        host: Option<String>,
    },
}

pub(super) fn commands() -> [Command; 2] {
    let heal = branch("heal", "Repairing what is missing or corrupt, on all hosts")
        .subcommand(waits(leaf("status", "What is missing or corrupt, and the progress of its repair").arg(one_host())))
        .subcommand(waits(leaf("start", "Compare all drives with the metadata now").arg(one_host())));
    let node = || number("node", "DRIVE", "Only this drive, on any host").conflicts_with("host");
    let scrub = branch("scrub", "Verifying every chunk, on all hosts")
        .subcommand(waits(leaf("status", "The progress of each drive").arg(one_host())))
        .subcommand(waits(leaf("start", "Begin now").arg(node()).arg(one_host())))
        .subcommand(leaf("stop", "End the passes that are under way").arg(node()).arg(one_host()));
    [heal, scrub]
}

fn one_host() -> Arg {
    Arg::new("host").long("host").value_name("HOST").help("Only this host, by name or id")
}

/// Returns the query or order, or `None` for another command.
pub(super) fn asked(names: &[&str], last: &ArgMatches) -> Option<JobQuestion> {
    let host = || last.get_one::<String>("host").cloned();
    let node = || last.get_one::<u32>("node").copied();
    Some(match names {
        ["heal", "status"] => JobQuestion::HealStatus { host: host() },
        ["heal", "start"] => JobQuestion::HealStart { host: host() },
        ["scrub", "status"] => JobQuestion::ScrubStatus { host: host() },
        ["scrub", "start"] => JobQuestion::ScrubStart { node: node(), host: host() },
        ["scrub", "stop"] => JobQuestion::ScrubStop { node: node(), host: host() },
        _ => return None,
    })
}
