//! Answers calls: verifies the signature, carries out the action, and writes the XML. Calls of the admin API come
//! through `administer`.

mod administer;

pub use administer::{Impersonation, administer};

use super::actions::{self, Action};
use super::authorize::Caller;
use super::call::{Call, subject};
use super::facts::RequestFacts;
use super::fault::IamFault;
use super::parameters::Parameters;
use super::service::{IamService, TRIES_MAX, busy};
use super::store::Written;
use super::sts::{self, StsAction, StsCall};
use super::xml::Xml;
use crate::api::identity::{Asking, Documents, Resolved, resolve, secret_key};
use crate::sigv4::{Claimed, Received, SignatureFault, Verifier, claimed};
use crate::types::UnixMs;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, StatusCode};

const IAM_NAMESPACE: &str = "https://iam.amazonaws.com/doc/2010-05-08/";
const STS_NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";
const IAM_VERSION: &str = "2010-05-08";
const STS_VERSION: &str = "2011-06-15";
const TOKEN_HEADER: &str = "x-amz-security-token";
const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("x-amzn-requestid");
/// The operation in the log if the action is unknown.
const UNKNOWN_ACTION: &str = "Other";

/// An answer, with operation and access key for the log.
pub struct Answer {
    pub response: s3s::HttpResponse,
    pub operation: &'static str,
    pub access_key: Option<String>,
}

/// The action of a call.
#[derive(Clone, Copy)]
enum RequestedAction {
    Iam(&'static str, Action),
    Sts(&'static str, StsAction),
    WebIdentity,
}

impl RequestedAction {
    fn find(parameters: &Parameters) -> Result<Self, IamFault> {
        let action = parameters.text("Action").unwrap_or_default();
        let of_iam = actions::find(action).map(|(name, action)| Self::Iam(name, action));
        let of_sts = || sts::find(action).map(|(name, action)| Self::Sts(name, action));
        let unsigned = || (action == sts::UNSIGNED_ACTION).then_some(Self::WebIdentity);
        let version = parameters.text("Version").unwrap_or_default();
        let found = of_iam.or_else(of_sts).or_else(unsigned);
        let found = found.filter(|found| version.is_empty() || version == found.version());
        found.ok_or_else(|| IamFault::InvalidAction { action: action.to_owned(), version: version.to_owned() })
    }

    /// Returns the version of the API that the action belongs to.
    fn version(self) -> &'static str {
        if matches!(self, Self::Iam(..)) { IAM_VERSION } else { STS_VERSION }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Iam(name, _) | Self::Sts(name, _) => name,
            Self::WebIdentity => sts::UNSIGNED_ACTION,
        }
    }

    fn namespace(self) -> &'static str {
        if matches!(self, Self::Iam(..)) { IAM_NAMESPACE } else { STS_NAMESPACE }
    }

    fn services(self) -> &'static [&'static str] {
        if matches!(self, Self::Iam(..)) { &["iam"] } else { &["sts"] }
    }
}

/// Answers a request for which `takes` returned true. The body must be complete.
pub async fn answer(service: &IamService, request: &Received<'_>, facts: &RequestFacts, request_id: &str) -> Answer {
    let parameters = Parameters::parse(request.query, request.body).ok_or(IamFault::MalformedForm);
    let requested = parameters.as_ref().map_err(Clone::clone).and_then(RequestedAction::find);
    let access_key = claimed(request).ok().map(|claimed| claimed.access_key.to_owned());
    let answered = match (&requested, &parameters) {
        (Ok(requested), Ok(parameters)) => {
            facts.begun(requested.name(), access_key.as_deref(), subject(parameters));
            answered(service, *requested, request, parameters, facts).await
        }
        (Err(fault), _) | (_, Err(fault)) => Err(fault.clone()),
    };
    let named = requested.as_ref().ok();
    let namespace = named.map_or(IAM_NAMESPACE, |requested| requested.namespace());
    let operation = named.map_or(UNKNOWN_ACTION, |requested| requested.name());
    let (status, text) = match answered {
        Ok(body) => (StatusCode::OK, document(operation, namespace, body.as_deref(), request_id)),
        Err(fault) => {
            let (_, code) = fault.status_and_code();
            facts.refused(code);
            tracing::info!(target: "iam", request_id, operation, access_key, code, %fault, "an IAM call was refused");
            (status_of(&fault), fault.document(namespace, request_id))
        }
    };
    Answer { response: response(status, text, request_id), operation, access_key }
}

/// Answers a request whose body was not read whole, so that its action is not known.
pub fn refuse(fault: &IamFault, request_id: &str) -> s3s::HttpResponse {
    response(status_of(fault), fault.document(IAM_NAMESPACE, request_id), request_id)
}

