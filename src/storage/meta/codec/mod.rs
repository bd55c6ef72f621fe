//! The encoding of records and commands: a byte with the format's version, then postcard. Whatever is not exactly one
//! value of a known version is refused. This is the format of the log and of the tables: a change of any shape requires
//! a new version, enums get variants at their ends only, and the bytes in `tests/fixtures/meta` must stay readable.
//!
//! A command's inline bytes are not inside its postcard but after it, so that they are hashed, copied and sliced as one
//! run. An entry of the log is the concatenation of commands as their proposers encoded them:
//!
//! ```text
//! command:   version u8, 0, confirmed time u64, head length u32, head (postcard), then 0x00, or 0x01 and the inline
//!            bytes to the end
//! forwarded: version u8, 1, since u64, id u128, the leader's time u64, its confirmed time u64, then a command as its
//!            proposer encoded it
//! entry:     version u8, count u32, then for each command: length u32, command      (all numbers little-endian)
//! ```

use super::command::{AnswerRow, Change, Command, LogTime, Origin};
use super::record::{
    AnswersRecord, BlobRef, BucketRow, ClockRecord, CompletedRecord, Counts, DocumentRow, EventRow, FenceRecord,
    GarbageRow, HeldRecord, HostRecord, LayoutRecord, LeftoverRow, NodeRecord, NullVersionRow, ObjectVersion, OwnerRow,
    PartRow, RecoveryRecord, RegisteredRecord, RemovedRecord, RepairRow, RolesRecord, SharedRow, UploadRow, Usage,
    VersionRow,
};
use crate::storage::kv::KvError;
use crate::types::UnixMs;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The version that is written.
pub const FORMAT_VERSION: u8 = 1;
/// The mark of a command in its proposer's encoding.
const OWN: u8 = 0;
/// The mark of a command that was forwarded.
const FORWARDED: u8 = 1;
const FORWARDED_HEAD_BYTES: usize = 8 + 16 + 8 + 8;
/// Inline bytes below this are copied out of their entry, so that a few of them do not keep a large entry in memory.
const SLICE_BYTES_MIN: usize = 1024;

/// A decoding error. Never caused by a client's input: these are bytes that the store wrote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    #[error("{what} has the unknown format version {found}; this program knows {FORMAT_VERSION}")]
    UnknownVersion { what: &'static str, found: u8 },
    #[error("{what} is malformed: {why}")]
    Malformed { what: &'static str, why: String },
    #[error("{what} is followed by {count} surplus bytes")]
    Trailing { what: &'static str, count: usize },
    #[error("{what} ends early")]
    Truncated { what: &'static str },
}

impl From<CodecError> for KvError {
    fn from(error: CodecError) -> Self {
        Self::new("decode a row", error.to_string())
    }
}

/// A row of a table.
pub trait Record: Serialize + DeserializeOwned {
    /// The name of the record in errors.
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

records! {
    BucketRow "bucket", ObjectVersion "object version", UploadRow "upload", Counts "counts", GarbageRow "garbage row",
    LeftoverRow "leftover", PartRow "part", CompletedRecord "completed upload", VersionRow "version", NullVersionRow "null version",
    SharedRow "references", Usage "usage", OwnerRow "owner", DocumentRow "document", EventRow "event",
    BlobRef "blob", RepairRow "repair row", NodeRecord "node",
    AnswerRow "answer", AnswersRecord "answers", HostRecord "host", LayoutRecord "layout", HeldRecord "held shards",
    RolesRecord "roles", RemovedRecord "removed",
    FenceRecord "fence", ClockRecord "clock", RegisteredRecord "registered drives", RecoveryRecord "recovery",
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

/// Encodes a command as it is stored in the log.
pub fn encode_command(command: &Command) -> Bytes {
    let head = to_postcard(command, Vec::with_capacity(256));
    let inline = command.inline();
    let mut bytes = BytesMut::with_capacity(2 + 8 + 4 + head.len() + 1 + inline.map_or(0, Bytes::len));
    bytes.put_slice(&[FORMAT_VERSION, OWN]);
    bytes.put_u64_le(command.confirmed.0);
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

/// Encodes a forwarded command: its origin and the leader's times, then the command in its proposer's encoding. The
/// leader's times replace those of the proposer.
pub fn encode_forwarded(origin: Origin, time: LogTime, command: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(2 + FORWARDED_HEAD_BYTES + command.len());
    bytes.put_slice(&[FORMAT_VERSION, FORWARDED]);
    bytes.put_u64_le(origin.since);
    bytes.put_u128_le(origin.id);
    bytes.put_u64_le(time.now.0);
    bytes.put_u64_le(time.confirmed.0);
    bytes.put_slice(command);
    bytes.freeze()
}

pub fn decode_command(bytes: &Bytes) -> Result<Command, CodecError> {
    const WHAT: &str = "command";
    let [FORWARDED, body @ ..] = versioned(WHAT, bytes)? else { return decode_own(WHAT, bytes) };
    let (mut head, command) =
        body.split_at_checked(FORWARDED_HEAD_BYTES).ok_or(CodecError::Truncated { what: WHAT })?;
    let origin = Origin { since: head.get_u64_le(), id: head.get_u128_le() };
    let (now, confirmed) = (UnixMs(head.get_u64_le()), UnixMs(head.get_u64_le()));
    let command = decode_own("forwarded command", &bytes.slice_ref(command))?;
    Ok(Command { now, confirmed, origin: Some(origin), ..command })
}

/// Decodes a command in its proposer's encoding.
fn decode_own(what: &'static str, bytes: &Bytes) -> Result<Command, CodecError> {
    let mut body = match versioned(what, bytes)? {
        [OWN, body @ ..] => body,
        [mark, ..] => return Err(malformed(what, &format!("unknown mark {mark}"))),
        [] => return Err(CodecError::Truncated { what }),
    };
    let confirmed = UnixMs(body.try_get_u64_le().map_err(|_| CodecError::Truncated { what })?);
    let (head, tail) = split_sized(what, body)?;
    let mut command = Command { confirmed, ..from_postcard(what, head)? };
    match tail.split_first().ok_or(CodecError::Truncated { what })? {
        (0, []) => Ok(command),
        (0, rest) => Err(CodecError::Trailing { what, count: rest.len() }),
        (1, inline) => {
            let Change::PutObject(put) = &mut command.change else {
                return Err(malformed(what, "inline bytes with a change other than a put"));
            };
            let kept =
                if inline.len() < SLICE_BYTES_MIN { Bytes::copy_from_slice(inline) } else { bytes.slice_ref(inline) };
            put.inline = Some(kept);
            Ok(command)
        }
        _ => Err(malformed(what, "unknown mark before the inline bytes")),
    }
}

/// Encodes an entry of the log from encoded commands.
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

/// Splits bytes into a part whose length precedes it, and the rest.
fn split_sized<'a>(what: &'static str, bytes: &'a [u8]) -> Result<(&'a [u8], &'a [u8]), CodecError> {
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or(CodecError::Truncated { what })?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or(CodecError::Truncated { what })
}

fn malformed(what: &'static str, why: &str) -> CodecError {
    CodecError::Malformed { what, why: why.to_owned() }
}

#[cfg(test)]
mod tests;
