//! Checksums in answers. s3s has fields for only five of S3's algorithms. Therefore headers are written here, and in
//! XML one field carries the checksum of any algorithm, with the algorithm's name in front. At the end the element that
//! s3s wrote for this field is renamed to the algorithm's.

use crate::actors::meta::{Checksum, ChecksumAlgorithm, ChecksumKind};
use http::{HeaderMap, HeaderName, HeaderValue};
use s3s::{Body, HttpResponse, S3Response, dto};

/// The algorithm whose field in s3s carries every checksum.
const CARRIER: ChecksumAlgorithm = ChecksumAlgorithm::Crc32;
/// Separates an algorithm's name from the value. Neither names nor base64 contain it.
const SEPARATOR: char = ':';

/// A checksum in the form that answers show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownChecksum {
    pub algorithm: ChecksumAlgorithm,
    pub text: String,
    /// `None` for the checksum of a part: answers do not show its type.
    pub kind: Option<ChecksumKind>,
}

impl ShownChecksum {
    /// Returns the checksum of an object; `parts` is the `N` of a composite checksum's `-N`.
    pub fn of_object(checksum: &Checksum, parts: Option<u16>) -> Self {
        let shown = Self { kind: Some(checksum.kind), ..Self::of_part(checksum) };
        match (checksum.kind, parts) {
            (ChecksumKind::Composite, Some(parts)) => Self { text: format!("{}-{parts}", shown.text), ..shown },
            (ChecksumKind::Composite, None) | (ChecksumKind::FullObject, _) => shown,
        }
    }

    pub fn of_part(checksum: &Checksum) -> Self {
        let text = base64_simd::STANDARD.encode_to_string(&checksum.value);
        Self { algorithm: checksum.algorithm, text, kind: None }
    }
}

pub fn kind_name(kind: ChecksumKind) -> dto::ChecksumType {
    dto::ChecksumType::from_static(kind_text(kind))
}

const fn kind_text(kind: ChecksumKind) -> &'static str {
    match kind {
        ChecksumKind::FullObject => dto::ChecksumType::FULL_OBJECT,
        ChecksumKind::Composite => dto::ChecksumType::COMPOSITE,
    }
}

/// Returns the type of a checksum, for an output of s3s.
pub fn shown_kind(shown: Option<&ShownChecksum>) -> Option<dto::ChecksumType> {
    shown?.kind.map(kind_name)
}

/// Adds a checksum, and its type if it has one, to the headers of an answer.
pub fn add_headers(shown: Option<&ShownChecksum>, headers: &mut HeaderMap) {
    let Some(ShownChecksum { algorithm, text, kind }) = shown else { return };
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(HeaderName::from_static(algorithm.header()), value);
    }
    if let Some(kind) = kind {
        headers.insert(s3s::header::X_AMZ_CHECKSUM_TYPE, HeaderValue::from_static(kind_text(*kind)));
    }
}

/// Returns the value for the field `checksum_crc32` of an s3s output that is written as XML. The answer must be made by
/// `carrying`.
pub fn carried(shown: Option<&ShownChecksum>) -> Option<String> {
    shown.map(|ShownChecksum { algorithm, text, .. }| format!("{}{SEPARATOR}{text}", algorithm.name()))
}

#[derive(Clone, Copy)]
struct Carrying;

/// Returns an answer whose XML has `carried` checksums, for `named` to rename.
pub fn carrying<T>(output: T) -> S3Response<T> {
    let mut response = S3Response::new(output);
    response.extensions.insert(Carrying);
    response
}

/// Renames the elements that carry checksums to those of their algorithms, in an answer made by `carrying`.
pub fn named(mut response: HttpResponse) -> HttpResponse {
    if response.extensions_mut().remove::<Carrying>().is_none() {
        return response;
    }
    if let Some(text) = response.body().bytes().and_then(|bytes| String::from_utf8(bytes.into()).ok()) {
        *response.body_mut() = Body::from(renamed(&text));
    }
    response
}

