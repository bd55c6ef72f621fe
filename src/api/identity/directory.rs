//! Reads identities: the trait of a document store, and the lookup of the records in it.

use super::builtin::{self, BuiltInPolicy};
use super::error::IdentityError;
use super::names::{self, IamArn};
use super::records::{
    AccessKeyRecord, AccountRecord, GroupRecord, PolicyRecord, ProviderRecord, Record, RoleRecord, UserRecord, decode,
    key_of,
};
use crate::actors::meta::{DocumentKey, DocumentRow, Expect, IdentityKind, KvError, MetaView};
use crate::types::UnixMs;

/// The account of the store's own root key. It always exists, with or without a document.
pub const ROOT_ACCOUNT: &str = "000000000000";
/// The default name of the root account.
const ROOT_ACCOUNT_NAME: &str = "root";
/// The number of rows read at once when all are scanned.
const PAGE_ROWS: usize = 256;
/// The longest text that is looked up as the canonical id or email address of an account. All of them are shorter.
const NAME_BYTES_MAX: usize = 256;

/// Names and rows in order of name, and whether more follow.
pub type DocumentsPage = (Vec<(String, DocumentRow)>, bool);

/// A view of the stored documents.
pub trait Documents: Send + Sync {
    fn document(&self, key: &DocumentKey) -> Result<Option<DocumentRow>, KvError>;

    fn identity_documents(
        &self,
        kind: IdentityKind,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<DocumentsPage, KvError>;
}

impl Documents for MetaView {
    fn document(&self, key: &DocumentKey) -> Result<Option<DocumentRow>, KvError> {
        MetaView::document(self, key)
    }

    fn identity_documents(
        &self,
        kind: IdentityKind,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<DocumentsPage, KvError> {
        MetaView::identity_documents(self, kind, prefix, after, limit)
    }
}

/// The store's own root, whose access key is configured and not stored in a document.
#[derive(Clone)]
pub struct RootIdentity {
    pub access_key: String,
    pub secret_key: String,
    pub canonical_id: String,
}

impl std::fmt::Debug for RootIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RootIdentity").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

/// A stored record, with the precondition for changing it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored<R> {
    pub record: R,
    pub expect: Expect,
}

/// A managed policy: built in, or of one account.
#[derive(Clone, Debug)]
pub enum Managed {
    BuiltIn(&'static BuiltInPolicy),
    Local(Box<Stored<PolicyRecord>>),
}

impl Managed {
    /// Returns the text of the default version.
    pub fn document(&self) -> &str {
        match self {
            Self::BuiltIn(policy) => policy.document,
            Self::Local(stored) => &stored.record.document,
        }
    }
}

/// A page of records, with their stored size and whether more follow.
#[derive(Debug)]
pub struct RecordsPage<R> {
    pub records: Vec<R>,
    pub bytes: usize,
    pub more: bool,
}

/// The identities in one view of the documents.
#[derive(Clone, Copy)]
pub struct Directory<'a> {
    documents: &'a dyn Documents,
    root: &'a RootIdentity,
}

impl<'a> Directory<'a> {
    pub fn new(documents: &'a dyn Documents, root: &'a RootIdentity) -> Self {
        Self { documents, root }
    }

    pub fn documents(&self) -> &'a dyn Documents {
        self.documents
    }

