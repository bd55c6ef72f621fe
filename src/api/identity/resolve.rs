//! Resolution of an access key, and of the session token that came with it, to the caller and its policies.

use super::builtin;
use super::directory::{Directory, ROOT_ACCOUNT, RootIdentity, Stored};
use super::error::IdentityError;
use super::names;
use super::records::{AccessKeyRecord, AccountRecord, Granted, GroupRecord, KeyOwner, RoleRecord, Tags, UserRecord};
use super::secrets::{self, SecretSeal};
use super::session::{Session, SessionKeys, SessionLimits, SessionOf, TokenFault, is_session_key};
use crate::api::policy::Issuer;
use crate::types::UnixMs;
use std::fmt;
use std::sync::Arc;

/// The text of a policy, and its name: an ARN, or holder and name of an inline policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedPolicy {
    pub name: String,
    pub text: String,
}

/// The kind of a principal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrincipalKind {
    /// The root of the account, which may do everything in it.
    Root,
    User,
    AssumedRole,
    FederatedUser,
}

/// The caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedPrincipal {
    pub kind: PrincipalKind,
    /// The account id: 12 digits.
    pub account: String,
    /// The id that S3 uses for the account in owners and grants.
    pub canonical_id: String,
    pub account_name: String,
    pub arn: String,
    /// The assumed role, if this is the session of a role.
    pub role: Option<AssumedRole>,
    /// The user who issued the session, if this is the session of a federated user and its issuer is not a root.
    pub issuer: Option<Issuer>,
    /// `aws:userid`
    pub user_id: String,
    /// `aws:username`; users only.
    pub user_name: Option<String>,
    /// `aws:PrincipalTag/…`: tags of the user or role, and of the session. On the same key, the tag of the session
    /// replaces the other.
    pub tags: Tags,
}

impl ResolvedPrincipal {
    /// Returns the root of the store's own account, which exists without a document.
    pub fn store_root(root: &RootIdentity) -> Self {
        Self {
            kind: PrincipalKind::Root,
            account: ROOT_ACCOUNT.to_owned(),
            canonical_id: root.canonical_id.clone(),
            account_name: String::new(),
            arn: names::root_arn(ROOT_ACCOUNT),
            role: None,
            issuer: None,
            user_id: ROOT_ACCOUNT.to_owned(),
            user_name: None,
            tags: Vec::new(),
        }
    }
}

/// The assumed role of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssumedRole {
    /// The ARN of the role itself, which policies may also name.
    pub arn: String,
    pub id: String,
    pub session: String,
}

/// Properties of a session that conditions may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionFacts {
    /// `aws:TokenIssueTime`
    pub issued: UnixMs,
    pub expires: UnixMs,
    pub source_identity: Option<String>,
    pub transitive: Tags,
    /// Condition keys and values from the token of the identity provider.
    pub claims: Tags,
}

/// The approximate memory that a tag takes besides its texts.
const TAG_BYTES: usize = 64;

/// The caller with its policies.
#[derive(Clone, PartialEq, Eq)]
pub struct Resolved {
    pub access_key: String,
    pub principal: Arc<ResolvedPrincipal>,
    /// The inline and attached policies of the user or role; `AdministratorAccess` for a root.
    pub own_policies: Vec<NamedPolicy>,
    /// The policies of the user's groups.
    pub group_policies: Vec<NamedPolicy>,
    /// The session policies, which limit everybody, a root included, to what they allow. `None` is no limit; an empty
    /// list allows nothing.
    pub session_policies: Option<Vec<NamedPolicy>>,
    /// The permissions boundary, which limits the identity to what it allows.
    pub boundary: Option<NamedPolicy>,
    pub session: Option<SessionFacts>,
    /// True for a service key, which may do less than its owner. Calls with it must not obtain more rights, such as a
    /// new key of the owner.
    pub is_service_key: bool,
}

impl Resolved {
    /// Returns the approximate memory of all policies and condition values. Tags count twice, as `ParsedIdentity` holds
    /// a copy of them.
    pub fn text_bytes(&self) -> usize {
        let session = self.session_policies.iter().flatten();
        let all = self.own_policies.iter().chain(&self.group_policies).chain(session).chain(&self.boundary);
        let policies: usize = all.map(|policy| policy.name.len() + policy.text.len()).sum();
        let tags: usize = self.principal.tags.iter().map(|(name, value)| name.len() + value.len() + TAG_BYTES).sum();
        policies + 2 * tags + self.principal.arn.len()
    }
}

