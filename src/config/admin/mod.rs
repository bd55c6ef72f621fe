//! The arguments of `sherd admin`: its commands, the host that they ask, and the key that signs the requests.

mod encryption_keys;
mod identities;
mod jobs;
mod layout;
mod metadata;
mod rate_limits;
mod top;
mod waiting;

pub use encryption_keys::KeyQuestion;
pub use identities::{AccessQuestion, IdentityQuestion, ServiceKeyAsked, UserOrGroup, WhoAsked};
pub use jobs::JobQuestion;
pub use layout::LayoutQuestion;
pub use metadata::MetadataQuestion;
pub use rate_limits::RateLimitQuestion;
pub use top::{TopBy, TopOver, TopQuestion};
pub use waiting::Waiting;

use super::credentials;
use super::settings;
use super::{ConfigError, Credentials, FileReader, Pairs, readable, values};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use identities::ParsedQuestion;
use std::path::PathBuf;
use waiting::waits;

/// A parsed `sherd admin` command, and the form of its output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminInvocation {
    pub command: AdminCommand,
    /// True for output as JSON.
    pub json: bool,
    /// The options of waiting for the job that the command starts or shows; `None` without `--wait`.
    pub waiting: Option<Waiting>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminCommand {
    /// A question to a running host.
    Ask(Box<Target>, Question),
    /// Reads the directories of a host that does not run.
    Inventory { dirs: Vec<PathBuf> },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    Info,
    Health,
    /// Asks whether this host, by name or id, may be stopped now.
    StopSafety {
        host: String,
    },
    Drives,
    /// Adds this directory to the drives of the host.
    DriveAdd {
        directory: String,
    },
    /// Puts the empty directory in the place of this drive into service.
    DriveReplace {
        node: u32,
    },
    Jobs(JobQuestion),
    Top(TopQuestion),
    /// Moves the lead to this host, by name or id, or to any other voter.
    LeaderMove {
        to: Option<String>,
    },
    Layout(LayoutQuestion),
    ClockShow,
    /// Shows the change of the clock, and makes it if the operator is sure.
    ClockAccept {
        sure: bool,
    },
    BucketList,
    /// Shows a bucket's quota; sets it if a limit is given.
    BucketQuota {
        bucket: String,
        bytes: Option<Limit>,
        objects: Option<Limit>,
    },
    RateLimits(RateLimitQuestion),
    Shards,
    /// A question about the identities of the account of this number; `None`: the store's own account.
    Identities {
        account: Option<String>,
        asked: IdentityQuestion,
    },
    Access {
        account: Option<String>,
        asked: Box<AccessQuestion>,
    },
    EncryptionKeys(KeyQuestion),
    Metadata(MetadataQuestion),
}

/// The new value of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    None,
    At(u64),
}

/// A host's admin listener, and the credentials for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// `HOST:PORT`
    pub authority: String,
    /// The trusted certificates; `None`: the listener speaks plain HTTP.
    pub tls: Option<Trust>,
    pub keys: KeySource,
    pub region: String,
}

/// The trusted certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    /// PEM certificates of authorities; `None`: those of the system.
    pub ca_file: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    Given(Credentials),
    /// The root keys that a host generated and keeps in its data directories.
    Kept(Vec<PathBuf>),
}

const AFTER_HELP: &str = "The keys are the store's root keys: SHERD_ACCESS_KEY and SHERD_SECRET_KEY (or their _FILE), else those that the \
host keeps in its data directories. Signatures are for SHERD_REGION.";

fn health() -> Command {
    let host = Arg::new("safe-to-stop").long("safe-to-stop").value_name("HOST").help(
        "Whether this host, by name or id, may be stopped now without refused requests or unreadable objects: exit code 0 or 1",
    );
    waits(leaf("health", "Whether the store is healthy: exit code 0 if so, 1 with the reasons if not").arg(host))
        .mut_arg("waits", |wait| wait.requires("safe-to-stop").help("Ask again until the host may be stopped"))
        .mut_arg("timeout", |timeout| timeout.help("Ask at most so long: exit code 3 if it may not be stopped by then"))
}

