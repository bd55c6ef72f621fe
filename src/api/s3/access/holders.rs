//! The holders of access keys: the principal that signs with a key, its policies, and its account's rate limits.

use super::memos::{KeyHolder, Memos};
use crate::actors::meta::MetaView;
use crate::api::cache::Made;
use crate::api::iam::IamService;
use crate::api::identity::{IdentityError, KeySecret, ParsedIdentity, ResolveError, key_secret, resolve};
use crate::api::rates::RateLimits;
use crate::types::UnixMs;
use std::sync::Arc;

/// The reason why the holder of an access key cannot be returned.
pub enum HolderError {
    Unknown(ResolveError),
    /// A stored policy or rate limit of the holder cannot be read.
    Unreadable(IdentityError),
}

impl From<ResolveError> for HolderError {
    fn from(error: ResolveError) -> Self {
        Self::Unknown(error)
    }
}

/// Looks up access keys by one view of the metadata.
pub struct Holders<'a> {
    pub iam: &'a IamService,
    pub memos: &'a Memos,
    pub view: &'a MetaView,
    pub now: UnixMs,
}

impl Holders<'_> {
    /// Returns the secret of a long-term access key, which belongs to no session.
    pub fn secret(&self, access_key: &str) -> Result<Arc<KeySecret>, ResolveError> {
        let read = || {
            let secret = key_secret(&self.iam.directory(self.view), self.iam.credential_keys(), access_key);
            secret.map(|secret| Some(Made { bytes: access_key.len(), value: secret }))
        };
        let secret = self.memos.secrets.get(self.view, access_key, read)?.ok_or(ResolveError::UnknownKey)?;
        secret.check(self.now)?;
        Ok(secret)
    }

    /// Returns the holder of this key and session token. The signature must have been verified with the key's secret
    /// before. A holder with a token is not cached.
    pub fn holder(&self, access_key: &str, token: Option<&str>) -> Result<Arc<KeyHolder>, HolderError> {
        if token.is_some() {
            return self.read(access_key, token).map(|made| Arc::new(made.value));
        }
        if access_key != self.iam.root.access_key {
            self.secret(access_key)?;
        }
        let kept = self.memos.holders.get(self.view, access_key, || self.read(access_key, None).map(Some))?;
        kept.ok_or(HolderError::Unknown(ResolveError::UnknownKey))
    }

    fn read(&self, access_key: &str, token: Option<&str>) -> Result<Made<KeyHolder>, HolderError> {
        let directory = self.iam.directory(self.view);
        let resolved = resolve(&directory, self.iam.credential_keys(), access_key, token, self.now)?;
        let identity = ParsedIdentity::of(&resolved, &self.iam.parsed).map_err(HolderError::Unreadable)?;
        let rates = self.rates(&resolved.principal.account).map_err(HolderError::Unreadable)?;
        let bytes = resolved.text_bytes();
        Ok(Made { value: KeyHolder { resolved, identity: Arc::new(identity), rates }, bytes })
    }

    fn rates(&self, account: &str) -> Result<RateLimits, IdentityError> {
        let row = self.view.document(&RateLimits::key_of_account(account));
        let row = row.map_err(|error| IdentityError::Unavailable(error.to_string()))?;
        let unreadable = |why| IdentityError::Unreadable(format!("the rate limits of account {account}: {why}"));
        row.map_or(Ok(RateLimits::default()), |row| RateLimits::decode(&row.value)).map_err(unreadable)
    }
}
