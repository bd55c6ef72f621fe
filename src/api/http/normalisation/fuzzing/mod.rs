//! The fuzz target of request heads: everything that processes a head before s3s.

use super::normalise::normalise;
use super::renaming::{is_rename, rename_source};
use crate::api::auth::{Scheme, read};
use crate::api::call::{Head, Target};
use crate::api::fuzzing::Request;
use crate::api::text::Query;
use crate::types::LegacySignatures;
use http::{HeaderMap, Method, Uri, header};
use std::time::Duration;

const NOW: Duration = Duration::from_secs(1_440_938_160);

fn request(method: &Method, uri: &Uri, headers: &HeaderMap) -> http::Request<()> {
    let mut request = http::Request::new(());
    *request.method_mut() = method.clone();
    *request.uri_mut() = uri.clone();
    *request.headers_mut() = headers.clone();
    request
}

/// Normalises a head. The result must state no signature, and must not change when it is normalised again.
pub fn heads(data: &[u8]) {
    let Some(Request { method, uri, headers, .. }) = Request::read(data) else { return };
    let Ok(query) = Query::read(uri.query()) else { return };
    for host_bucket in [None, Some("bucket".to_owned())] {
        let Ok(target) = Target::of(uri.path(), host_bucket) else { continue };
        let head = Head { method: &method, headers: &headers, query: &query, target: &target };
        let _ = super::check_subresources(head);
        for legacy in [LegacySignatures::Off, LegacySignatures::Urls, LegacySignatures::On] {
            let Ok(claim) = read(head, legacy, NOW) else { continue };
            let mut once = request(&method, &uri, &headers);
            let _: HeaderMap = normalise(&mut once, claim.scheme(), &query, NOW);
            assert!(claim.scheme() == Scheme::Unsigned || !once.headers().contains_key(header::AUTHORIZATION));
            let plain = Query::read(once.uri().query()).expect("part of a query");
            let head = Head { headers: once.headers(), query: &plain, ..head };
            assert_eq!(read(head, legacy, NOW).map(|claim| claim.scheme()).ok(), Some(Scheme::Unsigned));
            let mut twice = request(&method, once.uri(), once.headers());
            assert!(normalise(&mut twice, Scheme::Unsigned, &plain, NOW).is_empty());
            assert_eq!((twice.uri(), twice.headers()), (once.uri(), once.headers()));
        }
        if is_rename(head)
            && let Ok(source) = rename_source(&headers, target.bucket.as_deref().unwrap_or_default())
        {
            assert!(!source.is_empty());
        }
    }
}
