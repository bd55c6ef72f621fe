//! The condition keys that a bucket policy may use, and with which actions (Service Authorization Reference, "Condition
//! keys for Amazon S3"; IAM User Guide, "AWS global condition context keys"). A name that ends in `/` is a prefix: the
//! key of a tag follows.

/// The keys allowed with every action.
const EVERYWHERE: &[&str] = &[
    "s3:accessgrantsinstancearn",
    "s3:accesspointnetworkorigin",
    "s3:accesspointtag/",
    "s3:authtype",
    "s3:buckettag/",
    "s3:dataaccesspointaccount",
    "s3:dataaccesspointarn",
    "s3:resourceaccount",
    "s3:signatureage",
    "s3:signatureversion",
    "s3:tlsversion",
    "s3:x-amz-content-sha256",
];

const LISTS: &[&str] = &["ListBucket", "ListBucketVersions"];
const GRANTS: &[&str] =
    &["BypassGovernanceRetention", "CreateBucket", "PutBucketAcl", "PutObject", "PutObjectAcl", "PutObjectVersionAcl"];
const WRITES: &[&str] = &["BypassGovernanceRetention", "PutObject"];
const ENCRYPTED_WRITES: &[&str] = &["BypassGovernanceRetention", "PutObject", "ReplicateObject"];
const RETENTION: &[&str] = &["PutObject", "PutObjectRetention"];
const OF_EXISTING_TAGS: &[&str] = &[
    "DeleteObjectTagging",
    "DeleteObjectVersionTagging",
    "GetObject",
    "GetObjectAcl",
    "GetObjectAttributes",
    "GetObjectTagging",
    "GetObjectVersion",
    "GetObjectVersionAcl",
    "GetObjectVersionAttributes",
    "GetObjectVersionTagging",
    "PutObjectAcl",
    "PutObjectTagging",
    "PutObjectVersionAcl",
    "PutObjectVersionTagging",
];
const WITH_NEW_TAGS: &[&str] =
    &["BypassGovernanceRetention", "PutObject", "PutObjectTagging", "PutObjectVersionTagging"];
const OF_A_VERSION: &[&str] = &[
    "DeleteObjectVersion",
    "DeleteObjectVersionTagging",
    "GetObjectVersion",
    "GetObjectVersionAcl",
    "GetObjectVersionAttributes",
    "GetObjectVersionTagging",
    "GetObjectVersionTorrent",
    "PutObjectVersionAcl",
    "PutObjectVersionTagging",
];

/// The keys allowed with these actions only.
const SOMEWHERE: &[(&str, &[&str])] = &[
    ("s3:delimiter", LISTS),
    ("s3:destinationregion", &["PauseReplication"]),
    ("s3:existingobjecttag/", OF_EXISTING_TAGS),
    ("s3:if-match", &["DeleteObject", "PutObject"]),
    ("s3:if-none-match", &["PutObject"]),
    ("s3:inventoryaccessibleoptionalfields", &["PutInventoryConfiguration"]),
    ("s3:isreplicationpauserequest", &["PutReplicationConfiguration"]),
    ("s3:locationconstraint", &["CreateBucket"]),
    ("s3:max-keys", LISTS),
    ("s3:object-lock-legal-hold", &["PutObject", "PutObjectLegalHold"]),
    ("s3:object-lock-mode", RETENTION),
    ("s3:object-lock-remaining-retention-days", RETENTION),
    ("s3:object-lock-retain-until-date", RETENTION),
    ("s3:objectcreationoperation", &["PutObject"]),
    ("s3:prefix", LISTS),
    ("s3:requestobjecttag/", WITH_NEW_TAGS),
    ("s3:requestobjecttagkeys", WITH_NEW_TAGS),
    ("s3:versionid", OF_A_VERSION),
    ("s3:x-amz-acl", GRANTS),
    ("s3:x-amz-copy-source", WRITES),
    ("s3:x-amz-grant-full-control", GRANTS),
    ("s3:x-amz-grant-read", GRANTS),
    ("s3:x-amz-grant-read-acp", GRANTS),
    ("s3:x-amz-grant-write", GRANTS),
    ("s3:x-amz-grant-write-acp", GRANTS),
    ("s3:x-amz-metadata-directive", WRITES),
    ("s3:x-amz-object-ownership", &["CreateBucket"]),
    ("s3:x-amz-server-side-encryption", ENCRYPTED_WRITES),
    ("s3:x-amz-server-side-encryption-aws-kms-key-id", ENCRYPTED_WRITES),
    ("s3:x-amz-server-side-encryption-customer-algorithm", ENCRYPTED_WRITES),
    ("s3:x-amz-storage-class", &["BypassGovernanceRetention", "PutObject", "PutObjectAcl", "PutObjectVersionAcl"]),
    ("s3:x-amz-website-redirect-location", WRITES),
];

const GLOBAL: &[&str] = &[
    "aws:currenttime",
    "aws:epochtime",
    "aws:federatedprovider",
    "aws:principalaccount",
    "aws:principalarn",
    "aws:principalisawsservice",
    "aws:principaltag/",
    "aws:principaltype",
    "aws:referer",
    "aws:requestedregion",
    "aws:requesttag/",
    "aws:resourceaccount",
    "aws:resourcetag/",
    "aws:securetransport",
    "aws:sourceidentity",
    "aws:sourceip",
    "aws:tagkeys",
    "aws:tokenissuetime",
    "aws:useragent",
    "aws:userid",
    "aws:username",
];
/// The prefixes of condition keys of other services and identity providers.
const FOREIGN_PREFIXES: &[&str] = &["saml:", "sts:"];

