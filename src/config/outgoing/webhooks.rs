//! The settings of webhooks, which bucket notifications can be sent to. The name of a webhook is part of its variables'
//! names, so that these are not in the catalogue of settings.

use crate::config::credentials::first_line;
use crate::config::{ConfigError, FileReader};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

const PREFIX: &str = "SHERD_WEBHOOK_";
const URL: &str = "_URL";
const SECRET: &str = "_SECRET";
const SECRET_FILE: &str = "_SECRET_FILE";
const QUEUE_LIMIT: &str = "_QUEUE_LIMIT";
const CA_FILE: &str = "_CA_FILE";
/// The suffixes of a webhook's variables. A suffix that ends in another one comes before that.
const ENDS: [&str; 5] = [SECRET_FILE, CA_FILE, QUEUE_LIMIT, SECRET, URL];
const QUEUE_LIMIT_DEFAULT: u64 = 100_000;
const QUEUE_LIMIT_MAX: u64 = 10_000_000;

/// A webhook. Its secret is not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Capitals, digits and underscores.
    pub name: String,
    pub url: String,
    /// The secret that signs messages.
    pub secret: Option<String>,
    /// The most undelivered events that are queued; beyond that the oldest are dropped.
    pub queue_limit: u64,
    /// CA certificates (PEM) that its certificate is verified with; `None`: those of the system.
    pub ca_file: Option<PathBuf>,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("name", &self.name).field("url", &self.url).finish_non_exhaustive()
    }
}

/// Returns the variable that bounds the queue of a webhook.
pub(super) fn queue_limit_variable(name: &str) -> String {
    format!("{PREFIX}{name}{QUEUE_LIMIT}")
}

/// Returns whether a variable is one of a webhook.
pub fn is_of_webhook(variable: &str) -> bool {
    name_in(variable).is_some()
}

fn name_in(variable: &str) -> Option<&str> {
    let rest = variable.strip_prefix(PREFIX)?;
    let name = ENDS.iter().find_map(|end| rest.strip_suffix(end))?;
    let allowed = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    (!name.is_empty() && name.bytes().all(allowed)).then_some(name)
}

/// Returns the webhooks of these variables, sorted by name.
pub fn resolve(values: &BTreeMap<String, String>, files: &dyn FileReader) -> Result<Vec<Webhook>, ConfigError> {
    let names: BTreeSet<&str> = values.keys().filter_map(|variable| name_in(variable)).collect();
    names.into_iter().map(|name| webhook(name, values, files)).collect()
}

fn webhook(name: &str, values: &BTreeMap<String, String>, files: &dyn FileReader) -> Result<Webhook, ConfigError> {
    let variable = |end: &str| format!("{PREFIX}{name}{end}");
    let value = |end: &str| values.get(&variable(end)).filter(|value| !value.is_empty());
    let Some(url) = value(URL) else {
        let given = ENDS.iter().find(|end| value(end).is_some()).map(|end| variable(end)).unwrap_or_default();
        return Err(ConfigError::Incomplete { given, wanted: variable(URL) });
    };
    let invalid = |end: &str, value: &str, allowed: &str| ConfigError::Invalid {
        name: variable(end),
        value: value.to_owned(),
        allowed: allowed.to_owned(),
    };
    let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    if host.is_none_or(|host| host.is_empty() || host.starts_with('/') || host.contains(char::is_whitespace)) {
        return Err(invalid(URL, url, "a URL that begins with http:// or https://"));
    }
    let secret = match (value(SECRET), value(SECRET_FILE)) {
        (Some(_), Some(_)) => {
            return Err(ConfigError::Both { first: variable(SECRET), second: variable(SECRET_FILE) });
        }
        (Some(secret), None) => Some(secret.clone()),
        (None, Some(path)) => Some(first_line(files, &variable(SECRET_FILE), path)?),
        (None, None) => None,
    };
    let queue_limit = match value(QUEUE_LIMIT) {
        None => QUEUE_LIMIT_DEFAULT,
        Some(text) => {
            let limit = text.parse().ok().filter(|limit| (1..=QUEUE_LIMIT_MAX).contains(limit));
            let allowed = format!("a number from 1 to {QUEUE_LIMIT_MAX}");
            limit.ok_or_else(|| invalid(QUEUE_LIMIT, text, &allowed))?
        }
    };
    let ca_file = value(CA_FILE).map(|path| readable(&variable(CA_FILE), path, files)).transpose()?;
    Ok(Webhook { name: name.to_owned(), url: url.clone(), secret, queue_limit, ca_file })
}

