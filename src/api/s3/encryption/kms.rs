//! The names of KMS keys in requests (ids, ARNs and aliases of the store's keys), and encryption contexts.

use super::internal;
use super::requests::{KEY_NEEDED, NOT_APPLICABLE};
use crate::actors::sealing::{KMS_DEFAULT_KEY, KeyPath, KeyStore, SSE_S3_KEY, SealingError, is_key_name};
use crate::api::errors::Fault;
use crate::limits::ENCRYPTION_CONTEXT_BYTES_MAX;
use s3s::{S3Error, S3Result};
use std::collections::BTreeMap;

const CONTEXT_MALFORMED: &str = "The header 'x-amz-server-side-encryption-context' shall be Base64-encoded UTF-8 string holding JSON which represents a string-string map";
/// S3's alias of the default key, which is used if a request names no key.
const DEFAULT_ALIAS: &str = "aws/s3";

/// The parts of the store's key ARNs besides the key's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KmsNames<'a> {
    pub region: &'a str,
    pub account: &'a str,
}

impl KmsNames<'_> {
    pub fn arn(&self, id: &str) -> String {
        format!("arn:aws:kms:{}:{}:key/{id}", self.region, self.account)
    }

    fn arn_of_alias(&self, alias: &str) -> String {
        format!("arn:aws:kms:{}:{}:alias/{alias}", self.region, self.account)
    }

    /// Returns the ARN by which the right to use a key is decided; `None` for the default key, which everybody may use.
    pub fn arn_to_judge(&self, id: &str) -> Option<String> {
        (id != KMS_DEFAULT_KEY).then(|| self.arn(id))
    }
}

/// The key that a request names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resolved {
    pub key_id: String,
    /// The key's name in answers: the id or ARN that the client gave, or the ARN if it gave an alias or nothing.
    pub shown: String,
}

/// The key that a request names, or an alias that belongs to no key.
enum Lookup<'a> {
    Key(Resolved),
    UnusedAlias(&'a str),
}

/// Resolves the name of a key in a request. An unknown alias is an error; the key itself need not exist.
pub(super) fn resolve(reference: Option<&str>, store: &KeyStore<'_>, names: KmsNames<'_>) -> S3Result<Resolved> {
    match look_up(reference, store, names)? {
        Lookup::Key(resolved) => Ok(resolved),
        Lookup::UnusedAlias(alias) => {
            Err(Fault::KmsNotFound(format!("Alias {} is not found.", names.arn_of_alias(alias))).into())
        }
    }
}

/// Returns the ARN by which the right to use a request's key is decided: that of the key, or of an alias that belongs
/// to no key. `None` for the default key, which everybody may use.
pub fn arn_to_judge(reference: Option<&str>, store: &KeyStore<'_>, names: KmsNames<'_>) -> S3Result<Option<String>> {
    Ok(match look_up(reference, store, names)? {
        Lookup::Key(resolved) => names.arn_to_judge(&resolved.key_id),
        Lookup::UnusedAlias(alias) => Some(names.arn_of_alias(alias)),
    })
}

/// Returns whether a request's name of a key is one of the key with this id. An alias without a key names none.
pub fn names_key(reference: &str, key_id: &str, store: &KeyStore<'_>, names: KmsNames<'_>) -> S3Result<bool> {
    Ok(match look_up(Some(reference), store, names)? {
        Lookup::Key(resolved) => resolved.key_id == key_id,
        Lookup::UnusedAlias(_) => false,
    })
}

