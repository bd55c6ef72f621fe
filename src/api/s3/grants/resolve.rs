//! Resolves the ACL that a request asks for to the ACL that is stored, whose grantees are canonical ids and groups.

use super::requested::{NamedGrantee, RequestedAcl};
use crate::actors::gateway::StoreError;
use crate::actors::meta::{Acl, Grant, Grantee};
use crate::api::errors::{Fault, GrantFault};
use crate::api::identity::{Directory, IdentityError};
use crate::api::policy::{AclOf, canned};
use s3s::{S3Error, S3Result};

const ALL_USERS: &str = "http://acs.amazonaws.com/groups/global/AllUsers";
const AUTHENTICATED_USERS: &str = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers";
const LOG_DELIVERY: &str = "http://acs.amazonaws.com/groups/s3/LogDelivery";
/// The canned ACL that only buckets have.
const LOG_DELIVERY_WRITE: &str = "log-delivery-write";

/// The resource of an ACL: its kind, its owner, and the owner of its bucket.
#[derive(Clone, Copy, Debug)]
pub struct Listed<'a> {
    pub of: AclOf,
    pub owner: &'a str,
    pub bucket_owner: &'a str,
}

/// Returns the URI that names a group; `None` for an account.
pub fn group_uri(grantee: &Grantee) -> Option<&'static str> {
    match grantee {
        Grantee::AllUsers => Some(ALL_USERS),
        Grantee::AuthenticatedUsers => Some(AUTHENTICATED_USERS),
        Grantee::LogDelivery => Some(LOG_DELIVERY),
        Grantee::Account(_) => None,
    }
}

pub fn resolve(directory: &Directory<'_>, asked: RequestedAcl, listed: Listed<'_>) -> S3Result<Acl> {
    let grants = match asked {
        RequestedAcl::Canned(name) => return Ok(canned_list(&name, listed)?),
        RequestedAcl::Grants(grants) => grants,
        RequestedAcl::Policy { owner, grants } => {
            check_owner(directory, &owner, listed)?;
            grants
        }
    };
    let resolved = grants
        .into_iter()
        .map(|grant| Ok(Grant { grantee: grantee(directory, grant.to, listed)?, permission: grant.permission }));
    Ok(Acl { grants: resolved.collect::<S3Result<_>>()? })
}

fn canned_list(name: &str, listed: Listed<'_>) -> Result<Acl, Fault> {
    let found = canned(name, listed.owner, listed.bucket_owner);
    let found = found.filter(|_| listed.of == AclOf::Bucket || name != LOG_DELIVERY_WRITE);
    found.ok_or_else(|| Fault::InvalidArgument(format!("There is no canned ACL {name} for this resource.")))
}

fn check_owner(directory: &Directory<'_>, named: &str, listed: Listed<'_>) -> S3Result<()> {
    if named == listed.owner {
        return Ok(());
    }
    let fault = match is_account(directory, named)? {
        true => Fault::AccessDenied("The owner of a bucket or an object cannot be changed by its ACL."),
        false => invalid_id(),
    };
    Err(fault.into())
}

/// Returns the fault of a canonical id that no account has.
pub fn invalid_id() -> Fault {
    Fault::InvalidArgument("Invalid id".to_owned())
}

/// Returns the group that a URI names.
pub fn group_named(uri: &str) -> Result<Grantee, Fault> {
    let mut groups = [Grantee::AllUsers, Grantee::AuthenticatedUsers, Grantee::LogDelivery].into_iter();
    let known = groups.find(|group| group_uri(group) == Some(uri));
    known.ok_or_else(|| Fault::InvalidArgument("Invalid group uri".to_owned()))
}

fn grantee(directory: &Directory<'_>, named: NamedGrantee, listed: Listed<'_>) -> S3Result<Grantee> {
    match named {
        // The owners may be granted rights even if they are not accounts, as anonymous ones are not.
        NamedGrantee::Account(id) if id == listed.owner || id == listed.bucket_owner => Ok(Grantee::Account(id)),
        NamedGrantee::Account(id) if is_account(directory, &id)? => Ok(Grantee::Account(id)),
        NamedGrantee::Account(_) => Err(invalid_id().into()),
        NamedGrantee::Email(email) => {
            let found = directory.account_by_email(&email).map_err(lookup_failed)?;
            let account = found.ok_or(Fault::Grant(GrantFault::UnknownEmail))?;
            Ok(Grantee::Account(account.canonical_id))
        }
        NamedGrantee::Group(uri) => Ok(group_named(&uri)?),
    }
}

