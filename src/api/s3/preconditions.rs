//! The conditions of requests: the four on reads, with the precedence of RFC 9110, section 13.2.2, which is also S3's,
//! and those on writes, which the metadata state machine decides, but for appends (`objects/in_place`) and aborts of
//! uploads (`multipart`).

use super::object_headers::{etag_text, http_date, http_time, parse_etag};
use crate::actors::meta::{ETag, ETagCondition, Manifest, WriteConditions};
use crate::api::errors::Fault;
use crate::types::UnixMs;
use http::{HeaderMap, HeaderName, HeaderValue, header};

/// The headers of the four conditions, in S3's spelling for the error that names the failed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Names {
    if_match: &'static str,
    if_none_match: &'static str,
    if_modified_since: &'static str,
    if_unmodified_since: &'static str,
}

const OF_READ: Names = Names {
    if_match: "If-Match",
    if_none_match: "If-None-Match",
    if_modified_since: "If-Modified-Since",
    if_unmodified_since: "If-Unmodified-Since",
};
const OF_COPY_SOURCE: Names = Names {
    if_match: "x-amz-copy-source-If-Match",
    if_none_match: "x-amz-copy-source-If-None-Match",
    if_modified_since: "x-amz-copy-source-If-Modified-Since",
    if_unmodified_since: "x-amz-copy-source-If-Unmodified-Since",
};
const OF_RENAME_SOURCE: Names = Names {
    if_match: "x-amz-rename-source-If-Match",
    if_none_match: "x-amz-rename-source-If-None-Match",
    if_modified_since: "x-amz-rename-source-If-Modified-Since",
    if_unmodified_since: "x-amz-rename-source-If-Unmodified-Since",
};
/// The conditions of writes. If one of them fails, the metadata does not say which.
const WRITE_CONDITIONS: [&str; 6] = [
    OF_READ.if_match,
    OF_READ.if_none_match,
    OF_READ.if_modified_since,
    OF_READ.if_unmodified_since,
    "x-amz-if-match-size",
    "x-amz-if-match-last-modified-time",
];

/// The conditions of a read, or on the source of a copy or a rename.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadConditions {
    names: Names,
    if_match: Option<TagList>,
    if_none_match: Option<TagList>,
    if_modified_since_s: Option<i64>,
    if_unmodified_since_s: Option<i64>,
}

