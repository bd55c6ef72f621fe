//! The check of a form against its policy: every condition must hold, and every field must be named by a condition.

use super::form::{FILE, Form};
use super::policy::{Condition, Match, Policy};
use crate::api::errors::FormFault;
use time::OffsetDateTime;

const BUCKET: &str = "bucket";
const CONTENT_TYPE: &str = "content-type";
/// The fields that need no condition: the file, the policy, and fields of the signature.
const EXEMPT: [&str; 5] = [FILE, "policy", "signature", "x-amz-signature", "awsaccesskeyid"];
/// Prefixes of fields that need no condition. Checksums are exempt because they can only make an upload fail.
const EXEMPT_PREFIXES: [&str; 2] = ["x-ignore-", "x-amz-checksum-"];

/// The allowed sizes of a file, inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    pub min: u64,
    pub max: u64,
}

impl Sizes {
    pub const ANY: Self = Self { min: 0, max: u64::MAX };
}

/// Checks a form's fields against its policy; returns the file sizes that the policy allows. `bucket` is the bucket
/// that the form was posted to.
pub fn check(policy: &Policy, form: &Form, bucket: &str, now: OffsetDateTime) -> Result<Sizes, FormFault> {
    if now >= policy.expires {
        return Err(FormFault::expired());
    }
    let mut sizes = Sizes::ANY;
    for condition in &policy.conditions {
        let holds = match condition {
            Condition::Equals(on) => value(form, bucket, &on.field) == Some(on.value.as_str()),
            // A missing field matches an empty prefix: S3's test suites omit fields for which any value is allowed.
            Condition::StartsWith(on) => starts(on, value(form, bucket, &on.field).unwrap_or_default()),
            Condition::Size { min, max } => {
                sizes = Sizes { min: sizes.min.max(*min), max: sizes.max.min(*max) };
                true
            }
            Condition::Never(_) => false,
        };
        if !holds {
            return Err(FormFault::failed(condition));
        }
    }
    check_named(policy, form)?;
    Ok(sizes)
}

/// Returns the value of a field. The field `bucket` is always the bucket that the form was posted to.
fn value<'a>(form: &'a Form, bucket: &'a str, field: &str) -> Option<&'a str> {
    if field.eq_ignore_ascii_case(BUCKET) { Some(bucket) } else { form.get(field) }
}

/// Returns whether a value has the condition's prefix. Of a content type with commas, each item must have it.
fn starts(on: &Match, value: &str) -> bool {
    if on.field.eq_ignore_ascii_case(CONTENT_TYPE) && value.contains(',') {
        return value.split(',').all(|item| item.trim().starts_with(&on.value));
    }
    value.starts_with(&on.value)
}

/// Checks that every field is named by a condition. The bucket counts as a field: a policy that does not name it would
/// be valid for every bucket.
fn check_named(policy: &Policy, form: &Form) -> Result<(), FormFault> {
    let named = |field: &str| {
        policy.conditions.iter().any(|condition| match condition {
            Condition::Equals(on) | Condition::StartsWith(on) => on.field.eq_ignore_ascii_case(field),
            Condition::Size { .. } | Condition::Never(_) => false,
        })
    };
    let exempt = |field: &str| {
        let field = field.to_ascii_lowercase();
        EXEMPT.contains(&field.as_str()) || EXEMPT_PREFIXES.iter().any(|prefix| field.starts_with(prefix))
    };
    let fields = form.fields().map(|(name, _)| name).filter(|name| !exempt(name));
    let implied = form.get(BUCKET).is_none().then_some(BUCKET);
    let extra: Vec<&str> = implied.into_iter().chain(fields).filter(|field| !named(field)).collect();
    if extra.is_empty() { Ok(()) } else { Err(FormFault::extra(&extra)) }
}

#[cfg(test)]
mod tests {
    use super::{Sizes, check};
    use crate::api::errors::FormFault;
    use crate::api::post::form::Form;
    use crate::api::post::policy::Policy;
    use time::{Duration, OffsetDateTime};

    /// 2030-01-01T00:00:00Z
    const EXPIRES_S: i64 = 1_893_456_000;

    fn judge_at(list: &str, fields: &[(&str, &str)], now: OffsetDateTime) -> Result<Sizes, FormFault> {
        let document = format!("{{\"expiration\": \"2030-01-01T00:00:00Z\", \"conditions\": {list}}}");
        let policy = Policy::read(&base64_simd::STANDARD.encode_to_string(document)).expect("a policy");
        let mut form = Form::default();
        fields.iter().for_each(|(name, value)| form.add(name, value));
        check(&policy, &form, "pics", now)
    }

    fn judge(list: &str, fields: &[(&str, &str)]) -> Result<Sizes, FormFault> {
        let expires = OffsetDateTime::from_unix_timestamp(EXPIRES_S).expect("a moment");
        judge_at(list, fields, expires - Duration::SECOND)
    }

    fn refusal(list: &str, fields: &[(&str, &str)]) -> String {
        match judge(list, fields) {
            Err(FormFault::Refused(words)) => words,
            other => panic!("{list} and {fields:?} gave {other:?}"),
        }
    }

    const BASE: &str = r#"{"bucket": "pics"}, ["starts-with", "$key", "user/"]"#;

    fn and(more: &str) -> String {
        format!("[{BASE}{}{more}]", if more.is_empty() { "" } else { ", " })
    }

