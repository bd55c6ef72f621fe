//! The conditions of requests: the four on reads, in the precedence of RFC 9110 section 13.2.2 (which is S3's too), and
//! those on writes, which the metadata state machine decides.

use super::errors::Fault;
use super::headers::{etag_text, http_date, http_time, parse_etag};
use crate::actors::meta::{ETag, ETagCondition, Manifest, WriteConditions};
use crate::types::UnixMs;
use http::{HeaderMap, HeaderName, HeaderValue, header};

/// The conditions of a read, or of the source of a copy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadConditions {
    if_match: Option<TagList>,
    if_none_match: Option<TagList>,
    if_modified_since_s: Option<i64>,
    if_unmodified_since_s: Option<i64>,
}

/// What the conditions say of the version that stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Proceed,
    NotModified,
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum TagList {
    Any,
    /// Opaque tags, without quotes. A weak one carries its mark: it never equals a strong one under `If-Match`.
    Tags(Vec<Tag>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Tag {
    weak: bool,
    value: String,
}

impl TagList {
    /// Our tags have no commas, so splitting at every comma is exact for those that can match.
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
    /// Of a GET or HEAD.
    pub fn of_read(headers: &HeaderMap) -> Self {
        Self::from_headers(
            headers,
            [header::IF_MATCH, header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE, header::IF_UNMODIFIED_SINCE],
        )
    }

    /// Of the source of a copy.
    pub fn of_copy_source(headers: &HeaderMap) -> Self {
        Self::from_headers(
            headers,
            [
                s3s::header::X_AMZ_COPY_SOURCE_IF_MATCH,
                s3s::header::X_AMZ_COPY_SOURCE_IF_NONE_MATCH,
                s3s::header::X_AMZ_COPY_SOURCE_IF_MODIFIED_SINCE,
                s3s::header::X_AMZ_COPY_SOURCE_IF_UNMODIFIED_SINCE,
            ],
        )
    }

    /// Of the object that is renamed. Those on the object that stands under its new name are those of a read.
    pub fn of_rename_source(headers: &HeaderMap) -> Self {
        let names = [
            "x-amz-rename-source-if-match",
            "x-amz-rename-source-if-none-match",
            "x-amz-rename-source-if-modified-since",
            "x-amz-rename-source-if-unmodified-since",
        ];
        Self::from_headers(headers, names.map(HeaderName::from_static))
    }

    /// Where there is no object: what must match something, or have changed since, does not.
    pub fn check_absent(&self) -> Result<(), Fault> {
        let has_changed = self.if_modified_since_s.is_some() && self.if_none_match.is_none();
        if self.if_match.is_some() || has_changed { Err(Fault::PreconditionFailed) } else { Ok(()) }
    }

    /// Whether the time of the last change decides anything.
    pub fn has_dates(&self) -> bool {
        self.if_modified_since_s.is_some() || self.if_unmodified_since_s.is_some()
    }

    /// A date that is none is ignored, as RFC 9110 says.
    fn from_headers(headers: &HeaderMap, names: [HeaderName; 4]) -> Self {
        let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let [if_match, if_none_match, if_modified_since, if_unmodified_since] = names;
        Self {
            if_match: text(&if_match).map(TagList::parse),
            if_none_match: text(&if_none_match).map(TagList::parse),
            if_modified_since_s: text(&if_modified_since).and_then(http_time),
            if_unmodified_since_s: text(&if_unmodified_since).and_then(http_time),
        }
    }

    /// HTTP dates have whole seconds, so `modified` is compared by its whole second.
    pub fn judge(&self, etag: &ETag, modified: UnixMs) -> Verdict {
        let tag = etag_text(etag);
        let modified_s = i64::try_from(modified.0 / 1000).unwrap_or(i64::MAX);
        if let Some(tags) = &self.if_match {
            if !tags.matches(&tag, false) {
                return Verdict::Failed;
            }
        } else if self.if_unmodified_since_s.is_some_and(|since| modified_s > since) {
            return Verdict::Failed;
        }
        if let Some(tags) = &self.if_none_match {
            if tags.matches(&tag, true) {
                return Verdict::NotModified;
            }
        } else if self.if_modified_since_s.is_some_and(|since| modified_s <= since) {
            return Verdict::NotModified;
        }
        Verdict::Proceed
    }

    /// For a read: 412, or 304 with what tells the reader which version that is.
    pub fn check_read(&self, manifest: &Manifest) -> Result<(), Fault> {
        match self.judge(&manifest.etag, manifest.modified) {
            Verdict::Proceed => Ok(()),
            Verdict::Failed => Err(Fault::PreconditionFailed),
            Verdict::NotModified => Err(Fault::NotModified(Box::new(validators(manifest)))),
        }
    }

    /// For a copy: what a read would answer with 304 is 412 here.
    pub fn check_copy_source(&self, manifest: &Manifest) -> Result<(), Fault> {
        match self.judge(&manifest.etag, manifest.modified) {
            Verdict::Proceed => Ok(()),
            Verdict::Failed | Verdict::NotModified => Err(Fault::PreconditionFailed),
        }
    }
}

/// The headers of a 304 (RFC 9110 section 15.4.5).
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

/// Of a condition that S3 does not know there.
fn not_implemented() -> Fault {
    Fault::NotImplemented("A header you provided implies functionality that is not implemented.".to_owned())
}

/// `If-Match` and `If-None-Match` of a write. Of the latter S3 knows only `*` there, and never both.
pub fn of_write(headers: &HeaderMap) -> Result<WriteConditions, Fault> {
    let text = |name: HeaderName| match headers.get(name) {
        None => Ok(None),
        Some(value) => {
            value.to_str().map(Some).map_err(|_| Fault::InvalidArgument("A condition is not text.".to_owned()))
        }
    };
    let if_match = text(header::IF_MATCH)?.map(tag_condition);
    let if_none_match = match text(header::IF_NONE_MATCH)?.map(str::trim) {
        None => None,
        Some("*") => Some(ETagCondition::Any),
        Some(_) => return Err(not_implemented()),
    };
    if if_match.is_some() && if_none_match.is_some() {
        return Err(not_implemented());
    }
    Ok(WriteConditions { if_match, if_none_match })
}

/// One tag as a condition; a tag that no object of ours can have matches none.
pub fn tag_condition(text: &str) -> ETagCondition {
    match text.trim() {
        "*" => ETagCondition::Any,
        tag => parse_etag(tag.trim_matches('"')).map_or(ETagCondition::Unknown, ETagCondition::Is),
    }
}

#[cfg(test)]
mod tests {
    use super::{ReadConditions, Verdict, of_write, tag_condition};
    use crate::actors::meta::{ETag, ETagCondition};
    use crate::api::s3::errors::Fault;
    use crate::types::UnixMs;
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

    #[test]
    fn each_condition_alone_means_what_it_says() {
        for (name, value, verdict) in [
            ("if-match", OURS, Verdict::Proceed),
            ("if-match", "*", Verdict::Proceed),
            ("if-match", OTHER, Verdict::Failed),
            ("if-match", "W/\"00000000000000000000000000000000\"", Verdict::Failed),
            ("if-match", "00000000000000000000000000000000", Verdict::Proceed),
            ("if-none-match", OURS, Verdict::NotModified),
            ("if-none-match", "*", Verdict::NotModified),
            ("if-none-match", OTHER, Verdict::Proceed),
            ("if-none-match", "W/\"00000000000000000000000000000000\"", Verdict::NotModified),
            ("if-modified-since", AT, Verdict::NotModified),
            ("if-modified-since", BEFORE, Verdict::Proceed),
            ("if-unmodified-since", AT, Verdict::Proceed),
            ("if-unmodified-since", BEFORE, Verdict::Failed),
            ("if-unmodified-since", "yesterday", Verdict::Proceed),
        ] {
            assert_eq!(judge(&[(name, value)]), verdict, "{name}: {value}");
        }
    }

    #[test]
    fn tags_take_precedence_over_dates() {
        assert_eq!(judge(&[("if-match", OURS), ("if-unmodified-since", BEFORE)]), Verdict::Proceed);
        assert_eq!(judge(&[("if-none-match", OTHER), ("if-modified-since", AT)]), Verdict::Proceed);
        assert_eq!(judge(&[("if-match", OTHER), ("if-none-match", OURS)]), Verdict::Failed);
        assert_eq!(judge(&[("if-match", OURS), ("if-none-match", OURS)]), Verdict::NotModified);
        assert_eq!(judge(&[("if-unmodified-since", BEFORE), ("if-none-match", OURS)]), Verdict::Failed);
    }

    #[test]
    fn what_is_not_there_matches_no_tag_and_has_not_changed() {
        let absent = |pairs: &[(&'static str, &'static str)]| ReadConditions::of_read(&headers(pairs)).check_absent();
        for pairs in [&[][..], &[("if-none-match", "*")], &[("if-unmodified-since", BEFORE)]] {
            assert_eq!(absent(pairs), Ok(()), "{pairs:?}");
        }
        for pairs in [[("if-match", "*")], [("if-match", OURS)], [("if-modified-since", BEFORE)]] {
            assert_eq!(absent(&pairs), Err(Fault::PreconditionFailed), "{pairs:?}");
        }
        let source = headers(&[("x-amz-rename-source-if-match", OTHER), ("if-match", OURS)]);
        let verdict = ReadConditions::of_rename_source(&source).judge(&ETag { md5: [0; 16], parts: None }, MODIFIED);
        assert_eq!(verdict, Verdict::Failed);
    }

    #[test]
    fn a_list_of_tags_matches_by_any_of_them() {
        let list = "\"ffffffffffffffffffffffffffffffff\", \"00000000000000000000000000000000\"";
        assert_eq!(judge(&[("if-match", list)]), Verdict::Proceed);
        assert_eq!(judge(&[("if-none-match", list)]), Verdict::NotModified);
    }

    #[test]
    fn a_write_takes_a_tag_to_match_or_a_star_not_to() {
        let made = of_write(&headers(&[("if-match", OURS)])).expect("a tag");
        assert_eq!(made.if_match, Some(ETagCondition::Is(ETag { md5: [0; 16], parts: None })));
        let made = of_write(&headers(&[("if-none-match", "*")])).expect("a star");
        assert_eq!(made.if_none_match, Some(ETagCondition::Any));
        assert!(matches!(of_write(&headers(&[("if-none-match", OURS)])), Err(Fault::NotImplemented(_))));
        assert_eq!(tag_condition("\"not-a-tag\""), ETagCondition::Unknown);
        assert_eq!(
            tag_condition("\"00000000000000000000000000000000-3\""),
            ETagCondition::Is(ETag { md5: [0; 16], parts: Some(3) })
        );
    }
}
