//! `sherd admin`: a client of the admin API, and the inventory of a stopped host's drives. Answers go to standard output, for
//! people or (`--json`) for programs; progress and errors to standard error.

mod access;
mod client;
mod clock;
mod encryption_keys;
mod identities;
mod inventory;
mod jobs;
mod keys;
mod progress;
mod show;
mod top;

use crate::ambient::Ambient;
use crate::api::admin::{AskToStop, BucketUsageShown, Info, LeaderMoved, MoveLeader, QuotaShown, SetQuota, ShardShown};
use crate::api::{DriveHealth, StopShown, Told, Verdict};
use crate::config::{AdminCommand, AdminInvocation, KeySource, Limit, Question, Target, Waiting};
use crate::storage::identity::IdentityError;
use client::{Client, Tls};
use progress::Progress;
use serde::Serialize;
use std::io::{self, BufRead, BufWriter, Write};
use std::path::PathBuf;
use std::time::Duration;

/// How often a host is asked again while something is waited for.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// Why there is no answer.
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
    #[error("{message} ({code}, {status})")]
    Refused { status: u16, code: String, message: String },
    #[error("there are no keys: set SHERD_ACCESS_KEY and SHERD_SECRET_KEY, or name with --data the directories of a host that made its own ({})", shown(.dirs))]
    NoKeys { dirs: Vec<PathBuf> },
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("{} cannot be read: {why}", dir.display())]
    Unreadable { dir: PathBuf, why: String },
    #[error("the answer could not be written: {0}")]
    Output(#[from] io::Error),
}

impl AdminFailure {
    /// Whether asking again may help: the host may be away for a moment.
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

/// Does what was asked for; the process's exit code: 0 where all is well, 1 where the answer is that it is not.
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

/// Prints the root credentials as the first start does: `sherd credentials`. Their copies can be read by their owner only.
pub fn show_credentials(source: &KeySource) -> Result<(), AdminFailure> {
    let keys = keys::resolve(source)?;
    let mut out = io::stdout().lock();
    writeln!(out, "  aws configure set aws_access_key_id {}", keys.access_key)?;
    writeln!(out, "  aws configure set aws_secret_access_key {}", keys.secret_key)?;
    Ok(())
}

fn client(target: &Target) -> Result<Client, AdminFailure> {
    Ok(Client {
        authority: target.authority.clone(),
        tls: target.tls.as_ref().map(|trust| Tls::new(&target.authority, trust)).transpose()?,
        credentials: keys::resolve(&target.keys)?,
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
        Question::Layout(asked) => return jobs::layout(client, asked, json, waiting, out),
        Question::Top(asked) => return top::run(client, asked, json, out),
        Question::Jobs(asked) => return jobs::run(client, asked, json, waiting, out),
        Question::LeaderMove { to } => {
            let moved: LeaderMoved = client.post("/leader", &MoveLeader { to: to.clone() })?;
            tell(&moved, json, show::leader_moved, out)?;
        }
        Question::BucketList => {
            let buckets: Vec<BucketUsageShown> = client.get("/buckets")?;
            tell(&buckets, json, |buckets| show::buckets(buckets), out)?;
        }
        Question::BucketQuota { bucket, bytes, objects } => {
            tell(&quota(client, bucket, *bytes, *objects)?, json, show::quota, out)?;
        }
        Question::ClockShow => return clock::show(client, json, out),
        Question::ClockAccept { sure } => return clock::accept(client, *sure, json, out),
        Question::Shards => shards(client, json, out)?,
        Question::Identities { account, asked } => identities::run(client, account.as_deref(), asked, json, out)?,
        Question::Access { account, asked } => return access::run(client, account.as_deref(), asked, json, out),
        Question::EncryptionKeys(asked) => return encryption_keys::run(client, asked, json, out),
        Question::Health => {
            let told: Told = client.get("/health")?;
            tell(&told, json, show::health, out)?;
            return Ok(u8::from(told.status != Verdict::Ok));
        }
        Question::SafeToStop { host, wait_seconds } => {
            let judged = safe_to_stop(client, host, Duration::from_secs(*wait_seconds))?;
            tell(&judged, json, |judged| format!("{}\n", judged.why), out)?;
            return Ok(u8::from(!judged.safe));
        }
    }
    Ok(0)
}

/// The last answer: that the host may be stopped, or what is against it when the time is over. A host that cannot answer now
/// is asked again, too.
fn safe_to_stop(client: &Client, host: &str, wait: Duration) -> Result<StopShown, AdminFailure> {
    let clock = &client.ambient.clock;
    let until = clock.monotonic().saturating_add(wait);
    loop {
        let answer = client.post("/safe-to-stop", &AskToStop { host: host.to_owned() });
        let is_final = match &answer {
            Ok(StopShown { safe, .. }) => *safe,
            Err(AdminFailure::Refused { status, .. }) => *status != 503,
            Err(_) => false,
        };
        if is_final || clock.monotonic() >= until {
            return answer;
        }
        std::thread::sleep(ASK_EVERY.min(until.saturating_sub(clock.monotonic())));
    }
}

fn quota(
    client: &Client,
    bucket: &str,
    bytes: Option<Limit>,
    objects: Option<Limit>,
) -> Result<QuotaShown, AdminFailure> {
    let path = format!("/buckets/{bucket}/quota");
    let limit = |limit| match limit {
        Limit::None => None,
        Limit::At(most) => Some(most),
    };
    let asked = SetQuota { bytes_max: bytes.map(limit), objects_max: objects.map(limit) };
    if asked == SetQuota::default() { client.get(&path) } else { client.post(&path, &asked) }
}

/// An answer as JSON, or in words.
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

/// One line a shard, as it comes.
fn shards(client: &Client, json: bool, out: &mut impl Write) -> Result<(), AdminFailure> {
    let mut progress = Progress::new("shards");
    for line in client.stream("/shards")?.lines() {
        let line = line.map_err(|error| client.broken(&error))?;
        if json {
            writeln!(out, "{line}")?;
        } else {
            let shard: ShardShown = serde_json::from_str(&line).map_err(|error| client.broken(&error.into()))?;
            writeln!(out, "{} {} node {} chunks {}", shard.blob, shard.shard, shard.node, shard.chunks)?;
        }
        progress.advance(1, None);
    }
    progress.finish();
    Ok(())
}
