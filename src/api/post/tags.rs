//! The conversion of a form's tags, which are XML, to the query string of a PUT's `x-amz-tagging` header.

use super::escape::escape;
use crate::api::errors::FormFault;
use crate::api::text::documents::as_read;
use crate::api::text::documents::schemas::TAGGING;
use s3s::dto::Tagging;
use s3s::xml::{Deserialize, Deserializer};

/// Converts `<Tagging><TagSet><Tag>…` to `key=value&key=value`. The PUT checks the number of tags and their characters.
pub fn as_header(xml: &str) -> Result<String, FormFault> {
    let xml = as_read(xml.to_owned().into(), &TAGGING).map_err(|_| FormFault::Tags)?;
    let mut deserializer = Deserializer::new(&xml);
    let tagging = Tagging::deserialize(&mut deserializer).map_err(|_| FormFault::Tags)?;
    deserializer.expect_eof().map_err(|_| FormFault::Tags)?;
    let mut pairs = Vec::with_capacity(tagging.tag_set.len());
    for tag in tagging.tag_set {
        let (key, value) = tag.key.zip(tag.value).ok_or(FormFault::Tags)?;
        pairs.push(format!("{}={}", escape(&key), escape(&value)));
    }
    Ok(pairs.join("&"))
}

#[cfg(test)]
mod tests {
    use super::as_header;
    use crate::api::errors::FormFault;

    #[test]
    fn tags_in_xml_become_a_query_string() {
        let xml = "<Tagging><TagSet><Tag><Key>a b</Key><Value>&amp;c=d</Value></Tag>\
            <Tag><Key>e</Key><Value></Value></Tag></TagSet></Tagging>";
        assert_eq!(as_header(xml).as_deref(), Ok("a%20b=%26c%3Dd&e="));
        assert_eq!(as_header("<Tagging><TagSet></TagSet></Tagging>").as_deref(), Ok(""));
    }

    #[test]
    fn a_malformed_list_of_tags_is_refused() {
        let no_key = "<Tagging><TagSet><Tag><Value>v</Value></Tag></TagSet></Tagging>";
        let no_value = "<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet></Tagging>";
        for xml in ["not-xml", "", "<Tags/>", no_key, no_value, "<Tagging>"] {
            assert_eq!(as_header(xml), Err(FormFault::Tags), "{xml}");
        }
    }
}
