//! Authentication of S3 requests. Each request is authenticated once, before its operation; only its claim, its
//! subresources and whether it is a form are checked first. Later layers see a plain request and its `Authentication`.
//! The signatures of browser forms are verified in `post`, those of IAM, STS and the admin API by `sigv4::Verifier`.

mod claim;
mod coverage;
mod hoisted;
mod unframed;
mod version_2;
mod version_4;

pub use claim::{Claim, Scheme, read, read_scope};
pub use hoisted::{USER_METADATA, as_metadata, check_hoisted, unhoist};
pub use version_2::moment;

use crate::api::call::Head;
use crate::api::call::RequestView;
use crate::api::call::{Authentication, SignatureFacts};
use crate::api::errors::{Fault, RequestFault, time, with_details};
use crate::sigv4::{ChunkVerifier, SigningKeys};
use claim::Version4;
use http::Uri;
use s3s::S3Error;
use s3s::auth::SecretKey;
use s3s::header::X_AMZ_CONTENT_SHA256;
use std::sync::Arc;
use std::time::Duration;
use version_2::Version2;

/// The most bytes of signed texts that an error response repeats.
const DETAILS_BYTES_MAX: usize = 4 << 10;
/// The largest difference between the clocks of client and server, as on AWS.
const SKEW_SECONDS_MAX: u64 = crate::sigv4::SKEW_SECONDS_MAX;

/// The result of authentication, with the verifier for the body.
#[derive(Debug)]
pub struct Authenticated {
    pub authentication: Authentication,
    pub scheme: Scheme,
    /// The verifier for the chunks of a framed body, if the signature is in a header.
    pub chunks: Option<ChunkVerifier>,
}

/// A source of the secret keys of access keys.
#[async_trait::async_trait]
pub trait Secrets: Send + Sync {
    /// Returns the secret key of an access key, from the view of the metadata that the request is decided on.
    async fn secret_key(&self, access_key: &str, view: &RequestView) -> Result<SecretKey, S3Error>;
}

/// Verifies the signatures of requests.
pub struct Authenticator {
    secrets: Arc<dyn Secrets>,
    keys: SigningKeys,
}

/// A request whose signature is to be verified.
#[derive(Clone, Copy)]
pub struct Unverified<'a> {
    pub head: Head<'a>,
    pub uri: &'a Uri,
    pub view: &'a RequestView,
    /// The time since the Unix epoch.
    pub now: Duration,
}

impl Authenticator {
    pub fn new(secrets: Arc<dyn Secrets>) -> Self {
        Self { secrets, keys: SigningKeys::default() }
    }

    /// Verifies the claim that was parsed from the head.
    pub async fn verify(&self, claim: &Claim<'_>, request: Unverified<'_>) -> Result<Authenticated, S3Error> {
        let (authentication, chunks) = match claim {
            Claim::None => (Authentication::default(), None),
            Claim::Version4(claim) => self.verify_version_4(claim, request).await?,
            Claim::Version2(claim) => (self.verify_version_2(claim, request).await?, None),
        };
        Ok(Authenticated { authentication, scheme: claim.scheme(), chunks })
    }

    async fn verify_version_4(
        &self,
        claim: &Version4<'_>,
        Unverified { head, uri, view, now }: Unverified<'_>,
    ) -> Result<(Authentication, Option<ChunkVerifier>), S3Error> {
        if let Some(seconds) = claim.expires_seconds {
            if claim.signed_at > now.as_secs().saturating_add(SKEW_SECONDS_MAX) {
                return Err(Fault::Request(RequestFault::Skewed { now_s: now.as_secs() }).into());
            }
            let end = claim.signed_at.saturating_add(seconds);
            if now > Duration::from_secs(end) {
                return Err(expired(Some(seconds), end, now));
            }
        }
        let access_key = claim.credential.access_key;
        let secret_key = self.secrets.secret_key(access_key, view).await?;
        let key = self.keys.get(access_key, secret_key.expose(), claim.scope());
        if let Err(mismatch) = version_4::verify(claim, head, uri, &key) {
            return Err(differs(&mismatch.string_to_sign, Some(&mismatch.canonical_request)));
        }
        coverage::check(claim, head.headers, head.query)?;
        self.keys.keep(access_key, secret_key.expose(), claim.scope(), &key);
        let is_in_url = claim.is_in_url();
        let payload = head.headers.get(X_AMZ_CONTENT_SHA256);
        let is_chunked = !is_in_url && payload.is_some_and(|payload| payload.as_bytes().starts_with(b"STREAMING-"));
        let chunks = is_chunked.then(|| ChunkVerifier::new(key, &claim.stamp, claim.scope(), claim.signature));
        let signature = SignatureFacts {
            auth_type: auth_type(is_in_url),
            version: "AWS4-HMAC-SHA256",
            signed_at: Some(claim.signed_at),
            region: Some(claim.credential.region.to_owned()).filter(|region| !region.is_empty()),
        };
        Ok((Authentication { access_key: Some(access_key.to_owned()), signature: Some(signature) }, chunks))
    }

    async fn verify_version_2(
        &self,
        claim: &Version2<'_>,
        Unverified { head, uri, view, now }: Unverified<'_>,
    ) -> Result<Authentication, S3Error> {
        if let Some(end) = claim.expires.filter(|end| now > Duration::from_secs(*end)) {
            return Err(expired(None, end, now));
        }
        let secret_key = self.secrets.secret_key(claim.access_key, view).await?;
        version_2::verify(claim, head, uri, secret_key.expose()).map_err(|text| differs(&text, None))?;
        let signature = SignatureFacts {
            auth_type: auth_type(claim.expires.is_some()),
            version: "AWS",
            signed_at: None,
            region: None,
        };
        Ok(Authentication { access_key: Some(claim.access_key.to_owned()), signature: Some(signature) })
    }
}

fn auth_type(is_in_url: bool) -> &'static str {
    if is_in_url { "REST-QUERY-STRING" } else { "REST-HEADER" }
}

/// Returns the error for an expired URL. `seconds` is its validity, if it states one; `end` and `now` are since the
/// Unix epoch.
fn expired(seconds: Option<u64>, end: u64, now: Duration) -> S3Error {
    let seconds = seconds.map(|seconds| ("X-Amz-Expires", seconds.to_string()));
    let times = [seconds, time("Expires", end), time("ServerTime", now.as_secs())];
    with_details(Fault::AccessDenied("Request has expired").into(), times.into_iter().flatten())
}

/// Returns the error for a signature that does not match. As on S3, it repeats the texts that the server signed, also
/// as bytes, so that a client can compare them with its own.
fn differs(string_to_sign: &str, canonical_request: Option<&str>) -> S3Error {
    with_details(Fault::SignatureDoesNotMatch.into(), signed_texts(string_to_sign, canonical_request))
}

/// Returns the elements of an error with the signed texts; none if the texts are empty, or too long to repeat.
pub fn signed_texts(string_to_sign: &str, canonical_request: Option<&str>) -> Vec<(&'static str, String)> {
    let bytes = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
    let texts = string_to_sign.len() + canonical_request.map_or(0, str::len);
    if texts == 0 || texts > DETAILS_BYTES_MAX {
        return Vec::new();
    }
    let mut details = vec![("StringToSign", string_to_sign.to_owned()), ("StringToSignBytes", bytes(string_to_sign))];
    if let Some(text) = canonical_request {
        details.extend([("CanonicalRequest", text.to_owned()), ("CanonicalRequestBytes", bytes(text))]);
    }
    details
}
