//! Sessions: temporary credentials issued by STS. A session is not stored. Its token holds all its data, encrypted and
//! authenticated, and its secret key is derived from its access key, so every host can verify both.
//!
//! A token is base64url of `version u8, nonce [12], ciphertext, tag [16]`: JSON encrypted by AES-256-GCM, with the
//! version and the access key as associated data.

use super::records::Tags;
use super::secrets::SESSION_KEY_PREFIX;
use crate::ambient::Ambient;
use crate::sigv4::SKEW_SECONDS_MAX;
use crate::types::UnixMs;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use serde::{Deserialize, Serialize};

const TOKEN_VERSION: u8 = 1;
/// The longest token that is issued and decoded.
pub const TOKEN_BYTES_MAX: usize = 16 << 10;
/// The bytes of a session's secret before it is encoded in base64.
const SECRET_BYTES: usize = 30;

/// The identity that a session belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionOf {
    Root,
    /// A user, by name in lower case and id.
    User {
        name: String,
        id: String,
    },
    Role {
        name: String,
        id: String,
        session: String,
    },
    /// A federated user, and the user (name, id) who issued the session; `None` for the root.
    Federated {
        name: String,
        by: Option<(String, String)>,
    },
}

/// The session policies: limits besides those of the owner.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionLimits {
    pub document: Option<String>,
    /// The ARNs of managed policies, whose texts are looked up at each request.
    pub arns: Vec<String>,
}

/// The content of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    pub access_key: String,
    pub account: String,
    pub of: SessionOf,
    pub issued: UnixMs,
    pub expires: UnixMs,
    pub limits: Option<SessionLimits>,
    pub tags: Tags,
    /// The keys of the tags that are passed on when the session assumes another role.
    pub transitive: Vec<String>,
    pub source_identity: Option<String>,
    /// Condition keys and values from the token of the identity provider.
    pub claims: Tags,
}

/// The reason why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    #[error(
        "the session token is malformed, was not issued by this store, belongs to another access key, or begins in the future"
    )]
    Invalid,
    #[error("the token has expired")]
    Expired,
}

/// The keys that encrypt the tokens and derive the secrets of sessions; the same on every host.
pub struct SessionKeys {
    tokens: LessSafeKey,
    secrets: hmac::Key,
}

impl SessionKeys {
    /// Derives the keys from key material that all hosts share and no client knows. Other material voids all sessions.
    /// The material must have high entropy, as the holder of a token can test guesses of it.
    pub fn derive(root: &[u8]) -> Self {
        let root = hmac::Key::new(hmac::HMAC_SHA256, root);
        let tokens = hmac::sign(&root, b"sherd session tokens 1");
        let secrets = hmac::sign(&root, b"sherd session secrets 1");
        let tokens =
            UnboundKey::new(&AES_256_GCM, tokens.as_ref()).expect("HMAC-SHA256 gives as many bytes as AES-256 takes");
        Self { tokens: LessSafeKey::new(tokens), secrets: hmac::Key::new(hmac::HMAC_SHA256, secrets.as_ref()) }
    }

    /// Returns the secret of a session's access key. It does not show that the session exists; the token does.
    pub fn secret_of(&self, access_key: &str) -> String {
        let tag = hmac::sign(&self.secrets, access_key.as_bytes());
        base64_simd::STANDARD.encode_to_string(&tag.as_ref()[..SECRET_BYTES])
    }

    pub fn seal(&self, ambient: &Ambient, session: &Session) -> String {
        let mut nonce = [0; NONCE_LEN];
        ambient.entropy.fill(&mut nonce);
        let mut text = serde_json::to_vec(session).expect("a session has string keys only");
        let sealed = self.tokens.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(associated(&session.access_key)),
            &mut text,
        );
        sealed.expect("a session is far smaller than what AES-GCM takes");
        let token = [&[TOKEN_VERSION][..], &nonce, &text].concat();
        base64_simd::URL_SAFE_NO_PAD.encode_to_string(token)
    }

    /// Decrypts a token. Refuses a token that was not sealed here, is of another access key, has expired, or begins later
    /// than clocks may differ: the clock of the host that issued it was wrong, and its expiry is too.
    pub fn open(&self, access_key: &str, token: &str, now: UnixMs) -> Result<Session, TokenFault> {
        if token.len() > TOKEN_BYTES_MAX || !is_session_key(access_key) {
            return Err(TokenFault::Invalid);
        }
        let bytes = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(token).map_err(|_| TokenFault::Invalid)?;
        let Some((&TOKEN_VERSION, rest)) = bytes.split_first() else { return Err(TokenFault::Invalid) };
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>().ok_or(TokenFault::Invalid)?;
        let mut text = sealed.to_vec();
        let opened = self.tokens.open_in_place(
            Nonce::assume_unique_for_key(*nonce),
            Aad::from(associated(access_key)),
            &mut text,
        );
        let opened = opened.map_err(|_| TokenFault::Invalid)?;
        let session: Session = serde_json::from_slice(opened).map_err(|_| TokenFault::Invalid)?;
        if session.access_key != access_key || session.issued.0 > now.0.saturating_add(SKEW_SECONDS_MAX * 1000) {
            return Err(TokenFault::Invalid);
        }
        if session.expires <= now { Err(TokenFault::Expired) } else { Ok(session) }
    }
}

fn associated(access_key: &str) -> Vec<u8> {
    [&[TOKEN_VERSION][..], access_key.as_bytes()].concat()
}

/// Returns whether the access key is that of a session.
pub fn is_session_key(access_key: &str) -> bool {
    access_key.starts_with(SESSION_KEY_PREFIX)
}
