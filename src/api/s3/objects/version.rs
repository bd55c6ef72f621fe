//! Versions as requests name them and answers show them.

use super::super::headers::http_date;
use crate::actors::meta::{BucketRow, DeleteMarker, KvError, MetaView, Pick, Version, VersionRow, Versioning};
use crate::api::errors::Fault;
use crate::types::ManifestId;

/// `null` or a name that we gave; none at all is what stands.
pub fn pick(version_id: Option<&str>) -> Result<Pick, Fault> {
    match version_id {
        None => Ok(Pick::Current),
        Some("") => Err(Fault::InvalidArgument("Version id cannot be the empty string".to_owned())),
        Some(name) => {
            Pick::parse(name).ok_or_else(|| Fault::InvalidArgument("Invalid version id specified".to_owned()))
        }
    }
}

/// As answers show it: not at all where there are no versions.
pub fn shown(bucket: &BucketRow, version: Version) -> Option<String> {
    (bucket.settings.versioning != Versioning::Never).then(|| version.to_string())
}

/// As the answer to a write shows what it made: while versioning is suspended, not at all (API Reference, "PutObject",
/// the samples of its response).
pub fn made(bucket: &BucketRow, version: Version) -> Option<String> {
    (bucket.settings.versioning == Versioning::Enabled).then(|| version.to_string())
}

/// What a change of one version is to be of: the version in the view by which the request was judged. One that no version
/// has where there is none.
pub fn manifest_of(view: &MetaView, bucket: &BucketRow, key: &str, pick: Pick) -> Result<ManifestId, KvError> {
    Ok(match view.version(bucket.bucket.id, key, pick)? {
        Some(VersionRow::Object(object)) => object.manifest.id,
        Some(VersionRow::DeleteMarker(_)) | None => ManifestId(0),
    })
}

/// What is not there.
pub fn absent(pick: Pick) -> Fault {
    if pick == Pick::Current { Fault::NoSuchKey } else { Fault::NoSuchVersion }
}

/// What is a delete marker. Only when it is asked for by name does it say since when.
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
    fn a_version_that_no_object_can_have_is_an_invalid_argument() {
        assert_eq!(pick(None), Ok(Pick::Current));
        assert_eq!(pick(Some("null")), Ok(Pick::Null));
        assert!(matches!(pick(Some("IJKLMNOPRSTUVWXYZ")), Err(Fault::InvalidArgument(_))));
        assert!(matches!(pick(Some("")), Err(Fault::InvalidArgument(_))));
    }
}
