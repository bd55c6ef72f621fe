//! The format of `identity.json` and of the other JSON documents on a drive: an envelope with the document and a
//! checksum of its compact JSON, so that a flipped bit is noticed. Numbers too wide for JSON are hexadecimal text.
//! Upgrade rule: a reader knows every format up to `FORMAT` and refuses later ones; the format number changes when an
//! old reader could misread it.

use crate::types::{ClusterId, HostId, Incarnation, NodeId, RecoveryEpoch};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub const FORMAT: u32 = 1;
/// The number of earlier ids of a host that are kept: the latest ones.
const EARLIER_MAX: usize = 64;
/// The largest document that is read. The identity of a host with the most drives is far smaller.
pub const DOCUMENT_BYTES_MAX: u64 = 64 << 10;

/// The identity of a drive and the membership of its host: the content of `identity.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    pub format: u32,
    #[serde(with = "hex128")]
    pub cluster: ClusterId,
    #[serde(with = "hex64")]
    pub host: HostId,
    pub node: NodeId,
    #[serde(with = "hex128")]
    pub incarnation: Incarnation,
    pub data: u8,
    pub parity: u8,
    pub stage: Stage,
    /// Grows with each change of `members`. The drive with the greatest generation has the current membership.
    pub generation: u64,
    /// Every drive of the host: in the order of the directories at formation, followed by the drives added later.
    pub members: Vec<Member>,
    /// The ids that the host had before it rejoined its cluster, the oldest first. A drive that still names one of them
    /// belongs to this host.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "hex64s")]
    pub earlier: Vec<HostId>,
    /// The recovery epoch of the host's metadata group.
    #[serde(default, skip_serializing_if = "RecoveryEpoch::is_founded", with = "epoch")]
    pub recovery: RecoveryEpoch,
}

/// Returns the earlier ids of a host that gives up the id `host`: `earlier` with `host` appended, the latest
/// `EARLIER_MAX`.
pub fn with_earlier(mut earlier: Vec<HostId>, host: HostId) -> Vec<HostId> {
    earlier.push(host);
    earlier.drain(..earlier.len().saturating_sub(EARLIER_MAX));
    earlier
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    pub node: NodeId,
    #[serde(with = "hex128")]
    pub incarnation: Incarnation,
}

/// The progress of a host's formation. `Forming` is written to every drive before `Formed` is written to any, so one
/// drive that is `Formed` proves that all identities were written. While no drive is `Started`, the store is empty.
/// Once a drive is `Started`, the host has had metadata, and its absence means a loss of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    Forming,
    Formed,
    Started,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<T> {
    body: T,
    crc32c: String,
}

/// The reason for which a document cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DocumentFault {
    Corrupt(String),
    LaterFormat(u32),
}

/// Encodes a document with its checksum, as the content of a file.
pub fn encode<T: Serialize>(body: &T) -> Vec<u8> {
    let crc32c = checksum(body);
    let mut bytes = serde_json::to_vec_pretty(&Envelope { body, crc32c }).expect("plain data has a JSON form");
    bytes.push(b'\n');
    bytes
}

pub fn decode<T: Serialize + de::DeserializeOwned>(bytes: &[u8], known_format: u32) -> Result<T, DocumentFault> {
    let corrupt = |why: &dyn std::fmt::Display| DocumentFault::Corrupt(why.to_string());
    let value: serde_json::Value = serde_json::from_slice(bytes).map_err(|error| corrupt(&error))?;
    let format = value.pointer("/body/format").and_then(serde_json::Value::as_u64);
    if let Some(format) = format.and_then(|format| u32::try_from(format).ok())
        && format > known_format
    {
        return Err(DocumentFault::LaterFormat(format));
    }
    let envelope: Envelope<T> = serde_json::from_value(value).map_err(|error| corrupt(&error))?;
    let expected = checksum(&envelope.body);
    if envelope.crc32c != expected {
        return Err(corrupt(&format!("its checksum is {}, but that of its content is {expected}", envelope.crc32c)));
    }
    Ok(envelope.body)
}

