//! The store of identity documents: a linearizable view, and conditional writes.

use crate::actors::gateway::Gateway;
use crate::actors::meta::{Change, DocumentWrite, MetaError, Refusal, Reply};
use crate::api::identity::{Documents, IdentityError};

/// The result of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    Done,
    /// A precondition failed, as a document has changed since the decision; nothing was written.
    Changed,
}

#[async_trait::async_trait]
pub trait IdentityStore: Send + Sync {
    /// Returns a view of everything acknowledged before the call.
    async fn view(&self) -> Result<Box<dyn Documents>, IdentityError>;

    /// Applies all of the writes, or none.
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
        match self.meta().propose(Change::WriteDocuments(writes)).await.map_err(not_written)? {
            Reply::Refused(Refusal::DocumentChanged) => Ok(Written::Changed),
            Reply::Refused(refusal) => Err(IdentityError::Unavailable(refusal.to_string())),
            _ => Ok(Written::Done),
        }
    }
}

fn not_written(error: MetaError) -> IdentityError {
    match error {
        MetaError::TooLarge(error) => {
            IdentityError::LimitExceeded(format!("Cannot exceed quota for the size of a stored record: {error}."))
        }
        error => unavailable(error),
    }
}

fn unavailable(error: MetaError) -> IdentityError {
    IdentityError::Unavailable(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::not_written;
    use crate::actors::meta::{MetaError, TooLarge};

    #[test]
    fn a_too_large_document_is_answered_409_and_not_503() {
        let large = TooLarge { what: "a record of identities", bytes: 2 << 20, bytes_max: 1 << 20 };
        let refused = not_written(MetaError::TooLarge(large));
        assert_eq!((refused.code(), refused.status()), ("LimitExceeded", 409));
        assert_eq!(not_written(MetaError::TimedOut).status(), 503);
    }
}
