//! The operations on buckets themselves: list, create, head and delete, location, versioning.

use super::grants::{BucketAccess, access_of, access_of_new_bucket, owner_of};
use super::list::{decode_token, encode_token};
use super::object_headers::timestamp;
use super::tags::{self, Tags};
use super::{ACCOUNT, Store, unexpected};
use crate::actors::documents::encode;
use crate::actors::meta::{
    BucketDocument, BucketRow, BucketSettings, Change, CreateBucket, MetaView, ObjectLock, QuotaChange, Refusal, Reply,
    Versioning,
};
use crate::api::errors::{ArgumentFault, Fault, LocationFault};
use crate::limits::LIST_BUCKETS_MAX;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};
use s3s::dto::{
    Bucket, BucketLocationConstraint, BucketVersioningStatus, CreateBucketInput, CreateBucketOutput, DeleteBucketInput,
    DeleteBucketOutput, GetBucketLocationInput, GetBucketLocationOutput, GetBucketVersioningInput,
    GetBucketVersioningOutput, HeadBucketInput, HeadBucketOutput, ListBucketsInput, ListBucketsOutput, MFADelete,
    Owner, PutBucketVersioningInput, PutBucketVersioningOutput,
};
use s3s::{S3Request, S3Response, S3Result};

const REGION_BYTES_MAX: usize = 64;
/// The region for which GetBucketLocation has no name.
const REGION_UNNAMED: &str = "us-east-1";
/// The region that the location constraint `EU` names.
const REGION_OF_EU: &str = "eu-west-1";
const ARN: HeaderName = HeaderName::from_static("x-amz-bucket-arn");
const NAMESPACE: HeaderName = HeaderName::from_static("x-amz-bucket-namespace");
/// Buckets looked up at a time.
const PAGE: usize = 100;
/// The prefix that S3 reserves for names of things that are not general purpose buckets (S3 User Guide, "General
/// purpose bucket naming rules").
const RESERVED_PREFIX: &str = "sthree-";
const RESERVED_SUFFIXES: [&str; 5] = ["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"];

/// The part of a list of buckets that a request asks for.
#[derive(Clone, Copy)]
struct Asked<'a> {
    prefix: &'a str,
    after: Option<&'a str>,
    region: Option<&'a str>,
}

/// Lists the buckets of the caller's account.
pub async fn list(store: &Store, input: ListBucketsInput) -> S3Result<ListBucketsOutput> {
    let caller = store.caller();
    let wanted = input.max_buckets.map_or(Ok(LIST_BUCKETS_MAX), page_limit)?;
    let token = input.continuation_token.as_deref().filter(|token| !token.is_empty());
    let after = token.map(decode_token).transpose()?;
    let owner = caller.owner();
    let asked = Asked {
        prefix: input.prefix.as_deref().unwrap_or_default(),
        after: after.as_deref(),
        region: input.bucket_region.as_deref(),
    };
    let view = store.view().await?;
    // One row more than wanted shows that there is another page.
    let mut rows = first_of(&view, &owner, asked, wanted + 1).await?;
    if owner == store.owner_id {
        // Buckets of the store's own account may be stored under either of its names.
        rows.extend(first_of(&view, ACCOUNT, asked, wanted + 1).await?);
        rows.sort_unstable_by(|one, other| one.bucket.name.cmp(&other.bucket.name));
    }
    let is_cut = rows.len() > wanted;
    rows.truncate(wanted);
    let last = rows.last().filter(|_| is_cut);
    Ok(ListBucketsOutput {
        continuation_token: last.map(|row| encode_token(&row.bucket.name)),
        buckets: Some(rows.into_iter().map(listed).collect()),
        owner: Some(Owner { display_name: Some(caller.display_name.clone()), id: Some(owner) }),
        prefix: input.prefix,
    })
}

/// Returns the first buckets of a stored owner that a request asks for, at most `limit`, in order of name.
async fn first_of(view: &MetaView, owner: &str, asked: Asked<'_>, limit: usize) -> S3Result<Vec<BucketRow>> {
    let mut rows = Vec::new();
    let mut after = asked.after.map(str::to_owned);
    loop {
        let (page, more) = view.buckets_of(owner, asked.prefix, after.as_deref(), PAGE)?;
        after = page.last().map(|row| row.bucket.name.clone());
        rows.extend(page.into_iter().filter(|row| asked.region.is_none_or(|region| region == row.bucket.region)));
        if !more || rows.len() >= limit {
            rows.truncate(limit);
            return Ok(rows);
        }
        // An account may have many buckets: let other requests run.
        tokio::task::yield_now().await;
    }
}

