//! The source of a copy or a rename, as requests name it.

use crate::actors::meta::Pick;
use crate::api::errors::Fault;
use crate::api::text::percent::{decode_path, encode};
use http::HeaderMap;
use s3s::dto::{CopySource, ParseCopySourceError};

/// The source of a copy or a rename.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub bucket: String,
    pub key: String,
    pub version: Option<String>,
}

impl Source {
    pub fn renamed(bucket: &str, key: &str) -> Self {
        Self { bucket: bucket.to_owned(), key: key.to_owned(), version: None }
    }

    /// Returns the source in the form of the header `x-amz-copy-source`, without its version.
    pub fn text(&self) -> String {
        format!("{}/{}", self.bucket, encode(&self.key))
    }

    /// Parses `x-amz-copy-source` as the operation does, so that the object that is judged is the one that is copied.
    pub fn of(headers: &HeaderMap) -> Result<Self, Fault> {
        let refused = |what: &str| Fault::InvalidArgument(format!("Invalid copy source {what}"));
        let mut values = headers.get_all(s3s::header::X_AMZ_COPY_SOURCE).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return Err(refused("object key")) };
        // s3s would take a malformed percent escape literally.
        let text = value.to_str().ok().filter(|text| decode_path(text).is_some());
        match CopySource::parse(text.ok_or_else(|| refused("encoding"))?) {
            Ok(CopySource::Bucket { bucket, key, version_id }) if !key.is_empty() => {
                Ok(Self { bucket: bucket.into(), key: key.into(), version: version_id.map(Into::into) })
            }
            Err(ParseCopySourceError::InvalidEncoding) => Err(refused("encoding")),
            Err(ParseCopySourceError::InvalidBucketName) => Err(refused("bucket name")),
            _ => Err(refused("object key")),
        }
    }

    /// Returns the version to look up; the null version for a malformed id, which the operation refuses.
    pub fn pick(&self) -> Pick {
        self.version.as_deref().map_or(Some(Pick::Current), Pick::parse).unwrap_or(Pick::Null)
    }
}

#[cfg(test)]
mod tests {
    use super::Source;
    use crate::api::errors::Fault;
    use http::{HeaderMap, HeaderValue};
    use s3s::header::X_AMZ_COPY_SOURCE;

    fn of(texts: &[&str]) -> Option<(String, String, Option<String>)> {
        let value = |text: &&str| (X_AMZ_COPY_SOURCE, HeaderValue::from_str(text).expect("a value"));
        let mut headers = HeaderMap::new();
        for (name, value) in texts.iter().map(value) {
            headers.append(name, value);
        }
        Source::of(&headers).ok().map(|source| (source.bucket, source.key, source.version))
    }

    #[test]
    fn a_copy_source_is_parsed_into_bucket_key_and_optional_version() {
        let plain = Some(("bucket".to_owned(), "a/k+ü".to_owned(), None));
        assert_eq!(of(&["bucket/a/k%2B%C3%BC"]), plain);
        assert_eq!(of(&["/bucket/a%2Fk%2B%C3%BC"]), plain);
        let null = Some(("bucket".to_owned(), "k".to_owned(), Some("null".to_owned())));
        assert_eq!((of(&["bucket/k?versionId=null"]), of(&["bucket/k?versionId=%6eull"])), (null.clone(), null));
    }

    #[test]
    fn an_incomplete_undecodable_or_repeated_copy_source_is_refused() {
        for texts in [&[][..], &["bucket"], &["bucket/%ff"], &["bucket/a", "bucket/b"]] {
            assert_eq!(of(texts), None, "{texts:?}");
        }
    }

    #[test]
    fn a_malformed_copy_source_is_refused_with_its_fault() {
        for (text, what) in [
            ("bucket/%ZZ", "encoding"),
            ("100%/k", "encoding"),
            ("bucket/%1", "encoding"),
            ("bucket/%C3%", "encoding"),
            ("192.168.1.1/k", "bucket name"),
            ("buc@ket&()/k", "bucket name"),
            ("bucket", "object key"),
            ("bucket/", "object key"),
        ] {
            let headers = HeaderMap::from_iter([(X_AMZ_COPY_SOURCE, HeaderValue::from_static(text))]);
            let refused = Fault::InvalidArgument(format!("Invalid copy source {what}"));
            assert_eq!(Source::of(&headers), Err(refused), "{text}");
        }
    }
}
