//! Changes of documents of the metadata for routes of the admin API.

use super::source::AdminError;
use super::{Admin, Refusal};
use crate::actors::meta::{Change, DocumentWrite, Refusal as Refused, Reply};

/// The number of attempts of a change, each of which can conflict with another change of the same document.
pub const TRIES_MAX: usize = 8;

/// Writes documents; returns false, without a write, if an expectation does not hold.
pub async fn write(admin: &Admin, writes: Vec<DocumentWrite>) -> Result<bool, Refusal> {
    admin.gateway.check_changeable().map_err(Refusal::unavailable)?;
    match admin.gateway.meta().propose(Change::WriteDocuments(writes)).await.map_err(Refusal::unavailable)? {
        Reply::Refused(Refused::DocumentChanged) => Ok(false),
        Reply::Refused(refusal) => Err(refused(refusal.to_string())),
        _ => Ok(true),
    }
}

pub fn refused(why: String) -> Refusal {
    Refusal::Source(AdminError::Refused(why))
}
