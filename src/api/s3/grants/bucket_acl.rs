//! GetBucketAcl and PutBucketAcl.

use super::super::Store;
use super::owners::{Owners, owner_of};
use super::record::{BucketAccess, access_of, change};
use super::requested::RequestedAcl;
use super::resolve::{Listed, resolve};
use super::shown::{grants, in_force};
use super::writes::{check_acl_allowed, check_acls_enabled, kept};
use crate::api::identity::Directory;
use crate::api::policy::AclOf;
use s3s::dto::{GetBucketAclInput, GetBucketAclOutput, PutBucketAclInput, PutBucketAclOutput};
use s3s::{S3Request, S3Response, S3Result};

pub async fn get(store: &Store, input: GetBucketAclInput) -> S3Result<GetBucketAclOutput> {
    let (bucket, view) = store.bucket(&input.bucket).await?;
    let access = access_of(&view, &bucket)?;
    let owner = owner_of(store, &bucket);
    let acl = in_force(access.acl.as_ref(), access.ownership(), &owner);
    let mut owners = Owners::of(store, &view, &bucket, &access);
    let grants = grants(acl, |id| owners.name(id))?;
    Ok(GetBucketAclOutput { grants: Some(grants), owner: Some(owners.owner(&owner)?) })
}

pub async fn put(store: &Store, request: S3Request<PutBucketAclInput>) -> S3Result<S3Response<PutBucketAclOutput>> {
    let input = request.input;
    let (bucket, view) = store.bucket(&input.bucket).await?;
    let owner = owner_of(store, &bucket);
    let ownership = access_of(&view, &bucket)?.ownership();
    let asked = RequestedAcl::of_request(&request.headers, input.access_control_policy);
    let asked = check_acls_enabled(asked, ownership, &owner)?;
    let listed = Listed { of: AclOf::Bucket, owner: &owner, bucket_owner: &owner };
    let acl = resolve(&Directory::new(&view, &store.directory_root), asked, listed)?;
    let with_acl = |access: BucketAccess| {
        check_acl_allowed(&acl, &access, &owner)?;
        Ok(BucketAccess { acl: kept(acl.clone(), &owner), ..access })
    };
    change(store, &bucket, with_acl).await?;
    Ok(S3Response::new(PutBucketAclOutput::default()))
}
