//! AssumeRoleWithWebIdentity: a user of an OpenID Connect provider gets a session of a role. The provider's token is
//! the credential; the call has no signature.

use super::assume::{add_tags, find_role_by};
use super::issue::{self, check_session_name};
use super::jwt::{TokenError, Unverified};
use super::{IamFault, StsResult};
use crate::api::iam::authorize::{request_keys, resource_tag_keys};
use crate::api::iam::facts::RequestFacts;
use crate::api::iam::parameters::Parameters;
use crate::api::iam::service::IamService;
use crate::api::iam::xml::Xml;
use crate::api::identity::names::{self, IamArn, without_scheme};
use crate::api::identity::records::{ProviderRecord, RoleRecord, Tags};
use crate::api::identity::{Directory, IdentityError, Session, SessionOf, TextOf, check_policy};
use crate::api::policy::{Budget, Context, Identity, Principal, Question, ResourcePolicy, Target, evaluate};
use crate::types::UnixMs;
use serde_json::{Map, Value};

const ACTION: &str = "sts:AssumeRoleWithWebIdentity";
const TOKEN_BYTES_MAX: usize = 20_000;
/// The most seconds by which the provider's clock may be ahead of this host's.
const SKEW_SECONDS_MAX: i64 = 300;
/// The claim that holds the tags of the session (IAM User Guide, "Pass session tags in AWS STS").
const TAGS_CLAIM: &str = "https://aws.amazon.com/tags";

/// The claims of a verified token.
struct Claims {
    issuer: String,
    subject: String,
    audience: String,
    tags: Tags,
    transitive: Vec<String>,
    /// Condition keys with their values.
    keys: Tags,
}

pub async fn assume_with_web_identity(
    service: &IamService,
    parameters: &Parameters,
    facts: &RequestFacts,
) -> StsResult {
    let (arn, name) = (parameters.required("RoleArn")?, parameters.required("RoleSessionName")?);
    let token = parameters.required("WebIdentityToken")?;
    check_session_name("roleSessionName", name, 64)?;
    issue::check_common_parameters(parameters)?;
    if token.len() > TOKEN_BYTES_MAX {
        return Err(IamFault::InvalidIdentityToken("The web identity token is too long.".to_owned()));
    }
    let token = Unverified::parse(token).map_err(invalid)?;
    let issuer = token.issuer().unwrap_or_default().to_owned();
    let account = account_of(arn)?;
    let provider = {
        let view = service.store.view().await?;
        provider_of(service.directory(&*view), account, &issuer)?
    };
    let key_set =
        service.key_sets.key_set(without_scheme(&provider.url)).await.map_err(|why| unavailable(&provider, &why))?;
    let claims = token.verify(&key_set).map_err(|error| match error {
        TokenError::KeySet(why) => unavailable(&provider, &why),
        error => invalid(error),
    })?;
    let now = service.ambient.clock.unix_ms();
    check_times(&claims, now)?;
    // Fetching the keys may take long: the decision is on the provider and the role of now. The role is looked up only
    // after the token is verified, so that nobody else learns which roles exist.
    let view = service.store.view().await?;
    let directory = service.directory(&*view);
    let provider = provider_of(directory, account, &issuer)?;
    let claims = Claims::of(&claims, &provider)?;
    let role = find_role_by(directory, arn)?.ok_or_else(refused)?;
    allow(&role, &provider, &claims, name, request_keys(facts.clone(), now))?;
    let seconds = issue::role_seconds(parameters, &role, false)?;
    let limits = issue::limits(directory, &role.account, parameters)?;
    let packed = issue::packed_percent(&limits, &claims.tags);
    let session = Session {
        of: SessionOf::Role { name: role.name.to_ascii_lowercase(), id: role.id.clone(), session: name.to_owned() },
        limits,
        tags: claims.tags,
        transitive: claims.transitive,
        claims: claims.keys,
        ..issue::bare(&service.ambient, &role.account, now, seconds)
    };
    let mut xml = Xml::default();
    issue::credentials(&mut xml, &service.ambient, &service.sessions, &session)?;
    xml.text("SubjectFromWebIdentityToken", &claims.subject);
    issue::assumed_role_user(&mut xml, &role, name);
    xml.number("PackedPolicySize", packed);
    xml.text("Provider", &claims.issuer);
    xml.text("Audience", &claims.audience);
    Ok(xml)
}

