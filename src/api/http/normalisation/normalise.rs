//! Request normalisation: headers that S3 accepts and s3s refuses are dropped, rewritten, or set aside for the
//! operation. These are malformed ranges and dates, text beyond ASCII, user metadata that only seems to be encoded, and
//! entity tags without quotes. The signature, which was verified before, is removed.

use crate::api::auth::{Scheme, USER_METADATA, as_metadata, moment, unhoist};
use crate::api::text::Query;
use crate::api::text::query::OF_SIGNATURES;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use s3s::dto::{ETagCondition, Range, Timestamp, TimestampFormat};
use std::time::{Duration, UNIX_EPOCH};
use time::OffsetDateTime;

const READS_TEXT: [HeaderName; 5] = [
    header::CACHE_CONTROL,
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_TYPE,
];
const READS_DATES: [HeaderName; 2] = [header::IF_MODIFIED_SINCE, header::IF_UNMODIFIED_SINCE];
const COPY_READS_DATES: [HeaderName; 2] =
    [s3s::header::X_AMZ_COPY_SOURCE_IF_MODIFIED_SINCE, s3s::header::X_AMZ_COPY_SOURCE_IF_UNMODIFIED_SINCE];
const READS_TAGS: [HeaderName; 4] = [
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    s3s::header::X_AMZ_COPY_SOURCE_IF_MATCH,
    s3s::header::X_AMZ_COPY_SOURCE_IF_NONE_MATCH,
];
/// A range after the end of any object; it replaces ranges whose begin is too large for s3s.
const BEYOND: &str = "bytes=9223372036854775807-";

/// The treatment of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Remedy {
    /// Drops the header, which S3 ignores.
    Drop,
    /// Replaces the value by one with the same meaning.
    Write(HeaderValue),
    /// Hides the header from s3s and passes it to the operation.
    Aside,
}

/// The headers that s3s does not accept as they are, with their treatment. Usually empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Remedies(Vec<(HeaderName, Remedy)>);

impl Remedies {
    /// Finds the headers to treat. `now` is the time since the Unix epoch.
    fn find(method: &Method, headers: &HeaderMap, now: Duration) -> Self {
        let mut found = match *method {
            Method::GET | Method::HEAD => of_read(headers, now),
            Method::PUT | Method::POST => of_write(headers, now),
            _ => Vec::new(),
        };
        found.extend(of_tags(headers));
        Self(found)
    }

    /// Applies the treatments to the headers; returns the headers that were set aside.
    fn apply(self, headers: &mut HeaderMap) -> HeaderMap {
        let mut aside = HeaderMap::new();
        for (name, remedy) in self.0 {
            match (remedy, headers.remove(&name)) {
                (Remedy::Write(value), _) => drop(headers.insert(name, value)),
                (Remedy::Aside, Some(value)) => drop(aside.insert(name, value)),
                (Remedy::Aside, None) | (Remedy::Drop, _) => {}
            }
        }
        aside
    }
}

/// Returns the remedies for the headers of a read. A malformed range, several ranges, another unit than bytes, and a
/// malformed date are ignored (RFC 9110).
fn of_read(headers: &HeaderMap, now: Duration) -> Vec<(HeaderName, Remedy)> {
    let mut found = Vec::new();
    let ranges: Vec<&HeaderValue> = headers.get_all(header::RANGE).iter().collect();
    let remedy = match ranges[..] {
        [] => None,
        [value] => range_remedy(value.to_str().unwrap_or_default()),
        _ => Some(Remedy::Drop),
    };
    found.extend(remedy.map(|remedy| (header::RANGE, remedy)));
    found.extend(READS_DATES.into_iter().filter_map(|name| {
        let remedy = headers.get_all(&name).iter().find_map(|value| date_remedy(&name, value, now))?;
        Some((name, remedy.unwrap_or(Remedy::Drop)))
    }));
    found
}

