//! The ACL that a request asks for, by headers or by XML, before the named accounts are looked up (S3 API Reference,
//! "PutBucketAcl" and "PutObjectAcl"; S3 User Guide, "Access control list (ACL) overview").

use crate::actors::meta::Permission;
use crate::api::errors::{Fault, GrantFault};
use http::HeaderMap;
use s3s::dto::{self, AccessControlPolicy, Type};
use s3s::header::X_AMZ_ACL;

/// The canned ACL with which, under BucketOwnerPreferred, a writer makes the bucket's owner the owner of an object.
pub const LEFT_TO_BUCKET_OWNER: &str = "bucket-owner-full-control";
/// The maximum number of grants in one ACL, by S3's schema.
pub const GRANTS_MAX: usize = 100;
/// The grant headers, in the order in which their grants are listed.
const GRANT_HEADERS: [(&str, Permission); 5] = [
    ("x-amz-grant-read", Permission::Read),
    ("x-amz-grant-write", Permission::Write),
    ("x-amz-grant-read-acp", Permission::ReadAcp),
    ("x-amz-grant-write-acp", Permission::WriteAcp),
    ("x-amz-grant-full-control", Permission::FullControl),
];

/// The grantee of a grant, as a request names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamedGrantee {
    /// An account, by its canonical id.
    Account(String),
    Email(String),
    /// A group, by its URI.
    Group(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestedGrant {
    pub to: NamedGrantee,
    pub permission: Permission,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestedAcl {
    /// A canned ACL, by its name, which may be unknown.
    Canned(String),
    Grants(Vec<RequestedGrant>),
    /// An ACL in XML. It also names the owner, who cannot be changed by it.
    Policy {
        owner: String,
        grants: Vec<RequestedGrant>,
    },
}

impl RequestedAcl {
    /// Returns the ACL that the headers ask for, if any.
    pub fn of_headers(headers: &HeaderMap) -> Result<Option<Self>, Fault> {
        let canned = headers.get(X_AMZ_ACL);
        let grants = has_grants(headers);
        match canned {
            None if !grants => Ok(None),
            None => granted_by_headers(headers).map(|grants| Some(Self::Grants(grants))),
            Some(_) if grants => {
                let why = "Specifying both Canned ACLs and Header Grants is not allowed";
                Err(Fault::InvalidRequest(why.to_owned()))
            }
            Some(name) => Ok(Some(Self::Canned(String::from_utf8_lossy(name.as_bytes()).into_owned()))),
        }
    }

    /// Returns the ACL of a request that sets only an ACL, from its headers or its body. One of them must have it, and
    /// not both.
    pub fn of_request(headers: &HeaderMap, body: Option<AccessControlPolicy>) -> Result<Self, Fault> {
        let in_headers = headers.contains_key(X_AMZ_ACL) || has_grants(headers);
        match body {
            Some(_) if in_headers => Err(GrantFault::UnexpectedContent.into()),
            Some(body) => Self::of_body(body),
            None => Self::of_headers(headers)?.ok_or(GrantFault::MissingAcl.into()),
        }
    }

    fn of_body(body: AccessControlPolicy) -> Result<Self, Fault> {
        let owner = given(body.owner.and_then(|owner| owner.id))?;
        let grants = body.grants.ok_or(GrantFault::MalformedAcl)?;
        let grants = grants.into_iter().map(of_xml).collect::<Result<Vec<_>, _>>()?;
        Ok(Self::Policy { owner, grants: not_too_many(grants)? })
    }

    /// Returns whether the ACL explicitly grants full control to this owner of the bucket, and nothing else: the only
    /// ACL allowed where ACLs are disabled. `private` does not count, since it grants full control to the writer.
    pub fn is_of_owner_alone(&self, owner: &str) -> bool {
        let own = RequestedGrant { to: NamedGrantee::Account(owner.to_owned()), permission: Permission::FullControl };
        match self {
            Self::Canned(name) => name == LEFT_TO_BUCKET_OWNER,
            Self::Grants(grants) | Self::Policy { grants, .. } => {
                !grants.is_empty() && grants.iter().all(|grant| *grant == own)
            }
        }
    }
}

fn has_grants(headers: &HeaderMap) -> bool {
    GRANT_HEADERS.iter().any(|(name, _)| headers.contains_key(*name))
}

fn granted_by_headers(headers: &HeaderMap) -> Result<Vec<RequestedGrant>, Fault> {
    let mut grants = Vec::new();
    for (name, permission) in GRANT_HEADERS {
        for value in headers.get_all(name) {
            let text = value.to_str().map_err(|_| unrecognized())?;
            for grantee in text.split(',') {
                grants.push(RequestedGrant { to: named(grantee)?, permission });
            }
        }
    }
    not_too_many(grants)
}

fn not_too_many(grants: Vec<RequestedGrant>) -> Result<Vec<RequestedGrant>, Fault> {
    if grants.len() > GRANTS_MAX { Err(GrantFault::MalformedAcl.into()) } else { Ok(grants) }
}

fn unrecognized() -> Fault {
    Fault::InvalidArgument("Argument format not recognized".to_owned())
}

/// Parses a grantee: `id=…`, `uri=…` or `emailAddress=…`, with the value in quotes or not.
fn named(text: &str) -> Result<NamedGrantee, Fault> {
    let (kind, value) = text.split_once('=').ok_or_else(unrecognized)?;
    let value = value.trim();
    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value).trim().to_owned();
    if value.is_empty() {
        return Err(unrecognized());
    }
    match kind.trim().to_ascii_lowercase().as_str() {
        "id" => Ok(NamedGrantee::Account(value)),
        "emailaddress" => Ok(NamedGrantee::Email(value)),
        "uri" => Ok(NamedGrantee::Group(value)),
        _ => Err(unrecognized()),
    }
}

fn of_xml(grant: dto::Grant) -> Result<RequestedGrant, Fault> {
    let malformed = || Fault::from(GrantFault::MalformedAcl);
    let permission = grant.permission.as_ref().and_then(|permission| permission_named(permission.as_str()));
    let grantee = grant.grantee.ok_or_else(malformed)?;
    let to = match grantee.type_.as_str() {
        Type::CANONICAL_USER => NamedGrantee::Account(given(grantee.id)?),
        Type::AMAZON_CUSTOMER_BY_EMAIL => NamedGrantee::Email(given(grantee.email_address)?),
        Type::GROUP => NamedGrantee::Group(given(grantee.uri)?),
        _ => return Err(malformed()),
    };
    Ok(RequestedGrant { to, permission: permission.ok_or_else(malformed)? })
}

/// Returns the trimmed text of an element. A missing or empty one is an error.
fn given(text: Option<String>) -> Result<String, Fault> {
    let text = text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    text.ok_or(GrantFault::MalformedAcl.into())
}

pub fn permission_name(permission: Permission) -> &'static str {
    match permission {
        Permission::FullControl => dto::Permission::FULL_CONTROL,
        Permission::Read => dto::Permission::READ,
        Permission::Write => dto::Permission::WRITE,
        Permission::ReadAcp => dto::Permission::READ_ACP,
        Permission::WriteAcp => dto::Permission::WRITE_ACP,
    }
}

