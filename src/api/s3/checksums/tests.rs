//! The checksums of requests: selection, parsing and display.

use super::{content_length, content_md5, of_create, of_elements, of_headers, of_upload, parse_whole};
use crate::actors::meta::{Checksum, ChecksumAlgorithm, ChecksumKind};
use crate::api::errors::Fault;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use s3s::dto;

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    HeaderMap::from_iter(
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))),
    )
}

fn refused<T>(result: Result<T, Fault>) -> bool {
    matches!(result, Err(Fault::InvalidRequest(_)))
}

#[test]
fn an_upload_takes_its_checksum_from_a_header_or_a_default_algorithm() {
    let found = of_upload(&headers(&[("x-amz-checksum-crc32", "AAAAAQ==")]), None, None).expect("a checksum");
    assert_eq!(found.checksum, Some((ChecksumAlgorithm::Crc32, Some(Bytes::from_static(&[0, 0, 0, 1])))));
    assert!(found.trailer.is_none());
    let found = of_upload(&HeaderMap::new(), None, Some(ChecksumAlgorithm::Sha1)).expect("a checksum");
    assert_eq!(found.checksum, Some((ChecksumAlgorithm::Sha1, None)));
    assert!(of_upload(&HeaderMap::new(), None, None).expect("none").checksum.is_none());
    let others = headers(&[("x-amz-checksum-type", "FULL_OBJECT"), ("x-amz-trailer", "")]);
    assert!(of_upload(&others, None, None).expect("none").checksum.is_none());
}

#[test]
fn contradictory_checksum_headers_are_refused() {
    for pairs in [
        &[("x-amz-checksum-crc32", "AAAA")][..],
        &[("x-amz-checksum-crc32", "AAAAAQ=="), ("x-amz-checksum-crc32c", "AAAAAQ==")],
        &[("x-amz-checksum-crc32", "AAAAAQ=="), ("x-amz-sdk-checksum-algorithm", "SHA1")],
        &[("x-amz-sdk-checksum-algorithm", "CRC32")],
        &[("x-amz-sdk-checksum-algorithm", "CRC7")],
        &[("x-amz-trailer", "x-amz-checksum-crc32, x-amz-checksum-crc32")],
        &[("x-amz-checksum-crc32", "AAAAAQ=="), ("x-amz-trailer", "x-amz-checksum-crc32")],
        &[("x-amz-trailer", "x-amz-checksum-crc7")],
        &[("x-amz-checksum-sha512", "AAAA")],
        &[("x-amz-checksum-crc7", "AAAA")],
    ] {
        assert!(refused(of_upload(&headers(pairs), None, None)), "{pairs:?}");
    }
    let announced = headers(&[("x-amz-trailer", "x-amz-checksum-crc32")]);
    assert!(matches!(of_upload(&announced, None, None), Err(Fault::MalformedTrailer)));
}

/// S3's message for several checksums in the trailer differs from that for one in a header and one in the trailer.
#[test]
fn a_checksum_in_both_header_and_trailer_is_refused() {
    let why = |pairs: &[(&'static str, &'static str)]| match of_upload(&headers(pairs), None, None) {
        Err(Fault::InvalidRequest(why)) => why,
        _ => panic!("{pairs:?} was not refused"),
    };
    let header = ("x-amz-checksum-crc32", "AAAAAQ==");
    for name in ["x-amz-checksum-crc32", "x-amz-checksum-crc32c"] {
        assert_eq!(why(&[header, ("x-amz-trailer", name)]), "Expecting a single x-amz-checksum- header");
    }
    for trailer in ["x-amz-checksum-crc32, x-amz-checksum-crc32", "x-amz-checksum-crc32, x-amz-checksum-crc32c"] {
        assert!(why(&[header, ("x-amz-trailer", trailer)]).ends_with("Multiple checksum Types are not allowed."));
    }
}

#[test]
fn only_a_checksum_can_be_announced_for_a_trailer() {
    let refusal = |names: &'static str| match of_upload(&headers(&[("x-amz-trailer", names)]), None, None).err() {
        Some(Fault::InvalidRequest(why)) => why,
        other => format!("{other:?}"),
    };
    for names in
        ["x-amz-checksum-bad", "foo", "x-amz-checksum-crc32, foo", ",x-amz-checksum-crc32", "x-amz-checksum-crc32, ,"]
    {
        assert!(refusal(names).starts_with("The value specified in the x-amz-trailer header"), "{names}");
    }
    for names in ["x-amz-checksum-crc32", "x-amz-checksum-crc32,,", "x-amz-checksum-crc32, "] {
        assert!(!refusal(names).starts_with("The value specified"), "{names}");
    }
}

#[test]
fn content_md5_is_sixteen_bytes_of_base64() {
    assert_eq!(content_md5(&HeaderMap::new()), Ok(None));
    assert_eq!(content_md5(&headers(&[("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")])), Ok(Some([0; 16])));
    for text in ["", "AAAA", "not base64!"] {
        assert_eq!(content_md5(&headers(&[("content-md5", text)])), Err(Fault::InvalidDigest), "{text}");
    }
}

