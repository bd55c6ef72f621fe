//! Verification of a signature in a header of a request whose body was read whole: its key, scope, time, signed headers
//! and body.

use super::credential::{Credential, component};
use super::{ALGORITHM, DATE_HEADER, HASH_HEADER, Signer, TERMINATOR, ToSign, read_stamp, sha256_hex};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use std::collections::HashMap;
use std::fmt;

/// The greatest difference between the clocks of client and server, as with AWS.
pub const SKEW_SECONDS_MAX: u64 = 15 * 60;

/// The access key that requests must be signed with, and the region and services that they may be signed for.
#[derive(Clone)]
pub struct Verifier {
    pub access_key: String,
    pub secret_key: String,
    pub region: String,
    pub services: &'static [&'static str],
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

/// A received request.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub query: &'a str,
    /// The headers with names in lower case. A repeated header is repeated here, in the order received.
    pub headers: &'a [(&'a str, &'a str)],
    /// The whole body.
    pub body: &'a [u8],
}

/// The reason why a signature is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureFault {
    #[error("the request is not signed: it needs an Authorization header of {ALGORITHM}")]
    Missing,
    #[error("the signature cannot be read: {0}")]
    Malformed(&'static str),
    #[error("the access key is not known")]
    UnknownKey,
    #[error("the signature is for {found}; expected {expected}")]
    OtherScope { found: String, expected: String },
    #[error(
        "the request was signed {seconds} seconds away from this host's time; at most {SKEW_SECONDS_MAX} are allowed"
    )]
    Skewed { seconds: u64 },
    #[error("the header {0} must be signed")]
    Unsigned(String),
    #[error("the body does not have the signed SHA-256")]
    OtherBody,
    #[error("the signature does not match the request and the secret key")]
    Mismatch,
}

/// The access key and scope that a request states. Nothing of this is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claimed<'a> {
    pub access_key: &'a str,
    pub region: &'a str,
    pub service: &'a str,
}

/// Reads the access key and scope of a request, so that the caller can look up the key for a `Verifier`.
pub fn claimed<'a>(request: &Received<'a>) -> Result<Claimed<'a>, SignatureFault> {
    let Claim { access_key, region, service, .. } =
        claim(one(request, "authorization")?.ok_or(SignatureFault::Missing)?)?;
    Ok(Claimed { access_key, region, service })
}

/// The parsed `Authorization` header.
struct Claim<'a> {
    access_key: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
    signed_names: Vec<&'a str>,
    signature: &'a str,
}

impl Verifier {
    /// Verifies that a request was signed with the key, for the region and a service of this verifier, at about this
    /// time, and with this body.
    pub fn verify(&self, request: &Received<'_>, unix_seconds: u64) -> Result<(), SignatureFault> {
        let claim = claim(one(request, "authorization")?.ok_or(SignatureFault::Missing)?)?;
        let stamp = one(request, DATE_HEADER)?.ok_or(SignatureFault::Malformed("the header x-amz-date is missing"))?;
        let signed_at =
            read_stamp(stamp).ok_or(SignatureFault::Malformed("x-amz-date must have the form 20150830T123600Z"))?;
        // Only clients of S3 send this header. The signature covers the body's hash with and without it.
        let stated = one(request, HASH_HEADER)?.map(str::to_owned);
        let body_sha256 = stated.unwrap_or_else(|| sha256_hex(request.body));
        self.check_scope(&claim, stamp)?;
        let seconds = i64::try_from(unix_seconds).unwrap_or(i64::MAX).abs_diff(signed_at);
        if seconds > SKEW_SECONDS_MAX {
            return Err(SignatureFault::Skewed { seconds });
        }
        check_names(request, &claim.signed_names)?;
        let joined = signed_values(request, &claim.signed_names)?;
        let headers: Vec<(&str, &str)> = joined.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let Received { method, path, query, .. } = *request;
        let to_sign = ToSign { method, path, query, headers: &headers, body_sha256: &body_sha256 };
        let signer = Signer {
            access_key: &self.access_key,
            secret_key: &self.secret_key,
            region: claim.region,
            service: claim.service,
        };
        let expected = signer.signature(stamp, &to_sign);
        same(expected.as_bytes(), claim.signature.as_bytes()).then_some(()).ok_or(SignatureFault::Mismatch)?;
        // Compared after the signature, so that only the holder of the key learns whether the body differs.
        same(sha256_hex(request.body).as_bytes(), body_sha256.as_bytes()).then_some(()).ok_or(SignatureFault::OtherBody)
    }

