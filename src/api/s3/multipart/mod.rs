//! Multipart uploads: create, upload, copy and list parts, list uploads, complete, abort. A completion changes only
//! metadata.

mod complete;
mod listed;
mod listing;
mod parts;

pub use complete::complete;
#[cfg(any(test, feature = "fuzzing"))]
pub use listed::of_completion;
pub use listing::{list_parts, list_uploads};
pub use parts::{upload_part, upload_part_copy};

use super::checksums::{kind_name, of_create};
use super::lifecycle::abort_of;
use super::object_headers::stored_headers;
use super::objects::requested_traits;
use super::objects::sealed::{RequestedSealing, sealing_of};
use super::{Store, unexpected};
use crate::actors::meta::{BucketRow, Change, CreateUpload, MetaView, Reply, UploadRecord, UploadRow};
use crate::actors::sealing::{SealedObject, Sealing};
use crate::api::errors::{ArgumentFault, Fault};
use crate::api::s3::upload_id::parse_upload_id;
use crate::limits::PARTS_MAX;
use crate::types::{UnixMs, UploadId};
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, ChecksumAlgorithm, CreateMultipartUploadInput,
    CreateMultipartUploadOutput, Timestamp,
};
use s3s::{S3Request, S3Response, S3Result};
use time::OffsetDateTime;

fn parse_part_number(number: i32) -> Result<u16, Fault> {
    u16::try_from(number).ok().filter(|number| (1..=PARTS_MAX).contains(number)).ok_or_else(|| {
        let why = format!("Part number must be an integer between 1 and {PARTS_MAX}, inclusive");
        ArgumentFault::parameter("partNumber", why).into()
    })
}

/// An upload in progress with its bucket, and the view in which both were found.
struct Open {
    bucket: BucketRow,
    upload: UploadRecord,
    /// The owner that the object will have.
    owner: String,
    /// The encryption of the parts.
    sealing: Option<Sealing>,
    view: MetaView,
}

async fn open(store: &Store, bucket: &str, key: &str, upload_id: &str) -> S3Result<Open> {
    let (bucket, view) = store.bucket(bucket).await?;
    let id = parse_upload_id(upload_id)?;
    let row = view.upload(bucket.bucket.id, key, id)?.ok_or(Fault::NoSuchUpload)?;
    let sealing = sealing_of(&row.traits)?;
    let owner = owner_to_be(&row).to_owned();
    Ok(Open { bucket, upload: row.upload, owner, sealing, view })
}

/// Returns the owner that the object will have, who is not always the initiator. If the traits name none, it is the
/// initiator.
fn owner_to_be(row: &UploadRow) -> &str {
    if row.traits.owner.is_empty() { &row.upload.owner } else { &row.traits.owner }
}

pub async fn create(
    store: &Store,
    request: S3Request<CreateMultipartUploadInput>,
) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
    let input = request.input;
    let headers = stored_headers(&request.headers, input.metadata)?;
    let checksum = of_create(input.checksum_algorithm.as_ref(), input.checksum_type.as_ref())?;
    store.check_writable()?;
    let (bucket, view) = store.bucket(&input.bucket).await?;
    let mut traits = requested_traits(store, &request.headers, &bucket, &view)?;
    let abort = abort_of(&store.memos, &view, &bucket, &input.key, store.gateway().meta().time().now)?;
    let (abort_date, abort_rule_id) = abort.unzip();
    let seal = RequestedSealing::of(store, &request.headers, &bucket, view).await?;
    let seal = seal.prepare(store, SealedObject { bucket: bucket.bucket.id, key: &input.key })?;
    traits.sealing = seal.record;
    let id = UploadId(store.ambient.fresh_id());
    let create = CreateUpload {
        bucket: bucket.bucket.id,
        key: input.key.clone(),
        id,
        owner: store.caller().owner(),
        headers,
        checksum,
        traits,
    };
    match store.propose(Change::CreateUpload(Box::new(create))).await? {
        Reply::Done => {}
        reply => return Err(unexpected(&reply)),
    }
    Ok(S3Response::new(CreateMultipartUploadOutput {
        abort_date,
        abort_rule_id,
        bucket: Some(input.bucket),
        bucket_key_enabled: seal.shown.bucket_key_enabled,
        checksum_algorithm: checksum.map(|(algorithm, _)| ChecksumAlgorithm::from_static(algorithm.name())),
        checksum_type: checksum.map(|(_, kind)| kind_name(kind)),
        key: Some(input.key),
        server_side_encryption: seal.shown.server_side_encryption,
        sse_customer_algorithm: seal.shown.sse_customer_algorithm,
        sse_customer_key_md5: seal.shown.sse_customer_key_md5,
        ssekms_key_id: seal.shown.ssekms_key_id,
        ssekms_encryption_context: seal.shown.ssekms_encryption_context,
        upload_id: Some(id.to_string()),
        ..Default::default()
    }))
}

pub async fn abort(store: &Store, input: AbortMultipartUploadInput) -> S3Result<AbortMultipartUploadOutput> {
    store.check_changeable()?;
    let (bucket, view) = store.bucket(&input.bucket).await?;
    let upload = parse_upload_id(&input.upload_id)?;
    if let Some(asked) = &input.if_match_initiated_time {
        let row = view.upload(bucket.bucket.id, &input.key, upload)?.ok_or(Fault::NoSuchUpload)?;
        check_initiated(asked, row.upload.initiated, store.gateway().meta().time().now)?;
    }
    store.propose(Change::AbortUpload { bucket: bucket.bucket.id, key: input.key, upload }).await?;
    Ok(AbortMultipartUploadOutput::default())
}

/// Checks a condition on the time of initiation, in whole seconds as dates in headers have them. A date in the future
/// is ignored.
fn check_initiated(asked: &Timestamp, initiated: UnixMs, now: UnixMs) -> Result<(), Fault> {
    let asked_s = OffsetDateTime::from(asked.clone()).unix_timestamp();
    let second = |at: UnixMs| i64::try_from(at.0 / 1000).unwrap_or(i64::MAX);
    let holds = asked_s == second(initiated) || asked_s > second(now);
    if holds { Ok(()) } else { Err(Fault::PreconditionFailed(None)) }
}

#[cfg(test)]
mod tests {
    use super::{check_initiated, parse_part_number};
    use crate::api::errors::Fault;
    use crate::api::s3::object_headers::timestamp;
    use crate::types::UnixMs;

    #[test]
    fn an_abort_conditional_on_another_time_of_initiation_is_refused() {
        let at = |asked_ms: u64| check_initiated(&timestamp(UnixMs(asked_ms)), UnixMs(5_400), UnixMs(9_000));
        assert_eq!((at(5_000), at(10_000)), (Ok(()), Ok(())));
        for asked_ms in [4_000, 6_000, 9_000] {
            assert_eq!(at(asked_ms), Err(Fault::PreconditionFailed(None)), "{asked_ms}");
        }
    }

    #[test]
    fn part_numbers_are_one_to_ten_thousand() {
        assert_eq!(parse_part_number(1), Ok(1));
        assert_eq!(parse_part_number(10_000), Ok(10_000));
        for number in [0, -1, 10_001, i32::MAX] {
            assert!(matches!(parse_part_number(number), Err(Fault::Argument(_))), "{number}");
        }
    }
}
