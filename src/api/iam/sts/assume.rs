//! AssumeRole: an authenticated caller gets a session of a role.

use super::issue::{self, check_session_name};
use super::{IamFault, StsCall, StsResult};
use crate::api::iam::authorize::resource_tag_keys;
use crate::api::iam::xml::Xml;
use crate::api::identity::names::{self, IamArn};
use crate::api::identity::records::{RoleRecord, Tags};
use crate::api::identity::{IdentityError, PrincipalKind, Session, SessionOf};
use crate::api::policy::Context;

const ACTION: &str = "sts:AssumeRole";

/// The tags and the source identity of the new session.
struct SessionInput {
    tags: Tags,
    transitive: Vec<String>,
    source_identity: Option<String>,
}

pub fn assume_role(call: &StsCall<'_>) -> StsResult {
    let (arn, name) = (call.parameters.required("RoleArn")?, call.parameters.required("RoleSessionName")?);
    check_session_name("roleSessionName", name, 64)?;
    let session_input = session_input(call)?;
    let who = call.caller.resolved;
    if who.principal.kind == PrincipalKind::Root {
        return Err(IdentityError::AccessDenied("Roles may not be assumed by root accounts.".to_owned()).into());
    }
    // A caller who may not assume the role does not learn whether it exists.
    let role = find_role(call, arn)?.ok_or_else(|| refused(call, ACTION, arn))?;
    let mut context = context(call, name, &session_input);
    context.extend(resource_tag_keys(&role.tags));
    allow(call, &role, &context, &session_input)?;
    let chained = who.principal.kind == PrincipalKind::AssumedRole;
    let seconds = issue::role_seconds(call.parameters, &role, chained)?;
    let limits = issue::limits(call.directory, &role.account, call.parameters)?;
    let packed = issue::packed_percent(&limits, &session_input.tags);
    let source_identity = session_input.source_identity.clone();
    let session = Session {
        account: role.account.clone(),
        of: SessionOf::Role { name: role.name.to_ascii_lowercase(), id: role.id.clone(), session: name.to_owned() },
        limits,
        tags: session_input.tags,
        transitive: session_input.transitive,
        source_identity: source_identity.clone(),
        ..issue::session(call, seconds)
    };
    let mut xml = Xml::default();
    issue::credentials(&mut xml, call.ambient, call.sessions, &session)?;
    issue::assumed_role_user(&mut xml, &role, name);
    xml.number("PackedPolicySize", packed);
    xml.optional("SourceIdentity", source_identity.as_deref());
    Ok(xml)
}

/// Finds a role by its ARN, in any account.
pub fn find_role_by(
    directory: crate::api::identity::Directory<'_>,
    arn: &str,
) -> Result<Option<RoleRecord>, IdentityError> {
    let parsed = IamArn::parse(arn).filter(|arn| arn.kind == "role");
    let parsed = parsed.ok_or_else(|| IdentityError::Validation(format!("{arn} is invalid")))?;
    let found = directory.record::<RoleRecord>(&names::path_of(parsed.account, parsed.name))?;
    Ok(found.map(|stored| stored.record).filter(|role| role.arn() == arn))
}

fn find_role(call: &StsCall<'_>, arn: &str) -> Result<Option<RoleRecord>, IdentityError> {
    find_role_by(call.directory, arn)
}

fn refused(call: &StsCall<'_>, action: &str, arn: &str) -> IamFault {
    let who = &call.caller.resolved.principal.arn;
    IdentityError::AccessDenied(format!("User: {who} is not authorized to perform: {action} on resource: {arn}")).into()
}

/// Returns the tags and the source identity of the new session: those of the call, and those that the calling session
/// passes on.
fn session_input(call: &StsCall<'_>) -> Result<SessionInput, IdentityError> {
    let mut tags = call.parameters.tags("Tags");
    let mut transitive = call.parameters.list("TransitiveTagKeys");
    names::check_tags(&tags)?;
    let is_among = |tags: &Tags, key: &str| tags.iter().any(|(tag, _)| tag.eq_ignore_ascii_case(key));
    if let Some(strange) = transitive.iter().find(|key| !is_among(&tags, key)) {
        return Err(IdentityError::InvalidInput(format!("The transitive tag key {strange} is not among the tags.")));
    }
    let source_identity = call.parameters.text("SourceIdentity");
    if let Some(identity) = source_identity {
        check_session_name("sourceIdentity", identity, 64)?;
    }
    let mut source_identity = source_identity.map(str::to_owned);
    if let Some(session) = &call.caller.resolved.session {
        if let Some((key, _)) = session.transitive.iter().find(|(key, _)| is_among(&tags, key)) {
            return Err(IdentityError::InvalidInput(format!(
                "The tag {key} is a transitive tag of the calling session and cannot be changed."
            )));
        }
        transitive.extend(session.transitive.iter().map(|(key, _)| key.clone()));
        tags.extend(session.transitive.iter().cloned());
        let kept = session.source_identity.clone();
        if kept.is_some() && source_identity.is_some() && kept != source_identity {
            return Err(IdentityError::AccessDenied("A session's source identity cannot be changed.".to_owned()));
        }
        source_identity = kept.or(source_identity);
    }
    Ok(SessionInput { tags, transitive, source_identity })
}

fn context(call: &StsCall<'_>, name: &str, session_input: &SessionInput) -> Context {
    let mut context = call.caller.context(&[("sts:RoleSessionName", name)]);
    if let Some(id) = call.parameters.text("ExternalId") {
        context.add("sts:ExternalId", id);
    }
    if let Some(identity) = &session_input.source_identity {
        context.add("sts:SourceIdentity", identity.as_str());
    }
    add_tags(&mut context, &session_input.tags, &session_input.transitive);
    context
}

/// Adds the condition keys of the tags of the new session.
pub fn add_tags(context: &mut Context, tags: &Tags, transitive: &[String]) {
    for (key, value) in tags {
        context.add(&format!("aws:RequestTag/{key}"), value.as_str());
        context.add("aws:TagKeys", key.as_str());
    }
    for key in transitive {
        context.add("sts:TransitiveTagKeys", key.as_str());
    }
}

/// Refuses unless the caller may assume the role, with the tags and the source identity that the session gets from the
/// call or from the calling session.
fn allow(
    call: &StsCall<'_>,
    role: &RoleRecord,
    context: &Context,
    session_input: &SessionInput,
) -> Result<(), IamFault> {
    let has_tags = !session_input.tags.is_empty();
    let has_source = session_input.source_identity.is_some();
    let needed = [(ACTION, true), ("sts:TagSession", has_tags), ("sts:SetSourceIdentity", has_source)];
    for (action, _) in needed.into_iter().filter(|(_, needed)| *needed) {
        if !call.caller.decide_on_role(action, role, context)?.allowed {
            return Err(refused(call, action, &role.arn()));
        }
    }
    Ok(())
}
