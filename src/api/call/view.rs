//! The view of the metadata for one request. Access decision and operation use the same view, so they see the same
//! state, and a host that does not lead asks the leader once.

use crate::actors::gateway::{Gateway, StoreError};
use crate::actors::meta::MetaView;
use crate::traces::Spans;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The view of one request, which is taken when it is first needed.
#[derive(Default)]
pub struct RequestView {
    view: Mutex<Option<MetaView>>,
    /// The recorder of the wait for the view.
    spans: Spans,
}

impl RequestView {
    pub fn recorded(spans: &Spans) -> Self {
        Self { spans: spans.clone(), ..Self::default() }
    }

    /// Returns the view of the request. The first call takes it behind the read barrier.
    pub async fn get(&self, gateway: &Gateway) -> Result<MetaView, StoreError> {
        if let Some(view) = self.lock().clone() {
            return Ok(view);
        }
        let _span = self.spans.begin("metadata.read");
        let view = gateway.meta().read().await?;
        *self.lock() = Some(view.clone());
        Ok(view)
    }

    /// Takes the view for the first lookup of the operation, which so sees the state that access was decided on. Later
    /// lookups take new views, to see the operation's own changes.
    pub fn take(&self) -> Option<MetaView> {
        self.lock().take()
    }

    fn lock(&self) -> MutexGuard<'_, Option<MetaView>> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for RequestView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestView").finish_non_exhaustive()
    }
}