    pub fn root(&self) -> &'a RootIdentity {
        self.root
    }

    pub fn record<R: Record>(&self, path: &str) -> Result<Option<Stored<R>>, IdentityError> {
        let row = self.documents.document(&key_of::<R>(path))?;
        let stored = |row: DocumentRow| {
            Ok(Stored { record: decode(R::WHAT, &row.value)?, expect: Expect::Revision(row.revision) })
        };
        row.map(stored).transpose()
    }

    /// Returns an account by its id; the store's own account always exists.
    pub fn account(&self, id: &str) -> Result<Option<Stored<AccountRecord>>, IdentityError> {
        let found = self.record(&format!("id/{id}"))?;
        let implied = || (id == ROOT_ACCOUNT).then(|| Stored { record: self.root_account(), expect: Expect::Absent });
        Ok(found.or_else(implied))
    }

    fn root_account(&self) -> AccountRecord {
        AccountRecord {
            id: ROOT_ACCOUNT.to_owned(),
            canonical_id: self.root.canonical_id.clone(),
            name: ROOT_ACCOUNT_NAME.to_owned(),
            email: None,
            alias: None,
            created: UnixMs(0),
            keys: Vec::new(),
        }
    }

    /// Finds an account by canonical id, as in grants and owners.
    pub fn account_by_canonical_id(&self, canonical_id: &str) -> Result<Option<AccountRecord>, IdentityError> {
        if canonical_id == self.root.canonical_id {
            return Ok(self.account(ROOT_ACCOUNT)?.map(|stored| stored.record));
        }
        self.account_by("canonical", canonical_id)
    }

    /// Finds an account by e-mail address, as in grants. Addresses are compared without regard to case.
    pub fn account_by_email(&self, email: &str) -> Result<Option<AccountRecord>, IdentityError> {
        self.account_by("email", &email.to_ascii_lowercase())
    }

    /// Finds an account by a text of any length and with any characters.
    fn account_by(&self, what: &str, text: &str) -> Result<Option<AccountRecord>, IdentityError> {
        let is_possible =
            (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_possible {
            return Ok(None);
        }
        let row = self.documents.document(&DocumentKey::Identity(IdentityKind::Account, format!("{what}/{text}")))?;
        let Some(row) = row else { return Ok(None) };
        let id: String = decode("account's id", &row.value)?;
        Ok(self.account(&id)?.map(|stored| stored.record))
    }

    pub fn user(&self, account: &str, name: &str) -> Result<Stored<UserRecord>, IdentityError> {
        self.named(account, name)
    }

    pub fn group(&self, account: &str, name: &str) -> Result<Stored<GroupRecord>, IdentityError> {
        self.named(account, name)
    }

    pub fn role(&self, account: &str, name: &str) -> Result<Stored<RoleRecord>, IdentityError> {
        self.named(account, name)
    }

    /// Returns the record of this name in an account; `NoSuchEntity` if there is none.
    pub fn named<R: Record>(&self, account: &str, name: &str) -> Result<Stored<R>, IdentityError> {
        self.record(&names::path_of(account, name))?.ok_or_else(|| IdentityError::no_such(R::WHAT, name))
    }

    pub fn access_key(&self, id: &str) -> Result<Option<Stored<AccessKeyRecord>>, IdentityError> {
        // A client may send an empty access key.
        if id.is_empty() { Ok(None) } else { self.record(id) }
    }

    /// Returns a managed policy that this account may attach: its own, or a built-in one.
    pub fn managed(&self, account: &str, arn: &str) -> Result<Managed, IdentityError> {
        if let Some(policy) = builtin::built_in(arn) {
            return Ok(Managed::BuiltIn(policy));
        }
        self.local_policy(account, arn).map(|stored| Managed::Local(Box::new(stored)))
    }

    /// Returns a policy of the account. An ARN that differs from the policy's own, even in case only, is that of no
    /// policy, because statements about the policy compare its own ARN.
    pub fn local_policy(&self, account: &str, arn: &str) -> Result<Stored<PolicyRecord>, IdentityError> {
        let parsed = IamArn::of_kind(arn, "policy")?;
        let absent = || IdentityError::NoSuchEntity(format!("Policy {arn} does not exist or is not attachable."));
        if parsed.account != account {
            return Err(absent());
        }
        let stored: Option<Stored<PolicyRecord>> = self.record(&names::path_of(account, parsed.name))?;
        stored.filter(|stored| stored.record.arn() == arn).ok_or_else(absent)
    }

    pub fn provider(&self, account: &str, arn: &str) -> Result<Stored<ProviderRecord>, IdentityError> {
        let url = arn.strip_prefix("arn:aws:iam::").and_then(|rest| rest.strip_prefix(account));
        let url = url.and_then(|rest| rest.strip_prefix(":oidc-provider/"));
        let absent = || IdentityError::NoSuchEntity(format!("OpenIDConnect Provider not found for arn {arn}"));
        let url = url.filter(|url| !url.is_empty()).ok_or_else(absent)?;
        self.record(&format!("{account}/{url}"))?.ok_or_else(absent)
    }

    /// Returns a page of records in order of their paths, beginning after `after`.
    pub fn page<R: Record>(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<RecordsPage<R>, IdentityError> {
        let (rows, more) = self.documents.identity_documents(R::KIND, prefix, after, limit)?;
        let bytes = rows.iter().map(|(_, row)| row.value.len()).sum();
        let records = rows.iter().map(|(_, row)| decode(R::WHAT, &row.value)).collect::<Result<_, _>>()?;
        Ok(RecordsPage { records, bytes, more })
    }

    /// Calls `look` for all records below a prefix, reading a page at a time.
    pub fn each<R: Record>(
        &self,
        prefix: &str,
        mut look: impl FnMut(R) -> Result<(), IdentityError>,
    ) -> Result<(), IdentityError> {
        let mut after: Option<String> = None;
        loop {
            let RecordsPage { records, more, .. } = self.page::<R>(prefix, after.as_deref(), PAGE_ROWS)?;
            after = records.last().map(R::path);
            records.into_iter().try_for_each(&mut look)?;
            if !more || after.is_none() {
                return Ok(());
            }
        }
    }

    /// Returns the number of records below a prefix.
    pub fn count(&self, kind: IdentityKind, prefix: &str) -> Result<u64, IdentityError> {
        let (mut count, mut after) = (0, None);
        loop {
            let (rows, more) = self.documents.identity_documents(kind, prefix, after.as_deref(), PAGE_ROWS)?;
            count += rows.len() as u64;
            after = rows.into_iter().last().map(|(path, _)| path);
            if !more || after.is_none() {
                return Ok(count);
            }
        }
    }
}
