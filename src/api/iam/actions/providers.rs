//! The actions on OpenID Connect providers.

use super::{Action, as_pairs, tag_keys, tags};
use crate::api::iam::call::{Answered, Call, Outcome};
use crate::api::identity::IdentityError;
use crate::api::identity::changes::providers::{self, NewProvider};
use crate::api::identity::names;
use crate::api::identity::records::ProviderRecord;

pub const ACTIONS: &[(&str, Action)] = &[
    ("CreateOpenIDConnectProvider", create),
    ("GetOpenIDConnectProvider", get),
    ("ListOpenIDConnectProviders", list),
    ("DeleteOpenIDConnectProvider", delete),
    ("AddClientIDToOpenIDConnectProvider", add_client_id),
    ("RemoveClientIDFromOpenIDConnectProvider", remove_client_id),
    ("UpdateOpenIDConnectProviderThumbprint", set_thumbprints),
];

pub fn allowed<'a>(call: &Call<'a>, action: &str, keys: &[(&str, &str)]) -> Result<&'a str, IdentityError> {
    let arn = call.required("OpenIDConnectProviderArn")?;
    let existing = match call.directory().provider(call.account(), arn) {
        Ok(stored) => stored.record.tags,
        // A caller who may not perform the action does not learn whether the provider exists.
        Err(IdentityError::NoSuchEntity(_)) => Vec::new(),
        Err(error) => return Err(error),
    };
    call.allow_tagged(action, arn, &existing, keys)?;
    Ok(arn)
}

fn create(call: &Call<'_>) -> Answered {
    let (url, new_tags) = (call.required("Url")?, call.parameters.tags("Tags"));
    let arn = format!("arn:aws:iam::{}:oidc-provider/{}", call.account(), names::without_scheme(url));
    let keys = tag_keys(&new_tags);
    call.allow("iam:CreateOpenIDConnectProvider", &arn, &as_pairs(&keys))?;
    if !new_tags.is_empty() {
        call.allow("iam:TagOpenIDConnectProvider", &arn, &as_pairs(&keys))?;
    }
    let new = NewProvider {
        url: url.to_owned(),
        client_ids: call.parameters.list("ClientIDList"),
        thumbprints: call.parameters.list("ThumbprintList"),
        tags: new_tags,
    };
    let made = providers::create(call.editor, call.account(), new)?;
    Outcome::made(made, |xml, provider| {
        xml.text("OpenIDConnectProviderArn", &provider.arn());
        if !provider.tags.is_empty() {
            tags(xml, &provider.tags);
        }
    })
}

fn get(call: &Call<'_>) -> Answered {
    let arn = allowed(call, "iam:GetOpenIDConnectProvider", &[])?;
    let provider = call.directory().provider(call.account(), arn)?.record;
    Outcome::lookup(|xml| {
        // AWS leaves out `https://`, the only scheme that it allows.
        xml.text("Url", provider.url.strip_prefix("https://").unwrap_or(&provider.url));
        xml.texts("ClientIDList", provider.client_ids.iter().map(String::as_str));
        xml.texts("ThumbprintList", provider.thumbprints.iter().map(String::as_str));
        xml.date("CreateDate", provider.created);
        if !provider.tags.is_empty() {
            tags(xml, &provider.tags);
        }
    })
}

fn list(call: &Call<'_>) -> Answered {
    let below = format!("arn:aws:iam::{}:oidc-provider/", call.account());
    call.allow("iam:ListOpenIDConnectProviders", &below, &[])?;
    let mut arns = Vec::new();
    call.directory().each(&format!("{}/", call.account()), |provider: ProviderRecord| {
        arns.push(provider.arn());
        Ok(())
    })?;
    Outcome::lookup(|xml| {
        xml.list("OpenIDConnectProviderList", &arns, |xml, arn| xml.text("Arn", arn));
    })
}

fn delete(call: &Call<'_>) -> Answered {
    let arn = allowed(call, "iam:DeleteOpenIDConnectProvider", &[])?;
    Outcome::done(providers::delete(call.editor, call.account(), arn)?)
}

fn add_client_id(call: &Call<'_>) -> Answered {
    let arn = allowed(call, "iam:AddClientIDToOpenIDConnectProvider", &[])?;
    Outcome::done(providers::add_client_id(call.editor, call.account(), arn, call.required("ClientID")?)?)
}

fn remove_client_id(call: &Call<'_>) -> Answered {
    let arn = allowed(call, "iam:RemoveClientIDFromOpenIDConnectProvider", &[])?;
    Outcome::done(providers::remove_client_id(call.editor, call.account(), arn, call.required("ClientID")?)?)
}

fn set_thumbprints(call: &Call<'_>) -> Answered {
    let arn = allowed(call, "iam:UpdateOpenIDConnectProviderThumbprint", &[])?;
    let thumbprints = call.parameters.list("ThumbprintList");
    Outcome::done(providers::set_thumbprints(call.editor, call.account(), arn, thumbprints)?)
}
