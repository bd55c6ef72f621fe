//! Version ids in requests and answers, and the faults of absent versions and delete markers.

use super::object_headers::http_date;
use crate::actors::meta::{BucketRow, DeleteMarker, KvError, MetaView, Pick, Version, VersionRow, Versioning};
use crate::api::errors::{ArgumentFault, Fault};
use crate::types::ManifestId;

/// Parses the version id of a request: `null`, or one in the form of the store's. Without one, the current version is
/// meant.
pub fn pick(version_id: Option<&str>) -> Result<Pick, Fault> {
    match version_id {
        None => Ok(Pick::Current),
        Some("") => Err(ArgumentFault::parameter("versionId", "Version id cannot be the empty string").into()),
        Some(name) => Pick::parse(name)
            .ok_or_else(|| ArgumentFault::parameter("versionId", "Invalid version id specified").into()),
    }
}

/// Returns the version id for answers; `None` in a bucket without versions.
pub fn shown(bucket: &BucketRow, version: Version) -> Option<String> {
    (bucket.settings.versioning != Versioning::Never).then(|| version.to_string())
}

/// Returns the version id for the answer to a write; `None` for a null version (API Reference, "PutObject", sample
/// responses). The bucket as the request saw it does not count: its versioning may have changed before the write ended.
pub fn made(version: Version) -> Option<String> {
    (!version.null).then(|| version.to_string())
}

/// Returns the manifest id that a change of one version is conditioned on: that of the version in the view by which the
/// request was judged. For an absent version it is an id that no version has.
pub fn manifest_of(view: &MetaView, bucket: &BucketRow, key: &str, pick: Pick) -> Result<ManifestId, KvError> {
    Ok(match view.version(bucket.bucket.id, key, pick)? {
        Some(VersionRow::Object(object)) => object.manifest.id,
        Some(VersionRow::DeleteMarker(_)) | None => ManifestId(0),
    })
}

/// Returns the fault of an absent version.
pub fn absent(pick: Pick) -> Fault {
    if pick == Pick::Current { Fault::NoSuchKey } else { Fault::NoSuchVersion }
}

/// Returns the fault of a delete marker. It has the marker's time only if the request named it by version id.
pub fn marker(pick: Pick, marker: &DeleteMarker) -> Fault {
    let named = pick != Pick::Current;
    let modified = http_date(marker.modified).filter(|_| named);
    Fault::DeleteMarker { named, version: marker.version.to_string(), modified }
}

#[cfg(test)]
mod tests {
    use super::pick;
    use crate::actors::meta::Pick;
    use crate::api::errors::Fault;

    #[test]
    fn a_malformed_version_id_is_an_invalid_argument() {
        assert_eq!(pick(None), Ok(Pick::Current));
        assert_eq!(pick(Some("null")), Ok(Pick::Null));
        assert!(matches!(pick(Some("IJKLMNOPRSTUVWXYZ")), Err(Fault::Argument(_))));
        assert!(matches!(pick(Some("")), Err(Fault::Argument(_))));
    }
}
