//! CompleteMultipartUpload: the listed parts become an object version in one entry of the metadata log, without reading
//! any of their bytes (M1).

use super::super::checksums::{DEFAULT, carried, carrying, kind_name, of_headers, parse_kind, parse_whole, shown_kind};
use super::super::encryption::{add_customer_headers, key_of_completion, shown};
use super::super::event_drafts::pending_event;
use super::super::lifecycle::expiration_of;
use super::super::object_headers::{etag_header, etag_text, object_checksum};
use super::super::objects::sealed::sealing_of;
use super::super::version;
use super::super::{Store, preconditions, unexpected};
use super::listed;
use crate::actors::events::{EventName, draft_now};
use crate::actors::meta::{
    Change, Checksum, ChecksumAlgorithm, ChecksumKind, CompleteUpload, CompletedPart, ETag, KvError, MetaView,
    ObjectVersion, PartRow, Reply,
};
use crate::api::errors::{Fault, with_details};
use crate::api::s3::upload_id::parse_upload_id;
use crate::api::text::percent::{decode_path, encode};
use crate::limits::PART_BYTES_MIN;
use crate::types::{ManifestId, UploadId};
use http::{HeaderMap, Uri, header};
use s3s::dto::{self, CompleteMultipartUploadInput, CompleteMultipartUploadOutput};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

/// The listed parts that are looked up before others have their turn.
const ROWS_AT_ONCE: usize = 500;

pub async fn complete(
    store: &Store,
    request: S3Request<CompleteMultipartUploadInput>,
) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
    let input = request.input;
    let upload = parse_upload_id(&input.upload_id)?;
    let conditions = preconditions::write_conditions(&request.headers)?;
    let mut parts = listed::of_completion(&store.call)?;
    store.check_writable()?;
    let (bucket, view) = store.bucket(&input.bucket).await?;
    // An absent upload is left to the change itself, which knows whether this is a repeated completion.
    let row = view.upload(bucket.bucket.id, &input.key, upload)?;
    let begun_with = row.as_ref().and_then(|row| row.upload.checksum);
    parts.iter().try_for_each(|part| check_part(part, begun_with))?;
    parts.iter_mut().for_each(|part| drop(part.checksum.take_if(|listed| !is_compared(listed, begun_with))));
    let expected = expected_checksum(&request.headers, input.checksum_type.as_ref(), begun_with, parts.len())?
        .filter(|expected| row.is_none() || is_compared(expected, begun_with));
    let customer = match &row {
        Some(row) => key_of_completion(&request.headers, sealing_of(&row.traits)?.as_ref(), begun_with.is_some())?,
        None => None,
    };
    let expected_size_bytes = input.mpu_object_size.map(parse_size).transpose()?;
    if row.is_some() {
        check_listed(&view, upload, &parts).await?;
    }
    let event = pending_event(store, &bucket, EventName::ObjectCreatedCompleteMultipartUpload);
    let event = draft_now(event, store.gateway().meta(), bucket.bucket.id, &input.key).await?;
    let complete = CompleteUpload {
        bucket: bucket.bucket.id,
        key: input.key.clone(),
        upload,
        manifest: ManifestId(store.ambient.fresh_id()),
        parts,
        expected_checksum: expected,
        expected_size_bytes,
        conditions,
        event,
    };
    let object = propose(store, &view, complete).await?;
    let manifest = &object.manifest;
    let checksum = object_checksum(manifest);
    let expiration = expiration_of(&store.memos, &view, &bucket, &input.key, &object)?;
    let location = location(store.scheme, &request.headers, &request.uri, &input.bucket, &input.key);
    let shown = shown(sealing_of(&object.traits)?.as_ref(), customer.as_ref());
    let mut headers = HeaderMap::new();
    add_customer_headers(&shown, &mut headers);
    let mut response = carrying(CompleteMultipartUploadOutput {
        bucket: Some(input.bucket),
        bucket_key_enabled: shown.bucket_key_enabled,
        checksum_crc32: carried(checksum.as_ref()),
        checksum_type: shown_kind(checksum.as_ref()),
        e_tag: Some(etag_header(&manifest.etag)),
        expiration,
        key: Some(input.key),
        location: Some(location),
        server_side_encryption: shown.server_side_encryption,
        ssekms_key_id: shown.ssekms_key_id,
        version_id: version::made(object.version),
        ..Default::default()
    });
    response.headers = headers;
    Ok(response)
}

