//! GetBucketLogging and PutBucketLogging, and the destination of a bucket's access log.

use crate::actors::events::access_log::{
    LogDestination, LogGrant, LogGrantee, LogKeyFormat, LogPermission, LoggingRules,
};
use crate::actors::gateway::acl_of_report;
use crate::actors::meta::{BucketDocument, BucketRow, MetaView};
use crate::api::cache::Made;
use crate::api::errors::{Fault, GrantFault};
use crate::api::identity::names::{ACCOUNT_NAME_CHARS_MAX, EMAIL_BYTES_MAX, is_canonical_id};
use crate::api::policy::Ownership;
use crate::api::s3::documents::bucket_document;
use crate::api::s3::grants::requested::GRANTS_MAX;
use crate::api::s3::grants::{BucketAccess, access_of, check_acl_allowed, group_named, invalid_id, lookup_failed};
use crate::api::s3::{ACCOUNT, Shared, Store, documents};
use crate::limits::KEY_BYTES_MAX;
use s3s::dto::{
    BucketLogsPermission, GetBucketLoggingInput, GetBucketLoggingOutput, Grantee, LoggingEnabled, PartitionDateSource,
    PartitionedPrefix, PutBucketLoggingInput, PutBucketLoggingOutput, SimplePrefix, TargetGrant, TargetObjectKeyFormat,
    Type,
};
use s3s::{S3Request, S3Response, S3Result};
use std::sync::Arc;

/// The maximum length in bytes of a log's key after its prefix: account, region, bucket, date, time and a unique part.
const NAME_BYTES_MAX: usize = 224;

/// Returns the logging rules of a bucket, if it has any.
pub fn rules_of(view: &MetaView, bucket: &BucketRow) -> S3Result<Option<LoggingRules>> {
    documents::load(view, &bucket_document(bucket, BucketDocument::Logging))
}

/// A bucket whose requests are written to an access log.
pub struct LoggedBucket {
    /// The canonical id of the bucket's owner.
    pub owner: String,
    /// Shared with the lines that are not written yet.
    pub destination: Arc<LogDestination>,
}

/// Returns the logging destination of a bucket; the inner value is `None` if its requests are not logged. Reads the
/// tables of this host without a barrier, since a log line is not worth a wait. Returns `None` if this host cannot look
/// up the bucket.
pub fn logged(store: &Shared, name: &str) -> Option<Arc<Option<LoggedBucket>>> {
    let meta = store.gateway.meta();
    if let Some(kept) = meta.local_configuration().and_then(|at| store.memos.logged.kept_at(at, name)) {
        return Some(kept);
    }
    let view = meta.local()?;
    let found = store.memos.logged.get(&view, name, || look_up(store, &view, name));
    found
        .inspect_err(|error| tracing::debug!(bucket = name, %error, "a request is not written to the access log"))
        .ok()
        .flatten()
}

fn look_up(store: &Shared, view: &MetaView, name: &str) -> S3Result<Option<Made<Option<LoggedBucket>>>> {
    let Some(bucket) = view.bucket(name)? else { return Ok(None) };
    let Made { value: rules, bytes } = documents::load_sized(view, &bucket_document(&bucket, BucketDocument::Logging))?;
    let value = rules.map(|rules| destination(store, view, bucket, rules)).transpose()?.flatten();
    Ok(Some(Made { value, bytes }))
}

/// Returns the logging destination of a bucket, if its requests may still be logged to the target bucket.
fn destination(
    store: &Shared,
    view: &MetaView,
    bucket: BucketRow,
    rules: LoggingRules,
) -> S3Result<Option<LoggedBucket>> {
    // The name of the target may belong to another bucket than when logging was set up.
    let target = view.bucket(&rules.target_bucket)?;
    if target.is_none_or(|target| target.bucket.owner != bucket.bucket.owner) {
        return Ok(None);
    }
    let own = bucket.bucket.owner.clone();
    let owner = match bucket.bucket.owner {
        owner if owner == ACCOUNT => store.iam.root.canonical_id.clone(),
        owner => owner,
    };
    let account = store.iam.directory(view).account_by_canonical_id(&owner).map_err(lookup_failed)?;
    let destination = LogDestination {
        rules,
        owner: own,
        source_bucket: bucket.bucket.name,
        source_account: account.map(|account| account.id).unwrap_or_default(),
        source_region: bucket.bucket.region,
    };
    Ok(Some(LoggedBucket { owner, destination: Arc::new(destination) }))
}

