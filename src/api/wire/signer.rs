//! Who signed a request, for the access check: s3s verified the signature, or it was verified on the way around s3s.
//! What s3s leaves open is decided here: what a signature must cover, and for which service it must be.

use super::query::Query;
use super::restated::{TRAILER_HEADER, stands_in};
use super::verified::Verified;
use crate::api::s3::Fault;
use crate::sigv4::{Credential, component};
use http::{HeaderMap, Uri, header};
use s3s::access::S3AccessContext;

const SERVICE: &str = "s3";

/// The access key; `None` where nobody signed.
pub fn signer(cx: &mut S3AccessContext<'_>) -> Result<Option<String>, Fault> {
    if let Some(verified) = cx.extensions_mut().get::<Verified>().cloned() {
        if let (Some(_), Some(signed)) = (&verified.access_key, &verified.signed) {
            check_covers(&signed.headers, &signed.uri)?;
        }
        return Ok(verified.access_key);
    }
    let Some(access_key) = cx.credentials().map(|credentials| credentials.access_key.clone()) else { return Ok(None) };
    check_covers(cx.headers(), cx.uri())?;
    Ok(Some(access_key))
}

/// A signature's scope and the headers that it covers, from the header or the URL.
struct Scope<'a> {
    service: &'a str,
    signed_headers: &'a str,
}

impl<'a> Scope<'a> {
    fn find(headers: &'a HeaderMap, query: &'a Query) -> Option<Self> {
        let (credential, signed_headers) = match headers.get(header::AUTHORIZATION) {
            Some(value) => {
                let said = value.to_str().ok()?;
                (component(said, "Credential")?, component(said, "SignedHeaders")?)
            }
            None => (query.get("X-Amz-Credential")?, query.get("X-Amz-SignedHeaders")?),
        };
        Some(Self { service: Credential::read(credential)?.service, signed_headers })
    }
}

/// AWS's rule, so that nothing that steers a request can be added to it on its way: the host and every `x-amz-` header
/// must be signed. Version 2 signs the latter always, and what it does not sign was refused before.
pub(super) fn check_covers(headers: &HeaderMap, uri: &Uri) -> Result<(), Fault> {
    let query = Query::read(uri.query())?;
    if is_version_2(headers, &query) {
        return Ok(());
    }
    let Some(scope) = Scope::find(headers, &query) else {
        return Err(Fault::AccessDenied("The request's signature has no scope."));
    };
    if scope.service != SERVICE {
        return Err(Fault::AccessDenied("The request is signed for another service than s3."));
    }
    // To the letter: s3s passes over a name in capitals, and would not have compared what it stands for.
    let signed = |name: &str| scope.signed_headers.split(';').any(|one| one == name);
    if !signed("host") {
        return Err(Fault::AccessDenied("The Host header must be signed."));
    }
    let in_query = !headers.contains_key(header::AUTHORIZATION);
    let unsigned = headers.iter().map(|(name, value)| (name.as_str(), value)).find(|(name, value)| {
        // A presigned URL's payload is verified against this header whether it was signed or not.
        let verified = in_query && *name == "x-amz-content-sha256";
        // Every signature is made with the time, whose header `Date` may stand for.
        let dated = *name == "x-amz-date" && signed("date");
        // What the request did not have: put there for s3s (`restated`), out of a URL or for want of it.
        let restated = (*name == TRAILER_HEADER && value.is_empty()) || (in_query && stands_in(&query, name, value));
        name.starts_with("x-amz-") && !verified && !dated && !restated && !signed(name)
    });
    match unsigned {
        Some(_) => Err(Fault::AccessDenied("There were headers present in the request which were not signed")),
        None => Ok(()),
    }
}

fn is_version_2(headers: &HeaderMap, query: &Query) -> bool {
    match headers.get(header::AUTHORIZATION) {
        Some(value) => value.as_bytes().starts_with(b"AWS "),
        None => query.has("Signature"),
    }
}

