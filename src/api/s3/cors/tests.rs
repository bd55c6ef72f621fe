//! CORS rules as S3 documents them: which are refused, which request matches, and how it is answered.

use super::rules::METHODS;
use super::{
    CorsRule, CorsRules, ParsedRules, Preflight, PreflightRefusal, answer_headers, fault_of, fault_of_preflight,
    from_dto, to_dto,
};
use crate::api::errors::Fault;
use crate::limits::CORS_REQUESTED_HEADERS_MAX;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use s3s::dto;
use s3s::xml::{Deserialize, Deserializer};

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

fn rule(methods: &[&str], origins: &[&str], headers: &[&str]) -> CorsRule {
    CorsRule { methods: texts(methods), origins: texts(origins), headers: texts(headers), ..Default::default() }
}

fn rules(rules: Vec<CorsRule>) -> ParsedRules {
    CorsRules::new(rules).expect("rules that S3 takes").into()
}

fn request(headers: &[(&'static str, &str)]) -> HeaderMap {
    let value = |text: &str| HeaderValue::from_str(text).expect("a value");
    headers.iter().map(|(name, text)| (HeaderName::from_static(name), value(text))).collect()
}

fn value_of<'a>(answer: &'a HeaderMap, name: &str) -> Option<&'a str> {
    answer.get(name).map(|value| value.to_str().expect("text"))
}

/// The first example of the user guide.
fn example() -> ParsedRules {
    rules(vec![
        rule(&["PUT", "POST", "DELETE"], &["http://www.example1.com"], &["*"]),
        rule(&["PUT", "POST", "DELETE"], &["http://www.example2.com"], &["*"]),
        rule(&["GET"], &["*"], &[]),
    ])
}

fn ask(origin: &str, method: &str, headers: Option<&str>) -> HeaderMap {
    let mut list = vec![("origin", origin), ("access-control-request-method", method)];
    list.extend(headers.map(|headers| ("access-control-request-headers", headers)));
    request(&list)
}

fn preflight(rules: Option<&ParsedRules>, request: &HeaderMap) -> Result<HeaderMap, PreflightRefusal> {
    Preflight::read(request)?.answer(rules)
}

fn refused(rule: CorsRule) -> (Fault, String) {
    let error = CorsRules::new(vec![rule]).expect_err("S3 does not take it");
    (fault_of(error.clone()), error.to_string())
}

#[test]
fn only_the_five_methods_can_be_allowed() {
    assert!(CorsRules::new(vec![rule(&METHODS, &["*"], &[])]).is_ok());
    for method in ["PATCH", "OPTIONS", "get", "*", ""] {
        let text = format!("Found unsupported HTTP method in CORS config. Unsupported method is {method}");
        assert_eq!(refused(rule(&["GET", method], &["*"], &[])), (Fault::InvalidRequest(text.clone()), text));
    }
}

#[test]
fn an_origin_or_a_header_has_at_most_one_wildcard() {
    assert!(CorsRules::new(vec![rule(&["GET"], &["http://*.example.com"], &["x-amz-*"])]).is_ok());
    let (fault, text) = refused(rule(&["GET"], &["*example*.com"], &[]));
    assert_eq!(text, "AllowedOrigin \"*example*.com\" can not have more than one wildcard.");
    assert_eq!(fault, Fault::InvalidRequest(text));
    let (_, text) = refused(rule(&["GET"], &["*"], &["x-*-*"]));
    assert_eq!(text, "AllowedHeader \"x-*-*\" can not have more than one wildcard.");
}

#[test]
fn a_wildcard_among_exposed_headers_is_refused() {
    let exposing = |header: &str| CorsRule { exposed_headers: texts(&[header]), ..rule(&["GET"], &["*"], &[]) };
    assert!(CorsRules::new(vec![exposing("x-amz-server-side-encryption")]).is_ok());
    let (fault, text) = refused(exposing("*"));
    assert_eq!(text, "ExposeHeader \"*\" contains wildcard. We currently do not support wildcard for ExposeHeader.");
    assert_eq!(fault, Fault::InvalidRequest(text));
    let (_, text) = refused(exposing("x y"));
    assert_eq!(text, "ExposeHeader \"x y\" contains invalid character.");
}