pub async fn get(
    store: &Store,
    request: S3Request<GetBucketLoggingInput>,
) -> S3Result<S3Response<GetBucketLoggingOutput>> {
    let (bucket, view) = store.bucket(&request.input.bucket).await?;
    let logging_enabled = rules_of(&view, &bucket)?.map(to_dto);
    Ok(S3Response::new(GetBucketLoggingOutput { logging_enabled }))
}

/// PutBucketLogging. Without `LoggingEnabled`, logging ends.
pub async fn put(
    store: &Store,
    request: S3Request<PutBucketLoggingInput>,
) -> S3Result<S3Response<PutBucketLoggingOutput>> {
    let input = request.input;
    let (bucket, view) = store.bucket(&input.bucket).await?;
    let key = bucket_document(&bucket, BucketDocument::Logging);
    match input.bucket_logging_status.logging_enabled {
        None => documents::remove(store, key).await?,
        Some(given) => {
            let rules = from_dto(given)?;
            let target = view.bucket(&rules.target_bucket)?;
            let target = target.ok_or(Fault::InvalidTargetBucket("The target bucket for logging does not exist"))?;
            if target.bucket.owner != bucket.bucket.owner {
                let why = "The owner for the bucket to be logged and the target bucket must be the same.";
                return Err(Fault::InvalidTargetBucket(why).into());
            }
            check_grants(&rules.grants, &access_of(&view, &target)?, &target.bucket.owner)?;
            documents::save(store, key, &rules).await?;
        }
    }
    Ok(S3Response::new(PutBucketLoggingOutput::default()))
}

/// Refuses grants on log objects that the settings of the target bucket forbid. `owner` owns the bucket. Under
/// BucketOwnerEnforced S3 refuses all of them.
fn check_grants(grants: &[LogGrant], access: &BucketAccess, owner: &str) -> Result<(), Fault> {
    if !grants.is_empty() && access.ownership() == Ownership::BucketOwnerEnforced {
        return Err(GrantFault::AclsDisabled.into());
    }
    acl_of_report(owner, grants).map_or(Ok(()), |acl| check_acl_allowed(&acl, access, owner))
}

fn from_dto(given: LoggingEnabled) -> Result<LoggingRules, Fault> {
    if given.target_bucket.is_empty() {
        return Err(Fault::MalformedXml);
    }
    if given.target_prefix.len() + NAME_BYTES_MAX > KEY_BYTES_MAX {
        return Err(Fault::InvalidArgument(format!(
            "The target prefix is longer than {} bytes.",
            KEY_BYTES_MAX - NAME_BYTES_MAX
        )));
    }
    let grants = given.target_grants.unwrap_or_default();
    if grants.len() > GRANTS_MAX {
        return Err(GrantFault::MalformedAcl.into());
    }
    Ok(LoggingRules {
        target_bucket: given.target_bucket,
        target_prefix: given.target_prefix,
        key_format: given.target_object_key_format.map(key_format).transpose()?,
        grants: grants.into_iter().map(grant).collect::<Result<_, _>>()?,
    })
}

fn key_format(given: TargetObjectKeyFormat) -> Result<LogKeyFormat, Fault> {
    match (given.simple_prefix, given.partitioned_prefix) {
        (Some(_), None) => Ok(LogKeyFormat::Simple),
        (None, Some(partitioned)) => match partitioned.partition_date_source.as_ref().map(|source| source.as_str()) {
            Some(PartitionDateSource::EVENT_TIME) => Ok(LogKeyFormat::PartitionedByEvent),
            Some(PartitionDateSource::DELIVERY_TIME) | None => Ok(LogKeyFormat::PartitionedByDelivery),
            Some(_) => Err(Fault::MalformedXml),
        },
        _ => Err(Fault::MalformedXml),
    }
}

