//! Changes of access keys: of users, of roots of accounts, and service keys, whose rights are limited to a part of
//! their owner's.

use super::editor::{Decided, Decision, Editor, remove, write};
use crate::actors::meta::{DocumentWrite, Expect};
use crate::api::identity::directory::{RecordsPage, Stored};
use crate::api::identity::error::IdentityError;
use crate::api::identity::names;
use crate::api::identity::policy_text::{self, TextOf};
use crate::api::identity::records::{AccessKeyRecord, AccountRecord, KeyOwner, ServiceKey, UserRecord};
use crate::api::identity::secrets::{self, IdOf, SESSION_KEY_PREFIX, fresh_id, fresh_secret};
use crate::types::UnixMs;

/// AWS's quota of access keys for each user.
pub const KEYS_MAX: usize = 2;
const SERVICE_KEYS_MAX: usize = 100;
/// The allowed lengths of an access key that is given rather than generated, as for the root key
/// (docs/reference/configuration.md).
const GIVEN_KEY_LENGTHS: std::ops::RangeInclusive<usize> = 3..=128;
const GIVEN_SECRET_LENGTHS: std::ops::RangeInclusive<usize> = 8..=128;

/// The owner of access keys: the root of the account, or a user by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose<'a> {
    Root,
    User(&'a str),
}

/// An access key and its secret that are given rather than generated.
#[derive(Clone, Copy)]
pub struct GivenKey<'a> {
    pub access_key: &'a str,
    pub secret_key: &'a str,
}

#[derive(Default)]
pub struct NewKey<'a> {
    pub given: Option<GivenKey<'a>>,
    pub service: Option<ServiceKey>,
    pub expires: Option<UnixMs>,
    pub from_file: bool,
}

/// A new access key with its secret, which is never shown again.
#[derive(Clone)]
pub struct MadeKey {
    pub record: AccessKeyRecord,
    pub secret_key: String,
    /// The name of the user in its original case; `None` for a root.
    pub user: Option<String>,
}

/// The record of the owner, which lists the ids of its access keys.
enum OwnerRecord {
    Account(Stored<AccountRecord>),
    User(Stored<UserRecord>),
}

impl OwnerRecord {
    fn find(editor: &Editor<'_>, account: &str, whose: Whose<'_>) -> Result<Self, IdentityError> {
        match whose {
            Whose::User(name) => editor.directory.user(account, name).map(Self::User),
            Whose::Root => {
                let found = editor.directory.account(account)?;
                found.map(Self::Account).ok_or_else(|| IdentityError::no_such("account", account))
            }
        }
    }

    fn keys(&self) -> &[String] {
        match self {
            Self::Account(stored) => &stored.record.keys,
            Self::User(stored) => &stored.record.keys,
        }
    }

    fn keys_mut(&mut self) -> &mut Vec<String> {
        match self {
            Self::Account(stored) => &mut stored.record.keys,
            Self::User(stored) => &mut stored.record.keys,
        }
    }

    fn owner(&self) -> KeyOwner {
        match self {
            Self::Account(stored) => KeyOwner::Root { account: stored.record.id.clone() },
            Self::User(stored) => {
                KeyOwner::User { account: stored.record.account.clone(), name: stored.record.name.to_ascii_lowercase() }
            }
        }
    }

    fn user(&self) -> Option<String> {
        match self {
            Self::Account(_) => None,
            Self::User(stored) => Some(stored.record.name.clone()),
        }
    }

    fn into_write(self) -> DocumentWrite {
        match self {
            Self::Account(stored) => write(&stored.record, stored.expect),
            Self::User(stored) => write(&stored.record, stored.expect),
        }
    }
}

pub fn create(editor: &Editor<'_>, account: &str, whose: Whose<'_>, mut new: NewKey<'_>) -> Decision<MadeKey> {
    let mut holder = OwnerRecord::find(editor, account, whose)?;
    if let Some(given) = new.given {
        check_given(editor, given)?;
    }
    if let Some(policy) = new.service.as_mut().and_then(|service| service.policy.as_mut()) {
        *policy = policy_text::kept(TextOf::Session, "service key", policy)?;
    }
    // Keys from the accounts file are exempt from the quota.
    if !new.from_file {
        check_room(editor, &holder, new.service.is_some())?;
    }
    let id = new.given.map_or_else(|| fresh_id(editor.ambient, IdOf::AccessKey), |given| given.access_key.to_owned());
    let secret = new.given.map_or_else(|| fresh_secret(editor.ambient), |given| given.secret_key.to_owned());
    let key = AccessKeyRecord {
        sealed: secrets::seal(editor.seal, &id, &secret),
        owner: holder.owner(),
        active: true,
        created: editor.now(),
        expires: new.expires,
        service: new.service,
        from_file: new.from_file,
        id,
    };
    holder.keys_mut().push(key.id.clone());
    let user = holder.user();
    let writes = vec![write(&key, Expect::Absent), holder.into_write()];
    Ok(Decided::new(writes, MadeKey { record: key, secret_key: secret, user }))
}