fn permission_named(name: &str) -> Option<Permission> {
    let mut all = GRANT_HEADERS.iter().map(|(_, permission)| *permission);
    all.find(|permission| permission_name(*permission) == name)
}

#[cfg(test)]
mod tests {
    use super::{GRANTS_MAX, NamedGrantee, RequestedAcl, RequestedGrant};
    use crate::actors::meta::Permission;
    use crate::api::errors::{Fault, GrantFault};
    use http::{HeaderMap, HeaderName, HeaderValue};
    use s3s::dto::{self, AccessControlPolicy, Grantee, Owner, Type};

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    fn grant(to: NamedGrantee, permission: Permission) -> RequestedGrant {
        RequestedGrant { to, permission }
    }

    fn account(id: &str) -> NamedGrantee {
        NamedGrantee::Account(id.to_owned())
    }

    fn xml(kind: &'static str, text: &str, permission: &'static str) -> dto::Grant {
        let text = Some(text.to_owned());
        let grantee = Grantee {
            display_name: Some("whoever".to_owned()),
            email_address: text.clone(),
            id: text.clone(),
            type_: Type::from_static(kind),
            uri: text,
        };
        dto::Grant { grantee: Some(grantee), permission: Some(dto::Permission::from_static(permission)) }
    }

    fn policy(owner: Option<&str>, grants: Option<Vec<dto::Grant>>) -> AccessControlPolicy {
        let owner = owner.map(|id| Owner { display_name: None, id: Some(id.to_owned()) });
        AccessControlPolicy { grants, owner }
    }