fn grant(given: TargetGrant) -> Result<LogGrant, Fault> {
    let permission = match given.permission.as_ref().map(BucketLogsPermission::as_str) {
        Some(BucketLogsPermission::FULL_CONTROL) => LogPermission::FullControl,
        Some(BucketLogsPermission::READ) => LogPermission::Read,
        Some(BucketLogsPermission::WRITE) => LogPermission::Write,
        _ => return Err(Fault::MalformedXml),
    };
    Ok(LogGrant { grantee: grantee(given.grantee.ok_or(Fault::MalformedXml)?)?, permission })
}

/// Converts a grantee. One that cannot exist is refused with the fault of an ACL; whether an account exists is not
/// looked up.
fn grantee(given: Grantee) -> Result<LogGrantee, Fault> {
    match given.type_.as_str() {
        Type::CANONICAL_USER => {
            let (id, display_name) = (given.id.ok_or(Fault::MalformedXml)?, given.display_name);
            if !is_canonical_id(&id) {
                return Err(invalid_id());
            }
            if display_name.as_ref().is_some_and(|name| name.chars().count() > ACCOUNT_NAME_CHARS_MAX) {
                return Err(GrantFault::MalformedAcl.into());
            }
            Ok(LogGrantee::Canonical { id, display_name })
        }
        Type::AMAZON_CUSTOMER_BY_EMAIL => {
            let email = given.email_address.ok_or(Fault::MalformedXml)?;
            if email.len() <= EMAIL_BYTES_MAX {
                Ok(LogGrantee::Email(email))
            } else {
                Err(GrantFault::UnknownEmail.into())
            }
        }
        Type::GROUP => {
            let uri = given.uri.ok_or(Fault::MalformedXml)?;
            group_named(&uri)?;
            Ok(LogGrantee::Group(uri))
        }
        _ => Err(Fault::MalformedXml),
    }
}

fn to_dto(rules: LoggingRules) -> LoggingEnabled {
    let grants: Vec<TargetGrant> = rules.grants.into_iter().map(shown_grant).collect();
    LoggingEnabled {
        target_bucket: rules.target_bucket,
        target_prefix: rules.target_prefix,
        target_grants: Some(grants).filter(|grants| !grants.is_empty()),
        target_object_key_format: rules.key_format.map(shown_format),
    }
}

fn shown_format(format: LogKeyFormat) -> TargetObjectKeyFormat {
    let by = |source| TargetObjectKeyFormat {
        partitioned_prefix: Some(PartitionedPrefix {
            partition_date_source: Some(PartitionDateSource::from_static(source)),
        }),
        simple_prefix: None,
    };
    match format {
        LogKeyFormat::Simple => {
            TargetObjectKeyFormat { partitioned_prefix: None, simple_prefix: Some(SimplePrefix::default()) }
        }
        LogKeyFormat::PartitionedByEvent => by(PartitionDateSource::EVENT_TIME),
        LogKeyFormat::PartitionedByDelivery => by(PartitionDateSource::DELIVERY_TIME),
    }
}

fn shown_grant(grant: LogGrant) -> TargetGrant {
    let nobody =
        |kind| Grantee { display_name: None, email_address: None, id: None, type_: Type::from_static(kind), uri: None };
    let grantee = match grant.grantee {
        LogGrantee::Canonical { id, display_name } => {
            Grantee { id: Some(id), display_name, ..nobody(Type::CANONICAL_USER) }
        }
        LogGrantee::Email(email) => Grantee { email_address: Some(email), ..nobody(Type::AMAZON_CUSTOMER_BY_EMAIL) },
        LogGrantee::Group(uri) => Grantee { uri: Some(uri), ..nobody(Type::GROUP) },
    };
    let permission = match grant.permission {
        LogPermission::FullControl => BucketLogsPermission::FULL_CONTROL,
        LogPermission::Read => BucketLogsPermission::READ,
        LogPermission::Write => BucketLogsPermission::WRITE,
    };
    TargetGrant { grantee: Some(grantee), permission: Some(BucketLogsPermission::from_static(permission)) }
}