fn page_limit(asked: i32) -> Result<usize, Fault> {
    let known = usize::try_from(asked).ok().filter(|asked| (1..=LIST_BUCKETS_MAX).contains(asked));
    known.ok_or_else(|| {
        let why = format!("Argument max-buckets must be an integer between 1 and {LIST_BUCKETS_MAX}.");
        ArgumentFault::parameter("max-buckets", why).into()
    })
}

fn listed(row: BucketRow) -> Bucket {
    Bucket {
        bucket_region: Some(row.bucket.region),
        creation_date: Some(timestamp(row.bucket.created)),
        name: Some(row.bucket.name),
    }
}

pub async fn create(store: &Store, request: S3Request<CreateBucketInput>) -> S3Result<S3Response<CreateBucketOutput>> {
    let owner = store.caller().account.clone().ok_or(Fault::AccessDenied("Access Denied"))?;
    let signed = store.call.authentication.region().map(str::to_owned);
    check_namespace(&request.headers)?;
    let tags = tags::of_new_bucket(&store.call)?;
    let input = request.input;
    let region = match input.create_bucket_configuration {
        Some(wanted) if wanted.bucket.is_some() || wanted.location.is_some() => {
            return Err(Fault::NotImplemented("Directory buckets are not implemented.".to_owned()).into());
        }
        Some(wanted) => {
            let wanted = wanted.location_constraint.as_ref().map_or("", |at| at.as_str());
            region(&store.region, wanted, signed.as_deref()).map_err(Fault::from)?
        }
        None => store.region.clone(),
    };
    check_name(&input.bucket)?;
    let view = store.view().await?;
    let access = access_of_new_bucket(store, &request.headers, input.object_ownership.as_ref(), &owner, &view)?;
    store.check_writable()?;
    let location = format!("/{}", input.bucket);
    let lock = input.object_lock_enabled_for_bucket.unwrap_or(false);
    let versioning = if lock { Versioning::Enabled } else { Versioning::Never };
    let create = CreateBucket {
        name: input.bucket.clone(),
        region: region.clone(),
        owner: owner.clone(),
        settings: BucketSettings { versioning, lock: lock.then(ObjectLock::default), ..BucketSettings::default() },
        documents: documents_of(&access, &tags)?,
    };
    match store.gateway().meta().propose(Change::CreateBucket(Box::new(create))).await? {
        Reply::BucketCreated { .. } => {}
        Reply::Refused(Refusal::BucketOwnedByCaller | Refusal::BucketOwnedByOther) => {
            let asked = RequestedSettings { region, access, lock, ownership: input.object_ownership.is_some() };
            check_again(store, &input.bucket, &owner, &asked).await?;
        }
        Reply::Refused(refusal) => return Err(refusal.into()),
        reply => return Err(unexpected(&reply)),
    }
    Ok(with_arn(S3Response::new(CreateBucketOutput { location: Some(location) }), &input.bucket))
}

/// Returns the region that a new bucket reports: the store's, or the one that the client wants. The client must have
/// signed for the region that it wants (`signed`; a signature of version 2 has none), or for us-east-1: as at S3's
/// endpoint there, such a client may create buckets in any region whose name has the form of AWS's. `EU` is S3's older
/// name of a region (API Reference, "CreateBucketConfiguration").
fn region(own: &str, asked: &str, signed: Option<&str>) -> Result<String, LocationFault> {
    let wanted = if asked == "EU" { REGION_OF_EU } else { asked };
    if asked.is_empty() || asked == own || wanted == own {
        return Ok(own.to_owned());
    }
    let is_region = match signed {
        Some(signed) if signed != wanted => is_regions_name(wanted),
        _ => can_be_region(wanted),
    };
    if !is_region {
        return Err(LocationFault::Unknown(asked.to_owned()));
    }
    match signed {
        Some(signed) if signed != wanted && signed != REGION_UNNAMED => Err(LocationFault::elsewhere(asked)),
        _ => Ok(wanted.to_owned()),
    }
}

