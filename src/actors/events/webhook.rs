//! `Webhook`: an `EventSink` that POSTs each message to a URL, signed if the webhook has a secret.

use super::queue::{EventSink, Message, SinkFault};
use crate::ambient::Ambient;
use crate::net::Poster;
use async_trait::async_trait;
use aws_lc_rs::hmac;
use std::fmt;

const AGENT: &str = concat!("sherd/", env!("CARGO_PKG_VERSION"));
/// The header with the message's id, by which a receiver recognises a repeated message.
const ID_HEADER: &str = "X-Sherd-Event-Id";
/// The header with the time of sending, in seconds since 1970. Signed, so that a later replay can be detected.
const TIME_HEADER: &str = "X-Sherd-Timestamp";
/// The header with the signature: `sha256=` and the hexadecimal HMAC-SHA256, keyed with the secret, of the timestamp, a
/// full stop and the body.
const SIGNATURE_HEADER: &str = "X-Sherd-Signature";

pub struct Webhook {
    poster: Poster,
    secret: Option<hmac::Key>,
    ambient: Ambient,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("poster", &self.poster).finish_non_exhaustive()
    }
}

impl Webhook {
    pub fn new(poster: Poster, secret: Option<&str>, ambient: Ambient) -> Self {
        let secret = secret.map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()));
        Self { poster, secret, ambient }
    }
}

#[async_trait]
impl EventSink for Webhook {
    async fn send(&self, message: &Message) -> Result<(), SinkFault> {
        let time = (self.ambient.clock.unix_ms().0 / 1000).to_string();
        let signature = self.secret.as_ref().map(|secret| sign(secret, &time, &message.body));
        let mut headers = vec![
            ("Content-Type", "application/json"),
            ("User-Agent", AGENT),
            (ID_HEADER, message.id.as_str()),
            (TIME_HEADER, time.as_str()),
        ];
        headers.extend(signature.as_deref().map(|signature| (SIGNATURE_HEADER, signature)));
        match self.poster.post(&headers, &message.body).await {
            Ok(status) => judge(status),
            Err(error) => Err(SinkFault::Unreachable { why: error.to_string() }),
        }
    }
}

fn sign(secret: &hmac::Key, time: &str, body: &[u8]) -> String {
    let mut signed = hmac::Context::with_key(secret);
    signed.update(time.as_bytes());
    signed.update(b".");
    signed.update(body);
    format!("sha256={}", hex_simd::encode_to_string(signed.sign(), hex_simd::AsciiCase::Lower))
}

/// Maps a status to the outcome. Most 4xx refuse the message for good. A 4xx that an operator or time can remedy (a
/// missing login, a missing route, too many requests) is retried like 5xx.
fn judge(status: u16) -> Result<(), SinkFault> {
    let why = || format!("it answers {status}");
    match status {
        200..=299 => Ok(()),
        401 | 403 | 404 | 407 | 408 | 421 | 425 | 429 => Err(SinkFault::Unreachable { why: why() }),
        400..=499 => Err(SinkFault::Refused { why: why() }),
        _ => Err(SinkFault::Unreachable { why: why() }),
    }
}

#[cfg(test)]
mod tests {
    use super::{Webhook, judge, sign};
    use crate::actors::events::queue::{EventSink, Message, SinkFault};
    use crate::actors::events::tests::ambient;
    use crate::net::Poster;
    use aws_lc_rs::hmac;
    use bytes::Bytes;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_webhook_message_is_posted_with_id_timestamp_and_signature() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut request = Vec::new();
            while !request.ends_with(b"{}") {
                stream.read_buf(&mut request).await.expect("bytes");
            }
            stream.write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n").await.expect("written");
            String::from_utf8(request).expect("text")
        });
        let (clock, ambient) = ambient();
        clock.pass(Duration::from_secs(1_700_000_000));
        let webhook = Webhook::new(Poster::new(&url, None).expect("a poster"), Some("secret"), ambient);
        let message = Message { id: "A-1".to_owned(), body: Bytes::from_static(b"{}") };
        assert_eq!(webhook.send(&message).await, Ok(()));
        let request = served.await.expect("served");
        assert!(request.contains("\r\nX-Sherd-Event-Id: A-1\r\nX-Sherd-Timestamp: 1700000000\r\n"), "{request}");
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"secret");
        let signature = sign(&key, "1700000000", b"{}");
        assert!(request.contains(&format!("\r\nX-Sherd-Signature: {signature}\r\n")), "{request}");
    }

    /// RFC 4231, test case 2, with our full stop inserted.
    #[test]
    fn a_webhook_signature_is_the_hmac_of_timestamp_and_body() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"Jefe");
        let whole = hmac::sign(&key, b"what do ya want .for nothing?");
        let expected = hex_simd::encode_to_string(whole, hex_simd::AsciiCase::Lower);
        assert_eq!(sign(&key, "what do ya want ", b"for nothing?"), format!("sha256={expected}"));
    }

    #[test]
    fn only_permanent_client_errors_refuse_a_webhook_message() {
        for status in [200, 202, 204] {
            assert_eq!(judge(status), Ok(()));
        }
        for status in [400, 410, 413, 422] {
            assert!(matches!(judge(status), Err(SinkFault::Refused { .. })), "{status}");
        }
        for status in [301, 401, 403, 404, 408, 429, 500, 503] {
            assert!(matches!(judge(status), Err(SinkFault::Unreachable { .. })), "{status}");
        }
    }
}
