//! A periodic check that this host has each root key that encryption keys and secrets were wrapped with. Without one, the
//! objects and users that depend on it are refused, and nothing else would show why.

use super::{Admin, Refusal, named_keys, roots_in_use};
use crate::api::health::{Problems, Subject};
use hex_simd::AsciiCase;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

/// The interval between checks: another host may wrap with a root key that this one lacks.
const CHECK_EVERY: Duration = Duration::from_secs(600);
/// The pause after a check that failed, which doubles with each failure.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Checks again and again, and reports what is missing.
pub(in crate::api) async fn watch(admin: Arc<Admin>, problems: Problems) {
    let (mut known, mut pause) = (Vec::new(), RETRY_AFTER);
    loop {
        let missing = match missing(&admin).await {
            Ok(missing) => missing,
            Err(error) => {
                tracing::debug!(%error, "whether a root key is missing cannot be told yet");
                sleep(pause).await;
                pause = (2 * pause).min(CHECK_EVERY);
                continue;
            }
        };
        pause = RETRY_AFTER;
        for words in missing.iter().filter(|words| !known.contains(*words)) {
            tracing::error!("{words}");
        }
        known.clone_from(&missing);
        problems.set(Subject::RootKeys, missing);
        sleep(CHECK_EVERY).await;
    }
}

/// Returns a sentence for each root key that is in use and missing here.
async fn missing(admin: &Arc<Admin>) -> Result<Vec<String>, Refusal> {
    let view = admin.gateway.meta().read().await.map_err(Refusal::unavailable)?;
    let reading = Arc::clone(admin);
    let roots = spawn_blocking(move || roots_in_use(&reading, &view, &named_keys(&view)?));
    let roots = roots.await.map_err(Refusal::unavailable)??;
    let is_missing = |id: &[u8; 8]| admin.roots.of_bytes(*id).is_none();
    let missing = roots.into_iter().filter(|(id, _)| is_missing(id));
    Ok(missing.map(|(id, counts)| words(&hex_simd::encode_to_string(id, AsciiCase::Lower), counts)).collect())
}

fn words(id: &str, (encryption_keys, access_keys): (u64, u64)) -> String {
    format!(
        "this host lacks the root key {id}, which wraps {encryption_keys} versions of encryption keys and seals the \
         secrets of {access_keys} access keys: it can use neither. Add the root key to the file that \
         SHERD_ROOT_KEY_FILE names, and restart the host"
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_missing_root_key_is_named_with_what_depends_on_it() {
        let words = super::words("00ff", (2, 7));
        assert!(
            words.starts_with("this host lacks the root key 00ff, which wraps 2 ") && words.contains(" 7 access keys:"),
            "{words}"
        );
    }
}
