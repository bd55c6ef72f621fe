//! S3's checksums and Content-MD5: parsed from headers, trailers and XML, and converted to the stored form.

mod shown;
#[cfg(test)]
mod tests;

pub use shown::{ShownChecksum, add_headers, carried, carrying, kind_name, named, shown_kind};

use crate::actors::gateway::TrailerChecksum;
use crate::actors::meta::{Checksum, ChecksumAlgorithm, ChecksumKind};
use crate::api::call::Trailers;
use crate::api::errors::{Fault, trailer_invalid, trailer_malformed};
use bytes::Bytes;
use http::{HeaderMap, header};
use s3s::dto;

const X_AMZ_TRAILER: &str = "x-amz-trailer";
const X_AMZ_CHECKSUM: &str = "x-amz-checksum-";
/// The suffixes of `x-amz-checksum-` headers that are not algorithms.
const NO_ALGORITHMS: [&str; 3] = ["algorithm", "mode", "type"];
/// The checksum that S3 computes and stores for an object that is uploaded without one.
pub const DEFAULT: ChecksumAlgorithm = ChecksumAlgorithm::Crc64Nvme;

pub fn algorithm_named(name: &str) -> Result<ChecksumAlgorithm, Fault> {
    ChecksumAlgorithm::of_name(name.trim()).ok_or_else(|| {
        let known = ChecksumAlgorithm::ALL.map(ChecksumAlgorithm::name).join(", ");
        Fault::InvalidRequest(format!(
            "Checksum algorithm provided is unsupported. Please try again with any of the valid types: [{known}]"
        ))
    })
}

/// Refuses a checksum header of an unknown algorithm, which could not be verified. `name` is any header's name.
fn check_known(name: &str) -> Result<(), Fault> {
    let Some(suffix) = name.strip_prefix(X_AMZ_CHECKSUM) else { return Ok(()) };
    if NO_ALGORITHMS.contains(&suffix) || ChecksumAlgorithm::of_header(name).is_some() {
        return Ok(());
    }
    let why = "The algorithm type you specified in x-amz-checksum- header is invalid.";
    Err(Fault::InvalidRequest(why.to_owned()))
}

/// Parses the base64 of a digest. Its length must be the algorithm's.
pub fn parse_digest(algorithm: ChecksumAlgorithm, text: &str) -> Result<Bytes, Fault> {
    match base64_simd::STANDARD.decode_to_vec(text.trim()) {
        Ok(digest) if digest.len() == algorithm.digest_bytes() => Ok(digest.into()),
        _ => Err(invalid_value(algorithm)),
    }
}

fn invalid_value(algorithm: ChecksumAlgorithm) -> Fault {
    Fault::InvalidRequest(format!("Value for {} header is invalid.", algorithm.header()))
}

/// Parses the base64 of an MD5 digest.
pub fn parse_md5(text: &[u8]) -> Result<[u8; 16], Fault> {
    let digest = base64_simd::STANDARD.decode_to_vec(text).map_err(|_| Fault::InvalidDigest)?;
    digest.try_into().map_err(|_| Fault::InvalidDigest)
}

/// Returns the digest in the header Content-MD5.
pub fn content_md5(headers: &HeaderMap) -> Result<Option<[u8; 16]>, Fault> {
    let Some(value) = headers.get("content-md5") else { return Ok(None) };
    parse_md5(value.as_bytes()).map(Some)
}

fn several() -> Fault {
    let why = "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.";
    Fault::InvalidRequest(why.to_owned())
}

/// Returns the checksum that a request has in a header. More than one is refused.
pub fn of_headers(headers: &HeaderMap) -> Result<Option<(ChecksumAlgorithm, String)>, Fault> {
    headers.keys().try_for_each(|name| check_known(name.as_str()))?;
    let mut found = None;
    for algorithm in ChecksumAlgorithm::ALL {
        let Some(value) = headers.get(algorithm.header()) else { continue };
        if found.is_some() {
            return Err(several());
        }
        let text = value.to_str().map_err(|_| invalid_value(algorithm))?;
        found = Some((algorithm, text.to_owned()));
    }
    Ok(found)
}

fn announced(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let names = headers.get(X_AMZ_TRAILER).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // As in S3, commas at the end of the list are ignored, and an empty item elsewhere counts as a name.
    let names = names.trim().trim_end_matches(',');
    names.split(',').map(str::trim).filter(move |_| !names.is_empty())
}

