//! The target of a request (the store, a bucket or an object), as its path and host name it.

use crate::api::errors::{Fault, RequestFault};
use crate::api::text::Query;
use crate::api::text::percent::decode_path;
use http::{HeaderMap, Method, Uri};
use s3s::path::{ParseS3PathError, S3Path, parse_path_style, parse_virtual_hosted_style};

/// The head of a request, for the checks before s3s.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    pub method: &'a Method,
    pub headers: &'a HeaderMap,
    pub query: &'a Query,
    pub target: &'a Target,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub level: Level,
    /// The name of the bucket, which is not validated yet.
    pub bucket: Option<String>,
    /// True if the host name has the bucket (virtual-hosted style), so that the path is only the key.
    pub by_host: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Service,
    Bucket,
    Object,
}

impl Target {
    /// Parses the target from a path. `host_bucket` is the bucket in the host name, if any.
    pub fn of(path: &str, host_bucket: Option<String>) -> Result<Self, Fault> {
        let path = path.strip_prefix('/').ok_or(Fault::Request(RequestFault::InvalidUri))?;
        if host_bucket.is_some() {
            let level = if path.is_empty() { Level::Bucket } else { Level::Object };
            return Ok(Self { level, bucket: host_bucket, by_host: true });
        }
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        // An escaped slash is refused: layers would disagree on whether it ends the name of the bucket.
        let bucket = decode_path(bucket).filter(|bucket| !bucket.contains('/'));
        let bucket = bucket.ok_or(Fault::Request(RequestFault::InvalidUri))?;
        let level = match (bucket.is_empty(), key.is_empty()) {
            (true, _) => Level::Service,
            (false, true) => Level::Bucket,
            (false, false) => Level::Object,
        };
        Ok(Self { level, bucket: Some(bucket).filter(|bucket| !bucket.is_empty()), by_host: false })
    }

    /// Returns the bucket and key of a request on an object, after a check of their syntax.
    pub fn object(&self, uri: &Uri) -> Result<(String, String), Fault> {
        let path = decode_path(uri.path()).ok_or(Fault::Request(RequestFault::InvalidUri))?;
        let parsed = match self.bucket.as_deref().filter(|_| self.by_host) {
            Some(bucket) => parse_virtual_hosted_style(Some(bucket), &path),
            None => parse_path_style(&path),
        };
        match parsed {
            Ok(S3Path::Object { bucket, key }) => Ok((bucket.into(), key.into())),
            Ok(S3Path::Root | S3Path::Bucket { .. }) => Err(Fault::MethodNotAllowed),
            Err(ParseS3PathError::InvalidPath) => Err(Fault::Request(RequestFault::InvalidUri)),
            Err(ParseS3PathError::InvalidBucketName) => Err(Fault::InvalidBucketName),
            Err(ParseS3PathError::KeyTooLong) => Err(Fault::KeyTooLong),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Level, Target};
    use crate::api::errors::{Fault, RequestFault};
    use http::Uri;

    fn of(path: &str, host: Option<&str>) -> (Level, Option<String>, bool) {
        let Target { level, bucket, by_host } = Target::of(path, host.map(str::to_owned)).expect("a target");
        (level, bucket, by_host)
    }

    #[test]
    fn the_path_names_the_bucket_unless_the_host_does() {
        let bucket = |name: &str| Some(name.to_owned());
        assert_eq!(of("/", None), (Level::Service, None, false));
        assert_eq!(of("/b", None), (Level::Bucket, bucket("b"), false));
        assert_eq!(of("/b/", None), (Level::Bucket, bucket("b"), false));
        assert_eq!(of("/b/k/l", None), (Level::Object, bucket("b"), false));
        assert_eq!(of("/b//", None), (Level::Object, bucket("b"), false));
        assert_eq!(of("/", Some("h")), (Level::Bucket, bucket("h"), true));
        assert_eq!(of("/b", Some("h")), (Level::Object, bucket("h"), true));
        assert_eq!(of("/b%75cket/k%2Fl", None), (Level::Object, bucket("bucket"), false));
        assert_eq!(of("/b%2Fk", Some("h")), (Level::Object, bucket("h"), true));
        let object = |path: &'static str, host: Option<&str>| {
            Target::of(path, host.map(str::to_owned)).expect("a target").object(&Uri::from_static(path))
        };
        let named = |bucket: &str, key: &str| Ok((bucket.to_owned(), key.to_owned()));
        assert_eq!(object("/b%75cket/k%2Fl+", None), named("bucket", "k/l+"));
        assert_eq!(object("/bucket/k", Some("host")), named("host", "bucket/k"));
        assert_eq!(object("/B_/k", None), Err(Fault::InvalidBucketName));
        assert_eq!(object("/bucket/%FF", None), Err(Fault::Request(RequestFault::InvalidUri)));
        for path in ["*", "/b%2Fk", "/b%2fk/l", "/%2F", "/b%FF/k", "/b%/k"] {
            assert!(Target::of(path, None).is_err(), "{path}");
        }
    }
}