fn look_up<'a>(reference: Option<&'a str>, store: &KeyStore<'_>, names: KmsNames<'_>) -> S3Result<Lookup<'a>> {
    let Some(reference) = reference else { return Ok(by_arn(KMS_DEFAULT_KEY, names)) };
    let local = local_part(reference, names)?;
    let Some(alias) = local.strip_prefix("alias/") else {
        // The prefix `key/` is in ARNs only, not in a plain id.
        let id = if local == reference { Some(local) } else { local.strip_prefix("key/") };
        let id = id.filter(|id| is_key_name(KeyPath::Key(id))).ok_or_else(|| invalid_id(local))?;
        return Ok(Lookup::Key(Resolved { key_id: id.to_owned(), shown: reference.to_owned() }));
    };
    if alias == DEFAULT_ALIAS {
        return Ok(by_arn(KMS_DEFAULT_KEY, names));
    }
    let is_one = is_key_name(KeyPath::Alias(alias));
    let found = if is_one { store.key_of_alias(alias).map_err(|error| failed(error, names))? } else { None };
    Ok(found.map_or(Lookup::UnusedAlias(alias), |id| by_arn(&id, names)))
}

fn by_arn(id: &str, names: KmsNames<'_>) -> Lookup<'static> {
    Lookup::Key(Resolved { key_id: id.to_owned(), shown: names.arn(id) })
}

/// Returns the part of an ARN after its region and account; the whole text if it is not an ARN. The account is not
/// compared, since all keys belong to the store.
fn local_part<'a>(reference: &'a str, names: KmsNames<'_>) -> Result<&'a str, Fault> {
    if !reference.starts_with("arn:") {
        return Ok(reference);
    }
    let mut parts = reference.splitn(6, ':').skip(2);
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some("kms"), Some(region), Some(_), Some(local))
            if local.starts_with("key/") || local.starts_with("alias/") =>
        {
            let elsewhere = || Fault::KmsNotFound(format!("Invalid arn {region}"));
            if region == names.region { Ok(local) } else { Err(elsewhere()) }
        }
        _ => Err(Fault::KmsNotFound("Invalid arn".to_owned())),
    }
}

fn invalid_id(id: &str) -> Fault {
    Fault::KmsNotFound(format!("Invalid keyId '{id}'"))
}

/// Converts an error of the key store to the client's.
pub(super) fn failed(error: SealingError, names: KmsNames<'_>) -> S3Error {
    let fault = match error {
        SealingError::Tables(error) => return error.into(),
        // The store makes this key before it is needed. Its absence is not the client's fault.
        SealingError::NoSuchKey { id } if id != SSE_S3_KEY => absent_key(&id, names),
        SealingError::KeyDisabled { id } => Fault::KmsDisabled(format!("{} is disabled.", names.arn(&id))),
        SealingError::CustomerKeyMissing => Fault::InvalidRequest(KEY_NEEDED.to_owned()),
        SealingError::CustomerKeyDiffers => Fault::CustomerKeyDiffers,
        SealingError::CustomerKeyNotApplicable => Fault::InvalidRequest(NOT_APPLICABLE.to_owned()),
        error => internal(&error),
    };
    fault.into()
}

/// Returns KMS's fault for an absent key. KMS shows a name in the form of its ids (a UUID) as an ARN.
fn absent_key(id: &str, names: KmsNames<'_>) -> Fault {
    let looks_like_an_id = id.len() == 36 && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    if looks_like_an_id {
        Fault::KmsNotFound(format!("Key '{}' does not exist", names.arn(id)))
    } else {
        invalid_id(id)
    }
}

/// Parses an encryption context in the form of its header. It is stored with the object.
pub(super) fn parse_context(text: &str) -> Result<Vec<(String, String)>, Fault> {
    if text.len() > ENCRYPTION_CONTEXT_BYTES_MAX {
        return Err(Fault::RequestHeadersTooLarge);
    }
    let json = base64_simd::forgiving_decode_to_vec(text.as_bytes()).ok();
    let pairs = json.and_then(|json| serde_json::from_slice::<BTreeMap<String, String>>(&json).ok());
    Ok(pairs.ok_or_else(|| Fault::InvalidArgument(CONTEXT_MALFORMED.to_owned()))?.into_iter().collect())
}

/// Returns the context in the form of its header: base64 of a JSON object.
pub(super) fn context_text(context: &[(String, String)]) -> String {
    let pairs: BTreeMap<&str, &str> = context.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    base64_simd::STANDARD.encode_to_string(serde_json::to_vec(&pairs).expect("text has a JSON form"))
}
