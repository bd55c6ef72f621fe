//! Signature Version 4 by AWS's documentation ("Authenticating Requests"), implemented independently of the server: in
//! headers, in queries, and for chunked bodies with and without trailers.

use super::data::{hex, sha256_hex};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use time::OffsetDateTime;

pub const REGION: &str = "us-east-1";
const ALGORITHM: &str = "AWS4-HMAC-SHA256";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    pub access: String,
    pub secret: String,
}

impl Keys {
    pub fn new(access: &str, secret: &str) -> Self {
        Self { access: access.to_owned(), secret: secret.to_owned() }
    }
}

/// A request before it is signed. The path, and the query's names and values, are not encoded.
#[derive(Clone, Debug)]
pub struct ToSign {
    pub method: String,
    pub host: String,
    pub path: String,
    pub query: Vec<(String, String)>,
    /// Headers with lower-case names; all of them are signed.
    pub headers: Vec<(String, String)>,
}

/// The time, scope and key that the signatures of one request share.
#[derive(Clone, Debug)]
pub struct Scope {
    pub keys: Keys,
    /// `20130524T000000Z`.
    pub time: String,
    signing_key: Vec<u8>,
}

impl Scope {
    pub fn now(keys: &Keys) -> Self {
        Self::at(keys, OffsetDateTime::now_utc())
    }

    pub fn at(keys: &Keys, at: OffsetDateTime) -> Self {
        let (year, month, day) = at.to_calendar_date();
        let (hour, minute, second) = at.to_hms();
        let time = format!("{year:04}{:02}{day:02}T{hour:02}{minute:02}{second:02}Z", u8::from(month));
        let mut signing_key = format!("AWS4{}", keys.secret).into_bytes();
        for part in [&time[..8], REGION, "s3", "aws4_request"] {
            signing_key = hmac(&signing_key, part.as_bytes());
        }
        Self { keys: keys.clone(), time, signing_key }
    }

    fn date(&self) -> &str {
        &self.time[..8]
    }

    fn text(&self) -> String {
        format!("{}/{REGION}/s3/aws4_request", self.date())
    }

    fn sign(&self, text: &str) -> String {
        hex(&hmac(&self.signing_key, text.as_bytes()))
    }

    fn sign_request(&self, request: &ToSign, headers: &[(String, String)], payload: &str) -> String {
        let canonical = canonical_request(request, headers, payload);
        self.sign(&format!("{ALGORITHM}\n{}\n{}\n{}", self.time, self.text(), sha256_hex(canonical.as_bytes())))
    }

    fn sign_chunk(&self, previous: &str, chunk: &[u8]) -> String {
        let (empty, hash) = (sha256_hex(b""), sha256_hex(chunk));
        self.sign(&format!("{ALGORITHM}-PAYLOAD\n{}\n{}\n{previous}\n{empty}\n{hash}", self.time, self.text()))
    }

    fn sign_trailer(&self, previous: &str, trailer: &str) -> String {
        let hash = sha256_hex(trailer.as_bytes());
        self.sign(&format!("{ALGORITHM}-TRAILER\n{}\n{}\n{previous}\n{hash}", self.time, self.text()))
    }
}

/// Returns the headers to send, including `authorization`, and the signature that the first chunk's signature
/// continues.
pub fn sign_headers(scope: &Scope, request: &ToSign, payload: &str) -> (Vec<(String, String)>, String) {
    let mut headers = request.headers.clone();
    headers.push(("host".to_owned(), request.host.clone()));
    headers.push(("x-amz-date".to_owned(), scope.time.clone()));
    headers.push(("x-amz-content-sha256".to_owned(), payload.to_owned()));
    headers.sort();
    let signature = scope.sign_request(request, &headers, payload);
    let credential = format!("{}/{}", scope.keys.access, scope.text());
    let names = signed_names(&headers);
    let authorization = format!("{ALGORITHM} Credential={credential}, SignedHeaders={names}, Signature={signature}");
    headers.push(("authorization".to_owned(), authorization));
    (headers, signature)
}

