//! The command `sherd admin`: a client of the admin API, and the inventory of a stopped host's drives. Answers go to
//! standard output, as text or (`--json`) as JSON; progress and errors go to standard error.

mod access;
mod client;
mod clock;
mod encryption_keys;
mod identities;
mod inventory;
mod jobs;
mod metadata;
mod progress;
mod rate_limits;
mod show;
mod top;

use crate::ambient::Ambient;
use crate::api::admin::{
    AddDrive, BucketUsageJson, DriveAdded, DriveReplaced, GetStopSafety, Info, LeaderMoved, MoveLeader, QuotaJson,
    ReplaceDrive, SetQuota, ShardJson,
};
use crate::api::{DriveHealth, HealthAnswer, StopSafety, Verdict};
use crate::config::{AdminCommand, AdminInvocation, Credentials, KeySource, Limit, Question, Target, Waiting};
use crate::storage::buffer::BufferPool;
use crate::storage::disk::SystemDisk;
use crate::storage::identity::{IdentityError, read_credentials};
use client::{Client, Tls};
use progress::{ABSENCE_MAX, Progress, TIMED_OUT};
use serde::Serialize;
use std::io::{self, BufRead, BufWriter, Write};
use std::path::PathBuf;
use std::time::Duration;

/// The interval at which a waiting command asks the host again.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// The reason why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum AdminFailure {
    #[error("{authority} does not answer: {cause}")]
    Unreachable { authority: String, cause: String },
    #[error(
        "no TLS with {authority}: {cause} (SHERD_ADMIN_CA_FILE or --ca-file names the authorities that are trusted)"
    )]
    Untrusted { authority: String, cause: String },
    #[error("what {authority} answered could not be read to its end: {cause}")]
    Broken { authority: String, cause: String },
    #[error(
        "{authority} is not the admin listener of a host of Sherd: {why}; name that with --url or SHERD_ADMIN_URL (it is where SHERD_ADMIN_LISTEN of the host says, http://127.0.0.1:9001 where nothing else is set)"
    )]
    NotAdmin { authority: String, why: String },
    #[error("the host refused: {message} ({code}, {status})")]
    Refused { status: u16, code: String, message: String },
    #[error("there are no keys: set SHERD_ACCESS_KEY and SHERD_SECRET_KEY, or name with --data the directories of a host that made its own ({})", shown(.dirs))]
    NoKeys { dirs: Vec<PathBuf> },
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("{} cannot be read: {why}", dir.display())]
    Unreadable { dir: PathBuf, why: String },
    #[error("{} cannot be written: {cause}", path.display())]
    Unwritable { path: PathBuf, cause: io::Error },
    #[error("the answer could not be written: {0}")]
    Output(#[from] io::Error),
}

impl AdminFailure {
    /// Returns true if a retry may succeed: the host may be unavailable for a moment.
    fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Broken { .. } => true,
            Self::Refused { status, .. } => *status == 503,
            _ => false,
        }
    }
}

fn shown(dirs: &[PathBuf]) -> String {
    let dirs: Vec<String> = dirs.iter().map(|dir| dir.display().to_string()).collect();
    format!("looked in {}", dirs.join(", "))
}

/// Performs the command; returns the process's exit code: 0 if all is well, 1 if the answer reports a problem or a
/// "no".
pub fn run(invocation: &AdminInvocation) -> Result<u8, AdminFailure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let code = match &invocation.command {
        AdminCommand::Inventory { dirs } => inventory::run(dirs, invocation.json, &mut out)?,
        AdminCommand::Ask(target, question) => {
            ask(&client(target)?, question, (invocation.json, invocation.waiting), &mut out)?
        }
    };
    out.flush()?;
    Ok(code)
}

/// Runs `sherd credentials`: prints the root credentials as the first start does. Only the owner of the data
/// directories can read those that are kept there.
pub fn show_credentials(source: &KeySource) -> Result<(), AdminFailure> {
    let keys = resolve_keys(source)?;
    let mut out = io::stdout().lock();
    writeln!(out, "  aws configure set aws_access_key_id {}", keys.access_key)?;
    writeln!(out, "  aws configure set aws_secret_access_key {}", keys.secret_key)?;
    Ok(())
}

/// Returns the credentials for the admin API: those that are set, or those kept in the data directories.
fn resolve_keys(source: &KeySource) -> Result<Credentials, AdminFailure> {
    match source {
        KeySource::Given(credentials) => Ok(credentials.clone()),
        KeySource::Kept(dirs) => {
            let kept = read_credentials(&SystemDisk::new(BufferPool::new(0)), dirs)?;
            let kept = kept.ok_or_else(|| AdminFailure::NoKeys { dirs: dirs.clone() })?;
            Ok(Credentials { access_key: kept.access_key, secret_key: kept.secret_key })
        }
    }
}

fn client(target: &Target) -> Result<Client, AdminFailure> {
    Ok(Client {
        authority: target.authority.clone(),
        tls: target.tls.as_ref().map(|trust| Tls::new(&target.authority, trust)).transpose()?,
        credentials: resolve_keys(&target.keys)?,
        region: target.region.clone(),
        ambient: Ambient::system(),
    })
}