/// The outcome of the conditions on the existing version: the condition that stops the request, if any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Proceed,
    NotModified(&'static str),
    Failed(&'static str),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum TagList {
    Any,
    /// Opaque ETags, without quotes. Under `If-Match` a weak one matches nothing.
    Tags(Vec<Tag>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Tag {
    weak: bool,
    value: String,
}

impl TagList {
    /// Parses a list of ETags. The ETags of this store have no commas, so splitting at every comma is exact for those
    /// that can match.
    fn parse(text: &str) -> Self {
        if text.trim() == "*" {
            return Self::Any;
        }
        let tags = text.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(|tag| {
            let (weak, quoted) = match tag.strip_prefix("W/") {
                Some(rest) => (true, rest),
                None => (false, tag),
            };
            Tag { weak, value: quoted.trim_matches('"').to_owned() }
        });
        Self::Tags(tags.collect())
    }

    fn matches(&self, etag: &str, weakly: bool) -> bool {
        match self {
            Self::Any => true,
            Self::Tags(tags) => tags.iter().any(|tag| (weakly || !tag.weak) && tag.value == etag),
        }
    }
}

impl ReadConditions {
    /// Parses the conditions of a GET or HEAD.
    pub fn of_read(headers: &HeaderMap) -> Self {
        Self::from_headers(headers, OF_READ)
    }

    /// Parses the conditions on the source of a copy.
    pub fn of_copy_source(headers: &HeaderMap) -> Self {
        Self::from_headers(headers, OF_COPY_SOURCE)
    }

    /// Parses the conditions on the object that is renamed. Those on an object that has the new key already are in the
    /// headers of a read (`of_read`).
    pub fn of_rename_source(headers: &HeaderMap) -> Self {
        Self::from_headers(headers, OF_RENAME_SOURCE)
    }

    /// Checks the conditions if there is no object: those that require a match or a modification fail.
    pub fn check_absent(&self) -> Result<(), Fault> {
        if self.if_match.is_some() {
            return Err(Fault::PreconditionFailed(Some(self.names.if_match)));
        }
        if self.if_modified_since_s.is_some() && self.if_none_match.is_none() {
            return Err(Fault::PreconditionFailed(Some(self.names.if_modified_since)));
        }
        Ok(())
    }

    /// Returns whether a condition is on the time of the last modification.
    pub fn has_dates(&self) -> bool {
        self.if_modified_since_s.is_some() || self.if_unmodified_since_s.is_some()
    }

    /// Parses the conditions in these headers. A malformed date is ignored, as RFC 9110 requires.
    fn from_headers(headers: &HeaderMap, names: Names) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        Self {
            names,
            if_match: text(names.if_match).map(TagList::parse),
            if_none_match: text(names.if_none_match).map(TagList::parse),
            if_modified_since_s: text(names.if_modified_since).and_then(http_time),
            if_unmodified_since_s: text(names.if_unmodified_since).and_then(http_time),
        }
    }

    /// Decides the conditions on a version. `modified` is compared in whole seconds, as HTTP dates have them.
    pub fn judge(&self, etag: &ETag, modified: UnixMs) -> Verdict {
        let tag = etag_text(etag);
        let modified_s = i64::try_from(modified.0 / 1000).unwrap_or(i64::MAX);
        if let Some(tags) = &self.if_match {
            if !tags.matches(&tag, false) {
                return Verdict::Failed(self.names.if_match);
            }
        } else if self.if_unmodified_since_s.is_some_and(|since| modified_s > since) {
            return Verdict::Failed(self.names.if_unmodified_since);
        }
        if let Some(tags) = &self.if_none_match {
            if tags.matches(&tag, true) {
                return Verdict::NotModified(self.names.if_none_match);
            }
        } else if self.if_modified_since_s.is_some_and(|since| modified_s <= since) {
            return Verdict::NotModified(self.names.if_modified_since);
        }
        Verdict::Proceed
    }

    /// Checks the conditions of a read. The fault is 412, or 304 with the headers of the version.
    pub fn check_read(&self, manifest: &Manifest) -> Result<(), Fault> {
        match self.judge(&manifest.etag, manifest.modified) {
            Verdict::Proceed => Ok(()),
            Verdict::Failed(condition) => Err(Fault::PreconditionFailed(Some(condition))),
            Verdict::NotModified(_) => Err(Fault::NotModified(Box::new(validators(manifest)))),
        }
    }

    /// Checks the conditions on the source of a copy. Where a read is answered 304, this fault is 412.
    pub fn check_copy_source(&self, manifest: &Manifest) -> Result<(), Fault> {
        match self.judge(&manifest.etag, manifest.modified) {
            Verdict::Proceed => Ok(()),
            Verdict::Failed(condition) | Verdict::NotModified(condition) => {
                Err(Fault::PreconditionFailed(Some(condition)))
            }
        }
    }
}

/// Returns the condition of a write if it has exactly one, which is the failed one if the metadata reports a failure.
/// If there are several, it is unknown which one failed.
pub fn only_one(headers: &HeaderMap) -> Option<&'static str> {
    let mut given = WRITE_CONDITIONS
        .into_iter()
        .filter(|name| headers.keys().any(|known| known.as_str().eq_ignore_ascii_case(name)));
    given.next().filter(|_| given.next().is_none())
}

/// Returns the headers of a 304 (RFC 9110, section 15.4.5).
fn validators(manifest: &Manifest) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut put = |name: HeaderName, text: Option<String>| {
        if let Some(value) = text.and_then(|text| HeaderValue::try_from(text).ok()) {
            headers.insert(name, value);
        }
    };
    put(header::ETAG, Some(format!("\"{}\"", etag_text(&manifest.etag))));
    put(header::LAST_MODIFIED, http_date(manifest.modified));
    put(header::CACHE_CONTROL, manifest.headers.cache_control.clone());
    put(header::EXPIRES, manifest.headers.expires.clone());
    headers
}

