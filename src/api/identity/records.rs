//! The stored records of accounts, users, groups, access keys, policies, roles and identity providers. Each is one
//! document: a byte of format version, then JSON. Names are compared without regard to case, as in IAM, so the path of
//! a document has the name in lower case, and the record has it in its original case.
//!
//! | kind | path | |
//! |---|---|---|
//! | `Account` | `id/{account}` | `AccountRecord` |
//! | `Account` | `canonical/{id}`, `email/{address in lower case}` | the account's id |
//! | `User`, `Group`, `Role`, `Policy` | `{account}/{name in lower case}` | the record |
//! | `Policy` | `version/{account}/{name in lower case}/v{number}` | `PolicyText` of a non-default version |
//! | `AccessKey` | the key's id | `AccessKeyRecord` |
//! | `Provider` | `{account}/{url without its scheme}` | `ProviderRecord` |

use super::error::IdentityError;
use super::names;
use crate::actors::meta::{DocumentKey, IdentityKind};
use crate::api::policy::PrincipalIds;
use crate::types::UnixMs;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The format version that is written, and the only one that is read.
const FORMAT_VERSION: u8 = 2;

pub type Tags = Vec<(String, String)>;

/// A record that is stored as a document of its own.
pub trait Record: Serialize + DeserializeOwned {
    const KIND: IdentityKind;
    /// The name of the kind of record in error messages.
    const WHAT: &'static str;

    /// Returns the path of the document within its kind.
    fn path(&self) -> String;

    /// Returns the tags, which only some kinds have.
    fn tags(&self) -> &[(String, String)] {
        &[]
    }
}

pub fn key_of<R: Record>(path: &str) -> DocumentKey {
    DocumentKey::Identity(R::KIND, path.to_owned())
}

pub fn encode(value: &impl Serialize) -> Bytes {
    let mut bytes = vec![FORMAT_VERSION];
    serde_json::to_writer(&mut bytes, value)
        .expect("records have string keys only, and writing to memory does not fail");
    bytes.into()
}

