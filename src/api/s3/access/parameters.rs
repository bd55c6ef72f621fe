//! Checks of the head that s3s would make with other messages than S3's: parameters that are not integers, and a
//! missing header. They are made once the request is allowed.

use super::condition_values::parameter;
use crate::api::errors::{ArgumentFault, Fault, NO_ATTRIBUTES};
use http::{HeaderMap, Uri};
use s3s::header::X_AMZ_OBJECT_ATTRIBUTES;

/// Operations, and their parameters that are numbers.
const NUMBERS: [(&str, &[&str]); 5] = [
    ("ListMultipartUploads", &["max-uploads"]),
    ("ListObjectVersions", &["max-keys"]),
    ("ListObjects", &["max-keys"]),
    ("ListObjectsV2", &["max-keys"]),
    ("ListParts", &["max-parts", "part-number-marker"]),
];

pub fn check(operation: &str, headers: &HeaderMap, uri: &Uri) -> Result<(), Fault> {
    if operation == "GetObjectAttributes" && !headers.contains_key(X_AMZ_OBJECT_ATTRIBUTES) {
        return Err(Fault::InvalidRequest(NO_ATTRIBUTES.to_owned()));
    }
    let Some((_, names)) = NUMBERS.iter().find(|(name, _)| *name == operation) else { return Ok(()) };
    let is_wrong = |name: &&&str| parameter(uri, name).is_some_and(|number| number.parse::<i32>().is_err());
    match names.iter().find(is_wrong) {
        Some(&name) => {
            let why = format!("Provided {name} not an integer or within integer range");
            Err(ArgumentFault::parameter(name, why).into())
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::api::errors::{Fault, NO_ATTRIBUTES};
    use http::{HeaderMap, HeaderValue, Uri};
    use s3s::header::X_AMZ_OBJECT_ATTRIBUTES;

    fn judge(operation: &str, uri: &'static str) -> Result<(), Fault> {
        check(operation, &HeaderMap::new(), &Uri::from_static(uri))
    }

    #[test]
    fn a_parameter_that_is_not_an_integer_is_refused_by_its_name() {
        for (operation, uri, name) in [
            ("ListObjects", "/b?max-keys=abc", "max-keys"),
            ("ListObjectsV2", "/b?list-type=2&max-keys=", "max-keys"),
            ("ListObjectVersions", "/b?versions&max-keys=2147483648", "max-keys"),
            ("ListParts", "/b/k?uploadId=u&part-number-marker=1.5", "part-number-marker"),
            ("ListMultipartUploads", "/b?uploads&max-uploads=%31a", "max-uploads"),
        ] {
            let Err(Fault::Argument(fault)) = judge(operation, uri) else { panic!("{uri} is refused") };
            assert_eq!(fault.why, format!("Provided {name} not an integer or within integer range"));
            assert_eq!(fault.name, name);
        }
        for uri in ["/b?max-keys=-1", "/b?max-keys=7", "/b?fetch-owner=abc", "/b"] {
            assert_eq!(judge("ListObjects", uri), Ok(()), "{uri}");
        }
        assert_eq!(judge("GetObject", "/b/k?max-keys=abc"), Ok(()));
    }

    #[test]
    fn get_object_attributes_without_its_header_is_refused() {
        let missing = Err(Fault::InvalidRequest(NO_ATTRIBUTES.to_owned()));
        assert_eq!(judge("GetObjectAttributes", "/b/k?attributes"), missing);
        let headers = HeaderMap::from_iter([(X_AMZ_OBJECT_ATTRIBUTES, HeaderValue::from_static("ETag"))]);
        assert_eq!(check("GetObjectAttributes", &headers, &Uri::from_static("/b/k?attributes")), Ok(()));
    }
}