fn checksum<T: Serialize>(body: &T) -> String {
    let compact = serde_json::to_vec(body).expect("plain data has a JSON form");
    format!("{:08x}", crc32c::crc32c(&compact))
}

/// Decodes an identity, and checks the consistency of its fields in addition to its checksum.
pub fn decode_identity(bytes: &[u8]) -> Result<Identity, DocumentFault> {
    let identity: Identity = decode(bytes, FORMAT)?;
    let distinct = identity.members.iter().enumerate().all(|(i, member)| {
        let earlier = identity.members.get(..i).unwrap_or_default();
        earlier.iter().all(|other| other.node != member.node)
    });
    let listed = identity.members.iter().any(|member| member.node == identity.node);
    if identity.format != FORMAT || identity.data == 0 || !distinct || !listed {
        return Err(DocumentFault::Corrupt("its fields contradict each other".to_owned()));
    }
    Ok(identity)
}

pub(super) mod hex128 {
    use super::{Deserializer, Serializer, hex};
    use crate::types::{ClusterId, Incarnation};

    /// An id of 128 bits.
    pub trait Id128: Copy {
        fn bits(self) -> u128;
        fn of(bits: u128) -> Self;
    }

    impl Id128 for ClusterId {
        fn bits(self) -> u128 {
            self.0
        }
        fn of(bits: u128) -> Self {
            Self(bits)
        }
    }

    impl Id128 for Incarnation {
        fn bits(self) -> u128 {
            self.0
        }
        fn of(bits: u128) -> Self {
            Self(bits)
        }
    }

    pub fn serialize<T: Id128, S: Serializer>(id: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{:032x}", id.bits()))
    }

    pub fn deserialize<'de, T: Id128, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        hex(deserializer, 32).map(T::of)
    }
}

pub(super) mod hex64 {
    use super::{Deserializer, Serializer, de, hex};
    use crate::types::HostId;

    pub fn serialize<S: Serializer>(id: &HostId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{:016x}", id.0))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HostId, D::Error> {
        u64::try_from(hex(deserializer, 16)?).map(HostId).map_err(de::Error::custom)
    }
}

mod epoch {
    use super::{Deserialize, Deserializer, RecoveryEpoch, Serialize, Serializer, de, hex};
    use crate::types::FORMER_EPOCHS;

    #[derive(Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Written {
        number: u32,
        id: Id,
        former: [Id; FORMER_EPOCHS],
    }

    struct Id(u64);

    impl Serialize for Id {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_str(&format!("{:016x}", self.0))
        }
    }

    impl<'de> Deserialize<'de> for Id {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            u64::try_from(hex(deserializer, 16)?).map(Self).map_err(de::Error::custom)
        }
    }

    pub fn serialize<S: Serializer>(epoch: &RecoveryEpoch, serializer: S) -> Result<S::Ok, S::Error> {
        Written { number: epoch.number, id: Id(epoch.id), former: epoch.former.map(Id) }.serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RecoveryEpoch, D::Error> {
        let Written { number, id: Id(id), former } = Written::deserialize(deserializer)?;
        Ok(RecoveryEpoch { number, id, former: former.map(|Id(id)| id) })
    }
}

mod hex64s {
    use super::{Deserialize, Deserializer, HostId, Serialize, Serializer, hex64};

    #[derive(Serialize, Deserialize)]
    #[serde(transparent)]
    struct Hex(#[serde(with = "hex64")] HostId);

    pub fn serialize<S: Serializer>(ids: &[HostId], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(ids.iter().map(|id| Hex(*id)))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<HostId>, D::Error> {
        Ok(Vec::<Hex>::deserialize(deserializer)?.into_iter().map(|Hex(id)| id).collect())
    }
}

fn hex<'de, D: Deserializer<'de>>(deserializer: D, digits: usize) -> Result<u128, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.len() != digits || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(de::Error::custom(format!("expected {digits} hexadecimal digits, found {text:?}")));
    }
    u128::from_str_radix(&text, 16).map_err(de::Error::custom)
}
