//! JSON Web Tokens (RFC 7519) in compact form, signed with RS256 or ES256 (RFC 7518), and the JSON Web Key Sets that
//! verify them.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// The bytes of a coordinate of a point on P-256.
const P256_BYTES: usize = 32;
/// The first byte of an uncompressed point (SEC 1, 2.3.3).
const UNCOMPRESSED: u8 = 4;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("the token is not a signed JSON Web Token")]
    Malformed,
    /// RFC 7515, 4.1.11: a recipient that does not know a critical extension refuses the token.
    #[error("the token has critical extensions, and none is supported")]
    Critical,
    #[error("the token's algorithm {0:?} is neither RS256 nor ES256")]
    Algorithm(String),
    #[error("the provider's key set cannot be read: {0}")]
    KeySet(String),
    #[error("the provider's key set has no key with the token's key id and algorithm")]
    NoKey,
    #[error("the token's signature does not match")]
    Signature,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    Rs256,
    Es256,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    #[serde(default, deserialize_with = "present")]
    crit: bool,
}

/// Returns true for a member that is there, whatever its value.
fn present<'de, D: Deserializer<'de>>(member: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(member).map(|_| true)
}

/// A parsed token that is not verified. Its claims may be used only to find the keys for verifying it.
#[derive(Clone, Debug)]
pub struct Unverified<'a> {
    algorithm: Algorithm,
    key_id: Option<String>,
    signed: &'a str,
    signature: Vec<u8>,
    claims: Map<String, Value>,
}

impl<'a> Unverified<'a> {
    pub fn parse(token: &'a str) -> Result<Self, TokenError> {
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        let header: Header = serde_json::from_slice(&decoded(header)?).map_err(|_| TokenError::Malformed)?;
        let claims = serde_json::from_slice(&decoded(claims)?).map_err(|_| TokenError::Malformed)?;
        if header.crit {
            return Err(TokenError::Critical);
        }
        let algorithm = match header.alg.as_str() {
            "RS256" => Algorithm::Rs256,
            "ES256" => Algorithm::Es256,
            _ => return Err(TokenError::Algorithm(header.alg)),
        };
        Ok(Self { algorithm, key_id: header.kid, signed, signature: decoded(signature)?, claims })
    }

    /// Returns the claimed issuer.
    pub fn issuer(&self) -> Option<&str> {
        self.claims.get("iss")?.as_str()
    }

    /// Verifies the signature and returns the claims. Tried are the keys with the key id of the token, or all keys if
    /// the token has none.
    pub fn verify(self, key_set: &str) -> Result<Map<String, Value>, TokenError> {
        let keys = understood_keys(key_set).map_err(TokenError::KeySet)?;
        let named = |key: &&Key| self.key_id.is_none() || key.kid.is_none() || key.kid == self.key_id;
        let usable = keys.iter().filter(named).filter(|key| key.is_for(self.algorithm));
        let mut tried = false;
        for key in usable {
            tried = true;
            if key.verifies(self.signed.as_bytes(), &self.signature) {
                return Ok(self.claims);
            }
        }
        Err(if tried { TokenError::Signature } else { TokenError::NoKey })
    }
}

fn decoded(part: &str) -> Result<Vec<u8>, TokenError> {
    base64_simd::URL_SAFE_NO_PAD.decode_to_vec(part).map_err(|_| TokenError::Malformed)
}

/// Checks that a text is a key set with a key that can verify tokens.
pub fn check_key_set(key_set: &str) -> Result<(), String> {
    let usable = |key: &Key| [Algorithm::Rs256, Algorithm::Es256].into_iter().any(|algorithm| key.is_for(algorithm));
    match understood_keys(key_set)?.iter().any(usable) {
        true => Ok(()),
        false => Err("it has no key for RS256 or ES256".to_owned()),
    }
}

fn understood_keys(key_set: &str) -> Result<Vec<Key>, String> {
    let set: KeySet = serde_json::from_str(key_set).map_err(|error| error.to_string())?;
    // RFC 7517, 5: a key that is not understood is passed over.
    Ok(set.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).collect())
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

/// A key of a key set (RFC 7518, 6.2 and 6.3). Keys of other types are ignored.
#[derive(Deserialize)]
struct Key {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    used_for: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Key {
    fn is_for(&self, algorithm: Algorithm) -> bool {
        let (kind, name) = match algorithm {
            Algorithm::Rs256 => ("RSA", "RS256"),
            Algorithm::Es256 => ("EC", "ES256"),
        };
        let signs = self.used_for.as_deref().is_none_or(|used_for| used_for == "sig");
        let verifies = self.key_ops.as_ref().is_none_or(|uses| uses.iter().any(|used_for| used_for == "verify"));
        self.kty == kind && signs && verifies && self.alg.as_deref().is_none_or(|alg| alg == name)
    }

    fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        match self.kty.as_str() {
            "RSA" => self.rsa_verifies(signed, signature),
            _ => self.p256_verifies(signed, signature),
        }
        .is_some()
    }

    fn rsa_verifies(&self, signed: &[u8], signature: &[u8]) -> Option<()> {
        let (n, e) = (number(self.n.as_deref()?)?, number(self.e.as_deref()?)?);
        let key = RsaPublicKeyComponents { n, e };
        key.verify(&RSA_PKCS1_2048_8192_SHA256, signed, signature).ok()
    }