/// Returns the target (path and query) of a presigned request.
pub fn presign(scope: &Scope, request: &ToSign, expires_seconds: u32) -> String {
    let mut headers = request.headers.clone();
    headers.push(("host".to_owned(), request.host.clone()));
    headers.sort();
    let mut request = request.clone();
    for (name, value) in [
        ("X-Amz-Algorithm", ALGORITHM.to_owned()),
        ("X-Amz-Credential", format!("{}/{}", scope.keys.access, scope.text())),
        ("X-Amz-Date", scope.time.clone()),
        ("X-Amz-Expires", expires_seconds.to_string()),
        ("X-Amz-SignedHeaders", signed_names(&headers)),
    ] {
        request.query.push((name.to_owned(), value));
    }
    let signature = scope.sign_request(&request, &headers, "UNSIGNED-PAYLOAD");
    request.query.push(("X-Amz-Signature".to_owned(), signature));
    target(&request)
}

/// Returns the encoded target of a request.
pub fn target(request: &ToSign) -> String {
    let query = canonical_query(&request.query);
    let path = encode(&request.path, true);
    if query.is_empty() { path } else { format!("{path}?{query}") }
}

/// A body in `aws-chunked` framing.
pub struct Chunking<'a> {
    pub scope: &'a Scope,
    /// The signature of the request itself; `None` if chunks are not signed.
    pub seed: Option<&'a str>,
    pub chunk_bytes: usize,
    /// One trailer, name and value.
    pub trailer: Option<(&'a str, &'a str)>,
}

impl Chunking<'_> {
    pub fn payload_name(signed: bool, trailer: bool) -> &'static str {
        match (signed, trailer) {
            (true, false) => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
            (true, true) => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
            (false, _) => "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        }
    }

    pub fn frame(&self, body: &[u8]) -> Vec<u8> {
        let mut framed = Vec::new();
        let mut previous = self.seed.map(str::to_owned);
        for chunk in body.chunks(self.chunk_bytes).chain([&[] as &[u8]]) {
            let mut head = format!("{:x}", chunk.len());
            if let Some(signature) = &mut previous {
                *signature = self.scope.sign_chunk(signature, chunk);
                head.push_str(&format!(";chunk-signature={signature}"));
            }
            framed.extend_from_slice(format!("{head}\r\n").as_bytes());
            if !chunk.is_empty() {
                framed.extend_from_slice(chunk);
                framed.extend_from_slice(b"\r\n");
            }
        }
        if let Some((name, value)) = self.trailer {
            framed.extend_from_slice(format!("{name}:{value}\r\n").as_bytes());
            if let Some(signature) = &previous {
                let signature = self.scope.sign_trailer(signature, &format!("{name}:{value}\n"));
                framed.extend_from_slice(format!("x-amz-trailer-signature:{signature}\r\n").as_bytes());
            }
        }
        framed.extend_from_slice(b"\r\n");
        framed
    }
}

fn canonical_request(request: &ToSign, headers: &[(String, String)], payload: &str) -> String {
    let lines: String = headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
    let (method, path) = (&request.method, encode(&request.path, true));
    let (query, names) = (canonical_query(&request.query), signed_names(headers));
    format!("{method}\n{path}\n{query}\n{lines}\n{names}\n{payload}")
}

fn signed_names(headers: &[(String, String)]) -> String {
    headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(";")
}

fn canonical_query(query: &[(String, String)]) -> String {
    let mut pairs: Vec<_> = query.iter().map(|(name, value)| (encode(name, false), encode(value, false))).collect();
    pairs.sort();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// Percent-encodes all but RFC 3986's unreserved characters.
fn encode(text: &str, keep_slashes: bool) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            b'/' if keep_slashes => encoded.push('/'),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length will do");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}
