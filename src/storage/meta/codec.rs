//! Bytes of records and commands: a byte that says the format's version, then postcard. Whatever is not exactly one value
//! of a known version is refused. Enums only ever get variants at their ends. A format of the log and of the tables: a change of any shape here is a new version, and
//! what stands in `tests/fixtures/meta` stays readable.
//!
//! A command's inline bytes are not inside its postcard but after it, so that they are hashed, copied and sliced as one
//! run; and an entry of the log is the concatenation of commands as their proposers encoded them:
//!
//! ```text
//! command: version u8, head length u32, head (postcard), then 0x00, or 0x01 and the inline bytes to the end
//! timed command:     3 u8, confirmed time u64, then a command of version 1; without it the command's time is confirmed
//! forwarded command: 2 u8, since u64, id u128, the leader's time u64, then a command of version 1 or 3 as its proposer encoded it
//! the same, timed:   4 u8, since u64, id u128, the leader's time u64, confirmed time u64, then the command
//! entry:   version u8, count u32, then for each command: length u32, command          (all u32 little-endian)
//! ```

use super::command::{Change, Command, LogTime, Origin};
use super::record::{
    AnswerRow, AnswersRecord, BlobRef, BucketRecord, BucketRow, ClockRecord, CompletedRecord, Counts, DocumentRow,
    EventRow, FenceRecord, GarbageRow, HeldRecord, HostRecord, LayoutRecord, LeftoverRow, Manifest, NodeRecord,
    NullVersionRow, ObjectVersion, PartRow, RegisteredRecord, RemovedRecord, RepairRow, RolesRecord, SharedRow,
    UploadRecord, UploadRow, Usage, VersionRow,
};
use crate::storage::kv::KvError;
use crate::types::UnixMs;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The version that is written.
pub const FORMAT_VERSION: u8 = 1;
/// A command that was forwarded.
const FORWARDED_VERSION: u8 = 2;
const FORWARDED_HEAD_BYTES: usize = 1 + 8 + 16 + 8;
/// A command whose confirmed time is not its time.
const TIMED_VERSION: u8 = 3;
const TIMED_HEAD_BYTES: usize = 1 + 8;
/// A forwarded one of this kind.
const FORWARDED_TIMED_VERSION: u8 = 4;
/// Inline bytes below this are copied out of their entry, so that a few of them do not keep a large entry in memory.
const SLICE_BYTES_MIN: usize = 1024;

