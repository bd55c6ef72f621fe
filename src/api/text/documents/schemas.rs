//! The elements of the XML bodies that operations read (Amazon S3 API Reference).

/// The elements of a document.
#[derive(Debug, PartialEq, Eq)]
pub struct Schema {
    /// Each element that has children, with their names. The first one is the root. A name that ends in `#` is that of
    /// a number. What has no children here has text.
    pub parents: &'static [(&'static str, &'static [&'static str])],
}

/// What an element may have within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    Elements(&'static [&'static str]),
    Number,
    Text,
}

impl Schema {
    pub fn root(&self) -> &'static str {
        self.parents.first().map_or("", |(name, _)| name)
    }

    /// Returns what an element of this name may have, if it is one of `siblings`.
    pub fn content(&self, siblings: &[&str], name: &[u8]) -> Option<Content> {
        let known = siblings.iter().find(|known| known.trim_end_matches('#').as_bytes() == name)?;
        if known.ends_with('#') {
            return Some(Content::Number);
        }
        let parent = self.parents.iter().find(|(parent, _)| parent.as_bytes() == name);
        Some(parent.map_or(Content::Text, |(_, children)| Content::Elements(children)))
    }
}

const GRANT: (&str, &[&str]) = ("Grant", &["Grantee", "Permission"]);
const GRANTEE: (&str, &[&str]) = ("Grantee", &["DisplayName", "EmailAddress", "ID", "URI"]);
const TAG: (&str, &[&str]) = ("Tag", &["Key", "Value"]);