pub fn decode<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, IdentityError> {
    let unreadable = |why: String| IdentityError::Unreadable(format!("a stored {what} cannot be read: {why}"));
    match bytes.split_first() {
        Some((&FORMAT_VERSION, json)) => serde_json::from_slice(json).map_err(|error| unreadable(error.to_string())),
        Some((version, _)) => {
            Err(unreadable(format!("its format version is {version}, and only {FORMAT_VERSION} is supported")))
        }
        None => Err(unreadable("it is empty".to_owned())),
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountRecord {
    /// The account id: 12 digits.
    pub id: String,
    /// 64 hexadecimal digits: the id that S3 uses for the account in owners and grants.
    pub canonical_id: String,
    pub name: String,
    pub email: Option<String>,
    pub alias: Option<String>,
    pub created: UnixMs,
    /// The ids of the access keys of the account's root.
    pub keys: Vec<String>,
}

/// The policies of a user, group or role: inline policies by name, and attached managed policies by ARN.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    /// The inline policies, by name.
    pub inline: BTreeMap<String, String>,
    pub attached: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRecord {
    pub account: String,
    pub name: String,
    pub path: String,
    /// The unique id, such as `AIDA…`; a later user of the same name has another one.
    pub id: String,
    pub created: UnixMs,
    pub tags: Tags,
    pub granted: Granted,
    /// The names of the groups, in lower case.
    pub groups: Vec<String>,
    /// The ARN of the permissions boundary.
    pub boundary: Option<String>,
    /// The ids of the access keys, in order of creation.
    pub keys: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRecord {
    pub account: String,
    pub name: String,
    pub path: String,
    /// The unique id, such as `AGPA…`.
    pub id: String,
    pub created: UnixMs,
    pub granted: Granted,
    /// The number of members. Every change of membership writes the record, so it conflicts with a concurrent deletion
    /// of the group.
    pub members: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleRecord {
    pub account: String,
    pub name: String,
    pub path: String,
    /// The unique id, such as `AROA…`.
    pub id: String,
    pub created: UnixMs,
    pub description: Option<String>,
    /// The trust policy: the principals that may assume the role.
    pub trust: String,
    /// The ids of the principals that the trust policy names.
    #[serde(default)]
    pub trust_ids: PrincipalIds,
    pub session_seconds_max: u64,
    pub tags: Tags,
    pub granted: Granted,
    pub boundary: Option<String>,
}

/// A version of a managed policy, without its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyVersion {
    pub number: u32,
    pub created: UnixMs,
}

/// The text of a version that is not the default. It has a document of its own, so that requests do not read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyText {
    pub account: String,
    /// The name of the policy.
    pub name: String,
    pub number: u32,
    pub document: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRecord {
    pub account: String,
    pub name: String,
    pub path: String,
    /// The unique id, such as `ANPA…`.
    pub id: String,
    pub description: Option<String>,
    pub created: UnixMs,
    pub updated: UnixMs,
    pub tags: Tags,
    /// The versions in order of their numbers, including the default.
    pub versions: Vec<PolicyVersion>,
    pub default_version: u32,
    /// The text of the default version, which is in force.
    pub document: String,
    /// The number of the next version; numbers are not reused.
    pub next_version: u32,
    /// The numbers of users, groups and roles that the policy is attached to, and of users and roles whose permissions
    /// boundary it is. Every change of these writes the record, so it conflicts with a concurrent deletion of the
    /// policy.
    pub attachments: u64,
    pub boundaries: u64,
}

impl PolicyText {
    pub fn path_of(policy: &PolicyRecord, number: u32) -> String {
        format!("version/{}/v{number}", policy.path())
    }
}

/// The owner of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyOwner {
    Root {
        account: String,
    },
    /// A user, by its name in lower case.
    User {
        account: String,
        name: String,
    },
}

impl KeyOwner {
    pub fn account(&self) -> &str {
        match self {
            Self::Root { account } | Self::User { account, .. } => account,
        }
    }
}

/// A service key: an access key for a program, which may do less than its owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceKey {
    pub name: String,
    pub description: String,
    /// The policy that limits the key; without one, the key has all rights of its owner.
    pub policy: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKeyRecord {
    pub id: String,
    pub owner: KeyOwner,
    /// The secret, sealed, in base64.
    pub sealed: String,
    pub active: bool,
    pub created: UnixMs,
    pub expires: Option<UnixMs>,
    pub service: Option<ServiceKey>,
    /// True if the key comes from the accounts file, and is deleted when the file no longer has it.
    pub from_file: bool,
}

impl AccessKeyRecord {
    pub fn has_expired(&self, now: UnixMs) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

/// An OpenID Connect provider whose tokens AssumeRoleWithWebIdentity accepts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderRecord {
    pub account: String,
    /// The URL as it was given, with its scheme.
    pub url: String,
    pub client_ids: Vec<String>,
    pub thumbprints: Vec<String>,
    pub created: UnixMs,
    pub tags: Tags,
}

impl ProviderRecord {
    pub fn arn(&self) -> String {
        format!("arn:aws:iam::{}:oidc-provider/{}", self.account, names::without_scheme(&self.url))
    }
}

macro_rules! named_records {
    ($($record:ident $kind:ident $what:literal $($tags:ident)?;)*) => {
        $(impl Record for $record {
            const KIND: IdentityKind = IdentityKind::$kind;
            const WHAT: &'static str = $what;

            fn path(&self) -> String {
                names::path_of(&self.account, &self.name)
            }

            $(fn tags(&self) -> &[(String, String)] {
                &self.$tags
            })?
        }

        impl $record {
            pub fn arn(&self) -> String {
                names::arn(&self.account, $what, &self.path, &self.name)
            }
        })*
    };
}

named_records! {
    UserRecord User "user" tags;
    GroupRecord Group "group";
    RoleRecord Role "role" tags;
    PolicyRecord Policy "policy" tags;
}

impl Record for PolicyText {
    const KIND: IdentityKind = IdentityKind::Policy;
    const WHAT: &'static str = "version of a policy";

    fn path(&self) -> String {
        format!("version/{}/v{}", names::path_of(&self.account, &self.name), self.number)
    }
}

impl Record for AccountRecord {
    const KIND: IdentityKind = IdentityKind::Account;
    const WHAT: &'static str = "account";

    fn path(&self) -> String {
        format!("id/{}", self.id)
    }
}

impl Record for AccessKeyRecord {
    const KIND: IdentityKind = IdentityKind::AccessKey;
    const WHAT: &'static str = "access key";

    fn path(&self) -> String {
        self.id.clone()
    }
}

impl Record for ProviderRecord {
    const KIND: IdentityKind = IdentityKind::Provider;
    const WHAT: &'static str = "OpenID Connect provider";

    fn path(&self) -> String {
        format!("{}/{}", self.account, names::without_scheme(&self.url))
    }

    fn tags(&self) -> &[(String, String)] {
        &self.tags
    }
}
