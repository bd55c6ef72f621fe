//! Lifecycle configurations: their round trip through XML, the faults of invalid ones, and the headers of answers.

use super::wire::{from_dto, rule_id, to_dto};
use super::{abort_headers, expiration_header, fault_of};
use crate::actors::lifecycle::rules::{ObjectFacts, RuleError, Rules, UploadFacts};
use crate::api::errors::Fault;
use crate::api::s3::object_headers::http_date;
use crate::types::UnixMs;
use s3s::dto;
use s3s::xml::{Deserialize, Deserializer};

/// Parses rules in the user guide's form.
fn parse(rules: &str) -> Result<Rules, Fault> {
    let xml = format!("<LifecycleConfiguration>{rules}</LifecycleConfiguration>");
    let given = dto::BucketLifecycleConfiguration::deserialize(&mut Deserializer::new(xml.as_bytes()))
        .map_err(|_| Fault::MalformedXml)?;
    from_dto(given, None, || rule_id(7)).map_err(fault_of)
}

fn rule(inside: &str) -> String {
    format!("<Rule><ID>rule</ID><Filter><Prefix>a/</Prefix></Filter><Status>Enabled</Status>{inside}</Rule>")
}

const DAYS: &str = "<Expiration><Days>1</Days></Expiration>";

#[test]
fn lifecycle_rules_survive_storing_and_the_way_back_to_xml() {
    let actions = [
        "<Expiration><Days>3650</Days></Expiration>",
        "<Expiration><Date>2030-01-01T00:00:00.000Z</Date></Expiration>",
        "<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>",
        "<NoncurrentVersionExpiration><NoncurrentDays>30</NoncurrentDays></NoncurrentVersionExpiration>",
        "<AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload>",
    ];
    let scopes = ["<Prefix>projectdocs/</Prefix>", "<Filter/>", "<Filter><Prefix>a/</Prefix></Filter>"];
    let filters = [
        "<Filter><Tag><Key>k</Key><Value>v</Value></Tag></Filter>",
        "<Filter><ObjectSizeGreaterThan>500</ObjectSizeGreaterThan></Filter>",
        "<Filter><ObjectSizeLessThan>64000</ObjectSizeLessThan></Filter>",
        "<Filter><And><Prefix>p</Prefix><Tag><Key>k</Key><Value>v</Value></Tag><Tag><Key>l</Key><Value/></Tag>\
         <ObjectSizeGreaterThan>500</ObjectSizeGreaterThan><ObjectSizeLessThan>64000</ObjectSizeLessThan></And></Filter>",
        "<Filter><Prefix>p</Prefix><Tag><Key>k</Key><Value>v</Value></Tag></Filter>",
    ];
    let plain = scopes.iter().flat_map(|scope| actions.iter().map(move |action| (*scope, *action)));
    let narrow = filters.iter().map(|filter| (*filter, actions[0]));
    for (scope, action) in plain.chain(narrow) {
        for status in ["Enabled", "Disabled"] {
            let xml = format!(
                "<LifecycleConfiguration><Rule><ID>a b/é</ID>{scope}<Status>{status}</Status>{action}</Rule>\
                 </LifecycleConfiguration>"
            );
            let read = || dto::BucketLifecycleConfiguration::deserialize(&mut Deserializer::new(xml.as_bytes()));
            let kept = from_dto(read().expect("XML"), None, String::new).expect("rules that S3 takes");
            let stored = serde_json::to_string(&kept).expect("JSON");
            let kept: Rules = serde_json::from_str(&stored).expect("JSON reads back");
            let back: Vec<dto::LifecycleRule> = kept.rules.into_iter().map(to_dto).collect();
            assert_eq!(back, read().expect("XML").rules, "{xml}");
        }
    }
}

#[test]
fn lifecycle_transitions_are_refused_as_invalid_storage_classes() {
    for inside in [
        "<Transition><Days>30</Days><StorageClass>GLACIER</StorageClass></Transition>",
        "<NoncurrentVersionTransition><NoncurrentDays>30</NoncurrentDays><StorageClass>STANDARD_IA</StorageClass>\
         </NoncurrentVersionTransition>",
    ] {
        assert_eq!(parse(&rule(&format!("{inside}{DAYS}"))), Err(Fault::InvalidStorageClass));
    }
}