    #[test]
    fn a_form_that_meets_all_conditions_of_its_policy_is_allowed() {
        let list = and(r#"{"acl": "private"}, ["eq", "$x-amz-meta-a", "1"], ["starts-with", "$x-amz-meta-b", ""],
                          ["content-length-range", 0, 1024]"#);
        let fields = [("key", "user/a"), ("acl", "private"), ("x-amz-meta-a", "1"), ("x-amz-meta-b", "anything")];
        assert_eq!(judge(&list, &fields), Ok(Sizes { min: 0, max: 1024 }));
        assert_eq!(judge(&and(""), &[("key", "user/a")]), Ok(Sizes::ANY));
    }

    #[test]
    fn field_names_match_in_any_case_and_values_only_exactly() {
        let list = r#"[{"bUcKeT": "pics"}, ["StArTs-WiTh", "$KeY", "user/"], {"AcL": "private"}]"#;
        assert!(judge(list, &[("kEy", "user/a"), ("aCl", "private")]).is_ok());
        assert_eq!(
            refusal(list, &[("key", "User/a"), ("acl", "private")]),
            r#"Invalid according to Policy: Policy Condition failed: ["starts-with", "$KeY", "user/"]"#
        );
    }

    #[test]
    fn the_error_names_the_condition_that_does_not_hold() {
        let failed = |condition: &str| format!("Invalid according to Policy: Policy Condition failed: {condition}");
        let key = ("key", "user/a");
        assert_eq!(
            refusal(&and(r#"{"acl": "private"}"#), &[key, ("acl", "public-read")]),
            failed(r#"["eq", "$acl", "private"]"#)
        );
        assert_eq!(
            refusal(&and(r#"["eq", "$x-amz-meta-a", ""]"#), &[key, ("x-amz-meta-a", "b")]),
            failed(r#"["eq", "$x-amz-meta-a", ""]"#)
        );
        assert_eq!(refusal(&and(r#"["eq", "acl", "a"]"#), &[key, ("acl", "a")]), failed(r#"["eq", "acl", "a"]"#));
        assert_eq!(
            refusal(&and(r#"["content-length-range", "few", "10"]"#), &[key]),
            failed(r#"["content-length-range", "few", "10"]"#)
        );
        // The field is missing.
        assert_eq!(
            refusal(&and(r#"["starts-with", "$x-amz-meta-a", "b"]"#), &[key]),
            failed(r#"["starts-with", "$x-amz-meta-a", "b"]"#)
        );
        assert_eq!(refusal(&and(r#"{"acl": ""}"#), &[key]), failed(r#"["eq", "$acl", ""]"#));
        assert!(judge(&and(r#"["starts-with", "$x-amz-server-side-encryption", ""]"#), &[key]).is_ok());
    }

    #[test]
    fn the_condition_on_the_bucket_is_checked_against_the_bucket_posted_to() {
        let list = r#"[{"bucket": "other"}, ["starts-with", "$key", ""]]"#;
        let expected = r#"Invalid according to Policy: Policy Condition failed: ["eq", "$bucket", "other"]"#;
        assert_eq!(refusal(list, &[("key", "k")]), expected);
        assert_eq!(refusal(list, &[("key", "k"), ("bucket", "other")]), expected);
        assert!(judge(&and(""), &[("key", "user/a"), ("bucket", "whatever")]).is_ok());
    }

    #[test]
    fn fields_without_a_condition_are_refused_unless_exempt() {
        let needless = [
            ("key", "user/a"),
            ("policy", "p"),
            ("X-Amz-Signature", "s"),
            ("AWSAccessKeyId", "k"),
            ("signature", "s"),
            ("x-ignore-anything", "1"),
            ("x-amz-checksum-sha256", "s"),
        ];
        assert!(judge(&and(""), &needless).is_ok());
        let extra = |fields: &[(&str, &str)]| refusal(&and(""), fields);
        assert_eq!(
            extra(&[("key", "user/a"), ("StorageClass", "STANDARD"), ("x-amz-meta-a", "b")]),
            "Invalid according to Policy: Extra input fields: StorageClass, x-amz-meta-a"
        );
        assert_eq!(
            extra(&[("key", "user/a"), ("X-Amz-Date", "d")]),
            "Invalid according to Policy: Extra input fields: X-Amz-Date"
        );
        assert_eq!(
            refusal(r#"[["starts-with", "$key", ""]]"#, &[("key", "k")]),
            "Invalid according to Policy: Extra input fields: bucket"
        );
    }

    #[test]
    fn only_a_content_type_is_matched_as_a_list() {
        let list = and(r#"["starts-with", "$Content-Type", "image/"], ["starts-with", "$x-amz-meta-a", "a"]"#);
        let with = |content_type: &str, meta: &str| {
            judge(&list, &[("key", "user/a"), ("Content-Type", content_type), ("x-amz-meta-a", meta)])
        };
        assert!(with("image/jpg,image/png, image/gif", "a,b").is_ok());
        assert!(with("image/jpg,text/plain", "a").is_err());
        assert!(with("text/plain", "a").is_err());
    }

    #[test]
    fn several_size_ranges_must_all_hold() {
        let list = and(r#"["content-length-range", 5, 10], ["content-length-range", 1, 7]"#);
        assert_eq!(judge(&list, &[("key", "user/a")]), Ok(Sizes { min: 5, max: 7 }));
    }

    #[test]
    fn an_expired_form_policy_is_refused() {
        let at = |seconds: i64| {
            judge_at(&and(""), &[("key", "user/a")], OffsetDateTime::from_unix_timestamp(seconds).expect("a moment"))
        };
        assert!(at(EXPIRES_S - 1).is_ok());
        for seconds in [EXPIRES_S, EXPIRES_S + 1] {
            assert_eq!(at(seconds), Err(FormFault::Refused("Invalid according to Policy: Policy expired.".to_owned())));
        }
    }
}
