//! The table of which operations get lines in the audit log. A test compares it with all operations of the API.

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

/// The calls of an operation that get a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audited {
    /// Every call gets a line, whatever its outcome, as the operation changes something or issues credentials.
    Always,
    /// Only denied calls get a line, as the operation only reads.
    Denied,
    /// No call gets a line: requests on objects and reads of S3, which access logs cover.
    Never,
}

/// Operations, grouped by service and by which of their calls get a line.
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

/// The operation in lines about the accounts file, which no call has.
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

/// Operations that change no stored data, but issue a session.
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

/// `CallIam` is the operation until the body of the call shows the IAM action. `Unknown` is a request without a route.
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

/// Returns the table by name of the operation; names are unique.
pub fn by_operation() -> HashMap<&'static str, (Service, Audited)> {
    let rows = OPERATIONS.iter();
    rows.flat_map(|(service, audited, names)| names.iter().map(|name| (*name, (*service, *audited)))).collect()
}