const ACCELERATE: Schema = Schema { parents: &[("AccelerateConfiguration", &["Status"])] };
const ACL: Schema = Schema {
    parents: &[
        ("AccessControlPolicy", &["AccessControlList", "Owner"]),
        ("AccessControlList", &["Grant"]),
        GRANT,
        GRANTEE,
        ("Owner", &["DisplayName", "ID"]),
    ],
};
const ANALYTICS: Schema = Schema {
    parents: &[
        ("AnalyticsConfiguration", &["Filter", "Id", "StorageClassAnalysis"]),
        ("Filter", &["And", "Prefix", "Tag"]),
        ("And", &["Prefix", "Tag"]),
        TAG,
        ("StorageClassAnalysis", &["DataExport"]),
        ("DataExport", &["Destination", "OutputSchemaVersion"]),
        ("Destination", &["S3BucketDestination"]),
        ("S3BucketDestination", &["Bucket", "BucketAccountId", "Format", "Prefix"]),
    ],
};
const CORS: Schema = Schema {
    parents: &[
        ("CORSConfiguration", &["CORSRule"]),
        ("CORSRule", &["AllowedHeader", "AllowedMethod", "AllowedOrigin", "ExposeHeader", "ID", "MaxAgeSeconds#"]),
    ],
};
const ENCRYPTION: Schema = Schema {
    parents: &[
        ("ServerSideEncryptionConfiguration", &["Rule"]),
        ("Rule", &["ApplyServerSideEncryptionByDefault", "BucketKeyEnabled"]),
        ("ApplyServerSideEncryptionByDefault", &["KMSMasterKeyID", "SSEAlgorithm"]),
    ],
};
const INVENTORY: Schema = Schema {
    parents: &[
        (
            "InventoryConfiguration",
            &["Destination", "Filter", "Id", "IncludedObjectVersions", "IsEnabled", "OptionalFields", "Schedule"],
        ),
        ("Destination", &["S3BucketDestination"]),
        ("S3BucketDestination", &["AccountId", "Bucket", "Encryption", "Format", "Prefix"]),
        ("Encryption", &["SSE-KMS", "SSE-S3"]),
        ("SSE-KMS", &["KeyId"]),
        ("SSE-S3", &[]),
        ("Filter", &["Prefix"]),
        ("OptionalFields", &["Field"]),
        ("Schedule", &["Frequency"]),
    ],
};
const LEGAL_HOLD: Schema = Schema { parents: &[("LegalHold", &["Status"])] };
const LIFECYCLE: Schema = Schema {
    parents: &[
        ("LifecycleConfiguration", &["Rule"]),
        (
            "Rule",
            &[
                "AbortIncompleteMultipartUpload",
                "Expiration",
                "Filter",
                "ID",
                "NoncurrentVersionExpiration",
                "NoncurrentVersionTransition",
                "Prefix",
                "Status",
                "Transition",
            ],
        ),
        ("AbortIncompleteMultipartUpload", &["DaysAfterInitiation#"]),
        ("Expiration", &["Date", "Days#", "ExpiredObjectDeleteMarker"]),
        ("Filter", &["And", "ObjectSizeGreaterThan#", "ObjectSizeLessThan#", "Prefix", "Tag"]),
        ("And", &["ObjectSizeGreaterThan#", "ObjectSizeLessThan#", "Prefix", "Tag"]),
        TAG,
        ("NoncurrentVersionExpiration", &["NewerNoncurrentVersions#", "NoncurrentDays#"]),
        ("NoncurrentVersionTransition", &["NewerNoncurrentVersions#", "NoncurrentDays#", "StorageClass"]),
        ("Transition", &["Date", "Days#", "StorageClass"]),
    ],
};
const LOGGING: Schema = Schema {
    parents: &[
        ("BucketLoggingStatus", &["LoggingEnabled"]),
        ("LoggingEnabled", &["TargetBucket", "TargetGrants", "TargetObjectKeyFormat", "TargetPrefix"]),
        ("TargetGrants", &["Grant"]),
        GRANT,
        GRANTEE,
        ("TargetObjectKeyFormat", &["PartitionedPrefix", "SimplePrefix"]),
        ("PartitionedPrefix", &["PartitionDateSource"]),
        ("SimplePrefix", &[]),
    ],
};
const METRICS: Schema = Schema {
    parents: &[
        ("MetricsConfiguration", &["Filter", "Id"]),
        ("Filter", &["AccessPointArn", "And", "Prefix", "Tag"]),
        ("And", &["AccessPointArn", "Prefix", "Tag"]),
        TAG,
    ],
};
const NOTIFICATION: Schema = Schema {
    parents: &[
        (
            "NotificationConfiguration",
            &["CloudFunctionConfiguration", "EventBridgeConfiguration", "QueueConfiguration", "TopicConfiguration"],
        ),
        ("CloudFunctionConfiguration", &["CloudFunction", "Event", "Filter", "Id"]),
        ("EventBridgeConfiguration", &[]),
        ("QueueConfiguration", &["Event", "Filter", "Id", "Queue"]),
        ("TopicConfiguration", &["Event", "Filter", "Id", "Topic"]),
        ("Filter", &["S3Key"]),
        ("S3Key", &["FilterRule"]),
        ("FilterRule", &["Name", "Value"]),
    ],
};
const OBJECT_LOCK: Schema = Schema {
    parents: &[
        ("ObjectLockConfiguration", &["ObjectLockEnabled", "Rule"]),
        ("Rule", &["DefaultRetention"]),
        ("DefaultRetention", &["Days#", "Mode", "Years#"]),
    ],
};
const OWNERSHIP: Schema = Schema { parents: &[("OwnershipControls", &["Rule"]), ("Rule", &["ObjectOwnership"])] };
const PUBLIC_ACCESS: Schema = Schema {
    parents: &[(
        "PublicAccessBlockConfiguration",
        &["BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"],
    )],
};
const PAYMENT: Schema = Schema { parents: &[("RequestPaymentConfiguration", &["Payer"])] };
const RETENTION: Schema = Schema { parents: &[("Retention", &["Mode", "RetainUntilDate"])] };
pub const TAGGING: Schema = Schema { parents: &[("Tagging", &["TagSet"]), ("TagSet", &["Tag"]), TAG] };
const TIERING: Schema = Schema {
    parents: &[
        ("IntelligentTieringConfiguration", &["Filter", "Id", "Status", "Tiering"]),
        ("Filter", &["And", "Prefix", "Tag"]),
        ("And", &["Prefix", "Tag"]),
        TAG,
        ("Tiering", &["AccessTier", "Days#"]),
    ],
};
const VERSIONING: Schema = Schema { parents: &[("VersioningConfiguration", &["MfaDelete", "Status"])] };
const WEBSITE: Schema = Schema {
    parents: &[
        ("WebsiteConfiguration", &["ErrorDocument", "IndexDocument", "RedirectAllRequestsTo", "RoutingRules"]),
        ("ErrorDocument", &["Key"]),
        ("IndexDocument", &["Suffix"]),
        ("RedirectAllRequestsTo", &["HostName", "Protocol"]),
        ("RoutingRules", &["RoutingRule"]),
        ("RoutingRule", &["Condition", "Redirect"]),
        ("Condition", &["HttpErrorCodeReturnedEquals", "KeyPrefixEquals"]),
        ("Redirect", &["HostName", "HttpRedirectCode", "Protocol", "ReplaceKeyPrefixWith", "ReplaceKeyWith"]),
    ],
};

