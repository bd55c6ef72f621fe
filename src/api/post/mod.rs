//! Browser uploads by POST (S3 API Reference, "POST Object"): verifies a form and its policy, and rewrites the form as
//! a PutObject request with the file as the streamed body. The implementation of s3s is not used, because it holds the
//! file in memory.
//!
//! ```text
//!  POST bucket, multipart/form-data
//!       │ multipart → form: the fields before the file
//!       ▼
//!  signature (over the base64 of the policy) → policy → conditions
//!       │ request: the fields as headers; file: the file's content as the body
//!       ▼
//!  PUT bucket/key through s3s, as a request whose signature was verified
//!       │
//!       ▼
//!  answer: 204, 200, 201 with a document, or 303
//! ```

mod answer;
mod conditions;
mod escape;
mod file;
mod form;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod multipart;
mod policy;
mod request;
mod signature;
mod tags;

use super::auth::Secrets;
use super::call::boundary;
use super::sharing::{Seat, Ungathered};
use crate::api::call::Call;
use crate::api::call::RequestView;
use crate::api::call::{Authentication, SignatureFacts};
use crate::api::call::{Level, Target};
use crate::api::errors::FormFault;
use crate::api::errors::{Fault, RequestFault, body_fault, with_details};
use crate::limits::{BODY_WAIT_MAX, FORM_FIELDS_BYTES_MAX, PUT_BYTES_MAX};
use crate::types::LegacySignatures;
use answer::FormAnswer;
use conditions::Sizes;
use file::{FileBody, FileContent};
use form::{Form, Gathering};
use futures::StreamExt;
use http::{HeaderMap, HeaderName, Method, Uri, header};
use multipart::Multipart;
use policy::Policy;
use s3s::{Body, HttpRequest, S3Error};
use std::sync::Arc;
use time::OffsetDateTime;
use tokio::time::timeout;

/// Headers of the POST that the PUT keeps: the host that was addressed, and what identifies the sender.
const KEPT: [HeaderName; 4] = [header::HOST, header::ORIGIN, header::REFERER, header::USER_AGENT];

/// The verification of form uploads, and the conversion to PUT requests.
pub struct Forms {
    /// The secrets of access keys.
    pub secrets: Arc<dyn Secrets>,
    /// `https` or `http`, for the locations in responses.
    pub scheme: &'static str,
    pub legacy: LegacySignatures,
}

/// A form rewritten as a PutObject request, and the response that the form asks for.
pub struct Posted {
    pub request: HttpRequest,
    pub answer: FormAnswer,
}

impl Forms {
    /// Reads the form up to its file, verifies its signature, checks it against its policy, and rewrites it as a PUT.
    /// Whether the signer may put the object is decided later, when the PUT passes the gate. The file is read with the
    /// PUT's body.
    pub async fn receive(
        &self,
        posted: HttpRequest,
        target: &Target,
        call: &mut Call,
        now: OffsetDateTime,
    ) -> Result<Posted, S3Error> {
        let (Level::Bucket, Some(bucket)) = (target.level, target.bucket.as_deref()) else {
            return Err(Fault::MethodNotAllowed.into());
        };
        let boundary =
            boundary(posted.headers()).ok_or(Fault::Request(RequestFault::NotAForm))?.map_err(Fault::from)?;
        check_length(posted.headers())?;
        let (parts, mut body) = posted.into_parts();
        let gathered = timeout(BODY_WAIT_MAX, fields(&mut body, &boundary, &call.seat)).await;
        let (form, rest) = gathered.map_err(|_| Fault::RequestTimeout)??;
        let key = form.get("key").ok_or_else(|| Fault::from(FormFault::missing("key")))?;
        if key.is_empty() {
            // The text is AWS's.
            return Err(Fault::InvalidArgument("User key must have a length greater than 0.".to_owned()).into());
        }
        call.authentication = self.authenticate(&form, &call.view).await?;
        let sizes = allowed_sizes(&form, bucket, now).map_err(Fault::from)?;
        let request::Headers { plain, aside } = request::headers(&form).map_err(Fault::from)?;
        let base = self.base(&parts.headers, target, bucket);
        let answer = FormAnswer::new(&form, bucket, key, &base);
        let uri = put_uri(target, bucket, key)?;
        let content = FileContent::new(rest, sizes);
        let mut request = HttpRequest::new(Body::http_body_unsync(FileBody::new(content, body)));
        *request.method_mut() = Method::PUT;
        *request.uri_mut() = uri;
        let kept = KEPT.iter().filter_map(|name| Some((name.clone(), parts.headers.get(name)?.clone())));
        *request.headers_mut() = kept.collect();
        request.headers_mut().extend(plain);
        call.headers_aside = aside;
        call.is_form = true;
        Ok(Posted { request, answer })
    }