#[cfg(test)]
mod tests {
    use super::check_covers;
    use crate::api::s3::Fault;
    use http::{HeaderMap, HeaderName, HeaderValue, Uri};

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        HeaderMap::from_iter(
            pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))),
        )
    }

    const SIGNED: &str = "AWS4-HMAC-SHA256 Credential=K/20260101/us-east-1/s3/aws4_request, \
                          SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=00";

    #[test]
    fn every_header_that_steers_a_request_must_be_signed() {
        let root = Uri::from_static("/b/k");
        let base =
            [("authorization", SIGNED), ("x-amz-date", "d"), ("x-amz-content-sha256", "s"), ("range", "bytes=0-")];
        assert_eq!(check_covers(&headers(&base), &root), Ok(()));
        let mut added = base.to_vec();
        added.push(("x-amz-copy-source", "/other/secret"));
        assert!(matches!(check_covers(&headers(&added), &root), Err(Fault::AccessDenied(_))));
        // Said to be signed in a way that s3s passes over.
        let said = SIGNED.replace("x-amz-date,", "x-amz-date;X-Amz-Copy-Source,");
        let mut added = headers(&added);
        added.insert("authorization", HeaderValue::try_from(said).expect("a value"));
        assert!(matches!(check_covers(&added, &root), Err(Fault::AccessDenied(_))));
    }

    #[test]
    fn a_signature_for_another_service_or_without_the_host_is_refused() {
        let root = Uri::from_static("/");
        for signed in [
            "AWS4-HMAC-SHA256 Credential=K/20260101/us-east-1/sts/aws4_request, SignedHeaders=host, Signature=00",
            "AWS4-HMAC-SHA256 Credential=K/20260101/us-east-1/s3/aws4_request, SignedHeaders=date, Signature=00",
            "AWS4-HMAC-SHA256 Credential=K/20260101/us-east-1/s3/aws4_request, SignedHeaders=Host, Signature=00",
            "AWS4-HMAC-SHA256",
        ] {
            let headers = headers(&[("authorization", signed)]);
            assert!(matches!(check_covers(&headers, &root), Err(Fault::AccessDenied(_))), "{signed}");
        }
    }

    #[test]
    fn a_presigned_url_is_held_to_the_same_rule() {
        let uri = Uri::from_static(
            "/b/k?X-Amz-Credential=K%2F20260101%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-SignedHeaders=host",
        );
        assert_eq!(check_covers(&headers(&[("x-amz-content-sha256", "s")]), &uri), Ok(()));
        let tagged = headers(&[("x-amz-storage-class", "STANDARD")]);
        assert!(matches!(check_covers(&tagged, &uri), Err(Fault::AccessDenied(_))));
        let hoisted: Uri = format!("{uri}&x-amz-storage-class=STANDARD").parse().expect("a URI");
        assert_eq!(check_covers(&tagged, &hoisted), Ok(()));
        let other = headers(&[("x-amz-storage-class", "GLACIER")]);
        assert!(matches!(check_covers(&other, &hoisted), Err(Fault::AccessDenied(_))));
    }

    #[test]
    fn a_signed_date_stands_for_the_time_of_the_signature() {
        let signed =
            "AWS4-HMAC-SHA256 Credential=K/20260101/us-east-1/s3/aws4_request, SignedHeaders=date;host, Signature=00";
        let dated = headers(&[("authorization", signed), ("date", "d"), ("x-amz-date", "d")]);
        assert_eq!(check_covers(&dated, &Uri::from_static("/b/k")), Ok(()));
    }

    #[test]
    fn version_2_covers_such_headers_by_itself() {
        let tagged = headers(&[("x-amz-storage-class", "STANDARD")]);
        let uri = Uri::from_static("/b/k?AWSAccessKeyId=k&Signature=s&Expires=1");
        assert_eq!(check_covers(&tagged, &uri), Ok(()));
        let header = headers(&[("authorization", "AWS K:s"), ("x-amz-storage-class", "STANDARD")]);
        assert_eq!(check_covers(&header, &Uri::from_static("/b/k")), Ok(()));
    }
}
