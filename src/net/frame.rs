//! The frame on the wire: a head of fixed size, a binary header, and a body; `FORMAT.md` describes it byte by byte. The
//! lengths in a head are checked before any memory is allocated for them: both have hard caps that depend on the kind.

use crate::limits::{NET_BODY_BYTES_MAX, NET_HEADER_BYTES_MAX};
use std::ops::RangeInclusive;

pub(super) const HEAD_BYTES: usize = 24;
const MAGIC: [u8; 4] = *b"SHRD";
/// The longest header of a greeting, in every version.
const GREETING_BYTES_MAX: usize = 1 << 10;

/// The version of the protocol that is spoken after the greeting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WireVersion(pub u16);

/// The oldest and the newest version that a host speaks: the current one, and the one before if it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionRange {
    pub oldest: WireVersion,
    pub newest: WireVersion,
}

impl VersionRange {
    pub const SPOKEN: Self = Self { oldest: WireVersion(1), newest: WireVersion(1) };

    /// Returns the newest version that both hosts speak.
    pub fn common(self, other: Self) -> Option<WireVersion> {
        let newest = self.newest.min(other.newest);
        (newest >= self.oldest.max(other.oldest)).then_some(newest)
    }
}

impl std::fmt::Display for VersionRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} to {}", self.oldest.0, self.newest.0)
    }
}

/// The kind of a frame. Answers have the bit 0x80 set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum FrameKind {
    Hello = 0x01,
    Append = 0x10,
    Read = 0x11,
    Drop = 0x12,
    Count = 0x13,
    Inventory = 0x14,
    Group = 0x20,
    HelloAnswer = 0x81,
    Appended = 0x90,
    ReadAnswer = 0x91,
    Dropped = 0x92,
    Counted = 0x93,
    InventoryAnswer = 0x94,
    GroupAnswer = 0xA0,
    /// A sign of life while the request is being served; the answer follows.
    Working = 0xFE,
    Failed = 0xFF,
}

impl FrameKind {
    pub(super) const ALL: [Self; 16] = [
        Self::Hello,
        Self::Append,
        Self::Read,
        Self::Drop,
        Self::Count,
        Self::Inventory,
        Self::Group,
        Self::HelloAnswer,
        Self::Appended,
        Self::ReadAnswer,
        Self::Dropped,
        Self::Counted,
        Self::InventoryAnswer,
        Self::GroupAnswer,
        Self::Working,
        Self::Failed,
    ];

    fn of(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }

    /// Returns the greatest lengths of the header and of the body.
    pub(super) fn caps(self) -> (usize, usize) {
        match self {
            Self::Hello | Self::HelloAnswer => (GREETING_BYTES_MAX, 0),
            Self::Append | Self::Group | Self::ReadAnswer | Self::GroupAnswer => {
                (NET_HEADER_BYTES_MAX, NET_BODY_BYTES_MAX)
            }
            Self::Working => (0, 0),
            _ => (NET_HEADER_BYTES_MAX, 0),
        }
    }
}

/// The reason for which bytes are not a valid frame, or not one that is allowed here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameError {
    #[error("a frame begins with {0:02x?} instead of the magic number")]
    Magic([u8; 4]),
    #[error("a frame's head fails its checksum")]
    HeadChecksum,
    #[error("a frame has the wire version {found}, but only {spoken} are spoken here")]
    Version { found: u16, spoken: String },
    #[error("a frame has the unknown kind {0:#04x}")]
    Kind(u8),
    #[error("a {kind:?} frame claims {found} bytes of {part}, where at most {max} are allowed")]
    TooLarge { kind: FrameKind, part: &'static str, found: usize, max: usize },
    #[error("a frame's header fails its checksum")]
    HeaderChecksum,
    #[error("the header of a {0:?} frame is malformed: {1}")]
    Header(FrameKind, &'static str),
    #[error("a {found:?} frame came where {expected} was expected")]
    Unexpected { found: FrameKind, expected: &'static str },
    #[error("a body fails its checksum")]
    BodyChecksum,
    #[error("the answer is to another request: {0}")]
    OtherAnswer(&'static str),
}

/// The verified head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) version: WireVersion,
    pub(super) kind: FrameKind,
    pub(super) header_bytes: usize,
    pub(super) body_bytes: usize,
    header_crc: u32,
}

impl Head {
    /// Decodes and verifies a head that a peer sent. `spoken` are the allowed versions.
    pub(super) fn decode(bytes: &[u8; HEAD_BYTES], spoken: RangeInclusive<WireVersion>) -> Result<Self, FrameError> {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let magic = [bytes[0], bytes[1], bytes[2], bytes[3]];
        if magic != MAGIC {
            return Err(FrameError::Magic(magic));
        }
        if word(20) != crc32c::crc32c(&bytes[..20]) {
            return Err(FrameError::HeadChecksum);
        }
        let version = WireVersion(u16::from_le_bytes([bytes[4], bytes[5]]));
        if !spoken.contains(&version) {
            let spoken = VersionRange { oldest: *spoken.start(), newest: *spoken.end() }.to_string();
            return Err(FrameError::Version { found: version.0, spoken });
        }
        let kind = FrameKind::of(bytes[6]).ok_or(FrameError::Kind(bytes[6]))?;
        if bytes[7] != 0 {
            return Err(FrameError::Header(kind, "a reserved byte is set"));
        }
        let (header_bytes, body_bytes) = (word(8) as usize, word(12) as usize);
        let (header_max, body_max) = kind.caps();
        for (part, found, max) in [("header", header_bytes, header_max), ("body", body_bytes, body_max)] {
            if found > max {
                return Err(FrameError::TooLarge { kind, part, found, max });
            }
        }
        Ok(Self { version, kind, header_bytes, body_bytes, header_crc: word(16) })
    }

    pub(super) fn check_header(&self, header: &[u8]) -> Result<(), FrameError> {
        match crc32c::crc32c(header) == self.header_crc {
            true => Ok(()),
            false => Err(FrameError::HeaderChecksum),
        }
    }
}

/// Encodes the head and header of a frame; the caller sends the body of `body_bytes` after them.
///
/// # Panics
/// If header or body exceed the caps of the kind: callers have to keep to them.
pub(super) fn encode(version: WireVersion, kind: FrameKind, header: &[u8], body_bytes: usize) -> Vec<u8> {
    let (header_max, body_max) = kind.caps();
    assert!(header.len() <= header_max && body_bytes <= body_max, "a {kind:?} frame of ours exceeds its caps");
    let mut bytes = Vec::with_capacity(HEAD_BYTES + header.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&version.0.to_le_bytes());
    bytes.extend_from_slice(&[kind as u8, 0]);
    bytes.extend_from_slice(&(header.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&(body_bytes as u32).to_le_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(header).to_le_bytes());
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(header);
    bytes
}