    fn p256_verifies(&self, signed: &[u8], signature: &[u8]) -> Option<()> {
        let (x, y) = (decoded(self.x.as_deref()?).ok()?, decoded(self.y.as_deref()?).ok()?);
        if self.crv.as_deref() != Some("P-256") || x.len() != P256_BYTES || y.len() != P256_BYTES {
            return None;
        }
        let point = [&[UNCOMPRESSED][..], &x, &y].concat();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed, signature).ok()
    }
}

/// Decodes an unsigned number and drops leading zeros, which some encoders write.
fn number(text: &str) -> Option<Vec<u8>> {
    let bytes = decoded(text.trim_end_matches('=')).ok()?;
    let start = bytes.iter().position(|byte| *byte != 0)?;
    Some(bytes[start..].to_vec())
}

#[cfg(test)]
mod tests {
    use super::{TokenError, Unverified};
    use serde_json::json;

    /// RFC 7515, A.2 and A.3: one payload, signed with either algorithm.
    const PAYLOAD: &str =
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    const RS256: &str = "eyJhbGciOiJSUzI1NiJ9";
    const RS256_SIGNATURE: &str = "\
        cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9\
        uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB\
        _eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rq\
        Vt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
    const N: &str = "\
        ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yR\
        T-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXB\
        dQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9ia\
        GNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
    const ES256: &str = "eyJhbGciOiJFUzI1NiJ9";
    const ES256_SIGNATURE: &str =
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    const X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
    const Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";

    fn verified(token: &str, key: serde_json::Value) -> Result<String, TokenError> {
        let claims = Unverified::parse(token)?.verify(&json!({"keys": [key]}).to_string())?;
        Ok(claims.get("iss").and_then(|issuer| issuer.as_str()).unwrap_or_default().to_owned())
    }

    #[test]
    fn the_example_tokens_of_rfc_7515_are_verified() {
        let rsa = json!({"kty": "RSA", "n": N, "e": "AQAB"});
        let token = format!("{RS256}.{PAYLOAD}.{RS256_SIGNATURE}");
        assert_eq!(verified(&token, rsa.clone()).as_deref(), Ok("joe"));
        let curve = json!({"kty": "EC", "crv": "P-256", "x": X, "y": Y});
        let other = format!("{ES256}.{PAYLOAD}.{ES256_SIGNATURE}");
        assert_eq!(verified(&other, curve.clone()).as_deref(), Ok("joe"));
        assert_eq!(verified(&token, curve), Err(TokenError::NoKey), "a key of the other kind");
        assert_eq!(verified(&format!("{RS256}.{PAYLOAD}.{ES256_SIGNATURE}"), rsa), Err(TokenError::Signature));
    }

    #[test]
    fn a_key_for_another_use_or_algorithm_is_not_tried() {
        let token = format!("{RS256}.{PAYLOAD}.{RS256_SIGNATURE}");
        let with = |name: &str, value: &str| {
            let mut key = json!({"kty": "RSA", "kid": "one", "n": N, "e": "AQAB"});
            key[name] = json!(value);
            key
        };
        assert!(verified(&token, with("use", "sig")).is_ok() && verified(&token, with("alg", "RS256")).is_ok());
        for (name, value) in [("use", "enc"), ("alg", "RS512"), ("kty", "oct")] {
            assert_eq!(verified(&token, with(name, value)), Err(TokenError::NoKey), "{name} {value}");
        }
        for (uses, found) in [(json!(["verify", "x"]), Ok("joe".to_owned())), (json!(["sign"]), Err(TokenError::NoKey))]
        {
            let key = json!({"kty": "RSA", "n": N, "e": "AQAB", "key_ops": uses});
            assert_eq!(verified(&token, key), found);
        }
        assert_eq!(verified(&token, with("n", "")), Err(TokenError::Signature));
    }

    #[test]
    fn a_malformed_key_of_a_key_set_is_passed_over() {
        let token = format!("{RS256}.{PAYLOAD}.{RS256_SIGNATURE}");
        let key = json!({"kty": "RSA", "n": N, "e": "AQAB"});
        for other in [json!({"no": "kty"}), json!({"kty": "RSA", "kid": 1}), json!({"kty": "EC", "use": []}), json!(1)]
        {
            let set = json!({"keys": [other, key]}).to_string();
            assert!(Unverified::parse(&token).and_then(|token| token.verify(&set)).is_ok(), "{other}");
        }
    }

    #[test]
    fn a_token_with_critical_extensions_is_refused() {
        for header in [json!({"alg": "RS256", "crit": ["b64"]}), json!({"alg": "RS256", "crit": null})] {
            let header = base64_simd::URL_SAFE_NO_PAD.encode_to_string(header.to_string());
            let token = format!("{header}.{PAYLOAD}.{RS256_SIGNATURE}");
            assert_eq!(verified(&token, json!({})), Err(TokenError::Critical));
        }
    }

    #[test]
    fn a_malformed_web_token_is_refused() {
        for text in ["", ".", "..", "a.b.c", &format!("{RS256}.{PAYLOAD}"), &format!("{PAYLOAD}.{PAYLOAD}.AA")] {
            assert_eq!(verified(text, json!({})), Err(TokenError::Malformed), "{text}");
        }
        let none = format!("eyJhbGciOiJub25lIn0.{PAYLOAD}.");
        assert_eq!(verified(&none, json!({})), Err(TokenError::Algorithm("none".to_owned())));
        let signed = format!("{RS256}.{PAYLOAD}.{RS256_SIGNATURE}");
        let broken = Unverified::parse(&signed).and_then(|token| token.verify("{"));
        assert!(matches!(broken, Err(TokenError::KeySet(_))));
    }
}