/// Returns the treatment of a date in a condition: `None` if s3s parses it and it counts, `Some(None)` if it is not a
/// date. S3 ignores an if-modified-since in the future, so this one is dropped.
fn date_remedy(name: &HeaderName, value: &HeaderValue, now: Duration) -> Option<Option<Remedy>> {
    let at = value.to_str().ok().and_then(|text| moment(text).or_else(|| obsolete_date(text)));
    if name.as_str().ends_with("if-modified-since") && at.is_some_and(|at| at > now.as_secs()) {
        return Some(Some(Remedy::Drop));
    }
    (!is_date(value)).then(|| at.and_then(in_another_form))
}

/// Parses a date in one of the two obsolete forms that RFC 9110, section 5.6.7, has recipients accept: that of RFC 850
/// and that of C's `asctime`.
fn obsolete_date(text: &str) -> Option<u64> {
    let at = httpdate::parse_http_date(text.trim()).ok()?;
    Some(at.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

/// Returns the remedy for a date in another form, such as RFC 5322 with a zone: the same time as an HTTP date.
fn in_another_form(at: u64) -> Option<Remedy> {
    let at = OffsetDateTime::from_unix_timestamp(i64::try_from(at).ok()?).ok()?;
    let mut text = Vec::new();
    Timestamp::from(at).format(TimestampFormat::HttpDate, &mut text).ok()?;
    HeaderValue::try_from(text).ok().map(Remedy::Write)
}

/// Returns how to treat headers of a write that s3s would refuse: text to be stored with the object, and dates in copy
/// conditions.
fn of_write(headers: &HeaderMap, now: Duration) -> Vec<(HeaderName, Remedy)> {
    let unread = |name: &HeaderName| headers.get(name).is_some_and(|value| !value.is_empty() && !is_read(name, value));
    let names = READS_TEXT.into_iter().chain([header::EXPIRES]);
    let aside = names.filter(unread).map(|name| (name, Remedy::Aside));
    let dates = COPY_READS_DATES.into_iter().filter_map(|name| {
        let remedy = date_remedy(&name, headers.get(&name)?, now)??;
        Some((name, remedy))
    });
    aside.chain(dates).chain(metadata_remedies(headers)).collect()
}

/// Returns the remedies for user metadata that begins and ends as if it were encoded by RFC 2047, and is not: it is
/// encoded, so that s3s reads the same text. s3s drops what is between encoded words, and panics at `=?=`.
fn metadata_remedies(headers: &HeaderMap) -> impl Iterator<Item = (HeaderName, Remedy)> {
    let metadata = headers.keys().filter(|name| name.as_str().starts_with(USER_METADATA));
    metadata.filter_map(|name| {
        let mut values = headers.get_all(name).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return None };
        let text = std::str::from_utf8(value.as_bytes()).ok()?.trim();
        let seems_encoded = text.starts_with("=?") && text.ends_with("?=");
        if !seems_encoded || text.split_whitespace().all(is_encoded_word) {
            return None;
        }
        Some((name.clone(), Remedy::Write(HeaderValue::try_from(as_metadata(text)).ok()?)))
    })
}

/// Returns whether a word has the form of an encoded word: `=?charset?B?text?=`, or with `Q`.
fn is_encoded_word(word: &str) -> bool {
    let inner = word.strip_prefix("=?").and_then(|rest| rest.strip_suffix("?="));
    let mut parts = inner.unwrap_or_default().splitn(3, '?').skip(1);
    parts.next().is_some_and(|encoding| matches!(encoding, "B" | "b" | "Q" | "q")) && parts.next().is_some()
}

/// Returns the remedies for entity tags in conditions: a tag without quotes gets them, because S3 accepts both.
fn of_tags(headers: &HeaderMap) -> Vec<(HeaderName, Remedy)> {
    let quoted = |name: &HeaderName| {
        let mut values = headers.get_all(name).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return None };
        let text = value.to_str().ok().filter(|text| !text.is_empty())?;
        if ETagCondition::parse_http_header(text.as_bytes()).is_ok() {
            return None;
        }
        HeaderValue::try_from(format!("\"{text}\"")).ok()
    };
    READS_TAGS.into_iter().filter_map(|name| quoted(&name).map(|value| (name, Remedy::Write(value)))).collect()
}

