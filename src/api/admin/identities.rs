//! The routes of the admin API for identities and access: actions of IAM in the name of any account's root, and the
//! explanation of the access decision for a hypothetical request.

use super::caller::Caller;
use super::record::AdminRecord;
use super::shapes::BucketUsageJson;
use super::{Admin, Refusal};
use crate::api::ROOT_ACCOUNT;
use crate::api::iam::{Impersonation, RequestFacts, administer};
use crate::api::identity::{Asking, ResolveError, resolve_key, resolve_named};
use crate::api::s3::{Explained, HypotheticalRequest, explain};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The body of the admin API's `POST /iam`: an action of IAM and its parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallIam {
    /// The account's 12-digit id; `None` is the store's own account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    pub action: String,
    #[serde(default)]
    pub parameters: BTreeMap<String, String>,
}

/// A question whether a principal may perform an action on a resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExplainAccess {
    pub who: ExplainedCaller,
    /// The action with its service: `s3:GetObject`.
    pub action: String,
    /// The resource's ARN.
    pub resource: String,
    /// Condition keys and values; a key may occur several times.
    #[serde(default)]
    pub conditions: Vec<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ExplainedCaller {
    /// A user; of the store's own account if `account` is `None`.
    User {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        account: Option<String>,
        name: String,
    },
    /// The owner of this access key. A session's key is not allowed: it has no owner without its token.
    Key {
        access_key: String,
    },
    Anonymous {},
}

/// Executes a call of IAM. Root acts as the root of the named account; any other caller acts as itself, with exactly
/// the rights that it has in IAM.
pub(super) async fn call(
    admin: &Admin,
    asked: CallIam,
    (caller, facts): (&Caller, &RequestFacts),
    record: &AdminRecord,
) -> Result<Value, Refusal> {
    let account = asked.account.as_deref().unwrap_or(ROOT_ACCOUNT);
    let access_key = record.access_key.as_deref();
    let name = match caller {
        Caller::Root => Impersonation::RootOf(account),
        Caller::Other { resolved, .. } if account != resolved.principal.account => {
            return Err(Refusal::Denied(format!("{} may not act in account {account}", resolved.principal.arn)));
        }
        Caller::Other { token, .. } => {
            Impersonation::Key { access_key: access_key.unwrap_or_default(), token: token.as_deref() }
        }
    };
    Ok(administer(&admin.iam, name, (account, &asked.action), asked.parameters, (facts, access_key)).await?)
}

/// Names the owners of buckets by their 12-digit ids instead of their canonical ids.
pub(super) async fn with_account_ids(
    admin: &Admin,
    mut buckets: Vec<BucketUsageJson>,
) -> Result<Vec<BucketUsageJson>, Refusal> {
    let view = admin.gateway.meta().read().await.map_err(Refusal::unavailable)?;
    let directory = admin.iam.directory(&view);
    let mut known: HashMap<String, Option<String>> = HashMap::new();
    for bucket in &mut buckets {
        let id = match known.get(&bucket.account) {
            Some(id) => id.clone(),
            None => {
                let id = directory.account_by_canonical_id(&bucket.account)?.map(|account| account.id);
                known.insert(bucket.account.clone(), id.clone());
                id
            }
        };
        if let Some(id) = id {
            bucket.account = id;
        }
    }
    Ok(buckets)
}

pub(super) async fn explain_access(admin: &Admin, asked: ExplainAccess) -> Result<Explained, Refusal> {
    let view = admin.gateway.meta().read().await.map_err(Refusal::unavailable)?;
    let directory = admin.iam.directory(&view);
    let resolved = match &asked.who {
        ExplainedCaller::Anonymous {} => None,
        ExplainedCaller::User { account, name } => {
            let account = account.as_deref().unwrap_or(ROOT_ACCOUNT);
            Some(resolve_named(&directory, account, Some(name))?)
        }
        ExplainedCaller::Key { access_key } => {
            Some(of_key(resolve_key(&directory, access_key, admin.ambient.clock.unix_ms()))?)
        }
    };
    let asking = match &resolved {
        Some(resolved) => Asking::of(resolved, &admin.iam.parsed)?,
        None => Asking::anonymous(),
    };
    let ExplainAccess { action, resource, conditions, .. } = asked;
    let supposed = HypotheticalRequest { asking, action, resource, conditions };
    Ok(explain(supposed, Arc::clone(&admin.iam), view, admin.secure)?)
}

fn of_key<T>(found: Result<T, ResolveError>) -> Result<T, Refusal> {
    found.map_err(|error| match error {
        ResolveError::Directory(error) => error.into(),
        ResolveError::UnknownKey | ResolveError::Token(_) => {
            Refusal::NoSense("there is no such access key, or it is inactive or has expired".to_owned())
        }
    })
}

#[cfg(test)]
mod tests {
    use super::{CallIam, ExplainAccess, ExplainedCaller};

    #[test]
    fn iam_calls_and_access_questions_survive_a_round_trip() {
        let call: CallIam = serde_json::from_str(r#"{"action":"ListUsers"}"#).expect("a call");
        assert_eq!((call.account.as_deref(), call.parameters.len()), (None, 0));
        let text = r#"{"who":{"user":{"name":"alice"}},"action":"s3:GetObject","resource":"arn:aws:s3:::b/k"}"#;
        let asked: ExplainAccess = serde_json::from_str(text).expect("a question");
        assert_eq!(asked.who, ExplainedCaller::User { account: None, name: "alice".to_owned() });
        for who in
            [asked.who.clone(), ExplainedCaller::Key { access_key: "AKIA".to_owned() }, ExplainedCaller::Anonymous {}]
        {
            let asked = ExplainAccess { who, conditions: vec![("a:b".to_owned(), "c".to_owned())], ..asked.clone() };
            let sent = serde_json::to_string(&asked).expect("JSON");
            assert_eq!(serde_json::from_str::<ExplainAccess>(&sent).expect("it reads back"), asked, "{sent}");
        }
        assert!(serde_json::from_str::<CallIam>(r#"{"action":"ListUsers","as":"root"}"#).is_err());
    }
}
