//! Sessions: keys for a time, handed out by STS. Nothing is stored of them: the token that goes with a session's key
//! holds who it is, encrypted and authenticated, and its secret is made of its access key's id, so that every host
//! knows both.
//!
//! A token is base64url of `version u8, nonce [12], ciphertext, tag [16]`: AES-256-GCM, with the access key's id and
//! the version as associated data, over JSON.

use super::records::Tags;
use super::secrets::SESSION_KEY_PREFIX;
use crate::ambient::Ambient;
use crate::types::UnixMs;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use serde::{Deserialize, Serialize};

const TOKEN_VERSION: u8 = 1;
/// Tokens of ours are far smaller.
const TOKEN_BYTES_MAX: usize = 16 << 10;
/// The length of a session's secret: 30 bytes in base64.
const SECRET_BYTES: usize = 30;

/// The owner of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionOf {
    Root,
    /// The user itself, by name in lower case and id.
    User {
        name: String,
        id: String,
    },
    Role {
        name: String,
        id: String,
        session: String,
    },
    /// A federated user of a user, or of the root.
    Federated {
        name: String,
        by: Option<(String, String)>,
    },
}

/// The limits of a session, besides those of its owner.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionLimits {
    pub document: Option<String>,
    /// The ARNs of managed policies, which are looked up when they are needed.
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
    /// Keys of the tags that go with the session into the next role.
    pub transitive: Vec<String>,
    pub source_identity: Option<String>,
    /// Condition keys and their values: what the identity provider said.
    pub claims: Tags,
}

/// The reason for which a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    #[error("the token is malformed, not of this store, or of another key")]
    Invalid,
    #[error("the token has expired")]
    Expired,
}

/// The keys that make and recognise sessions; the same on every host.
pub struct SessionKeys {
    tokens: LessSafeKey,
    secrets: hmac::Key,
}

impl SessionKeys {
    /// Derives the keys from key material that all hosts have and no client: with other material, all sessions are
    /// void. Material that can be guessed can be guessed from a token.
    pub fn derive(root: &[u8]) -> Self {
        let root = hmac::Key::new(hmac::HMAC_SHA256, root);
        let tokens = hmac::sign(&root, b"sherd session tokens 1");
        let secrets = hmac::sign(&root, b"sherd session secrets 1");
        let tokens =
            UnboundKey::new(&AES_256_GCM, tokens.as_ref()).expect("HMAC-SHA256 gives as many bytes as AES-256 takes");
        Self { tokens: LessSafeKey::new(tokens), secrets: hmac::Key::new(hmac::HMAC_SHA256, secrets.as_ref()) }
    }

    /// The secret of a session's access key, whether such a session was ever made or not: the token says that.
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

    /// The session that a token speaks for, if it was sealed here for this access key and has not expired.
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
        if session.access_key != access_key {
            return Err(TokenFault::Invalid);
        }
        if session.expires <= now { Err(TokenFault::Expired) } else { Ok(session) }
    }
}

fn associated(access_key: &str) -> Vec<u8> {
    [&[TOKEN_VERSION][..], access_key.as_bytes()].concat()
}

/// Returns whether the access key is a session's.
pub fn is_session_key(access_key: &str) -> bool {
    access_key.starts_with(SESSION_KEY_PREFIX)
}