    #[test]
    fn grant_headers_list_account_ids_email_addresses_and_groups() {
        let asked = RequestedAcl::of_headers(&headers(&[
            ("x-amz-grant-full-control", "id=o"),
            ("x-amz-grant-read", r#"id="a", emailAddress=b@c ,URI="http://g""#),
            ("x-amz-grant-write-acp", "emailaddress=\"d@e\""),
        ]));
        assert_eq!(
            asked,
            Ok(Some(RequestedAcl::Grants(vec![
                grant(account("a"), Permission::Read),
                grant(NamedGrantee::Email("b@c".to_owned()), Permission::Read),
                grant(NamedGrantee::Group("http://g".to_owned()), Permission::Read),
                grant(NamedGrantee::Email("d@e".to_owned()), Permission::WriteAcp),
                grant(account("o"), Permission::FullControl),
            ])))
        );
        assert_eq!(RequestedAcl::of_headers(&HeaderMap::new()), Ok(None));
        for text in ["", "nonsense", "name=x", "id=", "id=\"\"", "id=a,"] {
            let malformed = RequestedAcl::of_headers(&headers(&[("x-amz-grant-read", text)]));
            assert!(matches!(malformed, Err(Fault::InvalidArgument(_))), "{text}");
        }
    }

    #[test]
    fn an_acl_is_given_by_headers_or_by_the_body_but_not_both() {
        let canned = ("x-amz-acl", "private");
        let granted = ("x-amz-grant-read", "id=a");
        let body = || Some(policy(Some("o"), Some(vec![])));
        let both = RequestedAcl::of_request(&headers(&[canned, granted]), None);
        assert!(matches!(both, Err(Fault::InvalidRequest(_))));
        for header in [canned, granted, ("x-amz-grant-read", "nonsense")] {
            let both = RequestedAcl::of_request(&headers(&[header]), body());
            assert_eq!(both, Err(GrantFault::UnexpectedContent.into()));
        }
        assert_eq!(RequestedAcl::of_request(&HeaderMap::new(), None), Err(GrantFault::MissingAcl.into()));
        let asked = RequestedAcl::of_request(&headers(&[canned]), None);
        assert_eq!(asked, Ok(RequestedAcl::Canned("private".to_owned())));
        let asked = RequestedAcl::of_request(&HeaderMap::new(), body());
        assert_eq!(asked, Ok(RequestedAcl::Policy { owner: "o".to_owned(), grants: vec![] }));
    }

    #[test]
    fn an_acl_in_xml_needs_an_owner_and_valid_grants() {
        let read = |policy| RequestedAcl::of_request(&HeaderMap::new(), Some(policy));
        let whole = read(policy(
            Some("o"),
            Some(vec![
                xml(Type::CANONICAL_USER, "a", "FULL_CONTROL"),
                xml(Type::AMAZON_CUSTOMER_BY_EMAIL, "b@c", "READ_ACP"),
                xml(Type::GROUP, "http://g", "WRITE"),
            ]),
        ));
        let grants = vec![
            grant(account("a"), Permission::FullControl),
            grant(NamedGrantee::Email("b@c".to_owned()), Permission::ReadAcp),
            grant(NamedGrantee::Group("http://g".to_owned()), Permission::Write),
        ];
        assert_eq!(whole, Ok(RequestedAcl::Policy { owner: "o".to_owned(), grants }));
        let good = || xml(Type::CANONICAL_USER, "a", "READ");
        for malformed in [
            policy(None, Some(vec![good()])),
            policy(Some(""), Some(vec![good()])),
            policy(Some("o"), None),
            policy(Some("o"), Some(vec![xml("Robot", "a", "READ")])),
            policy(Some("o"), Some(vec![xml(Type::CANONICAL_USER, " ", "READ")])),
            policy(Some("o"), Some(vec![xml(Type::CANONICAL_USER, "a", "DELETE")])),
            policy(Some("o"), Some(vec![dto::Grant { permission: None, ..good() }])),
            policy(Some("o"), Some(vec![dto::Grant { grantee: None, ..good() }])),
            policy(Some("o"), Some(vec![good(); GRANTS_MAX + 1])),
        ] {
            assert_eq!(read(malformed.clone()), Err(GrantFault::MalformedAcl.into()), "{malformed:?}");
        }
        assert!(read(policy(Some("o"), Some(vec![good(); GRANTS_MAX]))).is_ok());
    }

    #[test]
    fn disabled_acls_allow_only_full_control_of_the_bucket_owner() {
        let canned = |name: &str| RequestedAcl::Canned(name.to_owned()).is_of_owner_alone("o");
        assert!(canned("bucket-owner-full-control"));
        assert!(!canned("private") && !canned("public-read") && !canned("log-delivery-write") && !canned("nonsense"));
        let own = grant(account("o"), Permission::FullControl);
        let other = grant(account("a"), Permission::FullControl);
        assert!(RequestedAcl::Grants(vec![own.clone()]).is_of_owner_alone("o"));
        assert!(!RequestedAcl::Grants(vec![own.clone(), other]).is_of_owner_alone("o"));
        assert!(!RequestedAcl::Policy { owner: "o".to_owned(), grants: vec![] }.is_of_owner_alone("o"));
        let read = RequestedGrant { permission: Permission::Read, ..own };
        assert!(!RequestedAcl::Grants(vec![read]).is_of_owner_alone("o"));
    }
}