fn is_read(name: &HeaderName, value: &HeaderValue) -> bool {
    if *name == header::EXPIRES { is_date(value) } else { value.to_str().is_ok() }
}

pub fn is_date(value: &HeaderValue) -> bool {
    value.to_str().is_ok_and(|text| Timestamp::parse(TimestampFormat::HttpDate, text).is_ok())
}

/// Returns the remedy for a range; `None` if s3s parses it as S3 does.
fn range_remedy(text: &str) -> Option<Remedy> {
    // s3s parses `bytes=-` as the last 0 bytes; S3 ignores it.
    if Range::parse(text).is_ok() && text != "bytes=-" {
        return None;
    }
    let written = |text: &str| HeaderValue::from_str(text).map_or(Remedy::Drop, Remedy::Write);
    let Some((unit, set)) = text.split_once('=') else { return Some(Remedy::Drop) };
    let Some((first, last)) = set.split_once('-') else { return Some(Remedy::Drop) };
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !unit.trim().eq_ignore_ascii_case("bytes") || !is_number(first) || !is_number(last) {
        return Some(Remedy::Drop);
    }
    // A number above `i64::MAX` is beyond the end of any object.
    let known = |text: &str| text.parse::<u64>().ok().filter(|number| i64::try_from(*number).is_ok());
    Some(match (first, last) {
        ("", "") => Remedy::Drop,
        ("", length) => match length.parse::<u64>() {
            Ok(length) => written(&format!("bytes=-{length}")),
            Err(_) => written("bytes=0-"),
        },
        (first, last) => match (known(first), known(last)) {
            (None, _) => written(BEYOND),
            (Some(first), None) => written(&format!("bytes={first}-")),
            (Some(first), Some(last)) if first <= last => written(&format!("bytes={first}-{last}")),
            (Some(_), Some(_)) => Remedy::Drop,
        },
    })
}

/// Normalises an authenticated request for s3s: removes its signature and applies the remedies. Returns the headers
/// that were set aside for the operation. `now` is the time since the Unix epoch.
pub fn normalise<B>(request: &mut Request<B>, scheme: Scheme, query: &Query, now: Duration) -> HeaderMap {
    if matches!(scheme, Scheme::Url | Scheme::LegacyUrl) {
        unhoist(request.headers_mut(), query, scheme == Scheme::LegacyUrl);
    }
    match scheme {
        Scheme::Unsigned => {}
        Scheme::Header | Scheme::LegacyHeader => drop(request.headers_mut().remove(header::AUTHORIZATION)),
        Scheme::Url | Scheme::LegacyUrl => *request.uri_mut() = unsigned(request.uri()),
    }
    let remedies = Remedies::find(request.method(), request.headers(), now);
    remedies.apply(request.headers_mut())
}

/// Returns the URI without the query parameters of a signature.
fn unsigned(uri: &Uri) -> Uri {
    let Some(query) = uri.query() else { return uri.clone() };
    let kept = query.split('&').filter(|pair| !OF_SIGNATURES.contains(&pair.split_once('=').unwrap_or((pair, "")).0));
    let query = kept.collect::<Vec<_>>().join("&");
    let path = uri.path();
    let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    Uri::try_from(target).unwrap_or_else(|_| uri.clone())
}

#[cfg(test)]
mod tests {
    use super::{Remedies, unsigned};
    use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
    use std::time::Duration;