/// Refuses a list that is out of order, or has a part that is missing in `view` or too small, which the error names. So
/// such a list takes no entry of the log. The change itself decides again.
async fn check_listed(view: &MetaView, upload: UploadId, listed: &[CompletedPart]) -> S3Result<()> {
    if !listed.is_sorted_by(|one, next| one.number < next.number) {
        return Err(Fault::InvalidPartOrder.into());
    }
    let rows = listed_rows(view, upload, listed).await?;
    if let Some(about) = missing(listed, &rows) {
        return Err(with_details(Fault::InvalidPart.into(), about));
    }
    match too_small(listed, &rows) {
        Some(about) => Err(with_details(Fault::EntityTooSmall.into(), about)),
        None => Ok(()),
    }
}

/// Returns the listed parts that there are. The list may be long: others have their turn in between.
async fn listed_rows(view: &MetaView, upload: UploadId, listed: &[CompletedPart]) -> Result<Vec<PartRow>, KvError> {
    let mut rows = Vec::with_capacity(listed.len());
    for some in listed.chunks(ROWS_AT_ONCE) {
        let numbers: Vec<u16> = some.iter().map(|part| part.number).collect();
        rows.extend(view.upload_parts_numbered(upload, &numbers)?);
        tokio::task::yield_now().await;
    }
    Ok(rows)
}

/// Proposes the completion. If it is refused for a checksum or the size, the error names the algorithm or both sizes.
async fn propose(store: &Store, view: &MetaView, complete: CompleteUpload) -> S3Result<Box<ObjectVersion>> {
    let CompleteUpload { upload, parts, expected_checksum, expected_size_bytes, .. } = &complete;
    let differs = expected_checksum.as_ref().map(|checksum| bad_digest(checksum.algorithm));
    let (upload, listed, expected_size) = (*upload, parts.clone(), *expected_size_bytes);
    match store.propose(Change::CompleteUpload(Box::new(complete))).await {
        Ok(Reply::ObjectPut { object }) => Ok(object),
        Ok(reply) => Err(unexpected(&reply)),
        Err(error) if *error.code() == S3ErrorCode::BadDigest => Err(differs.map_or(error, Into::into)),
        Err(error) if *error.code() == S3ErrorCode::InvalidRequest && expected_size.is_some() => {
            let rows = listed_rows(view, upload, &listed).await?;
            Err(expected_size.and_then(|size| other_size(size, &listed, &rows)).map_or(error, Into::into))
        }
        Err(error) => Err(error),
    }
}

/// Returns the refusal of parts whose total size is not the one that the client expects.
fn other_size(expected: u64, listed: &[CompletedPart], rows: &[PartRow]) -> Option<Fault> {
    let size: u64 = listed.iter().map(|part| row_of(part, rows).map(|row| row.size_bytes)).sum::<Option<u64>>()?;
    (size != expected).then(|| {
        Fault::InvalidRequest(format!(
            "The provided 'x-amz-mp-object-size' header value {expected} does not match what was computed: {size}"
        ))
    })
}

type Details = Vec<(&'static str, String)>;

fn row_of<'a>(part: &CompletedPart, rows: &'a [PartRow]) -> Option<&'a PartRow> {
    let at = rows.binary_search_by_key(&part.number, |row| row.number).ok()?;
    rows.get(at)
}

