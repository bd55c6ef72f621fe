//! Where identities are kept, as this front sees it: a view to decide on, and a place for what was decided.

use crate::actors::gateway::Gateway;
use crate::actors::meta::{Change, DocumentWrite, MetaError, Refusal, Reply};
use crate::api::identity::{Documents, IdentityError};

/// Whether writes were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    Done,
    /// Something else stands than was decided on; nothing was written.
    Changed,
}

#[async_trait::async_trait]
pub trait IdentityStore: Send + Sync {
    /// All that was acknowledged before the call.
    async fn view(&self) -> Result<Box<dyn Documents>, IdentityError>;

    /// All of them, or none.
    async fn write(&self, writes: Vec<DocumentWrite>) -> Result<Written, IdentityError>;
}

#[async_trait::async_trait]
impl IdentityStore for Gateway {
    async fn view(&self) -> Result<Box<dyn Documents>, IdentityError> {
        let view = self.meta().read().await.map_err(unavailable)?;
        Ok(Box::new(view))
    }

    async fn write(&self, writes: Vec<DocumentWrite>) -> Result<Written, IdentityError> {
        self.check_changeable().map_err(|error| IdentityError::Unavailable(error.to_string()))?;
        match self.meta().propose(Change::WriteDocuments(writes)).await.map_err(unavailable)? {
            Reply::Refused(Refusal::DocumentChanged) => Ok(Written::Changed),
            Reply::Refused(refusal) => Err(IdentityError::Unavailable(refusal.to_string())),
            _ => Ok(Written::Done),
        }
    }
}

fn unavailable(error: MetaError) -> IdentityError {
    IdentityError::Unavailable(error.to_string())
}
