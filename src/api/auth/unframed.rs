//! The length of a body whose `aws-chunked` framing no signature covers.

use crate::api::call::Head;
use crate::api::errors::{Fault, RequestFault};
use http::Method;

/// Checks the lengths of a request that declares `aws-chunked` framing without a version 4 signature in a header. S3
/// treats such framing as content: `Content-Length` must equal `x-amz-decoded-content-length`, and the body of a PUT is
/// refused later, as `STREAMING-…` is not the hash of its content.
pub fn check_unframed(head: Head<'_>) -> Result<(), Fault> {
    let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let number = |name: &str| text(name).and_then(|length| length.trim().parse::<u64>().ok());
    let has_content = [Method::PUT, Method::POST].contains(head.method);
    if !has_content || !text("x-amz-content-sha256").is_some_and(|payload| payload.starts_with("STREAMING-")) {
        return Ok(());
    }
    match (number("content-length"), number("x-amz-decoded-content-length")) {
        (Some(length), Some(decoded)) if length == decoded => Ok(()),
        (Some(length), Some(decoded)) => Err(RequestFault::OtherLength { provided: length, expected: decoded }.into()),
        _ => Err(Fault::MissingContentLength),
    }
}