fn ask(
    client: &Client,
    question: &Question,
    (json, waiting): (bool, Option<Waiting>),
    out: &mut impl Write,
) -> Result<u8, AdminFailure> {
    match question {
        Question::Info => tell(&client.get::<Info>("/info")?, json, show::info, out)?,
        Question::Drives => {
            tell(&client.get::<Vec<DriveHealth>>("/drives")?, json, |drives| show::drives(drives), out)?
        }
        Question::DriveAdd { directory } => {
            let added: DriveAdded = client.post("/drives/add", &AddDrive { directory: directory.clone() })?;
            tell(&added, json, show::drive_added, out)?;
        }
        Question::DriveReplace { node } => {
            let replaced: DriveReplaced = client.post("/drives/replace", &ReplaceDrive { node: *node })?;
            tell(&replaced, json, show::drive_replaced, out)?;
        }
        Question::Layout(asked) => return jobs::layout(client, asked, json, waiting, out),
        Question::Top(asked) => return top::run(client, asked, json, out),
        Question::Jobs(asked) => return jobs::run(client, asked, json, waiting, out),
        Question::LeaderMove { to } => {
            let moved: LeaderMoved = client.post("/leader", &MoveLeader { to: to.clone() })?;
            tell(&moved, json, show::leader_moved, out)?;
        }
        Question::BucketList => {
            let buckets: Vec<BucketUsageJson> = client.get("/buckets")?;
            tell(&buckets, json, |buckets| show::buckets(buckets), out)?;
        }
        Question::BucketQuota { bucket, bytes, objects } => {
            tell(&quota(client, bucket, *bytes, *objects)?, json, show::quota, out)?;
        }
        Question::RateLimits(asked) => rate_limits::run(client, asked, json, out)?,
        Question::ClockShow => return clock::show(client, json, out),
        Question::ClockAccept { sure } => return clock::accept(client, *sure, json, out),
        Question::Shards => shards(client, json, out)?,
        Question::Identities { account, asked } => identities::run(client, account.as_deref(), asked, json, out)?,
        Question::Access { account, asked } => return access::run(client, account.as_deref(), asked, json, out),
        Question::EncryptionKeys(asked) => return encryption_keys::run(client, asked, json, out),
        Question::Metadata(asked) => return metadata::run(client, asked, json, out),
        Question::Health => {
            let health: HealthAnswer = client.get("/health")?;
            tell(&health, json, show::health, out)?;
            return Ok(u8::from(health.status != Verdict::Ok));
        }
        Question::StopSafety { host } => return safe_to_stop(client, host, waiting, json, out),
    }
    Ok(0)
}

/// Shows whether the host may be stopped. With `--wait` it asks again until the host may be stopped or the time is
/// over, and tolerates an unreachable host for as long as waiting for a job does.
fn safe_to_stop(
    client: &Client,
    host: &str,
    waiting: Option<Waiting>,
    json: bool,
    out: &mut impl Write,
) -> Result<u8, AdminFailure> {
    let clock = &client.ambient.clock;
    let began = clock.monotonic();
    let mut answered = began;
    loop {
        let answer: Result<StopSafety, AdminFailure> =
            client.post("/safe-to-stop", &GetStopSafety { host: host.to_owned() });
        let now = clock.monotonic();
        let is_over = |wait: Waiting| wait.timeout.is_some_and(|timeout| now.saturating_sub(began) >= timeout);
        match (answer, waiting) {
            (Ok(judged), waiting) if judged.safe || waiting.is_none_or(is_over) => {
                tell(&judged, json, |judged| format!("{}\n", judged.why), out)?;
                let refused = if waiting.is_some() { TIMED_OUT } else { 1 };
                return Ok(if judged.safe { 0 } else { refused });
            }
            (Ok(_), _) => answered = now,
            (Err(error), Some(waiting)) if error.may_pass() => {
                if is_over(waiting) {
                    // Nobody may read it; the exit code says it, too.
                    let _ = writeln!(io::stderr(), "{error}");
                    return Ok(TIMED_OUT);
                }
                if now.saturating_sub(answered) > ABSENCE_MAX {
                    return Err(error);
                }
            }
            (Err(error), _) => return Err(error),
        }
        let left = waiting.and_then(|waiting| waiting.timeout).map(|timeout| timeout.saturating_sub(now - began));
        std::thread::sleep(left.map_or(ASK_EVERY, |left| left.min(ASK_EVERY)));
    }
}

fn quota(
    client: &Client,
    bucket: &str,
    bytes: Option<Limit>,
    objects: Option<Limit>,
) -> Result<QuotaJson, AdminFailure> {
    let path = format!("/buckets/{bucket}/quota");
    let limit = |limit| match limit {
        Limit::None => None,
        Limit::At(most) => Some(most),
    };
    let asked = SetQuota { bytes_max: bytes.map(limit), objects_max: objects.map(limit) };
    if asked == SetQuota::default() { client.get(&path) } else { client.post(&path, &asked) }
}

/// Prints an answer as JSON, or as text.
fn tell<T: Serialize>(
    answer: &T,
    json: bool,
    words: impl FnOnce(&T) -> String,
    out: &mut impl Write,
) -> Result<(), AdminFailure> {
    if json {
        serde_json::to_writer_pretty(&mut *out, answer).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", words(answer))?;
    }
    Ok(())
}

/// Prints one line for each shard, while the answer arrives.
fn shards(client: &Client, json: bool, out: &mut impl Write) -> Result<(), AdminFailure> {
    let mut progress = Progress::new("shards");
    for line in client.stream("/shards")?.lines() {
        let line = line.map_err(|error| client.broken(&error))?;
        if json {
            writeln!(out, "{line}")?;
        } else {
            let shard: ShardJson = serde_json::from_str(&line).map_err(|error| client.broken(&error.into()))?;
            writeln!(out, "{} {} node {} chunks {}", shard.blob, shard.shard, shard.node, shard.chunks)?;
        }
        progress.advance(1, None);
    }
    progress.finish();
    Ok(())
}
