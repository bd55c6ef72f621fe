//! The command line: subcommands, and a flag for each setting, which wins over the environment variable.

use super::admin::{self, AdminInvocation, KeySource};
use super::dev::{self, DevOptions};
use super::settings::{self, SETTINGS, Setting};
use super::{Config, ConfigError, FileReader};
use crate::types::OPEN_TABLES_COMMAND;
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use std::ffi::OsString;
use std::path::PathBuf;

/// The parsed command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invocation {
    /// Run the store.
    Run(Box<Config>),
    /// Check this configuration and the files that it names.
    Check(Box<Config>),
    /// Ask the running store of this configuration whether it is ready.
    Health(Box<Config>),
    /// Show the root credentials.
    Credentials(KeySource),
    /// Ask or steer a cluster, or read the drives of a stopped host.
    Admin(Box<AdminInvocation>),
    /// Cut the metadata of this stopped host at irreparable damage, or print what would be lost.
    Salvage { config: Box<Config>, goes_on: bool },
    /// Form the metadata group anew with this stopped host as its only voter, or print what would be lost.
    Recover { config: Box<Config>, from: Option<PathBuf>, goes_on: bool },
    /// Have this stopped host rejoin its cluster as another member, or print what that means.
    Rejoin { config: Box<Config>, wish: RejoinWish },
    /// Open the tables in this directory and close them, for a process that was ended by that several times.
    OpenTables(PathBuf),
    /// Run several hosts that form a cluster, for trying it out.
    Dev(Box<DevOptions>),
    /// Print this text and exit with this code: help, version, or an error in the arguments.
    Print { text: String, code: u8 },
}

/// The step that `sherd rejoin` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejoinWish {
    /// Explain the consequences of a rejoin; change nothing.
    Explain,
    /// Decide to rejoin at the next start (`--yes`).
    Decide,
    /// Cancel that decision (`--cancel`).
    Cancel,
}

const ABOUT: &str = "An S3-compatible object store in one binary: erasure-coded, durable by default";
const AFTER_HELP: &str = "Every option is also a variable: --s3-listen is SHERD_S3_LISTEN. A flag wins over a variable, and an empty \
value is as good as none. The keys are also taken from the files that SHERD_ACCESS_KEY_FILE and SHERD_SECRET_KEY_FILE name, \
and from MINIO_ROOT_USER and MINIO_ROOT_PASSWORD (or their _FILE).";

/// Parses the process's arguments (the program's name first) and its environment.
pub fn from_process(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    files: &dyn FileReader,
) -> Result<Invocation, ConfigError> {
    let matches = match command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => {
            let code = u8::try_from(error.exit_code()).unwrap_or(2);
            return Ok(Invocation::Print { text: format!("{error}{}", hint_of_directories(&error)), code });
        }
    };
    let mut pairs = readable(environment)?;
    if let Some(below) = matches.subcommand_matches("admin") {
        return Ok(Invocation::Admin(Box::new(admin::invocation(below, pairs, files)?)));
    }
    if let Some(below) = matches.subcommand_matches("dev") {
        return Ok(Invocation::Dev(Box::new(dev::options(below, pairs)?)));
    }
    if let Some(below) = matches.subcommand_matches("credentials") {
        pairs.extend(flags(below));
        return Ok(Invocation::Credentials(admin::key_source(pairs, files)?));
    }
    if let Some(below) = matches.subcommand_matches(OPEN_TABLES_COMMAND) {
        return Ok(Invocation::OpenTables(below.get_one("directory").cloned().unwrap_or_default()));
    }
    pairs.extend(flags(&matches));
    let below = matches.subcommand();
    pairs.extend(below.into_iter().flat_map(|(_, below)| flags(below)));
    let config = Box::new(Config::from_pairs(pairs, files)?);
    Ok(match below {
        Some(("salvage", salvage)) => Invocation::Salvage { config, goes_on: salvage.get_flag("yes") },
        Some(("recover", recover)) => {
            let from = recover.get_one::<PathBuf>("from").cloned();
            Invocation::Recover { config, from, goes_on: recover.get_flag("yes") }
        }
        Some(("rejoin", rejoin)) => Invocation::Rejoin { config, wish: rejoin_wish(rejoin) },
        Some(("check", _)) => Invocation::Check(config),
        Some(_) => Invocation::Health(config),
        None => Invocation::Run(config),
    })
}

/// Returns a store's arguments with these data directories in the place of those that they name, if they name any.
pub fn with_data(arguments: impl IntoIterator<Item = OsString>, data: &str) -> Vec<OsString> {
    const FLAG: &str = "--data";
    let mut is_value = false;
    let replaced = |argument: OsString| {
        let is_joined = argument.to_str().is_some_and(|text| text.starts_with("--data="));
        let takes_its_place = std::mem::replace(&mut is_value, argument == FLAG);
        match (takes_its_place, is_joined) {
            (true, _) => OsString::from(data),
            (false, true) => OsString::from(format!("{FLAG}={data}")),
            (false, false) => argument,
        }
    };
    arguments.into_iter().map(replaced).collect()
}