impl fmt::Debug for Resolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolved")
            .field("access_key", &self.access_key)
            .field("arn", &self.principal.arn)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    #[error("the access key does not exist, is inactive, or has expired")]
    UnknownKey,
    #[error(transparent)]
    Token(#[from] TokenFault),
    #[error(transparent)]
    Directory(#[from] IdentityError),
}

/// The keys that decrypt the secrets of access keys and the tokens of sessions.
#[derive(Clone, Copy)]
pub struct CredentialKeys<'a> {
    pub seal: &'a dyn SecretSeal,
    pub sessions: &'a SessionKeys,
}

/// Returns the secret key for the signatures of this access key. A session's access key always has a secret, whether
/// the session exists or not: only `resolve` checks its token.
pub fn secret_key(
    directory: &Directory<'_>,
    credential_keys: CredentialKeys<'_>,
    access_key: &str,
    now: UnixMs,
) -> Result<String, ResolveError> {
    if access_key == directory.root().access_key {
        return Ok(directory.root().secret_key.clone());
    }
    if is_session_key(access_key) {
        return Ok(credential_keys.sessions.secret_of(access_key));
    }
    let key = key_secret(directory, credential_keys, access_key)?;
    key.check(now)?;
    Ok(key.secret_key)
}

/// The secret of a stored access key, and the time at which the key expires.
pub struct KeySecret {
    pub secret_key: String,
    expires: Option<UnixMs>,
}

impl KeySecret {
    /// Refuses a key that has expired.
    pub fn check(&self, now: UnixMs) -> Result<(), ResolveError> {
        let has_expired = self.expires.is_some_and(|expires| expires <= now);
        if has_expired { Err(ResolveError::UnknownKey) } else { Ok(()) }
    }
}

/// Returns the secret of an active key, whether it has expired or not.
pub fn key_secret(
    directory: &Directory<'_>,
    credential_keys: CredentialKeys<'_>,
    access_key: &str,
) -> Result<KeySecret, ResolveError> {
    let key = directory.access_key(access_key)?.map(|stored| stored.record);
    let key = key.filter(|key| key.active).ok_or(ResolveError::UnknownKey)?;
    Ok(KeySecret { secret_key: secrets::open(credential_keys.seal, access_key, &key.sealed)?, expires: key.expires })
}

fn usable_key(directory: &Directory<'_>, access_key: &str, now: UnixMs) -> Result<AccessKeyRecord, ResolveError> {
    let key = directory.access_key(access_key)?.map(|stored| stored.record);
    key.filter(|key| key.active && !key.has_expired(now)).ok_or(ResolveError::UnknownKey)
}

/// Resolves an access key and its token to the caller. The signature must have been verified with `secret_key`.
pub fn resolve(
    directory: &Directory<'_>,
    credential_keys: CredentialKeys<'_>,
    access_key: &str,
    token: Option<&str>,
    now: UnixMs,
) -> Result<Resolved, ResolveError> {
    let known = match token {
        Some(token) => of_session(directory, credential_keys.sessions.open(access_key, token, now)?)?,
        None => without_token(directory, access_key, now)?,
    };
    Ok(known.resolved(access_key))
}

/// Resolves an access key without a token, for an administrator who asks about another caller.
pub fn resolve_key(directory: &Directory<'_>, access_key: &str, now: UnixMs) -> Result<Resolved, ResolveError> {
    Ok(without_token(directory, access_key, now)?.resolved(access_key))
}

/// Resolves a user of an account by name, or its root.
pub fn resolve_named(directory: &Directory<'_>, account: &str, user: Option<&str>) -> Result<Resolved, IdentityError> {
    if directory.account(account)?.is_none() {
        return Err(IdentityError::no_such("account", account));
    }
    let known = match user {
        None => root_of(directory, account),
        Some(name) => {
            directory.user(account, name)?;
            user_of(directory, account, name, None)
        }
    };
    let known = known.map_err(|error| match error {
        ResolveError::Directory(error) => error,
        other => IdentityError::NoSuchEntity(other.to_string()),
    })?;
    Ok(known.resolved(""))
}

