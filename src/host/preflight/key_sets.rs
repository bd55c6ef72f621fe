//! The sources of the key sets (JWKS) of OpenID Connect providers: files, which are read on each use, and servers,
//! whose keys are cached and fetched again after five minutes.

use crate::ambient::{Ambient, Clock};
use crate::api::{KeySetFiles, KeySets, check_key_set};
use crate::config::KeySetSource;
use crate::host::error::HostError;
use crate::net::Fetcher;
use crate::setting_file;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// The largest key set that is fetched.
const BYTES_MAX: usize = 256 << 10;
/// The age at which keys are fetched again.
const FRESH: Duration = Duration::from_secs(300);
/// The age up to which keys are used while their server does not answer.
const STALE_MAX: Duration = Duration::from_secs(24 * 3600);
/// The pause after a failed fetch. Without it, anonymous requests for a session would make this host flood the server.
const RETRY_PAUSE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct ProvidersKeys {
    files: KeySetFiles,
    /// The servers, by the provider's URL without its scheme.
    servers: BTreeMap<String, Server>,
    ambient: Ambient,
}

#[derive(Debug)]
struct Server {
    fetcher: Fetcher,
    /// Locked during a fetch, so that concurrent callers wait for its answer instead of fetching themselves.
    state: Mutex<FetchState>,
}

#[derive(Debug, Default)]
struct FetchState {
    fetched: Option<FetchedKeys>,
    /// The last failure, and its time.
    failed: Option<(String, Duration)>,
}

#[derive(Debug)]
struct FetchedKeys {
    keys: Arc<str>,
    at: Duration,
}

pub(super) fn key_sets(
    sources: &BTreeMap<String, KeySetSource>,
    ambient: &Ambient,
) -> Result<Arc<dyn KeySets>, HostError> {
    let mut keys = ProvidersKeys { files: KeySetFiles::default(), servers: BTreeMap::new(), ambient: ambient.clone() };
    for (provider, source) in sources {
        match source {
            KeySetSource::File(path) => {
                let text = setting_file::read_text(path).map_err(|error| error.to_string());
                let checked = text.and_then(|text| check_key_set(&text));
                checked.map_err(|why| HostError::KeySetFile { path: path.clone(), why })?;
                keys.files.files.insert(provider.clone(), path.clone());
            }
            KeySetSource::Url(url) => {
                let fetcher =
                    Fetcher::new(url, None).map_err(|cause| HostError::KeySet { provider: provider.clone(), cause })?;
                keys.servers.insert(provider.clone(), Server { fetcher, state: Mutex::default() });
            }
        }
    }
    Ok(Arc::new(keys))
}

impl Server {
    async fn keys(&self, clock: &dyn Clock) -> Result<Arc<str>, String> {
        let mut state = self.state.lock().await;
        let age = |at: Duration| clock.monotonic().saturating_sub(at);
        let is_fresh = state.fetched.as_ref().is_some_and(|fetched| age(fetched.at) < FRESH);
        let is_quiet = state.failed.as_ref().is_some_and(|(_, at)| age(*at) < RETRY_PAUSE);
        if !is_fresh && !is_quiet {
            match self.fetch().await {
                Ok(keys) => {
                    *state = FetchState { fetched: Some(FetchedKeys { keys, at: clock.monotonic() }), failed: None }
                }
                Err(why) => {
                    tracing::warn!(server = ?self.fetcher, %why, "an identity provider's keys cannot be fetched");
                    state.failed = Some((why, clock.monotonic()));
                }
            }
        }
        match (&state.fetched, &state.failed) {
            (Some(fetched), _) if age(fetched.at) < STALE_MAX => Ok(Arc::clone(&fetched.keys)),
            (_, Some((why, _))) => Err(why.clone()),
            _ => Err("its cached keys are too old".to_owned()),
        }
    }

    async fn fetch(&self) -> Result<Arc<str>, String> {
        let bytes = self.fetcher.fetch(BYTES_MAX).await.map_err(|error| error.to_string())?;
        Ok(String::from_utf8(bytes).map_err(|_| "its keys are not text".to_owned())?.into())
    }
}

#[async_trait::async_trait]
impl KeySets for ProvidersKeys {
    async fn key_set(&self, provider: &str) -> Result<String, String> {
        match self.servers.get(provider) {
            Some(server) => Ok(server.keys(&*self.ambient.clock).await?.to_string()),
            None => self.files.key_set(provider).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::key_sets;
    use crate::ambient::Ambient;
    use crate::config::KeySetSource;
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// Starts a server that gives this answer to each request. Returns the source that names it, and its count of
    /// requests.
    async fn server(answer: &'static str) -> (BTreeMap<String, KeySetSource>, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/keys", listener.local_addr().expect("an address"));
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let mut request = [0; 1024];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        (BTreeMap::from([("id.example.org".to_owned(), KeySetSource::Url(url))]), asked)
    }

    #[tokio::test]
    async fn concurrent_and_later_lookups_share_one_fetch() {
        let (sources, asked) = server("HTTP/1.0 200 OK\r\n\r\n{}").await;
        let sets = key_sets(&sources, &Ambient::system()).expect("a URL");
        let (one, other) = tokio::join!(sets.key_set("id.example.org"), sets.key_set("id.example.org"));
        assert_eq!((one.as_deref(), other.as_deref()), (Ok("{}"), Ok("{}")));
        assert_eq!(sets.key_set("id.example.org").await.as_deref(), Ok("{}"));
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        assert!(sets.key_set("elsewhere.example.org").await.is_err());
    }

    #[tokio::test]
    async fn a_server_that_failed_is_not_asked_again_at_once() {
        let (sources, asked) = server("HTTP/1.0 500 Sorry\r\n\r\n").await;
        let sets = key_sets(&sources, &Ambient::system()).expect("a URL");
        for _ in 0..3 {
            assert!(sets.key_set("id.example.org").await.is_err_and(|why| why.contains("500")));
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }
}