pub(super) fn command() -> Command {
    let to =
        Arg::new("to").long("to").value_name("HOST").help("The new leader's name or id; without it, any other voter");
    let leader =
        branch("leader", "The leader of the metadata group").subcommand(leaf("move", "Let another host lead").arg(to));
    let admin = branch("admin", "Ask or steer a running cluster; read the drives of a stopped host");
    admin
        .after_help(AFTER_HELP)
        .args(options())
        .subcommand(leaf("info", "The cluster: hosts, roles, leader, drives, the losses that it survives"))
        .subcommand(health())
        .subcommand(leaf("drives", "The drives of all hosts"))
        .subcommand(drive())
        .subcommands(jobs::commands())
        .subcommand(leader)
        .subcommand(layout::command())
        .subcommand(top::command())
        .subcommand(clock())
        .subcommand(bucket())
        .subcommand(rate_limits::command())
        .subcommands(identities::commands())
        .subcommand(encryption_keys::command())
        .subcommand(metadata::command())
        .subcommand(leaf("shards", "Every shard that must exist by the metadata, one a line"))
        .subcommand(leaf("inventory", "Every shard that a stopped host's directories hold, each chunk checked"))
}

fn drive() -> Command {
    let replace = leaf("replace", "Take the empty directory in the place of a lost drive into service, and fill it");
    let node = number("node", "DRIVE", "The drive's number; it must be on the host that is asked").required(true);
    let add = leaf("add", "Take an empty directory into service as a further drive");
    let directory = Arg::new("directory").value_name("DIRECTORY").required(true);
    let directory =
        directory.help("Its whole path on the host that is asked; SHERD_DATA must name it at the next start");
    branch("drive", "Drives of a running host").subcommand(add.arg(directory)).subcommand(replace.arg(node))
}

fn clock() -> Command {
    let sure = Arg::new("yes").long("yes").action(ArgAction::SetTrue);
    let sure = sure.help("Do it; without this, both times are shown and nothing is changed");
    branch("clock", "The time that locks and lifecycle rules go by")
        .subcommand(leaf("show", "The host's clock, the confirmed time, and how the hosts' clocks differ"))
        .subcommand(leaf("accept", "Confirm that the clock of the host that is asked is right").arg(sure))
}

fn bucket() -> Command {
    let name = Arg::new("bucket").value_name("NAME").required(true).value_parser(bucket_name);
    let limit = |name: &'static str, help: &'static str| Arg::new(name).long(name).value_name("N|none").help(help);
    let bytes = limit("bytes", "Limit on the bytes of all versions (KiB, MiB, GiB, TiB)").value_parser(limit_of_bytes);
    let objects = limit("objects", "Current objects").value_parser(limit_of_objects);
    let quota = Command::new("quota").about("Show the quota of a bucket, or set it if a limit is given");
    let list = leaf("list", "Every bucket with its usage and growth");
    branch("bucket", "Buckets").subcommand(list).subcommand(quota.arg(name.help("The bucket")).arg(bytes).arg(objects))
}

/// Checks that a bucket's name has only characters that S3 allows, so that it needs no escaping in URLs.
fn bucket_name(text: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let good = !text.is_empty() && text.bytes().all(allowed);
    if good { Ok(text.to_owned()) } else { Err("expected a bucket's name".to_owned()) }
}

fn limit_of_bytes(text: &str) -> Result<Limit, String> {
    if text == "none" { Ok(Limit::None) } else { values::bytes(text).map(Limit::At) }
}

fn limit_of_objects(text: &str) -> Result<Limit, String> {
    let number = || text.parse().map(Limit::At).map_err(|_| "expected a number, or none".to_owned());
    if text == "none" { Ok(Limit::None) } else { number() }
}

fn number(name: &'static str, shown: &'static str, help: &'static str) -> Arg {
    Arg::new(name).value_name(shown).help(help).value_parser(value_parser!(u32))
}

fn leaf(name: &'static str, about: &'static str) -> Command {
    Command::new(name).about(about)
}

fn branch(name: &'static str, about: &'static str) -> Command {
    Command::new(name).about(about).subcommand_required(true).arg_required_else_help(true).disable_help_subcommand(true)
}

fn options() -> [Arg; 4] {
    let url =
        format!("The host's admin listener [env: {}] [default: {}]", settings::ADMIN_URL, settings::ADMIN_URL_DEFAULT);
    let ca_file =
        format!("CA certificates (PEM) that are trusted instead of the system's [env: {}]", settings::ADMIN_CA_FILE);
    let data = format!(
        "Data directories: those with the keys, or those to be read [env: {}] [default: ./sherd-data]",
        settings::DATA
    );
    [
        Arg::new("url").long("url").value_name("URL").global(true).help(url),
        Arg::new("ca-file").long("ca-file").value_name("FILE").global(true).help(ca_file),
        Arg::new("data").long("data").value_name("DIRS").global(true).help(data),
        Arg::new("json").long("json").action(ArgAction::SetTrue).global(true).help("Answer in JSON"),
    ]
}

