//! The options `--wait` and `--timeout`, with which a command ends when its job does.

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use std::time::Duration;

/// The options `--wait` and `--timeout` of a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// The longest wait; `None` is unbounded.
    pub timeout: Option<Duration>,
}

pub(super) fn waits(command: Command) -> Command {
    let wait = Arg::new("waits").long("wait").action(ArgAction::SetTrue);
    let timeout = Arg::new("timeout").long("timeout").value_name("SECONDS").value_parser(value_parser!(u64));
    command
        .arg(wait.help("Wait until the job is done, with progress on standard error"))
        .arg(timeout.requires("waits").help("Wait at most so long: exit code 3 if it is not done by then"))
}

/// Returns the options, or `None` without `--wait`.
pub(super) fn asked(last: &ArgMatches) -> Option<Waiting> {
    let waits = last.try_get_one::<bool>("waits").ok().flatten().copied().unwrap_or_default();
    let timeout = || last.try_get_one::<u64>("timeout").ok().flatten().copied();
    waits.then(|| Waiting { timeout: timeout().map(Duration::from_secs) })
}
