//! The list of parts in the body of CompleteMultipartUpload. It is parsed here, since s3s has no fields for half of the
//! checksums, and refuses elements without a field.

use super::super::checksums::of_elements;
use super::super::object_headers::parse_md5;
use super::parse_part_number;
use crate::actors::meta::{Checksum, ChecksumAlgorithm, ChecksumKind, CompletedPart};
use crate::api::call::{Call, WholeBody};
use crate::api::errors::{Fault, with_details};
use s3s::S3Result;
use s3s::dto::ETag;
use s3s::xml::{DeError, DeResult, DeserializeContent, Deserializer};

/// A listed part as it was sent.
#[derive(Debug, Default)]
struct ListedPart {
    number: Option<i32>,
    tag: Option<ETag>,
    checksums: Vec<(ChecksumAlgorithm, String)>,
}

impl<'xml> DeserializeContent<'xml> for ListedPart {
    fn deserialize_content(deserializer: &mut Deserializer<'xml>) -> DeResult<Self> {
        let mut part = Self::default();
        deserializer.for_each_element(|element, name| match name {
            b"PartNumber" if part.number.is_none() => element.content().map(|number| part.number = Some(number)),
            b"ETag" if part.tag.is_none() => element.content().map(|tag| part.tag = Some(tag)),
            b"PartNumber" | b"ETag" => Err(DeError::DuplicateField),
            name => {
                let algorithm = ChecksumAlgorithm::of_element(name).ok_or(DeError::UnexpectedTagName)?;
                if part.checksums.iter().any(|(known, _)| *known == algorithm) {
                    return Err(DeError::DuplicateField);
                }
                element.content().map(|text| part.checksums.push((algorithm, text)))
            }
        })?;
        Ok(part)
    }
}

fn in_list(xml: &[u8]) -> DeResult<Vec<ListedPart>> {
    let mut deserializer = Deserializer::new(xml);
    let parts = deserializer.named_element("CompleteMultipartUpload", |list| list.list_content("Part"))?;
    deserializer.expect_eof()?;
    Ok(parts)
}

/// Returns the parts that a completion lists. An empty list is malformed.
pub fn of_completion(call: &Call) -> S3Result<Vec<CompletedPart>> {
    let body = call.whole_body.as_ref().map(WholeBody::bytes).unwrap_or_default();
    let parts = in_list(body).map_err(|_| Fault::MalformedXml)?;
    if parts.is_empty() {
        return Err(Fault::MalformedXml.into());
    }
    parts.into_iter().map(convert_part).collect()
}

/// Converts a listed part. The error of a part that cannot exist names it.
fn convert_part(part: ListedPart) -> S3Result<CompletedPart> {
    let number = part.number.unwrap_or_default().to_string();
    let tag = part.tag.as_ref().map(|tag| tag.value().to_owned()).unwrap_or_default();
    completed_part(part).map_err(|fault| match fault {
        Fault::InvalidPart => with_details(fault.into(), vec![("PartNumber", number), ("ETag", tag)]),
        fault => fault.into(),
    })
}

fn completed_part(part: ListedPart) -> Result<CompletedPart, Fault> {
    let number = match part.number.ok_or(Fault::MalformedXml)? {
        ..=0 => return Err(Fault::InvalidArgument("PartNumber must be >= 1".to_owned())),
        number => parse_part_number(number)?,
    };
    let tag = part.tag.ok_or(Fault::MalformedXml)?;
    let md5 = parse_md5(tag.value()).ok_or(Fault::InvalidPart)?;
    let given = of_elements(&part.checksums)?;
    let checksum = given.map(|(algorithm, value)| Checksum { algorithm, kind: ChecksumKind::FullObject, value });
    Ok(CompletedPart { number, md5, checksum })
}

#[cfg(test)]
mod tests {
    use super::{ListedPart, completed_part, convert_part, in_list, of_completion};
    use crate::actors::meta::ChecksumAlgorithm;
    use crate::api::call::{Call, WholeBody};
    use crate::api::errors::{Fault, Text, details_of};
    use bytes::Bytes;
    use s3s::dto::ETag;

    const TAG: &str = "0123456789abcdef0123456789abcdef";

