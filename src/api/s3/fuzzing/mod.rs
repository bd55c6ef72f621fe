//! Fuzz targets: XML documents that configure buckets, and headers that operations parse themselves.

use super::checksums;
use super::cors;
use super::cors::{CorsRules, ParsedRules, Preflight, answer_headers};
use super::encryption;
use super::lifecycle::wire as lifecycle;
use super::list::{decode_token, encode_token};
use super::multipart;
use super::object_headers::{etag_text, parse_etag, parse_md5, stored_headers};
use super::preconditions::{ReadConditions, write_conditions};
use super::settings::{inventory, notification};
use super::website::wire as website;
use super::{tags, version};
use crate::actors::meta::ETag;
use crate::api::call::Call;
use crate::api::call::WholeBody;
use crate::api::fuzzing::Request;
use crate::api::text::percent;
use crate::types::UnixMs;
use bytes::Bytes;
use http::{HeaderMap, Method, header};
use s3s::dto;
use s3s::xml::{Deserialize, Deserializer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// Parses XML as each kind of configuration. A valid one must read back the same from its stored form, and from the
/// form in which it is shown.
pub fn settings(data: &[u8]) {
    if let Some(rules) = read(data).and_then(|given| cors::from_dto(given).ok()) {
        same_kept(&rules);
        let shown = rules.rules.iter().cloned().map(cors::to_dto).collect();
        assert_eq!(cors::from_dto(dto::CORSConfiguration { cors_rules: shown }).ok().as_ref(), Some(&rules));
        ask_across(&rules);
    }
    if let Some(rules) = read(data).and_then(|given| lifecycle::from_dto(given, None, String::new).ok()) {
        same_kept(&rules);
        let shown = rules.rules.iter().cloned().map(lifecycle::to_dto).collect();
        let shown = dto::BucketLifecycleConfiguration { rules: shown };
        assert_eq!(lifecycle::from_dto(shown, None, String::new).ok().as_ref(), Some(&rules));
    }
    if let Some(site) = read(data).and_then(|given| website::from_dto(given).ok()) {
        same_kept(&site);
        let dto::GetBucketWebsiteOutput { error_document, index_document, redirect_all_requests_to, routing_rules } =
            website::to_dto(site.clone());
        let shown =
            dto::WebsiteConfiguration { error_document, index_document, redirect_all_requests_to, routing_rules };
        assert_eq!(website::from_dto(shown).ok(), Some(site));
    }
    if let Some(rules) = read(data).and_then(|given| notification::from_dto(given, String::new).ok()) {
        same_kept(&rules);
    }
    if let Some(given) = read::<dto::InventoryConfiguration>(data) {
        let id = given.id.clone();
        if let Ok(rules) = inventory::from_dto(&id, given) {
            same_kept(&rules);
            assert_eq!(inventory::from_dto(&id, inventory::to_dto(rules.clone())).ok(), Some(rules));
        }
    }
    if let Some(given) = read::<dto::Tagging>(data) {
        let _ = tags::of_set(given.tag_set, 10);
    }
    let body = WholeBody::default();
    body.put(Bytes::copy_from_slice(data));
    let call = Call { whole_body: Some(body), ..Call::default() };
    let _ = (tags::of_new_bucket(&call), multipart::of_completion(&call));
    if let Some(given) = read::<dto::AccessControlPolicy>(data) {
        let _ = super::grants::requested::RequestedAcl::of_request(&HeaderMap::new(), Some(given));
    }
}

fn read<'a, T: Deserialize<'a>>(data: &'a [u8]) -> Option<T> {
    let mut deserializer = Deserializer::new(data);
    let read = T::deserialize(&mut deserializer).ok()?;
    deserializer.expect_eof().ok()?;
    Some(read)
}

/// Checks that a document of the metadata reads back the same.
fn same_kept<T: Serialize + DeserializeOwned + PartialEq + Debug>(rules: &T) {
    let kept = serde_json::to_vec(rules).expect("rules have string keys only");
    assert_eq!(serde_json::from_slice::<T>(&kept).ok().as_ref(), Some(rules));
}

fn ask_across(rules: &CorsRules) {
    let parsed = ParsedRules::from(rules.clone());
    let origins =
        rules.rules.iter().flat_map(|rule| &rule.origins).chain(rules.rules.iter().flat_map(|rule| &rule.headers));
    for origin in origins {
        let mut request = HeaderMap::new();
        let Ok(value) = header::HeaderValue::from_str(origin) else { continue };
        request.insert(header::ORIGIN, value.clone());
        request.insert(header::ACCESS_CONTROL_REQUEST_METHOD, header::HeaderValue::from_static("GET"));
        request.insert(header::ACCESS_CONTROL_REQUEST_HEADERS, value);
        if let Ok(preflight) = Preflight::read(&request) {
            let _ = preflight.answer(Some(&parsed));
        }
        let _ = answer_headers(&parsed, &Method::GET, &request);
    }
}

/// Parses the headers of one request as each operation does, and its body as a continuation token and as an ETag.
pub fn headers(data: &[u8]) {
    let Some(Request { uri, headers, body, .. }) = Request::read(data) else { return };
    let etag = ETag { md5: [7; 16], parts: Some(3) };
    for conditions in [ReadConditions::of_read(&headers), ReadConditions::of_copy_source(&headers)] {
        let _ = conditions.judge(&etag, UnixMs(1_440_938_160_000));
    }
    let _ = write_conditions(&headers);
    let _ = (checksums::content_md5(&headers), checksums::of_headers(&headers), checksums::content_length(&headers));
    let _ = checksums::gives_any(&headers);
    let _ = stored_headers(&headers, None);
    let _ = tags::of_header(&headers);
    let _ = (encryption::requested_encryption(&headers, None), encryption::check_read(&headers));
    let _ = encryption::key_of_read(&headers, None);
    let _ = super::grants::requested::RequestedAcl::of_headers(&headers);
    let text = String::from_utf8_lossy(body);
    if let Ok(after) = decode_token(&text) {
        assert_eq!(encode_token(&after), text);
    }
    if let Some(etag) = parse_etag(&text) {
        assert_eq!(parse_etag(&etag_text(&etag)), Some(etag));
    }
    let _ = (parse_md5(&text), version::pick(Some(&text)));
    for text in [uri.path(), uri.query().unwrap_or_default()] {
        if let Some(decoded) = percent::decode_path(text) {
            assert_eq!(percent::decode_path(&percent::encode(&decoded)), Some(decoded));
        }
    }
}
