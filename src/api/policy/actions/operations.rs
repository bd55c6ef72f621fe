//! The actions that each operation of S3 needs. Operations have the names that s3s gives them (S3 User Guide, "Required
//! permissions for Amazon S3 API operations").

/// The resource of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// The account: `arn:aws:s3:::*`.
    Account,
    Bucket,
    /// The object, or each of them in `DeleteObjects`.
    Object,
    /// The source object of a copy or rename, in its own bucket.
    Source,
}

/// An action that a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// The action with its service.
    pub action: &'static str,
    pub on: On,
}

/// The properties of a request that decide which actions it needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asks {
    /// True if it names a version of the object.
    pub version: bool,
    /// True if it names a version of the source object.
    pub source_version: bool,
    /// True if it has an ACL in its headers.
    pub acl: bool,
    /// True if it has tags in its headers.
    pub tags: bool,
    /// True if it copies an object together with its tags.
    pub source_tags: bool,
    /// True if it sets a retention period in its headers.
    pub retention: bool,
    /// True if it sets a legal hold in its headers.
    pub legal_hold: bool,
    /// True if it asks to bypass governance mode.
    pub bypass: bool,
    /// True if it creates a bucket with Object Lock.
    pub object_lock: bool,
    /// True if it creates a bucket with an object ownership setting.
    pub ownership: bool,
    /// True if its outcome tells of the object that is there: a conditional write or delete, or an append.
    pub reads_etag: bool,
}

/// The condition under which an operation needs an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Always,
    Version,
    NoVersion,
    SourceVersion,
    NoSourceVersion,
    Acl,
    Tags,
    /// The request copies the source's tags: `SourceTags` of the current version, `SourceVersionTags` of the version it
    /// names.
    SourceTags,
    SourceVersionTags,
    Retention,
    LegalHold,
    Bypass,
    ObjectLock,
    Ownership,
    Compares,
}

impl When {
    fn holds(self, asks: Asks) -> bool {
        match self {
            Self::Always => true,
            Self::Version => asks.version,
            Self::NoVersion => !asks.version,
            Self::SourceVersion => asks.source_version,
            Self::NoSourceVersion => !asks.source_version,
            Self::Acl => asks.acl,
            Self::Tags => asks.tags || asks.source_tags,
            Self::SourceTags => asks.source_tags && !asks.source_version,
            Self::SourceVersionTags => asks.source_tags && asks.source_version,
            Self::Retention => asks.retention,
            Self::LegalHold => asks.legal_hold,
            Self::Bypass => asks.bypass,
            Self::ObjectLock => asks.object_lock,
            Self::Ownership => asks.ownership,
            Self::Compares => asks.reads_etag,
        }
    }
}

/// Returns the actions that a request needs, all of which must be allowed; `None` for an operation that S3 does not
/// have.
pub fn needs(operation: &str, asks: Asks) -> Option<Vec<Need>> {
    if let Some((_, action)) = OF_BUCKETS.iter().find(|(name, _)| *name == operation) {
        return Some(vec![Need { action, on: On::Bucket }]);
    }
    let (_, rows) = OF_OBJECTS.iter().find(|(name, _)| *name == operation)?;
    let rows = rows.iter().filter(|(_, _, when)| when.holds(asks));
    Some(rows.map(|(action, on, _)| Need { action, on: *on }).collect())
}

