//! Authentication and authorization of callers of the admin API. The root key may do everything. Users and roles of the
//! store's own account may do what their policies allow of the actions `admin:…` on the resource `*`. Identities of
//! other accounts, including their roots, may do nothing.

use super::record::AdminRecord;
use super::{Admin, Refusal, SERVICES};
use crate::api::admin_routes::Route;
use crate::api::iam::{self, IamFault, RequestFacts};
use crate::api::identity::{Asking, ROOT_ACCOUNT, ResolveError, Resolved, ResolvedPrincipal, resolve, secret_key};
use crate::sigv4::{Received, SignatureFault, Verifier, claimed};
use std::sync::Arc;

const TOKEN_HEADER: &str = "x-amz-security-token";

/// The authenticated caller of the admin API.
pub enum Caller {
    Root,
    Other { resolved: Box<Resolved>, token: Option<String> },
}

impl Caller {
    /// Verifies the signature. The root key is verified without the metadata, so that root can examine a store that has
    /// lost its majority.
    pub async fn of(received: &Received<'_>, admin: &Admin, record: &mut AdminRecord) -> Result<Self, Refusal> {
        let now = admin.ambient.clock.unix_ms();
        let access_key = claimed(received)?.access_key;
        record.access_key = Some(access_key.to_owned());
        let token = token(received)?;
        if access_key == admin.verifier.access_key && token.is_none() {
            admin.verifier.verify(received, now.0 / 1000)?;
            record.trace.set_principal(&Arc::new(ResolvedPrincipal::store_root(&admin.iam.root)));
            return Ok(Self::Root);
        }
        let view = admin.gateway.meta().read().await.map_err(Refusal::unavailable)?;
        let directory = admin.iam.directory(&view);
        let secret_key = secret_key(&directory, admin.iam.credential_keys(), access_key, now).map_err(unknown)?;
        let (access_key, region) = (access_key.to_owned(), admin.verifier.region.clone());
        let verifier = Verifier { access_key, secret_key, region, services: SERVICES };
        verifier.verify(received, now.0 / 1000)?;
        let resolved =
            resolve(&directory, admin.iam.credential_keys(), &verifier.access_key, token, now).map_err(unknown)?;
        admin.iam.last_used.note(&verifier.access_key, SERVICES[0], now);
        record.trace.set_principal(&resolved.principal);
        Ok(Self::Other { resolved: Box::new(resolved), token: token.map(str::to_owned) })
    }

    /// Refuses a call that the caller's policies do not allow. A call without a route is refused to all but root, so
    /// that nobody learns which routes exist.
    pub fn check(&self, route: Option<Route>, facts: &RequestFacts, admin: &Admin) -> Result<(), Refusal> {
        let Self::Other { resolved, .. } = self else { return Ok(()) };
        if resolved.principal.account != ROOT_ACCOUNT {
            let why = "only identities of the store's own account may administer it";
            return Err(Refusal::Denied(format!("{}: {why}", resolved.principal.arn)));
        }
        let action = match route {
            Some(route) => format!("admin:{}", route.name()),
            None => return Err(Refusal::Denied(format!("{} may not do this", resolved.principal.arn))),
        };
        let asking = Asking::of(resolved, &admin.iam.parsed)?;
        let caller = iam::Caller { resolved, asking: &asking, facts, now: admin.ambient.clock.unix_ms() };
        Ok(caller.check(&action, "*", &[])?)
    }
}

/// Returns the session token of a request.
fn token<'a>(received: &Received<'a>) -> Result<Option<&'a str>, SignatureFault> {
    let mut tokens = received.headers.iter().filter(|(name, _)| *name == TOKEN_HEADER).map(|(_, value)| value.trim());
    match (tokens.next(), tokens.next()) {
        (_, Some(_)) => Err(SignatureFault::Malformed("the header x-amz-security-token is repeated")),
        (token, None) => Ok(token.filter(|token| !token.is_empty())),
    }
}

fn unknown(error: ResolveError) -> Refusal {
    match error {
        ResolveError::UnknownKey => SignatureFault::UnknownKey.into(),
        error => IamFault::from(error).into(),
    }
}
