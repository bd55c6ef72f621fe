//! GetObjectAttributes: the properties of an object that HEAD shows, as XML, and the parts of a multipart object.

use super::super::checksums::{ShownChecksum, carried, carrying, shown_kind};
use super::super::encryption::{check_read, key_of_read};
use super::super::list::page_limit;
use super::super::object_headers::{etag_header, storage_class, timestamp};
use super::super::{Found, Store};
use super::sealed::{check_customer, sealing_of};
use crate::actors::meta::{self, PartRow};
use crate::actors::sealing::SealedObject;
use crate::api::errors::{ArgumentFault, Fault, NO_ATTRIBUTES};
use crate::api::s3::version::shown;
use crate::types::ManifestId;
use http::HeaderMap;
use s3s::dto::{
    Checksum, GetObjectAttributesInput, GetObjectAttributesOutput, GetObjectAttributesParts, ObjectAttributes,
    ObjectPart, StorageClass,
};
use s3s::{Body, HttpResponse, S3Request, S3Response, S3Result};

/// Marks an answer whose ETag is written without quotes, as S3 does in this operation only (API Reference,
/// "GetObjectAttributes").
#[derive(Clone, Copy)]
struct BareTag;

pub async fn attributes(
    store: &Store,
    request: S3Request<GetObjectAttributesInput>,
) -> S3Result<S3Response<GetObjectAttributesOutput>> {
    let input = request.input;
    let requested = requested(&request.headers)?;
    let limit = page_limit("max-parts", input.max_parts)?;
    let after = u16::try_from(input.part_number_marker.unwrap_or(0))
        .map_err(|_| Fault::InvalidArgument("Invalid part number marker.".to_owned()))?;
    check_read(&request.headers)?;
    let found = store.object(&input.bucket, &input.key, input.version_id.as_deref()).await?;
    let sealing = sealing_of(&found.version.traits)?;
    let customer = key_of_read(&request.headers, sealing.as_ref())?;
    let sealed_object = SealedObject { bucket: found.bucket.bucket.id, key: &input.key };
    check_customer(store, &found.view, sealed_object, sealing.as_ref(), customer.as_ref())?;
    let wants = |name: &str| requested.iter().any(|one| one == name);
    let manifest = &found.version.manifest;
    let object_parts = match manifest.parts() {
        Some((list, count)) if wants(ObjectAttributes::OBJECT_PARTS) => {
            Some(parts(&found, (list, count), after, limit)?)
        }
        _ => None,
    };
    let checksum = manifest.checksum.as_ref().filter(|_| wants(ObjectAttributes::CHECKSUM)).map(whole);
    let mut response = carrying(GetObjectAttributesOutput {
        checksum,
        e_tag: wants(ObjectAttributes::ETAG).then(|| etag_header(&manifest.etag)),
        last_modified: Some(timestamp(manifest.modified)),
        object_parts,
        object_size: wants(ObjectAttributes::OBJECT_SIZE)
            .then_some(i64::try_from(manifest.size_bytes).unwrap_or(i64::MAX)),
        storage_class: wants(ObjectAttributes::STORAGE_CLASS)
            .then(|| StorageClass::from(storage_class(&manifest.headers))),
        version_id: shown(&found.bucket, found.version.version),
        ..Default::default()
    });
    response.extensions.insert(BareTag);
    Ok(response)
}

/// Returns the checksum of the whole object. Only in this operation S3 leaves out a composite checksum's number of
/// parts.
fn whole(checksum: &meta::Checksum) -> Checksum {
    let shown = ShownChecksum::of_object(checksum, None);
    Checksum { checksum_crc32: carried(Some(&shown)), checksum_type: shown_kind(Some(&shown)), ..Checksum::default() }
}

/// Removes the quotes, which s3s writes around every ETag, from a marked answer.
pub fn unquoted(mut response: HttpResponse) -> HttpResponse {
    let marked = response.extensions_mut().remove::<BareTag>().is_some();
    if let Some(bytes) = response.body().bytes().filter(|_| marked) {
        let text = String::from_utf8_lossy(&bytes);
        let bare = text.replacen("<ETag>\"", "<ETag>", 1).replacen("\"</ETag>", "</ETag>", 1);
        *response.body_mut() = Body::from(bare);
    }
    response
}

