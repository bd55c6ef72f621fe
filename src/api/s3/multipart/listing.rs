//! ListParts and ListMultipartUploads.

use super::super::Store;
use super::super::checksums::{DEFAULT, ShownChecksum, carried, carrying, kind_name};
use super::super::grants::{Owners, access_of};
use super::super::lifecycle::abort_of;
use super::super::list::{Writing, marker, out_of_range, page_limit};
use super::super::object_headers::{etag_header, storage_class, timestamp};
use super::{Open, open, owner_to_be};
use crate::actors::meta::{
    ChecksumAlgorithm as StoredAlgorithm, ChecksumKind, ETag, ListQuery, Listed, PartRow, UploadRow,
};
use crate::api::errors::Fault;
use crate::api::s3::upload_id::parse_upload_id;
use crate::types::{UnixMs, UploadId};
use s3s::dto::{
    ChecksumAlgorithm, Initiator, ListMultipartUploadsInput, ListMultipartUploadsOutput, ListPartsInput,
    ListPartsOutput, MultipartUpload, Owner, Part, StorageClass,
};
use s3s::{S3Request, S3Response, S3Result};

pub async fn list_parts(store: &Store, request: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
    let input = request.input;
    let limit = page_limit("max-parts", input.max_parts)?;
    let after = match input.part_number_marker {
        None => 0,
        // A marker larger than any part number is valid.
        Some(after) => u16::try_from(after.min(i32::from(u16::MAX))).map_err(|_| out_of_range("part-number-marker"))?,
    };
    let Open { bucket, upload, owner, view, .. } = open(store, &input.bucket, &input.key, &input.upload_id).await?;
    let access = access_of(&view, &bucket)?;
    let mut owners = Owners::of(store, &view, &bucket, &access);
    let (rows, more) = match limit {
        0 => (Vec::new(), false),
        limit => view.upload_parts(upload.id, after, limit)?,
    };
    // S3 sends 0 if the page has no parts. SDKs that read nothing but this marker would begin anew and never end, so
    // none is sent here.
    let next = rows.last().map(|row| i32::from(row.number));
    let (abort_date, abort_rule_id) = abort_of(&store.memos, &view, &bucket, &input.key, upload.initiated)?.unzip();
    Ok(carrying(ListPartsOutput {
        abort_date,
        abort_rule_id,
        bucket: Some(input.bucket),
        checksum_algorithm: upload.checksum.map(|(of, _)| ChecksumAlgorithm::from_static(of.name())),
        checksum_type: upload.checksum.map(|(_, kind)| kind_name(kind)),
        initiator: Some(owners.initiator(&upload.owner)?),
        is_truncated: Some(more),
        key: Some(input.key),
        max_parts: i32::try_from(limit).ok(),
        next_part_number_marker: next,
        owner: Some(owners.of_object(&owner)?),
        part_number_marker: Some(i32::from(after)),
        parts: Some(rows.iter().map(|row| part(row, upload.checksum.is_some())).collect()),
        storage_class: Some(StorageClass::from(storage_class(&upload.headers))),
        upload_id: Some(input.upload_id),
        ..Default::default()
    }))
}

/// Returns the entry of a part. The default checksum is shown only if the upload was begun with a checksum (`asked`).
fn part(row: &PartRow, asked: bool) -> Part {
    let shown = row.checksum.as_ref().filter(|checksum| asked || checksum.algorithm != DEFAULT);
    Part {
        checksum_crc32: carried(shown.map(ShownChecksum::of_part).as_ref()),
        e_tag: Some(etag_header(&ETag { md5: row.md5, parts: None })),
        last_modified: Some(timestamp(row.modified)),
        part_number: Some(i32::from(row.number)),
        size: i64::try_from(row.size_bytes).ok(),
        ..Part::default()
    }
}

/// The part of an upload that a listing shows. A page holds a thousand of these, and not the rows, which have headers
/// and tags of many KiB.
struct ShownUpload {
    id: UploadId,
    owner: String,
    initiator: String,
    initiated: UnixMs,
    storage_class: String,
    checksum: Option<(StoredAlgorithm, ChecksumKind)>,
}

impl ShownUpload {
    fn of(row: UploadRow) -> Self {
        Self {
            id: row.upload.id,
            owner: owner_to_be(&row).to_owned(),
            initiator: row.upload.owner,
            initiated: row.upload.initiated,
            storage_class: storage_class(&row.upload.headers),
            checksum: row.upload.checksum,
        }
    }
}

