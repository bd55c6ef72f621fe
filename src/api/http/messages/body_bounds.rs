//! The bounds, by operation, of request bodies that are read whole (XML and JSON).

use crate::api::text::documents::schemas::{self, Schema};
use crate::limits::{
    ACL_BODY_BYTES_MAX, BODY_BYTES_MAX, CORS_BODY_BYTES_MAX, DELETE_KEYS_MAX, LIFECYCLE_BODY_BYTES_MAX,
    LIST_BODY_BYTES_MAX, NOTIFICATION_BODY_BYTES_MAX, PARTS_MAX, POLICY_BODY_BYTES_MAX, TAGGING_BODY_BYTES_MAX,
    WEBSITE_BODY_BYTES_MAX,
};

/// Query parameters with which a PUT's body is XML or JSON instead of an object, and the largest body of each, in
/// bytes.
const DOCUMENTS: [(&str, usize); 22] = [
    ("accelerate", BODY_BYTES_MAX),
    ("acl", ACL_BODY_BYTES_MAX),
    ("analytics", BODY_BYTES_MAX),
    ("cors", CORS_BODY_BYTES_MAX),
    ("encryption", BODY_BYTES_MAX),
    ("intelligent-tiering", BODY_BYTES_MAX),
    ("inventory", BODY_BYTES_MAX),
    ("legal-hold", BODY_BYTES_MAX),
    ("lifecycle", LIFECYCLE_BODY_BYTES_MAX),
    ("logging", BODY_BYTES_MAX),
    ("metrics", BODY_BYTES_MAX),
    ("notification", NOTIFICATION_BODY_BYTES_MAX),
    ("object-lock", BODY_BYTES_MAX),
    ("ownershipControls", BODY_BYTES_MAX),
    ("policy", POLICY_BODY_BYTES_MAX),
    ("publicAccessBlock", BODY_BYTES_MAX),
    ("replication", BODY_BYTES_MAX),
    ("requestPayment", BODY_BYTES_MAX),
    ("retention", BODY_BYTES_MAX),
    ("tagging", TAGGING_BODY_BYTES_MAX),
    ("versioning", BODY_BYTES_MAX),
    ("website", WEBSITE_BODY_BYTES_MAX),
];

/// The most XML tags (opening and closing) that one listed element has, with those of its children: a part has a
/// number, an entity tag and ten checksums.
const TAGS_OF_ONE: usize = 26;

/// The bound of a body that is read whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyBound {
    pub bytes_max: usize,
    /// The element that the body lists, and the most of them. This is bounded too, as a parsed element takes many times
    /// the memory of its shortest form in XML.
    pub lists: Option<(&'static str, usize)>,
    /// The elements that the body may have; `None` if it is no XML, or of an operation that is not there.
    pub schema: Option<&'static Schema>,
}

impl BodyBound {
    pub const DEFAULT: Self = Self { bytes_max: BODY_BYTES_MAX, lists: None, schema: None };
    /// The body of CreateBucket, which may have tags.
    pub const CREATES: Self =
        Self { bytes_max: TAGGING_BODY_BYTES_MAX, schema: Some(&schemas::NEW_BUCKET), ..Self::DEFAULT };
    pub const DELETES: Self = Self::of_list(("Object", DELETE_KEYS_MAX), &schemas::DELETES);
    pub const COMPLETES: Self = Self::of_list(("Part", PARTS_MAX as usize), &schemas::COMPLETES);

