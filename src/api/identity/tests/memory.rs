//! Test doubles: documents in memory, a clock that tests set, and a seal without encryption.

use crate::actors::meta::{DocumentKey, DocumentRow, DocumentWrite, Expect, IdentityKind, KvError};
use crate::ambient::{Ambient, Clock};
use crate::api::identity::changes::accounts::{self, AccountShape};
use crate::api::identity::changes::holders::{self, PolicyHolder};
use crate::api::identity::directory::DocumentsPage;
use crate::api::identity::records::Record;
use crate::api::identity::{
    CredentialKeys, Decision, Directory, Documents, Editor, IdentityError, ResolveError, Resolved, RootIdentity,
    SecretSeal, SessionKeys, resolve, secret_key,
};
use crate::limits::IDENTITIES_PAGE_BYTES;
use crate::types::UnixMs;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub const ACCOUNT: &str = "111122223333";
pub const ALLOW_S3: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}"#;

/// The stored rows. A clone is a snapshot.
#[derive(Clone, Default)]
pub struct Rows {
    rows: BTreeMap<DocumentKey, DocumentRow>,
    revision: u64,
    /// The kind of identity whose documents cannot be read, if any.
    pub unreadable: Option<IdentityKind>,
}

impl Rows {
    /// Applies the writes if all preconditions hold; returns whether they do.
    pub fn apply(&mut self, writes: Vec<DocumentWrite>) -> bool {
        let holds = |write: &DocumentWrite| {
            let found = self.rows.get(&write.key);
            match write.expect {
                Expect::Any => true,
                Expect::Absent => found.is_none(),
                Expect::Present => found.is_some(),
                Expect::Revision(revision) => found.is_some_and(|row| row.revision == revision),
            }
        };
        if !writes.iter().all(holds) {
            return false;
        }
        for DocumentWrite { key, value, .. } in writes {
            self.revision += 1;
            match value {
                Some(value) => self.rows.insert(key, DocumentRow { revision: self.revision, value }),
                None => self.rows.remove(&key),
            };
        }
        true
    }
}

impl Documents for Rows {
    fn document(&self, key: &DocumentKey) -> Result<Option<DocumentRow>, KvError> {
        match key {
            DocumentKey::Identity(kind, _) if self.unreadable == Some(*kind) => {
                Err(KvError::new("read a row", "a test says so"))
            }
            key => Ok(self.rows.get(key).cloned()),
        }
    }

    fn identity_documents(
        &self,
        kind: IdentityKind,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<DocumentsPage, KvError> {
        let mut found = self.rows.iter().filter_map(|(key, row)| match key {
            DocumentKey::Identity(of, path) if *of == kind && path.starts_with(prefix) => Some((path, row)),
            _ => None,
        });
        let (mut page, mut bytes) = (Vec::new(), 0);
        for (path, row) in found.by_ref().filter(|(path, _)| after.is_none_or(|after| path.as_str() > after)) {
            if page.len() == limit || bytes > IDENTITIES_PAGE_BYTES {
                return Ok((page, true));
            }
            bytes += row.value.len();
            page.push((path.clone(), row.clone()));
        }
        Ok((page, false))
    }
}

/// A seal that inverts the bits.
pub struct Turned;

impl SecretSeal for Turned {
    fn seal(&self, secret: &[u8]) -> Vec<u8> {
        secret.iter().map(|byte| !byte).collect()
    }

    fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        Some(self.seal(sealed))
    }
}

#[derive(Debug, Default)]
pub struct SetClock(pub AtomicU64);

impl Clock for SetClock {
    fn unix_ms(&self) -> UnixMs {
        UnixMs(self.0.load(Ordering::Relaxed))
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

/// A store of identities with one account.
pub struct World {
    pub rows: Rows,
    pub root: RootIdentity,
    pub clock: Arc<SetClock>,
    pub ambient: Ambient,
    pub sessions: SessionKeys,
}

impl World {
    /// Creates the world at 00:00 UTC on 1 May 2024.
    pub fn new() -> Self {
        let clock = Arc::new(SetClock(AtomicU64::new(1_714_521_600_000)));
        let ambient = Ambient { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..Ambient::system() };
        let root = RootIdentity {
            access_key: "rootkey".to_owned(),
            secret_key: "rootsecret".to_owned(),
            canonical_id: "a".repeat(64),
        };
        let sessions = SessionKeys::derive(b"key material");
        let mut world = Self { rows: Rows::default(), root, clock, ambient, sessions };
        let shape = AccountShape { id: ACCOUNT, name: "main", email: Some("Main@example.org"), canonical_id: None };
        world.change(|editor| accounts::put(editor, shape)).expect("the account is good");
        world
    }

    pub fn directory(&self) -> Directory<'_> {
        Directory::new(&self.rows, &self.root)
    }

    pub fn editor(&self) -> Editor<'_> {
        Editor { directory: self.directory(), ambient: &self.ambient, seal: &Turned }
    }

    /// Decides on a change and applies its writes.
    pub fn change<T>(&mut self, decide: impl FnOnce(&Editor<'_>) -> Decision<T>) -> Result<T, IdentityError> {
        let decided = decide(&self.editor())?;
        assert!(self.rows.apply(decided.writes), "nothing changed since the decision");
        Ok(decided.answer)
    }

    /// Puts an inline policy of a user, a group or a role.
    pub fn put_inline<H: PolicyHolder>(&mut self, name: &str, document: &str) {
        let put = self.change(|editor| holders::put_inline::<H>(editor, ACCOUNT, name, "all", document));
        put.expect("a good policy of somebody who is there");
    }

    pub fn resolve(&self, access_key: &str, token: Option<&str>) -> Result<Resolved, ResolveError> {
        let credential_keys = CredentialKeys { seal: &Turned, sessions: &self.sessions };
        resolve(&self.directory(), credential_keys, access_key, token, self.ambient.clock.unix_ms())
    }

    /// Returns the secret of an access key.
    pub fn secret_key(&self, access_key: &str) -> Result<String, ResolveError> {
        let credential_keys = CredentialKeys { seal: &Turned, sessions: &self.sessions };
        secret_key(&self.directory(), credential_keys, access_key, self.ambient.clock.unix_ms())
    }

    /// Returns all records below a prefix.
    pub fn all<R: Record>(&self, prefix: &str) -> Vec<R> {
        let mut all = Vec::new();
        let looked = self.directory().each(prefix, |record| {
            all.push(record);
            Ok(())
        });
        looked.expect("they can be read");
        all
    }

    pub fn pass(&self, seconds: u64) {
        self.clock.0.fetch_add(seconds * 1000, Ordering::Relaxed);
    }
}