#[cfg(test)]
mod tests {
    use super::{GRANTS_MAX, check_grants, from_dto, to_dto};
    use crate::actors::events::access_log::{LogGrant, LogGrantee, LogPermission};
    use crate::api::errors::{Fault, GrantFault};
    use crate::api::policy::{Ownership, PublicAccessBlock};
    use crate::api::s3::grants::BucketAccess;
    use s3s::dto::{
        BucketLogsPermission, Grantee, LoggingEnabled, PartitionDateSource, PartitionedPrefix, SimplePrefix,
        TargetGrant, TargetObjectKeyFormat, Type,
    };

    fn given() -> LoggingEnabled {
        LoggingEnabled {
            target_bucket: "amzn-s3-demo-bucket".to_owned(),
            target_prefix: "amzn-s3-demo-bucket-access_log-/".to_owned(),
            ..LoggingEnabled::default()
        }
    }

    fn format(simple: bool, partitioned: Option<Option<&'static str>>) -> Option<TargetObjectKeyFormat> {
        Some(TargetObjectKeyFormat {
            simple_prefix: simple.then(SimplePrefix::default),
            partitioned_prefix: partitioned.map(|source| PartitionedPrefix {
                partition_date_source: source.map(PartitionDateSource::from_static),
            }),
        })
    }

    fn grantee(kind: &'static str) -> Grantee {
        Grantee {
            display_name: None,
            email_address: Some("user@company.com".to_owned()),
            id: None,
            type_: Type::from_static(kind),
            uri: None,
        }
    }

    /// The example of PutBucketLogging, with its grant.
    #[test]
    fn a_logging_configuration_reads_back_as_it_was_set() {
        let mut example = given();
        assert_eq!(to_dto(from_dto(example.clone()).expect("rules")), example);
        example.target_grants = Some(vec![TargetGrant {
            grantee: Some(grantee(Type::AMAZON_CUSTOMER_BY_EMAIL)),
            permission: Some(BucketLogsPermission::from_static(BucketLogsPermission::READ)),
        }]);
        for key_format in [
            format(true, None),
            format(false, Some(Some(PartitionDateSource::EVENT_TIME))),
            format(false, Some(Some(PartitionDateSource::DELIVERY_TIME))),
        ] {
            example.target_object_key_format = key_format;
            assert_eq!(to_dto(from_dto(example.clone()).expect("rules")), example);
        }
    }

    #[test]
    fn a_malformed_logging_configuration_is_refused() {
        let judge = |change: fn(&mut LoggingEnabled)| {
            let mut wrong = given();
            change(&mut wrong);
            from_dto(wrong).map(|_| ())
        };
        let malformed: [fn(&mut LoggingEnabled); 6] = [
            |wrong| wrong.target_bucket.clear(),
            |wrong| wrong.target_object_key_format = format(false, None),
            |wrong| wrong.target_object_key_format = format(true, Some(None)),
            |wrong| wrong.target_object_key_format = format(false, Some(Some("kaboom"))),
            |wrong| wrong.target_grants = Some(vec![TargetGrant::default()]),
            |wrong| {
                let permission = Some(BucketLogsPermission::from_static(BucketLogsPermission::READ));
                wrong.target_grants = Some(vec![TargetGrant { grantee: Some(grantee(Type::GROUP)), permission }]);
            },
        ];
        for change in malformed {
            assert_eq!(judge(change), Err(Fault::MalformedXml));
        }
        let long = judge(|wrong| wrong.target_prefix = "p".repeat(1000));
        assert!(matches!(long, Err(Fault::InvalidArgument(_))));
    }

