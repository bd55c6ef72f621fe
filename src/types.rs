//! Identifiers, positions, sizes and roles: types without logic, so that an index, a count, a size and an offset
//! are never interchanged. Nothing here imports anything else of the crate.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The hidden command of this program that opens the tables in a directory and closes them again.
pub const OPEN_TABLES_COMMAND: &str = "open-tables";

/// Milliseconds since the Unix epoch, as supplied by the proposer of a change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UnixMs(pub u64);

macro_rules! id128 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub u128);

        impl $name {
            /// Big-endian bytes: their order is the numeric order.
            pub fn to_be_bytes(self) -> [u8; 16] {
                self.0.to_be_bytes()
            }

            pub fn from_be_bytes(bytes: [u8; 16]) -> Self {
                Self(u128::from_be_bytes(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:032x})"), self.0)
            }
        }
    };
}

id128!(
    /// The id of a blob, fresh for each write: 48 bits of milliseconds, then 80 random bits.
    BlobId
);

impl BlobId {
    /// Bits below the milliseconds.
    const RANDOM_BITS: u32 = 80;
    /// The greatest number of milliseconds that an id has room for.
    pub const TIME_MAX: UnixMs = UnixMs((1 << (u128::BITS - Self::RANDOM_BITS)) - 1);

    /// The least id with this time.
    pub const fn first_of(time: UnixMs) -> Self {
        Self((time.0 as u128) << Self::RANDOM_BITS)
    }

    /// The time in the id. It may be wrong: a host's wall clock supplied it, or a later time was taken.
    pub const fn time(self) -> UnixMs {
        UnixMs((self.0 >> Self::RANDOM_BITS) as u64)
    }

    /// The smallest time whose ids are all greater than this id.
    pub const fn next_time(self) -> UnixMs {
        UnixMs(self.time().0 + 1)
    }
}

id128!(
    /// The id of an object version: the key of its inline bytes and of its rows of parts. Has the form of a `BlobId`.
    ManifestId
);
id128!(
    /// The id of a multipart upload. Has the form of a `BlobId`.
    UploadId
);
id128!(
    /// The id of a cluster, drawn at random when it is formed.
    ClusterId
);
id128!(
    /// The incarnation that a drive got when it was formatted; a replaced drive in the same place has another.
    Incarnation
);

/// The recovery epoch of a cluster: identifies the last `sherd recover`, which forms the metadata group anew. Hosts of
/// a cluster talk to each other only if their epochs are equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryEpoch {
    /// The number of recoveries; 0 for the group that was founded.
    pub number: u32,
    /// A random id, which distinguishes hosts that were recovered independently of each other.
    pub id: u64,
    /// The ids of the former epochs, the latest first; 0 for none. An epoch supersedes only epochs that it names here:
    /// between groups that were recovered independently, the greater number means nothing.
    pub former: [u64; FORMER_EPOCHS],
}

/// The number of former epochs that an epoch names.
pub const FORMER_EPOCHS: usize = 8;

impl RecoveryEpoch {
    #[must_use]
    pub fn next(self, id: u64) -> Self {
        let mut former = self.former;
        former.rotate_right(1);
        former[0] = self.id;
        Self { number: self.number.saturating_add(1), id, former }
    }

    pub fn is_founded(&self) -> bool {
        *self == Self::default()
    }

    /// Returns true if the other epoch supersedes this one.
    pub fn is_before(self, other: Self) -> bool {
        self.number < other.number && (self.is_founded() || other.former.contains(&self.id))
    }
}

/// The id of a node: a drive of a host, the unit that the ring places shards on. Small, dense, never reused in a
/// cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u32);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The id of a host (one process of the binary on one machine), also in the Raft group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HostId(pub u64);

/// A bucket's number: the first 8 bytes of its objects' keys in the tables. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BucketId(pub u64);

/// The number of one of a blob's `k+m` shards, from 0. It has no default: every request must name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ShardNumber(pub u8);

/// The index of a chunk within a shard; also the index of its stripe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChunkIndex(pub u32);

/// The address of a shard: its blob, and its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ShardId {
    pub blob: BlobId,
    pub shard: ShardNumber,
}

/// The number of a segment (one file of a log), counted from 1; never used twice on a drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SegmentId(pub u32);

/// A position in a log: the segment in the upper 32 bits, the byte offset within it in the lower.
/// Positions of one log only grow.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Lsn(pub u64);

impl Lsn {
    pub const fn new(segment: SegmentId, offset: u32) -> Self {
        Self(((segment.0 as u64) << 32) | offset as u64)
    }

    pub const fn segment(self) -> SegmentId {
        SegmentId((self.0 >> 32) as u32)
    }

    pub const fn offset(self) -> u32 {
        self.0 as u32
    }
}

impl fmt::Debug for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lsn({}:{})", self.segment().0, self.offset())
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.segment().0, self.offset())
    }
}

/// The erasure coding of a blob: `data` + `parity` shards, stripes of `data` chunks of at most `chunk_size_bytes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Geometry {
    pub data: u8,
    pub parity: u8,
    pub chunk_size_bytes: u32,
}

impl Geometry {
    /// Returns the number of shards of a blob.
    pub const fn shards(self) -> usize {
        self.data as usize + self.parity as usize
    }
}

impl fmt::Display for Geometry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.data, self.parity)
    }
}

/// The version of the layout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch(pub u64);

/// The acceptance of version 2 signatures. AWS has retired them, but many clients still presign URLs with them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LegacySignatures {
    Off,
    /// Accepted in presigned URLs that read or write one object, and in forms.
    #[default]
    Urls,
    /// Accepted in headers, and in URLs of all operations, too.
    On,
}

/// The roles of a host in its cluster. Every host has at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Roles {
    /// Serves S3.
    pub gateway: bool,
    /// May vote on the metadata; without this role the host's replica is a learner.
    pub meta: bool,
    /// The host's drives are nodes.
    pub storage: bool,
}

impl Roles {
    pub const ALL: Self = Self { gateway: true, meta: true, storage: true };
    pub const NONE: Self = Self { gateway: false, meta: false, storage: false };

    /// Returns the roles' names as they are configured and shown.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let roles = [("gateway", self.gateway), ("meta", self.meta), ("storage", self.storage)];
        roles.into_iter().filter(|(_, has)| *has).map(|(name, _)| name)
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::Roles;

    #[test]
    fn roles_are_shown_in_the_form_of_the_setting() {
        assert_eq!(Roles::ALL.to_string(), "gateway,meta,storage");
        assert_eq!(Roles { gateway: false, ..Roles::ALL }.to_string(), "meta,storage");
        assert_eq!(Roles::NONE.names().count(), 0);
    }
}
