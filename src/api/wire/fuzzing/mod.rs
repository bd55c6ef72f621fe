//! Heads of requests, through all that looks at them before s3s does.

use super::around::{Remedies, unsigned};
use super::query::Query;
use super::renaming::{as_copy, is_rename};
use super::restated::restate;
use super::signer::check_covers;
use super::target::{Head, Target};
use super::verified::Trailers;
use crate::api::fuzzing::Request;
use crate::types::LegacySignatures;
use http::{HeaderMap, Method, Uri};
use std::time::Duration;

const NOW: Duration = Duration::from_secs(1_440_938_160);

fn request(method: &Method, uri: &Uri, headers: &HeaderMap) -> http::Request<()> {
    let mut request = http::Request::new(());
    *request.method_mut() = method.clone();
    *request.uri_mut() = uri.clone();
    *request.headers_mut() = headers.clone();
    request
}

/// What is put right needs nothing more, and what has been verified is not signed any more.
pub fn heads(data: &[u8]) {
    let Some(Request { method, uri, headers, body }) = Request::read(data) else { return };
    let Ok(query) = Query::read(uri.query()) else { return };
    for host_bucket in [None, Some("bucket".to_owned())] {
        let Ok(target) = Target::of(uri.path(), host_bucket) else { continue };
        let head = Head { method: &method, headers: &headers, query: &query, target: &target };
        for legacy in [LegacySignatures::Off, LegacySignatures::Urls, LegacySignatures::On] {
            let Ok(scheme) = super::check(head, legacy, NOW) else { continue };
            let mut request = request(&method, &uri, &headers);
            restate(scheme, &target, &mut request);
            let head = Head { headers: request.headers(), ..head };
            assert_eq!(super::check(head, legacy, NOW).ok(), Some(scheme));
        }
        if is_rename(&method, &uri, &target)
            && let Ok(copy) = as_copy(request(&method, &uri, &headers), &target)
        {
            assert!(!is_rename(copy.method(), copy.uri(), &target));
        }
    }
    let _ = check_covers(&headers, &uri);
    let (kept, _) = Remedies::find(&method, &headers, NOW).apply(headers);
    assert!(Remedies::find(&method, &kept, NOW).is_empty());
    assert_eq!(unsigned(&unsigned(&uri)), unsigned(&uri));
    let trailers = Trailers::default();
    trailers.put(body);
    assert!(trailers.take().is_some());
}