    const fn of_list(listed: (&'static str, usize), schema: &'static Schema) -> Self {
        Self { bytes_max: LIST_BODY_BYTES_MAX, lists: Some(listed), schema: Some(schema) }
    }

    /// Returns the bound of the document that a PUT with these query parameters sets, the smallest if there are
    /// several; `None` if the PUT sets no document.
    pub fn of_document(has: impl Fn(&str) -> bool) -> Option<Self> {
        let found = DOCUMENTS.iter().filter(|(name, _)| has(name)).map(|(_, bytes_max)| *bytes_max).min();
        let schema = schemas::OF_DOCUMENTS.iter().find(|(name, _)| has(name)).map(|(_, schema)| *schema);
        found.map(|bytes_max| Self { bytes_max, lists: None, schema })
    }

    /// Returns the bound for a request without a signature.
    pub fn unsigned(self) -> Self {
        Self { bytes_max: self.bytes_max.min(BODY_BYTES_MAX), ..self }
    }
}

/// The bytes that end the name in a tag. A `<` is one of them: the names behind all `<` of some XML do not overlap, so
/// that together they are no longer than it. What is behind the last `<` of a name is looked at as a tag of its own.
const NAME_ENDS: &[u8] = b" \t\r\n><";

/// Returns the name in a tag, with its prefix and any slashes; `tag` is what follows the `<`.
fn name_of(tag: &[u8]) -> &[u8] {
    let end = tag.iter().position(|byte| NAME_ENDS.contains(byte)).unwrap_or(tag.len());
    &tag[..end]
}

/// Returns the name of an element without its prefix; empty for an end tag. `tag` is what follows the `<`.
fn local_name(tag: &[u8]) -> &[u8] {
    let name = name_of(tag);
    if name.starts_with(b"/") {
        return &[];
    }
    let name = name.strip_suffix(b"/").unwrap_or(name);
    name.rsplit(|byte| *byte == b':').next().unwrap_or_default()
}

/// Returns whether some XML has more than `count_max` elements of this name, with any namespace prefix, or more tags
/// than that many elements can have with their children. It never counts fewer elements than s3s finds, which compares
/// whole names, and looks at each byte a constant number of times, whatever the XML is.
pub fn exceeds(xml: &[u8], name: &str, count_max: usize) -> bool {
    let (mut count, mut tags) = (0, 0);
    xml.iter().enumerate().filter(|(_, byte)| **byte == b'<').any(|(at, _)| {
        tags += 1;
        count += usize::from(local_name(&xml[at + 1..]) == name.as_bytes());
        count > count_max || tags > (count_max + 1) * TAGS_OF_ONE
    })
}

#[cfg(test)]
mod tests {
    use super::{BodyBound, TAGS_OF_ONE, exceeds, name_of};
    use crate::actors::meta::ChecksumAlgorithm;
    use crate::limits::{BODY_BYTES_MAX, CORS_BODY_BYTES_MAX, PARTS_MAX};

    #[test]
    fn elements_are_counted_with_any_prefix_and_attributes() {
        let xml = b"<C><Part><PartNumber>1</PartNumber></Part><Part/><x:Part a='b'/><Part\n></Part><Parts/><C></C>";
        for (name, count) in [("Part", 4), ("PartNumber", 1), ("C", 2)] {
            assert!(!exceeds(xml, name, count) && exceeds(xml, name, count - 1), "{count} of {name}");
        }
        assert!(!exceeds(b"", "Part", 0) && !exceeds(b"<", "Part", 0) && exceeds(b"<Part", "Part", 0));
    }

    #[test]
    fn elements_with_strange_names_are_counted_as_a_parser_reads_them() {
        for xml in ["<a/b:Part>", "<a<:Part>", "<Part<a>", "<<Part>", "<Part/ >", "<:Part/>", "<a b='<Part '>"] {
            assert!(exceeds(xml.as_bytes(), "Part", 0), "{xml}");
        }
        for xml in ["</Part>", "</a:Part>", "<Parts<a>", "<aPart>", "< Part>"] {
            assert!(!exceeds(xml.as_bytes(), "Part", 0), "{xml}");
        }
    }

    #[test]
    fn names_that_nothing_ends_are_looked_at_once() {
        let (opened, rest) = ("<".repeat(200_000), "a".repeat(1 << 20));
        for xml in [format!("{opened}{rest}"), "<a".repeat(200_000), "<a/:".repeat(200_000), opened, rest] {
            let xml = xml.as_bytes();
            let begins = xml.iter().enumerate().filter(|(_, byte)| **byte == b'<');
            let looked_at: usize = begins.map(|(at, _)| name_of(&xml[at + 1..]).len()).sum();
            assert!(looked_at <= xml.len(), "{looked_at} of {}", xml.len());
            assert!(!exceeds(xml, "Part", usize::from(PARTS_MAX)));
        }
    }

    #[test]
    fn xml_with_more_tags_than_its_list_can_have_is_refused() {
        for tag in ["<a/>", "<a>", "<!---->", "<?a?>", "<![CDATA[]]>", "</a>"] {
            assert!(!exceeds(tag.repeat(11 * TAGS_OF_ONE).as_bytes(), "Part", 10), "{tag}");
            assert!(exceeds(tag.repeat(11 * TAGS_OF_ONE + 1).as_bytes(), "Part", 10), "{tag}");
        }
        let elements = ChecksumAlgorithm::ALL.map(|algorithm| format!("<{0}>c</{0}>", algorithm.element())).concat();
        let part = format!("<Part><PartNumber>1</PartNumber><ETag>e</ETag>{elements}</Part>");
        assert!(!exceeds(part.repeat(10_000).as_bytes(), "Part", 10_000), "all checksums of all parts");
    }

    #[test]
    fn a_query_with_several_documents_has_the_smallest_of_their_bounds() {
        let of = |names: &[&str]| BodyBound::of_document(|name| names.contains(&name)).map(|bound| bound.bytes_max);
        assert_eq!(of(&["cors"]), Some(CORS_BODY_BYTES_MAX));
        assert_eq!(of(&["lifecycle", "versioning"]), Some(BODY_BYTES_MAX));
        assert_eq!(of(&["partNumber"]), None);
        assert_eq!(BodyBound::DELETES.unsigned().bytes_max, BODY_BYTES_MAX);
    }
}
