//! GetObjectAcl and PutObjectAcl: each version of an object has its own ACL.

use super::super::{Store, unexpected};
use super::owners::{Owners, object_owner, owner_of};
use super::record::access_of;
use super::requested::RequestedAcl;
use super::resolve::{Listed, resolve};
use super::shown::{grants, in_force};
use super::writes::{check_acl_allowed, check_acls_enabled, kept};
use crate::actors::events::EventName;
use crate::actors::meta::{Change, ChangeTraits, Reply, TraitsChange};
use crate::api::identity::Directory;
use crate::api::policy::AclOf;
use crate::api::s3::event_drafts::EventDrafts;
use s3s::dto::{GetObjectAclInput, GetObjectAclOutput, PutObjectAclInput, PutObjectAclOutput};
use s3s::{S3Request, S3Response, S3Result};

pub async fn get(store: &Store, input: GetObjectAclInput) -> S3Result<GetObjectAclOutput> {
    let found = store.object(&input.bucket, &input.key, input.version_id.as_deref()).await?;
    let access = access_of(&found.view, &found.bucket)?;
    let traits = &found.version.traits;
    let owner = object_owner(store, &traits.owner, &owner_of(store, &found.bucket), access.ownership());
    let acl = in_force(traits.acl.as_ref(), access.ownership(), &owner);
    let mut owners = Owners::of(store, &found.view, &found.bucket, &access);
    let grants = grants(acl, |id| owners.name(id))?;
    let owner = Some(owners.owner(&owner)?);
    Ok(GetObjectAclOutput { grants: Some(grants), owner, request_charged: None })
}

/// PutObjectAcl. Changes only the version that was looked up, since the ACL was checked against that version's owner.
pub async fn put(store: &Store, request: S3Request<PutObjectAclInput>) -> S3Result<S3Response<PutObjectAclOutput>> {
    let input = request.input;
    let found = store.object(&input.bucket, &input.key, input.version_id.as_deref()).await?;
    let access = access_of(&found.view, &found.bucket)?;
    let bucket_owner = owner_of(store, &found.bucket);
    let owner = object_owner(store, &found.version.traits.owner, &bucket_owner, access.ownership());
    let asked = RequestedAcl::of_request(&request.headers, input.access_control_policy);
    let asked = check_acls_enabled(asked, access.ownership(), &bucket_owner)?;
    let listed = Listed { of: AclOf::Object, owner: &owner, bucket_owner: &bucket_owner };
    let acl = resolve(&Directory::new(&found.view, &store.directory_root), asked, listed)?;
    check_acl_allowed(&acl, &access, &owner)?;
    store.check_changeable()?;
    let drafts = EventDrafts::of(store, &found.view, &found.bucket)?;
    let event = drafts.draft(EventName::ObjectAclPut, &input.key);
    let change = ChangeTraits {
        bucket: found.bucket.bucket.id,
        key: input.key,
        pick: found.version.version.pick(),
        manifest: Some(found.version.manifest.id),
        to: TraitsChange::Acl(kept(acl, &owner)),
        event,
    };
    match store.propose(Change::ChangeTraits(Box::new(change))).await? {
        Reply::ObjectPut { .. } => Ok(S3Response::new(PutObjectAclOutput::default())),
        reply => Err(unexpected(&reply)),
    }
}
