//! IAM calls through the admin API. Who has the root key acts as the root of any account, anybody else with its own
//! rights. Actions, writes and results are those of signed IAM calls.

use super::change;
use crate::api::iam::actions;
use crate::api::iam::call::subject;
use crate::api::iam::facts::RequestFacts;
use crate::api::iam::fault::IamFault;
use crate::api::iam::parameters::Parameters;
use crate::api::iam::service::IamService;
use crate::api::iam::xml::Xml;
use crate::api::identity::{Documents, resolve, resolve_named};
use crate::types::UnixMs;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The identity with whose rights a call is made.
#[derive(Clone, Copy, Debug)]
pub enum Impersonation<'a> {
    /// The root of this account.
    RootOf(&'a str),
    /// The owner of the access key, with the token if it is a session. The signature was verified.
    Key { access_key: &'a str, token: Option<&'a str> },
}

/// Carries out an action and returns its result as JSON, which is an empty object if there is none.
pub async fn administer(
    service: &IamService,
    name: Impersonation<'_>,
    (account, action): (&str, &str),
    parameters: BTreeMap<String, String>,
    (facts, access_key): (&RequestFacts, Option<&str>),
) -> Result<Value, IamFault> {
    let unknown = || IamFault::InvalidAction { action: action.to_owned(), version: "2010-05-08".to_owned() };
    let (operation, run) = actions::find(action).ok_or_else(unknown)?;
    let parameters = Parameters::of(parameters);
    let in_account = [("Account", account.to_owned())];
    facts.begun(operation, access_key, in_account.into_iter().chain(subject(&parameters)).collect());
    let who = |view: &dyn Documents, now: UnixMs| match name {
        Impersonation::RootOf(account) => {
            resolve_named(&service.directory(view), account, None).map_err(IamFault::from)
        }
        Impersonation::Key { access_key, token } => {
            Ok(resolve(&service.directory(view), service.credential_keys(), access_key, token, now)?)
        }
    };
    let body = change(service, run, &parameters, facts, who).await;
    let refused = body.as_ref().err().map(ToString::to_string);
    tracing::info!(target: "iam", action = operation, account, refused, "IAM call through the admin API");
    Ok(body?.map_or_else(|| Value::Object(Map::new()), Xml::into_json))
}
