//! Where the keys of identity providers come from: files, read whenever they are needed, and servers, asked anew when
//! what they said has become old.

use super::NodeError;
use crate::ambient::Ambient;
use crate::api::{KeySetFiles, KeySets};
use crate::config::KeySetSource;
use crate::net::Fetcher;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A document with keys.
const BYTES_MAX: usize = 256 << 10;
/// Then a server is asked again; one that does not answer is believed for longer what it said.
const FRESH: Duration = Duration::from_secs(300);
const STALE_MAX: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug)]
pub(super) struct ProvidersKeys {
    files: KeySetFiles,
    /// By the provider's URL without its scheme.
    servers: BTreeMap<String, Server>,
    ambient: Ambient,
}

#[derive(Debug)]
struct Server {
    fetcher: Fetcher,
    said: Mutex<Option<Said>>,
}

#[derive(Clone, Debug)]
struct Said {
    keys: Arc<str>,
    at: Duration,
}

pub(super) fn key_sets(
    sources: &BTreeMap<String, KeySetSource>,
    ambient: &Ambient,
) -> Result<Arc<dyn KeySets>, NodeError> {
    let mut keys = ProvidersKeys { files: KeySetFiles::default(), servers: BTreeMap::new(), ambient: ambient.clone() };
    for (provider, source) in sources {
        match source {
            KeySetSource::File(path) => {
                keys.files.files.insert(provider.clone(), path.clone());
            }
            KeySetSource::Url(url) => {
                let fetcher =
                    Fetcher::new(url, None).map_err(|cause| NodeError::KeySet { provider: provider.clone(), cause })?;
                keys.servers.insert(provider.clone(), Server { fetcher, said: Mutex::default() });
            }
        }
    }
    Ok(Arc::new(keys))
}

impl Server {
    async fn keys(&self, now: Duration) -> Result<Arc<str>, String> {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let age = |said: &Said| now.saturating_sub(said.at);
        if let Some(said) = said.as_ref().filter(|said| age(said) < FRESH) {
            return Ok(Arc::clone(&said.keys));
        }
        let fetched = match self.fetcher.fetch(BYTES_MAX).await {
            Ok(bytes) => String::from_utf8(bytes).map_err(|_| "its keys are not text".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        match (fetched, said.filter(|said| age(said) < STALE_MAX)) {
            (Ok(text), _) => {
                let keys: Arc<str> = text.into();
                let said = Said { keys: Arc::clone(&keys), at: now };
                *self.said.lock().unwrap_or_else(PoisonError::into_inner) = Some(said);
                Ok(keys)
            }
            (Err(why), Some(said)) => {
                tracing::warn!(server = ?self.fetcher, %why, "an identity provider's former keys are used");
                Ok(said.keys)
            }
            (Err(why), None) => Err(why),
        }
    }
}

#[async_trait::async_trait]
impl KeySets for ProvidersKeys {
    async fn key_set(&self, url: &str) -> Result<String, String> {
        let provider = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).unwrap_or(url);
        match self.servers.get(provider.trim_end_matches('/')) {
            Some(server) => Ok(server.keys(self.ambient.clock.monotonic()).await?.to_string()),
            None => self.files.key_set(url).await,
        }
    }
}