#[test]
fn invalid_lifecycle_rules_are_refused_with_s3s_error_codes() {
    assert!(parse(&rule(DAYS)).is_ok());
    assert_eq!(parse(""), Err(Fault::MalformedXml));
    assert_eq!(parse(&rule(DAYS).replace("Enabled", "enabled")), Err(Fault::MalformedXml));
    let both = rule(DAYS).replace("<Filter>", "<Prefix/><Filter>");
    assert_eq!(parse(&both), Err(Fault::MalformedXml));
    let zero = rule("<Expiration><Days>0</Days></Expiration>");
    let message = "'Days' for Expiration action must be a positive integer";
    assert_eq!(parse(&zero), Err(Fault::InvalidArgument(message.to_owned())));
    assert!(matches!(parse(&format!("{0}{0}", rule(DAYS))), Err(Fault::InvalidArgument(_))));
    assert!(matches!(parse(&rule("")), Err(Fault::InvalidRequest(_))));
    let noon = rule("<Expiration><Date>2030-01-01T12:00:00Z</Date></Expiration>");
    assert_eq!(parse(&noon), Err(Fault::InvalidArgument("'Date' must be at midnight GMT".to_owned())));
}

#[test]
fn the_minimum_size_of_transitions_is_stored_and_has_a_default() {
    let rules = || dto::BucketLifecycleConfiguration {
        rules: vec![to_dto(parse(&rule(DAYS)).expect("rules").rules.remove(0))],
    };
    let with = |text: Option<&'static str>| {
        let minimum = text.map(dto::TransitionDefaultMinimumObjectSize::from_static);
        from_dto(rules(), minimum, String::new).map(|rules| rules.transition_minimum.text())
    };
    assert_eq!(with(None), Ok("all_storage_classes_128K"));
    assert_eq!(with(Some("varies_by_storage_class")), Ok("varies_by_storage_class"));
    assert_eq!(with(Some("value")), Err(RuleError::TransitionMinimum("value".to_owned())));
}

#[test]
fn generated_lifecycle_rule_ids_have_the_form_of_s3s() {
    let id = rule_id(0);
    assert_eq!(id.len(), 48);
    let text = base64_simd::STANDARD.decode_to_vec(id).expect("base64");
    assert_eq!(text, b"00000000-0000-4000-8000-000000000000");
    let text = base64_simd::STANDARD.decode_to_vec(rule_id(u128::MAX)).expect("base64");
    assert_eq!(text, b"ffffffff-ffff-4fff-bfff-ffffffffffff");
}

fn object<'a>(key: &'a str) -> ObjectFacts<'a> {
    // Wed, 15 Jan 2014 10:30:00 GMT
    ObjectFacts { key, size_bytes: 1, tags: &[], modified: UnixMs(1_389_781_800_000) }
}

#[test]
fn the_expiration_header_has_an_objects_expiry_date_and_rule() {
    let id = "Rule for \"testfile.txt\"/é";
    let rules = parse(&rule("<Expiration><Days>3</Days></Expiration>").replace("<ID>rule", &format!("<ID>{id}")));
    let rules = rules.expect("rules");
    assert_eq!(
        expiration_header(&rules, &object("a/b")).as_deref(),
        Some(
            "expiry-date=\"Sun, 19 Jan 2014 00:00:00 GMT\", \
             rule-id=\"Rule%20for%20%22testfile.txt%22%2F%C3%A9\""
        )
    );
    assert_eq!(expiration_header(&rules, &object("b")), None);
}

#[test]
fn an_expiry_date_after_the_year_9999_is_capped() {
    let rules = parse(&rule(&format!("<Expiration><Days>{}</Days></Expiration>", i32::MAX))).expect("rules");
    let header = expiration_header(&rules, &object("a/b")).expect("a header");
    assert!(header.starts_with("expiry-date=\"Fri, 31 Dec 9999 23:59:59 GMT\""), "{header}");
}

#[test]
fn the_abort_headers_have_an_uploads_abort_date_and_rule() {
    let abort =
        "<AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload>";
    let rules = parse(&rule(abort)).expect("rules");
    let facts = |key| UploadFacts { key, initiated: UnixMs(1_389_781_800_000) };
    let (at, id) = abort_headers(&rules, &facts("a/b")).expect("it is aborted");
    let mut date = Vec::new();
    at.format(dto::TimestampFormat::HttpDate, &mut date).expect("a date");
    assert_eq!(date, b"Thu, 23 Jan 2014 00:00:00 GMT");
    assert_eq!(id, "rule");
    assert_eq!(abort_headers(&rules, &facts("b")), None);
    assert_eq!(http_date(UnixMs(1_389_781_800_000)).as_deref(), Some("Wed, 15 Jan 2014 10:30:00 GMT"));
}
