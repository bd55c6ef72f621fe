//! Access keys. Without a user's name they are those of whoever calls.

use super::Action;
use crate::api::iam::call::{Answered, Call, Outcome};
use crate::api::identity::IdentityError;
use crate::api::identity::changes::keys::{self, NewKey, Whose};
use crate::api::identity::names;
use crate::api::identity::records::{AccessKeyRecord, UserRecord};

/// What AWS shows where it has nothing to tell.
const NOT_AVAILABLE: &str = "N/A";

pub const ACTIONS: &[(&str, Action)] = &[
    ("CreateAccessKey", create),
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

/// A root's keys have no user's name; AWS tells a name that says so.
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
    let whose = allow(call, "iam:CreateAccessKey")?;
    if call.resolved().is_service_key {
        return Err(IdentityError::AccessDenied("A service key cannot make other keys.".to_owned()));
    }
    let made = keys::create(call.editor, call.account(), whose, NewKey::default())?;
    Outcome::made(made, |xml, key| {
        xml.within("AccessKey", |xml| {
            xml.text("UserName", shown(key.user.as_deref()));
            xml.text("AccessKeyId", &key.record.id);
            xml.text("Status", "Active");
            xml.text("SecretAccessKey", &key.secret_key);
            xml.date("CreateDate", key.record.created);
        });
    })
}

fn list(call: &Call<'_>) -> Answered {
    let whose = allow(call, "iam:ListAccessKeys")?;
    let (user, all) = keys::list(call.editor, call.account(), whose)?;
    let page = call.page_of(all, |key| key.id.clone())?;
    Outcome::told(|xml| {
        page.end(xml);
        xml.list("AccessKeyMetadata", &page.items, |xml, key| {
            xml.text("UserName", shown(user.as_deref()));
            xml.text("AccessKeyId", &key.id);
            xml.text("Status", status(call, key));
            xml.date("CreateDate", key.created);
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
    // As AWS has it: who must not know learns nothing of whether there is such a key.
    call.allow("iam:GetAccessKeyLastUsed", "*", &[])?;
    let key =
        key.ok_or_else(|| IdentityError::NoSuchEntity(format!("The Access Key with id {id} cannot be found.")))?;
    let user = keys::user_of(call.editor, &key)?;
    let last = (call.last_used)(id);
    Outcome::told(|xml| {
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
