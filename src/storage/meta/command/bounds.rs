//! The bounds of a change's size. The proposer checks the change and its encoding, so that the log never holds an entry
//! that is too large for the log, a call between hosts, or a snapshot.

use super::{Change, DeleteVersion};
use crate::limits::{
    COMMAND_BYTES_MAX, CONFIGURATION_BYTES_MAX, DELETES_BYTES_MAX, DOCUMENT_BYTES_MAX, DOCUMENT_NAME_BYTES_MAX,
    LARGE_DOCUMENT_BYTES_MAX,
};
use crate::storage::meta::record::{BucketDocument, DocumentKey, EventDraft, IdentityKind};

/// The approximate size of a delete, apart from its texts.
const DELETE_BYTES: usize = 256;

/// The refusal of a change that is too large.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} of {bytes} bytes is larger than the allowed {bytes_max} bytes")]
pub struct TooLarge {
    pub what: &'static str,
    pub bytes: usize,
    pub bytes_max: usize,
}

impl TooLarge {
    fn check(what: &'static str, bytes: usize, bytes_max: usize) -> Result<(), Self> {
        if bytes <= bytes_max { Ok(()) } else { Err(Self { what, bytes, bytes_max }) }
    }
}

/// Checks the size of an encoded command.
pub fn check_command(encoded: &[u8]) -> Result<(), TooLarge> {
    TooLarge::check("a change", encoded.len(), COMMAND_BYTES_MAX)
}

impl Change {
    /// Checks that the documents are within the bounds of their kinds.
    pub fn check_documents(&self) -> Result<(), TooLarge> {
        match self {
            Self::WriteDocuments(writes) => {
                writes.iter().try_for_each(|write| write.key.check(write.value.as_ref().map_or(0, |value| value.len())))
            }
            Self::CreateBucket(create) => create.documents.iter().try_for_each(|(kind, name, value)| {
                check_name(name)?;
                TooLarge::check(kind.what(), value.len(), kind.bytes_max())
            }),
            _ => Ok(()),
        }
    }
}

fn check_name(name: &str) -> Result<(), TooLarge> {
    TooLarge::check("the name of a document", name.len(), DOCUMENT_NAME_BYTES_MAX)
}

impl DocumentKey {
    fn check(&self, value_bytes: usize) -> Result<(), TooLarge> {
        let (name, what, bytes_max) = match self {
            Self::Bucket(_, kind, name) => (name, kind.what(), kind.bytes_max()),
            Self::Identity(kind, path) => (path, "a record of identities", kind.bytes_max()),
            Self::System(name) => (name, "a document of the store", LARGE_DOCUMENT_BYTES_MAX),
        };
        check_name(name)?;
        TooLarge::check(what, value_bytes, bytes_max)
    }
}

impl BucketDocument {
    fn what(self) -> &'static str {
        match self {
            Self::Access => "the access settings of a bucket",
            Self::Cors => "a CORS configuration",
            Self::Lifecycle => "a lifecycle configuration",
            Self::Website => "a website configuration",
            Self::Notification => "a notification configuration",
            _ => "a configuration of a bucket",
        }
    }

    /// Returns the greatest size of a document of this kind in JSON. It may be several times the size that the owner
    /// counts, because white space and quotes are escaped.
    fn bytes_max(self) -> usize {
        match self {
            Self::Access | Self::Cors | Self::Lifecycle | Self::Website | Self::Tagging | Self::Notification => {
                LARGE_DOCUMENT_BYTES_MAX
            }
            // A bucket may have a thousand of each.
            Self::Inventory | Self::Analytics | Self::Metrics | Self::IntelligentTiering => CONFIGURATION_BYTES_MAX,
            Self::Encryption
            | Self::Logging
            | Self::Accelerate
            | Self::RequestPayment
            | Self::Renames
            | Self::RateLimits => DOCUMENT_BYTES_MAX,
        }
    }
}

impl IdentityKind {
    fn bytes_max(self) -> usize {
        match self {
            Self::Account | Self::User | Self::Group | Self::Policy | Self::Role => LARGE_DOCUMENT_BYTES_MAX,
            // A service key has a session policy, a provider 100 client ids, an encryption key all of its versions.
            Self::AccessKey | Self::Provider | Self::SealingKey => LARGE_DOCUMENT_BYTES_MAX,
            Self::Session | Self::RateLimits => DOCUMENT_BYTES_MAX,
        }
    }
}

impl DeleteVersion {
    /// Returns an upper estimate of the delete's size in a command.
    pub fn weight_bytes(&self) -> usize {
        let draft = |draft: &Option<EventDraft>| draft.as_ref().map_or(0, EventDraft::weight_bytes);
        let events = self.event.as_ref().map_or(0, |events| draft(&events.deleted) + draft(&events.marked));
        let tags: usize = self.conditions.tags.iter().map(|(key, value)| key.len() + value.len() + 10).sum();
        self.key.len() + self.owner.len() + events + tags + DELETE_BYTES
    }

    /// Splits the deletes into as few commands as hold them, in their order.
    pub fn in_commands(deletes: Vec<Self>) -> Vec<Vec<Self>> {
        let mut commands: Vec<Vec<Self>> = Vec::new();
        let mut bytes = 0;
        for delete in deletes {
            bytes += delete.weight_bytes();
            match commands.last_mut() {
                Some(last) if bytes <= DELETES_BYTES_MAX => last.push(delete),
                _ => {
                    bytes = delete.weight_bytes();
                    commands.push(vec![delete]);
                }
            }
        }
        commands
    }
}

