//! GetBucketPolicy, PutBucketPolicy, DeleteBucketPolicy, GetBucketPolicyStatus.

use super::super::Store;
use super::owners::owner_of;
use super::record::{BucketAccess, access_of, change};
use super::resolve::lookup_failed;
use crate::actors::meta::BucketRow;
use crate::api::errors::{Fault, GrantFault};
use crate::api::identity::{Directory, PrincipalFault, names, principal_ids};
use crate::api::policy::{Ownership, Policy, PolicyError, PolicyKind, PrincipalIds, PrincipalPattern, is_public};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use s3s::dto::{
    DeleteBucketPolicyInput, DeleteBucketPolicyOutput, GetBucketPolicyInput, GetBucketPolicyOutput,
    GetBucketPolicyStatusInput, GetBucketPolicyStatusOutput, PolicyStatus, PutBucketPolicyInput, PutBucketPolicyOutput,
};
use s3s::{S3Request, S3Response, S3Result};

/// Refuses callers outside the bucket owner's account, even if the policy itself allows others to change it.
fn check_caller_is_owner(store: &Store, bucket: &BucketRow) -> Result<(), Fault> {
    let of_owner = store.caller().account.as_ref().is_some_and(|account| *account == owner_of(store, bucket));
    if of_owner { Ok(()) } else { Err(Fault::MethodNotAllowed) }
}

