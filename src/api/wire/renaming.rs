//! RenameObject, which s3s does not know: such a request is given to s3s as a copy of the object that it names, with its
//! source key beside it.

use crate::api::call::{Level, Target};
use crate::api::errors::Fault;
use crate::api::text::Query;
use crate::api::text::percent::decode_path;
use crate::api::text::percent::encode as percent_encode;
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use s3s::header::X_AMZ_COPY_SOURCE;

const SUBRESOURCE: &str = "renameObject";
const SOURCE: &str = "x-amz-rename-source";

pub fn is_rename(method: &Method, uri: &Uri, target: &Target) -> bool {
    let named = || Query::read(uri.query()).is_ok_and(|query| query.has(SUBRESOURCE));
    *method == Method::PUT && target.level == Level::Object && named()
}

/// Makes a copy of a rename whose signature was verified; its source key is in the same bucket.
pub fn as_copy<B>(mut request: Request<B>, target: &Target) -> Result<(Request<B>, String), Fault> {
    let invalid =
        || Fault::InvalidArgument("The header 'x-amz-copy-source' is for copies, and not for renames.".into());
    let bucket = target.bucket.as_deref().unwrap_or_default();
    let source = source_key(request.headers(), bucket)?;
    let shown = HeaderValue::try_from(format!("{bucket}/{}", percent_encode(&source))).map_err(|_| invalid())?;
    if request.headers_mut().insert(X_AMZ_COPY_SOURCE, shown).is_some() {
        return Err(invalid());
    }
    let uri = without_subresources(request.uri());
    *request.uri_mut() = uri;
    Ok((request, source))
}

/// A key, encoded as in a URL. Some clients put the bucket before it, as they do in copies.
fn source_key(headers: &HeaderMap, bucket: &str) -> Result<String, Fault> {
    let invalid = || Fault::InvalidArgument(format!("The header '{SOURCE}' must name the object that is renamed."));
    let mut values = headers.get_all(SOURCE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Err(invalid()) };
    let text = value.to_str().ok().and_then(decode_path).filter(|text| !text.is_empty()).ok_or_else(invalid)?;
    let within = text.strip_prefix('/').and_then(|text| text.strip_prefix(bucket)?.strip_prefix('/'));
    Ok(within.filter(|key| !key.is_empty()).unwrap_or(&text).to_owned())
}

/// Returns the address without the parameters by which s3s would take it for another operation. Other parameters of a
/// signature stay.
fn without_subresources(uri: &Uri) -> Uri {
    let query = uri.query().unwrap_or_default();
    let kept: Vec<&str> = query.split('&').filter(|pair| pair.starts_with("X-Amz-")).collect();
    let path = uri.path();
    let target = if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) };
    Uri::try_from(target).unwrap_or_else(|_| uri.clone())
}

#[cfg(test)]
mod tests {
    use super::{as_copy, is_rename};
    use crate::api::call::Target;
    use crate::api::errors::Fault;
    use http::{Method, Request, Uri};

    fn rename(uri: &str, sources: &[&str]) -> Result<(Request<()>, String), Fault> {
        let mut request = Request::builder().method(Method::PUT).uri(uri);
        for source in sources {
            request = request.header("x-amz-rename-source", *source);
        }
        let request = request.body(()).expect("a request");
        let target = Target::of(request.uri().path(), None).expect("a target");
        assert!(is_rename(request.method(), request.uri(), &target), "{uri}");
        as_copy(request, &target)
    }

    fn source(text: &str) -> Option<String> {
        Some(rename("/b/new?renameObject", &[text]).ok()?.1)
    }

    #[test]
    fn a_rename_comes_back_as_a_copy_of_what_it_names() {
        let copy = rename("/b/new?renameObject=&x-id=RenameObject&acl&X-Amz-Security-Token=t", &["a%20%3Fb/%C3%BC"]);
        let (copy, source) = copy.expect("a copy");
        assert_eq!(copy.uri(), &Uri::from_static("/b/new?X-Amz-Security-Token=t"));
        assert_eq!(copy.headers()["x-amz-copy-source"], "b/a%20%3Fb/%C3%BC");
        assert_eq!(source, "a ?b/ü");
    }

    #[test]
    fn the_source_is_a_key_with_or_without_its_bucket() {
        assert_eq!(source("a%2Fb+c").as_deref(), Some("a/b+c"));
        assert_eq!(source("/b/key").as_deref(), Some("key"));
        assert_eq!(source("b/key").as_deref(), Some("b/key"));
        assert_eq!(source("/other/key").as_deref(), Some("/other/key"));
        assert_eq!(source("/b/").as_deref(), Some("/b/"));
    }

    #[test]
    fn a_rename_of_nothing_is_refused() {
        for sources in [&[][..], &[""], &["%zz"], &["%ff"], &["a", "b"]] {
            let refused = rename("/b/new?renameObject", sources);
            assert!(matches!(refused, Err(Fault::InvalidArgument(_))), "{sources:?}");
        }
    }

    #[test]
    fn only_a_put_of_an_object_is_a_rename() {
        let of = |method, uri| {
            let uri = Uri::from_static(uri);
            is_rename(&method, &uri, &Target::of(uri.path(), None).expect("a target"))
        };
        assert!(of(Method::PUT, "/b/k?x-id=RenameObject&renameObject"));
        assert!(of(Method::PUT, "/b/k?%72enameObject"));
        assert!(!of(Method::PUT, "/b?renameObject") && !of(Method::GET, "/b/k?renameObject"));
        assert!(!of(Method::PUT, "/b/k?prefix=renameObject") && !of(Method::PUT, "/b/renameObject"));
    }
}
