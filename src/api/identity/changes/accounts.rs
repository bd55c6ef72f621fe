//! Changes of accounts, including the index rows that find an account by its canonical id or e-mail address.

use super::editor::{Decided, Decision, Editor, write};
use crate::actors::meta::{DocumentKey, DocumentWrite, Expect, IdentityKind};
use crate::api::identity::directory::{ROOT_ACCOUNT, Stored};
use crate::api::identity::error::IdentityError;
use crate::api::identity::names::{self, ACCOUNT_NAME_CHARS_MAX, EMAIL_BYTES_MAX};
use crate::api::identity::records::{AccountRecord, encode};
use sha2::{Digest, Sha256};

const ALIAS_LENGTHS: std::ops::RangeInclusive<usize> = 3..=63;

/// The properties of an account to create or update.
#[derive(Clone, Copy, Debug)]
pub struct AccountShape<'a> {
    /// The account id: 12 digits.
    pub id: &'a str,
    pub name: &'a str,
    pub email: Option<&'a str>,
    /// The canonical id; derived from the id if absent.
    pub canonical_id: Option<&'a str>,
}

/// Returns the canonical id for an account that was not given one.
pub fn canonical_id_of(id: &str) -> String {
    let digest = Sha256::new().chain_update(b"sherd account ").chain_update(id).finalize();
    hex_simd::encode_to_string(digest, hex_simd::AsciiCase::Lower)
}

/// Creates the account, or updates its name, e-mail address and canonical id. There are no writes if it is up to date.
pub fn put(editor: &Editor<'_>, shape: AccountShape<'_>) -> Decision<AccountRecord> {
    check(editor, shape)?;
    let existing = editor.directory.account(shape.id)?;
    let canonical_id = match shape.canonical_id {
        Some(given) => given.to_owned(),
        None if shape.id == ROOT_ACCOUNT => editor.directory.root().canonical_id.clone(),
        None => existing.as_ref().map_or_else(|| canonical_id_of(shape.id), |old| old.record.canonical_id.clone()),
    };
    let (old, expect) = match existing {
        Some(Stored { record, expect }) => (Some(record), expect),
        None => (None, Expect::Absent),
    };
    let new = AccountRecord {
        id: shape.id.to_owned(),
        canonical_id,
        name: shape.name.to_owned(),
        email: shape.email.map(str::to_owned),
        alias: old.as_ref().and_then(|old| old.alias.clone()),
        created: old.as_ref().map_or_else(|| editor.now(), |old| old.created),
        keys: old.as_ref().map(|old| old.keys.clone()).unwrap_or_default(),
    };
    if old.as_ref() == Some(&new) {
        return Ok(Decided::new(Vec::new(), new));
    }
    let mut writes = vec![write(&new, expect)];
    let old_canonical = old.as_ref().filter(|_| expect != Expect::Absent).map(|old| canonical_index(&old.canonical_id));
    writes.extend(reindexed(editor, &new.id, old_canonical, Some(canonical_index(&new.canonical_id)))?);
    let old_email = old.as_ref().and_then(|old| old.email.as_deref()).map(email_index);
    writes.extend(reindexed(editor, &new.id, old_email, new.email.as_deref().map(email_index))?);
    Ok(Decided::new(writes, new))
}

fn check(editor: &Editor<'_>, shape: AccountShape<'_>) -> Result<(), IdentityError> {
    let invalid = |why: String| Err(IdentityError::Validation(why));
    if !names::is_account_id(shape.id) {
        return invalid(format!("{} is not an account id: an account id has 12 digits.", shape.id));
    }
    let name_fits = (1..=ACCOUNT_NAME_CHARS_MAX).contains(&shape.name.chars().count());
    if !name_fits || shape.name.chars().any(char::is_control) {
        return invalid(format!(
            "An account name must have 1 to {ACCOUNT_NAME_CHARS_MAX} characters, and no control characters."
        ));
    }
    if let Some(email) = shape.email {
        let visible = email.bytes().all(|byte| byte.is_ascii_graphic());
        if email.len() > EMAIL_BYTES_MAX || !visible || !email.contains('@') {
            return invalid(format!("{email} is not a valid e-mail address."));
        }
    }
    if let Some(canonical_id) = shape.canonical_id {
        if !names::is_canonical_id(canonical_id) {
            return invalid(format!(
                "{canonical_id} is not a canonical id: a canonical id has 64 lower-case hexadecimal digits."
            ));
        }
        let is_roots = canonical_id == editor.directory.root().canonical_id;
        if is_roots != (shape.id == ROOT_ACCOUNT) {
            return invalid(format!(
                "The account {} cannot have the canonical id {canonical_id}: that of the store's own account is \
                 reserved for it, and fixed.",
                shape.id
            ));
        }
    }
    Ok(())
}

fn canonical_index(canonical_id: &str) -> String {
    format!("canonical/{canonical_id}")
}

fn email_index(email: &str) -> String {
    format!("email/{}", email.to_ascii_lowercase())
}

/// Returns the writes that replace an index row of the account. Refused if the new row exists, as another account has
/// it.
fn reindexed(
    editor: &Editor<'_>,
    account: &str,
    old: Option<String>,
    new: Option<String>,
) -> Result<Vec<DocumentWrite>, IdentityError> {
    if old == new {
        return Ok(Vec::new());
    }
    let key = |path: String| DocumentKey::Identity(IdentityKind::Account, path);
    let mut writes = Vec::new();
    if let Some(new) = new {
        let key = key(new);
        if editor.directory.documents().document(&key)?.is_some() {
            return Err(IdentityError::EntityAlreadyExists(
                "Another account has this canonical id or e-mail address.".to_owned(),
            ));
        }
        writes.push(DocumentWrite { key, expect: Expect::Absent, value: Some(encode(&account)) });
    }
    if let Some(old) = old {
        writes.push(DocumentWrite { key: key(old), expect: Expect::Any, value: None });
    }
    Ok(writes)
}

/// Sets the alias of an account; `None` removes it.
pub fn set_alias(editor: &Editor<'_>, account: &str, alias: Option<&str>) -> Decision<()> {
    let absent = || IdentityError::no_such("account", account);
    let Stored { mut record, expect } = editor.directory.account(account)?.ok_or_else(absent)?;
    if let Some(alias) = alias {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !ALIAS_LENGTHS.contains(&alias.len()) || !alias.bytes().all(fits) {
            return Err(IdentityError::Validation(
                "An account alias must have 3 to 63 lower-case letters, digits and dashes.".to_owned(),
            ));
        }
    }
    record.alias = alias.map(str::to_owned);
    Ok(Decided::new(vec![write(&record, expect)], ()))
}
