//! The principals of requests, and how policies name them (IAM User Guide, "AWS JSON policy elements: Principal").

use std::collections::BTreeMap;
use std::fmt;

/// The unique ids of the users and roles whose ARNs, or those of whose sessions, a policy of a resource names, as they
/// were when the policy was stored. The id says who is meant: the user under any later name or path, and nobody else
/// who gets its former name. An ARN without an id means whoever has it.
pub type PrincipalIds = BTreeMap<String, String>;

/// An account with both of its ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The account id: 12 digits.
    pub id: String,
    /// The id that S3 uses for owners and grantees.
    pub canonical_id: String,
}

/// The user who issued the session of a federated user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    pub arn: String,
    /// The unique id, such as `AIDA…`.
    pub id: String,
}

/// The authenticated sender of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// The sender of a request without a signature.
    Anonymous,
    /// The root of an account; no identity policy limits it.
    Root(Account),
    User {
        account: Account,
        /// The ARN of the user, or of the session of a federated user: `arn:aws:sts::…:federated-user/name`.
        arn: String,
        name: String,
        /// The unique id of the user, such as `AIDA…`.
        id: String,
        /// The user who issued the session, if this is the session of a federated user and its issuer is not a root.
        issuer: Option<Issuer>,
    },
    /// Temporary credentials of a role.
    RoleSession {
        account: Account,
        role_arn: String,
        /// The unique id of the role, such as `AROA…`.
        role_id: String,
        session_name: String,
    },
    /// A user of an identity provider who assumes a role; the ARN or name of the provider.
    Federated(String),
    /// A service of the store itself that acts for an account, such as `logging.s3.amazonaws.com`.
    Service(String),
}

impl Principal {
    /// Returns the account whose policies and ownership apply.
    pub fn account(&self) -> Option<&Account> {
        match self {
            Self::Root(account) | Self::User { account, .. } | Self::RoleSession { account, .. } => Some(account),
            Self::Anonymous | Self::Federated(_) | Self::Service(_) => None,
        }
    }

    /// Returns the ARN, the value of `aws:PrincipalArn`. For a role session it is the role's ARN.
    pub fn arn(&self) -> Option<String> {
        match self {
            Self::Root(account) => Some(format!("arn:aws:iam::{}:root", account.id)),
            Self::User { arn, .. } => Some(arn.clone()),
            Self::RoleSession { role_arn, .. } => Some(role_arn.clone()),
            Self::Anonymous | Self::Federated(_) | Self::Service(_) => None,
        }
    }

    /// Returns the ARN of a role session, such as `arn:aws:sts::111122223333:assumed-role/role/session`. It leaves out
    /// the role's path.
    fn session_arn(&self) -> Option<String> {
        let Self::RoleSession { account, role_arn, session_name, .. } = self else { return None };
        let role = role_arn.rsplit('/').next().unwrap_or_default();
        Some(format!("arn:aws:sts::{}:assumed-role/{role}/{session_name}", account.id))
    }

    /// Returns the condition keys that describe the principal (IAM User Guide, "Where you can use policy variables").
    pub fn keys(&self) -> Vec<(&'static str, String)> {
        let (kind, id) = match self {
            Self::Anonymous => ("Anonymous", Some("anonymous".to_owned())),
            Self::Root(account) => ("Account", Some(account.id.clone())),
            Self::User { id, .. } => ("User", Some(id.clone())),
            Self::RoleSession { role_id, session_name, .. } => {
                ("AssumedRole", Some(format!("{role_id}:{session_name}")))
            }
            Self::Federated(_) => ("FederatedUser", None),
            Self::Service(_) => ("Service", None),
        };
        let service = matches!(self, Self::Service(_));
        let mut keys = vec![("aws:PrincipalType", kind.to_owned()), ("aws:PrincipalIsAWSService", service.to_string())];
        keys.extend(id.map(|id| ("aws:userid", id)));
        keys.extend(self.arn().map(|arn| ("aws:PrincipalArn", arn)));
        keys.extend(self.account().map(|account| ("aws:PrincipalAccount", account.id.clone())));
        match self {
            Self::User { name, .. } => keys.push(("aws:username", name.clone())),
            Self::Federated(provider) => keys.push(("aws:FederatedProvider", provider.clone())),
            Self::Service(name) => keys.push(("aws:PrincipalServiceName", name.clone())),
            _ => {}
        }
        keys
    }
}

/// Writes the principal as AWS's messages do: by its ARN, if it has one.
impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("anonymous"),
            Self::Federated(name) | Self::Service(name) => f.write_str(name),
            _ => f.write_str(&self.session_arn().or_else(|| self.arn()).unwrap_or_default()),
        }
    }
}

/// A value of `Principal` or `NotPrincipal`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrincipalPattern {
    /// `"*"` and `{"AWS": "*"}`, which mean the same in policies of resources.
    Everybody,
    /// The id of an account, which may be written as the ARN of its root.
    Account(String),
    /// A user, a role, or a session.
    Arn(String),
    Canonical(String),
    Service(String),
    Federated(String),
}