/// Why bytes are not what they should be. Never from a client's input: these are bytes that we wrote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    #[error("{what}: format version {found} is not known; this program knows {FORMAT_VERSION}")]
    UnknownVersion { what: &'static str, found: u8 },
    #[error("{what}: malformed ({why})")]
    Malformed { what: &'static str, why: String },
    #[error("{what}: {count} bytes too many")]
    Trailing { what: &'static str, count: usize },
    #[error("{what}: ends early")]
    Truncated { what: &'static str },
}

impl From<CodecError> for KvError {
    fn from(error: CodecError) -> Self {
        Self { doing: "decode a row", cause: error.to_string() }
    }
}

/// What a table's row can be.
pub trait Record: Serialize + DeserializeOwned {
    /// What to call it in errors.
    const NAME: &'static str;
    /// The version that is written.
    const VERSION: u8 = FORMAT_VERSION;

    /// Reads a row of an earlier version.
    fn earlier(version: u8, _body: &[u8]) -> Result<Self, CodecError> {
        Err(CodecError::UnknownVersion { what: Self::NAME, found: version })
    }
}

macro_rules! records {
    ($($kind:ident $name:literal),* $(,)?) => {
        $(impl Record for $kind {
            const NAME: &'static str = $name;
        })*
    };
}

/// Rows whose version 1 was another record, which is a part of them now.
macro_rules! wrapping_records {
    ($($kind:ident $name:literal from $first:ident),* $(,)?) => {
        $(impl Record for $kind {
            const NAME: &'static str = $name;
            const VERSION: u8 = 2;

            fn earlier(version: u8, body: &[u8]) -> Result<Self, CodecError> {
                match version {
                    1 => Ok(from_postcard::<$first>(Self::NAME, body)?.into()),
                    found => Err(CodecError::UnknownVersion { what: Self::NAME, found }),
                }
            }
        })*
    };
}

wrapping_records! {
    BucketRow "bucket" from BucketRecord, ObjectVersion "object version" from Manifest, UploadRow "upload" from UploadRecord,
    Counts "counts" from CountsOfVersion1,
}

/// Counts as version 1 wrote them.
#[derive(Deserialize)]
struct CountsOfVersion1 {
    buckets: u64,
    objects: u64,
    uploads: u64,
    blobs: u64,
    garbage: u64,
    repairs: u64,
    dropped_lists: u64,
    buckets_ever: u64,
}

impl From<CountsOfVersion1> for Counts {
    fn from(first: CountsOfVersion1) -> Self {
        let CountsOfVersion1 { buckets, objects, uploads, blobs, garbage, repairs, dropped_lists, buckets_ever } =
            first;
        let none = Self::default();
        Self { buckets, objects, uploads, blobs, garbage, repairs, dropped_lists, buckets_ever, ..none }
    }
}

records! {
    PartRow "part", CompletedRecord "completed upload", VersionRow "version", NullVersionRow "null version",
    SharedRow "references", Usage "usage", DocumentRow "document", EventRow "event",
    BlobRef "blob", GarbageRow "garbage row", RepairRow "repair row", NodeRecord "node",
    AnswerRow "answer", AnswersRecord "answers", HostRecord "host", LayoutRecord "layout", HeldRecord "held shards",
    LeftoverRow "leftover", RolesRecord "roles", RemovedRecord "removed",
    FenceRecord "fence", ClockRecord "clock", RegisteredRecord "registered drives",
}

pub fn encode<R: Record>(record: &R) -> Bytes {
    to_postcard(record, vec![R::VERSION]).into()
}

pub fn decode<R: Record>(bytes: &[u8]) -> Result<R, CodecError> {
    match bytes.split_first() {
        None => Err(CodecError::Truncated { what: R::NAME }),
        Some((&version, body)) if version == R::VERSION => from_postcard(R::NAME, body),
        Some((&version, body)) => R::earlier(version, body),
    }
}

/// Bytes of one command, as it will stand in the log.
pub fn encode_command(command: &Command) -> Bytes {
    let head = to_postcard(command, Vec::with_capacity(256));
    let inline = command.inline();
    let mut bytes = BytesMut::with_capacity(TIMED_HEAD_BYTES + 6 + head.len() + inline.map_or(0, Bytes::len));
    if command.confirmed != command.now {
        bytes.put_u8(TIMED_VERSION);
        bytes.put_u64_le(command.confirmed.0);
    }
    bytes.put_u8(FORMAT_VERSION);
    bytes.put_u32_le(u32::try_from(head.len()).expect("a command is far below 4 GiB"));
    bytes.put_slice(&head);
    match inline {
        None => bytes.put_u8(0),
        Some(inline) => {
            bytes.put_u8(1);
            bytes.put_slice(inline);
        }
    }
    bytes.freeze()
}

/// Bytes of a command that another host encoded, with its origin and the leader's times, which count instead of those
/// in it.
pub fn encode_forwarded(origin: Origin, time: LogTime, command: &[u8]) -> Bytes {
    let is_timed = time.confirmed != time.now;
    let mut bytes = BytesMut::with_capacity(FORWARDED_HEAD_BYTES + 8 + command.len());
    bytes.put_u8(if is_timed { FORWARDED_TIMED_VERSION } else { FORWARDED_VERSION });
    bytes.put_u64_le(origin.since);
    bytes.put_u128_le(origin.id);
    bytes.put_u64_le(time.now.0);
    if is_timed {
        bytes.put_u64_le(time.confirmed.0);
    }
    bytes.put_slice(command);
    bytes.freeze()
}

fn decode_forwarded(bytes: &Bytes) -> Result<Command, CodecError> {
    const WHAT: &str = "forwarded command";
    let is_timed = bytes.first() == Some(&FORWARDED_TIMED_VERSION);
    let head_bytes = FORWARDED_HEAD_BYTES + if is_timed { 8 } else { 0 };
    if bytes.len() < head_bytes {
        return Err(CodecError::Truncated { what: WHAT });
    }
    let mut head = &bytes[1..head_bytes];
    let origin = Origin { since: head.get_u64_le(), id: head.get_u128_le() };
    let now = UnixMs(head.get_u64_le());
    let confirmed = if is_timed { UnixMs(head.get_u64_le()) } else { now };
    let command = decode_own(&bytes.slice(head_bytes..))?;
    Ok(Command { now, confirmed, origin: Some(origin), ..command })
}

pub fn decode_command(bytes: &Bytes) -> Result<Command, CodecError> {
    match bytes.first() {
        Some(&(FORWARDED_VERSION | FORWARDED_TIMED_VERSION)) => decode_forwarded(bytes),
        _ => decode_own(bytes),
    }
}

/// A command as its proposer encoded it.
fn decode_own(bytes: &Bytes) -> Result<Command, CodecError> {
    if bytes.first() != Some(&TIMED_VERSION) {
        let command = decode_plain(bytes)?;
        return Ok(Command { confirmed: command.now, ..command });
    }
    if bytes.len() < TIMED_HEAD_BYTES {
        return Err(CodecError::Truncated { what: "timed command" });
    }
    let confirmed = UnixMs((&bytes[1..TIMED_HEAD_BYTES]).get_u64_le());
    Ok(Command { confirmed, ..decode_plain(&bytes.slice(TIMED_HEAD_BYTES..))? })
}

fn decode_plain(bytes: &Bytes) -> Result<Command, CodecError> {
    const WHAT: &str = "command";
    let body = versioned(WHAT, bytes)?;
    let (head, tail) = split_sized(WHAT, body)?;
    let mut command: Command = from_postcard(WHAT, head)?;
    match tail.split_first().ok_or(CodecError::Truncated { what: WHAT })? {
        (0, []) => Ok(command),
        (0, rest) => Err(CodecError::Trailing { what: WHAT, count: rest.len() }),
        (1, inline) => {
            let put = match &mut command.change {
                Change::PutObject(put) => put,
                Change::PutVersion(version) => &mut version.put,
                _ => return Err(malformed(WHAT, "inline bytes with a change that has none")),
            };
            let kept =
                if inline.len() < SLICE_BYTES_MIN { Bytes::copy_from_slice(inline) } else { bytes.slice_ref(inline) };
            put.inline = Some(kept);
            Ok(command)
        }
        _ => Err(malformed(WHAT, "unknown mark before the inline bytes")),
    }
}

/// Bytes of one entry of the log, from commands that are encoded already.
pub fn encode_entry(commands: &[Bytes]) -> Bytes {
    let size = 5 + commands.iter().map(|command| 4 + command.len()).sum::<usize>();
    let mut bytes = BytesMut::with_capacity(size);
    bytes.put_u8(FORMAT_VERSION);
    bytes.put_u32_le(u32::try_from(commands.len()).expect("an entry has few commands"));
    for command in commands {
        bytes.put_u32_le(u32::try_from(command.len()).expect("a command is far below 4 GiB"));
        bytes.put_slice(command);
    }
    bytes.freeze()
}

pub fn decode_entry(bytes: &Bytes) -> Result<Vec<Command>, CodecError> {
    const WHAT: &str = "log entry";
    let body = versioned(WHAT, bytes)?;
    let (count, mut rest) = body.split_first_chunk::<4>().ok_or(CodecError::Truncated { what: WHAT })?;
    let mut commands = Vec::new();
    for _ in 0..u32::from_le_bytes(*count) {
        let (command, after) = split_sized(WHAT, rest)?;
        commands.push(decode_command(&bytes.slice_ref(command))?);
        rest = after;
    }
    if rest.is_empty() { Ok(commands) } else { Err(CodecError::Trailing { what: WHAT, count: rest.len() }) }
}

fn to_postcard<T: Serialize>(value: &T, into: Vec<u8>) -> Vec<u8> {
    postcard::to_extend(value, into).expect("records have only shapes that postcard can write")
}

fn from_postcard<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, CodecError> {
    let (value, rest) = postcard::take_from_bytes(bytes).map_err(|error| malformed(what, &error.to_string()))?;
    if rest.is_empty() { Ok(value) } else { Err(CodecError::Trailing { what, count: rest.len() }) }
}

fn versioned<'a>(what: &'static str, bytes: &'a [u8]) -> Result<&'a [u8], CodecError> {
    match bytes.split_first() {
        None => Err(CodecError::Truncated { what }),
        Some((&FORMAT_VERSION, rest)) => Ok(rest),
        Some((&found, _)) => Err(CodecError::UnknownVersion { what, found }),
    }
}

/// What follows a length, and what follows that.
fn split_sized<'a>(what: &'static str, bytes: &'a [u8]) -> Result<(&'a [u8], &'a [u8]), CodecError> {
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or(CodecError::Truncated { what })?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or(CodecError::Truncated { what })
}

fn malformed(what: &'static str, why: &str) -> CodecError {
    CodecError::Malformed { what, why: why.to_owned() }
}

#[cfg(test)]
mod tests;