/// Renames the elements that carry checksums. Text cannot look like an element, as s3s escapes `<` in text.
fn renamed(xml: &str) -> String {
    let (opening, closing) = (format!("<{}>", CARRIER.element()), format!("</{}>", CARRIER.element()));
    let mut pieces = xml.split(opening.as_str());
    let mut renamed = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let carried = piece.split_once(closing.as_str()).and_then(|(carried, rest)| {
            let (name, value) = carried.split_once(SEPARATOR)?;
            Some((ChecksumAlgorithm::of_name(name)?.element(), value, rest))
        });
        match carried {
            Some((element, value, rest)) => renamed.extend(["<", &element, ">", value, "</", &element, ">", rest]),
            None => renamed.extend([opening.as_str(), piece]),
        }
    }
    renamed
}

#[cfg(test)]
mod tests {
    use super::{ShownChecksum, add_headers, carried, carrying, named, renamed, shown_kind};
    use crate::actors::meta::{Checksum, ChecksumAlgorithm, ChecksumKind};
    use bytes::Bytes;
    use http::HeaderMap;
    use s3s::{Body, HttpResponse};

    fn checksum(algorithm: ChecksumAlgorithm, kind: ChecksumKind) -> Checksum {
        Checksum { algorithm, kind, value: Bytes::from_static(&[0, 0, 0, 1]) }
    }

    #[test]
    fn a_composite_checksum_of_an_object_shows_its_number_of_parts() {
        let composite = checksum(ChecksumAlgorithm::Md5, ChecksumKind::Composite);
        assert_eq!(ShownChecksum::of_object(&composite, Some(3)).text, "AAAAAQ==-3");
        assert_eq!(ShownChecksum::of_object(&composite, None).text, "AAAAAQ==");
        let whole = checksum(ChecksumAlgorithm::Md5, ChecksumKind::FullObject);
        assert_eq!(ShownChecksum::of_object(&whole, Some(3)).text, "AAAAAQ==");
    }

    #[test]
    fn checksum_headers_of_objects_have_a_type_and_those_of_parts_none() {
        for algorithm in ChecksumAlgorithm::ALL {
            let checksum = checksum(algorithm, ChecksumKind::FullObject);
            let (mut of_object, mut of_part) = (HeaderMap::new(), HeaderMap::new());
            add_headers(Some(&ShownChecksum::of_object(&checksum, None)), &mut of_object);
            add_headers(Some(&ShownChecksum::of_part(&checksum)), &mut of_part);
            for headers in [&of_object, &of_part] {
                assert_eq!(headers[algorithm.header()], "AAAAAQ==", "{algorithm:?}");
            }
            assert_eq!((of_object.len(), of_part.len()), (2, 1));
            assert_eq!(of_object["x-amz-checksum-type"], "FULL_OBJECT");
        }
        let mut none = HeaderMap::new();
        add_headers(None, &mut none);
        assert!(none.is_empty());
    }

    #[test]
    fn elements_that_carry_checksums_are_renamed_to_their_algorithms() {
        for algorithm in ChecksumAlgorithm::ALL {
            let shown = ShownChecksum::of_object(&checksum(algorithm, ChecksumKind::Composite), Some(2));
            assert_eq!(shown_kind(Some(&shown)).map(|kind| kind.as_str().to_owned()), Some("COMPOSITE".to_owned()));
            let carried = carried(Some(&shown)).expect("a value");
            let written = format!("<P><ChecksumCRC32>{carried}</ChecksumCRC32><A/></P>");
            let element = algorithm.element();
            let expected = format!("<P><{element}>AAAAAQ==-2</{element}><A/></P>");
            assert_eq!(renamed(&written), expected);
            assert_eq!(renamed(&written.repeat(3)), expected.repeat(3));
        }
        assert_eq!((carried(None), shown_kind(None)), (None, None));
        for other in ["", "<A>MD5:x</A>", "<ChecksumCRC32>", "<ChecksumCRC32>x</ChecksumCRC32>"] {
            assert_eq!(renamed(other), other);
        }
    }

    #[test]
    fn only_answers_that_carry_checksums_are_changed() {
        let written = "<P><ChecksumCRC32>SHA512:x</ChecksumCRC32></P>";
        let body = |carries: bool| {
            let mut response = HttpResponse::new(Body::from(written.to_owned()));
            if carries {
                *response.extensions_mut() = carrying(()).extensions;
            }
            named(response).body().bytes().expect("a body")
        };
        assert_eq!(body(true), "<P><ChecksumSHA512>x</ChecksumSHA512></P>");
        assert_eq!(body(false), written);
    }
}