fn invalid(error: TokenError) -> IamFault {
    IamFault::InvalidIdentityToken(error.to_string())
}

/// Logs the reason, and returns an error without it, since the caller is not authenticated.
fn unavailable(provider: &ProviderRecord, why: &str) -> IamFault {
    tracing::warn!(provider = provider.url, why, "cannot get the keys of an identity provider");
    IamFault::IdentityProviderUnavailable("The keys of the identity provider are not available.".to_owned())
}

fn refused() -> IamFault {
    IdentityError::AccessDenied(format!("Not authorized to perform {ACTION}")).into()
}

/// Returns the account in the ARN of a role.
fn account_of(arn: &str) -> Result<&str, IamFault> {
    let parsed = IamArn::parse(arn).filter(|arn| arn.kind == "role");
    let parsed = parsed.ok_or_else(|| IdentityError::Validation(format!("{arn} is invalid")))?;
    Ok(parsed.account)
}

/// Finds the provider with the issuer that a token claims, in the account of the role.
fn provider_of(directory: Directory<'_>, account: &str, issuer: &str) -> Result<ProviderRecord, IamFault> {
    let absent =
        || IamFault::InvalidIdentityToken(format!("No OpenIDConnect provider found in your account for {issuer}"));
    let url = Some(without_scheme(issuer)).filter(|url| !url.is_empty()).ok_or_else(absent)?;
    let found = directory.record::<ProviderRecord>(&format!("{account}/{url}"))?;
    let provider = found.map(|stored| stored.record).ok_or_else(absent)?;
    // The same host under another scheme is another issuer.
    let same = provider.url.trim_end_matches('/') == issuer.trim_end_matches('/');
    if same { Ok(provider) } else { Err(absent()) }
}

fn check_times(claims: &Map<String, Value>, now: UnixMs) -> Result<(), IamFault> {
    let now = i64::try_from(now.0 / 1000).unwrap_or(i64::MAX);
    // RFC 7519, 2: a date may have a fraction.
    let seconds = |name: &str| claims.get(name).and_then(|value| value.as_i64().or(value.as_f64().map(|at| at as i64)));
    let expires = seconds("exp");
    let expires = expires.ok_or_else(|| IamFault::InvalidIdentityToken("Missing a required claim: exp".to_owned()))?;
    if expires <= now {
        return Err(IamFault::ExpiredIdentityToken(format!(
            "Token expired: current date/time {now} must be before {expires}"
        )));
    }
    for name in ["nbf", "iat"].into_iter().filter(|name| claims.contains_key(*name)) {
        let why = match seconds(name) {
            Some(at) if at <= now.saturating_add(SKEW_SECONDS_MAX) => continue,
            Some(_) => "is in the future",
            None => "is not a number",
        };
        return Err(IamFault::InvalidIdentityToken(format!("The token's {name} {why}.")));
    }
    Ok(())
}

/// Returns a text, or all texts of a list.
fn texts(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(items)) => items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    }
}

