//! Verification of the chained signatures of a body's chunks (S3 API Reference, "Signature calculations for the
//! Authorization header: Transferring payload in multiple chunks").

use super::ALGORITHM;
use super::key::{Scope, SigningKey};
use std::sync::Arc;

/// The SHA-256 of no bytes, in hexadecimal.
pub const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// The verifier of the chunks of one body, in order. Each chunk's signature covers that of the chunk before; the first
/// covers the signature of the request.
#[derive(Clone, Debug)]
pub struct ChunkVerifier {
    key: Arc<SigningKey>,
    /// The time and scope lines that every string to sign contains.
    head: String,
    previous: String,
}

impl ChunkVerifier {
    /// `stamp` is the request's time in the form of `x-amz-date`; `signature` is the request's, in hexadecimal.
    pub fn new(key: Arc<SigningKey>, stamp: &str, scope: Scope<'_>, signature: &str) -> Self {
        Self { key, head: format!("{stamp}\n{scope}"), previous: signature.to_owned() }
    }

    /// Verifies the next chunk, by the hash of its data and its stated signature, both in hexadecimal.
    pub fn verify_chunk(&mut self, sha256: &str, signature: &str) -> bool {
        let text = format!("{ALGORITHM}-PAYLOAD\n{}\n{}\n{EMPTY_SHA256}\n{sha256}", self.head, self.previous);
        self.next(&text, signature)
    }

    /// Verifies the trailer after the last chunk, by the hash of its canonical lines (`name:value\n` each).
    pub fn verify_trailer(&mut self, sha256: &str, signature: &str) -> bool {
        let text = format!("{ALGORITHM}-TRAILER\n{}\n{}\n{sha256}", self.head, self.previous);
        self.next(&text, signature)
    }

    fn next(&mut self, text: &str, signature: &str) -> bool {
        let is_right = self.key.verify(text, signature);
        if is_right {
            signature.clone_into(&mut self.previous);
        }
        is_right
    }
}

#[cfg(test)]
mod tests {
    use super::ChunkVerifier;
    use crate::sigv4::{Scope, SigningKey, sha256_hex};
    use std::sync::Arc;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    const SCOPE: Scope<'static> = Scope { date: "20130524", region: "us-east-1", service: "s3" };

    /// Uses the example of the S3 API Reference: 66,560 bytes in three chunks.
    #[test]
    fn the_chunk_signatures_of_awss_example_are_verified() {
        let key = Arc::new(SigningKey::derive(SECRET, SCOPE));
        let seed = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
        let signatures = [
            (65_536, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"),
            (1024, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"),
            (0, "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"),
        ];
        let mut verifier = ChunkVerifier::new(key, "20130524T000000Z", SCOPE, seed);
        for (length, signature) in signatures {
            let hash = sha256_hex(&vec![b'a'; length]);
            assert!(!verifier.clone().verify_chunk(&sha256_hex(b"other"), signature));
            assert!(verifier.verify_chunk(&hash, signature), "{length}");
        }
    }
}
