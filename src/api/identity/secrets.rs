//! Ids and secrets that are drawn, and how secrets are kept: sealed together with the id of their key, so that one that
//! was moved to another key's document opens as nothing.

use super::error::IdentityError;
use super::seal::root_of;
use crate::ambient::Ambient;

/// Digits of ids: base 32, as AWS draws them.
const ID_DIGITS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const SECRET_DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const SECRET_LENGTH: usize = 40;
/// The separator of the key's id and its secret in sealed form; no id has it.
const BETWEEN: char = '\n';

/// The seal that protects secrets from readers of the drives.
pub trait SecretSeal: Send + Sync {
    fn seal(&self, secret: &[u8]) -> Vec<u8>;
    /// `None` where it was not sealed here, or was changed.
    fn open(&self, sealed: &[u8]) -> Option<Vec<u8>>;
}

/// The kind of an id; AWS's prefixes (IAM User Guide, "IAM identifiers").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdOf {
    User,
    Group,
    Role,
    Policy,
    AccessKey,
    SessionKey,
}

/// A fresh id: `AIDA` and 17 more for a user, `AKIA` and 16 more for an access key.
pub fn fresh_id(ambient: &Ambient, of: IdOf) -> String {
    let (prefix, digits) = match of {
        IdOf::User => ("AIDA", 17),
        IdOf::Group => ("AGPA", 17),
        IdOf::Role => ("AROA", 17),
        IdOf::Policy => ("ANPA", 17),
        IdOf::AccessKey => ("AKIA", 16),
        IdOf::SessionKey => (SESSION_KEY_PREFIX, 16),
    };
    let mut random = vec![0; digits];
    ambient.entropy.fill(&mut random);
    let drawn = random.iter().map(|byte| char::from(ID_DIGITS[usize::from(byte % 32)]));
    prefix.chars().chain(drawn).collect()
}

/// The prefix of sessions' access keys, and of no others.
pub const SESSION_KEY_PREFIX: &str = "ASIA";

pub fn fresh_secret(ambient: &Ambient) -> String {
    let mut random = [0; SECRET_LENGTH];
    ambient.entropy.fill(&mut random);
    random.iter().map(|byte| char::from(SECRET_DIGITS[usize::from(byte % 64)])).collect()
}

/// Returns the sealed secret as it is stored, in base64.
pub fn seal(seal: &dyn SecretSeal, access_key: &str, secret: &str) -> String {
    base64_simd::STANDARD.encode_to_string(seal.seal(format!("{access_key}{BETWEEN}{secret}").as_bytes()))
}

/// The id of the root key that sealed it; `None` where it was not sealed by one.
pub fn sealed_under(sealed: &str) -> Option<[u8; 8]> {
    root_of(&base64_simd::STANDARD.decode_to_vec(sealed).ok()?)
}

pub fn open(seal: &dyn SecretSeal, access_key: &str, sealed: &str) -> Result<String, IdentityError> {
    let opened = base64_simd::STANDARD.decode_to_vec(sealed).ok().and_then(|sealed| seal.open(&sealed));
    let text = opened.and_then(|bytes| String::from_utf8(bytes).ok());
    let secret = text.as_deref().and_then(|text| text.strip_prefix(access_key)?.strip_prefix(BETWEEN));
    let unreadable = || IdentityError::Unreadable(format!("the secret of access key {access_key} cannot be opened"));
    secret.map(str::to_owned).ok_or_else(unreadable)
}
