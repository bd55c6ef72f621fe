//! The command `sherd admin encryption-key`: lists and changes named keys, and rewraps the keys that they wrap, page by
//! page.

use super::client::Client;
use super::progress::Progress;
use super::show::table;
use super::{AdminFailure, tell};
use crate::api::admin::{ChangeKey, EncryptionKeyJson, EncryptionKeysJson, Rewrap, Rewrapped, RootKeyJson};
use crate::config::KeyQuestion;
use std::io::Write;

/// Performs the command; returns the exit code: 1 if something could not be rewrapped.
pub fn run(client: &Client, asked: &KeyQuestion, json: bool, out: &mut impl Write) -> Result<u8, AdminFailure> {
    let change = match asked.clone() {
        KeyQuestion::List => {
            let keys: EncryptionKeysJson = client.get("/encryption-keys")?;
            tell(&keys, json, listed, out)?;
            return Ok(0);
        }
        KeyQuestion::Rewrap => {
            let done = rewrap(client)?;
            tell(&done, json, rewrapped, out)?;
            return Ok(u8::from(done.failed > 0));
        }
        KeyQuestion::Create { id, description, alias } => {
            ChangeKey::Create { id, description: description.unwrap_or_default(), alias }
        }
        KeyQuestion::Rotate { id } => ChangeKey::Rotate { id },
        KeyQuestion::Enable { id } => ChangeKey::Enable { id },
        KeyQuestion::Disable { id } => ChangeKey::Disable { id },
    };
    let key: EncryptionKeyJson = client.post("/encryption-keys", &change)?;
    tell(&key, json, changed, out)?;
    Ok(0)
}

/// Rewraps all pages.
fn rewrap(client: &Client) -> Result<Rewrapped, AdminFailure> {
    let mut progress = Progress::of_silence("versions");
    let (mut done, mut from) = (Rewrapped::default(), None);
    loop {
        let page: Rewrapped = client.post("/encryption-keys/rewrap", &Rewrap { from })?;
        progress.advance(page.looked_at, None);
        done.encryption_keys += page.encryption_keys;
        done.access_keys += page.access_keys;
        done.looked_at += page.looked_at;
        done.objects += page.objects;
        done.failed += page.failed;
        done.why = page.why.or(done.why);
        from = page.next;
        if from.is_none() {
            progress.finish();
            return Ok(done);
        }
    }
}

fn listed(answer: &EncryptionKeysJson) -> String {
    let keys = answer.keys.iter().map(|key| {
        let state = if key.enabled { "enabled" } else { "disabled" };
        let root = if key.under_current_root { "current" } else { "another" };
        let (id, version) = (key.id.clone(), key.version.to_string());
        [id, version, state.to_owned(), root.to_owned(), key.description.clone()]
    });
    let keys = table(["KEY", "VERSION", "STATE", "ROOT KEY", "DESCRIPTION"], keys);
    let roots = answer.root_keys.iter().map(|root| {
        let (wraps, seals) = (root.encryption_keys.to_string(), root.access_keys.to_string());
        [root.id.clone(), root_key_state(root).to_owned(), wraps, seals]
    });
    format!("{keys}\n{}", table(["ROOT KEY", "STATE", "KEY VERSIONS", "ACCESS KEYS"], roots))
}

fn root_key_state(root: &RootKeyJson) -> &'static str {
    match (root.current, root.known, root.encryption_keys + root.access_keys) {
        (true, ..) => "current",
        (false, false, _) => "missing",
        (false, true, 0) => "former, not needed",
        (false, true, _) => "former",
    }
}

fn changed(key: &EncryptionKeyJson) -> String {
    let state = if key.enabled { "enabled" } else { "disabled" };
    format!("{}: version {}, {state}\n", key.id, key.version)
}

fn rewrapped(done: &Rewrapped) -> String {
    let mut text = format!(
        "wrapped anew: {} encryption keys, {} access keys, the data keys of {} of {} versions of objects\n",
        done.encryption_keys, done.access_keys, done.objects, done.looked_at
    );
    if let Some(why) = &done.why {
        text.push_str(&format!("of {} versions the data key cannot be opened, the last because {why}\n", done.failed));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{RootKeyJson, root_key_state};

    #[test]
    fn a_former_root_key_is_needed_while_it_wraps_anything() {
        let of = |current, known, encryption_keys, access_keys| {
            root_key_state(&RootKeyJson { id: String::new(), current, known, encryption_keys, access_keys })
        };
        assert_eq!([of(true, true, 0, 0), of(false, true, 1, 0)], ["current", "former"]);
        assert_eq!([of(false, true, 0, 1), of(false, true, 0, 0)], ["former", "former, not needed"]);
        assert_eq!(of(false, false, 1, 0), "missing");
    }
}
