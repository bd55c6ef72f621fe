//! The arguments of `sherd admin encryption-key`: the named keys that wrap data keys.

use super::{branch, leaf};
use clap::{Arg, ArgMatches, Command};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyQuestion {
    List,
    Create { id: String, description: Option<String>, alias: Option<String> },
    Rotate { id: String },
    Enable { id: String },
    Disable { id: String },
    Rewrap,
}

pub fn command() -> Command {
    let id = || Arg::new("id").value_name("KEY").required(true).help("Its name");
    let option = |name: &'static str, value: &'static str| Arg::new(name).long(name).value_name(value);
    branch("encryption-key", "Named keys that objects are encrypted with")
        .subcommand(leaf("list", "All named keys, and the root keys that wrap them"))
        .subcommand(
            leaf("create", "Make a key")
                .arg(id())
                .arg(option("description", "TEXT").help("The purpose of the key"))
                .arg(option("alias", "NAME").help("Another name for it, without alias/")),
        )
        .subcommand(leaf("rotate", "Give a key a new version, which wraps data keys from now on").arg(id()))
        .subcommand(leaf("enable", "Allow the use of a disabled key again").arg(id()))
        .subcommand(
            leaf("disable", "Forbid the use of a key: objects encrypted with it cannot be read or written").arg(id()),
        )
        .subcommand(leaf(
            "rewrap",
            "Wrap keys again that an older key or version wraps; continues after an interruption",
        ))
}

/// Returns the question, or `None` for another command.
pub fn asked(names: &[&str], last: &ArgMatches) -> Option<KeyQuestion> {
    let ["encryption-key", verb] = names else { return None };
    let text = |name: &str| last.try_get_one::<String>(name).ok().flatten().cloned();
    let id = text("id").unwrap_or_default();
    Some(match *verb {
        "list" => KeyQuestion::List,
        "create" => KeyQuestion::Create { id, description: text("description"), alias: text("alias") },
        "rotate" => KeyQuestion::Rotate { id },
        "enable" => KeyQuestion::Enable { id },
        "disable" => KeyQuestion::Disable { id },
        "rewrap" => KeyQuestion::Rewrap,
        _ => return None,
    })
}