fn status_of(fault: &IamFault) -> StatusCode {
    StatusCode::from_u16(fault.status_and_code().0).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Returns the XML document of a successful answer.
fn document(operation: &str, namespace: &str, body: Option<&str>, request_id: &str) -> String {
    let result = body.map(|body| format!("<{operation}Result>{body}</{operation}Result>")).unwrap_or_default();
    format!(
        "<{operation}Response xmlns=\"{namespace}\">{result}<ResponseMetadata><RequestId>{request_id}</RequestId>\
         </ResponseMetadata></{operation}Response>"
    )
}

fn response(status: StatusCode, text: String, request_id: &str) -> s3s::HttpResponse {
    let mut response = s3s::HttpResponse::new(s3s::Body::from(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/xml"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(id) = HeaderValue::try_from(request_id) {
        headers.insert(REQUEST_ID_HEADER, id);
    }
    response
}

async fn answered(
    service: &IamService,
    requested: RequestedAction,
    request: &Received<'_>,
    parameters: &Parameters,
    facts: &RequestFacts,
) -> Result<Option<String>, IamFault> {
    match requested {
        RequestedAction::WebIdentity => {
            let result = sts::assume_with_web_identity(service, parameters, facts).await?;
            facts.ended(&result);
            Ok(Some(result.into_text()))
        }
        RequestedAction::Sts(name, action) => {
            let view = service.store.view().await?;
            let now = service.ambient.clock.unix_ms();
            let resolved = authenticate(service, &*view, request, requested, now)?;
            facts.signed_by(&resolved).await;
            let asking = Asking::of(&resolved, &service.parsed)?;
            let caller = Caller { resolved: &resolved, asking: &asking, facts, now };
            caller.check_may_call_sts(name)?;
            let (directory, sessions) = (service.directory(&*view), &service.sessions);
            let call = StsCall { directory, ambient: &service.ambient, sessions, caller, parameters };
            let result = action(&call)?;
            facts.ended(&result);
            Ok(Some(result.into_text()))
        }
        RequestedAction::Iam(_, action) => {
            let who = |view: &dyn Documents, now: UnixMs| authenticate(service, view, request, requested, now);
            Ok(change(service, action, parameters, facts, who).await?.map(Xml::into_text))
        }
    }
}

/// Carries out an IAM action: resolves the caller, decides and writes. After a conflict all of it is repeated on a new
/// view.
async fn change(
    service: &IamService,
    action: Action,
    parameters: &Parameters,
    facts: &RequestFacts,
    who: impl Fn(&dyn Documents, UnixMs) -> Result<Resolved, IamFault>,
) -> Result<Option<Xml>, IamFault> {
    for _ in 0..TRIES_MAX {
        let outcome = {
            let view = service.store.view().await?;
            let now = service.ambient.clock.unix_ms();
            let resolved = who(&*view, now)?;
            facts.signed_by(&resolved).await;
            let asking = Asking::of(&resolved, &service.parsed)?;
            let caller = Caller { resolved: &resolved, asking: &asking, facts, now };
            caller.check_may_call_iam()?;
            parameters.check_shapes()?;
            let editor = service.editor(&*view);
            let last_used = |key: &str| service.last_used.of(key);
            action(&Call { editor: &editor, caller, parameters, last_used: &last_used })?
        };
        if outcome.writes.is_empty() || service.store.write(outcome.writes).await? == Written::Done {
            outcome.body.iter().for_each(|body| facts.ended(body));
            return Ok(outcome.body);
        }
    }
    Err(busy().into())
}

/// Verifies the signature and returns the caller.
fn authenticate(
    service: &IamService,
    documents: &dyn Documents,
    request: &Received<'_>,
    requested: RequestedAction,
    now: UnixMs,
) -> Result<Resolved, IamFault> {
    let Claimed { access_key, region, .. } = claimed(request)?;
    let directory = service.directory(documents);
    let secret_key = secret_key(&directory, service.credential_keys(), access_key, now)?;
    // A signature for any region is accepted, as for S3: identities are the same in all regions.
    let verifier = Verifier {
        access_key: access_key.to_owned(),
        secret_key,
        region: region.to_owned(),
        services: requested.services(),
    };
    verifier.verify(request, now.0 / 1000)?;
    let mut tokens = request.headers.iter().filter(|(name, _)| *name == TOKEN_HEADER).map(|(_, value)| value.trim());
    let token = match (tokens.next(), tokens.next()) {
        (_, Some(_)) => return Err(SignatureFault::Malformed("a header that may come once came twice").into()),
        (token, None) => token.filter(|token| !token.is_empty()),
    };
    let resolved = resolve(&directory, service.credential_keys(), access_key, token, now)?;
    service.last_used.note(access_key, requested.services()[0], now);
    Ok(resolved)
}