    fn part(number: Option<i32>, tag: Option<&str>) -> ListedPart {
        ListedPart { number, tag: tag.map(|tag| ETag::Strong(tag.to_owned())), checksums: Vec::new() }
    }

    #[test]
    fn a_listed_part_needs_a_valid_number_and_etag() {
        assert_eq!(completed_part(part(Some(3), Some(TAG))).expect("a part").number, 3);
        assert_eq!(completed_part(part(None, Some(TAG))), Err(Fault::MalformedXml));
        assert_eq!(completed_part(part(Some(3), None)), Err(Fault::MalformedXml));
        assert_eq!(completed_part(part(Some(3), Some("x"))), Err(Fault::InvalidPart));
        assert_eq!(completed_part(part(Some(3), Some(&format!("{TAG}-2")))), Err(Fault::InvalidPart));
        for number in [-4, 0, 10_001] {
            let refused = completed_part(part(Some(number), Some(TAG)));
            assert!(matches!(refused, Err(Fault::Argument(_) | Fault::InvalidArgument(_))), "{number}");
        }
    }

    #[test]
    fn a_refusal_names_the_part_that_cannot_exist() {
        let refused = convert_part(part(Some(2), Some("x"))).expect_err("no part");
        assert_eq!(refused.code().as_str(), "InvalidPart");
        let own = |text: &str| Text::Own(text.to_owned());
        assert_eq!(details_of(&refused), [("PartNumber", own("2")), ("ETag", own("x"))]);
    }

    fn listed(parts: &str) -> Option<Vec<ListedPart>> {
        in_list(format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>").as_bytes()).ok()
    }

    #[test]
    fn a_listed_part_may_have_a_checksum_of_any_algorithm() {
        for algorithm in ChecksumAlgorithm::ALL {
            let value = base64_simd::STANDARD.encode_to_string(vec![7; algorithm.digest_bytes()]);
            let element = algorithm.element();
            let xml = format!(
                "<Part><PartNumber>1</PartNumber><{element}>{value}</{element}><ETag>\"{TAG}\"</ETag></Part><Part/>"
            );
            let mut parts = listed(&xml).expect("parts");
            assert_eq!((parts.len(), parts[0].number), (2, Some(1)));
            assert_eq!(parts[0].checksums, [(algorithm, value)]);
            let checksum = completed_part(parts.swap_remove(0)).expect("a part").checksum.expect("a checksum");
            assert_eq!((checksum.algorithm, checksum.value.len()), (algorithm, algorithm.digest_bytes()));
        }
    }

    #[test]
    fn unknown_and_repeated_elements_are_refused_in_a_listed_part_only() {
        let sum = "<ChecksumMD5>x</ChecksumMD5>";
        let (number, tag) = ("<PartNumber>1</PartNumber>", "<ETag>x</ETag>");
        for twice in [sum, number, tag] {
            assert!(listed(&format!("<Part>{twice}</Part>")).is_some(), "{twice}");
            assert!(listed(&format!("<Part>{twice}{twice}</Part>")).is_none(), "{twice}");
        }
        for other in ["<ChecksumCRC7>x</ChecksumCRC7>", "<Size>1</Size>", "<ChecksumType>COMPOSITE</ChecksumType>"] {
            assert!(listed(&format!("<Part>{other}</Part>")).is_none(), "{other}");
            assert!(listed(other).is_some_and(|parts| parts.is_empty()), "{other}");
        }
        assert!(in_list(b"<Other><Part/></Other>").is_err() && in_list(b"").is_err());
        assert!(in_list(b"<CompleteMultipartUpload/><More/>").is_err());
    }

    #[test]
    fn a_completion_lists_at_least_one_part() {
        for body in ["", "<CompleteMultipartUpload/>", "<CompleteMultipartUpload>", "parts"] {
            let whole = WholeBody::default();
            whole.put(Bytes::from_static(body.as_bytes()));
            let call = Call { whole_body: Some(whole), ..Call::default() };
            let refused = of_completion(&call).expect_err("no list");
            assert_eq!(refused.code().as_str(), "MalformedXML", "{body}");
        }
        assert!(of_completion(&Call::default()).is_err());
    }
}