/// A principal with its policies, without an access key.
struct KnownPrincipal {
    principal: ResolvedPrincipal,
    own_policies: Vec<NamedPolicy>,
    group_policies: Vec<NamedPolicy>,
    session_policies: Option<Vec<NamedPolicy>>,
    boundary: Option<NamedPolicy>,
    session: Option<SessionFacts>,
    is_service_key: bool,
}

impl KnownPrincipal {
    fn resolved(self, access_key: &str) -> Resolved {
        Resolved {
            access_key: access_key.to_owned(),
            principal: Arc::new(self.principal),
            own_policies: self.own_policies,
            group_policies: self.group_policies,
            session_policies: self.session_policies,
            boundary: self.boundary,
            session: self.session,
            is_service_key: self.is_service_key,
        }
    }
}

fn without_token(directory: &Directory<'_>, access_key: &str, now: UnixMs) -> Result<KnownPrincipal, ResolveError> {
    if is_session_key(access_key) {
        return Err(ResolveError::UnknownKey);
    }
    if access_key == directory.root().access_key {
        return root_of(directory, ROOT_ACCOUNT);
    }
    of_key(directory, access_key, now)
}

fn of_key(directory: &Directory<'_>, access_key: &str, now: UnixMs) -> Result<KnownPrincipal, ResolveError> {
    let key = usable_key(directory, access_key, now)?;
    let mut known = match &key.owner {
        KeyOwner::Root { account } => root_of(directory, account)?,
        KeyOwner::User { account, name } => user_of(directory, account, name, None)?,
    };
    known.is_service_key = key.service.is_some();
    if let Some(policy) = key.service.and_then(|service| service.policy) {
        known.session_policies = Some(vec![NamedPolicy { name: format!("service key {access_key}"), text: policy }]);
    }
    Ok(known)
}

fn account_of(directory: &Directory<'_>, account: &str) -> Result<AccountRecord, ResolveError> {
    directory.account(account)?.map(|stored| stored.record).ok_or(ResolveError::UnknownKey)
}

fn root_of(directory: &Directory<'_>, account: &str) -> Result<KnownPrincipal, ResolveError> {
    let account = account_of(directory, account)?;
    let administrator = builtin::administrator();
    Ok(KnownPrincipal {
        principal: ResolvedPrincipal {
            kind: PrincipalKind::Root,
            arn: names::root_arn(&account.id),
            role: None,
            issuer: None,
            user_id: account.id.clone(),
            user_name: None,
            tags: Vec::new(),
            account: account.id,
            canonical_id: account.canonical_id,
            account_name: account.name,
        },
        own_policies: vec![NamedPolicy { name: administrator.arn(), text: administrator.document.to_owned() }],
        group_policies: Vec::new(),
        session_policies: None,
        boundary: None,
        session: None,
        is_service_key: false,
    })
}

/// Finds a user. With an id, a user of the same name but another id does not count.
fn user_of(
    directory: &Directory<'_>,
    account: &str,
    name: &str,
    id: Option<&str>,
) -> Result<KnownPrincipal, ResolveError> {
    let account = account_of(directory, account)?;
    let found: Option<Stored<UserRecord>> = directory.record(&names::path_of(&account.id, name))?;
    let user = found.map(|stored| stored.record).filter(|user| id.is_none_or(|id| user.id == id));
    let user = user.ok_or(ResolveError::UnknownKey)?;
    let own_policies = policies(directory, &user.account, &user.name, &user.granted)?;
    let mut group_policies = Vec::new();
    for group in &user.groups {
        // The membership counts of groups prevent a missing group; if one is missing all the same, it grants nothing.
        if let Some(Stored { record: group, .. }) =
            directory.record::<GroupRecord>(&names::path_of(&user.account, group))?
        {
            group_policies.extend(policies(directory, &user.account, &group.name, &group.granted)?);
        }
    }
    let boundary = boundary(directory, &user.account, user.boundary.as_deref())?;
    let principal = ResolvedPrincipal {
        kind: PrincipalKind::User,
        arn: user.arn(),
        role: None,
        issuer: None,
        user_id: user.id,
        user_name: Some(user.name),
        tags: user.tags,
        account: account.id,
        canonical_id: account.canonical_id,
        account_name: account.name,
    };
    let (session_policies, session) = (None, None);
    Ok(KnownPrincipal {
        principal,
        own_policies,
        group_policies,
        session_policies,
        boundary,
        session,
        is_service_key: false,
    })
}

