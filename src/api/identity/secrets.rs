//! Generation of ids and secrets, and the sealing of secrets for storage. A secret is sealed together with the id of
//! its access key, so it does not open in the document of another key.

use super::error::IdentityError;
use crate::ambient::Ambient;

/// The digits of ids: base 32, as on AWS.
const ID_DIGITS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const SECRET_DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const SECRET_LENGTH: usize = 40;
/// The length of the id of a root key, at the head of a sealed secret.
pub const ID_BYTES: usize = 8;
/// The separator between the access key's id and the secret in sealed form. An id never contains it.
const BETWEEN: char = '\n';

/// Encryption of secrets, which protects them from readers of the drives.
pub trait SecretSeal: Send + Sync {
    fn seal(&self, secret: &[u8]) -> Vec<u8>;
    /// Decrypts a secret; `None` if it was sealed with an unknown key, or was changed.
    fn open(&self, sealed: &[u8]) -> Option<Vec<u8>>;
}

/// The kind of an id, which determines its prefix (IAM User Guide, "IAM identifiers").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdOf {
    User,
    Group,
    Role,
    Policy,
    AccessKey,
    SessionKey,
}

/// Generates an id: the prefix, such as `AIDA` for a user, and 17 random digits; 16 for access keys.
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

/// The prefix of the access keys of sessions, which no other access key has.
pub const SESSION_KEY_PREFIX: &str = "ASIA";

pub fn fresh_secret(ambient: &Ambient) -> String {
    let mut random = [0; SECRET_LENGTH];
    ambient.entropy.fill(&mut random);
    random.iter().map(|byte| char::from(SECRET_DIGITS[usize::from(byte % 64)])).collect()
}

/// Seals a secret for storage, in base64.
pub fn seal(seal: &dyn SecretSeal, access_key: &str, secret: &str) -> String {
    base64_simd::STANDARD.encode_to_string(seal.seal(format!("{access_key}{BETWEEN}{secret}").as_bytes()))
}

/// Returns the id of the root key that sealed a secret.
pub fn root_of(sealed: &[u8]) -> Option<[u8; ID_BYTES]> {
    sealed.first_chunk().copied()
}

/// Returns the id of the root key that sealed a secret; `None` if the text is malformed.
pub fn sealed_under(sealed: &str) -> Option<[u8; 8]> {
    root_of(&base64_simd::STANDARD.decode_to_vec(sealed).ok()?)
}

pub fn open(seal: &dyn SecretSeal, access_key: &str, sealed: &str) -> Result<String, IdentityError> {
    let opened = base64_simd::STANDARD.decode_to_vec(sealed).ok().and_then(|sealed| seal.open(&sealed));
    let text = opened.and_then(|bytes| String::from_utf8(bytes).ok());
    let secret = text.as_deref().and_then(|text| text.strip_prefix(access_key)?.strip_prefix(BETWEEN));
    let unreadable = || {
        IdentityError::Unreadable(format!(
            "the stored secret of access key {access_key} cannot be decrypted: it is damaged, or was sealed under a root key that this store does not have"
        ))
    };
    secret.map(str::to_owned).ok_or_else(unreadable)
}