impl EventDraft {
    fn weight_bytes(&self) -> usize {
        let targets: usize = self.targets.iter().map(|target| target.len() + 5).sum();
        self.name.len() + self.context.len() + targets + 32
    }
}

#[cfg(test)]
mod tests {
    use super::{DELETE_BYTES, TooLarge, check_command};
    use crate::limits::{
        COMMAND_BYTES_MAX, CONFIGURATION_BYTES_MAX, DELETES_BYTES_MAX, DOCUMENT_BYTES_MAX, LARGE_DOCUMENT_BYTES_MAX,
    };
    use crate::storage::meta::codec::encode_command;
    use crate::storage::meta::command::{
        Change, Command, DeleteConditions, DeleteEvents, DeleteVersion, ETagCondition, VersionRank, WriteConditions,
    };
    use crate::storage::meta::record::{
        BucketDocument, DocumentKey, DocumentWrite, ETag, EventDraft, Expect, IdentityKind, Pick,
    };
    use crate::storage::meta::samples;
    use crate::types::{BucketId, ManifestId, UnixMs};
    use bytes::Bytes;

    fn written(key: DocumentKey, bytes: usize) -> Result<(), TooLarge> {
        let value = Some(Bytes::from(vec![b'"'; bytes]));
        Change::WriteDocuments(vec![DocumentWrite { key, expect: Expect::Any, value }]).check_documents()
    }

    #[test]
    fn a_document_is_refused_beyond_the_bound_of_its_kind() {
        let of_bucket = |kind| DocumentKey::Bucket(BucketId(1), kind, String::new());
        for (key, bytes_max) in [
            (of_bucket(BucketDocument::Cors), LARGE_DOCUMENT_BYTES_MAX),
            (of_bucket(BucketDocument::Logging), DOCUMENT_BYTES_MAX),
            (of_bucket(BucketDocument::Inventory), CONFIGURATION_BYTES_MAX),
            (of_bucket(BucketDocument::Analytics), CONFIGURATION_BYTES_MAX),
            (of_bucket(BucketDocument::Metrics), CONFIGURATION_BYTES_MAX),
            (of_bucket(BucketDocument::IntelligentTiering), CONFIGURATION_BYTES_MAX),
            (DocumentKey::Identity(IdentityKind::User, "u".to_owned()), LARGE_DOCUMENT_BYTES_MAX),
            (DocumentKey::Identity(IdentityKind::SealingKey, "key/k".to_owned()), LARGE_DOCUMENT_BYTES_MAX),
            (DocumentKey::System("x".to_owned()), LARGE_DOCUMENT_BYTES_MAX),
        ] {
            assert_eq!(written(key.clone(), bytes_max), Ok(()), "{key:?}");
            let refused = written(key.clone(), bytes_max + 1).expect_err("a byte more");
            assert_eq!((refused.bytes, refused.bytes_max), (bytes_max + 1, bytes_max), "{key:?}");
        }
        assert!(written(DocumentKey::System("n".repeat(1025)), 1).is_err(), "a name beyond its bound");
        let mut create = samples::create_bucket();
        create.documents.push((BucketDocument::Cors, String::new(), vec![0; LARGE_DOCUMENT_BYTES_MAX + 1].into()));
        assert!(Change::CreateBucket(Box::new(create)).check_documents().is_err());
    }

    #[test]
    fn deletes_are_split_into_bounded_commands_in_their_order() {
        let draft = |bytes| EventDraft {
            name: "ObjectRemoved:DeleteMarkerCreated".to_owned(),
            targets: vec!["target".to_owned(); 8],
            context: vec![b'x'; bytes].into(),
        };
        let delete = |number: usize, bytes: usize| DeleteVersion {
            key: format!("{number:04}{}", "k".repeat(1020)),
            pick: Pick::Current,
            conditions: DeleteConditions {
                write: WriteConditions {
                    if_match: Some(ETagCondition::Is(ETag { md5: [7; 16], parts: Some(u16::MAX) })),
                    if_none_match: None,
                },
                size_bytes: Some(u64::MAX),
                modified_seconds: Some(u64::MAX),
                manifest: Some(ManifestId(u128::MAX)),
                rank: VersionRank::Sole,
                tags: vec![("k".repeat(128), "v".repeat(256))],
            },
            owner: "o".repeat(64),
            salt: u64::MAX,
            bypass_governance: true,
            event: Some(DeleteEvents { deleted: Some(draft(bytes)), marked: Some(draft(bytes)) }),
        };
        for (bytes, commands_max) in [(100, 3), (20_000, 48), (DELETES_BYTES_MAX, 1000)] {
            let deletes: Vec<_> =
                (0..1000).map(|number| delete(number, bytes)).take(if bytes > 100_000 { 3 } else { 1000 }).collect();
            let commands = DeleteVersion::in_commands(deletes.clone());
            assert!(commands.len() <= commands_max, "{} commands", commands.len());
            assert_eq!(commands.concat(), deletes);
            for deletes in commands {
                let weight: usize = deletes.iter().map(DeleteVersion::weight_bytes).sum();
                let change = Change::DeleteVersions { bucket: BucketId(u64::MAX), deletes };
                let encoded = encode_command(&Command::new(UnixMs(u64::MAX), change));
                assert!(encoded.len() <= weight + DELETE_BYTES, "{} bytes weigh {weight}", encoded.len());
                assert_eq!(check_command(&encoded), Ok(()));
            }
        }
        assert!(DeleteVersion::in_commands(Vec::new()).is_empty());
        assert!(check_command(&vec![0; COMMAND_BYTES_MAX + 1]).is_err());
    }
}