impl Claims {
    fn of(claims: &Map<String, Value>, provider: &ProviderRecord) -> Result<Self, IamFault> {
        let text = |name: &str| claims.get(name).and_then(Value::as_str).map(str::to_owned);
        let missing = |name: &str| IamFault::InvalidIdentityToken(format!("Missing a required claim: {name}"));
        let subject = text("sub").ok_or_else(|| missing("sub"))?;
        let audiences = texts(claims.get("aud"));
        let authorized = text("azp");
        let audience = audience_of(claims, &audiences, &provider.client_ids);
        let audience = audience.ok_or_else(|| IamFault::InvalidIdentityToken("Incorrect token audience".to_owned()))?;
        let mut keys: Tags = vec![("aws:FederatedProvider".to_owned(), provider.arn())];
        let prefix = without_scheme(&provider.url);
        let mut add = |name: &str, value: String| keys.push((format!("{prefix}:{name}"), value));
        add("sub", subject.clone());
        add("app_id", audience.clone());
        audiences.into_iter().for_each(|audience| add("aud", audience));
        authorized.into_iter().for_each(|client| add("azp", client));
        texts(claims.get("amr")).into_iter().for_each(|method| add("amr", method));
        text("email").into_iter().for_each(|email| add("email", email));
        let (tags, transitive) = session_tags(claims)?;
        Ok(Self { issuer: provider.url.clone(), subject, audience, tags, transitive, keys })
    }
}

/// Returns the first audience of the token that is a client id of the provider. There is none if the token has an
/// authorized party (OpenID Connect Core 1.0, 2: `azp`) that is no client id, or if the provider has no client ids.
fn audience_of(claims: &Map<String, Value>, audiences: &[String], client_ids: &[String]) -> Option<String> {
    let is_client = |id: &str| client_ids.iter().any(|known| known == id);
    let is_authorized = claims.get("azp").is_none_or(|party| party.as_str().is_some_and(is_client));
    audiences.iter().find(|audience| is_authorized && is_client(audience)).cloned()
}

/// Returns the tags of the session and the keys of the transitive ones, from their claim. A tag has exactly one value,
/// which may be in a list.
fn session_tags(claims: &Map<String, Value>) -> Result<(Tags, Vec<String>), IamFault> {
    let Some(Value::Object(claim)) = claims.get(TAGS_CLAIM) else { return Ok((Vec::new(), Vec::new())) };
    let mut tags = Vec::new();
    if let Some(Value::Object(named)) = claim.get("principal_tags") {
        for (key, value) in named {
            match texts(Some(value)).as_slice() {
                [only] => tags.push((key.clone(), only.clone())),
                [] => {}
                _ => {
                    let why = format!("The session tag {key} has several values; it must have one.");
                    return Err(IamFault::InvalidIdentityToken(why));
                }
            }
        }
    }
    names::check_tags(&tags).map_err(|error| IamFault::InvalidIdentityToken(error.to_string()))?;
    Ok((tags, texts(claim.get("transitive_tag_keys"))))
}

/// Checks that the role's trust policy allows the holder of the token to assume it.
fn allow(
    role: &RoleRecord,
    provider: &ProviderRecord,
    claims: &Claims,
    session_name: &str,
    request: Vec<(&'static str, String)>,
) -> Result<(), IamFault> {
    let mut context = Context::from_iter(claims.keys.iter().map(|(key, value)| (key.as_str(), value.as_str())));
    context.extend(request);
    context.add("sts:RoleSessionName", session_name);
    add_tags(&mut context, &claims.tags, &claims.transitive);
    context.extend(resource_tag_keys(&role.tags));
    let trust = check_policy(TextOf::Trust, &role.name, &role.trust)?;
    let (principal, resource) = (Principal::Federated(provider.arn()), role.arn());
    let trust = ResourcePolicy { policy: &trust, ids: &role.trust_ids };
    let target = Target::Role { account: &role.account, trust };
    let needed = [(ACTION, true), ("sts:TagSession", !claims.tags.is_empty())];
    let allows = |action: &str| {
        let identity = Identity::default();
        let question =
            Question { principal: &principal, identity, action, resource: &resource, target, context: &context };
        evaluate(question, &Budget::default()).allowed
    };
    if needed.iter().filter(|(_, needed)| *needed).all(|(action, _)| allows(action)) { Ok(()) } else { Err(refused()) }
}
