//! Encryption of the secrets of access keys with a key derived from the root key.
//!
//! The format is `root key id [8], nonce [12], ciphertext, tag [16]`: AES-256-GCM under a key derived from that root
//! key.

use super::secrets::{ID_BYTES, SecretSeal};
use crate::actors::sealing::RootKeys;
use crate::ambient::Ambient;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use std::sync::Arc;

const LABEL: &[u8] = b"sherd secrets of access keys, version 1";
const SESSIONS_LABEL: &[u8] = b"sherd sessions, version 1";

pub struct RootSeal {
    roots: Arc<RootKeys>,
    ambient: Ambient,
}

impl RootSeal {
    pub fn new(roots: Arc<RootKeys>, ambient: Ambient) -> Self {
        Self { roots, ambient }
    }
}

/// Returns the key material for `SessionKeys`.
pub fn session_material(roots: &RootKeys) -> [u8; 32] {
    roots.current().derived(SESSIONS_LABEL)
}

fn key(material: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, material).expect("32 bytes are what AES-256 takes"))
}

impl SecretSeal for RootSeal {
    fn seal(&self, secret: &[u8]) -> Vec<u8> {
        let root = self.roots.current();
        let mut nonce = [0; NONCE_LEN];
        self.ambient.entropy.fill(&mut nonce);
        let mut sealed = secret.to_vec();
        key(&root.derived(LABEL))
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut sealed)
            .expect("a secret is far below what AES-GCM seals at once");
        [&root.id().to_bytes()[..], &nonce, &sealed].concat()
    }

    fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (id, rest) = sealed.split_first_chunk::<ID_BYTES>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let root = self.roots.of_bytes(*id)?;
        let mut secret = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = key(&root.derived(LABEL)).open_in_place(nonce, Aad::empty(), &mut secret).ok()?.len();
        secret.truncate(opened);
        Some(secret)
    }
}

#[cfg(test)]
mod tests {
    use super::RootSeal;
    use crate::actors::sealing::RootKeys;
    use crate::ambient::Ambient;
    use crate::api::identity::SecretSeal;
    use crate::api::identity::secrets::root_of;
    use std::sync::Arc;

    fn roots(text: &str) -> Arc<RootKeys> {
        Arc::new(RootKeys::parse(text.as_bytes()).expect("keys"))
    }

    #[test]
    fn a_secret_opens_with_the_current_or_former_root_key_that_sealed_it() {
        let (first, second) = ("11".repeat(32), "22".repeat(32));
        let old = RootSeal::new(roots(&first), Ambient::system());
        let sealed = old.seal(b"secret");
        assert_ne!(sealed, old.seal(b"secret"));
        assert_eq!(old.open(&sealed).as_deref(), Some(&b"secret"[..]));
        let both = RootSeal::new(roots(&format!("{second}\n{first}\n")), Ambient::system());
        assert_eq!(both.open(&sealed).as_deref(), Some(&b"secret"[..]));
        assert_eq!(root_of(&sealed), Some(roots(&first).current().id().to_bytes()));
        assert_eq!(root_of(&both.seal(b"secret")), Some(roots(&second).current().id().to_bytes()));
        assert_eq!(RootSeal::new(roots(&second), Ambient::system()).open(&sealed), None);
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert_eq!(old.open(&changed), None, "byte {index} does not matter");
        }
    }
}
