//! The largest bodies that are read whole, by the operation that their head asks for.

use crate::limits::{
    ACL_BODY_BYTES_MAX, BODY_BYTES_MAX, CORS_BODY_BYTES_MAX, DELETE_KEYS_MAX, LIFECYCLE_BODY_BYTES_MAX,
    LIST_BODY_BYTES_MAX, NOTIFICATION_BODY_BYTES_MAX, PARTS_MAX, POLICY_BODY_BYTES_MAX, TAGGING_BODY_BYTES_MAX,
    WEBSITE_BODY_BYTES_MAX,
};

/// Parameters under which PUT takes XML or JSON, and not an object's bytes; and how many of these.
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

/// Tags of one listed element, with those of all that can be in it, at most: a part has ten checksums beside its number and
/// its entity tag.
const TAGS_OF_ONE: usize = 26;

/// The bound of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyBound {
    pub bytes_max: usize,
    /// The element that it lists, and how many of them. What it is parsed into is many times as large as the shortest
    /// of them.
    pub lists: Option<(&'static str, usize)>,
}

impl BodyBound {
    pub const DEFAULT: Self = Self { bytes_max: BODY_BYTES_MAX, lists: None };
    /// A bucket is made with tags.
    pub const CREATES: Self = Self { bytes_max: TAGGING_BODY_BYTES_MAX, lists: None };
    pub const DELETES: Self = Self { bytes_max: LIST_BODY_BYTES_MAX, lists: Some(("Object", DELETE_KEYS_MAX)) };
    pub const COMPLETES: Self = Self { bytes_max: LIST_BODY_BYTES_MAX, lists: Some(("Part", PARTS_MAX as usize)) };

    /// Returns the bound of the document that a PUT with this query sets; `None` if it sets none.
    pub fn of_document(has: impl Fn(&str) -> bool) -> Option<Self> {
        let found = DOCUMENTS.iter().filter(|(name, _)| has(name)).map(|(_, bytes_max)| *bytes_max).min();
        found.map(|bytes_max| Self { bytes_max, lists: None })
    }

    /// Returns the bound without a signature.
    pub fn unsigned(self) -> Self {
        Self { bytes_max: self.bytes_max.min(BODY_BYTES_MAX), ..self }
    }
}

/// Returns whether some XML has more than `count_max` of these elements, whatever their prefix, or more tags than these
/// and all that can be in them. It never counts fewer than a parser finds.
pub fn exceeds(xml: &[u8], name: &str, count_max: usize) -> bool {
    let begins = |rest: &[u8]| {
        let end = rest.iter().position(|byte| b" \t\r\n/>".contains(byte)).unwrap_or(rest.len());
        let local = rest[..end].rsplit(|byte| *byte == b':').next().unwrap_or_default();
        local == name.as_bytes()
    };
    let (mut count, mut tags) = (0, 0);
    xml.iter().enumerate().filter(|(_, byte)| **byte == b'<').any(|(at, _)| {
        tags += 1;
        count += usize::from(begins(&xml[at + 1..]));
        count > count_max || tags > (count_max + 1) * TAGS_OF_ONE
    })
}

#[cfg(test)]
mod tests {
    use super::{BodyBound, TAGS_OF_ONE, exceeds};
    use crate::actors::meta::ChecksumAlgorithm;
    use crate::limits::{BODY_BYTES_MAX, CORS_BODY_BYTES_MAX};

    #[test]
    fn elements_are_counted_whatever_their_prefix_and_attributes() {
        let xml = b"<C><Part><PartNumber>1</PartNumber></Part><Part/><x:Part a='b'/><Part\n></Part><Parts/><C></C>";
        for (name, count) in [("Part", 4), ("PartNumber", 1), ("C", 2)] {
            assert!(!exceeds(xml, name, count) && exceeds(xml, name, count - 1), "{count} of {name}");
        }
        assert!(!exceeds(b"", "Part", 0) && !exceeds(b"<", "Part", 0) && exceeds(b"<Part", "Part", 0));
    }

    #[test]
    fn xml_of_more_tags_than_its_list_can_have_is_refused_whatever_they_are() {
        for tag in ["<a/>", "<a>", "<!---->", "<?a?>", "<![CDATA[]]>", "</a>"] {
            assert!(!exceeds(tag.repeat(11 * TAGS_OF_ONE).as_bytes(), "Part", 10), "{tag}");
            assert!(exceeds(tag.repeat(11 * TAGS_OF_ONE + 1).as_bytes(), "Part", 10), "{tag}");
        }
        let elements = ChecksumAlgorithm::ALL.map(|algorithm| format!("<{0}>c</{0}>", algorithm.element())).concat();
        let part = format!("<Part><PartNumber>1</PartNumber><ETag>e</ETag>{elements}</Part>");
        assert!(!exceeds(part.repeat(10_000).as_bytes(), "Part", 10_000), "all checksums of all parts");
    }

    #[test]
    fn a_body_has_the_bound_of_what_it_sets_and_the_least_where_it_names_several() {
        let of = |names: &[&str]| BodyBound::of_document(|name| names.contains(&name)).map(|bound| bound.bytes_max);
        assert_eq!(of(&["cors"]), Some(CORS_BODY_BYTES_MAX));
        assert_eq!(of(&["lifecycle", "versioning"]), Some(BODY_BYTES_MAX));
        assert_eq!(of(&["partNumber"]), None);
        assert_eq!(BodyBound::DELETES.unsigned().bytes_max, BODY_BYTES_MAX);
    }
}