/// How directly a statement names the caller, from the least to the most. A grant to an account is for the account to
/// pass on to its users and roles. The more direct a grant, the fewer of the principal's own policies limit it (IAM
/// User Guide, "Permissions boundaries for IAM entities" and "Session policies").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// The account only.
    Account,
    /// The role of a session, or the user who issued the session of a federated user: permissions boundary and session
    /// policies limit the grant.
    Role,
    /// The user: session policies limit the grant, the permissions boundary does not.
    User,
    /// The session itself, the root of the account, a service, or everybody: only a `Deny` limits the grant.
    Direct,
}

impl PrincipalPattern {
    /// Parses one name under a key such as `AWS` or `Service`. Returns `None` where S3 and IAM answer that the
    /// principal is invalid, as for any wildcard but `"AWS": "*"`.
    pub fn parse(provider: &str, name: &str) -> Option<Self> {
        let plain = !name.is_empty() && !name.contains(['*', '?', '$']) && !name.contains(char::is_whitespace);
        match provider {
            "AWS" if name == "*" => Some(Self::Everybody),
            "AWS" => aws(name),
            "CanonicalUser" if plain => Some(Self::Canonical(name.to_owned())),
            "Service" if plain && name.contains('.') => Some(Self::Service(name.to_owned())),
            "Federated" if plain => Some(Self::Federated(name.to_owned())),
            _ => None,
        }
    }

    /// Returns how directly the pattern, in a policy that was stored with these ids, names the principal; `None` if it
    /// does not.
    pub fn reaches(&self, principal: &Principal, ids: &PrincipalIds) -> Option<Reach> {
        if *self == Self::Everybody {
            return Some(Reach::Direct);
        }
        match (self, principal) {
            (Self::Service(name), Principal::Service(asking)) => (name == asking).then_some(Reach::Direct),
            (Self::Federated(name), Principal::Federated(asking)) => (name == asking).then_some(Reach::Direct),
            (Self::Account(id), _) => account_reach(principal, |account| account.id == *id),
            (Self::Canonical(id), _) => account_reach(principal, |account| account.canonical_id == *id),
            (Self::Arn(arn), _) => arn_reach(principal, arn, ids.get(arn).map(String::as_str)),
            _ => None,
        }
    }
}

fn account_reach(principal: &Principal, is_meant: impl FnOnce(&Account) -> bool) -> Option<Reach> {
    let reach = if matches!(principal, Principal::Root(_)) { Reach::Direct } else { Reach::Account };
    principal.account().filter(|account| is_meant(account)).map(|_| reach)
}

/// Returns how directly an ARN names the principal. If the policy was stored with an id for the ARN, the id decides:
/// the user may have been renamed since.
fn arn_reach(principal: &Principal, arn: &str, id: Option<&str>) -> Option<Reach> {
    let names = |own_arn: &str, own_id: &str| id.map_or(arn == own_arn, |id| id == own_id);
    match principal {
        Principal::User { arn: own, id: own_id, .. } if names(own, own_id) => {
            let is_session = own.starts_with("arn:aws:sts:");
            Some(if is_session { Reach::Direct } else { Reach::User })
        }
        Principal::User { issuer: Some(issuer), .. } => names(&issuer.arn, &issuer.id).then_some(Reach::Role),
        Principal::RoleSession { role_id, .. } if arn.starts_with("arn:aws:sts:") => {
            let is_meant = principal.session_arn().as_deref() == Some(arn) && id.is_none_or(|id| id == role_id);
            is_meant.then_some(Reach::Direct)
        }
        Principal::RoleSession { role_arn, role_id, .. } => names(role_arn, role_id).then_some(Reach::Role),
        _ => None,
    }
}

/// Parses an account's id, or the ARN of a root, a user, a role or a session.
fn aws(name: &str) -> Option<PrincipalPattern> {
    if name.len() == 12 && name.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(PrincipalPattern::Account(name.to_owned()));
    }
    let mut parts = name.splitn(6, ':');
    let mut next = || parts.next();
    let (arn, partition, service, region, account, last) = (next()?, next()?, next()?, next()?, next()?, next()?);
    let in_account = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let framed = arn == "arn" && partition.starts_with("aws") && region.is_empty();
    if !framed || account.is_empty() || !account.bytes().all(in_account) || name.contains(['*', '?', '$']) {
        return None;
    }
    let (kind, path) = last.split_once('/').unwrap_or((last, ""));
    match (service, kind) {
        ("iam", "root") if path.is_empty() => Some(PrincipalPattern::Account(account.to_owned())),
        ("iam", "user" | "role") | ("sts", "federated-user") if !path.is_empty() => {
            Some(PrincipalPattern::Arn(name.to_owned()))
        }
        ("sts", "assumed-role")
            if path.split_once('/').is_some_and(|(role, session)| !role.is_empty() && !session.is_empty()) =>
        {
            Some(PrincipalPattern::Arn(name.to_owned()))
        }
        _ => None,
    }
}
