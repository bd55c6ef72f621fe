//! Changes of OpenID Connect providers: which issuers the store trusts, and for which client ids.

use super::editor::{Decided, Decision, Editor, remove, write};
use crate::actors::meta::{Expect, IdentityKind};
use crate::api::identity::directory::Stored;
use crate::api::identity::error::IdentityError;
use crate::api::identity::names;
use crate::api::identity::records::{ProviderRecord, Record, Tags};

/// AWS's quota of providers for each account.
const PROVIDERS_MAX: u64 = 100;
const URL_BYTES_MAX: usize = 255;
const CLIENT_IDS_MAX: usize = 100;
const CLIENT_ID_BYTES_MAX: usize = 255;
const THUMBPRINTS_MAX: usize = 5;
const THUMBPRINT_DIGITS: usize = 40;

pub struct NewProvider {
    pub url: String,
    pub client_ids: Vec<String>,
    pub thumbprints: Vec<String>,
    pub tags: Tags,
}

pub fn create(editor: &Editor<'_>, account: &str, new: NewProvider) -> Decision<ProviderRecord> {
    check_url(&new.url)?;
    new.client_ids.iter().try_for_each(|id| check_client_id(id))?;
    check_client_count(new.client_ids.len())?;
    check_thumbprints(&new.thumbprints)?;
    names::check_tags(&new.tags)?;
    let provider = ProviderRecord {
        account: account.to_owned(),
        url: new.url,
        client_ids: new.client_ids,
        thumbprints: new.thumbprints,
        created: editor.now(),
        tags: new.tags,
    };
    if editor.directory.record::<ProviderRecord>(&provider.path())?.is_some() {
        return Err(IdentityError::EntityAlreadyExists(format!("Provider with url {} already exists.", provider.url)));
    }
    if editor.directory.count(IdentityKind::Provider, &format!("{account}/"))? >= PROVIDERS_MAX {
        return Err(IdentityError::LimitExceeded(format!(
            "Cannot exceed quota for OpenIdConnectProvidersPerAccount: {PROVIDERS_MAX}"
        )));
    }
    Ok(Decided::new(vec![write(&provider, Expect::Absent)], provider))
}

pub fn delete(editor: &Editor<'_>, account: &str, arn: &str) -> Decision<()> {
    let Stored { record: provider, expect } = editor.directory.provider(account, arn)?;
    Ok(Decided::new(vec![remove(&provider, expect)], ()))
}

/// Adds a client id; no effect if it exists.
pub fn add_client_id(editor: &Editor<'_>, account: &str, arn: &str, client_id: &str) -> Decision<()> {
    check_client_id(client_id)?;
    let Stored { record: mut provider, expect } = editor.directory.provider(account, arn)?;
    if provider.client_ids.iter().any(|existing| existing == client_id) {
        return Ok(Decided::new(Vec::new(), ()));
    }
    provider.client_ids.push(client_id.to_owned());
    check_client_count(provider.client_ids.len())?;
    Ok(Decided::new(vec![write(&provider, expect)], ()))
}

/// Removes a client id; no effect if it does not exist.
pub fn remove_client_id(editor: &Editor<'_>, account: &str, arn: &str, client_id: &str) -> Decision<()> {
    let Stored { record: mut provider, expect } = editor.directory.provider(account, arn)?;
    provider.client_ids.retain(|existing| existing != client_id);
    Ok(Decided::new(vec![write(&provider, expect)], ()))
}

pub fn set_thumbprints(editor: &Editor<'_>, account: &str, arn: &str, thumbprints: Vec<String>) -> Decision<()> {
    check_thumbprints(&thumbprints)?;
    let Stored { record: mut provider, expect } = editor.directory.provider(account, arn)?;
    provider.thumbprints = thumbprints;
    Ok(Decided::new(vec![write(&provider, expect)], ()))
}

/// Checks the URL of a provider. Plain `http` is allowed, as providers in a private network often have no certificate.
fn check_url(url: &str) -> Result<(), IdentityError> {
    let invalid = |why: &str| Err(IdentityError::Validation(format!("Invalid Open ID Connect Provider URL: {why}")));
    if url.len() > URL_BYTES_MAX {
        return invalid("it is longer than 255 characters");
    }
    if !url.starts_with("https://") && !url.starts_with("http://") {
        return invalid("it must begin with https:// or http://");
    }
    let rest = names::without_scheme(url);
    let visible = rest.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#@<>\"".contains(&byte));
    if rest.is_empty() || rest.starts_with('/') {
        return invalid("it must have a host");
    }
    if !visible {
        let why = "Invalid Open ID Connect Provider URL: it must not have a user, a query or a fragment.";
        return Err(IdentityError::InvalidInput(why.to_owned()));
    }
    Ok(())
}

fn check_client_id(client_id: &str) -> Result<(), IdentityError> {
    if (1..=CLIENT_ID_BYTES_MAX).contains(&client_id.len()) {
        return Ok(());
    }
    Err(IdentityError::Validation(format!("A client ID must have 1 to {CLIENT_ID_BYTES_MAX} characters.")))
}

fn check_client_count(count: usize) -> Result<(), IdentityError> {
    if count <= CLIENT_IDS_MAX {
        return Ok(());
    }
    Err(IdentityError::LimitExceeded(format!(
        "Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: {CLIENT_IDS_MAX}"
    )))
}

fn check_thumbprints(thumbprints: &[String]) -> Result<(), IdentityError> {
    if thumbprints.len() > THUMBPRINTS_MAX {
        return Err(IdentityError::InvalidInput("The thumbprint list must contain at most 5 entries.".to_owned()));
    }
    let well_formed =
        |text: &String| text.len() == THUMBPRINT_DIGITS && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if thumbprints.iter().all(well_formed) {
        return Ok(());
    }
    Err(IdentityError::InvalidInput(format!("Thumbprint must be exactly {THUMBPRINT_DIGITS} characters.")))
}