    fn check_scope(&self, claim: &Claim<'_>, stamp: &str) -> Result<(), SignatureFault> {
        if !same(claim.access_key.as_bytes(), self.access_key.as_bytes()) {
            return Err(SignatureFault::UnknownKey);
        }
        let is_ours =
            claim.region == self.region && self.services.contains(&claim.service) && stamp.starts_with(claim.date);
        if is_ours {
            return Ok(());
        }
        let date = stamp.get(..8).unwrap_or_default();
        Err(SignatureFault::OtherScope {
            found: format!("{}/{}/{}", claim.date, claim.region, claim.service),
            expected: format!("{date}/{}/{}", self.region, self.services.join(" or ")),
        })
    }
}

fn same(a: &[u8], b: &[u8]) -> bool {
    verify_slices_are_equal(a, b).is_ok()
}

fn claim(authorization: &str) -> Result<Claim<'_>, SignatureFault> {
    let malformed =
        SignatureFault::Malformed("the Authorization header is not of the form Credential, SignedHeaders, Signature");
    if !authorization.starts_with(ALGORITHM) {
        return Err(SignatureFault::Missing);
    }
    let of = |name: &str| component(authorization, name);
    let (Some(credential), Some(names), Some(signature)) = (of("Credential"), of("SignedHeaders"), of("Signature"))
    else {
        return Err(malformed);
    };
    let Some(Credential { access_key, date, region, service, terminator: TERMINATOR }) = Credential::read(credential)
    else {
        return Err(malformed);
    };
    if date.len() != 8 {
        return Err(malformed);
    }
    Ok(Claim { access_key, date, region, service, signed_names: names.split(';').collect(), signature })
}

/// Returns the value of a header that may occur at most once.
fn one<'a>(request: &Received<'a>, name: &str) -> Result<Option<&'a str>, SignatureFault> {
    let mut values = request.headers.iter().filter(|(found, _)| *found == name).map(|(_, value)| *value);
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(SignatureFault::Malformed("a header that may occur only once is repeated")),
        (value, None) => Ok(value.map(str::trim)),
    }
}

/// Checks that the names of the signed headers are sorted and unique, and include `host` and every `x-amz-` header.
fn check_names(request: &Received<'_>, names: &[&str]) -> Result<(), SignatureFault> {
    if !names.is_sorted_by(|a, b| a < b) {
        return Err(SignatureFault::Malformed("SignedHeaders is not sorted"));
    }
    let steering = request.headers.iter().map(|(name, _)| *name).filter(|name| name.starts_with("x-amz-"));
    let unsigned = std::iter::once("host").chain(steering).find(|name| names.binary_search(name).is_err());
    unsigned.map_or(Ok(()), |name| Err(SignatureFault::Unsigned(name.to_owned())))
}

fn signed_values<'a>(request: &Received<'_>, names: &[&'a str]) -> Result<Vec<(&'a str, String)>, SignatureFault> {
    let mut found: HashMap<&str, Vec<&str>> = HashMap::new();
    for (name, value) in request.headers {
        found.entry(name).or_default().push(value.trim());
    }
    let value = |name: &&'a str| {
        let missing = SignatureFault::Malformed("a header that SignedHeaders names is missing");
        found.get(name).map(|values| (*name, values.join(","))).ok_or(missing)
    };
    names.iter().map(value).collect()
}
