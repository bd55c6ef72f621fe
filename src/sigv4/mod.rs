//! AWS Signature Version 4 by header (AWS General Reference, "Signing AWS API requests"): what the admin API, IAM and STS
//! verify and `sherd admin` signs with. S3's own signatures are the s3s crate's, which keeps its pieces
//! to itself, but for those of browsers' forms, which sign a text.
//!
//! The body's hash is always signed, the path is taken as it was sent (as S3 does), and nothing is signed by query.

mod canonical;
mod claim;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
#[cfg(test)]
mod tests;
mod verify;

pub use canonical::path_to_sign;
pub use claim::{Credential, component};
pub use verify::{Claimed, Received, SignatureFault, Verifier, claimed};

use aws_lc_rs::{digest, hmac};
use canonical::canonical_request;
use time::OffsetDateTime;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const TERMINATOR: &str = "aws4_request";
pub const DATE_HEADER: &str = "x-amz-date";
pub const HASH_HEADER: &str = "x-amz-content-sha256";
/// `20150830T123600Z`
const STAMP_BYTES: usize = 16;

/// Who signs, and for what.
#[derive(Clone, Copy)]
pub struct Signer<'a> {
    pub access_key: &'a str,
    pub secret_key: &'a str,
    pub region: &'a str,
    pub service: &'a str,
}

/// What is signed of a request.
#[derive(Clone, Copy, Debug)]
pub struct ToSign<'a> {
    pub method: &'a str,
    /// As it is sent.
    pub path: &'a str,
    /// As it is sent, without the question mark; may be empty.
    pub query: &'a str,
    /// In order of their names, which are in lower case.
    pub headers: &'a [(&'a str, &'a str)],
    /// In hexadecimal.
    pub body_sha256: &'a str,
}

impl Signer<'_> {
    /// The headers to send besides `host`, which is signed too.
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

    /// The value of the `Authorization` header.
    fn authorization(&self, stamp: &str, request: &ToSign<'_>) -> String {
        let names: Vec<&str> = request.headers.iter().map(|(name, _)| *name).collect();
        let scope = format!("{}/{}/{}/{TERMINATOR}", &stamp[..8], self.region, self.service);
        let signature = hex(self.signature(stamp, request).as_ref());
        format!(
            "{ALGORITHM} Credential={}/{scope}, SignedHeaders={}, Signature={signature}",
            self.access_key,
            names.join(";")
        )
    }

    /// In hexadecimal. `stamp` is a moment as `read_stamp` reads it.
    pub fn signature_hex(&self, stamp: &str, request: &ToSign<'_>) -> String {
        hex(self.signature(stamp, request).as_ref())
    }

    fn signature(&self, stamp: &str, request: &ToSign<'_>) -> hmac::Tag {
        let date = &stamp[..8];
        let scope = format!("{date}/{}/{}/{TERMINATOR}", self.region, self.service);
        let hash = sha256_hex(canonical_request(request).as_bytes());
        let text = format!("{ALGORITHM}\n{stamp}\n{scope}\n{hash}");
        sign(self.secret_key, date, self.region, self.service, &text)
    }
}

/// The signature of a text that is no request, in hexadecimal; `date` as the scope has it, `20150830`.
pub fn text_signature(secret_key: &str, date: &str, region: &str, service: &str, text: &str) -> String {
    hex(sign(secret_key, date, region, service, text).as_ref())
}

/// With the key that is good for a day, a region and a service.
fn sign(secret_key: &str, date: &str, region: &str, service: &str, text: &str) -> hmac::Tag {
    let first = keyed(format!("AWS4{secret_key}").as_bytes(), date);
    let last = [region, service, TERMINATOR].iter().fold(first, |key, part| keyed(key.as_ref(), part));
    keyed(last.as_ref(), text)
}

fn keyed(key: &[u8], text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
}

fn sha256_hex(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    hex_simd::encode_to_string(bytes, hex_simd::AsciiCase::Lower)
}

/// A moment as `x-amz-date` has it; the epoch where it is out of any calendar.
pub fn stamp(unix_seconds: u64) -> String {
    let at = i64::try_from(unix_seconds).ok().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    let at = at.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (year, month, day) = at.to_calendar_date();
    let (hour, minute, second) = at.to_hms();
    format!("{year:04}{:02}{day:02}T{hour:02}{minute:02}{second:02}Z", u8::from(month))
}

/// The moment that an `x-amz-date` names, in seconds since the epoch.
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