fn named(part: &CompletedPart) -> Details {
    let tag = etag_text(&ETag { md5: part.md5, parts: None });
    vec![("PartNumber", part.number.to_string()), ("ETag", tag)]
}

/// Returns the first listed part that was not uploaded with this ETag and checksum. `rows` are the uploaded parts, in
/// the order of their numbers.
fn missing(listed: &[CompletedPart], rows: &[PartRow]) -> Option<Details> {
    let is_there = |part: &&CompletedPart| {
        row_of(part, rows).is_some_and(|row| {
            let is_own = |sum: &Checksum| {
                row.checksum.as_ref().is_some_and(|own| own.algorithm == sum.algorithm && own.value == sum.value)
            };
            row.md5 == part.md5 && part.checksum.as_ref().is_none_or(is_own)
        })
    };
    listed.iter().find(|part| !is_there(part)).map(named)
}

/// Returns the first listed part, the last one excepted, that is smaller than a part may be.
fn too_small(listed: &[CompletedPart], rows: &[PartRow]) -> Option<Details> {
    let (_, others) = listed.split_last()?;
    let mut others = others.iter().filter_map(|part| Some((part, row_of(part, rows)?)));
    let (part, row) = others.find(|(_, row)| row.size_bytes < PART_BYTES_MIN)?;
    let sizes = [("ProposedSize", row.size_bytes.to_string()), ("MinSizeAllowed", PART_BYTES_MIN.to_string())];
    Some(sizes.into_iter().chain(named(part)).collect())
}

fn parse_size(size: i64) -> Result<u64, Fault> {
    u64::try_from(size).map_err(|_| {
        Fault::InvalidRequest(format!("Value for x-amz-mp-object-size header is less than zero: '{size}'"))
    })
}

/// Checks the checksum of a listed part. Its algorithm must be that of the upload. It is required if the object's
/// checksum is composite.
fn check_part(part: &CompletedPart, begun_with: Option<(ChecksumAlgorithm, ChecksumKind)>) -> Result<(), Fault> {
    let Some((algorithm, kind)) = begun_with else { return Ok(()) };
    let name = |algorithm: ChecksumAlgorithm| algorithm.name().to_ascii_lowercase();
    match &part.checksum {
        Some(given) if given.algorithm != algorithm => Err(Fault::BadDigest(format!(
            "The {} you specified for part {} did not match what we received.",
            name(given.algorithm),
            part.number
        ))),
        None if kind == ChecksumKind::Composite => Err(Fault::InvalidRequest(format!(
            "The upload was created using a {} checksum. The complete request must include the checksum for each part. \
             It was missing for part {} in the request.",
            name(algorithm),
            part.number
        ))),
        Some(_) | None => Ok(()),
    }
}

/// Returns whether an expected checksum is compared. For an upload begun without a checksum, S3 computes the default
/// one and compares no other, neither of the object nor of a part (a part's was compared when the part was uploaded).
fn is_compared(expected: &Checksum, begun_with: Option<(ChecksumAlgorithm, ChecksumKind)>) -> bool {
    begun_with.is_some() || expected.algorithm == DEFAULT
}

fn bad_digest(algorithm: ChecksumAlgorithm) -> Fault {
    Fault::BadDigest(format!("The {} you specified did not match the calculated checksum.", algorithm.name()))
}

/// Returns the checksum that the client expects of the object. Its type must be that of the upload, and its number of
/// parts that of the list.
fn expected_checksum(
    headers: &HeaderMap,
    kind: Option<&dto::ChecksumType>,
    begun_with: Option<(ChecksumAlgorithm, ChecksumKind)>,
    parts: usize,
) -> Result<Option<Checksum>, Fault> {
    let asked = kind.map(parse_kind).transpose()?;
    if let (Some(asked), Some((_, kind))) = (asked, begun_with)
        && asked != kind
    {
        return Err(Fault::InvalidRequest(format!(
            "The upload was created using the {} checksum mode. The complete request must use the same checksum mode.",
            kind_name(kind).as_str()
        )));
    }
    let Some((algorithm, text)) = of_headers(headers)? else { return Ok(None) };
    // The type of an upload that is already completed is unknown, but the form of the value shows it.
    let by_form = if text.contains('-') { ChecksumKind::Composite } else { ChecksumKind::FullObject };
    let kind = asked.or(begun_with.map(|(_, kind)| kind)).unwrap_or(by_form);
    let (checksum, of_parts) = parse_whole(algorithm, kind, &text)?;
    if of_parts.is_some_and(|count| count != parts) {
        return Err(bad_digest(algorithm));
    }
    Ok(Some(checksum))
}

