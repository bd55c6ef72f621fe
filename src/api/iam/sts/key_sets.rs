//! The sources of identity providers' keys.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::PathBuf;

/// A provider's JSON Web Key Set (RFC 7517), as text.
#[async_trait::async_trait]
pub trait KeySets: Send + Sync + Debug {
    /// `provider` is its URL as it was registered, without the scheme. The error says why there is none, for a person.
    async fn key_set(&self, provider: &str) -> Result<String, String>;
}

/// Key sets in files that an administrator keeps up to date; each is read anew when it is needed.
#[derive(Clone, Debug, Default)]
pub struct KeySetFiles {
    /// The files, by the provider's URL without its scheme.
    pub files: BTreeMap<String, PathBuf>,
}

#[async_trait::async_trait]
impl KeySets for KeySetFiles {
    async fn key_set(&self, provider: &str) -> Result<String, String> {
        let path = self.files.get(provider).cloned();
        let path = path.ok_or_else(|| format!("neither a file nor a URL is configured with the keys of {provider}"))?;
        let read = tokio::task::spawn_blocking(move || {
            std::fs::read_to_string(&path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
        });
        read.await.map_err(|error| error.to_string())?
    }
}
