//! IAM as the store's administrator calls it: the same actions, in the name of an account's root, for whoever has shown
//! to hold the root key. What they write and answer is what signed calls write and answer.

use super::change;
use crate::api::iam::actions;
use crate::api::iam::call::RequestFacts;
use crate::api::iam::fault::IamFault;
use crate::api::iam::parameters::Parameters;
use crate::api::iam::service::IamService;
use crate::api::iam::xml::Xml;
use crate::api::identity::{Documents, resolve_named};
use crate::types::UnixMs;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What the action answers, as JSON; an object without fields where it answers nothing.
pub async fn administer(
    service: &IamService,
    account: &str,
    action: &str,
    parameters: BTreeMap<String, String>,
) -> Result<Value, IamFault> {
    let unknown = || IamFault::InvalidAction { action: action.to_owned(), version: "2010-05-08".to_owned() };
    let (name, run) = actions::find(action).ok_or_else(unknown)?;
    let parameters = Parameters::of(parameters);
    let facts = RequestFacts { region: service.region.clone(), ..RequestFacts::default() };
    let who = |view: &dyn Documents, _: UnixMs| {
        resolve_named(&service.directory(view), account, None).map_err(IamFault::from)
    };
    let body = change(service, run, &parameters, &facts, who).await;
    let refused = body.as_ref().err().map(ToString::to_string);
    tracing::info!(target: "iam", action = name, account, refused, "an administrator called");
    Ok(body?.map_or_else(|| Value::Object(Map::new()), Xml::into_json))
}
