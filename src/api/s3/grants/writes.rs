//! The ACLs allowed by a bucket's settings, and the ACL and owner of new objects and buckets (S3 User Guide,
//! "Controlling ownership of objects and disabling ACLs for your bucket" and "Blocking public access to your Amazon S3
//! storage").

use super::super::Store;
use super::super::documents::bucket_document;
use super::ownership::ownership_named;
use super::record::BucketAccess;
use super::requested::{LEFT_TO_BUCKET_OWNER, RequestedAcl};
use super::resolve::{Listed, resolve};
use crate::actors::documents::decode;
use crate::actors::gateway::StoreError;
use crate::actors::meta::{Acl, BucketDocument, BucketRow, MetaView};
use crate::api::errors::{ArgumentFault, Fault, GrantFault};
use crate::api::identity::Directory;
use crate::api::policy::{AclOf, Ownership, is_full_control_of, is_public};
use http::HeaderMap;
use s3s::S3Result;
use s3s::dto::ObjectOwnership;

/// Returns the ACL to store with a new object, and the object's owner. `owner` is the writer.
pub fn acl_of_new_object(
    store: &Store,
    headers: &HeaderMap,
    owner: &str,
    bucket_owner: &str,
    access: &BucketAccess,
    view: &MetaView,
) -> S3Result<(Option<Acl>, String)> {
    acl_of_write(&Directory::new(view, &store.directory_root), headers, owner, bucket_owner, access)
}

fn acl_of_write(
    directory: &Directory<'_>,
    headers: &HeaderMap,
    writer: &str,
    bucket_owner: &str,
    access: &BucketAccess,
) -> S3Result<(Option<Acl>, String)> {
    let enforced = access.ownership() == Ownership::BucketOwnerEnforced;
    let by_default = if enforced { bucket_owner } else { writer };
    let Some(asked) = RequestedAcl::of_headers(headers).transpose() else { return Ok((None, by_default.to_owned())) };
    let asked = check_acls_enabled(asked, access.ownership(), bucket_owner)?;
    let left = access.ownership() == Ownership::BucketOwnerPreferred
        && asked == RequestedAcl::Canned(LEFT_TO_BUCKET_OWNER.to_owned());
    let owner = if left { bucket_owner } else { by_default };
    let acl = resolve(directory, asked, Listed { of: AclOf::Object, owner, bucket_owner })?;
    check_acl_allowed(&acl, access, owner)?;
    Ok((kept(acl, owner), owner.to_owned()))
}

/// Returns the access settings of a new bucket. `ownership` is the object ownership that the request asks for.
pub fn access_of_new_bucket(
    store: &Store,
    headers: &HeaderMap,
    ownership: Option<&ObjectOwnership>,
    owner: &str,
    view: &MetaView,
) -> S3Result<BucketAccess> {
    let directory = Directory::new(view, &store.directory_root);
    new_bucket(&directory, headers, ownership, store.new_bucket_ownership, owner)
}

fn new_bucket(
    directory: &Directory<'_>,
    headers: &HeaderMap,
    ownership: Option<&ObjectOwnership>,
    by_default: Ownership,
    owner: &str,
) -> S3Result<BucketAccess> {
    let unknown = |name: &str| {
        let why = format!("Invalid x-amz-object-ownership header: {name}");
        Fault::from(ArgumentFault::parameter("x-amz-object-ownership", why))
    };
    let ownership = match ownership.map(ObjectOwnership::as_str) {
        Some(name) => Some(ownership_named(name).ok_or_else(|| unknown(name))?),
        // ObjectWriter holds without ownership controls, so it needs none.
        None => Some(by_default).filter(|ownership| *ownership != Ownership::ObjectWriter),
    };
    let mut access = BucketAccess { ownership, ..BucketAccess::default() };
    if let Some(asked) = RequestedAcl::of_headers(headers)? {
        let acl = resolve(directory, asked, Listed { of: AclOf::Bucket, owner, bucket_owner: owner })?;
        if access.ownership() == Ownership::BucketOwnerEnforced && !is_full_control_of(&acl, owner) {
            return Err(Fault::from(GrantFault::AclGrantsToOthers).into());
        }
        access.acl = kept(acl, owner);
    }
    Ok(access)
}

/// Refuses every ACL under BucketOwnerEnforced but full control of the bucket's owner. This fault takes precedence over
/// other faults of the ACL.
pub fn check_acls_enabled(
    asked: Result<RequestedAcl, Fault>,
    ownership: Ownership,
    bucket_owner: &str,
) -> Result<RequestedAcl, Fault> {
    let holds_anyway = asked.as_ref().is_ok_and(|asked| asked.is_of_owner_alone(bucket_owner));
    if ownership == Ownership::BucketOwnerEnforced && !holds_anyway {
        return Err(GrantFault::AclsDisabled.into());
    }
    asked
}

