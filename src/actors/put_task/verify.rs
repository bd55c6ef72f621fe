//! Comparison of a received body with the digests that the client sent.

use crate::actors::request::{BodyChecks, StoreError, TrailerChecksum};
use crate::storage::checksum::BodyDigests;
use crate::storage::meta::record::{Checksum, ChecksumAlgorithm, ChecksumKind};
use bytes::Bytes;

/// Returns a computed value as the checksum of a full object.
pub(super) fn of_content((algorithm, value): (ChecksumAlgorithm, Bytes)) -> Checksum {
    Checksum { algorithm, kind: ChecksumKind::FullObject, value }
}

/// Compares the body's digests with those of the head and the trailer. Returns the computed checksum, if one was
/// requested.
pub(super) fn verify(
    checks: &BodyChecks,
    trailer: Option<TrailerChecksum>,
    digests: &BodyDigests,
) -> Result<Option<Checksum>, StoreError> {
    if checks.md5.is_some_and(|md5| md5 != digests.md5) {
        return Err(StoreError::Md5Mismatch);
    }
    let computed = digests.checksum.clone().map(of_content);
    if let (Some((algorithm, Some(claimed))), Some(computed)) = (&checks.checksum, &computed)
        && *claimed != computed.value
    {
        return Err(StoreError::ChecksumMismatch(*algorithm));
    }
    let trailing = trailer.and_then(|trailer| trailer()).transpose()?;
    match (&trailing, &computed) {
        (Some(trailing), Some(computed)) if trailing.algorithm == computed.algorithm => {
            if trailing.value != computed.value {
                return Err(StoreError::ChecksumMismatch(trailing.algorithm));
            }
        }
        (Some(trailing), _) => {
            return Err(StoreError::TrailerUnannounced(trailing.algorithm));
        }
        (None, _) => {}
    }
    Ok(computed)
}