/// Returns whether the range of a read applies: it does unless `If-Range` names another version than this one, by a
/// strong entity tag or by a date (RFC 9110, section 13.1.5).
pub fn allows_range(headers: &HeaderMap, manifest: &Manifest) -> bool {
    let Some(validator) = headers.get(header::IF_RANGE) else { return true };
    let validator = validator.to_str().unwrap_or_default();
    match validator.strip_prefix('"') {
        Some(tag) => tag.strip_suffix('"') == Some(etag_text(&manifest.etag).as_str()),
        None => http_date(manifest.modified).as_deref() == Some(validator),
    }
}

/// Parses `If-Match` or `If-None-Match` of a write: one ETag or `*`. Both headers together are refused.
pub fn write_conditions(headers: &HeaderMap) -> Result<WriteConditions, Fault> {
    let text = |name: HeaderName| match headers.get(&name) {
        None => Ok(None),
        Some(value) => {
            value.to_str().map(Some).map_err(|_| Fault::InvalidArgument(format!("The header {name} is not text.")))
        }
    };
    let if_match = text(header::IF_MATCH)?.map(tag_condition);
    let if_none_match = text(header::IF_NONE_MATCH)?.map(|text| other_than(text.trim())).transpose()?;
    if if_match.is_some() && if_none_match.is_some() {
        return Err(Fault::HeaderNotImplemented {
            header: "If-Match,If-None-Match",
            why: "Multiple conditional request headers present in the request".to_owned(),
        });
    }
    Ok(WriteConditions { if_match, if_none_match })
}

/// Parses a condition that the existing object has another ETag. Weak ETags compare as strong ones here (RFC 9110,
/// section 13.1.2). A malformed ETag, such as one with one quote, is refused, since it would let every object be
/// overwritten; AWS refuses all but `*`.
fn other_than(text: &str) -> Result<ETagCondition, Fault> {
    if text == "*" {
        return Ok(ETagCondition::Any);
    }
    let tag = text.strip_prefix("W/").unwrap_or(text);
    let tag = tag.strip_prefix('"').map_or(tag, |rest| rest.strip_suffix('"').unwrap_or_default());
    if tag.is_empty() || tag.contains(['*', ',', '"', '/']) {
        return Err(Fault::HeaderNotImplemented {
            header: "If-None-Match",
            why: "We don't accept the provided value of If-None-Match header for this API".to_owned(),
        });
    }
    Ok(tag_condition(tag))
}

/// Parses a condition on an ETag. One that no object here can have matches none.
pub fn tag_condition(text: &str) -> ETagCondition {
    match text.trim() {
        "*" => ETagCondition::Any,
        tag => parse_etag(tag.trim_matches('"')).map_or(ETagCondition::Unknown, ETagCondition::Is),
    }
}

#[cfg(test)]
mod tests {
    use super::{ReadConditions, Verdict, only_one, tag_condition, write_conditions};
    use crate::actors::meta::{Body, ETag, ETagCondition, Manifest, ObjectHeaders};
    use crate::api::errors::Fault;
    use crate::types::{ManifestId, UnixMs};
    use http::{HeaderMap, HeaderName, HeaderValue};