/// The schemas of the documents of buckets and objects, by the query parameter.
pub const OF_DOCUMENTS: [(&str, &Schema); 20] = [
    ("accelerate", &ACCELERATE),
    ("acl", &ACL),
    ("analytics", &ANALYTICS),
    ("cors", &CORS),
    ("encryption", &ENCRYPTION),
    ("intelligent-tiering", &TIERING),
    ("inventory", &INVENTORY),
    ("legal-hold", &LEGAL_HOLD),
    ("lifecycle", &LIFECYCLE),
    ("logging", &LOGGING),
    ("metrics", &METRICS),
    ("notification", &NOTIFICATION),
    ("object-lock", &OBJECT_LOCK),
    ("ownershipControls", &OWNERSHIP),
    ("publicAccessBlock", &PUBLIC_ACCESS),
    ("requestPayment", &PAYMENT),
    ("retention", &RETENTION),
    ("tagging", &TAGGING),
    ("versioning", &VERSIONING),
    ("website", &WEBSITE),
];

/// The body of CreateBucket.
pub const NEW_BUCKET: Schema = Schema {
    parents: &[
        ("CreateBucketConfiguration", &["Bucket", "Location", "LocationConstraint", "Tags"]),
        ("Bucket", &["DataRedundancy", "Type"]),
        ("Location", &["Name", "Type"]),
        ("Tags", &["Tag"]),
        TAG,
    ],
};
/// The body of DeleteObjects.
pub const DELETES: Schema = Schema {
    parents: &[
        ("Delete", &["Object", "Quiet"]),
        ("Object", &["ETag", "Key", "LastModifiedTime", "Size#", "VersionId"]),
    ],
};
/// The body of CompleteMultipartUpload.
pub const COMPLETES: Schema = Schema {
    parents: &[
        ("CompleteMultipartUpload", &["Part"]),
        (
            "Part",
            &[
                "ChecksumCRC32",
                "ChecksumCRC32C",
                "ChecksumCRC64NVME",
                "ChecksumMD5",
                "ChecksumSHA1",
                "ChecksumSHA256",
                "ChecksumSHA512",
                "ChecksumXXHASH3",
                "ChecksumXXHASH64",
                "ChecksumXXHASH128",
                "ETag",
                "PartNumber#",
            ],
        ),
    ],
};

#[cfg(test)]
mod tests {
    use super::{COMPLETES, Content};
    use crate::actors::meta::ChecksumAlgorithm;

    #[test]
    fn a_completed_part_may_have_every_checksum() {
        let Some(Content::Elements(of_part)) = COMPLETES.content(&["Part"], b"Part") else { panic!("no part") };
        for algorithm in ChecksumAlgorithm::ALL {
            let name = algorithm.element();
            assert_eq!(COMPLETES.content(of_part, name.as_bytes()), Some(Content::Text), "{name}");
        }
        assert_eq!(COMPLETES.content(of_part, b"PartNumber"), Some(Content::Number));
        assert_eq!(COMPLETES.content(of_part, b"PartNumber#"), None);
    }
}