#[test]
fn cors_rules_are_limited_in_number_and_length_of_ids() {
    let many = |count: usize| CorsRules::new(vec![rule(&["GET"], &["*"], &[]); count]).map_err(fault_of);
    assert_eq!(many(0), Err(Fault::MalformedXml));
    assert!(many(100).is_ok());
    let text = "The number of CORS rules should not exceed allowed limit of 100 rules.";
    assert_eq!(many(101), Err(Fault::InvalidRequest(text.to_owned())));
    let named = |id: String| CorsRule { id: Some(id), ..rule(&["GET"], &["*"], &[]) };
    assert!(CorsRules::new(vec![named("é".repeat(255))]).is_ok());
    assert!(matches!(refused(named("a".repeat(256))), (Fault::InvalidArgument(_), _)));
}

#[test]
fn a_cors_rule_without_an_origin_or_a_method_is_malformed() {
    for lacking in
        [rule(&[], &["*"], &[]), rule(&["GET"], &[], &[]), rule(&["GET"], &[""], &[]), rule(&["GET"], &["*"], &[""])]
    {
        assert_eq!(refused(lacking).0, Fault::MalformedXml);
    }
}

#[test]
fn a_cors_configuration_reads_back_as_given() {
    let xml = "<CORSConfiguration><CORSRule><AllowedOrigin>http://www.example.com</AllowedOrigin>\
        <AllowedMethod>PUT</AllowedMethod><AllowedMethod>POST</AllowedMethod><AllowedHeader>*</AllowedHeader>\
        <MaxAgeSeconds>3000</MaxAgeSeconds><ExposeHeader>x-amz-request-id</ExposeHeader><ID>rule 1</ID></CORSRule>\
        <CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule></CORSConfiguration>";
    let read = || {
        let mut reader = Deserializer::new(xml.as_bytes());
        dto::CORSConfiguration::deserialize(&mut reader).expect("XML")
    };
    let kept = from_dto(read()).expect("rules that S3 takes");
    let kept: CorsRules = serde_json::from_str(&serde_json::to_string(&kept).expect("JSON")).expect("it reads back");
    let back: Vec<dto::CORSRule> = kept.rules.into_iter().map(to_dto).collect();
    assert_eq!(back, read().cors_rules);
    let negative = xml.replace("3000", "-1");
    let given = dto::CORSConfiguration::deserialize(&mut Deserializer::new(negative.as_bytes())).expect("XML");
    let kept = from_dto(given).expect("rules that S3 takes").rules;
    assert_eq!(kept.first().and_then(|rule| rule.max_age_seconds), Some(-1));
}