type Row = (&'static str, On, When);

const GET: &[Row] =
    &[("s3:GetObject", On::Object, When::NoVersion), ("s3:GetObjectVersion", On::Object, When::Version)];
const PUT: &[Row] = &[
    ("s3:PutObject", On::Object, When::Always),
    ("s3:PutObjectAcl", On::Object, When::Acl),
    ("s3:PutObjectTagging", On::Object, When::Tags),
    ("s3:PutObjectRetention", On::Object, When::Retention),
    ("s3:PutObjectLegalHold", On::Object, When::LegalHold),
    COMPARE,
];
const DELETE: &[Row] = &[
    ("s3:DeleteObject", On::Object, When::NoVersion),
    ("s3:DeleteObjectVersion", On::Object, When::Version),
    ("s3:BypassGovernanceRetention", On::Object, When::Bypass),
    COMPARE,
];
/// The right to read, which a conditional write needs because its outcome reveals what exists (User Guide, "Enforce
/// conditional writes on Amazon S3 buckets").
const COMPARE: Row = ("s3:GetObject", On::Object, When::Compares);

/// Operations that need several actions, or an action on something other than the bucket.
const OF_OBJECTS: &[(&str, &[Row])] = &[
    ("AbortMultipartUpload", &[("s3:AbortMultipartUpload", On::Object, When::Always)]),
    ("CompleteMultipartUpload", &[("s3:PutObject", On::Object, When::Always), COMPARE]),
    (
        "CopyObject",
        &[
            ("s3:GetObject", On::Source, When::NoSourceVersion),
            ("s3:GetObjectVersion", On::Source, When::SourceVersion),
            ("s3:GetObjectTagging", On::Source, When::SourceTags),
            ("s3:GetObjectVersionTagging", On::Source, When::SourceVersionTags),
            ("s3:PutObject", On::Object, When::Always),
            ("s3:PutObjectAcl", On::Object, When::Acl),
            ("s3:PutObjectTagging", On::Object, When::Tags),
            ("s3:PutObjectRetention", On::Object, When::Retention),
            ("s3:PutObjectLegalHold", On::Object, When::LegalHold),
            COMPARE,
        ],
    ),
    (
        "CreateBucket",
        &[
            ("s3:CreateBucket", On::Bucket, When::Always),
            ("s3:PutBucketAcl", On::Bucket, When::Acl),
            ("s3:PutBucketObjectLockConfiguration", On::Bucket, When::ObjectLock),
            ("s3:PutBucketVersioning", On::Bucket, When::ObjectLock),
            ("s3:PutBucketOwnershipControls", On::Bucket, When::Ownership),
            ("s3:TagResource", On::Bucket, When::Tags),
        ],
    ),
    ("CreateMultipartUpload", PUT),
    ("DeleteObject", DELETE),
    (
        "DeleteObjectTagging",
        &[
            ("s3:DeleteObjectTagging", On::Object, When::NoVersion),
            ("s3:DeleteObjectVersionTagging", On::Object, When::Version),
        ],
    ),
    ("DeleteObjects", DELETE),
    ("GetObject", GET),
    (
        "GetObjectAcl",
        &[("s3:GetObjectAcl", On::Object, When::NoVersion), ("s3:GetObjectVersionAcl", On::Object, When::Version)],
    ),
    (
        "GetObjectAttributes",
        &[
            ("s3:GetObject", On::Object, When::NoVersion),
            ("s3:GetObjectAttributes", On::Object, When::NoVersion),
            ("s3:GetObjectVersion", On::Object, When::Version),
            ("s3:GetObjectVersionAttributes", On::Object, When::Version),
        ],
    ),
    ("GetObjectLegalHold", &[("s3:GetObjectLegalHold", On::Object, When::Always)]),
    ("GetObjectRetention", &[("s3:GetObjectRetention", On::Object, When::Always)]),
    (
        "GetObjectTagging",
        &[
            ("s3:GetObjectTagging", On::Object, When::NoVersion),
            ("s3:GetObjectVersionTagging", On::Object, When::Version),
        ],
    ),
    (
        "GetObjectTorrent",
        &[
            ("s3:GetObjectTorrent", On::Object, When::NoVersion),
            ("s3:GetObjectVersionTorrent", On::Object, When::Version),
        ],
    ),
    ("HeadObject", GET),
    ("ListBuckets", &[("s3:ListAllMyBuckets", On::Account, When::Always)]),
    ("ListDirectoryBuckets", &[("s3express:ListAllMyDirectoryBuckets", On::Account, When::Always)]),
    ("ListParts", &[("s3:ListMultipartUploadParts", On::Object, When::Always)]),
    ("PostObject", PUT),
    ("PutObject", PUT),
    (
        "PutObjectAcl",
        &[("s3:PutObjectAcl", On::Object, When::NoVersion), ("s3:PutObjectVersionAcl", On::Object, When::Version)],
    ),
    ("PutObjectLegalHold", &[("s3:PutObjectLegalHold", On::Object, When::Always)]),
    (
        "PutObjectRetention",
        &[
            ("s3:PutObjectRetention", On::Object, When::Always),
            ("s3:BypassGovernanceRetention", On::Object, When::Bypass),
        ],
    ),
    (
        "PutObjectTagging",
        &[
            ("s3:PutObjectTagging", On::Object, When::NoVersion),
            ("s3:PutObjectVersionTagging", On::Object, When::Version),
        ],
    ),
    (
        "RenameObject",
        &[
            ("s3:GetObject", On::Source, When::Always),
            ("s3:DeleteObject", On::Source, When::Always),
            ("s3:PutObject", On::Object, When::Always),
            COMPARE,
        ],
    ),
    ("RestoreObject", &[("s3:RestoreObject", On::Object, When::Always)]),
    ("SelectObjectContent", GET),
    ("UploadPart", &[("s3:PutObject", On::Object, When::Always)]),
    (
        "UploadPartCopy",
        &[
            ("s3:GetObject", On::Source, When::NoSourceVersion),
            ("s3:GetObjectVersion", On::Source, When::SourceVersion),
            ("s3:PutObject", On::Object, When::Always),
        ],
    ),
    ("WriteGetObjectResponse", &[("s3-object-lambda:WriteGetObjectResponse", On::Account, When::Always)]),
];

/// Operations that need one action, on the bucket. Deleting a setting mostly needs the action that puts it.
const OF_BUCKETS: &[(&str, &str)] = &[
    ("CreateBucketMetadataTableConfiguration", "s3:CreateBucketMetadataTableConfiguration"),
    ("CreateSession", "s3express:CreateSession"),
    ("DeleteBucket", "s3:DeleteBucket"),
    ("DeleteBucketAnalyticsConfiguration", "s3:PutAnalyticsConfiguration"),
    ("DeleteBucketCors", "s3:PutBucketCORS"),
    ("DeleteBucketEncryption", "s3:PutEncryptionConfiguration"),
    ("DeleteBucketIntelligentTieringConfiguration", "s3:PutIntelligentTieringConfiguration"),
    ("DeleteBucketInventoryConfiguration", "s3:PutInventoryConfiguration"),
    ("DeleteBucketLifecycle", "s3:PutLifecycleConfiguration"),
    ("DeleteBucketMetadataTableConfiguration", "s3:DeleteBucketMetadataTableConfiguration"),
    ("DeleteBucketMetricsConfiguration", "s3:PutMetricsConfiguration"),
    ("DeleteBucketOwnershipControls", "s3:PutBucketOwnershipControls"),
    ("DeleteBucketPolicy", "s3:DeleteBucketPolicy"),
    ("DeleteBucketReplication", "s3:PutReplicationConfiguration"),
    ("DeleteBucketTagging", "s3:PutBucketTagging"),
    ("DeleteBucketWebsite", "s3:DeleteBucketWebsite"),
    ("DeletePublicAccessBlock", "s3:PutBucketPublicAccessBlock"),
    ("GetBucketAccelerateConfiguration", "s3:GetAccelerateConfiguration"),
    ("GetBucketAcl", "s3:GetBucketAcl"),
    ("GetBucketAnalyticsConfiguration", "s3:GetAnalyticsConfiguration"),
    ("GetBucketCors", "s3:GetBucketCORS"),
    ("GetBucketEncryption", "s3:GetEncryptionConfiguration"),
    ("GetBucketIntelligentTieringConfiguration", "s3:GetIntelligentTieringConfiguration"),
    ("GetBucketInventoryConfiguration", "s3:GetInventoryConfiguration"),
    ("GetBucketLifecycleConfiguration", "s3:GetLifecycleConfiguration"),
    ("GetBucketLocation", "s3:GetBucketLocation"),
    ("GetBucketLogging", "s3:GetBucketLogging"),
    ("GetBucketMetadataTableConfiguration", "s3:GetBucketMetadataTableConfiguration"),
    ("GetBucketMetricsConfiguration", "s3:GetMetricsConfiguration"),
    ("GetBucketNotificationConfiguration", "s3:GetBucketNotification"),
    ("GetBucketOwnershipControls", "s3:GetBucketOwnershipControls"),
    ("GetBucketPolicy", "s3:GetBucketPolicy"),
    ("GetBucketPolicyStatus", "s3:GetBucketPolicyStatus"),
    ("GetBucketReplication", "s3:GetReplicationConfiguration"),
    ("GetBucketRequestPayment", "s3:GetBucketRequestPayment"),
    ("GetBucketTagging", "s3:GetBucketTagging"),
    ("GetBucketVersioning", "s3:GetBucketVersioning"),
    ("GetBucketWebsite", "s3:GetBucketWebsite"),
    ("GetObjectLockConfiguration", "s3:GetBucketObjectLockConfiguration"),
    ("GetPublicAccessBlock", "s3:GetBucketPublicAccessBlock"),
    ("HeadBucket", "s3:ListBucket"),
    ("ListBucketAnalyticsConfigurations", "s3:GetAnalyticsConfiguration"),
    ("ListBucketIntelligentTieringConfigurations", "s3:GetIntelligentTieringConfiguration"),
    ("ListBucketInventoryConfigurations", "s3:GetInventoryConfiguration"),
    ("ListBucketMetricsConfigurations", "s3:GetMetricsConfiguration"),
    ("ListMultipartUploads", "s3:ListBucketMultipartUploads"),
    ("ListObjectVersions", "s3:ListBucketVersions"),
    ("ListObjects", "s3:ListBucket"),
    ("ListObjectsV2", "s3:ListBucket"),
    ("PutBucketAccelerateConfiguration", "s3:PutAccelerateConfiguration"),
    ("PutBucketAcl", "s3:PutBucketAcl"),
    ("PutBucketAnalyticsConfiguration", "s3:PutAnalyticsConfiguration"),
    ("PutBucketCors", "s3:PutBucketCORS"),
    ("PutBucketEncryption", "s3:PutEncryptionConfiguration"),
    ("PutBucketIntelligentTieringConfiguration", "s3:PutIntelligentTieringConfiguration"),
    ("PutBucketInventoryConfiguration", "s3:PutInventoryConfiguration"),
    ("PutBucketLifecycleConfiguration", "s3:PutLifecycleConfiguration"),
    ("PutBucketLogging", "s3:PutBucketLogging"),
    ("PutBucketMetricsConfiguration", "s3:PutMetricsConfiguration"),
    ("PutBucketNotificationConfiguration", "s3:PutBucketNotification"),
    ("PutBucketOwnershipControls", "s3:PutBucketOwnershipControls"),
    ("PutBucketPolicy", "s3:PutBucketPolicy"),
    ("PutBucketReplication", "s3:PutReplicationConfiguration"),
    ("PutBucketRequestPayment", "s3:PutBucketRequestPayment"),
    ("PutBucketTagging", "s3:PutBucketTagging"),
    ("PutBucketVersioning", "s3:PutBucketVersioning"),
    ("PutBucketWebsite", "s3:PutBucketWebsite"),
    ("PutObjectLockConfiguration", "s3:PutBucketObjectLockConfiguration"),
    ("PutPublicAccessBlock", "s3:PutBucketPublicAccessBlock"),
];

#[cfg(test)]
mod tests {
    use super::{Asks, Need, OF_BUCKETS, OF_OBJECTS, On, needs};
    use crate::api::policy::actions::{self, ResourceKind};

    fn names(operation: &str, asks: Asks) -> Vec<&'static str> {
        needs(operation, asks).expect("a known operation").iter().map(|need| need.action).collect()
    }

    #[test]
    fn operations_need_only_existing_actions_of_matching_resource_kinds() {
        let of_buckets = OF_BUCKETS.iter().map(|(_, action)| (*action, On::Bucket));
        let of_objects = OF_OBJECTS.iter().flat_map(|(_, rows)| rows.iter().map(|(action, on, _)| (*action, *on)));
        for (action, on) in of_buckets.chain(of_objects).filter(|(action, _)| action.starts_with("s3:")) {
            let kind = actions::find(action).unwrap_or_else(|| panic!("{action} does not exist")).kind;
            let expected = match on {
                On::Account => ResourceKind::Account,
                On::Bucket => ResourceKind::Bucket,
                On::Object | On::Source => ResourceKind::Object,
            };
            assert_eq!(kind, expected, "{action}");
        }
    }

    #[test]
    fn naming_a_version_needs_the_actions_for_versions() {
        let version = Asks { version: true, ..Asks::default() };
        assert_eq!(names("GetObject", Asks::default()), ["s3:GetObject"]);
        assert_eq!(names("HeadObject", version), ["s3:GetObjectVersion"]);
        assert_eq!(names("GetObjectAttributes", version), ["s3:GetObjectVersion", "s3:GetObjectVersionAttributes"]);
        assert_eq!(names("DeleteObject", version), ["s3:DeleteObjectVersion"]);
    }

    #[test]
    fn a_copy_needs_the_right_to_read_its_source() {
        let plain = [Need { action: "s3:GetObject", on: On::Source }, Need { action: "s3:PutObject", on: On::Object }];
        assert_eq!(needs("CopyObject", Asks::default()).as_deref(), Some(plain.as_slice()));
        assert_eq!(needs("UploadPartCopy", Asks::default()).as_deref(), Some(plain.as_slice()));
        let tagged = Asks { source_version: true, source_tags: true, ..Asks::default() };
        assert_eq!(
            names("CopyObject", tagged),
            ["s3:GetObjectVersion", "s3:GetObjectVersionTagging", "s3:PutObject", "s3:PutObjectTagging"]
        );
    }

    #[test]
    fn a_rename_needs_rights_on_its_source_and_its_target() {
        let need = |action, on| Need { action, on };
        let expected =
            [need("s3:GetObject", On::Source), need("s3:DeleteObject", On::Source), need("s3:PutObject", On::Object)];
        assert_eq!(needs("RenameObject", Asks::default()).as_deref(), Some(expected.as_slice()));
    }

    #[test]
    fn headers_that_set_an_acl_tags_or_locks_need_further_actions() {
        let all = Asks { acl: true, tags: true, retention: true, legal_hold: true, ..Asks::default() };
        let expected = [
            "s3:PutObject",
            "s3:PutObjectAcl",
            "s3:PutObjectTagging",
            "s3:PutObjectRetention",
            "s3:PutObjectLegalHold",
        ];
        assert_eq!(names("PutObject", all), expected);
        let bypass = Asks { bypass: true, version: true, ..Asks::default() };
        assert_eq!(names("DeleteObject", bypass), ["s3:DeleteObjectVersion", "s3:BypassGovernanceRetention"]);
        assert_eq!(names("PutObjectRetention", bypass), ["s3:PutObjectRetention", "s3:BypassGovernanceRetention"]);
    }

    #[test]
    fn a_conditional_write_needs_the_right_to_read() {
        let reads_etag = Asks { reads_etag: true, ..Asks::default() };
        assert_eq!(names("PutObject", reads_etag), ["s3:PutObject", "s3:GetObject"]);
        assert_eq!(names("CompleteMultipartUpload", reads_etag), ["s3:PutObject", "s3:GetObject"]);
        assert_eq!(names("DeleteObject", reads_etag), ["s3:DeleteObject", "s3:GetObject"]);
        assert_eq!(names("CopyObject", reads_etag), ["s3:GetObject", "s3:PutObject", "s3:GetObject"]);
        let rename = ["s3:GetObject", "s3:DeleteObject", "s3:PutObject", "s3:GetObject"];
        assert_eq!(names("RenameObject", reads_etag), rename);
    }

    #[test]
    fn the_actions_of_an_unknown_operation_are_none() {
        assert_eq!(needs("FlyToTheMoon", Asks::default()), None);
    }
}