/// Returns a hint for users of stores that take their directories as plain arguments.
fn hint_of_directories(error: &clap::Error) -> &'static str {
    let given = [ContextKind::InvalidArg, ContextKind::InvalidSubcommand].into_iter().find_map(|kind| error.get(kind));
    match given {
        Some(ContextValue::String(word)) if word == "server" || (!word.starts_with('-') && word.contains('/')) => {
            "\nData directories are given by --data or SHERD_DATA, and there is no word before them: sherd --data /mnt/data\n"
        }
        _ => "",
    }
}

fn rejoin_wish(matches: &ArgMatches) -> RejoinWish {
    match (matches.get_flag("yes"), matches.get_flag("cancel")) {
        (true, _) => RejoinWish::Decide,
        (_, true) => RejoinWish::Cancel,
        _ => RejoinWish::Explain,
    }
}

fn command() -> Command {
    let options = || SETTINGS.iter().map(option);
    Command::new("sherd")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .after_help(AFTER_HELP)
        .args(options())
        .args_conflicts_with_subcommands(true)
        .disable_help_subcommand(true)
        .subcommand(admin::command())
        .subcommand(dev::command())
        .subcommand(
            Command::new(OPEN_TABLES_COMMAND)
                .hide(true)
                .arg(Arg::new("directory").required(true).value_parser(value_parser!(PathBuf))),
        )
        .subcommand(
            Command::new("check")
                .about("Check the configuration and the files it names without touching a drive; a store may be running")
                .args(options().map(|option| option.hide(true))),
        )
        .subcommand(
            Command::new("health")
                .about("Ask the running store whether it is ready: exit code 0 if so, 1 if not")
                .args(options().map(|option| option.hide(true))),
        )
        .subcommand(
            Command::new("credentials")
                .about("Show the root credentials: those that are set, or those that the first start generated and keeps in SHERD_DATA")
                .args(options().map(|option| option.hide(true))),
        )
        .subcommand(
            Command::new("salvage")
                .about("Drop the irreparably damaged part of a stopped store's metadata; without --yes, only print what would be lost")
                .arg(Arg::new("yes").long("yes").action(ArgAction::SetTrue).help("Do it; without this, nothing is changed"))
                .args(options().map(|option| option.hide(true))),
        )
        .subcommand(recover())
        .subcommand(
            Command::new("rejoin")
                .about("Have a stopped host rejoin its cluster as another member, with its shards; without --yes, only print what that means")
                .arg(Arg::new("yes").long("yes").action(ArgAction::SetTrue).help("Have the next start do it"))
                .arg(
                    Arg::new("cancel")
                        .long("cancel")
                        .action(ArgAction::SetTrue)
                        .conflicts_with("yes")
                        .help("Cancel a rejoin that was decided and has not happened yet"),
                )
                .args(options().map(|option| option.hide(true))),
        )
}

fn recover() -> Command {
    let from = Arg::new("from").long("from").value_name("FILE").value_parser(value_parser!(PathBuf));
    let from =
        from.help("Use the metadata in this file (made by sherd admin metadata export) instead of the host's own");
    Command::new("recover")
        .about("Form the metadata group anew with a stopped host alone, once most voters are lost for good; without --yes, only print what would be lost")
        .arg(Arg::new("yes").long("yes").action(ArgAction::SetTrue).help("Do it; without this, nothing is changed"))
        .arg(from)
        .args(SETTINGS.iter().map(option).map(|option| option.hide(true)))
}

fn option(setting: &Setting) -> Arg {
    let default = if setting.default.is_empty() { String::new() } else { format!(" [default: {}]", setting.default) };
    Arg::new(setting.name)
        .long(setting.flag)
        .value_name(setting.value)
        .help(format!("{} [env: {}]{default}", setting.help, setting.name))
}

fn flags(matches: &ArgMatches) -> Vec<(String, String)> {
    let value = |setting: &Setting| {
        matches.get_one::<String>(setting.name).map(|value| (setting.name.to_owned(), value.clone()))
    };
    SETTINGS.iter().filter_map(value).collect()
}

/// Returns the variables as text. A variable of Sherd whose value is not UTF-8 is refused; others are ignored.
fn readable(environment: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Vec<(String, String)>, ConfigError> {
    let mut pairs = Vec::new();
    for (name, value) in environment {
        let Ok(name) = name.into_string() else { continue };
        match value.into_string() {
            Ok(value) => pairs.push((name, value)),
            // The value may be a secret, so it is not shown.
            Err(_) if name.starts_with(settings::PREFIX) => return Err(ConfigError::NotText { name }),
            Err(_) => {}
        }
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::command;

    #[test]
    fn the_containers_entry_point_passes_on_every_command() {
        let script = include_str!("../../docker-entrypoint.sh");
        let list = script.lines().find_map(|line| line.trim().strip_suffix(") set -- sherd \"$@\" ;;"));
        let handed_on: Vec<&str> = list.expect("the list of commands").split(" | ").collect();
        for command in command().get_subcommands().filter(|command| !command.is_hide_set()) {
            assert!(
                handed_on.contains(&command.get_name()),
                "docker-entrypoint.sh does not know {}",
                command.get_name()
            );
        }
    }
}