fn readable(name: &str, path: &str, files: &dyn FileReader) -> Result<PathBuf, ConfigError> {
    files.read(Path::new(path)).map_err(|error| ConfigError::Unreadable {
        name: name.to_owned(),
        path: path.to_owned(),
        cause: error.to_string(),
    })?;
    Ok(path.into())
}

#[cfg(test)]
mod tests {
    use super::{Webhook, is_of_webhook, resolve};
    use crate::config::{ConfigError, FileReader};
    use std::collections::BTreeMap;
    use std::io;
    use std::path::Path;

    struct Files;

    impl FileReader for Files {
        fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
            match path.to_str() {
                Some("/secret") => Ok(b"from a file\n".to_vec()),
                Some("/ca.pem") => Ok(Vec::new()),
                _ => Err(io::ErrorKind::NotFound.into()),
            }
        }
    }

    fn read(pairs: &[(&str, &str)]) -> Result<Vec<Webhook>, ConfigError> {
        let values: BTreeMap<String, String> =
            pairs.iter().map(|(name, value)| (format!("SHERD_WEBHOOK_{name}"), (*value).to_owned())).collect();
        resolve(&values, &Files)
    }

    #[test]
    fn a_webhook_is_made_of_the_variables_that_have_its_name() {
        let found = read(&[
            ("MY_HOOK_URL", "https://example.org/x"),
            ("MY_HOOK_SECRET_FILE", "/secret"),
            ("MY_HOOK_QUEUE_LIMIT", "5"),
            ("MY_HOOK_CA_FILE", "/ca.pem"),
            ("A_URL", "http://[::1]:8080"),
        ])
        .expect("webhooks");
        let plain = Webhook {
            name: "A".to_owned(),
            url: "http://[::1]:8080".to_owned(),
            secret: None,
            queue_limit: 100_000,
            ca_file: None,
        };
        let full = Webhook {
            name: "MY_HOOK".to_owned(),
            url: "https://example.org/x".to_owned(),
            secret: Some("from a file".to_owned()),
            queue_limit: 5,
            ca_file: Some("/ca.pem".into()),
        };
        assert!(!format!("{full:?}").contains("from a file"));
        assert_eq!(found, [plain, full]);
    }

    #[test]
    fn a_malformed_variable_is_named() {
        let incomplete = read(&[("A_SECRET", "x")]);
        assert!(matches!(incomplete, Err(ConfigError::Incomplete { wanted, .. }) if wanted == "SHERD_WEBHOOK_A_URL"));
        for url in ["ftp://x", "example.org", "http://", "http:///x", "http://a b"] {
            assert!(matches!(read(&[("A_URL", url)]), Err(ConfigError::Invalid { .. })), "{url}");
        }
        for limit in ["0", "many", "10000001"] {
            let invalid = read(&[("A_URL", "http://x"), ("A_QUEUE_LIMIT", limit)]);
            assert!(matches!(invalid, Err(ConfigError::Invalid { .. })), "{limit}");
        }
        let both = read(&[("A_URL", "http://x"), ("A_SECRET", "x"), ("A_SECRET_FILE", "/secret")]);
        assert!(matches!(both, Err(ConfigError::Both { .. })));
        let missing = read(&[("A_URL", "http://x"), ("A_CA_FILE", "/nowhere")]);
        assert!(matches!(missing, Err(ConfigError::Unreadable { .. })));
    }

    #[test]
    fn variables_of_another_form_do_not_belong_to_a_webhook() {
        for variable in ["SHERD_WEBHOOK_A_URL", "SHERD_WEBHOOK_A_SECRET_URL", "SHERD_WEBHOOK_A_B_QUEUE_LIMIT"] {
            assert!(is_of_webhook(variable), "{variable}");
        }
        for variable in ["SHERD_WEBHOOK_URL", "SHERD_WEBHOOK_A_URI", "SHERD_WEBHOOK_a_URL", "SHERD_DATA"] {
            assert!(!is_of_webhook(variable), "{variable}");
        }
    }
}