fn role_of(
    directory: &Directory<'_>,
    account: &str,
    name: &str,
    id: &str,
    session: &str,
) -> Result<KnownPrincipal, ResolveError> {
    let account = account_of(directory, account)?;
    let found: Option<Stored<RoleRecord>> = directory.record(&names::path_of(&account.id, name))?;
    // A new role of the same name is not the one that was assumed.
    let role = found.map(|stored| stored.record).filter(|role| role.id == id);
    let role = role.ok_or(ResolveError::Token(TokenFault::Invalid))?;
    let own_policies = policies(directory, &role.account, &role.name, &role.granted)?;
    let boundary = boundary(directory, &role.account, role.boundary.as_deref())?;
    let principal = ResolvedPrincipal {
        kind: PrincipalKind::AssumedRole,
        arn: assumed_role_arn(&role, session),
        user_id: format!("{}:{session}", role.id),
        role: Some(AssumedRole { arn: role.arn(), id: role.id, session: session.to_owned() }),
        issuer: None,
        user_name: None,
        tags: role.tags,
        account: account.id,
        canonical_id: account.canonical_id,
        account_name: account.name,
    };
    Ok(KnownPrincipal {
        principal,
        own_policies,
        group_policies: Vec::new(),
        session_policies: None,
        boundary,
        session: None,
        is_service_key: false,
    })
}

/// Returns the ARN of a session of the role. As on AWS, it leaves out the role's path.
pub fn assumed_role_arn(role: &RoleRecord, session: &str) -> String {
    format!("arn:aws:sts::{}:assumed-role/{}/{session}", role.account, role.name)
}

pub fn federated_arn(account: &str, name: &str) -> String {
    format!("arn:aws:sts::{account}:federated-user/{name}")
}

fn of_session(directory: &Directory<'_>, session: Session) -> Result<KnownPrincipal, ResolveError> {
    let account = &session.account;
    let mut known = match &session.of {
        SessionOf::Root => root_of(directory, account)?,
        SessionOf::User { name, id } => user_of(directory, account, name, Some(id))?,
        SessionOf::Role { name, id, session } => role_of(directory, account, name, id, session)?,
        SessionOf::Federated { name, by } => {
            let by = match by {
                None => root_of(directory, account)?,
                Some((user, id)) => user_of(directory, account, user, Some(id))?,
            };
            federated(by, name)
        }
    };
    if let Some(limits) = &session.limits {
        known.session_policies = Some(session_policies(directory, account, limits)?);
    }
    let is_transitive = |key: &String| session.transitive.iter().any(|kept| kept.eq_ignore_ascii_case(key));
    let transitive = session.tags.iter().filter(|(key, _)| is_transitive(key)).cloned().collect();
    let tags = &mut known.principal.tags;
    tags.retain(|(key, _)| !session.tags.iter().any(|(newer, _)| newer.eq_ignore_ascii_case(key)));
    tags.extend(session.tags);
    known.session = Some(SessionFacts {
        issued: session.issued,
        expires: session.expires,
        source_identity: session.source_identity,
        transitive,
        claims: session.claims,
    });
    Ok(known)
}

/// Turns the issuer of a session into the federated user, who keeps its policies and tags.
fn federated(by: KnownPrincipal, name: &str) -> KnownPrincipal {
    let account = by.principal.account.clone();
    let issuer = (by.principal.kind == PrincipalKind::User)
        .then(|| Issuer { arn: by.principal.arn.clone(), id: by.principal.user_id.clone() });
    let principal = ResolvedPrincipal {
        kind: PrincipalKind::FederatedUser,
        arn: federated_arn(&account, name),
        issuer,
        user_id: format!("{account}:{name}"),
        user_name: None,
        ..by.principal
    };
    KnownPrincipal { principal, ..by }
}

