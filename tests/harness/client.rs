//! A small S3 client: each call sends one request without retries, and returns every status as an answer.

use super::sigv4::{Chunking, Keys, Scope, ToSign, presign, sign_headers, target};
use super::{data, xml};
use http::{HeaderMap, Request};
use std::borrow::Cow;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use ureq::Agent;

const TIMEOUT: Duration = Duration::from_secs(120);
/// The most pages of a listing. A listing with more pages counts as endless.
pub const PAGES_MAX: usize = 1000;

/// The whole response of the server.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Returns S3's error code; empty if there is none.
    pub fn code(&self) -> String {
        xml::text(&self.text(), "Code")
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:?} {}", self.headers, self.text());
        self
    }
}

pub type Answered = Result<Answer, ureq::Error>;

/// The way in which a body is sent and signed.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    None,
    Signed(&'a [u8]),
    Unsigned(&'a [u8]),
    /// In `aws-chunked` framing, with or without a trailer.
    Chunked {
        bytes: &'a [u8],
        signed: bool,
        trailer: Option<(&'a str, &'a str)>,
    },
}

/// One server and one identity. Connections are kept; a clone shares them.
#[derive(Clone, Debug)]
pub struct S3 {
    addr: SocketAddr,
    keys: Keys,
    agent: Agent,
}

impl S3 {
    pub fn new(addr: SocketAddr, keys: Keys) -> Self {
        Self { addr, keys, agent: agent(TIMEOUT) }
    }

    /// Makes a client whose requests time out after this long, which closes the connection.
    pub fn giving_up_after(addr: SocketAddr, keys: Keys, timeout: Duration) -> Self {
        Self { addr, keys, agent: agent(timeout) }
    }

    pub fn with_keys(&self, keys: Keys) -> Self {
        Self { keys, ..self.clone() }
    }

    pub fn call(
        &self,
        method: &str,
        path: &str,
        query: &[(&str, &str)],
        headers: &[(&str, &str)],
        body: Body<'_>,
    ) -> Answered {
        let owned = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let mut to_sign = ToSign {
            method: method.to_owned(),
            host: self.addr.to_string(),
            path: path.to_owned(),
            query: owned(query),
            headers: owned(headers),
        };
        let scope = Scope::now(&self.keys);
        let (signed, bytes): (_, Cow<'_, [u8]>) = match body {
            Body::None => (sign_headers(&scope, &to_sign, &data::sha256_hex(b"")).0, Cow::Borrowed(&[])),
            Body::Signed(bytes) => (sign_headers(&scope, &to_sign, &data::sha256_hex(bytes)).0, bytes.into()),
            Body::Unsigned(bytes) => (sign_headers(&scope, &to_sign, "UNSIGNED-PAYLOAD").0, bytes.into()),
            Body::Chunked { bytes, signed, trailer } => {
                to_sign.headers.push(("content-encoding".to_owned(), "aws-chunked".to_owned()));
                to_sign.headers.push(("x-amz-decoded-content-length".to_owned(), bytes.len().to_string()));
                if let Some((name, _)) = trailer {
                    to_sign.headers.push(("x-amz-trailer".to_owned(), name.to_owned()));
                }
                let payload = Chunking::payload_name(signed, trailer.is_some());
                let (headers, seed) = sign_headers(&scope, &to_sign, payload);
                let seed = signed.then_some(seed.as_str());
                (headers, Chunking { scope: &scope, seed, chunk_bytes: 64 << 10, trailer }.frame(bytes).into())
            }
        };
        self.send(method, &target(&to_sign), &signed, &bytes)
    }

    /// Returns the target of a presigned request.
    pub fn presigned(&self, method: &str, path: &str, query: &[(&str, &str)], expires_seconds: u32) -> String {
        self.presigned_at(&Scope::now(&self.keys), method, path, query, expires_seconds)
    }

    pub fn presigned_at(
        &self,
        scope: &Scope,
        method: &str,
        path: &str,
        query: &[(&str, &str)],
        expires_seconds: u32,
    ) -> String {
        let query = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let host = self.addr.to_string();
        let request = ToSign { method: method.to_owned(), host, path: path.to_owned(), query, headers: Vec::new() };
        presign(scope, &request, expires_seconds)
    }

    /// Returns the time and key with which the requests of the next minutes can be signed.
    pub fn scope(&self) -> Scope {
        Scope::now(&self.keys)
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the bytes of a request whose head is signed, and whose body is not.
    pub fn request(&self, scope: &Scope, method: &str, path: &str, body: &[u8]) -> Vec<u8> {
        let (method, path, host) = (method.to_owned(), path.to_owned(), self.addr.to_string());
        let to_sign = ToSign { method, host, path, query: Vec::new(), headers: Vec::new() };
        let mut request = format!("{} {} HTTP/1.1\r\n", to_sign.method, target(&to_sign)).into_bytes();
        for (name, value) in sign_headers(scope, &to_sign, "UNSIGNED-PAYLOAD").0 {
            request.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        if !body.is_empty() {
            request.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
        }
        request.extend_from_slice(b"\r\n");
        request.extend_from_slice(body);
        request
    }

    /// Announces an upload whose body never comes, and waits for the first answer. Returns its status (100 if the
    /// server waits for the body) and the connection; the upload is under way as long as the connection is held.
    pub fn announce(&self, bucket: &str, key: &str) -> io::Result<(u16, TcpStream)> {
        let target = self.presigned("PUT", &format!("/{bucket}/{key}"), &[], 3600);
        let mut stream = TcpStream::connect(self.addr)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        let host = self.addr;
        write!(stream, "PUT {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n")?;
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok((status.ok_or_else(|| io::Error::other(format!("no status: {line:?}")))?, stream))
    }

    /// Announces uploads and holds them until one is refused with 503; returns the number of accepted ones.
    pub fn announce_until_refused(&self, bucket: &str) -> io::Result<usize> {
        let mut held = Vec::new();
        loop {
            let (status, stream) = self.announce(bucket, &held.len().to_string())?;
            match status {
                100 => held.push(stream),
                503 => return Ok(held.len()),
                other => return Err(io::Error::other(format!("status {other}"))),
            }
        }
    }

    /// Sends a request unchanged; the target must be encoded already.
    pub fn send(&self, method: &str, target: &str, headers: &[(String, String)], body: &[u8]) -> Answered {
        read(self.run(method, target, headers, body)?)
    }

    /// Sends a GET whose body is read and dropped; returns the status and the length of the body.
    pub fn get_discarding(&self, bucket: &str, key: &str) -> Result<(u16, u64), ureq::Error> {
        let target = self.presigned("GET", &format!("/{bucket}/{key}"), &[], 3600);
        let answer = self.run("GET", &target, &[], &[])?;
        let status = answer.status().as_u16();
        let mut body = answer.into_body().into_reader();
        Ok((status, std::io::copy(&mut body, &mut std::io::sink())?))
    }

    fn run(
        &self,
        method: &str,
        target: &str,
        headers: &[(String, String)],
        body: &[u8],
    ) -> Result<http::Response<ureq::Body>, ureq::Error> {
        let mut request = Request::builder().method(method).uri(format!("http://{}{target}", self.addr));
        for (name, value) in headers.iter().filter(|(name, _)| name != "host") {
            request = request.header(name, value);
        }
        if matches!(method, "PUT" | "POST") {
            self.agent.run(request.body(body)?)
        } else {
            self.agent.run(request.body(())?)
        }
    }

    pub fn create_bucket(&self, bucket: &str) -> Answered {
        self.call("PUT", &format!("/{bucket}"), &[], &[], Body::None)
    }

    pub fn put(&self, bucket: &str, key: &str, bytes: &[u8]) -> Answered {
        self.put_with(bucket, key, bytes, &[])
    }

    pub fn put_with(&self, bucket: &str, key: &str, bytes: &[u8], headers: &[(&str, &str)]) -> Answered {
        self.call("PUT", &format!("/{bucket}/{key}"), &[], headers, Body::Unsigned(bytes))
    }

    pub fn get(&self, bucket: &str, key: &str) -> Answered {
        self.get_with(bucket, key, &[])
    }

    pub fn get_with(&self, bucket: &str, key: &str, headers: &[(&str, &str)]) -> Answered {
        self.call("GET", &format!("/{bucket}/{key}"), &[], headers, Body::None)
    }

    pub fn head(&self, bucket: &str, key: &str) -> Answered {
        self.call("HEAD", &format!("/{bucket}/{key}"), &[], &[], Body::None)
    }

    pub fn delete(&self, bucket: &str, key: &str) -> Answered {
        self.call("DELETE", &format!("/{bucket}/{key}"), &[], &[], Body::None)
    }

    /// Lists all pages; returns every key with its ETag.
    pub fn list_all(&self, bucket: &str) -> Result<Vec<(String, String)>, ureq::Error> {
        let mut found = Vec::new();
        let mut token = String::new();
        for _ in 0..PAGES_MAX {
            let mut query = vec![("list-type", "2")];
            if !token.is_empty() {
                query.push(("continuation-token", token.as_str()));
            }
            let page = self.call("GET", &format!("/{bucket}"), &query, &[], Body::None)?.expect(200).text();
            found.extend(xml::texts(&page, "Key").into_iter().zip(xml::texts(&page, "ETag")));
            if xml::text(&page, "IsTruncated") != "true" {
                return Ok(found);
            }
            token = xml::text(&page, "NextContinuationToken");
        }
        panic!("the listing of {bucket} does not end within {PAGES_MAX} pages");
    }

    pub fn create_upload(&self, bucket: &str, key: &str) -> Result<String, ureq::Error> {
        let answer = self.call("POST", &format!("/{bucket}/{key}"), &[("uploads", "")], &[], Body::None)?.expect(200);
        Ok(xml::text(&answer.text(), "UploadId"))
    }

    pub fn put_part(&self, bucket: &str, key: &str, upload: &str, number: usize, bytes: &[u8]) -> Answered {
        let number = number.to_string();
        let query = [("partNumber", number.as_str()), ("uploadId", upload)];
        self.call("PUT", &format!("/{bucket}/{key}"), &query, &[], Body::Unsigned(bytes))
    }

    /// Completes an upload of the parts with these ETags, in order.
    pub fn complete_upload(&self, bucket: &str, key: &str, upload: &str, etags: &[String]) -> Answered {
        let part = |(at, etag): (usize, &String)| {
            format!("<Part><PartNumber>{}</PartNumber><ETag>{etag}</ETag></Part>", at + 1)
        };
        let parts: String = etags.iter().enumerate().map(part).collect();
        let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
        self.call("POST", &format!("/{bucket}/{key}"), &[("uploadId", upload)], &[], Body::Signed(body.as_bytes()))
    }

    /// Makes a whole multipart upload; returns the answer to its completion.
    pub fn put_multipart(&self, bucket: &str, key: &str, parts: &[&[u8]]) -> Answered {
        let upload = self.create_upload(bucket, key)?;
        let mut etags = Vec::new();
        for (at, part) in parts.iter().enumerate() {
            let answer = self.put_part(bucket, key, &upload, at + 1, part)?;
            if answer.status != 200 {
                return Ok(answer);
            }
            etags.push(answer.header("etag").to_owned());
        }
        self.complete_upload(bucket, key, &upload, &etags)
    }
}

/// Sends a plain HTTP GET, unsigned.
pub fn get_plain(addr: SocketAddr, path: &str) -> Answered {
    read(agent(TIMEOUT).get(format!("http://{addr}{path}")).call()?)
}

fn agent(timeout: Duration) -> Agent {
    let config = Agent::config_builder().http_status_as_error(false).timeout_global(Some(timeout)).max_redirects(0);
    config.max_idle_connections_per_host(256).max_idle_connections(256).build().new_agent()
}

fn read(answer: http::Response<ureq::Body>) -> Answered {
    let (parts, mut body) = answer.into_parts();
    let body = body.with_config().limit(u64::MAX).read_to_vec()?;
    Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
}
