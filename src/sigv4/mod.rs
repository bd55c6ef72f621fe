//! AWS Signature Version 4 (AWS General Reference, "Signing AWS API requests"): canonical requests, signing keys,
//! signatures of requests, of the chunks of a body and of the policies of forms. The module is pure: its callers supply
//! the requests, the time and the secret keys. `Verifier` is for the admin API, IAM and STS, whose requests are signed
//! in a header with the hash of the body. Requests of S3, which may be signed in more ways, are verified in `api/auth`.

mod canonical;
mod chunks;
mod credential;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod key;
#[cfg(test)]
mod tests;
mod whole_body;

pub use canonical::{canonical_request, path_to_sign};
pub use chunks::{ChunkVerifier, EMPTY_SHA256};
pub use credential::{Credential, component};
pub use key::{Scope, SigningKey, SigningKeys};
pub use whole_body::{Claimed, Received, SKEW_SECONDS_MAX, SignatureFault, Verifier, claimed};

use aws_lc_rs::{digest, hmac};
use time::OffsetDateTime;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const TERMINATOR: &str = "aws4_request";
pub const DATE_HEADER: &str = "x-amz-date";
pub const HASH_HEADER: &str = "x-amz-content-sha256";
/// The length of a time such as `20150830T123600Z`.
const STAMP_BYTES: usize = 16;

/// The access key and the scope with which requests are signed.
#[derive(Clone, Copy)]
pub struct Signer<'a> {
    pub access_key: &'a str,
    pub secret_key: &'a str,
    pub region: &'a str,
    pub service: &'a str,
}

/// The parts of a request that its signature covers.
#[derive(Clone, Copy, Debug)]
pub struct ToSign<'a> {
    pub method: &'a str,
    /// The path as it is sent.
    pub path: &'a str,
    /// The query as it is sent, without the question mark; may be empty.
    pub query: &'a str,
    /// The signed headers, sorted by name; names are in lower case.
    pub headers: &'a [(&'a str, &'a str)],
    /// The hash of the body, in hexadecimal.
    pub body_sha256: &'a str,
}

impl Signer<'_> {
    /// Returns the headers to send besides `host`, which is signed too.
    pub fn headers(
        &self,
        unix_seconds: u64,
        method: &str,
        target: &str,
        host: &str,
        body: &[u8],
    ) -> Vec<(&'static str, String)> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let (stamp, body_sha256) = (stamp(unix_seconds), sha256_hex(body));
        let signed = [("host", host), (HASH_HEADER, body_sha256.as_str()), (DATE_HEADER, stamp.as_str())];
        let request = ToSign { method, path, query, headers: &signed, body_sha256: &body_sha256 };
        let authorization = self.authorization(&stamp, &request);
        vec![(HASH_HEADER, body_sha256.clone()), (DATE_HEADER, stamp.clone()), ("authorization", authorization)]
    }

    /// Returns the value of the `Authorization` header.
    fn authorization(&self, stamp: &str, request: &ToSign<'_>) -> String {
        let names: Vec<&str> = request.headers.iter().map(|(name, _)| *name).collect();
        let scope = Scope { date: &stamp[..8], region: self.region, service: self.service };
        let signature = self.signature(stamp, request);
        format!(
            "{ALGORITHM} Credential={}/{scope}, SignedHeaders={}, Signature={signature}",
            self.access_key,
            names.join(";")
        )
    }

    /// Returns the signature of a request, in hexadecimal. `stamp` has the form that `read_stamp` parses.
    pub fn signature(&self, stamp: &str, request: &ToSign<'_>) -> String {
        let scope = Scope { date: &stamp[..8], region: self.region, service: self.service };
        let text = string_to_sign(stamp, scope, &canonical_request(request));
        SigningKey::derive(self.secret_key, scope).sign(&text)
    }
}

/// Returns the string to sign of a canonical request.
pub fn string_to_sign(stamp: &str, scope: Scope<'_>, canonical_request: &str) -> String {
    let Scope { date, region, service } = scope;
    let hash = sha256_hex(canonical_request.as_bytes());
    [ALGORITHM, "\n", stamp, "\n", date, "/", region, "/", service, "/", TERMINATOR, "\n", &hash].concat()
}

fn keyed(key: &[u8], text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
}

/// Returns the SHA-256 of some bytes, in hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    hex_simd::encode_to_string(bytes, hex_simd::AsciiCase::Lower)
}

/// Formats a time as in `x-amz-date`. A time that is out of the calendar's range becomes the epoch.
pub fn stamp(unix_seconds: u64) -> String {
    let at = i64::try_from(unix_seconds).ok().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    let at = at.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (year, month, day) = at.to_calendar_date();
    let (hour, minute, second) = at.to_hms();
    format!("{year:04}{:02}{day:02}T{hour:02}{minute:02}{second:02}Z", u8::from(month))
}

/// Parses a time as in `x-amz-date`, to seconds since the Unix epoch.
pub fn read_stamp(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let well_formed = bytes.len() == STAMP_BYTES && bytes[8] == b'T' && bytes[15] == b'Z';
    let number = |from: usize, to: usize| {
        let digits = text.get(from..to).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
        digits.parse::<u16>().ok()
    };
    if !well_formed {
        return None;
    }
    let small = |from: usize| u8::try_from(number(from, from + 2)?).ok();
    let month = time::Month::try_from(small(4)?).ok()?;
    let date = time::Date::from_calendar_date(i32::from(number(0, 4)?), month, small(6)?).ok()?;
    let time = time::Time::from_hms(small(9)?, small(11)?, small(13)?).ok()?;
    Some(OffsetDateTime::new_utc(date, time).unix_timestamp())
}