/// Parses the arguments below `admin`, with these variables.
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
    flag("ca-file", settings::ADMIN_CA_FILE);
    flag("data", settings::DATA);
    let json = last.get_flag("json");
    let pairs = Pairs::collect(pairs)?;
    let asked = match identity_question(&names, last, files)? {
        Some(question) => Some(question),
        None => question(&names, last),
    };
    let command = match asked {
        Some(question) => AdminCommand::Ask(Box::new(target(&pairs, files)?), question),
        None => AdminCommand::Inventory { dirs: pairs.value(settings::DATA, values::data_dirs)? },
    };
    Ok(AdminInvocation { command, json, waiting: waiting::asked(last) })
}

fn identity_question(
    names: &[&str],
    last: &ArgMatches,
    files: &dyn FileReader,
) -> Result<Option<Question>, ConfigError> {
    let account = last.try_get_one::<String>("account").ok().flatten().cloned();
    Ok(identities::asked(names, last, files)?.map(|asked| match asked {
        ParsedQuestion::Identities(asked) => Question::Identities { account, asked },
        ParsedQuestion::Access(asked) => Question::Access { account, asked },
    }))
}

/// Returns the question to a host; `None` for a command that asks none.
fn question(names: &[&str], last: &ArgMatches) -> Option<Question> {
    let text = |name: &str| last.get_one::<String>(name).cloned();
    Some(match names {
        ["info"] => Question::Info,
        ["health"] => match text("safe-to-stop") {
            Some(host) => Question::StopSafety { host },
            None => Question::Health,
        },
        ["drives"] => Question::Drives,
        ["drive", "add"] => Question::DriveAdd { directory: text("directory")? },
        ["drive", "replace"] => Question::DriveReplace { node: last.get_one::<u32>("node").copied()? },
        ["leader", "move"] => Question::LeaderMove { to: text("to") },
        ["clock", "show"] => Question::ClockShow,
        ["clock", "accept"] => Question::ClockAccept { sure: last.get_flag("yes") },
        ["bucket", "list"] => Question::BucketList,
        ["bucket", "quota"] => {
            let limit = |name: &str| last.get_one::<Limit>(name).copied();
            Question::BucketQuota { bucket: text("bucket")?, bytes: limit("bytes"), objects: limit("objects") }
        }
        ["shards"] => Question::Shards,
        _ => {
            let jobs = jobs::asked(names, last).map(Question::Jobs);
            let layout = || layout::asked(names, last).map(Question::Layout);
            let top = || top::asked(names, last).map(Question::Top);
            return jobs
                .or_else(layout)
                .or_else(top)
                .or_else(|| rate_limits::asked(names, last).map(Question::RateLimits))
                .or_else(|| metadata::asked(names, last).map(Question::Metadata))
                .or_else(|| encryption_keys::asked(names, last).map(Question::EncryptionKeys));
        }
    })
}

/// Returns the names of the nested commands, and the arguments of the innermost.
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
    let (tls, authority) = values::admin_url(url).map_err(|allowed| ConfigError::Invalid {
        name: settings::ADMIN_URL.to_owned(),
        value: url.to_owned(),
        allowed,
    })?;
    let trust = || Ok(Trust { ca_file: readable(pairs, files, settings::ADMIN_CA_FILE)? });
    let tls = tls.then(trust).transpose()?;
    Ok(Target { authority, tls, keys: keys(pairs, files)?, region: pairs.value(settings::REGION, values::region)? })
}

/// Returns the source of the root keys according to the settings alone.
pub(super) fn key_source(pairs: Vec<(String, String)>, files: &dyn FileReader) -> Result<KeySource, ConfigError> {
    keys(&Pairs::collect(pairs)?, files)
}

fn keys(pairs: &Pairs, files: &dyn FileReader) -> Result<KeySource, ConfigError> {
    Ok(match credentials::given_pair(pairs, files)? {
        Some(credentials) => KeySource::Given(credentials),
        None => KeySource::Kept(pairs.value(settings::DATA, values::data_dirs)?),
    })
}
