//! The accounts file (`SHERD_ACCOUNTS_FILE`, docs/reference/identities.md): parsing, and the changes that bring the
//! stored identities in line with it. What is up to date is not written again. The file does not say whether a key is
//! active: a key that was deactivated stays so.

use super::accounts::{self, AccountShape};
use super::editor::{Decided, Decision, Draft, Editor, write};
use super::holders;
use super::keys::{self, GivenKey, NewKey, Whose};
use super::users::{self, NewUser};
use crate::actors::meta::{DocumentKey, DocumentWrite, Expect};
use crate::api::identity::directory::Directory;
use crate::api::identity::error::IdentityError;
use crate::api::identity::names;
use crate::api::identity::records::{AccessKeyRecord, KeyOwner, UserRecord, decode, encode};
use crate::api::identity::secrets;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The name of the document that lists the access keys the file had when it was last applied.
const REMEMBERED: &str = "accounts-file";

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountsFile {
    pub accounts: Vec<AccountInFile>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountInFile {
    pub id: String,
    pub name: String,
    pub email: Option<String>,
    pub canonical_id: Option<String>,
    /// The access keys of the account's root.
    #[serde(default)]
    pub keys: Vec<KeyInFile>,
    #[serde(default)]
    pub users: Vec<UserInFile>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyInFile {
    pub access_key: String,
    pub secret_key: String,
}

impl KeyInFile {
    fn given(&self) -> GivenKey<'_> {
        GivenKey { access_key: &self.access_key, secret_key: &self.secret_key }
    }
}

impl std::fmt::Debug for KeyInFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyInFile").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserInFile {
    pub name: String,
    #[serde(default = "no_path")]
    pub path: String,
    #[serde(default)]
    pub keys: Vec<KeyInFile>,
    /// ARNs of managed policies.
    #[serde(default)]
    pub policies: Vec<String>,
    /// Inline policies by name, each as a JSON document.
    #[serde(default)]
    pub inline_policies: BTreeMap<String, Value>,
}

fn no_path() -> String {
    "/".to_owned()
}

/// The access keys that the file had when it was last applied.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Remembered {
    keys: BTreeSet<String>,
}

/// A part of the file that fits into one entry of the log, whatever the size of the file.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    Account {
        file: &'a AccountsFile,
        account: &'a AccountInFile,
    },
    User {
        file: &'a AccountsFile,
        /// The account id.
        account: &'a str,
        user: &'a UserInFile,
    },
    /// Deletes the access keys that are no longer in the file.
    Forget(&'a AccountsFile),
}

impl AccountsFile {
    /// Parses the text of the file. The error says what is wrong, and where.
    pub fn parse(text: &str) -> Result<Self, String> {
        let file: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let mut accounts = BTreeSet::new();
        if let Some(twice) = file.accounts.iter().find(|account| !accounts.insert(&account.id)) {
            return Err(format!("the account {} is listed twice", twice.id));
        }
        for account in &file.accounts {
            // Names of users differ by more than their case.
            let mut users = BTreeSet::new();
            if let Some(twice) = account.users.iter().find(|user| !users.insert(user.name.to_lowercase())) {
                return Err(format!("the user {} of the account {} is listed twice", twice.name, account.id));
            }
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = file.keys().find(|key| !seen.insert(&key.access_key)) {
            return Err(format!("the access key {} is listed twice", twice.access_key));
        }
        for key in file.keys() {
            key.given().check().map_err(|why| format!("the access key {:?}: {why}", key.access_key))?;
        }
        Ok(file)
    }

    fn keys(&self) -> impl Iterator<Item = &KeyInFile> {
        self.accounts
            .iter()
            .flat_map(|account| account.keys.iter().chain(account.users.iter().flat_map(|user| user.keys.iter())))
    }

    /// Returns whether the owner of a key is a root, or a user whom the file names.
    fn names(&self, owner: &KeyOwner) -> bool {
        let KeyOwner::User { account, name } = owner else { return true };
        let mut accounts = self.accounts.iter().filter(|listed| listed.id == *account);
        accounts.any(|listed| listed.users.iter().any(|user| user.name.eq_ignore_ascii_case(name)))
    }

    /// Returns the steps, to be decided and written one after the other. After a conflict a step is decided again.
    pub fn steps(&self) -> Vec<Step<'_>> {
        let accounts = self.accounts.iter().flat_map(|account| {
            let users = account.users.iter().map(|user| Step::User { file: self, account: &account.id, user });
            std::iter::once(Step::Account { file: self, account }).chain(users)
        });
        std::iter::once(Step::Forget(self)).chain(accounts).collect()
    }
}

