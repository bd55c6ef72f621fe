//! The view of the metadata by which one request is judged, and on which its operation works: what it may do and what it
//! finds are of the same tables, and a host that does not lead asks the leader once.

use crate::actors::gateway::{Gateway, StoreError};
use crate::actors::meta::MetaView;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The view of one request, taken when it is first needed. Part of the request's `Call`.
#[derive(Default)]
pub struct RequestView(Mutex<Option<MetaView>>);

impl RequestView {
    /// The view by which the request is judged: that of the first call.
    pub async fn get(&self, gateway: &Gateway) -> Result<MetaView, StoreError> {
        if let Some(view) = self.lock().clone() {
            return Ok(view);
        }
        let view = gateway.meta().read().await?;
        *self.lock() = Some(view.clone());
        Ok(view)
    }

    /// Takes the view, for the first look of an operation: it works on what was judged, and on nothing else. Later looks
    /// are to show what the operation itself has changed meanwhile.
    pub fn take(&self) -> Option<MetaView> {
        self.lock().take()
    }

    fn lock(&self) -> MutexGuard<'_, Option<MetaView>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for RequestView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestView").finish_non_exhaustive()
    }
}