/// Returns whether there is an account of this canonical id.
pub fn is_account(directory: &Directory<'_>, canonical_id: &str) -> S3Result<bool> {
    Ok(directory.account_by_canonical_id(canonical_id).map_err(lookup_failed)?.is_some())
}

/// Converts the error of a lookup in the directory: the metadata cannot be read at present, or a record is invalid.
pub fn lookup_failed(error: IdentityError) -> S3Error {
    match error {
        IdentityError::Unavailable(why) => StoreError::Unavailable { why }.into(),
        other => StoreError::Internal { why: other.to_string() }.into(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::{ALL_USERS, Listed, resolve};
    use crate::actors::meta::{Acl, DocumentKey, DocumentRow, Grant, Grantee, IdentityKind, KvError, Permission};
    use crate::api::identity::{Directory, Documents, DocumentsPage, RootIdentity};
    use crate::api::policy::AclOf;
    use crate::api::s3::grants::requested::{NamedGrantee, RequestedAcl, RequestedGrant};

    /// A directory that knows the store's own account, and nobody else.
    pub struct OnlyRoot;

    impl Documents for OnlyRoot {
        fn document(&self, _: &DocumentKey) -> Result<Option<DocumentRow>, KvError> {
            Ok(None)
        }

        fn identity_documents(
            &self,
            _: IdentityKind,
            _: &str,
            _: Option<&str>,
            _: usize,
        ) -> Result<DocumentsPage, KvError> {
            Ok((Vec::new(), false))
        }
    }

    pub fn root() -> RootIdentity {
        let (access_key, secret_key) = ("key".to_owned(), "secret".to_owned());
        RootIdentity { access_key, secret_key, canonical_id: "root-id".to_owned() }
    }

    fn resolved_acl(asked: RequestedAcl, of: AclOf) -> Result<Acl, String> {
        let root = root();
        let listed = Listed { of, owner: "writer", bucket_owner: "owner" };
        resolve(&Directory::new(&OnlyRoot, &root), asked, listed).map_err(|error| error.code().as_str().to_owned())
    }

    fn one(to: NamedGrantee) -> RequestedAcl {
        RequestedAcl::Grants(vec![RequestedGrant { to, permission: Permission::Read }])
    }

    fn read(grantee: Grantee) -> Result<Acl, String> {
        Ok(Acl { grants: vec![Grant { grantee, permission: Permission::Read }] })
    }

    #[test]
    fn grants_resolve_to_existing_accounts_and_known_groups_only() {
        for id in ["root-id", "owner", "writer"] {
            let granted = resolved_acl(one(NamedGrantee::Account(id.to_owned())), AclOf::Object);
            assert_eq!(granted, read(Grantee::Account(id.to_owned())));
        }
        assert_eq!(
            resolved_acl(one(NamedGrantee::Group(ALL_USERS.to_owned())), AclOf::Object),
            read(Grantee::AllUsers)
        );
        let long = "a".repeat(100_000);
        for (named, code) in [
            (NamedGrantee::Account("nobody".to_owned()), "InvalidArgument"),
            (NamedGrantee::Account(long.clone()), "InvalidArgument"),
            (NamedGrantee::Email("nobody@nowhere".to_owned()), "UnresolvableGrantByEmailAddress"),
            (NamedGrantee::Email(long), "UnresolvableGrantByEmailAddress"),
            (NamedGrantee::Group("http://nobody".to_owned()), "InvalidArgument"),
        ] {
            assert_eq!(resolved_acl(one(named), AclOf::Object), Err(code.to_owned()));
        }
    }

    #[test]
    fn an_acl_that_names_another_owner_is_refused() {
        let policy = |owner: &str| RequestedAcl::Policy { owner: owner.to_owned(), grants: vec![] };
        assert_eq!(resolved_acl(policy("writer"), AclOf::Object), Ok(Acl { grants: vec![] }));
        assert_eq!(resolved_acl(policy("root-id"), AclOf::Object), Err("AccessDenied".to_owned()));
        assert_eq!(resolved_acl(policy("nobody"), AclOf::Object), Err("InvalidArgument".to_owned()));
    }

    #[test]
    fn canned_acls_are_known_by_name_and_kind_of_resource() {
        let canned = |name: &str, of| resolved_acl(RequestedAcl::Canned(name.to_owned()), of);
        for of in [AclOf::Bucket, AclOf::Object] {
            assert!(canned("public-read", of).is_ok() && canned("bucket-owner-read", of).is_ok());
            assert_eq!(canned("public", of), Err("InvalidArgument".to_owned()));
        }
        assert!(canned("log-delivery-write", AclOf::Bucket).is_ok());
        assert_eq!(canned("log-delivery-write", AclOf::Object), Err("InvalidArgument".to_owned()));
    }
}
