//! The IAM service: its store, keys and caches, and the loop that decides and writes a change.

use super::key_sets::KeySets;
use super::last_used::LastUsed;
use super::store::{IdentityStore, Written};
use crate::ambient::Ambient;
use crate::api::identity::changes::accounts_file::{self, AccountsFile};
use crate::api::identity::{
    CredentialKeys, Decision, Directory, Documents, Editor, IdentityError, RootIdentity, SecretSeal, SessionKeys,
};
use crate::api::policy::ParsedPolicies;
use std::sync::Arc;

/// The number of attempts to make a change that conflicts with other writes.
pub const TRIES_MAX: usize = 8;

pub struct IamService {
    pub store: Arc<dyn IdentityStore>,
    pub ambient: Ambient,
    pub root: RootIdentity,
    pub seal: Arc<dyn SecretSeal>,
    pub sessions: SessionKeys,
    /// The cache of parsed policies, shared by all decisions on access.
    pub parsed: ParsedPolicies,
    pub key_sets: Arc<dyn KeySets>,
    pub region: String,
    pub last_used: LastUsed,
}

impl IamService {
    pub fn directory<'a>(&'a self, documents: &'a dyn Documents) -> Directory<'a> {
        Directory::new(documents, &self.root)
    }

    pub fn credential_keys(&self) -> CredentialKeys<'_> {
        CredentialKeys { seal: &*self.seal, sessions: &self.sessions }
    }

    pub fn editor<'a>(&'a self, documents: &'a dyn Documents) -> Editor<'a> {
        Editor { directory: self.directory(documents), ambient: &self.ambient, seal: &*self.seal }
    }

    /// Decides on a change and writes it. After a conflict it is decided again on a new view.
    pub async fn change<T>(&self, decide: impl Fn(&Editor<'_>) -> Decision<T>) -> Result<Changed<T>, IdentityError> {
        for _ in 0..TRIES_MAX {
            let decided = {
                let view = self.store.view().await?;
                decide(&self.editor(&*view))?
            };
            let documents = decided.writes.len();
            if documents == 0 || self.store.write(decided.writes).await? == Written::Done {
                return Ok(Changed { answer: decided.answer, documents });
            }
        }
        Err(busy())
    }

    /// Applies the accounts file, or nothing of it if something in it is an error. Adds the number of written documents
    /// to `written`, which stays 0 if everything is up to date. Returns the refused keys: why each was left out, while
    /// the rest was applied.
    pub async fn apply_accounts(&self, file: &AccountsFile, written: &mut usize) -> Result<Vec<String>, IdentityError> {
        accounts_file::check(&self.editor(&*self.store.view().await?), file)?;
        let mut refused = Vec::new();
        for step in file.steps() {
            let changed = self.change(|editor| accounts_file::decide(editor, step)).await?;
            *written += changed.documents;
            refused.extend(changed.answer);
        }
        Ok(refused)
    }
}

/// A change that was made, and the number of documents it wrote.
pub struct Changed<T> {
    pub answer: T,
    pub documents: usize,
}

pub fn busy() -> IdentityError {
    IdentityError::Unavailable("The same identities are being changed by others; try again.".to_owned())
}