impl GivenKey<'_> {
    /// Checks the form of the key and its secret; the error says what is allowed.
    pub fn check(&self) -> Result<(), &'static str> {
        let visible = |byte: u8| byte.is_ascii_graphic() && !b"/,=".contains(&byte);
        if !GIVEN_KEY_LENGTHS.contains(&self.access_key.len()) || !self.access_key.bytes().all(visible) {
            return Err("a key must have 3 to 128 visible ASCII characters other than /, comma and =");
        }
        if self.access_key.starts_with(SESSION_KEY_PREFIX) {
            return Err("keys that begin with ASIA are reserved for sessions");
        }
        if !GIVEN_SECRET_LENGTHS.contains(&self.secret_key.len()) || !self.secret_key.is_ascii() {
            return Err("a secret must have 8 to 128 ASCII characters");
        }
        Ok(())
    }
}

fn check_given(editor: &Editor<'_>, given: GivenKey<'_>) -> Result<(), IdentityError> {
    let invalid = |why| IdentityError::Validation(format!("The access key or its secret is invalid: {why}."));
    given.check().map_err(invalid)?;
    let is_taken = given.access_key == editor.directory.root().access_key
        || editor.directory.access_key(given.access_key)?.is_some();
    if is_taken {
        return Err(IdentityError::exists("Access key", given.access_key));
    }
    Ok(())
}

fn check_room(editor: &Editor<'_>, holder: &OwnerRecord, service: bool) -> Result<(), IdentityError> {
    let existing = records(editor, holder)?;
    let alike = existing.iter().filter(|key| key.service.is_some() == service).count();
    let (limit, what) =
        if service { (SERVICE_KEYS_MAX, "ServiceKeysPerUser") } else { (KEYS_MAX, "AccessKeysPerUser") };
    if alike < limit {
        return Ok(());
    }
    Err(IdentityError::LimitExceeded(format!("Cannot exceed quota for {what}: {limit}")))
}

fn records(editor: &Editor<'_>, holder: &OwnerRecord) -> Result<Vec<AccessKeyRecord>, IdentityError> {
    let found = holder.keys().iter().map(|id| editor.directory.access_key(id)).collect::<Result<Vec<_>, _>>()?;
    Ok(found.into_iter().flatten().map(|stored| stored.record).collect())
}

/// Returns the access keys in order of creation, and the name of the user in its original case.
pub fn list(
    editor: &Editor<'_>,
    account: &str,
    whose: Whose<'_>,
) -> Result<(Option<String>, Vec<AccessKeyRecord>), IdentityError> {
    let holder = OwnerRecord::find(editor, account, whose)?;
    Ok((holder.user(), records(editor, &holder)?))
}

pub fn set_active(editor: &Editor<'_>, account: &str, whose: Whose<'_>, id: &str, active: bool) -> Decision<()> {
    let holder = OwnerRecord::find(editor, account, whose)?;
    let Stored { record: mut key, expect } = owned_key(editor, &holder, id)?;
    key.active = active;
    Ok(Decided::new(vec![write(&key, expect)], ()))
}

/// Seals the secrets of one page of access keys again, if they were sealed by another root key than `current`. Returns
/// the number of secrets sealed, and the last key of the page if more follow.
pub fn reseal(
    editor: &Editor<'_>,
    current: [u8; 8],
    after: Option<&str>,
    limit: usize,
) -> Decision<(usize, Option<String>)> {
    let RecordsPage { records: keys, more, .. } = editor.directory.page::<AccessKeyRecord>("", after, limit)?;
    let next = keys.last().filter(|_| more).map(|key| key.id.clone());
    let mut writes = Vec::new();
    for key in keys.iter().filter(|key| secrets::sealed_under(&key.sealed) != Some(current)) {
        // A page has no revisions, so the record is read again for the precondition.
        let Some(Stored { record: key, expect }) = editor.directory.access_key(&key.id)? else { continue };
        let secret = match secrets::open(editor.seal, &key.id, &key.sealed) {
            Ok(secret) => secret,
            // One secret that cannot be opened must not keep the others from being sealed.
            Err(error) => {
                tracing::warn!(key = %key.id, %error, "cannot open the secret of an access key: it is not resealed");
                continue;
            }
        };
        let sealed = secrets::seal(editor.seal, &key.id, &secret);
        writes.push(write(&AccessKeyRecord { sealed, ..key }, expect));
    }
    let count = writes.len();
    Ok(Decided::new(writes, (count, next)))
}

pub fn delete(editor: &Editor<'_>, account: &str, whose: Whose<'_>, id: &str) -> Decision<()> {
    let mut holder = OwnerRecord::find(editor, account, whose)?;
    let Stored { record: key, expect } = owned_key(editor, &holder, id)?;
    holder.keys_mut().retain(|existing| existing != id);
    Ok(Decided::new(vec![remove(&key, expect), holder.into_write()], ()))
}

fn owned_key(editor: &Editor<'_>, holder: &OwnerRecord, id: &str) -> Result<Stored<AccessKeyRecord>, IdentityError> {
    let found = editor.directory.access_key(id)?.filter(|stored| stored.record.owner == holder.owner());
    found.ok_or_else(|| IdentityError::NoSuchEntity(format!("The Access Key with id {id} cannot be found.")))
}

/// Returns the name of the user who owns the key, in its original case; `None` for a root.
pub fn user_of(editor: &Editor<'_>, key: &AccessKeyRecord) -> Result<Option<String>, IdentityError> {
    match &key.owner {
        KeyOwner::Root { .. } => Ok(None),
        KeyOwner::User { account, name } => {
            let user = editor.directory.record::<UserRecord>(&names::path_of(account, name))?;
            Ok(user.map(|stored| stored.record.name))
        }
    }
}
