//! The bytes of an object that a read asks for: all, a range, or a part.

use super::super::object_headers::parts_count;
use crate::actors::gateway::{ByteRange, StoreError};
use crate::actors::meta::{Checksum, Manifest, MetaView, PartRow};
use crate::api::errors::{ArgumentFault, Fault};
use crate::types::ManifestId;
use s3s::S3Result;
use s3s::dto::Range;

/// The bytes of an object that the answer to a read has.
pub struct Slice {
    pub range: ByteRange,
    /// True if the answer has the status 206 and names the range of its bytes.
    pub partial: bool,
    /// The checksum of the requested part.
    pub part_checksum: Option<Checksum>,
    pub parts_count: Option<u16>,
}

impl Slice {
    pub fn length(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// Returns the header Content-Range (RFC 9110, section 14.4); `None` for an answer of the whole object or of no
    /// bytes.
    pub fn content_range(&self, size_bytes: u64) -> Option<String> {
        (self.partial && self.length() > 0)
            .then(|| format!("bytes {}-{}/{size_bytes}", self.range.start, self.range.end - 1))
    }
}

/// Checks a request's range and part number before its object is looked up. Both at once are refused.
pub fn check(range: Option<&Range>, part_number: Option<i32>) -> Result<(), Fault> {
    let Some(number) = part_number else { return Ok(()) };
    if range.is_some() {
        let why = "Cannot specify both Range header and partNumber query parameter";
        return Err(Fault::InvalidRequest(why.to_owned()));
    }
    numbered(number).map(|_| ())
}

/// Selects the bytes by the request's range or part number, which must have passed `check`.
pub fn select(view: &MetaView, manifest: &Manifest, range: Option<Range>, part_number: Option<i32>) -> S3Result<Slice> {
    let size = manifest.size_bytes;
    if let Some(number) = part_number {
        return part(view, manifest, number);
    }
    let whole = ByteRange { start: 0, end: size };
    let named = range.filter(|range| !is_all_of_nothing(*range, size));
    let range = named.map(|range| resolve(range, size)).transpose()?;
    Ok(Slice { partial: range.is_some(), range: range.unwrap_or(whole), part_checksum: None, parts_count: None })
}

/// Returns whether a range asks for the last bytes of an empty object. S3 answers as if the request had no range.
fn is_all_of_nothing(range: Range, size_bytes: u64) -> bool {
    size_bytes == 0 && matches!(range, Range::Suffix { length } if length > 0)
}

fn numbered(number: i32) -> Result<u16, Fault> {
    let known = u16::try_from(number).ok().filter(|number| (1..=crate::limits::PARTS_MAX).contains(number));
    known.ok_or_else(|| {
        ArgumentFault::parameter("partNumber", "Part number must be an integer between 1 and 10000, inclusive").into()
    })
}

/// Returns the bytes of a range in an object of this size. A range that has none of its bytes is refused.
fn resolve(range: Range, size_bytes: u64) -> Result<ByteRange, Fault> {
    let refused = Fault::InvalidRange { size_bytes };
    let (start, end) = match range {
        Range::Int { first, last } => (first, last.map_or(size_bytes, |last| last.saturating_add(1).min(size_bytes))),
        Range::Suffix { length } => (size_bytes.saturating_sub(length), size_bytes),
    };
    if start < end { Ok(ByteRange { start, end }) } else { Err(refused) }
}

/// Selects a part. An object of a single PUT is its own part 1.
fn part(view: &MetaView, manifest: &Manifest, number: i32) -> S3Result<Slice> {
    let number = numbered(number)?;
    let Some((list, count)) = manifest.parts() else {
        if number != 1 {
            return Err(Fault::InvalidPartNumber.into());
        }
        let range = ByteRange { start: 0, end: manifest.size_bytes };
        return Ok(Slice {
            range,
            partial: true,
            part_checksum: manifest.checksum.clone(),
            parts_count: parts_count(manifest),
        });
    };
    let row = nth_part(view, list, count, manifest.size_bytes, number)?;
    let PartRow { offset_bytes, size_bytes, checksum, .. } = match row {
        Some(row) => row,
        // If the version was replaced since it was looked up, the rows of all of its parts are gone.
        None if view.parts_from(list, 0, 1)?.is_empty() => {
            return Err(StoreError::Unavailable { why: "the object is being replaced: try again".to_owned() }.into());
        }
        None => return Err(Fault::InvalidPartNumber.into()),
    };
    let end = offset_bytes.saturating_add(size_bytes).min(manifest.size_bytes);
    Ok(Slice {
        range: ByteRange { start: offset_bytes.min(end), end },
        partial: true,
        part_checksum: checksum,
        parts_count: parts_count(manifest),
    })
}

/// Returns the part at this position. Readers count parts from 1, whatever numbers they were uploaded with. If the last
/// number is the count of parts, the numbers have no gaps, and are the positions.
fn nth_part(view: &MetaView, list: ManifestId, count: u16, size_bytes: u64, nth: u16) -> S3Result<Option<PartRow>> {
    // A part that begins at the end of the object has no bytes.
    let empty = view.parts_from(list, size_bytes, 1)?.pop();
    let last = empty.map_or_else(|| view.part_at(list, size_bytes.saturating_sub(1)), |empty| Ok(Some(empty)))?;
    if last.is_none_or(|last| last.number == count) {
        return Ok(view.part_numbered(list, size_bytes, nth)?);
    }
    Ok(view.parts_from(list, 0, usize::from(nth))?.into_iter().nth(usize::from(nth) - 1))
}

#[cfg(test)]
mod tests {
    use super::{check, is_all_of_nothing, resolve};
    use crate::actors::gateway::ByteRange;
    use crate::api::errors::Fault;
    use s3s::dto::Range;