/// Returns whether a client may use the name as a region. It need not be one of AWS's.
fn can_be_region(name: &str) -> bool {
    name.len() <= REGION_BYTES_MAX
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// Returns whether the name has the form of AWS's regions: `us-gov-east-1`.
fn is_regions_name(name: &str) -> bool {
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase());
    let is_number = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    let Some((words, number)) = name.rsplit_once('-') else { return false };
    name.len() <= REGION_BYTES_MAX && words.contains('-') && words.split('-').all(is_word) && is_number(number)
}

/// Checks the namespace of a bucket's name. Only the global one exists here, none of an account.
fn check_namespace(headers: &HeaderMap) -> Result<(), Fault> {
    match headers.get(NAMESPACE) {
        Some(namespace) if namespace != "global" => {
            Err(Fault::NotImplemented("Account namespaces for buckets are not implemented.".to_owned()))
        }
        _ => Ok(()),
    }
}

/// Adds the header with the bucket's ARN.
fn with_arn<T>(mut response: S3Response<T>, bucket: &str) -> S3Response<T> {
    if let Ok(arn) = HeaderValue::try_from(format!("arn:aws:s3:::{bucket}")) {
        response.headers.insert(ARN, arn);
    }
    response
}

/// Checks a bucket's name where s3s is too lenient: it must not be reserved, and its labels (between dots) must not
/// begin or end with a hyphen.
fn check_name(name: &str) -> Result<(), Fault> {
    let is_reserved =
        name.starts_with(RESERVED_PREFIX) || RESERVED_SUFFIXES.iter().any(|suffix| name.ends_with(suffix));
    let is_label = |label: &str| !label.starts_with('-') && !label.ends_with('-');
    if is_reserved || !name.split('.').all(is_label) {
        return Err(Fault::InvalidBucketName);
    }
    Ok(())
}

/// Returns the documents of a new bucket. Default settings need none.
fn documents_of(access: &BucketAccess, tags: &Tags) -> S3Result<Vec<(BucketDocument, String, Bytes)>> {
    let mut documents = Vec::new();
    if *access != BucketAccess::default() {
        documents.push((BucketDocument::Access, String::new(), encode(access)?));
    }
    if !tags.is_empty() {
        documents.push((BucketDocument::Tagging, String::new(), encode(tags)?));
    }
    Ok(documents)
}

/// The settings that a request to make a bucket asks for.
struct RequestedSettings {
    region: String,
    access: BucketAccess,
    lock: bool,
    /// True if the request names an object ownership.
    ownership: bool,
}

/// Answers CreateBucket of a bucket that exists. It succeeds only if the caller owns the bucket, asks for the same
/// settings, and the region is us-east-1, the only one where S3 allows it. The bucket does not change.
async fn check_again(store: &Store, name: &str, owner: &str, asked: &RequestedSettings) -> S3Result<()> {
    let (bucket, view) = store.bucket(name).await?;
    if owner_of(store, &bucket) != owner {
        return Err(Refusal::BucketOwnedByOther.into());
    }
    let existing = access_of(&view, &bucket)?;
    again(&bucket.bucket.region, &existing, bucket.settings.lock.is_some(), asked).map_err(Into::into)
}

fn again(region: &str, existing: &BucketAccess, locks: bool, asked: &RequestedSettings) -> Result<(), Refusal> {
    let other_ownership = asked.ownership && existing.ownership() != asked.access.ownership();
    let is_unnamed = region == REGION_UNNAMED && asked.region == REGION_UNNAMED;
    if !is_unnamed || (asked.lock && !locks) || other_ownership {
        return Err(Refusal::BucketOwnedByCaller);
    }
    // AWS would replace the ACL. Here a repeated CreateBucket changes nothing, so another ACL is refused.
    if existing.acl == asked.access.acl { Ok(()) } else { Err(Refusal::BucketOwnedByOther) }
}

pub async fn head(store: &Store, request: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
    let (bucket, _) = store.bucket(&request.input.bucket).await?;
    let output = HeadBucketOutput {
        access_point_alias: Some(false),
        bucket_region: Some(bucket.bucket.region),
        ..Default::default()
    };
    let mut response = with_arn(S3Response::new(output), &request.input.bucket);
    // S3 sends a content type, although the answer to a HEAD has no body.
    response.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    Ok(response)
}