#[test]
fn a_multipart_upload_combines_checksums_as_s3_does() {
    let create = |algorithm: &'static str, kind: Option<&'static str>| {
        of_create(
            Some(&dto::ChecksumAlgorithm::from_static(algorithm)),
            kind.map(dto::ChecksumType::from_static).as_ref(),
        )
    };
    assert_eq!(create("CRC32", None), Ok(Some((ChecksumAlgorithm::Crc32, ChecksumKind::Composite))));
    assert_eq!(create("CRC32C", Some("FULL_OBJECT")), Ok(Some((ChecksumAlgorithm::Crc32c, ChecksumKind::FullObject))));
    assert_eq!(create("crc32c", Some("Full_Object")), Ok(Some((ChecksumAlgorithm::Crc32c, ChecksumKind::FullObject))));
    assert_eq!(create("CRC64NVME", None), Ok(Some((ChecksumAlgorithm::Crc64Nvme, ChecksumKind::FullObject))));
    assert!(refused(create("CRC64NVME", Some("COMPOSITE"))));
    assert!(refused(create("SHA256", Some("FULL_OBJECT"))));
    for name in ["MD5", "SHA1", "SHA256", "SHA512", "XXHASH64", "XXHASH3", "XXHASH128"] {
        let algorithm = ChecksumAlgorithm::of_name(name).expect("an algorithm");
        for kind in [None, Some("COMPOSITE")] {
            assert_eq!(create(name, kind), Ok(Some((algorithm, ChecksumKind::Composite))), "{name}");
        }
        assert!(refused(create(name, Some("FULL_OBJECT"))), "{name}");
    }
    assert!(refused(create("SHA3", None)));
    assert!(refused(of_create(None, Some(&dto::ChecksumType::from_static("COMPOSITE")))));
    assert_eq!(of_create(None, None), Ok(None));
}

#[test]
fn the_number_of_parts_is_read_from_a_composite_checksum() {
    let checksum = Checksum {
        algorithm: ChecksumAlgorithm::Crc32,
        kind: ChecksumKind::Composite,
        value: Bytes::from_static(&[0, 0, 0, 1]),
    };
    let read = |text: &str| parse_whole(ChecksumAlgorithm::Crc32, ChecksumKind::Composite, text);
    assert_eq!(read("AAAAAQ==-3"), Ok((checksum.clone(), Some(3))));
    assert_eq!(read("AAAAAQ=="), Ok((checksum, None)));
    for text in ["AAAAAQ==-", "AAAAAQ==-x", "AAAAAQ==--3", "AAAAAQ==-1-2", "AAAAAQ==-+3", "AAAA-3"] {
        assert!(refused(read(text)), "{text}");
    }
}

#[test]
fn a_checksum_header_takes_only_digests_of_its_algorithms_length() {
    for algorithm in ChecksumAlgorithm::ALL {
        let given = |bytes: usize| {
            let text = base64_simd::STANDARD.encode_to_string(vec![7; bytes]);
            HeaderMap::from_iter([(
                HeaderName::from_static(algorithm.header()),
                HeaderValue::try_from(text).expect("a value"),
            )])
        };
        let length = algorithm.digest_bytes();
        let found = of_upload(&given(length), None, None).expect("a checksum").checksum;
        assert_eq!(found, Some((algorithm, Some(Bytes::from(vec![7; length])))));
        assert_eq!(of_headers(&given(length)).expect("one").map(|(found, _)| found), Some(algorithm));
        for other in [length - 1, length + 1, 0] {
            assert!(refused(of_upload(&given(other), None, None)), "{algorithm:?} of {other} bytes");
        }
        let announced = [("x-amz-trailer", algorithm.header())];
        assert!(matches!(of_upload(&headers(&announced), None, None), Err(Fault::MalformedTrailer)), "{algorithm:?}");
        let mut named = given(length);
        named.insert("x-amz-sdk-checksum-algorithm", HeaderValue::from_static(algorithm.name()));
        assert!(of_upload(&named, None, None).is_ok(), "{algorithm:?}");
    }
}

#[test]
fn an_xml_element_has_at_most_one_checksum() {
    let given = |algorithm, text: &str| (algorithm, text.to_owned());
    let one = given(ChecksumAlgorithm::Crc32, "AAAAAQ==");
    let digest = Bytes::from_static(&[0, 0, 0, 1]);
    assert_eq!(of_elements(std::slice::from_ref(&one)), Ok(Some((ChecksumAlgorithm::Crc32, digest))));
    assert_eq!(of_elements(&[]), Ok(None));
    let two = [one, given(ChecksumAlgorithm::Crc32c, "AAAAAQ==")];
    for refused in [&two[..], &[given(ChecksumAlgorithm::Crc32, "AAAA")]] {
        assert!(matches!(of_elements(refused), Err(Fault::InvalidArgument(_))));
    }
}

#[test]
fn the_content_length_of_a_chunked_body_excludes_its_framing() {
    let framed = headers(&[
        ("content-length", "300"),
        ("x-amz-decoded-content-length", "200"),
        ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
    ]);
    assert_eq!(content_length(&framed), Ok(200));
    let plain = headers(&[("content-length", "300"), ("x-amz-decoded-content-length", "200")]);
    assert_eq!(content_length(&plain), Ok(300));
    assert_eq!(content_length(&HeaderMap::new()), Err(Fault::MissingContentLength));
    assert!(matches!(content_length(&headers(&[("content-length", "-1")])), Err(Fault::InvalidArgument(_))));
}