    /// Verifies the signature of a form's policy. A form without a signature is anonymous.
    async fn authenticate(&self, form: &Form, view: &RequestView) -> Result<Authentication, S3Error> {
        let Some(claim) = signature::claim(form).map_err(Fault::from)? else { return Ok(Authentication::default()) };
        if claim.is_version_2() && self.legacy == LegacySignatures::Off {
            return Err(Fault::InvalidRequest(
                "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."
                    .to_owned(),
            )
            .into());
        }
        let secret_key = self.secrets.secret_key(claim.access_key, view).await?;
        claim.verify(secret_key.expose()).map_err(|fault| with_details(Fault::from(fault).into(), claim.details()))?;
        let version = if claim.is_version_2() { "AWS" } else { "AWS4-HMAC-SHA256" };
        let signature = SignatureFacts { auth_type: "POST", version, signed_at: None, region: None };
        Ok(Authentication { access_key: Some(claim.access_key.to_owned()), signature: Some(signature) })
    }

    /// Returns the bucket's URL in the style that the client used, with a slash at the end.
    fn base(&self, headers: &HeaderMap, target: &Target, bucket: &str) -> String {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
        let scheme = self.scheme;
        if target.by_host { format!("{scheme}://{host}/") } else { format!("{scheme}://{host}/{bucket}/") }
    }
}

fn check_length(headers: &HeaderMap) -> Result<(), Fault> {
    let length = headers.get(header::CONTENT_LENGTH).ok_or(Fault::MissingContentLength)?;
    let length: Option<u64> = length.to_str().ok().and_then(|text| text.trim().parse().ok());
    match length {
        None => Err(Fault::InvalidArgument("The header content-length is not a number.".to_owned())),
        Some(length) if length > PUT_BYTES_MAX + 2 * FORM_FIELDS_BYTES_MAX as u64 => Err(Fault::EntityTooLarge),
        Some(_) => Ok(()),
    }
}

async fn fields(body: &mut Body, boundary: &str, seat: &Seat) -> Result<(Form, Multipart), Fault> {
    let mut gathering = Gathering::new(boundary);
    while let Some(bytes) = body.next().await {
        let bytes = bytes.map_err(|error| body_fault(&error))?;
        seat.take(bytes.len()).map_err(|_| Fault::SlowDown(Ungathered::NoRoom.to_string()))?;
        if gathering.push(&bytes)? {
            return Ok(gathering.finish());
        }
    }
    Err(FormFault::Malformed.into())
}

/// Returns the file sizes that the form's policy allows. A policy is enforced even if the form is not signed.
fn allowed_sizes(form: &Form, bucket: &str, now: OffsetDateTime) -> Result<Sizes, FormFault> {
    match form.get("policy") {
        None => Ok(Sizes::ANY),
        Some(policy) => conditions::check(&Policy::read(policy)?, form, bucket, now),
    }
}

fn put_uri(target: &Target, bucket: &str, key: &str) -> Result<Uri, Fault> {
    let key = escape::escape_path(key);
    let path = if target.by_host { format!("/{key}") } else { format!("/{}/{key}", escape::escape(bucket)) };
    Uri::try_from(path).map_err(|_| Fault::Request(RequestFault::InvalidUri))
}

#[cfg(test)]
mod tests;