/// Checks the name of a header announced for the trailer. It must be the checksum of a known algorithm.
fn check_announced(name: &str) -> Result<(), Fault> {
    if ChecksumAlgorithm::of_header(name).is_some() {
        return Ok(());
    }
    Err(Fault::InvalidRequest("The value specified in the x-amz-trailer header is not supported".to_owned()))
}

/// Returns the checksums that a request announces for its trailer.
fn of_trailer(headers: &HeaderMap) -> impl Iterator<Item = ChecksumAlgorithm> {
    announced(headers).filter_map(ChecksumAlgorithm::of_header)
}

/// The checksum to compute over the content of one upload, and what it is compared with.
#[derive(Default)]
pub struct UploadChecksum {
    /// The algorithm, and the value from a header.
    pub checksum: Option<(ChecksumAlgorithm, Option<Bytes>)>,
    /// Reads the value from the trailer, after the body has ended.
    pub trailer: Option<TrailerChecksum>,
}

/// Returns the checksum that a header gives, or that is announced for the trailer. If the client gives none,
/// `otherwise` is the algorithm to compute.
pub fn of_upload(
    headers: &HeaderMap,
    trailing: Option<Trailers>,
    otherwise: Option<ChecksumAlgorithm>,
) -> Result<UploadChecksum, Fault> {
    let header = of_headers(headers)?;
    announced(headers).try_for_each(check_announced)?;
    let mut trailers = of_trailer(headers);
    let trailer = trailers.next();
    if trailers.next().is_some() {
        return Err(several());
    }
    let named = match headers.get(s3s::header::X_AMZ_SDK_CHECKSUM_ALGORITHM).map(|value| value.to_str()) {
        Some(Ok(name)) => Some(algorithm_named(name)?),
        Some(Err(_)) => return Err(Fault::InvalidRequest("Checksum algorithm provided is unsupported.".to_owned())),
        None => None,
    };
    let found = match (&header, &trailer) {
        (Some(_), Some(_)) => {
            return Err(Fault::InvalidRequest("Expecting a single x-amz-checksum- header".to_owned()));
        }
        (Some((algorithm, _)), None) | (None, Some(algorithm)) => Some(*algorithm),
        (None, None) => None,
    };
    if let Some(named) = named
        && found.is_some_and(|found| found != named)
    {
        return Err(Fault::InvalidRequest("Value for x-amz-sdk-checksum-algorithm header is invalid.".to_owned()));
    }
    if named.is_some() && found.is_none() {
        return Err(Fault::InvalidRequest(
            "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers \
             were found."
                .to_owned(),
        ));
    }
    if let Some((algorithm, text)) = header {
        let value = parse_digest(algorithm, &text)?;
        return Ok(UploadChecksum { checksum: Some((algorithm, Some(value))), trailer: trailing.map(refuse_any) });
    }
    if let Some(algorithm) = trailer {
        let trailing = trailing.ok_or(Fault::MalformedTrailer)?;
        return Ok(UploadChecksum {
            checksum: Some((algorithm, None)),
            trailer: Some(read_trailer(trailing, algorithm)),
        });
    }
    Ok(UploadChecksum { checksum: otherwise.map(|algorithm| (algorithm, None)), trailer: trailing.map(refuse_any) })
}

/// Refuses any checksum in the trailer of a request that announced none.
fn refuse_any(trailing: Trailers) -> TrailerChecksum {
    Box::new(move || {
        let found = trailing.take().unwrap_or_default();
        let has_any = found.keys().any(|name| name.as_str().starts_with(X_AMZ_CHECKSUM));
        has_any.then(|| Err(trailer_malformed()))
    })
}

fn read_trailer(trailing: Trailers, algorithm: ChecksumAlgorithm) -> TrailerChecksum {
    Box::new(move || {
        let found = trailing.take().unwrap_or_default();
        // A header that was not announced is refused. Of a repeated header the last value counts.
        let announced = found.keys().all(|found| found.as_str() == algorithm.header());
        let last = found.get_all(algorithm.header()).iter().next_back().filter(|_| announced);
        let text = last.and_then(|value| value.to_str().ok().map(str::to_owned));
        let Some(text) = text else { return Some(Err(trailer_malformed())) };
        Some(match parse_digest(algorithm, &text) {
            Ok(value) => Ok(Checksum { algorithm, kind: ChecksumKind::FullObject, value }),
            Err(_) => Err(trailer_invalid(algorithm.header())),
        })
    })
}