    const OURS: &str = "\"00000000000000000000000000000000\"";
    const OTHER: &str = "\"ffffffffffffffffffffffffffffffff\"";
    const BEFORE: &str = "Thu, 01 Jan 1970 00:16:39 GMT";
    const AT: &str = "Thu, 01 Jan 1970 00:16:40 GMT";
    /// 0.4 s into the second that `AT` names.
    const MODIFIED: UnixMs = UnixMs(1_000_400);

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        HeaderMap::from_iter(
            pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))),
        )
    }

    fn judge(pairs: &[(&'static str, &'static str)]) -> Verdict {
        ReadConditions::of_read(&headers(pairs)).judge(&ETag { md5: [0; 16], parts: None }, MODIFIED)
    }

    fn failed(condition: &'static str) -> Result<(), Fault> {
        Err(Fault::PreconditionFailed(Some(condition)))
    }

    #[test]
    fn each_condition_of_a_read_is_decided_by_itself() {
        let (other, same) = (Verdict::Failed("If-Match"), Verdict::NotModified("If-None-Match"));
        for (name, value, verdict) in [
            ("if-match", OURS, Verdict::Proceed),
            ("if-match", "*", Verdict::Proceed),
            ("if-match", OTHER, other),
            ("if-match", "W/\"00000000000000000000000000000000\"", other),
            ("if-match", "00000000000000000000000000000000", Verdict::Proceed),
            ("if-none-match", OURS, same),
            ("if-none-match", "*", same),
            ("if-none-match", OTHER, Verdict::Proceed),
            ("if-none-match", "W/\"00000000000000000000000000000000\"", same),
            ("if-modified-since", AT, Verdict::NotModified("If-Modified-Since")),
            ("if-modified-since", BEFORE, Verdict::Proceed),
            ("if-unmodified-since", AT, Verdict::Proceed),
            ("if-unmodified-since", BEFORE, Verdict::Failed("If-Unmodified-Since")),
            ("if-unmodified-since", "yesterday", Verdict::Proceed),
        ] {
            assert_eq!(judge(&[(name, value)]), verdict, "{name}: {value}");
        }
    }

    #[test]
    fn conditions_on_etags_take_precedence_over_dates() {
        assert_eq!(judge(&[("if-match", OURS), ("if-unmodified-since", BEFORE)]), Verdict::Proceed);
        assert_eq!(judge(&[("if-none-match", OTHER), ("if-modified-since", AT)]), Verdict::Proceed);
        assert_eq!(judge(&[("if-match", OTHER), ("if-none-match", OURS)]), Verdict::Failed("If-Match"));
        assert_eq!(judge(&[("if-match", OURS), ("if-none-match", OURS)]), Verdict::NotModified("If-None-Match"));
        let late = judge(&[("if-unmodified-since", BEFORE), ("if-none-match", OURS)]);
        assert_eq!(late, Verdict::Failed("If-Unmodified-Since"));
    }

    #[test]
    fn an_absent_object_fails_if_match_and_if_modified_since() {
        let absent = |pairs: &[(&'static str, &'static str)]| ReadConditions::of_read(&headers(pairs)).check_absent();
        for pairs in [&[][..], &[("if-none-match", "*")], &[("if-unmodified-since", BEFORE)]] {
            assert_eq!(absent(pairs), Ok(()), "{pairs:?}");
        }
        for (name, value, condition) in [
            ("if-match", "*", "If-Match"),
            ("if-match", OURS, "If-Match"),
            ("if-modified-since", BEFORE, "If-Modified-Since"),
        ] {
            assert_eq!(absent(&[(name, value)]), failed(condition), "{name}: {value}");
        }
        let source = headers(&[("x-amz-rename-source-if-match", OTHER), ("if-match", OURS)]);
        let verdict = ReadConditions::of_rename_source(&source).judge(&ETag { md5: [0; 16], parts: None }, MODIFIED);
        assert_eq!(verdict, Verdict::Failed("x-amz-rename-source-If-Match"));
    }

    #[test]
    fn an_unmodified_copy_source_is_answered_412_instead_of_304() {
        let manifest = Manifest {
            id: ManifestId(1),
            size_bytes: 9,
            etag: ETag { md5: [0; 16], parts: None },
            modified: MODIFIED,
            headers: ObjectHeaders::default(),
            checksum: None,
            body: Body::Inline,
        };
        let check = |name: &'static str, value: &'static str| {
            ReadConditions::of_copy_source(&headers(&[(name, value)])).check_copy_source(&manifest)
        };
        assert_eq!(check("x-amz-copy-source-if-match", OURS), Ok(()));
        for (name, value, condition) in [
            ("x-amz-copy-source-if-match", OTHER, "x-amz-copy-source-If-Match"),
            ("x-amz-copy-source-if-none-match", OURS, "x-amz-copy-source-If-None-Match"),
            ("x-amz-copy-source-if-modified-since", AT, "x-amz-copy-source-If-Modified-Since"),
            ("x-amz-copy-source-if-unmodified-since", BEFORE, "x-amz-copy-source-If-Unmodified-Since"),
        ] {
            assert_eq!(check(name, value), failed(condition), "{name}");
        }
        let read = ReadConditions::of_read(&headers(&[("if-match", OTHER)])).check_read(&manifest);
        assert_eq!(read, failed("If-Match"));
    }

    #[test]
    fn the_only_condition_of_a_write_is_the_failed_one() {
        assert_eq!(only_one(&headers(&[("if-none-match", "*"), ("x-amz-acl", "private")])), Some("If-None-Match"));
        assert_eq!(only_one(&headers(&[("if-match", OURS), ("x-amz-if-match-size", "1")])), None);
        assert_eq!(only_one(&headers(&[])), None);
    }

    #[test]
    fn a_list_of_etags_matches_if_one_of_them_does() {
        let list = "\"ffffffffffffffffffffffffffffffff\", \"00000000000000000000000000000000\"";
        assert_eq!(judge(&[("if-match", list)]), Verdict::Proceed);
        assert_eq!(judge(&[("if-none-match", list)]), Verdict::NotModified("If-None-Match"));
    }

    #[test]
    fn a_write_takes_one_etag_condition_and_refuses_malformed_ones() {
        let ours = ETagCondition::Is(ETag { md5: [0; 16], parts: None });
        let made = write_conditions(&headers(&[("if-match", OURS)])).expect("a tag");
        assert_eq!((made.if_match, made.if_none_match), (Some(ours.clone()), None));
        for (text, condition) in [
            ("*", ETagCondition::Any),
            (OURS, ours.clone()),
            ("W/\"00000000000000000000000000000000\"", ours),
            ("other", ETagCondition::Unknown),
        ] {
            let made = write_conditions(&headers(&[("if-none-match", text)])).expect("a condition");
            assert_eq!((made.if_match, made.if_none_match), (None, Some(condition)), "{text}");
        }
        let several = format!("{OURS}, {OTHER}").leak();
        let weakly = format!("w/{OURS}").leak();
        for refused in [
            &[("if-none-match", &*several)][..],
            &[("if-none-match", &*weakly)],
            &[("if-none-match", "\"*\"")],
            &[("if-none-match", OURS.strip_suffix('"').expect("a quote"))],
            &[("if-none-match", OURS.strip_prefix('"').expect("a quote"))],
            &[("if-none-match", "\"\"")],
            &[("if-none-match", "")],
            &[("if-match", OURS), ("if-none-match", OTHER)],
        ] {
            assert!(
                matches!(write_conditions(&headers(refused)), Err(Fault::HeaderNotImplemented { .. })),
                "{refused:?}"
            );
        }
        assert_eq!(tag_condition("\"not-a-tag\""), ETagCondition::Unknown);
        assert_eq!(
            tag_condition("\"00000000000000000000000000000000-3\""),
            ETagCondition::Is(ETag { md5: [0; 16], parts: Some(3) })
        );
    }
}