    const NOW: Duration = Duration::from_secs(1_800_000_000);

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let value = HeaderValue::from_bytes(value.as_bytes()).expect("a value");
            headers.append(HeaderName::from_static(name), value);
        }
        headers
    }

    /// Returns the headers that are left, and those that were set aside.
    fn applied(method: &Method, mut headers: HeaderMap) -> (HeaderMap, HeaderMap) {
        let aside = Remedies::find(method, &headers, NOW).apply(&mut headers);
        (headers, aside)
    }

    /// Returns the normalised range; `None` if it is ignored.
    fn range(text: &str) -> Option<String> {
        let given = headers(&[("range", text)]);
        let (kept, aside) = applied(&Method::GET, given);
        assert!(aside.is_empty());
        kept.get("range").map(|value| value.to_str().expect("text").to_owned())
    }

    #[test]
    fn a_malformed_or_unsupported_range_is_ignored() {
        for text in [
            "bytes=0-1,3-4",
            "bytes=5-2",
            "bytes=a-b",
            "bytes=-",
            "bytes=",
            "bytes",
            "lines=0-4",
            "bytes=0",
            "bytes=1--2",
            "bytes=+1-2",
            "bytes= -1",
            "bytes=0 -1",
            "\u{e9}",
        ] {
            assert_eq!(range(text), None, "{text}");
        }
        let twice = headers(&[("range", "bytes=0-1"), ("range", "bytes=2-3")]);
        assert!(!applied(&Method::HEAD, twice).0.contains_key("range"));
    }

    #[test]
    fn a_valid_range_is_kept_in_a_form_that_s3s_parses() {
        for text in ["bytes=0-", "bytes=0-0", "bytes=-5", "bytes=40-50"] {
            assert_eq!(range(text).as_deref(), Some(text));
        }
        assert_eq!(range("Bytes=1-2").as_deref(), Some("bytes=1-2"));
        assert_eq!(range("bytes=3-99999999999999999999").as_deref(), Some("bytes=3-"));
        assert_eq!(range("bytes=-99999999999999999999").as_deref(), Some("bytes=0-"));
        assert_eq!(range("bytes=99999999999999999999-").as_deref(), Some("bytes=9223372036854775807-"));
    }

    #[test]
    fn a_malformed_date_in_a_condition_is_ignored() {
        let given =
            headers(&[("if-modified-since", "yesterday"), ("if-unmodified-since", "Sun, 06 Nov 1994 08:49:37 GMT")]);
        let (kept, _) = applied(&Method::GET, given);
        assert!(!kept.contains_key("if-modified-since") && kept.contains_key("if-unmodified-since"));
    }

    #[test]
    fn a_date_in_another_form_is_rewritten_as_an_http_date() {
        let at = "Sun, 06 Nov 1994 08:49:37 GMT";
        for (method, name) in [
            (Method::GET, "if-modified-since"),
            (Method::HEAD, "if-unmodified-since"),
            (Method::PUT, "x-amz-copy-source-if-modified-since"),
            (Method::PUT, "x-amz-copy-source-if-unmodified-since"),
        ] {
            for text in [
                "Sun, 06 Nov 1994 08:49:37 -0000",
                "Sun, 06 Nov 1994 09:49:37 +0100",
                "Sunday, 06-Nov-94 08:49:37 GMT",
                "Sun Nov  6 08:49:37 1994",
                at,
            ] {
                let given = headers(&[(name, text)]);
                let (kept, _) = applied(&method, given);
                assert_eq!(kept.get(name).map(HeaderValue::as_bytes), Some(at.as_bytes()), "{name}: {text}");
            }
        }
    }

    #[test]
    fn a_condition_on_changes_since_a_future_time_is_ignored() {
        let (to_come, past) = ("Fri, 15 Jan 2027 08:00:01 GMT", "Fri, 15 Jan 2027 08:00:00 GMT");
        for (method, name) in [(Method::GET, "if-modified-since"), (Method::PUT, "x-amz-copy-source-if-modified-since")]
        {
            for (text, counts) in [(to_come, false), (past, true), ("Fri, 15 Jan 2027 08:00:01 -0000", false)] {
                let given = headers(&[(name, text)]);
                let (kept, _) = applied(&method, given);
                assert_eq!(kept.contains_key(name), counts, "{name}: {text}");
            }
        }
        let given = headers(&[("if-unmodified-since", to_come)]);
        assert!(Remedies::find(&Method::GET, &given, NOW).0.is_empty());
    }

    #[test]
    fn stored_headers_that_s3s_does_not_parse_are_set_aside() {
        let given = headers(&[
            ("content-disposition", "attachment; filename=\u{e9}"),
            ("expires", "0"),
            ("content-type", "a/b"),
        ]);
        let (kept, aside) = applied(&Method::PUT, given);
        assert_eq!((kept.len(), aside.len()), (1, 2));
        assert!(kept.contains_key("content-type"));
    }

    #[test]
    fn an_entity_tag_without_quotes_gets_them() {
        let written = |method: Method, name: &'static str, text: &str| {
            let given = headers(&[(name, text)]);
            let (kept, aside) = applied(&method, given);
            assert!(aside.is_empty());
            kept.get(name).map(|value| value.to_str().expect("text").to_owned())
        };
        for (method, name) in [
            (Method::GET, "if-none-match"),
            (Method::PUT, "if-match"),
            (Method::PUT, "x-amz-copy-source-if-none-match"),
            (Method::DELETE, "if-match"),
        ] {
            assert_eq!(written(method.clone(), name, "no_such_tag").as_deref(), Some("\"no_such_tag\""), "{name}");
            for text in ["\"a_b\"", "0123456789abcdef-2", "*", "W/\"a\""] {
                assert_eq!(written(method.clone(), name, text).as_deref(), Some(text), "{name}");
            }
        }
    }

    #[test]
    fn metadata_that_only_seems_to_be_encoded_is_stored_as_it_is() {
        let read = |text: &str| {
            let (kept, _) = applied(&Method::PUT, headers(&[("x-amz-meta-a", text)]));
            let value = kept["x-amz-meta-a"].to_str().expect("text");
            let encoded = value.strip_prefix("=?UTF-8?B?").and_then(|rest| rest.strip_suffix("?="));
            encoded.map(|encoded| base64_simd::STANDARD.decode_to_vec(encoded).expect("base64"))
        };
        for text in ["=?=", "=?= =?=", "=?x?=", "=?a?b?=", "=?a?X?b?=", "=?? ?=", "=?UTF-8?B?YQ==?= c =?UTF-8?B?Yg==?="]
        {
            assert_eq!(read(text).as_deref(), Some(text.as_bytes()), "{text}");
        }
        for text in ["=?UTF-8?B?YQ==?= =?UTF-8?Q?b?=", "=?UTF-8?q?=C3=A9?=", "=?", "?=", "a =?="] {
            let given = headers(&[("x-amz-meta-a", text)]);
            assert!(Remedies::find(&Method::PUT, &given, NOW).0.is_empty(), "{text}");
        }
    }

    #[test]
    fn ordinary_headers_need_no_normalisation() {
        let plain = headers(&[
            ("range", "bytes=0-4"),
            ("if-none-match", "\"0123456789abcdef\""),
            ("content-type", "text/plain"),
            ("expires", ""),
            ("x-amz-meta-a", "\u{e9}"),
        ]);
        for method in [Method::GET, Method::HEAD, Method::PUT, Method::POST, Method::DELETE] {
            assert!(Remedies::find(&method, &plain, NOW).0.is_empty(), "{method}");
        }
    }

    #[test]
    fn the_signature_is_removed_from_the_url() {
        let without = |uri: &'static str| unsigned(&Uri::from_static(uri)).to_string();
        assert_eq!(without("/b/k?X-Amz-Algorithm=a&versionId=v&X-Amz-Signature=s"), "/b/k?versionId=v");
        assert_eq!(without("/b/k?Signature=s"), "/b/k");
        assert_eq!(without("/b/k"), "/b/k");
    }
}