    fn range(text: &str, size: u64) -> Result<(u64, u64), Fault> {
        resolve(Range::parse(text).expect("a range"), size).map(|ByteRange { start, end }| (start, end))
    }

    #[test]
    fn p5_a_range_is_cut_to_the_object_and_a_suffix_counts_from_its_end() {
        assert_eq!(range("bytes=0-0", 10), Ok((0, 1)));
        assert_eq!(range("bytes=3-", 10), Ok((3, 10)));
        assert_eq!(range("bytes=3-99", 10), Ok((3, 10)));
        assert_eq!(range("bytes=-4", 10), Ok((6, 10)));
        assert_eq!(range("bytes=-99", 10), Ok((0, 10)));
        assert_eq!(range("bytes=0-9223372036854775807", 10), Ok((0, 10)));
    }

    #[test]
    fn a_range_that_names_no_byte_is_refused() {
        for (text, size) in [("bytes=10-", 10), ("bytes=10-12", 10), ("bytes=-0", 10), ("bytes=0-", 0), ("bytes=-5", 0)]
        {
            assert_eq!(range(text, size), Err(Fault::InvalidRange { size_bytes: size }), "{text}");
        }
    }

    #[test]
    fn the_last_bytes_of_an_empty_object_are_the_whole_object() {
        let is_all = |text: &str, size: u64| is_all_of_nothing(Range::parse(text).expect("a range"), size);
        assert!(is_all("bytes=-5", 0));
        assert!(!is_all("bytes=-0", 0) && !is_all("bytes=0-", 0) && !is_all("bytes=-5", 1));
    }

    #[test]
    fn an_invalid_part_number_or_one_with_a_range_is_refused() {
        let range = Range::parse("bytes=0-9").expect("a range");
        assert_eq!(check(None, Some(1)), Ok(()));
        assert_eq!(check(Some(&range), None), Ok(()));
        assert!(matches!(check(Some(&range), Some(1)), Err(Fault::InvalidRequest(_))));
        for number in [-3, 0, 10_001] {
            assert!(matches!(check(None, Some(number)), Err(Fault::Argument(_))), "{number}");
        }
    }
}