/// Condition keys on the tags of buckets, which take no part in decisions. A new bucket policy that uses them is
/// refused; in a user's policy such a condition has no value for a bucket.
const IGNORED_KEYS: &[&str] = &["aws:resourcetag/", "s3:buckettag/"];

/// Global condition keys of features that this store does not have: AWS organizations and networks, multi-factor
/// authentication, and services that act on behalf of a caller. No request has a value for them.
const GLOBAL_ABSENT: &[&str] = &[
    "aws:assumedroot",
    "aws:calledvia",
    "aws:calledviafirst",
    "aws:calledvialast",
    "aws:chatbotsourcearn",
    "aws:ec2instancesourceprivateipv4",
    "aws:ec2instancesourcevpc",
    "aws:multifactorauthage",
    "aws:multifactorauthpresent",
    "aws:principalorgid",
    "aws:principalorgpaths",
    "aws:principalservicename",
    "aws:principalservicenameslist",
    "aws:resourceorgid",
    "aws:resourceorgpaths",
    "aws:sourceaccount",
    "aws:sourcearn",
    "aws:sourceorgid",
    "aws:sourceorgpaths",
    "aws:sourceowner",
    "aws:sourcevpc",
    "aws:sourcevpcarn",
    "aws:sourcevpce",
    "aws:viaawsservice",
    "aws:vpceaccount",
    "aws:vpceorgid",
    "aws:vpceorgpaths",
    "aws:vpcsourceip",
];

/// S3 condition keys of features that this store does not have: access points, access grants and replication. No
/// request has a value for them.
#[cfg(test)]
const SOMEWHERE_ABSENT: &[&str] = &[
    "s3:accessgrantsinstancearn",
    "s3:accesspointnetworkorigin",
    "s3:accesspointtag/",
    "s3:dataaccesspointaccount",
    "s3:dataaccesspointarn",
    "s3:destinationregion",
    "s3:isreplicationpauserequest",
];

/// Returns all condition keys that a policy may use, including absent and ignored ones.
#[cfg(test)]
pub fn all() -> impl Iterator<Item = &'static str> {
    let of_s3 = EVERYWHERE.iter().chain(SOMEWHERE.iter().map(|(known, _)| known));
    of_s3.chain(GLOBAL).chain(GLOBAL_ABSENT).copied()
}

/// Returns whether no request can have a value for the key.
#[cfg(test)]
pub fn is_absent(known: &str) -> bool {
    GLOBAL_ABSENT.contains(&known) || SOMEWHERE_ABSENT.contains(&known)
}

/// Returns whether a bucket policy may use the key, given in lower case, in conditions that have an effect.
pub fn is_evaluated(key: &str) -> bool {
    !IGNORED_KEYS.iter().any(|unheeded| is_named(unheeded, key))
}

/// Returns whether a bucket policy may use the key, which may be in any case.
pub fn is_known(key: &str) -> bool {
    let key = key.to_lowercase();
    let names = |known: &&str| is_named(known, &key);
    match key.split_once(':') {
        Some(("s3", _)) => EVERYWHERE.iter().chain(SOMEWHERE.iter().map(|(known, _)| known)).any(names),
        Some(("aws", _)) => GLOBAL.iter().chain(GLOBAL_ABSENT).any(names),
        // `accounts.google.com:aud`
        Some((provider, _)) => provider.contains('.') || FOREIGN_PREFIXES.iter().any(|prefix| key.starts_with(prefix)),
        None => false,
    }
}

/// Returns whether requests for the action can have the key. Keys other than those of S3 apply to every action.
pub fn applies(key: &str, action: &str) -> bool {
    let key = key.to_lowercase();
    let actions = SOMEWHERE.iter().find(|(known, _)| is_named(known, &key)).map(|(_, actions)| *actions);
    actions.is_none_or(|actions| actions.contains(&action))
}

fn is_named(known: &str, key: &str) -> bool {
    if known.ends_with('/') { key.len() > known.len() && key.starts_with(known) } else { key == known }
}

#[cfg(test)]
mod tests {
    use super::{IGNORED_KEYS, SOMEWHERE, SOMEWHERE_ABSENT, all, applies, is_evaluated, is_known};
    use crate::api::policy::actions;

    #[test]
    fn condition_keys_list_only_existing_actions() {
        for (key, names) in SOMEWHERE {
            for name in *names {
                assert!(actions::find(&format!("s3:{name}")).is_some(), "{key} is for {name}");
            }
        }
    }

    #[test]
    fn unsupported_condition_keys_are_listed() {
        for key in SOMEWHERE_ABSENT.iter().chain(IGNORED_KEYS) {
            assert!(all().any(|known| known == *key), "{key}");
        }
        assert!(
            !is_evaluated("s3:buckettag/team")
                && is_evaluated("s3:existingobjecttag/team")
                && is_evaluated("s3:prefix")
        );
    }

    #[test]
    fn condition_keys_are_recognised_in_any_case_and_with_tag_keys() {
        assert!(is_known("S3:Prefix") && is_known("aws:SourceIp") && is_known("s3:ExistingObjectTag/a b"));
        assert!(is_known("accounts.google.com:aud") && is_known("saml:iss"));
        assert!(!is_known("s3:VersionStatus") && !is_known("aws:None") && !is_known("prefix"));
        assert!(!is_known("s3:ExistingObjectTag/") && !is_known("ec2:Region"));
    }

    #[test]
    fn a_condition_key_applies_to_its_actions_or_to_all() {
        assert!(applies("s3:prefix", "ListBucket") && !applies("s3:prefix", "ListBucketMultipartUploads"));
        assert!(applies("aws:SourceIp", "GetObject") && applies("s3:TlsVersion", "GetObject"));
    }
}