/// Decides a step. There are no writes if the stored identities agree with the file. The answer says which keys of the
/// file were refused, and why, a sentence each.
pub fn decide(editor: &Editor<'_>, step: Step<'_>) -> Decision<Vec<String>> {
    match step {
        Step::Forget(file) => Ok(Decided::new(forget(editor, file)?, Vec::new())),
        Step::Account { file, account } => put_account(editor, file, account),
        Step::User { file, account, user } => put_user(editor, file, account, user),
    }
}

/// Decides all steps, and writes nothing: a file with a step that is refused must not be applied in part.
pub fn check(editor: &Editor<'_>, file: &AccountsFile) -> Result<(), IdentityError> {
    let mut draft = Draft::new(editor.directory.documents());
    for step in file.steps() {
        drafted(editor, &mut draft, |editor| decide(editor, step))?;
    }
    Ok(())
}

/// Makes a decision on the state of the draft, and adds its writes to the draft.
fn drafted<T>(
    editor: &Editor<'_>,
    draft: &mut Draft<'_>,
    decide: impl FnOnce(&Editor<'_>) -> Decision<T>,
) -> Result<T, IdentityError> {
    let decided = {
        let directory = Directory::new(&*draft, editor.directory.root());
        decide(&Editor { directory, ambient: editor.ambient, seal: editor.seal })?
    };
    draft.add(decided.writes);
    Ok(decided.answer)
}

fn put_account(editor: &Editor<'_>, file: &AccountsFile, account: &AccountInFile) -> Decision<Vec<String>> {
    let mut draft = Draft::new(editor.directory.documents());
    let shape = AccountShape {
        id: &account.id,
        name: &account.name,
        email: account.email.as_deref(),
        canonical_id: account.canonical_id.as_deref(),
    };
    drafted(editor, &mut draft, |editor| accounts::put(editor, shape))?;
    let mut refused = Vec::new();
    for key in &account.keys {
        refused.extend(put_key(editor, &mut draft, file, (account.id.as_str(), Whose::Root), key)?);
    }
    Ok(Decided::new(draft.into_writes(), refused))
}

fn put_user(editor: &Editor<'_>, file: &AccountsFile, account: &str, user: &UserInFile) -> Decision<Vec<String>> {
    let mut draft = Draft::new(editor.directory.documents());
    let existing = editor.directory.record::<UserRecord>(&names::path_of(account, &user.name))?;
    match existing {
        None => {
            let new = NewUser { name: &user.name, path: &user.path, tags: Vec::new(), boundary: None };
            drafted(editor, &mut draft, |editor| users::create(editor, account, new))?;
        }
        Some(existing) if existing.record.path != user.path || existing.record.name != user.name => {
            let (name, path) = (Some(user.name.as_str()), Some(user.path.as_str()));
            drafted(editor, &mut draft, |editor| users::update(editor, account, &user.name, name, path))?;
        }
        Some(_) => {}
    }
    let mut refused = Vec::new();
    for key in &user.keys {
        refused.extend(put_key(editor, &mut draft, file, (account, Whose::User(&user.name)), key)?);
    }
    for arn in &user.policies {
        drafted(editor, &mut draft, |editor| holders::attach::<UserRecord>(editor, account, &user.name, arn))?;
    }
    for (policy, document) in &user.inline_policies {
        let text = document.to_string();
        let stored_user = editor.directory.record::<UserRecord>(&names::path_of(account, &user.name))?;
        if stored_user.is_some_and(|stored| stored.record.granted.inline.get(policy) == Some(&text)) {
            continue;
        }
        drafted(editor, &mut draft, |editor| {
            holders::put_inline::<UserRecord>(editor, account, &user.name, policy, &text)
        })?;
    }
    Ok(Decided::new(draft.into_writes(), refused))
}

/// Creates the key, updates its secret, or moves it to the owner that the file gives it. Returns why it is refused, if
/// it is: UpdateUser renamed its user, and the user of the old name has neither the policies nor the boundary of the
/// renamed one.
fn put_key(
    editor: &Editor<'_>,
    draft: &mut Draft<'_>,
    file: &AccountsFile,
    (account, whose): (&str, Whose<'_>),
    key: &KeyInFile,
) -> Result<Option<String>, IdentityError> {
    let given = key.given();
    let new = NewKey { given: Some(given), from_file: true, ..NewKey::default() };
    let Some(existing) = editor.directory.access_key(given.access_key)? else {
        drafted(editor, draft, |editor| keys::create(editor, account, whose, new))?;
        return Ok(None);
    };
    let owner = match whose {
        Whose::Root => KeyOwner::Root { account: account.to_owned() },
        Whose::User(name) => KeyOwner::User { account: account.to_owned(), name: name.to_ascii_lowercase() },
    };
    if existing.record.owner != owner && existing.record.from_file {
        if !file.names(&existing.record.owner) {
            return Ok(Some(left_with_its_user(&existing.record)));
        }
        take_away(editor, draft, &existing.record)?;
        let new = NewKey { expires: existing.record.expires, ..new };
        let moved = drafted(editor, draft, |editor| keys::create(editor, account, whose, new))?.record;
        let record = AccessKeyRecord { active: existing.record.active, ..moved };
        draft.add(vec![write(&record, Expect::Absent)]);
        return Ok(None);
    }
    if existing.record.owner != owner || existing.record.service.is_some() {
        return Err(IdentityError::EntityAlreadyExists(format!(
            "The access key {} already belongs to another owner, or is a service key. Delete that key, or remove it \
             from the file.",
            given.access_key
        )));
    }
    // A secret that cannot be opened, because its root key is gone, is sealed again.
    let secret = secrets::open(editor.seal, given.access_key, &existing.record.sealed);
    let same = secret.is_ok_and(|secret| secret == given.secret_key);
    if same && existing.record.from_file {
        return Ok(None);
    }
    let sealed = match same {
        true => existing.record.sealed.clone(),
        false => secrets::seal(editor.seal, given.access_key, given.secret_key),
    };
    let record = AccessKeyRecord { sealed, from_file: true, ..existing.record };
    draft.add(vec![write(&record, existing.expect)]);
    Ok(None)
}

fn left_with_its_user(key: &AccessKeyRecord) -> String {
    let (account, user) = match &key.owner {
        KeyOwner::Root { account } => (account, "root"),
        KeyOwner::User { account, name } => (account, name.as_str()),
    };
    format!(
        "the access key {} is not applied: it belongs to the user {user} of the account {account}, whom the file does \
         not name; name that user in the file, or delete the key",
        key.id
    )
}

fn take_away(editor: &Editor<'_>, draft: &mut Draft<'_>, key: &AccessKeyRecord) -> Result<(), IdentityError> {
    let whose = match &key.owner {
        KeyOwner::Root { .. } => Whose::Root,
        KeyOwner::User { name, .. } => Whose::User(name),
    };
    drafted(editor, draft, |editor| keys::delete(editor, key.owner.account(), whose, &key.id))
}

/// Deletes the access keys that are no longer in the file, and updates the list of its keys.
fn forget(editor: &Editor<'_>, file: &AccountsFile) -> Result<Vec<DocumentWrite>, IdentityError> {
    let document = DocumentKey::System(REMEMBERED.to_owned());
    let row = editor.directory.documents().document(&document)?;
    let before: Remembered = match &row {
        Some(row) => decode("list of the accounts file's keys", &row.value)?,
        None => Remembered::default(),
    };
    let now = Remembered { keys: file.keys().map(|key| key.access_key.clone()).collect() };
    let mut draft = Draft::new(editor.directory.documents());
    for gone in before.keys.difference(&now.keys) {
        if let Some(key) = editor.directory.access_key(gone)?.filter(|key| key.record.from_file) {
            take_away(editor, &mut draft, &key.record)?;
        }
    }
    if before.keys != now.keys {
        let expect = row.map_or(Expect::Absent, |row| Expect::Revision(row.revision));
        draft.add(vec![DocumentWrite { key: document, expect, value: Some(encode(&now)) }]);
    }
    Ok(draft.into_writes())
}
