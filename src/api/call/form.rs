//! The recognition of form uploads by their method and content type.

use crate::api::errors::FormFault;
use crate::api::text::parameters_of;
use http::{HeaderMap, Method, header};

/// The longest boundary (RFC 2046).
const BOUNDARY_BYTES_MAX: usize = 70;

/// Returns whether a request is a form, by its method and content type, as s3s decides it.
pub fn is_form(method: &Method, headers: &HeaderMap) -> bool {
    *method == Method::POST && boundary(headers).is_some()
}

/// Returns the boundary between the parts of a form; `None` if the body is of another type.
pub fn boundary(headers: &HeaderMap) -> Option<Result<String, FormFault>> {
    boundary_of(headers.get(header::CONTENT_TYPE)?.to_str().ok()?)
}

/// Returns the boundary that a `Content-Type` states; `None` if it is not `multipart/form-data`.
pub fn boundary_of(content_type: &str) -> Option<Result<String, FormFault>> {
    let (media_type, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    if !media_type.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let found = parameters_of(parameters).into_iter().find(|(name, _)| name.eq_ignore_ascii_case("boundary"));
    let fits = |boundary: &String| (1..=BOUNDARY_BYTES_MAX).contains(&boundary.len());
    Some(found.map(|(_, boundary)| boundary).filter(fits).ok_or(FormFault::Malformed))
}
