//! The arguments of `sherd admin metadata`: exporting all metadata, and dropping shards of unknown blobs after a
//! recovery.

use super::{branch, leaf};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use std::path::PathBuf;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetadataQuestion {
    /// Exports into this file; `None`: to standard output.
    Export { file: Option<PathBuf> },
    /// Drops shards of unknown blobs; without `sure`, only explains what that means.
    DropUnknown { sure: bool },
}

pub(super) fn command() -> Command {
    let file = Arg::new("file").value_name("FILE").value_parser(value_parser!(PathBuf));
    let file = file.help("Must not exist; standard output if none is given");
    let sure = Arg::new("yes").long("yes").action(ArgAction::SetTrue).help("Do it; without this, nothing is changed");
    branch("metadata", "Export of all metadata, and cleaning up after a recovery")
        .subcommand(leaf("export", "Write a copy of all metadata, which sherd recover --from can restore").arg(file))
        .subcommand(leaf("drop-unknown", "Drop the shards that a recovery left without metadata").arg(sure))
}

pub(super) fn asked(names: &[&str], last: &ArgMatches) -> Option<MetadataQuestion> {
    Some(match names {
        ["metadata", "export"] => MetadataQuestion::Export { file: last.get_one::<PathBuf>("file").cloned() },
        ["metadata", "drop-unknown"] => MetadataQuestion::DropUnknown { sure: last.get_flag("yes") },
        _ => return None,
    })
}