/// Returns whether a request gives the checksum of its content, or announces it in a trailer.
pub fn gives_any(headers: &HeaderMap) -> bool {
    let by_header = ChecksumAlgorithm::ALL.into_iter().any(|algorithm| headers.contains_key(algorithm.header()));
    by_header || of_trailer(headers).next().is_some()
}

/// Returns the checksum algorithm of a multipart upload, and how the checksums of its parts combine.
pub fn of_create(
    algorithm: Option<&dto::ChecksumAlgorithm>,
    kind: Option<&dto::ChecksumType>,
) -> Result<Option<(ChecksumAlgorithm, ChecksumKind)>, Fault> {
    let kind = kind.map(parse_kind).transpose()?;
    let Some(algorithm) = algorithm else {
        return match kind {
            None => Ok(None),
            Some(_) => Err(Fault::InvalidRequest(
                "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.".to_owned(),
            )),
        };
    };
    let algorithm = algorithm_named(algorithm.as_str())?;
    let kinds = algorithm.kinds_of_parts();
    let kind = kind.unwrap_or(kinds[0]);
    if kinds.contains(&kind) {
        return Ok(Some((algorithm, kind)));
    }
    Err(Fault::InvalidRequest(format!(
        "The {} checksum type cannot be used with the {} checksum algorithm.",
        kind_name(kind).as_str(),
        algorithm.name().to_ascii_lowercase()
    )))
}

/// Parses a checksum type in any case, as names of algorithms are parsed.
pub fn parse_kind(kind: &dto::ChecksumType) -> Result<ChecksumKind, Fault> {
    match kind.as_str().to_ascii_uppercase().as_str() {
        dto::ChecksumType::FULL_OBJECT => Ok(ChecksumKind::FullObject),
        dto::ChecksumType::COMPOSITE => Ok(ChecksumKind::Composite),
        _ => Err(Fault::InvalidRequest("Value for x-amz-checksum-type header is invalid.".to_owned())),
    }
}

/// Parses the checksum of a whole object. A composite one may end in `-N`, the number of parts, which is returned too.
pub fn parse_whole(
    algorithm: ChecksumAlgorithm,
    kind: ChecksumKind,
    text: &str,
) -> Result<(Checksum, Option<usize>), Fault> {
    let (digits, parts) = match text.split_once('-') {
        Some((digits, parts)) if kind == ChecksumKind::Composite => (digits, Some(parts)),
        _ => (text, None),
    };
    let value = parse_digest(algorithm, digits)?;
    let count = |text: &str| text.parse::<usize>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    let parts = parts.map(|text| count(text).ok_or_else(|| invalid_value(algorithm))).transpose()?;
    Ok((Checksum { algorithm, kind, value }, parts))
}

/// Returns the only checksum of an XML element. More than one is refused.
pub fn of_elements(given: &[(ChecksumAlgorithm, String)]) -> Result<Option<(ChecksumAlgorithm, Bytes)>, Fault> {
    let refused = || Fault::InvalidArgument("Invalid Base64 or multiple checksums present in request".to_owned());
    match given {
        [] => Ok(None),
        [(algorithm, text)] => match parse_digest(*algorithm, text) {
            Ok(digest) => Ok(Some((*algorithm, digest))),
            Err(_) => Err(refused()),
        },
        _ => Err(refused()),
    }
}

/// Returns the length of a body's content: the decoded length that a chunked framing declares, else Content-Length.
pub fn content_length(headers: &HeaderMap) -> Result<u64, Fault> {
    let framed = headers
        .get(s3s::header::X_AMZ_CONTENT_SHA256)
        .is_some_and(|payload| payload.as_bytes().starts_with(b"STREAMING-"));
    let name = if framed { s3s::header::X_AMZ_DECODED_CONTENT_LENGTH } else { header::CONTENT_LENGTH };
    let value = headers.get(&name).ok_or(Fault::MissingContentLength)?;
    let length = value.to_str().ok().and_then(|text| text.trim().parse::<u64>().ok());
    length.ok_or_else(|| Fault::InvalidArgument(format!("The header {name} is not a length.")))
}