pub async fn list_uploads(store: &Store, input: ListMultipartUploadsInput) -> S3Result<ListMultipartUploadsOutput> {
    let writing = Writing::of(input.encoding_type.as_ref())?;
    let limit = page_limit("max-uploads", input.max_uploads)?;
    let delimiter = input.delimiter.filter(|delimiter| !delimiter.is_empty());
    let after_upload = after_upload(input.key_marker.as_deref(), input.upload_id_marker.as_deref())?;
    let query = ListQuery {
        prefix: input.prefix.clone().unwrap_or_default(),
        delimiter: delimiter.clone(),
        after: marker(input.key_marker.clone()),
        limit,
    };
    let (bucket, view) = store.bucket(&input.bucket).await?;
    let (entries, more, next_after) = match limit {
        0 => (Vec::new(), false, None),
        _ => {
            let page = view.list_uploads_as(bucket.bucket.id, &query, after_upload, ShownUpload::of)?;
            (page.entries, page.more, page.next_after)
        }
    };
    let next_upload = match entries.last() {
        Some(Listed::Item { record, .. }) if more => Some(record.id.to_string()),
        _ => None,
    };
    let access = access_of(&view, &bucket)?;
    let mut owners = Owners::of(store, &view, &bucket, &access);
    let (mut uploads, mut common_prefixes) = (Vec::new(), Vec::new());
    for entry in entries {
        match entry {
            Listed::Item { key, record } => {
                let owner = owners.of_object(&record.owner)?;
                let initiator = owners.initiator(&record.initiator)?;
                uploads.push(upload(writing.name(key), record, owner, initiator));
            }
            Listed::CommonPrefix(prefix) => common_prefixes.push(writing.common_prefix(prefix)),
        }
    }
    Ok(ListMultipartUploadsOutput {
        bucket: Some(input.bucket),
        common_prefixes: Some(common_prefixes),
        delimiter: delimiter.map(|delimiter| writing.name(delimiter)),
        encoding_type: input.encoding_type,
        is_truncated: Some(more),
        key_marker: Some(writing.name(input.key_marker.unwrap_or_default())),
        max_uploads: i32::try_from(limit).ok(),
        next_key_marker: next_after.filter(|_| more).map(|next| writing.name(next)),
        next_upload_id_marker: next_upload,
        prefix: Some(writing.name(input.prefix.unwrap_or_default())),
        upload_id_marker: Some(after_upload.map(|id| id.to_string()).unwrap_or_default()),
        uploads: Some(uploads),
        request_charged: None,
    })
}

/// Returns the upload after which the listing goes on. Its marker counts only with a key marker. A malformed id is
/// refused, or the listing would begin elsewhere.
fn after_upload(key_marker: Option<&str>, upload_marker: Option<&str>) -> Result<Option<UploadId>, Fault> {
    match (key_marker, upload_marker) {
        (None | Some(""), _) | (_, None | Some("")) => Ok(None),
        (Some(_), Some(text)) => {
            parse_upload_id(text).map(Some).map_err(|_| Fault::InvalidArgument("Invalid uploadId marker".to_owned()))
        }
    }
}

fn upload(key: String, record: ShownUpload, owner: Owner, initiator: Initiator) -> MultipartUpload {
    MultipartUpload {
        checksum_algorithm: record.checksum.map(|(of, _)| ChecksumAlgorithm::from_static(of.name())),
        checksum_type: record.checksum.map(|(_, kind)| kind_name(kind)),
        initiated: Some(timestamp(record.initiated)),
        initiator: Some(initiator),
        key: Some(key),
        owner: Some(owner),
        storage_class: Some(StorageClass::from(record.storage_class)),
        upload_id: Some(record.id.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::after_upload;
    use crate::api::errors::Fault;
    use crate::types::UploadId;

    #[test]
    fn an_upload_id_marker_counts_only_with_a_key_marker() {
        let id = UploadId(7).to_string();
        assert_eq!(after_upload(None, Some("nonsense")), Ok(None));
        assert_eq!(after_upload(Some("k"), None), Ok(None));
        assert_eq!(after_upload(Some("k"), Some(&id)), Ok(Some(UploadId(7))));
        assert!(matches!(after_upload(Some("k"), Some("nonsense")), Err(Fault::InvalidArgument(_))));
    }
}
