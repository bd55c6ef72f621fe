//! Fuzz targets of form uploads and their policies.

use super::conditions;
use super::conditions::Sizes;
use super::file::FileContent;
use super::form::{Form, Gathering};
use super::policy::Policy;
use super::{request, signature};
use crate::api::call::boundary_of as boundary;
use crate::api::errors::FormFault;
use time::OffsetDateTime;

/// The outcome of parsing a body: the form and its file; `None` if the body ends before the file.
type Read = Result<Option<(Form, Result<Vec<u8>, FormFault>)>, FormFault>;

/// Parses the input as a form, whole and in pieces, which must give the same result. The first byte is the size of the
/// pieces.
pub fn forms(data: &[u8]) {
    let Some((&size, body)) = data.split_first() else { return };
    let whole = read(body, body.len().max(1));
    assert_eq!(read(body, usize::from(size).max(1)), whole);
    let Ok(Some((form, _))) = whole else { return };
    if let Ok(Some(claim)) = signature::claim(&form) {
        let _ = claim.verify("secret");
    }
    let _ = request::headers(&form);
    if let Some(policy) = form.get("policy") {
        judge(policy, &form);
    }
    for (name, value) in form.fields() {
        let _ = (boundary(name), boundary(value));
    }
}

/// Parses the input as a policy that is not in base64, and checks a form against it.
pub fn form_policies(data: &[u8]) {
    let mut form = Form::default();
    form.add("key", "user/eric/photo.jpg");
    form.add("Content-Type", "image/jpeg,image/png");
    form.add("x-amz-meta-uuid", "14365123651274");
    judge(&base64_simd::STANDARD.encode_to_string(data), &form);
}

fn judge(policy: &str, form: &Form) {
    let Ok(policy) = Policy::read(policy) else { return };
    for condition in &policy.conditions {
        let _ = condition.to_string();
    }
    for now in [OffsetDateTime::UNIX_EPOCH, policy.expires] {
        if conditions::check(&policy, form, "bucket", now).is_ok() {
            assert!(now < policy.expires);
        }
    }
}

fn read(body: &[u8], piece_bytes: usize) -> Read {
    let mut gathering = Gathering::new("b");
    let mut pieces = body.chunks(piece_bytes);
    for piece in pieces.by_ref() {
        if gathering.push(piece)? {
            let (form, multipart) = gathering.finish();
            let content = FileContent::new(multipart, Sizes { min: 1, max: 1000 });
            return Ok(Some((form, file(content, pieces))));
        }
    }
    Ok(None)
}

fn file<'a>(mut content: FileContent, pieces: impl Iterator<Item = &'a [u8]>) -> Result<Vec<u8>, FormFault> {
    let mut file = Vec::new();
    let mut take = |content: &mut FileContent| {
        while let Some(bytes) = content.next()? {
            file.extend_from_slice(&bytes);
        }
        Ok(())
    };
    take(&mut content)?;
    for piece in pieces {
        content.push(piece)?;
        take(&mut content)?;
    }
    content.end()?;
    Ok(file)
}