pub async fn delete(store: &Store, input: DeleteBucketInput) -> S3Result<DeleteBucketOutput> {
    store.check_changeable()?;
    let (bucket, view) = store.bucket(&input.bucket).await?;
    let not_empty = || match bucket.settings.versioning {
        Versioning::Never => Fault::BucketNotEmpty,
        Versioning::Enabled | Versioning::Suspended => Fault::VersionsLeft,
    };
    // Such a bucket is refused before the change takes an entry of the log. The change itself decides again.
    if view.usage(bucket.bucket.id)?.has_versions() {
        return Err(not_empty().into());
    }
    let change = Change::DeleteBucket { bucket: bucket.bucket.id };
    match store.gateway().meta().propose(change).await? {
        Reply::Refused(Refusal::BucketNotEmpty) => Err(not_empty().into()),
        Reply::Refused(refusal) => Err(refusal.into()),
        _ => Ok(DeleteBucketOutput::default()),
    }
}

pub async fn location(store: &Store, input: GetBucketLocationInput) -> S3Result<GetBucketLocationOutput> {
    let (bucket, _) = store.bucket(&input.bucket).await?;
    let region = bucket.bucket.region;
    let named = (region != REGION_UNNAMED).then(|| BucketLocationConstraint::from(region));
    Ok(GetBucketLocationOutput { location_constraint: named })
}

/// Returns the versioning state. As in S3, the answer has no status if versioning was never enabled.
pub async fn versioning(store: &Store, input: GetBucketVersioningInput) -> S3Result<GetBucketVersioningOutput> {
    let (bucket, _) = store.bucket(&input.bucket).await?;
    let status = match bucket.settings.versioning {
        Versioning::Never => None,
        Versioning::Enabled => Some(BucketVersioningStatus::from_static(BucketVersioningStatus::ENABLED)),
        Versioning::Suspended => Some(BucketVersioningStatus::from_static(BucketVersioningStatus::SUSPENDED)),
    };
    Ok(GetBucketVersioningOutput { status, mfa_delete: None })
}

pub async fn set_versioning(store: &Store, input: PutBucketVersioningInput) -> S3Result<PutBucketVersioningOutput> {
    let asked = input.versioning_configuration;
    match asked.mfa_delete.as_ref().map(MFADelete::as_str) {
        None | Some(MFADelete::DISABLED) => {}
        Some(MFADelete::ENABLED) => {
            return Err(Fault::NotImplemented("MFA delete is not implemented.".to_owned()).into());
        }
        Some(_) => return Err(Fault::MalformedXml.into()),
    }
    let versioning = match asked.status.as_ref().map(BucketVersioningStatus::as_str) {
        Some(BucketVersioningStatus::ENABLED) => Versioning::Enabled,
        Some(BucketVersioningStatus::SUSPENDED) => Versioning::Suspended,
        _ => return Err(Fault::MalformedXml.into()),
    };
    store.check_changeable()?;
    let (bucket, _) = store.bucket(&input.bucket).await?;
    let id = bucket.bucket.id;
    store
        .propose(Change::SetBucket {
            bucket: id,
            versioning: Some(versioning),
            lock: None,
            quota: QuotaChange::default(),
        })
        .await?;
    Ok(PutBucketVersioningOutput::default())
}

#[cfg(test)]
mod tests {
    use super::{NAMESPACE, RequestedSettings, again, check_name, check_namespace, region};
    use crate::actors::meta::Refusal;
    use crate::api::errors::{Fault, LocationFault};
    use crate::api::policy::{Ownership, canned};
    use crate::api::s3::grants::BucketAccess;
    use http::{HeaderMap, HeaderValue};

    fn asked(access: BucketAccess) -> RequestedSettings {
        RequestedSettings { region: "us-east-1".to_owned(), ownership: access.ownership.is_some(), access, lock: false }
    }

