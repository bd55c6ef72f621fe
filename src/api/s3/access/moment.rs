//! The moment of the metadata at which one request is judged, and then answered: what it may do and what it finds are of
//! the same tables, and a host that does not lead asks the leader once.

use crate::actors::gateway::{Gateway, StoreError};
use crate::actors::meta::MetaView;
use std::cell::RefCell;
use std::future::Future;
use std::time::Duration;

/// An operation that begins later than this after its request was judged (its body came slowly) is judged again.
const AGE_MAX: Duration = Duration::from_secs(1);

#[derive(Clone)]
struct Moment {
    view: MetaView,
    since: Duration,
}

tokio::task_local! {
    static MOMENT: RefCell<Option<Moment>>;
}

/// Runs one request.
pub async fn within<F: Future>(request: F) -> F::Output {
    MOMENT.scope(RefCell::new(None), request).await
}

/// The view by which the request is judged: that of the first call.
pub async fn judged(gateway: &Gateway, now: Duration) -> Result<MetaView, StoreError> {
    if let Some(moment) = MOMENT.try_with(|moment| moment.borrow().clone()).ok().flatten() {
        return Ok(moment.view);
    }
    let view = gateway.meta().read().await?;
    let moment = Moment { view: view.clone(), since: now };
    let _ = MOMENT.try_with(|kept| kept.replace(Some(moment)));
    Ok(view)
}

/// Whether what the request was judged by is too old for its operation.
pub fn is_past(now: Duration) -> bool {
    let is_old = |moment: &Moment| now.saturating_sub(moment.since) > AGE_MAX;
    MOMENT.try_with(|moment| moment.borrow().as_ref().is_some_and(is_old)).unwrap_or(false)
}

/// The request is to be judged by the present.
pub fn forget() {
    let _ = MOMENT.try_with(RefCell::take);
}

/// The view that the request was judged by, for its operation's first look: it works on what was judged, and on nothing
/// else. Later looks are to show what the operation itself has changed meanwhile.
pub fn take() -> Option<MetaView> {
    Some(MOMENT.try_with(RefCell::take).ok().flatten()?.view)
}
