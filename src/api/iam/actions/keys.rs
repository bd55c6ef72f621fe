//! The actions on access keys. Without a user's name they are about the keys of the caller.

use super::Action;
use crate::api::iam::call::{Answered, Call, Outcome};
use crate::api::iam::xml::Xml;
use crate::api::identity::IdentityError;
use crate::api::identity::changes::keys::{self, MadeKey, NewKey, Whose};
use crate::api::identity::names;
use crate::api::identity::records::{AccessKeyRecord, ServiceKey, UserRecord};
use crate::types::UnixMs;

/// The text that AWS returns for an absent value.
const NOT_AVAILABLE: &str = "N/A";
/// The longest name or description of a service key.
const WORDS_CHARS_MAX: usize = 256;
/// The longest lifetime of a service key: 3650 days.
const SERVICE_KEY_SECONDS_MAX: u64 = 3650 * 86_400;

pub const ACTIONS: &[(&str, Action)] = &[
    ("CreateAccessKey", create),
    ("CreateServiceKey", create_service),
    ("ListAccessKeys", list),
    ("UpdateAccessKey", update),
    ("DeleteAccessKey", delete),
    ("GetAccessKeyLastUsed", last_used),
];

fn allow<'a>(call: &Call<'a>, action: &str) -> Result<Whose<'a>, IdentityError> {
    let whose = call.whose()?;
    match whose {
        Whose::User(name) => call.allow_named(action, name, UserRecord::arn, &[])?,
        Whose::Root => call.allow(action, &names::root_arn(call.account()), &[])?,
    }
    Ok(whose)
}

/// Returns the user's name for an answer; for keys of a root, which have none, `root`.
fn shown(user: Option<&str>) -> &str {
    user.unwrap_or("root")
}

fn status(call: &Call<'_>, key: &AccessKeyRecord) -> &'static str {
    if key.has_expired(call.editor.now()) {
        "Expired"
    } else if key.active {
        "Active"
    } else {
        "Inactive"
    }
}

fn create(call: &Call<'_>) -> Answered {
    let whose = may_create(call)?;
    let made = keys::create(call.editor, call.account(), whose, NewKey::default())?;
    Outcome::made(made, |xml, key| xml.within("AccessKey", |xml| made_key(xml, key)))
}

/// Returns the owner of a new key, after a check that the caller may create it.
fn may_create<'a>(call: &Call<'a>) -> Result<Whose<'a>, IdentityError> {
    let whose = allow(call, "iam:CreateAccessKey")?;
    if call.resolved().is_service_key {
        return Err(IdentityError::AccessDenied("A service key cannot create access keys.".to_owned()));
    }
    Ok(whose)
}

fn made_key(xml: &mut Xml, key: &MadeKey) {
    xml.text("UserName", shown(key.user.as_deref()));
    xml.text("AccessKeyId", &key.record.id);
    xml.text("Status", "Active");
    xml.text("SecretAccessKey", &key.secret_key);
    xml.date("CreateDate", key.record.created);
}

/// CreateServiceKey, an action that AWS does not have: creates a key that is limited by a policy, for a time or until
/// it is deleted. It needs the same permission as CreateAccessKey.
fn create_service(call: &Call<'_>) -> Answered {
    let whose = may_create(call)?;
    let policy = call.parameters.text("PolicyDocument").map(str::to_owned);
    let service = ServiceKey { name: words(call, "Name")?, description: words(call, "Description")?, policy };
    let seconds = call.parameters.number("DurationSeconds")?;
    if seconds.is_some_and(|seconds| !(1..=SERVICE_KEY_SECONDS_MAX).contains(&seconds)) {
        return Err(IdentityError::Validation("DurationSeconds must be between 1 second and 3650 days.".to_owned()));
    }
    let expires = seconds.map(|seconds| UnixMs(call.editor.now().0 + seconds * 1000));
    let new = NewKey { service: Some(service), expires, ..NewKey::default() };
    let made = keys::create(call.editor, call.account(), whose, new)?;
    Outcome::made(made, |xml, key| {
        xml.within("ServiceKey", |xml| {
            made_key(xml, key);
            limits(xml, &key.record);
        });
    })
}

fn words(call: &Call<'_>, name: &str) -> Result<String, IdentityError> {
    let text = call.parameters.text(name).unwrap_or_default();
    if text.chars().count() > WORDS_CHARS_MAX {
        return Err(IdentityError::Validation(format!(
            "The {name} of a service key can have at most {WORDS_CHARS_MAX} characters."
        )));
    }
    Ok(text.to_owned())
}

/// Writes the properties of a service key; nothing for another key.
fn limits(xml: &mut Xml, key: &AccessKeyRecord) {
    let Some(service) = &key.service else { return };
    xml.within("Service", |xml| {
        xml.text("Name", &service.name);
        xml.text("Description", &service.description);
        if let Some(policy) = &service.policy {
            xml.document("PolicyDocument", policy);
        }
        if let Some(expires) = key.expires {
            xml.date("ExpirationDate", expires);
        }
    });
}

fn list(call: &Call<'_>) -> Answered {
    let whose = allow(call, "iam:ListAccessKeys")?;
    let (user, all) = keys::list(call.editor, call.account(), whose)?;
    let page = call.page_of(all, |key| key.id.clone())?;
    Outcome::lookup(|xml| {
        page.end(xml);
        xml.list("AccessKeyMetadata", &page.items, |xml, key| {
            xml.text("UserName", shown(user.as_deref()));
            xml.text("AccessKeyId", &key.id);
            xml.text("Status", status(call, key));
            xml.date("CreateDate", key.created);
            limits(xml, key);
        });
    })
}

fn update(call: &Call<'_>) -> Answered {
    let (id, wanted) = (call.required("AccessKeyId")?, call.required("Status")?);
    let whose = allow(call, "iam:UpdateAccessKey")?;
    let active = match wanted {
        "Active" => true,
        "Inactive" => false,
        _ => {
            return Err(IdentityError::Validation(format!(
                "1 validation error detected: Value '{wanted}' at 'status' failed to satisfy constraint: \
                 Member must satisfy enum value set: [Active, Inactive]"
            )));
        }
    };
    Outcome::done(keys::set_active(call.editor, call.account(), whose, id, active)?)
}

fn delete(call: &Call<'_>) -> Answered {
    let id = call.required("AccessKeyId")?;
    let whose = allow(call, "iam:DeleteAccessKey")?;
    Outcome::done(keys::delete(call.editor, call.account(), whose, id)?)
}

fn last_used(call: &Call<'_>) -> Answered {
    let id = call.required("AccessKeyId")?;
    let key = call.directory().access_key(id)?.map(|stored| stored.record);
    let key = key.filter(|key| key.owner.account() == call.account());
    // As on AWS, a caller without this permission does not learn whether the key exists.
    call.allow("iam:GetAccessKeyLastUsed", "*", &[])?;
    let key =
        key.ok_or_else(|| IdentityError::NoSuchEntity(format!("The Access Key with id {id} cannot be found.")))?;
    let user = keys::user_of(call.editor, &key)?;
    let last = (call.last_used)(id);
    Outcome::lookup(|xml| {
        xml.text("UserName", shown(user.as_deref()));
        xml.within("AccessKeyLastUsed", |xml| {
            if let Some(last) = last {
                xml.date("LastUsedDate", last.at);
            }
            xml.text("ServiceName", last.map_or(NOT_AVAILABLE, |last| last.service));
            xml.text("Region", last.map_or(NOT_AVAILABLE, |_| call.caller.facts.region.as_str()));
        });
    })
}
