//! The sources of the JSON Web Key Sets of identity providers (RFC 7517).

use crate::setting_file::SettingFiles;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::PathBuf;

/// A source of key sets, as JSON texts.
#[async_trait::async_trait]
pub trait KeySets: Send + Sync + Debug {
    /// Returns the key set of a provider, which is named by its URL without the scheme. The error says in words why
    /// there is none.
    async fn key_set(&self, provider: &str) -> Result<String, String>;
}

/// Key sets in files that an administrator maintains. A file is read again at every use.
#[derive(Clone, Debug, Default)]
pub struct KeySetFiles {
    /// The paths of the files, by the provider's URL without its scheme.
    pub files: BTreeMap<String, PathBuf>,
    /// Anybody may ask for a session: those who do must not leave a thread each where a file hangs.
    reader: SettingFiles,
}

#[async_trait::async_trait]
impl KeySets for KeySetFiles {
    async fn key_set(&self, provider: &str) -> Result<String, String> {
        let path = self.files.get(provider).cloned();
        let path =
            path.ok_or_else(|| format!("SHERD_OIDC_KEYS has neither a file nor a URL for the keys of {provider}"))?;
        let reader = self.reader.clone();
        let read = tokio::task::spawn_blocking(move || {
            reader.read_text(&path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
        });
        read.await.map_err(|error| error.to_string())?
    }
}