    #[test]
    fn a_client_of_the_default_region_may_create_a_bucket_in_any_region() {
        let of = |wanted: &str, signed: Option<&str>| region("us-east-1", wanted, signed);
        for wanted in ["us-east-2", "eu-central-1", "us-gov-east-2", "ap-southeast-10"] {
            for signed in [Some("us-east-1"), Some(wanted), None] {
                assert_eq!(of(wanted, signed), Ok(wanted.to_owned()), "{signed:?}");
            }
            assert_eq!(of(wanted, Some("eu-west-1")), Err(LocationFault::elsewhere(wanted)));
        }
        for wanted in ["", "us-east-1"] {
            for signed in [Some("us-east-1"), Some("eu-west-1"), None] {
                assert_eq!(of(wanted, signed), Ok("us-east-1".to_owned()), "{wanted} {signed:?}");
            }
        }
        for signed in [Some("us-east-1"), Some("eu-west-1"), None] {
            assert_eq!(of("EU", signed), Ok("eu-west-1".to_owned()), "{signed:?}");
        }
        assert_eq!(of("EU", Some("us-east-2")), Err(LocationFault::elsewhere("EU")));
        assert_eq!(region("eu-west-1", "EU", Some("us-east-2")), Ok("eu-west-1".to_owned()));
        for wanted in ["nonsense", "eu", "us-1", "us--east-1", "us-east-", "us-east-1a", "us_east_1"] {
            for signed in ["us-east-1", "eu-west-1"] {
                assert_eq!(of(wanted, Some(signed)), Err(LocationFault::Unknown(wanted.to_owned())), "{signed}");
            }
        }
        assert_eq!(of("mine", Some("mine")), Ok("mine".to_owned()));
        assert_eq!(region("mine", "mine", Some("us-east-1")), Ok("mine".to_owned()));
        assert_eq!(region("mine", "us-east-1", Some("us-east-1")), Ok("us-east-1".to_owned()));
        assert_eq!(region("mine", "us-east-1", Some("mine")), Err(LocationFault::elsewhere("us-east-1")));
    }

    #[test]
    fn only_the_global_namespace_of_buckets_is_accepted() {
        let of = |namespace| check_namespace(&HeaderMap::from_iter([(NAMESPACE, namespace)]));
        assert_eq!(check_namespace(&HeaderMap::new()), Ok(()));
        assert_eq!(of(HeaderValue::from_static("global")), Ok(()));
        assert!(matches!(of(HeaderValue::from_static("account-regional")), Err(Fault::NotImplemented(_))));
    }

    #[test]
    fn reserved_bucket_names_and_labels_with_outer_hyphens_are_refused() {
        for name in ["foo.-bar", "foo-.bar", "sthree-1", "a-s3alias", "a--ol-s3", "a.mrap", "a--x-s3", "a--table-s3"] {
            assert_eq!(check_name(name), Err(Fault::InvalidBucketName), "{name}");
        }
        for name in ["foo-bar", "foo.bar", "a--b.c--d", "mrap", "s3alias", "a.sthree-1"] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn creating_ones_own_bucket_again_succeeds_only_with_the_same_settings() {
        let plain = BucketAccess::default();
        assert_eq!(again("us-east-1", &plain, false, &asked(plain.clone())), Ok(()));
        assert_eq!(again("eu-west-1", &plain, false, &asked(plain.clone())), Err(Refusal::BucketOwnedByCaller));
        let elsewhere = RequestedSettings { region: "eu-west-1".to_owned(), ..asked(plain.clone()) };
        assert_eq!(again("us-east-1", &plain, false, &elsewhere), Err(Refusal::BucketOwnedByCaller));
        let shared = BucketAccess { acl: canned("public-read", "o", "o"), ..BucketAccess::default() };
        assert_eq!(again("us-east-1", &shared, false, &asked(shared.clone())), Ok(()));
        for (existing, wanted) in [(&plain, &shared), (&shared, &plain)] {
            assert_eq!(again("us-east-1", existing, false, &asked(wanted.clone())), Err(Refusal::BucketOwnedByOther));
        }
        let enforced = BucketAccess { ownership: Some(Ownership::BucketOwnerEnforced), ..BucketAccess::default() };
        assert_eq!(again("us-east-1", &enforced, false, &asked(plain.clone())), Ok(()));
        assert_eq!(again("us-east-1", &plain, false, &asked(enforced)), Err(Refusal::BucketOwnedByCaller));
        let writer = BucketAccess { ownership: Some(Ownership::ObjectWriter), ..BucketAccess::default() };
        assert_eq!(again("us-east-1", &plain, false, &asked(writer)), Ok(()));
        let locked = RequestedSettings { lock: true, ..asked(plain.clone()) };
        assert_eq!(again("us-east-1", &plain, false, &locked), Err(Refusal::BucketOwnedByCaller));
        assert_eq!(again("us-east-1", &plain, true, &locked), Ok(()));
    }
}