/// Checks an ACL against the settings of its bucket.
pub fn check_acl_allowed(acl: &Acl, access: &BucketAccess, owner: &str) -> Result<(), Fault> {
    if access.ownership() == Ownership::BucketOwnerEnforced && !is_full_control_of(acl, owner) {
        return Err(GrantFault::AclsDisabled.into());
    }
    if access.block().block_public_acls && is_public(acl) {
        let why = "Public ACLs are prevented by the BlockPublicAcls setting in S3 Block Public Access.";
        return Err(Fault::AccessDenied(why));
    }
    Ok(())
}

/// Returns whether the current settings of a bucket allow the ACL of an object that the bucket's owner owns.
pub fn allows_acl(view: &MetaView, bucket: &BucketRow, acl: &Acl) -> Result<bool, StoreError> {
    let row = view.document(&bucket_document(bucket, BucketDocument::Access))?;
    let access = row.map(|row| decode::<BucketAccess>(&row.value)).transpose();
    let access = access.map_err(|error| StoreError::Internal { why: error.to_string() })?.unwrap_or_default();
    Ok(check_acl_allowed(acl, &access, &bucket.bucket.owner).is_ok())
}

/// Returns the ACL to store; `None` if it only grants the owner full control, which is the default.
pub fn kept(acl: Acl, owner: &str) -> Option<Acl> {
    let goes_without_saying = acl.grants.len() == 1 && is_full_control_of(&acl, owner);
    (!goes_without_saying).then_some(acl)
}

#[cfg(test)]
mod tests {
    use super::super::resolve::tests::{OnlyRoot, root};
    use super::{acl_of_write, allows_acl, check_acl_allowed, new_bucket};
    use crate::actors::documents::encode;
    use crate::actors::meta::{Acl, BucketDocument, Change, DocumentKey, DocumentWrite, Expect, Grantee};
    use crate::actors::request::test_world::World;
    use crate::api::errors::{Fault, GrantFault};
    use crate::api::identity::Directory;
    use crate::api::policy::{Ownership, PublicAccessBlock, canned};
    use crate::api::s3::grants::BucketAccess;
    use http::{HeaderMap, HeaderName, HeaderValue};
    use s3s::dto::ObjectOwnership;

    fn headers(acl: Option<&'static str>) -> HeaderMap {
        let acl = acl.map(|name| (HeaderName::from_static("x-amz-acl"), HeaderValue::from_static(name)));
        acl.into_iter().collect()
    }

    fn owned(ownership: Ownership) -> BucketAccess {
        BucketAccess { ownership: Some(ownership), ..BucketAccess::default() }
    }

    fn written(headers: &HeaderMap, access: &BucketAccess) -> Result<(Option<Acl>, String), String> {
        let root = root();
        let written = acl_of_write(&Directory::new(&OnlyRoot, &root), headers, "writer", "owner", access);
        written.map_err(|error| error.code().as_str().to_owned())
    }

    fn created(
        acl: Option<&'static str>,
        asked: Option<&'static str>,
        by_default: Ownership,
    ) -> Result<BucketAccess, String> {
        let root = root();
        let asked = asked.map(ObjectOwnership::from_static);
        let created = new_bucket(&Directory::new(&OnlyRoot, &root), &headers(acl), asked.as_ref(), by_default, "owner");
        created.map_err(|error| error.code().as_str().to_owned())
    }

    #[test]
    fn a_buckets_object_ownership_decides_who_owns_new_objects() {
        let owner = |acl, ownership| written(&headers(acl), &owned(ownership)).map(|(_, owner)| owner);
        let full = Some("bucket-owner-full-control");
        for acl in [None, full, Some("private")] {
            assert_eq!(owner(acl, Ownership::ObjectWriter), Ok("writer".to_owned()));
        }
        for acl in [None, full] {
            assert_eq!(owner(acl, Ownership::BucketOwnerEnforced), Ok("owner".to_owned()));
        }
        assert_eq!(owner(full, Ownership::BucketOwnerPreferred), Ok("owner".to_owned()));
        assert_eq!(owner(None, Ownership::BucketOwnerPreferred), Ok("writer".to_owned()));
    }