#[test]
fn a_preflight_without_an_origin_or_a_method_is_a_bad_request() {
    let refused = |headers: &[(&'static str, &str)]| {
        let refusal = preflight(Some(&example()), &request(headers)).expect_err("it is refused");
        fault_of_preflight(refusal)
    };
    let bad = |text: &str| Fault::BadRequest(text.to_owned());
    let origin = bad("Insufficient information. Origin request header needed.");
    assert_eq!(refused(&[]), origin);
    assert_eq!(refused(&[("access-control-request-method", "GET")]), origin);
    assert_eq!(refused(&[("origin", "a")]), bad("Invalid Access-Control-Request-Method: null"));
    let method = [("origin", "a"), ("access-control-request-method", "PATCH")];
    assert_eq!(refused(&method), bad("Invalid Access-Control-Request-Method: PATCH"));
    let headers =
        [("origin", "a"), ("access-control-request-method", "GET"), ("access-control-request-headers", "x-a, b c")];
    assert_eq!(refused(&headers), bad("Invalid Access-Control-Request-Headers: b c"));
    assert_eq!(preflight(None, &request(&[])), Err(PreflightRefusal::NoOrigin), "rules or none");
}

#[test]
fn a_preflight_that_no_rule_allows_is_forbidden() {
    let forbidden = |text: &str| Fault::AccessForbidden(text.to_owned());
    let none = preflight(None, &ask("a", "GET", None)).map_err(fault_of_preflight);
    assert_eq!(none, Err(forbidden("CORSResponse: CORS is not enabled for this bucket.")));
    assert_eq!(fault_of_preflight(PreflightRefusal::NoSuchBucket), forbidden("CORSResponse: Bucket not found"));
    let not_allowed = "CORSResponse: This CORS request is not allowed. This is usually because the evalution of \
        Origin, request method / Access-Control-Request-Method or Access-Control-Request-Headers are not \
        whitelisted by the resource's CORS spec.";
    for asked in [
        ask("http://www.example3.com", "PUT", None),
        ask("http://www.example1.com", "HEAD", None),
        ask("https://www.example1.com", "PUT", None),
        ask("http://www.example1.com:80", "PUT", None),
        ask("http://www.example1.com", "GET", Some("x-amz-meta-header2")),
    ] {
        let refused = preflight(Some(&example()), &asked).map_err(fault_of_preflight);
        assert_eq!(refused, Err(forbidden(not_allowed)), "{asked:?}");
    }
}

#[test]
fn a_preflight_is_answered_by_the_first_rule_that_matches() {
    let detailed = CorsRule {
        max_age_seconds: Some(3000),
        exposed_headers: texts(&["x-amz-server-side-encryption", "x-amz-request-id"]),
        ..rule(&["PUT", "POST", "DELETE"], &["http://www.example.com"], &["*"])
    };
    let rules = rules(vec![detailed, rule(&["PUT"], &["*"], &["*"])]);
    let asked = ask("http://www.example.com", "PUT", Some("Content-Type,  X-Amz-Date"));
    let answer = preflight(Some(&rules), &asked).expect("it is allowed");
    for (name, value) in [
        ("access-control-allow-origin", "http://www.example.com"),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-methods", "PUT, POST, DELETE"),
        ("access-control-allow-headers", "content-type, x-amz-date"),
        ("access-control-expose-headers", "x-amz-server-side-encryption, x-amz-request-id"),
        ("access-control-max-age", "3000"),
        ("vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"),
    ] {
        assert_eq!(value_of(&answer, name), Some(value), "{name}");
    }
    assert_eq!(answer.len(), 7);
}

#[test]
fn a_rule_for_all_origins_names_none_and_allows_no_credentials() {
    let answer = preflight(Some(&example()), &ask("http://anyone", "GET", None)).expect("it is allowed");
    assert_eq!(value_of(&answer, "access-control-allow-origin"), Some("*"));
    assert_eq!(value_of(&answer, "access-control-allow-methods"), Some("GET"));
    for name in ["allow-credentials", "allow-headers", "expose-headers", "max-age"] {
        assert_eq!(value_of(&answer, &format!("access-control-{name}")), None, "{name}");
    }
}

#[test]
fn cors_header_patterns_match_in_any_case() {
    let rules = rules(vec![rule(&["PUT"], &["*"], &["X-Amz-*", "authorization"])]);
    let allowed = |headers| preflight(Some(&rules), &ask("a", "PUT", Some(headers))).is_ok();
    assert!(allowed("x-amz-date"));
    assert!(allowed("Authorization, X-AMZ-Meta-a"));
    assert!(allowed(" ,"));
    assert!(!allowed("authorization, content-type"));
    assert!(!allowed("x-am"));
}

#[test]
fn a_star_among_other_header_patterns_allows_all() {
    let rules = rules(vec![rule(&["PUT"], &["*"], &["x-amz-*", "authorization", "*"])]);
    let answer = preflight(Some(&rules), &ask("a", "PUT", Some("x-other, Authorization, X-Other"))).expect("allowed");
    assert_eq!(value_of(&answer, "access-control-allow-headers"), Some("x-other, authorization"));
}

#[test]
fn a_request_for_too_many_headers_is_not_allowed() {
    let rules = rules(vec![rule(&["PUT"], &["*"], &["*"])]);
    let headers = |count: usize| (0..count).map(|number| format!("x{number}")).collect::<Vec<_>>().join(",");
    let asked = |count: usize| ask("a", "PUT", Some(&headers(count)));
    assert!(preflight(Some(&rules), &asked(CORS_REQUESTED_HEADERS_MAX)).is_ok());
    let many = asked(CORS_REQUESTED_HEADERS_MAX + 1);
    assert_eq!(preflight(Some(&rules), &many), Err(PreflightRefusal::NotAllowed));
    assert!(answer_headers(&rules, &Method::PUT, &many).is_empty());
    let repeated = ask("a", "PUT", Some(&"x,".repeat(CORS_REQUESTED_HEADERS_MAX + 1)));
    assert_eq!(preflight(Some(&rules), &repeated), Err(PreflightRefusal::NotAllowed));
    let mut lists = asked(CORS_REQUESTED_HEADERS_MAX);
    lists.append("access-control-request-headers", HeaderValue::from_static("one-more"));
    assert_eq!(preflight(Some(&rules), &lists), Err(PreflightRefusal::NotAllowed));
}

/// Tests the cases of conformance suites.
#[test]
fn cors_origins_match_by_pattern() {
    let rules = rules(vec![
        rule(&["GET"], &["*suffix"], &[]),
        rule(&["GET"], &["start*end"], &[]),
        rule(&["GET"], &["prefix*"], &[]),
        rule(&["PUT"], &["*.put"], &[]),
    ]);
    let answered = |origin: &str, method: Method| {
        let answer = answer_headers(&rules, &method, &request(&[("origin", origin)]));
        value_of(&answer, "access-control-allow-methods").map(str::to_owned)
    };
    for origin in ["foo.suffix", "suffix", "startend", "start1end", "start12end", "prefix", "prefix.suffix"] {
        assert_eq!(answered(origin, Method::GET).as_deref(), Some("GET"), "{origin}");
    }
    for origin in ["foo.bar", "foo.suffix.get", "0start12end", "staend", "starend", "bla.prefix", "FOO.SUFFIX"] {
        assert_eq!(answered(origin, Method::GET), None, "{origin}");
    }
    assert_eq!(answered("foo.put", Method::PUT).as_deref(), Some("PUT"));
    assert_eq!(answered("foo.suffix", Method::PUT), None);
}

#[test]
fn prefix_and_suffix_of_an_origin_pattern_match_without_overlap() {
    let rules = rules(vec![rule(&["GET"], &["ab*ba"], &[])]);
    let allowed = |origin: &str| !answer_headers(&rules, &Method::GET, &request(&[("origin", origin)])).is_empty();
    assert!(allowed("abba"));
    assert!(!allowed("aba"));
}

#[test]
fn other_answers_get_cors_headers_only_if_a_rule_allows_the_request() {
    let rules = example();
    let answered =
        |method: Method, headers: &[(&'static str, &str)]| answer_headers(&rules, &method, &request(headers));
    assert!(answered(Method::GET, &[]).is_empty(), "not from another origin");
    assert!(answered(Method::PUT, &[("origin", "http://elsewhere")]).is_empty());
    let answer = answered(Method::PUT, &[("origin", "http://www.example1.com")]);
    assert_eq!(value_of(&answer, "access-control-allow-origin"), Some("http://www.example1.com"));
    assert_eq!(value_of(&answer, "access-control-allow-credentials"), Some("true"));
    assert!(answer.contains_key("vary"));
}

#[test]
fn access_control_request_method_takes_precedence_over_the_requests_method() {
    let rules = rules(vec![rule(&["GET"], &["*suffix"], &[])]);
    let answered = |announced| {
        let headers = request(&[("origin", "foo.suffix"), ("access-control-request-method", announced)]);
        value_of(&answer_headers(&rules, &Method::PUT, &headers), "access-control-allow-methods").map(str::to_owned)
    };
    assert_eq!(answered("GET").as_deref(), Some("GET"));
    assert_eq!(answered("PUT"), None);
    assert_eq!(answered("DELETE"), None);
}

#[test]
fn an_origin_that_is_not_text_is_ignored() {
    let mut headers = ask("a", "GET", None);
    headers.insert("origin", HeaderValue::from_bytes(b"\xff").expect("bytes"));
    assert_eq!(preflight(Some(&example()), &headers), Err(PreflightRefusal::NoOrigin));
    assert!(answer_headers(&example(), &Method::GET, &headers).is_empty());
}