pub async fn get(
    store: &Store,
    request: S3Request<GetBucketPolicyInput>,
) -> S3Result<S3Response<GetBucketPolicyOutput>> {
    let (bucket, view) = store.bucket(&request.input.bucket).await?;
    check_caller_is_owner(store, &bucket)?;
    let absent = Fault::NoConfiguration("NoSuchBucketPolicy", "The bucket policy does not exist");
    let policy = access_of(&view, &bucket)?.policy.ok_or(absent)?;
    let mut response = S3Response::new(GetBucketPolicyOutput { policy: Some(policy) });
    response.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

pub async fn put(store: &Store, input: PutBucketPolicyInput) -> S3Result<PutBucketPolicyOutput> {
    let (bucket, view) = store.bucket(&input.bucket).await?;
    check_caller_is_owner(store, &bucket)?;
    let policy = parse(&input.bucket, &input.policy)?;
    check_condition_keys(&policy)?;
    let ids = ids_of(&Directory::new(&view, &store.directory_root), &policy)?;
    let binds_root = input.confirm_remove_self_bucket_access.unwrap_or(false);
    change(store, &bucket, |access| with_policy(access, &policy, &ids, binds_root)).await?;
    Ok(PutBucketPolicyOutput::default())
}

/// DeleteBucketPolicy; succeeds if there is no policy.
pub async fn delete(store: &Store, input: DeleteBucketPolicyInput) -> S3Result<DeleteBucketPolicyOutput> {
    let (bucket, _) = store.bucket(&input.bucket).await?;
    check_caller_is_owner(store, &bucket)?;
    let without =
        |access| BucketAccess { policy: None, policy_ids: PrincipalIds::new(), policy_binds_root: false, ..access };
    change(store, &bucket, |access| Ok(without(access))).await?;
    Ok(DeleteBucketPolicyOutput::default())
}

pub async fn status(store: &Store, input: GetBucketPolicyStatusInput) -> S3Result<GetBucketPolicyStatusOutput> {
    let name = input.bucket;
    let (bucket, view) = store.bucket(&name).await?;
    let is_public = Some(is_open(&name, &access_of(&view, &bucket)?));
    Ok(GetBucketPolicyStatusOutput { policy_status: Some(PolicyStatus { is_public }) })
}

fn parse(bucket: &str, text: &str) -> Result<Policy, Fault> {
    let malformed = |error: PolicyError| GrantFault::MalformedPolicy(error.to_string());
    Ok(Policy::parse(PolicyKind::Bucket(bucket), text).map_err(malformed)?)
}

/// Refuses unsupported condition keys: a Deny with one would never match.
fn check_condition_keys(policy: &Policy) -> Result<(), Fault> {
    let malformed = || GrantFault::MalformedPolicy(PolicyError::InvalidConditionKey.to_string());
    if policy.is_evaluated() { Ok(()) } else { Err(malformed().into()) }
}

fn with_policy(
    access: BucketAccess,
    policy: &Policy,
    ids: &PrincipalIds,
    binds_root: bool,
) -> Result<BucketAccess, Fault> {
    if access.block().block_public_policy && policy.is_public() {
        let why = "Public policies are prevented by the BlockPublicPolicy setting in S3 Block Public Access.";
        return Err(Fault::AccessDenied(why));
    }
    let (policy, policy_ids) = (Some(policy.text().to_owned()), ids.clone());
    Ok(BucketAccess { policy, policy_ids, policy_binds_root: binds_root, ..access })
}

/// Returns the ids of the principals of a policy, all of which must exist.
fn ids_of(directory: &Directory<'_>, policy: &Policy) -> S3Result<PrincipalIds> {
    // No account can ever have such an id. Conformance suites use such ids.
    let is_impossible = |principal: &&PrincipalPattern| match principal {
        PrincipalPattern::Account(id) => !names::is_account_id(id),
        _ => false,
    };
    let principals = policy.principals().filter(|principal| !is_impossible(principal));
    principal_ids(directory, principals).map_err(|fault| match fault {
        PrincipalFault::Directory(error) => lookup_failed(error),
        PrincipalFault::Unknown(_) => {
            Fault::from(GrantFault::MalformedPolicy("Invalid principal in policy".to_owned())).into()
        }
    })
}

/// Returns whether the bucket is public: whether everybody may do something in it, by its policy or by its ACL.
fn is_open(bucket: &str, access: &BucketAccess) -> bool {
    let block = access.block();
    // A policy that cannot be parsed grants nothing.
    let is_public_text = |text: &String| parse(bucket, text).is_ok_and(|policy| policy.is_public());
    let by_policy = access.policy.as_ref().is_some_and(is_public_text);
    let acls_count = access.ownership() != Ownership::BucketOwnerEnforced && !block.ignore_public_acls;
    (by_policy && !block.restrict_public_buckets) || (acls_count && access.acl.as_ref().is_some_and(is_public))
}

#[cfg(test)]
mod tests {
    use super::{check_condition_keys, ids_of, is_open, parse, with_policy};
    use crate::api::errors::{Fault, GrantFault};
    use crate::api::identity::Directory;
    use crate::api::policy::{Ownership, PrincipalIds, PublicAccessBlock, canned};
    use crate::api::s3::grants::BucketAccess;
    use crate::api::s3::grants::resolve::tests::{OnlyRoot, root};

    fn text(principal: &str) -> String {
        format!(
            r#"{{"Version": "2012-10-17", "Statement": [{{"Effect": "Allow", "Principal": {principal},
            "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"}}]}}"#
        )
    }

    fn with_text(principal: &str) -> BucketAccess {
        BucketAccess { policy: Some(text(principal)), ..BucketAccess::default() }
    }

    const OWN: &str = r#"{"AWS": "000000000000"}"#;

    #[test]
    fn a_malformed_policy_is_refused_with_s3s_message() {
        let words = |text: &str| match parse("b", text) {
            Err(Fault::Grant(GrantFault::MalformedPolicy(words))) => words,
            other => panic!("{other:?}"),
        };
        assert_eq!(words("nonsense"), "Policies must be valid JSON and the first byte must be '{'");
        assert_eq!(words(&text(r#"{"AWS": "nonsense"}"#)), "Invalid principal in policy");
    }

    #[test]
    fn an_unsupported_condition_key_is_refused_in_new_policies_but_parsed() {
        let asking = |key: &str| {
            let condition = format!(r#""Condition": {{"StringEquals": {{"{key}": "a"}}}}, "Effect""#);
            parse("b", &text(OWN).replacen(r#""Effect""#, &condition, 1)).expect("a policy")
        };
        for key in ["s3:BucketTag/team", "aws:ResourceTag/team"] {
            let words = "Policy has an invalid condition key".to_owned();
            assert_eq!(
                check_condition_keys(&asking(key)),
                Err(Fault::Grant(GrantFault::MalformedPolicy(words))),
                "{key}"
            );
        }
        assert_eq!(check_condition_keys(&asking("s3:ExistingObjectTag/team")), Ok(()));
    }

    #[test]
    fn principals_of_a_bucket_policy_must_exist() {
        let root = root();
        let directory = Directory::new(&OnlyRoot, &root);
        let check = |principal: &str| ids_of(&directory, &parse("b", &text(principal)).expect("a policy"));
        for principal in [
            r#""*""#,
            OWN,
            r#"{"AWS": "arn:aws:iam::000000000000:root"}"#,
            r#"{"AWS": "arn:aws:iam::elsewhere:root"}"#,
            r#"{"CanonicalUser": "root-id"}"#,
            r#"{"Service": "logging.s3.amazonaws.com"}"#,
        ] {
            assert!(check(principal).is_ok(), "{principal}");
        }
        for principal in [
            r#"{"AWS": "111122223333"}"#,
            r#"{"AWS": "arn:aws:iam::000000000000:user/nobody"}"#,
            r#"{"CanonicalUser": "nobody"}"#,
        ] {
            let error = check(principal).expect_err(principal);
            assert_eq!(error.code().as_str(), "MalformedPolicy", "{principal}");
        }
    }

    #[test]
    fn block_public_policy_refuses_public_policies_only() {
        let block = Some(PublicAccessBlock { block_public_policy: true, ..PublicAccessBlock::default() });
        let blocked = || BucketAccess { block, ..BucketAccess::default() };
        let public = parse("b", &text(r#""*""#)).expect("a policy");
        assert!(matches!(with_policy(blocked(), &public, &PrincipalIds::new(), false), Err(Fault::AccessDenied(_))));
        let own = parse("b", &text(OWN)).expect("a policy");
        let set = with_policy(blocked(), &own, &PrincipalIds::new(), true).expect("it is not public");
        assert_eq!((set.policy, set.policy_binds_root), (Some(text(OWN)), true));
        assert!(with_policy(BucketAccess::default(), &public, &PrincipalIds::new(), false).is_ok());
    }

    #[test]
    fn a_bucket_is_public_by_policy_or_acl_unless_its_settings_disable_them() {
        assert!(!is_open("b", &BucketAccess::default()));
        assert!(is_open("b", &with_text(r#""*""#)) && !is_open("b", &with_text(OWN)));
        let restricted = Some(PublicAccessBlock { restrict_public_buckets: true, ..PublicAccessBlock::default() });
        assert!(!is_open("b", &BucketAccess { block: restricted, ..with_text(r#""*""#) }));
        let listed = || BucketAccess { acl: canned("authenticated-read", "o", "o"), ..BucketAccess::default() };
        assert!(is_open("b", &listed()) && is_open("b", &BucketAccess { block: restricted, ..listed() }));
        let ignored = Some(PublicAccessBlock { ignore_public_acls: true, ..PublicAccessBlock::default() });
        assert!(!is_open("b", &BucketAccess { block: ignored, ..listed() }));
        let enforced = Some(Ownership::BucketOwnerEnforced);
        assert!(!is_open("b", &BucketAccess { ownership: enforced, ..listed() }));
    }
}
