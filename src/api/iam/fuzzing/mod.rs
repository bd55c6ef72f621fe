//! Fuzz targets of IAM and STS: forms of calls, and tokens of identity providers.

use super::parameters::Parameters;
use super::takes::{Head, takes};
use super::xml::percent_encoded;
use crate::api::identity::names::{IamArn, check_name, check_path, check_path_prefix, check_tags};
use crate::api::identity::{TextOf, check_policy};

pub use super::sts::fuzzing::tokens;

const LISTS: [&str; 3] = ["Tags", "TagKeys", "PolicyArns"];
const POLICIES: [(&str, TextOf); 3] =
    [("PolicyDocument", TextOf::Managed), ("Policy", TextOf::Session), ("AssumeRolePolicyDocument", TextOf::Trust)];

/// Fuzzes the parsing of calls. A form that is parsed and encoded again must parse to the same parameters.
pub fn calls(data: &[u8]) {
    let text = std::str::from_utf8(data).unwrap_or_default();
    let (query, body) = text.split_once('\n').unwrap_or(("", text));
    let head = Head { method: "POST", path: "/", query, content_type: body, authorization: body };
    let _ = takes(&head);
    let Some(parameters) = Parameters::parse(query, body.as_bytes()) else { return };
    let written: Vec<String> = parameters
        .pairs()
        .map(|(name, value)| format!("{}={}", percent_encoded(name), percent_encoded(value)))
        .collect();
    assert_eq!(Parameters::parse("", written.join("&").as_bytes()), Some(Parameters::clone(&parameters)));
    let _ = parameters.paging();
    for list in LISTS {
        let tags = parameters.tags(list);
        assert!(tags.len() <= 1024 && parameters.list(list).len() == tags.len());
        let _ = (check_tags(&tags), parameters.parts(list, "arn"), parameters.number(list), parameters.flag(list));
    }
    for (name, value) in parameters.pairs() {
        let _ = (check_name(name, value, 64), check_path(name, value), check_path_prefix(value));
        let _ = IamArn::parse(value);
        for (policy, of) in POLICIES {
            if name == policy {
                let _ = check_policy(of, name, value);
            }
        }
    }
}
