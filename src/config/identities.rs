//! The settings of identities besides the root: the accounts file, and the key sets of identity providers.

use super::{ConfigError, FileReader, Pairs, settings};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identities {
    pub accounts: Option<AccountsText>,
    /// The sources of JSON Web Key Sets, by their providers' URLs without the scheme.
    pub key_sets: BTreeMap<String, KeySetSource>,
}

/// The accounts file, and what it held. The text, which has secrets, is not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct AccountsText {
    pub path: PathBuf,
    pub text: String,
}

impl fmt::Debug for AccountsText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccountsText").field("path", &self.path).finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySetSource {
    File(PathBuf),
    Url(String),
}

pub fn resolve(pairs: &Pairs, files: &dyn FileReader) -> Result<Identities, ConfigError> {
    let accounts =
        |path: &str| Ok(AccountsText { path: path.into(), text: read(settings::ACCOUNTS_FILE, path, files)? });
    let accounts = pairs.get(settings::ACCOUNTS_FILE).map(accounts).transpose()?;
    let mut key_sets = BTreeMap::new();
    for entry in pairs.get(settings::OIDC_KEYS).unwrap_or_default().split(',').filter(|entry| !entry.is_empty()) {
        let (url, path) = entry.trim().rsplit_once('=').ok_or_else(|| ConfigError::Invalid {
            name: settings::OIDC_KEYS.to_owned(),
            value: entry.to_owned(),
            allowed: "URL=FILE or URL=URL for each provider, separated by commas".to_owned(),
        })?;
        let source = if path.starts_with("https://") || path.starts_with("http://") {
            KeySetSource::Url(path.to_owned())
        } else {
            read(settings::OIDC_KEYS, path, files)?;
            KeySetSource::File(PathBuf::from(path))
        };
        let provider = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).unwrap_or(url);
        let provider = provider.trim_end_matches('/');
        if key_sets.insert(provider.to_owned(), source).is_some() {
            return Err(ConfigError::Invalid {
                name: settings::OIDC_KEYS.to_owned(),
                value: entry.to_owned(),
                allowed: format!("one entry for each provider, and {provider} has another one"),
            });
        }
    }
    Ok(Identities { accounts, key_sets })
}

fn read(name: &str, path: &str, files: &dyn FileReader) -> Result<String, ConfigError> {
    let unreadable = |cause: String| ConfigError::Unreadable { name: name.to_owned(), path: path.to_owned(), cause };
    let bytes = files.read(Path::new(path)).map_err(|error| unreadable(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| unreadable(error.to_string()))
}
