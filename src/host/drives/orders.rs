//! Orders to change the drives of this host while it runs. One is carried out at a time: what an addition finds of the other
//! drives must hold until it is over.

use crate::api::admin::{AdminError, DriveAdded, DriveReplaced};
use crate::types::NodeId;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::timeout;

/// The longest wait of whoever asked; the work goes on after it.
const ANSWER_PATIENCE: Duration = Duration::from_secs(50);

type Reply<T> = oneshot::Sender<Result<T, AdminError>>;

#[derive(Debug)]
pub(super) enum DriveOrder {
    Replace {
        node: NodeId,
        reply: Reply<DriveReplaced>,
    },
    /// The directory is as it was written in the order.
    Add {
        directory: String,
        reply: Reply<DriveAdded>,
    },
}

/// An order that is the only one, until this is dropped.
#[derive(Debug)]
pub(in crate::host) struct TheOrder {
    pub(super) order: DriveOrder,
    pub(super) only: OwnedSemaphorePermit,
}

/// Hands orders to the bay. Cheap to clone.
#[derive(Clone, Debug)]
pub(in crate::host) struct BayDoor {
    orders: mpsc::Sender<TheOrder>,
    only: Arc<Semaphore>,
}

impl BayDoor {
    /// A door, and what comes through it.
    pub fn new() -> (Self, mpsc::Receiver<TheOrder>) {
        let (orders, receiver) = mpsc::channel(1);
        (Self { orders, only: Arc::new(Semaphore::new(1)) }, receiver)
    }

    pub async fn replace(&self, node: NodeId) -> Result<DriveReplaced, AdminError> {
        self.order(|reply| DriveOrder::Replace { node, reply }).await
    }

    pub async fn add(&self, directory: String) -> Result<DriveAdded, AdminError> {
        self.order(|reply| DriveOrder::Add { directory, reply }).await
    }

    async fn order<T>(&self, order: impl FnOnce(Reply<T>) -> DriveOrder) -> Result<T, AdminError> {
        let busy = |_| unavailable("another drive of this host is being replaced or added; try again later");
        let only = Arc::clone(&self.only).try_acquire_owned().map_err(busy)?;
        let (reply, answer) = oneshot::channel();
        let stopping = || unavailable("this host is stopping");
        self.orders.send(TheOrder { order: order(reply), only }).await.map_err(|_| stopping())?;
        match timeout(ANSWER_PATIENCE, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(stopping()),
            Err(_) => Err(unavailable("this is still under way; `sherd admin drives` shows when it is done")),
        }
    }
}

pub(super) fn unavailable(why: impl ToString) -> AdminError {
    AdminError::Unavailable(why.to_string())
}

pub(super) fn refused(why: impl ToString) -> AdminError {
    AdminError::Refused(why.to_string())
}

#[cfg(test)]
mod tests {
    use super::{BayDoor, DriveOrder, TheOrder};
    use crate::api::admin::AdminError;
    use crate::types::NodeId;

    #[tokio::test]
    async fn a_drive_is_not_added_while_another_is_being_replaced() {
        let (door, mut orders) = BayDoor::new();
        let replacing = tokio::spawn({
            let door = door.clone();
            async move { door.replace(NodeId(1)).await }
        });
        let under_way = orders.recv().await.expect("an order");
        let refused = door.add("/d5".to_owned()).await;
        assert!(matches!(&refused, Err(AdminError::Unavailable(why)) if why.contains("try again")), "{refused:?}");
        let TheOrder { order: DriveOrder::Replace { reply, .. }, only } = under_way else {
            panic!("an order to replace")
        };
        drop(only);
        let _ = reply.send(Err(AdminError::Refused("it is still there".to_owned())));
        assert!(replacing.await.expect("it ends").is_err());
        let adding = tokio::spawn(async move { door.add("/d5".to_owned()).await });
        let next = orders.recv().await.expect("an order");
        assert!(matches!(next.order, DriveOrder::Add { .. }));
        drop(next);
        assert!(adding.await.expect("it ends").is_err(), "whom nobody answers is told that the host stops");
    }
}
