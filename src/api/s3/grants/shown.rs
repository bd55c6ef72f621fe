//! ACLs in answers.

use super::requested::permission_name;
use super::resolve::group_uri;
use crate::actors::meta::{Acl, Grantee};
use crate::api::policy::{Ownership, canned};
use s3s::S3Result;
use s3s::dto::{self, Type};

/// Returns the effective ACL. If ACLs are disabled, or none was given, the owner has full control.
pub fn in_force(kept: Option<&Acl>, ownership: Ownership, owner: &str) -> Acl {
    let kept = kept.filter(|_| ownership != Ownership::BucketOwnerEnforced).cloned();
    kept.or_else(|| canned("private", owner, owner)).unwrap_or_default()
}

/// Returns the grants of an ACL for an answer: groups before accounts, the order that conformance suites expect. `name`
/// returns the display name of an account.
pub fn grants(acl: Acl, mut name: impl FnMut(&str) -> S3Result<Option<String>>) -> S3Result<Vec<dto::Grant>> {
    let (accounts, groups): (Vec<_>, Vec<_>) =
        acl.grants.into_iter().partition(|grant| matches!(grant.grantee, Grantee::Account(_)));
    let shown = groups.into_iter().chain(accounts).map(|grant| {
        Ok(dto::Grant {
            grantee: Some(grantee(grant.grantee, &mut name)?),
            permission: Some(dto::Permission::from_static(permission_name(grant.permission))),
        })
    });
    shown.collect()
}

fn grantee(grantee: Grantee, name: &mut impl FnMut(&str) -> S3Result<Option<String>>) -> S3Result<dto::Grantee> {
    let uri = group_uri(&grantee).map(str::to_owned);
    let (id, display_name) = match grantee {
        Grantee::Account(id) => {
            let display_name = name(&id)?;
            (Some(id), display_name)
        }
        Grantee::AllUsers | Grantee::AuthenticatedUsers | Grantee::LogDelivery => (None, None),
    };
    let kind = if uri.is_some() { Type::GROUP } else { Type::CANONICAL_USER };
    Ok(dto::Grantee { display_name, email_address: None, id, type_: Type::from_static(kind), uri })
}

#[cfg(test)]
mod tests {
    use super::{grants, in_force};
    use crate::actors::meta::{Acl, Grant, Grantee, Permission};
    use crate::api::policy::{Ownership, canned};

    fn shown(acl: Acl) -> Vec<(String, Option<String>, String)> {
        let name = |id: &str| Ok((id != "gone").then(|| format!("name of {id}")));
        let grants = grants(acl, name).expect("names are known");
        let line = |grant: s3s::dto::Grant| {
            let grantee = grant.grantee.expect("a grantee");
            let permission = grant.permission.expect("a permission").as_str().to_owned();
            (grantee.id.or(grantee.uri).expect("an id or a group"), grantee.display_name, permission)
        };
        grants.into_iter().map(line).collect()
    }

    #[test]
    fn groups_are_shown_before_accounts_and_accounts_with_their_names() {
        let mut acl = canned("public-read-write", "o", "o").expect("a canned list");
        let gone = Grant { grantee: Grantee::Account("gone".to_owned()), permission: Permission::ReadAcp };
        acl.grants.push(gone);
        let all_users = "http://acs.amazonaws.com/groups/global/AllUsers".to_owned();
        assert_eq!(
            shown(acl),
            [
                (all_users.clone(), None, "READ".to_owned()),
                (all_users, None, "WRITE".to_owned()),
                ("o".to_owned(), Some("name of o".to_owned()), "FULL_CONTROL".to_owned()),
                ("gone".to_owned(), None, "READ_ACP".to_owned()),
            ]
        );
    }

    #[test]
    fn without_an_acl_or_with_acls_disabled_the_owner_has_full_control() {
        let own = canned("private", "o", "o").expect("a canned list");
        let open = canned("public-read", "o", "o").expect("a canned list");
        assert_eq!(in_force(None, Ownership::ObjectWriter, "o"), own);
        assert_eq!(in_force(Some(&open), Ownership::BucketOwnerEnforced, "o"), own);
        assert_eq!(in_force(Some(&open), Ownership::BucketOwnerPreferred, "o"), open);
        let empty = Acl::default();
        assert_eq!(in_force(Some(&empty), Ownership::ObjectWriter, "o"), empty);
    }
}
