//! The configured root credentials: each key by variable or file, under Sherd's or MinIO's name. Well-known credentials
//! are refused, except on a loopback address.

use super::settings::{self, Setting};
use super::{ConfigError, Credentials, FileReader, Pairs, values};
use std::net::SocketAddr;
use std::path::Path;

/// Secrets from manuals and examples, in lower case.
const WELL_KNOWN_SECRETS: &[&str] = &[
    "minioadmin",
    "minioadmin123",
    "minio123",
    "minio-secret",
    "miniosecret",
    "password",
    "password1",
    "password123",
    "passw0rd",
    "changeme",
    "changeme123",
    "change-me",
    "secretkey",
    "secret-key",
    "secret123",
    "secretsecret",
    "supersecret",
    "admin123",
    "adminadmin",
    "administrator",
    "12345678",
    "123456789",
    "1234567890",
    "sherdadmin",
    "sherd123",
    "sherdsecret",
    "rustfsadmin",
    "wjalrxutnfemi/k7mdeng/bpxrficyexamplekey",
    "testtest",
    "test1234",
];

/// Resolves the credentials: both keys or neither. Well-known ones are refused if one of the listeners, each with its
/// setting, can be reached from elsewhere: those of the admin API read and change all that S3's do.
pub fn resolve(
    pairs: &Pairs,
    files: &dyn FileReader,
    listeners: &[(&'static str, SocketAddr)],
) -> Result<Option<Credentials>, ConfigError> {
    let given = given_pair(pairs, files)?;
    if let Some(Credentials { access_key, secret_key }) = &given
        && let Some((setting, listen)) = listeners.iter().find(|(_, listen)| !listen.ip().is_loopback())
        && is_well_known(access_key, secret_key)
    {
        let (access_key, setting, listen) = (access_key.clone(), *setting, *listen);
        return Err(ConfigError::WellKnownCredentials { access_key, setting, listen });
    }
    Ok(given)
}

/// Returns the given pair: both keys or neither, valid or not.
pub fn given_pair(pairs: &Pairs, files: &dyn FileReader) -> Result<Option<Credentials>, ConfigError> {
    let access = given(pairs, files, settings::ACCESS_KEY)?;
    let secret = given(pairs, files, settings::SECRET_KEY)?;
    let (access_key, secret_key) = match (access, secret) {
        (None, None) => return Ok(None),
        (Some(_), None) => return Err(incomplete(settings::ACCESS_KEY, settings::SECRET_KEY)),
        (None, Some(_)) => return Err(incomplete(settings::SECRET_KEY, settings::ACCESS_KEY)),
        (Some(access), Some(secret)) => (access, secret),
    };
    check(&access_key, values::access_key, true)?;
    check(&secret_key, values::secret_key, false)?;
    Ok(Some(Credentials { access_key: access_key.value, secret_key: secret_key.value }))
}

/// A secret, and the variable that it was read from.
pub struct Given {
    pub name: String,
    pub value: String,
}

pub fn given(pairs: &Pairs, files: &dyn FileReader, name: &'static str) -> Result<Option<Given>, ConfigError> {
    let minio = settings::setting(name).and_then(|setting: &Setting| setting.secret).and_then(|secret| secret.minio);
    let mut found: Option<Given> = None;
    for plain in std::iter::once(name).chain(minio) {
        let from_file = format!("{plain}_FILE");
        let next = match (pairs.get(plain), pairs.get(&from_file)) {
            (Some(_), Some(_)) => return Err(ConfigError::Both { first: plain.to_owned(), second: from_file }),
            (Some(value), None) => Given { name: plain.to_owned(), value: value.to_owned() },
            (None, Some(path)) => Given { value: first_line(files, &from_file, path)?, name: from_file },
            (None, None) => continue,
        };
        match &found {
            Some(earlier) if earlier.value != next.value => {
                return Err(ConfigError::Both { first: earlier.name.clone(), second: next.name });
            }
            Some(_) => {}
            None => found = Some(next),
        }
    }
    Ok(found)
}

/// Returns the secret in a file, without a line end behind it.
pub fn first_line(files: &dyn FileReader, name: &str, path: &str) -> Result<String, ConfigError> {
    let unreadable = |cause: String| ConfigError::Unreadable { name: name.to_owned(), path: path.to_owned(), cause };
    let content = files.read(Path::new(path)).map_err(|error| unreadable(error.to_string()))?;
    let text = String::from_utf8(content).map_err(|_| unreadable("it is not UTF-8".to_owned()))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() { Err(unreadable("it is empty".to_owned())) } else { Ok(line.to_owned()) }
}

fn check(given: &Given, rule: fn(&str) -> Result<(), String>, shown: bool) -> Result<(), ConfigError> {
    rule(&given.value).map_err(|allowed| ConfigError::Invalid {
        name: given.name.clone(),
        value: if shown {
            given.value.clone()
        } else {
            format!("{} characters, not shown", given.value.chars().count())
        },
        allowed,
    })
}

fn incomplete(given: &str, wanted: &str) -> ConfigError {
    ConfigError::Incomplete { given: given.to_owned(), wanted: wanted.to_owned() }
}

fn is_well_known(access_key: &str, secret_key: &str) -> bool {
    let secret = secret_key.to_ascii_lowercase();
    secret == access_key.to_ascii_lowercase() || WELL_KNOWN_SECRETS.contains(&secret.as_str())
}
