//! The key of an account with an ACME server: signatures of requests (JWS with ES256, RFC 7515 and 7518), and the answers to
//! challenges that it determines (RFC 8737).

use super::AcmeError;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64_simd::URL_SAFE_NO_PAD;
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use std::fmt;

/// The key, on P-256. Not shown by `Debug`.
pub struct AccountKey {
    pair: EcdsaKeyPair,
    pkcs8: Vec<u8>,
}

impl fmt::Debug for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccountKey").finish_non_exhaustive()
    }
}

impl AccountKey {
    pub fn generate() -> Result<Self, AcmeError> {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        Self::from_pkcs8(pkcs8.map_err(|_| AcmeError::Crypto("make a key for the account"))?.as_ref())
    }

    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, AcmeError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8);
        let pair = pair.map_err(|_| AcmeError::Crypto("read the account's key"))?;
        Ok(Self { pair, pkcs8: pkcs8.to_vec() })
    }

    /// Returns the key, to be kept.
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// Returns the public key as a JSON Web Key. Its members are those of the thumbprint (RFC 7638), in their order.
    fn jwk(&self) -> Value {
        // An uncompressed point: 4, then both coordinates.
        let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
        let encode = |bytes| URL_SAFE_NO_PAD.encode_to_string(bytes);
        json!({"crv": "P-256", "kty": "EC", "x": encode(x), "y": encode(y)})
    }

    /// Signs a request. `kid`: the account's URL, without which the key itself is sent; `payload`: without one the request
    /// only reads (POST-as-GET, RFC 8555, section 6.3).
    pub(super) fn sign(
        &self,
        kid: Option<&str>,
        nonce: &str,
        url: &str,
        payload: Option<&Value>,
    ) -> Result<Vec<u8>, AcmeError> {
        let mut header = json!({"alg": "ES256", "nonce": nonce, "url": url});
        match kid {
            Some(kid) => header["kid"] = json!(kid),
            None => header["jwk"] = self.jwk(),
        }
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode_to_string(value.to_string());
        let (protected, payload) = (encode(&header), payload.map(encode).unwrap_or_default());
        let signature = self.pair.sign(&SystemRandom::new(), format!("{protected}.{payload}").as_bytes());
        let signature = signature.map_err(|_| AcmeError::Crypto("sign a request"))?;
        let signature = URL_SAFE_NO_PAD.encode_to_string(signature.as_ref());
        Ok(json!({"protected": protected, "payload": payload, "signature": signature}).to_string().into_bytes())
    }

    /// Makes the certificate that proves control of a name (RFC 8737, section 3): for that name alone, with the hash of the
    /// key authorization (RFC 8555, section 8.1) in a critical extension.
    pub(super) fn challenge_certificate(&self, name: &str, token: &str) -> Result<CertifiedKey, AcmeError> {
        let thumbprint = digest(&SHA256, self.jwk().to_string().as_bytes());
        let authorization = format!("{token}.{}", URL_SAFE_NO_PAD.encode_to_string(thumbprint.as_ref()));
        let hash = digest(&SHA256, authorization.as_bytes());
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(hash.as_ref())];
        let certificate = params.self_signed(&key)?.der().clone();
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let unusable = |_| AcmeError::Crypto("use the key of a challenge's certificate");
        let signer = default_provider().key_provider.load_private_key(private).map_err(unusable)?;
        Ok(CertifiedKey::new(vec![certificate], signer))
    }
}

#[cfg(test)]
mod tests {
    use super::AccountKey;

    #[test]
    fn a_key_is_the_same_after_it_was_kept() {
        let key = AccountKey::generate().expect("a key");
        let kept = AccountKey::from_pkcs8(key.pkcs8()).expect("the same key");
        assert_eq!(key.jwk(), kept.jwk());
        assert!(AccountKey::from_pkcs8(b"no key").is_err());
    }

    #[test]
    fn the_members_of_a_key_are_in_the_order_of_the_thumbprint() {
        let text = AccountKey::generate().expect("a key").jwk().to_string();
        assert!(text.starts_with(r#"{"crv":"P-256","kty":"EC","x":""#) && text.contains(r#"","y":""#), "{text}");
    }
}