/// Returns the names of the requested attributes, which are in one header or several, separated by commas.
fn requested(headers: &HeaderMap) -> Result<Vec<String>, Fault> {
    const KNOWN: [&str; 5] = [
        ObjectAttributes::CHECKSUM,
        ObjectAttributes::ETAG,
        ObjectAttributes::OBJECT_PARTS,
        ObjectAttributes::OBJECT_SIZE,
        ObjectAttributes::STORAGE_CLASS,
    ];
    let values = headers.get_all(s3s::header::X_AMZ_OBJECT_ATTRIBUTES).into_iter();
    let names: Vec<String> = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .collect();
    if names.is_empty() {
        return Err(Fault::InvalidRequest(NO_ATTRIBUTES.to_owned()));
    }
    if names.iter().any(|name| !KNOWN.contains(&name.as_str())) {
        return Err(ArgumentFault::parameter("x-amz-object-attributes", "Invalid attribute name specified.").into());
    }
    Ok(names)
}

/// Returns a page of parts in the order of their numbers, after the part number `after`.
fn parts(
    found: &Found,
    (list, count): (ManifestId, u16),
    after: u16,
    limit: usize,
) -> S3Result<GetObjectAttributesParts> {
    let size_bytes = found.version.manifest.size_bytes;
    let mut rows = match limit {
        // A page without a part would never lead to another.
        0 => Vec::new(),
        limit => found.view.parts_after(list, size_bytes, after, limit + 1)?,
    };
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().map_or(0, |row| i32::from(row.number));
    Ok(GetObjectAttributesParts {
        is_truncated: Some(more),
        max_parts: i32::try_from(limit).ok(),
        next_part_number_marker: Some(next),
        part_number_marker: Some(i32::from(after)),
        parts: Some(rows.iter().map(part).collect()),
        total_parts_count: Some(i32::from(count)),
    })
}

fn part(row: &PartRow) -> ObjectPart {
    ObjectPart {
        checksum_crc32: carried(row.checksum.as_ref().map(ShownChecksum::of_part).as_ref()),
        part_number: Some(i32::from(row.number)),
        size: i64::try_from(row.size_bytes).ok(),
        ..ObjectPart::default()
    }
}

#[cfg(test)]
mod tests {
    use super::{BareTag, requested, unquoted, whole};
    use crate::actors::meta::{Checksum, ChecksumAlgorithm, ChecksumKind};
    use crate::api::errors::Fault;
    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue};
    use s3s::{Body, HttpResponse};

    #[test]
    fn the_etag_loses_its_quotes_only_in_a_marked_answer() {
        let written = |marked: bool| {
            let mut response = HttpResponse::new(Body::from("<A><ETag>\"5-2\"</ETag><B>\"</B></A>".to_owned()));
            if marked {
                response.extensions_mut().insert(BareTag);
            }
            unquoted(response).body().bytes().map(|bytes| bytes.to_vec())
        };
        assert_eq!(written(true), Some(b"<A><ETag>5-2</ETag><B>\"</B></A>".to_vec()));
        assert_eq!(written(false), Some(b"<A><ETag>\"5-2\"</ETag><B>\"</B></A>".to_vec()));
    }

    #[test]
    fn a_composite_checksum_is_shown_without_the_number_of_its_parts() {
        let (algorithm, value) = (ChecksumAlgorithm::Crc32, Bytes::from_static(&[0, 0, 0, 1]));
        let shown_checksum = whole(&Checksum { algorithm, kind: ChecksumKind::Composite, value });
        assert_eq!(shown_checksum.checksum_crc32.as_deref(), Some("CRC32:AAAAAQ=="));
        assert_eq!(shown_checksum.checksum_type.as_ref().map(|kind| kind.as_str()), Some("COMPOSITE"));
    }

    #[test]
    fn object_attributes_are_requested_in_one_header_or_several() {
        let mut headers = HeaderMap::new();
        assert!(matches!(requested(&headers), Err(Fault::InvalidRequest(_))));
        headers.append("x-amz-object-attributes", HeaderValue::from_static("ETag, ObjectSize"));
        headers.append("x-amz-object-attributes", HeaderValue::from_static("Checksum"));
        assert_eq!(requested(&headers), Ok(vec!["ETag".to_owned(), "ObjectSize".to_owned(), "Checksum".to_owned()]));
        headers.append("x-amz-object-attributes", HeaderValue::from_static("Colour"));
        assert!(matches!(requested(&headers), Err(Fault::Argument(_))));
    }
}
