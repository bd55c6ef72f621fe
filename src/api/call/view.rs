//! The view of the metadata by which one request is judged, and on which its operation works: what it may do and what it
//! finds are of the same tables, and a host that does not lead asks the leader once.

use crate::actors::gateway::{Gateway, StoreError};
use crate::actors::meta::MetaView;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// An operation that begins later than this after its request was judged (its body came slowly) is judged again.
const AGE_MAX: Duration = Duration::from_secs(1);

/// The view of one request, taken when it is first needed. Part of the request's `Call`.
#[derive(Default)]
pub struct RequestView(Mutex<Option<Taken>>);

#[derive(Clone)]
struct Taken {
    view: MetaView,
    since: Duration,
}

impl RequestView {
    /// The view by which the request is judged: that of the first call. `now`: of the monotonic clock.
    pub async fn get(&self, gateway: &Gateway, now: Duration) -> Result<MetaView, StoreError> {
        if let Some(taken) = self.lock().clone() {
            return Ok(taken.view);
        }
        let view = gateway.meta().read().await?;
        *self.lock() = Some(Taken { view: view.clone(), since: now });
        Ok(view)
    }

    /// Whether the view is too old for the operation of the request.
    pub fn is_past(&self, now: Duration) -> bool {
        self.lock().as_ref().is_some_and(|taken| now.saturating_sub(taken.since) > AGE_MAX)
    }

    /// Takes the view, for the first look of an operation: it works on what was judged, and on nothing else. Later looks
    /// are to show what the operation itself has changed meanwhile.
    pub fn take(&self) -> Option<MetaView> {
        Some(self.lock().take()?.view)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Taken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for RequestView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestView").finish_non_exhaustive()
    }
}