/// Returns the object's URL in the style of the request. If the path of the request is the key alone, its host names
/// the bucket.
fn location(scheme: &str, headers: &HeaderMap, uri: &Uri, bucket: &str, key: &str) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let by_host = decode_path(uri.path()).is_some_and(|path| path.strip_prefix('/') == Some(key));
    let key = encode(key);
    if by_host { format!("{scheme}://{host}/{key}") } else { format!("{scheme}://{host}/{bucket}/{key}") }
}

#[cfg(test)]
mod tests {
    use super::{check_part, expected_checksum, is_compared, location, missing, other_size, too_small};
    use crate::actors::meta::{Checksum, ChecksumAlgorithm, ChecksumKind, CompletedPart, PartRow};
    use crate::api::errors::Fault;
    use crate::limits::PART_BYTES_MIN;
    use crate::types::UnixMs;
    use http::{HeaderMap, HeaderName, HeaderValue, Uri};
    use s3s::dto;

    #[test]
    fn a_location_names_the_bucket_in_the_style_of_the_request() {
        let of = |host: &'static str, uri: &'static str| {
            let headers = HeaderMap::from_iter([(HeaderName::from_static("host"), HeaderValue::from_static(host))]);
            location("http", &headers, &Uri::from_static(uri), "b", "a/k k")
        };
        assert_eq!(of("h:9000", "/b/a/k%20k?uploadId=1"), "http://h:9000/b/a/k%20k");
        assert_eq!(of("b.h", "/a/k%20k?uploadId=1"), "http://b.h/a/k%20k");
    }

    #[test]
    fn a_refused_completion_names_the_missing_or_too_small_part() {
        let listed = |number: u16, md5: u8| CompletedPart { number, md5: [md5; 16], checksum: None };
        let row = |number: u16, size_bytes: u64| PartRow {
            number,
            offset_bytes: 0,
            size_bytes,
            md5: [1; 16],
            modified: UnixMs(0),
            checksum: None,
            blob: None,
        };
        let rows = [row(1, PART_BYTES_MIN), row(3, 7), row(4, 1)];
        let named = |number: &str, digit: &str| {
            vec![("PartNumber", number.to_owned()), ("ETag", format!("0{digit}").repeat(16))]
        };
        assert_eq!(missing(&[listed(1, 1), listed(2, 1), listed(3, 2)], &rows), Some(named("2", "1")));
        assert_eq!(missing(&[listed(1, 1), listed(3, 2)], &rows), Some(named("3", "2")));
        let value = bytes::Bytes::from_static(&[0; 4]);
        let checksum = Checksum { algorithm: ChecksumAlgorithm::Crc32, kind: ChecksumKind::FullObject, value };
        let summed = CompletedPart { checksum: Some(checksum), ..listed(4, 1) };
        assert_eq!(missing(&[listed(1, 1), summed], &rows), Some(named("4", "1")));
        let all = [listed(1, 1), listed(3, 1), listed(4, 1)];
        assert_eq!(missing(&all, &rows), None);
        let sizes = vec![("ProposedSize", "7".to_owned()), ("MinSizeAllowed", "5242880".to_owned())];
        assert_eq!(too_small(&all, &rows), Some([sizes, named("3", "1")].concat()));
        assert_eq!(too_small(&[listed(1, 1), listed(4, 1)], &rows), None);
    }

