//! The options of `sherd dev`: the size of the cluster to try out, its directory, and the settings of its hosts.

use super::{ConfigError, settings};
use clap::{Arg, ArgMatches, Command};
use std::path::PathBuf;

const HOSTS_MAX: u16 = 9;
const DRIVES_MAX: u16 = 16;
/// Settings that are passed on to the hosts; `sherd dev` chooses all others.
const PASSED_ON: &[&str] = &[
    settings::EC,
    settings::DURABILITY,
    settings::MEMORY_MAX,
    settings::SCRUB_INTERVAL,
    settings::REGION,
    settings::LOG,
    settings::LOG_FORMAT,
];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevOptions {
    pub hosts: u16,
    /// The drives of each host.
    pub drives: u16,
    /// The directory with the data, keys and ports of this cluster, which later runs use again.
    pub dir: PathBuf,
    /// Variables for every host.
    pub passed_on: Vec<(String, String)>,
}

pub(super) fn command() -> Command {
    let number = |name: &'static str, default: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("N").default_value(default).help(help)
    };
    Command::new("dev")
        .about("A cluster of real processes on this machine's loopback, for trying it out")
        .after_help(
            "Ctrl-C stops all hosts; the same directory brings them back with the same ports, keys and data. A host \
that is killed is started again after five seconds.",
        )
        .arg(number("hosts", "3", "Hosts, each a process"))
        .arg(number("drives", "2", "Drives of each host, each a directory"))
        .arg(
            Arg::new("dir")
                .long("dir")
                .value_name("PATH")
                .default_value("./sherd-dev")
                .help("Where everything of the cluster is kept"),
        )
}

pub(super) fn options(matches: &ArgMatches, pairs: Vec<(String, String)>) -> Result<DevOptions, ConfigError> {
    let text = |name: &str| matches.get_one::<String>(name).cloned().unwrap_or_default();
    let invalid =
        |name: &str, value: String, allowed: String| ConfigError::Invalid { name: format!("--{name}"), value, allowed };
    let number = |name: &str, most: u16| {
        let value = text(name);
        match value.parse() {
            Ok(number) if (1..=most).contains(&number) => Ok(number),
            _ => Err(invalid(name, value, format!("a number from 1 to {most}"))),
        }
    };
    let dir = text("dir");
    // These characters have a meaning in the lists of directories that are made of it.
    if dir.is_empty() || dir.contains([',', '{', '}']) {
        return Err(invalid("dir", dir, "a path without commas and braces".to_owned()));
    }
    let passed_on = pairs.into_iter().filter(|(name, _)| PASSED_ON.contains(&name.as_str()));
    Ok(DevOptions {
        hosts: number("hosts", HOSTS_MAX)?,
        drives: number("drives", DRIVES_MAX)?,
        dir: dir.into(),
        passed_on: passed_on.collect(),
    })
}
