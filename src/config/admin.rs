//! `sherd admin`: its commands, whom they ask and with which key.

use super::credentials;
use super::settings;
use super::{ConfigError, Credentials, FileReader, Pairs, values};
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::path::PathBuf;

/// What is asked, and how the answer is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminInvocation {
    pub command: AdminCommand,
    /// For programs, not for people.
    pub json: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminCommand {
    /// Of a running host.
    Ask(Target, Question),
    /// Reads the directories of a host that does not run.
    Inventory { dirs: Vec<PathBuf> },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    Info,
    Health,
    Drives,
    HealStatus,
    HealStart,
    /// To this host, by name or id, or to any other voter.
    LeaderMove {
        to: Option<String>,
    },
    LayoutShow,
    Shards,
}

/// A host's admin listener, and who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// `HOST:PORT`
    pub authority: String,
    pub keys: KeySource,
    pub region: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    Given(Credentials),
    /// Those that a host made for itself, kept in its data directories.
    Kept(Vec<PathBuf>),
}

const AFTER_HELP: &str = "The keys are the store's root keys: SHERD_ACCESS_KEY and SHERD_SECRET_KEY (or their _FILE), else those that the \
host keeps in its data directories. Signatures are for SHERD_REGION.";

pub(super) fn command() -> Command {
    let leaf = |name: &'static str, about: &'static str| Command::new(name).about(about);
    let heal = branch("heal", "Repairing what is missing or corrupt")
        .subcommand(leaf("status", "What is queued and what is still to be compared"))
        .subcommand(leaf("start", "Compare all drives of the host with the metadata now"));
    let to = Arg::new("to").long("to").value_name("HOST").help("Its name or id; any other voter where none is given");
    let leader = branch("leader", "Who leads the metadata").subcommand(leaf("move", "Let another host lead").arg(to));
    let layout = branch("layout", "What data is placed on")
        .subcommand(leaf("show", "Every drive of the cluster with its weight"));
    let admin = branch("admin", "Ask or steer a running cluster; read the drives of a stopped host");
    admin
        .after_help(AFTER_HELP)
        .args(options())
        .subcommand(leaf("info", "What the cluster is: hosts, roles, leader, drives, guarantee"))
        .subcommand(leaf("health", "Whether all is well: exit code 0 if so, 1 with the reasons if not"))
        .subcommand(leaf("drives", "The drives of the host that is asked"))
        .subcommand(heal)
        .subcommand(leader)
        .subcommand(layout)
        .subcommand(leaf("shards", "Every shard that must exist, by the metadata: one JSON object a line"))
        .subcommand(leaf("inventory", "Every shard that a stopped host's directories hold, each chunk checked"))
}

fn branch(name: &'static str, about: &'static str) -> Command {
    Command::new(name).about(about).subcommand_required(true).arg_required_else_help(true).disable_help_subcommand(true)
}

fn options() -> [Arg; 3] {
    let url =
        format!("The host's admin listener [env: {}] [default: {}]", settings::ADMIN_URL, settings::ADMIN_URL_DEFAULT);
    let data =
        format!("Data directories: of the keys, or to be read [env: {}] [default: ./sherd-data]", settings::DATA);
    [
        Arg::new("url").long("url").value_name("URL").global(true).help(url),
        Arg::new("data").long("data").value_name("DIRS").global(true).help(data),
        Arg::new("json").long("json").action(ArgAction::SetTrue).global(true).help("Answer in JSON"),
    ]
}

/// What the arguments below `admin` mean, with these variables.
pub(super) fn invocation(
    matches: &ArgMatches,
    pairs: Vec<(String, String)>,
    files: &dyn FileReader,
) -> Result<AdminInvocation, ConfigError> {
    let (names, last) = path(matches);
    let mut pairs = pairs;
    let mut flag = |option: &str, name: &str| {
        let given = last.get_one::<String>(option).map(|value| (name.to_owned(), value.clone()));
        pairs.extend(given);
    };
    flag("url", settings::ADMIN_URL);
    flag("data", settings::DATA);
    let json = last.get_flag("json");
    let pairs = Pairs::collect(pairs)?;
    let question = match names.as_slice() {
        ["info"] => Question::Info,
        ["health"] => Question::Health,
        ["drives"] => Question::Drives,
        ["heal", "status"] => Question::HealStatus,
        ["heal", "start"] => Question::HealStart,
        ["leader", "move"] => Question::LeaderMove { to: last.get_one::<String>("to").cloned() },
        ["layout", "show"] => Question::LayoutShow,
        ["shards"] => Question::Shards,
        _ => {
            let dirs = pairs.value(settings::DATA, values::data_dirs)?;
            return Ok(AdminInvocation { command: AdminCommand::Inventory { dirs }, json });
        }
    };
    Ok(AdminInvocation { command: AdminCommand::Ask(target(&pairs, files)?, question), json })
}

/// The names of the commands, and the arguments of the last.
fn path(matches: &ArgMatches) -> (Vec<&str>, &ArgMatches) {
    let (mut names, mut last) = (Vec::new(), matches);
    while let Some((name, below)) = last.subcommand() {
        names.push(name);
        last = below;
    }
    (names, last)
}

fn target(pairs: &Pairs, files: &dyn FileReader) -> Result<Target, ConfigError> {
    let url = pairs.get(settings::ADMIN_URL).unwrap_or(settings::ADMIN_URL_DEFAULT);
    let authority = values::admin_authority(url).map_err(|allowed| ConfigError::Invalid {
        name: settings::ADMIN_URL.to_owned(),
        value: url.to_owned(),
        allowed,
    })?;
    let keys = match credentials::given_pair(pairs, files)? {
        Some(credentials) => KeySource::Given(credentials),
        None => KeySource::Kept(pairs.value(settings::DATA, values::data_dirs)?),
    };
    Ok(Target { authority, keys, region: pairs.value(settings::REGION, values::region)? })
}