    #[test]
    fn an_acl_is_stored_unless_it_only_grants_the_owner_full_control() {
        let kept = |acl, ownership| written(&headers(acl), &owned(ownership)).map(|(acl, _)| acl);
        assert_eq!(kept(None, Ownership::ObjectWriter), Ok(None));
        assert_eq!(kept(Some("private"), Ownership::ObjectWriter), Ok(None));
        let full = canned("bucket-owner-full-control", "writer", "owner");
        assert_eq!(kept(Some("bucket-owner-full-control"), Ownership::ObjectWriter), Ok(full));
        assert_eq!(kept(Some("bucket-owner-full-control"), Ownership::BucketOwnerPreferred), Ok(None));
        assert_eq!(kept(Some("public"), Ownership::ObjectWriter), Err("InvalidArgument".to_owned()));
    }

    #[test]
    fn disabled_acls_are_refused_before_their_other_faults() {
        let enforced = owned(Ownership::BucketOwnerEnforced);
        let refused = Err("AccessControlListNotSupported".to_owned());
        for acl in ["private", "public-read", "authenticated-read", "nonsense"] {
            assert_eq!(written(&headers(Some(acl)), &enforced), refused);
        }
        let mut both = headers(Some("private"));
        both.insert(HeaderName::from_static("x-amz-grant-read"), HeaderValue::from_static("id=root-id"));
        assert_eq!(written(&both, &enforced), refused);
        both.remove("x-amz-acl");
        assert_eq!(written(&both, &enforced), refused);
    }

    #[test]
    fn block_public_acls_refuses_public_acls_only() {
        let block = Some(PublicAccessBlock { block_public_acls: true, ..PublicAccessBlock::default() });
        let blocked = BucketAccess { block, ..BucketAccess::default() };
        for acl in ["public-read", "public-read-write", "authenticated-read"] {
            assert_eq!(written(&headers(Some(acl)), &blocked), Err("AccessDenied".to_owned()));
        }
        assert!(written(&headers(Some("bucket-owner-read")), &blocked).is_ok());
        let open = canned("public-read", "owner", "owner").expect("a canned list");
        assert!(matches!(check_acl_allowed(&open, &blocked, "owner"), Err(Fault::AccessDenied(_))));
        let enforced = owned(Ownership::BucketOwnerEnforced);
        assert_eq!(check_acl_allowed(&open, &enforced, "owner"), Err(GrantFault::AclsDisabled.into()));
    }

    #[actix::test]
    async fn the_current_settings_of_a_bucket_decide_about_the_acls_of_its_reports() {
        let world = World::new(2, 1);
        let public = canned("public-read", "root", "root").expect("a canned list");
        let allows = || {
            let view = world.meta.view();
            let bucket = view.bucket("bucket").expect("looked up").expect("it is there");
            allows_acl(&view, &bucket, &public).expect("looked up")
        };
        assert!(allows(), "there are no settings");
        let block = Some(PublicAccessBlock { block_public_acls: true, ..PublicAccessBlock::default() });
        let blocked = BucketAccess { block, ..BucketAccess::default() };
        for (access, expected) in
            [(blocked, false), (owned(Ownership::ObjectWriter), true), (owned(Ownership::BucketOwnerEnforced), false)]
        {
            let key = DocumentKey::Bucket(world.bucket, BucketDocument::Access, String::new());
            let value = Some(encode(&access).expect("settings"));
            world.meta.apply(Change::WriteDocuments(vec![DocumentWrite { key, expect: Expect::Any, value }]));
            assert_eq!(allows(), expected, "{access:?}");
        }
    }

    #[test]
    fn a_new_bucket_has_the_ownership_it_asks_for_or_the_stores_default() {
        let writer = Ownership::ObjectWriter;
        assert_eq!(created(None, None, writer), Ok(BucketAccess::default()));
        let enforced = Ok(owned(Ownership::BucketOwnerEnforced));
        assert_eq!(created(None, None, Ownership::BucketOwnerEnforced), enforced);
        assert_eq!(created(Some("private"), Some("BucketOwnerEnforced"), writer), enforced);
        assert_eq!(created(None, Some("ObjectWriter"), Ownership::BucketOwnerEnforced), Ok(owned(writer)));
        assert_eq!(created(None, Some("Everybody"), writer), Err("InvalidArgument".to_owned()));
    }

    #[test]
    fn a_new_buckets_public_acl_is_refused_under_bucket_owner_enforced() {
        let writer = Ownership::ObjectWriter;
        let shared = created(Some("public-read"), None, writer).expect("a bucket").acl.expect("a list");
        assert!(shared.grants.iter().any(|grant| grant.grantee == Grantee::AllUsers));
        let refused = created(Some("public-read"), Some("BucketOwnerEnforced"), writer);
        assert_eq!(refused, Err("InvalidBucketAclWithObjectOwnership".to_owned()));
        assert_eq!(created(Some("public"), None, writer), Err("InvalidArgument".to_owned()));
    }
}