    #[test]
    fn a_size_that_differs_from_the_parts_is_refused_with_both_sizes() {
        let row = |number, size_bytes| PartRow {
            number,
            offset_bytes: 0,
            size_bytes,
            md5: [1; 16],
            modified: UnixMs(0),
            checksum: None,
            blob: None,
        };
        let rows = [row(1, 7), row(2, 5), row(3, 9)];
        let listed = [1, 3].map(|number| CompletedPart { number, md5: [1; 16], checksum: None });
        let words = "The provided 'x-amz-mp-object-size' header value 12 does not match what was computed: 16";
        assert_eq!(other_size(12, &listed, &rows), Some(Fault::InvalidRequest(words.to_owned())));
        assert_eq!((other_size(16, &listed, &rows), other_size(12, &listed, &rows[..2])), (None, None));
    }

    #[test]
    fn an_upload_begun_without_a_checksum_compares_only_the_default_one() {
        let expected = |algorithm| Checksum { algorithm, kind: ChecksumKind::FullObject, value: bytes::Bytes::new() };
        let begun = Some((ChecksumAlgorithm::Crc32, ChecksumKind::FullObject));
        assert!(is_compared(&expected(ChecksumAlgorithm::Crc32), begun));
        assert!(is_compared(&expected(ChecksumAlgorithm::Crc64Nvme), None));
        assert!(!is_compared(&expected(ChecksumAlgorithm::Crc32), None));
    }

    #[test]
    fn a_listed_parts_checksum_must_have_the_uploads_algorithm() {
        let listed = |algorithm: Option<ChecksumAlgorithm>| {
            let value = bytes::Bytes::from_static(&[0; 4]);
            let checksum = algorithm.map(|algorithm| Checksum { algorithm, kind: ChecksumKind::FullObject, value });
            CompletedPart { number: 1, md5: [0; 16], checksum }
        };
        let (crc, other) = (ChecksumAlgorithm::Crc32, ChecksumAlgorithm::Crc32c);
        for kind in [ChecksumKind::Composite, ChecksumKind::FullObject] {
            assert_eq!(check_part(&listed(Some(crc)), Some((crc, kind))), Ok(()));
            assert!(matches!(check_part(&listed(Some(other)), Some((crc, kind))), Err(Fault::BadDigest(_))));
        }
        assert_eq!(check_part(&listed(None), Some((crc, ChecksumKind::FullObject))), Ok(()));
        let missing = check_part(&listed(None), Some((crc, ChecksumKind::Composite)));
        assert!(matches!(missing, Err(Fault::InvalidRequest(_))));
        assert_eq!(check_part(&listed(Some(other)), None), Ok(()));
    }

    #[test]
    fn the_expected_checksum_must_have_the_uploads_type_and_part_count() {
        let headers = HeaderMap::from_iter([(
            HeaderName::from_static("x-amz-checksum-crc32"),
            HeaderValue::from_static("AAAAAQ==-2"),
        )]);
        let begun = Some((ChecksumAlgorithm::Crc32, ChecksumKind::Composite));
        let made = expected_checksum(&headers, None, begun, 2).expect("a checksum").expect("given");
        assert_eq!((made.kind, made.value.as_ref()), (ChecksumKind::Composite, &[0, 0, 0, 1][..]));
        let full = dto::ChecksumType::from_static(dto::ChecksumType::FULL_OBJECT);
        assert!(matches!(expected_checksum(&headers, Some(&full), begun, 2), Err(Fault::InvalidRequest(_))));
        assert_eq!(expected_checksum(&HeaderMap::new(), None, begun, 2), Ok(None));
        assert!(matches!(expected_checksum(&headers, None, begun, 3), Err(Fault::BadDigest(_))));
        let completed = expected_checksum(&headers, None, None, 2).expect("a checksum").expect("given");
        assert_eq!(completed, made);
    }
}
