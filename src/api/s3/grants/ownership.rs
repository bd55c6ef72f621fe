//! GetBucketOwnershipControls, PutBucketOwnershipControls, DeleteBucketOwnershipControls.

use super::super::Store;
use super::owners::owner_of;
use super::record::{BucketAccess, access_of, change};
use crate::actors::meta::{Acl, Grantee};
use crate::api::errors::{Fault, GrantFault};
use crate::api::policy::Ownership;
use s3s::S3Result;
use s3s::dto::{
    DeleteBucketOwnershipControlsInput, DeleteBucketOwnershipControlsOutput, GetBucketOwnershipControlsInput,
    GetBucketOwnershipControlsOutput, ObjectOwnership, OwnershipControls, OwnershipControlsRule,
    PutBucketOwnershipControlsInput, PutBucketOwnershipControlsOutput,
};

fn name_of(ownership: Ownership) -> &'static str {
    match ownership {
        Ownership::BucketOwnerEnforced => ObjectOwnership::BUCKET_OWNER_ENFORCED,
        Ownership::BucketOwnerPreferred => ObjectOwnership::BUCKET_OWNER_PREFERRED,
        Ownership::ObjectWriter => ObjectOwnership::OBJECT_WRITER,
    }
}

pub fn ownership_named(name: &str) -> Option<Ownership> {
    let all = [Ownership::BucketOwnerEnforced, Ownership::BucketOwnerPreferred, Ownership::ObjectWriter];
    all.into_iter().find(|ownership| name_of(*ownership) == name)
}

/// Parses the controls. The schema has exactly one rule.
fn parse(controls: &OwnershipControls) -> Result<Ownership, Fault> {
    let [rule] = controls.rules.as_slice() else { return Err(Fault::MalformedXml) };
    ownership_named(rule.object_ownership.as_str()).ok_or(Fault::MalformedXml)
}

/// Refuses BucketOwnerEnforced for a bucket whose ACL grants something to others: those grants would silently end.
fn with_ownership(access: BucketAccess, ownership: Ownership, owner: &str) -> Result<BucketAccess, Fault> {
    let lets_others_in = access.acl.as_ref().is_some_and(|acl| grants_others(acl, owner));
    if ownership == Ownership::BucketOwnerEnforced && lets_others_in {
        return Err(GrantFault::AclGrantsToOthers.into());
    }
    Ok(BucketAccess { ownership: Some(ownership), ..access })
}

fn grants_others(acl: &Acl, owner: &str) -> bool {
    acl.grants.iter().any(|grant| !matches!(&grant.grantee, Grantee::Account(id) if id == owner))
}

pub async fn get(store: &Store, input: GetBucketOwnershipControlsInput) -> S3Result<GetBucketOwnershipControlsOutput> {
    let (bucket, view) = store.bucket(&input.bucket).await?;
    let (code, why) = ("OwnershipControlsNotFoundError", "The bucket ownership controls were not found");
    let ownership = access_of(&view, &bucket)?.ownership.ok_or(Fault::NoConfiguration(code, why))?;
    let rule = OwnershipControlsRule { object_ownership: ObjectOwnership::from_static(name_of(ownership)) };
    let ownership_controls = Some(OwnershipControls { rules: vec![rule] });
    Ok(GetBucketOwnershipControlsOutput { ownership_controls })
}

pub async fn put(store: &Store, input: PutBucketOwnershipControlsInput) -> S3Result<PutBucketOwnershipControlsOutput> {
    let (bucket, _) = store.bucket(&input.bucket).await?;
    let ownership = parse(&input.ownership_controls)?;
    let owner = owner_of(store, &bucket);
    change(store, &bucket, |access| with_ownership(access, ownership, &owner)).await?;
    Ok(PutBucketOwnershipControlsOutput::default())
}

/// Deletes the ownership controls. Then the writer of an object owns it.
pub async fn delete(
    store: &Store,
    input: DeleteBucketOwnershipControlsInput,
) -> S3Result<DeleteBucketOwnershipControlsOutput> {
    let (bucket, _) = store.bucket(&input.bucket).await?;
    change(store, &bucket, |access| Ok(BucketAccess { ownership: None, ..access })).await?;
    Ok(DeleteBucketOwnershipControlsOutput::default())
}

#[cfg(test)]
mod tests {
    use super::{name_of, ownership_named, parse, with_ownership};
    use crate::api::errors::{Fault, GrantFault};
    use crate::api::policy::{Ownership, canned};
    use crate::api::s3::grants::BucketAccess;
    use s3s::dto::{ObjectOwnership, OwnershipControls, OwnershipControlsRule};

    const ALL: [Ownership; 3] =
        [Ownership::BucketOwnerEnforced, Ownership::BucketOwnerPreferred, Ownership::ObjectWriter];

    #[test]
    fn ownership_controls_are_one_rule_with_a_known_name() {
        let controls = |names: &[&'static str]| {
            let rule =
                |name: &&'static str| OwnershipControlsRule { object_ownership: ObjectOwnership::from_static(name) };
            parse(&OwnershipControls { rules: names.iter().map(rule).collect() })
        };
        for ownership in ALL {
            assert_eq!(controls(&[name_of(ownership)]), Ok(ownership));
        }
        for wrong in [&[][..], &["Everybody"], &[""], &["ObjectWriter", "ObjectWriter"]] {
            assert_eq!(controls(wrong), Err(Fault::MalformedXml));
        }
        assert_eq!(ownership_named("objectwriter"), None);
    }

    #[test]
    fn bucket_owner_enforced_is_refused_if_the_acl_grants_to_others() {
        let shared = |name| BucketAccess { acl: canned(name, "o", "o"), ..BucketAccess::default() };
        for name in ["public-read", "log-delivery-write"] {
            let refused = with_ownership(shared(name), Ownership::BucketOwnerEnforced, "o");
            assert_eq!(refused, Err(GrantFault::AclGrantsToOthers.into()));
            assert!(with_ownership(shared(name), Ownership::BucketOwnerPreferred, "o").is_ok());
        }
        for ownership in ALL {
            let set = with_ownership(shared("private"), ownership, "o").expect("it lets nobody in");
            assert_eq!(set.ownership, Some(ownership));
        }
    }
}
