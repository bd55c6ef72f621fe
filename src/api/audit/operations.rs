//! The table of the operations that the audit log has lines of. A test compares it with all operations that the API
//! knows.

use serde::Serialize;
use std::collections::HashMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    S3,
    Iam,
    Sts,
    Admin,
}

/// The calls of an operation that have lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audited {
    /// Every call has a line, whatever its outcome: the operation changes something, or hands out credentials.
    Always,
    /// Only denied calls have a line: the operation only reads.
    Denied,
    /// Requests on objects, and reads of S3: access logs are for them.
    Never,
}

/// Operations of an API, by what is written of them.
type Rows = &'static [(Service, Audited, &'static [&'static str])];

pub const OPERATIONS: Rows = &[
    (Service::S3, Audited::Always, S3_CHANGES),
    (Service::S3, Audited::Never, S3_READS),
    (Service::S3, Audited::Never, S3_OBJECTS),
    (Service::Iam, Audited::Always, IAM_CHANGES),
    (Service::Iam, Audited::Denied, IAM_READS),
    (Service::Sts, Audited::Always, STS_CREDENTIALS),
    (Service::Sts, Audited::Denied, &["GetAccessKeyInfo", "GetCallerIdentity"]),
    (Service::Admin, Audited::Always, ADMIN_CHANGES),
    (Service::Admin, Audited::Denied, ADMIN_READS),
];

/// The name under which the accounts file is applied. No call has it.
pub const ACCOUNTS_FILE: &str = "ApplyAccountsFile";

const S3_CHANGES: &[&str] = &[
    "CreateBucket",
    "DeleteBucket",
    "DeleteBucketAnalyticsConfiguration",
    "DeleteBucketCors",
    "DeleteBucketEncryption",
    "DeleteBucketIntelligentTieringConfiguration",
    "DeleteBucketInventoryConfiguration",
    "DeleteBucketLifecycle",
    "DeleteBucketMetricsConfiguration",
    "DeleteBucketOwnershipControls",
    "DeleteBucketPolicy",
    "DeleteBucketReplication",
    "DeleteBucketTagging",
    "DeleteBucketWebsite",
    "DeletePublicAccessBlock",
    "PutBucketAccelerateConfiguration",
    "PutBucketAcl",
    "PutBucketAnalyticsConfiguration",
    "PutBucketCors",
    "PutBucketEncryption",
    "PutBucketIntelligentTieringConfiguration",
    "PutBucketInventoryConfiguration",
    "PutBucketLifecycleConfiguration",
    "PutBucketLogging",
    "PutBucketMetricsConfiguration",
    "PutBucketNotificationConfiguration",
    "PutBucketOwnershipControls",
    "PutBucketPolicy",
    "PutBucketRequestPayment",
    "PutBucketTagging",
    "PutBucketVersioning",
    "PutBucketWebsite",
    "PutObjectLockConfiguration",
    "PutPublicAccessBlock",
];

const S3_READS: &[&str] = &[
    "GetBucketAccelerateConfiguration",
    "GetBucketAcl",
    "GetBucketAnalyticsConfiguration",
    "GetBucketCors",
    "GetBucketEncryption",
    "GetBucketIntelligentTieringConfiguration",
    "GetBucketInventoryConfiguration",
    "GetBucketLifecycleConfiguration",
    "GetBucketLocation",
    "GetBucketLogging",
    "GetBucketMetricsConfiguration",
    "GetBucketNotificationConfiguration",
    "GetBucketOwnershipControls",
    "GetBucketPolicy",
    "GetBucketPolicyStatus",
    "GetBucketReplication",
    "GetBucketRequestPayment",
    "GetBucketTagging",
    "GetBucketVersioning",
    "GetBucketWebsite",
    "GetObjectLockConfiguration",
    "GetPublicAccessBlock",
    "HeadBucket",
    "ListBucketAnalyticsConfigurations",
    "ListBucketIntelligentTieringConfigurations",
    "ListBucketInventoryConfigurations",
    "ListBucketMetricsConfigurations",
    "ListBuckets",
    "ListMultipartUploads",
    "ListObjectVersions",
    "ListObjects",
    "ListObjectsV2",
];

const S3_OBJECTS: &[&str] = &[
    "AbortMultipartUpload",
    "CompleteMultipartUpload",
    "CopyObject",
    "CreateMultipartUpload",
    "DeleteObject",
    "DeleteObjectTagging",
    "DeleteObjects",
    "GetObject",
    "GetObjectAcl",
    "GetObjectAttributes",
    "GetObjectLegalHold",
    "GetObjectRetention",
    "GetObjectTagging",
    "HeadObject",
    "ListParts",
    "PutObject",
    "PutObjectAcl",
    "PutObjectLegalHold",
    "PutObjectRetention",
    "PutObjectTagging",
    "RenameObject",
    "UploadPart",
    "UploadPartCopy",
];

const IAM_CHANGES: &[&str] = &[
    "AddClientIDToOpenIDConnectProvider",
    "AddUserToGroup",
    "AttachGroupPolicy",
    "AttachRolePolicy",
    "AttachUserPolicy",
    "CreateAccessKey",
    "CreateAccountAlias",
    "CreateGroup",
    "CreateOpenIDConnectProvider",
    "CreatePolicy",
    "CreatePolicyVersion",
    "CreateRole",
    "CreateServiceKey",
    "CreateUser",
    "DeleteAccessKey",
    "DeleteAccountAlias",
    "DeleteGroup",
    "DeleteGroupPolicy",
    "DeleteLoginProfile",
    "DeleteOpenIDConnectProvider",
    "DeletePolicy",
    "DeletePolicyVersion",
    "DeleteRole",
    "DeleteRolePermissionsBoundary",
    "DeleteRolePolicy",
    "DeleteUser",
    "DeleteUserPermissionsBoundary",
    "DeleteUserPolicy",
    "DetachGroupPolicy",
    "DetachRolePolicy",
    "DetachUserPolicy",
    "PutGroupPolicy",
    "PutRolePermissionsBoundary",
    "PutRolePolicy",
    "PutUserPermissionsBoundary",
    "PutUserPolicy",
    "RemoveClientIDFromOpenIDConnectProvider",
    "RemoveUserFromGroup",
    "SetDefaultPolicyVersion",
    "TagOpenIDConnectProvider",
    "TagPolicy",
    "TagRole",
    "TagUser",
    "UntagOpenIDConnectProvider",
    "UntagPolicy",
    "UntagRole",
    "UntagUser",
    "UpdateAccessKey",
    "UpdateAssumeRolePolicy",
    "UpdateGroup",
    "UpdateOpenIDConnectProviderThumbprint",
    "UpdateRole",
    "UpdateRoleDescription",
    "UpdateUser",
];

const IAM_READS: &[&str] = &[
    "GetAccessKeyLastUsed",
    "GetAccountSummary",
    "GetGroup",
    "GetGroupPolicy",
    "GetLoginProfile",
    "GetOpenIDConnectProvider",
    "GetPolicy",
    "GetPolicyVersion",
    "GetRole",
    "GetRolePolicy",
    "GetUser",
    "GetUserPolicy",
    "ListAccessKeys",
    "ListAccountAliases",
    "ListAttachedGroupPolicies",
    "ListAttachedRolePolicies",
    "ListAttachedUserPolicies",
    "ListEntitiesForPolicy",
    "ListGroupPolicies",
    "ListGroups",
    "ListGroupsForUser",
    "ListInstanceProfilesForRole",
    "ListMFADevices",
    "ListOpenIDConnectProviderTags",
    "ListOpenIDConnectProviders",
    "ListPolicies",
    "ListPolicyTags",
    "ListPolicyVersions",
    "ListRolePolicies",
    "ListRoleTags",
    "ListRoles",
    "ListSSHPublicKeys",
    "ListServiceSpecificCredentials",
    "ListSigningCertificates",
    "ListUserPolicies",
    "ListUserTags",
    "ListUsers",
];

/// The operations that change nothing that is stored: they hand out a session.
const STS_CREDENTIALS: &[&str] = &["AssumeRole", "AssumeRoleWithWebIdentity", "GetFederationToken", "GetSessionToken"];

const ADMIN_CHANGES: &[&str] = &[
    "AcceptClock",
    "AddDrive",
    "ChangeEncryptionKey",
    "DropUnknownShards",
    "ExportMetadata",
    "MoveLeader",
    "PutBucketQuota",
    "PutRateLimits",
    "ReplaceDrive",
    "RewrapKeys",
    "StartHeal",
    "StartScrub",
    "StopScrub",
    "UpdateLayout",
];

/// `CallIam` is what a call is before its body says which action of IAM it is. `Unknown` is no route.
const ADMIN_READS: &[&str] = &[
    "CallIam",
    "ExplainAccess",
    "GetBucketQuota",
    "GetClock",
    "GetHealStatus",
    "GetHealth",
    "GetInfo",
    "GetLayout",
    "GetScrubStatus",
    "GetStopSafety",
    "GetTop",
    "ListBucketUsage",
    "ListDrives",
    "ListEncryptionKeys",
    "ListRateLimits",
    "ListShards",
    "Unknown",
];

/// The table by operation. Names are unique.
pub fn by_operation() -> HashMap<&'static str, (Service, Audited)> {
    let rows = OPERATIONS.iter();
    rows.flat_map(|(service, audited, names)| names.iter().map(|name| (*name, (*service, *audited)))).collect()
}