fn session_policies(
    directory: &Directory<'_>,
    account: &str,
    limits: &SessionLimits,
) -> Result<Vec<NamedPolicy>, ResolveError> {
    let own = limits.document.iter().map(|text| NamedPolicy { name: "session policy".to_owned(), text: text.clone() });
    let mut policies: Vec<NamedPolicy> = own.collect();
    for arn in &limits.arns {
        // A managed policy that was deleted allows nothing.
        if let Some(policy) = managed(directory, account, arn)? {
            policies.push(policy);
        }
    }
    Ok(policies)
}

fn policies(
    directory: &Directory<'_>,
    account: &str,
    holder: &str,
    granted: &Granted,
) -> Result<Vec<NamedPolicy>, IdentityError> {
    let inline = granted.inline.iter();
    let inline = inline.map(|(name, text)| NamedPolicy { name: format!("{holder}/{name}"), text: text.clone() });
    let mut policies: Vec<NamedPolicy> = inline.collect();
    for arn in &granted.attached {
        // An attached policy cannot be deleted. If one is missing all the same, its denials are unknown, so the request
        // fails.
        let policy = managed(directory, account, arn)?;
        policies.push(
            policy.ok_or_else(|| IdentityError::Unreadable(format!("the attached policy {arn} does not exist")))?,
        );
    }
    Ok(policies)
}

fn boundary(directory: &Directory<'_>, account: &str, arn: Option<&str>) -> Result<Option<NamedPolicy>, IdentityError> {
    let Some(arn) = arn else { return Ok(None) };
    let policy = managed(directory, account, arn)?;
    policy.map(Some).ok_or_else(|| IdentityError::Unreadable(format!("the permissions boundary {arn} does not exist")))
}

fn managed(directory: &Directory<'_>, account: &str, arn: &str) -> Result<Option<NamedPolicy>, IdentityError> {
    match directory.managed(account, arn) {
        Ok(policy) => Ok(Some(NamedPolicy { name: arn.to_owned(), text: policy.document().to_owned() })),
        Err(IdentityError::NoSuchEntity(_) | IdentityError::InvalidInput(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A principal that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundPrincipal {
    /// The unique id, of a user, or of a role or its session.
    pub id: Option<String>,
}

/// Finds a principal by ARN or account id. A policy that names a missing one is malformed, as is one with another
/// spelling of an ARN, which would name nobody.
pub fn find_principal(directory: &Directory<'_>, name: &str) -> Result<Option<FoundPrincipal>, IdentityError> {
    let account = |id: &str| Ok(directory.account(id)?.map(|_| FoundPrincipal { id: None }));
    if names::is_account_id(name) {
        return account(name);
    }
    if name.starts_with("arn:aws:sts::") {
        return find_session(directory, name);
    }
    let Some(arn) = names::IamArn::parse(name) else { return Ok(None) };
    let path = names::path_of(arn.account, arn.name);
    let found = match arn.kind {
        "root" => return account(arn.account),
        "user" => directory.record::<UserRecord>(&path)?.map(|user| (user.record.arn(), user.record.id)),
        "role" => directory.record::<RoleRecord>(&path)?.map(|role| (role.record.arn(), role.record.id)),
        _ => None,
    };
    Ok(found.filter(|(own, _)| own == name).map(|(_, id)| FoundPrincipal { id: Some(id) }))
}

/// Finds the role of a session by the session's ARN. Every federated user of an existing account counts as found.
fn find_session(directory: &Directory<'_>, arn: &str) -> Result<Option<FoundPrincipal>, IdentityError> {
    let Some((account, resource)) = arn.strip_prefix("arn:aws:sts::").and_then(|rest| rest.split_once(':')) else {
        return Ok(None);
    };
    let mut parts = resource.split('/');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some("assumed-role"), Some(role), Some(session), None) => {
            let found = directory.record::<RoleRecord>(&names::path_of(account, role))?.map(|stored| stored.record);
            let named = found.filter(|role| assumed_role_arn(role, session) == arn);
            Ok(named.map(|role| FoundPrincipal { id: Some(role.id) }))
        }
        (Some("federated-user"), Some(_), None, None) => {
            Ok(directory.account(account)?.map(|_| FoundPrincipal { id: None }))
        }
        _ => Ok(None),
    }
}