    #[test]
    fn grants_on_access_logs_are_bounded_as_those_of_acls_are() {
        let permission = || Some(BucketLogsPermission::from_static(BucketLogsPermission::READ));
        let judge = |count: usize, kind: &'static str, text: &str, display_name: &str| {
            let grantee = Grantee {
                id: Some(text.to_owned()),
                uri: Some(text.to_owned()),
                email_address: Some(text.to_owned()),
                display_name: Some(display_name.to_owned()),
                ..grantee(kind)
            };
            let grants = vec![TargetGrant { grantee: Some(grantee), permission: permission() }; count];
            from_dto(LoggingEnabled { target_grants: Some(grants), ..given() }).map(|rules| rules.grants.len())
        };
        let id = "0123456789abcdef".repeat(4);
        assert_eq!(judge(GRANTS_MAX, Type::CANONICAL_USER, &id, "name"), Ok(GRANTS_MAX));
        let malformed: Result<usize, Fault> = Err(GrantFault::MalformedAcl.into());
        assert_eq!(judge(GRANTS_MAX + 1, Type::CANONICAL_USER, &id, "name"), malformed);
        assert_eq!(judge(1, Type::CANONICAL_USER, &id, &"n".repeat(129)), malformed);
        let invalid = |why: &str| -> Result<usize, Fault> { Err(Fault::InvalidArgument(why.to_owned())) };
        assert_eq!(judge(1, Type::CANONICAL_USER, &id.repeat(2), "name"), invalid("Invalid id"));
        let uri = "http://acs.amazonaws.com/groups/global/AllUsers";
        assert_eq!(judge(1, Type::GROUP, uri, ""), Ok(1));
        let long = format!("{}{uri}", "u".repeat(60_000));
        assert_eq!(judge(1, Type::GROUP, &long, ""), invalid("Invalid group uri"));
        assert_eq!(judge(1, Type::AMAZON_CUSTOMER_BY_EMAIL, "a@b", ""), Ok(1));
        let email = judge(1, Type::AMAZON_CUSTOMER_BY_EMAIL, &format!("{}@b", "a".repeat(254)), "");
        assert_eq!(email, Err(GrantFault::UnknownEmail.into()));
    }

    #[test]
    fn grants_on_access_logs_are_refused_where_the_target_bucket_forbids_them() {
        let grant = |grantee| vec![LogGrant { grantee, permission: LogPermission::Read }];
        let public = grant(LogGrantee::Group("http://acs.amazonaws.com/groups/global/AllUsers".to_owned()));
        let email = grant(LogGrantee::Email("a@b".to_owned()));
        let block = Some(PublicAccessBlock { block_public_acls: true, ..PublicAccessBlock::default() });
        let blocked = BucketAccess { block, ..BucketAccess::default() };
        assert!(matches!(check_grants(&public, &blocked, "owner"), Err(Fault::AccessDenied(_))));
        assert_eq!(check_grants(&email, &blocked, "owner"), Ok(()));
        let enforced = BucketAccess { ownership: Some(Ownership::BucketOwnerEnforced), ..BucketAccess::default() };
        for grants in [&public, &email] {
            assert_eq!(check_grants(grants, &enforced, "owner"), Err(GrantFault::AclsDisabled.into()));
            assert_eq!(check_grants(grants, &BucketAccess::default(), "owner"), Ok(()));
        }
        assert_eq!(check_grants(&[], &enforced, "owner"), Ok(()));
    }

    #[test]
    fn a_log_partition_without_a_date_source_uses_the_delivery_time() {
        let mut example = given();
        example.target_object_key_format = format(false, Some(None));
        let shown = to_dto(from_dto(example).expect("rules")).target_object_key_format;
        assert_eq!(shown, format(false, Some(Some(PartitionDateSource::DELIVERY_TIME))));
    }
}
